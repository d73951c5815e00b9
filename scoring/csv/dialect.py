"""How a CSV file is written: its dialect, found out from the first record where a job does not say.

Sniffing bytes guesses; we know the model. Of the marks that may divide the header, the one under which it holds the
most of the model's own input columns is right.
"""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from model_store import Signature
from scoring.csv.encoding import UTF_8
from scoring.options import CsvOptions
from scoring.rejects import without_columns

LOOKED_AT = 1024 * 1024
"""Bytes of text that a dialect is found from: a header of 100,000 columns."""

_DELIMITERS = (",", ";", "\t", "|", "\x01")
_QUOTES = ('"', "'")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one CSV file is written; its result and its rejects are written the same way."""

    delimiter: str = ","
    quote: str = '"'
    """The quoting character; empty where the file has none."""
    header: bool = True
    """Whether the first record names the columns."""
    encoding: str = UTF_8
    compression: str | None = None
    line_end: str = "\n"
    """What ends the first record, and those that are written anew."""
    decimal: str = "."
    """What stands before a number's decimals."""

    def to_dict(self) -> dict[str, Any]:
        """Return what a receipt tells of it."""
        return {
            "delimiter": self.delimiter,
            "quote": self.quote,
            "encoding": self.encoding,
            "compression": self.compression,
            "line_end": self.line_end,
            "decimal": self.decimal,
        }


def find_dialect(
    start: bytes, options: CsvOptions, signature: Signature, name: str, given: Collection[str] = ()
) -> Dialect:
    """Return the dialect of a file called `name` whose UTF-8 text begins with `start`.

    What `options` say counts. Else it is the delimiter under which the header names most of the model's inputs, or,
    in a file without a header, the first record has as many fields (or as many as are left without `given`, the
    columns of the path); of equals, and where none does, a comma (in a .tsv file a tab). Quotes are double ones,
    unless only single ones make sense of that record.
    """
    delimiters: Sequence[str] = _DELIMITERS if options.delimiter is None else (options.delimiter,)
    if ".tsv" in name.lower().rpartition("/")[2]:
        delimiters = sorted(delimiters, key=lambda mark: mark != "\t")  # the order of the others stays
    quotes = _QUOTES if options.quote is None else (options.quote,)
    text = start.decode(UTF_8, "replace")
    inputs = [column.name for column in signature.inputs]
    widths = (len(inputs), len(inputs) - len(given))
    delimiters = [delimiter for delimiter in delimiters if delimiter != options.decimal]
    marks = [(delimiter, quote) for quote in quotes for delimiter in delimiters if delimiter != quote]
    best, most = marks[0], 0
    for delimiter, quote in marks:
        fields = _first_record(text, delimiter, quote)
        fit = len({*fields}.intersection(inputs)) if options.header else int(len(without_columns(fields)) in widths)
        if fit > most:
            best, most = (delimiter, quote), fit
    return Dialect(*best, options.header, decimal=options.decimal)


def _first_record(text: str, delimiter: str, quote: str) -> list[str]:
    lines = StringIO(text, newline="")
    unquoted = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    try:
        for fields in csv.reader(lines, delimiter=delimiter, quotechar=quote) if quote else unquoted:
            if fields:  # not a blank line
                return fields
    except csv.Error:
        return []  # not a record at all, written like this
    return []
