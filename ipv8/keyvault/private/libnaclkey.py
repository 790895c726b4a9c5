"""The class of private keys on curve25519 in releases up to 3.2."""

from __future__ import annotations

from ..backend.curve25519 import PRIVATE_PREFIX, DualPrivateKey
from ..public.libnaclkey import RAW_SIZE, LibNaCLPK, Verifier
from .openssl import OpenSSLSK

__all__ = ["DualSecret", "LibNaCLSK"]


class DualSecret:
    """The two secrets of a key, and the X25519 public key, as raw bytes."""

    __slots__ = ("pk", "seed", "sk")

    def __init__(self, sk: bytes, pk: bytes, seed: bytes) -> None:
        self.sk = sk
        self.pk = pk
        self.seed = seed


class LibNaCLSK(OpenSSLSK):
    """A curve25519 private key, made of 64 bytes without prefix: the X25519 secret, then the Ed25519 seed.

    Without bytes it is a new key.
    """

    def __init__(self, binarykey: bytes = b"") -> None:
        if not binarykey:
            super().__init__(DualPrivateKey.generate())
        elif len(binarykey) == RAW_SIZE:
            super().__init__(PRIVATE_PREFIX + binarykey)
        else:
            raise ValueError(f"a raw curve25519 private key has {RAW_SIZE} bytes, without prefix")
        self._public = LibNaCLPK(self.ec.public_bin[-RAW_SIZE:])

    @property
    def key(self) -> DualSecret:
        """The secrets. The ``repr`` of the object shows none of them."""
        raw = self.key_to_bin()[len(PRIVATE_PREFIX) :]
        return DualSecret(raw[:32], self.get_crypt_pk(), raw[32:])

    @property
    def veri(self) -> Verifier:
        """The half that verifies."""
        return Verifier(self.pub().key_to_bin()[-32:])
