"""Clusterers and outlier detectors agree with scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor

from errors import EstimatorInvalidError
from model_store.convert import convert
from model_store.signature import ColumnType
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers
from tests.model_store.convert.pipelines import filled, scaled


@pytest.mark.parametrize(
    "clusterer",
    [
        KMeans(4, n_init=1, random_state=0),
        MiniBatchKMeans(3, n_init=1, random_state=0),
        BisectingKMeans(5, random_state=0),
        KMeans(1, n_init=1),
        BisectingKMeans(1),
    ],
)
def test_clusters_and_distances_agree(clusterer):
    """A row's cluster is its number, and the distance to each center is beside it."""
    frame = people()
    conversion = convert(scaled(clusterer).fit(frame), frame)
    answers = assert_agrees(conversion, strangers())
    first, *others = conversion.signature.outputs
    assert (first.name, first.type) == ("prediction", ColumnType.LONG)
    assert [column.name for column in others] == [f"distance_{n}" for n in range(clusterer.n_clusters)]
    assert conversion.labels == ()
    assert len(np.unique(answers["prediction"])) == clusterer.n_clusters


def test_a_row_as_near_to_two_centers_belongs_to_the_first():
    """Whole numbers and halves are compared without rounding, so that ties are ties."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.integers(0, 6, (400, 3)).astype(float), columns=list("abc"))
    model = KMeans(4, n_init=1, random_state=0).fit(frame)
    model.cluster_centers_ = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0], [4, 4, 4]])
    answers = assert_agrees(convert(model, frame), frame)
    nearest, second = np.sort(np.stack([answers[f"distance_{n}"] for n in range(4)]), axis=0)[:2]
    assert (nearest == second).sum() > 20


@pytest.mark.parametrize("trees", [3, 10, 100])
@pytest.mark.parametrize("contamination", ["auto", 0.01, 0.1, 0.3])
def test_isolation_forests_agree_at_the_line(contamination, trees):
    """Rows exactly as deep as the training row on the line are no outliers."""
    frame, rows = (part.assign(visits=part["visits"] // 6, amount=1.0) for part in (people(), strangers()))
    frame["ratio"], rows["ratio"] = frame["ratio"].round(), rows["ratio"].round()
    forest = IsolationForest(n_estimators=trees, contamination=contamination, random_state=trees)
    conversion = convert(filled(forest).fit(frame), frame)
    answers = assert_agrees(conversion, rows)
    assert conversion.labels == (-1, 1)
    assert set(answers["prediction"]) == {-1, 1}
    assert ((answers["score"] < -1e-12) <= (answers["prediction"] == -1)).all()


def test_an_isolation_forest_of_some_columns_and_of_nulls():
    """Trees may look at some of the columns only, and know where nulls go."""
    frame = people()[NUMBERS]
    forest = IsolationForest(n_estimators=20, max_features=0.6, random_state=0).fit(frame)
    conversion = convert(forest, frame)
    assert conversion.signature.inputs[0].nullable
    assert_agrees(conversion, strangers()[NUMBERS])


@pytest.mark.parametrize("detector", [EllipticEnvelope(support_fraction=0.9, random_state=0), SGDOneClassSVM(0.1)])
def test_other_outlier_detectors_agree(detector):
    """Their scores are negative for outliers."""
    frame = people()
    answers = assert_agrees(convert(filled(detector).fit(frame), frame), strangers())
    assert ((answers["score"] < 0) == (answers["prediction"] == -1)).all()


def test_a_detector_without_a_converter_is_named():
    """The message says what to use instead."""
    frame = people()[NUMBERS].fillna(0)
    with pytest.raises(EstimatorInvalidError, match=r"LocalOutlierFactor.*use.*IsolationForest"):
        convert(LocalOutlierFactor(novelty=True).fit(frame.to_numpy()), frame)
