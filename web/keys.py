"""Keys, where no Functions host checks them: the same header, the same `?code=`, from settings."""

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from errors import DropscoreError, ForbiddenError, SettingsError, UnauthorizedError
from settings import Settings
from web.access import GRANTED, Level, level_of
from web.answers import answer_error

HEADER = b"x-functions-key"
PARAMETER = b"code"

Check = Callable[[Scope, Level], DropscoreError | None]
"""Say why a request may not have what needs a level; None if it may."""


class Guard:
    """Let a request pass if it may have what its path asks for; answer it otherwise (ASGI)."""

    def __init__(self, app: ASGIApp, check: Check) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            refusal = self._check(scope, level_of(scope["path"]))
            if refusal is not None:
                response = await answer_error(Request(scope), refusal)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def let_in(_scope: Scope, _level: Level) -> None:
    """Refuse nothing: for tests, and for whoever says that somebody else checks."""


def check_granted(scope: Scope, level: Level) -> DropscoreError | None:
    """Refuse what the Functions host has not let a request in for; one that it has said nothing of gets nothing."""
    if scope.get(GRANTED, Level.ANONYMOUS) >= level:
        return None
    return UnauthorizedError("the path needs a key of another kind than the host was shown: write it without %2F")


class Keys:
    """The keys that let requests in."""

    def __init__(self, function: str, admin: str) -> None:
        """Take keys separated by commas; SettingsError for one that no header can bring."""
        # Digests are of one length, so that comparing them says nothing of how long a key is.
        self._known = [
            *((Level.FUNCTION, key) for key in _digests(function, "DROPSCORE_FUNCTION_KEYS")),
            *((Level.ADMIN, key) for key in _digests(admin, "DROPSCORE_ADMIN_KEYS")),
        ]

    def check(self, scope: Scope, level: Level) -> DropscoreError | None:
        """Refuse what a request has no key for."""
        if level is Level.ANONYMOUS:
            return None
        given = _given(scope) or b""
        if (granted := self._level(given)) >= level:
            return None
        if granted:
            return ForbiddenError("a function key is not enough here: this path needs an admin key")
        if not self._known:
            return UnauthorizedError(
                "no key is set, so none lets anybody in: set DROPSCORE_FUNCTION_KEYS (and DROPSCORE_ADMIN_KEYS, "
                "for moves of aliases), or DROPSCORE_HTTP_AUTH=anonymous where something else checks who asks"
            )
        return UnauthorizedError(
            "the key is none of ours" if given else "send a key in the header x-functions-key, or as ?code="
        )

    def _level(self, given: bytes) -> Level:
        """Return what a key is for; all are compared, so that the time taken does not say which is nearly it."""
        digest, found = sha256(given).digest(), Level.ANONYMOUS
        for level, known in self._known:
            if compare_digest(known, digest):
                found = max(found, level)
        return found


def check_by(settings: Settings) -> Check:
    """Return the check that settings ask for; SettingsError for keys that cannot be."""
    if settings.http_auth == "anonymous":
        return let_in
    return Keys(settings.function_keys, settings.admin_keys).check


def _digests(keys: str, setting: str) -> list[bytes]:
    parts = [key.strip() for key in keys.split(",")]
    if not all(key.isascii() and key.isprintable() for key in parts):
        raise SettingsError(f"a key of {setting} has other characters than printable ASCII")
    return [sha256(key.encode("ascii")).digest() for key in parts if key]


def hide_key(scope: Scope) -> None:
    """Put a request's key into the header and take it out of the query, which ends in logs and traces.

    The scope itself is changed, not a copy: it is the server's own, from which uvicorn writes its log of requests.
    As on the host, a header counts before the query, even an empty one, and the parameter's name has no case.
    """
    query: bytes = scope["query_string"]
    if not query:
        return
    parts = [(_is_key(part), part) for part in query.split(b"&")]
    keys = [unquote_to_bytes(part.partition(b"=")[2].replace(b"+", b" ")) for is_key, part in parts if is_key]
    if not keys:
        return
    scope["query_string"] = b"&".join(part for is_key, part in parts if not is_key)
    if _given(scope) is None:
        scope["headers"] = [*scope["headers"], (HEADER, keys[0])]


def _is_key(part: bytes) -> bool:
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).lower() == PARAMETER


def _given(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == HEADER), None)
