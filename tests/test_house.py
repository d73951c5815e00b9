"""The house rules that no linter knows: what may be imported where, and an error tree that is complete."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import errors
from errors import DropscoreError
from settings import VERSION, Settings

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"pandas", "sklearn", "fastapi", "onnxruntime", "joblib", "onnx", "skl2onnx"}


def imported(file: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_cold_start_loads_nothing_heavy() -> None:
    """Importing function_app.py, as the worker does to index it, loads no model, table or web library."""
    assert not loaded_by("function_app") & HEAVY


def test_what_is_not_measured_loads_no_opentelemetry() -> None:
    """Off, as it is by default, telemetry costs no import: nor does FastAPI, which would measure."""
    off = "from settings import Settings; from telemetry import begin; begin(Settings())"
    floors = "function_app, telemetry, scoring.pipeline, scoring.splits.worker, scoring.intake, storage.azure"
    for code in (f"import {floors}; {off}", f"import web.app; {off}"):
        shown = f"import sys; {code}; print(*(name for name in sys.modules if name.startswith('opentelemetry')))"
        run = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, check=True, capture_output=True, text=True)
        assert run.stdout.split() == []


def test_the_engine_needs_no_training_library() -> None:
    """What scores imports neither pandas nor scikit-learn: requirements-serving.txt has neither."""
    assert not loaded_by("scoring.pipeline, web.app") & (HEAVY | {"pydantic"})


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("errors.py", set()),
        ("observing.py", set()),
        ("settings.py", {"errors"}),
        ("telemetry.py", {"observing", "settings"}),
    ],
)
def test_the_modules_below_all_floors_import_none(file: str, allowed: set[str]) -> None:
    """The modules that every floor may import import no floor."""
    floors = {path.stem if path.is_file() else path.name for path in ROOT.iterdir()} - set(sys.stdlib_module_names)
    assert imported(file) & floors == allowed


ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DropscoreError)]
CONCRETE = [kind for kind in ERRORS if not kind.__subclasses__()]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_documented(kind: type[DropscoreError]) -> None:
    """Each class has a docstring and its place in the tree the module's docstring draws."""
    assert kind.__doc__
    assert f" {kind.__name__} " in (errors.__doc__ or "").replace("\n", " ")


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_every_error_is_classified(kind: type[DropscoreError]) -> None:
    """Each concrete class has a code of its own, an HTTP status, and says whether a retry can help."""
    assert kind.code.replace("_", "").isalpha()
    assert 400 <= kind.status < 600
    assert isinstance(kind.retryable, bool)
    assert kind("why", file="incoming/a.csv", row=3).to_dict() == {
        "code": kind.code, "message": "why", "file": "incoming/a.csv", "row": 3,
    }  # fmt: skip


def test_error_codes_are_unique() -> None:
    """No two errors share a code: programs tell them apart by it."""
    codes = [kind.code for kind in CONCRETE]
    assert len(codes) == len(set(codes))


def test_every_error_code_and_setting_is_in_the_documentation() -> None:
    """docs/reference.md names every code and every setting, so that users can look them up."""
    text = (ROOT / "docs/reference.md").read_text("utf-8")
    assert [kind.code for kind in CONCRETE if f"`{kind.code}`" not in text] == []
    names = [f"DROPSCORE_{name.upper()}" for name in Settings.__dataclass_fields__ if name != "storage"]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_version_is_said_once() -> None:
    """The app, which is deployed as a folder and not installed, reports the version of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION


def test_no_file_names_a_registry_or_this_machine() -> None:
    """Lock and requirements files pin by hash and name no host."""
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text("utf-8")
    ours = [ROOT / f"requirements{kind}.txt" for kind in ("", "-serving", "-telemetry", "-dev")]
    theirs = [ROOT / f"tests/frameworks/requirements-{name}.txt" for name in ("keras", "mlflow", "torch")]
    for file in (*ours, *theirs):
        text = file.read_text("utf-8")
        assert "://" not in text
        assert text.count("--hash=sha256:") >= text.count("==") > 10
