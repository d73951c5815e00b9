"""Cases of a kind are counted, and shared by processes that try a part each."""

from collections.abc import Iterator
from functools import partial

import pytest
import typer

from tests.faults.__main__ import read_part
from tests.faults.cases import Case, Kind, Outcome, missed, try_kind
from tests.faults.lab import Lab
from tests.faults.recorder import Strike
from tests.faults.scenes import PLAIN


@pytest.fixture
def tried() -> list[int]:
    return []


@pytest.fixture
def kind(tried: list[int]) -> Kind:
    """Give a kind of seven cases, two of which break something; they note their numbers in `tried`."""

    def run(number: int) -> Outcome:
        tried.append(number)
        return Outcome(["broken"] if number in (2, 5) else [], runs=2)

    return Kind("seven", lambda _lab, _random: [Case(str(n), partial(run, n)) for n in range(7)], at_once=1)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as opened:
        yield opened


def test_parts_add_up(lab: Lab, kind: Kind, tried: list[int]) -> None:
    """Two processes with a part each try every case once, and their counts add up to those of one."""
    rows = [try_kind(kind, lab, part=(number, 2)) for number in (1, 2)]
    assert tried == [0, 2, 4, 6, 1, 3, 5]
    assert [(row.cases, row.runs, row.violations) for row in rows] == [(4, 8, ["2: broken"]), (3, 6, ["5: broken"])]


def test_the_same_seed_draws_the_same_cases(lab: Lab, kind: Kind, tried: list[int]) -> None:
    """Where only some cases are tried, the parts are of the same draw: no case is tried twice."""
    for number in (1, 2):
        try_kind(kind, lab, most=5, part=(number, 2), seed=3)
    assert len(set(tried)) == len(tried) == 5


def test_a_part_is_two_numbers() -> None:
    """A part that there is not is refused, rather than no case tried."""
    assert read_part("2/3") == (2, 3)
    for text in ("0/2", "3/2", "2", "", "a/b", "1/2/3"):
        with pytest.raises(typer.BadParameter):
            read_part(text)


def test_a_worker_that_wrote_nothing_down_is_told_of(lab: Lab) -> None:
    """A worker that hung before its first call was not struck, and that counts."""
    site = lab.open(PLAIN, "folder")
    log, strike = site.task().log, Strike(3, after=False)
    assert missed(site, strike) == ["the worker wrote nothing down: it hung, or died, before it was struck"]
    log.write_text('{"call": 2}\n')
    assert missed(site, strike) == []
    log.write_text('{"call": 3}\n')
    assert len(missed(site, strike)) == 1


def test_an_old_azurite_makes_room_for_another(lab: Lab) -> None:
    """Cases go on beside another Azurite when one is old; a younger one is kept."""
    first, site = lab.connection_string, lab.open(PLAIN)
    lab.renew()
    assert lab.connection_string == first
    assert site.drop(b"x")
    lab.renew(life=0)
    site = lab.open(PLAIN)
    assert lab.connection_string != first
    site.send(site.drop(PLAIN.content)[1])
    assert site.run(site.task()) == [0]
    assert site.storage.blobs.stat(site.result).size
