"""Run the app in the foreground for the user's own files, and say how to drop one.

Arguments are devhost's: with --duplicate, --reorder, --kill-every and --event-grid it does what Azure does rarely.
"""

import os
import sys

from examples.app import ROOT

HOW = """
Dropscore runs on this machine: Ctrl+C stops it. In another terminal, in this folder:

  register a model    .venv/bin/python -m model_store add churn churn.joblib --sample rows.parquet \\
                          --trust-pickle --store azure
  drop a file         .venv/bin/python -m scoring drop rows.csv --model churn --output scored.csv
  score one row       curl http://localhost:7071/api/predict/churn -d '{"age": 42, "plan": "basic"}'

No model at hand? `.venv/bin/python -m examples.flights` writes one, its sample and a file to score (see README.md).
Any tool that uploads to Azurite's container `incoming` (Azure Storage Explorer, az storage blob upload) drops too.
"""

EVENTS = {"--event-grid", "--cloud-events", "--data-lake"}


def main() -> None:
    """Print what to do and become devhost, so that signals are its own."""
    print(HOW, flush=True)
    if EVENTS.intersection(sys.argv):  # where uploads are to come as events, the app's blob trigger must take them
        os.environ.setdefault("DROPSCORE_BLOB_SOURCE", "eventgrid")
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "devhost", *sys.argv[1:]])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
