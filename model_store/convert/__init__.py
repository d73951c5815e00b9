"""Converters: a trained model in, an ONNX graph that gives the same answers out.

Importing this package is light: the training libraries are imported by the converter that needs them, where models
are packaged; a process that serves never imports them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_store.convert.conversion import NULL_TEXT, Conversion
from model_store.signature import Override

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NULL_TEXT", "Conversion", "convert", "load_estimator"]

NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})


def convert(
    estimator: object, sample: "pd.DataFrame", *, overrides: Mapping[str, Override] = NO_OVERRIDES
) -> Conversion:
    """Convert a fitted estimator, with a sample of the rows it was trained on.

    `sample` holds the columns the estimator was fitted on, by name and with their types; more columns, such as the
    label, are dropped. `overrides` say of input columns, by name, what should not be inferred from the sample.
    EstimatorInvalidError and SampleInvalidError name the step or column at fault.
    """
    from model_store.convert.sklearn import convert_sklearn  # noqa: PLC0415 - scikit-learn only when used

    return convert_sklearn(estimator, sample, overrides)


def load_estimator(path: Path, *, trust_pickle: bool, trust_types: Sequence[str] = ()) -> object:
    """Load an estimator from a `.skops`, `.joblib` or `.pkl` file; the latter run code: only with `trust_pickle`.

    `trust_types` are types in a `.skops` file that skops does not trust itself. EstimatorInvalidError where trust
    is missing, and for a file that cannot be read.
    """
    from model_store.convert.loading import load  # noqa: PLC0415 - joblib and skops only when used

    return load(path, trust_pickle=trust_pickle, trust_types=trust_types)
