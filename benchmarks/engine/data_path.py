"""Blocks of a CSV file taken through the engine's steps on one thread, and through their library calls alone.

python -m benchmarks.engine.data_path        # what steps.py starts: prints microseconds a row as JSON
"""

import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from benchmarks.engine.data import WORK, source
from benchmarks.engine.models import LINEAR
from benchmarks.engine.steps import ALONE, BLOCK_BYTES, BLOCKS, FILE_ROWS, OURS, ROUNDS
from model_store.arrays import from_cells, scalar
from model_store.model import Model
from scoring.csv.cells import CellReader
from scoring.csv.dialect import Dialect
from scoring.csv.header import Header
from scoring.csv.record_ends import NEWLINE, RecordEnds
from scoring.csv.records import Records, cut_records
from scoring.csv.text import added_text, bytes_of, spliced, to_text
from storage import BlobPath, block_id
from storage.folder import FolderBlobStore

Result = TypeVar("Result")

INPUT, OUTPUT = BlobPath("incoming", "rows.csv"), BlobPath("scored", "rows.csv")
PREFIX = "0" * 16  # as long as a run's

_DIALECT = Dialect()
_BYTES = pa.binary()
_NOTHING, _DELIMITER = (scalar(text, _BYTES) for text in (b"", _DIALECT.delimiter.encode()))


@dataclass
class Clock:
    """CPU seconds by step: of the whole process, as pyarrow's reader has a thread of its own."""

    seconds: Counter[str] = field(default_factory=Counter)

    def time(self, step: str, work: Callable[[], Result]) -> Result:
        """Return what `work` returns; what it takes is the step's."""
        started = time.process_time()
        result = work()
        self.seconds[step] += time.process_time() - started  # type: ignore[assignment]  # Counter adds floats too
        return result


@dataclass(frozen=True)
class Block:
    """Whole records of the file."""

    sequence: int
    offset: int
    """Bytes, as is its length."""
    length: int


@dataclass(frozen=True)
class Scored:
    """What the engine made of a block."""

    records: Records
    types: Mapping[str, pa.DataType]
    """Of the columns that the model needs."""
    answers: pa.RecordBatch
    text: pa.Buffer


@dataclass(frozen=True)
class Engine:
    """The engine's own code, one step after the other."""

    model: Model
    store: FolderBlobStore
    reader: CellReader

    def take(self, block: Block, clock: Clock) -> Scored:
        """Take a block through all steps; what the model answers is no step of the data path."""
        text = clock.time("read", lambda: self.store.read(INPUT, offset=block.offset, length=block.length))
        [records] = clock.time("cut", lambda: list(cut_records([text])))
        clock.time("find", lambda: RecordEnds(_DIALECT.delimiter, _DIALECT.quote).find(text))
        cells = clock.time("parse", lambda: self.reader.read(records))
        if cells.rejects:
            sys.exit(f"{len(cells.rejects)} of the file's rows are rejected: that is more than these steps")
        answers = self.model.predict(cells.batch)
        texts = clock.time("text", lambda: [to_text(column, _DIALECT) for column in answers.columns])
        added = clock.time("splice", lambda: added_text(texts, _DIALECT))
        result = clock.time("splice", lambda: spliced(records, None, added))
        name = clock.time("id", lambda: block_id(PREFIX, block.sequence, bytes_of(added)))
        clock.time("write", lambda: self.store.stage_block(OUTPUT, name, memoryview(result)))
        types = {column.name: column.type for column in cells.batch.schema}
        return Scored(records, types, answers, result)


@dataclass(frozen=True)
class Calls:
    """The library calls alone; what they are given is there when the clock starts."""

    names: Sequence[str]
    """The file's columns."""
    given: BinaryIO
    target: BinaryIO

    def take(self, block: Block, scored: Scored, clock: Clock) -> pa.Buffer:
        """Take a block through all steps and return its text: the engine's, if it has neither quotes nor CR."""
        data = clock.time("read", lambda: os.pread(self.given.fileno(), block.length, block.offset))
        clock.time("cut", lambda: (find_ends(data), bytes(memoryview(data)), b'"' in data, b"\r" in data))
        ends = clock.time("find", lambda: find_ends(data))
        clock.time("parse", lambda: (data.isascii(), parse(data, self.names, scored.types)))
        clock.time("bytes", lambda: parse(data, self.names, dict.fromkeys(self.names, _BYTES)))
        clock.time("split", lambda: parse(data, self.names, {self.names[-1]: _BYTES}))
        columns = scored.answers.columns
        texts = [
            column.cast(_BYTES) for column in clock.time("text", lambda: [pc.cast(c, pa.string()) for c in columns])
        ]
        added = clock.time("splice", lambda: pc.binary_join_element_wise(_NOTHING, *texts, _DELIMITER))
        pieces, behind = cut_before(data, ends), pa.concat_arrays([added, from_cells([b""], _BYTES)])
        joined = clock.time("splice", lambda: pc.binary_join_element_wise(pieces, behind, _NOTHING))
        sign, text = bytes_of(added), bytes_of(joined)
        clock.time("id", lambda: hashlib.sha256(sign).hexdigest())
        clock.time("write", lambda: self.target.write(text))
        return text


def measure(
    file: Path, model: Model, *, blocks: int, rounds: int, block_bytes: int = BLOCK_BYTES
) -> dict[str, dict[str, float]]:
    """Return CPU microseconds a row by step, the engine's and those of its library calls: medians of rounds.

    Of the file's first blocks; what is written lies beside the file, and is removed. SystemExit where the calls
    make another text than the engine: what they take says nothing of it then.
    """
    names, taken = look_at(file, blocks, block_bytes)
    reader = CellReader(Header(names, b""), model.signature, (), _DIALECT)
    seconds: dict[str, list[Counter[str]]] = {OURS: [], ALONE: []}
    for _ in range(rounds):
        ours, alone, rows = Clock(), Clock(), 0
        with tempfile.TemporaryDirectory(dir=file.parent) as name, file.open("rb", 0) as given:
            folder = Path(name)
            store = FolderBlobStore(folder)
            for path in (INPUT, OUTPUT):
                store.create_container(path.container)
            store.link(INPUT, file)
            with (folder / "alone").open("ab", 0) as target:
                engine, calls = Engine(model, store, reader), Calls(names, given, target)
                for block in taken:
                    scored = engine.take(block, ours)
                    rows += len(scored.records)
                    if calls.take(block, scored, alone) != scored.text:
                        sys.exit(f"{file}: the library calls alone make another text of it than the engine")
        seconds[OURS].append(ours.seconds)
        seconds[ALONE].append(alone.seconds)
    return {
        step: {
            name: statistics.median(clock[step] for clock in clocks) / rows * 1e6
            for name, clocks in seconds.items()
            if step in clocks[0]
        }
        for step in seconds[ALONE][0]
    }


def look_at(file: Path, blocks: int, block_bytes: int) -> tuple[tuple[str, ...], list[Block]]:
    """Return the names of a plain CSV file's columns, and its first blocks of whole records."""
    with file.open("rb") as given:
        line = given.readline()
        names = tuple(line.decode().strip().split(_DIALECT.delimiter))
        return names, list(_whole_records(given, len(line), blocks, block_bytes))


def _whole_records(given: BinaryIO, offset: int, blocks: int, block_bytes: int) -> Iterator[Block]:
    for sequence in range(blocks):
        given.seek(offset)
        if not (length := given.read(block_bytes).rfind(b"\n") + 1):
            return
        yield Block(sequence, offset, length)
        offset += length


def find_ends(data: bytes) -> np.ndarray:
    """Return where the line ends of a text without quotes and CR are: int64."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE)


def parse(data: bytes, names: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Parse some columns of a text without quotes: what CellReader does first, and nothing else."""
    read = arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(names))
    convert = arrow_csv.ConvertOptions(
        include_columns=list(types),
        column_types=types,
        null_values=[""],
        strings_can_be_null=False,
        check_utf8=False,
    )
    plain = arrow_csv.ParseOptions(quote_char=False)
    return arrow_csv.read_csv(
        pa.BufferReader(data), read_options=read, parse_options=plain, convert_options=convert
    )


def cut_before(data: bytes, ends: np.ndarray) -> pa.Array:
    """Return a text as binary pieces, each but the first beginning with a line end."""
    offsets = np.concatenate([[0], ends, [len(data)]]).astype(np.int32)
    return pa.Array.from_buffers(_BYTES, len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


if __name__ == "__main__":
    linear = Model.open(WORK / f"{LINEAR}-package")
    print(json.dumps(measure(source(FILE_ROWS, "csv"), linear, blocks=BLOCKS, rounds=ROUNDS)))
