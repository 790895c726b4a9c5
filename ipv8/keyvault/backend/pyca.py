"""Curve25519 by the package ``cryptography``, for machines without libsodium."""

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
        """The Ed25519 signature, 64 bytes."""
        return self._key.sign(message)


class PycaProvider:
    """X25519 and Ed25519 by ``cryptography``; see :class:`ipv8.keyvault.backend.provider.Provider`."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "cryptography"

    def signer(self, seed: bytes) -> PycaSigner:
        """The signer of a seed of 32 bytes."""
        return PycaSigner(seed)

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether 64 bytes are a signature of the message."""
        # OpenSSL accepts points that libsodium refuses. The result must not depend on the machine.
        if is_unsound(verify_key) or is_low_order(signature[:32]):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def crypt_public(self, secret: bytes) -> bytes:
        """The X25519 public key of a secret of 32 bytes."""
        return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """HSalsa20 of the result of X25519; ``ValueError`` if that is zero."""
        try:
            raw = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            raise ValueError("the key of the peer has low order, so it gives no secret") from None
        return hsalsa20.derive(raw)
