"""The attestations of a subject, and their private keys, in a file (doc/protocol/attestation.md, section 10)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

from ... import entropy
from ...database import CorruptDatabaseException, Database, DatabaseException
from ...keyvault.passphrases import Passphrase, WrongPassphraseError
from ...util import strip_sha1_padding
from ..private_files import insert_if, overwrite_deleted, prepare_file, write_deletions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..identity_formats import Attestation

__all__ = ["DATABASE_DIRECTORY", "AttestationsDB", "SecretKeyProtocol"]

DATABASE_DIRECTORY = "sqlite"
"""The directory of the files, in the working directory."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Names of databases, which are also names of files and tables."""

SEALED = b"IPv8row1"
"""How encrypted values start."""

NONCE_SIZE = 12
DATA_KEY_SIZE = 32
DATA_KEY_OPTION = "wallet_key"
"""Where the key of the encrypted values is kept, which is encrypted with the passphrase."""

DATA_KEY_CONTEXT = b"ipv8 wallet data key"

Row = tuple[bytes, bytes, bytes, bytes]
"""Hash, blob, private key and format."""


class SecretKeyProtocol(Protocol):
    """What a private key has to offer."""

    def public_key(self) -> Any:
        """The public key."""

    def serialize(self) -> bytes:
        """The private key as bytes."""


class _Cipher:
    """Encrypts values of rows with ChaCha20-Poly1305 (RFC 8439). Each value belongs to one column of one row."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        self._aead = ChaCha20Poly1305(key)

    def seal(self, value: bytes, column: bytes, attestation_hash: bytes) -> bytes:
        nonce = entropy.randbytes(NONCE_SIZE)
        return SEALED + nonce + self._aead.encrypt(nonce, value, column + attestation_hash)

    def open(self, value: bytes, column: bytes, attestation_hash: bytes) -> bytes:
        start = len(SEALED) + NONCE_SIZE
        return self._aead.decrypt(value[len(SEALED):start], value[start:], column + attestation_hash)


class AttestationsDB(Database):
    """Attestations with their private keys, by hash. The file is opened when the object is made.

    The file is for its owner only. With a passphrase, attestations and private keys are encrypted. Those that a file
    has from before are encrypted then.

    :param working_directory: the file is in ``sqlite`` in this directory; nothing is stored if it is ``:memory:``.
    :param db_name: the name of the file, without ``.db``, and of the table.
    :param passphrase: text, bytes, or an object that encrypts with them; scrypt takes a third of a second.
    :raises ValueError: if the name is not of letters, digits, ``_``, ``.`` and ``-``.
    :raises DatabaseException: if the file is of a newer release or of another program, or needs another passphrase. It
        is left as it is.
    :raises CorruptDatabaseException: if the file is damaged. It is left as it is.
    """

    LATEST_DB_VERSION: ClassVar[int] = 2

    def __init__(self, working_directory: str, db_name: str,
                 passphrase: str | bytes | Passphrase | None = None) -> None:
        if not NAME.fullmatch(db_name) or db_name.lower() == "option" or db_name.lower().startswith("sqlite_"):
            raise ValueError(f"{db_name!r} is no name for a database: use letters, digits, '_', '.' and '-', and "
                             "another name than those that SQLite and this library need")
        self.db_name = db_name
        self._cipher: _Cipher | None = None
        path = self._path_of(working_directory, db_name)
        prepare_file(path, self.LATEST_DB_VERSION, {db_name: ("hash", "blob", "key")})
        super().__init__(path)
        self.open()
        try:
            self._unlock(passphrase)
        except BaseException:
            self.close(commit=False)
            raise

    @staticmethod
    def _path_of(working_directory: str, db_name: str) -> str:
        if working_directory == ":memory:":
            return working_directory
        return str(Path(working_directory) / DATABASE_DIRECTORY / f"{db_name}.db")

    def is_of(self, working_directory: str, db_name: str) -> bool:
        """Whether this is an open database of that directory and name."""
        return (self._connection is not None and self.db_name == db_name
                and self.file_path == self._path_of(working_directory, db_name))

    # The schema

    def get_schema(self, version: int) -> str:
        """The statements that make the tables of a version; nothing for a version that there is none of."""
        if version != self.LATEST_DB_VERSION:
            return ""
        return f"""
            CREATE TABLE IF NOT EXISTS "{self.db_name}"(
                hash BLOB PRIMARY KEY, blob LONGBLOB, key MEDIUMBLOB, id_format TINYTEXT);
            CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
            DELETE FROM option WHERE key = 'database_version';
            INSERT INTO option(key, value) VALUES('database_version', '{version}');
            """  # noqa: S608 - the name is checked, and the version is a number

    def get_upgrade_script(self, current_version: int) -> str | None:
        """The statements that make the next version of an older file; ``None`` if there is no such version."""
        if current_version != 1:
            return None
        return (f'ALTER TABLE "{self.db_name}" ADD COLUMN id_format TINYTEXT; '  # noqa: S608 - as above
                f'UPDATE "{self.db_name}" SET id_format = \'id_metadata\';')

    def check_database(self, database_version: bytes) -> int:
        """Create the tables, or upgrade them; the version that they have then."""
        latest = self.upgrade_schema(database_version, self.LATEST_DB_VERSION, self._upgrade)
        overwrite_deleted(self)
        return latest

    def _upgrade(self, version: int) -> None:
        self.executescript(f"{self.get_upgrade_script(version) or ''} {self.get_schema(self.LATEST_DB_VERSION)}")

    # Encryption

    def _unlock(self, passphrase: str | bytes | Passphrase | None) -> None:
        """Get the key of the encrypted values, or make one and encrypt those that are not encrypted."""
        if passphrase is None:
            if self._covered_key() is not None:
                self._raise_encrypted()
            return
        cover = passphrase if isinstance(passphrase, Passphrase) else Passphrase(passphrase)
        covered = self._covered_key()
        if covered is None:
            covered = self._encrypt_all(cover)
        try:
            self._cipher = _Cipher(cover.decrypt(covered, DATA_KEY_CONTEXT))
        except WrongPassphraseError as e:
            raise DatabaseException(f"The passphrase does not open {self.file_path}: {e}. The file was left as it "
                                    "is") from e

    def _encrypt_all(self, cover: Passphrase) -> bytes:
        """Make a key and encrypt all values with it, unless another program has done so; the encrypted key."""
        with self.exclusive_transaction():
            covered = self._covered_key()
            if covered is not None:
                return covered
            key = entropy.randbytes(DATA_KEY_SIZE)
            self._cipher = _Cipher(key)
            for row in self._rows():
                self._write("UPDATE {} SET blob = ?, key = ? WHERE hash = ?", *self._sealed(*row[:3]), row[0])
            covered = cover.encrypt(key, DATA_KEY_CONTEXT)
            self._keep_data_key(covered)
        write_deletions(self)  # what is not encrypted must not stay in the journal
        return covered

    def _raise_encrypted(self) -> NoReturn:
        raise DatabaseException(f"The attestations in {self.file_path} are encrypted: give their passphrase. The file "
                                "was left as it is")

    def _covered_key(self) -> bytes | None:
        """The encrypted key of the encrypted values; ``None`` if nothing is encrypted."""
        rows = list(self.execute("SELECT CAST(value AS BLOB) FROM option WHERE key = ?", (DATA_KEY_OPTION,)))
        return (rows[0][0] or b"") if rows else None

    def _keep_data_key(self, covered: bytes) -> None:
        self.execute("INSERT OR REPLACE INTO option(key, value) VALUES(?, ?)", (DATA_KEY_OPTION, covered))

    def change_passphrase(self, old: str | bytes | Passphrase, new: str | bytes | Passphrase) -> None:
        """Use another passphrase from now on.

        :raises DatabaseException: if the old one is wrong, nothing is encrypted, or another program changes it too.
        """
        found = self._covered_key()
        if found is None:
            raise DatabaseException(f"{self.file_path} has no passphrase: open it with one first")
        cover = old if isinstance(old, Passphrase) else Passphrase(old)
        try:
            key = cover.decrypt(found, DATA_KEY_CONTEXT)
        except WrongPassphraseError as e:
            raise DatabaseException(f"The old passphrase does not open {self.file_path}: {e}") from e
        covered = (new if isinstance(new, Passphrase) else Passphrase(new)).encrypt(key, DATA_KEY_CONTEXT)
        with self.exclusive_transaction():
            if self._covered_key() != found:
                raise DatabaseException(f"Another program has changed the passphrase of {self.file_path}: nothing was "
                                        "changed")
            self._keep_data_key(covered)

    def _sealed(self, attestation_hash: bytes, blob: bytes, key: bytes) -> tuple[bytes, bytes]:
        if self._cipher is None:
            return blob, key
        return (self._cipher.seal(blob, b"blob", attestation_hash), self._cipher.seal(key, b"key", attestation_hash))

    def _opened(self, value: bytes, column: bytes, attestation_hash: bytes) -> bytes:
        if not isinstance(value, bytes) or not value.startswith(SEALED):
            return value
        if self._cipher is None:
            self._raise_encrypted()
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.open(value, column, attestation_hash)
        except InvalidTag:
            raise CorruptDatabaseException(f"{self.file_path}: the attestation {attestation_hash.hex()} was changed; "
                                           "restore a copy") from None

    # Rows

    def _rows(self) -> list[Row]:
        return list(self._write("SELECT hash, blob, key, id_format FROM {}"))

    def _write(self, statement: str, *bindings: bytes) -> Any:
        """Run a statement, in which ``{}`` is the table."""
        return self.execute(statement.format(f'"{self.db_name}"'), bindings)

    def get_attestation_by_hash(self, attestation_hash: bytes) -> list[bytes]:
        """The attestation with a hash, in the form for the subject; an empty list if there is none."""
        rows = self._write("SELECT blob FROM {} WHERE hash = ?", attestation_hash)
        return [self._opened(row[0], b"blob", attestation_hash) for row in rows][:1]

    def get_all(self) -> list[Row]:
        """The hash, the attestation, the private key and the format of all attestations."""
        return [(row[0], self._opened(row[1], b"blob", row[0]), self._opened(row[2], b"key", row[0]), row[3])
                for row in self._rows()]

    def insert_attestation(self, attestation: Attestation, attestation_hash: bytes, secret_key: SecretKeyProtocol,
                           id_format: str) -> None:
        """Store an attestation.

        :raises sqlite3.IntegrityError: if there is one with this hash.
        :raises DatabaseException: if another program has encrypted the file since it was opened.
        """
        blob = attestation.serialize_private(secret_key.public_key())
        sealed = self._sealed(attestation_hash, blob, secret_key.serialize())
        if not insert_if(self, f'INSERT INTO "{self.db_name}"(hash, blob, key, id_format) '  # noqa: S608 - it is checked
                               "SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM option WHERE key = ?) = ?",
                         (attestation_hash, *sealed, id_format.encode(), DATA_KEY_OPTION, self._cipher is not None)):
            self._raise_encrypted()

    def remove_attestation(self, attestation_hash: bytes) -> None:
        """Delete an attestation, which is given by its hash of 20 bytes, padded to 32 or not."""
        self.remove_attestations((attestation_hash,))

    def remove_attestations(self, hashes: Iterable[bytes]) -> None:
        """Delete several attestations, and do not leave their private keys in the file."""
        for attestation_hash in hashes:
            self._write("DELETE FROM {} WHERE hash = ? OR hash = ?", attestation_hash,
                        strip_sha1_padding(attestation_hash))
        self.commit()
        write_deletions(self)
