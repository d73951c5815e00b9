"""The parity gate: what is served must answer as what was trained."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from errors import ParityError
from model_store.comparison import Comparison, compare
from model_store.convert.conversion import Conversion
from model_store.extremes import narrow_limits
from model_store.packages import ParityReport
from model_store.signature import Signature
from model_store.trials import Trials, make_trials

TOLERANCE = 1e-5
"""The largest difference a package may have: absolute for probabilities, relative for regressions. Flips: none."""

MOST_ROUNDED = 200
"""Failing rows that are asked about again, to find out why they fail."""

Predict: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]
Source: TypeAlias = Callable[[pa.Table], pa.Table]


class Passed(NamedTuple):
    """What is known of a graph that answers as its source does."""

    signature: Signature
    """With the limits within which it does."""
    trials: Trials
    report: ParityReport


def pass_gate(
    conversion: Conversion, signature: Signature, predict: Predict, *, tolerance: float = TOLERANCE
) -> Passed:
    """Hold `predict`, which serves the conversion's graph, to its source; ParityError if it answers otherwise.

    `signature` is the conversion's, with whatever has been found out about it since.
    """
    classifier = bool(conversion.labels)
    signature = narrow_limits(
        signature, conversion.sample, conversion.predict, predict, classifier=classifier, tolerance=tolerance
    )
    trials = make_trials(conversion.sample, signature, conversion.predict, conversion.thresholds)
    report = check_parity(
        trials,
        predict,
        classifier=classifier,
        tolerance=tolerance,
        source=conversion.predict,
        stock_steps=conversion.stock_steps,
    )
    return Passed(signature, trials, report)


def check_parity(
    trials: Trials,
    predict: Predict,
    *,
    classifier: bool,
    tolerance: float = TOLERANCE,
    source: Source | None = None,
    stock_steps: Sequence[str] = (),
) -> ParityReport:
    """Put the trials to the packaged model's `predict` and return how its answers differ from the source's.

    ParityError for any label flip, or a difference above `tolerance`; it names the worst row, the output, and the
    input column to blame where there is one. `source` answers more rows, to find that out, and `stock_steps` are
    suspects in any case: steps that another converter did.
    """
    answers = predict(trials.rows.combine_chunks().to_batches()[0])
    comparison = compare(trials.answers, answers, classifier=classifier)
    failing = comparison.failing(tolerance)
    if failing.any():
        text = _verdict(trials, comparison, failing, tolerance)
        places = np.flatnonzero(failing)[:MOST_ROUNDED]
        ours = pa.Table.from_batches([answers]).take(places)

        def agrees(theirs: pa.Table) -> bool:
            return not compare(theirs, ours, classifier=classifier).failing(tolerance).any()

        if blamed := _blame(trials, failing):
            text += f"; only rows with {blamed} are off: look at what the model does with that column"
        elif source is not None and (rounded := _rounded(trials.rows.take(places), source, agrees)):
            text += f"; they agree once {rounded} rounded to float32: a step of the model computes in that"
        if stock_steps:
            text += f"; converted by skl2onnx instead of exactly, and so suspect: {', '.join(stock_steps)}"
        raise ParityError(f"{text} (tolerance {tolerance:g})")
    rows = len(trials.rows)
    largest = {name: float(differences.max()) for name, differences in comparison.absolute.items()}
    worst = max(largest, key=lambda name: largest[name], default=None)
    numbers = np.concatenate(list(comparison.absolute.values())) if largest else np.zeros(1)
    flips = int(sum(mask.sum() for mask in comparison.flips.values()))
    return ParityReport(
        rows=rows,
        max_abs_difference=max(largest.values(), default=0.0),
        mean_abs_difference=float(numbers.mean()),
        label_flips=flips,
        flips_per_million=flips / rows * 1e6,
        worst_column=worst if worst is not None and largest[worst] > 0 else None,
        tolerance=tolerance,
        refused=trials.refused,
        given=trials.given,
    )


def _verdict(trials: Trials, comparison: Comparison, failing: npt.NDArray[np.bool_], tolerance: float) -> str:
    """Say which row and output are worst, in how many rows, and which input is to blame."""
    flipped = np.logical_or.reduce([np.zeros(len(failing), bool), *comparison.flips.values()])
    weighed = np.maximum.reduce([np.zeros(len(failing)), *comparison.weighed.values()])
    row = int(np.argmax(np.where(flipped, np.inf, weighed)))
    column, difference = comparison.worst(row, tolerance)
    group = trials.group_of(row)
    how = "another label" if difference is None else f"a difference of {difference:.3g}"
    return (
        f"the converted model does not answer as the source model does: {failing.sum()} of {len(failing)} trial "
        f"rows are off, {flipped.sum()} of them with another label; worst is {column!r} with {how} in row "
        f"{row - group.start + 1} of {group.name}"
    )


def _blame(trials: Trials, failing: npt.NDArray[np.bool_]) -> str | None:
    """Return the narrowest description, "nulls in 'age'", that holds for every failing row; None if none does."""
    suspects: dict[str, npt.NDArray[np.bool_]] = {}
    for name in trials.rows.column_names:
        suspects[f"nulls in {name!r}"] = trials.rows[name].is_null().to_numpy()
    places = np.arange(len(failing))
    for group in trials.groups:
        if group.column is not None and group.name not in suspects:
            suspects[group.name] = (group.start <= places) & (places < group.stop)
    guilty = [name for name, mask in suspects.items() if not (failing & ~mask).any()]
    return min(guilty, key=lambda name: int(suspects[name].sum()), default=None)


def _rounded(rows: pa.Table, source: Source, agrees: Callable[[pa.Table], bool]) -> str | None:
    """Say "column 'x' is" or "columns 'x' and 'y' are" if the source agrees with us on their float32 values.

    Each column is tried alone, then all at once. None if that does not explain every failing row.
    """
    doubles = [field.name for field in rows.schema if pa.types.is_float64(field.type)]
    for names in [*([name] for name in doubles), *([doubles] if len(doubles) > 1 else [])]:
        single = rows
        for name in names:
            place = rows.schema.get_field_index(name)
            cells = pc.cast(pc.cast(rows[name], pa.float32(), safe=False), pa.float64())
            single = single.set_column(place, rows.schema.field(place), cells)
        try:
            theirs = source(single)
        except Exception:  # noqa: S112  # a source that refuses these rows explains nothing
            continue
        if agrees(theirs):
            texts = " and ".join(repr(name) for name in names)
            return f"column {texts} is" if len(names) == 1 else f"columns {texts} are"
    return None
