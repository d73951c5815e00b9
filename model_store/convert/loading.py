"""Load models from files and folders, by their names."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from errors import EstimatorInvalidError
from model_store.convert.mlflow_folder import is_mlflow_folder, model_file
from model_store.packages import MANIFEST, MLMODEL

SKOPS = ".skops"
PICKLES = (".joblib", ".pkl", ".pickle")


def load(path: Path, *, trust_pickle: bool, trust_types: Sequence[str] = ()) -> object:
    """Load a model from a file or folder, by its suffix; EstimatorInvalidError says why it cannot be."""
    if path.is_dir():
        return load_folder(path, trust_pickle=trust_pickle, trust_types=trust_types)
    if path.suffix.lower() == SKOPS:
        from model_store.convert.skops_file import load_skops  # noqa: PLC0415 - skops only when used

        return load_skops(path, trust_types)
    if not path.is_file() and path.suffix.lower() in _LOADERS:
        raise EstimatorInvalidError(f"{path} does not exist or is no file")
    return _load(_LOADERS.get(path.suffix.lower(), load_pickle), path, trust_pickle=trust_pickle)


def is_model_folder(path: Path) -> bool:
    """Say whether a folder is a model to be packaged: MLflow's, unless it is a package already, or TensorFlow's."""
    return path.is_dir() and not (path / MANIFEST).is_file() and (is_mlflow_folder(path) or is_saved_model(path))


def is_saved_model(path: Path) -> bool:
    """Say whether TensorFlow saved a model there."""
    return (path / "saved_model.pb").is_file()


def load_folder(path: Path, *, trust_pickle: bool, trust_types: Sequence[str] = ()) -> object:
    """Load the model in a folder of MLflow's or TensorFlow's."""
    if is_saved_model(path):
        return _load(load_keras, path, trust_pickle=trust_pickle)
    if not is_mlflow_folder(path):
        raise EstimatorInvalidError(f"{path.name} is a folder of neither MLflow ({MLMODEL}) nor TensorFlow")
    flavor, file, entry = model_file(path)
    if flavor == "xgboost" and str(entry.get("model_class", "")).startswith("xgboost.sklearn."):
        return _load(load_xgboost, file, trust_pickle=trust_pickle, kind=entry["model_class"].rpartition(".")[2])
    known = _FLAVORS.get(flavor)
    if known is not None and file.suffix.lower() not in (SKOPS, *PICKLES):
        return _load(known, file, trust_pickle=trust_pickle)
    return load(file, trust_pickle=trust_pickle, trust_types=trust_types)


def _load(loader: Callable[..., object], path: Path, **options: Any) -> object:
    try:
        return loader(path, **options)
    except ModuleNotFoundError as error:
        raise EstimatorInvalidError(
            f"{path.name} needs the module {error.name!r}: install it where the model is packaged"
        ) from error


def load_pickle(path: Path, *, trust_pickle: bool) -> object:
    """Load a pickled estimator, if its origin is trusted; EstimatorInvalidError says why not.

    Unpickling runs whatever code the file holds: nothing but the user's word makes that safe.
    """
    if path.suffix.lower() not in PICKLES:
        raise EstimatorInvalidError(
            f"{path.name} is no file that an estimator is loaded from: save it with skops.io.dump as .skops, or "
            "with joblib.dump as .joblib or .pkl"
        )
    if not trust_pickle:
        raise EstimatorInvalidError(
            f"{path.name} is a pickle, and loading a pickle runs the code in it: pass --trust-pickle if you made "
            "this file yourself or trust who did, or save it with skops.io.dump as .skops"
        )
    if not path.is_file():
        raise EstimatorInvalidError(f"{path} does not exist or is no file")
    import joblib  # noqa: PLC0415 - only where estimators are loaded

    try:
        estimator: object = joblib.load(path)
    except ModuleNotFoundError as error:
        raise EstimatorInvalidError(
            f"{path.name} needs the module {error.name!r}: install what it was trained with"
        ) from error
    except AttributeError as error:
        if "__main__'" not in str(error):  # run by -m, it is called model_store.__main__ there
            raise _other_version(path, error) from error
        raise EstimatorInvalidError(
            f"{path.name} needs something that was defined in the script it was saved by: steps of your own are no "
            "graph, so do what they do before the file is written, or use a transformer of scikit-learn"
        ) from error
    except (pickle.UnpicklingError, EOFError, OSError) as error:
        raise EstimatorInvalidError(f"{path.name} is damaged or no pickle: save it again") from error
    except Exception as error:  # unpickling runs code, which can fail in any way
        raise _other_version(path, error) from error
    return estimator


def _other_version(path: Path, error: Exception) -> EstimatorInvalidError:
    return EstimatorInvalidError(
        f"{path.name} cannot be loaded ({type(error).__name__}): load it with the versions it was saved with"
    )


def load_onnx(path: Path, *, trust_pickle: bool) -> object:  # noqa: ARG001  # no code in it runs
    """Open an ONNX file; EstimatorInvalidError if its graph cannot be taken in."""
    from model_store.convert.onnx_file import OnnxFile  # noqa: PLC0415 - onnx only when used

    return OnnxFile.open(path)


def load_lightgbm(path: Path, *, trust_pickle: bool) -> object:  # noqa: ARG001  # no code in it runs
    """Load a Booster from the text that LightGBM writes; EstimatorInvalidError if it is none."""
    import lightgbm  # noqa: PLC0415 - only when used

    try:
        return lightgbm.Booster(model_file=str(path))
    except Exception as error:  # LightGBM's own error, or whatever a damaged text leads to
        raise EstimatorInvalidError(f"{path.name} is damaged or no model of LightGBM's") from error


def load_xgboost(path: Path, *, trust_pickle: bool, kind: str = "Booster") -> object:  # noqa: ARG001  # as above
    """Load what XGBoost has saved as JSON or UBJSON: a Booster, or the `kind` of its scikit-learn estimators."""
    import xgboost  # noqa: PLC0415 - only when used

    if kind not in {"Booster", "XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker"}:
        raise EstimatorInvalidError(f"{path.name} is an XGBoost model of the unknown kind {kind}")
    try:
        model = getattr(xgboost, kind)()
        model.load_model(path)
    except Exception as error:  # XGBoost's own error, or whatever a damaged file leads to
        raise EstimatorInvalidError(f"{path.name} is damaged or no model of XGBoost's") from error
    return model


def load_torch(path: Path, *, trust_pickle: bool) -> object:
    """Load a whole module that torch.save wrote, or an exported program; both may hold pickles."""
    _check_trust(path, trust_pickle=trust_pickle)
    from model_store.convert.torch_module import load_module  # noqa: PLC0415 - torch only when used

    return load_module(path)


def load_keras(path: Path, *, trust_pickle: bool) -> object:  # noqa: ARG001  # Keras is told to run no code
    """Load a Keras model or a SavedModel folder."""
    from model_store.convert.keras_model import load_model  # noqa: PLC0415 - TensorFlow only when used

    return load_model(path)


def _check_trust(path: Path, *, trust_pickle: bool) -> None:
    if not trust_pickle:
        raise EstimatorInvalidError(
            f"{path.name} is a pickle, and loading a pickle runs the code in it: pass --trust-pickle if you made "
            "this file yourself or trust who did"
        )


_FLAVORS: dict[str, Callable[..., object]] = {
    "keras": load_keras,
    "lightgbm": load_lightgbm,
    "onnx": load_onnx,
    "pytorch": load_torch,
    "tensorflow": load_keras,
    "xgboost": load_xgboost,
}
_LOADERS: dict[str, Callable[..., object]] = {
    ".json": load_xgboost,
    ".keras": load_keras,
    ".lgb": load_lightgbm,
    ".onnx": load_onnx,
    ".pt": load_torch,
    ".pt2": load_torch,
    ".pth": load_torch,
    ".txt": load_lightgbm,
    ".ubj": load_xgboost,
}
