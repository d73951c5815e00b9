"""XGBoost: float32 trees, and answers that are float32 sums of their leaves, in the trees' order.

The graph makes the same sums in the same order, so that margins are equal to the last bit. What the objective makes
of a margin is computed in float32 too, save for the exponential: in double and then rounded, which is what a good
expf gives.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.base import is_classifier

from errors import EstimatorInvalidError
from model_store.convert import boosters
from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.choices import encode
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Precision, Table, Texts, Values, spans
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.trees import Features, Tree, gather_features, leaf_sum

_LOGISTIC = {"reg:logistic", "binary:logistic"}
_EXPONENTIAL = {"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"}
_SOFTMAX = {"multi:softprob", "multi:softmax"}
_AS_IT_IS = {
    *("reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror"),
    *("reg:quantileerror", "reg:expectileerror", "binary:logitraw"),
    *("rank:pairwise", "rank:ndcg", "rank:map"),
}


@dataclass(frozen=True)
class _Model:
    """A Booster's document, read."""

    objective: str
    columns: Sequence[Sequence[Tree]]
    """The trees of each margin."""
    first: NDArray[np.float32]
    """What each margin starts from."""


def as_estimator(booster: Any) -> boosters.Native:
    """Return a Booster as an estimator: its objective says which."""
    try:
        learner = _document(booster)["learner"]
    except xgboost.core.XGBoostError as error:
        raise EstimatorInvalidError("the Booster is not trained: train it, or load it from its file") from error
    objective = learner["objective"]["name"]

    def answer(rows: Any) -> NDArray[Any]:
        if objective == "multi:softmax":  # XGBClassifier's probabilities for an objective that gives labels only
            margins = booster.inplace_predict(rows, predict_type="margin")
            odds = np.exp(margins - margins.max(axis=1, keepdims=True))
            return np.asarray(odds / odds.sum(axis=1, keepdims=True))
        return np.asarray(booster.inplace_predict(rows))

    parts = (booster, answer, booster.feature_names, booster.num_features())
    if objective in {"binary:logistic", "binary:hinge"}:
        return boosters.NativeClassifier(*parts, classes=2)
    if objective in _SOFTMAX:
        return boosters.NativeClassifier(*parts, classes=int(learner["learner_model_param"]["num_class"]))
    return boosters.NativeRegressor(*parts)


def native_categories(model: Any, _: Sequence[str]) -> Mapping[str, Values] | None:
    """Return the categories it was fitted on; see `boosters`."""
    booster = _booster(model)
    known = _categories(booster)
    names = booster.feature_names or ()
    return {name: known[place] for place, name in enumerate(names) if place in known} if known else None


def predict(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a classifier, regressor or ranker: the answers of its objective."""
    graph.versions["xgboost"] = xgboost.__version__
    booster = _booster(step.model)
    model = _read(step, booster)
    margins = _margins(step, model, _see(step, booster, blocks, graph), graph)
    scores = _convert(step, model.objective, margins, graph)
    if not is_classifier(step.model):
        return outputs.regression(graph, graph.cast(scores, TensorProto.DOUBLE))
    if len(model.columns) == 1:
        half = graph.node("Greater", scores, graph.constant(0.5, np.float32))
        label = graph.flat(graph.cast(half, TensorProto.INT64))
        first = graph.node("Sub", graph.constant([[1.0]], np.float32), scores)
        pair = graph.node("Concat", first, scores, axis=1)
        return Answer(label, graph.cast(scores, TensorProto.DOUBLE), pair=graph.cast(pair, TensorProto.DOUBLE))
    answer = outputs.shares(graph, Outputs.of(step), graph.cast(scores, TensorProto.DOUBLE))
    label = outputs.argmax(graph, margins if model.objective == "multi:softmax" else scores)
    return replace(answer, prediction=label)


def _booster(model: Any) -> Any:
    return model.booster if isinstance(model, boosters.Native) else model.get_booster()


def _document(booster: Any) -> Any:
    return json.loads(bytes(booster.save_raw("json")))


def _categories(booster: Any) -> dict[int, Values]:
    """Return, by feature, the categories that it was fitted on; none if it was given codes."""
    if "c" not in (booster.feature_types or ()):
        return {}
    found = {}
    for place, (_, categories) in enumerate(booster.get_categories(export_to_arrow=True).to_arrow() or ()):
        if categories is not None:
            found[place] = np.empty(len(categories), dtype=object)
            found[place][:] = categories.to_pylist()
    return found


def _see(step: Step, booster: Any, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Show the features as XGBoost sees them: categories as codes, and NaN for what counts as missing."""
    types = booster.feature_types or ()
    categories = _categories(booster)
    missing = getattr(step.model, "missing", np.nan)
    seen = []
    for block, span in spans(blocks):
        shown = block
        if span.start in categories:
            shown = encode(graph, block, categories[span.start])
        elif "c" in types[span]:
            shown = _whole(graph, block, np.array([kind == "c" for kind in types[span]]))
        if step.sparse:  # a sparse matrix does not store zeros
            shown = _drop(graph, shown, 0.0)
        if missing is not None and not np.isnan(missing):
            shown = _drop(graph, shown, float(missing))
        seen.append(shown)
    return tuple(seen)


def _whole(graph: GraphWriter, block: Block, categorical: NDArray[np.bool_]) -> Block:
    """Cut decimals off codes of categories."""
    match block:
        case Numbers():
            floor = graph.node("Floor", block.tensor)
            if not categorical.all():
                floor = graph.node("Where", graph.constant(categorical), floor, block.tensor)
            return Numbers(floor, block.width)
        case Table():
            return Table(block.codes, np.where(categorical, np.floor(block.rows), block.rows))
        case Texts():
            return block  # refused where features are gathered


def _drop(graph: GraphWriter, block: Block, missing: float) -> Block:
    """Turn a value into NaN; values are rounded to float32 before they are compared with `missing`."""
    match block:
        case Numbers():
            same = graph.node("Equal", block.tensor, graph.constant(missing, np.float64))
            if missing:
                rounded = graph.cast(block.tensor, TensorProto.FLOAT)
                same = graph.node("Equal", rounded, graph.constant(missing, np.float32))
            return Numbers(graph.node("Where", same, graph.constant(np.nan, np.float64), block.tensor), block.width)
        case Table():
            rows = block.rows.astype(np.float32) if missing else block.rows
            return Table(block.codes, np.where(rows == np.float32(missing), np.nan, block.rows))
        case Texts():
            return block


def _margins(step: Step, model: _Model, blocks: Blocks, graph: GraphWriter) -> str:
    """Add up leaves: [N, 1], or [N, classes], of float32."""
    trees = [tree for trees in model.columns for tree in trees]
    features = gather_features(step, blocks, graph, trees, Precision.SINGLE)
    sums = [_sum(graph, features, *column) for column in zip(model.columns, model.first, strict=True)]
    return sums[0] if len(sums) == 1 else graph.node("Concat", *sums, axis=1)


def _sum(graph: GraphWriter, features: Features, trees: Sequence[Tree], first: np.float32) -> str:
    """Add up `first` and leaves, in that order: floats added up in another order are another sum."""
    if any(tree.members for tree in trees):
        # Sets of categories fill the processor's cache: with a node per tree, batches were three times as fast,
        # and single rows half as fast (100 trees, sets of 80 categories).
        return graph.total(
            [graph.constant([[first]], np.float32), *(leaf_sum(graph, features, [tree]) for tree in trees)]
        )
    root = np.zeros(1, dtype=np.int64)
    leaf = Tree(root, np.zeros(1), root, root, np.zeros(1, dtype=bool), np.array([first], dtype=np.float64))
    return leaf_sum(graph, features, [leaf, *trees])


def _convert(step: Step, objective: str, margins: str, graph: GraphWriter) -> str:
    """Turn margins into what the objective answers, by XGBoost's own arithmetic."""
    if objective in _AS_IT_IS:
        return margins
    if objective in _LOGISTIC:
        one = graph.constant(1.0, np.float32)
        against = graph.node("Min", graph.node("Neg", margins), graph.constant(88.7, np.float32))
        return graph.node("Div", one, graph.node("Add", _exponential(graph, against), one))
    if objective in _EXPONENTIAL:
        return _exponential(graph, margins)
    if objective == "binary:hinge":
        return graph.cast(graph.node("Greater", margins, graph.constant(0.0, np.float32)), TensorProto.FLOAT)
    if objective in _SOFTMAX:
        largest = graph.node("ReduceMax", margins, graph.constant([1], np.int64), keepdims=1)
        odds = _exponential(graph, graph.node("Sub", margins, largest))
        wide = graph.cast(odds, TensorProto.DOUBLE)
        total = graph.node("ReduceSum", wide, graph.constant([1], np.int64), keepdims=1)
        return graph.node("Div", odds, graph.cast(total, TensorProto.FLOAT))
    raise step.refuse(
        f"has the objective {objective!r}, which is not converted: docs/models.md lists those that are"
    )


def _exponential(graph: GraphWriter, tensor: str) -> str:
    """Round a double's exponential to float32: ONNX Runtime's own in float32 is off in the last bits."""
    return graph.cast(graph.node("Exp", graph.cast(tensor, TensorProto.DOUBLE)), TensorProto.FLOAT)


def _read(step: Step, booster: Any) -> _Model:
    """Read a Booster's document; of an estimator that stopped early, up to its best iteration, as it predicts."""
    document = _document(booster)
    learner = document["learner"]
    gradient_booster = learner["gradient_booster"]
    if gradient_booster["name"] != "gbtree":
        raise step.refuse(
            f"has the booster {gradient_booster['name']!r}, which is not converted: fit it with booster='gbtree'"
        )
    forest = gradient_booster["model"]
    count = len(forest["trees"])
    if not count:
        raise step.refuse("has no trees: fit it for at least one iteration")
    weights = [*forest.get("weight_drop", ()), *[1.0] * count]  # of trees, where some were dropped
    best = learner["attributes"].get("best_iteration")
    if best is not None and not isinstance(step.model, boosters.Native):
        count = forest["iteration_indptr"][int(best) + 1]
    trees = [_read_tree(step, tree, weights[place]) for place, tree in enumerate(forest["trees"])]
    groups = forest["tree_info"][:count]
    first = _first(booster, document, forest)
    columns = [
        [tree for tree, group in zip(trees, groups, strict=False) if group == score] for score in range(len(first))
    ]
    return _Model(learner["objective"]["name"], columns, first)


def _first(booster: Any, document: Any, forest: dict[str, Any]) -> NDArray[np.float32]:
    """Ask what the margins are before any tree: of the same Booster with one round of trees, zero in all leaves."""
    count = forest["iteration_indptr"][1]
    for tree in forest["trees"][:count]:
        pairs = zip(tree["left_children"], tree["split_conditions"], strict=True)
        tree["split_conditions"] = [0.0 if left < 0 else condition for left, condition in pairs]
    forest |= {name: forest[name][:count] for name in ("trees", "tree_info", "weight_drop") if name in forest}
    forest["iteration_indptr"] = [0, count]
    forest["gbtree_model_param"]["num_trees"] = str(count)
    bare = xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))
    nothing = np.full((1, booster.num_features()), np.nan, dtype=np.float32)
    margins: NDArray[np.float32] = bare.inplace_predict(nothing, predict_type="margin", validate_features=False)
    return np.ravel(margins)


def _read_tree(step: Step, source: Mapping[str, Any], weight: float) -> Tree:
    """Read a tree. A row goes left if it is less, and a category if it is none of a set."""
    if int(source["tree_param"]["size_leaf_vector"]) > 1:
        raise step.refuse("has leaves of several numbers: fit it with multi_strategy='one_output_per_tree'")
    left, right = np.array(source["left_children"]), np.array(source["right_children"])
    nodes = np.arange(len(left))
    leaf = left < 0
    conditions = np.array(source["split_conditions"], dtype=np.float32)
    members = _members(source)
    swapped = np.isin(nodes, list(members))
    left, right = np.where(swapped, right, left), np.where(swapped, left, right)
    default_left = np.array(source["default_left"], dtype=bool) != swapped
    return Tree(
        feature=np.array(source["split_indices"], dtype=np.int64),
        threshold=np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64),
        left=np.where(leaf, nodes, left),
        right=np.where(leaf, nodes, right),
        missing_left=default_left,
        value=(conditions * np.float32(weight)).astype(np.float64),
        members=members,
    )


def _members(source: Mapping[str, Any]) -> dict[int, Sequence[float]]:
    """Read the sets of categories that nodes send right."""
    sets = zip(source["categories_nodes"], source["categories_segments"], source["categories_sizes"], strict=True)
    return {
        node: [float(each) for each in source["categories"][start : start + size]] for node, start, size in sets
    }
