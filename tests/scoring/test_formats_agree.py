"""One table through CSV, Parquet and HTTP rows: the same predictions bit for bit, the same rows rejected alike.

Where formats cannot agree by nature, the tables here hold nothing of the kind:

- CSV has no null but the empty cell and pandas' spellings of one, so no text is empty or such a spelling;
- NaN is null to CSV ("nan") and to JSON, which has none: numbers are null instead;
- bytes that are no text cost their row as `text_encoding` in files; JSON cannot hold them (a lone surrogate is
  `value_type`);
- a Parquet column has one type, so a bad cell is one that its type can hold: a fraction among whole numbers, a
  number too large, a time too far off. Text among numbers is a bad cell in CSV and JSON, and a `column_type` error
  of the whole file in Parquet.
"""

import csv
import json
import math
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from errors import InputError
from model_store.convert.conversion import NULL_TEXT
from model_store.model import Model
from scoring.engine import Engine
from scoring.options import NULL_SPELLINGS
from scoring.rows import score_rows
from settings import Settings
from tests.echo_model import INPUTS, open_echo
from tests.memory_store import Runs
from web.app import create_app

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
TEXTS |= st.sampled_from(
    ["a,b", 'say "hi"', '"', "two\nlines", "cr\rhere", "\r\n", " padded ", "\t", "-", "0", "true"]
)
TEXTS = TEXTS.filter(lambda text: text not in NULL_SPELLINGS)
WHOLES = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 0, -1, 2**53 + 1])
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
DOUBLES |= st.sampled_from(
    [-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e23, 9007199254740993.0]
)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
SINGLES |= st.sampled_from([-0.0, 1.401298464324817e-45, 3.4028234663852886e38, 0.10000000149011612])
TIMES = st.integers(-62_135_596_800, 253_402_300_799).flatmap(
    lambda seconds: st.integers(0, 999_999).map(lambda micros: seconds * 1_000_000 + micros)
)
GOOD = {
    "flag": st.booleans(),
    "small": st.integers(-(2**31), 2**31 - 1),
    "whole": WHOLES,
    "single": st.none() | SINGLES,
    "number": st.none() | DOUBLES,
    "text": st.none() | TEXTS,
    "at": TIMES,
}
"""Cells that the model takes; times are microseconds since 1970."""

BAD = {
    "flag": st.none(),
    "small": st.none() | st.integers(2**31, 2**62) | st.integers(-(2**62), -(2**31) - 1),
    "whole": st.none(),
    "at": st.none(),
}
"""Cells that cost their row, of a kind that the column's Parquet type below can hold."""

PARQUET = pa.schema(
    [
        ("flag", pa.bool_()),
        ("small", pa.int64()),
        ("whole", pa.int64()),
        ("single", pa.float32()),
        ("number", pa.float64()),
        ("text", pa.string()),
        ("at", pa.timestamp("us")),
    ]
)
FRACTIONAL = {"whole": st.integers(-(2**53), 2**53).map(float) | st.sampled_from([0.5, -1.25, 1e300, 1e19])}
"""The column as floating point, as pandas writes whole numbers that have a gap."""


def rows(cells: dict[str, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=12)


MIXED = {name: GOOD[name] | BAD.get(name, st.nothing()) for name in GOOD}


class Formats:
    """Scores rows by each of the ways; answers are lists of tuples of outputs, or of a code and a column."""

    def __init__(self, model: Model, engine: Engine) -> None:
        self.model = model
        self.runs = Runs(model, engine, Settings(threads=1, block_bytes=300, max_record_bytes=100_000))

    def by_csv(self, table: list[dict[str, Any]]) -> list[Any]:
        sink = StringIO(newline="")
        writer = csv.writer(sink)
        writer.writerow([*GOOD, "row"])
        writer.writerows([*(as_text(name, row[name]) for name in GOOD), place] for place, row in enumerate(table))
        outcome = self.runs.score("a.csv", sink.getvalue().encode(), keep=["row"], error_threshold=-1)
        assert outcome.result is not None, outcome.receipt
        answers: dict[int, Any] = {}
        for row in csv.DictReader(StringIO(outcome.result.decode(), newline="")):
            read = tuple(READ_TEXT[c.type.value](row[f"{c.name}_out"]) for c in INPUTS)
            answers[int(row["row"])] = bits(read)
        if outcome.rejects:
            for row in csv.DictReader(StringIO(outcome.rejects.decode(), newline="")):
                answers[int(row["row"])] = (row["_error_code"], row["_error_column"], row["_error_message"])
                assert int(row["row"]) + 1 == int(row["_row"])
        return [answers.pop(place) for place in range(len(table))]

    def by_parquet(self, table: list[dict[str, Any]], schema: pa.Schema = PARQUET) -> list[Any]:
        written = pa.Table.from_pylist(table, schema).append_column("row", pa.array(range(len(table))))
        sink = BytesIO()
        pq.write_table(written, sink, row_group_size=5)
        outcome = self.runs.score("a.parquet", sink.getvalue(), keep=["row"], error_threshold=-1)
        assert outcome.result is not None, outcome.receipt
        answers: dict[int, Any] = {}
        for row in pq.read_table(BytesIO(outcome.result)).to_pylist():
            answers[row["row"]] = bits(tuple(row[f"{c.name}_out"] for c in INPUTS))
        if outcome.rejects:
            for row in pq.read_table(BytesIO(outcome.rejects)).to_pylist():
                answers[row["row"]] = (row["_error_code"], row["_error_column"], row["_error_message"])
        return [answers.pop(place) for place in range(len(table))]

    def by_rows(self, table: list[dict[str, Any]]) -> list[Any]:
        return from_json(score_rows([as_json(row) for row in table], self.model))


def as_text(name: str, cell: Any) -> str:
    """Return a cell as CSV has it."""
    if cell is None:
        return ""
    if name == "at":
        return time_text(cell)
    return str(cell).lower() if isinstance(cell, bool) else cell if isinstance(cell, str) else repr(cell)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: time_text(cell) if name == "at" and cell is not None else cell for name, cell in row.items()}


def time_text(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None).isoformat()


def from_json(predictions: list[dict[str, Any]]) -> list[Any]:
    return [
        tuple(found["error"].values()) if "error" in found else bits(tuple(found.values())) for found in predictions
    ]


READ_TEXT = {
    "boolean": {"true": True, "false": False}.get,
    "integer": int,
    "long": int,
    "float": lambda text: struct.unpack("f", struct.pack("f", float(text)))[0],
    "double": float,
    "string": str,
    "datetime": int,
}


def bits(answers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return answers as what tells -0.0 from 0.0; NaN is None, as in JSON."""
    return tuple(
        None if isinstance(a, float) and math.isnan(a) else struct.pack("d", a) if isinstance(a, float) else a
        for a in answers
    )


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Formats]:
    engine = Engine(1)
    yield Formats(open_echo(tmp_path_factory.mktemp("echo") / "echo"), engine)
    engine.close()


ROW = {"flag": True, "small": 1, "whole": 2, "single": 0.5, "number": 0.1, "text": "x", "at": 0}


@settings(max_examples=60)
@given(rows(GOOD))
@example([ROW | {"text": NULL_TEXT, "number": -0.0, "single": -0.0}])
@example([ROW | {"at": -1}, ROW | {"at": -62_135_596_800_000_000}, ROW | {"at": 253_402_300_799_999_999}])
def test_good_rows_get_the_same_answers(formats: Formats, table: list[dict[str, Any]]) -> None:
    """Every type's values, the extremes too, reach the model as they are whatever the format."""
    answers = [
        bits(tuple(NULL_TEXT if c.name == "text" and row[c.name] is None else row[c.name] for c in INPUTS))
        for row in table
    ]
    assert formats.by_rows(table) == answers
    assert formats.by_parquet(table) == answers
    assert formats.by_csv(table) == answers


@settings(max_examples=60)
@given(rows(MIXED))
@example([ROW | {"flag": None, "small": 2**31}])
@example([ROW | {"flag": None, "at": None, "whole": None}])
def test_bad_rows_are_rejected_alike(formats: Formats, table: list[dict[str, Any]]) -> None:
    """The same rows are rejected for the same first fault, with the same code, column and message."""
    answers = formats.by_rows(table)
    assert formats.by_parquet(table) == answers
    assert formats.by_csv(table) == answers


@settings(max_examples=40)
@given(rows(GOOD | FRACTIONAL))
def test_whole_numbers_as_floating_point_are_taken_or_rejected_alike(
    formats: Formats, table: list[dict[str, Any]]
) -> None:
    """Where whole numbers are written as 3.0, they are taken; 3.5, and what is beyond 64 bits, is rejected."""
    schema = PARQUET.set(2, pa.field("whole", pa.float64()))
    answers = formats.by_rows(table)
    assert formats.by_parquet(table, schema) == answers
    assert formats.by_csv(table) == answers


@settings(max_examples=40)
@given(rows(GOOD), st.data())
def test_text_among_numbers_is_rejected_alike_by_csv_and_json(
    formats: Formats, table: list[dict[str, Any]], data: st.DataObject
) -> None:
    """A word in a column of numbers, truths or times costs its row in both formats that can hold it."""
    for row in table:
        if data.draw(st.booleans()):
            row[data.draw(st.sampled_from(["flag", "small", "whole", "single", "number"]))] = "word"
    assert formats.by_csv(table) == formats.by_rows(table)


def test_http_answers_as_rows_do(services: Any) -> None:
    """What goes through the HTTP API and its JSON gets the answers that the same rows get without them."""
    numbers = count()
    with TestClient(create_app(lambda: services, services.settings)) as client:

        @settings(max_examples=40)
        @given(st.lists(st.fixed_dictionaries({
            "age": GOOD["number"], "visits": MIXED["whole"], "member": MIXED["flag"], "plan": GOOD["text"],
        }), min_size=1, max_size=8))  # fmt: skip
        def compare(table: list[dict[str, Any]]) -> None:
            next(numbers)
            body = client.post("/api/predict/churn", content=json.dumps(table, ensure_ascii=False).encode()).json()
            assert body["predictions"] == score_rows(table, services.models.current("churn").model)

        compare()
    assert next(numbers) >= 40


def test_a_column_that_is_nowhere_is_the_same_error(formats: Formats) -> None:
    """A missing column fails a file, and a request, with one code and that column's name."""
    row = {name: cell for name, cell in ROW.items() if name != "whole"}
    with pytest.raises(InputError) as caught:
        score_rows([row], formats.model)
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist([row]), sink)
    for name, data in (("a.csv", b",".join(n.encode() for n in row) + b"\n"), ("a.parquet", sink.getvalue())):
        outcome = formats.runs.score(name, data)
        assert outcome.receipt.error is not None
        assert (outcome.code, outcome.receipt.error["column"]) == (caught.value.code, caught.value.column)
