"""python -m scoring, run as users run it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scoring.__main__ import app
from tests.scoring.test_csv import GOOD, HEADER

run = CliRunner().invoke


@pytest.fixture
def store(services, monkeypatch) -> str:
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    return services.settings.folder


def test_a_file_is_scored_into_a_folder(store, tmp_path: Path) -> None:
    """`score` scores the file where it is, shows the receipt and copies the result where it was asked to."""
    source, target = tmp_path / "a{b}[c].csv", tmp_path / "out.csv"
    source.write_bytes(GOOD)
    done = run(app, ["score", str(source), "--model", "churn", "--store", store, "--output", str(target)])
    assert done.exit_code == 0, done.output
    assert "3 read = 3 scored + 0 rejected" in done.output
    assert target.read_bytes() == (Path(store) / "scored/churn/a{b}[c].csv").read_bytes()
    assert target.read_bytes().startswith(HEADER[:-1] + b",prediction,")


def test_options_are_those_of_jobs(store, tmp_path: Path) -> None:
    """keep, error-threshold, delimiter and header mean what they mean in a message."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD.replace(b",", b"\t") + b"4\tx\t1\ttrue\tpro\n")
    options = ["--keep", "id,plan", "--error-threshold", "1", "--delimiter", "\\t"]
    done = run(app, ["score", str(source), "--model", "churn", "--store", store, *options])
    assert done.exit_code == 0, done.output
    assert (Path(store) / "scored/churn/a.csv").read_bytes().startswith(b"id\tplan\tprediction\t")
    assert "1 value_type" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "nope"], "model_not_found"),
        (["--model", "ch urn"], "reference_invalid"),
        (["--model", "churn", "--error-threshold", "inf"], "options_invalid"),
        (["--model", "churn", "--keep", "[/x]"], "column_missing"),
    ],
)
def test_errors_are_one_line_and_code_one(store, tmp_path: Path, arguments, says: str) -> None:
    """What cannot be done is said with its code, and ends with code 1 and no traceback."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    done = run(app, ["score", str(source), "--store", store, *arguments])
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_dropped_file_waits_for_the_app(store, tmp_path: Path) -> None:
    """`drop` uploads; without a running app no receipt comes, and the command says so and ends with code 2."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    done = run(app, ["drop", str(source), "--model", "churn", "--store", store, "--wait", "0.1"])
    assert done.exit_code == 2
    assert "is the app running?" in done.output
    assert (Path(store) / "incoming/churn/a.csv").read_bytes() == GOOD


def test_a_receipt_can_be_printed(store, drop) -> None:
    """`receipt` prints a run's record as JSON; an unknown run is an error with its code."""
    receipt = drop("a.csv", GOOD)
    done = run(app, ["receipt", receipt.run_id, "--store", store])
    assert json.loads(done.stdout)["status"] == "succeeded"
    assert "run_not_found" in run(app, ["receipt", "nope", "--store", store]).output
