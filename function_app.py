"""The triggers: each decodes its binding, calls, and logs. What they call is in scoring/ and web/."""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any

import azure.functions as func
from azurefunctions.extensions.bindings import blob

from settings import Settings

if TYPE_CHECKING:  # cold start: indexing this file must not load what scoring needs
    from scoring.services import Services

settings = Settings.load()


# Triggers fire on many threads at once, and caches alone would let each of the first make a set of its own.
_making = RLock()


def services() -> "Services":
    """Return this process's services, wired when the first trigger fires."""
    with _making:
        return _services()


@cache
def _services() -> "Services":
    from scoring.services import Services  # noqa: PLC0415  # cold start, as above

    return Services.open(settings)


@cache
def web_app() -> Any:
    """Make the HTTP API when the first request comes."""
    from web.app import create_app  # noqa: PLC0415  # cold start, as above

    return create_app(services, settings)


async def lazy_web_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Pass a request on to the HTTP API (ASGI)."""
    await web_app()(scope, receive, send)


app = func.AsgiFunctionApp(app=lazy_web_app, http_auth_level=func.AuthLevel.FUNCTION, function_name="http")


@app.function_name("dropped")
@app.blob_trigger(
    arg_name="dropped",
    path=f"{settings.incoming}/{{name}}",
    connection=settings.connection,
    source=func.BlobSource.EVENT_GRID
    if settings.blob_source == "eventgrid"
    else func.BlobSource.LOGS_AND_CONTAINER_SCAN,
)
def queue_dropped_file(dropped: blob.BlobClient) -> None:
    """Queue the job of a dropped file."""
    from scoring.intake import accept_file  # noqa: PLC0415  # cold start, as above
    from storage import BlobPath  # noqa: PLC0415  # cold start, as above

    accept_file(BlobPath(dropped.container_name, dropped.blob_name), services())


@app.function_name("jobs")
@app.queue_trigger(arg_name="message", queue_name=settings.jobs_queue, connection=settings.connection)
def run_queued_job(message: func.QueueMessage) -> None:
    """Run the job a message describes; what is raised here, the host retries."""
    from scoring.intake import accept_message  # noqa: PLC0415  # cold start, as above

    accept_message(message.get_body(), services())


@app.function_name("sweeper")
@app.timer_trigger(arg_name="timer", schedule=settings.sweep_schedule)
def sweep_open_runs(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it
    """Look after runs whose messages were lost, or whose processes died."""
    from scoring.sweeper import sweep  # noqa: PLC0415  # cold start, as above

    sweep(services())


@app.function_name("poisoned_jobs")
@app.queue_trigger(arg_name="message", queue_name=f"{settings.jobs_queue}-poison", connection=settings.connection)
def record_poisoned_job(message: func.QueueMessage) -> None:
    """Write the failed receipt of a job that failed at every try, so that it does not vanish silently."""
    from scoring.poison import end_poisoned_job  # noqa: PLC0415  # cold start, as above

    end_poisoned_job(message.get_body(), services())


@app.function_name("poisoned_blobs")
@app.queue_trigger(arg_name="message", queue_name="webjobs-blobtrigger-poison", connection=settings.connection)
def queue_poisoned_blob(message: func.QueueMessage) -> None:
    """Queue the job of a dropped file after all, when the blob trigger failed at every try."""
    from scoring.poison import end_poisoned_blob  # noqa: PLC0415  # cold start, as above

    end_poisoned_blob(message.get_body(), services())


@app.function_name("splits")
@app.queue_trigger(arg_name="message", queue_name=settings.splits_queue, connection=settings.connection)
def score_queued_split(message: func.QueueMessage) -> None:
    """Score one split of a large file, and finish its run if it was the last; as above, the host retries."""
    from scoring.splits.worker import accept_split  # noqa: PLC0415  # cold start, as above

    accept_split(message.get_body(), services())


@app.function_name("poisoned_splits")
@app.queue_trigger(arg_name="message", queue_name=f"{settings.splits_queue}-poison", connection=settings.connection)
def record_poisoned_split(message: func.QueueMessage) -> None:
    """Write the failed receipt of a run one of whose splits failed at every try."""
    from scoring.poison import end_poisoned_split  # noqa: PLC0415  # cold start, as above

    end_poisoned_split(message.get_body(), services())
