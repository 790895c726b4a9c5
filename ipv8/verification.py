"""From the bytes of a signed packet to the peer that sent it (doc/protocol/packets.md sections 3 and 6).

All that can be wrong with a packet is the sender's fault and ends in a :class:`PacketDecodingError`, which names the
counter it belongs to. At most one signature is verified for a packet. The time that this takes is limited by the
budgets of a :class:`SignatureGuard`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import clock
from .keyvault.crypto import ECCrypto
from .keyvault.encoding import DER_START, EC_PUBLIC_KEY, ED25519, OBJECT_IDENTIFIER, tlv
from .limits import TokenBuckets, drawn
from .messaging.address import Address, HiddenAddress, UDPv4LANAddress
from .messaging.inet import HOST_BITS, network_of
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
    from .peerdiscovery.network import Network

__all__ = [
    "Admit",
    "BadSignatureError",
    "NotAdmittedError",
    "PacketDecodingError",
    "RateLimitedError",
    "SignatureGuard",
    "UndecodableError",
    "UnusableKeyError",
    "is_met_at",
    "recognise",
    "try_verify",
    "verify_ahead",
    "where_proven",
]

HEADER_SIZE = 23
"""Prefix (22 bytes) and message id: where the body of every packet starts."""

MESSAGE_ID_OFFSET = HEADER_SIZE - 1
KEY_SIZE_OFFSET, KEY_SIZE_END = HEADER_SIZE, HEADER_SIZE + 1  # two bytes
KEY_OFFSET = HEADER_SIZE + 2

DER_LENGTH_OFFSET = KEY_OFFSET + 1
ALGORITHM_OFFSET = KEY_OFFSET + 4
"""Where a key in DER names its algorithm: behind the headers of two sequences, one byte later if the key is long."""

FORGED_SECONDS_PER_SECOND, FORGED_SECONDS_AT_ONCE = 0.1, 0.1
"""Processor time for bad signatures by usual keys, and for keys that are none, of all hosts together."""

FORGED_SECONDS_PER_SECOND_PER_HOST, FORGED_SECONDS_AT_ONCE_PER_HOST = 0.05, 0.05
"""The same for one host: an IPv4 address or an IPv6 /64."""

COSTLY_SECONDS_PER_SECOND, COSTLY_SECONDS_AT_ONCE = 0.2, 0.1
"""Processor time for keys of costly curves, of all hosts together."""

COSTLY_SECONDS_PER_SECOND_PER_HOST, COSTLY_SECONDS_AT_ONCE_PER_HOST = 0.1, 0.05
"""The same for one host."""

UNLIMITED_SECONDS = 1e9
"""More processor time than a test takes."""

RESERVED_FOR_PEERS = 0.5
"""The part of the processor time for costly curves that only proven peers may use."""

SECONDS_PER_SIGNATURE = 0.0001
"""Seconds that it takes to verify a signature of curve25519.

This and the following are charged where the clock does not tell how long it took, as in simulations."""

COSTLY_SECONDS_PER_SIGNATURE = ((42, 0.0003), (64, 0.0004), (104, 0.0012), (1024, 0.0025))
"""Largest signature of a costly curve in bytes, and seconds that it takes to verify one (doc/protocol/keys.md section
6)."""

SECONDS_PER_KEY = 0.00002
"""Seconds that it takes to load a key; for costly curves this finds out whether its point is on the curve."""

CHEAP_KEY = b"LibNaCLPK:"
"""How curve25519 keys start (doc/protocol/keys.md section 2.1)."""

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


def _estimate(key: PublicKey) -> float:
    """Seconds that it takes to verify a signature by ``key``."""
    if not key.is_costly:
        return SECONDS_PER_SIGNATURE
    size, costs = key.get_signature_length(), COSTLY_SECONDS_PER_SIGNATURE
    return next((seconds for limit, seconds in costs if size <= limit), costs[-1][1])


def _since(start: float | None, estimate: float) -> float:
    """Seconds of processor time since ``start``; ``estimate`` if the clock does not tell."""
    end = clock.processor_time()
    return estimate if start is None or end is None else end - start


class SignatureGuard:
    """The budgets for verifying signatures, and the verdicts on those that were verified ahead.

    All overlays of an endpoint share one. What was spent is charged in processor time, as measured.

    The source of a packet may be forged. So a budget that was used up for a host must not keep out whoever is really
    there. Nobody is refused for being over budget. Instead, as soon as half of a budget is used, packets are let in by
    chance: the less is left, the fewer. A sender that repeats its request gets in, and the time that is spent stays
    within the budget. Packets of known peers from their addresses, and answers that are waited for, are always let in,
    unless their keys are costly: then they may use more of the budget than others.
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
        self.forged_time = TokenBuckets(FORGED_SECONDS_PER_SECOND, FORGED_SECONDS_AT_ONCE, capacity=1)
        self.forged_time_per_host = TokenBuckets(FORGED_SECONDS_PER_SECOND_PER_HOST, FORGED_SECONDS_AT_ONCE_PER_HOST)
        self.costly_time = TokenBuckets(COSTLY_SECONDS_PER_SECOND, COSTLY_SECONDS_AT_ONCE, capacity=1)
        self.costly_time_per_host = TokenBuckets(COSTLY_SECONDS_PER_SECOND_PER_HOST, COSTLY_SECONDS_AT_ONCE_PER_HOST)
        #: The packets that arrived together and may be verified ahead.
        self.burst = Burst()
        #: Packets of the last burst that were verified ahead, and whether their signatures are good.
        self.verdicts: dict[bytes, bool] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._pool_process = 0

    def lift(self) -> None:
        """Let everything be verified, however long it takes: for tests, where nobody is hostile."""
        for budget in (self.forged_time, self.forged_time_per_host, self.costly_time, self.costly_time_per_host):
            budget.burst = UNLIMITED_SECONDS

    # What may be done

    def admits(self, host: str, familiar: bool = False) -> bool:
        """Whether a packet from ``host`` may be verified now; this is by chance if many forgeries came from there.

        :param familiar: whether the packet has the address of a known peer, or answers an open request.
        """
        if familiar:
            return True
        return drawn(self.forged_time.chance() * self.forged_time_per_host.chance(network_of(host, *HOST_BITS)))

    def admits_costly(self, host: str, proven: bool = False) -> bool:
        """Whether time may be spent on a costly curve for ``host`` now; this is by chance if much was spent.

        :param proven: whether a known peer has proved to be there, or an open request is answered.
        """
        chance = self.costly_time.chance(reserved=0.0 if proven else RESERVED_FOR_PEERS)
        return drawn(chance * self.costly_time_per_host.chance(network_of(host, *HOST_BITS)))

    # What was done

    def charge_costly(self, host: str, seconds: float) -> None:
        """Note time that was spent on a costly curve for ``host``."""
        self.costly_time.charge(None, seconds)
        self.costly_time_per_host.charge(network_of(host, *HOST_BITS), seconds)

    def charge_forged(self, host: str, seconds: float) -> None:
        """Note time that was spent on a bad signature by a usual key, or on a key that is none, from ``host``."""
        self.forged_time.charge(None, seconds)
        self.forged_time_per_host.charge(network_of(host, *HOST_BITS), seconds)

    # Doing it

    def load(self, load: Callable[[bytes], PublicKey], key_bin: bytes, host: str,
             proven: bool = False) -> PublicKey | PacketDecodingError:
        """The key of the bytes ``key_bin`` that came from ``host``, by ``load``, if the budgets allow that.

        All is charged. For ``proven`` see :meth:`admits_costly`.
        """
        may_be_costly = key_bin[:1] == DER_START
        if may_be_costly and not self.admits_costly(host, proven):
            return RateLimitedError(host)
        start = clock.processor_time()
        try:
            return load(key_bin)
        except ValueError as e:
            if not may_be_costly:
                self.charge_forged(host, _since(start, SECONDS_PER_KEY))
            return UnusableKeyError(str(e))
        finally:
            if may_be_costly:
                self.charge_costly(host, _since(start, SECONDS_PER_KEY))

    def verify(self, key: PublicKey, signature: bytes, message: bytes, host: str,
               proven: bool = False) -> bool | None:
        """Whether ``signature`` is one of ``message`` by ``key``; ``None`` if no time may be spent on that now.

        The caller has asked :meth:`admits`. This asks for the budget of costly curves, and charges all. For ``proven``
        see :meth:`admits_costly`.
        """
        is_costly = key.is_costly
        if is_costly and not self.admits_costly(host, proven):
            return None
        start = clock.processor_time() if is_costly or not proven else None
        valid = key.verify(signature, message)
        if is_costly:
            self.charge_costly(host, _since(start, _estimate(key)))
        elif not valid:
            self.charge_forged(host, _since(start, _estimate(key)))
        return valid

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


Admit = Callable[[Any, Address, bytes, bytes, int], bool]
"""``admit(overlay, source_address, data, key_bin, start)``: whether to verify a packet that names this key as its own.

Its payloads start at ``start``. Only its layout has been checked so far.
"""


class Receiver(Protocol):
    """What has to be known of the receiver of signed packets, such as an overlay."""

    @property
    def network(self) -> Network:
        """The peers that it knows."""

    @property
    def crypto(self) -> Any:
        """What loads keys."""

    @property
    def signature_guard(self) -> SignatureGuard:
        """The budgets for signatures."""

    @property
    def signed_messages(self) -> frozenset[int]:
        """The ids of messages whose signatures may be verified in advance."""


def try_verify(overlay: Receiver, source_address: Address, data: bytes,
               admit: Admit | None = None, solicited: bool = False,
               ) -> tuple[PublicKey, int, int] | PacketDecodingError:
    """Verify the signature of a packet, whose author need not be at ``source_address``.

    :param admit: asked before the key is loaded and the signature verified.
    :param solicited: whether ``admit`` lets in answers only, to open requests whose numbers nobody else can guess.
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
    is_der = data.startswith(DER_START, KEY_OFFSET)
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
    host = _host_of(source_address)
    known = overlay.network.verified_by_public_key_bin.get(key_bin)
    familiar = solicited or (known is not None and source_address in known.addresses.values())
    proven = solicited or (familiar and known is not None and known.proven)
    guard = overlay.signature_guard
    if guard.burst.packets:
        verify_ahead(overlay, data[:MESSAGE_ID_OFFSET], guard.burst.take())
    if not familiar and not guard.admits(host):
        return RateLimitedError(host)
    key = known.public_key if known is not None else guard.load(overlay.crypto.key_from_network, key_bin, host, proven)
    if isinstance(key, PacketDecodingError):
        return key
    end = len(data) - key.get_signature_length()
    if end < body:
        return UndecodableError(f"{len(data)} bytes are too few for a packet signed with {key.curve_name()}")
    valid = _verify(guard, key, data, end, host, proven)
    if not valid:
        return (RateLimitedError(host) if valid is None
                else BadSignatureError("the signature does not belong to the packet"))
    if known is None and isinstance(overlay.crypto, ECCrypto):
        overlay.crypto.remember_public_key(key, key_bin)
    return key, body, end


def _host_of(source_address: Any) -> str:
    host = source_address[0] if source_address and isinstance(source_address, tuple) else NOBODY
    return host if isinstance(host, str) else NOBODY


def _verify(guard: SignatureGuard, key: PublicKey, data: bytes, end: int, host: str, proven: bool) -> bool | None:
    """Whether the signature that starts at ``end`` is good; ``None`` if no time may be spent on that now."""
    verdict = guard.verdicts.pop(data, None) if guard.verdicts else None
    if verdict is None:
        return guard.verify(key, data[end:], data[:end], host, proven)
    if not verdict:
        guard.charge_forged(host, _estimate(key))
    return verdict


def recognise(overlay: Overlay[Any], key: PublicKey, source_address: Address, key_bin: bytes) -> Peer:
    """The peer that a packet comes from which ``key``, of the bytes ``key_bin``, signed.

    A verified peer is the object that the network holds. If the packet comes from an address that the peer has not
    confirmed yet, or through a connection to or from a hidden service, it is another object with the same key and that
    address only.
    """
    known = overlay.network.verified_by_public_key_bin.get(key_bin)
    if known is None:
        return Peer(key, source_address)
    if not isinstance(source_address, tuple):  # from a program that calls handlers itself
        return known
    if source_address.__class__ is HiddenAddress:
        # The answer must go the same way, and not to the place where the owner of the key is met otherwise.
        return Peer(known.public_key, source_address)
    addresses = known.addresses
    if addresses.get(source_address.__class__) == source_address:
        known.heard_now()
        return known
    if not known.proven or known.address_frozen or not addresses or is_met_at(known, source_address):
        known.heard_now()
        known.add_address(source_address)
        return known
    overlay.on_unconfirmed_address(known, source_address)
    stranger = Peer(known.public_key, source_address)
    stranger.new_style_intro = known.new_style_intro
    return stranger


def is_met_at(peer: Peer, address: Address) -> bool:
    """Whether ``address`` is one that messages of a peer came from. One in a local network is only what it says."""
    return any(known == address for kind, known in peer.addresses.items() if kind is not UDPv4LANAddress)


def where_proven(network: Network, peer: Peer) -> Peer | None:
    """A peer with the addresses at which it is known, for an answer that is larger than the request; or ``None``.

    What came through a connection to or from a hidden service is answered there, and nowhere else.

    :param peer: the sender of the request.
    """
    if type(peer.address) is HiddenAddress:
        return peer
    return network.get_verified_by_public_key_bin(peer.key_bin)


def _verify_all(jobs: Sequence[tuple[bytes, PublicKey]]) -> list[tuple[bytes, bool]]:
    """Verify packets one after another."""
    verdicts = []
    for data, key in jobs:
        end = len(data) - key.get_signature_length()
        verdicts.append((data, key.verify(data[end:], data[:end])))
    return verdicts


def verify_ahead(overlay: Receiver, prefix: bytes, packets: Sequence[tuple[Address, bytes]]) -> None:
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
