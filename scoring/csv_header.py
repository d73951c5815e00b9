"""The first record of a CSV file: what its columns are called, and whether this is a CSV file at all."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from errors import ColumnMissingError, FileMalformedError
from model_store import Signature
from scoring.csv_records import Records
from scoring.options import CsvOptions

BOM = b"\xef\xbb\xbf"

_SIGNS = {
    b"PAR1": "a Parquet file: rename it to .parquet",
    b"\x1f\x8b": "compressed with gzip: drop it uncompressed",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: drop it uncompressed",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: export it as CSV",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}


@dataclass(frozen=True, slots=True)
class Header:
    """A CSV file's columns."""

    names: tuple[str, ...]
    line: bytes
    """The record itself with its line end; empty where the file has none."""

    @property
    def schema(self) -> pa.Schema:
        """All columns, as text that may turn out to be anything."""
        return pa.schema([(name, pa.null()) for name in self.names])

    def index(self, name: str) -> int:
        """Return a column's 0-based position."""
        return self.names.index(name)


def check_is_text(start: bytes, file: str) -> None:
    """Raise FileMalformedError if the file's first bytes are those of something else than CSV."""
    for sign, found in _SIGNS.items():
        if start.startswith(sign):
            raise FileMalformedError(f"the file is named as CSV, but is {found}", file=file)
    if b"\0" in start:
        raise FileMalformedError("the file is named as CSV, but holds binary data", file=file)


def read_header(first: Records, options: CsvOptions, signature: Signature, file: str) -> Header:
    """Return the columns that the first record names, or the model's own where the file has no header."""
    line = first.text(0)
    names = _fields(line, options, file)
    if options.header:
        _check_twice(names, [c.name for c in signature.inputs], file)
        return Header(tuple(names), line)
    inputs = [c.name for c in signature.inputs]
    if len(names) != len(inputs):
        raise ColumnMissingError(
            f"the file has no header, so its columns must be the model's {len(inputs)} inputs in order; "
            f"its first record has {len(names)} fields",
            file=file,
        )
    return Header(tuple(inputs), b"")


def delimiter_hint(header: Header, options: CsvOptions) -> str:
    """Return what to do where a header looks as if another delimiter was used, else nothing."""
    if len(header.names) > 1:
        return ""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if mark != options.delimiter and mark in header.names[0]:
            return f"; the columns seem to be divided by {name}: set csv.delimiter"
    return ""


def _fields(line: bytes, options: CsvOptions, file: str) -> list[str]:
    try:
        names = split(line, options)
        "".join(names).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FileMalformedError("the file's first line is not UTF-8", file=file) from error
    return names


def split(record: bytes, options: CsvOptions) -> list[str]:
    """Return the fields of one record (of `Records`: it has one). Bytes that are not UTF-8 become surrogates."""
    text = record.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    if options.quote:
        return next(csv.reader([text], delimiter=options.delimiter, quotechar=options.quote))
    return next(csv.reader([text], delimiter=options.delimiter, quoting=csv.QUOTE_NONE))


def _check_twice(names: Sequence[str], needed: Sequence[str], file: str) -> None:
    for name in needed:
        if names.count(name) > 1:
            raise FileMalformedError(
                f"column {name!r}, which the model needs, is in the header twice", file=file, column=name
            )
