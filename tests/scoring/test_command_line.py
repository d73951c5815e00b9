"""python -m scoring, run as users run it."""

import gzip
import json
import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from scoring.__main__ import app
from scoring.tally import Tally
from scoring.terminal import progress_of
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


def test_a_file_may_be_written_otherwise(store, tmp_path: Path) -> None:
    """Quote, decimals and encoding are options too; delimiter and compression are found out."""
    source, target = tmp_path / "a.csv.gz", tmp_path / "out"
    text = "id;age;visits;member;plan\n'é;';20,0;3;true;pro\n".encode("latin-1")
    source.write_bytes(gzip.compress(text))
    options = ["--quote", "'", "--decimal", ",", "--encoding", "latin-1", "--output", str(target)]
    done = run(app, ["score", str(source), "--model", "churn", "--store", store, *options])
    assert done.exit_code == 0, done.output
    assert (
        gzip.decompress(target.read_bytes())
        .decode("latin-1")
        .splitlines()[1]
        .startswith("'é;';20,0;3;true;pro;stay")
    )


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


@pytest.mark.parametrize(
    ("model", "name", "says"),
    [
        ("nope", "a.csv", "model_not_found: "),
        ("churn/2026", "a.csv", "reference_invalid: "),
        ("churn", "a.txt", "format_unsupported: "),
        ("churn", ".a.csv", "name_invalid: "),
    ],
)
def test_what_would_fail_by_its_name_is_not_dropped(store, tmp_path: Path, model, name, says: str) -> None:
    """One line says so before a byte is uploaded, and before anybody waits for a receipt."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    done = run(app, ["drop", str(source), "--model", model, "--name", name, "--store", store, "--wait", "0.1"])
    assert done.exit_code == 1
    assert re.fullmatch(rf"{says}.+\n", done.output)
    assert not [*(Path(store) / "incoming").iterdir()]


def test_a_dropped_file_may_be_for_any_form_of_a_reference(store, tmp_path: Path) -> None:
    """What jobs and `score` take as a model, `drop` takes too: the folder is called as the short form."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    arguments = ["--model", "models:/churn/1", "--store", store, "--wait", "0"]
    assert run(app, ["drop", str(source), *arguments]).exit_code == 0
    assert (Path(store) / "incoming/churn@1/a.csv").read_bytes() == GOOD


@pytest.mark.parametrize("command", ["score", "drop", "receipt", "runs list", "runs show"])
def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, command: str) -> None:
    """A slip in --store, such as `azrue`, is told as that, and not as a model or a run that does not exist."""
    source, slip = tmp_path / "a.csv", tmp_path / "azrue"
    source.write_bytes(GOOD)
    given = {"score": [str(source), "--model", "churn"], "drop": [str(source), "--model", "churn"], "runs list": []}
    done = run(app, [*command.split(), *given.get(command, ["some-id"]), "--store", str(slip)])
    assert (done.exit_code, done.output.partition(":")[0]) == (1, "settings_invalid")
    assert not slip.exists()


def test_a_receipt_can_be_printed(store, drop) -> None:
    """`receipt` prints a run's record as JSON; an unknown run is an error with its code."""
    receipt = drop("a.csv", GOOD)
    done = run(app, ["receipt", receipt.run_id, "--store", store])
    assert json.loads(done.stdout)["status"] == "succeeded"
    assert "run_not_found" in run(app, ["receipt", "nope", "--store", store]).output


def test_scripts_get_the_receipt_as_json(store, tmp_path: Path) -> None:
    """`--json` prints the receipt and nothing else on stdout, also of a run that failed (code 1)."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    done = run(app, ["score", str(source), "--model", "churn", "--store", store, "--json"])
    receipt = json.loads(done.stdout)
    assert done.exit_code == 0
    assert receipt["rows"]["scored"] == 3
    assert receipt["rates"]["rows_per_second"] > 0
    failed = run(app, ["score", str(source), "--model", "churn", "--store", store, "--json", "--keep", "nope"])
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["error"]["code"] == "column_missing"


def test_quiet_shows_nothing_but_errors(store, tmp_path: Path) -> None:
    """`--quiet` is silent about what went well, and says what went wrong on stderr."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    arguments = ["score", str(source), "--model", "churn", "--store", store, "--quiet"]
    assert run(app, arguments).output == ""
    failed = run(app, [*arguments, "--keep", "nope"])
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr.startswith("column_missing: ")


def test_a_failed_run_is_told_once(store, tmp_path: Path) -> None:
    """Log lines, which Python shows where nobody asked for any, do not repeat what is said to people."""
    source = tmp_path / "a.csv"
    source.write_bytes(b"age\n1\n")
    command = [
        sys.executable,
        "-m",
        "scoring",
        "score",
        str(source),
        "--model",
        "churn",
        "--store",
        store,
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["column_missing"]


@pytest.mark.parametrize(("before", "where"), [(GOOD, "(row 4)"), (b"", "(the header)")])
def test_people_are_told_where(store, tmp_path: Path, before: bytes, where: str) -> None:
    """An error in one record says which it is: the receipt's number of the row."""
    source = tmp_path / "a.csv"
    source.write_bytes(before + b'"never closed')
    done = run(app, ["score", str(source), "--model", "churn", "--store", store])
    assert re.search(rf"^error +file_malformed: .* {re.escape(where)}$", done.stderr, re.MULTILINE)


def test_the_output_may_be_a_folder_or_in_a_new_one(store, tmp_path: Path) -> None:
    """A folder that is there, or is written as one, gets the result under its own name; new folders are made."""
    source, folder, new = tmp_path / "a.csv", tmp_path / "out", tmp_path / "new/er/b.parquet"
    source.write_bytes(GOOD)
    folder.mkdir()
    for target in (folder, new, f"{tmp_path}/made/"):
        arguments = ["--output", str(target), "--output-format", "parquet"]
        done = run(app, ["score", str(source), "--model", "churn", "--store", store, *arguments])
        assert done.exit_code == 0, done.output
    assert (folder / "a.csv.parquet").read_bytes() == new.read_bytes()
    assert (tmp_path / "made" / "a.csv.parquet").read_bytes() == new.read_bytes()


def test_a_pipe_is_scored_as_a_file(store, tmp_path: Path) -> None:
    """What another program writes into a named pipe is scored under the pipe's name."""
    pipe, target = tmp_path / "a.csv", tmp_path / "out.csv"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=[GOOD], daemon=True)
    writer.start()
    arguments = ["--model", "churn", "--store", store, "--output", str(target)]
    done = run(app, ["score", str(pipe), *arguments])
    assert done.exit_code == 0, done.output
    writer.join()
    assert target.read_bytes().startswith(HEADER[:-1] + b",prediction,")


def test_a_file_scored_again_gets_its_own_result(store, tmp_path: Path) -> None:
    """Also where one of its name, or it with other options, was scored since, or the result was deleted."""
    first, second, target = tmp_path / "a.csv", tmp_path / "new" / "a.csv", tmp_path / "out.csv"
    second.parent.mkdir()
    first.write_bytes(GOOD)
    second.write_bytes(HEADER + GOOD.splitlines(keepends=True)[1])

    def score(file: Path, *options: str) -> bytes:
        arguments = ["--model", "churn", "--store", store, "--output", str(target), "--quiet", *options]
        assert run(app, ["score", str(file), *arguments]).exit_code == 0
        return target.read_bytes()

    whole, brief, other = score(first), score(first, "--keep", "id"), score(second)
    assert len({whole, brief, other}) == 3
    assert (score(first), score(first, "--keep", "id"), score(second)) == (whole, brief, other)
    (Path(store) / "scored/churn/a.csv").unlink()
    assert score(second) == other


def test_a_failed_file_is_tried_again(store, tmp_path: Path, monkeypatch) -> None:
    """Who does what the error says, and scores the file once more, is not told of the error before."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    arguments = ["score", str(source), "--model", "churn", "--store", store]
    monkeypatch.setenv("DROPSCORE_MAX_RECORD_BYTES", "8")
    assert "record_too_large" in run(app, arguments).output
    monkeypatch.delenv("DROPSCORE_MAX_RECORD_BYTES")
    assert run(app, arguments).exit_code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is a device of Linux")
@pytest.mark.parametrize(
    ("output", "begins"), [("/dev/full", "status   succeeded"), ("/proc/a.csv", "options_inv")]
)
def test_an_output_that_cannot_be_written_is_one_line(store, tmp_path: Path, output: str, begins: str) -> None:
    """Where that can be known, before anything is scored; else behind what came of it. There is no traceback."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    done = run(app, ["score", str(source), "--model", "churn", "--store", store, "--output", output])
    assert done.exit_code == 1
    assert done.output.startswith(begins)
    assert re.search(rf"^options_invalid: the output {output} cannot be written: .+$", done.output, re.MULTILINE)


def test_an_output_is_replaced_whole(store, tmp_path: Path) -> None:
    """What was there before stays where there is no result; a link is followed, and nothing else is left."""
    source, folder = tmp_path / "a.csv", tmp_path / "out"
    source.write_bytes(GOOD)
    folder.mkdir()
    (folder / "old.csv").write_bytes(b"old")
    (folder / "link.csv").symlink_to(folder / "old.csv")
    arguments = ["score", str(source), "--model", "churn", "--store", store, "--output", str(folder / "link.csv")]
    assert run(app, [*arguments, "--keep", "nope"]).exit_code == 1
    assert (folder / "old.csv").read_bytes() == b"old"
    assert run(app, arguments).exit_code == 0
    assert (folder / "old.csv").read_bytes() == (Path(store) / "scored/churn/a.csv").read_bytes()
    assert sorted(file.name for file in folder.iterdir()) == ["link.csv", "old.csv"]


@pytest.mark.parametrize("output", ["a.csv", ".", "a.csv/b.csv"])
def test_no_result_replaces_its_input(store, tmp_path: Path, output: str) -> None:
    """An output that is the input itself, or lies in a file, is refused before anything is scored."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    arguments = ["--output", str(tmp_path / output), "--keep", "none"]
    done = run(app, ["score", str(source), "--model", "churn", "--store", store, *arguments])
    assert done.exit_code == 1
    assert done.output.startswith("options_invalid: ")
    assert source.read_bytes() == GOOD


def test_the_receipt_says_how_fast_and_where_the_time_went(store, tmp_path: Path) -> None:
    """People see rows and bytes a second, the stages' CPU seconds and the peak of memory."""
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD + GOOD.partition(b"\n")[2] * 20_000)
    done = run(app, ["score", str(source), "--model", "churn", "--store", store])
    assert re.search(r"^time +[\d.]+ s, [\d,]+ rows/s, [\d.]+ MB/s$", done.stderr, re.MULTILINE)
    assert re.search(r"^cpu +(\w+ [\d.]+ s, )+\w+ [\d.]+ s$", done.stderr, re.MULTILINE)
    assert "at most" in done.stderr


def test_without_a_terminal_progress_is_lines(capsys) -> None:
    """Where stderr is a file or a pipe, as in CI, a plain line is written every few seconds, and not more often."""
    with progress_of("a.csv", 4_000_000, every=0) as progress:
        progress(1_000_000, Tally(read=1234, scored=1234))
    assert re.fullmatch(
        r"a\.csv: 1\.0 of 4\.0 MB, 1,234 rows, [\d,]+ rows/s, [\d,]+ s left\n", capsys.readouterr().err
    )
    with progress_of("a.csv", 4_000_000) as progress:
        progress(1_000_000, Tally(read=1234, scored=1234))
    assert capsys.readouterr().err == ""


class Terminal(StringIO):
    """What stderr is where a person looks at it."""

    def isatty(self) -> bool:
        return True


def test_in_a_terminal_progress_is_a_bar(monkeypatch) -> None:
    """The bar has the file's name as it is, bytes, rows and rates."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with progress_of("a[b].csv", 4_000_000) as progress:
        progress(1_000_000, Tally(read=1234, scored=1234))
    assert "a[b].csv" in terminal.getvalue()
    assert "1.0/4.0 MB" in terminal.getvalue()
    assert "1,234 rows, " in terminal.getvalue()


@pytest.mark.parametrize("command", ["score", "drop"])
def test_help_says_what_the_exit_codes_mean(command: str) -> None:
    """Scripts can look up what 0, 1 and 2 stand for; misuse is 2."""
    words = " ".join(run(app, [command, "--help"], env={"COLUMNS": "200"}).output.split())
    assert "Ends with code 0 if the file was scored" in words
    assert "2 if the command was misused" in words
    assert run(app, [command, "no such file.csv", "--model", "churn"]).exit_code == 2
