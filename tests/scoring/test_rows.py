"""Single rows, as HTTP brings them."""

from pathlib import Path

import pytest

from errors import ColumnMissingError
from model_store.model import Model
from scoring.rows import score_rows
from tests.hand_model import hand_scores

ROW = {"age": 20, "visits": 3, "member": True, "plan": "basic"}


@pytest.fixture(scope="module")
def model(hand_package: Path) -> Model:
    return Model.open(hand_package)


def test_rows_get_the_source_models_answers(model) -> None:
    """Numbers, nulls and unseen texts are scored as the source model does, in order."""
    rows = [ROW, ROW | {"age": None, "plan": None}, ROW | {"age": 30.5, "plan": "zzz", "extra": [1]}]
    answers = score_rows(rows, model)
    expected = hand_scores([(20, 3, True, "basic"), (None, 3, True, None), (30.5, 3, True, "zzz")])
    assert [answer["probability_leave"] for answer in answers] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ({"age": "20"}, "value_type"),
        ({"age": True}, "value_type"),
        ({"age": 2**1100}, "value_type"),
        ({"visits": 3.5}, "value_type"),
        ({"visits": 2**70}, "value_type"),
        ({"visits": None}, "null_not_allowed"),
        ({"visits": float("nan")}, "null_not_allowed"),
        ({"member": 1}, "value_type"),
        ({"member": None}, "null_not_allowed"),
        ({"plan": "\ud800"}, "value_type"),
        ({"plan": 5}, "value_type"),
        ({"plan": {"a": 1}}, "value_type"),
    ],
)
def test_a_bad_row_gets_its_own_error(model, cell: dict, code: str) -> None:
    """A row that cannot be scored says why; its neighbours are answered."""
    before, bad, after = score_rows([ROW, ROW | cell, ROW], model)
    assert before == after == score_rows([ROW], model)[0]
    assert (bad["error"]["code"], bad["error"]["column"]) == (code, next(iter(cell)))


def test_whole_numbers_may_be_written_as_floats(model) -> None:
    """JSON does not tell 3 from 3.0, so neither do we; nor does age mind an integer."""
    assert score_rows([ROW | {"visits": 3.0}], model) == score_rows([ROW], model)


@pytest.mark.parametrize("whole", [2**53 + 1, 10**20, -(10**300)])
def test_whole_numbers_are_rounded_where_the_model_takes_floating_point(model, whole: int) -> None:
    """As they are in files: JSON's writers differ in where they begin to write an exponent."""
    assert score_rows([ROW | {"age": whole}], model) == score_rows([ROW | {"age": float(whole)}], model)


def test_a_column_in_no_row_is_the_callers_mistake(model) -> None:
    """A column that no row has is one clear error, not one a row."""
    with pytest.raises(ColumnMissingError, match="'plan'"):
        score_rows([{k: v for k, v in ROW.items() if k != "plan"}], model)


def test_no_rows_get_no_answers(model) -> None:
    """An empty list is answered with an empty list."""
    assert score_rows([], model) == []


def test_outputs_that_json_lacks_become_what_it_has() -> None:
    """NaN and infinities are null, times are ISO 8601."""
    import pyarrow as pa

    from scoring.rows import _to_json

    assert _to_json(pa.array([1.5, float("nan"), float("inf")])) == [1.5, None, None]
    assert _to_json(pa.array([0, None], pa.timestamp("us"))) == ["1970-01-01T00:00:00", None]
