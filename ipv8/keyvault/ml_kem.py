"""ML-KEM-768 (FIPS 203), which the library ``cryptography`` has from release 47 on, where its OpenSSL has it.

Whoever knows a public key can agree on a secret with its owner: :func:`encapsulate` makes a secret and a ciphertext,
and the private key finds the same secret in the ciphertext. The keys of sessions and of tunnels are made of such a
secret *and* of one of X25519, so that they stay secret while one of both methods does.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm

__all__ = ["CIPHERTEXT_SIZE", "PUBLIC_KEY_SIZE", "PrivateKey", "encapsulate", "is_available", "make_key"]

PUBLIC_KEY_SIZE: Final = 1184
CIPHERTEXT_SIZE: Final = 1088
"""Bytes of a public key and of a ciphertext (FIPS 203 section 8)."""


class PrivateKey(Protocol):
    """A private key of ML-KEM-768."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The shared secret in ``ciphertext``."""


@cache
def is_available() -> bool:
    """Whether the installed ``cryptography`` and its OpenSSL have ML-KEM-768."""
    try:
        make_key()
    except (ImportError, AttributeError, UnsupportedAlgorithm):
        return False
    return True


def make_key(seed: bytes | None = None) -> tuple[PrivateKey, bytes]:
    """A new private key, and its public key.

    :param seed: 64 bytes that decide the key; for simulations and tests.
    """
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

    key = MLKEM768PrivateKey.generate() if seed is None else MLKEM768PrivateKey.from_seed_bytes(seed)
    return key, key.public_key().public_bytes_raw()


def encapsulate(public_key: bytes) -> tuple[bytes, bytes]:
    """A new shared secret for the owner of ``public_key``, and the ciphertext that carries it.

    :raises ValueError: if ``public_key`` is no public key of ML-KEM-768.
    """
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

    return MLKEM768PublicKey.from_public_bytes(public_key).encapsulate()
