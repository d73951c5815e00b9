"""The fast graph of a package: kept only where it gives the very bits that the portable one gives."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from errors import PackageInvalidError
from model_store.convert.conversion import CodedGraph
from model_store.model import OpenGraph
from model_store.packages import FAST_EQUAL
from model_store.signature import Signature

_STRANGER = "∅ stranger"


def keep_if_equal(coded: CodedGraph, path: Path, portable: OpenGraph, signature: Signature, rows: pa.Table) -> str:
    """Write the coded graph at `path` if it answers as `portable` does; return FAST_EQUAL, or why it was left out.

    Both are asked about `rows`, in `signature`'s input schema, and about rows with every category of every coded
    column. `signature` has the coded columns' categories, `portable` the null text.
    """
    path.write_bytes(coded.graph)
    verdict = _compare(path, portable, signature, [rows, _with_every_category(rows, coded)])
    if verdict != FAST_EQUAL:
        path.unlink()
    return verdict


def _compare(path: Path, portable: OpenGraph, signature: Signature, tables: list[pa.Table]) -> str:
    try:
        fast = OpenGraph(path, signature, portable.null_text)
        for table in tables:
            batch = table.combine_chunks().to_batches()[0]
            wanted, given = portable.predict(batch), fast.predict(batch)
            for name in wanted.schema.names:
                differing = int((_bits(wanted[name]) != _bits(given[name])).sum())
                if differing:
                    return f"{differing} of {len(batch)} rows get another {name!r} than from the portable graph"
    except PackageInvalidError as error:
        return str(error)
    return FAST_EQUAL


def _with_every_category(rows: pa.Table, coded: CodedGraph) -> pa.Table:
    """Return rows in which each coded column has all of its categories, an unknown text and its share of nulls."""
    longest = max(len(categories) for categories in coded.categories.values()) + 1
    turns = np.arange(longest)
    made = rows.take(pa.array(turns % len(rows)))
    for name, categories in coded.categories.items():
        place = made.schema.get_field_index(name)
        texts = pa.array([*categories, _STRANGER]).take(pa.array(turns % (len(categories) + 1)))
        made = made.set_column(place, made.schema.field(place), texts)
    return made


def _bits(column: pa.Array) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Return an answer's values so that equal means equal to the last bit: NaN is itself, -0.0 is not 0.0."""
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = column.to_numpy(zero_copy_only=False)
    return values.view(f"i{values.dtype.itemsize}") if values.dtype.kind == "f" else values
