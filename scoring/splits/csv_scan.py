"""Find where a CSV file may be cut: behind which bytes a record ends, and how many records lie before.

Only who has seen all quotes from the beginning on knows whether a line end is inside of one, so the file is looked
at from end to end, once, as fast as it can be read. How far that has come is written down at each cut that was
found, and another process can go on from there: behind a record's end nothing matters of what was before.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from errors import BlobNotFoundError, ConditionFailedError
from scoring.codec import Work
from scoring.csv.codec import Beginning
from scoring.csv.record_ends import NEWLINE, RETURN, RecordEnds
from scoring.csv.records import too_large
from storage import ANY_ETAG, BlobPath, BlobStore, stream


@dataclass(frozen=True, slots=True)
class Cut:
    """A place between two records."""

    offset: int
    """In bytes of the file."""
    records: int
    """How many there are before it: blank lines are none, the header is one."""


@dataclass(frozen=True, slots=True)
class Scan:
    """How far a file has been looked at, and where it may be cut."""

    split_bytes: int
    """A cut is wanted at each multiple of it, or as soon behind as a record ends."""
    seen: Cut
    """The last end of a record that was seen."""
    cuts: tuple[Cut, ...] = ()
    done: bool = False
    """Whether the file was seen to its end."""

    @classmethod
    def begun(cls, split_bytes: int, beginning: Beginning) -> "Scan":
        """Return the scan of a file of which nothing was seen but its mark."""
        return cls(split_bytes, Cut(len(beginning.wrapping.mark), 0))

    def ends_at(self, offsets: np.ndarray, records: np.ndarray) -> "Scan":
        """Return the scan with further ends of records: `offsets` in the file, `records` up to each; both int64."""
        cuts = list(self.cuts)
        while True:
            goal = ((cuts[-1].offset if cuts else 0) // self.split_bytes + 1) * self.split_bytes
            # The first split has at least a record, which says what columns there are.
            place = max(int(np.searchsorted(offsets, goal)), int(np.searchsorted(records, 1)))
            if place == len(offsets):
                break
            cuts.append(Cut(int(offsets[place]), int(records[place])))
        return replace(self, seen=Cut(int(offsets[-1]), int(records[-1])), cuts=tuple(cuts))


@dataclass(slots=True)
class ScanRecord:
    """A run's scan as it is stored for those who go on with it."""

    blobs: BlobStore
    path: BlobPath
    about: Mapping[str, Any]
    """What is known of the run besides, for those who ask before there is a plan."""
    _etag: str | None = field(default=None, init=False)

    def load(self) -> Scan | None:
        """Return the scan that was written last; None where there is none."""
        try:
            found = self.blobs.poll(self.path)
        except BlobNotFoundError:
            found = None
        if found is None:
            self._etag = None
            return None
        self._etag = found[0]
        self.about = json.loads(found[1])
        scan = self.about["scan"]
        return Scan(scan["split_bytes"], Cut(*scan["seen"]), tuple(Cut(*cut) for cut in scan["cuts"]), scan["done"])

    def save(self, scan: Scan) -> Scan:
        """Write down how far a scan has come. Return it; or another process's, where that has come further."""
        values = {
            "split_bytes": scan.split_bytes,
            "seen": [scan.seen.offset, scan.seen.records],
            "cuts": [[cut.offset, cut.records] for cut in scan.cuts],
            "done": scan.done,
        }
        while True:
            try:
                self._etag = self.blobs.write(
                    self.path,
                    json.dumps({**self.about, "scan": values}).encode(),
                    if_match=self._etag,
                    if_none_match=None if self._etag else ANY_ETAG,
                    content_type="application/json",
                )
                return scan
            except ConditionFailedError:
                theirs = self.load()
            if theirs and (theirs.done or theirs.seen.offset >= scan.seen.offset):
                return theirs


def scan_file(
    work: Work, beginning: Beginning, scan: Scan, save: Callable[[Scan], Scan], out_of_time: Callable[[], bool]
) -> Scan:
    """Look at a CSV file from where `scan` has come to, and return a scan that is done; or, `out_of_time`, is not.

    `save` is given the scan at each cut and at the end; what it returns is gone on with. RecordTooLargeError as in
    `cut_records`. Memory is two blocks.
    """
    while not scan.done:
        scan = _scan_on(work, beginning, scan, save, out_of_time)
        if out_of_time():
            break
    return scan


def _scan_on(
    work: Work, beginning: Beginning, scan: Scan, save: Callable[[Scan], Scan], out_of_time: Callable[[], bool]
) -> Scan:
    """Go on until the file or the time ends, or somebody else is further."""
    dialect = beginning.dialect
    ends = RecordEnds(dialect.delimiter, dialect.quote)
    offset, is_blank = scan.seen.offset, False  # of the record that is begun: whether it is a blank line
    with closing(stream(work.blobs, work.input, chunk=work.block_bytes, offset=offset)) as chunks:
        for chunk in chunks:
            found = ends.find(chunk)
            view = np.frombuffer(chunk, np.uint8)
            if offset == scan.seen.offset:
                is_blank = chunk[0] in (NEWLINE, RETURN)
            if len(found):
                starts = found[:-1]  # of the records behind the first, which may have begun before this chunk
                blank = (view[starts] == NEWLINE) | (view[starts] == RETURN)
                whole = np.concatenate([np.array([not is_blank]), ~blank])
                mine = scan.ends_at(found + offset, np.cumsum(whole) + scan.seen.records)
                is_blank = found[-1] < len(chunk) and chunk[found[-1]] in (NEWLINE, RETURN)
                if mine.cuts != scan.cuts or out_of_time():
                    scan = save(mine)
                    if scan is not mine or out_of_time():
                        return scan
                scan = mine
            offset += len(chunk)
            if offset - scan.seen.offset > work.max_record_bytes:
                row = scan.seen.records - int(dialect.header)
                raise too_large(work.max_record_bytes, work.file, row)
    cuts = tuple(cut for cut in scan.cuts if cut.offset < work.input.size)
    return save(replace(scan, cuts=cuts, done=True))
