"""Log lines: one line each, whatever is in them."""

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.log_lines import MOST, Pace, line
from scoring.tally import Tally
from tests.scoring.test_csv import GOOD

PAIR = re.compile(r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]+)')


def parsed(text: str) -> dict[str, str]:
    """Read a line back as a machine does: an event, then pairs and nothing else."""
    event, pairs = re.fullmatch(r"([a-z_]+)((?: .*)?)", text).groups()  # type: ignore[union-attr]  # else it fails
    assert PAIR.sub("", pairs) == ""
    return {"event": event} | {
        key: json.loads(value) if value.startswith('"') else value for key, value in PAIR.findall(pairs)
    }


@given(st.text(max_size=50), st.text(max_size=50))
def test_values_come_back_as_they_were(name: str, other: str) -> None:
    """Any text, with quotes, line ends or control characters, is one value on one line, and reads back the same."""
    text = line("run_ended", input=name, model=other)
    assert parsed(text) == {"event": "run_ended", "input": name, "model": other}
    assert text.isprintable()


def test_a_name_cannot_forge_a_line() -> None:
    """A file named like the end of a line and another line stays a value."""
    name = 'a.csv status=succeeded\nrun_ended run=0 input="b.csv"\u2028\x1b[31m\u202e'
    text = line("run_began", input=name)
    assert len(text.splitlines()) == 1
    assert parsed(text) == {"event": "run_began", "input": name}


def test_values_are_plain_where_they_can_be() -> None:
    """Plain names are not quoted, floats have three digits, nothing is left out, and what is too long is cut."""
    values = {
        "run": "ab12",
        "input": "incoming/churn/a-1.csv",
        "seconds": 1.23456,
        "rows": 7,
        "error": None,
        "x": "",
    }
    assert line("run", **values) == 'run run=ab12 input=incoming/churn/a-1.csv seconds=1.235 rows=7 x=""'
    assert len(line("run", message="x" * 10**6)) < MOST + 50


def test_progress_is_spoken_of_now_and_then() -> None:
    """The first line is due after the pace's seconds, the next as long after it, with rates and what is left."""
    times = iter([0.0, 4.0, 10.0, 12.0, 20.0, 20.0])
    pace = Pace(1000, every=10, clock=lambda: next(times))
    assert [pace.due() for _ in range(4)] == [False, True, False, True]
    figures = pace.figures(250, Tally(read=50, scored=40, rejected=10))
    assert figures == {
        "bytes_read": 250, "bytes": 1000, "rows_read": 50, "rows_rejected": 10,
        "seconds": 20, "rows_per_second": 2, "seconds_left": 60,
    }  # fmt: skip


def test_a_run_logs_its_begin_and_its_end(drop, caplog) -> None:
    """Both lines name run, input and model; the end says rows, rates and CPU seconds of each stage, and no cell."""
    caplog.set_level(logging.INFO, "scoring")
    receipt = drop("a b.csv", GOOD + b"4,secret,1,true,pro\n", error_threshold=1)
    began, ended = (parsed(record.getMessage()) for record in caplog.records if record.name == "scoring.pipeline")
    names = {"run": receipt.run_id, "input": "incoming/churn/a b.csv", "model": "churn", "version": "churn@1"}
    assert began == {"event": "run_began", "bytes": str(receipt.input["size"])} | names
    rows = {"status": "succeeded", "rows_read": "4", "rows_scored": "3", "rows_rejected": "1"}
    assert ended.items() >= ({"event": "run_ended"} | names | rows).items()
    assert {
        "seconds",
        "rows_per_second",
        "bytes_per_second",
        "parse_cpu",
        "score_cpu",
        "commit_cpu",
    } <= ended.keys()
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("name", "code"), [("a.txt", "format_unsupported"), ("a.csv", "file_empty")])
def test_a_failed_run_is_a_warning_with_its_code(drop, caplog, name: str, code: str) -> None:
    """What went wrong is in the line that ends the run, at level warning."""
    drop(name, b"")
    last = caplog.records[-1]
    assert last.levelno == logging.WARNING
    assert parsed(last.getMessage()).items() >= {"status": "failed", "error": code, "rows_read": "0"}.items()
