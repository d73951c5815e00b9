"""Write Parquet: tables of any length, row group by row group."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scoring.output import Output
from storage.writer import StagedWriter

GROUP_ROWS = 524_288  # row groups as pandas and Spark like them,
GROUP_BYTES = 64 * 1024 * 1024  # but no more than this is held before it is written
CODEC = "snappy"  # what every reader knows


class HeldRows:
    """Rows that wait for a row group to be full."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0  # counted as they come: there may be a batch for each row

    def has_room(self, batch: pa.RecordBatch) -> bool:
        """Say whether these rows go into the row group that is held: it ends where a batch does."""
        return not self._rows or self._rows + len(batch) <= GROUP_ROWS

    def add(self, batch: pa.RecordBatch) -> bool:
        """Hold rows, and say whether there are enough for a row group."""
        if len(batch):
            self._batches.append(batch)
            self._rows += len(batch)
            self._bytes += batch.nbytes
        return self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES

    def take(self) -> list[pa.RecordBatch]:
        """Return what is held, and hold it no longer."""
        taken, self._batches, self._rows, self._bytes = self._batches, [], 0, 0
        return taken


class TableWriter:
    """A Parquet file in the making: rows are held until they fill a row group, and staged as they are written."""

    def __init__(self, output: Output, schema: pa.Schema) -> None:
        self._sink = StagedWriter(output.blobs, output.path, prefix=output.block_prefix)
        self._file: Any = pq.ParquetWriter(pa.PythonFile(self._sink, "w"), schema, compression=CODEC)
        self._waiting = HeldRows()
        self._schema = schema

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; a row group is written once enough are there."""
        if not self._waiting.has_room(batch):
            self._flush()
        if self._waiting.add(batch):
            self._flush()

    def finish(self) -> list[str]:
        """End the file and return the ids of its blocks."""
        self._flush()
        self._file.close()
        return self._sink.finish()

    def _flush(self) -> None:
        if batches := self._waiting.take():
            self._file.write_table(pa.Table.from_batches(batches, self._schema), row_group_size=GROUP_ROWS)
