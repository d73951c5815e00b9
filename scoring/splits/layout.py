"""Where the splits of a run put what they make: a CSV result is one blob of all, a Parquet one a file of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from scoring.job import Run
from scoring.output import Output, Target
from scoring.parquet.codec import CONTENT_TYPE
from scoring.pipeline import outputs_of
from scoring.services import Services
from scoring.splits.table_folder import TableFolder
from scoring.table_parts import part_name


@dataclass(frozen=True, slots=True)
class Place:
    """Where one split stages its blocks."""

    output: Output
    part: str | None
    """The name of its own file; None in a blob that all splits share."""

    def named(self, block_ids: Sequence[str]) -> tuple[str, ...]:
        """Return what the run's own blocks are called, given what those of the output are."""
        return tuple(f"{self.part}/{block}" if self.part else block for block in block_ids)


def targets_of(run: Run, services: Services) -> tuple[Target, Target]:
    """Return what a run in splits writes: its result and its rejects."""
    single = outputs_of(run, services)
    scored, rejected = (
        TableFolder(services.blobs, output.path, run) if output.content_type == CONTENT_TYPE else output
        for output in single
    )
    return scored, rejected


def places_of(run: Run, split: int, services: Services) -> tuple[Place, Place]:
    """Return where a split stages its result and its rejects."""
    scored, rejected = (
        Place(target.part(split), part_name(split)) if isinstance(target, TableFolder) else Place(output, None)
        for target, output in zip(targets_of(run, services), outputs_of(run, services), strict=True)
    )
    return scored, rejected
