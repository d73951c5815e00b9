"""Runs over HTTP: started, listed, looked at, cancelled, replayed."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import MessageInvalidError, OptionsInvalidError
from model_store import ModelReference
from scoring.services import Services
from scoring.strict_json import read_json
from web.answers import answer
from web.bodies import Limits, read_body
from web.prefix import prefixed

POLL_SECONDS = 2
"""What Retry-After says to those who wait for a run: most files are scored in less."""

MOST_RUNS = 500
"""On one page of the list."""

_LOOKED = 10_000  # of all runs, for those that a page is to show: some seconds of listing
_KEY = re.compile(r"(open-)?[0-9]{13}-[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,9}")

# What knows how files are scored is imported by the first request that needs it: rows need not wait for that.


def run_routes(services: Callable[[], Services], limits: Limits) -> list[Route]:
    """Return the routes of runs, but for what comes of them."""

    async def runs(request: Request) -> Response:
        """List runs, those under way first; or, by POST, start one."""
        if request.method != "POST":
            return await run_in_threadpool(_list, request.query_params, services)
        body = await read_body(request, limits)
        return await run_in_threadpool(_start, request, body, services)

    def run(request: Request) -> Response:
        """Return a run's receipt, or what is known of it before it has ended."""
        from scoring.runs import UNDER_WAY, describe_run  # noqa: PLC0415  # see above

        record = describe_run(request.path_params["run_id"], services())
        return answer(record, headers=_WAIT if record["status"] in UNDER_WAY else None)

    def cancel_run(request: Request) -> Response:
        """End a run that has not ended, and return its receipt."""
        from scoring.runs import cancel  # noqa: PLC0415  # see above

        return answer(cancel(request.path_params["run_id"], services()).to_dict())

    def replay_run(request: Request) -> Response:
        """Have the job of a run that has not succeeded run once more, as a run of its own."""
        from scoring.runs import replay, summarize  # noqa: PLC0415  # see above

        again = replay(request.path_params["run_id"], services())
        return _accepted(request, summarize(again, services()).to_dict())

    return [
        Route("/api/runs", runs, methods=["GET", "POST"]),
        Route("/api/runs/{run_id}", run),
        Route("/api/runs/{run_id}/cancel", cancel_run, methods=["POST"]),
        Route("/api/runs/{run_id}/replay", replay_run, methods=["POST"]),
    ]


def run_path(request: Request, run_id: str) -> str:
    """Return where a run is found by whoever sent a request."""
    return prefixed(request, f"/api/runs/{run_id}")


_WAIT = {"retry-after": str(POLL_SECONDS)}


def _list(asked: QueryParams, services: Callable[[], Services]) -> Response:
    from scoring.runs import STATUSES, list_page  # noqa: PLC0415  # see above

    status, model, after = asked.get("status"), asked.get("model"), asked.get("after", "")
    if status and status not in STATUSES:
        raise OptionsInvalidError(f"status must be one of {', '.join(STATUSES)}")
    if after and not _KEY.fullmatch(after):
        raise OptionsInvalidError('after must be what a page before gave as its "next"')
    limit = asked.get("limit") or "50"
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST_RUNS:
        raise OptionsInvalidError(f"limit must be a whole number from 1 to {MOST_RUNS}")
    page = list_page(
        services(),
        status=status or None,
        model=str(ModelReference.parse(model)) if model else None,
        limit=int(limit),
        after=after,
        most_looked=_LOOKED,
    )
    return answer({"runs": [run.to_dict() for run in page.runs], "next": page.next})


def _start(request: Request, body: bytes, services: Callable[[], Services]) -> Response:
    from scoring.intake import as_folder, queue_folder  # noqa: PLC0415  # see above
    from scoring.messages import read_job  # noqa: PLC0415  # see above
    from scoring.runs import submit, summarize  # noqa: PLC0415  # see above

    content = read_json(body, "the body")
    if not isinstance(content, dict):
        raise MessageInvalidError('the body must be a job: {"input": "incoming/churn/rows.csv", "model": "churn"}')
    if "records" in content:
        raise MessageInvalidError("rows are scored by POST /api/predict/{model}, and stored files here")
    opened = services()
    job = as_folder(read_job(content, opened.settings), opened)
    if job.is_of_folder:
        queue_folder(job, opened)
        listed = prefixed(request, f"/api/runs?model={quote(str(job.model), safe='@')}")
        folder = {"input": str(job.input), "model": str(job.model), "status": "queued", "runs": listed}
        return answer(folder, 202, {"location": listed, **_WAIT})
    submitted = submit(job, opened)
    summary = summarize(submitted.run, opened).to_dict()
    if submitted.is_new:
        return _accepted(request, summary)
    return answer(summary, headers={"location": run_path(request, submitted.run.id)})


def _accepted(request: Request, summary: dict[str, Any]) -> Response:
    return answer(summary, 202, {"location": run_path(request, summary["run_id"]), **_WAIT})
