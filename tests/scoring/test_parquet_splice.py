"""Parquet results made of the input's own bytes."""

import itertools
import json
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

import scoring.parquet.codec
from scoring.parquet.footer import Footer, read_footer
from scoring.parquet.properties import SPARK_SCHEMA, with_columns
from tests.hand_model import HandModel, make_sample

CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]


def read(data: bytes) -> pa.Table:
    return pq.read_table(BytesIO(data), page_checksum_verification=True)


def footer_of(data: bytes) -> Footer:
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return read_footer(data[end:-8], end)


def chunk_bytes(data: bytes) -> list[list[bytes]]:
    """Return for each row group the bytes of each column."""
    return [
        [data[chunk.start : chunk.start + chunk.length] for chunk in group.chunks]
        for group in footer_of(data).groups
    ]


def make_rows(rows: int, bad: set[int] = frozenset()) -> pa.Table:
    """Return rows of the hand-built model's columns, some of them without the visits it needs, and many others."""
    numbers = range(rows)
    sample = make_sample(rows)
    visits = [None if row in bad else cell for row, cell in enumerate(sample["visits"].to_pylist())]
    place = pa.struct([("x", pa.float64()), ("names", pa.map_(pa.string(), pa.string()))])
    extra = {
        "id": pa.array(numbers, pa.int64()),
        "tags": pa.array([["a", None] * (n % 3) if n % 5 else None for n in numbers]),
        "place": pa.array([{"x": n / 2, "names": [("k", str(n))]} for n in numbers], place),
        "price": pa.array(numbers, pa.decimal128(14, 2)),
        "when": pa.array([datetime.fromtimestamp(n, UTC) for n in numbers], pa.timestamp("us", "Europe/Rome")),
        "blob": pa.array([bytes([n % 256]) * 3 for n in numbers], pa.binary(3)),
        "small": pa.array([n % 100 for n in numbers], pa.uint8()),
        "text": pa.array([f"t{n % 7}" for n in numbers]).dictionary_encode(),
    }
    table = sample.set_column(sample.schema.get_field_index("visits"), "visits", pa.array(visits, pa.int64()))
    for name, cells in extra.items():
        table = table.append_column(name, cells)
    return table


def probabilities(table: pa.Table) -> np.ndarray:
    """Return what the model's source says of the rows it takes."""
    return HandModel().predict(table)["probability_leave"].to_numpy()


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", CODECS)
def test_kept_columns_are_the_inputs_own_bytes(drop, parquet, codec: str, version: str) -> None:
    """Whatever the codec, page version and type: each kept column is copied byte for byte, with its statistics."""
    table = make_rows(500)
    options = {"compression": codec, "data_page_version": version, "write_page_checksum": True}
    data = parquet(table, row_group_size=120, **options)
    result = drop.result(drop("a.parquet", data))
    leaves = len(footer_of(data).groups[0].chunks)
    assert [group[:leaves] for group in chunk_bytes(result)] == chunk_bytes(data)
    scored = read(result)
    assert scored.select(table.column_names).equals(table)
    assert np.abs(scored["probability_leave"].to_numpy() - probabilities(table)).max() < 1e-15
    ours, theirs = pq.ParquetFile(BytesIO(result)).metadata, pq.ParquetFile(BytesIO(data)).metadata
    for group, leaf in itertools.product(range(theirs.num_row_groups), range(leaves)):
        mine, its = ours.row_group(group).column(leaf), theirs.row_group(group).column(leaf)
        assert (mine.statistics, mine.encodings) == (its.statistics, its.encodings)


def test_columns_larger_than_a_block_are_copied_whole(drop, parquet) -> None:
    """What is copied over several blocks, read while others are staged, is the input's bytes in their order."""
    table = make_rows(24)
    large = np.random.default_rng(1).bytes(24 * 1_000_000)
    cells = [large[n * 1_000_000 : (n + 1) * 1_000_000] for n in range(24)]
    table = table.append_column("large", pa.array(cells, pa.binary()))
    data = parquet(table, row_group_size=18, compression="none", use_dictionary=False, write_statistics=False)
    receipt = drop("a.parquet", data, keep=["large", "id", "visits"])
    result = drop.result(receipt)
    scored = read(result)
    assert scored.select(["large", "id", "visits"]).equals(table.select(["large", "id", "visits"]))
    assert receipt.stages["cpu"]["read"] > 0


@pytest.mark.parametrize("keep", ["none", ["id"], ["place", "id", "tags"]], ids=str)
def test_named_columns_are_copied_in_the_order_asked_for(drop, parquet, keep) -> None:
    """A result of some columns has just those, nested ones whole, and the outputs behind them."""
    table = make_rows(300)
    scored = read(drop.result(drop("a.parquet", parquet(table, row_group_size=100), keep=keep)))
    kept = [] if keep == "none" else keep
    assert scored.column_names == [*kept, "prediction", "probability_leave"]
    assert scored.select(kept).equals(table.select(kept)) or not kept
    assert np.abs(scored["probability_leave"].to_numpy() - probabilities(table)).max() < 1e-15


@pytest.mark.parametrize("keep", ["all", "none", ["id", "tags"]], ids=str)
@pytest.mark.parametrize("held", [1 << 20, 800], ids=["copied", "streamed"])
def test_row_groups_with_rejects_are_among_copied_ones(drop, parquet, monkeypatch, held: int, keep) -> None:
    """Rows are rejected from their row group alone, wherever they are; all others and their order stay."""
    monkeypatch.setattr(scoring.parquet.codec, "HELD_BYTES", held)
    monkeypatch.setattr(scoring.parquet.codec, "SLICE_ROWS", 40)
    bad = {0, 5, 299, *range(300, 400), 555}
    table = make_rows(700, bad)
    receipt = drop("a.parquet", parquet(table, row_group_size=100), keep=keep, error_threshold=-1)
    assert receipt.rows == {"read": 700, "scored": 596, "rejected": 104}
    good = table.filter(pa.array([row not in bad for row in range(700)]))
    scored = read(drop.result(receipt))
    kept = table.column_names if keep == "all" else [] if keep == "none" else keep
    assert scored.select(kept).equals(good.select(kept)) or not kept
    assert np.abs(scored["probability_leave"].to_numpy() - probabilities(good)).max() < 1e-15
    rejects = read(drop.rejects(receipt))
    assert rejects.select(table.column_names).equals(table.take(sorted(bad)))
    assert rejects["_row"].to_pylist() == [row + 1 for row in sorted(bad)]


def test_one_reject_costs_its_own_row_group_its_bytes_only(drop, parquet) -> None:
    """In one file, row groups without rejects are copied and the one with a reject is written anew."""
    data = parquet(make_rows(300, {150}), row_group_size=100, compression="zstd")
    result = drop.result(drop("a.parquet", data))
    ours, theirs = chunk_bytes(result), chunk_bytes(data)
    assert [ours[group][: len(theirs[0])] == theirs[group] for group in range(3)] == [True, False, True]


def test_the_same_input_gives_the_same_bytes(drop, parquet) -> None:
    """Copied, written anew or both: a second run makes the same file."""
    data = parquet(make_rows(400, {150}), row_group_size=100)
    results = [drop.result(drop(f"{name}.parquet", data)) for name in "ab"]
    assert results[0] == results[1]


@pytest.mark.parametrize("bad", [set(), {150}], ids=["copied", "written anew"])
def test_columns_that_would_be_written_otherwise(drop, parquet, bad: set[int]) -> None:
    """Lists with elements of another name are copied; where a row is rejected, the file is as pyarrow writes it."""
    table = make_rows(300, bad)
    data = parquet(table, row_group_size=100, use_compliant_nested_type=False)
    result = drop.result(drop("a.parquet", data))
    paths = [column.path for column in pq.ParquetFile(BytesIO(result)).schema]
    assert ("tags.list.item" in paths, "tags.list.element" in paths) == (not bad, bool(bad))
    good = pa.array([row not in bad for row in range(300)])
    for name in ("id", "tags", "place", "price"):
        assert read(result)[name].to_pylist() == read(data)[name].filter(good).to_pylist()


@pytest.mark.parametrize(
    ("options", "name", "kind"),
    [
        ({"use_deprecated_int96_timestamps": True}, "when", "INT96"),
        ({"store_decimal_as_integer": True}, "price", "INT64"),
    ],
    ids=["timestamps", "decimals"],
)
def test_rows_are_written_anew_as_spark_writes_them(drop, parquet, options, name: str, kind: str) -> None:
    """Timestamps of 96 bits, and decimals as whole numbers, stay that: the other row groups are copied."""
    data = parquet(make_rows(300, {150}), row_group_size=100, **options)
    result = drop.result(drop("a.parquet", data))
    column = pq.ParquetFile(BytesIO(result)).metadata.row_group(1).column(_leaf(result, name))
    assert (column.physical_type, column.num_values) == (kind, 99)
    assert chunk_bytes(result)[2][:-2] == chunk_bytes(data)[2]
    good = pa.array([row != 150 for row in range(300)])
    assert read(result)[name].equals(read(data)[name].filter(good))


def _leaf(data: bytes, name: str) -> int:
    return [column.path for column in pq.ParquetFile(BytesIO(data)).schema].index(name)


def test_what_is_known_of_columns_survives(drop) -> None:
    """Field ids, sorting, required columns and the file's own metadata are in the result."""
    sample = make_sample(200)
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "7"}),
            *sample.schema,
            pa.field("day", pa.int32(), metadata={"PARQUET:field_id": "8"}),
        ],
        {"who": "we"},
    )
    table = pa.table([pa.array(range(200)), *sample.columns, pa.array(range(200), pa.int32())], schema=schema)
    sink = BytesIO()
    pq.write_table(
        table, sink, sorting_columns=[pq.SortingColumn(len(schema) - 1), pq.SortingColumn(0)], store_schema=True
    )
    result = drop.result(drop("a.parquet", sink.getvalue(), keep=["day", "id"]))
    file = pq.ParquetFile(BytesIO(result))
    assert file.schema_arrow.metadata[b"who"] == b"we"
    assert file.schema_arrow.field("id").metadata[b"PARQUET:field_id"] == b"7"
    assert not file.schema_arrow.field("id").nullable
    assert file.metadata.row_group(0).sorting_columns == (pq.SortingColumn(0), pq.SortingColumn(1))
    assert file.metadata.row_group(0).total_byte_size == sum(
        file.metadata.row_group(0).column(leaf).total_uncompressed_size for leaf in range(4)
    )


def test_files_that_no_arrow_writer_made(drop, parquet) -> None:
    """A file without Arrow's schema gets none; its columns are read as before."""
    table = make_rows(50).drop_columns(["text"])
    data = parquet(table, store_schema=False)
    result = drop.result(drop("a.parquet", data))
    assert b"ARROW:schema" not in (pq.ParquetFile(BytesIO(result)).metadata.metadata or {})
    assert read(result).select(table.column_names).equals(read(data))


@pytest.mark.parametrize("bad", [set(), {3}], ids=["copied", "written anew"])
def test_pandas_reads_its_own_index_back(drop, bad: set[int]) -> None:
    """A named index and a range index survive, the latter as far as rows do."""
    frame = make_rows(60, bad).select(["age", "visits", "member", "plan"]).to_pandas()
    sink = BytesIO()
    frame.set_index(pd.Index([f"r{n}" for n in range(60)], name="key")).to_parquet(sink)
    named = pd.read_parquet(BytesIO(drop.result(drop("a.parquet", sink.getvalue()))))
    assert named.index.tolist() == [f"r{n}" for n in range(60) if n not in bad]
    sink = BytesIO()
    frame.to_parquet(sink)
    ranged = pd.read_parquet(BytesIO(drop.result(drop("b.parquet", sink.getvalue()))))
    assert ranged.index.tolist() == list(range(60 - len(bad)))
    assert ranged.columns.tolist() == [*frame.columns, "prediction", "probability_leave"]


@pytest.mark.parametrize("bad", [set(), {3}], ids=["copied", "written anew"])
def test_spark_sees_the_outputs(drop, parquet, bad: set[int]) -> None:
    """Spark's own schema, which it reads a file by, has the result's columns: kept ones as they were."""
    table = make_rows(20, bad).select(["id", "age", "visits", "member", "plan"])
    names = {"id": "long", "age": "double", "visits": "long", "member": "boolean", "plan": "string"}
    columns = [{"name": name, "type": names[name], "nullable": False, "metadata": {"a": 1}} for name in names]
    spark = json.dumps({"type": "struct", "fields": columns})
    data = parquet(table.replace_schema_metadata({SPARK_SCHEMA: spark, "who": "we"}))
    receipt = drop("a.parquet", data, keep=["id", "age"])
    metadata = pq.ParquetFile(BytesIO(drop.result(receipt))).metadata.metadata
    added = [("prediction", "string"), ("probability_leave", "double")]
    assert json.loads(metadata[SPARK_SCHEMA])["fields"] == [
        *columns[:2],
        *({"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in added),
    ]
    assert metadata[b"who"] == b"we"


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"fields": 1}', b'{"fields": [1]}', b'{"fields": [{}]}'], ids=repr
)
def test_what_spark_itself_cannot_read_stays(text: bytes) -> None:
    """A damaged schema of Spark's is kept as it is."""
    schema = pa.schema([("a", pa.int64())])
    assert with_columns({SPARK_SCHEMA: text}, schema) == {SPARK_SCHEMA: text}


def test_empty_row_groups_leave_no_trace(drop) -> None:
    """Row groups without rows, first, last and between others, cost nothing and lose nothing."""
    table, sink = make_sample(30), BytesIO()
    with pq.ParquetWriter(sink, table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 10), table.slice(0, 0), table.slice(10), table.slice(0, 0)):
            writer.write_table(part)
    assert read(drop.result(drop("a.parquet", sink.getvalue()))).select(table.column_names).equals(table)


def test_damage_in_a_copied_column_goes_through(drop, parquet) -> None:
    """Bytes that only pass are not looked at, as in CSV; the page's own checksum still tells their reader."""
    table = make_rows(100)
    data = bytearray(parquet(table, write_page_checksum=True, compression="none", use_dictionary=False))
    chunk = footer_of(bytes(data)).groups[0].chunks[_leaf(bytes(data), "id")]
    data[chunk.start + chunk.length - 9] ^= 0xFF
    result = drop.result(drop("a.parquet", bytes(data)))
    with pytest.raises(OSError, match="CRC"):
        read(result)
    assert (
        pq.read_table(BytesIO(result), columns=["tags"])["tags"]
        .combine_chunks()
        .equals(table["tags"].combine_chunks())
    )


class _Keys(pe.KmsClient):
    def __init__(self, _config: pe.KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _name: str) -> bytes:
        return key.hex().encode()

    def unwrap_key(self, key: bytes, _name: str) -> bytes:
        return bytes.fromhex(key.decode())


@pytest.mark.parametrize("plain", [True, False], ids=["columns", "file"])
def test_encrypted_files_are_refused(drop, plain: bool) -> None:
    """A file that is encrypted, or has columns that are, fails by name: copies of those could never be read."""
    table = make_rows(50).select(["age", "visits", "member", "plan", "id"])
    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["id"]}, plaintext_footer=plain)
    properties = pe.CryptoFactory(_Keys).file_encryption_properties(pe.KmsConnectionConfig(), config)
    sink = BytesIO()
    with pq.ParquetWriter(sink, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    receipt = drop("a.parquet", sink.getvalue())
    assert receipt.error
    assert receipt.error["code"] == ("format_unsupported" if plain else "file_malformed")
    assert "encrypted" in receipt.error["message"]


@pytest.mark.parametrize("dictionaries", [True, False], ids=["coded", "plain"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_texts_are_read_however_they_are_written(drop, parquet, kind: pa.DataType, dictionaries: bool) -> None:
    """Coded, plain, or first one and then the other, with nulls and bytes that are no text: texts are the same."""
    table = make_rows(3000).select(["age", "visits", "member", "plan"])
    plans = table["plan"].to_pylist()
    plans[1000:2000] = [f"plan {n}" for n in range(1000)]  # more than the dictionary may hold
    plans[2999] = b"\xff"
    cells = pa.array([cell.encode() if isinstance(cell, str) else cell for cell in plans], pa.binary())
    cells = cells.view(pa.string()).cast(kind, safe=False) if kind == pa.string() else _large(cells)
    data = parquet(
        table.set_column(3, "plan", cells), row_group_size=2900, use_dictionary=dictionaries,
        dictionary_pagesize_limit=500, data_page_size=1000,
    )  # fmt: skip
    receipt = drop("a.parquet", data, keep="none", error_threshold=-1)
    assert receipt.reject_codes == {"text_encoding": 1}
    good = table.set_column(3, "plan", pa.array([*plans[:2999], None])).slice(0, 2999)
    scored = read(drop.result(receipt))
    assert np.abs(scored["probability_leave"].to_numpy() - probabilities(good)).max() < 1e-15


def _large(cells: pa.Array) -> pa.Array:
    return cells.cast(pa.large_binary()).view(pa.large_string())


@pytest.mark.parametrize("column", ["plan", "text", "list.list.element", "struct.x"])
def test_codes_of_no_text_are_damage(drop, parquet, column: str) -> None:
    """A code beyond its dictionary, in what the model reads or what is written anew, fails the file by name."""
    texts = pa.array(["a", "b", "c"] * 4)
    coded = texts.dictionary_encode()
    table = make_rows(12, {3}).select(["age", "visits", "member"]).append_column("plan", texts)
    table = table.append_column("text", coded)
    table = table.append_column("list", pa.ListArray.from_arrays(pa.array(range(13), pa.int32()), coded))
    table = table.append_column("struct", pa.StructArray.from_arrays([coded], ["x"]))
    data = bytearray(parquet(table, compression="none"))
    chunk = footer_of(bytes(data)).groups[0].chunks[_leaf(bytes(data), column)]
    data[chunk.start + chunk.length - 2] = 0xFF  # the last four of twelve codes, two bits each
    receipt = drop("a.parquet", bytes(data), error_threshold=-1)
    assert receipt.error
    assert receipt.error["code"] == "file_malformed"
    assert "dictionary" in receipt.error["message"]
