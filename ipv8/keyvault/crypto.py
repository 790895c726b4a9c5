"""Making, loading and using keys (doc/keys.md)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ..fill import Fill
from .backend.curve25519 import PUBLIC_PREFIX
from .encoding import DER_START
from .keys import Key, PrivateKey, PublicKey
from .private.openssl import OpenSSLSK
from .public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

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
"""The curves of the keys that nodes generate. Releases up to 3.2 generated ``"high"`` keys on sect571r1."""

VERIFIED_KEYS_CAPACITY: Final = 4096
"""Keys that an :class:`ECCrypto` remembers; the least recently used is evicted first. They do not expire, because keys
do not change. Only keys that signed something are remembered."""


class ECCrypto:
    """Makes, loads and uses keys.

    :param curves: the curves of the public keys that are loaded, such as :data:`STANDARD_CURVES`. By default these are
        all curves of the interpreter's OpenSSL.
    :param strict: whether only public keys are loaded that nodes generate (doc/protocol/keys.md section 5.3). Then
        bytes after the key, PEM, and points that key generation does not give raise ``ValueError``. Loading an EC key
        then takes as long as a verification.
    """

    def __init__(self, curves: Collection[str] | None = None, strict: bool = False) -> None:
        self._curves = None if curves is None else frozenset(curves)
        self._strict = strict
        self._verified: OrderedDict[bytes, PublicKey] = OrderedDict()

    @property
    def security_levels(self) -> list[str]:
        """The arguments of :meth:`generate_key`, from the weakest to the strongest."""
        return list(_CURVES)

    def generate_key(self, security_level: str) -> PrivateKey:
        """A new key of one of the :attr:`security_levels`; ``RuntimeError`` for anything else."""
        if security_level not in _CURVES:
            raise RuntimeError(f"Illegal curve for key generation: {security_level}")
        return OpenSSLSK.generate(_CURVES[security_level])

    def key_to_bin(self, ec_key: Key) -> bytes:
        """The canonical encoding of a key. That of a private key is a secret."""
        _require_key(ec_key)
        return ec_key.key_to_bin()

    def key_to_hash(self, ec_key: Key) -> bytes:
        """The 20-byte member id of a key."""
        _require_key(ec_key)
        return ec_key.key_to_hash()

    def is_valid_private_bin(self, string: bytes) -> bool:
        """Whether :meth:`key_from_private_bin` loads this."""
        try:
            self.key_from_private_bin(string)
        except (TypeError, ValueError):
            return False
        return True

    def is_valid_public_bin(self, string: bytes) -> bool:
        """Whether :meth:`key_from_public_bin` loads this."""
        try:
            self.key_from_public_bin(string)
        except (TypeError, ValueError):
            return False
        return True

    def key_from_private_bin(self, string: bytes) -> PrivateKey:
        """Load a private key; ``ValueError`` if it is none, ``TypeError`` for anything but ``bytes``.

        :param string: the binary form of the key, or PEM.
        """
        return OpenSSLSK(string)

    def key_from_public_bin(self, string: bytes) -> PublicKey:
        """Load a public key; the same object again for a key that is remembered.

        :param string: the binary form of the key, or PEM. Use :meth:`key_from_network` for bytes from others.
        :raises ValueError: if this is not a public key, or one that is not allowed here.
        :raises TypeError: for anything but ``bytes``.
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

    def key_from_network(self, data: bytes) -> PublicKey:
        """Load a public key that came in a packet, or in anything else that others made.

        Only the binary forms are accepted (doc/protocol/keys.md sections 2.1 and 3.2). PEM is for files: no node sends
        it. Apart from that, this is :meth:`key_from_public_bin`.
        """
        if isinstance(data, bytes) and not data.startswith((PUBLIC_PREFIX, DER_START)):
            raise ValueError("not the binary form of a public key")
        return self.key_from_public_bin(data)

    def remember_public_key(self, key: PublicKey, received: bytes) -> None:
        """Remember ``key`` by the bytes in which it was ``received``.

        Call this only after the key verified a signature. Otherwise others could evict keys by sending new ones. An
        encoding with bytes after the key is not remembered, because there are any number of those for each key.
        """
        verified = self._verified
        if received not in verified and received == key.key_to_bin() and not key.has_secret_key():
            if len(verified) >= VERIFIED_KEYS_CAPACITY:
                verified.popitem(last=False)
            verified[received] = key

    def get_signature_length(self, ec_key: PublicKey) -> int:
        """The number of bytes in a signature of a key."""
        _require_key(ec_key)
        return ec_key.get_signature_length()

    def create_signature(self, ec_key: PrivateKey, data: bytes) -> bytes:
        """Sign ``data``; a ``str`` raises ``TypeError``, any other type ``AssertionError``."""
        _require_key(ec_key)
        _require_data(data)
        return ec_key.signature(data)

    def is_valid_signature(self, ec_key: PublicKey, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is one of ``data`` by this key; ``False`` if the verification fails for any reason."""
        _require_key(ec_key)
        _require_data(data)
        _require_data(signature)
        try:
            return ec_key.verify(signature, data)
        except Exception:  # every failure means an invalid signature
            logger.debug("verification by %r failed", ec_key, exc_info=True)
            return False

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("verified keys", len(self._verified), VERIFIED_KEYS_CAPACITY, "cache",
                   rule="the least recently used goes first")


def _require_key(key: object) -> None:
    # No assert statement: the check is part of the interface, also under python -O.
    if not isinstance(key, Key):
        raise AssertionError(f"not a key: {type(key).__name__}")  # noqa: TRY004 - the specified type


def _require_data(data: object) -> None:
    if not isinstance(data, (bytes, str, bytearray, memoryview)):
        raise AssertionError(f"not bytes: {type(data).__name__}")  # noqa: TRY004 - the specified type


class _LegacyCurve:
    """A curve, as releases up to 3.2 named it for ``M2CryptoSK``."""

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
"""Shared by the whole process. It loads all kinds of keys."""
