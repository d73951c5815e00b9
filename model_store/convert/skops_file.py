"""Load estimators from `.skops` files, where only types that are named and trusted are made: no code runs."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

from errors import EstimatorInvalidError


def load_skops(path: Path, trust_types: Sequence[str] = ()) -> object:
    """Load an estimator that skops has saved; EstimatorInvalidError names what is not trusted, or what is wrong.

    skops itself trusts the types of scikit-learn, NumPy and SciPy whose loading it knows to be harmless; others are
    made only if `trust_types` names them, such as "sklearn.tree._tree.Tree".
    """
    if not path.is_file():
        raise EstimatorInvalidError(f"{path} does not exist or is no file")
    import skops.io  # noqa: PLC0415 - only where estimators are loaded

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions: the parity gate compares with what is loaded here
            unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - {*trust_types})
            if unknown:
                options = " ".join(f"--trust-type {name}" for name in unknown)
                raise EstimatorInvalidError(
                    f"{path.name} holds types that skops does not know to be harmless: {', '.join(unknown)}; if "
                    f"you made this file yourself or trust who did, pass {options}"
                )
            estimator: object = skops.io.load(path, trusted=list(trust_types))
    except EstimatorInvalidError:
        raise
    except ModuleNotFoundError as error:
        raise EstimatorInvalidError(
            f"{path.name} needs the module {error.name!r}: install what it was trained with"
        ) from error
    except (BadZipFile, EOFError, OSError) as error:
        raise EstimatorInvalidError(f"{path.name} is damaged or no skops file: save it again") from error
    except Exception as error:  # a file that says it is one of skops can say anything
        raise EstimatorInvalidError(
            f"{path.name} cannot be loaded ({type(error).__name__}): load it with the versions it was saved with"
        ) from error
    return estimator
