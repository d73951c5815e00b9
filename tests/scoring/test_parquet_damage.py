"""Small Parquet files cut at every byte, and with 10,000 bits flipped, one at a time."""

import logging
from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_store.model import Model
from scoring.engine import Engine
from tests.echo_model import open_echo
from tests.fuzz import thrift
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
    logging.disable()  # thousands of failed runs
    yield Runs(model, engine)
    logging.disable(logging.NOTSET)
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
    """Return how a run ended, which is by an error with a code, or as many rows as the file declares."""
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
    """Every third bit of the file, flipped in turn: an error with a code, or all rows that the file declares.

    Where pages have checksums, damage to what these are of is never scored. Headers of pages are under none, nor
    is the footer: what is flipped there can be another file that is as good.
    """
    data = small_file(**options)
    checked = page_contents(data) if options.get("write_page_checksum") else set()
    endings = set()
    for place in range(0, 8 * len(data), 3):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        outcome = runs.score("a.parquet", bytes(damaged), keep="none", error_threshold=-1)
        endings.add(ending := check(bytes(damaged), outcome))
        assert ending != "succeeded" or place // 8 not in checked
    assert "file_malformed" in endings
    assert "succeeded" in endings


def page_contents(data: bytes) -> set[int]:
    """Return the places of the bytes that are neither a page's header nor the footer."""
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    places: set[int] = set()
    at = 4
    while at < footer:
        header, start = thrift.read_struct(data, at)
        at = start + next(field.value for field in header if field.id == 3)
        places |= set(range(start, at))
    return places
