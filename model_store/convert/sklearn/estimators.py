"""Which converter takes which estimator."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from sklearn.base import is_classifier, is_regressor
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from model_store.convert import boosters
from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import (
    clusters,
    columns,
    composites,
    fallback,
    forests,
    histograms,
    linear,
    outliers,
)
from model_store.convert.sklearn.features import Blocks
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step, unwrapped

Converter: TypeAlias = Callable[[Step, Blocks, GraphWriter], Answer]


def predict(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a fitted estimator, or a pipeline that ends in one: its input columns in, its answers out."""
    step = unwrapped(step)
    if isinstance(step.model, Pipeline):
        sparse = step.sparse
        for name, model in step.model.steps[:-1]:
            blocks = columns.transform(step.inner(name, model), blocks, graph)
            sparse = columns.gives_sparse(model, given=sparse)
        return predict(replace(step.inner(*step.model.steps[-1]), sparse=sparse), blocks, graph)
    if booster := boosters.converter(step.model):
        answer: Answer = booster.predict(step, blocks, graph)
        return answer
    # By exact type: a subclass may predict differently.
    if composite := composites.CONVERTERS.get(type(step.model)):
        return composite(step, blocks, graph, predict)
    return _CONVERTERS.get(type(step.model), _stock)(step, blocks, graph)


def _stock(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    if is_classifier(step.model):
        return fallback.classifier(step, blocks, graph)
    if is_regressor(step.model):
        return fallback.regressor(step, blocks, graph)
    raise step.refuse("has no converter: use KMeans to find clusters, an IsolationForest to find outliers")


_CONVERTERS: dict[type, Converter] = {
    BisectingKMeans: clusters.halving,
    DecisionTreeClassifier: forests.tree_classifier,
    DecisionTreeRegressor: forests.tree_regressor,
    ElasticNet: linear.regressor,
    ElasticNetCV: linear.regressor,
    EllipticEnvelope: outliers.elliptic_envelope,
    ExtraTreeClassifier: forests.tree_classifier,
    ExtraTreeRegressor: forests.tree_regressor,
    ExtraTreesClassifier: forests.forest_classifier,
    ExtraTreesRegressor: forests.forest_regressor,
    GradientBoostingClassifier: forests.boosting_classifier,
    GradientBoostingRegressor: forests.boosting_regressor,
    HistGradientBoostingClassifier: histograms.classifier,
    HistGradientBoostingRegressor: histograms.regressor,
    IsolationForest: outliers.isolation_forest,
    KMeans: clusters.nearest_center,
    Lasso: linear.regressor,
    LassoCV: linear.regressor,
    LinearRegression: linear.regressor,
    LinearSVC: linear.margins,
    LinearSVR: linear.regressor,
    LogisticRegression: linear.log_odds,
    LogisticRegressionCV: linear.log_odds,
    MiniBatchKMeans: clusters.nearest_center,
    Perceptron: linear.margins,
    RandomForestClassifier: forests.forest_classifier,
    RandomForestRegressor: forests.forest_regressor,
    Ridge: linear.regressor,
    RidgeCV: linear.regressor,
    RidgeClassifier: linear.margins,
    RidgeClassifierCV: linear.margins,
    SGDClassifier: linear.one_against_rest,
    SGDOneClassSVM: outliers.linear_one_class,
    SGDRegressor: linear.regressor,
}
