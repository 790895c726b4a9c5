"""Values as they are stored: unsigned ones, and those that their publisher signed (doc/protocol/dht.md section 4)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from .. import clock
from ..keyvault.crypto import default_eccrypto
from ..limits import BoundedDict, TokenBuckets
from ..messaging.serialization import PackError, default_serializer
from .diversity import network_to_charge
from .payload import SignedStrPayload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..keyvault.keys import PrivateKey, PublicKey
    from ..verification import SignatureGuard
    from .storage import Storage

__all__ = ["DHT_ENTRY_STR", "DHT_ENTRY_STR_SIGNED", "KEY_SIZE", "MAX_ENTRY_AGE", "MAX_ENTRY_SIZE", "MAX_VERSION_LEAD",
           "DHTValue", "Entry", "OverBudgetError", "ReadValue", "ValueReader", "ValueSigner", "is_malformed",
           "is_signed", "keep", "key_for", "newest", "normalise_key", "parse", "sign", "unsigned"]

DHT_ENTRY_STR = 0
DHT_ENTRY_STR_SIGNED = 1
MAX_ENTRY_SIZE = 170
"""Bytes of a serialized value."""
MAX_ENTRY_AGE = 3600
"""Seconds that a value lives."""
MAX_VERSION_LEAD = 3600
"""Seconds that the version of a signed value may be ahead of the clock."""
KEY_SIZE = 20

MAX_READ_VALUES = 4096
"""Signed values that need not be verified again; the one that was verified first is evicted first."""
SIGNATURES_PER_SECOND, SIGNATURES_AT_ONCE = 50.0, 200.0
"""Signatures of values that are verified for one network: a /24 of IPv4 or a /48 of IPv6."""
STORED_SIGNATURES_PER_SECOND, STORED_SIGNATURES_AT_ONCE = 1000.0, 500.0
"""The same in all store-requests together."""

DHTValue = tuple[bytes, bytes | None]
"""The data of a value, and the serialized public key of its signer if it has one."""


ReadValue = Callable[[bytes], tuple[bytes, bytes | None, int] | None]
"""What gives the content of a serialized value, as an :class:`Entry` has it; ``None`` if the value is invalid."""


Verify = Callable[["PublicKey", bytes, bytes], "bool | None"]
"""``verify(key, signature, message)``: whether the signature is good; ``None`` if it may not be verified now."""


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


class _Fields(NamedTuple):
    """The fields of a signed value, and where they end."""

    payload: SignedStrPayload
    end: int


def _fields(value: bytes) -> _Fields | None:
    """The fields of a signed value; ``None`` if they are malformed."""
    try:
        return _Fields(*default_serializer.unpack_serializable(SignedStrPayload, value, 1))
    except PackError:
        return None


def is_signed(value: bytes) -> bool:
    """Whether a value is of the type that has a signature."""
    return value[:1] == bytes((DHT_ENTRY_STR_SIGNED,))


def is_malformed(value: bytes) -> bool:
    """Whether no node can read a value. A key that this node cannot load may be one that others can."""
    return not value or (is_signed(value) and _fields(value) is None)


def _verify(key: PublicKey, signature: bytes, message: bytes) -> bool:
    return key.verify(signature, message)


def parse(value: bytes, verify: Verify = _verify) -> Entry | None:
    """The content of a serialized value; ``None`` if it is malformed, of an unknown type or wrongly signed.

    :param verify: verifies its signature.
    :raises OverBudgetError: if ``verify`` gives ``None``: the signature may not be verified now.
    """
    if value[:1] == bytes((DHT_ENTRY_STR,)):
        return Entry(value[1:], None, 0)
    fields = _fields(value) if is_signed(value) else None
    if fields is None:
        return None
    payload, end = fields
    try:
        key = default_eccrypto.key_from_network(payload.public_key)
    except ValueError:
        return None
    start = len(value) - key.get_signature_length()
    if start < end:
        return None
    is_good = verify(key, value[start:], value[:start])
    if is_good is None:
        raise OverBudgetError
    return Entry(payload.data, payload.public_key, payload.version) if is_good else None


class OverBudgetError(Exception):
    """A signature is not verified now, because too many others were."""


class ValueReader:
    """Reads values, and verifies the signature of each only once.

    :param guard: the budgets for signatures that take long to verify.
    """

    def __init__(self, guard: SignatureGuard) -> None:
        self._guard = guard
        self._signatures = TokenBuckets(SIGNATURES_PER_SECOND, SIGNATURES_AT_ONCE)
        self._all_stored = TokenBuckets(STORED_SIGNATURES_PER_SECOND, STORED_SIGNATURES_AT_ONCE, capacity=1)
        self._read: BoundedDict[bytes, Entry | None] = BoundedDict(MAX_READ_VALUES)

    def read(self, value: bytes) -> Entry | None:
        """As :func:`parse`."""
        if not is_signed(value) or len(value) > MAX_ENTRY_SIZE:
            return parse(value)
        if value not in self._read:
            self._read[value] = parse(value)
        return self._read[value]

    def affordable(self, values: Iterable[bytes], host: str, was_asked: bool) -> list[bytes]:
        """The values that can be read without verifying a signature, after those within the budgets were verified.

        The others are left out: nothing is known of them.

        :param host: who sent the values, from an address that is proven.
        :param was_asked: whether this node asked for the values.
        """
        return [value for value in values
                if not is_signed(value) or value in self._read or self._verify_for(value, host, was_asked)]

    def _verify_for(self, value: bytes, host: str, was_asked: bool) -> bool:
        """Read a signed value for the first time; ``False`` if that is over a budget of ``host``."""
        network = network_to_charge(host)
        if (len(value) > MAX_ENTRY_SIZE or not (was_asked or self._all_stored.holds())
                or not self._signatures.take(network)):
            return False
        if not was_asked:
            self._all_stored.take()
        try:
            self._read[value] = parse(value, lambda key, signature, message: self._guard.verify(
                key, signature, message, host))
        except OverBudgetError:
            return False
        return True


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
