"""The models that score them: each as a pickle, as our package in a registry, and as MLflow folders.

python -m benchmarks.engine.models NAME        # trains and writes one
"""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from benchmarks.engine.data import WORK
from benchmarks.processes import ROOT

TITLES = {
    "logreg": "logistic regression",
    "rf": "random forest, 100 trees of depth 8",
    "gb": "gradient boosting, 100 trees of depth 8",
    "hgb": "HistGradientBoosting, 200 iterations",
    "lgbm": "LightGBM, 200 trees",
}
LINEAR = "logreg"
TREES = ("rf", "gb", "hgb", "lgbm")
TRAINED_ON = 50_000
STORE = WORK / "store"
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
"""Where MLflow and Polars are: environments of people who do not have Dropscore."""

MLFLOW_SAVE = """
import logging, sys, joblib, mlflow.sklearn, mlflow.onnx, onnx
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
logging.disable(logging.WARNING)  # that pickles may hold code, and the like: its users know
pickle, graph, folder = sys.argv[1:]
model = joblib.load(pickle)
texts = set(model[0].transformers_[1][2])
names = model.feature_names_in_
columns = [ColSpec("string" if name in texts else "double", name, required=False) for name in names]
signature = ModelSignature(inputs=Schema(columns))
mlflow.onnx.save_model(onnx.load(graph), folder + "-onnx", signature=signature, pip_requirements=["onnxruntime"])
mlflow.sklearn.save_model(
    model, folder + "-sklearn", pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle",
    signature=signature, pip_requirements=["scikit-learn"],
)
"""
"""What MLflow's users do with a fitted pipeline, and with a graph."""


def make(name: str) -> None:
    """Train a model and write it, unless that was done before.

    In a process of its own: what this one held at its peak would count as its children's memory (getrusage(2)).
    """
    if not (WORK / f"{name}-mlflow-sklearn").exists():  # written last
        subprocess.run([sys.executable, "-m", "benchmarks.engine.models", name], check=True, cwd=ROOT)


def estimator(name: str) -> Any:
    """Return the pipeline, not fitted yet."""
    from lightgbm import LGBMClassifier  # noqa: PLC0415  # heavy, and only here
    from sklearn.ensemble import (  # noqa: PLC0415  # as above
        GradientBoostingClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  # as above

    from benchmarks.estimators import one_hot, ordinal  # noqa: PLC0415  # as above

    match name:
        case "logreg":
            return one_hot(LogisticRegression(max_iter=500), sparse=True)
        case "rf":
            return one_hot(RandomForestClassifier(100, max_depth=8, random_state=0), sparse=True)
        case "gb":
            return one_hot(GradientBoostingClassifier(n_estimators=100, max_depth=8, random_state=0), sparse=True)
        case "hgb":
            return ordinal(HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0))
        case "lgbm":
            return ordinal(LGBMClassifier(n_estimators=200, random_state=0, verbose=-1))
        case _:
            raise ValueError(f"no model {name!r}")


def train(name: str) -> None:
    """Train one model and write it for every system."""
    import joblib  # noqa: PLC0415  # heavy, and only here

    from benchmarks import rows as data  # noqa: PLC0415  # as above
    from model_store import package  # noqa: PLC0415  # as above
    from model_store.registry import Registry  # noqa: PLC0415  # as above
    from settings import Settings  # noqa: PLC0415  # as above
    from storage import open_storage  # noqa: PLC0415  # as above

    sample = data.training_rows(TRAINED_ON)
    model = estimator(name).fit(sample, data.two_classes(sample))
    joblib.dump(model, WORK / f"{name}.joblib")
    folder = WORK / f"{name}-package"
    for leftover in WORK.glob(f"{name}-*"):  # of a run that was ended
        shutil.rmtree(leftover)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # converters warn of versions and types that nobody here can change
        package(model, sample, folder)
    blobs = open_storage(Settings(folder=str(STORE))).blobs
    blobs.create_container("models")
    Registry(blobs).add(name, folder)
    save_for_mlflow(WORK / f"{name}.joblib", folder / "model.onnx", WORK / f"{name}-mlflow")


def save_for_mlflow(pickle: Path, graph: Path, folder: Path) -> None:
    """Write `folder`-onnx and `folder`-sklearn with MLflow's own functions."""
    subprocess.run([BENCH_PYTHON, "-W", "ignore", "-c", MLFLOW_SAVE, pickle, graph, folder], check=True)


if __name__ == "__main__":
    train(sys.argv[1])
