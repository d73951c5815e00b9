"""Files as folder storage needs them: locked across processes, and safe on the disk."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError:  # it gives up after ten seconds; we do not
                continue
            return

    def _release(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def sync_folder(folder: Path) -> None:
        """Do nothing: Windows has no way to ask for it, and needs none."""

else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _release(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def sync_folder(folder: Path) -> None:
        """Return once the names in `folder` are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_synced(file: Path, data: bytes) -> None:
    """Make `file` hold `data`, and return once it is on the disk."""
    with file.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock that `file` stands for, alone among all threads and processes of this machine.

    The file is made if need be and never removed: a lock file that goes away locks nothing.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        _acquire(handle.fileno())
        try:
            yield
        finally:
            _release(handle.fileno())  # closing would do, unless a forked child holds the file open too
