"""What came of a run, for those who fetch it: its result and its rejects, each a file or a folder of parts."""

from dataclasses import dataclass
from typing import Literal

from errors import BlobNotFoundError, NameInvalidError, ResultGoneError, RunUnderWayError
from scoring.job import format_of
from scoring.output import RUN_KEY
from scoring.pipeline import content_type_of
from scoring.receipt import Receipt
from scoring.services import Services
from scoring.splits.table_folder import parts_of
from scoring.table_parts import is_part
from storage import Blob, BlobPath

Kind = Literal["output", "rejects"]
"""What a receipt calls the two."""

_CALLED: dict[Kind, str] = {"output": "result", "rejects": "rejected rows"}


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result, or a part of one."""

    blob: Blob
    content_type: str


@dataclass(frozen=True, slots=True)
class Parts:
    """A result in parts, in the order of its rows."""

    blobs: list[Blob]


def find_result(run_id: str, kind: Kind, services: Services, part: str = "") -> ResultFile | Parts:
    """Return what a run has put up, or one `part` of it by its name.

    RunNotFoundError for no run, RunUnderWayError for one that has not ended, BlobNotFoundError where it has put up
    no such thing, and ResultGoneError where that was replaced by a later run's since, or deleted.
    """
    receipt = services.receipts.find(run_id)
    if receipt is None:
        services.receipts.status(run_id)  # or there is no such run
        raise RunUnderWayError(f"run {run_id!r} has not ended yet: ask again when it has")
    place = receipt.output if kind == "output" else receipt.rejects
    if place is None:
        raise BlobNotFoundError(f"run {run_id!r} has no {_CALLED[kind]}: its status is {receipt.status}")
    path = BlobPath.parse(place)
    if part:
        return _find_part(receipt, path, part, services)
    if blob := _own(path, run_id, services):
        return ResultFile(blob, _content_type(blob.path, receipt, services))
    if format_of(path.name) == "parquet" and (blobs := parts_of(services.blobs, path, run_id)):
        return Parts(blobs)
    raise _gone(receipt, path)


def is_in_place(receipt: Receipt, services: Services) -> bool:
    """Say whether all that a run has put up is there still: a path's owner is the run that wrote there last."""
    try:
        for kind in (kind for kind in _CALLED if getattr(receipt, kind)):
            find_result(receipt.run_id, kind, services)
    except ResultGoneError:
        return False
    return True


def _find_part(receipt: Receipt, path: BlobPath, part: str, services: Services) -> ResultFile:
    blob = None
    if format_of(path.name) == "parquet" and is_part(part):
        blob = _own(BlobPath(path.container, f"{path.name}/{part}"), receipt.run_id, services)
    if blob is None:
        raise BlobNotFoundError("there is no such part: without one, the parts are listed where there are some")
    return ResultFile(blob, _content_type(blob.path, receipt, services))


def _own(path: BlobPath, run_id: str, services: Services) -> Blob | None:
    """Return what lies there, if this very run has put it there."""
    try:
        blob = services.blobs.stat(path)
    except (BlobNotFoundError, NameInvalidError):
        return None
    return blob if blob.metadata.get(RUN_KEY) == run_id or _is_answer(path, services) else None


def _is_answer(path: BlobPath, services: Services) -> bool:
    """Say whether it is what rows of a message became: that lies among the run's own records."""
    return path.container == services.settings.runs


def _content_type(path: BlobPath, receipt: Receipt, services: Services) -> str:
    if _is_answer(path, services):
        return "application/json"
    kind = content_type_of(path.name)
    encoding = (receipt.dialect or {}).get("encoding") or "utf-8"
    return f"{kind}; charset=utf-8" if kind == "text/csv" and encoding == "utf-8" else kind


def _gone(receipt: Receipt, path: BlobPath) -> ResultGoneError:
    return ResultGoneError(
        f"{path} is not run {receipt.run_id!r}'s any more: a later run of the same input has replaced it, or it "
        "was deleted",
        file=str(path),
    )
