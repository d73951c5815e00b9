"""SimpleImputer, for numbers in the graph and for texts as a change of what a text means."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from onnx import TensorProto
from sklearn.utils._mask import _get_mask
from sklearn.utils._missing import is_scalar_nan

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.choices import choose
from model_store.convert.sklearn.features import (
    Block,
    Blocks,
    Fill,
    Numbers,
    Table,
    Texts,
    Values,
    merge,
    select,
    spans,
)
from model_store.convert.sklearn.step import Step


def simple(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a SimpleImputer; the columns that say what was missing come last, as in scikit-learn."""
    imputer = step.model
    statistics = imputer.statistics_
    blocks = merge(graph, blocks)
    indicators: Blocks = ()
    if imputer.add_indicator:
        marked = select(graph, blocks, imputer.indicator_.features_.tolist())
        indicators = tuple(_indicate(graph, block, imputer.missing_values) for block in marked)
    if not imputer.keep_empty_features:
        # A column without any value when it was fitted has no statistic and is dropped.
        kept = np.flatnonzero(~_get_mask(statistics, np.nan)).tolist()
        blocks, statistics = select(graph, blocks, kept), statistics[kept]
    filled = (_fill(graph, block, imputer.missing_values, statistics[span]) for block, span in spans(blocks))
    return (*filled, *indicators)


def indicator(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a MissingIndicator."""
    marked = select(graph, merge(graph, blocks), step.model.features_.tolist())
    return tuple(_indicate(graph, block, step.model.missing_values) for block in marked)


def by_other_columns(step: Step, _: Blocks, __: GraphWriter) -> Blocks:
    """Refuse an imputer that fills one column by means of the others: a KNNImputer or IterativeImputer."""
    raise step.refuse(
        "fills a null by what the other columns say, which is not converted: fit a SimpleImputer, or a "
        "HistGradientBoosting model, which needs none"
    )


def _fill(graph: GraphWriter, block: Block, missing: object, statistics: Values) -> Block:
    if isinstance(block, Texts):
        fill = Fill(partial(_get_mask, value_to_mask=missing), missing, statistics[0])
        return replace(block, fills=(*block.fills, fill))
    numbers = statistics.astype(np.float64)
    if isinstance(block, Table):
        return Table(block.codes, np.where(_get_mask(block.rows, missing), numbers, block.rows))
    mask = _mask(graph, block, missing)
    return Numbers(graph.node("Where", mask, graph.constant(numbers), block.tensor), block.width)


def _indicate(graph: GraphWriter, block: Block, missing: object) -> Block:
    match block:
        case Numbers():
            return Numbers(graph.cast(_mask(graph, block, missing), TensorProto.DOUBLE), block.width)
        case Table():
            return Table(block.codes, _get_mask(block.rows, missing).astype(np.float64))
        case Texts():
            choice = choose(graph, block, [missing])
            return Table(choice.codes, _get_mask(choice.meanings, missing).astype(np.float64).reshape(-1, 1))


def _mask(graph: GraphWriter, block: Numbers, missing: object) -> str:
    """Say which cells are missing; a null number is NaN, so None and texts match none."""
    if missing is pd.NA or is_scalar_nan(missing):
        return graph.node("IsNaN", block.tensor)
    if isinstance(missing, int | float | np.number):
        return graph.node("Equal", block.tensor, graph.constant(float(missing), np.float64))
    return graph.node("And", graph.node("IsNaN", block.tensor), graph.constant(False))
