"""The interfaces of keys (spec 01 section 5.1).

Keys are immutable: one object may be shared by tables, overlays and threads. Two keys are equal when they have the same
canonical public encoding and both or neither hold the secret.
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
    """What public and private keys have in common."""

    @abstractmethod
    def pub(self) -> PublicKey:
        """The public key; of a public key, that key itself."""

    @abstractmethod
    def has_secret_key(self) -> bool:
        """Whether this key can sign."""

    @abstractmethod
    def key_to_bin(self) -> bytes:
        """The canonical encoding, which of a private key is a secret."""

    def key_to_hash(self) -> bytes:
        """The member id: 20 bytes, SHA-1 of the public key's canonical encoding."""
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
    """A key that signs and, where its kind allows, shares secrets."""

    def has_secret_key(self) -> bool:
        """``True``."""
        return True

    @abstractmethod
    def signature(self, msg: bytes) -> bytes:
        """Sign ``msg``; the result has the length that ``get_signature_length`` of the public key says."""

    @abstractmethod
    def diffie_hellman(self, peer_public_key: bytes) -> bytes:
        """The 32-byte secret shared with the owner of a 32-byte ``get_crypt_pk()``.

        ``ValueError``: not 32 bytes, a key that gives no secret, or this kind of key has no encryption half.
        """

    @abstractmethod
    def get_crypt_pk(self) -> bytes:
        """The 32-byte X25519 public key; ``ValueError`` when this kind of key has none."""

    def __reduce__(self) -> NoReturn:
        """Secrets do not go into pickles by accident."""
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
        """Whether ``signature`` was made over ``msg`` with this key; ``False`` for malformed signatures."""

    @abstractmethod
    def get_signature_length(self) -> int:
        """How many bytes a signature has."""

    @abstractmethod
    def get_crypt_pk(self) -> bytes:
        """The 32-byte X25519 public key; ``ValueError`` when this kind of key has none."""

    @abstractmethod
    def curve_name(self) -> str:
        """``curve25519``, or the short name that OpenSSL gives the curve."""

    @property
    def is_costly(self) -> bool:
        """Whether verifying takes several times as long as with curve25519: all EC curves (spec 01 section 9).

        An overlay gives such signatures a budget of their own.
        """
        return self.curve_name() != "curve25519"
