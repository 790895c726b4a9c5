"""Keys by security level, and what receivers of packets ask about keys (spec 01 section 5.4)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from .keys import Key, PrivateKey, PublicKey
from .private.openssl import OpenSSLSK
from .public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "SECT163K1",
    "SECT233K1",
    "SECT409K1",
    "SECT571R1",
    "STANDARD_CURVES",
    "VERIFIED_KEYS_CAPACITY",
    "ECCrypto",
    "Key",
    "OpenSSLPK",
    "OpenSSLSK",
    "default_eccrypto",
    "logger",
]

logger = logging.getLogger(__name__)

_CURVES: Final = {
    "very-low": "sect163k1",
    "low": "sect233k1",
    "medium": "sect409k1",
    "high": "sect571k1",
    "curve25519": "curve25519",
}

STANDARD_CURVES: Final = frozenset((*_CURVES.values(), "sect571r1"))
"""The curves that nodes generate, of any version: releases up to 3.2 made ``"high"`` keys on sect571r1."""

VERIFIED_KEYS_CAPACITY: Final = 4096
"""Keys that one :class:`ECCrypto` remembers; the one that was asked for the longest ago goes first. They do not expire:
a key never changes, and each had to sign for its place."""


class ECCrypto:
    """Makes, loads and uses keys.

    Loading is permissive unless ``strict`` (spec 01 section 10 item 4): strict loading of public keys raises
    ``ValueError`` for bytes behind the key, for PEM, and for points that no honest key generation gives, at the price
    of a second verification per EC key. ``curves`` limits public keys to the named curves, :data:`STANDARD_CURVES` for
    one; by default every curve of the interpreter's OpenSSL is loaded.
    """

    def __init__(self, curves: Collection[str] | None = None, strict: bool = False) -> None:
        self._curves = None if curves is None else frozenset(curves)
        self._strict = strict
        self._verified: OrderedDict[bytes, PublicKey] = OrderedDict()

    @property
    def security_levels(self) -> list[str]:
        """What :meth:`generate_key` takes, the weakest first."""
        return list(_CURVES)

    def generate_key(self, security_level: str) -> PrivateKey:
        """A fresh key of one of the :attr:`security_levels`; ``RuntimeError`` for anything else."""
        if security_level not in _CURVES:
            raise RuntimeError(f"Illegal curve for key generation: {security_level}")
        return OpenSSLSK.generate(_CURVES[security_level])

    def key_to_bin(self, ec_key: Key) -> bytes:
        """The canonical encoding of a key: of a private key, the secret."""
        _require_key(ec_key)
        return ec_key.key_to_bin()

    def key_to_hash(self, ec_key: Key) -> bytes:
        """The 20-byte member id of a key."""
        _require_key(ec_key)
        return ec_key.key_to_hash()

    def is_valid_private_bin(self, string: bytes) -> bool:
        """Whether :meth:`key_from_private_bin` takes this."""
        try:
            self.key_from_private_bin(string)
        except (TypeError, ValueError):
            return False
        return True

    def is_valid_public_bin(self, string: bytes) -> bool:
        """Whether :meth:`key_from_public_bin` takes this."""
        try:
            self.key_from_public_bin(string)
        except (TypeError, ValueError):
            return False
        return True

    def key_from_private_bin(self, string: bytes) -> PrivateKey:
        """Load a private key; ``ValueError`` when it is none, ``TypeError`` for anything but ``bytes``."""
        return OpenSSLSK(string)

    def key_from_public_bin(self, string: bytes) -> PublicKey:
        """Load a public key, or find it among those that verified before.

        ``ValueError``: not a public key, or not one that this object's policy allows; ``TypeError``: not ``bytes``.
        """
        if type(string) is bytes:
            key = self._verified.get(string)
            if key is not None:
                self._verified.move_to_end(string)
                return key
        loaded = OpenSSLPK(string)
        if self._curves is not None and loaded.curve_name() not in self._curves:
            raise ValueError(f"keys on {loaded.curve_name()} are not allowed here")
        if self._strict and (loaded.key_to_bin() != string or not loaded.ec.is_sound()):
            raise ValueError("not the canonical encoding of a sound public key")
        return loaded

    def remember_public_key(self, key: PublicKey, received: bytes) -> None:
        """Let :meth:`key_from_public_bin` find ``key`` by the bytes that it was ``received`` in.

        To be called after the key verified a signature, and only then: so strangers cannot push the keys of others out
        with junk. An encoding with bytes behind the key is not remembered, because one key has any number of those.
        """
        verified = self._verified
        if received not in verified and received == key.key_to_bin() and not key.has_secret_key():
            if len(verified) >= VERIFIED_KEYS_CAPACITY:
                verified.popitem(last=False)
            verified[received] = key

    def get_signature_length(self, ec_key: PublicKey) -> int:
        """How many bytes the signatures of a key have."""
        _require_key(ec_key)
        return ec_key.get_signature_length()

    def create_signature(self, ec_key: PrivateKey, data: bytes) -> bytes:
        """Sign ``data``; a ``str`` raises ``TypeError``, any other type ``AssertionError``."""
        _require_key(ec_key)
        _require_data(data)
        return ec_key.signature(data)

    def is_valid_signature(self, ec_key: PublicKey, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` was made over ``data``; ``False`` whenever the verification fails for any reason."""
        _require_key(ec_key)
        _require_data(data)
        _require_data(signature)
        try:
            return ec_key.verify(signature, data)
        except Exception:  # the contract (spec 01 section 5.4): every failure means an invalid signature
            logger.debug("verification by %r failed", ec_key, exc_info=True)
            return False


def _require_key(key: object) -> None:
    # Raised by hand: the checks are part of the contract, also under python -O.
    if not isinstance(key, Key):
        raise AssertionError(f"not a key: {type(key).__name__}")  # noqa: TRY004 - the specified type


def _require_data(data: object) -> None:
    if not isinstance(data, (bytes, str, bytearray, memoryview)):
        raise AssertionError(f"not bytes: {type(data).__name__}")  # noqa: TRY004 - the specified type


class _LegacyCurve:
    """A curve as releases up to 3.2 named them, for ``M2CryptoSK``."""

    name: str
    key_size: int


class SECT163K1(_LegacyCurve):
    """The curve of security level ``very-low``."""

    name = "sect163k1"
    key_size = 163


class SECT233K1(_LegacyCurve):
    """The curve of security level ``low``."""

    name = "sect233k1"
    key_size = 233


class SECT409K1(_LegacyCurve):
    """The curve of security level ``medium``."""

    name = "sect409k1"
    key_size = 409


class SECT571R1(_LegacyCurve):
    """The curve that security level ``high`` had up to 3.2."""

    name = "sect571r1"
    key_size = 571


default_eccrypto: Final = ECCrypto()
"""The permissive one that the whole process shares."""
