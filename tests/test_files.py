from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.files import locked, new_content

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("flush", [False, True])
def test_content_is_replaced_as_a_whole(path: Path, flush: bool) -> None:
    path.write_bytes(b"before")
    path.chmod(0o644)
    with new_content(path, flush=flush) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_failure_leaves_the_file_as_it_is(path: Path) -> None:
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), new_content(path) as file:  # noqa: PT012 - it is the context
        file.write(b"after")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_content_is_on_the_disk_before_it_has_the_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bytes]] = []

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            seen.append((path.exists(), os.pread(descriptor, 9, 0)))

    monkeypatch.setattr(os, "fsync", fsync)
    with new_content(path) as file:
        file.write(b"content")
    assert seen == [(False, b"content")]


def test_links_stay(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to(path)
    with new_content(link) as file:
        file.write(b"content")
    assert link.is_symlink()
    assert path.read_bytes() == b"content"


def test_no_directory(path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_content(path / "file"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_not_replaced(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with new_content(path) as file:
            file.write(b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_a_directory_is_locked_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    other = os.open(tmp_path, os.O_RDONLY)  # as of another program
    copies: list[int] = []

    def open_and_fork(*arguments: Any) -> int:
        descriptor = opened(*arguments)
        copies.append(os.dup(descriptor))
        return descriptor

    opened = os.open
    monkeypatch.setattr(os, "open", open_and_fork)
    try:
        with locked(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        for descriptor in (other, *copies):
            os.close(descriptor)
    assert len(copies) == 1


def test_where_there_are_no_locks_nothing_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_a_directory_that_does_not_exist_cannot_be_locked(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with pytest.raises(FileNotFoundError), locked(tmp_path / "missing"):
        pass
