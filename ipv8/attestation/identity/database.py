"""Tokens, metadata and attestations in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ...database import Database, DatabaseException
from ..private_files import overwrite_deleted, prepare_file, write_deletions
from ..tokentree.token import Token
from .attestation import Attestation
from .metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...keyvault.keys import Key, PublicKey

__all__ = ["Credential", "IdentityDatabase", "to_list"]

T = TypeVar("T")

ATTESTATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS Attestations(
    public_key BLOB, authority_key BLOB, metadata_pointer BLOB, signature BLOB,
    PRIMARY KEY (public_key, authority_key, metadata_pointer));
CREATE INDEX IF NOT EXISTS attestations_over ON Attestations(metadata_pointer);
"""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS Tokens(
    public_key BLOB, previous_token_hash BLOB, signature BLOB, content_hash BLOB, content LONGBLOB,
    PRIMARY KEY (public_key, previous_token_hash, content_hash));
CREATE TABLE IF NOT EXISTS Metadata(
    public_key BLOB, token_pointer BLOB, signature BLOB, serialized_json_dict LONGBLOB,
    PRIMARY KEY (public_key, token_pointer));
{ATTESTATIONS_TABLE}
CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
"""

TABLES = {"tokens": ("public_key", "previous_token_hash", "signature", "content_hash", "content"),
          "metadata": ("public_key", "token_pointer", "signature", "serialized_json_dict"),
          "attestations": ("public_key", "authority_key", "metadata_pointer", "signature")}

FROM_VERSION_1 = (
    "ALTER TABLE Attestations RENAME TO AttestationsOfVersion1;",
    ATTESTATIONS_TABLE,
    ("INSERT OR IGNORE INTO Attestations(public_key, authority_key, metadata_pointer, signature) "
     "SELECT public_key, authority_key, metadata_pointer, signature FROM AttestationsOfVersion1;"),
    "DROP TABLE AttestationsOfVersion1;")
"""In version 1 there was one attestation for each metadata, whoever made it."""


class Credential:
    """Metadata and the attestations over it."""

    def __init__(self, metadata: Metadata, attestations: set[Attestation]) -> None:
        self.metadata = metadata
        self.attestations = attestations


def to_list(obj: Iterable[T] | None) -> list[T]:
    """A list of the elements; ``[]`` for ``None``, which databases return when they are closed."""
    return [] if obj is None else list(obj)


class IdentityDatabase(Database):
    """The file is ``sqlite/identity.db`` in the working directory, unless a program says otherwise.

    Only its owner can read it.

    Inserting something that is there already changes nothing. Each insertion is committed, those in a ``with`` block
    together at its end.
    """

    LATEST_DB_VERSION = 2

    def open(self, initial_statements: bool = True, prepare_visioning: bool = True) -> bool:
        """Open the file, as :meth:`ipv8.database.Database.open` does.

        :raises DatabaseException: if the file is damaged, or a newer release or another program made it. It is not
            changed then.
        """
        prepare_file(self.file_path, self.LATEST_DB_VERSION, TABLES)
        return super().open(initial_statements, prepare_visioning)

    # Writing

    def _insert(self, statement: str, values: tuple[Any, ...]) -> None:
        self.execute(statement, values)
        self.commit()

    def insert_token(self, public_key: PublicKey, token: Token) -> None:
        """Store a token of ``public_key``; if it is there without content, only the content."""
        self._insert("INSERT INTO Tokens(public_key, previous_token_hash, signature, content_hash, content) "
                     "VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET content = excluded.content "
                     "WHERE Tokens.content IS NULL AND Tokens.signature = excluded.signature",
                     (public_key.key_to_bin(), *token.to_database_tuple()))

    def insert_metadata(self, public_key: PublicKey, metadata: Metadata) -> None:
        """Store metadata of ``public_key``."""
        self._insert("INSERT OR IGNORE INTO Metadata(public_key, token_pointer, signature, serialized_json_dict) "
                     "VALUES(?, ?, ?, ?)", (public_key.key_to_bin(), *metadata.to_database_tuple()))

    def insert_attestation(self, public_key: PublicKey, authority_key: PublicKey, attestation: Attestation) -> None:
        """Store an attestation of ``authority_key`` over metadata of ``public_key``."""
        self._insert("INSERT OR IGNORE INTO Attestations(public_key, authority_key, metadata_pointer, signature) "
                     "VALUES(?, ?, ?, ?)",
                     (public_key.key_to_bin(), authority_key.key_to_bin(), *attestation.to_database_tuple()))

    def remove_identity(self, public_key: PublicKey) -> None:
        """Delete all that is stored of ``public_key``: its tokens, its metadata, and the attestations over that.

        What the owner has attested for others stays.
        """
        with self:
            for table in ("Tokens", "Metadata", "Attestations"):
                self._insert(f"DELETE FROM {table} WHERE public_key = ?",  # noqa: S608 - the names are constants
                             (public_key.key_to_bin(),))
        write_deletions(self)

    # Reading

    def _rows(self, statement: str, *values: bytes) -> list[tuple[Any, ...]]:
        return to_list(self.execute(statement, values))

    def tokens_of(self, public_key: PublicKey) -> list[Token]:
        """The tokens of ``public_key`` in the order in which they were stored."""
        return [Token.from_database_tuple(*row) for row in self._rows(
            "SELECT previous_token_hash, signature, content_hash, content FROM Tokens WHERE public_key = ? "
            "ORDER BY rowid", public_key.key_to_bin())]

    def get_tokens_for(self, public_key: PublicKey) -> set[Token]:
        """The tokens of ``public_key``."""
        return set(self.tokens_of(public_key))

    def metadata_of(self, public_key: PublicKey) -> list[Metadata]:
        """The metadata of ``public_key`` in the order in which it was stored."""
        return [Metadata.from_database_tuple(*row) for row in self._rows(
            "SELECT token_pointer, signature, serialized_json_dict FROM Metadata WHERE public_key = ? ORDER BY rowid",
            public_key.key_to_bin())]

    def metadata_over(self, public_key: PublicKey, token_hash: bytes) -> Metadata | None:
        """The metadata of ``public_key`` that describes the token with a hash, if there is some."""
        rows = self._rows("SELECT token_pointer, signature, serialized_json_dict FROM Metadata WHERE public_key = ? "
                          "AND token_pointer = ?", public_key.key_to_bin(), token_hash)
        return Metadata.from_database_tuple(*rows[0]) if rows else None

    def count_of(self, public_key: PublicKey) -> tuple[int, int]:
        """How much metadata of ``public_key`` is stored, and how many attestations over that."""
        metadata, attestations = (self._rows(f"SELECT COUNT(*) FROM {table} WHERE public_key = ?",  # noqa: S608 - as above
                                             public_key.key_to_bin())[0][0] for table in ("Metadata", "Attestations"))
        return metadata, attestations

    def get_metadata_for(self, public_key: PublicKey) -> set[Metadata]:
        """The metadata of ``public_key``."""
        return set(self.metadata_of(public_key))

    def _attestations(self, column: str, value: bytes) -> set[Attestation]:
        return {Attestation.from_database_tuple(*row) for row in self._rows(
            f"SELECT metadata_pointer, signature FROM Attestations WHERE {column} = ?", value)}  # noqa: S608 - as above

    def get_attestations_for(self, public_key: PublicKey) -> set[Attestation]:
        """The attestations over metadata of ``public_key``."""
        return self._attestations("public_key", public_key.key_to_bin())

    def get_attestations_by(self, public_key: PublicKey) -> set[Attestation]:
        """The attestations that ``public_key`` has made."""
        return self._attestations("authority_key", public_key.key_to_bin())

    def get_attestations_over(self, metadata: Metadata) -> set[Attestation]:
        """The attestations over ``metadata``."""
        return self._attestations("metadata_pointer", metadata.get_hash())

    def get_attestation_by(self, public_key: Key, metadata: Metadata) -> Attestation | None:
        """The attestation of ``public_key`` over ``metadata``, if there is one."""
        rows = self._rows("SELECT metadata_pointer, signature FROM Attestations "
                          "WHERE metadata_pointer = ? AND authority_key = ?",
                          metadata.get_hash(), public_key.pub().key_to_bin())
        return Attestation.from_database_tuple(*rows[0]) if rows else None

    def get_authority(self, attestation: Attestation) -> bytes:
        """The public key that has made ``attestation``; ``StopIteration`` if it is not stored."""
        authority: bytes = next(iter(self._rows(
            "SELECT authority_key FROM Attestations WHERE metadata_pointer = ? AND signature = ?",
            attestation.metadata_pointer, attestation.signature)))[0]
        return authority

    def get_credential_over(self, metadata: Metadata) -> Credential:
        """``metadata`` with the attestations over it."""
        return Credential(metadata, self.get_attestations_over(metadata))

    def get_credentials_for(self, public_key: PublicKey) -> list[Credential]:
        """All metadata of ``public_key`` with the attestations over it, in the order in which it was stored."""
        return [self.get_credential_over(metadata) for metadata in self.metadata_of(public_key)]

    def get_known_identities(self) -> list[bytes]:
        """The public keys that have tokens, each once."""
        return [row[0] for row in self._rows("SELECT DISTINCT public_key FROM Tokens")]

    # Versions

    def get_schema(self, version: int) -> str:
        """The statements that make the tables of ``version``; only those of the latest version are known."""
        if version != self.LATEST_DB_VERSION:
            raise DatabaseException(f"there are no tables of version {version}, only of {self.LATEST_DB_VERSION}")
        return SCHEMA

    def get_upgrade_script(self, current_version: int) -> Iterator[str]:
        """The statements that upgrade from ``current_version``, one step after another."""
        if current_version == 1:
            yield from FROM_VERSION_1

    def check_database(self, database_version: bytes) -> int:
        """Create the tables, or upgrade them; the latest version.

        :raises DatabaseException: if a newer release made the file. It is not changed.
        """
        latest = self.upgrade_schema(database_version, self.LATEST_DB_VERSION, self._upgrade)
        overwrite_deleted(self)
        return latest

    def _upgrade(self, version: int) -> None:
        latest = self.LATEST_DB_VERSION
        steps = "".join(self.get_upgrade_script(version)) if version else ""
        self.executescript(f"{steps} {self.get_schema(latest)} INSERT OR REPLACE INTO option(key, value) "
                           f"VALUES('database_version', '{latest}');")
