"""The file of credentials: what is kept, who can read it, and files that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.credentials import store as module
from ipv8.attestation.credentials.sdjwt import HeldSdJwt
from ipv8.attestation.credentials.status import LIST_SIZE
from ipv8.attestation.credentials.store import CredentialStore
from ipv8.database import CorruptDatabaseException, DatabaseException
from ipv8.keyvault.passphrases import Passphrase, ScryptCost, WrongPassphraseError, is_encrypted

if TYPE_CHECKING:
    from pathlib import Path

    from ipv8.attestation.credentials.store import Held
    from tests.attestation.credentials.helpers import Cast

CHEAP = ScryptCost(4, 8, 1)


def open_store(path: Path | None = None, passphrase: str | None = None) -> CredentialStore:
    store = CredentialStore(":memory:" if path is None else str(path),
                            None if passphrase is None else Passphrase(passphrase, CHEAP))
    store.open()
    return store


def test_both_forms_are_held(cast: Cast) -> None:
    store = open_store()
    compact = cast.issue()
    foreign = HeldSdJwt(cast.issue().to_sd_jwt())
    holder = cast.holder.pub()
    for held in (compact, foreign, compact):
        store.add_held(holder, held)
    first, second = store.held_by(holder)
    assert {first.id, second.id} == {compact.id, foreign.id}
    assert store.held_by(cast.verifier.pub()) == []
    found = store.get_held(holder, compact.id)
    assert found is not None
    assert found.values == compact.values
    assert store.get_held(holder, bytes(32)) is None
    store.remove_held(holder, compact.id)
    assert [held.id for held in store.held_by(holder)] == [foreign.id]
    store.remove_key(holder)
    assert store.held_by(holder) == []
    store.close()


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_only_the_owner_reads_the_file(tmp_path: Path, cast: Cast) -> None:
    path = tmp_path / "sqlite" / "credentials.db"
    store = open_store(path)
    store.add_held(cast.holder.pub(), cast.issue())
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    store.close()


def test_claims_are_encrypted(tmp_path: Path, cast: Cast) -> None:
    path = tmp_path / "credentials.db"
    held = cast.issue()
    for passphrase, readable in ((None, True), ("secret", False)):
        store = open_store(path, passphrase)
        store.add_held(cast.holder.pub(), held)
        store.execute("VACUUM")
        store.close()
        assert (b"Delft" in path.read_bytes()) is readable
        store = open_store(path, passphrase)
        (found,) = store.held_by(cast.holder.pub())
        assert found.values == held.values
        store.close()
    store = open_store(path, "secret")
    assert store._passphrase is not None
    store.add_held(cast.holder.pub(), cast.issue())
    salts = {row[0][:27] for row in store.execute("SELECT data FROM held") if is_encrypted(row[0])}
    assert len(salts) == 1  # so scrypt runs once for a file
    store.close()
    with pytest.raises(WrongPassphraseError):
        open_store(path, "wrong")
    with pytest.raises(DatabaseException, match="passphrase"):
        open_store(path)
    open_store(path, "secret").close()


def test_what_was_stored_without_a_passphrase_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           cast: Cast) -> None:
    path = tmp_path / "credentials.db"
    store = open_store(path)
    held: list[Held] = [cast.issue(), HeldSdJwt(cast.issue().to_sd_jwt())]
    for one in held:
        store.add_held(cast.holder.pub(), one)
    store.close()
    with monkeypatch.context() as patched:  # if this is interrupted, nothing is changed
        patched.setattr(module, "PROOF", None)
        with pytest.raises(TypeError):
            open_store(path, "secret")
    open_store(path).close()
    store = open_store(path, "secret")
    for file in tmp_path.iterdir():
        assert b"Delft" not in file.read_bytes()
    assert [one.id for one in store.held_by(cast.holder.pub())] == [one.id for one in held]
    store.close()
    assert b"Delft" not in path.read_bytes()
    with pytest.raises(DatabaseException, match="passphrase"):
        open_store(path)


def test_another_passphrase(tmp_path: Path, cast: Cast) -> None:
    path = tmp_path / "credentials.db"
    store = open_store(path, "old")
    held = cast.issue()
    store.add_held(cast.holder.pub(), held)
    damaged = cast.issue()
    store.add_held(cast.holder.pub(), damaged)
    store.execute("UPDATE held SET data = ? WHERE id = ?", (b"IPv8box1" + bytes(60), damaged.id))
    store.change_passphrase(Passphrase("new", CHEAP))
    assert [one.id for one in store.held_by(cast.holder.pub())] == [held.id]
    store.close()
    with pytest.raises(WrongPassphraseError):
        open_store(path, "old")
    store = open_store(path, "new")
    assert [one.values for one in store.held_by(cast.holder.pub())] == [held.values]
    store.close()
    store = open_store(tmp_path / "other.db")
    with pytest.raises(DatabaseException, match="no passphrase"):
        store.change_passphrase("new")
    store.close()


def test_damaged_credentials_do_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                    cast: Cast) -> None:
    for passphrase in (None, "secret"):
        store = open_store(tmp_path / f"{passphrase}.db", passphrase)
        damaged, good = cast.issue(), cast.issue()
        for held in (damaged, good):
            store.add_held(cast.holder.pub(), held)
        for data in (b"", b"damaged", b"IPv8box1" + bytes(60), damaged.to_bytes()[:-1]):
            store.execute("UPDATE held SET data = ? WHERE id = ?", (data, damaged.id))
            caplog.clear()
            assert [held.id for held in store.held_by(cast.holder.pub())] == [good.id]
            assert damaged.id.hex() in caplog.text
            assert store.get_held(cast.holder.pub(), damaged.id) is None
        store.close()


def test_numbers_of_credentials(monkeypatch: pytest.MonkeyPatch, cast: Cast) -> None:
    monkeypatch.setattr(module, "FULL_LIST", 3)
    store = open_store()
    issuer = cast.authority.pub()
    numbers = []
    for _ in range(7):
        number = store.choose_status(issuer)
        store.add_issued(cast.issue(status=number))
        numbers.append(number)
    assert len(set(numbers)) == 7
    assert [number // LIST_SIZE for number in numbers] == [0, 0, 0, 1, 1, 1, 2]
    assert [entry.status for entry in store.issued_by(issuer)] == numbers
    store.close()


def test_revoking(cast: Cast) -> None:
    store = open_store()
    issuer = cast.authority.pub()
    held = cast.issue(status=5000)
    store.add_issued(held)
    store.add_issued(cast.issue(status=5001))
    assert store.revoked(issuer, 1) == set()
    assert store.set_revoked(issuer, held.id) == 5000
    assert store.revoked(issuer, 1) == {5000}
    assert store.revoked(issuer, 0) == store.revoked(cast.stranger.pub(), 1) == set()
    first, second = store.issued_by(issuer)
    assert (first.revoked, second.revoked) == (True, False)
    assert first.holder == cast.holder.pub().key_to_bin()
    for key, id_ in ((issuer, bytes(32)), (cast.stranger.pub(), held.id)):
        with pytest.raises(KeyError):
            store.set_revoked(key, id_)
    store.close()


@pytest.mark.parametrize(("content", "error"), [
    (b"something else" * 1000, CorruptDatabaseException), ("newer", DatabaseException)])
def test_files_that_cannot_be_used_are_not_changed(tmp_path: Path, content: Any, error: type[Exception]) -> None:
    path = tmp_path / "credentials.db"
    if content == "newer":
        open_store(path).close()
        with sqlite3.connect(path) as file:
            file.execute("UPDATE option SET value = '2' WHERE key = 'database_version'")
        file.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(error):
        open_store(path)
    assert path.read_bytes() == before


def test_versions(cast: Cast) -> None:
    store = open_store()
    with pytest.raises(DatabaseException, match="newer"):
        store.check_database(b"2")
    store.close()
    assert store.held_by(cast.holder.pub()) == []
