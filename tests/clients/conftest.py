"""What `python -m tests.clients` says of the server that it has started."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest


@dataclass(frozen=True)
class Facts:
    url: str
    rows: list[dict]
    expected: list[float]
    """The model's own probabilities for the rows."""
    folder: str

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)


@pytest.fixture(scope="session")
def facts() -> Facts:
    return Facts(**json.loads(os.environ["DROPSCORE_CLIENTS"]))


@pytest.fixture(scope="session")
def readme() -> str:
    return (Path(__file__).parents[2] / "README.md").read_text("utf-8")
