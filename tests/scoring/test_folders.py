"""python -m scoring score FOLDER, run as users run it."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from scoring.__main__ import app
from tests.hand_model import make_sample
from tests.scoring.test_csv import GOOD

run = CliRunner().invoke


@pytest.fixture
def store(services, monkeypatch) -> str:
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    return services.settings.folder


def make_folder(tmp_path: Path, parquet) -> Path:
    """Lay out a small partitioned table with what Spark keeps beside it, and return its folder."""
    folder = tmp_path / "sales"
    sample = make_sample(5).select(["age", "visits", "member"])
    files = {"plan=pro/part-0.parquet": parquet(sample), "plan=basic/x/part-0.csv": GOOD, "_SUCCESS": b""}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_folder_is_scored_file_by_file(store, tmp_path: Path, parquet) -> None:
    """`score FOLDER` has a line for each file and a total, and keeps the files' paths, also where it copies to."""
    folder, target = make_folder(tmp_path, parquet), tmp_path / "out"
    done = run(app, ["score", str(folder), "--model", "churn", "--store", store, "--output", str(target)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [
        ["scored", "plan=basic/x/part-0.csv", "3", "rows,"],
        ["scored", "plan=pro/part-0.parquet", "5", "rows,"],
    ]
    assert lines[2].startswith("2 files: 2 succeeded; 8 rows read = 8 scored + 0 rejected")
    names = ["plan=basic/x/part-0.csv", "plan=pro/part-0.parquet"]
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*.*")) == names
    for name in names:
        assert (target / name).read_bytes() == (Path(store) / "scored/churn/sales" / name).read_bytes()
    scored = pd.read_parquet(target / "plan=pro")
    assert len(scored) == 5
    assert "probability_leave" in scored


def test_a_folder_scored_again_gets_its_own_results(store, tmp_path: Path, parquet) -> None:
    """Also where its files were scored with other options since."""
    folder, target = make_folder(tmp_path, parquet), tmp_path / "out"
    arguments = ["score", str(folder), "--model", "churn", "--store", store, "--output", str(target)]
    results = []
    for options in ([], ["--keep", "none"], []):
        assert run(app, [*arguments, *options]).exit_code == 0
        results.append((target / "plan=basic/x/part-0.csv").read_bytes())
    assert results[0] == results[2] != results[1]


def test_a_part_of_a_table_has_the_columns_of_its_path(store, tmp_path: Path, parquet) -> None:
    """A single file, or a folder of the table, is scored with the columns that the folders above it name."""
    folder = make_folder(tmp_path, parquet)
    for part in (folder / "plan=pro/part-0.parquet", folder / "plan=pro"):
        done = run(app, ["score", str(part), "--model", "churn", "--store", store])
        assert done.exit_code == 0, done.output
    assert (Path(store) / "scored/churn/plan=pro/part-0.parquet").exists()


def test_the_output_of_a_folder_is_no_file(store, tmp_path: Path, parquet) -> None:
    """Where results cannot lie, nothing is scored."""
    taken = tmp_path / "taken"
    taken.write_bytes(b"")
    arguments = ["--model", "churn", "--store", store, "--output", str(taken)]
    done = run(app, ["score", str(make_folder(tmp_path, parquet)), *arguments])
    assert (done.exit_code, done.output.partition(":")[0]) == (1, "options_invalid")


def test_a_folder_with_a_bad_file_ends_with_code_one(store, tmp_path: Path, parquet) -> None:
    """The other files are scored all the same; the bad one's line says what is wrong with it."""
    folder = make_folder(tmp_path, parquet)
    (folder / "plan=pro/bad.csv").write_bytes(b"age\n1\n")
    (folder / "plan=pro/back\\slash.csv").write_bytes(GOOD)
    done = run(app, ["score", str(folder), "--model", "churn", "--store", store])
    assert done.exit_code == 1
    assert "failed  plan=pro/bad.csv  column_missing" in done.output
    assert "failed  plan=pro/back\\slash.csv  name_invalid" in done.output
    assert "4 files: 2 succeeded, 2 failed; 8 rows read" in done.output


def test_folders_that_cannot_be_scored(store, tmp_path: Path, parquet) -> None:
    """An empty folder is an error; so is one that is its own output."""
    empty = tmp_path / "empty"
    empty.mkdir()
    options = ["--model", "churn", "--store", store]
    done = run(app, ["score", str(empty), *options])
    assert (done.exit_code, "no CSV or Parquet file lies below" in done.output) == (1, True)
    folder = make_folder(tmp_path, parquet)
    done = run(app, ["score", str(folder), *options, "--output", str(folder)])
    assert (done.exit_code, "options_invalid" in done.output) == (1, True)


def test_results_inside_the_folder_are_not_scored_again(store, tmp_path: Path, parquet) -> None:
    """Where results are copied to is left out, so that the command can be given again."""
    folder = make_folder(tmp_path, parquet)
    command = ["score", str(folder), "--model", "churn", "--store", store, "--output", str(folder / "out")]
    first, second = run(app, command), run(app, command)
    assert "2 files: 2 succeeded" in first.output
    assert "2 files: 2 succeeded" in second.output


def test_scripts_get_a_receipt_a_line(store, tmp_path: Path, parquet) -> None:
    """`--json` prints each file's receipt as a line of JSON, or its error; `--quiet` shows failures only."""
    folder = make_folder(tmp_path, parquet)
    (folder / "bad.csv").write_bytes(b"age\n1\n")
    (folder / "back\\slash.csv").write_bytes(GOOD)
    command = ["score", str(folder), "--model", "churn", "--store", store]
    done = run(app, [*command, "--json"])
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["status"] for record in records] == ["failed", "failed", "succeeded", "succeeded"]
    assert [record["error"] and record["error"]["code"] for record in records] == [
        "name_invalid", "column_missing", None, None,
    ]  # fmt: skip
    assert (done.exit_code, done.stderr) == (1, "")
    silent = run(app, [*command, "--quiet"])
    assert [line.split()[0] for line in silent.output.splitlines()] == ["failed", "failed"]


def test_the_result_may_be_of_the_other_format(store, tmp_path: Path, parquet) -> None:
    """`--output-format` is for a file and for every file of a folder; another word is an error."""
    source, target = tmp_path / "a.csv", tmp_path / "out.parquet"
    source.write_bytes(GOOD)
    options = ["--model", "churn", "--store", store, "--output-format"]
    done = run(app, ["score", str(source), *options, "parquet", "--output", str(target)])
    assert done.exit_code == 0, done.output
    assert len(pd.read_parquet(target)) == 3
    folder, copies = make_folder(tmp_path, parquet), tmp_path / "copies"
    done = run(app, ["score", str(folder), *options, "parquet", "--output", str(copies)])
    assert done.exit_code == 0, done.output
    assert sorted(len(pd.read_parquet(file, partitioning=None)) for file in copies.rglob("*.parquet")) == [3, 5]
    assert "options_invalid" in run(app, ["score", str(source), *options, "xlsx"]).output
