"""Importing the model store costs a cold start next to nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"onnx", "onnxruntime", "pandas", "sklearn", "skl2onnx", "joblib", "azure.storage.blob"}


@pytest.mark.parametrize(
    "module",
    ["model_store", "model_store.cache", "model_store.model", "model_store.packaging", "model_store.convert"],
)
def test_heavy_libraries_wait_for_their_first_use(module):
    """No module of the store imports ONNX Runtime, a training library or the Azure SDK when it is imported."""
    script = f"import sys, {module}; print(*({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == ""


def test_package_is_the_function_for_notebooks():
    """`from model_store import package` is a function, whatever else has been imported."""
    import model_store.packages
    import model_store.packaging  # noqa: F401
    from model_store import package

    assert callable(package)
