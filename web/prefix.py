"""The prefix below which a proxy shows the API (uvicorn's --root-path): off every path, and on every way back."""

from starlette.requests import Request
from starlette.types import Scope

_PREFIX = "dropscore.prefix"


def without_prefix(scope: Scope) -> Scope:
    """Return a request's scope with the path as routes, levels and forms of errors have it.

    A path that is not below the prefix stays as it is.
    """
    prefix = scope.get("root_path")
    if not prefix:
        return scope
    path = scope["path"]
    below = path.removeprefix(prefix)
    # no root path is left: Starlette would look for it once more
    return {**scope, "path": below if below.startswith("/") else path, "root_path": "", _PREFIX: prefix.rstrip("/")}


def prefixed(request: Request, path: str) -> str:
    """Return a path of ours as clients have to ask for it."""
    return f"{request.scope.get(_PREFIX, '')}{path}"
