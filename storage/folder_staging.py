"""Uncommitted blocks of a blob in a folder: all in one file, so that a commit hardly ever has to copy them.

Blocks are appended as they come, nearly in the order they will be committed in: threads overtake each other by a
block or two. A commit then puts the few that are out of place in order and makes that very file the blob.
"""

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_COPY = 1024 * 1024
_MOST_MOVED = 256 * 1024 * 1024  # bytes of neighbouring blocks that are put in order in memory


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    """Where it begins in the file of blocks; bytes, as is its size."""
    size: int


@dataclass(frozen=True, slots=True)
class Staging:
    """The uncommitted blocks of one blob; every method is called with the blob's lock held."""

    folder: Path

    @property
    def _data(self) -> Path:
        return self.folder / "blocks"

    @property
    def _index(self) -> Path:
        return self.folder / "index"

    def add(self, block_id: str, data: bytes | memoryview) -> None:
        """Keep a block; an id that is there already now stands for this one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._data.open("ab", buffering=0) as file:
            start = file.tell()
            _write(file, data)
        # After the block, and with an end mark: of a process that is killed in between, nothing is believed.
        with self._index.open("ab", buffering=0) as file:
            file.write(f"\n{start} {memoryview(data).nbytes} {block_id.encode().hex()} .".encode())

    def missing(self, block_ids: Sequence[str]) -> int:
        """Return how many of these blocks are not there."""
        known = self._blocks()
        return sum(block_id not in known for block_id in block_ids)

    def assemble(self, block_ids: Sequence[str], target: Path) -> None:
        """Make `target` these blocks, in this order; no block is there any more afterwards."""
        known = self._blocks()
        blocks = [known[block_id] for block_id in block_ids]
        if blocks and self._put_in_order(blocks):
            self._index.unlink(missing_ok=True)  # first: what it says of this file is not true of the next one
            self._data.replace(target)
        else:
            self._copy(blocks, target)
        self.forget()

    def drop(self, prefix: str) -> None:
        """Let go of the blocks whose ids begin so, if there are no others."""
        if all(block_id.startswith(prefix) for block_id in self._blocks()):
            self.forget()

    def forget(self) -> None:
        """Let go of all blocks."""
        self._index.unlink(missing_ok=True)  # first, as above
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _blocks(self) -> dict[str, _Block]:
        try:
            lines = self._index.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        blocks = {}
        for line in lines:
            if line.endswith(b" ."):
                start, size, name, _ = line.split(b" ")
                blocks[bytes.fromhex(name.decode()).decode()] = _Block(int(start), int(size))
        return blocks

    def _put_in_order(self, blocks: Sequence[_Block]) -> bool:
        """Move blocks within their file until it is the blob; False, with nothing done, if that is not worth it."""
        if sum(block.size for block in blocks) != self._data.stat().st_size or len(set(blocks)) < len(blocks):
            return False  # blocks of other runs are among them
        runs = _misplaced(blocks)
        if any(sum(block.size for block in run) > _MOST_MOVED for _, run in runs):
            return False
        if runs:
            self._index.unlink()  # killed from here on, it leaves blocks that nobody takes for what they were
            with self._data.open("r+b", buffering=0) as file:
                for start, run in runs:
                    _reorder(file, start, run)
        return True

    def _copy(self, blocks: Sequence[_Block], target: Path) -> None:
        with target.open("wb") as file:
            if not blocks:
                return
            with self._data.open("rb", buffering=0) as source:
                for block in blocks:
                    source.seek(block.start)
                    left = block.size
                    while left:
                        data = source.read(min(left, _COPY))
                        file.write(data)
                        left -= len(data)


def _misplaced(blocks: Sequence[_Block]) -> list[tuple[int, list[_Block]]]:
    """Return the shortest runs of blocks that fill a range of the file in another order, each with its start."""
    runs = []
    start = place = reach = 0
    run: list[_Block] = []
    for block in blocks:
        run.append(block)
        place += block.size
        reach = max(reach, block.start + block.size)
        if place == reach:  # all of the range up to here
            if len(run) > 1:
                runs.append((start, run))
            start, run = place, []
    return runs


def _reorder(file: io.FileIO, start: int, run: Sequence[_Block]) -> None:
    pieces = []
    for block in run:
        file.seek(block.start)
        pieces.append(file.read(block.size))
    file.seek(start)
    for piece in pieces:
        _write(file, piece)


def _write(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write all of `data`: an unbuffered file may take less at a time."""
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]
