"""benchmarks/RESULTS.md: one section for each script, written anew whenever that script runs."""

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def write_section(title: str, text: str, results: Path = RESULTS) -> None:
    """Put `text` under the heading `title`, in place of what is there; other sections stay as they are."""
    before = results.read_text("utf-8") if results.exists() else "# Results\n"
    head, *sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)
    kept = {section.partition("\n")[0]: section.rstrip() for section in sections}
    kept[f"## {title}"] = f"## {title}\n\n{text.strip()}"
    results.write_text("\n\n".join([head.rstrip(), *kept.values()]) + "\n", "utf-8")


def machine(libraries: Iterable[str]) -> str:
    """Say when, on what and with what was measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    cores = f"{os.cpu_count()} cores of {platform.machine()}"
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {cores}, Python {platform.python_version()}, {versions}"


@cache
def commit() -> str:
    """Return the short name of the commit that is checked out, with -dirty if files are not as in it.

    As they were when it was first asked: what is measured later finds what was written of the first.
    """
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    answer = subprocess.run(words, cwd=RESULTS.parent, check=False, capture_output=True, text=True)
    return answer.stdout.strip() or "unknown"  # a copy of the files may have no history
