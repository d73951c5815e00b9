"""What is scored while it is disturbed: small files that become several blocks, a reject among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from scoring.job import Job
from storage import BlobPath

HEADER = b"id,age,visits,member,plan\n"
PLANS = (b"basic", b"plus", b"pro", b"")


@dataclass(frozen=True, eq=False)
class Scene:
    """A file as it is dropped, the version that may replace it, and the settings it is scored under."""

    name: str
    file: str
    content: bytes
    newer: bytes
    settings: Mapping[str, str] = field(default_factory=dict)
    """DROPSCORE_* without the prefix, beside those that all scenes have."""
    is_submitted: bool = False
    """Whether its run is given out before anybody takes its job, as over HTTP."""

    def path(self, container: str) -> BlobPath:
        """Return where the file is dropped."""
        return BlobPath(container, f"churn/{self.file}")

    def job(self, container: str, etag: str | None) -> Job:
        """Return the job that the file's drop becomes."""
        return Job.for_dropped(self.path(container), etag)


def rows(count: int, first: int = 0) -> bytes:
    """Return a CSV file; every twentieth row, and the first, is a reject."""
    lines = [
        b"%d,%d,%s,%s,%s\n"
        % (i, 20 + i % 50, b"x" if i % 20 == 0 else b"%d" % (i % 7), (b"true", b"false")[i % 2], PLANS[i % 4])
        for i in range(first, first + count)
    ]
    return HEADER + b"".join(lines)


def table(count: int, first: int = 0) -> bytes:
    """Return a Parquet file in row groups of 20; every twentieth row, and the first, is a reject."""
    numbers = range(first, first + count)
    columns = {
        "id": pa.array(numbers, pa.int64()),
        "age": pa.array([20.0 + i % 50 for i in numbers]),
        "visits": pa.array([None if i % 20 == 0 else i % 7 for i in numbers], pa.int64()),
        "member": pa.array([i % 2 == 0 for i in numbers]),
        "plan": pa.array([PLANS[i % 4].decode() or None for i in numbers]),
    }
    sink = BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=20)
    return sink.getvalue()


PLAIN = Scene("plain", "a.csv", rows(60), rows(50, first=1000))
"""Five blocks of result, one of rejects."""

SUBMITTED = replace(PLAIN, name="submitted", is_submitted=True)
"""The same, as a run that was queued under its id."""

SPLIT = Scene("split", "s.csv", rows(100), rows(80, first=1000), {"SPLIT_BYTES": "800"})
"""Three splits of some blocks each."""

TABLE = Scene("split Parquet", "t.parquet", table(60), table(40, first=1000), {"SPLIT_ROWS": "20"})
"""Three splits of a row group each, which become three files."""
