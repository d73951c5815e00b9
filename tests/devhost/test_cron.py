"""Schedules are NCRONTAB's."""

from datetime import UTC, datetime

import pytest

from devhost.cron import parse_schedule
from devhost.errors import StartupError

SATURDAY = datetime(2026, 11, 21, 10, 20, 30, 400_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * * *", "2026-11-21T10:20:31"),
        ("0 * * * * *", "2026-11-21T10:21:00"),
        ("30 20 10 * * *", "2026-11-22T10:20:30"),
        ("*/20 * * * * *", "2026-11-21T10:20:40"),
        ("5/20 * * * * *", "2026-11-21T10:20:45"),
        ("0 */5 * * * *", "2026-11-21T10:25:00"),
        ("0 0 9-17 * * Mon-Fri", "2026-11-23T09:00:00"),
        ("0 0 0 1 Jan,Jul *", "2027-01-01T00:00:00"),
        ("0 30 9 * * 1,3", "2026-11-23T09:30:00"),
        ("0 0 0 13 * Fri", "2027-08-13T00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 12 31 * *", "2026-12-31T12:00:00"),
        ("*/5 * * * *", "2026-11-21T10:25:00"),
    ],
)
def test_the_next_time_is_found(text, expected):
    """The first fitting second after a time is found, however far it is; day and weekday must both fit."""
    assert parse_schedule(text).next(SATURDAY).isoformat() == f"{expected}+00:00"


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * * *", "* * * 0 * *", "* * * * * 7", "*/0 * * * * *", "5-1 * * * * *", "x * * * * *"],
)
def test_what_is_no_schedule_is_refused(text):
    """A schedule with a wrong number of fields or a value out of range is an error at start-up."""
    with pytest.raises(StartupError):
        parse_schedule(text)


def test_a_schedule_that_never_comes_says_so():
    """The thirtieth of February is an error, not an endless search."""
    with pytest.raises(OverflowError):
        parse_schedule("0 0 0 30 2 *").next(SATURDAY)
