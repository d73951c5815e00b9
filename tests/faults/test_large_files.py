"""The comparison of large results sees every difference."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import BlobPath
from tests.faults import large_files
from tests.faults.large_files import same_bytes, same_rows, write_csv, write_parquet
from tests.memory_store import MemoryBlobStore

WHOLE = pa.table({"id": range(1000), "text": [f"{i % 7}" for i in range(1000)]})


@pytest.fixture
def parquet(tmp_path):
    """Write tables to files, with row groups of odd lengths."""

    def write(*tables):
        files = [tmp_path / f"{number}.parquet" for number in range(len(tables))]
        for number, (file, table) in enumerate(zip(files, tables, strict=True)):
            pq.write_table(table, file, row_group_size=97 + number)
        return files

    return write


def test_parts_are_the_whole(parquet):
    """Rows in other files and other row groups are the same rows."""
    *parts, whole = parquet(WHOLE.slice(0, 300), WHOLE.slice(300, 0), WHOLE.slice(300), WHOLE)
    assert same_rows(parts, whole)


@pytest.mark.parametrize(
    "table",
    [
        WHOLE.slice(0, 999),
        pa.concat_tables([WHOLE, WHOLE.slice(0, 1)]),
        pa.concat_tables([WHOLE.slice(500), WHOLE.slice(0, 500)]),
        WHOLE.set_column(1, "text", pa.array(["0"] * 1000)),
        WHOLE.rename_columns(["id", "note"]),
        WHOLE.set_column(0, "id", WHOLE["id"].cast(pa.int32())),
    ],
    ids=["cut", "longer", "moved", "changed", "renamed", "retyped"],
)
def test_rows_that_differ_are_seen(parquet, table):
    """A row too few, too many or elsewhere, a cell, a name or a type that differs is a difference."""
    part, whole = parquet(table, WHOLE)
    assert not same_rows([part], whole)


@pytest.mark.parametrize(("content", "same"), [(b"abc", True), (b"abd", False), (b"ab", False), (b"abcd", False)])
def test_bytes_that_differ_are_seen(tmp_path, content, same):
    """A byte that differs, is missing or too many is a difference."""
    blobs, path = MemoryBlobStore(), BlobPath("scored", "a.csv")
    blobs.write(path, content)
    (tmp_path / "a.csv").write_bytes(b"abc")
    assert same_bytes(blobs, path, tmp_path / "a.csv") is same


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_files_have_their_size_and_their_rows(tmp_path, monkeypatch, write):
    """They are as large as was asked for, and the same each time."""
    monkeypatch.setattr(large_files, "CHUNK", 100)
    files = [tmp_path / "a", tmp_path / "b"]
    rows = {write(file, 50_000) for file in files}
    assert len(rows) == 1
    assert rows.pop() % 100 == 0
    assert files[0].stat().st_size >= 50_000
    assert files[0].read_bytes() == files[1].read_bytes()
