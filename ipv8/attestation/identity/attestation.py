"""The signature of an authority over metadata (doc/protocol/identity.md section 4.2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..signed_object import AbstractSignedObject
from ..tokentree.token import HASH_SIZE

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...keyvault.keys import PrivateKey, PublicKey
    from .metadata import Metadata

__all__ = ["Attestation", "IdentityAttestation"]


class Attestation(AbstractSignedObject):
    """Says that its signer stands behind the metadata with a certain hash.

    This is also called ``IdentityAttestation``, as :mod:`ipv8.attestation.identity_formats` has another class of the
    same name.
    """

    def __init__(self, metadata_pointer: bytes, private_key: PrivateKey | None = None,
                 signature: bytes | None = None) -> None:
        self.metadata_pointer = metadata_pointer
        super().__init__(private_key, signature)

    def get_plaintext(self) -> bytes:
        """The hash of the metadata."""
        return self.metadata_pointer

    @classmethod
    def unserialize(cls, data: bytes, public_key: PublicKey, offset: int = 0) -> Self:
        """Read an attestation of the authority ``public_key``; ``struct.error`` if there are too few bytes."""
        pointer, signature = struct.unpack_from(f">{HASH_SIZE}s{public_key.get_signature_length()}s", data, offset)
        return cls(pointer, signature=signature)

    @classmethod
    def create(cls, metadata: Metadata, private_key: PrivateKey) -> Self:
        """Attest ``metadata``."""
        return cls(metadata.get_hash(), private_key)

    def to_database_tuple(self) -> tuple[bytes, bytes]:
        """Metadata pointer and signature."""
        return self.metadata_pointer, self.signature

    @classmethod
    def from_database_tuple(cls, metadata_pointer: bytes, signature: bytes) -> Self:
        """The inverse of :meth:`to_database_tuple`."""
        return cls(metadata_pointer, signature=signature)

    def __str__(self) -> str:
        return f"Attestation({self.metadata_pointer.hex()})"


IdentityAttestation = Attestation
