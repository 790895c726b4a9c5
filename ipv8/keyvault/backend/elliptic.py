"""EC keys on the named curves of OpenSSL. Most are on the binary curves, ``sect...``.

See doc/protocol/keys.md section 3.
"""

from __future__ import annotations

import hashlib
import logging

from .. import encoding
from .handle import PrivateHandle, PublicHandle
from .libcrypto import Curve, LibCrypto, PKey, libcrypto

__all__ = ["EllipticPrivateKey", "EllipticPublicKey"]

logger = logging.getLogger(__name__)

DER_OVERHEAD = 16
"""Bytes; more than the tags, lengths and sign bytes of an ``ECDSA-Sig-Value``."""


def _digest(message: bytes) -> bytes:
    # SHA-1 is part of the wire format (doc/protocol/keys.md section 3.4).
    return hashlib.sha1(message, usedforsecurity=False).digest()


class EllipticPublicKey(PublicHandle):
    """A public key, made of an uncompressed point, which must be on the curve."""

    __slots__ = ("_key", "_library", "_width", "curve_name", "public_bin", "signature_length")

    curve_name: str
    public_bin: bytes
    signature_length: int
    crypt_pk = None
    is_costly = True

    def __init__(self, library: LibCrypto, curve: Curve, point: bytes, key: PKey | None = None) -> None:
        self._library = library
        self._key = library.public(curve, point) if key is None else key
        self._width = (len(point) - 1) // 2
        self.public_bin = encoding.encode_public(curve.identifier, point)
        self.signature_length = 2 * self._width
        self.curve_name = curve.name

    @classmethod
    def from_parts(cls, parts: encoding.PublicParts) -> EllipticPublicKey:
        """The key of a ``SubjectPublicKeyInfo``."""
        library = libcrypto()
        return cls(library, library.curve(parts.algorithm), parts.point)

    @property
    def public_der(self) -> bytes:
        """The canonical encoding is this DER."""
        return self.public_bin

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this is ``r || s`` of the SHA-1 of the message (doc/protocol/keys.md section 3.4)."""
        # The order of a curve can have a few bits more than its field.
        der = encoding.encode_signature(signature, self._width + 1)
        return der is not None and self._library.verify(self._key, der, _digest(message))

    def is_sound(self) -> bool:
        """Whether the point is in the subgroup of prime order."""
        return self._library.is_sound(self._key)


class EllipticPrivateKey(PrivateHandle):
    """A key pair, made of a scalar. The public key is always computed."""

    __slots__ = ("_key", "_library", "private_bin", "public")

    private_bin: bytes
    public: EllipticPublicKey
    private_label = "EC PRIVATE KEY"

    def __init__(self, library: LibCrypto, curve: Curve, key: PKey, emit_public: bool = True) -> None:
        self._library = library
        self._key = key
        point = library.point(key)
        self.public = EllipticPublicKey(library, curve, point, key)
        self.private_bin = encoding.encode_private(
            curve.identifier, library.scalar(key), point if emit_public else None
        )

    @classmethod
    def from_parts(cls, parts: encoding.PrivateParts) -> EllipticPrivateKey:
        """The key of a SEC1 or PKCS#8 encoding. If this has a public key, it must be the one of the scalar."""
        library = libcrypto()
        curve = library.curve(parts.algorithm)
        key = library.private(curve, parts.secret)
        pair = cls(library, curve, key, emit_public=parts.point is not None)
        if parts.point not in {None, encoding.decode_public(pair.public_bin).point}:
            raise ValueError("the public key in it does not belong to the private key")
        return pair

    @classmethod
    def generate(cls, curve_name: str) -> EllipticPrivateKey:
        """A new key pair on the curve with this short name in OpenSSL."""
        library = libcrypto()
        curve = library.curve_by_name(curve_name)
        logger.debug("generating a legacy key on %s: its signatures are slow to verify", curve_name)
        return cls(library, curve, library.generate(curve))

    @property
    def private_der(self) -> bytes:
        """The canonical encoding is this DER."""
        return self.private_bin

    def sign(self, message: bytes) -> bytes:
        """``r || s`` of the SHA-1 of the message, different each time (doc/protocol/keys.md section 3.4)."""
        room = self.signature_length + DER_OVERHEAD
        der = self._library.sign(self._key, _digest(message), room)
        return encoding.decode_signature(der, self.signature_length // 2)

    def shared(self, peer: bytes) -> bytes:  # noqa: ARG002 - part of the interface
        """Not supported."""
        raise ValueError("EC keys cannot encrypt: only curve25519 keys have an X25519 half")
