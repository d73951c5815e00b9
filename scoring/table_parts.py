"""What the files are called that a Parquet result in parts is made of: `part-00000.parquet`, …, and `_SUCCESS`."""

import re

SUCCESS = "_SUCCESS"

_PART = re.compile(r"part-\d{5}\.parquet")


def part_name(split: int) -> str:
    """Return what the file of a split is called."""
    return f"part-{split:05d}.parquet"


def is_part(name: str) -> bool:
    """Say whether the file of a split may be called so."""
    return _PART.fullmatch(name) is not None
