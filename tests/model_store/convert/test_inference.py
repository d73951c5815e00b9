"""The signature is found out by asking, and what cannot be served is refused by name."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert import convert
from model_store.signature import Column, ColumnType, Override
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers, three, two
from tests.model_store.convert.pipelines import scaled

SINGLE = float(np.finfo(np.float32).max)
LARGEST = float(np.finfo(np.float64).max)
"""What columns take whose infinities scikit-learn refuses."""


def fitted(frame, labels=None, estimator=None):
    """Fit a model that refuses nulls."""
    return (LogisticRegression(max_iter=2000) if estimator is None else estimator).fit(
        frame, two(people()) if labels is None else labels
    )


def test_types_and_nulls_are_what_the_source_takes():
    """An imputed integer is a double that may be null; strings and doubles are nullable; booleans are not."""
    frame = people()
    conversion = convert(scaled(LogisticRegression()).fit(frame, two(frame)), frame.assign(label=two(frame)))
    assert conversion.signature.inputs == (
        Column("amount", ColumnType.DOUBLE, limit=LARGEST),
        Column("ratio", ColumnType.DOUBLE, limit=LARGEST),
        Column("visits", ColumnType.DOUBLE, limit=LARGEST),
        Column("member", ColumnType.BOOLEAN, nullable=False),
        Column("city", ColumnType.STRING),
        Column("plan", ColumnType.STRING),
    )
    assert conversion.sample.schema.equals(conversion.signature.input_schema)
    assert conversion.sample.num_rows == len(frame)
    assert conversion.sample["city"].null_count == frame["city"].isna().sum()


def test_an_estimator_that_refuses_nulls_has_columns_without():
    """Integers then stay integers."""
    frame = people()[["ratio", "visits"]]
    conversion = convert(fitted(frame), frame)
    assert conversion.signature.inputs == (
        Column("ratio", ColumnType.DOUBLE, nullable=False, limit=LARGEST),
        Column("visits", ColumnType.LONG, nullable=False),
    )
    assert_agrees(conversion, strangers())


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (two, ColumnType.STRING, ["prediction", "probability_stays"]),
        (lambda f: two(f) == "stays", ColumnType.BOOLEAN, ["prediction", "probability_true"]),
        (lambda f: (two(f) == "stays").astype(int), ColumnType.LONG, ["prediction", "probability_1"]),
        (lambda f: (two(f) == "stays") * 1.0, ColumnType.DOUBLE, ["prediction", "probability_1.0"]),
        (lambda f: two(f).astype(object), ColumnType.STRING, ["prediction", "probability_stays"]),
        (three, ColumnType.LONG, ["prediction", "probability_0", "probability_10", "probability_20"]),
    ],
)
def test_outputs_are_named_by_the_user_s_labels(labels, kind, names):
    """Two classes have one probability, more have one each; predictions are the labels themselves."""
    frame = people()[["ratio", "visits"]]
    conversion = convert(fitted(frame, labels(people())), frame)
    assert [column.name for column in conversion.signature.outputs] == names
    assert conversion.signature.outputs[0].type is kind
    assert set(assert_agrees(conversion, strangers())["prediction"]) == set(conversion.labels)


@pytest.mark.parametrize(
    "dtypes",
    [
        {"amount": "float32", "visits": "int8", "city": "string"},
        {"amount": "Float64", "visits": "Int64", "city": "category"},
        {"amount": object, "visits": object, "city": object},
    ],
)
def test_other_dtypes_are_the_same_four_types(dtypes):
    """However pandas holds a column, files hold doubles, integers, booleans and strings."""
    frame = people()
    frame["city"] = frame["city"].fillna("none")  # pandas.NA is no value that an imputer knows
    frame = frame.astype(dtypes)
    conversion = convert(scaled(LogisticRegression()).fit(frame, two(people())), frame)
    types = {column.name: column.type for column in conversion.signature.inputs}
    assert types["amount"] is ColumnType.DOUBLE
    assert types["city"] is ColumnType.STRING
    assert_agrees(conversion, strangers().fillna({"city": "none"}))


def test_an_estimator_fitted_on_an_array_takes_the_sample_s_columns_in_order():
    """Without names of its own, the estimator knows its columns by their places."""
    frame = people()[["ratio", "visits"]]
    model = fitted(frame.to_numpy(), estimator=RandomForestClassifier(5, random_state=0))
    assert_agrees(convert(model, frame), strangers())
    with pytest.raises(SampleInvalidError, match=r"3 columns and the estimator was fitted on 2"):
        convert(model, frame.assign(label=1))


def test_a_finished_search_is_its_best_estimator():
    """What predicts is what the search refitted."""
    frame = people()[["ratio", "visits"]]
    search = GridSearchCV(LogisticRegression(max_iter=2000), {"C": [0.1, 1]}, cv=2)
    assert_agrees(convert(fitted(frame, estimator=search), frame), strangers())


@pytest.mark.parametrize(
    ("estimator", "says"),
    [
        (LogisticRegression(), "not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "not fitted"),
        (LogisticRegression, "no scikit-learn estimator"),
        ({"model": 1}, "no scikit-learn estimator"),
    ],
)
def test_what_is_no_fitted_estimator_is_refused(estimator, says):
    """The message says what it is and what to do."""
    with pytest.raises(EstimatorInvalidError, match=says):
        convert(estimator, people())


def test_a_step_that_is_not_fitted_is_named():
    """A pipeline put together by hand may hold one; scikit-learn looks at its last step only."""
    frame = people()[["ratio", "visits"]]
    model = make_pipeline(StandardScaler(), fitted(frame))
    with pytest.raises(EstimatorInvalidError, match="StandardScaler instance is not fitted"):
        convert(model, frame)


def test_an_estimator_that_does_not_predict_is_refused():
    """A transformer does not, nor does a clusterer that only knows the rows it was fitted on."""
    frame = people()[["ratio", "visits"]]
    with pytest.raises(EstimatorInvalidError, match="neither a classifier nor a regressor"):
        convert(StandardScaler().fit(frame), frame)
    with pytest.raises(EstimatorInvalidError, match="use KMeans"):
        convert(DBSCAN().fit(frame), frame)


def test_a_classifier_of_one_class_is_refused():
    """It has no second probability to give."""
    frame = people()[["ratio", "visits"]]
    model = RandomForestClassifier(2).fit(frame, np.zeros(len(frame)))
    with pytest.raises(EstimatorInvalidError, match="only one class"):
        convert(model, frame)


def test_a_sample_must_have_the_estimator_s_columns():
    """A missing column is named; columns too many are dropped."""
    frame = people()[["ratio", "visits"]]
    with pytest.raises(SampleInvalidError, match="'visits'") as caught:
        convert(fitted(frame), frame.drop(columns="visits"))
    assert caught.value.column == "visits"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.set_axis([0, 1], axis=1), "text"),
        (lambda f: f.set_axis(["", "b"], axis=1), "text"),
        (lambda f: f.set_axis(["ratio", "ratio"], axis=1), "two columns"),
        (lambda f: f.head(0), "no rows"),
        (lambda f: f.to_numpy(), "DataFrame"),
        (lambda f: f.assign(visits=pd.Timestamp("2026-01-01")), "'visits'"),
        (lambda f: f.assign(visits=[(1, 2)] * len(f)), "'visits'"),
        (lambda f: f.assign(visits=["a", 1.5] * (len(f) // 2)), "'visits'"),
        (lambda f: f.assign(visits=[True, None] * (len(f) // 2)), "'visits'.*booleans and nulls"),
        (lambda f: f.assign(visits="secret"), "fails on rows of the sample.*other cells in column 'visits'"),
        (lambda f: f.assign(visits="secret", ratio="secret"), r"fails on rows of the sample \(ValueError\): pass"),
        (lambda f: f.assign(ratio=f["ratio"].replace(f["ratio"][7], np.inf)), r"'ratio'.*infinite.*rows: 1\)"),
        (lambda f: f.assign(ratio=[np.nan, 1.0] * (len(f) // 2)), "'ratio'.*nulls"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(change, says):
    """The message names the column and the remedy, and no values."""
    frame = people()[["ratio", "visits"]]
    with pytest.raises(SampleInvalidError, match=says) as caught:
        convert(fitted(frame), change(frame))
    assert "secret" not in str(caught.value)


def test_a_sample_with_categories_the_estimator_refuses_is_refused():
    """Not one row of it could be answered beside them; the message counts them and quotes none."""
    frame = people().dropna()[["city", "ratio"]]
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, two(people()).take(frame.index))
    other = frame.assign(city=frame["city"].where(frame["ratio"] < 2, "secret"))
    with pytest.raises(SampleInvalidError, match=r"'city'.*categories.*rows: \d+\)") as caught:
        convert(model, pd.concat([frame, other]))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_dates_are_refused_where_they_are_read(unit):
    """A date that the model drops is no input; one that it reads has to be a number."""
    frame = people()[["ratio"]].assign(
        day=pd.Series(pd.date_range("2026-01-01", periods=1200)).astype(f"M8[{unit}]")
    )
    columns = [("ratio", StandardScaler(), ["ratio"])]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(frame, two(people()))
    assert [column.name for column in convert(model, frame).signature.inputs] == ["ratio"]
    days = ColumnTransformer([*columns, ("day", OneHotEncoder(handle_unknown="ignore"), ["day"])])
    with pytest.raises(SampleInvalidError, match=r"'day'.*dates or times.*days since") as caught:
        convert(make_pipeline(days, LogisticRegression()).fit(frame, two(people())), frame)
    assert caught.value.column == "day"


@pytest.fixture(scope="module")
def imputed():
    """Fit a pipeline that fills nulls, on a column of each kind."""
    frame = people()
    return scaled(LogisticRegression(max_iter=2000)).fit(frame, two(frame))


def column_of(model, frame, name, said):
    conversion = convert(model, frame, overrides={name: said})
    return conversion, next(column for column in conversion.signature.inputs if column.name == name)


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("visits", Override(ColumnType.LONG), Column("visits", ColumnType.LONG, nullable=False)),
        ("visits", Override(ColumnType.INTEGER), Column("visits", ColumnType.INTEGER, nullable=False)),
        ("visits", Override(nullable=False), Column("visits", ColumnType.LONG, nullable=False)),
        ("visits", Override(ColumnType.FLOAT), Column("visits", ColumnType.FLOAT, limit=SINGLE)),
        ("ratio", Override(ColumnType.FLOAT), Column("ratio", ColumnType.FLOAT, limit=SINGLE)),
        ("ratio", Override(required=False), Column("ratio", ColumnType.DOUBLE, required=False, limit=LARGEST)),
        ("ratio", Override(nullable=False), Column("ratio", ColumnType.DOUBLE, nullable=False, limit=LARGEST)),
        ("plan", Override(categories=("pro",)), Column("plan", ColumnType.STRING, categories=("pro",))),
        ("plan", Override(ColumnType.STRING, required=True), Column("plan", ColumnType.STRING)),
    ],
)
def test_what_is_said_of_a_column_is_not_inferred(imputed, name, said, expected):
    """Other types are cast inside the graph, so that a cell means to it what it means to the source."""
    frame = people()
    conversion, column = column_of(imputed, frame, name, said)
    assert column == expected
    assert conversion.sample.schema.field(name).type == expected.type.arrow
    assert_agrees(conversion, strangers(500).dropna() if not expected.nullable else strangers(500))


@pytest.mark.parametrize(
    ("name", "said", "says"),
    [
        ("visits", Override(ColumnType.STRING), "cannot be string.*fitted on long"),
        ("plan", Override(ColumnType.DOUBLE), "cannot be double.*fitted on string"),
        ("member", Override(ColumnType.LONG), "cannot be long.*fitted on boolean"),
        ("ratio", Override(ColumnType.LONG), "cannot be long: the sample has other numbers"),
        ("ratio", Override(ColumnType.DATETIME), "cannot be datetime"),
        ("visits", Override(ColumnType.LONG, nullable=True), "no null integer: make it double"),
        ("member", Override(nullable=True), "cannot be nullable"),
        ("member", Override(required=False), "cannot be optional"),
        ("visits", Override(ColumnType.LONG, required=False), "cannot be optional"),
        ("visits", Override(categories=("a",)), "cannot have categories"),
        ("amount", Override(nullable=False), "has nulls, which the signature you asked for does not take"),
        ("label", Override(nullable=False), "no input column 'label'"),
    ],
)
def test_what_cannot_be_said_of_a_column_is_refused(imputed, name, said, says):
    """The error names the column and why the estimator does not bear it out."""
    with pytest.raises(SampleInvalidError, match=says) as caught:
        convert(imputed, people().assign(label=1), overrides={name: said})
    assert caught.value.column == name


def test_nulls_cannot_be_asked_of_an_estimator_that_has_no_answer():
    """Saying so does not make it so."""
    frame = people()[["ratio", "visits"]]
    with pytest.raises(SampleInvalidError, match=r"'ratio' cannot be nullable.*imputer"):
        convert(fitted(frame), frame, overrides={"ratio": Override(nullable=True)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age:double", ("age", Override(ColumnType.DOUBLE))),
        ("a:b,c:long, not-nullable", ("a:b,c", Override(ColumnType.LONG, nullable=False))),
        ("age:optional,nullable", ("age", Override(required=False, nullable=True))),
        ("age:required,datetime", ("age", Override(ColumnType.DATETIME, required=True))),
    ],
)
def test_overrides_are_read_from_text(text, expected):
    """The name is what is before the last colon, so that it may hold any character."""
    assert Override.parse(text) == expected


@pytest.mark.parametrize("text", ["age", "age:", ":double", "age:duble", "age:double,long", "age:double,,"])
def test_text_that_is_no_override_is_refused(text):
    """The message says what can be written."""
    with pytest.raises(SampleInvalidError, match="such as boolean"):
        Override.parse(text)


def test_limits_are_what_the_source_takes():
    """Infinities where it takes them, float32's range for forests, and about that behind a scaler."""
    frame = people()[NUMBERS].fillna(0.0)
    labels = two(people())
    cases = [
        (HistGradientBoostingClassifier(max_iter=2), None, None),
        (RandomForestClassifier(2), 3.4028235e38, 3.4028236e38),
        (make_pipeline(StandardScaler(), RandomForestClassifier(2)), 3.4e38, 3.4028236e38 * 64),
        (LogisticRegression(max_iter=2000), LARGEST, LARGEST),
    ]
    for model, low, high in cases:
        conversion = convert(model.fit(frame, labels), frame)
        limit = conversion.signature.inputs[0].limit
        assert conversion.signature.inputs[2].limit is None or conversion.signature.inputs[2].nullable
        if low is None:
            assert limit is None
            continue
        assert low <= limit <= high
        row = frame.head(1).assign(amount=limit)
        with np.errstate(over="ignore"):
            model.predict(row)
            with pytest.raises(ValueError, match="infinity"):
                model.predict(row.assign(amount=limit * 2.01 if limit < LARGEST else np.inf))


def test_an_input_named_like_an_output_is_refused():
    """A graph has one tensor of each name."""
    frame = people()[["ratio", "visits"]].rename(columns={"visits": "prediction"})
    with pytest.raises(SampleInvalidError, match="name of an output"):
        convert(fitted(frame), frame)


def test_texts_that_no_step_encodes_are_refused():
    """The message names the column and the step that is given it."""
    frame = people()[["city", "ratio"]].dropna()
    model = make_pipeline(SimpleImputer(strategy="most_frequent"), HistGradientBoostingClassifier(max_iter=2))
    numbers = frame.assign(city=1.0)
    model.fit(numbers, two(people().loc[frame.index]))
    with pytest.raises((EstimatorInvalidError, SampleInvalidError)):
        convert(model, frame)


def test_a_pipeline_of_one_step_and_column_names_of_any_kind():
    """Names with spaces, dots and letters of any alphabet are the tensors' names."""
    frame = people()[NUMBERS].fillna(0).set_axis(["größe in m²", "a.b/c", "constant_0"], axis=1)
    model = make_pipeline(LogisticRegression(max_iter=2000)).fit(frame, two(people()))
    conversion = convert(model, frame)
    assert [column.name for column in conversion.signature.inputs] == list(frame.columns)
    assert_agrees(conversion, frame)


def test_a_high_cardinality_column():
    """Thousands of categories are one lookup."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"zip": random.integers(0, 3000, 6000).astype(str)})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=50))
    conversion = convert(model.fit(frame, random.integers(0, 2, 6000)), frame)
    assert_agrees(conversion, pd.DataFrame({"zip": random.integers(0, 4000, 2000).astype(str)}))
