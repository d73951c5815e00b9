"""Blobs in the making: staged by any thread, invisible until one conditional commit."""

from collections.abc import Sequence

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError, SupersededError
from scoring.job import Run
from storage import ANY_ETAG, Blob, BlobPath, BlobStore
from storage.writer import block_id

RUN_KEY = "dropscore_run"
"""Metadata of results and rejects: the run that wrote them, and (below) the version of the input it scored."""

INPUT_KEY = "dropscore_input_etag"


class Output:
    """One blob of a run, at a path that belongs to the newest version of the run's input."""

    def __init__(self, blobs: BlobStore, path: BlobPath, run: Run, content_type: str) -> None:
        self.blobs = blobs
        self.path = path
        self.content_type = content_type
        self._run = run

    @property
    def block_prefix(self) -> str:
        """What the ids of this run's blocks begin with."""
        return self._run.id[:16]

    def stage(self, sequence: int, data: bytes | memoryview) -> str:
        """Upload one block and return its id; `sequence` is its number, unique in this output."""
        name = block_id(self.block_prefix, sequence, data)
        self.blobs.stage_block(self.path, name, data)
        return name

    def commit(self, block_ids: Sequence[str]) -> str:
        """Make the blob these blocks, and return its ETag; if this very run has done so already, just the latter.

        SupersededError if the input is not the version that was scored any more; BlocksMissingError (retryable) if
        another run's commit dropped our blocks.
        """
        while True:
            current = self._look()
            if current and current.metadata.get(RUN_KEY) == self._run.id:
                return current.etag
            # Looked at after `current`: whoever scored a newer input and commits from here on changes its ETag.
            check_current(self.blobs, self._run)
            try:
                return self.blobs.commit_blocks(
                    self.path,
                    block_ids,
                    if_match=current.etag if current else None,
                    if_none_match=None if current else ANY_ETAG,
                    metadata={RUN_KEY: self._run.id, INPUT_KEY: self._run.input.etag if self._run.input else ""},
                    content_type=self.content_type,
                )
            except ConditionFailedError:
                continue  # somebody was faster: look again at whose result is there
            except BlocksMissingError:
                current = self._look()
                if current and current.metadata.get(RUN_KEY) == self._run.id:
                    return current.etag
                raise

    def remove(self) -> None:
        """Delete what a run of another version of the input left here: this one has nothing to put in its place."""
        current = self._look()
        etag = self._run.input.etag if self._run.input else None
        if current is None or current.metadata.get(INPUT_KEY) == etag:
            return
        check_current(self.blobs, self._run)
        try:
            self.blobs.delete(self.path, if_match=current.etag)
        except (BlobNotFoundError, ConditionFailedError):
            return  # a newer run has been here: it is that one's now

    def _look(self) -> Blob | None:
        try:
            return self.blobs.stat(self.path)
        except BlobNotFoundError:
            return None


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
