"""Run a fuzz target in a process of its own: what kills, stalls or bloats that process is a finding, not the end.

Case number n of a seed is always the same bytes, so a finding is its seed and number; its bytes are saved too.
"""

import logging
import multiprocessing
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Protocol, Self

TARGETS = {
    "csv": "tests.fuzz.csv_files",
    "parquet": "tests.fuzz.parquet_files",
    "messages": "tests.fuzz.messages",
    "splits": "tests.fuzz.splits",
}
CASE_SECONDS = 20.0
"""A case that takes longer is a hang; the slowest in splits take 1.4 s of CPU time, of other targets a tenth."""
RESIDENT_LIMIT = 1024**3
"""Bytes of peak RSS that no case may bring the process to; it begins at about 200 MB."""
ADDRESS_LIMIT = 8 * 1024**3
"""Bytes of address space of the process, so that a case that wants them all fails instead of this machine."""


class Target(Protocol):
    """A reader under fuzz; made once in the child process, with a folder for what it needs on disk."""

    def make(self, random: Random) -> Any:
        """Return a case, whatever the target takes for one; the same for the same random numbers."""
        ...

    def check(self, case: Any) -> str:
        """Try a case and return a word for how it ended; any exception is a finding."""
        ...

    def dump(self, case: Any) -> bytes:
        """Return a case as bytes to be saved."""
        ...


@dataclass(frozen=True)
class Finding:
    """A case that did what no case may."""

    number: int
    what: str
    saved: Path | None = None


@dataclass
class Report:
    """What came of a hunt."""

    cases: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: float = 0.0
    slowest_case: int = 0
    peak: int = 0
    """Bytes of RSS."""

    def text(self) -> str:
        """Return the report as lines."""
        lines = [f"{self.cases:,} cases, {len(self.findings)} findings"]
        lines += [f"  {count:9,} {word}" for word, count in self.endings.most_common()]
        lines.append(f"  slowest case {self.slowest_case}: {self.slowest:.2f} s; peak RSS {self.peak >> 20} MB")
        lines += [f"  FINDING in case {f.number}, saved in {f.saved}: {f.what}" for f in self.findings]
        return "\n".join(lines)


def hunt(
    name: str,
    *,
    seed: int,
    minutes: float = 10.0,
    cases: int | None = None,
    first: int = 0,
    folder: Path | None = None,
    most_findings: int = 20,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Try cases of target `name` for `minutes`, or `cases` of them; findings are saved in `folder`, if given."""
    report = Report()
    deadline, next_word = time.monotonic() + 60 * minutes, time.monotonic() + 30
    last = first + cases if cases is not None else None
    number = first
    while (last is None or number < last) and time.monotonic() < deadline and len(report.findings) < most_findings:
        with _Child(name, seed, number, last) as child:
            while time.monotonic() < deadline and len(report.findings) < most_findings:
                heard = child.listen()
                if heard is None:
                    break
                number = heard.number
                if heard.what:
                    report.findings.append(_finding(name, seed, heard, folder))
                    say(f"case {number}: {heard.what}")
                _note(report, heard)
                number += 1
                if time.monotonic() > next_word:
                    next_word += 30
                    say(f"{report.cases:,} cases, {len(report.findings)} findings, {report.peak >> 20} MB")
                if heard.over:
                    break
    return report


@dataclass(frozen=True)
class _Heard:
    number: int
    ending: str = ""
    what: str = ""
    """Why the case is a finding; empty where it is none."""
    seconds: float = 0.0
    peak: int = 0
    over: bool = False
    """Whether the child is gone."""


class _Child:
    """The process that tries cases, one after the other."""

    def __init__(self, name: str, seed: int, first: int, last: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_try_cases, args=(name, seed, first, last, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._number = first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._conn.close()

    def listen(self) -> _Heard | None:
        """Return what came of the next case; None where there are no more."""
        wait = CASE_SECONDS if self._number else 60.0
        while True:
            if not self._conn.poll(wait):
                return _Heard(self._number, "hang", f"not done after {wait:.0f} s", wait, over=True)
            try:
                word = self._conn.recv()
            except EOFError:
                self._process.join()
                what = f"the process died: exit code {self._process.exitcode}"
                return _Heard(self._number, "crash", what, over=True)
            if word is None:
                return None
            if isinstance(word, int):  # this case begins now
                self._number, wait = word, CASE_SECONDS
                continue
            return _Heard(self._number, *word)


def _try_cases(name: str, seed: int, first: int, last: int | None, parent: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_LIMIT, ADDRESS_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()  # a line for each run would be all that is seen
    with TemporaryDirectory() as folder:
        target = open_target(name, Path(folder))
        number = first
        while last is None or number < last:
            parent.send(number)
            case = target.make(Random(f"{seed}-{number}"))
            began, before, what = time.perf_counter(), _peak(), ""
            try:
                ending = target.check(case)
            except Exception:  # whatever it is: the parent tells it
                ending, what = "raised", traceback.format_exc()
            seconds, peak = time.perf_counter() - began, _peak()
            if peak > RESIDENT_LIMIT and peak > before:
                ending, what = "bloat", f"peak RSS went from {before >> 20} to {peak >> 20} MB; {what}"
            over = bool(what) and ending == "bloat"
            parent.send((ending, what, seconds, peak, over))
            if over:
                return  # the peak stays: a new process is needed to see the next one
            number += 1
    parent.send(None)


def open_target(name: str, folder: Path) -> Target:
    """Return the target of that name."""
    target: Target = import_module(TARGETS[name]).open_target(folder)
    return target


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _note(report: Report, heard: _Heard) -> None:
    report.cases += 1
    report.endings[heard.ending] += 1
    report.peak = max(report.peak, heard.peak)
    if heard.seconds > report.slowest:
        report.slowest, report.slowest_case = heard.seconds, heard.number


def _finding(name: str, seed: int, heard: _Heard, folder: Path | None) -> Finding:
    if folder is None:
        return Finding(heard.number, heard.what)
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / f"{name}-{seed}-{heard.number}"
    with TemporaryDirectory() as place:
        target = open_target(name, Path(place))
        saved.write_bytes(target.dump(target.make(Random(f"{seed}-{heard.number}"))))
    saved.with_suffix(".txt").write_text(heard.what)
    return Finding(heard.number, heard.what, saved)
