"""Curve25519 arithmetic by the ``cryptography`` package, for machines without libsodium."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from . import hsalsa20
from .points import is_low_order, is_unsound

__all__ = ["PycaProvider", "PycaSigner"]


class PycaSigner:
    """An Ed25519 private key of ``cryptography``."""

    __slots__ = ("_key", "verify_key")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verify_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature."""
        return self._key.sign(message)


class PycaProvider:
    """X25519 and Ed25519 by ``cryptography``; see :class:`ipv8.keyvault.backend.provider.Provider`."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "cryptography"

    def signer(self, seed: bytes) -> PycaSigner:
        """The signer of a 32-byte seed."""
        return PycaSigner(seed)

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether 64 bytes are a signature of the message."""
        # OpenSSL takes the points that libsodium refuses; the verdict may not depend on the machine.
        if is_unsound(verify_key) or is_low_order(signature[:32]):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def crypt_public(self, secret: bytes) -> bytes:
        """The X25519 public key of a 32-byte secret."""
        return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """HSalsa20 of the X25519 product; ``ValueError`` when that is zero."""
        try:
            raw = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            raise ValueError("the peer's key has low order: there is no shared secret") from None
        return hsalsa20.derive(raw)
