"""The rows that are asked for, one a request; none has an empty cell, which some of the peers do not take.

python -m benchmarks.http.rows        # makes the file, unless it is there
"""

import json
import subprocess
import sys
from functools import cache
from typing import Any

from benchmarks.engine.data import DECIMALS
from benchmarks.engine.data import WORK as ENGINE
from benchmarks.processes import ROOT

WORK = ENGINE.with_name("http")
FILE = WORK / "rows.json"
COUNT = 50
"""Rows whose answers are compared; the first of them is the one that is measured."""

Row = dict[str, Any]


@cache
def rows() -> list[Row]:
    """Return the rows; they are made, by a process of its own, where the file is not there."""
    if not FILE.exists():
        subprocess.run([sys.executable, "-m", "benchmarks.http.rows"], check=True, cwd=ROOT)
    read: list[Row] = json.loads(FILE.read_text("utf-8"))
    return read


def make() -> None:
    """Write the rows: of the same kind as those of whole files, which models were not trained on."""
    from benchmarks.rows import NUMBERS, make_rows  # noqa: PLC0415  # heavy, and only here

    frame = make_rows(COUNT * 10, seed=100).dropna().head(COUNT)
    frame[NUMBERS] = frame[NUMBERS].round(DECIMALS)
    WORK.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(frame.to_dict("records"), indent=0), "utf-8")


if __name__ == "__main__":
    make()
