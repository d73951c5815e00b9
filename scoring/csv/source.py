"""A CSV file's bytes as chunks of UTF-8, and text made bytes again the way the file's are: compressed, encoded.

Compression is told by the first bytes, whatever the file is called. A result is written as one gzip member or zstd
frame a block, by the thread that made the block: members put together are a file of that format.
"""

import io
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Literal, Protocol

import pyarrow as pa

from errors import ExpansionError, FileEmptyError, FileMalformedError
from scoring.codec import Split, Work
from scoring.csv.encoding import LONGEST_MARK, UTF_8, encode, find_encoding, is_bytewise, transcode
from scoring.tally import Tally
from storage.reader import stream

Compression = Literal["gzip", "zstd"]

_SIGNS: Mapping[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{bytes([first]) + b"\x2a\x4d\x18": "zstd" for first in range(0x50, 0x60)},  # skipped; pzstd begins so
}
_GZIP = 31  # zlib's "window bits" that mean a gzip header and the largest window

# Measured on 12.6 MB of numbers, MB of text per CPU second: gzip 113 at level 1, 19 at level 6 for 14% fewer bytes;
# zstd 351 at level 1, 173 at level 3.
_LEVEL = 1

_EXPANSION_FREE = 64 * 1024 * 1024
"""Bytes of text that any compressed file may become before it is looked at how much it has grown."""

_GLANCE = 1024 * 1024
"""Bytes that are read at a time where a file's beginning is only looked at."""

_FLAT_BLOCKS, _DOUBLE_AFTER = 20_000, 2_500


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What a CSV file's text is wrapped in; the result's is the same."""

    file: str
    """The input's name, for messages."""
    compression: Compression | None = None
    encoding: str = UTF_8
    mark: bytes = b""
    """The byte order mark, if the file begins with one."""

    @property
    def divisible(self) -> bool:
        """Whether reading may begin anywhere: at any byte that begins a record, a block's text can be told."""
        return self.compression is None and is_bytewise(self.encoding)

    def wrap(self, text: bytes | pa.Buffer, *, first: bool = False) -> bytes | memoryview:
        """Return UTF-8 text as the file's own bytes would be; the `first` of a file carries the mark.

        OutputEncodingError where the encoding cannot write it.
        """
        mark = self.mark if first else b""
        if self.encoding != UTF_8 or mark:
            text = mark + encode(bytes(text), self.encoding, self.file)
        if self.compression == "gzip":
            return zlib.compress(text, _LEVEL, _GZIP)  # with no time in it: the same text gives the same bytes
        if self.compression == "zstd":
            return memoryview(pa.Codec("zstd", compression_level=_LEVEL).compress(text))
        return memoryview(text)


class Source:
    """A file's text as it is read: UTF-8 in `chunks`, and how much of the file that took."""

    def __init__(self, chunks: Iterable[bytes], wrapping: Wrapping, taken: "_Taken", reading: Tally) -> None:
        self.wrapping = wrapping
        self.reading = reading  # of the thread that reads ahead: complete once the context has ended
        self.chunks: Iterator[bytes] = self._counted(chunks)
        self._taken = taken
        self._text = 0
        self._position = 0

    def position(self, text: int) -> int:
        """Return about how many bytes of the file the first `text` bytes of its text are; it never goes back."""
        if self._text:
            self._position = max(self._position, self._taken.count * text // self._text)
        return self._position

    def _counted(self, chunks: Iterable[bytes]) -> Generator[bytes]:
        for chunk in chunks:
            self._text += len(chunk)
            yield chunk


@contextmanager
def open_source(work: Work) -> Iterator[Source]:
    """Open the input of `work` as text from its beginning on; what reads ahead ends with the context.

    Of a file that is scored in splits, the first one's bytes are read to the split's end. For the others the
    beginning is only looked at, to know what they are written in: see `open_split`.
    Memory is a few blocks, and for zstd the file's window, at most 128 MiB. FileEmptyError for a file without a
    byte of text; FileMalformedError for one that is damaged, cut short or no text; ExpansionError for a bomb.
    """
    chunk, stop = work.block_bytes, None
    if work.split and work.split.start:
        chunk = min(chunk, _GLANCE)
    elif work.split:
        stop = work.split.stop
    reading = Tally()
    raw = stream(work.blobs, work.input, chunk=chunk, stop=stop, timer=partial(reading.stage, "read"))
    try:
        taken = _Taken(work.tally.timed("wait", raw))
        start = taken.peek()
        compression = next((kind for sign, kind in _SIGNS.items() if start.startswith(sign)), None)
        chunks: Iterator[bytes] = iter(taken.read, b"")
        if compression:
            chunks = work.tally.timed("decompress", _decompress(taken, compression, work))
        start, chunks = look_ahead(chunks, 512)
        if not start:
            raise FileEmptyError("the file is empty: it has not even a header", file=work.file)
        encoding, mark = find_encoding(start, work.options.csv.encoding, work.file)
        chunks = _without(chunks, len(mark))
        if encoding != UTF_8:
            chunks = work.tally.timed("transcode", transcode(chunks, encoding, work.file))
        start, chunks = look_ahead(chunks, 512)
        _check_is_text(start, work.file)
        yield Source(chunks, Wrapping(work.file, compression, encoding, mark), taken, reading)
    finally:
        raw.close()


@contextmanager
def open_split(work: Work, split: Split, wrapping: Wrapping) -> Iterator[Source]:
    """Open a split that is not a file's first, as text; `wrapping` is the file's, which is not compressed."""
    reading = Tally()
    raw = stream(
        work.blobs,
        work.input,
        chunk=work.block_bytes,
        offset=split.start,
        stop=split.stop,
        timer=partial(reading.stage, "read"),
    )
    try:
        taken = _Taken(work.tally.timed("wait", raw))
        chunks: Iterator[bytes] = iter(taken.read, b"")
        if wrapping.encoding != UTF_8:
            chunks = work.tally.timed("transcode", transcode(chunks, wrapping.encoding, work.file))
        yield Source(chunks, wrapping, taken, reading)
    finally:
        raw.close()


def look_ahead(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first `size` bytes, or all there are, however they are cut; and the same chunks again."""
    seen: list[bytes] = []
    length = 0
    while length < size and (chunk := next(chunks, None)) is not None:
        seen.append(chunk)
        length += len(chunk)
    return b"".join(seen)[:size], chain(seen, chunks)


def _without(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield `chunks` without their first `count` bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:] if count else chunk
        count = max(0, count - len(chunk))


_OTHER_SIGNS = {
    b"PAR1\x15": "a Parquet file: rename it to .parquet",
    b"\x1f\x8b": "compressed twice: drop it compressed once",
    b"\x28\xb5\x2f\xfd": "compressed twice: drop it compressed once",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: export it as CSV",
    b"\xfd7zXZ\0": "compressed with xz: use gzip or zstd",
    b"\x04\x22\x4d\x18": "compressed with LZ4: use gzip or zstd",
}


def _check_is_text(start: bytes, file: str) -> None:
    """Raise FileMalformedError if the file's first bytes are those of something else than CSV."""
    for sign, found in _OTHER_SIGNS.items():
        if start.startswith(sign):
            raise FileMalformedError(f"the file is named as CSV, but is {found}", file=file)
    if start[4:10] == b"1AY&SY":
        raise FileMalformedError(
            "the file is named as CSV, but is compressed with bzip2: use gzip or zstd", file=file
        )
    if start[257:262] == b"ustar":
        raise FileMalformedError("the file is named as CSV, but is a tar archive: drop its files", file=file)
    if b"\0" in start:
        raise FileMalformedError(
            "the file is named as CSV, but holds binary data; if it is text, set csv.encoding", file=file
        )


class _Taken(io.RawIOBase):
    """The file's bytes as they come, and how many were taken; a file to pyarrow."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._chunk, self._place = b"", 0
        self.count = 0

    def peek(self) -> bytes:
        """Return the first bytes, enough to tell what they are; they are still to be taken."""
        while len(self._chunk) < LONGEST_MARK and (chunk := next(self._chunks, b"")):
            self._chunk += chunk
        return self._chunk

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return some bytes, at most `size` of them; none at the end."""
        if self._place == len(self._chunk):
            self._chunk, self._place = next(self._chunks, b""), 0
        end = len(self._chunk) if size is None or size < 0 else min(len(self._chunk), self._place + size)
        data, self._place = self._chunk[self._place : end], end
        self.count += len(data)
        return data


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _decompress(taken: _Taken, compression: Compression, work: Work) -> Iterator[bytes]:
    """Yield decompressed text, a block at a time."""
    opened: _Readable = (
        _Gunzip(taken) if compression == "gzip" else pa.CompressedInputStream(pa.PythonFile(taken, "r"), "zstd")
    )
    length = 0
    for size in _block_sizes(work.block_bytes):
        try:
            text = opened.read(size)
        except (zlib.error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not pyarrow's of what it read
            window = ", or its window is above 128 MiB" if compression == "zstd" else ""
            raise FileMalformedError(
                f"the file is compressed with {compression}, but damaged or cut short, or something else follows"
                f"{window}: {error}",
                file=work.file,
            ) from error
        if not text:
            return
        length += len(text)
        if length > max(_EXPANSION_FREE, taken.count * work.max_expansion):
            raise ExpansionError(
                f"the file's first {taken.count:,} bytes are {length:,} bytes of text, more than "
                f"{work.max_expansion} for one: if that is no attack, raise DROPSCORE_MAX_EXPANSION or drop it "
                "uncompressed",
                file=work.file,
            )
        yield text


def _block_sizes(block_bytes: int) -> Iterator[int]:
    """Yield how large each block of decompressed text is to be.

    A blob has at most 50,000 blocks, and nobody knows what will come out of a compressed file. So blocks grow, but
    only in files so large (80 GB of text at the default of 4 MiB) that they would be too many, and by the block's
    number alone: the same file is always cut alike.
    """
    yield from repeat(block_bytes, _FLAT_BLOCKS)
    while True:
        block_bytes *= 2
        yield from repeat(block_bytes, _DOUBLE_AFTER)


# zlib hands back what follows a member as a copy: in a file of tiny members, all that is at hand once for each.
_PIECE = 64 * 1024


class _Gunzip:
    """Reads gzip members one after the other, with zlib: a third faster than pyarrow's, which is zlib as well."""

    def __init__(self, taken: _Taken) -> None:
        self._taken = taken
        self._rest = b""
        self._member = zlib.decompressobj(_GZIP)

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end; zlib.error or EOFError for what is no gzip."""
        parts: list[bytes] = []
        while size:
            data = self._rest or self._taken.read(_PIECE)
            if self._member.eof:
                if not data:
                    break
                if not data.startswith(b"\0"):
                    self._member = zlib.decompressobj(_GZIP)
                elif data.strip(b"\0"):
                    raise zlib.error("there are bytes behind the last member")
                else:
                    self._rest = b""  # zeros fill up what comes from tapes and some disks
                    continue
            part = self._member.decompress(data, size)
            self._rest = self._member.unconsumed_tail or self._member.unused_data
            if not (data or part or self._member.eof):
                raise EOFError("it ends too soon")
            parts.append(part)
            size -= len(part)
        return b"".join(parts) if len(parts) != 1 else parts[0]
