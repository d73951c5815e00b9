"""Files of very many row groups of a row each: what waits to be written is counted once, not again and again."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from scoring.options import Options
from scoring.parquet import text_result
from scoring.parquet.text_result import TextResult
from scoring.parquet.writer import HeldRows

PIECES = 1000


class Piece:
    """A row, as a batch or as text, that counts how often it is asked for its size."""

    def __init__(self) -> None:
        self.asked = 0

    def __len__(self) -> int:
        return 1

    def __buffer__(self, _flags: int) -> memoryview:
        return memoryview(b"1\n")

    @property
    def nbytes(self) -> int:
        self.asked += 1
        return 2

    size = nbytes


def add_rows() -> Callable[[Any], object]:
    return HeldRows().add


def add_text() -> Callable[[Any], object]:
    work: Any = SimpleNamespace(
        file="incoming/churn/a.parquet",
        scored=SimpleNamespace(stage=lambda _number, _data: "a block"),
        options=Options(),
        split=None,
    )
    return TextResult(work, [], ["score"]).add


@pytest.mark.parametrize("make", [add_rows, add_text])
def test_what_waits_is_counted_once(monkeypatch, make: Callable[[], Callable[[Any], object]]) -> None:
    """A piece is asked for its size when it comes, or the time for many would be the square of their number."""
    monkeypatch.setattr(text_result, "OWN_BLOCKS", 1)
    add, pieces = make(), [Piece() for _ in range(PIECES)]
    for piece in pieces:
        add(piece)
    assert max(piece.asked for piece in pieces) <= 2
