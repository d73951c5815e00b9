"""From records of CSV text to columns of the signature's types.

Three ways, each tried where the one before it fails for the block, and each giving a good cell the same value:

1. pyarrow parses the block straight into the signature's types, with an empty cell as the only null: that is
   quicker than all NULL_SPELLINGS, which are tried next;
2. where some cell does not convert, pyarrow parses the needed columns as text, and each column is converted on its
   own, which finds the bad cells;
3. where some record has the wrong number of fields or a needed cell is not UTF-8, Python's csv module takes records
   one by one.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from model_store import Column, ColumnType, Signature
from model_store.arrays import from_cells, from_numpy, scalar, to_numpy
from scoring import rejects as reject
from scoring.conform import conform, read_text, type_fault
from scoring.csv.dialect import Dialect
from scoring.csv.header import BOM, Header, other_encoding, split
from scoring.csv.records import Records
from scoring.options import NULL_SPELLINGS
from scoring.partitions import NO_PARTITIONS, Partitions
from scoring.rejects import Fault, Rejects

_CODED = pa.dictionary(pa.int32(), pa.string())
"""What a column of categories is parsed to: each distinct text is then looked at once a block."""

# csv refuses fields of more than 128 KiB by default; a record's length is bounded before it comes here.
csv.field_size_limit(2**31 - 1)

_FRACTIONS = (ColumnType.FLOAT, ColumnType.DOUBLE)

_NULLS = from_cells(NULL_SPELLINGS, pa.string())


@dataclass(frozen=True, slots=True)
class Cells:
    """What a block holds."""

    batch: pa.RecordBatch
    """All of the block's rows in the signature's input schema; rejected ones hold nothing of use."""
    kept: Mapping[str, pa.Array]
    """The text of the columns to keep, as it was but for its quotes."""
    rejects: Rejects


class CellReader:
    """Reads the columns a model needs, and the text of those a job keeps, from blocks of one file."""

    def __init__(
        self,
        header: Header,
        signature: Signature,
        kept: Sequence[str],
        options: Dialect,
        given: Partitions = NO_PARTITIONS,
    ) -> None:
        self._header = header
        self._signature = signature
        self._options = options
        self._needed = [c for c in signature.inputs if c.name in header.positions]
        self._kept = list(kept)
        self._given = given
        self._spelled = False
        """Whether a block has had other nulls than empty cells: the next ones are likely to have them too."""

    def read(self, records: Records) -> Cells:
        """Return the block's cells; nothing in a block raises, faults are rejects."""
        rejects = Rejects(len(records))
        kept = set(self._kept)
        # A column that is kept and needed is parsed as text: its text is not always that of its value.
        types = {c.name: _parsed_as(c) for c in self._needed}
        types |= dict.fromkeys(kept, pa.string())
        columns = None if self._spelled else self._parse(records, types, [""])
        if columns is None:
            columns = self._parse(records, types, NULL_SPELLINGS)
            self._spelled = self._spelled or columns is not None
        if columns is None:
            columns = self._parse(records, dict.fromkeys(types, pa.string()), [""])
        if columns is None:
            columns = self._take_apart(records, list(types), rejects)
        arrays = self._given.columns(len(records))
        for column in self._needed:
            arrays[column.name], lost = _convert(columns[column.name], column.type, self._options.decimal)
            if lost.any():
                self._reject(column, columns[column.name], lost, rejects)
        batch = conform(arrays, self._signature, len(records), rejects)
        return Cells(batch, {name: columns[name] for name in self._kept}, rejects)

    def _reject(self, column: Column, texts: pa.Array, lost: np.ndarray, rejects: Rejects) -> None:
        """Reject the rows of cells that are not of their column's type; say where csv.decimal may be why."""
        fault = type_fault(column)
        if self._options.decimal == "." and self._options.delimiter != "," and column.type in _FRACTIONS:
            commas = lost & to_numpy(pc.match_substring(texts, ","))
            hint = ": if its decimals follow a comma, set csv.decimal"
            rejects.add_all(commas, replace(fault, message=fault.message + hint))
        rejects.add_all(lost, fault)

    def _parse(
        self, records: Records, types: Mapping[str, pa.DataType], nulls: Sequence[str]
    ) -> dict[str, pa.Array] | None:
        """Parse by pyarrow; None if any cell or record does not fit. Texts are never null here."""
        # Columns go by number: a file may use a name twice where the model does not look.
        index = {name: str(self._header.index(name)) for name in types}
        if not index:
            return {}
        # pyarrow would take a byte order mark off the first record of a block; blank lines it passes over.
        data = b"\n" + records.data if records.data.startswith(BOM) else records.data
        read = arrow_csv.ReadOptions(
            use_threads=False,
            block_size=max(len(data) + 1, 1024),
            column_names=[str(i) for i in range(len(self._header.names))],
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self._options.delimiter,
            quote_char=records.quoted and self._options.quote,  # without quotes pyarrow has a quicker parser
            newlines_in_values=records.quoted,
        )
        convert = arrow_csv.ConvertOptions(
            include_columns=list(index.values()),
            column_types={index[name]: kind for name, kind in types.items()},
            null_values=list(nulls),
            strings_can_be_null=False,
            check_utf8=not data.isascii(),  # one look at the block is quicker than one at each cell
            decimal_point=self._options.decimal,
        )
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(data), read_options=read, parse_options=parse, convert_options=convert
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != len(records):
            return None
        return {name: _whole(table.column(place)) for name, place in index.items()}

    def _take_apart(self, records: Records, names: Sequence[str], rejects: Rejects) -> dict[str, pa.Array]:
        """Read record by record; what is no record of this file is rejected and its cells are empty."""
        places = [self._header.index(name) for name in names]
        width = len(self._header.names)
        no_text = f"the value is not {self._options.encoding.upper()} text{other_encoding(self._options)}"
        cells: list[list[str]] = [[] for _ in names]
        for row in range(len(records)):
            fields = split(records.text(row), self._options)
            if len(fields) != width:
                message = f"the record has {len(fields)} fields where the header has {width}"
                rejects.add(row, Fault(reject.FIELDS, None, message))
                fields = [""] * width
            for name, column, place in zip(names, cells, places, strict=True):
                if not fields[place].isascii() and not _is_text(fields[place]):
                    rejects.add(row, Fault(reject.TEXT, name, no_text))
                    fields[place] = ""
                column.append(fields[place])
        return {name: from_cells(column, pa.string()) for name, column in zip(names, cells, strict=True)}


def _parsed_as(column: Column) -> pa.DataType:
    if column.type is ColumnType.DATETIME:
        return pa.string()  # pyarrow's reader takes times with a zone or without, but not both
    return _CODED if column.categories else column.type.arrow


def _convert(array: pa.Array, kind: ColumnType, decimal: str) -> tuple[pa.Array, np.ndarray]:
    """Turn text into `kind` as pyarrow's CSV reader does; return the array and which cells did not fit."""
    fits = np.zeros(len(array), bool)
    if array.type == kind.arrow and kind is not ColumnType.STRING:
        return array, fits
    if pa.types.is_dictionary(array.type):
        return _coded(array), fits
    array = pc.if_else(pc.is_in(array, value_set=_NULLS), scalar(None, pa.string()), array)
    return (array, fits) if kind is ColumnType.STRING else read_text(array, kind, decimal)


def _coded(array: pa.Array) -> pa.Array:
    """Return a dictionary of texts with null where the text is a null's spelling."""
    spelled = pc.is_in(array.dictionary, value_set=_NULLS)
    if not pc.any(spelled).as_py():
        return array
    places = from_numpy(np.arange(len(spelled), dtype=np.int32))
    indices = pc.if_else(spelled, scalar(None, places.type), places).take(array.indices)
    return pa.DictionaryArray.from_arrays(indices, array.dictionary)


def _is_text(cell: str) -> bool:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
