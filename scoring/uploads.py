"""Files that are sent to us and dropped here: checked as dropped files are, staged as they come, put up whole."""

from dataclasses import dataclass, replace
from uuid import uuid4

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError, FileEmptyError, NameInvalidError
from scoring.job import Job, Run
from scoring.output import check_results
from scoring.part_files import is_hidden
from scoring.pipeline import check_format, content_type_of
from scoring.runs import expect
from scoring.services import Services
from storage import ANY_ETAG, BlobPath, StagedWriter

UPLOAD_KEY = "dropscore_upload"
"""Metadata of a file: the upload that put it there, so that one whose answer was lost knows its own work."""

BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes that are staged at a time: 50,000 times so much can be uploaded."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold of the file that is there before, if anything."""

    if_match: str | None = None
    """Its ETag."""
    is_new: bool = False
    """That there is none."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that is there, and the run that it will be."""

    path: BlobPath
    etag: str
    size: int
    """Bytes."""
    run: Run


class Upload:
    """A file on its way; its methods block, and serve one thread at a time."""

    def __init__(self, path: BlobPath, services: Services, condition: Condition = Condition()) -> None:
        """Begin, unless what comes could not be scored there.

        NameInvalidError, ReferenceInvalidError, FormatUnsupportedError, ModelNotFoundError; ConditionFailedError
        where the condition does not hold as it is.
        """
        self._job = admit(path, services)
        self._services = services
        self._condition = condition
        self._check_condition()
        self._id = uuid4().hex
        self._writer = StagedWriter(services.blobs, path, prefix=self._id[:16], block_bytes=BLOCK_BYTES)

    def write(self, parts: list[bytes]) -> None:
        """Take what came, and stage the blocks that it completes."""
        for part in parts:
            self._writer.write(part)

    def commit(self) -> Uploaded:
        """Put the file up, and write down which run it will be.

        FileEmptyError if nothing came; ConditionFailedError if the condition does not hold any more;
        BlocksMissingError (retryable) if another upload of the same name came in between.
        """
        path, size = self._job.input, self._writer.tell()
        if not size:
            raise FileEmptyError(
                "the body is empty: send the file's bytes, with their Content-Length (to Azure Functions, a body "
                "that is sent in chunks arrives empty)",
                file=str(path),
            )
        etag = self._commit()
        return Uploaded(path, etag, size, expect(replace(self._job, etag=etag), self._services))

    def discard(self) -> None:
        """Let go of what was staged."""
        self._writer.discard()

    def _commit(self) -> str:
        condition, path = self._condition, self._job.input
        try:
            return self._writer.commit(
                if_match=condition.if_match,
                if_none_match=ANY_ETAG if condition.is_new else None,
                metadata={UPLOAD_KEY: self._id},
                content_type=content_type_of(path.name),
            )
        except (BlocksMissingError, ConditionFailedError) as error:
            # a commit whose answer was lost looks the same when it is sent again
            if etag := self._own():
                return etag
            if isinstance(error, ConditionFailedError):
                raise
            raise BlocksMissingError(
                "another upload of the same file came in between: send this one again if it is the newer",
                file=str(path),
            ) from error

    def _own(self) -> str | None:
        try:
            blob = self._services.blobs.stat(self._job.input)
        except BlobNotFoundError:
            return None
        return blob.etag if blob.metadata.get(UPLOAD_KEY) == self._id else None

    def _check_condition(self) -> None:
        """Refuse at once what the commit would refuse after all has come."""
        condition, path = self._condition, self._job.input
        if not condition.is_new and condition.if_match is None:
            return
        try:
            etag: str | None = self._services.blobs.stat(path).etag
        except BlobNotFoundError:
            etag = None
        if condition.is_new and etag is not None:
            raise ConditionFailedError(f"{path} is there already", file=str(path))
        if condition.if_match is not None and etag != condition.if_match:
            raise ConditionFailedError(f"{path} is another version than If-Match says, or none", file=str(path))


def admit(path: BlobPath, services: Services) -> Job:
    """Return the job that a file of this name will have; refuse names under which it would have none, or fail.

    NameInvalidError, ReferenceInvalidError, FormatUnsupportedError, ModelNotFoundError.
    """
    job = Job.for_dropped(path)
    if "\ufffd" in path.name:  # what is put for bytes of a URL that are no text
        raise NameInvalidError("the name is not encoded in UTF-8, or holds U+FFFD: rename the file", file=str(path))
    if is_hidden(path.name):
        raise NameInvalidError(
            'what begins with "." or "_" is passed over, as it lies beside data: give file and folders other names',
            file=str(path),
        )
    check_format(job)
    services.blobs.check(path)
    check_results(job, services.blobs, services.settings)
    services.models.resolve(job.model)
    return job
