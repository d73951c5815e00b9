"""The API's document and the page that shows it, which loads nothing from anywhere else."""

import gzip
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import ModelNotFoundError, PackageInvalidError, SettingsError
from settings import Settings
from web.bodies import JSON
from web.models import Models
from web.ranges import is_known

_OURS = Path(__file__).with_name("assets")
_THEIRS = "fastapi_swagger"
"""The package that carries Swagger UI; nothing of it is imported, its two files are served."""

_ASSETS: Mapping[str, tuple[str, str]] = {
    "docs.css": ("", "text/css"),
    "docs.js": ("", "text/javascript"),
    "swagger-ui.css": (_THEIRS, "text/css"),
    "swagger-ui-bundle.js": (_THEIRS, "text/javascript"),
}
"""What the page loads: whose each file is, and its type."""

_GZIP = re.compile(r"(?:^|[ ,])gzip *(?=[,;]|$)(?!; *q=0(?:\.0*)? *(?:,|$))", re.IGNORECASE)
"""Says that a client takes it: with `q=0` it does not."""

_PAGE_HEADERS = {
    # Nothing of another origin, and nothing inline; Swagger UI's pictures are data in its CSS.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Text:
    """Bytes to serve, and what tells them from others."""

    content: bytes
    kind: str
    etag: str
    zipped: bytes

    @classmethod
    def of(cls, content: bytes, kind: str) -> "Text":
        """Return what to serve of `content`."""
        return cls(content, kind, hashlib.sha256(content).hexdigest()[:32], gzip.compress(content, mtime=0))

    def answer(self, request: Request) -> Response:
        """Answer a request for it: 304 where the client has it already."""
        headers = {
            "etag": f'W/"{self.etag}"',  # weak, as it is that of the bytes compressed, too
            "cache-control": "no-cache",
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }
        if is_known(request.headers, self.etag):
            return Response(status_code=304, headers=headers)
        if _GZIP.search(request.headers.get("accept-encoding", "")):
            return Response(self.zipped, headers=headers | {"content-encoding": "gzip"}, media_type=self.kind)
        return Response(self.content, headers=headers, media_type=self.kind)


class Document:
    """The document, made anew when it may have changed; safe for any number of threads."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._settings = settings
        self._made: tuple[Text, float] | None = None

    def text(self) -> Text:
        """Return the document; errors as those of storage."""
        made = self._made
        if made is None or time.monotonic() >= made[1]:
            made = self._made = (self._make(), time.monotonic() + self._settings.alias_seconds)
        return made[0]

    def _make(self) -> Text:
        from web.openapi.columns import Described  # noqa: PLC0415  # cold start: few ask for the document
        from web.openapi.document import describe_api  # noqa: PLC0415  # as above

        registry = self._models.registry()
        described, damaged = [], []
        for name in registry.names():
            try:
                version = registry.resolve(name)
                package = registry.describe(version)
                described.append(Described(version, package.signature, registry.example(version, package)))
            except PackageInvalidError:  # one that cannot serve keeps nobody from reading of the others
                damaged.append(name)
            except ModelNotFoundError:  # deleted since it was listed
                continue
        content = describe_api(described, self._settings, list(_ASSETS), damaged)
        return Text.of(json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii"), JSON)


def docs_routes(models: Models, settings: Settings) -> list[Route]:
    """Return the routes of the document and its page."""
    document = Document(models, settings)

    async def openapi(request: Request) -> Response:
        """Describe the API."""
        return (await run_in_threadpool(document.text)).answer(request)

    def page(_request: Request) -> Response:
        """Show the document."""
        return Response((_OURS / "docs.html").read_bytes(), headers=_PAGE_HEADERS, media_type="text/html")

    def asset(request: Request) -> Response:
        """Serve a file that the page loads."""
        name = request.path_params["path"]
        if name not in _ASSETS:
            raise HTTPException(404)
        return _asset(name).answer(request)

    return [
        Route("/api/openapi.json", openapi),
        Route("/api/docs", page),
        Route("/api/docs/assets/{path}", asset),
    ]


@cache
def _asset(name: str) -> Text:
    package, kind = _ASSETS[name]
    return Text.of(((_resources(package) if package else _OURS) / name).read_bytes(), kind)


def _resources(package: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            f"the docs page needs the package {package.replace('_', '-')}: install requirements.txt"
        )
    return Path(found.submodule_search_locations[0]) / "resources"
