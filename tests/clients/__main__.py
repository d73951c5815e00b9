"""Ask a real server with other people's clients: MLflow's, Triton's, MLServer's codecs, and the README's curl.

`python -m tests.clients [what pytest takes]`; `make test-clients` runs it. The clients are in an environment of
their own, made by tests/frameworks/environments.py; the server is ours, by uvicorn, on 127.0.0.1.
"""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from examples import flights
from model_store import package
from model_store.packaging import build_package
from model_store.registry import Registry
from settings import Settings
from storage import Storage, open_storage
from tests.frameworks.environments import ROOT, Environment
from tests.hand_model import hand_scores, make_conversion
from tests.real_server import serve

HERE = Path(__file__).parent
CLIENTS = Environment("clients", "3.12", HERE)

ROWS = [
    {"age": 20.0, "visits": 3, "member": True, "plan": "basic"},
    {"age": None, "visits": 4, "member": False, "plan": "é"},
    {"age": 61.5, "visits": 0, "member": True, "plan": ""},
]
"""What most tests ask for: a missing number, and texts that are not ASCII, or empty."""


def main() -> None:
    """Make the environment, the models and the server, run the tests, and end with their status."""
    CLIENTS.make()
    with TemporaryDirectory() as name:
        folder = Path(name)
        registry = register(folder, open_storage(Settings(folder=str(folder / "store"))))
        write_flights(folder, registry)
        with serve(folder, {"DROPSCORE_MODEL": "churn"}) as server:
            expected = hand_scores([tuple(row.values()) for row in ROWS])
            facts = {"url": server.url, "rows": ROWS, "expected": expected, "folder": str(folder)}
            # Warnings are of the clients' own making: at import, and at every call.
            options = ["-q", "-W", "ignore", f"--confcutdir={HERE}", "-p", "no:cacheprovider"]
            command = [CLIENTS.interpreter, "-m", "pytest", *options, HERE, *sys.argv[1:]]
            environment = os.environ | {"DROPSCORE_CLIENTS": json.dumps(facts)}
            status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            if status:
                sys.stdout.write(server.log.read_text("utf-8", "replace")[-5000:])
    sys.exit(status)


def register(folder: Path, storage: Storage) -> Registry:
    """Put the hand-built model into a new registry."""
    storage.blobs.create_container("models")
    registry = Registry(storage.blobs, "models")
    build_package(make_conversion(), folder / "churn")
    registry.add("churn", folder / "churn")
    return registry


def write_flights(folder: Path, registry: Registry) -> None:
    """Add the README's model, a small one, and the files that its commands name."""
    history = flights.load(range(1, 3))
    package(flights.train(history, iterations=5), flights.sample(history, 500), folder / "flights")
    registry.add("flights", folder / "flights")
    (folder / "flights-december.csv").write_text("".join(islice(flights.raw_lines(range(12, 13)), 500)), "utf-8")


if __name__ == "__main__":
    main()
