"""Walk what prepares the columns: pipelines, ColumnTransformer, FeatureUnion, and the steps inside of them."""

from collections.abc import Callable
from typing import Any, TypeAlias

from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.impute._iterative import IterativeImputer  # its public name is there after an experimental import only
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import (
    distributions,
    encoders,
    fallback,
    imputers,
    projections,
    quantiles,
    scalers,
    selections,
)
from model_store.convert.sklearn.features import Blocks, select
from model_store.convert.sklearn.step import Step

Converter: TypeAlias = Callable[[Step, Blocks, GraphWriter], Blocks]


def transform(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a fitted transformer: the blocks before it in, the blocks after it out."""
    if step.model is None or (isinstance(step.model, str) and step.model == "passthrough"):
        return blocks
    # By exact type: a subclass may transform differently.
    converter = _CONVERTERS.get(type(step.model), fallback.transform)
    return converter(step, blocks, graph)


def _pipeline(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    for name, model in step.model.steps:
        blocks = transform(step.inner(name, model), blocks, graph)
    return blocks


def _column_transformer(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert each branch on its own columns; the results stand in the branches' order, the remainder last."""
    weights = step.model.transformer_weights or {}
    result: Blocks = ()
    for name, model, _ in step.model.transformers_:
        columns = input_columns(step.model, name)
        if columns and not (isinstance(model, str) and model == "drop"):
            inner = step.inner(name, model)
            branch = transform(inner, select(graph, blocks, columns), graph)
            result += scalers.weigh(inner, branch, graph, weights[name]) if name in weights else branch
    return result


def _feature_union(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    weights = step.model.transformer_weights or {}
    result: Blocks = ()
    for name, model in step.model.transformer_list:
        if isinstance(model, str) and model == "drop":
            continue
        inner = step.inner(name, model)
        branch = transform(inner, blocks, graph)
        result += scalers.weigh(inner, branch, graph, weights[name]) if name in weights else branch
    return result


def _function(step: Step, blocks: Blocks, _: GraphWriter) -> Blocks:
    """Convert the FunctionTransformer without a function: that is how a ColumnTransformer passes columns on."""
    if step.model.func is not None:
        raise step.refuse(
            "runs a Python function, which no graph can: do that before the file is written, or use a transformer "
            "of scikit-learn instead"
        )
    return blocks


def input_columns(transformer: Any, name: str) -> list[int]:
    """Return the places of the columns that a ColumnTransformer's branch takes."""
    # The selector itself may be a name, a list, a slice, a mask or a callable: scikit-learn keeps what it came to.
    return [int(column) for column in transformer._transformer_to_input_indices[name]]  # noqa: SLF001 - see above


def used_columns(model: Any, count: int) -> list[int]:
    """Return which of its `count` input columns an estimator reads at all: not those a ColumnTransformer drops."""
    while isinstance(model, Pipeline):
        model = model.steps[0][1]
    if not isinstance(model, ColumnTransformer):
        return list(range(count))
    branches = [
        name for name, branch, _ in model.transformers_ if not (isinstance(branch, str) and branch == "drop")
    ]
    return sorted({column for name in branches for column in input_columns(model, name)})


def gives_sparse(model: Any, *, given: bool) -> bool:
    """Say whether a fitted transformer gives a sparse matrix: it may make one, keep one `given`, or neither."""
    match model:
        case Pipeline():
            for _, inner in model.steps:
                given = gives_sparse(inner, given=given)
            return given
        case ColumnTransformer():
            return bool(model.sparse_output_)
        case FeatureUnion():
            return any(gives_sparse(inner, given=given) for _, inner in model.transformer_list)
        case OneHotEncoder() | SplineTransformer():
            return bool(model.sparse_output)
        case KBinsDiscretizer():
            return bool(model.encode == "onehot")
        case _:  # what decomposes a matrix into components gives a dense one, all others keep what they are given
            return given and not hasattr(model, "components_")


_CONVERTERS: dict[type, Converter] = {
    Binarizer: distributions.binary,
    ColumnTransformer: _column_transformer,
    FastICA: projections.independent,
    FeatureUnion: _feature_union,
    FunctionTransformer: _function,
    GaussianRandomProjection: projections.truncated,
    GenericUnivariateSelect: selections.support,
    IncrementalPCA: projections.principal,
    IterativeImputer: imputers.by_other_columns,
    KBinsDiscretizer: distributions.bins,
    KNNImputer: imputers.by_other_columns,
    MaxAbsScaler: scalers.max_abs,
    MinMaxScaler: scalers.min_max,
    MissingIndicator: imputers.indicator,
    Normalizer: distributions.unit,
    OneHotEncoder: encoders.one_hot,
    OrdinalEncoder: encoders.ordinal,
    PCA: projections.principal,
    Pipeline: _pipeline,
    PolynomialFeatures: projections.polynomial,
    PowerTransformer: distributions.power,
    QuantileTransformer: quantiles.quantile,
    RFE: selections.support,
    RFECV: selections.support,
    RobustScaler: scalers.robust,
    SelectFdr: selections.support,
    SelectFpr: selections.support,
    SelectFromModel: selections.support,
    SelectFwe: selections.support,
    SelectKBest: selections.support,
    SelectPercentile: selections.support,
    SequentialFeatureSelector: selections.support,
    SimpleImputer: imputers.simple,
    SparseRandomProjection: projections.truncated,
    StandardScaler: scalers.standard,
    TargetEncoder: encoders.target,
    TruncatedSVD: projections.truncated,
    VarianceThreshold: selections.support,
}
