"""A result in the other format than its input's: CSV to Parquet, Parquet to CSV."""

import csv
import gzip
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv as arrow_csv

import scoring.parquet.text_result
from scoring.engine import Engine
from settings import Settings
from tests.echo_model import open_echo
from tests.hand_model import HandModel, hand_scores, make_sample
from tests.memory_store import Runs

ROWS = [(20.0, 3, True, "basic"), (None, 4, False, None), (30.5, 2, True, "zzz")]
SCORES = hand_scores(ROWS)
AGE, VISITS, MEMBER, PLAN = (list(cells) for cells in zip(*ROWS, strict=True))
TABLE = pa.table({"age": AGE, "visits": VISITS, "member": MEMBER, "plan": PLAN})
CSV = b'id,age,visits,member,plan,note\n007,20.0,3,true,basic,"a,""b"\n,NA,4,FALSE,null,NA\n3, 30.5,2.0,1,zzz,\n'


def read(data: bytes) -> pa.Table:
    return pq.read_table(BytesIO(data))


def to_parquet(drop, data: bytes, name: str = "a.csv", **options):
    receipt = drop(name, data, output_format="parquet", **options)
    assert receipt.status == "succeeded", receipt.error
    return receipt, read(drop.result(receipt))


def to_csv(drop, parquet, table: pa.Table, **options) -> list[list[str]]:
    receipt = drop("a.parquet", parquet(table), output_format="csv", **options)
    assert receipt.status == "succeeded", receipt.error
    assert receipt.output == "scored/churn/a.parquet.csv"
    return list(csv.reader(StringIO(drop.result(receipt).decode(), newline=""), strict=True))


def test_csv_becomes_parquet(drop) -> None:
    """What the model knows has its types; everything else is text as written, with null for the empty cell."""
    receipt, scored = to_parquet(drop, CSV)
    assert receipt.output == "scored/churn/a.csv.parquet"
    assert scored.drop_columns(["prediction", "probability_leave"]).to_pydict() == {
        "id": ["007", None, "3"],
        "age": AGE,
        "visits": VISITS,
        "member": MEMBER,
        "plan": PLAN,
        "note": ['a,"b', "NA", None],
    }
    types = {field.name: str(field.type) for field in scored.schema}
    assert types == {
        "id": "string", "age": "double", "visits": "int64", "member": "bool", "plan": "string", "note": "string",
        "prediction": "string", "probability_leave": "double",
    }  # fmt: skip
    assert scored["probability_leave"].to_pylist() == pytest.approx(SCORES, abs=1e-15)


@pytest.mark.parametrize(("keep", "kept"), [("none", []), (["plan", "id"], ["plan", "id"])])
def test_csv_becomes_parquet_of_some_columns(drop, keep, kept: list[str]) -> None:
    """Only the columns that are kept, in the order they were asked for."""
    _, scored = to_parquet(drop, CSV, keep=keep)
    assert scored.column_names == [*kept, "prediction", "probability_leave"]
    assert scored["probability_leave"].to_pylist() == pytest.approx(SCORES, abs=1e-15)


def test_nan_is_null_whatever_is_beside_it(drop) -> None:
    """CSV says "no value" in many ways; in Parquet all are null, whichever block came first."""
    row = b"age,visits,member,plan\nNaN,3,true,basic\n"
    _, alone = to_parquet(drop, row)
    _, beside = to_parquet(drop, row + b"NA,3,true,basic\n", "b.csv")
    assert [table["age"].to_pylist() for table in (alone, beside)] == [[None], [None, None]]


def test_a_nan_that_a_model_gives_back_is_the_same_one(tmp_path: Path) -> None:
    """`-NaN` is null beside other nulls, and a negative NaN without them: the result does not show which."""
    engine = Engine(1)
    runs = Runs(open_echo(tmp_path / "echo"), engine)
    rows = [b"true,1,2,%s,%s,a,2026-11-20\n" % (cell, cell) for cell in (b"-NaN", b"0.5", b"NA", b"-0.0")]
    data = b"flag,small,whole,single,number,text,at\n" + b"".join(rows)
    tables = []
    for block_bytes in (1, 4096):
        runs.settings = Settings(threads=1, block_bytes=block_bytes)
        tables.append(runs.score("a.csv", data, output_format="parquet").result)
    engine.close()
    assert tables[0] == tables[1]
    assert np.signbit(read(tables[0])["number_out"].to_numpy()).tolist() == [False, False, False, True]


def test_many_blocks_become_one_table_in_order(drop) -> None:
    """Rows keep their order over blocks; their scores are those of the same rows in CSV."""
    sample = make_sample(500).append_column("id", pa.array(np.arange(500)))
    sink = BytesIO()
    arrow_csv.write_csv(sample, sink)
    _, scored = to_parquet(drop, sink.getvalue())
    assert scored["id"].to_pylist() == [str(number) for number in range(500)]
    assert scored.select(["age", "visits", "member", "plan"]).to_pylist() == sample.drop_columns(["id"]).to_pylist()
    text = pd.read_csv(BytesIO(drop.result(drop("a.csv", sink.getvalue()))))
    assert np.abs(scored["probability_leave"].to_numpy() - text["probability_leave"].to_numpy()).max() < 1e-15
    assert drop.result(drop("a.csv", sink.getvalue(), output_format="parquet")) == drop.result(
        drop("b.csv", sink.getvalue(), output_format="parquet")
    )


def test_rejects_stay_in_the_inputs_format(drop, parquet) -> None:
    """They are to be mended and dropped again, as what they were."""
    receipt, scored = to_parquet(drop, CSV + b"4,x,1,true,pro,\n5,1,2\n", error_threshold=-1)
    assert (len(scored), receipt.reject_codes) == (3, {"value_type": 1, "field_count": 1})
    assert receipt.rejects == "rejected/churn/a.csv"
    assert drop.rejects(receipt).splitlines()[1].startswith(b"4,x,1,true,pro,,4,value_type,age,")
    table = TABLE.set_column(1, "visits", pa.array([3, None, 2]))
    receipt = drop("b.parquet", parquet(table), output_format="csv", keep=["age"], error_threshold=-1)
    assert receipt.rejects == "rejected/churn/b.parquet"
    assert read(drop.rejects(receipt)).select(TABLE.column_names).equals(table.slice(1, 1))
    assert len(drop.result(receipt).splitlines()) == 1 + 2


def test_other_ways_to_write_csv_become_parquet_too(drop) -> None:
    """Compressed, in another encoding, with other marks and without a header."""
    text = "20;3;true;basic\n;4;false;München\n"
    data = gzip.compress(text.encode("latin-1"))
    options = {"csv": {"header": False, "encoding": "latin-1", "delimiter": ";"}}
    receipt, scored = to_parquet(drop, data, "a.csv.gz", **options)
    assert receipt.output == "scored/churn/a.csv.gz.parquet"
    assert scored.column_names[:4] == ["age", "visits", "member", "plan"]
    assert scored["plan"].to_pylist() == ["basic", "München"]


def test_text_that_is_none_costs_its_row(drop) -> None:
    """Parquet holds text only: bytes that are none reject their row, in a column the model does not know too."""
    receipt, scored = to_parquet(drop, CSV.replace(b"007", b"\xff"), error_threshold=-1)
    assert (len(scored), receipt.reject_codes) == (2, {"text_encoding": 1})


def test_two_columns_of_one_name_cannot_become_parquet(drop) -> None:
    """No reader could tell them apart; they can be left out."""
    data = b"x,x,age,visits,member,plan\n1,2,20,3,true,pro\n"
    receipt = drop("a.csv", data, output_format="parquet")
    assert receipt.error
    assert (receipt.error["code"], receipt.error["column"]) == ("file_malformed", "x")
    to_parquet(drop, data, keep=["age"])


def test_no_rows_become_an_empty_table(drop, parquet) -> None:
    """A header alone becomes a table without rows, and a table without rows a header alone."""
    receipt, scored = to_parquet(drop, CSV.splitlines()[0])
    assert (len(scored), scored.num_columns, [w["code"] for w in receipt.warnings]) == (0, 8, ["no_rows"])
    assert to_csv(drop, parquet, TABLE[:0]) == [[*TABLE.column_names, "prediction", "probability_leave"]]


def test_parquet_becomes_csv(drop, parquet) -> None:
    """Columns keep their names and order, the outputs are behind them."""
    header, *rows = to_csv(drop, parquet, TABLE)
    assert header == ["age", "visits", "member", "plan", "prediction", "probability_leave"]
    assert [row[:4] for row in rows] == [
        ["20", "3", "true", "basic"],
        ["", "4", "false", ""],
        ["30.5", "2", "true", "zzz"],
    ]
    assert [float(row[5]) for row in rows] == pytest.approx(SCORES, abs=1e-15)


@pytest.mark.parametrize(("keep", "kept"), [("none", []), (["plan", "age"], ["plan", "age"])])
def test_parquet_becomes_csv_of_some_columns(drop, parquet, keep, kept: list[str]) -> None:
    """Only the columns that are kept are read beside what the model needs, nested ones not."""
    table = TABLE.append_column("tags", pa.array([["a"], [], None]))
    header, *rows = to_csv(drop, parquet, table, keep=keep)
    assert header == [*kept, "prediction", "probability_leave"]
    assert [row[: len(kept)] for row in rows] == [["basic", "20"], ["", ""], ["zzz", "30.5"]] if kept else [[]] * 3
    assert [float(row[-1]) for row in rows] == pytest.approx(SCORES, abs=1e-15)


NOON = datetime(2026, 11, 20, 12, 0, 0, 5000, tzinfo=UTC)


TEXT = "2026-11-20T12:00:00.005"
WRITTEN = [
    (pa.array([0.1, None, 1e300]), ["0.1", "", "1e+300"]),
    (pa.array([0.1, np.inf, np.nan], pa.float32()), ["0.1", "inf", "nan"]),
    (pa.array(np.array([0.5, 1, 2], np.float16)), ["0.5", "1", "2"]),
    (pa.array([2**64 - 1, None, 0], pa.uint64()), [str(2**64 - 1), "", "0"]),
    (pa.array([Decimal("1.50"), None, Decimal(-7)], pa.decimal128(9, 2)), ["1.50", "", "-7.00"]),
    (pa.array([True, None, False]), ["true", "", "false"]),
    (pa.array([date(2026, 11, 20), None, date(1, 1, 1)]), ["2026-11-20", "", "0001-01-01"]),
    (pa.array([NOON, None, NOON], pa.timestamp("ms")), [TEXT, "", TEXT]),
    (pa.array([NOON, None, NOON], pa.timestamp("ms", "Europe/Rome")), [TEXT + "Z", "", TEXT + "Z"]),
    (pa.array([time(1, 2, 3), None, time(0)], pa.time64("us")), ["01:02:03.000000", "", "00:00:00.000000"]),
    (pa.array(["b", None, "ü"]).dictionary_encode(), ["b", "", "ü"]),
    (pa.array(["a\r\nb", 'c"d', "e,f"], pa.large_string()), ["a\r\nb", 'c"d', "e,f"]),
    (pa.array(["", None, " "], pa.string_view()), ["", "", " "]),
    (pa.nulls(3), ["", "", ""]),
]


@pytest.mark.parametrize(("cells", "texts"), WRITTEN, ids=[str(cells.type) for cells, _ in WRITTEN])
def test_every_type_has_its_text(drop, parquet, cells: pa.Array, texts: list[str]) -> None:
    """Numbers in their shortest exact form, times in ISO 8601 and with a Z where they have a zone, nulls empty."""
    _, *rows = to_csv(drop, parquet, TABLE.add_column(0, "x", cells), keep=["x"])
    assert [row[0] for row in rows] == texts


def test_an_empty_text_is_not_null(drop, parquet) -> None:
    """It is quoted, null is not: pyarrow reads them back apart."""
    cells = ["", None, "x"]
    receipt = drop("a.parquet", parquet(TABLE.add_column(0, "x", pa.array(cells))), output_format="csv", keep=["x"])
    data = drop.result(receipt)
    assert [line.split(b",")[0] for line in data.splitlines()[1:]] == [b'""', b"", b"x"]
    convert = arrow_csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    assert arrow_csv.read_csv(BytesIO(data), convert_options=convert)["x"].to_pylist() == cells


def test_floats_come_back_exactly(drop, parquet) -> None:
    """The text of every number is read as that number."""
    numbers = np.frombuffer(np.random.default_rng(5).bytes(8 * 600), np.float64)
    numbers = np.where(np.isnan(numbers), 1.0, numbers)
    table = make_sample(600).append_column("x", pa.array(numbers))
    _, *rows = to_csv(drop, parquet, table, keep=["x", "age"])
    assert [float(row[0]) for row in rows] == numbers.tolist()
    assert [float(row[1]) if row[1] else None for row in rows] == table["age"].to_pylist()


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([[1], [], None]),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        pa.array([b"a", None, b""]),
        pa.array([1, None, 2], pa.duration("s")),
    ],
    ids=lambda cells: str(cells.type),
)
def test_what_has_no_text_fails_at_once(drop, parquet, cells) -> None:
    """The error names the column and says what to do; with the column left out all goes well."""
    table = TABLE.add_column(0, "x", cells)
    receipt = drop("a.parquet", parquet(table), output_format="csv")
    assert receipt.error
    assert (receipt.error["code"], receipt.error["column"]) == ("column_type", "x")
    assert "keep" in receipt.error["message"]
    assert len(to_csv(drop, parquet, table, keep=["age"])) == 4


def test_values_without_text_cost_their_row(drop, parquet) -> None:
    """Bytes that are no text, and years that ISO 8601 has no four digits for."""
    texts = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    days = pa.array([2_932_896, 0, 2_932_897], pa.int32()).view(pa.date32())
    table = TABLE.append_column("text", texts).append_column("day", days)
    receipt = drop("a.parquet", parquet(table), output_format="csv", error_threshold=-1)
    assert receipt.reject_codes == {"text_encoding": 1, "value_range": 1}
    assert drop.result(receipt).splitlines()[1].split(b",")[4:6] == [b"a", b"9999-12-31"]
    assert len(drop.result(receipt).splitlines()) == 2
    assert receipt.rows["rejected"] == 2
    times = TABLE.append_column("when", days.cast(pa.timestamp("us", "UTC")))
    receipt = drop("b.parquet", parquet(times), output_format="csv", error_threshold=-1)
    assert receipt.reject_codes == {"value_range": 1}


@pytest.mark.parametrize(("cells", "texts"), WRITTEN, ids=[str(cells.type) for cells, _ in WRITTEN])
def test_rejected_rows_are_left_out_of_every_type(drop, parquet, cells: pa.Array, texts: list[str]) -> None:
    """Rows are chosen from columns of any type, and the others go to the rejects as they were."""
    table = TABLE.set_column(1, "visits", pa.array([1, None, 2])).add_column(0, "x", cells)
    receipt = drop("a.parquet", parquet(table), output_format="csv", error_threshold=-1)
    rows = list(csv.reader(StringIO(drop.result(receipt).decode(), newline="")))
    assert [row[0] for row in rows[1:]] == [texts[0], texts[2]]
    assert read(drop.rejects(receipt))["x"].to_pylist() == read(parquet(table))["x"].to_pylist()[1:2]


def test_csv_is_written_as_the_job_says(drop, parquet) -> None:
    """delimiter, quote, header and encoding are those of the result."""
    table = TABLE.set_column(3, "plan", pa.array(["a;b", "ü", "it's"]))
    options = {"csv": {"delimiter": ";", "quote": "'", "header": False, "encoding": "latin-1"}}
    receipt = drop("a.parquet", parquet(table), output_format="csv", keep=["plan"], **options)
    lines = drop.result(receipt).decode("latin-1").splitlines()
    assert [line.rsplit(";", 2)[0] for line in lines] == ["'a;b'", "ü", "'it''s'"]
    table = TABLE.append_column("price", pa.array([Decimal("1.50"), None, Decimal(2)], pa.decimal128(9, 2)))
    receipt = drop("c.parquet", parquet(table), output_format="csv", csv={"decimal": ","})
    row = drop.result(receipt).decode().splitlines()[1].split(";")
    assert (row[4], row[6][:2]) == ("1,50", "0,")
    receipt = drop("b.parquet", parquet(table), output_format="csv", csv={"quote": ""})
    assert receipt.error
    assert receipt.error["code"] == "options_invalid"


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_a_mark_of_the_order_of_bytes_comes_first_and_once(drop, parquet, encoding: str, header: bool) -> None:
    """However many blocks there are: anywhere else it is a character of a cell."""
    data = parquet(pa.concat_tables([TABLE] * 3), row_group_size=2)
    plain = drop.result(drop("a.parquet", data, output_format="csv", csv={"header": header}))
    result = drop.result(drop("b.parquet", data, output_format="csv", csv={"header": header, "encoding": encoding}))
    assert result.decode(encoding) == plain.decode()


def test_slices_and_row_groups_do_not_show_in_text(drop, parquet, monkeypatch) -> None:
    """Rows keep their order over slices and row groups, also where there are more pieces than blocks of a blob."""
    sample = make_sample(3000).append_column("id", pa.array(np.arange(3000)))
    data = parquet(sample, row_group_size=700)
    results = []
    for most in (40_000, 5):
        monkeypatch.setattr(scoring.parquet.text_result, "OWN_BLOCKS", most)
        results.append(drop.result(drop(f"{most}.parquet", data, output_format="csv")))
    assert results[0] == results[1]
    rows = pd.read_csv(BytesIO(results[0]))
    assert rows["id"].tolist() == list(range(3000))
    again = read(drop.result(drop("b.parquet", data)))
    assert np.abs(rows["probability_leave"].to_numpy() - again["probability_leave"].to_numpy()).max() < 1e-15


def test_a_text_of_more_blocks_than_a_blob_has_is_refused(drop, parquet, monkeypatch) -> None:
    """No retry would make it fewer, so the run fails at once and says what to do."""
    for name, most in (("MOST_BLOCKS", 5), ("OWN_BLOCKS", 2), ("BLOCK_BYTES", 1)):
        monkeypatch.setattr(scoring.parquet.text_result, name, most)
    receipt = drop("a.parquet", parquet(make_sample(3000), row_group_size=300), output_format="csv")
    assert receipt.error
    assert (receipt.status, receipt.error["code"]) == ("failed", "options_invalid")


@pytest.mark.parametrize(("name", "other"), [("a.csv", "parquet"), ("a.parquet", "csv")])
def test_both_formats_have_results_of_their_own(drop, parquet, name: str, other: str) -> None:
    """The result in the other format has the format behind its name, so it never takes another input's place."""
    data = CSV if name == "a.csv" else parquet(TABLE)
    assert drop(name, data).output == f"scored/churn/{name}"
    assert drop(name, data, output_format=other).output == f"scored/churn/{name}.{other}"
    assert drop(name, data, output_format=name.partition(".")[2]).output == f"scored/churn/{name}"


def test_scores_are_the_same_in_either_format(drop, parquet) -> None:
    """One table gives the same scores all four ways; ONNX Runtime rounds by a row's place in its batch."""
    sample = make_sample(500)
    sink = BytesIO()
    arrow_csv.write_csv(sample, sink)
    text, table = sink.getvalue(), parquet(sample)
    results = [
        read(drop.result(drop("a.parquet", table))).to_pandas(),
        read(drop.result(drop("a.csv", text, output_format="parquet"))).to_pandas(),
        pd.read_csv(BytesIO(drop.result(drop("b.csv", text)))),
        pd.read_csv(BytesIO(drop.result(drop("b.parquet", table, output_format="csv")))),
    ]
    expected = HandModel().predict(sample)["probability_leave"].to_numpy()
    for result in results:
        assert np.abs(result["probability_leave"].to_numpy() - expected).max() < 1e-15
