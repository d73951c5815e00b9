"""Large CSV and Parquet files with something wrong in them, and results compared without holding them in memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from storage import BlobPath, BlobStore
from storage.reader import stream
from tests.hand_model import SIGNATURE

CHUNK = 100_000  # rows; of Parquet, a row group
BAD = 1_000  # one row of so many cannot be scored

PLANS = np.array(["basic", "plus", "pro", None])
NOTES = np.array(["plain", "with, a comma", 'with "quotes"', "of\ntwo lines", "ends\r\n", '"', None, "ünïcode"])
"""Cells of a column that the model does not take: places where a careless cut would go wrong."""


def chunk(number: int) -> pa.Table:
    """Return the rows of a chunk, the same each time: as Parquet has them, their bad rows included."""
    draw = np.random.default_rng(number)
    keys = draw.bytes(20 * CHUNK).hex()  # of 40 characters each: what no codec makes small
    rows = np.arange(number * CHUNK, (number + 1) * CHUNK)
    columns = {
        "id": pa.array(rows),
        "age": pa.array(draw.uniform(18, 90, CHUNK).round(1), mask=draw.random(CHUNK) < 0.05),
        "visits": pa.array(draw.integers(0, 30, CHUNK), mask=rows % BAD == 0),  # null, where none is allowed
        "member": pa.array(draw.random(CHUNK) < 0.5),
        "plan": pa.array(draw.choice(PLANS, CHUNK)),
        "note": pa.array(draw.choice(NOTES, CHUNK)),
        "key": pa.array([keys[place : place + 40] for place in range(0, len(keys), 40)]),
    }
    assert {each.name for each in SIGNATURE.inputs} <= columns.keys()
    return pa.table(columns)


def write_csv(file: Path, size: int) -> int:
    """Write a CSV file of at least `size` bytes and return its number of rows."""
    number = 0
    with file.open("wb") as target:
        while target.tell() < size:
            options = pc.WriteOptions(include_header=number == 0, quoting_style="needed")
            pc.write_csv(chunk(number), target, options)
            number += 1
    return number * CHUNK


def write_parquet(file: Path, size: int) -> int:
    """Write a Parquet file of at least `size` bytes and return its number of rows."""
    number = 0
    with file.open("wb") as target, pq.ParquetWriter(target, chunk(0).schema) as writer:
        while target.tell() < size:
            writer.write_table(chunk(number), row_group_size=CHUNK)
            number += 1
    return number * CHUNK


def same_bytes(blobs: BlobStore, path: BlobPath, file: Path) -> bool:
    """Say whether a blob is the same as a local file, byte for byte."""
    blob = blobs.stat(path)
    if blob.size != file.stat().st_size:
        return False
    with file.open("rb") as expected:
        return all(part == expected.read(len(part)) for part in stream(blobs, blob))


def same_rows(parts: Iterable[Path], file: Path) -> bool:
    """Say whether Parquet files, one after the other, have the rows and the columns of another, in its order."""
    whole = pq.ParquetFile(file)
    opened = [pq.ParquetFile(part) for part in parts]
    if any(not part.schema_arrow.equals(whole.schema_arrow) for part in opened):
        return False
    left, right = (batch for part in opened for batch in part.iter_batches()), whole.iter_batches()
    return all(ours is not None and ours.equals(theirs) for ours, theirs in _aligned(left, right))


def _aligned(
    left: Iterator[pa.RecordBatch], right: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch | None, pa.RecordBatch | None]]:
    """Yield pieces of both that begin at the same row and are as long; None for the one that has ended first."""
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        if ours is None or theirs is None:
            yield None, theirs
            return
        count = min(ours.num_rows, theirs.num_rows)
        yield ours.slice(0, count), theirs.slice(0, count)
        ours = ours.slice(count) if ours.num_rows > count else next(left, None)
        theirs = theirs.slice(count) if theirs.num_rows > count else next(right, None)
