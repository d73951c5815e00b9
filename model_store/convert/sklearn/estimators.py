"""Which converter takes which estimator."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from sklearn.base import is_classifier, is_regressor
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
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
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from model_store.convert import boosters
from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import (
    clusters,
    columns,
    composites,
    constants,
    fallback,
    forests,
    histograms,
    likelihoods,
    linear,
    neighbours,
    outliers,
    perceptrons,
    vectors,
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


def _consensus(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a RANSACRegressor: the estimator that it fitted to the rows that agree."""
    return predict(step.inner("estimator_", step.model.estimator_), blocks, graph)


_CONVERTERS: dict[type, Converter] = {
    ARDRegression: linear.regressor,
    BayesianRidge: linear.regressor,
    BernoulliNB: likelihoods.bernoulli,
    BisectingKMeans: clusters.halving,
    ComplementNB: likelihoods.complement,
    DecisionTreeClassifier: forests.tree_classifier,
    DecisionTreeRegressor: forests.tree_regressor,
    DummyClassifier: constants.classifier,
    DummyRegressor: constants.regressor,
    ElasticNet: linear.regressor,
    ElasticNetCV: linear.regressor,
    EllipticEnvelope: outliers.elliptic_envelope,
    ExtraTreeClassifier: forests.tree_classifier,
    ExtraTreeRegressor: forests.tree_regressor,
    ExtraTreesClassifier: forests.forest_classifier,
    ExtraTreesRegressor: forests.forest_regressor,
    GammaRegressor: linear.exponential,
    GaussianNB: likelihoods.gaussian,
    GradientBoostingClassifier: forests.boosting_classifier,
    GradientBoostingRegressor: forests.boosting_regressor,
    HistGradientBoostingClassifier: histograms.classifier,
    HistGradientBoostingRegressor: histograms.regressor,
    HuberRegressor: linear.regressor,
    IsolationForest: outliers.isolation_forest,
    KMeans: clusters.nearest_center,
    KNeighborsClassifier: neighbours.classifier,
    KNeighborsRegressor: neighbours.regressor,
    Lars: linear.regressor,
    LarsCV: linear.regressor,
    Lasso: linear.regressor,
    LassoCV: linear.regressor,
    LassoLars: linear.regressor,
    LassoLarsCV: linear.regressor,
    LassoLarsIC: linear.regressor,
    LinearDiscriminantAnalysis: linear.log_odds,
    LinearRegression: linear.regressor,
    LinearSVC: linear.margins,
    LinearSVR: linear.regressor,
    LogisticRegression: linear.log_odds,
    LogisticRegressionCV: linear.log_odds,
    MiniBatchKMeans: clusters.nearest_center,
    MLPClassifier: perceptrons.classifier,
    MLPRegressor: perceptrons.regressor,
    MultinomialNB: likelihoods.multinomial,
    NuSVC: vectors.classifier,
    NuSVR: vectors.regressor,
    OrthogonalMatchingPursuit: linear.regressor,
    OrthogonalMatchingPursuitCV: linear.regressor,
    Perceptron: linear.margins,
    PLSRegression: linear.centred,
    PoissonRegressor: linear.exponential,
    QuadraticDiscriminantAnalysis: likelihoods.quadratic,
    QuantileRegressor: linear.regressor,
    RandomForestClassifier: forests.forest_classifier,
    RandomForestRegressor: forests.forest_regressor,
    RANSACRegressor: _consensus,
    Ridge: linear.regressor,
    RidgeClassifier: linear.margins,
    RidgeClassifierCV: linear.margins,
    RidgeCV: linear.regressor,
    SGDClassifier: linear.one_against_rest,
    SGDOneClassSVM: outliers.linear_one_class,
    SGDRegressor: linear.regressor,
    SVC: vectors.classifier,
    SVR: vectors.regressor,
    TheilSenRegressor: linear.regressor,
    TweedieRegressor: linear.exponential,
}
