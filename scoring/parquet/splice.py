"""Make a Parquet file of another one's bytes: kept columns are copied as they are, never decoded.

What is in a column that the model does not need goes through unseen, damage too, as text does in CSV. Where its
bytes lie is checked before.
"""

import logging
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import cached_property
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from scoring.output import Output
from scoring.parquet.footer import (
    MAGIC,
    Chunk,
    Column,
    Footer,
    alike,
    pair,
    read_footer,
    sorted_by,
    value_of,
    write_footer,
    write_group,
)
from scoring.parquet.source import ParquetSource
from scoring.parquet.writer import CODEC, HeldRows
from scoring.tally import Tally
from storage.reader import read_ahead
from storage.writer import StagedWriter

log = logging.getLogger(__name__)

ARROW_SCHEMA = b"ARROW:schema"

_Placed = tuple[Footer, Chunk, int]
"""A chunk, the footer that has its metadata, and where it begins in the new file."""


class SplicedFile:
    """A Parquet file in the making, of the columns `kept` of another and of new ones behind them.

    Row groups are copied in the background, one at a time, while the caller scores the next. A context manager:
    nothing of it runs any more once it is left.
    """

    def __init__(
        self, source: ParquetSource, footer: Footer, output: Output, kept: Sequence[str], schema: pa.Schema
    ) -> None:
        self._source = source
        self._footer = footer
        self._schema = schema
        self._new = pa.schema(list(schema)[len(kept) :])
        by_name = dict(zip(source.schema.names, footer.columns, strict=True))
        self._kept = [by_name[name] for name in kept]
        self._leaves = [leaf for column in self._kept for leaf in _leaves(column)]
        leaves = [element for column in self._kept for element in column.elements if element.is_leaf]
        self._options = {
            "use_deprecated_int96_timestamps": any(leaf.is_int96 for leaf in leaves),
            "store_decimal_as_integer": any(leaf.is_whole_decimal for leaf in leaves),
        }
        self._sink = StagedWriter(output.blobs, output.path, prefix=output.block_prefix)
        self._sink.write(MAGIC)
        self._groups: list[bytes] = []
        self._rows = 0
        self._waiting = HeldRows()
        # One thread copies, one encodes the new columns meanwhile; a third, of read_ahead, reads.
        self._background = ThreadPoolExecutor(2, "splice")
        self._copying: Future[None] | None = None
        self._reading, self._encoding, self._writing = Tally(), Tally(), Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._background.shutdown(cancel_futures=True)

    @cached_property
    def takes_rows(self) -> bool:
        """Say whether `write` can be called: whether pyarrow writes the kept columns as they are in the other file.

        It does not where, say, the elements of that one's lists have another name.
        """
        try:
            columns = self._encode([], pa.schema(list(self._schema)[: len(self._kept)])).footer.columns
        except pa.ArrowException:  # a type that pyarrow reads and does not write
            return False
        return len(columns) == len(self._kept) and all(
            alike(mine.elements, written.elements) for mine, written in zip(self._kept, columns, strict=True)
        )

    def copy(self, group: int, new: Iterable[pa.RecordBatch]) -> None:
        """Add a whole row group of the other file, with the new columns of all its rows.

        It is begun once the one before is done; what it raises is raised by whatever is called next.
        """
        self._flush()
        self._settle()
        # The host ties log lines to an invocation by a context variable: carry it along.
        encoded = self._background.submit(copy_context().run, self._encode_new, list(new))
        self._copying = self._background.submit(copy_context().run, self._copy, group, encoded)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; a row group is written once enough are there, or one is copied."""
        if self._waiting.add(batch):
            self._flush()

    def finish(self) -> list[str]:
        """End the file and return the ids of its blocks."""
        self._flush()
        self._settle()
        new = self._encode([], self._new).footer
        orders = [self._footer.orders[leaf] for leaf in self._leaves] if self._footer.orders else []
        self._sink.write(
            write_footer(
                self._footer,
                [*self._kept, *new.columns],
                self._groups,
                rows=self._rows,
                properties=self._properties(),
                orders=[*orders, *new.orders] if orders or not self._leaves else [],
            )
        )
        return self._sink.finish()

    def took(self) -> Tally:
        """Return what was done in the background, once `finish` has returned."""
        total = Tally()
        for part in (self._reading, self._encoding, self._writing):
            total.add(part)
        return total

    def _settle(self) -> None:
        """Wait until nothing is being copied."""
        if self._copying:
            self._copying.result()

    def _encode_new(self, batches: Sequence[pa.RecordBatch]) -> "_Small":
        with self._encoding.stage("write"):
            # The model calls them by names of its own, which kept columns may have already.
            named = [pa.RecordBatch.from_arrays(batch.columns, schema=self._new) for batch in batches]
            return self._encode(named, self._new)

    def _copy(self, group: int, encoded: "Future[_Small]") -> None:
        theirs = self._footer.groups[group]
        places = {leaf: place for place, leaf in enumerate(self._leaves)}
        with self._writing.stage("write"):
            chunks = self._copy_chunks([theirs.chunks[leaf] for leaf in self._leaves])
            chunks += self._append(encoded.result())
            self._add(theirs.rows, chunks, sorted_by(theirs.sorting, places))

    def _flush(self) -> None:
        if batches := self._waiting.take():
            self._settle()
            rows = sum(len(batch) for batch in batches)
            self._add(rows, self._append(self._encode(batches, self._schema, dictionaries=True)), [])

    def _add(self, rows: int, chunks: Sequence[_Placed], sorting: Sequence[bytes]) -> None:
        self._groups.append(write_group(rows, chunks, sorting))
        self._rows += rows

    def _copy_chunks(self, chunks: Sequence[Chunk]) -> list[_Placed]:
        """Copy chunks, those that follow each other in one go."""
        at = self._sink.tell()
        placed: list[_Placed] = []
        ranges: list[range] = []
        for chunk in chunks:
            placed.append((self._footer, chunk, at))
            at += chunk.length
            if ranges and ranges[-1].stop == chunk.start:
                ranges[-1] = range(ranges[-1].start, chunk.start + chunk.length)
            else:
                ranges.append(range(chunk.start, chunk.start + chunk.length))
        parts = list(self._parts(ranges))
        # What is read on this thread is in the stage that it is in already.
        with closing(read_ahead(self._read if len(parts) > 1 else self._source.read, parts)) as read:
            for data in read:
                self._sink.write(data)
        return placed

    def _read(self, part: range) -> bytes:
        with self._reading.stage("read"):
            return self._source.read(part)

    def _parts(self, ranges: Iterable[range]) -> Iterator[range]:
        """Cut ranges where blocks are complete, so that these are staged as they were read, without a copy."""
        room = self._sink.room
        for each in ranges:
            start = each.start
            while start < each.stop:
                part = range(start, min(start + room, each.stop))
                yield part
                start = part.stop
                room = room - len(part) or self._sink.block_bytes

    def _encode(
        self, batches: Sequence[pa.RecordBatch], schema: pa.Schema, *, dictionaries: bool = False
    ) -> "_Small":
        # Nearly every floating point number is a new one: looking for those that repeat is in vain.
        repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
        coded = dictionaries or repeating or False
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema, compression=CODEC, use_dictionary=coded, **self._options) as writer:
            if batches:
                rows = sum(len(batch) for batch in batches)
                writer.write_table(pa.Table.from_batches(batches, schema), row_group_size=rows)
        return _Small(sink.getvalue())

    def _append(self, small: "_Small") -> list[_Placed]:
        """Add the columns of a small file as they are in it."""
        shift = self._sink.tell() - len(MAGIC)
        self._sink.write(small.chunks)
        return [
            (small.footer, chunk, chunk.start + shift) for group in small.footer.groups for chunk in group.chunks
        ]

    def _properties(self) -> Iterator[bytes]:
        """Yield the other file's key-value metadata, with what speaks of columns made right for these."""
        metadata = {**(self._schema.metadata or {}), ARROW_SCHEMA: b64encode(self._schema.serialize())}
        for key, entry in self._footer.properties:
            yield pair(key, metadata[key]) if metadata.get(key, value_of(entry)) != value_of(entry) else entry


class _Small:
    """A file of one row group at most, in memory."""

    def __init__(self, data: pa.Buffer) -> None:
        end = data.size - 8 - int.from_bytes(memoryview(data)[-8:-4], "little")
        self.footer = read_footer(bytes(memoryview(data)[end:-8]), end)
        self.chunks = memoryview(data)[len(MAGIC) : end]


def copyable(source: ParquetSource) -> Footer | None:
    """Return the footer of a file whose columns can be copied; None where they have to be written anew."""
    footer = source.layout
    same = footer and len(footer.columns) == len(source.schema.names)
    return footer if footer and same and footer.copyable else None


def _leaves(column: Column) -> range:
    return range(column.first_leaf, column.first_leaf + column.leaves)
