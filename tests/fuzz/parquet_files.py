"""Damaged and lying Parquet files through the whole pipeline."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scoring.engine import Engine
from settings import Settings
from tests.echo_model import open_echo
from tests.fuzz import thrift
from tests.memory_store import Runs

TEXTS = ["", "a", "NA", "é", "\N{SNOWMAN}", "x" * 70, "line\nend", 'quo"te', "nul\0"]
EXTREMES = [
    0,
    1,
    -1,
    2,
    7,
    127,
    255,
    2**15,
    2**31 - 1,
    -(2**31),
    2**31,
    2**32,
    10**9,
    2**40,
    2**62,
    -(2**63),
    2**63 - 1,
]
CODES = {
    "file_malformed",
    "file_empty",
    "column_missing",
    "column_type",
    "threshold_exceeded",
    "expansion_limit",
    "format_unsupported",
}
"""All that may be wrong with a Parquet file."""


@dataclass(frozen=True)
class Case:
    """A file and the options of its run."""

    data: bytes
    options: dict[str, Any]


@dataclass
class ParquetFiles:
    """The target."""

    runs: Runs

    def make(self, random: Random) -> Case:
        """Return a file of random rows, written in a random way, mostly damaged."""
        data = write(random)
        for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
            data = random.choice(
                [flip, flip, rewrite, swap, cut, in_footer, in_footer, in_footer, in_page, in_page]
            )(data, random)
        keep = random.choice(["all", "all", "none", ["text", "extra"], ["number"]])
        return Case(data, {"keep": keep, "error_threshold": random.choice([-1, -1, 0.1])})

    def check(self, case: Case) -> str:
        """Score the file twice; what succeeds is well-formed and the same."""
        outcome = self.runs.score("a.parquet", case.data, **case.options)
        assert outcome.receipt.rows["read"] == outcome.receipt.rows["scored"] + outcome.receipt.rows["rejected"]
        if outcome.code:
            assert outcome.code in CODES, outcome.receipt
            return outcome.code
        again = self.runs.score("a.parquet", case.data, **case.options)
        assert (outcome.result, outcome.rejects) == (again.result, again.rejects)
        assert outcome.result is not None
        rows = pq.read_metadata(BytesIO(outcome.result)).num_rows
        assert rows == outcome.receipt.rows["scored"]
        if outcome.rejects is not None:
            assert pq.read_metadata(BytesIO(outcome.rejects)).num_rows == outcome.receipt.rows["rejected"]
        return "succeeded"

    def dump(self, case: Case) -> bytes:
        """Return the file."""
        return case.data


def open_target(folder: Path) -> ParquetFiles:
    """Return the target; the model it scores with is packaged in `folder`."""
    return ParquetFiles(Runs(open_echo(folder / "echo"), Engine(1), Settings(threads=1, block_bytes=4096)))


def write(random: Random) -> bytes:
    """Return an undamaged file of the echo model's columns and some more."""
    rows = random.choice([0, 1, 3, 10, 200])
    gaps = random.choice([0.0, 0.0, 0.2])

    def cells(make: Any) -> list[Any]:
        return [None if random.random() < gaps else make() for _ in range(rows)]

    table = pa.table(
        {
            "flag": cells(lambda: random.random() < 0.5),
            "small": pa.array(cells(lambda: random.randint(-(2**31), 2**31 - 1)), pa.int32()),
            "whole": pa.array(cells(lambda: random.randint(-9, 9)), pa.int64()),
            "single": pa.array(cells(random.random), random.choice([pa.float32(), pa.float64(), pa.float16()])),
            "number": pa.array(cells(lambda: random.randint(0, 99)), random.choice([pa.float64(), pa.int16()])),
            "text": pa.array(cells(lambda: random.choice(TEXTS)), random.choice([pa.string(), pa.large_string()])),
            "at": pa.array(
                cells(lambda: random.randint(0, 2**30) * 1000), pa.timestamp(random.choice(["ms", "us", "ns"]))
            ),
        }
    )
    extras = {
        "extra": pa.array(cells(lambda: [random.randint(0, 3)] * random.randint(0, 3)), pa.list_(pa.int64())),
        "deep": pa.array(
            cells(lambda: {"a": [{"b": "x"}]}), pa.struct([("a", pa.list_(pa.struct([("b", pa.string())])))])
        ),
        "price": pa.array(cells(lambda: random.randint(0, 999)), pa.int64()).cast(pa.decimal128(21, 2)),
        "bytes": pa.array(cells(lambda: b"\xff\0"), pa.binary(2)),
    }
    for name in random.sample(list(extras), random.choice([0, 1, 4])):
        table = table.append_column(name, extras[name])
    if random.random() < 0.2:
        table = table.set_column(5, "text", table["text"].cast(pa.string()).dictionary_encode())
    sink = BytesIO()
    pq.write_table(
        table,
        sink,
        compression=random.choice(["none", "snappy", "snappy", "gzip", "zstd", "lz4", "brotli"]),
        version=random.choice(["1.0", "2.4", "2.6"]),
        data_page_version=random.choice(["1.0", "2.0"]),
        use_dictionary=random.random() < 0.5,
        write_page_checksum=random.random() < 0.5,
        write_page_index=random.random() < 0.3,
        row_group_size=random.choice([2, 50, 1000]) if rows else None,
        data_page_size=random.choice([10, 1000, 1 << 20]),
        store_schema=random.random() < 0.7,
        use_deprecated_int96_timestamps=random.random() < 0.1,
    )
    return sink.getvalue()


def flip(data: bytes, random: Random) -> bytes:
    """Flip a bit."""
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def rewrite(data: bytes, random: Random) -> bytes:
    """Put other bytes in the place of some."""
    place = random.randrange(len(data) + 1)
    size = random.choice([1, 2, 4, 8])
    return data[:place] + random.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size + data[place + size :]


def swap(data: bytes, random: Random) -> bytes:
    """Copy a stretch of the file over another."""
    size = random.choice([4, 16, 64])
    source, target = random.randrange(len(data) + 1), random.randrange(len(data) + 1)
    return data[:target] + data[source : source + size] + data[target + size :]


def cut(data: bytes, random: Random) -> bytes:
    """Leave the end out, or a stretch in the middle."""
    place = random.randrange(len(data) + 1)
    return data[:place] if random.random() < 0.3 else data[:place] + data[place + random.randint(1, 9) :]


def footer_of(data: bytes) -> tuple[list[thrift.Field], int]:
    """Return the footer and where it begins; ValueError or IndexError where it cannot be read."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    if start < 4:
        raise ValueError("no footer")
    return thrift.read_struct(data, start)[0], start


def in_footer(data: bytes, random: Random) -> bytes:
    """Change fields of the footer: sizes, counts, offsets, types, names; it is well-formed Thrift still."""
    try:
        footer, start = footer_of(data)
    except (ValueError, IndexError):
        return flip(data, random)
    for _ in range(random.choice([1, 1, 2])):
        distort(footer, random)
    written = thrift.write_struct(footer)
    return data[:start] + written + len(written).to_bytes(4, "little") + b"PAR1"


def in_page(data: bytes, random: Random) -> bytes:
    """Change fields of a page's header; where that changes its length, what follows moves."""
    try:
        footer, start = footer_of(data)
        offsets = [field.value for field in thrift.leaves(footer) if field.kind == thrift.I64]
        places = [place for place in offsets if 4 <= place < start]
        place = random.choice(places)
        header, end = thrift.read_struct(data[:start], place)
    except (ValueError, IndexError):
        return flip(data, random)
    distort(header, random)
    return data[:place] + thrift.write_struct(header) + data[end:]


def distort(struct: list[thrift.Field], random: Random) -> None:
    """Change a number or text of a struct, or leave out or double a field or element."""
    if random.random() < 0.15:
        inside = random.choice([each for each in thrift.containers(struct) if each] or [[]])
        if inside:
            place = random.randrange(len(inside))
            inside[place : place + 1] = random.choice([[], [inside[place]] * 2])
        return
    numbers = thrift.leaves(struct)
    if not numbers:
        return
    leaf = random.choice(numbers)
    if leaf.kind == thrift.BINARY:
        leaf.value = random.choice([b"", b"\xff", leaf.value[:-1], leaf.value * 2, flip(leaf.value, random)])
    elif leaf.kind in (thrift.BOOL_TRUE, thrift.BOOL_FALSE):
        leaf.kind = 3 - leaf.kind if leaf.value is None else leaf.kind
    elif leaf.kind in (thrift.I16, thrift.I32, thrift.I64):
        leaf.value = random.choice(
            [random.choice(EXTREMES), leaf.value + random.choice([-1, 1, 8]), leaf.value * 2]
        )
