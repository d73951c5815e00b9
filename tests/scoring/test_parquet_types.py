"""Parquet of every kind: codecs, pages, encodings, column types, nulls, row groups."""

from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import scoring.parquet.writer
from model_store.signature import Column, ColumnType, Signature
from scoring.conform import conform
from scoring.rejects import Rejects
from tests.hand_model import hand_scores, make_sample

ROWS = [(20.0, 3, True, "basic"), (None, 4, False, None), (30.5, 2, True, "zzz")]
SCORES = hand_scores(ROWS)
AGE, VISITS, MEMBER, PLAN = (list(cells) for cells in zip(*ROWS, strict=True))
TABLE = pa.table({"age": AGE, "visits": VISITS, "member": MEMBER, "plan": PLAN})


def read(data: bytes) -> pa.Table:
    return pq.read_table(BytesIO(data))


def check(drop, data: bytes, table: pa.Table = TABLE) -> None:
    """Score a file of `table` and see that its columns came back, and the scores with them."""
    receipt = drop("a.parquet", data)
    assert receipt.rows == {"read": 3, "scored": 3, "rejected": 0}, receipt.error
    scored = read(drop.result(receipt))
    assert scored.select(table.column_names).equals(table)
    assert scored["probability_leave"].to_pylist() == pytest.approx(SCORES, abs=1e-15)


@pytest.mark.parametrize(
    ("codec", "pages", "dictionary"),
    list(product(["none", "snappy", "gzip", "brotli", "zstd", "lz4"], ["1.0", "2.0"], [True, False])),
)
def test_codecs_and_pages(drop, parquet, codec: str, pages: str, dictionary: bool) -> None:
    """Every codec of pyarrow's, either version of data pages, with and without dictionaries."""
    check(drop, parquet(TABLE, compression=codec, data_page_version=pages, use_dictionary=dictionary))


@pytest.mark.parametrize(
    ("column", "encoding"),
    [
        ("visits", "DELTA_BINARY_PACKED"),
        ("visits", "BYTE_STREAM_SPLIT"),
        ("age", "BYTE_STREAM_SPLIT"),
        ("member", "RLE"),
        ("plan", "DELTA_LENGTH_BYTE_ARRAY"),
        ("plan", "DELTA_BYTE_ARRAY"),
    ],
)
def test_encodings(drop, parquet, column: str, encoding: str) -> None:
    """Every way to encode values."""
    check(drop, parquet(TABLE, use_dictionary=False, column_encoding={column: encoding}, version="2.6"))


WHOLE = [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16()]
NUMBERS = [*WHOLE, pa.float32(), pa.decimal128(25, 2), pa.decimal256(40, 2)]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_whole_numbers_of_every_type(drop, parquet, kind) -> None:
    """A column of whole numbers takes what holds whole numbers, and keeps its type in the result."""
    table = TABLE.set_column(1, "visits", pa.array(VISITS).cast(kind))
    check(drop, parquet(table), table)


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_numbers_of_every_type_with_nulls(drop, parquet, kind) -> None:
    """A column of numbers takes all of them, nullable ones too."""
    table = TABLE.set_column(0, "age", pa.array([20, None, 30], pa.int64()).cast(kind))
    receipt = drop("a.parquet", parquet(table))
    scored = read(drop.result(receipt))
    assert scored.select(table.column_names).equals(table)
    expected = hand_scores([ROWS[0], ROWS[1], (30, *ROWS[2][1:])])
    assert scored["probability_leave"].to_pylist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    "plan",
    [
        pa.array(PLAN).dictionary_encode(),
        pa.array(PLAN, pa.large_string()),
        pa.array(PLAN, pa.string_view()),
        pa.array(PLAN, pa.large_string()).dictionary_encode(),
    ],
    ids=["dictionary", "large_string", "string_view", "large_dictionary"],
)
def test_texts_of_every_type(drop, parquet, plan) -> None:
    """Text is text, however Arrow holds it."""
    table = TABLE.set_column(3, "plan", plan)
    receipt = drop("a.parquet", parquet(table))
    scored = read(drop.result(receipt))
    assert scored["plan"].to_pylist() == PLAN
    assert scored["probability_leave"].to_pylist() == pytest.approx(SCORES, abs=1e-15)


NESTED = pa.table(
    {
        "list": [[1, None], [], None],
        "struct": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": None}, None]),
        "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "deep": [[{"a": [[1], None]}], None, []],
        "binary": [b"\xff", None, b""],
        "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
        "time": pa.array([1, None, 2], pa.time64("us")),
        "duration": pa.array([1, None, 2], pa.duration("us")),
        "date": pa.array([date(2026, 11, 20), None, date(1, 1, 1)]),
        "nothing": pa.nulls(3),
        "zoned": pa.array([datetime(2026, 11, 20), None, datetime(1, 1, 1)], pa.timestamp("us", "Europe/Berlin")),  # noqa: DTZ001  # pyarrow takes naive times for UTC
    }
)


VIEWS = pa.table(
    {
        "view": pa.array(["a", None, "c"], pa.string_view()),
        "bytes": pa.array([b"\xff", None, b""], pa.binary_view()),
        "views": pa.array([["a"], None, []], pa.list_(pa.string_view())),
        "listed": pa.array([[1], None, []], pa.list_view(pa.int64())),
        "uuid": pa.array([b"1" * 16, None, b"2" * 16], pa.uuid()),
        "json": pa.array(["{}", None, "1"], pa.json_()),
    }
)


@pytest.mark.parametrize("name", [*NESTED.column_names, *VIEWS.column_names])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_any_column_is_rejected_with_its_row(drop, parquet, name: str, bad: int) -> None:
    """Whatever type a column has, its good rows are in the result and the others in the rejects."""
    column = (VIEWS if name in VIEWS.column_names else NESTED)[name]
    visits = [None if row == bad else 1 for row in range(3)]
    table = TABLE.set_column(1, "visits", pa.array(visits, pa.int64())).append_column(name, column)
    receipt = drop("a.parquet", parquet(table), error_threshold=-1)
    assert receipt.rows == {"read": 3, "scored": 2, "rejected": 1}
    cells = column.to_pylist()
    assert read(drop.rejects(receipt))[name].to_pylist() == [cells[bad]]
    del cells[bad]
    assert read(drop.result(receipt))[name].to_pylist() == cells


def test_row_groups_end_where_batches_do(drop, parquet, monkeypatch) -> None:
    """What is written anew has no row groups of a few rows, nor parts of arrays that pyarrow cannot write."""
    monkeypatch.setattr(scoring.parquet.writer, "GROUP_ROWS", 4)
    cells = pa.array([{"a": "x"}, None, {"a": "y"}], pa.struct([("a", pa.string_view())]))
    table = TABLE.set_column(1, "visits", pa.nulls(3, pa.int64())).append_column("struct", cells)
    receipt = drop("a.parquet", parquet(pa.concat_tables([table] * 4), row_group_size=3), error_threshold=-1)
    rejects = pq.ParquetFile(BytesIO(drop.rejects(receipt)))
    assert [rejects.metadata.row_group(group).num_rows for group in range(rejects.num_row_groups)] == [3] * 4
    assert rejects.read()["struct"].to_pylist() == cells.to_pylist() * 4


@pytest.mark.parametrize("name", NESTED.column_names)
def test_any_column_is_passed_through(drop, parquet, name: str) -> None:
    """A column that the model does not know may be of any type, nested too: it comes back as it was."""
    table = TABLE.add_column(0, name, NESTED[name])
    check(drop, parquet(table), table)
    receipt = drop("b.parquet", parquet(table), keep=[name])
    assert read(drop.result(receipt))[name].equals(NESTED[name])


@pytest.mark.parametrize("name", [name for name in NESTED.column_names if name != "nothing"])
@pytest.mark.parametrize("column", ["visits", "plan"])
def test_what_the_model_cannot_take_fails_at_once(drop, parquet, name: str, column: str) -> None:
    """A column of the model's that is nested, binary or a time is a permanent error that names it and its type."""
    place = TABLE.column_names.index(column)
    receipt = drop("a.parquet", parquet(TABLE.set_column(place, column, NESTED[name])))
    assert receipt.error
    assert (receipt.error["code"], receipt.error["column"]) == ("column_type", column)
    assert receipt.output is None


def test_no_row_groups(drop) -> None:
    """A file of a schema and nothing else is a file without rows."""
    sink = BytesIO()
    pq.ParquetWriter(sink, TABLE.schema).close()
    assert pq.ParquetFile(sink).num_row_groups == 0
    receipt = drop("a.parquet", sink.getvalue())
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 0)
    assert read(drop.result(receipt)).column_names == [*TABLE.column_names, "prediction", "probability_leave"]


def test_row_groups_without_rows(drop) -> None:
    """Empty row groups before, between and behind others change nothing."""
    sink = BytesIO()
    with pq.ParquetWriter(sink, TABLE.schema) as writer:
        for rows in (TABLE[:0], TABLE[:1], TABLE[:0], TABLE[1:], TABLE[:0]):
            writer.write_table(rows)
    assert pq.ParquetFile(sink).num_row_groups == 5
    check(drop, sink.getvalue())


def test_one_huge_row_group(drop, parquet) -> None:
    """A row group of many slices is scored like any other, in order."""
    sample = make_sample(6_000)
    scored = read(drop.result(drop("a.parquet", parquet(sample, row_group_size=6_000))))
    assert scored.select(sample.column_names).equals(sample)
    assert scored["prediction"].null_count == 0


def test_nulls_in_every_place(drop, parquet) -> None:
    """Columns that are null throughout, and pages that are, are as null as single cells."""
    table = pa.table({"age": pa.nulls(3), "visits": VISITS, "member": MEMBER, "plan": pa.nulls(3, pa.string())})
    receipt = drop("a.parquet", parquet(table))
    expected = hand_scores([(None, visits, member, None) for _, visits, member, _ in ROWS])
    assert read(drop.result(receipt))["probability_leave"].to_pylist() == pytest.approx(expected, abs=1e-15)
    missing = table.set_column(1, "visits", pa.nulls(3))
    receipt = drop("b.parquet", parquet(missing), error_threshold=-1)
    assert receipt.reject_codes == {"null_not_allowed": 3}


def conformed(array: pa.Array, kind: ColumnType) -> tuple[list[object], list[int]]:
    """Return the cells that a model's column of `kind` gets of a Parquet column, and the rows that are rejected."""
    sink = BytesIO()
    pq.write_table(pa.table({"x": array}), sink)
    cells = pq.read_table(sink)["x"].combine_chunks()
    rejects = Rejects(len(cells))
    signature = Signature((Column("x", kind),), ())
    rows = conform({"x": cells}, signature, len(cells), rejects)
    return rows["x"].to_pylist(), rejects.indices().tolist()


@pytest.mark.parametrize(
    ("array", "kind", "cells", "rejected"),
    [
        (pa.array([2**63, 2**63 - 1, None], pa.uint64()), ColumnType.LONG, [None, 2**63 - 1, None], [0]),
        (pa.array([2**53 + 1, None]), ColumnType.DOUBLE, [2.0**53, None], []),
        (pa.array([2**24 + 1, None]), ColumnType.FLOAT, [2.0**24, None], []),
        (pa.array([2**31, -(2**31), None]), ColumnType.INTEGER, [None, -(2**31), None], [0]),
        (pa.array([np.nan, 1.5, 2.0, np.inf]), ColumnType.LONG, [None, None, 2, None], [1, 3]),
        (pa.array([Decimal("1.50"), Decimal("2.00"), None]), ColumnType.LONG, [None, 2, None], [0]),
        (pa.array([Decimal(10) ** 30, None], pa.decimal128(38, 0)), ColumnType.LONG, [None, None], [0]),
        (pa.array([1, None, 2]).dictionary_encode(), ColumnType.DOUBLE, [1.0, None, 2.0], []),
    ],
    ids=["uint64", "double", "float", "integer", "nan", "decimal", "large_decimal", "dictionary"],
)
def test_what_would_be_lost_is_rejected(array, kind, cells, rejected) -> None:
    """A value that the model's type cannot hold costs its row; floating point rounds as it does from text."""
    assert conformed(array, kind) == (cells, rejected)


@pytest.mark.parametrize(("digits", "scale"), [(3, 1), (9, 2), (15, 15), (18, 4), (38, 30), (76, 2)])
@pytest.mark.parametrize("kind", [ColumnType.DOUBLE, ColumnType.FLOAT])
def test_decimals_are_rounded_once(kind: ColumnType, digits: int, scale: int) -> None:
    """A decimal is the nearest floating point number: what Python and a CSV cell make of it."""
    random = np.random.default_rng(digits)
    texts = ["".join(map(str, random.integers(0, 10, random.integers(1, digits + 1)))) for _ in range(500)]
    decimals = [Decimal(f"{'-' * (place % 2)}{text}e-{scale}") for place, text in enumerate(texts)]
    array = pa.array([*decimals, None], pa.decimal256(76, scale))
    nearest = np.float32 if kind is ColumnType.FLOAT else float
    with np.errstate(over="ignore"):
        expected = [float(nearest(str(value))) for value in decimals]
    for start, stop in ((0, 501), (3, 17), (5, 5)):
        assert conformed(array[start:stop], kind)[0] == [*expected, None][start:stop]


EPOCHS = [datetime(2026, 11, 20, 12), None, datetime(1, 1, 1)]  # noqa: DTZ001  # timestamps without a zone are UTC


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+02:00"])
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_of_every_unit_and_zone(unit: str, zone: str | None) -> None:
    """Times are in UTC, whatever zone they are shown in."""
    array = pa.array(EPOCHS, pa.timestamp(unit, zone))
    assert conformed(array, ColumnType.DATETIME) == (EPOCHS, [])


def test_dates_and_nanoseconds() -> None:
    """A date is its midnight; a time between two microseconds costs its row."""
    midnight = [datetime(2026, 11, 20), None]  # noqa: DTZ001  # as above
    days = pa.array([date(2026, 11, 20), None])
    assert conformed(days, ColumnType.DATETIME) == (midnight, [])
    assert conformed(days.cast(pa.date64()), ColumnType.DATETIME) == (midnight, [])
    times = pa.array([1, None, 2000], pa.timestamp("ns", "UTC"))
    assert conformed(times, ColumnType.DATETIME) == ([None, None, datetime(1970, 1, 1, 0, 0, 0, 2)], [0])  # noqa: DTZ001  # as above


def test_times_as_spark_wrote_them(drop, parquet) -> None:
    """Timestamps of 96 bits are read to the microsecond, also where nanoseconds would not hold them."""
    times = pa.array([datetime(1, 1, 1), None, datetime(9999, 12, 31)], pa.timestamp("us"))  # noqa: DTZ001  # as above
    table = TABLE.add_column(0, "when", times)
    data = parquet(table, use_deprecated_int96_timestamps=True)
    assert pq.ParquetFile(BytesIO(data)).schema.column(0).physical_type == "INT96"
    scored = drop.result(drop("a.parquet", data))
    when = pq.ParquetFile(BytesIO(scored), coerce_int96_timestamp_unit="us").read()["when"]
    assert pc.cast(when, pa.timestamp("us")).equals(table["when"])
