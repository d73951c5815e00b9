"""The files that are scored: rows of benchmarks/rows.py with an id, as CSV and as Parquet.

Made in pieces, so that memory does not grow with the file; a smaller file is the beginning of a larger one. Numbers
have at most 11 decimals, so that 2,000,000 rows are the 460 MB of CSV that the project's first figures were of. CSV
is written as pandas writes it: quotes only where they are needed, which is nowhere here, and nulls as nothing.
Parquet is compressed with Snappy, in row groups of 1,048,576 rows, as pandas writes it too.

    python -m benchmarks.engine.data ROWS        # makes both files, unless they are there
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import ROOT

if TYPE_CHECKING:
    import pyarrow as pa

WORK = Path(__file__).resolve().parents[1] / ".work" / "engine"
PIECE_ROWS = 1 << 17
ROW_GROUP = 8 * PIECE_ROWS
DECIMALS = 11


def source(rows: int, kind: str, folder: Path = WORK) -> Path:
    """Return the file of so many rows; both kinds are made, by a process of its own, where one is not there."""
    file = folder / f"rows-{rows}.{kind}"
    if not file.exists():
        subprocess.run([sys.executable, "-m", "benchmarks.engine.data", str(rows)], check=True, cwd=ROOT)
    return file


def make_tables(count: int, piece_rows: int = PIECE_ROWS) -> Iterator["pa.Table"]:
    """Yield the first `count` rows in pieces; the same rows every time."""
    import pyarrow as pa  # noqa: PLC0415  # heavy, and only here

    from benchmarks.rows import NUMBERS, make_rows  # noqa: PLC0415  # as above

    for place, start in enumerate(range(0, count, piece_rows)):
        frame = make_rows(piece_rows, seed=100 + place)
        frame[NUMBERS] = frame[NUMBERS].round(DECIMALS)
        frame.insert(0, "id", range(start, start + piece_rows))
        yield pa.Table.from_pandas(frame, preserve_index=False).slice(0, count - start)


def make_files(count: int, folder: Path = WORK) -> None:
    """Write the rows as CSV and as Parquet; each has its name only when it is whole."""
    import pyarrow as pa  # noqa: PLC0415  # heavy, and only here
    import pyarrow.csv as pc  # noqa: PLC0415  # as above
    import pyarrow.parquet as pq  # noqa: PLC0415  # as above

    csv_file, parquet_file = (folder / f"rows-{count}.{kind}" for kind in ("csv", "parquet"))
    unfinished = [file.with_name(f"unfinished-{file.name}") for file in (csv_file, parquet_file)]
    waiting: list[pa.Table] = []  # for a row group to be full
    parquet: pq.ParquetWriter | None = None
    with unfinished[0].open("wb") as text:
        for place, table in enumerate(make_tables(count)):
            style = {"quoting_style": "none", "quoting_header": "none"}
            pc.write_csv(table, text, pc.WriteOptions(include_header=place == 0, **style))
            parquet = parquet or pq.ParquetWriter(unfinished[1], table.schema)
            waiting.append(table)
            if sum(map(len, waiting)) >= ROW_GROUP:
                parquet.write_table(pa.concat_tables(waiting), ROW_GROUP)
                waiting.clear()
    if parquet:
        if waiting:
            parquet.write_table(pa.concat_tables(waiting), ROW_GROUP)
        parquet.close()
    unfinished[0].rename(csv_file)
    unfinished[1].rename(parquet_file)


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    make_files(int(sys.argv[1]))
