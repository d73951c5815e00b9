"""What is around all routes, whichever application has them."""

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from web.headers import Edge
from web.keys import hide_key
from web.prefix import without_prefix


class Api(Starlette):
    """Starlette with our layers around it, which see every request and every answer, those to bugs too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; nothing behind this is to see a key in its query."""
        if scope["type"] == "http":
            hide_key(scope)
            scope = without_prefix(scope)
        await super().__call__(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Return what answers requests."""
        return Edge(super().build_middleware_stack())
