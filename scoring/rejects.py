"""Rows that could not be scored, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from model_store.arrays import from_cells, from_numpy

COLUMNS: Final = ("_row", "_error_code", "_error_column", "_error_message")
"""What the rejects file has after the input's own columns."""

NULL = "null_not_allowed"
TYPE = "value_type"
RANGE = "value_range"
CATEGORY = "category_unknown"
FIELDS = "field_count"
TEXT = "text_encoding"
CODES: Final = (NULL, TYPE, RANGE, CATEGORY, FIELDS, TEXT)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one row was rejected."""

    code: str
    column: str | None
    message: str


class Rejects:
    """The rejected rows of one block; a row keeps the first fault found in it.

    Four bytes a row, however many are rejected and why: whole files can be bad.
    """

    def __init__(self, rows: int) -> None:
        self._which = np.full(rows, -1, np.int32)  # for each row its fault's place in the list, -1 for none
        self._faults: dict[Fault, int] = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self._which >= 0))

    def add(self, row: int, fault: Fault) -> None:
        """Reject a row, by its 0-based number in the block, unless it is already."""
        if self._which[row] < 0:
            self._which[row] = self._place(fault)

    def add_all(self, rows: np.ndarray, fault: Fault) -> None:
        """Reject every row where the boolean array `rows` holds, unless it is already."""
        self._which[rows & (self._which < 0)] = self._place(fault)

    def find(self, row: int) -> Fault | None:
        """Return why a row was rejected; None if it was not."""
        return None if self._which[row] < 0 else list(self._faults)[self._which[row]]

    def indices(self) -> np.ndarray:
        """Return the rejected rows in order, int64."""
        return np.flatnonzero(self._which >= 0)

    def mask(self) -> np.ndarray:
        """Return a boolean array of all rows: True for a rejected row."""
        mask: np.ndarray = self._which >= 0
        return mask

    def counts(self) -> Mapping[str, int]:
        """Return how many rows each code rejected."""
        places, numbers = np.unique(self._which[self._which >= 0], return_counts=True)
        counts: Counter[str] = Counter()
        for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
            counts[list(self._faults)[place].code] += number
        return counts

    def with_code(self, code: str) -> np.ndarray:
        """Return a boolean array of all rows: True for one rejected by that code."""
        places = [place for fault, place in self._faults.items() if fault.code == code]
        return np.isin(self._which, places)

    def columns(self, first_row: int) -> list[pa.Array]:
        """Return the four columns of COLUMNS for the rejected rows, in order.

        `first_row` is the 0-based number in the file of the block's first row; `_row` counts from 1.
        """
        rows = self.indices()
        which = from_numpy(self._which[rows])
        texts = zip(*((fault.code, fault.column, fault.message) for fault in self._faults), strict=True)
        columns = [from_cells(text, pa.string()).take(which) for text in texts]
        return [from_numpy(rows + first_row + 1), *columns]

    def _place(self, fault: Fault) -> int:
        return self._faults.setdefault(fault, len(self._faults))


def without_columns(fields: Sequence[str]) -> Sequence[str]:
    """Return a record's fields without the COLUMNS that a rejects file has behind them, which may be there often.

    Only in a file without a header is there need to tell: by a row's number and one of our codes in their places.
    """
    while len(fields) > len(COLUMNS) and fields[-4].isdecimal() and fields[-3] in CODES:
        fields = fields[: -len(COLUMNS)]
    return fields
