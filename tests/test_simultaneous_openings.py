"""Several programs that create, upgrade or encrypt the same database file at the same moment."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ipv8.attestation.credentials.credential import issue
from ipv8.attestation.credentials.store import CredentialStore
from ipv8.attestation.trustchain import schema
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.attestation.wallet.database import AttestationsDB
from ipv8.database import Database, DatabaseException
from ipv8.dht.persistence import DHTDatabase
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.passphrases import WrongPassphraseError
from tests.attestation.test_private_files import open_identities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipv8.keyvault.keys import PrivateKey

def open_credentials(path: Path, passphrase: str | None = None) -> CredentialStore:
    store = CredentialStore(str(path), passphrase)
    store.open()
    return store


def open_dht(path: Path) -> Database:
    database = DHTDatabase(str(path))
    database.open()
    return database


def open_wallet(path: Path, passphrase: str | None = None) -> AttestationsDB:
    return AttestationsDB(str(path.parent.parent), path.stem, passphrase)


OPENERS: dict[str, Callable[[Path], Database]] = {
    "blocks": lambda path: TrustChainDB(str(path.parent.parent), path.stem),
    "attestations": open_wallet,
    "encrypted attestations": lambda path: open_wallet(path, "passphrase"),
    "identities": open_identities,
    "credentials": open_credentials,
    "encrypted credentials": lambda path: open_credentials(path, "passphrase"),
    "dht": open_dht,
}

BLOCKS_7 = (schema.blocks_table("blocks", "public_key, sequence_number")
            + schema.OPTION_TABLE
            + "INSERT INTO option VALUES('database_version', '7'); INSERT INTO blocks(type, tx, public_key, "
              "sequence_number, link_public_key, link_sequence_number, previous_hash, signature, block_timestamp, "
              "block_hash) VALUES('a', 'b', 'c', 1, 'd', 0, 'e', 'f', 1, 'g');")
BLOCKS_8 = BLOCKS_7.replace("'7'", "'8'")
ATTESTATIONS_1 = ("CREATE TABLE numbers(hash BLOB PRIMARY KEY, blob LONGBLOB, key MEDIUMBLOB); CREATE TABLE option(key "
                  "TEXT PRIMARY KEY, value BLOB); INSERT INTO option VALUES('database_version', '1'); "
                  "INSERT INTO numbers VALUES('hash', 'blob', 'key');")
IDENTITIES_1 = ("CREATE TABLE Tokens(public_key LONGBLOB, previous_token_hash LONGBLOB, signature LONGBLOB, "
                "content_hash LONGBLOB, content LONGBLOB); CREATE TABLE Metadata(public_key LONGBLOB, token_pointer "
                "LONGBLOB, signature LONGBLOB, serialized_json_dict LONGBLOB); CREATE TABLE Attestations(public_key "
                "LONGBLOB, authority_key LONGBLOB, metadata_pointer LONGBLOB, signature LONGBLOB); CREATE TABLE option("
                "key TEXT PRIMARY KEY, value BLOB); INSERT INTO option VALUES('database_version', '1'); "
                "INSERT INTO Tokens VALUES('a', 'b', 'c', 'd', 'e');")

CASES = [(name, "") for name in OPENERS] + [
    ("blocks", BLOCKS_7), ("blocks", BLOCKS_8), ("attestations", ATTESTATIONS_1),
    ("encrypted attestations", ATTESTATIONS_1), ("identities", IDENTITIES_1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sqlite" / "numbers.db"
    file.parent.mkdir()
    return file


@pytest.fixture
def key() -> PrivateKey:
    return default_eccrypto.generate_key("curve25519")


@pytest.fixture
def before_change(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """What other programs do after one has looked at a file, before it gets to change it: one call for each change."""
    calls: list[Callable[[], object]] = []

    def late(database: Database) -> object:
        if calls:
            calls.pop(0)()
        return exclusive_transaction(database)

    exclusive_transaction = Database.exclusive_transaction
    monkeypatch.setattr(Database, "exclusive_transaction", late)
    yield calls
    assert not calls, "the file was not changed as often as expected"


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as file:
        return list(file.iterdump())


@pytest.mark.parametrize(("name", "script"), CASES)
def test_one_program_makes_the_tables(path: Path, name: str, script: str,
                                      before_change: list[Callable[[], object]]) -> None:
    """The others find them, whatever there was when they looked first, and change nothing."""
    with closing(sqlite3.connect(path)) as file:
        file.executescript(script)
    states: list[list[str]] = []

    def other() -> None:
        OPENERS[name](path).close()
        states.append(content(path))

    before_change.append(other)
    opened = OPENERS[name](path)
    opened.close()
    assert content(path) == states[0]


def test_one_program_converts_blocks(path: Path, before_change: list[Callable[[], object]]) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(BLOCKS_7)
    before_change.extend([lambda: None, lambda: OPENERS["blocks"](path).close()])
    with closing(TrustChainDB(str(path.parent.parent), path.stem)) as database:
        assert list(database.execute("SELECT type, tx, public_key FROM blocks")) == [(b"a", b"b", b"c")]


@pytest.mark.parametrize("open_file", [open_wallet, open_credentials])
def test_one_passphrase(path: Path, open_file: Callable[..., Database],
                        before_change: list[Callable[[], object]]) -> None:
    open_file(path).close()
    before_change.append(lambda: open_file(path, "passphrase").close())
    with pytest.raises((DatabaseException, WrongPassphraseError), match="passphrase"):
        open_file(path, "another one")
    open_file(path, "passphrase").close()


def test_credentials_after_another_program_has_changed_the_passphrase(path: Path, key: PrivateKey) -> None:
    """What is stored with the former passphrase could not be read any more, and nothing is stored in clear."""
    held = issue(key, key.pub(), "type", {"city": "Delft"})
    for before, after in ((None, "first"), ("first", "second")):
        with closing(open_credentials(path, before)) as late:
            with closing(open_credentials(path, before or after)) as early:
                if before is not None:
                    early.change_passphrase(after)
                early.add_held(key.pub(), issue(key, key.pub(), "type", {"city": after}))
            with pytest.raises(DatabaseException, match="open it again"):
                late.add_held(key.pub(), held)
            if before is not None:
                with pytest.raises(DatabaseException, match="open it again"):
                    late.change_passphrase("third")
    with closing(open_credentials(path, "second")) as store:
        assert len(store.held_by(key.pub())) == 2


class Attestation:
    """Something to store."""

    def serialize_private(self, _: object) -> bytes:
        return b"the attestation"


class SecretKey:
    """A key with nothing in it."""

    def public_key(self) -> None:
        return None

    def serialize(self) -> bytes:
        return b"the secret"


def test_attestations_after_another_program_has_encrypted_them(path: Path) -> None:
    attestation, secret = Attestation(), SecretKey()
    with closing(open_wallet(path)) as late:
        with closing(open_wallet(path, "passphrase")) as early:
            early.insert_attestation(attestation, b"1" * 20, secret, "id_metadata")  # type: ignore[arg-type]
        with pytest.raises(DatabaseException, match="give their passphrase"):
            late.insert_attestation(attestation, b"2" * 20, secret, "id_metadata")  # type: ignore[arg-type]
        with pytest.raises(DatabaseException, match="give their passphrase"):
            late.get_attestation_by_hash(b"1" * 20)
    assert b"the secret" not in b"".join(file.read_bytes() for file in path.parent.iterdir())
    with closing(open_wallet(path, "passphrase")) as wallet:
        assert wallet.get_all() == [(b"1" * 20, b"the attestation", b"the secret", b"id_metadata")]
