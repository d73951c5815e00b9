"""Blob path patterns of triggers: `container/{name}.csv`."""

import re
from dataclasses import dataclass

from devhost.errors import StartupError


@dataclass(frozen=True, slots=True)
class BlobPattern:
    """A trigger's path: blobs of one container whose names fit."""

    container: str
    prefix: str
    """What every name that fits starts with: all that a listing needs to return."""
    names: re.Pattern[str]

    def match(self, name: str) -> dict[str, str] | None:
        """Return the tokens in a blob's name, None if it does not fit."""
        found = self.names.fullmatch(name)
        return None if found is None else found.groupdict()


def compile_pattern(path: str) -> BlobPattern:
    """Read a trigger's path; tokens are greedy, cross slashes and may be empty, and case matters."""
    container, _, name = path.partition("/")
    if not container or "{" in container or "}" in container:
        raise StartupError(f"The blob path {path!r} must start with a container's name, without {{tokens}}")
    if not name:
        name = "{name}"  # a bare container stands for all its blobs
    pattern, prefix, seen = "", "", False
    for text, token in re.findall(r"((?:\{\{|\}\}|[^{}])+)|\{([^{}]+)\}", name):
        if text:
            literal = text.replace("{{", "{").replace("}}", "}")
            pattern += re.escape(literal)
            prefix += "" if seen else literal
        elif not token.isidentifier():
            raise StartupError(f"The blob path {path!r} has the token {token!r}, which is no name")
        else:
            pattern += f"(?P<{token}>.*)"
            seen = True
    return BlobPattern(container, prefix, re.compile(pattern, re.DOTALL))
