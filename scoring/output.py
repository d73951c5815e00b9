"""Blobs in the making: staged by any thread, invisible until one conditional commit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeGuard

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError, NameInvalidError, SupersededError
from scoring.job import Job, Run
from settings import Settings
from storage import ANY_ETAG, Blob, BlobPath, BlobStore
from storage.writer import block_id

RUN_KEY = "dropscore_run"
"""Metadata of results and rejects: the run that wrote them, and (below) the version of the input it scored."""

INPUT_KEY = "dropscore_input_etag"


def result_paths(job: Job, settings: Settings) -> tuple[BlobPath, BlobPath]:
    """Return where a job's result and its rejects belong."""
    incoming = settings.incoming
    scored = BlobPath(settings.scored, job.scored_name(incoming))
    return scored, BlobPath(settings.rejected, job.result_name(incoming))


class Target(Protocol):
    """What a run ends with putting up: one blob, or a folder of them."""

    @property
    def path(self) -> BlobPath:
        """Where it is."""
        ...

    def commit(self, block_ids: Sequence[str], look: Callable[[], None]) -> object:
        """Make it these blocks: see Output.commit."""
        ...

    def remove(self, look: Callable[[], None] | None = None) -> None:
        """Delete what was there before: see Output.remove."""
        ...

    def let_go(self) -> None:
        """Drop what was staged here and is not going to be committed: see Output.let_go."""
        ...


def check_results(job: Job, blobs: BlobStore, settings: Settings) -> None:
    """Refuse a job whose result can have no name: it may be longer than the input's. NameInvalidError."""
    for path in result_paths(job, settings):
        try:
            blobs.check(path)
        except NameInvalidError as error:
            raise NameInvalidError(
                f"the file's result cannot be kept: {error.message}; rename the file", file=str(job.input)
            ) from error


class Output:
    """One blob of a run, at a path that belongs to the newest version of the run's input."""

    def __init__(
        self, blobs: BlobStore, path: BlobPath, run: Run, content_type: str, marks: Mapping[str, str] | None = None
    ) -> None:
        """Begin a blob; `marks` are metadata beside those that say whose it is."""
        self.blobs = blobs
        self.path = path
        self.content_type = content_type
        self._run = run
        self._marks = marks or {}

    @property
    def block_prefix(self) -> str:
        """What the ids of this run's blocks begin with."""
        return self._run.id[:16]

    def stage(self, sequence: int, data: bytes | memoryview, sign: bytes | None = None) -> str:
        """Upload one block and return its id; `sequence` is its number, unique in this output.

        `sign` is what tells the block from any other that a run of this id can have under this number, where that
        is less than all of `data`: the input's own text is the same in all of them.
        """
        name = block_id(self.block_prefix, sequence, data if sign is None else sign)
        self.blobs.stage_block(self.path, name, data)
        return name

    def commit(self, block_ids: Sequence[str], look: Callable[[], None]) -> str:
        """Make the blob these blocks, and return its ETag; if this very run has done so already, just the latter.

        `look` is called before each try, and raises if the run has ended otherwise: a twin's result may have been
        replaced by a later run's since, which is not ours to overwrite. SupersededError if the input is not the
        version that was scored any more; BlocksMissingError (retryable) if another run's commit dropped our blocks.

        A try that did happen, but whose answer was lost, looks like one that was lost to somebody else: either way
        the blob says whose it is.
        """
        while True:
            current = self._look()
            if self._is_ours(current):
                self.let_go()
                return current.etag
            # Looked at after `current`: whoever scored a newer input and commits from here on changes its ETag.
            look()
            check_current(self.blobs, self._run)
            try:
                return self.blobs.commit_blocks(
                    self.path,
                    block_ids,
                    if_match=current.etag if current else None,
                    if_none_match=None if current else ANY_ETAG,
                    metadata={**owner(self._run), **self._marks},
                    content_type=self.content_type,
                )
            except ConditionFailedError:
                continue  # somebody was faster: look again at whose result is there
            except BlocksMissingError:
                if self._is_ours(current := self._look()):
                    return current.etag
                look()
                raise

    def remove(self, look: Callable[[], None] | None = None) -> None:
        """Delete what a run of another version of the input left here: this one has nothing to put in its place.

        With `look`, which is called as in `commit`, also what another run of the same version has: this one has
        succeeded, and has nothing here.
        """
        etag = self._run.input.etag if self._run.input else None
        while (current := self._look()) and (look or current.metadata.get(INPUT_KEY) != etag):
            if look:
                look()
            check_current(self.blobs, self._run)
            try:
                self.blobs.delete(self.path, if_match=current.etag)
            except BlobNotFoundError:
                return
            except ConditionFailedError:
                continue  # another run has been here: look again at whose result is there

    def let_go(self) -> None:
        """Drop what this run has staged here and will not commit any more: a folder would keep it for ever.

        A twin's blocks are the same: so this is for when the run has ended for good, or the blob is its own.
        """
        self.blobs.drop_blocks(self.path, self.block_prefix)

    def _is_ours(self, current: Blob | None) -> TypeGuard[Blob]:
        return current is not None and current.metadata.get(RUN_KEY) == self._run.id

    def _look(self) -> Blob | None:
        try:
            return self.blobs.stat(self.path)
        except (BlobNotFoundError, NameInvalidError):
            return None  # under a name that no blob can have, there is none


def owner(run: Run) -> dict[str, str]:
    """Return the metadata that say which run wrote a blob, and of which version of the input it is."""
    return {RUN_KEY: run.id, INPUT_KEY: run.input.etag if run.input else ""}


def check_current(blobs: BlobStore, run: Run) -> None:
    """Raise SupersededError if the run's input is not the version it began with any more."""
    try:
        current = blobs.stat(run.job.input)
    except BlobNotFoundError:
        raise superseded(run) from None
    if run.input is None or current.etag != run.input.etag:
        raise superseded(run)


def superseded(run: Run) -> SupersededError:
    """Return the error that ends a run whose input has changed."""
    return SupersededError(
        "the file was replaced or deleted while it was being scored; a newer version has a run of its own",
        file=str(run.job.input),
    )
