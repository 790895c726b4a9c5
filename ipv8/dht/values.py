"""Values as they are stored: unsigned ones, and those that their publisher signed (doc/protocol/dht.md section 4)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from .. import clock
from ..keyvault.crypto import default_eccrypto
from ..limits import BoundedDict
from ..messaging.serialization import PackError, default_serializer
from .payload import SignedStrPayload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..keyvault.keys import PrivateKey, PublicKey
    from .storage import Storage

__all__ = ["DHT_ENTRY_STR", "DHT_ENTRY_STR_SIGNED", "KEY_SIZE", "MAX_ENTRY_AGE", "MAX_ENTRY_SIZE", "MAX_VERSION_LEAD",
           "DHTValue", "Entry", "ReadValue", "ValueReader", "ValueSigner", "keep", "key_for", "newest",
           "normalise_key", "parse", "sign", "unsigned"]

DHT_ENTRY_STR = 0
DHT_ENTRY_STR_SIGNED = 1
MAX_ENTRY_SIZE = 170
"""Bytes of a serialized value."""
MAX_ENTRY_AGE = 3600
"""Seconds that a value lives."""
MAX_VERSION_LEAD = 3600
"""Seconds that the version of a signed value may be ahead of the clock."""
KEY_SIZE = 20

MAX_READ_VALUES = 1024
"""Signed values that need not be verified again; the one that was verified first is evicted first."""

DHTValue = tuple[bytes, bytes | None]
"""The data of a value, and the serialized public key of its signer if it has one."""


ReadValue = Callable[[bytes], tuple[bytes, bytes | None, int] | None]
"""What gives the content of a serialized value, as an :class:`Entry` has it; ``None`` if the value is invalid."""


class Entry(NamedTuple):
    """The content of a valid value; the version of an unsigned one is 0."""

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
    """The content of a serialized value; ``None`` if it is malformed, of an unknown type or wrongly signed."""
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


class ValueReader:
    """Reads values, and verifies the signature of each only once."""

    def __init__(self) -> None:
        self._verified: BoundedDict[bytes, Entry | None] = BoundedDict(MAX_READ_VALUES)

    def read(self, value: bytes) -> Entry | None:
        """As :func:`parse`."""
        if value[:1] != bytes((DHT_ENTRY_STR_SIGNED,)) or len(value) > MAX_ENTRY_SIZE:
            return parse(value)
        if value not in self._verified:
            self._verified[value] = parse(value)
        return self._verified[value]


class ValueSigner:
    """Signs values with versions that do not go down when the clock is set back a little.

    Nodes keep the value of a signer with the highest version, so a new one must not have a lower one.
    """

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self._last_version = 0

    def sign(self, data: bytes) -> bytes:
        """The value with this content, signed now."""
        now = int(clock.time())
        # A version that is farther ahead was refused, and others will be refused as well.
        version = self._last_version if 0 < self._last_version - now <= MAX_VERSION_LEAD else now
        self._last_version = version
        return sign(data, self._key, version)


def keep(storage: Storage, key: bytes, value: bytes, entry: tuple[bytes, bytes | None, int], max_age: float) -> bool:
    """Store a value, in place of that of the same signer; whether it is stored.

    :param entry: the content of the value.
    """
    _, public_key, version = entry
    # One key has several encodings, but one owner.
    signer = None if public_key is None else default_eccrypto.key_from_network(public_key).key_to_hash()
    return storage.put(key, value, id_=signer, max_age=max_age, version=version)


def newest(entries: Iterable[tuple[bytes, bytes | None, int]]) -> list[DHTValue]:
    """The newest entry of each signer, in the order in which the signers first appear, then the unsigned ones."""
    by_signer: dict[bytes, tuple[bytes, int]] = {}
    unsigned_ones: list[DHTValue] = []
    for data, public_key, version in entries:
        if public_key is None:
            unsigned_ones.append((data, None))
        elif public_key not in by_signer or version > by_signer[public_key][1]:
            by_signer[public_key] = data, version
    return [(data, public_key) for public_key, (data, _) in by_signer.items()] + unsigned_ones


def normalise_key(key: bytes) -> bytes:
    """A key as it is on the wire: with zero bytes appended, or cut, to 20 bytes (doc/protocol/dht.md section 2.3)."""
    return key[:KEY_SIZE].ljust(KEY_SIZE, b"\x00")


def key_for(public_key: PublicKey | bytes, salt: bytes = b"") -> bytes:
    """The key under which a signer should publish: others have no reason to store values there.

    Without ``salt`` it is the mid of the signer. Then values of others do not push out that of the signer.
    """
    public_bin = public_key if isinstance(public_key, bytes) else public_key.key_to_bin()
    return sha1(public_bin + salt, usedforsecurity=False).digest()
