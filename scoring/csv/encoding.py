"""From a file's encoding to UTF-8 and back, so that every byte can be given back.

Bytes that are no text in their encoding become lone surrogates (Python's surrogateescape; in UTF-16 and UTF-32,
lone surrogates are what is wrong already), which are written into our UTF-8 as if they were characters. No decoder
takes that for UTF-8, so a cell with one is found to be no text and costs its row; the way back gives the input's
bytes.
"""

import codecs
from collections.abc import Iterable, Iterator
from functools import lru_cache

from errors import FileMalformedError, OptionsInvalidError, OutputEncodingError

UTF_8 = "utf-8"

_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-32-le": codecs.BOM_UTF32_LE,  # before UTF-16's: it begins with that
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
LONGEST_MARK = 4

_WIDE = {"utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be")}
"""Encodings that leave the order of bytes to the mark: what they may turn out to be; without one the first."""

# What ASCII comes through unchanged, and yet text may not: states, or escapes for what is not ASCII.
_STATEFUL = ("iso2022", "raw-unicode-escape", "charmap", "hz", "utf-7")


@lru_cache(maxsize=64)
def check_encoding(name: str) -> str:
    """Return an encoding's name as Python has it; OptionsInvalidError for one that CSV is not read in.

    Read are UTF-8, UTF-16, UTF-32, and encodings of Python that extend ASCII and in which a character's bytes
    depend on nothing before them.
    """
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        raise OptionsInvalidError(f"csv.encoding {name!r} is not known: {_EXAMPLES}") from None
    found = codec.name.replace("_", "-").removesuffix("-sig")
    if found in _MARKS or found in _WIDE:
        return found
    if not getattr(codec, "_is_text_encoding", True) or found.startswith(_STATEFUL) or not _extends_ascii(codec):
        raise OptionsInvalidError(f"CSV is not read in csv.encoding {name!r}: {_EXAMPLES}")
    return found


_EXAMPLES = "use one such as utf-8, utf-16, latin-1 or cp1252, or convert the file to UTF-8"


def _extends_ascii(codec: codecs.CodecInfo) -> bool:
    characters = [chr(code) for code in range(128)]
    try:
        decoded = [codec.decode(character.encode())[0] for character in characters]
        return decoded == characters and codec.encode("".join(characters))[0] == bytes(range(128))
    except UnicodeError:
        return False


@lru_cache(maxsize=64)
def is_bytewise(encoding: str) -> bool:
    """Say whether the bytes of ASCII characters, line ends and quotes among them, are never a part of others.

    Then records can be found in the file's own bytes. UTF-8 is such an encoding, and those that have a byte for
    each character; those of East Asia have characters whose second byte is that of a letter or a bar.
    """
    if encoding == UTF_8:
        return True
    if encoding.startswith("utf-"):
        return False
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    texts = [decoder.decode(bytes([byte])) for byte in range(128, 256)]
    return all(len(text) == 1 and not text.isascii() for text in texts)


def find_encoding(start: bytes, asked: str | None, file: str) -> tuple[str, bytes]:
    """Return the encoding of a file that begins with `start`, and its byte order mark, which may be empty.

    What was `asked` for counts; FileMalformedError where the file's mark is another encoding's.
    """
    marked = next((name for name, mark in _MARKS.items() if start.startswith(mark)), None)
    if asked is None:
        if marked:
            return marked, _MARKS[marked]
        return _without_mark(start) or UTF_8, b""
    encoding = check_encoding(asked)
    for name in _WIDE.get(encoding, (encoding,)):
        if start.startswith(_MARKS.get(name, b"\0\0")):
            return name, _MARKS[name]
    if marked:
        raise FileMalformedError(
            f"the file begins with the byte order mark of {marked.upper()}, which csv.encoding {asked!r} is not: "
            "leave csv.encoding out",
            file=file,
        )
    if encoding in _WIDE:
        found = _without_mark(start)
        return found if found in _WIDE[encoding] else _WIDE[encoding][0], b""
    return encoding, b""


def encoding_of_new(encoding: str) -> tuple[str, bytes]:
    """Return what a new file in `encoding` is written in, and the byte order mark that it begins with, if any."""
    if encoding not in _WIDE:
        return encoding, b""
    name = _WIDE[encoding][0]
    return name, _MARKS[name]


def _without_mark(start: bytes) -> str | None:
    """Return utf-16-le or -be where every other byte is NUL, as in English text; else None."""
    even, odd = start[0::2], start[1::2]
    # A name may have a few characters beyond Latin-1; half of them in one that is not all foreign are below.
    if odd.count(0) * 2 > len(odd) and not even.count(0):
        return "utf-16-le"
    if even.count(0) * 2 > len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def _faults(encoding: str) -> str:
    return "surrogatepass" if encoding.startswith("utf-") else "surrogateescape"


def transcode(chunks: Iterable[bytes], encoding: str, file: str) -> Iterator[bytes]:
    """Yield `chunks` as UTF-8, a chunk for a chunk; characters may lie across chunks.

    FileMalformedError where a UTF-16 or UTF-32 file ends inside a character, or holds what can be none.
    """
    decoder = codecs.getincrementaldecoder(encoding)(_faults(encoding))
    extends_ascii = not encoding.startswith("utf-")
    try:
        for chunk in chunks:
            if extends_ascii and chunk.isascii() and not decoder.getstate()[0]:
                yield chunk
            else:
                yield decoder.decode(chunk).encode(UTF_8, "surrogatepass")
        # Not by `decoder`: with final=True, CPython's multi-byte ones lose bytes behind the first that is no text.
        yield decoder.getstate()[0].decode(encoding, _faults(encoding)).encode(UTF_8, "surrogatepass")
    except UnicodeDecodeError as error:
        raise FileMalformedError(
            f"the file ends inside a character or is no {encoding.upper()} at all: it was cut short, or "
            "csv.encoding has to be set",
            file=file,
        ) from error


def encode(text: bytes, encoding: str, file: str) -> bytes:
    """Return UTF-8 in `encoding`: the way back from `transcode`.

    OutputEncodingError where a character cannot be written, which then is not one of the input's.
    """
    if encoding == UTF_8 or (not encoding.startswith("utf-") and text.isascii()):
        return text
    try:
        return text.decode(UTF_8, "surrogatepass").encode(encoding, _faults(encoding))
    except UnicodeEncodeError as error:
        raise OutputEncodingError(
            f"one of the model's outputs or column names has a character that {encoding} cannot write: "
            "convert the file to UTF-8",
            file=file,
        ) from error
