"""Hashes of values, as integers."""

from __future__ import annotations

from hashlib import sha256, sha512
from typing import TYPE_CHECKING

from ....reexports import reexports

__all__ = ["sha256_4_as_int", "sha256_as_int", "sha512_as_int", "to_ascii"]


def to_ascii(value: str | bytes) -> bytes:
    """Text with one byte for each character, bytes as they are."""
    return value.encode("latin-1") if isinstance(value, str) else value


def sha512_as_int(value: str | bytes) -> int:
    """The SHA-512 of a value."""
    return int.from_bytes(sha512(to_ascii(value)).digest(), "big")


def sha256_as_int(value: str | bytes) -> int:
    """The SHA-256 of a value."""
    return int.from_bytes(sha256(to_ascii(value)).digest(), "big")


def sha256_4_as_int(value: str | bytes) -> int:
    """The first four bytes of the SHA-256 of a value."""
    return int.from_bytes(sha256(to_ascii(value)).digest()[:4], "big")


if TYPE_CHECKING:  # programs import these from here
    from ....util import int2byte as int2byte
else:
    __getattr__, __dir__ = reexports(__name__, {"....util": "int2byte"})
