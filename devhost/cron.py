"""NCRONTAB schedules: `{second} {minute} {hour} {day} {month} {day of week}`."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from devhost.errors import StartupError

_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values of every field at which it is time; day and day of week must both fit."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def next(self, after: datetime) -> datetime:
        """Return the first time strictly after `after`; OverflowError if there is none (30 February)."""
        moment = after.replace(microsecond=0) + timedelta(seconds=1)
        horizon = after + timedelta(days=366 * 8)  # 29 February comes within eight years
        while moment < horizon:
            # Each step skips to the start of the next month, day, hour, minute or second.
            if moment.month not in self.months:
                moment = (moment.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(day=1)
            elif moment.day not in self.days or moment.isoweekday() % 7 not in self.weekdays:
                moment = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0, second=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment = moment.replace(second=0) + timedelta(minutes=1)
            elif moment.second not in self.seconds:
                moment += timedelta(seconds=1)
            else:
                return moment
        raise OverflowError("the schedule never comes round")


def parse_schedule(text: str) -> Schedule:
    """Read an expression of six fields, or of five, which run at second 0; StartupError if it is none."""
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise StartupError(
            f"{text!r} is no schedule: write '{{second}} {{minute}} {{hour}} {{day}} {{month}} {{day of week}}'"
        )
    return Schedule(*(_values(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)))


def _values(field: str, name: str, first: int, last: int, words: tuple[str, ...]) -> frozenset[int]:
    values: set[int] = set()
    for part in field.lower().split(","):
        match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        try:
            if match is None:
                raise ValueError
            low, high, step = match.groups()
            start = first if low is None else _number(low, first, words)
            # `5/10` runs from 5 to the end, a plain 5 at 5 only.
            end = _number(high, first, words) if high else last if low is None or step else start
            if not first <= start <= end <= last or step == "0":
                raise ValueError
        except ValueError:
            raise StartupError(f"{field!r} is no {name} of a schedule: values are {first} to {last}") from None
        values.update(range(start, end + 1, int(step or 1)))
    return frozenset(values)


def _number(text: str, first: int, words: tuple[str, ...]) -> int:
    return words.index(text[:3]) + first if text[:3] in words else int(text)
