"""The credentials that this node holds, and those that it has issued, in SQLite."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import entropy
from ...database import Database, DatabaseException
from ...keyvault.passphrases import Passphrase, WrongPassphraseError, is_encrypted
from ..private_files import insert_if, overwrite_deleted, prepare_file, write_deletions
from .credential import HeldCredential
from .did import verify_key_of
from .errors import CredentialError
from .sdjwt import HeldSdJwt
from .status import LIST_SIZE, StatusList

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...keyvault.keys import PublicKey

__all__ = ["CredentialStore", "Held", "IssuedCredential", "credentials_file"]

Held = HeldCredential | HeldSdJwt

COMPACT_FORM, SD_JWT_FORM = 1, 2
FULL_LIST = LIST_SIZE * 3 // 4
"""Credentials of a status list after which a new list is begun."""

PROOF = b"ipv8 credentials"
"""What is stored encrypted, to find out whether a passphrase is right."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS held(
    holder BLOB NOT NULL, id BLOB NOT NULL, form INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (holder, id));
CREATE TABLE IF NOT EXISTS issued(
    issuer BLOB NOT NULL, status INTEGER NOT NULL, holder BLOB NOT NULL, id BLOB NOT NULL, type TEXT NOT NULL,
    expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (issuer, status));
CREATE TABLE IF NOT EXISTS status_lists(
    issuer BLOB NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (issuer, number));
CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
"""


TABLES = {"held": ("holder", "id", "form", "data"),
          "issued": ("issuer", "status", "holder", "id", "type", "expires", "revoked")}


def credentials_file(working_directory: str) -> str:
    """Where the credentials of a working directory are; ``:memory:`` stays as it is."""
    if working_directory == ":memory:":
        return working_directory
    return os.path.join(working_directory, "sqlite", "credentials.db")


class IssuedCredential(NamedTuple):
    """What an authority keeps of a credential that it has issued."""

    status: int
    holder: bytes
    id: bytes
    type: str
    expires: int
    revoked: bool


class CredentialStore(Database):
    """Credentials in a file that only its owner can read, or in ``:memory:``.

    :param passphrase: encrypts the credentials that are held, with their claims and secrets. Those that a file has from
        before are encrypted when it is opened.
    """

    LATEST_DB_VERSION = 1

    def __init__(self, file_path: str = ":memory:", passphrase: str | bytes | Passphrase | None = None) -> None:
        super().__init__(file_path)
        self._passphrase = (passphrase if passphrase is None or isinstance(passphrase, Passphrase)
                            else Passphrase(passphrase))
        #: What the right passphrase decrypts, as it was when the file was opened.
        self._proof: bytes | None = None

    def open(self, initial_statements: bool = True, prepare_visioning: bool = True) -> bool:
        """Open the file, as :meth:`ipv8.database.Database.open` does.

        :raises DatabaseException: if the file is damaged, a newer release or another program made it, or it needs a
            passphrase. It is not changed then.
        :raises WrongPassphraseError: if the passphrase is wrong.
        """
        prepare_file(self.file_path, self.LATEST_DB_VERSION, TABLES)
        super().open(initial_statements, prepare_visioning)
        try:
            self._check_passphrase()
        except BaseException:
            self.close(commit=False)
            raise
        return True

    def check_database(self, database_version: bytes) -> int:
        """Create the tables; the latest version."""
        latest = self.upgrade_schema(database_version, self.LATEST_DB_VERSION, lambda _: self.executescript(
            f"{SCHEMA} INSERT INTO option(key, value) VALUES('database_version', '{self.LATEST_DB_VERSION}');"))
        overwrite_deleted(self)
        return latest

    def _check_passphrase(self) -> None:
        proof = self._passphrase_proof()
        if self._passphrase is not None:
            if proof is None:
                proof = self._encrypt_all(self._passphrase)
            self._passphrase.decrypt(proof, PROOF)
            self._passphrase = self._passphrase.like(proof)
        elif proof is not None:
            raise DatabaseException(f"{self.file_path} is encrypted: give its passphrase")
        self._proof = proof

    def _raise_changed(self) -> None:
        raise DatabaseException(f"Another program has changed the passphrase of {self.file_path} since it was opened: "
                                "open it again")

    def _passphrase_proof(self) -> bytes | None:
        """What only the right passphrase decrypts; ``None`` if nothing is encrypted."""
        rows = list(self.execute("SELECT CAST(value AS BLOB) FROM option WHERE key = 'passphrase'"))
        return (rows[0][0] or b"") if rows else None

    def _encrypt_all(self, passphrase: Passphrase) -> bytes:
        """Encrypt all that is stored, unless another program has set a passphrase; the proof of the one that is set."""
        with self.exclusive_transaction():
            proof = self._passphrase_proof()
            if proof is not None:
                return proof
            proof = passphrase.encrypt(PROOF, PROOF)
            for rowid, id_, data in list(self.execute("SELECT rowid, id, data FROM held")):
                self.execute("UPDATE held SET data = ? WHERE rowid = ?", (passphrase.encrypt(data, id_), rowid))
            self.execute("INSERT INTO option(key, value) VALUES('passphrase', ?)", (proof,))
        write_deletions(self)  # what is not encrypted must not stay in the journal
        return proof

    def change_passphrase(self, new: str | bytes | Passphrase) -> None:
        """Use another passphrase from now on; it encrypts what is held.

        :raises DatabaseException: if the file was opened without a passphrase.
        """
        old = self._passphrase
        if old is None:
            raise DatabaseException(f"{self.file_path} has no passphrase: open it with one first")
        passphrase = new if isinstance(new, Passphrase) else Passphrase(new)
        proof = passphrase.encrypt(PROOF, PROOF)
        with self.exclusive_transaction():
            if self._passphrase_proof() != self._proof:
                self._raise_changed()
            for rowid, id_, data in list(self.execute("SELECT rowid, id, data FROM held")):
                with suppress(WrongPassphraseError):  # a damaged one stays so
                    content = old.decrypt(data, id_) if is_encrypted(data) else data
                    self.execute("UPDATE held SET data = ? WHERE rowid = ?", (passphrase.encrypt(content, id_), rowid))
            self.execute("UPDATE option SET value = ? WHERE key = 'passphrase'", (proof,))
        self._passphrase, self._proof = passphrase, proof
        write_deletions(self)

    # What we hold

    def add_held(self, holder: PublicKey, held: Held) -> None:
        """Keep a credential of ``holder``.

        :raises DatabaseException: if another program has changed the passphrase of the file.
        """
        compact = isinstance(held, HeldCredential)
        data = held.to_bytes() if isinstance(held, HeldCredential) else held.text.encode()
        if self._passphrase is not None:
            data = self._passphrase.encrypt(data, held.id)
        if not insert_if(self, "INSERT OR REPLACE INTO held(holder, id, form, data) SELECT ?, ?, ?, ? "
                               "WHERE (SELECT CAST(value AS BLOB) FROM option WHERE key = 'passphrase') IS ?",
                         (holder.key_to_bin(), held.id, COMPACT_FORM if compact else SD_JWT_FORM, data, self._proof)):
            self._raise_changed()

    def _read(self, rows: Iterable[Any]) -> list[Held]:
        found: list[Held] = []
        for id_, form, data in rows:
            try:
                content = data
                if self._passphrase is not None and is_encrypted(data):
                    content = self._passphrase.decrypt(data, id_)
                held: Held = (HeldCredential.from_bytes(content) if form == COMPACT_FORM
                              else HeldSdJwt(content.decode()))
            except ValueError as e:  # noqa: PERF203 - one that is damaged must not hide the others
                self._logger.warning("The credential %s in %s cannot be used: %s", id_.hex(), self.file_path, e)
            else:
                found.append(held)
        return found

    def held_by(self, holder: PublicKey) -> list[Held]:
        """The credentials of ``holder``, oldest first."""
        return self._read(self.execute("SELECT id, form, data FROM held WHERE holder = ? ORDER BY rowid",
                                       (holder.key_to_bin(),)) or ())

    def get_held(self, holder: PublicKey, id_: bytes) -> Held | None:
        """The credential of ``holder`` with this id."""
        found = self._read(self.execute("SELECT id, form, data FROM held WHERE holder = ? AND id = ?",
                                        (holder.key_to_bin(), id_)) or ())
        return found[0] if found else None

    def remove_held(self, holder: PublicKey, id_: bytes) -> None:
        """Delete a credential of ``holder``."""
        self.execute("DELETE FROM held WHERE holder = ? AND id = ?", (holder.key_to_bin(), id_))
        self.commit()
        write_deletions(self)

    def remove_key(self, key: PublicKey) -> None:
        """Delete all credentials that ``key`` holds, and what is kept of those that it has issued."""
        with self:
            self.execute("DELETE FROM held WHERE holder = ?", (key.key_to_bin(),))
            self.execute("DELETE FROM issued WHERE issuer = ?", (key.key_to_bin(),))
            self.execute("DELETE FROM status_lists")  # they tell who has issued something; others are asked for again
            self.commit()
        write_deletions(self)

    def keep_status(self, status_list: StatusList) -> None:
        """Keep the newest status list of a credential that is held, to show it."""
        self.execute("INSERT OR REPLACE INTO status_lists(issuer, number, data) VALUES(?, ?, ?)",
                     (verify_key_of(status_list.issuer), status_list.number, status_list.to_bytes()))
        self.commit()

    def kept_status(self, issuer: PublicKey, number: int) -> StatusList | None:
        """The status list with a number, if it was kept."""
        for (data,) in self.execute("SELECT data FROM status_lists WHERE issuer = ? AND number = ?",
                                    (verify_key_of(issuer), number)) or ():
            with suppress(CredentialError):  # a damaged one is asked for again
                return StatusList.from_bytes(data)
        return None

    # What we have issued

    def choose_status(self, issuer: PublicKey) -> int:
        """A number for a new credential: a random one that is free, so that it does not tell when it was issued."""
        key = issuer.key_to_bin()
        (highest,) = next(iter(self.execute("SELECT COALESCE(MAX(status), 0) FROM issued WHERE issuer = ?", (key,))))
        number = highest // LIST_SIZE
        used = self._numbers("issuer = ? AND status BETWEEN ? AND ?", key, number * LIST_SIZE,
                             (number + 1) * LIST_SIZE - 1)
        if len(used) >= FULL_LIST:
            number, used = number + 1, set()
        return entropy.choice([status for status in range(number * LIST_SIZE, (number + 1) * LIST_SIZE)
                               if status not in used])

    def _numbers(self, condition: str, *values: Any) -> set[int]:
        return {row[0] for row in self.execute(f"SELECT status FROM issued WHERE {condition}", values)}  # noqa: S608 - constants

    def add_issued(self, held: HeldCredential) -> None:
        """Remember a credential that was issued with a status."""
        credential = held.credential
        self.execute("INSERT INTO issued(issuer, status, holder, id, type, expires) VALUES(?, ?, ?, ?, ?, ?)",
                     (credential.issuer.key_to_bin(), credential.status, credential.holder.key_to_bin(),
                      credential.id, credential.type, credential.expires))
        self.commit()

    def issued_by(self, issuer: PublicKey) -> list[IssuedCredential]:
        """What ``issuer`` has issued, oldest first."""
        return [IssuedCredential(status, holder, id_, type_.decode(), expires, bool(revoked))
                for status, holder, id_, type_, expires, revoked in self.execute(
                    "SELECT status, holder, id, type, expires, revoked FROM issued WHERE issuer = ? ORDER BY rowid",
                    (issuer.key_to_bin(),)) or ()]

    def set_revoked(self, issuer: PublicKey, id_: bytes) -> int:
        """Mark a credential as revoked, and return its number.

        :raises KeyError: if ``issuer`` has not issued it, or it cannot be revoked.
        """
        key = issuer.key_to_bin()
        numbers = self._numbers("issuer = ? AND id = ?", key, id_)
        if not numbers:
            raise KeyError(f"no credential with the id {id_.hex()} was issued that can be revoked")
        self.execute("UPDATE issued SET revoked = 1 WHERE issuer = ? AND id = ?", (key, id_))
        self.commit()
        return numbers.pop()

    def revoked(self, issuer: PublicKey, number: int) -> set[int]:
        """The revoked credentials of a status list."""
        return self._numbers("issuer = ? AND revoked AND status BETWEEN ? AND ?", issuer.key_to_bin(),
                             number * LIST_SIZE, (number + 1) * LIST_SIZE - 1)
