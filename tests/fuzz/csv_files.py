"""Odd and damaged CSV files through the whole pipeline, each at two block sizes."""

import csv
import gzip
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

import errors
from errors import InputError, OptionsInvalidError
from scoring.engine import Engine
from scoring.options import Options
from scoring.receipt import Receipt
from settings import Settings
from tests.echo_model import open_echo
from tests.memory_store import Outcome, Runs

NAMES = ["flag", "small", "whole", "single", "number", "text", "at"]
CELLS = [
    ["true", "false", "True", "0", "1", "", "x"],
    ["1", "-5", "2147483647", "2147483648", "3.0", " 7 ", "", "1e3"],
    ["9223372036854775807", "-9223372036854775808", "0", "1.50", "+4", "NA"],
    ["0.1", "nan", "-0.0", "1e40", "inf", "", "1e-46", "abc"],
    ["5e-324", "1e309", "0.30000000000000004", "-NaN", "1,5", " 2.5"],
    [
        "",
        "a",
        "NULL",
        "é",
        "\N{SNOWMAN}\N{GRINNING FACE}",
        "a\nb",
        "a\r\nb",
        'q"q',
        "'",
        " pad ",
        "x" * 90,
        "\0",
        "\ufeff",
    ],
    ["2026-11-20T12:00:00", "2026-11-20 12:00:00.123456", "2026-11-20", "1900-02-29", "", "2026-11-20T12:00:00Z"],
]
MARKS = [
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b'""',
    b" ",
    b"\n\n",
]
CODES = {
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, InputError) and hasattr(kind, "code")
}


@dataclass(frozen=True)
class Case:
    """A file, the options of its run, and two block sizes."""

    data: bytes
    name: str
    options: dict[str, Any]
    blocks: tuple[int, int]
    plain: bool
    """Whether it is neither compressed nor in another encoding than UTF-8."""


@dataclass
class CsvFiles:
    """The target."""

    runs: Runs

    def make(self, random: Random) -> Case:
        """Return a file of random cells in a random dialect, mutated as text, wrapped, and mutated as bytes."""
        delimiter = random.choice(",,,,;\t|")
        quote = random.choice(['"', '"', '"', "'"])
        data = write(random, delimiter, quote, random.choice(["\n", "\n", "\r\n", "\r"]))
        for _ in range(random.choice([0, 0, 1, 2, 5])):
            data = mutate(data, random)
        encoding = random.choice([None] * 5 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32"])
        if encoding:
            data = data.decode("utf-8", "replace").encode(encoding, "replace")
        wrapped = random.random() < 0.2
        if wrapped:
            data = wrap(data, random)
        if random.random() < 0.1:
            data = mutate(data, random)
        told: dict[str, Any] = {"delimiter": delimiter} if random.random() < 0.7 else {}
        if quote != '"' or random.random() < 0.2:
            told["quote"] = quote if random.random() < 0.9 else ""
        if random.random() < 0.2:
            told["header"] = False
        if encoding and random.random() < 0.7:
            told["encoding"] = encoding
        options = {
            "csv": told,
            "keep": random.choice(["all", "all", "all", "none", ["text"], ["id", "number"]]),
            "error_threshold": random.choice([-1, -1, -1, 0.1]),
        }
        blocks = random.choice([(64, 4096), (100, 333), (512, 8192)] if len(data) > 300 else [(1, 70), (7, 4096)])
        plain = not (wrapped or encoding not in (None, "utf-8-sig"))
        return Case(data, random.choice(["a.csv"] * 9 + ["a.tsv"]), options, blocks, plain)

    def check(self, case: Case) -> str:
        """Score the file three times: twice alike, once in other blocks."""
        try:
            Options.from_dict(case.options)
        except OptionsInvalidError as error:
            return error.code
        outcome = self._score(case, case.blocks[0])
        again = self._score(case, case.blocks[0])
        assert (outcome.result, outcome.rejects, outcome.code) == (again.result, again.rejects, again.code)
        other = self._score(case, case.blocks[1])
        codes = {outcome.code, other.code}
        assert len(codes) == 1 or "record_too_large" in codes, codes
        if len(codes) > 1:  # a block's end decides whether a record's length is looked at
            return "record_too_large"
        if outcome.code is None:
            assert outcome.receipt.rows == other.receipt.rows
            assert outcome.receipt.reject_codes == other.receipt.reject_codes
            assert unwrapped(outcome.result) == unwrapped(other.result)
            assert unwrapped(outcome.rejects) == unwrapped(other.rejects)
            self._count_rows(case, outcome)
        return outcome.code or "succeeded"

    def dump(self, case: Case) -> bytes:
        """Return the file, with the rest of the case in front of it."""
        return repr((case.options, case.blocks)).encode() + b"\n" + case.data

    def _score(self, case: Case, block_bytes: int) -> Outcome:
        self.runs.settings = Settings(threads=1, block_bytes=block_bytes, max_record_bytes=3000)
        outcome = self.runs.score(case.name, case.data, **case.options)
        rows = outcome.receipt.rows
        assert rows["read"] == rows["scored"] + rows["rejected"]
        assert outcome.code is None or outcome.code in CODES, outcome.receipt
        return outcome

    def _count_rows(self, case: Case, outcome: Outcome) -> None:
        """Compare row counts with what Python's csv module reads, where it reads records the same way."""
        if not case.plain:
            return
        delimiter, quote = dialect(outcome.receipt)
        header = case.options["csv"].get("header", True)
        read = outcome.receipt.rows
        assert count(case.data, delimiter, quote, header) in (None, read["read"])
        for file, rows in ((outcome.result, read["scored"]), (outcome.rejects, read["rejected"])):
            assert file is None or count(file, delimiter, quote, header) in (None, rows)


def open_target(folder: Path) -> CsvFiles:
    """Return the target; the model it scores with is packaged in `folder`."""
    return CsvFiles(Runs(open_echo(folder / "echo"), Engine(1)))


def write(random: Random, delimiter: str, quote: str, line_end: str) -> bytes:
    """Return an undamaged file."""
    names = [*NAMES, "id", *random.choice([[], ["more"], ["a", "b"]])]
    if random.random() < 0.3:
        random.shuffle(names)
    sink = StringIO(newline="")
    quoting = random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(sink, delimiter=delimiter, quotechar=quote, lineterminator=line_end, quoting=quoting)
    writer.writerow(names)
    easy = random.random() < 0.5
    for row in range(random.choice([0, 1, 3, 10, 40])):
        cells = [
            (CELLS[NAMES.index(n)][0] if easy else random.choice(CELLS[NAMES.index(n)])) if n in NAMES else str(row)
            for n in names
        ]
        writer.writerow(cells)
    text = sink.getvalue()
    return (text.removesuffix(line_end) if random.random() < 0.3 else text).encode()


def mutate(data: bytes, random: Random) -> bytes:
    """Put in, take out or move some bytes."""
    place, size = random.randrange(len(data) + 1), random.choice([1, 1, 2, 10, 60])
    other = random.randrange(len(data) + 1)
    match random.randrange(7):
        case 0 | 1:
            return data[:place] + random.choice(MARKS) + data[place:]
        case 2:
            return data[:place] + data[place + size :]
        case 3:
            return data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]
        case 4:
            return data[:place] + data[other : other + size] + data[place:]
        case 5:
            return data[:place] + data[other : other + size] * random.choice([2, 60]) + data[place:]
        case _:
            return data.replace(random.choice(MARKS), random.choice(MARKS), random.choice([1, -1]))


def wrap(data: bytes, random: Random) -> bytes:
    """Compress, in one member or more."""
    place = random.randrange(len(data) + 1)
    parts = [data] if random.random() < 0.5 else [data[:place], data[place:]]
    if random.random() < 0.5:
        return b"".join(gzip.compress(part, mtime=0) for part in parts)
    return b"".join(pa.Codec("zstd").compress(part, asbytes=True) for part in parts)


def unwrapped(data: bytes | None) -> bytes | None:
    """Return what a result is of: compressed ones have a member for each block."""
    if data is None:
        return None
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return data


def dialect(receipt: Receipt) -> tuple[str, str]:
    """Return the delimiter and the quote that the run took the file to have."""
    used = getattr(receipt, "dialect", None) or receipt.options["csv"]
    return used["delimiter"] or ",", used["quote"] if used["quote"] is not None else '"'


def count(data: bytes, delimiter: str, quote: str, header: bool) -> int | None:
    """Return how many rows Python's csv module reads; None where it reads records by rules of its own."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if "\0" in text or (quote == "" and '"' in text):
        return None
    quoting: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    try:
        rows = sum(bool(row) for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter, **quoting))
    except csv.Error:
        return None
    return rows - header
