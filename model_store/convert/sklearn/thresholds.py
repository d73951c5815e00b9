"""Where in its input columns a scikit-learn model's trees turn: the values that the parity gate has to try.

A tree compares features, which the steps before it have made of the input columns. So each of its thresholds is
sought in the one column that its feature is made of, by halving: which value is the last that still goes one way?
What cannot be found so (features of several columns or of categories, steps that are slow or refuse the values
tried) is left out: it is about more trial rows, not about what is served.
"""

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from model_store.convert.sklearn.source import Source
from model_store.signature import ColumnType

MOST_OF_COLUMN = 200
MOST_OF_ALL = 2_000
SLOWEST = 0.25
"""Seconds that the steps before the trees may take for all rows of one halving, of which there are some 65."""

_ROWS = 20
"""Rows in which a column is changed, to see which features are made of it."""
_MEMBERS = ("estimators_", "calibrated_classifiers_")
_NUMBERS = {ColumnType.LONG, ColumnType.DOUBLE}

Numbers: TypeAlias = NDArray[np.float64]
Found: TypeAlias = dict[str, list[float]]


@dataclass(frozen=True)
class Forest:
    """Comparisons of one tree ensemble, and the steps between them and the input columns."""

    steps: tuple[Any, ...]
    comparisons: Numbers
    """Distinct pairs of feature and threshold, [comparisons, 2], in order."""
    single: bool
    """Whether features are rounded to float32 before they are compared."""


def find_thresholds(source: Source, table: pa.Table) -> Mapping[str, tuple[float, ...]]:
    """Return by input column the values where some tree's comparison turns: the last double before it does.

    `table` is the sample as Source.table reads it. At most MOST_OF_COLUMN of a column and MOST_OF_ALL together,
    evenly chosen; nothing where it cannot be found out quickly.
    """
    found: Found = {}
    with joblib.parallel_config(backend="sequential"), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            known = list(forests(source.step.model, ()))
        except Exception:  # an estimator of an unknown kind may only look like one that is known
            return {}
        for forest in known:
            for name, values in _search(source, table, forest).items():
                found.setdefault(name, []).extend(values)
    most = min(MOST_OF_COLUMN, MOST_OF_ALL // max(len(found), 1))
    return {name: _evenly(np.unique(values), most) for name, values in found.items()}


def forests(model: Any, steps: tuple[Any, ...]) -> Iterator[Forest]:
    """Yield the tree ensembles that a fitted model answers with, wherever they are in it."""
    if isinstance(model, Pipeline):
        yield from forests(model.steps[-1][1], (*steps, *(step for _, step in model.steps[:-1])))
    elif hasattr(model, "_predictors"):
        yield from _histograms(model, steps)
    elif hasattr(booster := _booster(model), "model_to_string"):
        yield Forest(steps, _read_lightgbm(booster.model_to_string()), single=False)
    elif hasattr(booster, "save_raw"):
        yield Forest(steps, _read_xgboost(bytes(booster.save_raw("json"))), single=True)
    elif trees := list(_trees(model)):
        pairs = []
        for tree, features in trees:
            inner = tree.children_left >= 0
            pairs.append(
                np.stack([features[tree.feature[inner]], tree.threshold[inner]], axis=1).astype(np.float64)
            )
        yield Forest(steps, np.unique(np.concatenate(pairs), axis=0), single=True)
    else:
        for inner in _inner(model):
            yield from forests(inner, steps)


def _trees(model: Any) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """Yield the trees of scikit-learn's own tree, forest, bag or gradient boosting, each with its features."""
    if hasattr(model, "tree_"):
        yield model.tree_, np.arange(model.tree_.n_features)
        return
    members = list(_flat(getattr(model, "estimators_", ())))
    chosen = getattr(model, "estimators_features_", None) or [None] * len(members)
    for member, features in zip(members, chosen, strict=True):
        if hasattr(member, "tree_"):
            yield member.tree_, np.arange(member.tree_.n_features) if features is None else np.asarray(features)


def _inner(model: Any) -> Iterator[Any]:
    """Yield the models that a voting, stacking, calibrated or multi-class one asks with its own input."""
    # A bag's members look at features of their own choice, by other numbers.
    names = ("calibrated_classifiers_",) if hasattr(model, "estimators_features_") else _MEMBERS
    for name in names:
        yield from _flat(getattr(model, name, ()))
    for name in ("estimator_", "best_estimator_", "regressor_", "estimator"):
        inner = getattr(model, name, None)
        if hasattr(inner, "predict"):
            yield inner


def _flat(members: Any) -> Iterator[Any]:
    """Yield what lists and arrays of estimators hold; a pipeline or forest looks like a list, too, but is none."""
    for member in members:
        if isinstance(member, list | tuple | np.ndarray):
            yield from _flat(member)
        else:
            yield member


def _histograms(model: Any, steps: tuple[Any, ...]) -> Iterator[Forest]:
    """Read HistGradientBoosting; it moves categories before the numbers, whose order stays."""
    categorical = model.is_categorical_
    numbers = np.arange(model.n_features_in_)
    if categorical is not None:
        numbers = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    # The fitted trees have no public form.
    nodes = np.concatenate([tree.nodes for stage in model._predictors for tree in stage])  # noqa: SLF001 - see above
    nodes = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
    pairs = np.stack([numbers[nodes["feature_idx"].astype(np.int64)], nodes["num_threshold"]], axis=1)
    yield Forest(steps, np.unique(pairs, axis=0), single=False)


def _booster(model: Any) -> Any:
    """Return what LightGBM or XGBoost keep their trees in, if the model is one of theirs; neither is imported."""
    if hasattr(model, "get_booster"):
        return model.get_booster()
    return getattr(model, "booster_", getattr(model, "booster", None))


def _read_lightgbm(text: str) -> Numbers:
    """Read the splits by `feature <= threshold` from LightGBM's own model file."""
    pairs = [np.zeros((0, 2))]
    for tree in text.split("\nTree=")[1:]:
        entries = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)
        if entries["num_leaves"] != "1":
            names = ("split_feature", "threshold", "decision_type")
            feature, threshold, kind = (np.array(entries[name].split(), dtype=np.float64) for name in names)
            pairs.append(np.stack([feature, threshold], axis=1)[kind % 2 == 0])  # odd ones split categories
    return np.unique(np.concatenate(pairs), axis=0)


def _read_xgboost(content: bytes) -> Numbers:
    """Read the splits from XGBoost's own model file: `feature < threshold` in float32."""
    booster = json.loads(content)["learner"]["gradient_booster"]
    pairs = [np.zeros((0, 2))]
    for tree in booster.get("gbtree", booster).get("model", {}).get("trees", []):
        inner = (np.array(tree["left_children"]) >= 0) & (np.array(tree["split_type"]) == 0)
        below = np.nextafter(np.array(tree["split_conditions"], dtype=np.float32), np.float32(-np.inf))
        pairs.append(np.stack([np.array(tree["split_indices"]), below.astype(np.float64)], axis=1)[inner])
    return np.unique(np.concatenate(pairs), axis=0)


def _search(source: Source, table: pa.Table, forest: Forest) -> Found:
    """Return the values of input columns at which a forest's comparisons turn."""
    features = _Features(source, table, forest)
    try:
        columns = features.columns()
    except Exception:  # steps are code of any kind, and were not made for these rows
        return {}
    comparisons = forest.comparisons[np.isfinite(forest.comparisons[:, 1])]
    searched: list[tuple[str, Numbers]] = []
    for name, own in columns.items():
        mine = comparisons[np.isin(comparisons[:, 0], own)]
        if len(mine):
            searched.append((name, mine[_even_places(len(mine), MOST_OF_COLUMN)]))
    most = MOST_OF_ALL // max(len(searched), 1)
    searched = [(name, mine[_even_places(len(mine), most)]) for name, mine in searched]
    try:
        return features.turns(searched)
    except Exception:  # as above
        return {}


class _Features:
    """The features that a forest compares, as a function of the input columns."""

    def __init__(self, source: Source, table: pa.Table, forest: Forest) -> None:
        self._source, self._forest = source, forest
        whole = table.drop_null()
        rows = (whole if whole.num_rows else table).slice(0, _ROWS)
        self._frame = pd.DataFrame({c.name: c.pandas(rows[c.name]) for c in source.columns})
        self._ranges: dict[str, tuple[float, float]] = {}
        for column in source.columns:
            if column.type in _NUMBERS:
                cells = table[column.name].cast(pa.float64()).drop_null().to_numpy()
                cells = cells[np.isfinite(cells)]
                if len(cells) and cells.min() < cells.max():
                    margin = cells.max() - cells.min()
                    self._ranges[column.name] = (cells.min() - margin, cells.max() + margin)

    def of(self, frame: pd.DataFrame) -> Numbers:
        """Compute the features, [rows, features]."""
        made: Any = frame if self._source.by_name else frame.to_numpy()
        for step in self._forest.steps:
            if step is not None and not isinstance(step, str):
                made = step.transform(made)
        made = made.toarray() if hasattr(made, "toarray") else np.asarray(made)
        # Columns of texts go to no comparison searched here.
        numeric = (
            made if made.dtype != object else pd.DataFrame(made).apply(pd.to_numeric, errors="coerce").to_numpy()
        )
        features: Numbers = numeric.astype(np.float64)
        return features

    def columns(self) -> dict[str, list[int]]:
        """Return, by numeric input column, the features that are made of it alone."""
        before = self.of(self._frame)
        changed: dict[str, NDArray[np.bool_]] = {}
        for name in self._frame.columns:
            changed[name] = self._changes(name, before) if name in self._ranges else self._moves(name, before)
        makers = np.sum(list(changed.values()), axis=0)
        return {name: np.flatnonzero(changed[name] & (makers == 1)).tolist() for name in self._ranges}

    def _changes(self, name: str, before: Numbers) -> NDArray[np.bool_]:
        """Say which features differ where a column of numbers is changed in each row."""
        low, high = self._ranges[name]
        values = np.linspace(low, high, len(self._frame) + 2)[1:-1]
        return _differs(before, self.of(self._frame.assign(**{name: values})))

    def _moves(self, name: str, before: Numbers) -> NDArray[np.bool_]:
        """Say which features differ where the cells of another column change places."""
        cells = self._frame[name]
        return _differs(
            before, self.of(self._frame.assign(**{name: cells.to_numpy()[::-1]}).astype({name: cells.dtype}))
        )

    def turns(self, searched: Sequence[tuple[str, Numbers]]) -> Found:
        """Halve the ranges of all comparisons at once, a row for each; return the last values before they turn."""
        names = np.repeat([name for name, _ in searched], [len(mine) for _, mine in searched])
        if not len(names):
            return {}
        comparisons = np.concatenate([mine for _, mine in searched])
        frame = self._frame.iloc[np.zeros(len(names), dtype=int)].reset_index(drop=True)
        frame = frame.astype(dict.fromkeys(set(names), np.float64))
        masks = {name: names == name for name, _ in searched}
        rows, feature, threshold = np.arange(len(names)), comparisons[:, 0].astype(int), comparisons[:, 1]

        def goes_left(values: Numbers) -> NDArray[np.bool_]:
            for name, mask in masks.items():
                frame.loc[mask, name] = values[mask]
            compared = self.of(frame)[rows, feature]
            if self._forest.single:
                compared = compared.astype(np.float32).astype(np.float64)
            left: NDArray[np.bool_] = compared <= threshold
            return left

        low = np.array([self._ranges[name][0] for name in names])
        high = np.array([self._ranges[name][1] for name in names])
        started = time.perf_counter()
        side = goes_left(low)
        if time.perf_counter() - started > SLOWEST:
            return {}
        turning = side != goes_left(high)
        below, above = _ordered(low), _ordered(high)
        while (apart := above - below > 1).any():
            middle = below + (above - below) // np.uint64(2)
            stays = goes_left(_unordered(middle)) == side
            below, above = np.where(apart & stays, middle, below), np.where(apart & ~stays, middle, above)
        values = _unordered(below)
        return {name: values[mask & turning].tolist() for name, mask in masks.items() if (mask & turning).any()}


def _differs(before: Numbers, after: Numbers) -> NDArray[np.bool_]:
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    differs: NDArray[np.bool_] = ~same.all(axis=0)
    return differs


_SIGN = np.uint64(1 << 63)


def _ordered(values: Numbers) -> NDArray[np.uint64]:
    """Return whole numbers in the order of doubles, neighbours for neighbours."""
    bits = values.view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _unordered(places: NDArray[np.uint64]) -> Numbers:
    values: Numbers = np.where(places & _SIGN, places & ~_SIGN, ~places).view(np.float64)
    return values


def _even_places(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _evenly(values: Numbers, most: int) -> tuple[float, ...]:
    return tuple(values[_even_places(len(values), most)].tolist())
