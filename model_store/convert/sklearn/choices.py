"""See a column as a choice among finitely many values, and find in the graph which one each row has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model_store.convert.conversion import NULL_TEXT
from model_store.convert.graph import ML, GraphWriter
from model_store.convert.sklearn.features import Block, Numbers, Table, Texts, Values


@dataclass(frozen=True)
class Choice:
    """One column as a choice: of each known value, of a null, and of one value that stands for all others."""

    codes: str
    """[N] of int64: each row's place in `meanings`."""
    meanings: Values
    """What the source's next step is given for each."""
    texts: Sequence[str] = ()
    """Of a string column: the input's own texts that the first of `meanings` are for."""


def choose(graph: GraphWriter, block: Block, known: Iterable[object]) -> Choice:
    """See a block of one column as a choice among `known`, null and any other value."""
    match block:
        case Texts():
            return _choose_text(graph, block, known)
        case Numbers():
            return _choose_number(graph, block, known)
        case Table():
            return Choice(block.codes, block.rows[:, 0])


def _choose_text(graph: GraphWriter, block: Texts, known: Iterable[object]) -> Choice:
    """Tell texts apart by what the encoder knows, and by what an imputer before it takes for missing."""
    meant = [*known, *(fill.missing for fill in block.fills)]
    texts = sorted({str(text) for text in meant if isinstance(text, str)})
    other = _other_text(texts)
    values = np.empty(len(texts) + 2, dtype=object)
    values[:] = [*texts, *(block.nulls or (other,)), other]
    for fill in block.fills:
        values[fill.is_missing(values)] = fill.value
    return Choice(look_up(graph, block.tensor, texts), values, texts)


def look_up(graph: GraphWriter, tensor: str, texts: Sequence[str]) -> str:
    """Find strings, [N] or [N, 1], as codes, [N] of int64.

    Codes are 0, 1, ... for `texts`, the next for null, and the next for all others. This is the only place where a
    graph reads strings.
    """
    return _label_encoder(graph, tensor, np.array([*texts, NULL_TEXT], dtype=object))


def _other_text(texts: Sequence[str]) -> str:
    """Return a text that is none of `texts`."""
    other = "other"
    while other in texts:
        other += "_"
    return other


def _choose_number(graph: GraphWriter, block: Numbers, known: Iterable[object]) -> Choice:
    """NaN is what a null number is to the source; equal numbers are equal, whatever their types were."""
    numbers = {float(value) for value in known if isinstance(value, int | float | np.number | np.bool_)}
    keys = np.array([*sorted(number for number in numbers if not np.isnan(number)), np.nan])
    other = np.max(np.abs(keys[:-1]), initial=0.0) + 1.0
    return Choice(_label_encoder(graph, block.tensor, keys), np.append(keys, other))


def _label_encoder(graph: GraphWriter, tensor: str, keys: Values) -> str:
    found = graph.node(
        "LabelEncoder",
        tensor,
        domain=ML,
        keys_tensor=graph.attribute(keys),
        values_tensor=graph.attribute(np.arange(len(keys), dtype=np.int64)),
        default_tensor=graph.attribute(np.array([len(keys)], dtype=np.int64)),
    )
    return graph.flat(found)


def encode(graph: GraphWriter, block: Block, categories: Values) -> Table:
    """Turn a column of pandas' category dtype into its codes: NaN for null and for what is none of `categories`."""
    choice = choose(graph, block, categories.tolist())
    codes = {category: float(place) for place, category in enumerate(categories.tolist())}
    return Table(choice.codes, np.array([[codes.get(meaning, np.nan)] for meaning in choice.meanings.tolist()]))
