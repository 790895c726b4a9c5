"""The interfaces of keys (doc/keys.md).

Keys are immutable, so tables, overlays and threads can share one object. Two keys are equal if they have the same
canonical public encoding, and both or none of them have the secret.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NoReturn

    from typing_extensions import Self  # known to type checkers without being installed

__all__ = ["Key", "PrivateKey", "PublicKey"]


class Key(ABC):
    """A public or a private key."""

    @abstractmethod
    def pub(self) -> PublicKey:
        """The public key. For a public key, this is the key itself."""

    @abstractmethod
    def has_secret_key(self) -> bool:
        """Whether this key can sign."""

    @abstractmethod
    def key_to_bin(self) -> bytes:
        """The canonical encoding. That of a private key is a secret."""

    def key_to_hash(self) -> bytes:
        """The member id: the SHA-1 of the canonical encoding of the public key, 20 bytes."""
        return hashlib.sha1(self.pub().key_to_bin(), usedforsecurity=False).digest()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Key):
            return NotImplemented
        return (
            self.pub().key_to_bin() == other.pub().key_to_bin() and self.has_secret_key() == other.has_secret_key()
        )

    def __hash__(self) -> int:
        return hash(self.pub().key_to_bin())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mid={self.key_to_hash().hex()}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class PrivateKey(Key, ABC):
    """A key that signs. Some kinds of keys can also agree on a secret with another key."""

    def has_secret_key(self) -> bool:
        """``True``."""
        return True

    @abstractmethod
    def signature(self, msg: bytes) -> bytes:
        """Sign ``msg``. The length of the result is ``get_signature_length()`` of the public key."""

    @abstractmethod
    def diffie_hellman(self, peer_public_key: bytes) -> bytes:
        """The secret of 32 bytes that this key and another one have in common.

        :param peer_public_key: ``get_crypt_pk()`` of the other key.
        :raises ValueError: if this is not 32 bytes or gives no secret, or if keys of this kind cannot do it.
        """

    @abstractmethod
    def get_crypt_pk(self) -> bytes:
        """The X25519 public key, 32 bytes; ``ValueError`` if keys of this kind have none."""

    def __reduce__(self) -> NoReturn:
        """Refused, so that no secret gets into a pickle by mistake."""
        raise TypeError("private keys are not pickled: store them with ipv8.keyvault.files.store_private_key")


class PublicKey(Key, ABC):
    """A key that verifies signatures."""

    def pub(self) -> PublicKey:
        """This key."""
        return self

    def has_secret_key(self) -> bool:
        """``False``."""
        return False

    @abstractmethod
    def verify(self, signature: bytes, msg: bytes) -> bool:
        """Whether ``signature`` is one of ``msg`` by this key; ``False`` for malformed signatures."""

    @abstractmethod
    def get_signature_length(self) -> int:
        """The number of bytes in a signature."""

    @abstractmethod
    def get_crypt_pk(self) -> bytes:
        """The X25519 public key, 32 bytes; ``ValueError`` if keys of this kind have none."""

    @abstractmethod
    def curve_name(self) -> str:
        """``curve25519``, or the short name of the curve in OpenSSL."""

    @property
    def is_costly(self) -> bool:
        """Whether verifying takes several times as long as with curve25519 (doc/protocol/keys.md section 6).

        By default, all other curves are costly. Overlays have a separate budget for such signatures.
        """
        return self.curve_name() != "curve25519"
