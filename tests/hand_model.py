"""The hand-built model, for tests of every floor."""

from collections.abc import Sequence

import pyarrow as pa

from tests.model_store.conftest import SIGNATURE, HandModel, make_conversion, make_sample

__all__ = ["SIGNATURE", "HandModel", "hand_scores", "make_conversion", "make_sample"]


def hand_scores(rows: Sequence[tuple[float | None, int, bool, str | None]]) -> list[float]:
    """Return the model's own probabilities for rows of (age, visits, member, plan)."""
    columns = [
        pa.array(cells, field.type)
        for cells, field in zip(zip(*rows, strict=True), SIGNATURE.input_schema, strict=True)
    ]
    table = pa.Table.from_arrays(columns, schema=SIGNATURE.input_schema)
    return HandModel().predict(table)["probability_leave"].to_pylist()
