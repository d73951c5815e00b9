"""Support vector machines agree with libsvm, label by label."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled

KERNELS = [
    {"kernel": "linear"},
    {"kernel": "rbf"},
    {"kernel": "poly", "degree": 3, "coef0": 0.5},
    {"kernel": "poly", "degree": 4, "gamma": 0.05},
    {"kernel": "sigmoid", "gamma": 0.05, "coef0": -0.1},
]


def plain(count=300, seed=0):
    """Make rows of three numbers."""
    return people(count, seed)[NUMBERS].fillna(90.0)


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize("machine", KERNELS)
def test_scores_and_labels_of_each_kernel(machine, labels):
    """The score has the source's sign; the vote between pairs of classes gives the source's label."""
    frame = people(300)
    model = scaled(SVC(**machine)).fit(frame, labels(frame))
    conversion = convert(model, frame)
    assert_agrees(conversion, strangers(1000))
    assert not conversion.stock_steps


@pytest.mark.parametrize("machine", [NuSVC(nu=0.3), SVC(C=50, class_weight="balanced"), SVC(break_ties=True)])
def test_other_machines_of_five_classes(machine):
    """Many classes have many pairs, and ties between them."""
    frame = people(300)
    labels = np.digitize(target(frame), np.quantile(target(frame), [0.2, 0.4, 0.6, 0.8]))
    assert_agrees(convert(scaled(machine).fit(frame, labels), frame), strangers(1000))


@pytest.mark.parametrize("labels", [two, three, lambda frame: target(frame) > 3])
def test_columns_far_from_zero(labels):
    """A gamma that follows the columns' variance keeps distances right where the columns' mean is far larger."""
    far = pd.Series({"amount": 1e4, "ratio": 0.0, "visits": -300.0})
    frame = plain() + far
    model = SVC().fit(frame, labels(people(300)))
    assert_agrees(convert(model, frame), plain(1000, 7) + far, tolerance=1e-9)


def test_a_single_column():
    """One column is multiplied, not matrix-multiplied."""
    frame = plain()[["ratio"]]
    assert_agrees(convert(SVC().fit(frame, two(people(300))), frame), plain(1000, 7)[["ratio"]])


def test_more_vectors_than_one_block():
    """Kernel values are computed block by block, so that many vectors do not need much memory."""
    frame = people(2500)
    model = scaled(SVC(C=0.1)).fit(frame, two(frame))
    assert len(model[-1].support_vectors_) > 1024
    assert_agrees(convert(model, frame), strangers())


def test_sparse_vectors():
    """A machine that learnt from a sparse matrix keeps its vectors in one."""
    frame = people(300)
    model = scaled(SVC())
    model[0].sparse_threshold = 1.0
    model.fit(frame, three(frame))
    assert hasattr(model[-1].support_vectors_, "toarray")
    assert_agrees(convert(model, frame), strangers(1000))


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize("kind", [SVC, NuSVC])
def test_probabilities_are_libsvm_s(kind, labels):
    """Platt's probabilities are coupled by libsvm's own iteration and never decide the label."""
    frame = people(250)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-learn 1.9 deprecates them
        machine = kind(probability=True, random_state=0)
        model = scaled(machine).fit(frame, labels(frame))
    conversion = convert(model, frame)
    assert all(column.name.startswith("probability_") for column in conversion.signature.outputs[1:])
    assert_agrees(conversion, strangers(1000))


def test_iris():
    """Measurements with one decimal, where rows coincide."""
    frame, labels = load_iris(return_X_y=True, as_frame=True)
    for machine in (SVC(), SVC(kernel="linear"), SVC(kernel="poly")):
        assert_agrees(convert(machine.fit(frame, labels), frame), frame)


@pytest.mark.parametrize("machine", KERNELS)
def test_regressors(machine):
    """A regressor's value is its score."""
    frame = people(300)
    for kind in (SVR, NuSVR):
        model = scaled(kind(**machine)).fit(frame, target(frame))
        assert_agrees(convert(model, frame), strangers(1000))


def test_scores_of_pairs_are_refused():
    """Columns are named after classes, so scores of pairs of classes have no names."""
    frame = people(300)
    model = scaled(SVC(decision_function_shape="ovo")).fit(frame, three(frame))
    with pytest.raises(EstimatorInvalidError, match="decision_function_shape='ovr'"):
        convert(model, frame)
    model[-1].set_params(decision_function_shape="ovr")
    assert_agrees(convert(model, frame), strangers(1000))


def test_a_kernel_of_one_s_own_is_refused():
    """Neither a Python function nor a precomputed kernel is in a file of rows."""
    frame = plain(200)
    model = SVC(kernel=lambda a, b: a @ b.T).fit(frame, two(people(200)))
    with pytest.raises(EstimatorInvalidError, match="kernel of its own"):
        convert(model, frame)
