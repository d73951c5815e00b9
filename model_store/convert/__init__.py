"""Converters: a trained model in, an ONNX graph that gives the same answers out.

Importing this package is light: the training libraries are imported by the converter that needs them, where models
are packaged; a process that serves never imports them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from errors import EstimatorInvalidError
from model_store.convert.conversion import NULL_TEXT, Conversion
from model_store.convert.options import Meaning, ModelOptions, Vocabulary
from model_store.signature import Override

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NULL_TEXT", "Conversion", "Meaning", "ModelOptions", "Vocabulary", "convert", "load_estimator"]

NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})
NO_OPTIONS = ModelOptions()


def convert(
    estimator: object,
    sample: "pd.DataFrame",
    *,
    overrides: Mapping[str, Override] = NO_OVERRIDES,
    options: ModelOptions = NO_OPTIONS,
) -> Conversion:
    """Convert a trained model, with a sample of the rows it was trained on.

    `estimator` is a fitted scikit-learn estimator, a torch.nn.Module, a Keras model, or what `load_estimator` gives
    for a file. `sample` holds the columns it was trained on, by name and with their types; more columns, such as
    the label, are dropped where the model knows its columns' names. `overrides` say of input columns, by name, what
    should not be inferred from the sample; `options` what a network does not know of itself.
    EstimatorInvalidError and SampleInvalidError name the step or column at fault.
    """
    model: Any = estimator
    match _framework(model):  # each framework's converter is imported only for a model of it
        case "torch":
            from model_store.convert.torch_module import convert_torch  # noqa: PLC0415

            return convert_torch(model, sample, options, overrides)
        case "keras" | "tensorflow" | "model_store.convert.keras_model":
            from model_store.convert.keras_model import convert_keras  # noqa: PLC0415

            return convert_keras(model, sample, options, overrides)
        case "model_store.convert.onnx_file":
            from model_store.convert.onnx_file import convert_onnx  # noqa: PLC0415

            return convert_onnx(model, sample, options, overrides)
    if options != NO_OPTIONS:
        raise EstimatorInvalidError(
            f"a {type(estimator).__name__} knows its labels and columns itself: pass it without options"
        )
    from model_store.convert.sklearn import convert_sklearn  # noqa: PLC0415

    return convert_sklearn(estimator, sample, overrides)


def load_estimator(path: Path, *, trust_pickle: bool, trust_types: Sequence[str] = ()) -> object:
    """Load a model from a file or folder: by its name, see `model_store.convert.loading`.

    Pickles run code: only with `trust_pickle`. `trust_types` are types in a `.skops` file that skops does not trust
    itself. EstimatorInvalidError where trust is missing, and for what cannot be read.
    """
    from model_store.convert.loading import load  # noqa: PLC0415 - joblib and skops only when used

    return load(path, trust_pickle=trust_pickle, trust_types=trust_types)


def _framework(model: object) -> str:
    """Return the framework that a model's class, or the nearest class it is derived from, belongs to."""
    for kind in type(model).__mro__:
        for name in (kind.__module__, kind.__module__.partition(".")[0]):
            if name in _FRAMEWORKS:
                return name
    return "sklearn"


_FRAMEWORKS = {"keras", "model_store.convert.keras_model", "model_store.convert.onnx_file", "tensorflow", "torch"}
