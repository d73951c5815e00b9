"""HTTP triggers: from a request to a call, and from the call to a response."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from devhost.bindings import Function
from devhost.http_server import Request, Response
from devhost.invoker import Invoker
from devhost.messages import RpcHttp, RpcHttpCookie, Timestamp, TypedData
from devhost.outputs import output_value
from devhost.routes import Route, compile_route

_log = logging.getLogger(__name__)

# The server sets these itself, from the body it sends and the connection it sends it on.
_SERVER_HEADERS = ("connection", "content-length", "date", "keep-alive", "transfer-encoding")


@dataclass(frozen=True, slots=True)
class HttpFunction:
    """A function and the route it answers."""

    function: Function
    route: Route

    @property
    def methods(self) -> str:
        """The methods as the list of functions shows them."""
        return f"[{','.join(sorted(self.route.methods))}]" if self.route.methods else "[ANY]"


def http_function(function: Function, route_prefix: str) -> HttpFunction:
    """Read a function's route; without one, it is the function's name."""
    template = str(function.trigger.properties.get("route") or function.name).strip("/")
    compile_route(template)  # refuses what is wrong with the route itself, whatever the prefix
    methods = function.trigger.properties.get("methods") or ()
    return HttpFunction(function, compile_route(f"{route_prefix}/{template}".strip("/"), methods))


class HttpTriggers:
    """Answer requests with the first function whose route fits; every key is accepted, as `func start` does.

    The first by the functions' names, as on the real host, whatever their routes say: a function `all` with the
    route `{*rest}` takes what a function `b` with the route `b` was meant for.
    """

    def __init__(self, functions: Sequence[HttpFunction], invoker: Invoker) -> None:
        self._functions = sorted(functions, key=lambda each: each.function.name.upper())
        self._invoker = invoker

    async def handle(self, request: Request) -> Response:
        """Call the function for a request; 404 if no route fits, in path or method."""
        for candidate in self._functions:
            if candidate.route.methods and request.method not in candidate.route.methods:
                continue
            parameters = candidate.route.match(request.path)
            if parameters is not None:
                if request.body and ("transfer-encoding", "chunked") in request.headers:
                    _log.warning("%s came in chunks; in Azure the body would be empty: send a length", request.path)
                return await self._call(candidate.function, request, parameters)
        return Response(404)

    async def _call(self, function: Function, request: Request, parameters: dict[str, str]) -> Response:
        invocation = await self._invoker.invoke(
            function,
            TypedData(http=request_data(request, parameters)),
            {},
            reason="This function was programmatically called via the host APIs.",
            tokens=parameters,
        )
        if not invocation.succeeded:
            return Response(500)
        binding = next((output for output in function.outputs if output.type == "http"), None)
        value = output_value(binding, invocation.response) if binding else None
        return response_of(value)


def request_data(request: Request, parameters: dict[str, str]) -> RpcHttp:
    """Put a request into the worker's message; values of one name are joined by commas, as the host does."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.query):  # without empty values: the host drops them too
        query[name] = f"{query[name]},{value}" if name in query else value
    host = headers.get("host", "localhost")
    return RpcHttp(
        method=request.method,
        url=f"http://{host}{request.path}" + (f"?{request.query}" if request.query else ""),
        headers=headers,
        params=parameters,
        query=query,
        body=TypedData(bytes=request.body),
    )


def response_of(value: TypedData | None) -> Response:
    """Turn a function's HTTP output into a response; text and JSON stand for 200."""
    kind = value.WhichOneof("data") if value else None
    if value is None or kind is None:
        return Response(204)
    if kind != "http":
        content_type = "application/json" if kind == "json" else "text/plain"
        return Response(200, value.content, [("content-type", f"{content_type}; charset=utf-8")])
    http = value.http
    headers = [(name, text) for name, text in http.headers.items() if name.lower() not in _SERVER_HEADERS]
    headers += [("set-cookie", _cookie(cookie)) for cookie in http.cookies or ()]
    return Response(int(http.status_code), http.body.content if http.body else b"", headers)


def _cookie(cookie: RpcHttpCookie) -> str:
    def value(field: Any) -> Any:
        return None if field is None else field.value

    attributes = {
        "Domain": value(cookie.domain),
        "Path": value(cookie.path),
        "Max-Age": None if cookie.max_age is None else int(cookie.max_age.value),
        "Expires": _expires(value(cookie.expires)),
        "SameSite": cookie.same_site,
    }
    parts = [f"{cookie.name}={cookie.value}"]
    parts += [f"{name}={text}" for name, text in attributes.items() if text not in (None, "")]
    parts += [name for name, flag in (("Secure", cookie.secure), ("HttpOnly", cookie.http_only)) if value(flag)]
    return "; ".join(parts)


def _expires(moment: Timestamp | None) -> str | None:
    return None if moment is None else formatdate(moment.seconds, usegmt=True)
