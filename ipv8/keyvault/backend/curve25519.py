"""The curve25519 "dual" key: an X25519 key for encryption, and an independent Ed25519 key for signatures.

See doc/protocol/keys.md section 2.
"""

from __future__ import annotations

from ... import entropy
from .. import encoding
from . import provider
from .handle import PrivateHandle, PublicHandle
from .points import is_low_order_crypt, is_unsound

__all__ = ["BLOB_SIZE", "CURVE_NAME", "PRIVATE_PREFIX", "PUBLIC_PREFIX", "DualPrivateKey", "DualPublicKey"]

CURVE_NAME = "curve25519"
PUBLIC_PREFIX = b"LibNaCLPK:"
PRIVATE_PREFIX = b"LibNaCLSK:"
PREFIX_SIZE = 10
HALF_SIZE = 32
BLOB_SIZE = PREFIX_SIZE + 2 * HALF_SIZE
SIGNATURE_SIZE = 64

_CRYPT = slice(PREFIX_SIZE, PREFIX_SIZE + HALF_SIZE)
_SIGN = slice(PREFIX_SIZE + HALF_SIZE, BLOB_SIZE)


class DualPublicKey(PublicHandle):
    """A public key, made of 74 bytes that start with ``LibNaCLPK:``. The halves can be any bytes.

    See doc/protocol/keys.md section 5.

    A key that was loaded from PEM has no X25519 half. Its binary form has the verify key in this place as well.
    """

    __slots__ = ("_has_crypt", "_verify", "public_bin", "verify_key")

    public_bin: bytes
    signature_length = SIGNATURE_SIZE
    curve_name = CURVE_NAME
    is_costly = False

    def __init__(self, public_bin: bytes) -> None:
        self.public_bin = public_bin
        self._has_crypt = True
        self.verify_key = public_bin[_SIGN]
        self._verify = provider.current().verify

    @classmethod
    def from_verify_key(cls, verify_key: bytes) -> DualPublicKey:
        """A key without X25519 half."""
        key = cls(PUBLIC_PREFIX + verify_key + verify_key)
        key._has_crypt = False
        return key

    @property
    def crypt_pk(self) -> bytes | None:
        """The X25519 half, if there is one. It is rarely used, and not kept apart."""
        return self.public_bin[_CRYPT] if self._has_crypt else None

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this is an Ed25519 signature of the message by this key (doc/protocol/keys.md section 2.4)."""
        return len(signature) == SIGNATURE_SIZE and self._verify(self.verify_key, signature, message)

    def is_sound(self) -> bool:
        """Whether both halves are points that key generation can give."""
        return not is_unsound(self.verify_key) and not (self.crypt_pk is not None and is_low_order_crypt(self.crypt_pk))

    @property
    def public_der(self) -> bytes:
        """The verify key only."""
        return encoding.encode_ed25519_public(self.verify_key)


class DualPrivateKey(PrivateHandle):
    """A key pair, made of two secrets of 32 bytes. A key that was loaded from PEM has no X25519 secret."""

    __slots__ = ("_provider", "_signer", "crypt_sk", "private_bin", "public", "seed")

    private_bin: bytes
    public: DualPublicKey
    private_label = "PRIVATE KEY"

    def __init__(self, crypt_sk: bytes | None, seed: bytes) -> None:
        self._provider = provider.current()
        self._signer = self._provider.signer(seed)
        self.crypt_sk = crypt_sk
        self.seed = seed
        verify_key = self._signer.verify_key
        if crypt_sk is None:
            self.public = DualPublicKey.from_verify_key(verify_key)
            # The binary form always has both halves. The missing secret is random, and different for each load.
            self.private_bin = PRIVATE_PREFIX + entropy.randbytes(HALF_SIZE) + seed
        else:
            self.public = DualPublicKey(PUBLIC_PREFIX + self._provider.crypt_public(crypt_sk) + verify_key)
            self.private_bin = PRIVATE_PREFIX + crypt_sk + seed

    @classmethod
    def from_bin(cls, blob: bytes) -> DualPrivateKey:
        """The key pair of 74 bytes that start with ``LibNaCLSK:``. Bytes after them are ignored."""
        return cls(blob[_CRYPT], blob[_SIGN])

    @classmethod
    def generate(cls) -> DualPrivateKey:
        """A new key pair. The random bytes are those of :mod:`ipv8.entropy`, so simulations can decide on them."""
        return cls(entropy.randbytes(HALF_SIZE), entropy.randbytes(HALF_SIZE))

    @property
    def private_der(self) -> bytes:
        """The seed only. PEM has no place for the X25519 half (doc/protocol/keys.md section 4.2)."""
        return encoding.encode_ed25519_private(self.seed)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""
        return self._signer.sign(message)

    def shared(self, peer: bytes) -> bytes:
        """The result of X25519, hashed by HSalsa20 (doc/protocol/keys.md section 2.5)."""
        if self.crypt_sk is None:
            raise ValueError("this key has no X25519 half: it was loaded from PEM, which has only the signing key")
        if len(peer) != HALF_SIZE:
            raise ValueError("the key of the peer must be the 32 bytes of get_crypt_pk()")
        return self._provider.shared(self.crypt_sk, peer)
