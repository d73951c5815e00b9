"""Plain objects in place of the protobuf messages that the host and the worker exchange.

The worker takes this module where the real one takes its generated protobuf classes, and builds its answers from
the classes below, so their names and fields are those of FunctionRpc.proto.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace


class Message(SimpleNamespace):
    """A message: its fields are attributes."""


class TypedData(Message):
    """A value of one of several types: give exactly one field."""

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802  # protobuf's name
        """Return the name of the field that is set."""
        return next(iter(vars(self)), None)

    @property
    def content(self) -> bytes:
        """The value as the bytes a queue or blob stores; None is empty."""
        value = next(iter(vars(self).values()), b"")
        return value if isinstance(value, bytes) else str(value).encode()


class ParameterBinding(Message):
    """One argument of a call, or one output of it."""

    name: str
    data: TypedData

    def WhichOneof(self, _group: str) -> str:  # noqa: N802  # protobuf's name
        """Return how the value travels: never in shared memory here."""
        return "data"


class ModelBindingData(Message):
    """What an SDK type (BlobClient) is made from."""


class RpcHttp(Message):
    """An HTTP request or response."""


class RpcHttpCookie(Message):
    """A Set-Cookie of a response; fields but name and value are wrapped or None."""

    class SameSite:
        """The values of the SameSite attribute."""

        Lax = "Lax"
        Strict = "Strict"
        ExplicitNone = "None"


setattr(RpcHttpCookie.SameSite, "None", None)  # the attribute is absent; a keyword cannot be assigned in a class


class NullableString(Message):
    """A string that is given."""


class NullableBool(Message):
    """A bool that is given."""


class NullableDouble(Message):
    """A number that is given."""


class NullableTimestamp(Message):
    """A time that is given."""


class Timestamp(Message):
    """Whole seconds since 1970."""


class BindingInfo(Message):
    """A binding as the worker indexed it."""

    undefined = 0
    out = 1
    inout = 2


class RpcRetryOptions(Message):
    """A function's @app.retry."""


class RpcFunctionMetadata(Message):
    """A function as the worker indexed it."""

    name: str
    function_id: str
    raw_bindings: Sequence[str]
    """One JSON object a binding, as function.json would have it."""
    retry_options: RpcRetryOptions | None


class RpcException(Message):
    """An exception of the app."""

    message: str
    stack_trace: str


class StatusResult(Message):
    """How a request to the worker ended."""

    Failure = 0
    Success = 1

    status: int
    exception: RpcException | None = None


class WorkerMetadata(Message):
    """The worker's versions."""


class WorkerInitResponse(Message):
    """Answer to the request to start and index the app."""

    result: StatusResult
    capabilities: Mapping[str, str]


class FunctionMetadataResponse(Message):
    """Answer to the request for the functions."""

    function_metadata_results: Sequence[RpcFunctionMetadata] | None


class FunctionLoadResponse(Message):
    """Answer to the request to load a function."""

    result: StatusResult


class InvocationResponse(Message):
    """Answer to a call."""

    result: StatusResult
    return_value: TypedData | None = None
    output_data: Sequence[ParameterBinding] = ()
