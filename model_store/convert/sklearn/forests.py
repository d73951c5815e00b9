"""DecisionTree, RandomForest, ExtraTrees and GradientBoosting: trees that compare float32 values with doubles."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.dummy import DummyClassifier, DummyRegressor

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks, Precision, Rows
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.trees import Tree, chunked_sum, gather_features, leaf_sum

_CHUNK = 2
"""Trees per TreeEnsemble node of a regressor, whose trees are large: 8 to 10% faster than ten, as fast as float32
trees; a single row takes 35 microseconds instead of 15 (100 trees of depth 10)."""

_GROUP = 20
"""Trees whose leaves are looked up together."""

_MOST = 200
"""Trees whose leaves are kept until the sum is known: at a million rows at once, these take 0.8 GB."""

_NEAR = 1e-9
"""A share of the second class this near to one half is looked at again."""


def tree_classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a DecisionTreeClassifier."""
    return _vote(step, blocks, graph, [step.model.tree_])


def forest_classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a RandomForestClassifier or ExtraTreesClassifier."""
    return _vote(step, blocks, graph, [estimator.tree_ for estimator in step.model.estimators_])


def tree_regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a DecisionTreeRegressor."""
    return _mean(step, blocks, graph, [step.model.tree_])


def forest_regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a RandomForestRegressor or ExtraTreesRegressor."""
    return _mean(step, blocks, graph, [estimator.tree_ for estimator in step.model.estimators_])


def boosting_classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a GradientBoostingClassifier; at a raw score of exactly zero it says the second class."""
    raw = _boost(step, blocks, graph)
    if not Outputs.of(step).binary:
        return outputs.softmax(graph, raw)
    if step.model.loss == "exponential":  # its raw score is half the log odds
        return outputs.logistic(graph, graph.node("Mul", raw, graph.constant(2.0, np.float64)), equal=True)
    return outputs.logistic(graph, raw, equal=True)


def boosting_regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a GradientBoostingRegressor."""
    return outputs.regression(graph, _boost(step, blocks, graph))


def read_tree(tree: Any, value: Rows, columns: NDArray[np.int64] | None = None) -> Tree:
    """Read scikit-learn's arrays of a tree, with what each leaf is to give, [nodes].

    `columns` are those that the tree was given, if not all.
    """
    nodes = np.arange(tree.node_count)
    leaf = tree.children_left < 0
    feature = np.where(leaf, 0, tree.feature).astype(np.int64)
    return Tree(
        feature=feature if columns is None else columns[feature],
        threshold=tree.threshold.astype(np.float64),
        left=np.where(leaf, nodes, tree.children_left),
        right=np.where(leaf, nodes, tree.children_right),
        missing_left=tree.missing_go_to_left.astype(bool),
        value=value,
    )


def _mean(step: Step, blocks: Blocks, graph: GraphWriter, sources: Sequence[Any]) -> Answer:
    answers = []
    for target in range(outputs.target_count(step.model)):
        trees = [read_tree(source, source.value[:, target, 0]) for source in sources]
        features = gather_features(step, blocks, graph, trees, Precision.WIDENED)
        total = chunked_sum(graph, features, trees, chunk=_CHUNK)
        answers.append(outputs.regression(graph, _divide(graph, total, len(trees))))
    return outputs.several(answers)


def _vote(step: Step, blocks: Blocks, graph: GraphWriter, sources: Sequence[Any]) -> Answer:
    """Vote on each target."""
    targets = range(len(Outputs.of(step).each()))
    return outputs.several([_vote_on(step, blocks, graph, sources, target) for target in targets])


def _vote_on(step: Step, blocks: Blocks, graph: GraphWriter, sources: Sequence[Any], place: int) -> Answer:
    """Add up each tree's shares of the classes and take the first largest.

    Small leaves make ties common enough to matter: two classes whose shares are equal but for the rounding of their
    sums. So the sums must round as scikit-learn's do: tree by tree, from the first to the last, class by class.
    """
    target = Outputs.of(step).each()[place]
    leaves = [np.flatnonzero(source.children_left < 0) for source in sources]
    shares = [source.value[leaf, place, : len(target.labels)] for source, leaf in zip(sources, leaves, strict=True)]
    if target.binary and all(np.isin(share, (0.0, 1.0)).all() for share in shares):
        return _count(step, blocks, graph, sources, place)
    # A leaf of a TreeEnsemble gives one number: here its own, by which the graph looks its shares up.
    trees = [read_tree(source, _numbered(source, leaf)) for source, leaf in zip(sources, leaves, strict=True)]
    features = gather_features(step, blocks, graph, trees, Precision.SINGLE)
    numbers = [leaf_sum(graph, features, [tree]) for tree in trees]
    mean = _divide(graph, _add_shares(graph, numbers, shares), len(trees))
    if target.binary and len(trees) <= _MOST:  # what nobody needs of `mean` is left out of the graph
        return replace(_weigh(graph, numbers, shares), pair=mean)
    return outputs.shares(graph, target, mean)


def _weigh(graph: GraphWriter, numbers: Sequence[str], shares: Sequence[Rows]) -> Answer:
    """Add up the shares of the second of two classes; those of the first only for rows that are nearly even.

    Both sums of every row would take a fifth of a forest's time, and hardly ever are rows so even that it matters.
    `numbers` and `shares` are those of _add_shares.
    """
    sums = []
    for start in range(0, len(numbers), _GROUP):
        group, tables = numbers[start : start + _GROUP], shares[start : start + _GROUP]
        second = graph.constant(np.concatenate(tables)[:, 1], np.float64)
        places = graph.flat(_places(graph, group, tables))
        found = graph.node("GatherElements", second, places, axis=0)  # of single numbers, thrice as fast as Gather
        terms = graph.node("Reshape", found, graph.constant([len(group), -1], np.int64))
        sums.append(graph.node("ReduceSum", terms, graph.constant([0], np.int64), keepdims=0))
    share = _divide(graph, graph.total(sums), len(numbers))
    larger = outputs.above(graph, share, 0.5)
    distance = graph.node("Abs", graph.node("Sub", share, graph.constant(0.5, np.float64)))

    def settle() -> str:
        near = graph.node("LessOrEqual", distance, graph.constant(_NEAR, np.float64))
        rows = graph.node("Compress", graph.node("Concat", *numbers, axis=1), near, axis=0)
        places = graph.node("Add", graph.cast(rows, TensorProto.INT32), graph.constant(_firsts(shares), np.int32))
        both = graph.node("Gather", graph.constant(np.concatenate(shares), np.float64), places, axis=0)
        # [rows, trees, 2] as [trees, rows, 2]: see _add_shares.
        terms = graph.node("Transpose", both, perm=[1, 0, 2])
        exact = graph.node("ReduceSum", terms, graph.constant([0], np.int64), keepdims=0)
        settled = outputs.argmax(graph, _divide(graph, exact, len(numbers)))
        return graph.node("ScatterElements", larger, graph.flat(graph.node("NonZero", near)), settled, axis=0)

    least = graph.node("ReduceMin", distance, keepdims=0)
    even = graph.node("LessOrEqual", least, graph.constant(_NEAR, np.float64))
    tall = graph.node("Reshape", share, graph.constant([-1, 1], np.int64))
    return Answer(graph.choose(even, settle, larger), tall)


def _count(step: Step, blocks: Blocks, graph: GraphWriter, sources: Sequence[Any], place: int) -> Answer:
    """Count votes for the second of two classes, if each leaf knows one only: whole numbers add up in any order."""
    trees = [read_tree(source, source.value[:, place, 1]) for source in sources]
    features = gather_features(step, blocks, graph, trees, Precision.SINGLE)
    votes = graph.cast(chunked_sum(graph, features, trees), TensorProto.DOUBLE)
    others = graph.node("Sub", graph.constant([[len(trees)]], np.float64), votes)
    shares = [_divide(graph, each, len(trees)) for each in (others, votes)]
    pair = graph.node("Concat", *shares, axis=1)
    return Answer(outputs.above(graph, votes, len(trees) / 2), shares[1], pair=pair)


def _numbered(tree: Any, leaves: NDArray[np.int64]) -> Rows:
    """Give each leaf its number as its value: [nodes]."""
    numbers = np.zeros(tree.node_count)
    numbers[leaves] = np.arange(len(leaves))
    return numbers


def _add_shares(graph: GraphWriter, numbers: Sequence[str], shares: Sequence[Rows]) -> str:
    """Look up the shares of each tree's leaf and add them up in the trees' order: [N, 1] per tree to [N, classes].

    ReduceSum along the first axis adds one row of the tensor after the other, as Sum does its inputs, but with far
    fewer nodes; in groups, so that a million rows at once do not need the leaves of all trees in memory.
    """
    total: list[str] = []
    for start in range(0, len(numbers), _GROUP):
        group, tables = numbers[start : start + _GROUP], shares[start : start + _GROUP]
        places = _places(graph, group, tables)
        found = graph.node("Gather", graph.constant(np.concatenate(tables), np.float64), places, axis=0)
        terms = graph.node("Concat", *total, found, axis=0) if total else found
        total = [graph.node("ReduceSum", terms, graph.constant([0], np.int64), keepdims=1)]
    return graph.node("Squeeze", *total, graph.constant([0], np.int64))


def _places(graph: GraphWriter, numbers: Sequence[str], tables: Sequence[Rows]) -> str:
    """Find leaves by their numbers in all trees' tables together: [N, 1] per tree to [trees, N]."""
    stacked = graph.node("Concat", *numbers, axis=0)
    tall = graph.node("Reshape", stacked, graph.constant([len(numbers), -1], np.int64))
    firsts = graph.constant(_firsts(tables).reshape(-1, 1), np.int32)
    return graph.node("Add", graph.cast(tall, TensorProto.INT32), firsts)


def _firsts(tables: Sequence[Rows]) -> NDArray[np.int64]:
    firsts: NDArray[np.int64] = np.cumsum([0, *(len(table) for table in tables[:-1])])
    return firsts


def _divide(graph: GraphWriter, tensor: str, count: int) -> str:
    return graph.node("Div", tensor, graph.constant(count, np.float64)) if count > 1 else tensor


def _boost(step: Step, blocks: Blocks, graph: GraphWriter) -> str:
    """Add the first guess and the trees, each times the learning rate: [N, 1], or [N, classes]."""
    model = step.model
    if not (isinstance(model.init_, DummyClassifier | DummyRegressor) or model.init_ == "zero"):
        raise step.refuse(
            f"starts from the estimator init={type(model.init_).__name__}: only init=None and 'zero' are converted"
        )
    # The guess is the same for every row, so any row will do to ask for it.
    first = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]  # noqa: SLF001
    columns = [
        [read_tree(stage.tree_, stage.tree_.value[:, 0, 0] * model.learning_rate) for stage in stages]
        for stages in model.estimators_.T
    ]
    trees = [tree for trees in columns for tree in trees]
    features = gather_features(step, blocks, graph, trees, Precision.WIDENED)
    sums = [chunked_sum(graph, features, trees, float(start)) for trees, start in zip(columns, first, strict=True)]
    return sums[0] if len(sums) == 1 else graph.node("Concat", *sums, axis=1)
