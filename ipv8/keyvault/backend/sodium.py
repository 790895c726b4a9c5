"""Curve25519 by libsodium, in the library that libnacl finds.

The functions are called directly, without those of libnacl, and with prepared argument types. A call takes a third of a
microsecond in addition to the arithmetic, and releases the GIL.
"""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["SodiumProvider", "SodiumSigner", "load"]

SIZE = 32
SECRET_SIZE = 64
SIGNATURE_SIZE = 64

_bytes, _buffer, _length = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_ulonglong

PROTOTYPES: dict[str, tuple[type, ...]] = {
    "crypto_sign_verify_detached": (_bytes, _bytes, _length, _bytes),
    "crypto_sign_detached": (_buffer, _buffer, _bytes, _length, _bytes),
    "crypto_sign_seed_keypair": (_buffer, _buffer, _bytes),
    "crypto_scalarmult_base": (_buffer, _bytes),
    "crypto_box_beforenm": (_buffer, _bytes, _bytes),
}


class SodiumSigner:
    """The secret key of libsodium, 64 bytes: the seed, and the public key, which signing needs as well."""

    __slots__ = ("_secret", "_sign", "verify_key")

    def __init__(self, sign: Any, secret: bytes) -> None:
        self._sign = sign
        self._secret = secret
        self.verify_key = secret[SIZE:]

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""
        signature = ctypes.create_string_buffer(SIGNATURE_SIZE)
        self._sign(signature, None, message, len(message), self._secret)
        return signature.raw


class SodiumProvider:
    """X25519 and Ed25519 by libsodium; see :class:`ipv8.keyvault.backend.provider.Provider`."""

    __slots__ = ("_beforenm", "_scalarmult_base", "_seed_keypair", "_sign", "_verify", "name")

    def __init__(self, library: ctypes.CDLL) -> None:
        self.name = "libsodium"
        # Function objects of our own: the argument types of the ones that libnacl shares are not ours to set.
        functions: dict[str, Any] = {}
        for symbol, arguments in PROTOTYPES.items():
            function = library[symbol]
            function.argtypes = arguments
            function.restype = ctypes.c_int
            functions[symbol] = function
        self._verify = functions["crypto_sign_verify_detached"]
        self._sign = functions["crypto_sign_detached"]
        self._seed_keypair = functions["crypto_sign_seed_keypair"]
        self._scalarmult_base = functions["crypto_scalarmult_base"]
        self._beforenm = functions["crypto_box_beforenm"]

    def signer(self, seed: bytes) -> SodiumSigner:
        """The signer of a seed of 32 bytes."""
        public = ctypes.create_string_buffer(SIZE)
        secret = ctypes.create_string_buffer(SECRET_SIZE)
        self._seed_keypair(public, secret, seed)
        return SodiumSigner(self._sign, secret.raw)

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether 64 bytes are a signature of the message."""
        return not self._verify(signature, message, len(message), verify_key)

    def crypt_public(self, secret: bytes) -> bytes:
        """The X25519 public key of a secret of 32 bytes."""
        public = ctypes.create_string_buffer(SIZE)
        self._scalarmult_base(public, secret)
        return public.raw

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """HSalsa20 of the result of X25519; ``ValueError`` if that is zero."""
        shared = ctypes.create_string_buffer(SIZE)
        if self._beforenm(shared, peer, secret):
            raise ValueError("the key of the peer has low order, so it gives no secret")
        return shared.raw


def load() -> SodiumProvider | None:
    """The provider; ``None`` if libnacl is missing or finds no libsodium that can be used."""
    try:
        # libnacl has no type hints. It searches for the library and initialises it when it is imported.
        import libnacl  # type: ignore[import-untyped, unused-ignore]

        return SodiumProvider(libnacl.nacl)
    except (ImportError, OSError, AttributeError, RuntimeError):
        return None
