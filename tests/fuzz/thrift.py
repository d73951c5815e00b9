"""Thrift's compact protocol, as Parquet's footers and page headers are written: read into a tree, and back."""

from dataclasses import dataclass
from typing import Any

BOOL_TRUE, BOOL_FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


@dataclass
class Field:
    """One field of a struct, or one element of a list (then `id` is 0)."""

    id: int
    kind: int
    value: Any
    """An int, bytes (of a double too), or for structs and lists a list of Field."""


def read_struct(data: bytes, place: int = 0) -> tuple[list[Field], int]:
    """Return the struct at `place`, and where it ends; IndexError or ValueError where there is none."""
    fields: list[Field] = []
    last = 0
    while (head := data[place]) != 0:
        place += 1
        kind, delta = head & 15, head >> 4
        if delta:
            last += delta
        else:
            raw, place = _varint(data, place)
            last = (raw >> 1) ^ -(raw & 1)
        value, place = (None, place) if kind in (BOOL_TRUE, BOOL_FALSE) else _value(data, place, kind)
        fields.append(Field(last, kind, value))
    return fields, place + 1


def write_struct(fields: list[Field]) -> bytes:
    """Return a struct as bytes."""
    out = bytearray()
    last = 0
    for each in fields:
        if 0 < each.id - last < 16:
            out.append((each.id - last) << 4 | each.kind)
        else:
            out.append(each.kind)
            out += _to_varint(each.id << 1 if each.id >= 0 else ~(each.id << 1))
        last = each.id
        if each.kind not in (BOOL_TRUE, BOOL_FALSE):
            out += _to_bytes(each)
    return bytes(out + b"\0")


def leaves(fields: list[Field]) -> list[Field]:
    """Return all fields, at any depth, that hold a number, a text or a truth."""
    found = []
    for each in fields:
        found += leaves(each.value) if each.kind in (LIST, STRUCT) else [each]
    return found


def containers(fields: list[Field]) -> list[list[Field]]:
    """Return the struct itself, and all structs and lists in it."""
    found = [fields]
    for each in fields:
        if each.kind in (LIST, STRUCT):
            found += containers(each.value)
    return found


def _value(data: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in (BOOL_TRUE, BOOL_FALSE, BYTE):
        return data[place], place + 1
    if kind in (I16, I32, I64):
        raw, place = _varint(data, place)
        return (raw >> 1) ^ -(raw & 1), place
    if kind == DOUBLE:
        return data[place : place + 8], place + 8
    if kind == BINARY:
        size, place = _varint(data, place)
        return data[place : place + size], place + size
    if kind == STRUCT:
        return read_struct(data, place)
    if kind != LIST:
        raise ValueError(f"Parquet has no Thrift type {kind}")
    head, place = data[place], place + 1
    size = head >> 4
    if size == 15:
        size, place = _varint(data, place)
    elements = []
    for _ in range(size):
        value, place = _value(data, place, head & 15)
        elements.append(Field(0, head & 15, value))
    return elements, place


def _to_bytes(each: Field) -> bytes:
    if each.kind == BINARY:
        return _to_varint(len(each.value)) + each.value
    if each.kind == STRUCT:
        return write_struct(each.value)
    if each.kind == LIST:
        kind = each.value[0].kind if each.value else STRUCT
        size = len(each.value)
        head = bytes([min(size, 15) << 4 | kind]) + (_to_varint(size) if size >= 15 else b"")
        return head + b"".join(_to_bytes(element) for element in each.value)
    if each.kind in (I16, I32, I64):
        return _to_varint((each.value << 1) ^ (each.value >> 63))
    return each.value if isinstance(each.value, bytes) else bytes([each.value & 255])


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def _to_varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
