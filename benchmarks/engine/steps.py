"""What the data path of a CSV file with all columns kept is made of, and how much of it is ours.

Each step is done twice for each block: by the engine's own code, and by the library calls in it alone, on the same
bytes. The difference is what our code adds, all that it could save without other calls.

    python -m benchmarks.engine.steps        # prints CPU microseconds a row, one thread, as JSON
"""

import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.engine.data import source
from benchmarks.engine.models import LINEAR, make
from benchmarks.processes import ROOT, environment
from settings import Settings

FILE_ROWS = 2_000_000
BLOCKS = 8
BLOCK_BYTES = Settings().block_bytes
ROUNDS = 9
OURS, ALONE = "Dropscore", "calls alone"

KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Variables by which glibc keeps memory that was let go. Else it hands some back, and which step then waits for the
system to clear new memory is a matter of chance: a part of a step could take longer than the whole."""


@dataclass(frozen=True)
class Step:
    """One line of the table."""

    title: str
    calls: str
    """The library calls in it."""
    is_part: bool = False
    """Whether it is a part of the step before, and so in the sum already."""


STEPS = {
    "read": Step("reading a block from the page cache", "`read`"),
    "cut": Step("cutting it into records", "as below; a copy; a look for quotes, one for CR"),
    "find": Step("of that, finding the ends of records", "NumPy: `== 10`, `flatnonzero`", is_part=True),
    "parse": Step("parsing into the model's types", "`pyarrow.csv.read_csv`; a look for other than ASCII"),
    "bytes": Step("of that, all columns as bytes", "`read_csv` to binary columns", is_part=True),
    "split": Step("of that, splitting into cells", "`read_csv` to one binary column", is_part=True),
    "text": Step("answers to text", "`pyarrow.compute.cast`"),
    "splice": Step("splicing them into the records", "`binary_join_element_wise`, twice"),
    "id": Step("the block's id", "`hashlib.sha256` of the answers"),
    "write": Step("writing into the page cache", "`write`"),
}
"""In the order that a block goes through them."""


def measure_steps() -> dict[str, dict[str, float]]:
    """Return each step's microseconds a row: by our code, where we have the step, and by its library calls."""
    make(LINEAR)
    source(FILE_ROWS, "csv")
    words = [sys.executable, "-m", "benchmarks.engine.data_path"]
    variables = environment() | KEPT_MEMORY
    answer = subprocess.run(words, cwd=ROOT, env=variables, check=True, capture_output=True, text=True)
    taken: dict[str, dict[str, float]] = json.loads(answer.stdout)
    return taken


if __name__ == "__main__":
    print(json.dumps(measure_steps()))
