"""Files that are written completely or not at all, that only their owner can read, and that programs share."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["locked", "new_content", "sync_directory"]


@contextmanager
def new_content(path: str | os.PathLike[str], *, flush: bool = True,
                place: Callable[[str, Path], None] | None = None) -> Iterator[IO[bytes]]:
    """The new content of a file, which is written to another one that gets its name at the end of this context.

    If the context raises, the file stays as it is. A device or a pipe is written to directly.

    :param flush: have the content written to the disk before, so that it survives a power failure; this takes time.
    :param place: gives a file, the first argument, another name; by default what has that name is replaced.
    :raises FileNotFoundError: if the directory does not exist.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # has mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        (place or os.replace)(name, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    if flush:
        sync_directory(target.parent)


@contextmanager
def locked(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes and threads from entering this context with the same directory.

    On Windows, and on file systems that have no locks, it does nothing.

    :raises OSError: if the directory cannot be opened; ``FileNotFoundError`` if it does not exist.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that was forked meanwhile has the descriptor too
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make sure that a new name is still there after a power failure, on systems where this is possible."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
