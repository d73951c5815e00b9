"""Parquet's footer: which bytes of a file are which column's, and the same again for a file made of such bytes.

Field numbers are those of parquet.thrift in apache/parquet-format.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from errors import FormatUnsupportedError
from scoring.parquet.thrift import (
    I32,
    LIST,
    STRUCT,
    Field,
    Struct,
    binary,
    content,
    damaged,
    encoded,
    integer,
    list_of,
    number,
    numbers,
    read_struct,
    struct,
    structs,
)

MAGIC: Final = b"PAR1"

# Of a column's metadata: what is true of its pages wherever they are. Offsets are written anew; those of Bloom
# filters and page indexes, which are not copied, are left out, as is what is unknown here: it might be an offset.
_LASTING = (1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 17)

# Readers look for the end of these writers' dictionaries behind what the footer says (PARQUET-816).
_SHORT_CHUNKS = re.compile(rb"parquet-mr(?! version (1\.2\.9|1\.([3-9]|[12]\d)|[2-9]))")


@dataclass(frozen=True, slots=True)
class Element:
    """A node of the schema's tree."""

    fields: Struct
    data: bytes
    """The node as it is encoded."""

    @property
    def name(self) -> bytes:
        """Its name, UTF-8 if all is well."""
        return content(self.fields, 4) or b""

    @property
    def is_leaf(self) -> bool:
        """Whether it is a column of values."""
        return 1 in self.fields

    @property
    def is_int96(self) -> bool:
        """Whether it has timestamps as Spark and Impala used to write them."""
        return number(self.fields, 1, -1) == 3

    @property
    def is_whole_decimal(self) -> bool:
        """Whether it has decimals that are written as whole numbers of 32 or 64 bits."""
        return number(self.fields, 1, -1) in (1, 2) and number(self.fields, 6, -1) == 5

    @property
    def is_flat(self) -> bool:
        """Whether it has one value or null in each row, if it is right under the root."""
        return self.is_leaf and number(self.fields, 3, 0) < 2

    @property
    def children(self) -> int:
        """How many nodes are right under it."""
        count = number(self.fields, 5, 0)
        if count < 0 or (count and self.is_leaf):
            raise damaged("a node of the schema has children that it cannot have")
        return count


@dataclass(frozen=True, slots=True)
class Column:
    """A column as people see it: right under the root of the schema's tree, with all that is under it."""

    name: bytes
    elements: tuple[Element, ...]
    first_leaf: int
    leaves: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The bytes of one leaf column in one row group."""

    start: int
    """Where they begin in the file."""
    length: int
    size: int
    """Bytes when they are not compressed."""
    values: int
    metadata: int
    """Where their metadata begin in the footer."""
    has_dictionary: bool
    encodings: frozenset[int]


@dataclass(frozen=True, slots=True)
class Group:
    """A row group."""

    rows: int
    chunks: Sequence[Chunk]
    sorting: Sequence[bytes]
    """The leaf columns its rows are sorted by, each as it is encoded."""


@dataclass(frozen=True, slots=True)
class Footer:
    """A file's footer."""

    data: bytes
    version: int
    root: Element
    columns: Sequence[Column]
    groups: Sequence[Group]
    properties: Sequence[tuple[bytes, bytes]]
    """Key-value metadata: each key, and the pair as it is encoded."""
    created_by: bytes | None
    orders: Sequence[bytes]
    """How each leaf column's minimum and maximum are meant, as it is encoded; empty where the file does not say."""

    @property
    def copyable(self) -> bool:
        """Whether chunks are all there is to a column, and end where the footer says."""
        return not (self.created_by and _SHORT_CHUNKS.match(self.created_by))


def read_footer(data: bytes, end: int) -> Footer:
    """Read a footer, which begins at `end` in its file, and check that all it speaks of lies before.

    FileMalformedError if it is damaged, FormatUnsupportedError if columns are encrypted or in other files.
    """
    fields, _ = read_struct(data, 0, _FILE)
    if 8 in fields:
        raise _encrypted()
    elements = fields.get(2, [])
    if not elements:
        raise damaged("it has no schema")
    columns = _columns(elements)
    leaves = sum(column.leaves for column in columns)
    groups = fields.get(4, [])
    orders = fields.get(7, [])
    _check(groups, columns, leaves, number(fields, 3), end)
    return Footer(
        data,
        number(fields, 1),
        elements[0],
        columns,
        groups,
        [(_key(pair), pair) for pair in fields.get(5, [])],
        content(fields, 6),
        orders if len(orders) == leaves else [],
    )


def write_footer(
    like: Footer,
    columns: Sequence[Column],
    groups: Sequence[bytes],
    *,
    rows: int,
    properties: Iterable[bytes],
    orders: Sequence[bytes],
) -> bytes:
    """Return what ends a file of these columns, row groups, key-value pairs and orders; the rest is as in `like`.

    The writer that is named stays the one that wrote the copied pages: readers know the faults of some by name.
    """
    root = {**like.root.fields, 5: integer(len(columns), I32)}
    fields: dict[int, Field] = {
        1: integer(like.version, I32),
        2: structs([struct(root), *(element.data for column in columns for element in column.elements)]),
        3: integer(rows),
        4: structs(groups),
    }
    if pairs := list(properties):
        fields[5] = structs(pairs)
    if like.created_by is not None:
        fields[6] = binary(like.created_by)
    if orders:
        fields[7] = structs(orders)
    data = struct(fields)
    return data + len(data).to_bytes(4, "little") + MAGIC


def write_group(rows: int, chunks: Sequence[tuple[Footer, Chunk, int]], sorting: Sequence[bytes]) -> bytes:
    """Return a row group's entry: for each chunk the footer that has its metadata, itself, and where it is now."""
    fields: dict[int, Field] = {
        1: structs([_moved(*chunk) for chunk in chunks]),
        2: integer(sum(chunk.size for _, chunk, _ in chunks)),
        3: integer(rows),
        6: integer(sum(chunk.length for _, chunk, _ in chunks)),
    }
    if sorting:
        fields[4] = structs(sorting)
    if chunks:
        fields[5] = integer(chunks[0][2])
    return struct(fields)


def sorted_by(sorting: Sequence[bytes], places: dict[int, int]) -> list[bytes]:
    """Return what rows are still sorted by where leaf columns have other places, or none."""
    kept = []
    for each in sorting:
        fields, _ = read_struct(each, 0)
        place = places.get(number(fields, 1))
        if place is None:
            break  # by the next column they are sorted within equal values of this one only
        kept.append(struct({**fields, 1: integer(place, I32)}))
    return kept


def pair(key: bytes, value: bytes) -> bytes:
    """Return a key and its value as an entry of the key-value metadata."""
    return struct({1: binary(key), 2: binary(value)})


def value_of(entry: bytes) -> bytes:
    """Return the value in such an entry."""
    return content(read_struct(entry, 0)[0], 2) or b""


def alike(one: Sequence[Element], other: Sequence[Element]) -> bool:
    """Say whether pages written for the one column can be read as the other's."""
    return len(one) == len(other) and all(
        _shape(mine) == _shape(theirs) and _means_same(mine.fields, theirs.fields)
        for mine, theirs in zip(one, other, strict=True)
    )


def _shape(element: Element) -> tuple[bytes, list[Field | None]]:
    # Type, length, repetition, children, scale and precision. A length says something of FIXED_LEN_BYTE_ARRAY only.
    fixed = element.fields.get(1) == integer(7, I32)
    length = element.fields.get(2) if fixed else None
    return element.name, [length, *(element.fields.get(field) for field in (1, 3, 5, 7, 8))]


def _means_same(one: Struct, other: Struct) -> bool:
    converted, logical = one.get(6) == other.get(6), one.get(10) == other.get(10)
    # Old files have only the former annotation, new ones both or, where there is no former one, the latter.
    return (converted and logical) or (converted and 6 in one and (10 in one) != (10 in other))


def _columns(elements: Sequence[Element]) -> list[Column]:
    columns = []
    at, leaf = 1, 0
    for _ in range(elements[0].children):
        start, first_leaf, open_nodes = at, leaf, 1
        while open_nodes:
            if at == len(elements):
                raise damaged("its schema ends too early")
            open_nodes += elements[at].children - 1
            leaf += elements[at].is_leaf
            at += 1
        columns.append(Column(elements[start].name, tuple(elements[start:at]), first_leaf, leaf - first_leaf))
    if at != len(elements):
        raise damaged("its schema has nodes that are nobody's")
    return columns


def _check(groups: Sequence[Group], columns: Sequence[Column], leaves: int, rows: int, end: int) -> None:
    flat = [column.first_leaf for column in columns if column.elements[0].is_flat]
    if sum(group.rows for group in groups) != rows:
        raise damaged("its row groups have more or fewer rows than the file")
    total = 0
    for group in groups:
        if group.rows < 0 or len(group.chunks) != leaves:
            raise damaged("a row group has other columns than the file")
        if any(group.chunks[leaf].values != group.rows for leaf in flat):
            raise damaged("a column has more or fewer values than its row group has rows")
        for chunk in (
            group.chunks if group.rows else ()
        ):  # of no rows there are no bytes, wherever they are said to be
            if chunk.start < len(MAGIC) or chunk.length < 0 or chunk.start + chunk.length > end or chunk.size < 0:
                raise damaged("a column lies outside of the file")
            total += chunk.length
    if total > end:
        raise damaged("its columns are larger than the file")


def _moved(footer: Footer, chunk: Chunk, start: int) -> bytes:
    """Return a chunk's entry in a row group of a file where it begins at `start`."""
    found, _ = read_struct(footer.data, chunk.metadata)
    fields = {field: found[field] for field in _LASTING if field in found}
    fields[9] = integer(number(found, 9) - chunk.start + start)
    if chunk.has_dictionary:
        fields[11] = integer(start)
    return struct({2: integer(0), 3: (STRUCT, struct(fields))})


def _key(entry: bytes) -> bytes:
    return content(read_struct(entry, 0)[0], 1) or b""


def _encrypted() -> FormatUnsupportedError:
    return FormatUnsupportedError("the file, or a column of it, is encrypted: write it without encryption")


def _read_element(data: bytes, at: int) -> tuple[Element, int]:
    fields, end = read_struct(data, at)
    return Element(fields, data[at:end]), end


def _read_chunk(data: bytes, at: int) -> tuple[Chunk, int]:
    fields, end = read_struct(data, at, {3: (STRUCT, _read_place)})
    if 8 in fields or 9 in fields:
        raise _encrypted()
    if content(fields, 1):
        raise FormatUnsupportedError("a column's values are in another file: drop that one")
    if 3 not in fields:
        raise damaged("a column has no metadata")
    return fields[3], end


def _read_place(data: bytes, at: int) -> tuple[Chunk, int]:
    fields, end = read_struct(data, at)
    start, dictionary = number(fields, 9), number(fields, 11, 0)
    has_dictionary = 0 < dictionary < start
    chunk = Chunk(
        dictionary if has_dictionary else start, number(fields, 7), number(fields, 6), number(fields, 5), at,
        has_dictionary, frozenset(numbers(fields, 2)),
    )  # fmt: skip
    return chunk, end


def _read_group(data: bytes, at: int) -> tuple[Group, int]:
    fields, end = read_struct(data, at, _GROUP)
    return Group(number(fields, 3), fields.get(1, []), fields.get(4, [])), end


_GROUP = {1: (LIST, list_of(_read_chunk)), 4: (LIST, list_of(encoded))}
_FILE = {
    2: (LIST, list_of(_read_element)),
    4: (LIST, list_of(_read_group)),
    5: (LIST, list_of(encoded)),
    7: (LIST, list_of(encoded)),
}
