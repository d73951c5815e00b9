"""Binary tensors of the Open Inference Protocol: Triton's extension, which its clients use unless told otherwise.

Behind the JSON, whose length a header says, stand the tensors' bytes in the tensors' order: numbers little-endian,
a byte for each boolean, a text as the number of its bytes in UTF-8 (4 bytes) and these. NaN is no value.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from errors import MessageInvalidError

EXTENSION = "binary_tensor_data"
"""What a server that knows it names in its metadata."""
HEADER = "inference-header-content-length"
"""The header that says how many bytes of the body are JSON."""
SIZE = "binary_data_size"
"""The tensor's parameter that says how many bytes are its own."""

_LENGTH = 4  # bytes before each text
_NUMBERS: Mapping[str, np.dtype[Any]] = {
    **{
        f"{sign}INT{8 * size}": np.dtype(f"<{kind}{size}")
        for sign, kind in (("", "i"), ("U", "u"))
        for size in (1, 2, 4, 8)
    },
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "BOOL": np.dtype("u1"),
}


class Tail:
    """The bytes behind the JSON, which are taken one tensor after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, entry: Any, number: int) -> bytes | None:
        """Return the bytes of the request's input `number`; None if it does not say that it has some.

        MessageInvalidError where there are fewer.
        """
        parameters = entry.get("parameters") if isinstance(entry, dict) else None
        size = parameters.get(SIZE) if isinstance(parameters, dict) else None
        if size is None:
            return None
        left = len(self._content) - self._at
        if type(size) is not int or not 0 <= size <= left:
            raise MessageInvalidError(
                f"{SIZE} of input {number} does not fit: {left:,} bytes are left behind the JSON, whose length the "
                f"header {HEADER} must say"
            )
        self._at += size
        return self._content[self._at - size : self._at]

    def check_empty(self) -> None:
        """Raise MessageInvalidError if there are bytes that no input took."""
        if left := len(self._content) - self._at:
            raise MessageInvalidError(f"{left:,} bytes behind the JSON belong to no input: say {SIZE} of each")


def split_body(body: bytes, header: str | None) -> tuple[bytes, Tail]:
    """Return a body's JSON and what stands behind it; MessageInvalidError for a header that does not fit."""
    if header is None:
        return body, Tail(b"")
    if not header.isdecimal() or not header.isascii() or (length := int(header[:19])) > len(body):
        raise MessageInvalidError(f"the header {HEADER} must be the number of bytes of JSON, at most {len(body):,}")
    return body[:length], Tail(body[length:])


def to_cells(content: bytes, datatype: str, count: int, which: str) -> list[Any]:
    """Return `count` cells of a datatype as JSON has them; MessageInvalidError where the bytes are no such."""
    if datatype == "BYTES":
        cells: list[Any] = list(_texts(content, which))
    else:
        kind = _NUMBERS[datatype]
        if len(content) != count * kind.itemsize:
            wanted = f"{count:,} of {datatype} are {count * kind.itemsize:,}"
            raise MessageInvalidError(f"{which} has {len(content):,} bytes: {wanted}")
        numbers = np.frombuffer(content, kind)
        cells = numbers.tolist()
        if datatype == "BOOL":
            if numbers.size and numbers.max() > 1:
                raise MessageInvalidError(f"a value of {which} is neither 0 nor 1")
            cells = numbers.astype(bool).tolist()
        elif kind.kind == "f" and np.isnan(numbers).any():
            cells = [None if cell != cell else cell for cell in cells]  # noqa: PLR0124  # NaN alone is not itself
    if len(cells) != count:
        raise MessageInvalidError(f"{which} has {len(cells):,} values where its shape says {count:,}")
    return cells


def to_bytes(cells: Sequence[Any], datatype: str) -> bytes | None:
    """Return the bytes of an output's cells; None where one of them is no value and bytes have no word for that."""
    if datatype == "BYTES":
        if None in cells:
            return None
        texts = [cell.encode() for cell in cells]
        return b"".join(part for text in texts for part in (len(text).to_bytes(_LENGTH, "little"), text))
    kind = _NUMBERS[datatype]
    if kind.kind != "f" and None in cells:
        return None
    return np.array(cells, kind).tobytes()  # None is NaN


def _texts(content: bytes, which: str) -> Iterator[str]:
    at = 0
    while at < len(content):
        start = at + _LENGTH
        at = start + int.from_bytes(content[at:start], "little")
        if at > len(content):
            raise MessageInvalidError(f"the last text of {which} is cut off")
        try:
            yield content[start:at].decode()
        except UnicodeDecodeError:
            raise MessageInvalidError(f"a text of {which} is not UTF-8") from None
