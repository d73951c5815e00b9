"""Read and write Thrift's compact protocol, as far as Parquet's footers need it.

A struct is read one level deep: its fields stay encoded, and are written again as they were. So fields that nobody
here knows survive, and what is read costs no more memory than a small multiple of its bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from errors import FileMalformedError

TRUE: Final = 1
I32: Final = 5
I64: Final = 6
BINARY: Final = 8
LIST: Final = 9
STRUCT: Final = 12

_DEPTH = 24  # structs in structs; Parquet's own are six deep
_LONGEST = 10  # bytes of a number of 64 bits

Field = tuple[int, bytes]
"""A field's kind, and its value as it is encoded."""

Struct = dict[int, Any]
"""Fields by number: `Field`s, or what a reader of one's own has made of them."""

Reader = Callable[[bytes, int], tuple[Any, int]]
"""Reads a value at a place, and returns it and the place behind it."""

_NO_READERS: Mapping[int, tuple[int, Reader]] = {}


def read_struct(
    data: bytes, at: int, readers: Mapping[int, tuple[int, Reader]] = _NO_READERS
) -> tuple[Struct, int]:
    """Read the struct at `at` and return its fields and the place behind it.

    `readers` has the kind and the reader of those fields that are to be read deeper. FileMalformedError where the
    bytes are no struct, or end before it does.
    """
    fields: Struct = {}
    number = 0
    try:
        while head := data[at]:
            at += 1
            kind = head & 15
            if head > 15:
                number += head >> 4
            else:
                number, at = read_int(data, at)
            start = at
            if number in readers:
                expected, reader = readers[number]
                if kind != expected:
                    raise damaged(f"field {number} is of kind {kind}, not {expected}")
                fields[number], at = reader(data, at)
            else:
                at = _skip(data, at, kind, 0)
                if at > len(data):
                    raise damaged("it ends inside of a value")
                fields[number] = kind, data[start:at]
    except IndexError:
        raise damaged("it ends too early") from None
    return fields, at + 1


def list_of(reader: Reader) -> Reader:
    """Return a reader of lists of structs, each read by `reader`."""

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        size, kind, at = _list_head(data, at)
        if size and kind != STRUCT:
            raise damaged(f"a list has elements of kind {kind}, not structs")
        items = []
        for _ in range(size):  # each takes a byte at least: no more of them than there are bytes
            item, at = reader(data, at)
            items.append(item)
        return items, at

    return read


def encoded(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a struct as the bytes it is."""
    end = _skip(data, at, STRUCT, 0)
    return data[at:end], end


def read_int(data: bytes, at: int) -> tuple[int, int]:
    """Read a signed number."""
    value, at = _unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at


def number(fields: Struct, field: int, default: int | None = None) -> int:
    """Return the whole number in a field; FileMalformedError where there is none, and no default."""
    if field not in fields:
        if default is None:
            raise damaged(f"field {field} is missing")
        return default
    kind, value = fields[field]
    if not 4 <= kind <= 6:
        raise damaged(f"field {field} is no number")
    return read_int(value, 0)[0]


def numbers(fields: Struct, field: int) -> list[int]:
    """Return the whole numbers in a list; empty where there is none."""
    if field not in fields:
        return []
    kind, value = fields[field]
    if kind != LIST:
        raise damaged(f"field {field} is no list")
    size, kind, at = _list_head(value, 0)
    found = []
    for _ in range(size if 4 <= kind <= 6 else 0):
        each, at = read_int(value, at)
        found.append(each)
    return found


def content(fields: Struct, field: int) -> bytes | None:
    """Return the bytes in a field; None where there is none."""
    if field not in fields:
        return None
    kind, value = fields[field]
    if kind != BINARY:
        raise damaged(f"field {field} is no text")
    _, at = _unsigned(value, 0)
    return bytes(value[at:])


def integer(value: int, kind: int = I64) -> Field:
    """Encode a whole number of 64 bits, or of `kind`."""
    return kind, _varint((value << 1) ^ (value >> 63))


def binary(value: bytes) -> Field:
    """Encode bytes, or text as UTF-8."""
    return BINARY, _varint(len(value)) + value


def struct(fields: Mapping[int, Field]) -> bytes:
    """Encode a struct of these fields."""
    parts, last = [], 0
    for place in sorted(fields):
        kind, value = fields[place]
        step, last = place - last, place
        head = bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + integer(place)[1]
        parts += [head, value]
    return b"".join([*parts, b"\0"])


def structs(items: Iterable[bytes]) -> Field:
    """Encode a list of structs that are encoded already."""
    items = list(items)
    size = len(items)
    head = bytes([size << 4 | STRUCT]) if size < 15 else bytes([0xF0 | STRUCT]) + _varint(size)
    return LIST, head + b"".join(items)


def damaged(how: str) -> FileMalformedError:
    """Return the error of a footer that cannot be read."""
    return FileMalformedError(f"the file's footer is damaged: {how}")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    for place in range(at + 1, at + _LONGEST):
        byte = data[place]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, place + 1
        shift += 7
    raise damaged("a number is too long")


def _list_head(data: bytes, at: int) -> tuple[int, int, int]:
    """Read how many elements a list or set has, their kind, and where the first is."""
    head = data[at]
    if head < 0xF0:
        return head >> 4, head & 15, at + 1
    size, at = _unsigned(data, at + 1)
    return size, head & 15, at


def _skip(data: bytes, at: int, kind: int, depth: int) -> int:  # noqa: C901, PLR0912  # a call less a value counts
    """Return the place behind a value; IndexError, or a place behind the end, where it is cut short."""
    if 4 <= kind <= 6:
        end = at + _LONGEST
        while data[at] > 127:
            at += 1
            if at == end:
                raise damaged("a number is too long")
        return at + 1
    if kind == BINARY:
        size, at = _unsigned(data, at)
        if size > len(data) - at:
            raise damaged("a text is longer than what is left")
        return at + size
    if kind <= 3:
        return _skip_small(at, kind)
    if depth == _DEPTH:
        raise damaged("it is too deep")
    if kind == STRUCT:
        while head := data[at]:
            at += 1
            if head < 16:
                _, at = _unsigned(data, at)
            at = _skip(data, at, head & 15, depth + 1)
        return at + 1
    if kind in (LIST, 10):
        size, kind, at = _list_head(data, at)
        kinds = [kind]
    elif kind == 11:
        size, at = _unsigned(data, at)
        kinds = [data[at] >> 4, data[at] & 15] if size else []
        at += bool(size)
    elif kind == 7:
        return at + 8
    else:
        raise damaged(f"there is no kind {kind}")
    for _ in range(size):
        for kind in kinds:
            # A truth value takes a byte as an element, and none as a field.
            at = at + 1 if 1 <= kind <= 2 else _skip(data, at, kind, depth + 1)
        if at > len(data):
            raise damaged("a list is longer than what is left")
    return at


def _skip_small(at: int, kind: int) -> int:
    if kind == 0:
        raise damaged("there is no kind 0")
    return at + (kind == 3)  # a byte; a field's truth value is in its head
