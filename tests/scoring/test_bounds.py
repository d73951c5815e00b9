"""Files that want more memory or time than they may have: an error of ours or the right result, within bounds."""

import csv
from collections.abc import Callable, Iterator
from gzip import compress
from io import BytesIO, StringIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_store.convert.conversion import NULL_TEXT
from scoring.engine import Engine
from settings import Settings
from tests.bound_files import (
    HEADER,
    MB,
    ROW,
    endless,
    gzipped,
    in_groups,
    large_texts,
    lying,
    nested,
    repeated,
    row_of,
    table,
    with_page_size,
    written,
    zipped,
)
from tests.echo_model import open_echo
from tests.measured_runs import Content, Measured, MeasuredRuns
from tests.memory_store import Runs

MOST = 400 * MB
"""Bytes that peak memory may grow by: a few blocks of 6 MiB and what is made of them, for two threads."""
HEAD = HEADER + b"\n"
LINES = (ROW + b"\n") * 10_000
WIDE = row_of(1000) * 1000
BAD = ROW.replace(b"true,1,", b"true,x,") + b"\n"
NAMES = ",".join(f"c{number}" for number in range(99_993)).encode()


@pytest.fixture(scope="module")
def runs() -> Iterator[MeasuredRuns]:
    with MeasuredRuns() as started:
        yield started


@pytest.fixture
def kept(tmp_path: Any) -> Iterator[Runs]:
    """Return runs in this process, whose results are there to be looked at."""
    engine = Engine(1)
    yield Runs(open_echo(tmp_path / "echo"), engine, Settings(threads=1))
    engine.close()


def check(measured: Measured, *, most: int = MOST) -> Measured:
    assert measured.grown < most
    assert len(measured.message) < 400
    assert measured.rows["read"] == measured.rows["scored"] + measured.rows["rejected"]
    return measured


BOMBS: dict[str, tuple[str, Callable[[], Content], str]] = {
    "a line of 1 GB": ("a.csv", lambda: endless(HEAD, b"x" * MB, 10**9), "record_too_large"),
    "a header of 1 GB": ("a.csv", lambda: endless(b"", b"x" * MB, 10**9), "record_too_large"),
    "a quote never closed in 1 GB": ("a.csv", lambda: endless(HEAD + b'"', b"x\n" * MB, 10**9), "record_too_large"),
    "gzip of such a line": ("a.csv.gz", lambda: gzipped(HEAD, b"x" * MB, 1000), "record_too_large"),
    "zstd of such a line": ("a.csv.zst", lambda: zipped(HEAD, b"x" * MB, 1000), "record_too_large"),
    "gzip of rows": ("a.csv.gz", lambda: gzipped(HEAD, WIDE, 1000), "expansion_limit"),
    "gzip of short rows": ("a.csv.gz", lambda: gzipped(HEAD, LINES, 3000), "expansion_limit"),
    "gzip members of rows": ("a.csv.gz", lambda: compress(HEAD) + compress(WIDE) * 1000, "expansion_limit"),
    "gzip of blank lines": ("a.csv.gz", lambda: gzipped(HEAD, b"\n" * MB, 1000), "expansion_limit"),
    "zstd of rows": ("a.csv.zst", lambda: zipped(HEAD, WIDE, 1000), "expansion_limit"),
    "gzip of UTF-16": (
        "a.csv.gz",
        lambda: gzipped(HEAD.decode().encode("utf-16"), WIDE.decode().encode("utf-16-le"), 500),
        "expansion_limit",
    ),
    "zstd of UTF-16": (
        "a.csv.zst",
        lambda: zipped(HEAD.decode().encode("utf-16"), WIDE.decode().encode("utf-16-le"), 500),
        "expansion_limit",
    ),
    "a header of 15 million fields": ("a.csv", lambda: b"," * (15 * MB) + b"\n", "file_malformed"),
    "100,000 columns, none of them needed": ("a.csv", lambda: NAMES + b"\n1\n", "column_missing"),
    "a million blank lines": ("a.csv", lambda: b"\n" * MB, "file_empty"),
    "a record one byte too long": ("a.csv", lambda: HEAD + row_of(16 * MB + 1), "record_too_large"),
    "a billion rows that are not there": ("a.parquet", lambda: lying(300, 10**9), "expansion_limit"),
    "a billion rows that are": ("flag=true/a.parquet", lambda: repeated(10**9), "expansion_limit"),
    "15 million rows that are not there": ("a.parquet", lambda: lying(300, 15 * 10**6), "file_malformed"),
    "a page of 2 GB": (
        "a.parquet",
        lambda: with_page_size(written(table(9)), 5, 2**31 - 1, dictionary=False),
        "expansion_limit",
    ),
    "a dictionary of 2 GB": (
        "a.parquet",
        lambda: with_page_size(written(table(9)), 5, 2**31 - 1, dictionary=True),
        "expansion_limit",
    ),
    "a dictionary of 200 MB in some KB": (
        "a.parquet",
        lambda: written(table(200, large_texts(0, 200, MB, distinct=200)), dictionary_pagesize_limit=2**30),
        "expansion_limit",
    ),
    "a schema 10,000 deep": ("a.parquet", lambda: nested(10_000), "file_malformed"),
}


@pytest.mark.parametrize(("name", "make", "code"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_an_error(runs: MeasuredRuns, name: str, make: Callable[[], Content], code: str) -> None:
    """What is too large, or becomes so, is refused by its code and in few words, before memory is taken for it."""
    assert check(runs.score(name, make())).code == code


LARGE: dict[str, tuple[str, Callable[[], Content], int, int]] = {
    "cells of 10 MB": ("a.csv", lambda: HEAD + row_of(10 * MB) * 6, 6, MOST),
    "quoted cells of 10 MB": (
        "a.csv",
        lambda: HEAD + ROW.replace(b",a,", b',"' + b'x""\n' * (5 * MB // 2) + b'",') + b"\n",
        1,
        MOST,
    ),
    "rows of 16 MB": ("a.csv", lambda: HEAD + row_of(16 * MB) * 4, 4, MOST),
    "a million blank lines": ("a.csv", lambda: HEAD + b"\n" * MB + ROW, 1, MOST),
    "a million rows of one value": ("flag=true/a.parquet", lambda: repeated(10**6), 10**6, MOST),
    "a million rows of one value, written as usual": ("a.parquet", lambda: written(table(10**6)), 10**6, MOST),
    "small texts, then many of 1 MB": (
        "a.parquet",
        lambda: written(table(900, large_texts(300, 600, MB))),
        900,
        MOST,
    ),
    "the same without a dictionary": (
        "a.parquet",
        lambda: written(table(900, large_texts(300, 600, MB)), use_dictionary=False),
        900,
        MOST,
    ),
    "a few texts of 256 KB that thousands of rows have": (
        "a.parquet",
        lambda: written(table(3300, large_texts(300, 3000, MB // 4)), dictionary_pagesize_limit=2**30),
        3300,
        MOST,
    ),
    # A page is decompressed at once: what its text takes, it takes some times over, but not for each row.
    "texts of 50 MB": (
        "a.parquet",
        lambda: written(table(302, large_texts(300, 2, 50 * MB, distinct=2)), use_dictionary=False),
        302,
        1000 * MB,
    ),
    "one page of 100 MB": (
        "a.parquet",
        lambda: written(table(100_000, large_texts(0, 100_000, 1000)), use_dictionary=False, data_page_size=2**30),
        100_000,
        1000 * MB,
    ),
    "200 row groups of a row": ("a.parquet", lambda: in_groups(200), 200, MOST),
}


@pytest.mark.parametrize(("name", "make", "rows", "most"), LARGE.values(), ids=LARGE.keys())
def test_what_is_large_is_scored(
    runs: MeasuredRuns, name: str, make: Callable[[], Content], rows: int, most: int
) -> None:
    """Large cells, rows, pages and numbers of rows are no reason to refuse a file; memory stays within bounds."""
    measured = check(runs.score(name, make()), most=most)
    assert (measured.code, measured.rows) == (None, {"read": rows, "scored": rows, "rejected": 0})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_million_rejects_are_counted_and_not_held(runs: MeasuredRuns, kind: str) -> None:
    """Where every row is bad, each is rejected, and what is held of them is still some blocks."""
    rows = 10**6
    nulls = table(rows).set_column(1, "small", pa.nulls(rows, pa.int32()))
    content = HEAD + BAD * rows if kind == "csv" else written(nulls)
    measured = check(runs.score(f"a.{kind}", content, error_threshold=-1))
    assert (measured.code, measured.rows) == (None, {"read": rows, "scored": 0, "rejected": rows})


@pytest.mark.parametrize("columns", [5000, 99_993])
def test_a_wide_csv_file_is_scored(kept: Runs, columns: int) -> None:
    """The model's columns are found among very many others, which come out as they were."""
    names = NAMES.split(b",")[:columns]
    half = columns // 2
    header = [*names[:half], *HEADER.split(b","), *names[half:]]
    row = [b"7"] * half + ROW.split(b",") + [b"8"] * (columns - half)
    data = b",".join(header) + b"\n" + (b",".join(row) + b"\n") * 3
    outcome = kept.score("a.csv", data)
    assert outcome.result is not None
    first, *rows = csv.reader(StringIO(outcome.result.decode()))
    assert first[: columns + 7] == [name.decode() for name in header]
    assert [each[: columns + 7] for each in rows] == [[cell.decode() for cell in row]] * 3
    assert [each[columns + 7 : columns + 10] for each in rows] == [["true", "1", "2"]] * 3


def test_a_wide_parquet_file_is_scored(kept: Runs) -> None:
    """So are they in Parquet."""
    other = pa.table({f"c{number}": pa.array([7, 7], pa.int32()) for number in range(5000)})
    for field in table(2).schema:
        other = other.append_column(field, table(2)[field.name])
    outcome = kept.score("a.parquet", written(other, use_dictionary=False))
    assert outcome.result is not None
    result = pq.read_table(BytesIO(outcome.result))
    assert result.select(other.schema.names) == other
    assert result["text_out"].to_pylist() == ["a", "a"]


def test_a_piece_of_large_texts_is_the_same_rows(kept: Runs) -> None:
    """Rows that are scored a few at a time, since their texts are large, come out in order, each with its own."""
    texts = ["a", None, "b" * MB, "c", "d" * (3 * MB)] * 40
    rows = table(200, pa.chunked_array([texts]))
    outcome = kept.score("a.parquet", written(rows, dictionary_pagesize_limit=2**30))
    assert outcome.result is not None
    result = pq.read_table(BytesIO(outcome.result))
    assert result["text"].to_pylist() == texts
    assert result["text_out"].to_pylist() == [text or NULL_TEXT for text in texts]
