"""Refuse graphs that reach outside themselves, before ONNX Runtime opens them.

A graph may name files for its weights ("external data") and operators of any domain. Serving machines have no
`onnx` library to look with, so this walks protobuf's wire format itself: only the few messages that can hold such a
name. Field numbers are those of onnx.proto, which never change.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from errors import PackageInvalidError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Operator domains that every ONNX Runtime implements."""

_DEEPEST = 16
"""Graphs nested in nodes (If, Loop, Scan) deeper than this are refused."""

# Tree ensembles hold millions of ints, floats and short strings, each a field of its own (onnx.proto does not pack
# them): these runs are stepped over in C. Possessive, so that the pattern keeps no way back.
_SHORT_STRING = b"|".join(rb"\x%02x.{%d}" % (length, length) for length in range(32))
_NUMBERS_AND_STRINGS = re.compile(
    rb"(?:\x40[\x80-\xff]*+[\x00-\x7f]|\x3d.{4}|\x4a(?:" + _SHORT_STRING + rb"))++", re.DOTALL
)


class _Field(NamedTuple):
    """One field of a message: its number, and where its value lies (for a number: the number itself)."""

    number: int
    value: int
    start: int
    stop: int


def check_graph(path: Path) -> None:
    """Raise PackageInvalidError if the graph is cut short, names other files, or uses unknown operator domains."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file cannot be mapped
            raise PackageInvalidError(f"{path.name} is empty") from error
        with data:
            _Walk(data, path.name).model()


class _Walk:
    """One walk through one graph's bytes."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data = data
        self._name = name
        self._domains = set(DOMAINS)

    def model(self) -> None:
        """Walk ModelProto."""
        fields = list(self._fields(0, len(self._data)))
        functions = [field for field in fields if field.number == 25]
        for function in functions:  # functions the model brings along: their domains are its own
            self._domains.update(
                self._text(f) for f in self._fields(function.start, function.stop) if f.number == 10
            )
        for function in functions:
            for field in self._fields(function.start, function.stop):
                if field.number == 7:
                    self._node(field, 1)
                elif field.number == 11:
                    self._attribute(field, 1)
        graphs = [field for field in fields if field.number == 7]
        if not graphs:
            raise PackageInvalidError(f"{self._name} holds no ONNX graph")
        for graph in graphs:
            self._graph(graph, 1)

    def _graph(self, graph: _Field, depth: int) -> None:
        if depth > _DEEPEST:
            raise PackageInvalidError(f"{self._name} nests graphs more than {_DEEPEST} deep")
        for field in self._fields(graph.start, graph.stop):
            if field.number == 1:
                self._node(field, depth)
            elif field.number == 5:
                self._tensor(field)
            elif field.number == 15:
                self._sparse_tensor(field)

    def _node(self, node: _Field, depth: int) -> None:
        for field in self._fields(node.start, node.stop):
            if field.number == 5:
                self._attribute(field, depth)
            elif field.number == 7 and (domain := self._text(field)) not in self._domains:
                raise PackageInvalidError(f"{self._name} uses operators of the unknown domain {domain!r}")

    def _attribute(self, attribute: _Field, depth: int) -> None:
        for field in self._fields(attribute.start, attribute.stop, runs=True):
            if field.number in (6, 11):
                self._graph(field, depth + 1)
            elif field.number in (5, 10):
                self._tensor(field)
            elif field.number in (22, 23):
                self._sparse_tensor(field)

    def _sparse_tensor(self, tensor: _Field) -> None:
        for field in self._fields(tensor.start, tensor.stop):
            if field.number in (1, 2):
                self._tensor(field)

    def _tensor(self, tensor: _Field) -> None:
        for field in self._fields(tensor.start, tensor.stop):
            if field.number == 13 or (field.number == 14 and field.value != 0):
                raise PackageInvalidError(f"{self._name} keeps weights in other files: save it in one file")

    def _fields(self, start: int, stop: int, *, runs: bool = False) -> Iterator[_Field]:
        """Yield a message's fields; `runs` steps over runs of numbers and short strings."""
        at = start
        while at < stop:
            if runs and (run := _NUMBERS_AND_STRINGS.match(self._data, at, stop)):
                at = run.end()
                continue
            key, at = self._varint(at, stop)
            kind, value, begin = key & 7, 0, at
            if kind == 0:
                value, at = self._varint(at, stop)
            elif kind == 1:
                at += 8
            elif kind == 2:
                length, begin = self._varint(at, stop)
                at = begin + length
            elif kind == 5:
                at += 4
            else:
                raise self._damaged()
            if at > stop:
                raise self._damaged()
            yield _Field(key >> 3, value, begin, at)

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """Return the number that begins at `at`, and where it ends."""
        value = shift = 0
        while at < stop and shift < 70:
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise self._damaged()

    def _text(self, field: _Field) -> str:
        return self._data[field.start : field.stop].decode("utf-8", "replace")

    def _damaged(self) -> PackageInvalidError:
        return PackageInvalidError(f"{self._name} is damaged or no ONNX graph")
