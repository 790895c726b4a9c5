"""The files of the wallet, of attributes and of credentials: who reads them, whose they are, and what is deleted."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.credentials.credential import issue
from ipv8.attestation.credentials.ranges import Range, RangeCommitment
from ipv8.attestation.credentials.store import CredentialStore
from ipv8.attestation.identity.community import IdentitySettings
from ipv8.attestation.identity.database import IdentityDatabase
from ipv8.attestation.identity.manager import IdentityManager
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.attestation.wallet.database import AttestationsDB
from ipv8.attestation.wallet.settings import AttestationSettings
from ipv8.cli.identity import Place
from ipv8.database import DatabaseException
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.passphrases import Passphrase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipv8.database import Database


def open_wallet(path: Path) -> Database:
    return AttestationsDB(str(path.parent.parent), path.stem)


def open_store(path: Path) -> Database:
    store = CredentialStore(str(path))
    store.open()
    return store


def open_identities(path: Path) -> Database:
    database = IdentityDatabase(str(path))
    database.open()
    return database


KINDS = [(open_wallet, "attestations"), (open_store, "held"), (open_identities, "Tokens")]
each_kind = pytest.mark.parametrize(("open_file", "table"), KINDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sqlite" / "attestations.db"
    file.parent.mkdir()
    return file


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@each_kind
def test_only_the_owner_reads_a_file(path: Path, open_file: Callable[[Path], Database], table: str) -> None:
    del table
    before = os.umask(0)
    try:
        for mode in (None, 0o666):
            if mode is not None:
                path.chmod(mode)
            database = open_file(path)
            database.execute("CREATE TABLE IF NOT EXISTS option(key)")
            database.execute("UPDATE option SET value = value")
            database.commit()
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
            database.close()
    finally:
        os.umask(before)


@each_kind
@pytest.mark.parametrize("content", [
    "CREATE TABLE bookmarks(url); INSERT INTO bookmarks VALUES('x');",
    "CREATE TABLE {table}(url); INSERT INTO {table} VALUES('x');",
    "CREATE TABLE option(key, value); INSERT INTO option VALUES('database_version', '1'); CREATE TABLE {table}(url);",
    "CREATE TABLE option(key, value); INSERT INTO option VALUES('database_version', '1');",
])
def test_files_of_other_programs_are_left_as_they_are(path: Path, open_file: Callable[[Path], Database], table: str,
                                                      content: str) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(content.format(table=table))
    path.chmod(0o640)
    before = path.read_bytes()
    with pytest.raises(DatabaseException, match="another program"):
        open_file(path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("made_by", "opened_by"), [
    (one, other) for one, _ in KINDS for other, _ in KINDS if one is not other])
def test_files_of_other_parts_are_left_as_they_are(path: Path, made_by: Callable[[Path], Database],
                                                   opened_by: Callable[[Path], Database]) -> None:
    made_by(path).close()
    before = path.read_bytes()
    with pytest.raises(DatabaseException):
        opened_by(path)
    assert path.read_bytes() == before
    made_by(path).close()


@each_kind
def test_empty_files_are_used(path: Path, open_file: Callable[[Path], Database], table: str) -> None:
    path.touch()
    database = open_file(path)
    assert list(database.execute(f"SELECT * FROM {table}")) == []
    database.close()


def contents(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_deleted_credentials_are_not_left_in_the_file(path: Path) -> None:
    authority, holder = (default_eccrypto.generate_key("curve25519") for _ in range(2))
    for delete in ("remove_held", "remove_key"):
        store: Any = open_store(path)
        held = issue(authority, holder.pub(), "type", {"city": "Delft in Holland"})
        store.add_held(holder.pub(), held)
        assert b"Delft in Holland" in contents(path)
        getattr(store, delete)(holder.pub(), *((held.id,) if delete == "remove_held" else ()))
        assert b"Delft in Holland" not in contents(path)
        store.close()
        assert b"Delft in Holland" not in contents(path)


def test_deleted_attributes_are_not_left_in_the_file(path: Path) -> None:
    key = default_eccrypto.generate_key("curve25519")
    manager = IdentityManager(str(path))
    manager.get_pseudonym(key).create_credential(bytes(32), {"name": "city of Delft"})
    assert b"city of Delft" in contents(path)
    manager.forget_pseudonym(key)
    assert b"city of Delft" not in contents(path)
    assert key.pub().key_to_bin() not in contents(path)
    manager.close()


def test_secrets_are_in_no_text() -> None:
    _, chains = RangeCommitment.create(Range(0, 5), 3)
    for thing in (Passphrase("correct horse"), Place("here", "correct horse"),
                  AttestationSettings(working_directory="here", passphrase="correct horse"),
                  IdentitySettings(working_directory="here", passphrase="correct horse"),
                  TrustChainSettings(working_directory="here", database_url="postgresql://me:correct horse@host/d")):
        assert "correct horse" not in f"{thing!r} {thing}"
        assert isinstance(thing, Passphrase) or "here" in repr(thing)
    assert not any(repr(chain)[2:-1] in repr(chains) for chain in chains)


@each_kind
def test_opening_a_file_again_does_not_end_the_locks_of_this_process(
        path: Path, open_file: Callable[[Path], Database], table: str) -> None:
    """Another program that closes the file would take itself for the last one, and delete the journal."""
    first = open_file(path)
    for database in (open_file(path), open_file(path)):
        database.close()
    first.execute("INSERT OR REPLACE INTO option VALUES('kept', '1')")
    first.commit()
    journal = path.with_name(f"{path.name}-wal").stat().st_ino
    script = (f"import sqlite3; other = sqlite3.connect({str(path)!r}); "
              f"other.execute('SELECT COUNT(*) FROM {table}').fetchall(); other.close()")
    subprocess.run([sys.executable, "-c", script], check=True)
    assert path.with_name(f"{path.name}-wal").stat().st_ino == journal
    first.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM option WHERE key = 'kept'").fetchone() is not None
