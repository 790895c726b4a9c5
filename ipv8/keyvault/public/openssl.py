"""The class of public keys of all kinds (doc/keys.md)."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from .. import encoding
from ..backend.loading import load_public
from ..keys import PublicKey

if TYPE_CHECKING:
    from ..backend.handle import PublicHandle

__all__ = ["OpenSSLPK", "as_bytes"]


def as_bytes(data: object, what: str) -> bytes:
    """The content of ``bytes``, ``bytearray`` or ``memoryview``; ``TypeError`` for all else."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"the {what} must be bytes, not {type(data).__name__}")


class OpenSSLPK(PublicKey):
    """A public key.

    :param keystring: the binary form, EC DER or PEM. Bytes after a key are ignored.
    :raises ValueError: if this is not a public key, or an EC point that is not on its curve.
    :raises TypeError: for anything but ``bytes``.
    """

    ec: PublicHandle
    """The object that does the arithmetic."""
    _mid: bytes | None = None

    def __init__(self, keystring: bytes) -> None:
        if not isinstance(keystring, bytes):
            raise TypeError(f"keystring must be bytes, not {type(keystring).__name__}")
        self.ec = load_public(keystring)

    @classmethod
    def from_handle(cls, handle: PublicHandle) -> OpenSSLPK:
        """The key of a handle."""
        key = cls.__new__(cls)
        key.ec = handle
        return key

    def key_to_bin(self) -> bytes:
        """The canonical encoding: 74 bytes for curve25519, else ``SubjectPublicKeyInfo`` in DER."""
        return self.ec.public_bin

    def key_to_hash(self) -> bytes:
        """The member id: 20 bytes."""
        mid = self._mid
        if mid is None:
            mid = self._mid = hashlib.sha1(self.ec.public_bin, usedforsecurity=False).digest()
        return mid

    def key_to_pem(self) -> bytes:
        """The PEM form. For a curve25519 key, this has only the verify key (doc/protocol/keys.md section 4.2)."""
        return encoding.encode_pem("PUBLIC KEY", self.ec.public_der)

    def pem_to_bin(self, pem: bytes) -> bytes:
        """The decoded body of a PEM text: everything between the first line and the last one."""
        return base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))

    def verify(self, signature: bytes, msg: bytes) -> bool:
        """Whether ``signature`` is one of ``msg`` by this key.

        ``False`` for malformed bytes; ``TypeError`` for anything but bytes.
        """
        if type(signature) is not bytes:
            signature = as_bytes(signature, "signature")
        if type(msg) is not bytes:
            msg = as_bytes(msg, "message")
        return self.ec.verify(signature, msg)

    def get_signature_length(self) -> int:
        """The number of bytes in a signature: 64 for curve25519, else twice that of a field element."""
        return self.ec.signature_length

    def get_crypt_pk(self) -> bytes:
        """The X25519 public key, 32 bytes; ``ValueError`` for EC keys and for keys that were loaded from PEM."""
        crypt_pk = self.ec.crypt_pk
        if crypt_pk is None:
            raise ValueError("this key has no X25519 half, so it cannot encrypt")
        return crypt_pk

    def curve_name(self) -> str:
        """``curve25519``, or the short name of the curve in OpenSSL."""
        return self.ec.curve_name

    @property
    def is_costly(self) -> bool:
        """Whether verifying takes several times as long as with curve25519."""
        return self.ec.is_costly

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the binary form; as PEM if a curve25519 key has no X25519 half, which only PEM can express."""
        is_whole = self.ec.is_costly or self.ec.crypt_pk is not None
        return OpenSSLPK, (self.key_to_bin() if is_whole else self.key_to_pem(),)
