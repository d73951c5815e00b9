"""Which converter takes which estimator."""

from collections.abc import Callable
from typing import TypeAlias

from sklearn.base import is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
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
    SGDRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import columns, fallback, forests, histograms, linear
from model_store.convert.sklearn.features import Blocks
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step

Converter: TypeAlias = Callable[[Step, Blocks, GraphWriter], Answer]


def predict(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a fitted estimator, or a pipeline that ends in one: its input columns in, its answers out."""
    if isinstance(step.model, Pipeline):
        for name, model in step.model.steps[:-1]:
            blocks = columns.transform(step.inner(name, model), blocks, graph)
        return predict(step.inner(*step.model.steps[-1]), blocks, graph)
    stock = fallback.classifier if is_classifier(step.model) else fallback.regressor
    # By exact type: a subclass may predict differently.
    return _CONVERTERS.get(type(step.model), stock)(step, blocks, graph)


def final(step: Step) -> Step:
    """Return the step that answers: the last of a pipeline, or the estimator itself."""
    while isinstance(step.model, Pipeline):
        step = step.inner(*step.model.steps[-1])
    return step


_CONVERTERS: dict[type, Converter] = {
    DecisionTreeClassifier: forests.tree_classifier,
    DecisionTreeRegressor: forests.tree_regressor,
    ElasticNet: linear.regressor,
    ElasticNetCV: linear.regressor,
    ExtraTreeClassifier: forests.tree_classifier,
    ExtraTreeRegressor: forests.tree_regressor,
    ExtraTreesClassifier: forests.forest_classifier,
    ExtraTreesRegressor: forests.forest_regressor,
    GradientBoostingClassifier: forests.boosting_classifier,
    GradientBoostingRegressor: forests.boosting_regressor,
    HistGradientBoostingClassifier: histograms.classifier,
    HistGradientBoostingRegressor: histograms.regressor,
    Lasso: linear.regressor,
    LassoCV: linear.regressor,
    LinearRegression: linear.regressor,
    LinearSVC: linear.margins,
    LinearSVR: linear.regressor,
    LogisticRegression: linear.log_odds,
    LogisticRegressionCV: linear.log_odds,
    Perceptron: linear.margins,
    RandomForestClassifier: forests.forest_classifier,
    RandomForestRegressor: forests.forest_regressor,
    Ridge: linear.regressor,
    RidgeCV: linear.regressor,
    RidgeClassifier: linear.margins,
    RidgeClassifierCV: linear.margins,
    SGDClassifier: linear.one_against_rest,
    SGDRegressor: linear.regressor,
}
