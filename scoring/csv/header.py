"""The first record of a CSV file: what its columns are called, and whether this is a CSV file at all."""

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from errors import ColumnMissingError, FileMalformedError
from model_store import Signature
from scoring.csv.dialect import Dialect
from scoring.csv.encoding import UTF_8
from scoring.csv.records import Records
from scoring.rejects import COLUMNS, without_columns

BOM = b"\xef\xbb\xbf"

MOST_COLUMNS = 1_000_000
"""Columns that a file may have; each takes some 400 bytes of memory, and a header of 16 MB could have as many."""


@dataclass(frozen=True)
class Header:
    """A CSV file's columns."""

    names: tuple[str, ...]
    line: bytes
    """The record itself with its line end; empty where the file has none."""

    @property
    def schema(self) -> pa.Schema:
        """All columns, as text that may turn out to be anything."""
        return pa.schema([(name, pa.null()) for name in self.names])

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Each column's 0-based position; of a name that is there twice, the first."""
        return {name: len(self.names) - 1 - place for place, name in enumerate(reversed(self.names))}

    def index(self, name: str) -> int:
        """Return a column's 0-based position."""
        return self.positions[name]


def read_header(
    first: Records, dialect: Dialect, signature: Signature, file: str, given: Collection[str] = ()
) -> Header:
    """Return the columns that the first record names, or the model's own where the file has no header.

    `given` are the columns that the file's path has: a file without a header need not have them too. It may have
    more columns where those are a rejects file's.
    """
    line = first.text(0)
    if (columns := line.count(dialect.delimiter.encode()) + 1) > MOST_COLUMNS:
        raise FileMalformedError(
            f"the first line has {columns:,} fields, more than the {MOST_COLUMNS:,} columns that a file may have",
            file=file,
        )
    names = split(line, dialect)
    if dialect.header:
        _check_is_text(names, dialect, file)
        _check_twice(names, [c.name for c in signature.inputs], file)
        return Header(tuple(names), line)
    inputs = [c.name for c in signature.inputs]
    own = without_columns(names)
    if len(own) != len(inputs):
        inputs = [name for name in inputs if name not in given]
    if len(own) != len(inputs):
        raise ColumnMissingError(
            f"the file has no header, so its columns must be the model's {len(inputs)} inputs in order; "
            f"its first record has {len(names)} fields",
            file=file,
        )
    added = (len(names) - len(own)) // len(COLUMNS)
    return Header((*inputs, *COLUMNS * added), b"")


def delimiter_hint(header: Header, dialect: Dialect) -> str:
    """Return what to do where a header looks as if another delimiter was used, else nothing."""
    if header.line.strip(b'"\r\n')[:-1].lower() == b"sep=":
        return "; the file's first line, 'sep=', tells Excel the delimiter: delete it"
    if len(header.names) > 1:
        return ""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if mark != dialect.delimiter and mark in header.names[0]:
            remedy = "so csv.decimal cannot be one" if mark == dialect.decimal else "set csv.delimiter"
            return f"; the columns seem to be divided by {name}: {remedy}"
    return ""


def space_hint(header: Header, signature: Signature) -> str:
    """Return what to do where a missing column is there with spaces around its name, else nothing."""
    stripped = {name.strip() for name in header.names if name != name.strip()}
    for column in signature.inputs:
        if column.name in stripped and column.name not in header.positions:
            return (
                f"; {column.name!r} is there with spaces around it, which are a part of a column's name: "
                "take them out of the header"
            )
    return ""


def absence_hint(header: Header, signature: Signature) -> str:
    """Return what to do where a header names no column of the model's, and may be none, else nothing."""
    inputs = [column.name for column in signature.inputs]
    if header.positions.keys().isdisjoint(inputs) and len(header.names) == len(inputs):
        return "; if the first line is a row and no header, set csv.header to false"
    return ""


def _check_is_text(names: Sequence[str], dialect: Dialect, file: str) -> None:
    try:
        "".join(names).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FileMalformedError(
            f"the file's first line is not {dialect.encoding.upper()}{other_encoding(dialect)}",
            file=file,
        ) from error


def other_encoding(dialect: Dialect) -> str:
    """Return what to do, if anything, about text that is none in the encoding the file was taken for."""
    return ": set csv.encoding if it is another, for example to latin-1" if dialect.encoding == UTF_8 else ""


def split(record: bytes, dialect: Dialect) -> list[str]:
    """Return the fields of one record (of `Records`: it has one). Bytes that are not UTF-8 become surrogates."""
    text = record.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    if dialect.quote:
        return next(csv.reader([text], delimiter=dialect.delimiter, quotechar=dialect.quote))
    return next(csv.reader([text], delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE))


def _check_twice(names: Sequence[str], needed: Sequence[str], file: str) -> None:
    counts = Counter(names)
    for name in needed:
        if counts[name] > 1:
            raise FileMalformedError(
                f"column {name!r}, which the model needs, is in the header twice", file=file, column=name
            )
