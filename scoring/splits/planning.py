"""The making of a plan: where a file is cut, which takes one look at all of a CSV file, or at a Parquet footer."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from scoring.codec import Split, Work
from scoring.csv import codec as csv_codec
from scoring.entering import Entered
from scoring.job import format_of
from scoring.log_lines import line
from scoring.options import CsvOptions
from scoring.parquet import codec as parquet_codec
from scoring.parquet.source import ParquetSource
from scoring.pipeline import names, open_work, outputs_of, quiet, watch_of
from scoring.receipt import begun
from scoring.services import Services
from scoring.splits.csv_scan import Scan, ScanRecord, scan_file
from scoring.splits.plan import Plan, Plans
from scoring.tally import Tally
from settings import Settings
from storage import BlobPath

log = logging.getLogger(__name__)

MOST_SPLITS = 4_000
"""Of a file: each may end with a block that is not full, and a blob has at most 50,000."""

_BLOCKS = 49_999  # of a result that splits share, but for the one it begins with


class OutOfTimeError(Exception):
    """The look at a file takes longer than one invocation may: another is to go on with it."""


@dataclass(slots=True)
class Planning:
    """The making of one run's plan."""

    entered: Entered
    services: Services
    started: datetime
    """When the run began, as far as this process knows; UTC."""

    def find(self) -> Plan | None:
        """Return the run's plan, made now if there is none; None for a file that is to be scored whole.

        OutOfTimeError if that is not done within `scan_seconds`; errors as of `score_csv` and `score_parquet`.
        """
        run, services = self.entered.run, self.services
        plans = Plans(services.blobs, services.settings.runs)
        if plan := plans.find(run.id):
            return plan
        work = open_work(run, services, *outputs_of(run, services), progress=quiet, tally=Tally())
        plan = self._plan_csv(work) if format_of(run.job.input.name) == "csv" else self._plan_parquet(work)
        if plan is None or len(plan.splits) < 2:
            return None
        log.info(line("run_planned", **names(run), splits=len(plan.splits)))
        return plans.record(plan)

    def _plan_csv(self, work: Work) -> Plan | None:
        run, settings = self.entered.run, self.services.settings
        beginning = csv_codec.look_into(work)
        if not beginning.wrapping.divisible:
            return None
        about = begun(run) | {"status": "running", "started": self.started.isoformat()}
        record = ScanRecord(work.blobs, BlobPath(settings.runs, f"{run.id}/scan.json"), about)
        scan = record.load() or record.save(Scan.begun(_split_bytes(work, settings), beginning))
        self.started = datetime.fromisoformat(record.about["started"])
        end = time.monotonic() + settings.scan_seconds
        watch = watch_of(self.entered, self.services)

        def save(scan: Scan) -> Scan:
            watch.look()
            return record.save(scan)

        scan = scan_file(work, beginning, scan, save, lambda: time.monotonic() >= end)
        if not scan.done:
            raise OutOfTimeError
        dialect, header = beginning.dialect, int(beginning.dialect.header)
        edges = pairwise([0, *(cut.offset for cut in scan.cuts), work.input.size])
        rows = [-header, *(cut.records - header for cut in scan.cuts)]
        splits, block = [], 1
        for (start, stop), row in zip(edges, rows, strict=True):
            blocks = -(-(stop - start) // work.block_bytes) + 1  # the last record may be a block by itself
            splits.append(Split(start, stop, row, block, blocks))
            block += blocks
        csv = replace(
            work.options.csv, delimiter=dialect.delimiter, quote=dialect.quote, encoding=beginning.wrapping.encoding
        )
        return self._plan(work, splits, csv, dialect.to_dict())

    def _plan_parquet(self, work: Work) -> Plan:
        settings = self.services.settings
        source = parquet_codec.look_into(work)
        groups = _share_groups(source, work.input.size, _split_bytes(work, settings), settings.split_rows)
        share = _BLOCKS // max(len(groups), 1)
        splits, row = [], 0
        for number, group in enumerate(groups):
            splits.append(Split(group.start, group.stop, row, 1 + number * share, share))
            row += sum(source.rows[place] for place in group)
        return self._plan(work, splits, work.options.csv, None)

    def _plan(self, work: Work, splits: list[Split], csv: CsvOptions, dialect: Mapping[str, Any] | None) -> Plan:
        run = self.entered.run
        return Plan(run, tuple(splits), work.block_bytes, csv, dialect, self.started)


def _split_bytes(work: Work, settings: Settings) -> int:
    """Return how large splits are to be, in bytes."""
    return max(settings.split_bytes or work.input.size, work.input.size // MOST_SPLITS + 1)


def _share_groups(source: ParquetSource, size: int, split_bytes: int, split_rows: int) -> list[range]:
    """Return which row groups are a split each time: as many as both limits allow, but one at least."""
    shares: list[range] = []
    sizes = _group_sizes(source, size)
    taken = rows = 0
    for group, (length, count) in enumerate(zip(sizes, source.rows, strict=True)):
        fits = taken + length <= split_bytes and (not split_rows or rows + count <= split_rows)
        if shares and (fits or len(shares) == MOST_SPLITS):
            shares[-1] = range(shares[-1].start, group + 1)
        else:
            shares.append(range(group, group + 1))
            taken = rows = 0
        taken += length
        rows += count
    return shares


def _group_sizes(source: ParquetSource, size: int) -> list[int]:
    """Return each row group's bytes; where the footer is not read by us, about as many as it has rows."""
    if source.layout:
        return [sum(chunk.length for chunk in group.chunks) for group in source.layout.groups]
    total = max(sum(source.rows), 1)
    return [size * rows // total for rows in source.rows]
