"""Our own way to score rows: POST /api/predict/{model}."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import DropscoreError, MessageInvalidError
from model_store.cache import Served
from model_store.model import Model
from scoring.rows import Answers, answer_columns, answer_rows
from scoring.strict_json import read_json
from web.answers import answer
from web.bodies import Limits, read_body
from web.models import Find, told
from web.turns import Turns

_FORMS = (
    'send one row, {"column": value, …}, a list of them, or columns, {"columns": {"column": [value, …], …}}, '
    "all of one length"
)


def predict_routes(limits: Limits, turns: Turns) -> list[Route]:
    """Return the routes of this protocol."""

    async def predict(request: Request) -> Response:
        """Score one row (an object), several (a list of objects), or columns (an object of lists)."""
        body = await read_body(request, limits)
        return await turns.take(request, body, request.path_params["model"], _predict, limits, body)

    return [Route("/api/predict/{model:path}", predict, methods=["POST"])]


def _predict(find: Find, limits: Limits, body: bytes) -> Response:
    content = read_json(body, "the body")
    with find() as served:
        answers = told(served, _score(content, served.model, limits))
    return answer({"model": _named(served), "outputs": list(answers.outputs), "predictions": answers.rows()})


def _score(content: Any, model: Model, limits: Limits) -> Answers:
    # No cell is a list or an object, so that an object of lists can only be columns.
    if isinstance(content, dict):
        columns = content["columns"] if content.keys() == {"columns"} else content
        if isinstance(columns, dict) and columns and all(isinstance(cells, list) for cells in columns.values()):
            lengths = {len(cells) for cells in columns.values()}
            if len(lengths) > 1:
                raise MessageInvalidError(f"the columns are of different lengths: {_FORMS}")
            limits.check_rows(max(lengths))
            return answer_columns(columns, max(lengths), model)
        content = [content]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise MessageInvalidError(_FORMS)
    limits.check_rows(len(content))
    return answer_rows(content, model)


def _named(served: Served) -> dict[str, Any]:
    """Say which version answers; and which one should, but cannot be opened."""
    version, refused = served.version, served.refused
    named: dict[str, Any] = {"name": version.name, "version": version.version, "digest": version.digest}
    if refused is not None:
        code = refused.error.code if isinstance(refused.error, DropscoreError) else "internal"
        named["refused"] = {"version": refused.version.version, "code": code}
    return named
