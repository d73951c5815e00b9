"""Jobs and options as messages, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import DropscoreError, MessageInvalidError, NameInvalidError, OptionsInvalidError
from scoring.job import Job
from scoring.options import CsvOptions, Options
from storage import BlobPath


@pytest.mark.parametrize(
    ("name", "model", "result"),
    [
        ("churn/2026/11/a.csv", "churn", "churn/2026/11/a.csv"),
        ("churn@3/a.csv", "churn@3", "churn@3/a.csv"),
        ("churn@challenger/a.parquet", "churn@challenger", "churn@challenger/a.parquet"),
    ],
)
def test_the_first_folder_names_the_model(name: str, model: str, result: str) -> None:
    """A dropped file's folder is its model reference, and its result has the same name."""
    job = Job.for_dropped(BlobPath("incoming", name))
    assert (str(job.model), job.result_name("incoming")) == (model, result)


@pytest.mark.parametrize(
    "name", ["a.csv", "/a.csv", "churn//a.csv", "churn/../a.csv", "churn/./a.csv", "churn\\a.csv"]
)
def test_names_that_could_go_astray_are_refused(name: str) -> None:
    """Names without a model's folder, or that a client may rewrite, are refused."""
    with pytest.raises(NameInvalidError):
        Job.for_dropped(BlobPath("incoming", name))


def test_an_etag_may_come_in_quotes() -> None:
    """Event Grid and HTTP headers quote ETags, storage does not: they are the same."""
    message = {"input": "incoming/churn/a.csv", "etag": '"0x8DC"'}
    assert Job.from_json(json.dumps(message)).etag == "0x8DC"


@pytest.mark.parametrize("etag", ["0x8DC\n", "0x8DC\u20ac", "\ud800", "\x7f", 'W/"0x8DC"', '0x8DC","0x8DD'])
def test_an_etag_is_one_that_a_header_can_carry(etag: str) -> None:
    """Storage gives no others, and no retry would get one to it."""
    with pytest.raises(MessageInvalidError, match="etag"):
        Job.from_json(json.dumps({"input": "incoming/churn/a.csv", "etag": etag}))
    with pytest.raises(MessageInvalidError, match="etag"):
        Job.for_dropped(BlobPath("incoming", "churn/a.csv"), etag)


def test_a_job_survives_its_message() -> None:
    """What goes onto the queue comes off it the same."""
    options = Options(("id", "age"), "csv", 3, CsvOptions(";", "'", header=False))
    job = Job(
        BlobPath("incoming", "churn/a.csv"), Job.for_dropped(BlobPath("incoming", "churn/a.csv")).model, options
    )
    assert Job.from_json(job.to_json()) == job
    pinned = replace(job, etag="0x1", attempt=2, version=3)
    assert Job.from_json(pinned.to_json()) == pinned
    assert (str(pinned.model), str(pinned.model_meant)) == ("churn", "churn@3")


@pytest.mark.parametrize("version", [0, -1, True, "3", 1.5, 10**9, 4])
def test_a_version_is_a_number_and_that_of_the_reference(version: object) -> None:
    """Where a job names a version twice it is the same one; what is no version is refused."""
    message = {"input": "incoming/churn/a.csv", "model": "churn@3"}
    assert Job.from_json(json.dumps(message | {"version": 3})).version == 3
    with pytest.raises(MessageInvalidError, match="version"):
        Job.from_json(json.dumps(message | {"version": version}))


@pytest.mark.parametrize(
    "given_options",
    [
        {"keeep": "all"},
        {"keep": "some"},
        {"keep": ["a", "a"]},
        {"error_threshold": -2},
        {"error_threshold": 1.5},
        {"error_threshold": True},
        {"error_threshold": "0.1"},
        {"error_threshold": float("nan")},
        {"error_threshold": float("inf")},
        {"error_threshold": None},
        {"output_format": "json"},
        {"csv": []},
        {"csv": {"delimiter": ",,"}},
        {"csv": {"delimiter": 1}},
        {"csv": {"header": "no"}},
        {"csv": {"quote": 1}},
        {"csv": {"encoding": 1}},
        {"csv": {"encoding": "rot13"}},
        {"csv": {"decimal": ";"}},
        {"csv": {"decimal": None}},
        {"csv": {"decimal": ",", "delimiter": ","}},
        {"csv": {"thousands": "."}},
    ],
)
def test_options_that_do_not_fit_are_named(given_options: dict) -> None:
    """A misspelt or impossible option is an error that names it, never ignored."""
    with pytest.raises(OptionsInvalidError):
        Options.from_dict(given_options)


@pytest.mark.parametrize(
    ("threshold", "allowed", "refused"),
    [
        (0, (0, 9), (1, 9)),
        (0.1, (1, 10), (1, 9)),
        (1, (1, 9), (2, 9)),
        (-1, (9, 9), None),
        (0.5, (5, 10), (6, 10)),
        (0.29, (29, 100), (30, 100)),
    ],
)
def test_thresholds_are_fractions_or_counts(threshold: float, allowed: tuple, refused: tuple | None) -> None:
    """Below 1 a fraction of the rows, from 1 a count, -1 no limit."""
    options = Options(error_threshold=threshold)
    assert options.allows(*allowed)
    assert refused is None or not options.allows(*refused)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["input", "model", "keep", "csv", "error_threshold", "etag", "delimiter"]) | st.text(),
            inner,
        )
    ),
)


@given(JSON | st.text())
def test_any_message_is_a_job_or_an_error_of_ours(message: object) -> None:
    """No message whatsoever raises anything but our own errors: else the host would retry it."""
    body = message if isinstance(message, str) else json.dumps(message)
    try:
        Job.from_json(body)
    except DropscoreError as error:
        assert not error.retryable
