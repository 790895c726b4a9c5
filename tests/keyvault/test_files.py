from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ipv8.keyvault import files
from ipv8.keyvault.backend import libcrypto
from ipv8.keyvault.backend.handle import UnsupportedCurveError
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.files import (
    PrivateKeyFileError,
    load_or_create_private_key,
    load_private_key,
    store_private_key,
)
from ipv8.keyvault.private.openssl import OpenSSLSK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = OpenSSLSK(b"LibNaCLSK:" + bytes(range(64)))
OTHER = OpenSSLSK(b"LibNaCLSK:" + bytes(64))

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "key.pem"


def only_file(path: Path) -> bool:
    """Whether nothing was left behind beside the key."""
    return list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("level", default_eccrypto.security_levels)
def test_what_is_stored_is_loaded(path: Path, level: str) -> None:
    key = default_eccrypto.generate_key(level)
    store_private_key(path, key)
    assert path.read_bytes() == key.key_to_bin()
    assert load_private_key(path) == key
    assert load_private_key(str(path)) == key
    assert only_file(path)


@posix_only
def test_only_the_owner_may_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    previous = os.umask(0)
    try:
        store_private_key(path, KEY)
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o600
    load_private_key(path)
    assert not caplog.records
    path.chmod(0o644)
    load_private_key(path)
    assert "chmod 600" in caplog.text


def test_another_key_is_not_overwritten(path: Path) -> None:
    store_private_key(path, KEY)
    store_private_key(path, KEY)
    with pytest.raises(FileExistsError, match="holds something else"):
        store_private_key(path, OTHER)
    assert load_private_key(path) == KEY
    assert only_file(path)


def test_overwriting_must_be_asked_for(path: Path) -> None:
    store_private_key(path, KEY)
    store_private_key(path, OTHER, overwrite=True)
    assert load_private_key(path) == OTHER
    assert only_file(path)


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links."""
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)


def test_without_hard_links_nothing_is_overwritten_either(path: Path, without_links: None) -> None:
    store_private_key(path, KEY)
    store_private_key(path, KEY)
    with pytest.raises(FileExistsError, match="move it away"):
        store_private_key(path, OTHER)
    assert load_private_key(path) == KEY
    assert only_file(path)


def test_without_hard_links_the_first_of_two_processes_wins_too(path: Path, without_links: None,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def wait_for_other(directory: Path) -> Iterator[None]:
        assert directory == path.parent
        path.write_bytes(KEY.key_to_bin())  # what the other process does meanwhile
        yield

    monkeypatch.setattr(files, "locked", wait_for_other)
    assert load_or_create_private_key(path) == KEY


@posix_only
def test_programs_that_start_together_have_one_key(path: Path, without_links: None) -> None:
    programs = 4
    barrier = threading.Barrier(programs)

    def start(_: int) -> bytes:
        barrier.wait()
        return load_or_create_private_key(path).key_to_bin()

    with ThreadPoolExecutor(programs) as threads:
        assert set(threads.map(start, range(programs))) == {path.read_bytes()}
    assert only_file(path)


def test_a_full_disk_leaves_the_old_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_private_key(path, KEY)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        store_private_key(path, OTHER, overwrite=True)
    assert load_private_key(path) == KEY
    assert only_file(path)


@posix_only
def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    store_private_key(path, KEY)
    link = tmp_path / "link"
    link.symlink_to(path)
    store_private_key(link, OTHER, overwrite=True)
    assert link.is_symlink()
    assert load_private_key(path) == OTHER


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"", "it is empty"),
        (bytes(range(64)), "without its first bytes, 'LibNaCLSK:'"),
        (KEY.key_to_bin()[:73], "truncated to 73 of 74 bytes"),
        (KEY.key_to_bin()[:10], "truncated to 10 of 74 bytes"),
        (KEY.pub().key_to_bin(), "holds a public key"),
        (KEY.pub().key_to_pem(), "holds a public key"),
        (b"junk", "damaged, or of another program"),
        (b"\x30" * 100_000, "damaged, or of another program"),
    ],
)
def test_a_damaged_file_is_explained_and_left_alone(path: Path, content: bytes, advice: str) -> None:
    path.write_bytes(content)
    for load in (load_private_key, load_or_create_private_key):
        with pytest.raises(PrivateKeyFileError, match=advice) as refusal:
            load(path)
        assert "left as it is" in str(refusal.value)
        assert str(path) in str(refusal.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("encode", [OpenSSLSK.key_to_pem, lambda key: key.pem_to_bin(key.key_to_pem())])
def test_half_a_key_is_another_identity(
    path: Path, encode: Callable[[OpenSSLSK], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(encode(KEY))
    path.chmod(0o600)
    half = load_private_key(path)
    assert half == load_or_create_private_key(path) != KEY
    (warning, again) = caplog.messages
    assert "one half of a curve25519 key" in warning == again
    assert half.key_to_hash().hex() in warning
    with pytest.raises(ValueError, match="only one half"):
        store_private_key(path, half, overwrite=True)
    assert path.read_bytes() == encode(KEY)


def test_a_pem_text_of_another_key_is_that_key(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = default_eccrypto.generate_key("very-low")
    assert isinstance(key, OpenSSLSK)
    path.write_bytes(key.key_to_pem())
    path.chmod(0o600)
    assert load_private_key(path) == key
    assert not caplog.records


def test_a_public_key_is_not_stored(path: Path) -> None:
    with pytest.raises(TypeError, match="only a private key"):
        store_private_key(path, KEY.pub())  # type: ignore[arg-type]  # the mistake
    assert not path.exists()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "key.pem"
    for store in (lambda: store_private_key(path, KEY), lambda: load_or_create_private_key(path)):
        with pytest.raises(FileNotFoundError, match=f"directory {path.parent} does not exist") as refusal:
            store()
        assert refusal.value.filename == str(path)


def test_a_missing_file_is_not_found(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_private_key(path)


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    with pytest.raises((IsADirectoryError, PermissionError)):
        load_or_create_private_key(tmp_path)


def test_a_missing_curve_is_not_called_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_private_key(path, default_eccrypto.generate_key("very-low"))
    monkeypatch.setattr(libcrypto, "_load", lambda: None)
    with pytest.raises(UnsupportedCurveError):
        load_private_key(path)


def test_a_key_is_created_once(path: Path) -> None:
    created = load_or_create_private_key(path)
    assert created.pub().curve_name() == "curve25519"
    assert load_or_create_private_key(path, "very-low") == created
    assert only_file(path)


def test_the_level_is_respected(path: Path) -> None:
    assert len(load_or_create_private_key(path, "very-low").signature(b"")) == 42


def test_the_first_of_two_processes_wins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowToGenerate:
        def generate_key(self, level: str) -> OpenSSLSK:
            store_private_key(path, KEY)  # what the other process does meanwhile
            return OTHER

        key_from_private_bin = staticmethod(default_eccrypto.key_from_private_bin)

    monkeypatch.setattr(files, "default_eccrypto", SlowToGenerate())
    assert load_or_create_private_key(path) == KEY
    assert only_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_waited_for(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(PrivateKeyFileError, match="not a regular file"):
        load_or_create_private_key(path)


def test_directory_in_place_of_a_file(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one it is depends on the system
        load_or_create_private_key(path)
    assert only_file(path)


def test_huge_file_is_not_read_to_its_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 ** 10)
    with pytest.raises(PrivateKeyFileError, match="does not hold a private key"):
        load_private_key(path)
