"""The Open Inference Protocol, version 2, which KServe, MLServer and Triton speak; tensors are JSON or binary."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import MessageInvalidError
from model_store.cache import Served
from model_store.model import Model
from scoring.rows import answer_columns
from scoring.strict_json import read_json
from settings import VERSION
from web.answers import answer, encode
from web.binary_tensors import EXTENSION, HEADER, SIZE, split_body
from web.bodies import Limits, read_body
from web.models import Find, Models, told
from web.tensors import Tensor, check_parameters, describe, to_tensor
from web.turns import Turns

_PLATFORM = "onnx_onnxv1"  # the protocol's own word for ONNX
_LONGEST_ID = 1000  # characters


def inference_routes(models: Models, limits: Limits, turns: Turns) -> list[Route]:
    """Return the routes of this protocol."""

    async def server(_request: Request) -> Response:
        """Say who answers."""
        return answer({"name": "dropscore", "version": VERSION, "extensions": [EXTENSION]})

    async def live(_request: Request) -> Response:
        """Say that the process answers."""
        return answer({"live": True})

    def ready(_request: Request) -> Response:
        """Say that storage can be opened, so that models can."""
        models.services()
        return answer({"ready": True})

    def model_ready(request: Request) -> Response:
        """Say that a model can answer: it is opened for that."""
        return answer({"name": models.current(_reference(request)).version.name, "ready": True})

    def metadata(request: Request) -> Response:
        """Say what a model takes and gives."""
        served = models.current(_reference(request))
        signature = served.model.signature
        return answer(
            {
                "name": served.version.name,
                "versions": [str(number) for number in models.versions(served.version.name)],
                "platform": _PLATFORM,
                "inputs": describe(signature.inputs),
                "outputs": describe(signature.outputs),
            }
        )

    async def infer(request: Request) -> Response:
        """Score rows that come as one tensor a column."""
        body = await read_body(request, limits)
        header = request.headers.get(HEADER)
        content, tails = await turns.take(request, body, _reference(request), _infer, limits, body, header)
        if not tails:
            return answer(content)
        head = encode(content)
        headers = {HEADER: str(len(head))}
        return Response(b"".join((head, *tails)), headers=headers, media_type="application/octet-stream")

    model = "/v2/models/{model}"
    return [
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        *(
            route
            for path in (model, f"{model}/versions/{{version}}")
            for route in (
                Route(path, metadata),
                Route(f"{path}/ready", model_ready),
                Route(f"{path}/infer", infer, methods=["POST"]),
            )
        ),
    ]


def _reference(request: Request) -> str:
    """Return which model a path means; an alias is a version too."""
    model, version = request.path_params["model"], request.path_params.get("version")
    return model if version is None else f"{model}@{version}"


def _infer(find: Find, limits: Limits, body: bytes, header: str | None) -> tuple[dict[str, Any], list[bytes]]:
    """Return the answer's JSON, and the bytes behind it if there are such."""
    head, tail = split_body(body, header)
    content = read_json(head, "the body", nan=True)  # as tritonclient writes it
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise MessageInvalidError('the body must be an object with "inputs", a list of tensors')
    name = content.get("id")
    if name is not None and not (isinstance(name, str) and len(name) <= _LONGEST_ID):
        raise MessageInvalidError(f'"id" must be a text of at most {_LONGEST_ID} characters')
    parameters = content.get("parameters")
    check_parameters(parameters, "the request")
    tensors = [
        Tensor.parse(entry, number, tail.take(entry, number)) for number, entry in enumerate(content["inputs"], 1)
    ]
    tail.check_empty()
    with find() as served:
        outputs = _asked(
            content.get("outputs"), served.model, binary=_flag(parameters, "binary_data_output") or False
        )
        count = max((len(tensor.cells) for tensor in tensors), default=0)
        limits.check_rows(count)
        answers = answer_columns(_columns(tensors, served.model), count, served.model)
    told(served, answers).check_whole()
    columns = {column.name: column for column in served.model.signature.outputs}
    tall = bool(tensors) and all(tensor.tall for tensor in tensors)
    given = [
        to_tensor(columns[output], answers.outputs[output], tall=tall, binary=binary)
        for output, binary in outputs.items()
    ]
    tails = [content for _, content in given] if any(SIZE in t.get("parameters", ()) for t, _ in given) else []
    return _head(served, name, parameters) | {"outputs": [tensor for tensor, _ in given]}, tails


def _head(served: Served, name: str | None, parameters: Any) -> dict[str, Any]:
    head: dict[str, Any] = {"model_name": served.version.name, "model_version": str(served.version.version)}
    if name is not None:
        head["id"] = name
    if parameters and parameters.get("content_type"):
        head["parameters"] = {"content_type": parameters["content_type"]}
    return head


def _columns(tensors: list[Tensor], model: Model) -> dict[str, Any]:
    """Return the tensors' cells by column; those that the model does not know are left out."""
    columns = {column.name: column for column in model.signature.inputs}
    known = [tensor for tensor in tensors if tensor.name in columns]
    if len({tensor.name for tensor in known}) < len(known):
        raise MessageInvalidError("two inputs have the same name")
    if len({len(tensor.cells) for tensor in tensors}) > 1:
        raise MessageInvalidError("the inputs are of different lengths: each is a column of the same rows")
    for tensor in known:
        tensor.check_fits(columns[tensor.name])
    return {tensor.name: tensor.cells for tensor in known}


def _asked(entries: Any, model: Model, *, binary: bool) -> dict[str, bool]:
    """Return the outputs that a request asks for, in its order, and whether each is to be binary.

    All of them where it names none; as `binary` says where it does not say it of an output.
    """
    names = [column.name for column in model.signature.outputs]
    if entries is None or entries == []:
        return dict.fromkeys(names, binary)
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries
    ):
        raise MessageInvalidError('"outputs" must be a list of objects with a name')
    asked = [entry["name"] for entry in entries]
    if not set(asked) <= set(names):
        raise MessageInvalidError(f'"outputs" asks for what is none of the model\'s: {", ".join(map(repr, names))}')
    if len(set(asked)) < len(asked):
        raise MessageInvalidError('"outputs" asks for an output twice')
    said = [_flag(entry.get("parameters"), "binary_data") for entry in entries]
    return {name: binary if flag is None else flag for name, flag in zip(asked, said, strict=True)}


def _flag(parameters: Any, name: str) -> bool | None:
    """Return what parameters say of a flag; None where they say nothing."""
    flag = parameters.get(name) if isinstance(parameters, dict) else None
    if flag is None or isinstance(flag, bool):
        return flag
    raise MessageInvalidError(f'"{name}" must be true or false')
