"""Runs survive what is done to them: a few cases of each kind; `make test-faults` tries them all."""

from collections.abc import Iterator

import pytest

from tests.faults.__main__ import KINDS
from tests.faults.cases import Kind, try_kind
from tests.faults.lab import Lab


@pytest.fixture(scope="module")
def lab(azurite: str) -> Iterator[Lab]:
    """Give a lab on the tests' own Azurite."""
    with Lab(azurite) as opened:
        yield opened


@pytest.mark.azurite
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.tested], ids=lambda kind: kind.name)
def test_runs_survive(lab: Lab, kind: Kind) -> None:
    """One receipt a run, whole results only, nothing left behind: whatever was done to the worker."""
    row = try_kind(kind, lab, most=kind.tested)
    assert row.violations == []
    assert row.cases
