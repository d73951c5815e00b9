"""HistGradientBoosting: trees that compare doubles, know missing values, and split categories by sets."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import encoders, outputs
from model_store.convert.sklearn.features import Blocks, Precision, select
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.trees import Tree, chunked_sum, gather_features

_WORD = 32  # bits per word of a node's set of categories


def classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a HistGradientBoostingClassifier."""
    raw = _raw(step, blocks, graph)
    return outputs.logistic(graph, raw) if Outputs.of(step).binary else outputs.softmax(graph, raw)


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a HistGradientBoostingRegressor; Poisson and gamma losses predict a logarithm."""
    raw = _raw(step, blocks, graph)
    if step.model.loss in {"poisson", "gamma"}:
        raw = graph.node("Exp", raw)
    return outputs.regression(graph, raw)


def _raw(step: Step, blocks: Blocks, graph: GraphWriter) -> str:
    """Add the baseline and the trees: [N, 1], or [N, classes]."""
    model = step.model
    blocks = _encode_categories(step, blocks, graph)
    # The fitted trees have no public form.
    rounds: Sequence[Sequence[Any]] = model._predictors  # noqa: SLF001 - see above
    columns = [[_read(predictor) for predictor in predictors] for predictors in zip(*rounds, strict=True)]
    features = gather_features(step, blocks, graph, [tree for trees in columns for tree in trees], Precision.DOUBLE)
    baseline = np.ravel(model._baseline_prediction).tolist()  # noqa: SLF001 - see above
    sums = [chunked_sum(graph, features, trees, first) for trees, first in zip(columns, baseline, strict=True)]
    return sums[0] if len(sums) == 1 else graph.node("Concat", *sums, axis=1)


def _encode_categories(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Do what the model does first itself: categories to codes, moved before the numbers."""
    categorical = step.model.is_categorical_
    if categorical is None:
        return blocks
    encoder = step.model._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 - it has no public name
    categories = select(graph, blocks, np.flatnonzero(categorical).tolist())
    numbers = select(graph, blocks, np.flatnonzero(~categorical).tolist())
    return (*encoders.ordinal(step.inner("encoder", encoder), categories, graph), *numbers)


def _read(predictor: Any) -> Tree:
    """Read a tree's nodes.

    A category is missing when null or not seen in training; the encoder makes both NaN, so that a set of codes and
    the side that NaN takes say all about a split of categories.
    """
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    numbers = np.arange(len(nodes))
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(leaf, numbers, nodes["left"]),
        right=np.where(leaf, numbers, nodes["right"]),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        members={
            int(node): _members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
            for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf)
        },
    )


def _members(words: Any) -> list[float]:
    """Read a set of codes: bit `code % 32` of word `code // 32`."""
    return [
        float(word * _WORD + bit) for word, bits in enumerate(words) for bit in range(_WORD) if int(bits) >> bit & 1
    ]
