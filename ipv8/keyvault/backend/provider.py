"""Where the arithmetic of curve25519 keys comes from: libsodium where it loads, else ``cryptography``.

Both providers give the same bytes and the same verdicts. In particular neither takes a signature made with a low-order
or non-canonical verify key or with a low-order ``R``: such a key "signs" every message for everybody.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Provider", "Signer", "available", "current", "use"]

logger = logging.getLogger(__name__)

NAMES = ("libsodium", "cryptography")
"""All providers, in order of preference."""


class Signer(Protocol):
    """An Ed25519 secret key, ready for use."""

    verify_key: bytes

    def sign(self, message: bytes) -> bytes:
        """The 64-byte deterministic signature (RFC 8032 section 5.1.6)."""


class Provider(Protocol):
    """X25519 and Ed25519 on raw 32-byte keys."""

    name: str

    def signer(self, seed: bytes) -> Signer:
        """The signer of a 32-byte seed."""

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether 64 bytes are a signature of the message; never raises for any content."""

    def crypt_public(self, secret: bytes) -> bytes:
        """The X25519 public key of a 32-byte secret, clamped here."""

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """HSalsa20 of the X25519 product; ``ValueError`` when the peer's key makes it zero."""


@cache
def _provider(name: str) -> Provider | None:
    if name == "libsodium":
        from . import sodium

        return sodium.load()
    if name == "cryptography":
        from .pyca import PycaProvider

        return PycaProvider()
    raise ValueError(f"there is no provider {name!r}; choose one of {', '.join(NAMES)}")


def available() -> list[str]:
    """The names of the providers that load on this machine, the preferred one first."""
    return [name for name in NAMES if _provider(name) is not None]


_chosen: Provider | None = None


def current() -> Provider:
    """The provider that new keys use."""
    global _chosen  # noqa: PLW0603 - chosen once per process, on first use
    if _chosen is None:
        _chosen = next(provider for name in NAMES if (provider := _provider(name)) is not None)
        logger.debug("curve25519 keys use %s", _chosen.name)
    return _chosen


@contextmanager
def use(name: str) -> Iterator[Provider]:
    """Let keys that are made inside a ``with`` block use one provider; ``ValueError`` when it does not load."""
    global _chosen  # noqa: PLW0603 - the one switch of the process
    provider = _provider(name)
    if provider is None:
        raise ValueError(f"{name} does not load on this machine")
    previous, _chosen = _chosen, provider
    try:
        yield provider
    finally:
        _chosen = previous
