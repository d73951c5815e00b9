"""The parity gate refuses what does not answer as the source, and says where to look."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from errors import ParityError, SampleInvalidError
from model_store.comparison import compare
from model_store.packages import read_package
from model_store.packaging import build_package
from model_store.parity import check_parity
from model_store.signature import Column, ColumnType, Signature
from model_store.trials import SAMPLE_ROWS, make_trials


def build(conversion, tmp_path, **options):
    return build_package(conversion, tmp_path / "package", **options)


def test_a_model_that_agrees_passes_with_its_report(packages):
    """The report travels in the package: rows compared, differences, flips."""
    parity = read_package(packages()).parity
    assert parity.max_abs_difference < 1e-12
    assert (parity.label_flips, parity.flips_per_million, parity.refused) == (0, 0, ())
    assert parity.tolerance == 1e-5


def test_a_difference_above_the_tolerance_leaves_nothing_behind(hand_conversion, tmp_path):
    """The folder never appears if the gate fails, and nor does anything beside it."""
    with pytest.raises(ParityError, match=r"off.* worst is 'probability_leave' with a difference of"):
        build(hand_conversion(graph={"bias": -2.0002}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_tolerance_can_be_given_and_holds_at_load_too(hand_conversion, tmp_path):
    """A package that was accepted with a wider tolerance can be opened with it."""
    info = build(hand_conversion(graph={"bias": -2.0002}), tmp_path, tolerance=1e-3)
    assert 1e-5 < info.parity.max_abs_difference < 1e-3
    assert info.parity.worst_column == "probability_leave"


def test_one_flipped_label_is_one_too_many(hand_conversion, tmp_path):
    """No tolerance excuses a label that changes."""
    with pytest.raises(ParityError, match="with another label in row"):
        build(hand_conversion(graph={"bias": -1.9}), tmp_path, tolerance=1.0)


@pytest.mark.parametrize(
    ("column", "difference"),
    [
        ("age", {"age": lambda cells: pc.fill_null(cells, 41.0)}),
        ("plan", {"plan": lambda cells: pc.fill_null(cells, "pro")}),
    ],
)
def test_blame_falls_on_the_column_whose_nulls_differ(conversion, tmp_path, column, difference):
    """Where only rows with nulls in one column are off, the message names it."""

    def predict(rows: pa.Table) -> pa.Table:
        for name, change in difference.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, name, change(rows[name]))
        return conversion.predict(rows)

    with pytest.raises(ParityError, match=f"only rows with nulls in '{column}' are off"):
        build(replace(conversion, predict=predict), tmp_path)


def test_blame_falls_on_unseen_categories(conversion, tmp_path):
    """Unseen categories are tried even if the sample has none."""

    def predict(rows: pa.Table) -> pa.Table:
        known = pc.is_in(rows["plan"], pa.array(["basic", "plus", "pro", None]))
        return conversion.predict(rows.set_column(3, "plan", pc.if_else(known, rows["plan"], "basic")))

    with pytest.raises(ParityError, match="only rows with an unseen category in 'plan' are off"):
        build(replace(conversion, predict=predict), tmp_path)


def test_blame_falls_on_values_at_tree_thresholds(conversion, tmp_path):
    """A label that flips only next to a threshold is found there, and the column named."""

    def predict(rows: pa.Table) -> pa.Table:
        age = rows["age"].to_numpy()
        beside = (age > 40.0) & (age <= np.nextafter(np.float32(40), np.float32(50)))
        return conversion.predict(
            rows.set_column(0, "age", pa.array(np.where(beside, 4000.0, age), from_pandas=True))
        )

    build(replace(conversion, predict=predict), tmp_path)  # no row of the sample is there
    with pytest.raises(ParityError, match="only rows with values at tree thresholds in 'age' are off"):
        build(replace(conversion, predict=predict, thresholds={"age": (40.0,)}), tmp_path)


@pytest.mark.parametrize(
    ("names", "says"), [(["age"], "column 'age' is"), (["age", "size"], "columns 'age' and 'size' are")]
)
def test_blame_falls_on_numbers_rounded_to_float32(names, says):
    """Where the source agrees with us on the cells' float32 values, that is what the model does to them."""
    random = np.random.default_rng(0)
    sample = pa.table({name: random.normal(1e5, 1e4, 2000) for name in ("age", "size")})
    signature = Signature(
        tuple(Column(name, ColumnType.DOUBLE, nullable=False) for name in sample.column_names),
        (Column("prediction", ColumnType.DOUBLE),),
    )
    sample = sample.cast(signature.input_schema)

    def total(rows):
        return pa.table({"prediction": pc.add(rows["age"], rows["size"])})

    def rounded(batch):
        rows = pa.Table.from_batches([batch])
        for place, name in enumerate(rows.column_names):
            if name in names:
                rows = rows.set_column(place, name, rows[name].cast(pa.float32()).cast(pa.float64()))
        return total(rows).to_batches()[0]

    trials = make_trials(sample, signature, total)
    with pytest.raises(ParityError, match=f"they agree once {says} rounded to float32"):
        check_parity(trials, rounded, classifier=False, tolerance=1e-12, source=total)
    with pytest.raises(ParityError) as caught:
        check_parity(trials, rounded, classifier=False, tolerance=1e-12)
    assert "float32" not in str(caught.value)


def test_steps_that_another_converter_did_are_named(hand_conversion, tmp_path):
    """A suspect is a step without an exact builder; it is named whatever the rows say."""
    conversion = replace(hand_conversion(graph={"bias": -1.0}), stock_steps=("svm (SVC)",))
    with pytest.raises(ParityError, match=r"skl2onnx instead of exactly, and so suspect: svm \(SVC\)"):
        build(conversion, tmp_path)


def test_a_small_sample_is_filled_up(conversion, tmp_path):
    """The report says how many rows were given; the rest were made, most of them like those."""
    parity = build(conversion, tmp_path).parity
    assert parity.given == 300
    assert parity.rows > SAMPLE_ROWS
    groups = make_trials(conversion.sample, conversion.signature, conversion.predict).groups
    assert (groups[1].name, groups[1].stop) == ("rows made like the sample", SAMPLE_ROWS)


def test_numbers_that_are_not_taken_are_not_tried(conversion):
    """A threshold beyond a column's limit is none that serving would score."""
    inputs = (replace(conversion.signature.inputs[0], limit=100.0), *conversion.signature.inputs[1:])
    signature = replace(conversion.signature, inputs=inputs)
    thresholds = {"age": (99.0, 101.0, 1e300), "visits": (2.5, 1e30), "plan": (1.0,)}
    trials = make_trials(conversion.sample, signature, conversion.predict, thresholds)
    places = {group.column: group for group in trials.groups if "thresholds" in group.name}
    assert set(places) == {"age", "visits"}
    ages = trials.rows["age"].to_pylist()[places["age"].start : places["age"].stop]
    assert 98 < min(ages) <= max(ages) < 100
    assert trials.rows["visits"].to_pylist()[places["visits"].start : places["visits"].stop] == [2, 3]


def test_rows_the_source_refuses_are_reported_not_compared(conversion, tmp_path):
    """A source that raises for unseen categories has no answer to hold the graph to; the report says so."""

    def predict(rows: pa.Table) -> pa.Table:
        if not pc.all(pc.is_in(rows["plan"], pa.array(["basic", "plus", "pro", None]))).as_py():
            raise ValueError("Found unknown categories")
        return conversion.predict(rows)

    info = build(replace(conversion, predict=predict), tmp_path)
    assert info.parity.refused == ("an unseen category in 'plan'",)


def test_a_sample_without_rows_is_refused(conversion, tmp_path):
    """Nothing can be checked without a row to ask about."""
    with pytest.raises(SampleInvalidError, match="no rows"):
        build(replace(conversion, sample=conversion.sample.slice(0, 0)), tmp_path)


def test_a_sample_the_source_fails_on_is_refused(conversion, tmp_path):
    """The message is ours: what the source says may quote a cell."""

    def predict(rows: pa.Table) -> pa.Table:
        raise KeyError(rows["plan"][0].as_py())

    with pytest.raises(SampleInvalidError, match=r"fails on the sample \(KeyError\)"):
        build(replace(conversion, predict=predict), tmp_path)


def test_trials_are_bounded_and_the_same_each_time(conversion):
    """A large sample is thinned evenly, without chance."""
    sample = pa.concat_tables([conversion.sample] * 50)
    first, second = (make_trials(sample, conversion.signature, conversion.predict) for _ in range(2))
    assert first.groups[0].stop == SAMPLE_ROWS
    assert [group.name for group in first.groups[1:]] == [
        "tiny values in 'age'",
        "nulls in 'age'",
        "nulls in 'plan'",
        "nulls in every column that may have them",
        "an unseen category in 'plan'",
    ]
    assert first.rows.equals(second.rows)
    assert len(set(first.evenly(20))) == 20


def answers(**columns):
    return pa.table(columns)


def test_regressions_are_compared_relative_to_their_size():
    """A hundredth of a million is nothing; the same of a thousandth is everything."""
    large = compare(answers(prediction=[1e6, 2e6]), answers(prediction=[1e6 + 0.01, 2e6]), classifier=False)
    small = compare(answers(prediction=[1e-3, 2e-3]), answers(prediction=[1e-3 + 1e-5, 2e-3]), classifier=False)
    near_zero = compare(answers(prediction=[1e-20, 1.0]), answers(prediction=[3e-20, 1.0]), classifier=False)
    assert not large.failing(1e-5).any()
    assert small.failing(1e-5).tolist() == [True, False]
    assert not near_zero.failing(1e-5).any()


def test_numbers_that_are_none_are_equal_only_to_themselves():
    """NaN for NaN is agreement; NaN for a number, or another infinity, is not."""
    source = answers(prediction=[np.nan, np.nan, np.inf, np.inf])
    ours = answers(prediction=[np.nan, 1.0, np.inf, -np.inf])
    assert compare(source, ours, classifier=False).failing(1e-5).tolist() == [False, True, False, True]


def test_a_classifiers_numeric_labels_are_labels():
    """Labels that are numbers are compared as labels, however near they are."""
    comparison = compare(answers(prediction=[1.0, 2.0]), answers(prediction=[1.0, 2.0 + 1e-9]), classifier=True)
    assert comparison.flips["prediction"].tolist() == [False, True]
    assert comparison.failing(1.0).tolist() == [False, True]


def test_every_target_s_numeric_labels_are_labels():
    """A classifier of several targets has a prediction for each; its probabilities are numbers."""
    source = answers(prediction_1=[1.0, 2.0], probability_1_2=[0.1, 0.9], prediction_2=[3.0, 3.0])
    ours = answers(prediction_1=[1.0, 2.0], probability_1_2=[0.1, 0.9 + 1e-9], prediction_2=[3.0 + 1e-9, 3.0])
    comparison = compare(source, ours, classifier=True)
    assert set(comparison.flips) == {"prediction_1", "prediction_2"}
    assert comparison.failing(1e-5).tolist() == [True, False]
    assert comparison.worst(0, 1e-5) == ("prediction_2", None)
