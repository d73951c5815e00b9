"""Traces: read as W3C has them, said in log lines, carried on by jobs and no part of what a run is."""

import logging
from dataclasses import replace

import pytest

from errors import NameInvalidError
from model_store import ModelReference
from scoring.entering import begin
from scoring.intake import accept_file, accept_message
from scoring.job import Job
from scoring.log_lines import line
from scoring.open_runs import key_of
from scoring.splits.worker import accept_split
from scoring.trail import Trail, current_traceparent, follow, read_traceparent, trail
from storage import BlobPath
from tests.scoring.test_csv import GOOD

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
PLACE = BlobPath("incoming", "churn/a.csv")


@pytest.mark.parametrize(
    "text", [PARENT, f"01-{TRACE}-b7ad6b7169203331-00", f"cc-{TRACE}-b7ad6b7169203331-01-more"]
)
def test_a_trace_is_read(text: str) -> None:
    """Version 00 has four parts; those to come may have more."""
    assert read_traceparent(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        PARENT + "-more",
        PARENT[:-1],
        PARENT + "\n",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"cc-{TRACE}-b7ad6b7169203331-01-{'x' * 300}",
        None,
        7,
    ],
)
def test_what_is_no_trace_is_let_be(text) -> None:
    """Nobody's work is refused for it: a trace begins anew."""
    assert read_traceparent(text) is None


def test_log_lines_say_request_and_trace() -> None:
    """What is done for a request says its id, and its trace if it has one; all else says neither."""
    assert line("event", x=1) == "event x=1"
    token = trail.set(Trail("abc", PARENT))
    try:
        assert line("event", x=1) == f"event x=1 request=abc trace={TRACE}"
        with follow(None):
            assert current_traceparent() == PARENT
    finally:
        trail.reset(token)


def test_a_job_belongs_to_the_trace_that_made_it() -> None:
    """Its message says so, and whoever reads it finds the same job; where it says nonsense, nothing is lost."""
    with follow(PARENT):
        job = Job.for_dropped(PLACE)
    assert job.traceparent == PARENT
    assert Job.from_json(job.to_json()).traceparent == PARENT
    assert Job.from_json(job.to_json()) == job == Job.for_dropped(PLACE)
    assert Job.from_json(job.to_json().replace(PARENT, "nonsense")).traceparent is None
    assert "traceparent" not in Job.for_dropped(PLACE).to_json()


def test_a_trace_is_no_part_of_a_run(services) -> None:
    """The same job is the same run, whichever trace its delivery belongs to."""
    services.blobs.write(PLACE, GOOD)
    plain = begin(Job(PLACE, ModelReference("churn")), services)
    with follow(PARENT):
        traced = begin(Job(PLACE, ModelReference("churn")), services)
    assert (plain.id, key_of(plain)) == (traced.id, key_of(traced))


@pytest.mark.parametrize("split_bytes", [0, 100])
def test_a_run_logs_its_trace(services, split_bytes: int, caplog) -> None:
    """From the trigger that saw the file to the run's end, in one piece or in splits, lines say one trace."""
    services = replace(services, settings=replace(services.settings, split_bytes=split_bytes))
    rows = GOOD + b"".join(b"%d,20,3,true,basic\n" % number for number in range(20))
    services.blobs.write(PLACE, rows)
    with follow(PARENT):
        accept_file(PLACE, services)
    [message] = services.queues.receive("scoring-jobs", limit=32, lease=60)
    with caplog.at_level(logging.INFO):
        accept_message(message.body, services)
        for split in services.queues.receive("scoring-splits", limit=32, lease=60):
            accept_split(split.body, services)
    lines = [record.getMessage() for record in caplog.records]
    assert [text for text in lines if text.startswith("run_ended")]
    assert [text for text in lines if f" trace={TRACE}" not in text and text.startswith(("run_", "split_"))] == []


def test_a_name_that_is_refused_in_a_trace_is_refused() -> None:
    """A trace around it changes no error."""
    with follow(PARENT), pytest.raises(NameInvalidError):
        Job.for_dropped(BlobPath("incoming", "loose.csv"))
    assert current_traceparent() is None
