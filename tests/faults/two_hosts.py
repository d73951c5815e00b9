"""Score large files in splits by two devhosts that are killed all the time: the result is that of one quiet run.

    python -m tests.faults.two_hosts --megabytes 2000

A CSV and a Parquet file are dropped together. Two devhosts, each with a supervisor of its own, take their splits
from one queue and die at random, every so many seconds of work; nothing is repaired by hand. What is there in the
end is compared with what one process makes of each file in one piece: CSV byte for byte, Parquet row for row, and
the rejects too.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from devhost.azurite import Azurite, free_ports
from model_store.packaging import build_package
from model_store.registry import Registry
from scoring.job import Job
from scoring.local_files import download, upload
from scoring.pipeline import run_job
from scoring.receipt import Receipt
from scoring.services import Services
from settings import Settings
from storage import BlobPath
from tests.faults.large_files import same_bytes, same_rows, write_csv, write_parquet
from tests.hand_model import make_conversion

ROOT = Path(__file__).resolve().parents[2]
HOSTS = 2
MEGABYTE = 1_000_000
"""As disks count them."""

WRITERS: dict[str, Callable[[Path, int], int]] = {"large.csv": write_csv, "large.parquet": write_parquet}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Host:
    """A devhost with its supervisor, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def kills(self) -> int:
        return self.said.count("Killing this host")

    @property
    def splits(self) -> int:
        """How many scorings of a split began here, those that were killed included."""
        return len(re.findall(r"\bsplit_began\b", self.said))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@dataclass
class Proof:
    """Two files, their undisturbed results, and the storage that hosts work on."""

    folder: Path
    azurite: Azurite
    split_bytes: int
    kill_every: float
    seed: int
    hosts: list[Host] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own = {
            "AzureWebJobsStorage": self.azurite.connection_string,
            "DROPSCORE_CACHE": str(self.folder / "cache"),
            "DROPSCORE_SPLIT_BYTES": str(self.split_bytes),
            "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:00",
            # A kill is a delivery: more of them than a machine would survive in Azure are not to end a run.
            "AzureFunctionsJobHost__extensions__queues__maxDequeueCount": "1000",
        }
        self.services = Services.open(Settings.load(self.own))
        package = self.folder / "package"
        build_package(make_conversion(), package)
        Registry(self.services.blobs, self.services.settings.models).add("churn", package)

    def score_whole(self, file: Path) -> Receipt:
        """Score a file in this process, in one piece, into a folder."""
        store = self.folder / "whole"
        environment = {"DROPSCORE_FOLDER": str(store), "DROPSCORE_CACHE": self.own["DROPSCORE_CACHE"]}
        services = Services.open(Settings.load(environment | {"DROPSCORE_SPLIT_BYTES": "0"}))
        Registry(services.blobs, services.settings.models).add("churn", self.folder / "package")
        path = BlobPath(services.settings.incoming, f"churn/{file.name}")
        upload(services.blobs, file, path)
        receipt = run_job(Job.for_dropped(path), services)
        for place in (receipt.output, receipt.rejects):
            assert place, receipt.error
            download(services.blobs, BlobPath.parse(place), self.expected(place))
        services.engine.close()
        shutil.rmtree(store)
        return receipt

    def expected(self, place: str) -> Path:
        """Return where the undisturbed result is that belongs to a blob."""
        return self.folder / place.replace("/", "-")

    def start_host(self) -> None:
        """Start one more host; each is killed at times of its own."""
        number = len(self.hosts)
        log = self.folder / f"host{number}.log"
        flags = ["--no-azurite", "--queue-lease", "5", "--port", str(free_ports(1)[0])]
        flags += ["--kill-every", str(self.kill_every), "--seed", str(self.seed * HOSTS + number)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "devhost", *flags],
                cwd=ROOT,
                env=os.environ | self.own,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.hosts.append(Host(process, log))

    def close(self) -> None:
        """End what still runs."""
        for host in self.hosts:
            if host.process.poll() is None:
                host.stop()
        self.services.engine.close()

    def wait_for(self, file: Path, deadline: float) -> Receipt | None:
        """Return the one receipt of a file when it is there; None if it is not in time, or a host has ended."""
        while time.monotonic() < deadline and all(host.process.poll() is None for host in self.hosts):
            if found := self.receipts(file):
                return found[0]
            time.sleep(0.5)
        return None

    def receipts(self, file: Path) -> list[Receipt]:
        """Return the receipts there are of runs of a file."""
        blobs, runs = self.services.blobs, self.services.settings.runs
        found = [b.path for b in blobs.list(runs) if b.path.name.endswith("/receipt.json")]
        receipts = [Receipt.from_json(blobs.read(path)) for path in found]
        return [each for each in receipts if str(each.input["path"]).endswith(f"/churn/{file.name}")]

    def check(self, file: Path, whole: Receipt, receipt: Receipt | None) -> None:
        """Compare a file's run with the undisturbed one, and note what differs."""
        if receipt is None or receipt.status != "succeeded" or len(self.receipts(file)) != 1:
            self.problems.append(f"{file.name}: receipts {self.receipts(file)}")
            return
        if receipt.rows != whole.rows or receipt.reject_codes != whole.reject_codes:
            self.problems.append(f"{file.name}: {receipt.rows}, undisturbed {whole.rows}")
        for kind in (self.services.settings.scored, self.services.settings.rejected):
            path = BlobPath(kind, f"churn/{file.name}")
            if not self._same(path):
                self.problems.append(f"{path} is not what one undisturbed run makes of the file")

    def _same(self, path: BlobPath) -> bool:
        blobs, expected = self.services.blobs, self.expected(str(path))
        found = {blob.path.name for blob in blobs.list(path.container, path.name)}
        if not path.name.endswith(".parquet"):
            return found == {path.name} and same_bytes(blobs, path, expected)
        parts = sorted(name for name in found if not name.endswith("/_SUCCESS"))
        if parts != [path.name] and f"{path.name}/_SUCCESS" not in found:
            return False
        local = [self.folder / f"part-{number}" for number in range(len(parts))]
        for name, part in zip(parts, local, strict=True):
            download(blobs, BlobPath(path.container, name), part)
        return same_rows(local, expected)


@app.command(help=__doc__)
def prove(
    *,
    megabytes: Annotated[int, typer.Option(help="Size of each file.")] = 2000,
    split_megabytes: Annotated[int, typer.Option(help="Size of a split.")] = 64,
    kill_every: Annotated[float, typer.Option(help="Seconds of work between two kills of a host.")] = 20,
    seed: Annotated[int, typer.Option(help="Kills are drawn from it.")] = 1,
    minutes: Annotated[float, typer.Option(help="How long it may take.")] = 60,
    work: Annotated[Path | None, typer.Option(help="A folder to work in, kept afterwards.")] = None,
) -> None:
    with ExitStack() as stack:
        folder = Path(mkdtemp(prefix="two-hosts-")) if work is None else work.resolve()
        if work is None:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        azurite = stack.enter_context(Azurite.on_free_ports(data=folder / "azurite"))
        proof = Proof(folder, azurite, split_megabytes * MEGABYTE, kill_every, seed)
        stack.callback(proof.close)
        prepared = {}
        for name, write in WRITERS.items():
            prepared[folder / name] = prepare(proof, folder / name, write, megabytes)
        begin = time.monotonic()
        for _ in range(HOSTS):
            proof.start_host()
        for file, whole in prepared.items():
            receipt = proof.wait_for(file, begin + minutes * 60)
            status = receipt.status if receipt else "no receipt"
            typer.echo(f"{file.name}: {status} after {time.monotonic() - begin:.0f} s")
            proof.check(file, whole, receipt)
        for number, host in enumerate(proof.hosts):
            code = host.stop()
            typer.echo(f"host {number}: {host.kills} kills, {host.splits} splits begun, ended with {code}")
            # One that was just starting again has no handler of the signal yet, and nothing to drain.
            if code not in (0, 130, 128 + signal.SIGTERM) or not host.splits or not host.kills:
                proof.problems.append(f"host {number} has not done its part: see its log, {host.log}")
        for problem in proof.problems:
            typer.echo(f"VIOLATION {problem}")
        typer.echo(f"{len(proof.problems)} violations")
    raise typer.Exit(1 if proof.problems else 0)


def prepare(proof: Proof, file: Path, write: Callable[[Path, int], int], megabytes: int) -> Receipt:
    """Write a file, score it in one piece, and drop it; return the receipt of the whole."""
    begin = time.monotonic()
    rows = write(file, megabytes * MEGABYTE)
    written = time.monotonic()
    whole = proof.score_whole(file)
    typer.echo(
        f"{file.name}: {file.stat().st_size:,} bytes, {rows:,} rows, written in {written - begin:.0f} s and scored "
        f"in one piece in {time.monotonic() - written:.0f} s"
    )
    upload(proof.services.blobs, file, BlobPath(proof.services.settings.incoming, f"churn/{file.name}"))
    return whole


if __name__ == "__main__":
    app()
