"""One-hot, ordinal and target encoders: tables of what the fitted encoder itself says of each value.

An encoder treats each column on its own and knows finitely many values, so asking it about each of them, about a
null and about a value it has not seen says all there is to know: dropped, grouped and missing categories included.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.choices import Choice, choose
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Rows, Table, Texts, Values, single
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
    """Refuse an encoder of numbers that fails on what it has not seen: one such cell would fail all rows."""
    if step.model.handle_unknown == "error" and any(isinstance(block, Numbers) for block in blocks):
        raise step.refuse(f"fails on numbers it has not seen: call its {remedy}, which needs no new fit")


def _encode(step: Step, blocks: Blocks, graph: GraphWriter, widths: Sequence[int]) -> Blocks:
    columns = list(zip(single(graph, blocks), step.model.categories_, strict=True))
    choices = [choose(graph, block, categories.tolist()) for block, categories in columns]
    meanings = [choice.meanings for choice in choices]
    unknown = [np.zeros(len(values), dtype=bool) for values in meanings]
    if getattr(step.model, "handle_unknown", None) == "error":
        for place, (choice, (block, categories)) in enumerate(zip(choices, columns, strict=True)):
            unknown[place] = _find_unknown(step, block, choice, categories.tolist(), graph)
            # It cannot be asked about what it refuses: that is given a value it knows, and loses the answer below.
            meanings[place] = np.where(unknown[place], categories[:1], meanings[place])
    tables = []
    for choice, rows, refused in zip(choices, _ask(step, meanings, widths), unknown, strict=True):
        rows[refused] = np.nan  # serving rejects such rows; whoever runs the graph without us should see no score
        tables.append(Table(choice.codes, rows))
    return tuple(tables)


def _find_unknown(
    step: Step, block: Block, choice: Choice, categories: list[object], graph: GraphWriter
) -> NDArray[np.bool_]:
    """Return which of a column's values an encoder refuses; texts of the input are noted, to be rejected."""
    texts = {category for category in categories if isinstance(category, str)}
    others = [category for category in categories if not isinstance(category, str)]
    known = np.array([value in texts or _is_among(value, others) for value in choice.meanings])
    if isinstance(block, Texts):
        allowed = frozenset(text for text, taken in zip(choice.texts, known, strict=False) if taken)
        graph.allowed[block.name] = graph.allowed.get(block.name, allowed) & allowed
    elif not (known | pd.isna(choice.meanings)).all():
        raise step.refuse("has not seen all values that the step before it can give: fit it on rows with each")
    return ~known


def _is_among(value: object, categories: list[object]) -> bool:
    """Say whether an encoder knows a value; to it, NaN and None are two."""
    if isinstance(value, float) and np.isnan(value):
        return any(isinstance(category, float) and np.isnan(category) for category in categories)
    if value is None or value is pd.NA:
        return any(category is value for category in categories)
    return value in categories


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
