"""Where results and rejects are put: each input has places of its own, and none of them lies inside another's."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_store import ModelReference
from scoring.intake import accept_message
from scoring.job import Job, format_of
from scoring.options import Format, Options
from scoring.table_parts import SUCCESS, is_part, part_name
from storage import BlobPath
from tests.hand_model import make_sample
from tests.scoring.test_csv import GOOD


def job_of(place: str, model: str = "churn", output_format: Format | None = None) -> Job:
    return Job(BlobPath.parse(place), ModelReference.parse(model), Options(output_format=output_format))


@pytest.mark.parametrize(
    ("place", "output_format", "scored"),
    [
        ("incoming/churn/2026/a.csv", None, "churn/2026/a.csv"),
        ("incoming/churn/2026/a.csv", "csv", "churn/2026/a.csv"),
        ("incoming/churn/a.csv", "parquet", "churn/a.csv.parquet"),
        ("incoming/churn/a.csv.parquet", None, "churn/a.csv.parquet.parquet"),
        ("incoming/churn/a.csv.parquet", "csv", "churn/a.csv.parquet.csv"),
        ("incoming/churn/a.parquet.CSV", None, "churn/a.parquet.CSV.csv"),
        ("incoming/churn/a.csv.csv", None, "churn/a.csv.csv"),
        ("incoming/churn/a.csv.gz", "parquet", "churn/a.csv.gz.parquet"),
        (
            "incoming/churn/t.parquet/part-00000-4f1c.c000.snappy.parquet",
            None,
            "churn/t.parquet/part-00000-4f1c.c000.snappy.parquet",
        ),
        ("incoming/churn/t.parquet/x=1/part-00000.parquet", None, "churn/t.parquet/x=1/part-00000.parquet"),
        ("incoming/churn/t.parquet/part-00000.parquet", None, "churn/t.parquet.files/part-00000.parquet"),
        (
            "incoming/churn/t.parquet.files/part-00000.parquet",
            None,
            "churn/t.parquet.files.files/part-00000.parquet",
        ),
        ("incoming/churn/t.csv/part-00000.parquet", None, "churn/t.csv/part-00000.parquet"),
        ("incoming/risk/a.csv", None, "churn/_from/incoming/risk/a.csv"),
        ("incoming/churn@3/a.csv", None, "churn/_from/incoming/churn@3/a.csv"),
        ("incoming/a.csv", None, "churn/_from/incoming/a.csv"),
        ("data/a.csv", "parquet", "churn/_from/data/a.csv.parquet"),
        ("data/churn/a.csv", None, "churn/_from/data/churn/a.csv"),
        ("scored/churn/a.csv", None, "churn/_from/scored/churn/a.csv"),
        ("incoming/churn/_from/data/a.csv", None, "churn/_from/incoming/churn/_from/data/a.csv"),
        ("incoming/churn/a", "parquet", "churn/a"),
    ],
)
def test_where_a_result_is_put(place: str, output_format: Format | None, scored: str) -> None:
    """A file of the model's own folder has its own path; others, and names that could be mistaken, do not."""
    assert job_of(place, output_format=output_format).scored_name("incoming") == scored


PARTS = st.sampled_from(
    [
        *(
            "churn",
            "risk",
            "churn@3",
            "_from",
            "incoming",
            "data",
            "a",
            "part-00000",
            "_SUCCESS",
            ".csv",
            ".parquet",
        ),
        *("a.csv", "A.CSV", "a.csv.csv", "a.parquet.csv", "a.csv.gz", "a.csv.gz.parquet", "a.csv.files"),
        *("a.parquet", "a.csv.parquet", "a.csv.PARQUET", "a.parquet.parquet", "a.csv.parquet.parquet"),
        *("a.parquet.files", "part-00000.parquet", ".csv", ".parquet"),
    ]
)
PATHS = st.builds(
    BlobPath,
    st.sampled_from(["incoming", "data", "scored"]),
    st.lists(PARTS, min_size=1, max_size=4).map("/".join),
)
MODELS = st.sampled_from(["churn", "risk", "churn@3", "churn@a.parquet"]).map(ModelReference.parse)
JOBS = st.builds(Job, PATHS, MODELS, st.builds(Options, output_format=st.sampled_from([None, "csv", "parquet"])))


def mistakable(job: Job) -> Iterator[Job]:
    """Yield a job, and those of inputs that are called as what comes of it."""
    yield job
    for name in (job.scored_name("incoming"), job.result_name("incoming")):
        _, _, rest = name.partition("/")
        for more in ("", f"/{part_name(0)}", f"/{SUCCESS}"):
            yield replace(job, input=BlobPath("incoming", name + more))
            yield replace(job, input=BlobPath("data", rest + more))
            yield replace(job, input=BlobPath("incoming", f"{job.model}/{rest}{more}"), options=Options())


@given(st.lists(JOBS, min_size=1, max_size=20))
@example([job_of("incoming/risk/x.csv"), job_of("incoming/churn/risk/x.csv")])
@example([job_of("data/x.csv"), job_of("incoming/churn/data/x.csv")])
@example([job_of("incoming/churn/a.csv", output_format="parquet"), job_of("incoming/churn/a.csv.parquet")])
@example([job_of("data/a.csv", output_format="parquet"), job_of("data/a.csv.parquet")])
@example([job_of("incoming/churn/x.parquet"), job_of("incoming/churn/x.parquet/part-00000.parquet")])
def test_no_two_inputs_share_a_place(jobs: list[Job]) -> None:
    """Different inputs, models or formats have different results; different inputs or models different rejects.

    And no result is at the place of a part of another, that may be a folder.
    """
    scored, rejected = defaultdict(set), defaultdict(set)
    for job in chain.from_iterable(map(mistakable, jobs)):
        own = format_of(job.input.name)
        kind = own and (job.options.output_format or own)
        scored[job.scored_name("incoming")].add((job.input, job.model, kind))
        rejected[job.result_name("incoming")].add((job.input, job.model))
    for places in (scored, rejected):
        assert [who for who in places.values() if len(who) > 1] == []
        for name in places:
            place, _, file = name.partition("/")[2].rpartition("/")  # a model's name is no result's
            assert format_of(place) != "parquet" or not (is_part(file) or file == SUCCESS), name
    # what a result is in follows from its name
    assert all(format_of(name) == kind for name, [(_, _, kind)] in scored.items())


@pytest.mark.parametrize(
    "jobs",
    [
        [{"input": "incoming/risk/x.csv", "model": "churn"}, {"input": "incoming/churn/risk/x.csv"}],
        [{"input": "data/x.csv", "model": "churn"}, {"input": "incoming/churn/data/x.csv"}],
        [{"input": "incoming/churn/a.csv", "output_format": "parquet"}, {"input": "incoming/churn/a.csv.parquet"}],
    ],
    ids=["another model's folder", "another container", "another format"],
)
def test_a_result_is_not_replaced_by_that_of_another_input(services, parquet, jobs: list[dict[str, str]]) -> None:
    """Two inputs that are called alike keep a result and rejects each, and the receipts say where."""
    services.blobs.create_container("data")
    bad = GOOD + b"4,x,1,true,pro\n"
    for job in jobs:
        path = BlobPath.parse(job["input"])
        services.blobs.write(path, parquet(make_sample(3)) if path.name.endswith(".parquet") else bad)
    receipts = [accept_message(json.dumps(job | {"error_threshold": -1}), services) for job in jobs]
    for receipt in receipts:
        assert receipt
        assert receipt.status == "succeeded", receipt.error
        found = services.blobs.stat(BlobPath.parse(receipt.output))
        assert found.metadata["dropscore_run"] == receipt.run_id
        assert not receipt.rejects or services.blobs.stat(BlobPath.parse(receipt.rejects))
    assert len({receipt.output for receipt in receipts}) == 2


@pytest.mark.parametrize(
    "job",
    [{"input": "incoming/churn/a", "output_format": "parquet"}, {"input": "incoming/churn/a.parquet/_SUCCESS"}],
)
def test_a_file_that_cannot_be_scored_takes_nobodys_result_away(fleets, parquet, job: dict[str, str]) -> None:
    """It is neither CSV nor Parquet by its name, so nothing can be left of an older version of it."""
    fleet = fleets(split_rows=100)
    fleet.score("a.parquet", parquet(make_sample(300), row_group_size=100))
    before = [blob.path for blob in fleet.services.blobs.list("scored")]
    path = BlobPath.parse(job["input"])
    fleet.services.blobs.write(path, GOOD)
    receipt = accept_message(json.dumps(job | {"model": "churn"}), fleet.services)
    assert receipt
    assert receipt.error
    assert receipt.error["code"] == "format_unsupported"
    assert [blob.path for blob in fleet.services.blobs.list("scored")] == before
