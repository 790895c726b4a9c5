"""A token: a signed pointer to content and to the token before it (doc/protocol/identity.md section 3.1)."""

from __future__ import annotations

import struct
from hashlib import sha3_256
from typing import TYPE_CHECKING

from ..signed_object import AbstractSignedObject

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...keyvault.keys import PrivateKey, PublicKey

__all__ = ["HASH_SIZE", "Token"]

HASH_SIZE = 32


class Token(AbstractSignedObject):
    """One element of a :class:`~ipv8.attestation.tokentree.tree.TokenTree`.

    :param previous_token_hash: the hash of the token before this one, or the genesis hash of the tree.
    :param content: the content, of which only the hash is signed.
    :param content_hash: the hash, if the content itself is not known.
    :raises RuntimeError: if not exactly one of ``content`` and ``content_hash`` is given, or not exactly one of
        ``private_key`` and ``signature``.
    """

    def __init__(self, previous_token_hash: bytes, content: bytes | None = None, content_hash: bytes | None = None,
                 private_key: PrivateKey | None = None, signature: bytes | None = None) -> None:
        self.previous_token_hash = previous_token_hash
        hashes = [known for known in (content_hash, None if content is None else sha3_256(content).digest())
                  if known is not None]
        if len(hashes) != 1:
            raise RuntimeError("Specify either content or content_hash!")
        self.content, self.content_hash = content, hashes[0]
        super().__init__(private_key, signature)

    def get_plaintext(self) -> bytes:
        """The two hashes."""
        return self.previous_token_hash + self.content_hash

    @classmethod
    def unserialize(cls, data: bytes, public_key: PublicKey, offset: int = 0) -> Self:
        """Read a token without content; ``struct.error`` if there are too few bytes."""
        previous, content_hash, signature = struct.unpack_from(
            f">{HASH_SIZE}s{HASH_SIZE}s{public_key.get_signature_length()}s", data, offset)
        return cls(previous, content_hash=content_hash, signature=signature)

    @classmethod
    def create(cls, previous_token: Token, content: bytes, private_key: PrivateKey) -> Self:
        """A new token after ``previous_token``."""
        return cls(previous_token.get_hash(), content=content, private_key=private_key)

    def receive_content(self, content: bytes) -> bool:
        """Keep ``content`` if it has the right hash; whether it has."""
        if sha3_256(content).digest() != self.content_hash:
            return False
        self.content = content
        return True

    def to_database_tuple(self) -> tuple[bytes, bytes, bytes, bytes | None]:
        """Previous hash, signature, content hash and content."""
        return self.previous_token_hash, self.signature, self.content_hash, self.content

    @classmethod
    def from_database_tuple(cls, previous_token_hash: bytes, signature: bytes, content_hash: bytes,
                            content: bytes | None) -> Self:
        """The inverse of :meth:`to_database_tuple`; content with another hash is left out."""
        token = cls(previous_token_hash, content_hash=content_hash, signature=signature)
        if content is not None:
            token.receive_content(content)
        return token

    def __str__(self) -> str:
        return f"Token[{self.get_hash().hex()}]({self.previous_token_hash.hex()}, {self.content_hash.hex()})"
