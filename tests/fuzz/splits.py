"""Files scored in splits, in any order and more than once, beside the same files scored in one go."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from errors import OptionsInvalidError
from model_store.model import Model
from scoring.engine import Engine
from scoring.options import Options
from storage import BlobPath
from tests.echo_model import open_echo
from tests.fuzz import csv_files, parquet_files
from tests.memory_store import MemoryBlobStore
from tests.split_runs import Fleet, memory_services, score_whole

LINE_ENDS = [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"\n\r"]


@dataclass(frozen=True)
class Case:
    """A file, the options of its run, how it is cut, and how its messages are delivered."""

    name: str
    data: bytes
    options: dict[str, Any]
    settings: dict[str, Any]
    times: int
    """How often each message is delivered."""
    order: int
    """What their order is drawn from."""


@dataclass
class Splits:
    """The target."""

    model: Model
    engine: Engine

    def make(self, random: Random) -> Case:
        """Return a CSV or a Parquet file, and splits and blocks of a few bytes, or of a few rows."""
        name, data, options = (_csv if random.random() < 0.6 else _parquet)(random)
        options |= {
            "output_format": random.choice([None, None, "csv", "parquet"]),
            "keep": random.choice(["all", "all", "none", ["text", "number"], ["whole"]]),
            "error_threshold": random.choice([-1, -1, -1, 0.1]),
        }
        least = len(data) // 15  # every split lists the markers of all
        settings = {
            "split_bytes": max(random.choice([1, 7, 50, 200, len(data) // 2 + 1]), least),
            "split_rows": random.choice([0, 0, 7, 60]),
            "block_bytes": max(random.choice([1, 16, 100, 4096]), least),
            "scan_seconds": random.choice([0, 600, 600]),
        }
        return Case(name, data, options, settings, random.choice([1, 1, 2]), random.randrange(2**32))

    def check(self, case: Case) -> str:
        """Score the file both ways: the same receipts, bytes of CSV, and rows of Parquet."""
        try:
            Options.from_dict(case.options)
        except OptionsInvalidError as error:
            return error.code
        fleet = Fleet(memory_services(self.model, self.engine, **case.settings))
        job = fleet.drop(case.name, case.data, **case.options)
        whole, *contents = score_whole(fleet.services, job)
        fleet.services.queues.send(fleet.services.settings.jobs_queue, job.to_json())
        receipt = fleet.work(case.times, Random(case.order))
        assert (receipt.status, receipt.error) == (whole.status, whole.error)
        assert (receipt.output, receipt.rejects, receipt.warnings) == (whole.output, whole.rejects, whole.warnings)
        if receipt.error is None:
            assert (receipt.rows, receipt.reject_codes) == (whole.rows, whole.reject_codes)
            assert receipt.dialect == whole.dialect
        for place, content in zip((receipt.output, receipt.rejects), contents, strict=True):
            if place and content is not None:
                compare(fleet.services.blobs, BlobPath.parse(place), content)
        number = fleet.delivered["scoring-splits"] // case.times
        return f"{receipt.error['code'] if receipt.error else 'succeeded'}, {'in splits' if number else 'whole'}"

    def dump(self, case: Case) -> bytes:
        """Return the file, with the rest of the case in front of it."""
        return repr((case.options, case.settings, case.times, case.order)).encode() + b"\n" + case.data


def open_target(folder: Path) -> Splits:
    """Return the target; the model it scores with is packaged in `folder`."""
    return Splits(open_echo(folder / "echo"), Engine(1))


def compare(blobs: MemoryBlobStore, path: BlobPath, whole: bytes) -> None:
    """See that what splits have put up is what one go has made: a CSV file, a Parquet file, or parts of one."""
    parts = [blobs.read(blob.path) for blob in blobs.list(path.container, f"{path.name}/part-")]
    if not parts:
        assert blobs.read(path) == whole
        return
    tables = [pq.ParquetFile(BytesIO(part)).read() for part in parts]
    expected = pq.ParquetFile(BytesIO(whole)).read()
    assert all(table.schema.equals(expected.schema, check_metadata=True) for table in tables)
    assert written(pa.concat_tables(tables)) == written(expected)


def written(table: pa.Table) -> bytes:
    """Return a table's rows as bytes: NaN is alike there, and what lies under nulls is none."""
    sink = BytesIO()
    pq.write_table(table.combine_chunks(), sink, use_dictionary=False, store_schema=False)
    return sink.getvalue()


def _csv(random: Random) -> tuple[str, bytes, dict[str, Any]]:
    delimiter, quote = random.choice(",,;\t|"), random.choice('"""\'')
    data = csv_files.write(random, delimiter, quote, random.choice(["\n", "\r\n", "\r"]))
    if random.random() < 0.3:
        first, *rows = data.split(b"\n")
        data = first + b"".join(random.choice(LINE_ENDS) + row for row in rows)
    if random.random() < 0.3:
        data = csv_files.mutate(data, random)
    encoding = random.choice([None] * 4 + ["utf-8-sig", "latin-1", "cp1252", "utf-16"])
    if encoding:
        data = data.decode("utf-8", "replace").encode(encoding, "replace")
    if random.random() < 0.05:
        data = csv_files.wrap(data, random)
    told: dict[str, Any] = {"delimiter": delimiter, "quote": quote} if random.random() < 0.7 else {}
    if encoding:
        told["encoding"] = encoding
    if random.random() < 0.1:
        told["header"] = False
    return "a.csv", data, {"csv": told}


def _parquet(random: Random) -> tuple[str, bytes, dict[str, Any]]:
    told = [{}, {}, {"encoding": "utf-16"}, {"delimiter": ";", "quote": "'", "decimal": ","}, {"header": False}]
    return "a.parquet", parquet_files.write(random), {"csv": random.choice(told)}
