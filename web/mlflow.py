"""MLflow's scoring protocol, and Azure ML's, which is much the same: clients of theirs need not know us.

What is answered is what MLflow's server answers with our package as its model. A row that cannot be scored refuses
the whole request, as there: clients of that protocol expect a prediction for each row, or an error.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import FormatUnsupportedError, MessageInvalidError
from model_store.cache import Served
from model_store.model import Model
from scoring.rows import Answers, answer_columns, answer_rows
from scoring.strict_json import read_json
from settings import VERSION
from web.answers import answer
from web.bodies import CSV, JSON, Limits, content_type, read_body
from web.models import Find, told
from web.turns import Turns

_SPLIT = '{"columns": ["a", "b"], "data": [[1, 2], …]}'


def mlflow_routes(limits: Limits, turns: Turns) -> list[Route]:
    """Return the routes of this protocol."""

    async def invoke(request: Request) -> Response:
        """Score rows in any of MLflow's forms."""
        kind = content_type(request)
        if kind not in (JSON, CSV):
            raise FormatUnsupportedError(f"the content type must be {JSON} or {CSV}")
        body = await read_body(request, limits)
        asked = request.path_params.get("model") or request.query_params.get("model") or None
        served, answers = await turns.take(request, body, asked, _invoke, limits, kind, body)
        rows = answers.rows()
        content = rows if request.scope["path"] == "/score" else {"predictions": rows}
        return answer(content, headers={"x-dropscore-model": str(served.version)})

    async def ping(_request: Request) -> Response:
        """Say that the process answers."""
        return Response("\n", media_type=JSON)

    async def version(_request: Request) -> Response:
        """Say which version of Dropscore answers."""
        return Response(VERSION, media_type=JSON)

    return [
        Route("/invocations", invoke, methods=["POST"]),
        Route("/score", invoke, methods=["POST"]),
        Route("/endpoints/{model:path}/invocations", invoke, methods=["POST"]),  # where mlflow.deployments asks
        Route("/ping", ping),
        Route("/health", ping),
        Route("/version", version),
    ]


def _invoke(find: Find, limits: Limits, kind: str, body: bytes) -> tuple[Served, Answers]:
    content = read_json(body, "the body", nan=True) if kind == JSON else None  # as MLflow's client writes it
    with find() as served:
        if kind == CSV:
            from scoring.csv.text_rows import answer_csv  # noqa: PLC0415  # cold start: rows of JSON need no CSV

            answers = answer_csv(body, served.model, limits.check_rows)
        else:
            answers = _score(content, served.model, limits)
    told(served, answers).check_whole()
    return served, answers


def _score(content: Any, model: Model, limits: Limits) -> Answers:
    given = [form for form in _FORMS if form in content] if isinstance(content, dict) else []
    if len(given) != 1:
        raise MessageInvalidError(
            f"the body must be an object with exactly one of {', '.join(_FORMS)}; it has {len(given) or 'none'}"
        )
    # Our models take no parameters: like MLflow, we ignore them then.
    if not isinstance(content.get("params") or {}, dict):
        raise MessageInvalidError("params must be an object")
    return _FORMS[given[0]](content[given[0]], model, limits)


def _records(content: Any, model: Model, limits: Limits, *, name: str) -> Answers:
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise MessageInvalidError(f'{name} must be a list of rows, [{{"a": 1, "b": 2}}, …]')
    limits.check_rows(len(content))
    return answer_rows(content, model)


def _split(content: Any, model: Model, limits: Limits, *, name: str) -> Answers:
    """Score pandas' orientation `split`; its index says nothing to a model."""
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise MessageInvalidError(f"{name} must be {_SPLIT}")
    columns = content.get("columns")
    if columns is None:
        return _positional(content["data"], model, limits, name=name)
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise MessageInvalidError(f"the columns of {name} must be a list of names: {_SPLIT}")
    if len(set(columns)) < len(columns):
        raise MessageInvalidError(f"{name} names a column twice")
    return _table(content["data"], columns, model, limits, name=name)


def _positional(content: list[Any], model: Model, limits: Limits, *, name: str) -> Answers:
    """Score rows without names: their cells are the model's inputs, in order."""
    inputs = [column.name for column in model.signature.inputs]
    if len(inputs) == 1:
        content = [row if isinstance(row, list) else [row] for row in content]
    return _table(content, inputs, model, limits, name=name)


def _table(data: list[Any], columns: list[str], model: Model, limits: Limits, *, name: str) -> Answers:
    limits.check_rows(len(data))
    width = len(columns)
    if not all(isinstance(row, list) and len(row) == width for row in data):
        raise MessageInvalidError(f"each row of {name} must be a list of {width} values, one for each column")
    cells = zip(*data, strict=True) if data else ((),) * width
    return answer_columns(dict(zip(columns, cells, strict=True)), len(data), model)


def _tensors(content: Any, model: Model, limits: Limits, *, name: str) -> Answers:
    """Score what MLflow calls inputs: columns, one row, or rows."""
    if isinstance(content, list):
        return _instances(content, model, limits, name=name)
    if not isinstance(content, dict):
        raise MessageInvalidError(f'{name} must be columns, {{"a": [1, …], "b": [2, …]}}, or a list of rows')
    if not content or not all(isinstance(cells, list) for cells in content.values()):
        return _records([content], model, limits, name=name)
    lengths = {len(cells) for cells in content.values()}
    if len(lengths) > 1:
        raise MessageInvalidError(f"the columns of {name} are of different lengths")
    limits.check_rows(max(lengths))
    return answer_columns(content, max(lengths), model)


def _instances(content: Any, model: Model, limits: Limits, *, name: str) -> Answers:
    """Score rows: objects, or lists of the model's inputs in order."""
    if not isinstance(content, list):
        raise MessageInvalidError(f"{name} must be a list of rows")
    if content and isinstance(content[0], dict):
        return _records(content, model, limits, name=name)
    return _positional(content, model, limits, name=name)


def _azure(content: Any, model: Model, limits: Limits, *, name: str) -> Answers:
    """Score Azure ML's input_data: `split`, or what MLflow calls inputs."""
    if isinstance(content, dict) and content.keys() >= {"columns", "data"}:
        return _split(content, model, limits, name=name)
    return _tensors(content, model, limits, name=name)


_FORMS: Mapping[str, Callable[[Any, Model, Limits], Answers]] = {
    name: partial(read, name=name)
    for name, read in {
        "dataframe_split": _split,
        "dataframe_records": _records,
        "instances": _instances,
        "inputs": _tensors,
        "input_data": _azure,
    }.items()
}
