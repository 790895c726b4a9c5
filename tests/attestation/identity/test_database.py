"""The file with tokens, metadata and attestations, and files that cannot be used."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.identity.attestation import Attestation
from ipv8.attestation.identity.database import IdentityDatabase, to_list
from ipv8.attestation.identity.metadata import Metadata
from ipv8.attestation.tokentree.token import Token
from ipv8.attestation.tokentree.tree import TokenTree
from ipv8.database import CorruptDatabaseException, DatabaseException
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, AUTHORITY, SECOND = (default_eccrypto.generate_key("curve25519") for _ in range(3))

VERSION_1 = """
CREATE TABLE Tokens(public_key BLOB, previous_token_hash BLOB, signature BLOB, content_hash BLOB, content LONGBLOB,
                    PRIMARY KEY (public_key, previous_token_hash, content_hash));
CREATE TABLE Metadata(public_key BLOB, token_pointer BLOB, signature BLOB, serialized_json_dict LONGBLOB,
                      PRIMARY KEY (public_key, token_pointer));
CREATE TABLE Attestations(public_key BLOB, authority_key BLOB, metadata_pointer BLOB, signature BLOB,
                          PRIMARY KEY (public_key, metadata_pointer));
CREATE TABLE option(key TEXT PRIMARY KEY, value BLOB);
INSERT INTO option(key, value) VALUES('database_version', '1');
"""


@pytest.fixture
def database() -> Iterator[IdentityDatabase]:
    opened = IdentityDatabase(":memory:")
    opened.open()
    yield opened
    opened.close()


def attribute(name: str = "a") -> tuple[Token, Metadata]:
    token = TokenTree(private_key=KEY).add(name.encode())
    return token, Metadata.create(token, {"name": name}, KEY)


def test_everything_round_trips(database: IdentityDatabase) -> None:
    token, metadata = attribute()
    attestation = Attestation.create(metadata, AUTHORITY)
    database.insert_token(KEY.pub(), token)
    database.insert_metadata(KEY.pub(), metadata)
    database.insert_attestation(KEY.pub(), AUTHORITY.pub(), attestation)
    assert database.get_tokens_for(KEY.pub()) == {token}
    assert database.tokens_of(KEY.pub())[0].content == b"a"
    assert database.get_metadata_for(KEY.pub()) == {metadata}
    assert database.get_attestations_for(KEY.pub()) == {attestation}
    assert database.get_attestations_by(AUTHORITY.pub()) == {attestation}
    assert database.get_attestations_over(metadata) == {attestation}
    assert database.get_authority(attestation) == AUTHORITY.pub().key_to_bin()
    assert database.get_attestation_by(AUTHORITY, metadata) == attestation
    assert database.get_attestation_by(SECOND, metadata) is None
    (credential,) = database.get_credentials_for(KEY.pub())
    assert credential.metadata == metadata
    assert credential.attestations == {attestation}


def test_several_authorities_attest_the_same(database: IdentityDatabase) -> None:
    _, metadata = attribute()
    made = {Attestation.create(metadata, key) for key in (AUTHORITY, SECOND)}
    for key in (AUTHORITY, SECOND):
        database.insert_attestation(KEY.pub(), key.pub(), Attestation.create(metadata, key))
    assert database.get_attestations_over(metadata) == made


def test_unknown_attestations_have_no_authority(database: IdentityDatabase) -> None:
    with pytest.raises(StopIteration):
        database.get_authority(Attestation.create(attribute()[1], AUTHORITY))


def test_each_identity_is_known_once(database: IdentityDatabase) -> None:
    for name in "abc":
        database.insert_token(KEY.pub(), attribute(name)[0])
    assert database.get_known_identities() == [KEY.pub().key_to_bin()]


def test_content_is_added_to_a_stored_token(database: IdentityDatabase) -> None:
    token, _ = attribute()
    bare = Token.unserialize(token.get_plaintext_signed(), KEY.pub())
    for inserted in (bare, token, bare):
        database.insert_token(KEY.pub(), inserted)
    assert [stored.content for stored in database.tokens_of(KEY.pub())] == [b"a"]


def test_removing_an_identity_leaves_what_it_has_attested(database: IdentityDatabase) -> None:
    token, metadata = attribute()
    database.insert_token(KEY.pub(), token)
    database.insert_metadata(KEY.pub(), metadata)
    database.insert_attestation(KEY.pub(), AUTHORITY.pub(), Attestation.create(metadata, AUTHORITY))
    database.remove_identity(AUTHORITY.pub())
    assert len(database.get_attestations_over(metadata)) == 1
    database.remove_identity(KEY.pub())
    assert [list(database.execute(f"SELECT * FROM {table}")) for table in ("Tokens", "Metadata", "Attestations")] == [
        [], [], []]


def test_a_closed_database_has_nothing() -> None:
    closed = IdentityDatabase(":memory:")
    assert closed.get_tokens_for(KEY.pub()) == set()
    assert to_list(None) == []
    assert to_list({1}) == [1]


def test_version_1_is_upgraded(tmp_path: Path) -> None:
    path = str(tmp_path / "identity.db")
    token, metadata = attribute()
    attestation = Attestation.create(metadata, AUTHORITY)
    with sqlite3.connect(path) as old:
        old.executescript(VERSION_1)
        old.execute("INSERT INTO Tokens VALUES(?, ?, ?, ?, ?)", (KEY.pub().key_to_bin(), *token.to_database_tuple()))
        old.execute("INSERT INTO Metadata VALUES(?, ?, ?, ?)",
                    (KEY.pub().key_to_bin(), *metadata.to_database_tuple()))
        old.execute("INSERT INTO Attestations VALUES(?, ?, ?, ?)",
                    (KEY.pub().key_to_bin(), AUTHORITY.pub().key_to_bin(), *attestation.to_database_tuple()))
    old.close()
    for _ in range(2):
        database = IdentityDatabase(path)
        database.open()
        assert database.database_version == 2
        assert database.get_credentials_for(KEY.pub())[0].attestations >= {attestation}
        database.insert_attestation(KEY.pub(), SECOND.pub(), Attestation.create(metadata, SECOND))
        assert len(database.get_attestations_over(metadata)) == 2
        database.close()


@pytest.mark.parametrize("version", ["3", "99"])
def test_newer_files_are_refused_and_not_changed(tmp_path: Path, version: str) -> None:
    path = tmp_path / "identity.db"
    with sqlite3.connect(path) as newer:
        newer.executescript(VERSION_1)
        newer.execute("UPDATE option SET value = ?", (version,))
    newer.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseException, match="newer release"):
        IdentityDatabase(str(path)).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "garbage", "version"])
def test_damaged_files_are_refused_and_not_changed(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "identity.db"
    with sqlite3.connect(path) as file:
        file.executescript(VERSION_1)
        if damage == "version":
            file.execute("UPDATE option SET value = 'many'")
    file.close()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "garbage":
        path.write_bytes(b"something else" * 1000)
    before = path.read_bytes()
    with pytest.raises(CorruptDatabaseException):
        IdentityDatabase(str(path)).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [b"3", b"many"])
def test_versions_that_cannot_be_used(database: IdentityDatabase, version: bytes) -> None:
    with pytest.raises(DatabaseException):
        database.check_database(version)


def test_schema_of_the_latest_version(database: IdentityDatabase) -> None:
    assert "Attestations" in database.get_schema(2)
    with pytest.raises(DatabaseException):
        database.get_schema(1)


def test_inserting_in_a_block_commits_once(monkeypatch: pytest.MonkeyPatch, database: IdentityDatabase) -> None:
    commits: list[Any] = []
    commit = IdentityDatabase.commit

    def counted(self: IdentityDatabase, exiting: bool = False) -> bool:
        done = commit(self, exiting)
        commits.append(done)
        return done

    monkeypatch.setattr(IdentityDatabase, "commit", counted)
    with database:
        for name in "abc":
            database.insert_token(KEY.pub(), attribute(name)[0])
    assert commits.count(True) == 1
