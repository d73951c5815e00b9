"""What benchmarks.http asks servers for, how it judges their answers, and what it writes."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.http import report, rows, servers
from benchmarks.http.__main__ import in_turns, without_slower
from benchmarks.http.cells import Cell, Measured
from benchmarks.http.systems import MLFLOW, OURS, SYSTEMS, differs
from benchmarks.http.targets import TARGETS, judge

ROW = {"n00": 1.5, "plan": "plan 1"}


def taken(rate: float, p99: float = 9.0) -> dict[str, float]:
    return {"rate": rate, "p50": 1.0, "p99": p99, "cpu": 0.5, "peak": 200.0}


SERVERS = Cell(
    "servers",
    "hgb",
    {
        OURS: (taken(9000.0), taken(2400.0, 8.0), taken(1.0, 7.0)),
        "fastapi": (taken(240.0), taken(200.0), taken(190.0)),
        "mlflow-sklearn": (taken(200.0, 7.0),),
        "mlserver": (taken(400.0, 100.0),),
    },
    {"fastapi-async": taken(150.0)},
    machine="a machine",
    commit="abc1234",
)
WORKER = Cell("worker", "hgb", {OURS: ({"p50": 0.3, "p99": 1.6, "peak": 200.0},)}, {}, "a machine", "abc1234")
FIRST = Cell(
    "first",
    "hgb",
    {
        OURS: ({"seconds": 0.5, "peak": 150.0},),
        "dropscore-cached": ({"seconds": 0.1, "peak": 150.0},),
        "fastapi": ({"seconds": 2.0, "peak": 300.0},),
    },
    {},
    "a machine",
    "abc1234",
)
MEASURED = Measured((SERVERS, WORKER, FIRST))


def test_targets_are_judged_by_medians() -> None:
    """Against the faster of a kind; a missed one is known, and so is one that was not measured."""
    verdicts = {verdict.target.title: verdict for verdict in judge(MEASURED, ("hgb",))}
    values = [verdicts[target.title].value for target in TARGETS]
    assert values == pytest.approx([0.3, 1.6, 12.0, 12.0, 8 / 7, 6.0, 0.08, 0.25])
    assert [verdicts[target.title].met for target in TARGETS] == [True, False, True, True, False, False, True, True]
    assert {verdict.met for verdict in judge(Measured(), ("hgb",))} == {None}


def test_the_first_answer_is_judged_with_nothing_cached() -> None:
    """A machine that has served the model before does not count."""
    cached = replace(FIRST, runs=FIRST.runs | {OURS: ({"seconds": 1.0, "peak": 1.0},)})
    [verdict] = [v for v in judge(Measured((cached,)), ("hgb",)) if v.target.title.startswith("first")]
    assert (verdict.value, verdict.met) == (0.5, False)


def test_what_was_measured_is_kept(tmp_path) -> None:
    """Cells survive a file; a newer one takes an older one's place."""
    file = tmp_path / "http.json"
    assert Measured.read(file) == Measured()
    MEASURED.write(file)
    assert Measured.read(file) == MEASURED
    newer = replace(WORKER, commit="def5678")
    assert MEASURED.with_cell(newer).cells == (SERVERS, newer, FIRST)


def test_tables_are_written_of_what_was_measured() -> None:
    """Medians, rounds, ratios; bold where a target is missed; one line of circumstances."""
    text = report.render(MEASURED, 5000)
    assert "| hgb | Dropscore | 3 | 2,400 | 1.00 | 8.00 | 0.50 | 200 MB | 1.0 |" in text
    assert "| hgb | FastAPI + pandas + scikit-learn, `async def` | 1 | 150 |" in text
    assert "| one row through the Functions worker, p99, ms | <= 1.5 | **1.6, missed** |" in text
    assert "| hgb | 1 | 0.300 | 1.600 | 200 MB |" in text
    assert "| hgb | Dropscore, package on the disk | 1 | 0.10 | 150 MB |" in text
    assert text.count("a machine. Commit abc1234.") == 1
    assert not report.render(Measured(), 5000)


def test_of_a_kind_only_the_fastest_is_measured() -> None:
    """Those of no kind always are."""
    probes = {OURS: taken(5.0), "fastapi": taken(1.0), "fastapi-async": taken(2.0), "mlserver": taken(0.1)}
    assert without_slower(probes) == [OURS, "fastapi-async", "mlserver"]
    assert without_slower({OURS: taken(5.0)}, [MLFLOW]) == [OURS]


def test_systems_take_turns() -> None:
    """One round after the other, each in the same order."""
    asked: list[str] = []

    def run(name: str) -> dict[str, float]:
        asked.append(name)
        return {"n": len(asked)}

    assert in_turns(["a", "b"], 2, run) == {"a": ({"n": 1}, {"n": 3}), "b": ({"n": 2}, {"n": 4})}
    assert asked == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("name", "answer", "read"),
    [
        (OURS, {"predictions": [{"prediction": "yes", "probability_yes": 0.6}]}, ("yes", 0.6)),
        ("fastapi", {"prediction": "no"}, ("no", None)),
        ("mlflow-sklearn", {"predictions": [[0.4, 0.6]]}, ("yes", 0.6)),
        ("mlflow-package", {"predictions": [{"prediction": "no", "probability_yes": 0.4}]}, ("no", 0.4)),
        ("mlserver", {"outputs": [{"data": [0.6, 0.4]}]}, ("no", 0.4)),
    ],
)
def test_every_servers_answer_is_read(name: str, answer, read) -> None:
    """Label and probability, as far as it says them."""
    assert SYSTEMS[name].read(answer) == read


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_server_gets_the_same_row(name: str) -> None:
    """Each cell is in the body, in the server's own form."""
    text = json.dumps(SYSTEMS[name].body(ROW))
    assert all(json.dumps(part) in text for pair in ROW.items() for part in pair)


def test_other_answers_than_ours_are_told() -> None:
    """Another label, or a probability too far away, or none; what is not said is not compared."""
    assert not differs(("yes", 0.6), ("yes", 0.6 + 1e-9))
    assert not differs(("yes", 0.6), ("yes", None))
    assert not differs(("yes", 0.6), (None, 0.6))
    assert differs(("yes", 0.6), ("no", None))
    assert differs(("yes", 0.6), ("yes", 0.61))
    assert differs(("yes", 0.6), ("yes", float("nan")))


def test_the_same_rows_are_made_every_time(tmp_path, monkeypatch) -> None:
    """None has an empty cell, and each has all columns."""
    monkeypatch.setattr(rows, "WORK", tmp_path)
    for name in ("a.json", "b.json"):
        monkeypatch.setattr(rows, "FILE", tmp_path / name)
        rows.make()
    made = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (len(made), {len(row) for row in made}) == (rows.COUNT, {24})
    assert all(cell is not None and cell == cell for row in made for cell in row.values())  # noqa: PLR0124  # NaN


def test_a_servers_processes_are_ended() -> None:
    """Also those that it has started."""
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']); print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    with process:
        assert process.stdout
        process.stdout.readline()
        servers.end(process)
        assert process.stdout.read() == b""  # until all that could write to it have ended
    assert process.returncode
