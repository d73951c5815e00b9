"""Numbers far beyond the sample are taken as far as the graph agrees with the source about them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.neighbors import KNeighborsClassifier

from errors import ParityError
from model_store import package
from model_store.extremes import narrow_limits
from model_store.model import OpenGraph
from model_store.packaging import build_package
from model_store.signature import ColumnType
from tests.model_store.convert.agreement import people, two
from tests.model_store.convert.pipelines import scaled


def limits(conversion, tmp_path, source):
    graph = tmp_path / "model.onnx"
    graph.write_bytes(conversion.graph)
    predict = OpenGraph(graph, conversion.signature, conversion.null_text).predict
    narrowed = narrow_limits(
        conversion.signature, conversion.sample, source, predict, classifier=True, tolerance=1e-5
    )
    return {column.name: column.limit for column in narrowed.inputs if column.limit is not None}


def test_a_graph_that_agrees_everywhere_has_no_limits(conversion, tmp_path):
    """Infinities and the largest integers get the source's answers too."""
    assert limits(conversion, tmp_path, conversion.predict) == {}


def test_the_limit_is_near_where_the_answers_part(conversion, tmp_path):
    """Where the source goes another way from some magnitude on, of either sign, larger cells are not taken."""

    def source(rows: pa.Table) -> pa.Table:
        strange = rows["age"].to_numpy() < -1e9
        return conversion.predict(rows.set_column(0, "age", pa.array(np.where(strange, 30.0, rows["age"]))))

    found = limits(conversion, tmp_path, source)
    assert found.keys() == {"age"}
    assert 0.8e9 < found["age"] <= 1e9


def test_integers_have_limits_as_well(conversion, tmp_path):
    """The difference may be in a column of whole numbers."""

    def source(rows: pa.Table) -> pa.Table:
        answers = conversion.predict(rows)
        strange = np.abs(rows["visits"].to_numpy().astype(float)) > 1e16
        odd = np.where(strange, 0.123, answers["probability_leave"])
        return answers.set_column(1, answers.schema.field(1), pa.array(odd))

    found = limits(conversion, tmp_path, source)
    assert found.keys() == {"visits"}
    assert 0.7e16 < found["visits"] <= 1e16


def test_a_difference_at_infinity_leaves_all_finite_numbers(conversion, tmp_path):
    """Where only infinities get other answers, no finite cell is lost."""

    def source(rows: pa.Table) -> pa.Table:
        strange = np.isinf(rows["age"].to_numpy())
        return conversion.predict(rows.set_column(0, "age", pa.array(np.where(strange, 30.0, rows["age"]))))

    assert limits(conversion, tmp_path, source) == {"age": np.finfo(np.float64).max}


def test_numbers_like_the_samples_are_never_narrowed_away(hand_conversion, tmp_path):
    """A graph that is off everywhere is not excused: the gate refuses it."""
    conversion = hand_conversion(graph={"weights": (0.0313, -0.1017, -0.987)})
    largest = np.nanmax(conversion.sample["visits"].to_numpy())
    assert limits(conversion, tmp_path, conversion.predict)["visits"] == largest
    with pytest.raises(ParityError):
        build_package(conversion, tmp_path / "package")


def test_a_source_that_refuses_more_than_it_said_leaves_the_limit(conversion, tmp_path):
    """There is no answer to agree with, so nothing to narrow to."""

    def source(rows: pa.Table) -> pa.Table:
        raise ValueError(rows.num_rows)

    assert limits(conversion, tmp_path, source) == {}


def test_a_package_keeps_its_limits(conversion, tmp_path):
    """What a column takes travels in the manifest and is part of the digest."""
    inputs = (replace(conversion.signature.inputs[0], limit=1000.0), *conversion.signature.inputs[1:])
    limited = replace(conversion, signature=replace(conversion.signature, inputs=inputs))
    first, second = build_package(conversion, tmp_path / "a"), build_package(limited, tmp_path / "b")
    assert [column.limit for column in second.signature.inputs] == [1000.0, None, None, None]
    assert first.digest != second.digest


def test_distances_tie_where_squares_overflow(tmp_path):
    """A nearest neighbour far out is an accident of arithmetic: the model is served, those cells are not taken."""
    frame = people(300)
    info = package(scaled(KNeighborsClassifier()).fit(frame, two(frame)), frame, tmp_path / "package")
    for column in info.signature.inputs:
        if column.type is ColumnType.DOUBLE:
            assert column.limit is not None
            assert 1e4 < column.limit < 1e308
    assert info.parity.label_flips == 0


@pytest.mark.parametrize("kind", [pa.float32(), pa.int32()])
def test_narrow_types_are_tried_within_their_bounds(conversion, kind):
    """No magnitude is tried that the column's own type cannot hold."""
    names = {pa.float32(): ColumnType.FLOAT, pa.int32(): ColumnType.INTEGER}
    column = replace(conversion.signature.inputs[1], type=names[kind])
    signature = replace(conversion.signature, inputs=(column,))
    seen = []

    def source(rows: pa.Table) -> pa.Table:
        seen.append(rows["visits"])
        return pa.table({"prediction": rows["visits"]})

    sample = pa.table({"visits": pa.array([1, 2, 3], kind)})
    kept = narrow_limits(
        signature,
        sample,
        source,
        lambda batch: batch.rename_columns(["prediction"]),
        classifier=False,
        tolerance=0.0,
    )
    assert kept == signature
    assert seen[0].type == kind
    assert len(pa.compute.unique(seen[0])) > 10
