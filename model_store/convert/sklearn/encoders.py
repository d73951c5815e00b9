"""One-hot, ordinal and target encoders: tables of what the fitted encoder itself says of each value.

An encoder treats each column on its own and knows finitely many values, so asking it about each of them, about a
null and about a value it has not seen says all there is to know: dropped, grouped and missing categories included.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.choices import choose
from model_store.convert.sklearn.features import Blocks, Rows, Table, Values, single
from model_store.convert.sklearn.step import Step


def one_hot(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a OneHotEncoder."""
    _check_unknown(step, blocks, "set_params(handle_unknown='ignore')")
    # scikit-learn has no public word for how many columns each feature becomes.
    return _encode(step, blocks, graph, step.model._n_features_outs)  # noqa: SLF001 - see above


def ordinal(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert an OrdinalEncoder."""
    _check_unknown(step, blocks, "set_params(handle_unknown='use_encoded_value', unknown_value=-1)")
    return _encode(step, blocks, graph, [1] * len(step.model.categories_))


def target(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a TargetEncoder: a column per class if there are more than two, else one."""
    features = len(step.model.categories_)
    return _encode(step, blocks, graph, [len(step.model.encodings_) // features] * features)


def _check_unknown(step: Step, blocks: Blocks, remedy: str) -> None:
    """Refuse an encoder that fails on what it has not seen: one such cell would fail all rows scored with it."""
    if step.model.handle_unknown == "error" and not all(isinstance(block, Table) for block in blocks):
        raise step.refuse(f"fails on categories it has not seen: call its {remedy}, which needs no new fit")


def _encode(step: Step, blocks: Blocks, graph: GraphWriter, widths: Sequence[int]) -> Blocks:
    columns = zip(single(graph, blocks), step.model.categories_, strict=True)
    choices = [choose(graph, block, categories.tolist()) for block, categories in columns]
    answers = _ask(step, [choice.meanings for choice in choices], widths)
    return tuple(Table(choice.codes, rows) for choice, rows in zip(choices, answers, strict=True))


def _ask(step: Step, values: Sequence[Values], widths: Sequence[int]) -> list[Rows]:
    """Transform each column's values, all columns at once; return each column's rows, [values, width]."""
    height = max(len(column) for column in values)
    names = getattr(step.model, "feature_names_in_", range(len(values)))
    frame = pd.DataFrame(
        {
            # Shorter columns are filled up with their first value: each column is encoded without its neighbours.
            name: pd.Series(
                np.concatenate([column, np.repeat(column[:1], height - len(column))]), dtype=column.dtype
            )
            for name, column in zip(names, values, strict=True)
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unknown values are asked about on purpose
        encoded = step.model.transform(frame)
    table = encoded.tocsc() if hasattr(encoded, "tocsc") else np.asarray(encoded)
    parts = [
        table[: len(column), stop - width : stop]
        for column, width, stop in zip(values, widths, np.cumsum(widths).tolist(), strict=True)
    ]
    return [np.asarray(part.toarray() if hasattr(part, "toarray") else part, dtype=np.float64) for part in parts]
