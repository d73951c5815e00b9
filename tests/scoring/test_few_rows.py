"""A few rows go a shorter way; nobody can tell by the answers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scoring.rows
from model_store import Column, ColumnType
from model_store.model import Model
from scoring.few_rows import FEW, answer_few
from scoring.rows import answer_columns, answer_rows
from tests.echo_model import INPUTS, echo_signature, open_echo, open_echo_of
from tests.hand_model import hand_scores

SIGNATURE = echo_signature(
    (
        *INPUTS[:-1],
        Column("near", ColumnType.DOUBLE, nullable=False, limit=1e6),
        Column("beside", ColumnType.FLOAT, required=False, limit=1e6),
        Column("count", ColumnType.LONG, nullable=False, limit=1e6),
        Column("choice", ColumnType.STRING, allowed=("a", "b")),
    )
)
GOOD = {
    "flag": True, "small": 1, "whole": 2**40, "single": 0.1, "number": 0.1, "text": "é", "near": 5, "beside": None,
    "count": 3, "choice": "a",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_echo_of(tmp_path_factory.mktemp("few") / "echo", SIGNATURE)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a model without texts, whose memory is bound."""
    inputs = tuple(column for column in SIGNATURE.inputs if column.type is not ColumnType.STRING)
    return open_echo_of(tmp_path_factory.mktemp("few") / "numbers", echo_signature(inputs))


def the_long_way(rows, model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring.rows, "answer_few", lambda *_: None)
        return answer_rows(rows, model).rows()


EDGES = [0, 1, -1, 2**24 + 1, 2**31 - 1, -(2**31), 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**1100]
CELL = (
    st.none() | st.booleans() | st.sampled_from(EDGES) | st.integers() | st.floats() | st.floats(width=32)
    | st.sampled_from([1e6, 1e6 + 0.1, 10**6 + 1, 3.4e38, 3.5e38, -1e308, "a", "b", "c", "\ud800", "é", "\0", ""])
    | st.text(max_size=3) | st.just([1])
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from(sorted(GOOD)), CELL, max_size=2), max_size=20))
def test_both_ways_answer_alike(model, changes) -> None:
    """Any cells whatsoever get the answers, or the errors, that they get the long way."""
    rows = [GOOD | change for change in changes]
    assert answer_rows(rows, model).rows() == the_long_way(rows, model)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(GOOD)), CELL, max_size=2), max_size=20))
def test_both_ways_answer_alike_in_bound_memory(numbers, changes) -> None:
    """The same for a model whose memory is bound; nothing of rows before is left in it."""
    rows = [GOOD | change for change in changes]
    assert answer_rows(rows, numbers).rows() == the_long_way(rows, numbers)


def test_calls_at_once_have_memory_each(numbers) -> None:
    """Threads that ask at the same time get the answers to their own rows."""
    start = Barrier(4)

    def ask(number: int) -> bool:
        start.wait(60)
        rows = [GOOD | {"number": float(number)}]
        return all(answer_rows(rows, numbers).rows()[0]["number_out"] == number for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_rows_go_the_short_way(model, name: str) -> None:
    """Each type of column has its short way: a row of all of them, and one whose `name` is null or as good."""
    columns = {key: [cell, cell] for key, cell in GOOD.items()}
    if SIGNATURE.inputs[list(GOOD).index(name)].nullable:
        columns[name][1] = None
    outputs = answer_few(columns, 2, model)
    assert outputs is not None
    assert outputs["single_out"][0] == pytest.approx(0.1, rel=1e-7)
    assert {key: cells[0] for key, cells in outputs.items()} == the_long_way([GOOD], model)[0]


def test_a_column_that_is_not_there_is_null(model) -> None:
    """An optional column may be missing, the short way too."""
    columns = {key: [cell] for key, cell in GOOD.items() if key != "beside"}
    assert answer_columns(columns, 1, model).rows() == the_long_way([GOOD], model)


def test_no_rows_and_many_rows_go_the_long_way(model) -> None:
    """The short way is that of one call of the graph."""
    for count in (0, FEW + 1):
        assert answer_few({key: [cell] * count for key, cell in GOOD.items()}, count, model) is None
        assert len(answer_rows([GOOD] * count, model).rows()) == count


def test_times_go_the_long_way(tmp_path: Path) -> None:
    """A model that takes times answers as before."""
    rows = [
        {key: GOOD[key] for key in ("flag", "small", "whole", "single", "number", "text")} | {"at": "1970-01-01"}
    ]
    assert answer_rows(rows, open_echo(tmp_path / "echo")).rows()[0]["at_out"] == 0


def test_the_hand_built_model_answers_exactly(hand_package: Path) -> None:
    """Scores are the source model's, to the last digit of a double."""
    [answer] = answer_rows(
        [{"age": 20, "visits": 3, "member": True, "plan": "basic"}], Model.open(hand_package)
    ).rows()
    assert answer["probability_leave"] == pytest.approx(hand_scores([(20, 3, True, "basic")])[0], abs=1e-15)
