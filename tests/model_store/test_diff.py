"""Two versions on the same rows: how far their answers are apart, and who rejects what."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from errors import ColumnMissingError
from model_store.diff import SMALLEST_SHARE, diff, golden_batches, stability
from model_store.model import Model
from model_store.packages import PackageInfo
from model_store.signature import Column, ColumnType, Signature
from tests.hand_model import SIGNATURE, HandModel, make_sample


@pytest.fixture
def models(packages):
    return [Model.open(packages(bias)) for bias in (-2.0, -1.0)]


class Echo:
    """A model whose answers are its input column, or what `answer` makes of it."""

    def __init__(self, inputs, outputs, answer, labels=()) -> None:
        self.signature = Signature(tuple(inputs), tuple(outputs))
        self.metadata = replace(INFO, signature=self.signature, labels=labels)
        self._answer = answer

    def predict(self, batch):
        """Answer column for column."""
        return pa.RecordBatch.from_arrays(self._answer(batch), schema=self.signature.output_schema)


INFO = PackageInfo(
    SIGNATURE, (), "", "", {}, "", None, {}, {}, {}
)  # fmt: skip
X = Column("x", ColumnType.DOUBLE)
PREDICTION = Column("prediction", ColumnType.DOUBLE)


def batch(**columns):
    return pa.RecordBatch.from_pydict(columns)


def test_differences_are_those_of_the_models(models):
    """Against the hand model's own numbers in numpy: largest and mean difference, flips, and their rate."""
    rows = make_sample(20_000, seed=3)
    found = diff(*models, rows.to_batches(max_chunksize=3000))
    old, new = (HandModel(bias=bias).predict(rows) for bias in (-2.0, -1.0))
    moved = np.abs(np.subtract(*(table["probability_leave"].to_numpy() for table in (old, new))))
    flips = sum(a != b for a, b in zip(old["prediction"].to_pylist(), new["prediction"].to_pylist(), strict=True))
    label, number = found.outputs
    assert (found.rows, found.rejected_by_old, found.rejected_by_new) == (20_000, 0, 0)
    assert (label.name, label.flips, label.max_difference) == ("prediction", flips, None)
    assert label.flips_per_million == pytest.approx(flips * 50)
    assert number.max_difference == pytest.approx(moved.max(), abs=1e-12)
    assert number.mean_difference == pytest.approx(moved.mean(), abs=1e-12)
    assert number.psi > 0.1
    assert label.psi > 0.1


def test_a_version_compared_with_itself_does_not_differ(models):
    """No flips, no difference, and PSI is exactly 0."""
    found = diff(models[0], models[0], make_sample(500).to_batches())
    assert [(o.max_difference, o.flips, o.psi) for o in found.outputs] == [(None, 0, 0.0), (0.0, None, 0.0)]


def test_psi_is_the_sum_over_the_old_deciles():
    """By the formula, on shares counted by hand; an empty bin counts as the smallest share."""
    assert stability([50, 50], [50, 50]) == 0
    assert stability([50, 50], [60, 40]) == pytest.approx(0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5))
    empty = (1 - SMALLEST_SHARE) * np.log(1 / SMALLEST_SHARE)
    assert stability([10, 0], [0, 10]) == pytest.approx(2 * empty)
    assert stability([], []) == stability([0, 0], [1, 2]) == 0
    shifted = Echo([X], [PREDICTION], lambda rows: [pa.compute.add(rows["x"], 10.0)])
    same = Echo([X], [PREDICTION], lambda rows: [rows["x"]])
    # x = 0 … 99 has ten in each bin; ten higher, the first bin is empty and the last has twenty
    found = diff(same, shifted, [batch(x=np.arange(100.0))])
    by_hand = (SMALLEST_SHARE - 0.1) * np.log(SMALLEST_SHARE / 0.1) + 0.1 * np.log(0.2 / 0.1)
    assert found.outputs[0].psi == pytest.approx(by_hand)
    assert found.outputs[0].max_difference == 10


def test_what_is_no_number_has_a_bin_of_its_own():
    """NaN where there was a number is an infinite difference and a shift; equal answers share a bin."""
    same = Echo([X], [PREDICTION], lambda rows: [rows["x"]])
    nothing = Echo([X], [PREDICTION], lambda rows: [pa.array(np.full(rows.num_rows, np.nan))])
    found = diff(same, nothing, [batch(x=np.ones(10))])
    assert found.outputs[0].max_difference == np.inf
    assert found.outputs[0].psi > 5
    assert diff(nothing, nothing, [batch(x=np.ones(10))]).outputs[0].psi == 0


def test_rows_that_a_version_rejects_are_counted_and_not_compared():
    """Nulls where one takes none, and texts that are no numbers; who rejects which is told apart."""
    strict = Echo([replace(X, nullable=False)], [PREDICTION], lambda rows: [rows["x"]])
    loose = Echo([X], [PREDICTION], lambda rows: [pa.compute.fill_null(rows["x"], 0.0)])
    texts = batch(x=["1.5", None, "many", "2e3", "nan", "4"])
    found = diff(strict, loose, [texts, texts])
    assert (found.rows, found.rejected_by_old, found.rejected_by_new, found.rejected_by_both) == (6, 4, 0, 2)
    assert diff(loose, strict, [texts]).rejected_by_new == 2


def test_cells_that_a_source_refuses_are_rejected():
    """Numbers beyond a limit, infinities and texts that are not allowed; nulls are another matter."""
    plan = Column("plan", ColumnType.STRING, allowed=("a", "b"))
    narrow = Echo([replace(X, limit=10.0), plan], [PREDICTION], lambda rows: [rows["x"]])
    wide = Echo([X], [PREDICTION], lambda rows: [rows["x"]])
    rows = batch(x=[1.0, 11.0, float("inf"), None, 2.0, 3.0], plan=["a", "b", "a", None, "c", "b"])
    found = diff(narrow, wide, [rows])
    assert (found.rows, found.rejected_by_old, found.rejected_by_new) == (3, 3, 0)


def test_versions_of_different_shape_are_compared_where_they_meet():
    """Outputs that only one has are named; labels of different types are compared as they are written."""
    old = Echo([X], [Column("prediction", ColumnType.LONG), Column("a", ColumnType.DOUBLE)],
               lambda rows: [rows["x"].cast(pa.int64()), rows["x"]], labels=(1, 2))  # fmt: skip
    new = Echo([X, Column("y", ColumnType.STRING, required=False)],
               [Column("prediction", ColumnType.STRING), Column("b", ColumnType.DOUBLE)],
               lambda rows: [pa.array(["1"] * rows.num_rows), rows["x"]], labels=("1", "2"))  # fmt: skip
    found = diff(old, new, [batch(x=[1, 2, 1], z=["other", "columns", "too"])])
    assert (found.dropped, found.added) == (("a",), ("b",))
    assert [(output.name, output.flips) for output in found.outputs] == [("prediction", 1)]


def test_a_column_that_is_not_there_is_named(models):
    """It cannot be guessed."""
    with pytest.raises(ColumnMissingError, match="'visits'"):
        diff(*models, [make_sample(5).drop_columns("visits").to_batches()[0]])


def test_no_rows_at_all(models):
    """An empty file is compared without a difference."""
    found = diff(*models, [])
    assert found.rows == 0
    assert [(o.max_difference, o.flips, o.psi) for o in found.outputs] == [(None, 0, 0.0), (0.0, None, 0.0)]


def test_golden_rows_stand_in_for_a_file(models):
    """Those of both versions, twenty each."""
    assert diff(*models, golden_batches(*models)).rows == 40
