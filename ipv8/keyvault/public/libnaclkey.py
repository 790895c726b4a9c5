"""The class of public keys on curve25519 in releases up to 3.2."""

from __future__ import annotations

import binascii
from typing import Any, NamedTuple

from ..backend.curve25519 import PUBLIC_PREFIX
from .openssl import OpenSSLPK

__all__ = ["LibNaCLPK", "PublicBox", "Verifier"]

RAW_SIZE = 64


class PublicBox(NamedTuple):
    """The X25519 half."""

    pk: bytes
    """32 raw bytes."""

    def hex_pk(self) -> bytes:
        """The key in hexadecimal digits."""
        return binascii.hexlify(self.pk)


class Verifier(NamedTuple):
    """The Ed25519 half."""

    vk: bytes
    """32 raw bytes."""

    def hex_vk(self) -> bytes:
        """The key in hexadecimal digits."""
        return binascii.hexlify(self.vk)


class LibNaCLPK(OpenSSLPK):
    """A curve25519 public key, made of 64 bytes without prefix: the X25519 key, then the verify key.

    Instead of ``binarykey``, both halves can be given: ``pk`` as 32 bytes, and ``hex_vk`` in hexadecimal digits.
    """

    def __init__(self, binarykey: bytes = b"", pk: bytes | None = None, hex_vk: bytes | None = None) -> None:
        if not binarykey:
            if pk is None or hex_vk is None:
                raise ValueError("give the 64 bytes of binarykey, or both pk and hex_vk")
            binarykey = pk + binascii.unhexlify(hex_vk)
        if len(binarykey) != RAW_SIZE:
            raise ValueError(f"a raw curve25519 public key has {RAW_SIZE} bytes, without prefix")
        super().__init__(PUBLIC_PREFIX + binarykey)

    @property
    def key(self) -> PublicBox:
        """The X25519 half."""
        return PublicBox(self.get_crypt_pk())

    @property
    def veri(self) -> Verifier:
        """The Ed25519 half."""
        return Verifier(self.key_to_bin()[-32:])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as 64 bytes."""
        return type(self), (self.key_to_bin()[len(PUBLIC_PREFIX) :],)
