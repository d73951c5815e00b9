"""A Parquet result of several files, a part for each split: `<path>/part-00000.parquet`, …, and at last `_SUCCESS`.

Such a folder is read as one table by pyarrow, pandas and Spark. No store can change it at once, so `_SUCCESS` goes
first and comes last, as Hadoop has it: a folder without one is being written, or was left by a process that died,
and then the run's next try or the sweeper goes on. The folder belongs to the newest version of the input, as single
results do, and each of its blobs is changed only where it is still what it was when the input was looked at.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError
from scoring.job import Run
from scoring.output import INPUT_KEY, RUN_KEY, Output, check_current, owner
from scoring.parquet.codec import CONTENT_TYPE
from scoring.table_parts import SUCCESS, is_part, part_name
from storage import ANY_ETAG, Blob, BlobPath, BlobStore

PART_KEY = "dropscore_part"
"""Metadata of a folder's files: nothing else that lies there is ever touched."""


class TableFolder:
    """A folder of a run, where a single result would be."""

    def __init__(self, blobs: BlobStore, path: BlobPath, run: Run) -> None:
        self.path = path
        self._blobs = blobs
        self._run = run

    def part(self, split: int) -> Output:
        """Return the file of a split."""
        return self._output(part_name(split))

    def commit(self, block_ids: Sequence[str], look: Callable[[], None]) -> None:
        """Make the folder these blocks, each named `<file>/<block>`; nothing to do if this run has done so already.

        Errors and `look` as in Output.commit; BlocksMissingError also where another run of the same input has
        written here at the same time.
        """
        parts: dict[str, list[str]] = defaultdict(list)
        for block in block_ids:
            name, _, block_id = block.partition("/")
            parts[name].append(block_id)
        if not self._give_up(look):
            return
        _remove(self._blobs, self.path, self._run, RUN_KEY)  # an older run's single file
        written: dict[str, str] = {}
        for name, blocks in parts.items():
            written[name] = self._output(name).commit(blocks, look)
            # Once more: who had looked at all parts before this one was there may have put it up since.
            if len(written) == 1 and not self._give_up(look):
                return
        for name in self._parts().keys() - parts.keys():
            _remove(self._blobs, self._path(name), self._run, PART_KEY)
        while self._is_whole(written):
            if not self._give_up(look) or self._complete(written):
                return
        check_current(self._blobs, self._run)
        raise BlocksMissingError(
            f"{self.path}: another run of the same input is writing here: stage all blocks again",
            file=str(self.path),
        )

    def remove(self, look: Callable[[], None] | None = None) -> None:
        """Delete what other runs left here: see Output.remove."""
        SingleTable(self._blobs, self.path, self._run, CONTENT_TYPE).remove(look)

    def let_go(self) -> None:
        """Do nothing: those who scored the splits have staged their blocks, each on its own file."""

    def _give_up(self, look: Callable[[], None]) -> bool:
        """Take `_SUCCESS` away from what was here before; False where this very run's is."""
        while True:
            current = _stat(self._blobs, self._path(SUCCESS))
            if current and current.metadata.get(RUN_KEY) == self._run.id:
                return False
            look()
            check_current(self._blobs, self._run)
            if current is None:
                return True
            try:
                self._blobs.delete(current.path, if_match=current.etag)
            except (BlobNotFoundError, ConditionFailedError):
                continue  # somebody was faster: look again at whose folder it is

    def _complete(self, written: Mapping[str, str]) -> bool:
        """Put up `_SUCCESS`; False where there is one, maybe this run's, or had better be none."""
        path, metadata = self._path(SUCCESS), owner(self._run) | {PART_KEY: SUCCESS}
        try:
            etag = self._blobs.write(path, b"", if_none_match=ANY_ETAG, metadata=metadata)
        except ConditionFailedError:
            return False
        if self._is_whole(written):
            return True
        # Another run has begun meanwhile, and may have looked for `_SUCCESS` just before it was there.
        try:
            self._blobs.delete(path, if_match=etag)
        except (BlobNotFoundError, ConditionFailedError):
            return True  # it has found it, and taken it away: till then the folder was whole
        return False

    def _is_whole(self, written: Mapping[str, str]) -> bool:
        """Say whether the parts that are there are these, by their ETags, and no others."""
        return self._parts() == written

    def _parts(self) -> dict[str, str]:
        """Return the ETags of all parts, whoever wrote them, by name."""
        files = {blob.path.name.rpartition("/")[2]: blob for blob in _files(self._blobs, self.path)}
        return {name: blob.etag for name, blob in files.items() if PART_KEY in blob.metadata and name != SUCCESS}

    def _output(self, name: str) -> Output:
        return Output(self._blobs, self._path(name), self._run, CONTENT_TYPE, {PART_KEY: name})

    def _path(self, name: str) -> BlobPath:
        return BlobPath(self.path.container, f"{self.path.name}/{name}")


class SingleTable(Output):
    """A Parquet result that is a single file, where an older run may have left a folder."""

    def commit(self, block_ids: Sequence[str], look: Callable[[], None]) -> str:
        """Take the folder away and make the file these blocks: see Output.commit."""
        _remove_folder(self.blobs, self.path, self._run, look)
        return super().commit(block_ids, look)

    def remove(self, look: Callable[[], None] | None = None) -> None:
        """Delete what other runs left here, of either kind: see Output.remove."""
        _remove_folder(self.blobs, self.path, self._run, look)
        super().remove(look)


def parts_of(blobs: BlobStore, path: BlobPath, run_id: str) -> list[Blob]:
    """Return the files of the folder that this run has completed, in order; none where there is no such folder."""
    own = [blob for blob in _files(blobs, path) if blob.metadata.get(RUN_KEY) == run_id]
    parts = [blob for blob in own if blob.metadata.get(PART_KEY) != SUCCESS]
    return parts if len(parts) < len(own) else []


def _remove_folder(blobs: BlobStore, path: BlobPath, run: Run, look: Callable[[], None] | None) -> None:
    """Delete what other runs left in the folder at `path`; without `look`, those of other versions of the input."""
    for blob in list(_files(blobs, path)):  # by name, and so `_SUCCESS` before the parts
        if look:
            look()
        _remove(blobs, blob.path, run, PART_KEY, keep_same_input=look is None)


def left_by(run: Run, path: BlobPath, blobs: BlobStore) -> Iterator[BlobPath]:
    """Yield what `run` itself has put into the folder at `path`, `_SUCCESS` first."""
    return (blob.path for blob in _files(blobs, path) if blob.metadata.get(RUN_KEY) == run.id)


def _remove(blobs: BlobStore, path: BlobPath, run: Run, key: str, *, keep_same_input: bool = False) -> None:
    """Delete a blob whose metadata have `key`, as long as the run's input is the newest; SupersededError if not."""
    etag = run.input.etag if run.input else None
    while (current := _stat(blobs, path)) and key in current.metadata:
        if keep_same_input and current.metadata.get(INPUT_KEY) == etag:
            return
        check_current(blobs, run)
        try:
            blobs.delete(path, if_match=current.etag)
        except (BlobNotFoundError, ConditionFailedError):
            continue  # somebody was faster: look again at what is there


def _files(blobs: BlobStore, path: BlobPath) -> Iterator[Blob]:
    """Yield what may be a folder's own: `_SUCCESS` and parts."""
    prefix = f"{path.name}/"
    for blob in blobs.list(path.container, prefix, metadata=True):
        name = blob.path.name.removeprefix(prefix)
        if name == SUCCESS or is_part(name):
            yield blob


def _stat(blobs: BlobStore, path: BlobPath) -> Blob | None:
    try:
        return blobs.stat(path)
    except BlobNotFoundError:
        return None
