"""LightGBM: trees that compare doubles, and know zeros and missing values in ways of their own.

Its model text gives every threshold and leaf with 17 digits, which is to say exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from model_store.convert import boosters
from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.choices import encode
from model_store.convert.sklearn.features import (
    Block,
    Blocks,
    Numbers,
    Precision,
    Rows,
    Table,
    Texts,
    Values,
    select,
)
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.trees import Tree, chunked_sum, gather_features

_ZERO = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold: it takes numbers that are no larger for zero."""
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a node's decision_type; the two above say what counts as missing
_ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2
_WORD = 32  # bits per word of a node's set of categories
_EXPONENTIAL = {"poisson", "gamma", "tweedie"}
_PROBABILITIES = {"binary", "cross_entropy"}
_AS_IT_IS = {
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("lambdarank", "rank_xendcg", "custom"),
}


class _View(IntEnum):
    """What a node is given of its feature."""

    PLAIN = 0
    ZERO_MISSING = 1
    """Zeros as NaN."""
    CATEGORY = 2
    """Without decimals."""


@dataclass(frozen=True)
class _Model:
    """A Booster's text, read."""

    objective: Sequence[str]
    """Its name, and then its parameters as `name:value`."""
    columns: Sequence[Sequence[Tree]]
    """The trees of each score. Features of views other than PLAIN have numbers from `width`, `2 * width`."""
    width: int
    """The number of features."""
    average: bool
    """Whether a score is the trees' mean, as in a random forest, and not their sum."""

    def parameter(self, name: str) -> float:
        """Return a parameter of the objective, 1 if it has none."""
        found = [word.partition(":")[2] for word in self.objective if word.startswith(f"{name}:")]
        return float(found[0]) if found else 1.0


def as_estimator(booster: Any) -> boosters.Native:
    """Return a Booster as an estimator: its objective says which."""
    names = booster.feature_name()
    unnamed = names == [f"Column_{place}" for place in range(len(names))]
    parts = (booster, booster.predict, None if unnamed else names, len(names))
    objective = _header(booster.model_to_string(num_iteration=1))["objective"].split()
    if objective[0] == "binary":
        return boosters.NativeClassifier(*parts, classes=2)
    if objective[0] in {"multiclass", "multiclassova"}:
        return boosters.NativeClassifier(*parts, classes=booster.num_model_per_iteration())
    return boosters.NativeRegressor(*parts)


def native_categories(model: Any, columns: Sequence[str]) -> Mapping[str, Values] | None:
    """Return the categories it was fitted on; see `boosters`."""
    known = _categories(_booster(model))
    if not known:
        return None
    return dict(zip(columns, known, strict=True)) if len(known) == len(columns) else {}


def predict(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a classifier, regressor or ranker: the answers of its objective."""
    graph.versions["lightgbm"] = lightgbm.__version__
    if getattr(step.model, "pred_early_stop", False):
        raise step.refuse(
            "leaves trees out where pred_early_stop says so: call its set_params(pred_early_stop=False)"
        )
    model = _read(step, _booster(step.model))
    raw = _raw(step, model, _encode_categories(step, blocks, graph), graph)
    scores = _convert(step, model, raw, graph)
    if not is_classifier(step.model):
        return outputs.regression(graph, scores)
    if len(model.columns) == 1:
        return Answer(outputs.above(graph, scores, 0.5), scores, decision=raw)
    if Outputs.of(step).binary:
        return outputs.shares(graph, Outputs.of(step), scores)
    return Answer(outputs.argmax(graph, scores), scores, decision=raw)


def _booster(model: Any) -> Any:
    return model.booster if isinstance(model, boosters.Native) else model.booster_


def _categories(booster: Any) -> list[Values]:
    """Return the categories of each column that had pandas' category dtype, in the columns' order."""
    found = []
    for categories in booster.pandas_categorical or []:
        values = np.empty(len(categories), dtype=object)
        values[:] = categories
        found.append(values)
    return found


def _encode_categories(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Do what LightGBM does first: columns of pandas' category dtype to codes."""
    known = _categories(_booster(step.model))
    given = [block for block in blocks if isinstance(block, Texts | Numbers) and block.categorical]
    if known and len(known) != len(given):
        raise step.refuse(
            f"was fitted on {len(known)} columns of pandas' category dtype and is given {len(given)}: pass a "
            "sample with the dtypes it was fitted on"
        )
    codes = {id(block): encode(graph, block, each) for block, each in zip(given, known, strict=False)}
    return tuple(codes.get(id(block), block) for block in blocks)


def _raw(step: Step, model: _Model, blocks: Blocks, graph: GraphWriter) -> str:
    """Add up the trees: [N, 1], or [N, classes]."""
    trees = [tree for trees in model.columns for tree in trees]
    used = np.unique(np.concatenate([tree.feature[~tree.is_leaf] for tree in trees])) if trees else np.array([])
    renumbered = {int(feature): int(feature) for feature in used}
    width = model.width
    for view in (_View.ZERO_MISSING, _View.CATEGORY):
        seen = [int(feature) - view * model.width for feature in used if feature // model.width == view]
        for place, feature in enumerate(seen):
            renumbered[feature + view * model.width] = width + place
        blocks = (*blocks, *(_see(graph, block, view) for block in select(graph, blocks, seen)))
        width += len(seen)
    columns = [[_renumber(tree, renumbered) for tree in trees] for trees in model.columns]
    trees = [tree for trees in columns for tree in trees]
    features = gather_features(step, blocks, graph, trees, Precision.DOUBLE)
    sums = [chunked_sum(graph, features, trees) for trees in columns]
    raw = sums[0] if len(sums) == 1 else graph.node("Concat", *sums, axis=1)
    if model.average:
        raw = graph.node("Div", raw, graph.constant([float(len(columns[0]))] * len(columns), np.float64))
    return raw


def _renumber(tree: Tree, numbers: Mapping[int, int]) -> Tree:
    feature = np.array([numbers.get(int(each), 0) for each in tree.feature], dtype=np.int64)
    return Tree(feature, tree.threshold, tree.left, tree.right, tree.missing_left, tree.value, tree.members)


def _see(graph: GraphWriter, block: Block, view: _View) -> Block:
    """Show features as nodes of that view see them."""
    match block:
        case Numbers():
            size = graph.node("Abs", block.tensor)
            if view is _View.ZERO_MISSING:
                zero = graph.node("LessOrEqual", size, graph.constant(_ZERO, np.float64))
                shown = graph.node("Where", zero, graph.constant(np.nan, np.float64), block.tensor)
            else:
                shown = graph.node("Mul", graph.node("Sign", block.tensor), graph.node("Floor", size))
            return Numbers(shown, block.width)
        case Table():
            rows = np.trunc(block.rows)
            if view is _View.ZERO_MISSING:
                rows = np.where(np.abs(block.rows) <= _ZERO, np.nan, block.rows)
            return Table(block.codes, rows)
        case Texts():
            return block  # refused where features are gathered


def _convert(step: Step, model: _Model, raw: str, graph: GraphWriter) -> str:
    """Turn raw scores into what the objective answers, by LightGBM's own arithmetic."""
    name = model.objective[0]
    if name == "custom" and is_classifier(step.model):
        raise step.refuse("has an objective of its own and so no probabilities: fit it with one of LightGBM's")
    if name in _AS_IT_IS:
        if "sqrt" in model.objective:  # it was fitted on square roots
            return graph.node("Mul", graph.node("Mul", graph.node("Sign", raw), raw), raw)
        return raw
    if name in _EXPONENTIAL:
        return graph.node("Exp", raw)
    if name == "multiclass":
        return graph.node("Softmax", raw, axis=1)
    one = graph.constant(1.0, np.float64)
    if name == "cross_entropy_lambda":
        return graph.node("Log", graph.node("Add", graph.node("Exp", raw), one))
    if name in {*_PROBABILITIES, "multiclassova"}:
        steepness = graph.constant([-model.parameter("sigmoid")] * len(model.columns), np.float64)
        odds_against = graph.node("Exp", graph.node("Mul", raw, steepness))
        return graph.node("Div", one, graph.node("Add", odds_against, one))
    raise step.refuse(f"has the objective {name!r}, which is not converted: docs/models.md lists those that are")


def _header(text: str) -> dict[str, str]:
    """Read what stands before the trees."""
    header = _entries(text.partition("\nTree=")[0].splitlines())
    header.setdefault("objective", "custom")
    return header


def _entries(lines: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _read(step: Step, booster: Any) -> _Model:
    """Read a Booster's text; like its own predict, up to the best iteration of an early stop."""
    text: str = booster.model_to_string()
    header = _header(text)
    scores, width = int(header["num_tree_per_iteration"]), int(header["max_feature_idx"]) + 1
    # What follows the trees has names of features in it, which could be anything.
    sections = text.partition("\nend of trees")[0].split("\nTree=")[1:]
    if not sections:
        raise step.refuse("has no trees: fit it for at least one iteration")
    trees = [_read_tree(step, _entries(section.splitlines()), width) for section in sections]
    return _Model(
        objective=header["objective"].split() or ["custom"],
        columns=[trees[score::scores] for score in range(scores)],
        width=width,
        average="average_output" in header,
    )


def _read_tree(step: Step, entries: Mapping[str, str], width: int) -> Tree:
    """Read a tree: its inner nodes first, then its leaves."""
    if entries.get("is_linear", "0") != "0":
        raise step.refuse("has linear models in its leaves: fit it with linear_tree=False")
    values = _floats(entries["leaf_value"])
    inner, nodes = len(values) - 1, np.arange(2 * len(values) - 1)
    if not inner:
        return Tree(nodes, np.zeros(1), nodes, nodes, np.zeros(1, dtype=bool), values)
    kinds, thresholds = _integers(entries["decision_type"]), _floats(entries["threshold"])
    categorical, missing = kinds & _CATEGORICAL != 0, kinds >> 2 & 3
    default_left = kinds & _DEFAULT_LEFT != 0
    # Where nothing counts as missing, NaN is taken for zero.
    missing_left = np.where(
        (missing == _ZERO_IS_MISSING) | (missing == _NAN_IS_MISSING), default_left, thresholds >= 0
    )
    views = np.where(categorical, _View.CATEGORY, np.where(missing == _ZERO_IS_MISSING, _View.ZERO_MISSING, 0))
    leaves = nodes[inner:]
    return Tree(
        feature=np.concatenate([_integers(entries["split_feature"]) + views * width, np.zeros(inner + 1, int)]),
        threshold=np.concatenate([_flush(thresholds), np.zeros(inner + 1)]),
        left=np.concatenate([_children(entries["left_child"], inner), leaves]),
        right=np.concatenate([_children(entries["right_child"], inner), leaves]),
        missing_left=np.concatenate([missing_left & ~categorical, np.zeros(inner + 1, dtype=bool)]),
        value=np.concatenate([np.zeros(inner), values]),
        members=_members(entries, np.flatnonzero(categorical), thresholds),
    )


def _flush(thresholds: Rows) -> Rows:
    """Move thresholds inside of what LightGBM takes for zero to the edge where they split as zero does."""
    inside = (thresholds >= -_ZERO) & (thresholds < _ZERO)
    edges = np.where(thresholds < 0, np.nextafter(-_ZERO, -np.inf), _ZERO)
    return np.where(inside, edges, thresholds)


def _children(text: str, inner: int) -> NDArray[np.int64]:
    """Read children: leaf `n` is written as `-n - 1`."""
    children = _integers(text)
    return np.where(children < 0, inner - children - 1, children)


def _members(
    entries: Mapping[str, str], categorical: NDArray[np.int64], thresholds: Rows
) -> dict[int, Sequence[float]]:
    """Read the sets of categories that go left: a node's threshold is the number of its set."""
    if not len(categorical):
        return {}
    bounds, words = _integers(entries["cat_boundaries"]), _integers(entries["cat_threshold"])
    found: dict[int, Sequence[float]] = {}
    for node in categorical.tolist():
        place = int(thresholds[node])
        bits = words[bounds[place] : bounds[place + 1], np.newaxis] >> np.arange(_WORD) & 1
        found[node] = [float(category) for category in np.flatnonzero(bits)]
    return found


def _integers(text: str) -> NDArray[np.int64]:
    return np.array(text.split(), dtype=np.int64)


def _floats(text: str) -> Rows:
    return np.array(text.split(), dtype=np.float64)
