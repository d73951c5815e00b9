"""Parquet files through the whole pipeline."""

import errno
from dataclasses import replace
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoring.job import Job
from scoring.pipeline import run_job
from storage import BlobPath
from tests.hand_model import HandModel, hand_scores, make_sample
from tests.scoring.test_pipeline import interrupt

TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int32()),
        "age": [20.0, None, 30.5],
        "visits": [3, 4, 2],
        "member": [True, False, True],
        "plan": pa.array(["basic", None, "zzz"]).dictionary_encode(),
        "tags": [["a"], [], None],
    },
    metadata={"who": "we"},
)


def read(data: bytes) -> pa.Table:
    return pq.read_table(BytesIO(data))


def test_columns_types_and_metadata_are_kept(drop, parquet) -> None:
    """The result has the input's columns as they were, nested ones too, and the outputs behind them."""
    receipt = drop("a.parquet", parquet(TABLE, compression="zstd"))
    scored = read(drop.result(receipt))
    assert scored.select(TABLE.column_names).equals(TABLE)
    assert scored.schema.metadata[b"who"] == b"we"
    expected = hand_scores([(20, 3, True, "basic"), (None, 4, False, None), (30.5, 2, True, "zzz")])
    assert scored["probability_leave"].to_pylist() == pytest.approx(expected, abs=1e-15)


def test_row_groups_and_slices_do_not_show(drop, parquet) -> None:
    """Rows keep their order over many row groups and slices, and CSV gives the same scores."""
    sample = make_sample(9000).append_column("id", pa.array(np.arange(9000)))
    scored = read(drop.result(drop("a.parquet", parquet(sample, row_group_size=700))))
    assert scored["id"].to_pylist() == list(range(9000))
    expected = HandModel().predict(sample)["probability_leave"].to_numpy()
    assert np.abs(scored["probability_leave"].to_numpy() - expected).max() < 1e-15


def test_rejected_rows_have_all_their_columns(drop, parquet) -> None:
    """Rows that do not fit are rejected whole, also where only some columns were read for the result."""
    table = TABLE.set_column(2, "visits", pa.array([1.0, 2.5, None]))
    receipt = drop("a.parquet", parquet(table, row_group_size=2), keep=["id"], error_threshold=-1)
    assert read(drop.result(receipt)).column_names == ["id", "prediction", "probability_leave"]
    rejects = read(drop.rejects(receipt))
    assert rejects.select(table.column_names).equals(table.slice(1))
    assert rejects["_row"].to_pylist() == [2, 3]
    assert rejects["_error_code"].to_pylist() == ["value_type", "null_not_allowed"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([20, 21, 22], pa.uint8()),
        pa.array([20, 21, 22], pa.float32()),
        pa.array(["20.5", "21", "22"]).cast(pa.decimal128(5, 1)),
        pa.nulls(3),
    ],
    ids=["uint8", "float32", "decimal", "null"],
)
def test_numbers_of_other_widths_are_taken(drop, parquet, column) -> None:
    """Whatever number type holds the values without loss, the model gets them."""
    table = TABLE.set_column(1, "age", column)
    receipt = drop("a.parquet", parquet(table))
    assert receipt.rows == {"read": 3, "scored": 3, "rejected": 0}
    assert read(drop.result(receipt)).schema.field("age").type == column.type


def test_a_table_without_rows(drop, parquet) -> None:
    """No rows are no error: the result has all columns, and the receipt a warning."""
    receipt = drop("a.parquet", parquet(TABLE.slice(0, 0)))
    assert receipt.status == "succeeded"
    assert [w["code"] for w in receipt.warnings] == ["no_rows"]
    assert read(drop.result(receipt)).column_names[-2:] == ["prediction", "probability_leave"]


def test_every_truncation_is_an_error_or_right(drop, parquet) -> None:
    """A file cut anywhere ends in file_malformed (or file_empty), never in a result or a crash."""
    data = parquet(TABLE)
    for size in range(0, len(data), 37):
        receipt = drop("a.parquet", data[:size])
        assert receipt.error
        assert receipt.error["code"] == ("file_malformed" if size else "file_empty")
        assert receipt.output is None


@pytest.mark.parametrize("flip", [0xFF, 0x30])
def test_damage_inside_is_an_error_or_right(drop, parquet, flip: int) -> None:
    """Flipped bits end in a permanent error, in rejects or in rows: never in a crash or a retry."""
    data = bytearray(parquet(TABLE.select(["age", "visits", "member", "plan"])))
    codes = set()
    for place in range(4, len(data), 3):
        data[place] ^= flip
        receipt = drop("a.parquet", bytes(data), error_threshold=-1)
        codes.add(receipt.error["code"] if receipt.error else receipt.status)
        data[place] ^= flip
    assert "file_malformed" in codes
    assert codes <= {"file_malformed", "column_missing", "column_type", "succeeded"}


def test_two_columns_of_one_name_are_refused(drop, parquet) -> None:
    """A table in which a name stands for two columns fails by name, before anything is scored."""
    receipt = drop("a.parquet", parquet(pa.table([*TABLE.columns, TABLE["id"]], names=[*TABLE.column_names, "id"])))
    assert receipt.error is not None
    assert (receipt.error["code"], receipt.error["column"]) == ("file_malformed", "id")


@pytest.mark.parametrize("kind", [pa.null(), pa.struct([("void", pa.null())]), pa.list_(pa.null())])
def test_a_schema_that_cannot_be_written_is_malformed(drop, parquet, kind: pa.DataType) -> None:
    """A column of nulls that may not be null can be read, but not written: the file fails at once, for good."""
    data = parquet(TABLE.slice(0, 0).append_column("void", pa.array([], kind)), store_schema=False)
    name = b"\x07element" if pa.types.is_list(kind) else b"\x04void"
    optional, required = b"\x15\x02\x25\x02\x18" + name, b"\x15\x02\x25\x00\x18" + name  # as footers have it
    assert data.count(optional) == 1
    receipt = drop("a.parquet", data.replace(optional, required))
    assert receipt.error is not None
    assert receipt.error["code"] == "file_malformed"
    assert "must be nullable" in receipt.error["message"]


@pytest.mark.parametrize("visits", [[3, 4, 2], [3, None, 2]], ids=["copied", "written anew"])
def test_a_result_can_be_scored_again(drop, parquet, visits) -> None:
    """An input that has columns named like the outputs keeps them; the outputs get numbers, in CSV too."""
    once = read(drop.result(drop("a.parquet", parquet(TABLE))))
    table = once.set_column(2, "visits", pa.array(visits, pa.int64()))
    receipt = drop("b.parquet", parquet(table), error_threshold=-1)
    assert receipt.status == "succeeded", receipt.error
    twice = read(drop.result(receipt))
    assert twice.column_names == [*once.column_names, "prediction_2", "probability_leave_2"]
    good = [row for row, number in enumerate(visits) if number]
    assert twice.select(once.column_names).equals(table.take(good))
    assert twice["probability_leave_2"].to_pylist() == once["probability_leave"].take(good).to_pylist()
    text = drop.result(
        drop("b.parquet", parquet(table.drop_columns("tags")), error_threshold=-1, output_format="csv")
    )
    assert text.splitlines()[0].endswith(b"prediction,probability_leave,prediction_2,probability_leave_2")


def test_a_rejects_file_can_be_rejected_again(drop, parquet) -> None:
    """Rejects of rejects have one set of error columns: those of the last time."""
    table = TABLE.set_column(2, "visits", pa.array([1.5, 2.5, 3.5]))
    receipt = drop("a.parquet", parquet(table), error_threshold=-1)
    again = drop("b.parquet", drop.rejects(receipt), error_threshold=-1)
    assert read(drop.rejects(again)).column_names == read(drop.rejects(receipt)).column_names


@pytest.mark.parametrize("kind", [pa.decimal32(5, 1), pa.decimal64(9, 1), pa.decimal128(20, 1)], ids=str)
def test_decimals_are_taken_where_they_are_whole(drop, parquet, kind) -> None:
    """A decimal in a whole-number column rejects the rows with a fraction, whatever its width."""
    visits = pa.array(["3.0", "4.5", "2.0"]).cast(pa.decimal128(20, 1)).cast(kind)
    receipt = drop("a.parquet", parquet(TABLE.set_column(2, "visits", visits)), error_threshold=-1)
    assert (receipt.rows["scored"], receipt.reject_codes) == (2, {"value_type": 1})


def test_memory_is_bounded_by_bytes_not_rows(drop) -> None:
    """Rows tiny in the file and large in memory are taken few at a time: 600 MB of text in a small file."""
    sink, sample = BytesIO(), make_sample(1000)
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["x" * 60_000]))
    schema = sample.schema.append(pa.field("text", pa.string()))
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(pa.Table.from_arrays([*sample.columns, text.cast(pa.string())], schema=schema))
    data = sink.getvalue()
    assert len(data) < 2_000_000
    peaks: list[int] = []
    path = BlobPath("incoming", "churn/bomb.parquet")
    services = replace(drop.services, settings=replace(drop.services.settings, block_bytes=1 << 20))
    services.blobs.write(path, data)
    before = pa.total_allocated_bytes()
    receipt = run_job(Job.for_dropped(path), services, lambda *_: peaks.append(pa.total_allocated_bytes()))
    assert receipt.rows["scored"] == 10_000
    assert max(peaks) - before < 250_000_000


def test_faults_of_this_machine_are_no_faults_of_the_file(services, parquet) -> None:
    """Running out of file handles while reading is raised for a retry, not written down as a malformed file."""
    path = BlobPath("incoming", "churn/a.parquet")
    services.blobs.write(path, parquet(TABLE))

    def fail() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(OSError, match="Too many open files"):
        run_job(Job.for_dropped(path), interrupt(services, "read", path, fail))


def test_text_that_is_no_text_costs_its_row(drop, parquet) -> None:
    """Bytes that are not UTF-8 in a text column reject their row only."""
    plans = pa.array([b"basic", b"\xff", None], pa.binary()).view(pa.string())
    receipt = drop("a.parquet", parquet(TABLE.set_column(4, "plan", plans)), error_threshold=-1)
    assert receipt.rows == {"read": 3, "scored": 2, "rejected": 1}
    assert receipt.reject_codes == {"text_encoding": 1}
