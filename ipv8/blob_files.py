"""Blobs on disk: what is shared, and what has been fetched so far (doc/files.md).

Everything here blocks, so it is called in threads.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .files import sync_directory
from .messaging.session.manifest import CHUNK_SIZE, HASH_SIZE, LARGEST_BLOB, Manifest, hash_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

__all__ = ["ChangedError", "PartialFile", "SharedBytes", "SharedFile", "SharedSource"]

_OPEN_PART = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_OPEN_NEW = _OPEN_PART | os.O_CREAT | os.O_EXCL
_MODE = 0o666  # less what the umask of the process takes away


class ChangedError(OSError):
    """A file is not as it was when it was shared."""


class SharedBytes:
    """A blob in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        chunks = (data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE))
        self.manifest = Manifest.of(len(data), map(hash_of, chunks))

    def read(self, chunk: int) -> bytes:
        """The bytes of a chunk."""
        return self._data[chunk * CHUNK_SIZE : (chunk + 1) * CHUNK_SIZE]


class _State(NamedTuple):
    """What changes when a file is written to or replaced."""

    device: int
    number: int
    size: int
    modified: int

    @classmethod
    def of(cls, file: BinaryIO) -> _State:
        status = os.fstat(file.fileno())
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class SharedFile:
    """A blob that is a file.

    :param path: where it is.
    :raises OSError: if it cannot be read, or somebody writes to it meanwhile.
    :raises ValueError: if it is not a regular file, or too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # a program may change its directory
        with self.path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{str(path)!r} is no regular file: only those can be shared")
            self._state = _State.of(file)
            if self._state.size > LARGEST_BLOB:
                raise ValueError(f"{str(path)!r} has {self._state.size} bytes: at most {LARGEST_BLOB} can be shared")
            self.manifest = Manifest.of(self._state.size, _hashes(file))
            if _State.of(file) != self._state:
                raise ChangedError(errno.EBUSY, "it was changed while it was read", str(path))

    def read(self, chunk: int) -> bytes:
        """The bytes of a chunk.

        :raises OSError: if it cannot be read, or has changed since it was shared.
        """
        with self.path.open("rb", buffering=0) as file:
            self._require_unchanged(file)
            file.seek(chunk * CHUNK_SIZE)
            data = _read_all(file, self.manifest.size_of(chunk))
            self._require_unchanged(file)  # otherwise the other side takes this for a lie
            return data

    def _require_unchanged(self, file: BinaryIO) -> None:
        if _State.of(file) != self._state:
            raise ChangedError(errno.EBUSY, "it was changed since it was shared", str(self.path))


SharedSource = SharedBytes | SharedFile


def _hashes(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(CHUNK_SIZE):
        yield hash_of(data)


def _read_all(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise ChangedError(errno.EIO, "it is shorter than it was")
        data += more
    return data


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error about an open file, such as that the disk is full, say which file it is."""
    try:
        yield
    except OSError as e:
        if e.filename is None:
            e.filename = str(path)
        raise


def _lock(descriptor: int) -> bool:
    """Keep other fetches, of this process or another one, from writing to a file; whether none of them does.

    The lock ends when the file is closed. Where files cannot be locked, nothing is done.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


class PartialFile:
    """A blob that is being fetched, as ``<name>.part``, beside notes of its verified chunks, ``<name>.part.have``.

    Notes are the id of the blob and a bit for each chunk, the lowest bit of the first byte for the first chunk.

    :param destination: where the blob will be.
    :param blob: its id.
    :param manifest: its manifest.
    """

    def __init__(self, destination: Path, blob: bytes, manifest: Manifest) -> None:
        self.destination = destination
        self.manifest = manifest
        self._blob = blob
        self._part = destination.with_name(destination.name + ".part")
        self._notes = destination.with_name(destination.name + ".part.have")
        self._new_notes = destination.with_name(destination.name + ".part.have.new")
        self._have = bytearray(-(-manifest.chunks // 8))
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    @staticmethod
    def check(destination: Path) -> None:
        """Check that a file can be made there.

        :raises OSError: if not.
        """
        if not destination.name or destination.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a file is to be written here, but this is a directory",
                                    str(destination))
        if destination.exists() and not destination.is_file():
            raise FileExistsError(errno.EEXIST, "this is no regular file, and would be replaced", str(destination))
        if not destination.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(destination.parent))

    def open(self) -> list[int]:
        """Open the file, and return the chunks that an earlier fetch has noted. They have to be checked.

        :raises OSError: if it cannot be made, another fetch writes to it, or there is another file with its name.
        """
        descriptor = os.open(self._part, _OPEN_PART | os.O_CREAT, _MODE)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            self._claim(descriptor)
        except OSError:
            self.close()
            raise
        with _named(self._part):
            os.ftruncate(descriptor, self.manifest.size)
        return [chunk for chunk in range(self.manifest.chunks) if self._have[chunk // 8] >> chunk % 8 & 1]

    def _claim(self, descriptor: int) -> None:
        """Make sure that the open file is of this fetch alone, and take over what an earlier fetch has noted."""
        if not _lock(descriptor) or not self._is_there():
            raise OSError(errno.EBUSY, "another fetch writes to it: wait for that, or choose another destination",
                          str(self._part))
        noted = self._read_notes()
        if noted is None and os.fstat(descriptor).st_size:
            raise FileExistsError(errno.EEXIST, "it is not what was left of an earlier fetch, as there are no notes "
                                  "beside it: remove it, or choose another destination", str(self._part))
        if noted:
            self._have[:] = noted
        else:
            self.note()  # before anything is written, so that the next call knows what the file is

    def _is_there(self) -> bool:
        """Whether the open file still has its name, and was not finished by another fetch a moment ago."""
        assert self._file is not None
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.lstat(self._part))
        except FileNotFoundError:
            return False

    def _read_notes(self) -> bytes | None:
        """The bits that are noted for this blob, none for another blob; ``None`` if there are no notes."""
        try:
            descriptor = os.open(self._notes, (_OPEN_PART & ~os.O_RDWR) | os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            notes = file.read(HASH_SIZE + len(self._have) + 1)
        return notes[HASH_SIZE:] if notes[:HASH_SIZE] == self._blob and len(notes) == HASH_SIZE + len(
            self._have) else b""

    def check_noted(self, chunks: Iterable[int]) -> list[int]:
        """Which of these chunks are right. The others are not noted any more."""
        assert self._file is not None
        right = []
        for chunk in chunks:
            with self._lock:
                self._file.seek(chunk * CHUNK_SIZE)
                if self.manifest.is_right(chunk, _read_all(self._file, self.manifest.size_of(chunk))):
                    right.append(chunk)
                else:
                    self._have[chunk // 8] &= ~(1 << chunk % 8)
        return right

    def store(self, chunk: int, data: bytes | bytearray) -> bool:
        """Write a chunk at its place, unless it is wrong; whether it was right.

        :raises OSError: if it cannot be written.
        """
        if not self.manifest.is_right(chunk, memoryview(data)):
            return False
        assert self._file is not None
        view = memoryview(data)
        with self._lock, _named(self._part):
            self._file.seek(chunk * CHUNK_SIZE)
            while view:
                view = view[self._file.write(view) :]
            self._have[chunk // 8] |= 1 << chunk % 8
        return True

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._file is not None

    def keep(self) -> None:
        """Have the chunks that are there written to the disk, and then note them.

        Thus little is left to be written at the end, when the fetch waits for it.
        """
        with self._lock:
            assert self._file is not None
            notes, descriptor = self._blob + bytes(self._have), self._file.fileno()
        with _named(self._part):
            os.fsync(descriptor)
        self._write_notes(notes)

    def note(self) -> None:
        """Write down which chunks are there."""
        with self._lock:
            notes = self._blob + bytes(self._have)
        self._write_notes(notes)

    def _write_notes(self, notes: bytes) -> None:
        self._new_notes.unlink(missing_ok=True)  # of a call that was killed
        with _named(self._new_notes), os.fdopen(os.open(self._new_notes, _OPEN_NEW, _MODE), "wb") as file:
            file.write(notes)
        os.replace(self._new_notes, self._notes)

    def finish(self) -> None:
        """Move the complete file to its destination. A file that is there is replaced."""
        assert self._file is not None
        self.note()  # if something here fails, the next call need not fetch anything
        with _named(self._part):
            os.fsync(self._file.fileno())
        if os.name != "posix":
            self.close()  # Windows does not rename open files
        os.replace(self._part, self.destination)
        self._notes.unlink(missing_ok=True)
        self.close()  # others could write to it before
        sync_directory(self.destination.parent)

    def close(self) -> None:
        """Close the file, whether it is complete or not."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()
