"""From bytes to handles of keys. Errors are ``ValueError``, and no text has a part of a key.

See doc/protocol/keys.md section 5.

OpenSSL is searched for when the first EC key is loaded. Most programs load none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import encoding
from .curve25519 import (
    BLOB_SIZE,
    CURVE_NAME,
    PRIVATE_PREFIX,
    PUBLIC_PREFIX,
    DualPrivateKey,
    DualPublicKey,
)
from .handle import UnsupportedCurveError

if TYPE_CHECKING:
    from .handle import PrivateHandle, PublicHandle

__all__ = ["generate", "load_private", "load_public"]


def load_public(data: bytes) -> PublicHandle:
    """The public key of a binary form, EC DER or PEM. Bytes after the key are ignored."""
    if data.startswith(PUBLIC_PREFIX) and len(data) >= BLOB_SIZE:
        return DualPublicKey(data[:BLOB_SIZE])
    try:
        der = encoding.decode_pem(data, encoding.PUBLIC_LABELS)
        parts = encoding.decode_public(data if der is None else der)
        if parts.algorithm == encoding.ED25519:
            return DualPublicKey.from_verify_key(parts.point)
        from .elliptic import EllipticPublicKey

        return EllipticPublicKey.from_parts(parts)
    except UnsupportedCurveError:
        raise
    except ValueError as error:
        raise ValueError(f"not a valid public key (74 bytes from LibNaCLPK:, EC DER or PEM): {error}") from None


def load_private(data: bytes) -> PrivateHandle:
    """The private key of a binary form, EC DER or PEM. Bytes after the key are ignored."""
    if data.startswith(PRIVATE_PREFIX) and len(data) >= BLOB_SIZE:
        return DualPrivateKey.from_bin(data)
    try:
        der = encoding.decode_pem(data, encoding.PRIVATE_LABELS)
        parts = encoding.decode_private(data if der is None else der)
        if parts.algorithm == encoding.ED25519:
            return DualPrivateKey(None, parts.secret)
        from .elliptic import EllipticPrivateKey

        return EllipticPrivateKey.from_parts(parts)
    except UnsupportedCurveError:
        raise
    except ValueError as error:
        raise ValueError(f"not a valid private key (74 bytes from LibNaCLSK:, EC DER or PEM): {error}") from None


def generate(curve_name: str) -> PrivateHandle:
    """A new key pair on ``curve25519`` or a curve of OpenSSL, by its short name; ``ValueError`` for other names."""
    if curve_name == CURVE_NAME:
        return DualPrivateKey.generate()
    from .elliptic import EllipticPrivateKey

    return EllipticPrivateKey.generate(curve_name)
