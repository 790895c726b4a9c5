"""From the bytes of a signed packet to the peer that sent it (spec 02 section 1.3, spec 04 section 5).

All that can be wrong with a packet is the sender's fault and ends in a :class:`PacketDecodingError`, which names the
counter it belongs to. A packet is worth one signature verification at most, and less when its source has sent
forgeries, or keys that are dear to verify, beyond its budget.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from .keyvault.backend.handle import UnsupportedCurveError
from .keyvault.crypto import ECCrypto
from .keyvault.encoding import EC_PUBLIC_KEY, ED25519, OBJECT_IDENTIFIER, tlv
from .limits import TokenBuckets
from .messaging.address import Address
from .messaging.interfaces.burst import burst
from .messaging.interfaces.network_stats import DropCounter
from .messaging.readers import Refusal
from .messaging.serialization import PackError
from .peer import Peer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from .keyvault.keys import PublicKey
    from .messaging.interfaces.endpoint import Endpoint
    from .overlay import Overlay

__all__ = [
    "Admit",
    "BadSignatureError",
    "NotAdmittedError",
    "PacketDecodingError",
    "RateLimitedError",
    "SignatureGuard",
    "UndecodableError",
    "UnusableKeyError",
    "recognise",
    "try_verify",
    "verify_ahead",
]

HEADER_SIZE = 23
"""Prefix (22 bytes) and message id: where the body of every packet starts."""

MESSAGE_ID_OFFSET = HEADER_SIZE - 1
KEY_SIZE_OFFSET, KEY_SIZE_END = HEADER_SIZE, HEADER_SIZE + 1  # two bytes
KEY_OFFSET = HEADER_SIZE + 2

DER_LENGTH_OFFSET = KEY_OFFSET + 1
ALGORITHM_OFFSET = KEY_OFFSET + 4
"""Where a key in DER says of which kind it is: behind the headers of two sequences, one byte later if it is long."""

FORGERIES_PER_SECOND = 20.0
FORGERIES_AT_ONCE = 100.0
"""How many bad signatures one IP address may have verified; beyond that its unknown peers wait."""

DEAR_SECONDS_PER_SECOND = 0.2
DEAR_SECONDS_AT_ONCE = 2.0
"""Time for verifying keys of dear curves, of all sources that are not the address of a verified peer together."""

DEAR_SECONDS_PER_SECOND_PER_IP = 0.1
DEAR_SECONDS_AT_ONCE_PER_IP = 1.0

DEAR_SECONDS_PER_SIGNATURE = ((42, 0.0003), (60, 0.0004), (104, 0.0012))
"""What verifying costs by signature size (spec 01 section 9); everything larger is taken as sect571."""

DEAREST_SECONDS_PER_SIGNATURE = 0.0025

DEAR_SECONDS_PER_KEY = 0.00002
"""What loading such a key costs, most of it to see whether its point lies on the curve."""

CHEAP_KEY = b"LibNaCLPK:"
"""How curve25519 keys start (spec 01 section 2.2)."""

DER_SEQUENCE = 0x30
"""How all others start, which are in DER (spec 01 section 3.3)."""

ALGORITHM_SIZE = 5
DER_ALGORITHMS = frozenset(tlv(OBJECT_IDENTIFIER, kind)[:ALGORITHM_SIZE] for kind in (EC_PUBLIC_KEY, ED25519))
"""How the names of the kinds of key in DER begin, which is enough to refuse most of what is none."""

CHEAP_KEY_SIZE = 74
CHEAP_SIGNATURE_SIZE = 64
"""Bytes of a curve25519 key and of its signatures (spec 01 section 2)."""

SMALLEST_DER_KEY = 44
"""Bytes of an Ed25519 key in DER (RFC 8410); those of the other curves are longer."""

NOBODY = ""
"""The host of packets that came from no address: programs hand on what they received in other ways."""

MAX_KEY_SIZE = 512
"""More than any key has (spec 01 section 3.1)."""

SPARE_CORES = min(4, os.cpu_count() or 1) - 1
"""How many threads help to verify bursts."""

AHEAD_MINIMUM = 4
"""Bursts of fewer signed packets than this are not worth waking another thread for."""


class PacketDecodingError(Refusal):
    """A packet that its sender should not have sent."""


class UndecodableError(PacketDecodingError, PackError):
    """A packet with missing, surplus or malformed fields."""


class UnusableKeyError(PacketDecodingError, ValueError):
    """A packet whose public key cannot be loaded."""


class BadSignatureError(PacketDecodingError):
    """A packet that the owner of the key did not sign."""

    reason = DropCounter.BAD_SIGNATURE


class NotAdmittedError(PacketDecodingError):
    """A packet that its receiver did not want to be verified, and has counted already."""


class RateLimitedError(PacketDecodingError):
    """A packet that was not even looked into, because its source used up its budget."""

    reason = DropCounter.RATE_LIMITED


def _cost(key: PublicKey) -> float:
    """Seconds that it takes to verify a signature by a costly key."""
    size = key.get_signature_length()
    return next((cost for limit, cost in DEAR_SECONDS_PER_SIGNATURE if size <= limit), DEAREST_SECONDS_PER_SIGNATURE)


class SignatureGuard:
    """The budgets that verification is done on, common to all overlays of an endpoint."""

    _of_endpoints: ClassVar[WeakKeyDictionary[Endpoint, SignatureGuard]] = WeakKeyDictionary()

    @classmethod
    def of(cls, endpoint: Endpoint) -> SignatureGuard:
        """The guard of ``endpoint``."""
        guard = cls._of_endpoints.get(endpoint)
        if guard is None:
            guard = cls._of_endpoints[endpoint] = cls()
        return guard

    def __init__(self) -> None:
        self.forgeries = TokenBuckets(FORGERIES_PER_SECOND, FORGERIES_AT_ONCE)
        self.dear = TokenBuckets(DEAR_SECONDS_PER_SECOND, DEAR_SECONDS_AT_ONCE)
        self.dear_per_ip = TokenBuckets(DEAR_SECONDS_PER_SECOND_PER_IP, DEAR_SECONDS_AT_ONCE_PER_IP)

    def admits(self, key: PublicKey, host: str, familiar: bool) -> bool:
        """Whether a signature by ``key`` from ``host`` may be verified now; ``familiar`` is a known peer's address."""
        if not familiar and self.is_tired_of(host):
            return False
        return not key.is_costly or self.affords(host, _cost(key), familiar)

    def affords_key(self, key: PublicKey) -> bool:
        """Whether a signature by ``key`` may be verified now, for who does not know where it comes from."""
        return not key.is_costly or self.dear.take(None, _cost(key))

    def is_tired_of(self, host: str) -> bool:
        """Whether so many forgeries came from ``host`` that only peers which are known to be there are listened to."""
        return not self.forgeries.holds(host)

    def affords(self, host: str, cost: float, familiar: bool = False) -> bool:
        """Whether ``cost`` seconds may be spent on elliptic curves other than curve25519 for ``host``, now."""
        return self.dear_per_ip.take(host, cost) and (familiar or self.dear.take(None, cost))

    def forged(self, host: str) -> None:
        """Note a bad signature from ``host``."""
        self.forgeries.take(host)


_verdicts: dict[bytes, bool] = {}
_pool: ThreadPoolExecutor | None = None


def _load_key(overlay: Overlay[Any], key_bin: bytes, dear: bool, host: str) -> PublicKey | PacketDecodingError:
    """The key of a sender that is no verified peer, if what it costs to load and to use it may be spent on ``host``.

    :param dear: whether it is in DER, which is dear to check.
    """
    guard = overlay.signature_guard
    if guard.is_tired_of(host) or (dear and not guard.affords(host, DEAR_SECONDS_PER_KEY)):
        return RateLimitedError(host)
    try:
        return overlay.crypto.key_from_network(key_bin)
    except ValueError as e:
        if not isinstance(e, UnsupportedCurveError):  # which is no fault of the sender
            guard.forged(host)
        return UnusableKeyError(str(e))


Admit = Callable[[Any, Address, bytes, bytes, int], bool]
"""``admit(overlay, source_address, data, key_bin, start)``: whether to verify a packet that claims to be of this key.

Its payloads start at ``start``; nothing about it is certain yet, but that it has the shape of a signed packet.
"""


def try_verify(overlay: Overlay[Any], source_address: Address, data: bytes,
               admit: Admit | None = None) -> tuple[PublicKey, int, int] | PacketDecodingError:
    """Verify the signature of a packet, whose author need not be at ``source_address``.

    :param admit: asked before anything is done that costs more than a look at some bytes.
    :returns: the key that signed it, and the offsets at which the payloads start and the signature starts; or what is
        wrong with the packet, which is not raised, as that would take longer than to find it.
    """
    room = len(data) - KEY_OFFSET
    if room <= 0:
        return UndecodableError("the packet is too short for a signed one")
    size = data[KEY_SIZE_OFFSET] << 8 | data[KEY_SIZE_END]
    room -= size
    if not 0 < size <= MAX_KEY_SIZE or room <= 0:
        return UndecodableError("the packet is too short for its key, or its key is none")
    dear = data[KEY_OFFSET] == DER_SEQUENCE
    if dear:
        start = ALGORITHM_OFFSET + (data[DER_LENGTH_OFFSET] >> 7)
        if size < SMALLEST_DER_KEY or data[start:start + ALGORITHM_SIZE] not in DER_ALGORITHMS:
            return UnusableKeyError("the key of the packet is of no kind that can be used")
    elif not data.startswith(CHEAP_KEY, KEY_OFFSET):
        return UnusableKeyError("the key of the packet is of no kind that there is")
    elif size < CHEAP_KEY_SIZE or room < CHEAP_SIGNATURE_SIZE:
        return UndecodableError("the packet is too short for its kind of key")
    body = KEY_OFFSET + size
    key_bin = data[KEY_OFFSET:body]
    if admit is not None and not admit(overlay, source_address, data, key_bin, body):
        return NotAdmittedError()
    host = source_address[0] if source_address and isinstance(source_address, tuple) else NOBODY
    known = overlay.network.verified_by_public_key_bin.get(key_bin)
    key = _load_key(overlay, key_bin, dear, host) if known is None else known.public_key
    if isinstance(key, PacketDecodingError):
        return key
    end = len(data) - key.get_signature_length()
    if end < body:
        return UndecodableError(f"{len(data)} bytes are too few for a packet signed with {key.curve_name()}")
    refusal = _check_signature(overlay, key, known, source_address, host, data, end)
    if refusal is not None:
        return refusal
    if known is None and isinstance(overlay.crypto, ECCrypto):
        overlay.crypto.remember_public_key(key, key_bin)
    return key, body, end


def _check_signature(overlay: Overlay[Any], key: PublicKey, known: Peer | None, source_address: Address, host: str,
                     data: bytes, end: int) -> PacketDecodingError | None:
    """What is wrong with the signature that starts at ``end``, if the budgets of its sender admit to verify it."""
    if burst.packets:
        verify_ahead(overlay, data[:MESSAGE_ID_OFFSET], burst.take())
    valid = _verdicts.pop(data, None) if _verdicts else None
    if valid is None:
        familiar = known is not None and source_address in known.addresses.values()
        guard = overlay.signature_guard
        if not guard.admits(key, host, familiar):
            return RateLimitedError(host)
        valid = key.verify(data[end:], data[:end])
        if not valid:
            guard.forged(host)
    return None if valid else BadSignatureError("the signature does not belong to the packet")


def recognise(overlay: Overlay[Any], key: PublicKey, source_address: Address, key_bin: bytes) -> Peer:
    """The peer that a packet comes from which ``key``, of the bytes ``key_bin``, signed.

    A verified peer is given as the object that the network holds, unless the packet comes from an address which that
    peer has yet to confirm: then as another object of the same key with the new address.
    """
    known = overlay.network.verified_by_public_key_bin.get(key_bin)
    if known is None:
        return Peer(key, source_address)
    if not isinstance(source_address, tuple):  # which a program gives that calls handlers itself
        return known
    addresses = known.addresses
    if addresses.get(source_address.__class__) == source_address:
        known.heard_now()
        return known
    if not known.proven or known.address_frozen or not addresses or source_address in addresses.values():
        known.heard_now()
        known.add_address(source_address)
        return known
    overlay.on_unconfirmed_address(known, source_address)
    stranger = Peer(known.public_key, source_address)
    stranger.new_style_intro = known.new_style_intro
    return stranger


def _workers() -> ThreadPoolExecutor | None:
    """The threads that verify ahead; none on a machine with one core."""
    global _pool  # noqa: PLW0603 - made once, for the whole process
    if _pool is None and SPARE_CORES > 0:
        from concurrent.futures import ThreadPoolExecutor

        _pool = ThreadPoolExecutor(SPARE_CORES, thread_name_prefix="ipv8-verify")
    return _pool


def _forget_workers() -> None:
    """Make new threads when they are needed: those of a process do not follow a fork of it."""
    global _pool  # noqa: PLW0603 - made once, for the whole process
    _pool = None
    _verdicts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def _judge(jobs: Sequence[tuple[bytes, PublicKey]]) -> list[tuple[bytes, bool]]:
    """Verify packets one after another."""
    verdicts = []
    for data, key in jobs:
        end = len(data) - key.get_signature_length()
        verdicts.append((data, key.verify(data[end:], data[:end])))
    return verdicts


def verify_ahead(overlay: Overlay[Any], prefix: bytes, packets: Sequence[tuple[Address, bytes]]) -> None:
    """Verify the signatures of a burst on all cores, before its packets are handled one by one in their order.

    Only signed messages of the overlay with ``prefix``, by verified peers with cheap keys from addresses of theirs, are
    taken: everything else is left to :func:`try_verify` and its budgets. Verdicts are kept until they are asked for, or
    until the next burst.
    """
    _verdicts.clear()
    if len(packets) < AHEAD_MINIMUM:
        return
    peers = overlay.network.verified_by_public_key_bin
    jobs: list[tuple[bytes, PublicKey]] = []
    for source_address, data in packets:
        if (len(data) <= KEY_OFFSET or not data.startswith(prefix)
                or data[MESSAGE_ID_OFFSET] not in overlay.signed_messages):
            continue
        peer = peers.get(data[KEY_OFFSET:KEY_OFFSET + int.from_bytes(data[HEADER_SIZE:KEY_OFFSET], "big")])
        if (peer is not None and source_address in peer.addresses.values()
                and not peer.public_key.is_costly):
            jobs.append((data, peer.public_key))
    pool = _workers()
    if len(jobs) < AHEAD_MINIMUM or pool is None:
        return
    share = -(-len(jobs) // (SPARE_CORES + 1))
    chunks = [jobs[start:start + share] for start in range(0, len(jobs), share)]
    futures: list[Future[list[tuple[bytes, bool]]]] = [pool.submit(_judge, chunk) for chunk in chunks[1:]]
    _verdicts.update(_judge(chunks[0]))
    for future in futures:
        _verdicts.update(future.result())
