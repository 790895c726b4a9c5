"""The curve25519 "dual" key: X25519 for encryption and an unrelated Ed25519 key for signing (spec 01 section 2)."""

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
    """Made of a 74-byte ``LibNaCLPK:`` blob, whose halves may be any bytes (spec 01 section 7).

    A key that came from PEM has no X25519 half. Its blob then repeats the verify key in that place, as the blobs of the
    reference do.
    """

    __slots__ = ("_verify", "crypt_pk", "public_bin", "verify_key")

    public_bin: bytes
    crypt_pk: bytes | None
    signature_length = SIGNATURE_SIZE
    curve_name = CURVE_NAME
    is_costly = False

    def __init__(self, public_bin: bytes) -> None:
        self.public_bin = public_bin
        self.crypt_pk = public_bin[_CRYPT]
        self.verify_key = public_bin[_SIGN]
        self._verify = provider.current().verify

    @classmethod
    def from_verify_key(cls, verify_key: bytes) -> DualPublicKey:
        """A key that can only verify."""
        key = cls(PUBLIC_PREFIX + verify_key + verify_key)
        key.crypt_pk = None
        return key

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this is an Ed25519 signature of the message (spec 01 section 2.4)."""
        return len(signature) == SIGNATURE_SIZE and self._verify(self.verify_key, signature, message)

    def is_sound(self) -> bool:
        """Whether neither half is a point that no key generation gives."""
        return not is_unsound(self.verify_key) and not (self.crypt_pk is not None and is_low_order_crypt(self.crypt_pk))

    @property
    def public_der(self) -> bytes:
        """The verify key alone."""
        return encoding.encode_ed25519_public(self.verify_key)


class DualPrivateKey(PrivateHandle):
    """Made of the two 32-byte secrets; the X25519 one is missing in a key that came from PEM."""

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
            # The private blob has no form for half a key: the missing secret is drawn, anew for each load.
            self.private_bin = PRIVATE_PREFIX + entropy.randbytes(HALF_SIZE) + seed
        else:
            self.public = DualPublicKey(PUBLIC_PREFIX + self._provider.crypt_public(crypt_sk) + verify_key)
            self.private_bin = PRIVATE_PREFIX + crypt_sk + seed

    @classmethod
    def from_bin(cls, blob: bytes) -> DualPrivateKey:
        """The key of a ``LibNaCLSK:`` blob; bytes behind the first 74 are ignored."""
        return cls(blob[_CRYPT], blob[_SIGN])

    @classmethod
    def generate(cls) -> DualPrivateKey:
        """A fresh key pair from :mod:`ipv8.entropy`: the operating system's, unless a simulation installed its own."""
        return cls(entropy.randbytes(HALF_SIZE), entropy.randbytes(HALF_SIZE))

    @property
    def private_der(self) -> bytes:
        """The seed alone: PEM has no place for the X25519 half (spec 01 section 4)."""
        return encoding.encode_ed25519_private(self.seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature."""
        return self._signer.sign(message)

    def shared(self, peer: bytes) -> bytes:
        """X25519 followed by HSalsa20 (spec 01 section 2.5)."""
        if self.crypt_sk is None:
            raise ValueError("this key has no X25519 half: it was loaded from PEM, which holds the signing key only")
        if len(peer) != HALF_SIZE:
            raise ValueError("the peer's key must be the 32 bytes of get_crypt_pk()")
        return self._provider.shared(self.crypt_sk, peer)
