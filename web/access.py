"""Who may ask for what: the level of every path, in one table.

The Functions host sees to it where there is one: function_app.py has a function for each entry. But the host reads
paths otherwise than we do: `/api/models/churn%2Faliases%2Fchampion` has three parts to it, and goes to the function
that takes the rest. So we compare once more what a request was let in for with what its path needs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

GRANTED = "dropscore.level"
"""Where function_app.py says, in a request's scope, what level the host has let it in for."""


class Level(IntEnum):
    """What a request is let in for, named as the host does; each includes those before it."""

    ANONYMOUS = 0
    """Anyone: whether the process is well, and pages that hold no data."""
    FUNCTION = 1
    """Whoever has a function key."""
    ADMIN = 2
    """Whoever has an admin key (of the Functions host: the master key)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Paths of one level."""

    function: str
    """The function of function_app.py that takes them."""
    template: str
    """As the host writes it: `{name}` is one part of the path, `{*rest}` all that is left of it, or nothing."""
    level: Level


REST = Entry("http", "{*rest}", Level.FUNCTION)
"""All other paths, those that are not there too."""

ENTRIES = (
    Entry("admin_aliases", "api/models/{name}/aliases/{alias}", Level.ADMIN),
    Entry("anonymous_docs", "api/docs/{*rest}", Level.ANONYMOUS),
    Entry("anonymous_health", "health", Level.ANONYMOUS),
    Entry("anonymous_health_api", "api/health", Level.ANONYMOUS),
    Entry("anonymous_health_v2", "v2/health/{*rest}", Level.ANONYMOUS),
    Entry("anonymous_ping", "ping", Level.ANONYMOUS),
    Entry("anonymous_version", "version", Level.ANONYMOUS),
    REST,
)
"""By the functions' names: of those whose templates fit a path, the host takes the first by name."""


def level_of(path: str) -> Level:
    """Return the level that a path (decoded, with its first slash) needs."""
    found = _PATHS.fullmatch(path)
    return Level[found.lastgroup] if found and found.lastgroup else REST.level


def _patterns() -> Iterator[str]:
    for level in Level:
        of_level = [_pattern(entry.template) for entry in ENTRIES if entry.level is level and entry is not REST]
        if of_level:
            yield f"(?P<{level.name}>{'|'.join(of_level)})"


def _pattern(template: str) -> str:
    return "".join(
        "(?:/.*)?" if part.startswith("{*") else "/[^/]*" if part.startswith("{") else "/" + re.escape(part)
        for part in template.split("/")
    )


_PATHS = re.compile("|".join(_patterns()), re.DOTALL)
