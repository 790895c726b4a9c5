"""The attributes of this node's pseudonyms and of other peers: what is known, and what is told of it."""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING

from ...fill import Fill
from ...keyvault.crypto import default_eccrypto
from ...keyvault.keys import PrivateKey, PublicKey
from ...reexports import reexports
from ..tokentree.token import HASH_SIZE
from ..tokentree.tree import TokenTree
from .attestation import Attestation
from .database import Credential, IdentityDatabase
from .metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ...keyvault.keys import Key
    from ..tokentree.token import Token

__all__ = ["MAX_METADATA_OF_OTHERS", "MAX_TOKENS_OF_OTHERS", "Disclosure", "IdentityManager", "PseudonymManager"]

logger = logging.getLogger(__name__)

MAX_TOKENS_OF_OTHERS = 16_384
"""Tokens that are taken from others for one public key; further ones are refused."""

MAX_PSEUDONYMS = 256
"""Keys whose attributes are kept in memory; from then on, the oldest that is not ours makes room for a new one."""

MAX_METADATA_OF_OTHERS, MAX_ATTESTATIONS_OF_OTHERS = 4096, 4096
"""Descriptions, and attestations over them, that are taken from others for one public key; further ones are refused."""

Disclosure = tuple[bytes, bytes, bytes, bytes]
"""Metadata, tokens, attestations and authorities (doc/protocol/identity.md section 4.3)."""

METADATA_SIZE = struct.Struct(">I")
AUTHORITY_SIZE = struct.Struct(">H")


class PseudonymManager:
    """The attributes of one public key. :meth:`IdentityManager.get_pseudonym` makes it.

    :param database: an open database.
    :param public_key: whose attributes these are.
    :param private_key: the same, for attributes of our own.
    """

    def __init__(self, database: IdentityDatabase, public_key: PublicKey | None = None,
                 private_key: PrivateKey | None = None) -> None:
        self.database = database
        self.tree = TokenTree(public_key=public_key, private_key=private_key)
        for token in database.tokens_of(self.public_key):
            self.tree.elements[token.get_hash()] = token
        #: The credentials when this object was made, and those that :meth:`add_credential` has added since.
        self.credentials: list[Credential] = self.get_credentials()

    @property
    def public_key(self) -> PublicKey:
        """Whose attributes these are."""
        return self.tree.public_key

    # Adding

    def add_credential(self, token: Token, metadata: Metadata,
                       attestations: Iterable[tuple[PublicKey, Attestation]] | None = None) -> Credential | None:
        """Add a token, metadata that describes it, and attestations over that.

        :returns: the credential with the attestations that are valid; ``None`` if the token is not connected with the
            others, or the metadata is not of this token and key. In the second case, the token is added nevertheless.
        """
        if self.tree.gather_token(token) is None:
            return None
        with self.database:
            self.database.insert_token(self.public_key, token)
            if metadata.token_pointer != token.get_hash() or not self.add_metadata(metadata):
                return None
            valid = {attestation for authority, attestation in attestations or ()
                     if self.add_attestation(authority, attestation)}
        credential = Credential(metadata, valid)
        self.credentials.append(credential)
        return credential

    def add_metadata(self, metadata: Metadata) -> bool:
        """Store metadata if it is signed by our key; whether it is."""
        if not metadata.verify(self.public_key):
            return False
        self.database.insert_metadata(self.public_key, metadata)
        return True

    def add_attestation(self, public_key: PublicKey, attestation: Attestation) -> bool:
        """Store an attestation if it is signed by the authority ``public_key``; whether it is."""
        if not attestation.verify(public_key):
            return False
        self.database.insert_attestation(self.public_key, public_key, attestation)
        return True

    def create_attestation(self, metadata: Metadata, private_key: PrivateKey) -> Attestation:
        """An attestation of ``private_key`` over metadata of this key; it is not stored."""
        return Attestation.create(metadata, private_key)

    def create_credential(self, attestation_hash: bytes, metadata_json: dict[str, Any],
                          after: Metadata | None = None) -> Credential | None:
        """Make a token for an attribute, and describe it.

        :param attestation_hash: 32 bytes that identify the attribute.
        :param after: the token of this metadata comes before the new one; without it, the new one is a root.
        :raises RuntimeError: without the private key.
        """
        private_key = self.tree.private_key
        if private_key is None:
            raise RuntimeError("Attempted to create a credential without a key!")
        predecessor = None if after is None else self.tree.elements.get(after.token_pointer)
        token = self.tree.add_by_hash(attestation_hash, predecessor)
        return self.add_credential(token, Metadata.create(token, metadata_json, private_key))

    # Reading

    def get_credential(self, metadata: Metadata) -> Credential:
        """``metadata`` with all attestations that are stored."""
        return self.database.get_credential_over(metadata)

    def get_credentials(self) -> list[Credential]:
        """All metadata of this key, each with all attestations that are stored."""
        return self.database.get_credentials_for(self.public_key)

    def token_of(self, metadata: Metadata) -> Token | None:
        """The token that ``metadata`` describes, if it is known."""
        return self.tree.elements.get(metadata.token_pointer)

    # Disclosing

    def disclose_credentials(self, credentials: Iterable[Credential], attestation_selector: set[bytes]) -> Disclosure:
        """What proves some credentials to others: see :meth:`create_disclosure`."""
        return self.create_disclosure({credential.metadata for credential in credentials}, attestation_selector)

    def create_disclosure(self, metadata: set[Metadata], attestation_selector: set[bytes]) -> Disclosure:
        """What proves some metadata to others.

        :param attestation_selector: the hashes of the attestations that are disclosed too.
        :returns: four byte strings. The tokens have each path root first, and no token twice.
        :raises KeyError: if the token of metadata is not known.
        :raises RuntimeError: if a token is not connected with the root by good tokens.
        """
        told: dict[bytes, Token] = {}
        attestations = authorities = b""
        ordered = sorted(metadata, key=Metadata.get_hash)
        for entry in ordered:
            path = self.tree.get_root_path(self.tree.elements[entry.token_pointer], maxdepth=-1)
            if not path:
                raise RuntimeError("Attempted to create disclosure for undisclosable Token!")
            told.update((token.get_hash(), token) for token in reversed(path))
            for attestation in self.database.get_attestations_over(entry):
                if attestation.get_hash() in attestation_selector:
                    authority = self.database.get_authority(attestation)
                    attestations += attestation.get_plaintext_signed()
                    authorities += AUTHORITY_SIZE.pack(len(authority)) + authority
        records = [entry.get_plaintext_signed() for entry in ordered]
        return (b"".join(METADATA_SIZE.pack(len(record)) + record for record in records),
                b"".join(token.get_plaintext_signed() for token in told.values()), attestations, authorities)


def _records(data: bytes, size: struct.Struct) -> Iterator[bytes]:
    """The records in ``data``, each with its length in front; ``struct.error`` if the last one is not complete."""
    position = 0
    while position < len(data):
        (length,) = size.unpack_from(data, position)
        position += size.size + length
        if position > len(data):
            raise struct.error(f"a record of {length} bytes is cut short")
        yield data[position - length:position]


class IdentityManager:
    """The pseudonyms of this node, and what is known of others.

    :param database_path: a file, or ``":memory:"``.
    :raises DatabaseException: if the file is damaged or a newer release made it.
    """

    def __init__(self, database_path: str = ":memory:") -> None:
        self.crypto = default_eccrypto
        #: By public key, in binary form.
        self.pseudonyms: dict[bytes, PseudonymManager] = {}
        self.database = IdentityDatabase(database_path)
        self.database.open()
        #: Whether the overlays that use this manager close it, because one of them has made it.
        self.shared_by_overlays = False
        self._users = 0

    def retain(self) -> None:
        """Say that one more overlay uses this manager, which the overlays are to close."""
        self._users += 1

    def release(self) -> None:
        """Say that an overlay does not use this manager any more. The last one closes the database."""
        self._users -= 1
        if self._users == 0:
            self.database.close()

    def close(self) -> None:
        """Close the database; nothing is done if it is closed already."""
        self.database.close()

    def get_pseudonym(self, key: Key) -> PseudonymManager:
        """The manager of a key. It can sign if it was ever asked for with the private key.

        It is the same one each time, unless very many keys of others were asked for meanwhile.
        """
        public_key = key.pub()
        public_bin = public_key.key_to_bin()
        pseudonym = self.pseudonyms.get(public_bin)
        if pseudonym is None:
            pseudonym = (PseudonymManager(self.database, private_key=key) if isinstance(key, PrivateKey)
                         else PseudonymManager(self.database, public_key=public_key))
            if len(self.pseudonyms) >= MAX_PSEUDONYMS:
                self._forget_oldest()
            self.pseudonyms[public_bin] = pseudonym
        elif isinstance(key, PrivateKey) and pseudonym.tree.private_key is None:
            pseudonym.tree.private_key = key
        return pseudonym

    def _forget_oldest(self) -> None:
        """Drop the oldest pseudonym of somebody else from memory. What is stored of it stays."""
        oldest = next((key for key, pseudonym in self.pseudonyms.items() if pseudonym.tree.private_key is None), None)
        if oldest is not None:
            del self.pseudonyms[oldest]

    def capped(self) -> Iterator[Fill]:
        """How full the table of pseudonyms is."""
        yield Fill("pseudonyms", len(self.pseudonyms), MAX_PSEUDONYMS, rule="the oldest that is not ours goes first")

    def forget_pseudonym(self, key: Key) -> None:
        """Delete what is stored of a key: its tokens, its metadata and the attestations over that."""
        public_key = key.pub()
        self.pseudonyms.pop(public_key.key_to_bin(), None)
        self.database.remove_identity(public_key)

    def substantiate(self, public_key: PublicKey, serialized_metadata: bytes, serialized_tokens: bytes,
                     serialized_attestations: bytes, serialized_authorities: bytes) -> tuple[bool, PseudonymManager]:
        """Take in what somebody has disclosed, and store what is valid.

        :returns: whether all tokens are good and connected, in whatever order they came, and all attestations are
            valid; and the manager of ``public_key``. Metadata with a bad signature is left out.
        :raises struct.error: if something is cut short. Nothing is stored then.
        :raises ValueError: if an authority is not a public key; likewise.
        """
        pseudonym = self.get_pseudonym(public_key)
        metadata = [Metadata.unserialize(record, public_key)
                    for record in _records(serialized_metadata, METADATA_SIZE)]
        attestations = self._read_attestations(serialized_attestations, serialized_authorities)
        tree = pseudonym.tree
        offered = len(tree.read_public(serialized_tokens))
        if tree.private_key is None and not self._has_room(pseudonym, offered, len(metadata), len(attestations)):
            return False, pseudonym
        waiting = list(tree.unchained)
        correct, tokens = tree.gather_public(serialized_tokens)
        with self.database:
            for token in (*tokens, *[token for token in waiting if token.get_hash() in tree.elements]):
                self.database.insert_token(public_key, token)
            for entry in metadata:
                if not pseudonym.add_metadata(entry):
                    logger.debug("The metadata %s has a bad signature", entry.get_hash().hex())
            for authority, attestation in attestations:
                correct &= pseudonym.add_attestation(authority, attestation)
        return correct, pseudonym

    def _has_room(self, pseudonym: PseudonymManager, tokens: int, metadata: int, attestations: int) -> bool:
        """Whether so much more is taken of somebody else."""
        if len(pseudonym.tree.elements) + tokens > MAX_TOKENS_OF_OTHERS:
            return False
        described, attested = self.database.count_of(pseudonym.public_key) if metadata or attestations else (0, 0)
        return described + metadata <= MAX_METADATA_OF_OTHERS and attested + attestations <= MAX_ATTESTATIONS_OF_OTHERS

    def token_pointers(self, serialized_metadata: bytes) -> set[bytes]:
        """The hashes of the tokens that disclosed metadata describes; ``struct.error`` if a record is cut short."""
        return {record[:HASH_SIZE] for record in _records(serialized_metadata, METADATA_SIZE)}

    def _read_attestations(self, serialized_attestations: bytes,
                           serialized_authorities: bytes) -> list[tuple[PublicKey, Attestation]]:
        found = []
        position = 0
        for record in _records(serialized_authorities, AUTHORITY_SIZE):
            authority = self.crypto.key_from_network(record)
            attestation = Attestation.unserialize(serialized_attestations, authority, position)
            position += len(attestation.get_plaintext_signed())
            found.append((authority, attestation))
        return found


if TYPE_CHECKING:  # programs import these from here
    from ...keyvault.crypto import ECCrypto as ECCrypto
else:
    __getattr__, __dir__ = reexports(__name__, {"...keyvault.crypto": "ECCrypto"})
