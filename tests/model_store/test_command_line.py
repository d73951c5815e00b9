"""From a fitted pipeline to a registered model in one command; errors are one line with a code."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from model_store.model import Model
from model_store.packages import GRAPH
from model_store.packaging import build_package
from model_store.registry import Registry
from storage.folder import FolderBlobStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with churn.joblib, a second model newer.joblib, and rows.csv they were trained on."""
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "age": np.where(random.random(400) < 0.1, np.nan, random.normal(45, 15, 400)),
            "visits": random.integers(0, 30, 400),
            "plan": random.choice(["basic", "plus", "pro"], 400),
        }
    )
    churned = np.where(rows["visits"] + random.normal(0, 5, 400) > 14, "yes", "no")
    for name, strength in (("churn", 1.0), ("newer", 0.1)):
        columns = make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["age", "visits"]),
            (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        )
        joblib.dump(
            make_pipeline(columns, LogisticRegression(C=strength)).fit(rows, churned), folder / f"{name}.joblib"
        )
    rows.assign(churned=churned).to_csv(folder / "rows.csv", index=False)
    rows.to_parquet(folder / "rows.parquet")
    return folder


def test_a_pipeline_becomes_a_model_in_one_command(run, trained, tmp_path):
    """The first version of a name is its champion; by default the store is the folder .dropscore."""
    code, out, err = run(
        "add", "churn", trained / "churn.joblib", "--sample", trained / "rows.csv", "--label-column", "churned",
        "--trust-pickle",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "churn@1 registered" in out
    assert "0 label flips" in out
    assert "churn@champion -> 1" in out
    registry = Registry(FolderBlobStore(tmp_path / ".dropscore"))
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    registry.fetch(registry.resolve("churn"), fetched)
    rows = pa.Table.from_pandas(pd.read_parquet(trained / "rows.parquet"), preserve_index=False)
    model = Model.open(fetched)
    answers = model.predict(rows.cast(model.signature.input_schema).combine_chunks().to_batches()[0])
    expected = joblib.load(trained / "churn.joblib").predict_proba(pd.read_parquet(trained / "rows.parquet"))
    assert answers["probability_yes"].to_pylist() == pytest.approx(expected[:, 1].tolist(), abs=1e-12)


def test_a_skops_file_and_what_is_said_of_columns(run, trained, tmp_path):
    """Types are trusted one by one; what `--column` says is in the registered signature, or an error."""
    path = tmp_path / "churn.skops"
    skops.io.dump(joblib.load(trained / "churn.joblib"), path)
    given = ("add", "churn", path, "--sample", trained / "rows.parquet", "--column", "age:optional")
    code, out, err = run(*given, "--trust-pickle")
    assert (code, out) == (1, "")
    assert "--trust-type numpy.dtype" in err
    given = (*given, "--trust-type", "numpy.dtype")
    code, out, err = run(*given, "--column", "visits:integer")
    assert (code, err) == (0, "")
    assert "of the sample)" in out
    registry = Registry(FolderBlobStore(tmp_path / ".dropscore"))
    age, visits, _ = registry.describe(registry.resolve("churn")).signature.inputs
    assert (age.required, visits.type.value, visits.nullable) == (False, "integer", False)
    for said in ("visits:string", "visits", "nobody:long"):
        code, out, err = run(*given, "--column", said)
        assert (code, out) == (1, "")
        assert "sample_invalid" in err


def test_later_versions_move_no_alias_unless_told(run, trained):
    """Registering is not releasing: the output says where champion points and how to move it."""
    sample = ("--sample", trained / "rows.parquet", "--trust-pickle")
    run("add", "churn", trained / "churn.joblib", *sample)
    _, out, _ = run("add", "churn", trained / "newer.joblib", *sample)
    assert "churn@2 registered" in out
    assert "churn@champion -> 1, as before" in out
    assert "python -m model_store alias churn champion 2" in out
    assert run("alias", "churn", "champion", "2") == (0, "churn@champion -> 2 (it was 1)\n", "")
    _, out, _ = run("add", "churn", trained / "churn.joblib", *sample, "--alias", "challenger")
    assert "churn@1 was registered already" in out
    _, out, _ = run("list")
    assert "challenger -> 1, champion -> 2" in out


def test_a_first_version_without_alias(run, packages):
    """--no-alias leaves the newest version to be used; a package's folder needs no sample."""
    code, out, _ = run("add", "churn", packages(), "--no-alias")
    assert code == 0
    assert "churn has no champion" in out


def test_show_tells_all_there_is(run, packages, tmp_path):
    """Signature, parity, versions and aliases, for any reference and any store."""
    store = ("--store", tmp_path / "elsewhere")
    run("add", "churn", packages(), *store)
    run("add", "churn", packages(-1.0), *store)
    code, out, _ = run("show", "churn@1", *store)
    assert code == 0
    for text in (
        "churn@1",
        "champion -> 1",
        "1, 2",
        "0 label flips",
        "probability_leave",
        "boolean",
        "stay, leave",
    ):
        assert text in out
    assert not (tmp_path / ".dropscore").exists()


def test_show_tells_which_cells_are_taken_and_what_was_not_compared(run, hand_conversion, tmp_path):
    """Limits, the only texts, what the source refused and the fast graph's fate are there to read."""
    conversion = hand_conversion()
    age, visits, member, plan = conversion.signature.inputs
    plan = replace(plan, allowed=("basic", "plus", "pro"))
    limited = replace(conversion.signature, inputs=(replace(age, limit=1000.0), visits, member, plan))

    def source(rows: pa.Table) -> pa.Table:
        if not set(rows["plan"].to_pylist()) <= {*plan.allowed, None}:
            raise ValueError(rows.num_rows)
        return conversion.predict(rows)

    build_package(replace(conversion, signature=limited, predict=source), tmp_path / "package")
    run("add", "churn", tmp_path / "package")
    code, out, _ = run("show", "churn")
    assert code == 0
    shown = " ".join(out.split())
    for text in (
        "-1e+03 to 1e+03",
        "only 'basic', 'plus', 'pro'",
        "an unseen category in 'plan'",
        "it gives the very answers of the portable graph",
    ):
        assert text in shown


def test_the_environment_names_the_store(run, packages, tmp_path, monkeypatch):
    """DROPSCORE_FOLDER stands for --store."""
    monkeypatch.setenv("DROPSCORE_FOLDER", str(tmp_path / "named"))
    run("add", "churn", packages())
    assert (tmp_path / "named" / "models" / "churn" / "1" / GRAPH).exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "nothing"], "model_not_found"),
        (["show", "../x"], "reference_invalid"),
        (["alias", "nothing", "champion", "1"], "model_not_found"),
        (["add", "churn", "{trained}/churn.joblib", "--trust-pickle"], "sample_invalid"),
        (["add", "churn", "{trained}/churn.joblib", "--sample", "{trained}/rows.csv"], "estimator_invalid"),
        (["add", "a/b", "{trained}/churn.joblib"], "reference_invalid"),
        (["add", "churn", "{trained}"], "package_invalid"),
        (
            ["add", "churn", "{trained}/churn.joblib", "--sample", "{trained}/churn.joblib", "--trust-pickle"],
            "sample_invalid",
        ),
        (
            ["add", "churn", "{trained}/churn.joblib", "--sample", "{trained}/rows.csv", "--trust-pickle",
             "--label-column", "nope"],
            "sample_invalid",
        ),
    ],
)  # fmt: skip
def test_errors_are_a_code_and_a_message(run, trained, arguments, code):
    """One line on stderr, exit code 1, no traceback, nothing registered."""
    status, out, err = run(*(argument.replace("{trained}", str(trained)) for argument in arguments))
    assert (status, out) == (1, "")
    assert err.startswith(f"{code}: ")
    assert err.count("\n") == 1
    assert "no models yet" in run("list")[1]


def test_a_sample_with_other_delimiters_is_told_so(run, trained, tmp_path):
    """The app takes such files, but a sample is read as pandas reads it: the error says so, and names no column."""
    pd.read_csv(trained / "rows.csv").to_csv(tmp_path / "rows.csv", sep=";", decimal=",", index=False)
    arguments = ("--sample", tmp_path / "rows.csv", "--label-column", "churned", "--trust-pickle")
    code, _, err = run("add", "churn", trained / "churn.joblib", *arguments)
    assert code == 1
    assert err.startswith("sample_invalid: the columns of rows.csv are not divided by commas")


def test_looking_needs_no_training_library(packages, tmp_path):
    """`list` and `show` start fast and run where only the serving requirements are installed."""
    Registry(FolderBlobStore(tmp_path)).add("churn", packages())
    script = (
        "import runpy, sys\n"
        "try: runpy.run_module('model_store', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'onnx', 'onnxruntime', 'pandas', 'sklearn', 'skl2onnx', 'joblib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    for command in (["list"], ["show", "churn"]):
        result = subprocess.run(
            [sys.executable, "-c", script, *command, "--store", str(tmp_path)],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert "churn" in result.stdout
