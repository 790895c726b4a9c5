"""Objects that are signed by one key (doc/protocol/identity.md section 2)."""

from __future__ import annotations

import struct
from abc import ABCMeta, abstractmethod
from hashlib import sha3_256
from typing import TYPE_CHECKING

from ..keyvault.crypto import default_eccrypto
from ..reexports import reexports

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..keyvault.keys import PrivateKey, PublicKey

__all__ = ["AbstractSignedObject"]

SHORT_HASH = struct.Struct(">Q")


class AbstractSignedObject(metaclass=ABCMeta):
    """Bytes with a signature. The hash covers both.

    Constructors of subclasses set their fields, and then call this one, with either a key or a signature.

    :raises RuntimeError: if both or none of them are given.
    """

    def __init__(self, private_key: PrivateKey | None = None, signature: bytes | None = None) -> None:
        self._hash = b""
        self.crypto = default_eccrypto
        self.signature = b""
        self._sign(private_key, signature)

    def _sign(self, private_key: PrivateKey | None = None, signature: bytes | None = None) -> None:
        if (private_key is None) == (signature is None):
            raise RuntimeError("Specify either private_key or signature!")
        plaintext = self.get_plaintext()
        self.signature = private_key.signature(plaintext) if signature is None else signature  # type: ignore[union-attr]
        self._hash = sha3_256(plaintext + self.signature).digest()

    @abstractmethod
    def get_plaintext(self) -> bytes:
        """What is signed."""

    @classmethod
    @abstractmethod
    def unserialize(cls, data: bytes, public_key: PublicKey, offset: int = 0) -> Self:
        """Read an object that ``public_key`` is said to have signed; the signature is not verified."""

    def get_plaintext_signed(self) -> bytes:
        """What is signed, and the signature."""
        return self.get_plaintext() + self.signature

    def get_hash(self) -> bytes:
        """The SHA3-256 of the signed plaintext, 32 bytes."""
        return self._hash

    def verify(self, public_key: PublicKey) -> bool:
        """Whether ``public_key`` has signed this."""
        return self.crypto.is_valid_signature(public_key, self.get_plaintext(), self.signature)

    def __hash__(self) -> int:
        number: int = SHORT_HASH.unpack_from(self._hash)[0]
        return number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return False
        return self.get_plaintext_signed() == other.get_plaintext_signed()


if TYPE_CHECKING:  # programs import these from here
    from ..keyvault.crypto import ECCrypto as ECCrypto
else:
    __getattr__, __dir__ = reexports(__name__, {"..keyvault.crypto": "ECCrypto"})
