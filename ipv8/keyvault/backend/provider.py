"""The library that does the arithmetic of curve25519 keys: libsodium if it can be loaded, else ``cryptography``.

Both give the same bytes and the same results. In particular, both refuse signatures with a verify key of low order, a
verify key that is not canonical, or an ``R`` of low order: anybody can sign any message with such a key.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Provider", "Signer", "available", "current", "use"]

logger = logging.getLogger(__name__)

NAMES = ("libsodium", "cryptography")
"""All providers, the preferred one first."""


class Signer(Protocol):
    """An Ed25519 secret key."""

    verify_key: bytes

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes, the same each time (RFC 8032 section 5.1.6)."""


class Provider(Protocol):
    """X25519 and Ed25519 with keys of 32 bytes."""

    name: str

    def signer(self, seed: bytes) -> Signer:
        """The signer of a seed of 32 bytes."""

    def verify(self, verify_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether 64 bytes are a signature of the message. No content raises an error."""

    def crypt_public(self, secret: bytes) -> bytes:
        """The X25519 public key of a secret of 32 bytes, which is clamped first."""

    def shared(self, secret: bytes, peer: bytes) -> bytes:
        """HSalsa20 of the result of X25519; ``ValueError`` if that is zero."""


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
    """The names of the providers that can be loaded on this machine, the preferred one first."""
    return [name for name in NAMES if _provider(name) is not None]


@cache
def _preferred() -> Provider:
    provider = next(provider for name in NAMES if (provider := _provider(name)) is not None)
    logger.debug("curve25519 keys use %s", provider.name)
    return provider


_used: ContextVar[Provider | None] = ContextVar("provider", default=None)


def current() -> Provider:
    """The provider that new keys use."""
    return _used.get() or _preferred()


@contextmanager
def use(chosen: str | Provider) -> Iterator[Provider]:
    """Let the keys that are made in a ``with`` block use one provider.

    This applies to the block and to the tasks that are started in it, and to nothing else in the process.

    :param chosen: the name of a provider, or a provider.
    :raises ValueError: if there is no provider of this name, or it cannot be loaded.
    """
    provider = _provider(chosen) if isinstance(chosen, str) else chosen
    if provider is None:
        raise ValueError(f"{chosen} cannot be loaded on this machine")
    token = _used.set(provider)
    try:
        yield provider
    finally:
        _used.reset(token)
