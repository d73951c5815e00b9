"""DummyClassifier and DummyRegressor: the same answer for every row."""

from dataclasses import replace

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Block, Blocks, Table
from model_store.convert.sklearn.matrices import vector
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step


def classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a DummyClassifier that does not draw its answers at random."""
    model = step.model
    if isinstance(model.classes_, list):
        raise step.refuse("predicts several columns at once: wrap one DummyClassifier in MultiOutputClassifier")
    if model.strategy in {"stratified", "uniform"}:
        raise step.refuse(
            "draws its answers at random: fit it with strategy='prior', 'most_frequent' or 'constant'"
        )
    row = np.zeros((1, 1))  # a dummy looks at no column, so any will do to ask it
    label = np.flatnonzero(model.classes_ == model.predict(row)[0])
    shares = model.predict_proba(row)
    rows = every_row(graph, blocks[0])
    every = outputs.shares(graph, Outputs.of(step), graph.node("Gather", graph.constant(shares), rows, axis=0))
    return replace(every, prediction=graph.node("Gather", graph.constant(label, np.int64), rows, axis=0))


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a DummyRegressor."""
    values = graph.constant(vector(step.model.constant_).reshape(1, -1))
    rows = graph.node("Gather", values, every_row(graph, blocks[0]), axis=0)
    return outputs.regression(graph, rows, step.model.n_outputs_)


def every_row(graph: GraphWriter, block: Block) -> str:
    """Return the first code for every row, as many as a block has: [N] of int64."""
    shape = graph.node("Shape", block.codes if isinstance(block, Table) else block.tensor, start=0, end=1)
    return graph.node("Expand", graph.constant(0, np.int64), shape)
