"""How two tables of answers are compared: differences of numbers, flips of labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model_store.arrays import scalar, to_numpy


@dataclass(frozen=True)
class Comparison:
    """What differs between a source model's answers and ours; every array has one place a row."""

    absolute: Mapping[str, npt.NDArray[np.float64]]
    """|difference| of each numeric output; infinite where only one of the two is a number."""
    weighed: Mapping[str, npt.NDArray[np.float64]]
    """The same as a tolerance is held against it: absolute for classifiers, relative for regressors."""
    flips: Mapping[str, npt.NDArray[np.bool_]]
    """Where a label is another one."""

    def failing(self, tolerance: float) -> npt.NDArray[np.bool_]:
        """Return the mask of rows with a flip, or a difference above `tolerance`."""
        masks = [*self.flips.values(), *(weighed > tolerance for weighed in self.weighed.values())]
        mask: npt.NDArray[np.bool_] = np.logical_or.reduce(masks)
        return mask

    def worst(self, row: int, tolerance: float) -> tuple[str, float | None]:
        """Return the output column that is worst in a failing row, and its |difference|; None for a flip."""
        if flipped := [name for name, flips in self.flips.items() if flips[row]]:
            return flipped[0], None
        name = max(
            (n for n in self.weighed if self.weighed[n][row] > tolerance), key=lambda n: self.weighed[n][row]
        )
        return name, float(self.absolute[name][row])


def compare(expected: pa.Table, answers: pa.Table | pa.RecordBatch, *, classifier: bool) -> Comparison:
    """Compare answers, row for row, with the source's; both tables have the same columns.

    A classifier's `prediction` is a label (of several targets, each one's `prediction_<target>`), as is every
    output that is no floating-point number; other outputs are numbers. For regressors a difference is weighed by
    the row's own answer or the mean magnitude of all, whichever is greater: an answer that happens to be near 0 is
    not held to a precision the model does not have.
    """
    absolute, weighed, flips = {}, {}, {}
    for name in expected.column_names:
        source, ours = _whole(expected[name]), _whole(answers[name])
        if (classifier and _is_prediction(name)) or not pa.types.is_floating(source.type):
            flips[name] = _flips(source, ours)
            continue
        theirs = to_numpy(source).astype(np.float64)
        mine = to_numpy(ours).astype(np.float64)
        absolute[name] = _difference(theirs, mine)
        magnitude = np.where(np.isfinite(theirs), np.abs(theirs), 0)
        scale = np.maximum(magnitude, magnitude.mean() if len(magnitude) else 0)
        weighed[name] = absolute[name] if classifier else absolute[name] / np.where(scale > 0, scale, 1)
    return Comparison(absolute, weighed, flips)


def _is_prediction(name: str) -> bool:
    """Tell predictions from probabilities and scores, the only other outputs of a classifier."""
    return name == "prediction" or name.startswith("prediction_")


def _difference(theirs: npt.NDArray[np.float64], mine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    same = (theirs == mine) | (np.isnan(theirs) & np.isnan(mine))  # infinities subtract to NaN
    with np.errstate(invalid="ignore"):
        difference = np.abs(theirs - mine)
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def _flips(source: pa.Array, ours: pa.Array) -> npt.NDArray[np.bool_]:
    same = pc.fill_null(pc.equal(source, ours), scalar(False, pa.bool_()))
    both_null = pc.and_(source.is_null(), ours.is_null())
    return to_numpy(pc.invert(pc.or_(same, both_null)))


def _whole(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
