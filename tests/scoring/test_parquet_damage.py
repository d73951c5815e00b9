"""A small Parquet file cut at every byte, and with every bit flipped in turn."""

from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_store.model import Model
from scoring.engine import Engine
from tests.echo_model import INPUTS, open_echo
from tests.memory_store import Outcome, Runs

CODES = {"file_malformed", "file_empty", "column_missing", "column_type", "expansion_limit", "format_unsupported"}
VARIANTS = {
    "1.0, snappy, checksums": {"data_page_version": "1.0", "compression": "snappy", "write_page_checksum": True},
    "1.0, plain": {"data_page_version": "1.0", "compression": "none", "use_dictionary": False},
    "2.0, snappy": {"data_page_version": "2.0", "compression": "snappy"},
    "2.0, plain, checksums": {"data_page_version": "2.0", "compression": "none", "write_page_checksum": True},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_echo(tmp_path_factory.mktemp("echo") / "echo")


@pytest.fixture
def runs(model: Model) -> Iterator[Runs]:
    engine = Engine(1)
    yield Runs(model, engine)
    engine.close()


def small_file(**options: object) -> bytes:
    table = pa.table(
        {
            "flag": [True, False, True],
            "small": pa.array([1, 2, 3], pa.int32()),
            "whole": [1, 2, 3],
            "single": pa.array([0.5, None, 1.5], pa.float32()),
            "number": [0.5, None, 1.5],
            "text": ["a", None, "a"],
            "at": pa.array([0, 1, 2], pa.timestamp("us")),
        }
    )
    sink = BytesIO()
    pq.write_table(table, sink, store_schema=False, write_statistics=False, **options)
    return sink.getvalue()


def check(data: bytes, outcome: Outcome) -> str:
    """Return how a run ended, which is an error with a code, or as many rows as the file declares."""
    rows = outcome.receipt.rows
    assert rows["read"] == rows["scored"] + rows["rejected"]
    if outcome.code:
        assert outcome.code in CODES
        assert outcome.result is None
        return outcome.code
    assert rows["read"] == pq.read_metadata(BytesIO(data)).num_rows
    assert outcome.result is not None
    assert pq.read_metadata(BytesIO(outcome.result)).num_rows == rows["scored"]
    return "succeeded"


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_file_cut_anywhere_is_refused(runs: Runs, options: dict[str, object]) -> None:
    """Nothing of a file that is cut short is scored, wherever it was cut."""
    data = small_file(**options)
    for size in range(len(data)):
        assert check(data[:size], runs.score("a.parquet", data[:size])) in ("file_malformed", "file_empty")
    assert check(data, runs.score("a.parquet", data)) == "succeeded"


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_flipped_bit_is_an_error_or_rows(runs: Runs, options: dict[str, object]) -> None:
    """Every bit of the file, flipped in turn: an error with a code, or all rows that the file declares.

    With checksums, the answers of a file whose pages are damaged are those of the whole file or there are none.
    """
    data = small_file(**options)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    right = answers(runs.score("a.parquet", data, keep="none"))
    endings = set()
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        outcome = runs.score("a.parquet", bytes(damaged), keep="none", error_threshold=-1)
        endings.add(ending := check(bytes(damaged), outcome))
        in_page = place // 8 < footer
        if ending == "succeeded" and in_page and options.get("write_page_checksum") and not outcome.rejects:
            assert answers(outcome) == right, place
    assert "file_malformed" in endings
    assert "succeeded" in endings


def answers(outcome: Outcome) -> list[str]:
    assert outcome.result is not None
    table = pq.read_table(BytesIO(outcome.result))
    return [repr(table[f"{column.name}_out"].to_pylist()) for column in INPUTS]
