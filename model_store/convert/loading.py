"""Load estimators from files."""

import pickle
from collections.abc import Sequence
from pathlib import Path

from errors import EstimatorInvalidError

SKOPS = ".skops"
PICKLES = (".joblib", ".pkl", ".pickle")


def load(path: Path, *, trust_pickle: bool, trust_types: Sequence[str] = ()) -> object:
    """Load an estimator from a file, by its suffix; EstimatorInvalidError says why it cannot be."""
    if path.suffix.lower() == SKOPS:
        from model_store.convert.skops_file import load_skops  # noqa: PLC0415 - skops only when used

        return load_skops(path, trust_types)
    return load_pickle(path, trust_pickle=trust_pickle)


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
    except (pickle.UnpicklingError, EOFError, OSError) as error:
        raise EstimatorInvalidError(f"{path.name} is damaged or no pickle: save it again") from error
    except Exception as error:  # unpickling runs code, which can fail in any way
        raise EstimatorInvalidError(
            f"{path.name} cannot be loaded ({type(error).__name__}): load it with the versions it was saved with"
        ) from error
    return estimator
