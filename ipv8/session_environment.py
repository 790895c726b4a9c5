"""What the machine of sessions needs of its surroundings: random numbers, keys of others, and a choice of cipher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from . import clock, entropy
from .keyvault.crypto import default_eccrypto
from .verification import PacketDecodingError

if TYPE_CHECKING:
    from .keyvault.keys import PublicKey
    from .messaging.address import Address
    from .sessions import SessionService

__all__ = ["Chance", "KeyJudge", "prefers_aes"]

FAST_AES = 1.3
"""AES is preferred where it is faster than ChaCha20 by this factor."""


class Chance:
    """Random numbers for the machine.

    Secrets come from the operating system. Only a simulation that says so gets keys that can be repeated.
    """

    def __init__(self, repeatable: bool) -> None:
        self._repeatable = repeatable

    def secret(self, size: int) -> bytes:
        """Bytes for keys."""
        return entropy.randbytes(size) if self._repeatable else os.urandom(size)

    token = secret

    def uniform(self, low: float, high: float) -> float:
        """A number between these two."""
        return low + (high - low) * entropy.random()

    def kem_seed(self) -> bytes | None:
        """64 bytes for a key of ML-KEM; ``None`` where the library draws them."""
        return entropy.randbytes(64) if self._repeatable else None


class KeyJudge:
    """Loads the keys of others, within the budgets for signatures, and tells which addresses are proven."""

    def __init__(self, service: SessionService) -> None:
        self._service = service
        self.address: Address = ("", 0)

    def load(self, public_key: bytes) -> PublicKey:
        """The key with these bytes; ``ValueError`` if it is not accepted, or the budget is used up."""
        guard, host = self._service.signature_guard, self.address[0]
        if public_key in self._service.machine.own_keys:
            raise ValueError("this is a key of this node")
        key = guard.load(default_eccrypto.key_from_network, public_key, host)
        if isinstance(key, PacketDecodingError):
            raise key
        if key.is_costly and not guard.admits(host):
            raise ValueError("the budget for keys of this kind is used up")
        return key

    def is_proven(self, address: Address) -> bool:
        """Whether a peer of an overlay answered a request from there."""
        for part in self._service.parts():
            peer = part.overlay.network.get_verified_by_address(address)
            if peer is not None:
                return peer.proven
        return False


def prefers_aes(cipher: str) -> bool:
    """Whether this node wants AES."""
    if cipher != "auto":
        return cipher == "aes"
    if clock.processor_time() is None:
        return False  # in simulations, which must not depend on the machine
    key, nonce, data = bytes(32), bytes(12), bytes(1024)

    def measure_once(encrypt: Any) -> float:
        start = clock.processor_time() or 0.0
        for _ in range(10):
            encrypt(nonce, data, None)
        return (clock.processor_time() or 0.0) - start

    def measure(encrypt: Any) -> float:
        return min(measure_once(encrypt) for _ in range(5))  # other programs make some slower

    return measure(ChaCha20Poly1305(key).encrypt) >= FAST_AES * measure(AESGCM(key).encrypt)
