"""Values as they are stored: unsigned ones, and those that their publisher signed (spec 07 section 5)."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from ..keyvault.crypto import default_eccrypto
from ..messaging.serialization import PackError, default_serializer
from .payload import SignedStrPayload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..keyvault.keys import PrivateKey, PublicKey

__all__ = ["DHT_ENTRY_STR", "DHT_ENTRY_STR_SIGNED", "KEY_SIZE", "MAX_ENTRY_SIZE", "DHTValue", "Entry", "key_for",
           "newest", "normalise_key", "parse", "sign", "unsigned"]

DHT_ENTRY_STR = 0
DHT_ENTRY_STR_SIGNED = 1
MAX_ENTRY_SIZE = 170
"""Bytes of a serialized value."""
KEY_SIZE = 20

DHTValue = tuple[bytes, bytes | None]
"""The data of a value, and the serialized public key of its signer if it has one."""


class Entry(NamedTuple):
    """A value that was found to be sound; the version of an unsigned one is 0."""

    data: bytes
    public_key: bytes | None
    version: int


def unsigned(data: bytes) -> bytes:
    """The unsigned value with this content."""
    return bytes((DHT_ENTRY_STR,)) + data


def sign(data: bytes, key: PrivateKey, version: int) -> bytes:
    """The value with this content, signed; ``version`` is the Unix time in seconds."""
    payload = SignedStrPayload(data, version, key.pub().key_to_bin())
    value = bytes((DHT_ENTRY_STR_SIGNED,)) + default_serializer.pack_serializable(payload)
    return value + key.signature(value)


def parse(value: bytes) -> Entry | None:
    """What a serialized value says; ``None`` for whatever is malformed, unknown, or signed by somebody else."""
    if not value:
        return None
    if value[0] == DHT_ENTRY_STR:
        return Entry(value[1:], None, 0)
    if value[0] != DHT_ENTRY_STR_SIGNED:
        return None
    try:
        payload, end = default_serializer.unpack_serializable(SignedStrPayload, value, 1)
        key = default_eccrypto.key_from_network(payload.public_key)
    except (PackError, ValueError):
        return None
    start = len(value) - key.get_signature_length()
    if start < end or not key.verify(value[start:], value[:start]):
        return None
    return Entry(payload.data, payload.public_key, payload.version)


def newest(entries: Iterable[Entry]) -> list[DHTValue]:
    """The newest entry of each signer, in the order in which the signers first appear, then the unsigned ones."""
    by_signer: dict[bytes, Entry] = {}
    loose: list[DHTValue] = []
    for entry in entries:
        if entry.public_key is None:
            loose.append((entry.data, None))
            continue
        known = by_signer.setdefault(entry.public_key, entry)
        if entry.version > known.version:
            by_signer[entry.public_key] = entry
    return [(entry.data, entry.public_key) for entry in by_signer.values()] + loose


def normalise_key(key: bytes) -> bytes:
    """A key as it is on the wire: with zero bytes appended, or cut, to 20 bytes (spec 07 section 3.3)."""
    return key[:KEY_SIZE].ljust(KEY_SIZE, b"\x00")


def key_for(public_key: PublicKey | bytes, salt: bytes = b"") -> bytes:
    """The key under which a signer should publish, and be looked for: nobody else's value belongs there.

    Without ``salt`` it is the mid of the signer, whose value then keeps its place when others store under that key.
    """
    public_bin = public_key if isinstance(public_key, bytes) else public_key.key_to_bin()
    return sha1(public_bin + salt, usedforsecurity=False).digest()
