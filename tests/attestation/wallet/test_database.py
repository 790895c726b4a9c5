"""The file with the attestations and their private keys."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from ipv8.attestation.wallet.bonehexact.structs import BonehAttestation
from ipv8.attestation.wallet.database import DATABASE_DIRECTORY, AttestationsDB
from ipv8.attestation.wallet.pengbaorange.structs import PengBaoAttestation
from ipv8.database import CorruptDatabaseException, DatabaseException
from ipv8.keyvault.passphrases import Passphrase, ScryptCost

from .vectors import SAMPLES, secret_key

CHEAP = ScryptCost(4, 8, 1)
SAMPLE, RANGE = SAMPLES["id_metadata"], SAMPLES["id_metadata_range_18plus"]
BLOB, KEY = bytes.fromhex(SAMPLE["blob"]), bytes.fromhex(SAMPLE["secret_key"])
HASH = bytes.fromhex(SAMPLE["attestation_hash"])


def insert(database: AttestationsDB, attestation_hash: bytes = HASH) -> None:
    key = secret_key(KEY)
    database.insert_attestation(BonehAttestation.unserialize(BLOB, "id_metadata"), attestation_hash, key, "id_metadata")


def path_of(directory: Any, name: str = "attestations") -> Path:
    return Path(directory) / DATABASE_DIRECTORY / f"{name}.db"


def passphrase(text: str = "secret") -> Passphrase:
    return Passphrase(text, CHEAP)


@pytest.mark.parametrize("place", [":memory:", None])
def test_rows(tmp_path: Path, place: str | None) -> None:
    database = AttestationsDB(place or str(tmp_path), "attestations")
    assert database.get_all() == []
    assert database.get_attestation_by_hash(HASH) == []
    insert(database)
    assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
    assert database.get_attestation_by_hash(HASH) == [BLOB]
    with pytest.raises(sqlite3.IntegrityError):
        insert(database)
    assert (database.db_name, database.database_version) == ("attestations", 2)
    database.close()
    database.close()
    if place is None:
        database = AttestationsDB(str(tmp_path), "attestations")
        assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
        database.close()


def test_private_parts_are_stored(tmp_path: Path) -> None:
    database = AttestationsDB(str(tmp_path), "attestations")
    key = secret_key(bytes.fromhex(RANGE["secret_key"]))
    attestation = PengBaoAttestation.unserialize_private(key, bytes.fromhex(RANGE["blob"]))
    database.insert_attestation(attestation, HASH, key, "id_metadata_range_18plus")
    stored, = database.get_attestation_by_hash(HASH)
    assert stored.hex() == RANGE["blob"]
    database.close()


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    database = AttestationsDB(str(tmp_path), "attestations")
    insert(database)
    files = list(path_of(tmp_path).parent.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    database.close()
    path_of(tmp_path).chmod(0o644)
    AttestationsDB(str(tmp_path), "attestations").close()
    assert stat.S_IMODE(path_of(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "../escape", "a/b", "a b", 'quote"', "-x", ".hidden", "x" * 200])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a database"):
        AttestationsDB(str(tmp_path), name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("padded", [False, True])
def test_removed_rows_leave_nothing_in_the_file(tmp_path: Path, padded: bool) -> None:
    database = AttestationsDB(str(tmp_path), "attestations")
    insert(database)
    insert(database, bytes(20))
    database.remove_attestation(b"SHA-1" + bytes(7) + HASH if padded else HASH)
    assert [row[0] for row in database.get_all()] == [bytes(20)]
    database.remove_attestations([bytes(20), b"unknown"])
    assert database.get_all() == []
    database.close()
    for file in path_of(tmp_path).parent.iterdir():
        assert KEY not in file.read_bytes()


# Older, newer and damaged files

def write_file(tmp_path: Path, version: int, columns: str = "") -> None:
    path_of(tmp_path).parent.mkdir()
    with sqlite3.connect(path_of(tmp_path)) as connection:
        connection.execute(f"CREATE TABLE attestations(hash BLOB PRIMARY KEY, blob LONGBLOB, key MEDIUMBLOB{columns})")
        connection.execute("CREATE TABLE option(key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("INSERT INTO option VALUES('database_version', ?)", (str(version),))
        connection.execute("INSERT INTO attestations(hash, blob, key) VALUES(?, ?, ?)", (HASH, BLOB, KEY))
    connection.close()


def test_files_of_version_1_are_upgraded(tmp_path: Path) -> None:
    write_file(tmp_path, 1)
    database = AttestationsDB(str(tmp_path), "attestations")
    assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
    assert database.database_version == 2
    database.close()
    database = AttestationsDB(str(tmp_path), "attestations")
    assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
    database.close()


def test_files_of_version_2_are_read(tmp_path: Path) -> None:
    write_file(tmp_path, 2, ", id_format TINYTEXT")
    database = AttestationsDB(str(tmp_path), "attestations")
    assert database.get_attestation_by_hash(HASH) == [BLOB]
    assert database.get_upgrade_script(2) is None
    assert database.get_schema(3) == ""
    database.close()


@pytest.mark.parametrize("version", [3, 99])
def test_files_of_a_newer_release_are_left_as_they_are(tmp_path: Path, version: int) -> None:
    write_file(tmp_path, version, ", id_format TINYTEXT")
    before = path_of(tmp_path).read_bytes()
    with pytest.raises(DatabaseException, match=rf"newer release.*{version}"):
        AttestationsDB(str(tmp_path), "attestations")
    assert path_of(tmp_path).read_bytes() == before


@pytest.mark.parametrize("damage", [b"this is no database", b"SQLite format 3\0" + b"x" * 4000])
def test_damaged_files_are_left_as_they_are(tmp_path: Path, damage: bytes) -> None:
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_bytes(damage)
    with pytest.raises(CorruptDatabaseException, match=r"left as it was|damaged"):
        AttestationsDB(str(tmp_path), "attestations")
    assert path_of(tmp_path).read_bytes() == damage


def test_a_version_that_is_no_number(tmp_path: Path) -> None:
    write_file(tmp_path, 2, ", id_format TINYTEXT")
    with sqlite3.connect(path_of(tmp_path)) as connection:
        connection.execute("UPDATE option SET value = 'two'")
    connection.close()
    with pytest.raises(CorruptDatabaseException, match="two"):
        AttestationsDB(str(tmp_path), "attestations")


# Encryption

def test_encrypted_files(tmp_path: Path) -> None:
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    insert(database)
    assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
    database.close()
    for file in path_of(tmp_path).parent.iterdir():
        assert KEY not in file.read_bytes()
        assert BLOB[:100] not in file.read_bytes()
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    assert database.get_attestation_by_hash(HASH) == [BLOB]
    assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
    database.close()


@pytest.mark.parametrize(("given", "error"), [(None, "give their passphrase"), ("wrong", "does not open")])
def test_without_the_passphrase(tmp_path: Path, given: str | None, error: str) -> None:
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    insert(database)
    database.close()
    before = path_of(tmp_path).read_bytes()
    with pytest.raises(DatabaseException, match=error):
        AttestationsDB(str(tmp_path), "attestations", given and passphrase(given))
    assert path_of(tmp_path).read_bytes() == before
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    assert database.get_attestation_by_hash(HASH) == [BLOB]
    database.close()


def test_what_was_stored_without_a_passphrase_is_encrypted(tmp_path: Path) -> None:
    database = AttestationsDB(str(tmp_path), "attestations")
    insert(database)
    database.close()
    assert KEY in path_of(tmp_path).read_bytes()
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    assert database.get_all() == [(HASH, BLOB, KEY, b"id_metadata")]
    for file in path_of(tmp_path).parent.iterdir():
        assert KEY not in file.read_bytes(), file
    database.close()


def test_another_passphrase(tmp_path: Path) -> None:
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    insert(database)
    with pytest.raises(DatabaseException, match="old passphrase"):
        database.change_passphrase(passphrase("wrong"), passphrase("new"))
    database.change_passphrase(passphrase(), passphrase("new"))
    database.close()
    with pytest.raises(DatabaseException):
        AttestationsDB(str(tmp_path), "attestations", passphrase())
    database = AttestationsDB(str(tmp_path), "attestations", passphrase("new"))
    assert database.get_attestation_by_hash(HASH) == [BLOB]
    database.close()
    database = AttestationsDB(str(tmp_path), "plain")
    with pytest.raises(DatabaseException, match="has no passphrase"):
        database.change_passphrase(passphrase(), passphrase("new"))
    database.close()


def test_two_programs_that_change_the_passphrase(tmp_path: Path) -> None:
    """Of two that begin with the same old one, one is told that nothing was changed."""
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    other = AttestationsDB(str(tmp_path), "attestations", passphrase())
    insert(database)

    class Slow(Passphrase):
        def decrypt(self, *arguments: bytes) -> bytes:
            other.change_passphrase(passphrase(), passphrase("first"))
            return super().decrypt(*arguments)

    with pytest.raises(DatabaseException, match="Another program has changed"):
        database.change_passphrase(Slow("secret", CHEAP), passphrase("second"))
    database.close()
    other.close()
    database = AttestationsDB(str(tmp_path), "attestations", passphrase("first"))
    assert database.get_attestation_by_hash(HASH) == [BLOB]
    database.close()


def test_encrypted_values_belong_to_their_row(tmp_path: Path) -> None:
    database = AttestationsDB(str(tmp_path), "attestations", passphrase())
    insert(database)
    insert(database, bytes(20))
    database.execute("UPDATE attestations SET key = (SELECT key FROM attestations WHERE hash = ?) WHERE hash = ?",
                     (HASH, bytes(20)))
    with pytest.raises(CorruptDatabaseException, match="was changed"):
        database.get_all()
    database.close()
