"""Which splits are scored: a marker for each, with the names of its blocks and the count of its rows."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from errors import BlobNotFoundError, ConditionFailedError
from scoring.splits.plan import Pointer
from scoring.tally import Tally
from storage import ANY_ETAG, BlobPath, BlobStore


@dataclass(frozen=True, slots=True)
class Marker:
    """What came of a split: everything staged, nothing committed."""

    scored_blocks: tuple[str, ...]
    rejected_blocks: tuple[str, ...]
    tally: Tally

    def to_json(self) -> str:
        """Return the marker as its blob holds it."""
        tally = self.tally
        counts = {"read": tally.read, "scored": tally.scored, "rejected": tally.rejected}
        times = {"codes": tally.codes, "wall": tally.wall, "cpu": tally.cpu}
        return json.dumps(
            {"scored_blocks": self.scored_blocks, "rejected_blocks": self.rejected_blocks, "tally": counts | times}
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Marker":
        """Read a marker back."""
        values = json.loads(text)
        tally = values["tally"] | {name: Counter(values["tally"][name]) for name in ("codes", "wall", "cpu")}
        return cls(tuple(values["scored_blocks"]), tuple(values["rejected_blocks"]), Tally(**tally))


@dataclass(frozen=True, slots=True)
class Markers:
    """Where a run's markers are: <container>/<run id>/parts/<attempt>-<split>.json."""

    blobs: BlobStore
    container: str
    run_id: str

    def leave(self, pointer: Pointer, marker: Marker) -> None:
        """Write a split's marker, unless somebody else has scored it and written theirs."""
        data = marker.to_json().encode()
        try:
            path = self._path(pointer.attempt, pointer.split)
            self.blobs.write(path, data, if_none_match=ANY_ETAG, content_type="application/json")
        except ConditionFailedError:
            return  # all blocks that it names are staged, too: it is as good

    def latest(self) -> tuple[int, set[int]]:
        """Return the last attempt that has any marker, and which splits have one of it."""
        found = list(self._list())
        latest = max((attempt for attempt, _ in found), default=0)
        return latest, {split for attempt, split in found if attempt == latest}

    def read(self, attempt: int, splits: Iterable[int]) -> list[Marker]:
        """Return the markers of these splits, which all have one."""
        return [Marker.from_json(self.blobs.read(self._path(attempt, split))) for split in splits]

    def has(self, pointer: Pointer) -> bool:
        """Say whether a split has a marker."""
        try:
            self.blobs.stat(self._path(pointer.attempt, pointer.split))
        except BlobNotFoundError:
            return False
        return True

    def _list(self) -> Iterable[tuple[int, int]]:
        prefix = f"{self.run_id}/parts/"
        for blob in self.blobs.list(self.container, prefix):
            attempt, _, split = blob.path.name.removeprefix(prefix).removesuffix(".json").partition("-")
            yield int(attempt), int(split)

    def _path(self, attempt: int, split: int) -> BlobPath:
        return BlobPath(self.container, f"{self.run_id}/parts/{attempt}-{split:05d}.json")
