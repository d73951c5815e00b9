"""What may be asked of a store: checks of names, metadata and block ids that every backend makes before it acts."""

import re
from collections.abc import Mapping

from errors import MessageInvalidError, NameInvalidError
from storage.blobs import BlobPath

_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_METADATA_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
_BLOCK_ID = re.compile(r"[\x21-\x7e]{1,64}")
_LONGEST_NAME = 1024  # characters
_MOST_SEGMENTS = 254
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML would read \r as \n
_LONGEST_BODY = 64 * 1024  # bytes
_MOST_MESSAGES = 32


def is_container(text: str) -> bool:
    """Say whether a container, or a queue, may be named so by Azure's rules."""
    return _CONTAINER.fullmatch(text) is not None


def check_container(container: str) -> None:
    """Raise NameInvalidError unless `container`, or a queue, is named by Azure's rules."""
    if not is_container(container):
        raise NameInvalidError(
            f"{container!r} cannot name a container or queue: use 3 to 63 of a-z, 0-9 and single hyphens in between"
        )


def check_path(path: BlobPath) -> None:
    """Raise NameInvalidError for a path that Azure cannot hold, or that HTTP clients would take for another.

    "." and ".." as segments are refused: clients resolve them before they send (`a/../b` would write `b`). So are
    backslashes, which Azure makes slashes of, and the two code points that would make every listing no XML.
    """
    check_container(path.container)
    name, segments = path.name, path.name.split("/")
    if not 0 < len(name) <= _LONGEST_NAME:
        raise _invalid(path, f"it must have 1 to {_LONGEST_NAME} characters")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in name):  # the last is DEL
        raise _invalid(path, "it holds a control character")
    if len(segments) > _MOST_SEGMENTS:
        raise _invalid(path, f"it has more than {_MOST_SEGMENTS} parts between slashes")
    if any(segment in {".", ".."} for segment in segments):
        raise _invalid(path, 'it holds "." or ".." as a folder')
    if not set(name).isdisjoint("\\\ufffe\uffff"):
        raise _invalid(path, "it holds a backslash, U+FFFE or U+FFFF")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _invalid(path, "it is not valid Unicode") from None


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return `metadata` as a plain dict, empty for None; ValueError if HTTP headers cannot carry it unchanged."""
    for key, value in (metadata or {}).items():
        if not (key.isascii() and key.isidentifier() and key == key.lower()):
            raise ValueError(f"metadata key {key!r} is not a lower-case ASCII identifier")
        if not _METADATA_VALUE.fullmatch(value):
            raise ValueError(f"metadata {key!r} must be printable ASCII without blanks at its ends")
    return dict(metadata or {})


def check_block_id(block_id: str) -> None:
    """Raise ValueError unless `block_id` is 1 to 64 printable ASCII characters."""
    if not _BLOCK_ID.fullmatch(block_id):
        raise ValueError(f"block id {block_id!r} must be 1 to 64 printable ASCII characters")


def check_range(offset: int, length: int | None) -> None:
    """Raise ValueError for a negative offset or length."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"offset {offset} and length {length} must not be negative")


def check_body(body: str) -> None:
    """Raise MessageInvalidError unless `body` is at most 64 KiB of text that XML, which queues speak, can hold."""
    if _NOT_IN_XML.search(body):
        raise MessageInvalidError("a queue message cannot hold control characters: send JSON, which escapes them")
    if len(body.encode()) > _LONGEST_BODY:
        raise MessageInvalidError(f"a queue message cannot be longer than {_LONGEST_BODY} bytes of UTF-8")


def check_limit(limit: int) -> None:
    """Raise ValueError unless `limit` is a number of messages that one receive may take."""
    if not 1 <= limit <= _MOST_MESSAGES:
        raise ValueError(f"a receive takes 1 to {_MOST_MESSAGES} messages, not {limit}")


def _invalid(path: BlobPath, reason: str) -> NameInvalidError:
    # repr and ascii: such a name may hold what a log or a terminal should not be sent
    return NameInvalidError(f"{path.container}/{ascii(path.name)[:200]} cannot name a blob: {reason}")
