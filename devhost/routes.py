"""Route templates: which function answers a path, and with which parameters."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from devhost.errors import StartupError

_GUID = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"

# Constraints without arguments are patterns; those with arguments make a test of the value.
_PATTERNS = {
    "alpha": "[A-Za-z]*",
    "bool": "(?i:true|false)",
    "decimal": _NUMBER,
    "double": _NUMBER,
    "float": _NUMBER,
    "guid": _GUID,
    "int": r"[+-]?\d+",
    "long": r"[+-]?\d+",
}
_TESTS: Mapping[str, Callable[[str, list[str]], bool]] = {
    "length": lambda value, bounds: int(bounds[0]) <= len(value) <= int(bounds[-1]),
    "max": lambda value, bounds: int(value) <= int(bounds[0]),
    "maxlength": lambda value, bounds: len(value) <= int(bounds[0]),
    "min": lambda value, bounds: int(value) >= int(bounds[0]),
    "minlength": lambda value, bounds: len(value) >= int(bounds[0]),
    "range": lambda value, bounds: int(bounds[0]) <= int(value) <= int(bounds[1]),
    "regex": lambda value, pattern: re.search(",".join(pattern), value) is not None,
}

_PARAMETER = re.compile(r"\{(?P<star>\*{0,2})(?P<name>[^{}:=?*]+)(?P<rest>(?:[^{}]|\{\{|\}\})*)\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A {parameter} of a template."""

    name: str
    catch_all: bool
    optional: bool
    default: str | None
    constraints: tuple[tuple[str, tuple[str, ...]], ...]

    def accepts(self, value: str) -> bool:
        """Say whether every constraint holds."""
        for name, arguments in self.constraints:
            if name in _PATTERNS:
                if re.fullmatch(_PATTERNS[name], value) is None:
                    return False
                continue
            try:
                if not _TESTS[name](value, list(arguments)):
                    return False
            except ValueError:  # no number where one is asked for
                return False
        return True


@dataclass(frozen=True, slots=True)
class Segment:
    """What stands between two slashes of a template."""

    pattern: re.Pattern[str]
    parameters: tuple[Parameter, ...]

    @property
    def catch_all(self) -> bool:
        """Whether it takes the rest of the path."""
        return any(parameter.catch_all for parameter in self.parameters)

    @property
    def may_be_absent(self) -> bool:
        """Whether the path may end before it."""
        return bool(self.parameters) and all(
            each.optional or each.catch_all or each.default is not None for each in self.parameters
        )


@dataclass(frozen=True, slots=True)
class Route:
    """A template and the methods it answers; no methods means all."""

    template: str
    segments: tuple[Segment, ...]
    methods: frozenset[str]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters in a path (still percent-encoded), None if it does not fit."""
        rest = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
        values: dict[str, str] = {}
        for segment in self.segments:
            if not rest:
                if not segment.may_be_absent:
                    return None
                values |= {p.name: p.default for p in segment.parameters if p.default is not None}
                continue
            text, rest = ("/".join(rest), []) if segment.catch_all else (rest[0], rest[1:])
            found = segment.pattern.fullmatch(text)
            if found is None:
                return None
            for index, parameter in enumerate(segment.parameters, 1):
                if not parameter.accepts(found[index]):
                    return None
                values[parameter.name] = found[index]
        return None if rest else values


def compile_route(template: str, methods: Sequence[str] = ()) -> Route:
    """Read a route template; StartupError if it cannot be understood, or belongs to the host."""
    parts = _split(template.strip("/"))
    if parts and parts[0].lower() in ("admin", "runtime"):
        raise StartupError(f"The route {template!r} is refused: admin/ and runtime/ are the host's own")
    segments = tuple(_segment(part, template) for part in parts)
    if any(segment.catch_all for segment in segments[:-1]):
        raise StartupError(f"The route {template!r} goes on behind a catch-all")
    return Route(template, segments, frozenset(method.upper() for method in methods))


def _split(template: str) -> list[str]:
    """Split at slashes outside of braces; inside of a parameter a brace is written twice."""
    parts = re.findall(r"(?:[^/{}]|\{(?:[^{}]|\{\{|\}\})*\})+", template)
    if "/".join(parts) != template:
        raise StartupError(f"The route {template!r} has a slash or a brace too many or too few")
    return parts


def _segment(text: str, template: str) -> Segment:
    pattern, parameters, position = "", [], 0
    for match in _PARAMETER.finditer(text):
        parameter = _parameter(match, template)
        parameters.append(parameter)
        pattern += re.escape(text[position : match.start()]) + ("(.*)" if parameter.catch_all else "(.+?)")
        position = match.end()
    pattern += re.escape(text[position:])
    # Literals match whatever their case, as everywhere in ASP.NET.
    return Segment(re.compile(pattern, re.IGNORECASE | re.DOTALL), tuple(parameters))


def _parameter(match: re.Match[str], template: str) -> Parameter:
    rest, optional = match["rest"], match["rest"].endswith("?")
    rest, _, default = rest.removesuffix("?").replace("{{", "{").replace("}}", "}").partition("=")
    constraints = []
    for constraint in re.findall(r":([A-Za-z]+(?:\((?:.*?)\)(?=:|$))?)", rest):
        name, _, arguments = constraint.partition("(")
        if name not in _PATTERNS and name not in _TESTS:
            raise StartupError(f"The route {template!r} has the constraint {name!r}, which devhost does not know")
        constraints.append((name, tuple(arguments.removesuffix(")").split(",")) if arguments else ()))
    return Parameter(match["name"], bool(match["star"]), optional, default or None, tuple(constraints))
