"""What the two formats have in common: where rows come from, where results go, and what columns they have."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_store import Signature
from model_store.model import Model
from scoring.engine import Engine
from scoring.options import Options
from scoring.output import Output
from scoring.tally import Tally
from storage import Blob, BlobStore

Progress = Callable[[int, Tally], None]
"""Called after each block with the bytes of input read so far, and the run's tally."""


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a file that is scored by itself: its rows and blocks have the numbers they have in the whole."""

    start: int
    """Of a CSV file the first byte, which begins a record; of a Parquet file the first row group."""
    stop: int
    """The byte, or row group, behind the last."""
    first_row: int
    """0-based number in the file of the first row; -1 is a header."""
    first_block: int
    """The number of its first block in a result that all splits share; 0 is what such a result begins with."""
    blocks: int
    """How many numbers of blocks are its own."""


@dataclass(frozen=True, slots=True)
class Work:
    """All that a codec needs to score one file."""

    blobs: BlobStore
    input: Blob
    model: Model
    options: Options
    scored: Output
    rejected: Output
    engine: Engine
    block_bytes: int
    """Bytes of input (CSV text, or Parquet values in memory) that one thread takes at a time."""
    max_record_bytes: int
    max_expansion: int
    """Bytes of text that one byte of a compressed CSV file may become."""
    progress: Progress
    tally: Tally
    """The run's own: for what the caller's thread does, beside what blocks report of themselves."""
    split: Split | None = None
    """What is scored of the file; None for all of it."""

    @property
    def file(self) -> str:
        """The input's name, for messages."""
        return str(self.input.path)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a codec leaves behind: everything staged, nothing committed."""

    tally: Tally
    scored_blocks: Sequence[str]
    rejected_blocks: Sequence[str]
    """Empty where no row was rejected."""
    dialect: Mapping[str, Any] | None = None
    """How a CSV input is written, as it was told or found out."""


def output_names(signature: Signature, kept: Iterable[str]) -> list[str]:
    """Return the outputs' names in the result: their own, or with _2, _3, … where a kept column has that name."""
    taken = set(kept)
    names = []
    for column in signature.outputs:
        name, number = column.name, 2
        while name in taken:
            name, number = f"{column.name}_{number}", number + 1
        taken.add(name)
        names.append(name)
    return names
