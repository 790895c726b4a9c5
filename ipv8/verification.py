"""From the bytes of a signed packet to the peer that sent it (doc/protocol/packets.md sections 3 and 6).

All that can be wrong with a packet is the sender's fault and ends in a :class:`PacketDecodingError`, which names the
counter it belongs to. At most one signature is verified for a packet. None is verified if the source of the packet is
over its budget for forgeries, or for keys that take long to verify.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .keyvault.backend.handle import UnsupportedCurveError
from .keyvault.crypto import ECCrypto
from .keyvault.encoding import EC_PUBLIC_KEY, ED25519, OBJECT_IDENTIFIER, tlv
from .limits import TokenBuckets
from .messaging.address import Address
from .messaging.interfaces.endpoint import Endpoint
from .messaging.interfaces.gate import Burst
from .messaging.interfaces.network_stats import DropCounter
from .messaging.readers import Refusal
from .messaging.serialization import PackError
from .peer import Peer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from .keyvault.keys import PublicKey
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
"""Where a key in DER names its algorithm: behind the headers of two sequences, one byte later if the key is long."""

FORGERIES_PER_SECOND = 20.0
FORGERIES_AT_ONCE = 100.0
"""Bad signatures that are verified for one IP address; beyond that, packets of its unknown peers are dropped."""

COSTLY_SECONDS_PER_SECOND = 0.2
COSTLY_SECONDS_AT_ONCE = 2.0
"""Processor time for keys of costly curves, of all sources together that are not the address of a verified peer."""

COSTLY_SECONDS_PER_SECOND_PER_IP = 0.1
COSTLY_SECONDS_AT_ONCE_PER_IP = 1.0
"""Processor time for keys of costly curves from one IP address."""

COSTLY_SECONDS_PER_SIGNATURE = ((42, 0.0003), (60, 0.0004), (104, 0.0012))
"""Largest signature in bytes, and seconds that it takes to verify one (doc/protocol/keys.md section 6)."""

COSTLIEST_SECONDS_PER_SIGNATURE = 0.0025
"""Seconds for larger signatures, which are those of sect571."""

COSTLY_SECONDS_PER_KEY = 0.00002
"""Seconds that it takes to load a key of a costly curve; most of that is to check whether its point is on the curve."""

CHEAP_KEY = b"LibNaCLPK:"
"""How curve25519 keys start (doc/protocol/keys.md section 2.1)."""

DER_SEQUENCE = 0x30
"""How all other keys start, which are in DER (doc/protocol/keys.md section 3.2)."""

ALGORITHM_SIZE = 5
DER_ALGORITHMS = frozenset(tlv(OBJECT_IDENTIFIER, kind)[:ALGORITHM_SIZE] for kind in (EC_PUBLIC_KEY, ED25519))
"""How the algorithm identifiers of keys in DER start. Most bytes that are no key do not have them."""

CHEAP_KEY_SIZE = 74
CHEAP_SIGNATURE_SIZE = 64
"""Bytes of a curve25519 key and of its signatures (doc/protocol/keys.md section 2)."""

SMALLEST_DER_KEY = 44
"""Bytes of an Ed25519 key in DER (RFC 8410); those of the other curves are longer."""

NOBODY = ""
"""The host of packets without a source address: programs may pass packets that did not come from an endpoint."""

MAX_KEY_SIZE = 512
"""More than any key has (doc/protocol/keys.md section 3.1)."""

SPARE_CORES = min(4, os.cpu_count() or 1) - 1
"""How many further threads verify bursts."""

AHEAD_MINIMUM = 4
"""Signed packets of a burst that other threads are used for; with fewer, waking a thread takes longer than it saves."""


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
    """A packet that its receiver did not want verified, and has counted already."""


class RateLimitedError(PacketDecodingError):
    """A packet that was not verified, because its source is over its budget."""

    reason = DropCounter.RATE_LIMITED


def _cost(key: PublicKey) -> float:
    """Seconds that it takes to verify a signature by a costly key."""
    size = key.get_signature_length()
    return next((cost for limit, cost in COSTLY_SECONDS_PER_SIGNATURE if size <= limit),
                COSTLIEST_SECONDS_PER_SIGNATURE)


class SignatureGuard:
    """The budgets for verifying signatures, and the verdicts on those that were verified ahead.

    All overlays of an endpoint share one.
    """

    @classmethod
    def of(cls, endpoint: Endpoint) -> SignatureGuard:
        """The guard of ``endpoint``; a new one for an object that is no ``Endpoint``."""
        if not isinstance(endpoint, Endpoint):
            return cls()
        guard = endpoint.gate.shared(cls)
        guard.burst = endpoint.gate.burst
        return guard

    def __init__(self) -> None:
        self.forgeries = TokenBuckets(FORGERIES_PER_SECOND, FORGERIES_AT_ONCE)
        self.costly = TokenBuckets(COSTLY_SECONDS_PER_SECOND, COSTLY_SECONDS_AT_ONCE)
        self.costly_per_ip = TokenBuckets(COSTLY_SECONDS_PER_SECOND_PER_IP, COSTLY_SECONDS_AT_ONCE_PER_IP)
        #: The packets that arrived together and may be verified ahead.
        self.burst = Burst()
        #: Packets of the last burst that were verified ahead, and whether their signatures are good.
        self.verdicts: dict[bytes, bool] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._pool_process = 0

    def admits(self, key: PublicKey, host: str, familiar: bool) -> bool:
        """Whether a signature by ``key`` from ``host`` may be verified now; ``familiar`` is a known peer's address."""
        if not familiar and self.is_over_budget(host):
            return False
        return not key.is_costly or self.affords(host, _cost(key), familiar)

    def affords_key(self, key: PublicKey) -> bool:
        """Whether a signature by ``key`` from an unknown source may be verified now."""
        return not key.is_costly or self.costly.take(None, _cost(key))

    def is_over_budget(self, host: str) -> bool:
        """Whether so many forgeries came from ``host`` that only peers which are known to be there are verified."""
        return not self.forgeries.holds(host)

    def affords(self, host: str, cost: float, familiar: bool = False) -> bool:
        """Whether ``cost`` seconds may be spent on curves other than curve25519 for ``host`` now."""
        return self.costly_per_ip.take(host, cost) and (familiar or self.costly.take(None, cost))

    def forged(self, host: str) -> None:
        """Note a bad signature from ``host``."""
        self.forgeries.take(host)

    def workers(self) -> ThreadPoolExecutor | None:
        """The threads that verify ahead; none on a machine with one core."""
        process = os.getpid()
        if self._pool_process != process:  # the threads of a process do not exist in a fork of it
            self._pool, self._pool_process = None, process
        if self._pool is None and SPARE_CORES > 0:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(SPARE_CORES, thread_name_prefix="ipv8-verify")
        return self._pool

    def release(self) -> None:
        """End the threads; new ones are started when they are needed."""
        self.verdicts.clear()
        pool, self._pool = self._pool, None
        if pool is not None and self._pool_process == os.getpid():
            pool.shutdown(wait=False)


def _load_key(overlay: Overlay[Any], key_bin: bytes, is_der: bool, host: str) -> PublicKey | PacketDecodingError:
    """The key of a sender that is no verified peer, if ``host`` has budget left for loading and using it."""
    guard = overlay.signature_guard
    if guard.is_over_budget(host) or (is_der and not guard.affords(host, COSTLY_SECONDS_PER_KEY)):
        return RateLimitedError(host)
    try:
        return overlay.crypto.key_from_network(key_bin)
    except ValueError as e:
        if not isinstance(e, UnsupportedCurveError):  # which is no fault of the sender
            guard.forged(host)
        return UnusableKeyError(str(e))


Admit = Callable[[Any, Address, bytes, bytes, int], bool]
"""``admit(overlay, source_address, data, key_bin, start)``: whether to verify a packet that names this key as its own.

Its payloads start at ``start``. Only its layout has been checked so far.
"""


def try_verify(overlay: Overlay[Any], source_address: Address, data: bytes,
               admit: Admit | None = None) -> tuple[PublicKey, int, int] | PacketDecodingError:
    """Verify the signature of a packet, whose author need not be at ``source_address``.

    :param admit: asked before the key is loaded and the signature verified.
    :returns: the key that signed it, and the offsets at which the payloads start and the signature starts; or what is
        wrong with the packet, which is returned because raising it would take longer than finding it.
    """
    room = len(data) - KEY_OFFSET
    if room <= 0:
        return UndecodableError("the packet is too short for a signed one")
    size = data[KEY_SIZE_OFFSET] << 8 | data[KEY_SIZE_END]
    room -= size
    if not 0 < size <= MAX_KEY_SIZE or room <= 0:
        return UndecodableError("the packet is too short for its key, or the key has no valid length")
    is_der = data[KEY_OFFSET] == DER_SEQUENCE
    if is_der:
        start = ALGORITHM_OFFSET + (data[DER_LENGTH_OFFSET] >> 7)
        if size < SMALLEST_DER_KEY or data[start:start + ALGORITHM_SIZE] not in DER_ALGORITHMS:
            return UnusableKeyError("the key of the packet has an unknown algorithm")
    elif not data.startswith(CHEAP_KEY, KEY_OFFSET):
        return UnusableKeyError("the key of the packet has an unknown format")
    elif size < CHEAP_KEY_SIZE or room < CHEAP_SIGNATURE_SIZE:
        return UndecodableError("the packet is too short for its kind of key")
    body = KEY_OFFSET + size
    key_bin = data[KEY_OFFSET:body]
    if admit is not None and not admit(overlay, source_address, data, key_bin, body):
        return NotAdmittedError()
    host = source_address[0] if source_address and isinstance(source_address, tuple) else NOBODY
    known = overlay.network.verified_by_public_key_bin.get(key_bin)
    key = _load_key(overlay, key_bin, is_der, host) if known is None else known.public_key
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
    """What is wrong with the signature that starts at ``end``, if the budgets of its sender allow to verify it."""
    guard = overlay.signature_guard
    if guard.burst.packets:
        verify_ahead(overlay, data[:MESSAGE_ID_OFFSET], guard.burst.take())
    valid = guard.verdicts.pop(data, None) if guard.verdicts else None
    if valid is None:
        familiar = known is not None and source_address in known.addresses.values()
        if not guard.admits(key, host, familiar):
            return RateLimitedError(host)
        valid = key.verify(data[end:], data[:end])
    if valid:
        return None
    guard.forged(host)
    return BadSignatureError("the signature does not belong to the packet")


def recognise(overlay: Overlay[Any], key: PublicKey, source_address: Address, key_bin: bytes) -> Peer:
    """The peer that a packet comes from which ``key``, of the bytes ``key_bin``, signed.

    A verified peer is the object that the network holds. If the packet comes from an address that the peer has not
    confirmed yet, it is another object with the same key and the new address.
    """
    known = overlay.network.verified_by_public_key_bin.get(key_bin)
    if known is None:
        return Peer(key, source_address)
    if not isinstance(source_address, tuple):  # from a program that calls handlers itself
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


def _verify_all(jobs: Sequence[tuple[bytes, PublicKey]]) -> list[tuple[bytes, bool]]:
    """Verify packets one after another."""
    verdicts = []
    for data, key in jobs:
        end = len(data) - key.get_signature_length()
        verdicts.append((data, key.verify(data[end:], data[:end])))
    return verdicts


def verify_ahead(overlay: Overlay[Any], prefix: bytes, packets: Sequence[tuple[Address, bytes]]) -> None:
    """Verify the signatures of a burst on all cores, before its packets are handled one by one in their order.

    This is done for signed messages of the overlay with ``prefix``, by verified peers with curve25519 keys from
    addresses of theirs. All others are left to :func:`try_verify` and its budgets. The guard of the overlay keeps the
    verdicts until they are used, or until the next burst.
    """
    guard = overlay.signature_guard
    guard.verdicts.clear()
    if len(packets) < AHEAD_MINIMUM:
        return
    peers = overlay.network.verified_by_public_key_bin
    jobs: list[tuple[bytes, PublicKey]] = []
    for source_address, data in packets:
        if (len(data) <= KEY_OFFSET or not data.startswith(prefix)
                or data[MESSAGE_ID_OFFSET] not in overlay.signed_messages):
            continue
        peer = peers.get(data[KEY_OFFSET:KEY_OFFSET + int.from_bytes(data[HEADER_SIZE:KEY_OFFSET], "big")])
        if peer is not None and source_address in peer.addresses.values() and not peer.public_key.is_costly:
            jobs.append((data, peer.public_key))
    workers = guard.workers() if len(jobs) >= AHEAD_MINIMUM else None
    if workers is None:
        return
    share = -(-len(jobs) // (SPARE_CORES + 1))
    chunks = [jobs[start:start + share] for start in range(0, len(jobs), share)]
    futures: list[Future[list[tuple[bytes, bool]]]] = [workers.submit(_verify_all, chunk) for chunk in chunks[1:]]
    guard.verdicts.update(_verify_all(chunks[0]))
    for future in futures:
        guard.verdicts.update(future.result())
