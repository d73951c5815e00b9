"""Compare two systems' results: the same ids in the same order, labels equal, probabilities within 1e-6.

python -m benchmarks.engine.answers OURS THEIRS        # .csv or .parquet each; ends with 1 if they differ
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["id", "prediction", "probability_yes"]
TOLERANCE = 1e-6


def read(file: Path) -> "pa.Table":
    """Return id, label and probability of each row."""
    import pyarrow as pa  # noqa: PLC0415  # heavy, and only here
    import pyarrow.csv as pc  # noqa: PLC0415  # as above
    import pyarrow.parquet as pq  # noqa: PLC0415  # as above

    schema = pa.schema({"id": pa.int64(), "prediction": pa.string(), "probability_yes": pa.float64()})
    if file.suffix == ".parquet":
        return pq.read_table(file, columns=COLUMNS).cast(schema)
    return pc.read_csv(file, convert_options=pc.ConvertOptions(column_types=schema, include_columns=COLUMNS))


def compare(ours: "pa.Table", theirs: "pa.Table") -> str:
    """Return what differs, in words; nothing if they are the same."""
    import pyarrow.compute as pc  # noqa: PLC0415  # heavy, and only here

    if len(ours) != len(theirs):
        return f"{len(ours):,} rows, theirs {len(theirs):,}"
    if nulls := sum(column.null_count for column in (*ours.columns, *theirs.columns)):
        return f"{nulls:,} cells are empty"
    for name in ("id", "prediction"):
        if different := pc.sum(pc.not_equal(ours[name], theirs[name])).as_py():
            return f"{name} differs in {different:,} of {len(ours):,} rows"
    distance = pc.abs(pc.subtract(ours["probability_yes"], theirs["probability_yes"]))
    if far := pc.sum(pc.invert(pc.less_equal(distance, TOLERANCE))).as_py():  # NaN is far from all
        return f"probability_yes is more than {TOLERANCE:g} away in {far:,} of {len(ours):,} rows"
    return ""


def main() -> None:
    """Compare the files named on the command line."""
    ours, theirs = map(Path, sys.argv[1:])
    if difference := compare(read(ours), read(theirs)):
        sys.exit(f"{theirs.name} is not what Dropscore answers: {difference}")


if __name__ == "__main__":
    main()
