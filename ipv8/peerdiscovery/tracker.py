"""A bootstrap server: introduces the peers of any overlay to one another and joins none.

See doc/protocol/trackers.md section 3.

A tracker is the first contact of a node. The node sends an introduction request with the prefix of its overlay, and the
response has the same prefix and the address of another peer that asked for that overlay before. The tracker remembers
who asked, by service (the id of the overlay), and asks from time to time whether they are still there.

Anyone may send packets to a tracker, so all it does and keeps is limited: see :class:`TrackerLimits`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from .. import clock, entropy
from ..community import Community, CommunitySettings
from ..contact.introductions import NOWHERE
from ..keyvault.crypto import default_eccrypto
from ..lazy_community import try_receive
from ..limits import BoundedDict, TokenBuckets
from ..message_table import MessageTable
from ..messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address
from ..messaging.inet import HOST_BITS, network_of
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
    NewPunctureRequestPayload,
    PunctureRequestPayload,
)
from ..messaging.payload_headers import GlobalTimeDistributionPayload
from ..messaging.readers import Refusal
from ..peer import Peer
from ..requestcache import NumberCacheWithName, RandomNumberCache
from ..verification import HEADER_SIZE, MESSAGE_ID_OFFSET, UndecodableError
from .churn import RandomChurn
from .network import Network, PeerObserver

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from ..messaging.address import Address
    from ..messaging.interfaces.endpoint import Endpoint
    from ..messaging.serialization import Payload
    from ..requestcache import RequestCache

__all__ = ["EndpointServer", "TrackerChurn", "TrackerLimits", "TrackerPing"]

PING_TIMEOUT = 5.0
"""Seconds in which a peer has to answer."""

CHURN_INTERVAL, CHURN_ROUNDS = 1.0, 10
"""Seconds between two checks of some of the peers, and the number of checks after which all were checked once."""

SAMPLE_SIZE = 8
"""The fewest peers that are checked each time."""

PROBES_PER_SECOND, PROBES_AT_ONCE = 500.0, 2000.0
"""Pings to all newcomers together, which show whether they are at the address that their request came from."""

UNPROVEN_GRACE = 10.0
"""Seconds for which a newcomer to a full service keeps its place, whether or not it answers."""

REST_SECONDS = 2.0
"""Seconds for which a peer is not introduced again if others can be: many requests may come at once."""

SEARCH_LENGTH = 64
"""Peers of a service that are considered to find one to introduce."""

BURST_SECONDS = 20
"""Seconds' worth of requests that may come at once."""


@dataclass(frozen=True)
class TrackerLimits:
    """How many packets a tracker answers, and how many peers it remembers.

    With the defaults, a hundred nodes with ten overlays each may start at the same moment behind one address. Programs
    on the same machine (loopback addresses) are not limited by address.
    """

    peers: int = 5000
    """Peers in all; the oldest is evicted first."""

    peers_per_service: int = 500
    """Peers of one service; one that did not answer is evicted first. If all did, a newcomer is not remembered."""

    services_per_peer: int = 40
    """Overlays of one peer; any one of them is evicted for a new one."""

    peers_per_address: int = 100
    """Peers behind one IPv4 address or in one IPv6 /64; others are answered and not remembered."""

    peers_per_subnet: int = 500
    """Peers in one IPv4 /24 or IPv6 /48; others are answered and not remembered."""

    requests_per_address: float = 50.0
    """Packets each second from one IPv4 address or IPv6 /64 that are handled, after a burst of 20 times as many."""

    requests_per_subnet: float = 250.0
    """Packets each second from one IPv4 /24 or IPv6 /48 that are handled, after a burst of 20 times as many."""


def _places_of(host: str) -> tuple[bytes, bytes]:
    """What counts as one address (an IPv4 address or IPv6 /64), and as one subnet (an IPv4 /24 or IPv6 /48)."""
    return network_of(host, *HOST_BITS), network_of(host)


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


class TrackerPing(NumberCacheWithName):
    """A request to a peer, with the prefix of one of its services, that shows whether it is still there.

    If it is not answered, the peer loses the service, and a peer without services is removed.

    :param address: where the peer is asked, by default at the address that it prefers.
    :param lenient: whether a peer that does not answer keeps the service.
    :param pending: a table of unanswered pings by address, from which this one is removed at its end.
    """

    name = "tracker-ping"
    timed_by_task = False

    def __init__(self, request_cache: RequestCache, identifier: int, network: Network, peer: Peer, service: bytes, *,
                 address: Address | None = None, lenient: bool = False,
                 pending: MutableMapping[Address, TrackerPing] | None = None) -> None:
        super().__init__(request_cache, self.name, identifier % 65536)
        self.network = network
        self.peer = peer
        self.service = service
        self.address = address or peer.address
        self.lenient = lenient
        self._asked_at = clock.monotonic()
        self._pending = {} if pending is None else pending

    @property
    def timeout_delay(self) -> float:
        """Seconds in which an answer counts."""
        return PING_TIMEOUT

    def on_timeout(self) -> None:
        """Conclude that the peer has left the service."""
        self._pending.pop(self.address, None)
        if not self.lenient:
            self.drop_service()

    def finish(self) -> None:
        """Note that the peer answered now: it is proven to be at the address at which it was asked."""
        self._pending.pop(self.address, None)
        self.peer.add_address(self.address)
        self.peer.heard_now()
        self.peer.pings.append(clock.monotonic() - self._asked_at)
        self.network.mark_proven(self.peer)

    def drop_service(self) -> None:
        """Take the service from the peer."""
        services = self.network.get_services_for_peer(self.peer)
        services.discard(self.service)
        if not services:
            self.network.remove_peer(self.peer)


class TrackerChurn(RandomChurn):
    """Churn that also keeps the number of peers at or below a maximum: the oldest are removed first."""

    def __init__(self, overlay: Any, sample_size: int = 8, ping_interval: float = 10.0, inactive_time: float = 27.5,
                 drop_time: float = 57.5, max_peers: int = 100) -> None:
        super().__init__(overlay, sample_size, ping_interval, inactive_time, drop_time)
        self.max_peers = max_peers

    def take_step(self) -> None:
        """Check some random peers, then remove the surplus."""
        super().take_step()
        network = self.overlay.network
        surplus = len(network.verified_peers) - self.max_peers
        if surplus > 0:
            for peer in sorted(network.verified_peers, key=lambda peer: peer.creation_time)[:surplus]:
                network.remove_peer(peer)


class _Occupancy(PeerObserver):
    """The number of peers at each address and in each subnet, and the peers that did not answer yet.

    ``unproven`` has the time since when each of these is known, by the monotonic clock, oldest first.
    """

    def __init__(self) -> None:
        self._places: dict[Peer, tuple[bytes, bytes]] = {}
        self.counts: Counter[bytes] = Counter()
        self.unproven: dict[Peer, float] = {}

    def on_peer_added(self, peer: Peer) -> None:
        """Count ``peer`` at its present address."""
        places = self._places[peer] = _places_of(peer.address[0])
        self.counts.update(places)
        self.unproven[peer] = clock.monotonic()

    def on_peer_removed(self, peer: Peer) -> None:
        """Do not count ``peer`` any more, at the address that it had when it was added."""
        self.unproven.pop(peer, None)
        for place in self._places.pop(peer):
            self.counts[place] -= 1
            if not self.counts[place]:
                del self.counts[place]


class EndpointServer(Community):
    """The tracker on an endpoint: IPv4 and IPv6, old style and new style introductions.

    ``counters`` has the number of times that each thing was done, ``drops`` why packets were not handled.

    :param endpoint: its packets are received, whatever overlay they belong to.
    :param limits: see :class:`TrackerLimits`.
    :param my_peer: the identity of the tracker, by default a new curve25519 key.
    """

    any_prefix = True
    relayable = False

    def __init__(self, endpoint: Endpoint, limits: TrackerLimits | None = None, my_peer: Peer | None = None) -> None:
        self.community_id = entropy.randbytes(20)
        self.limits = limits = limits or TrackerLimits()
        network = Network()
        network.reverse_service_cache_size = limits.peers
        super().__init__(CommunitySettings(
            my_peer=my_peer or Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint, network=network,
            max_peers=-1))

        self.counters: Counter[str] = Counter()
        self.churn = TrackerChurn(self, SAMPLE_SIZE, max_peers=limits.peers)
        #: By address; at most as many as there may be requests in the request cache.
        self._pending_pings: dict[Address, TrackerPing] = {}
        self._occupancy = _Occupancy()
        network.add_peer_observer(self._occupancy)
        self._by_address = TokenBuckets(limits.requests_per_address, BURST_SECONDS * limits.requests_per_address)
        self._by_subnet = TokenBuckets(limits.requests_per_subnet, BURST_SECONDS * limits.requests_per_subnet)
        #: When each peer was introduced, by the monotonic clock.
        self._introduced_at: BoundedDict[Peer, float] = BoundedDict(limits.peers)
        self._probes = TokenBuckets(PROBES_PER_SECOND, PROBES_AT_ONCE, 1)
        #: The messages of other overlays; those in ``decode_map`` are not used.
        self._served = MessageTable(self)
        for request_class in (IntroductionRequestPayload, NewIntroductionRequestPayload):
            self._served.add(request_class, self.on_generic_introduction_request)
        for response_class in (IntroductionResponsePayload, NewIntroductionResponsePayload):
            self._served.add(response_class, self.on_generic_introduction_response)
        self.register_task("tracker churn", self._take_churn_step, interval=CHURN_INTERVAL)

    # -- receiving ---------------------------------------------------------------------------------------------------

    def on_packet(self, packet: tuple[Address, bytes], warn_unknown: bool = False) -> None:
        """Handle introduction requests and responses of any overlay; everything else is counted and dropped."""
        source_address, data = packet
        served = self._served
        if (len(data) >= HEADER_SIZE and served.handlers[data[MESSAGE_ID_OFFSET]] is not None
                and not self._admits(source_address[0])):
            self.drops.count(DropCounter.RATE_LIMITED)
        else:
            served.receive(source_address, data, warn_unknown)

    def _admits(self, host: str) -> bool:
        """Whether another packet of ``host`` may be handled."""
        if _is_loopback(host):
            return True
        address, subnet = _places_of(host)
        return self._by_address.take(address) and self._by_subnet.take(subnet)

    def on_unconfirmed_address(self, peer: Peer, source_address: Address) -> None:
        """Do nothing: :meth:`on_generic_introduction_request` asks newcomers and peers that may have moved alike."""

    def on_generic_introduction_request(self, source_address: Address, data: bytes) -> Refusal | None:
        """Remember the sender and introduce another peer of the same overlay; return what is wrong with the packet."""
        new_style = data[MESSAGE_ID_OFFSET] == NewIntroductionRequestPayload.msg_id
        if not new_style and not isinstance(source_address, UDPv4Address):
            return UndecodableError("old style messages have no room for other than IPv4 addresses")
        payload_class = NewIntroductionRequestPayload if new_style else IntroductionRequestPayload
        received = try_receive(self, (GlobalTimeDistributionPayload, payload_class), source_address, data)
        if isinstance(received, Refusal):
            return received
        peer, _, payload = received
        peer.heard_now()
        if new_style or payload.supports_new_style:
            peer.new_style_intro = True
        prefix = data[:MESSAGE_ID_OFFSET]
        service = prefix[2:]
        self.counters["requests"] += 1
        self.on_peer_introduction_request(peer, source_address, service)

        known = self._remember(peer, service, payload.source_lan_address)
        introduction = self._find_introduction(service, peer, type(source_address))
        self._answer(source_address, payload, introduction, prefix, new_style)
        if (known is not None and not (known.proven and known is peer) and source_address not in self._pending_pings
                and self._probes.take()):
            # A newcomer, or a peer that may have moved: it is introduced at this address once it has answered there.
            self._ping(known, source_address, service, lenient=True)
        return None

    def on_peer_introduction_request(self, peer: Peer, source_address: Address, service_id: bytes) -> None:
        """Called with each valid request, before it is answered; for subclasses."""

    def on_generic_introduction_response(self, source_address: Address, data: bytes) -> Refusal | None:
        """Note that a peer answered a ping, which proves its address; return what is wrong with the packet."""
        if source_address not in self._pending_pings:
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        new_style = data[MESSAGE_ID_OFFSET] == NewIntroductionResponsePayload.msg_id
        payload_class = NewIntroductionResponsePayload if new_style else IntroductionResponsePayload
        received = try_receive(self, (GlobalTimeDistributionPayload, payload_class), source_address, data)
        if isinstance(received, Refusal):
            return received
        peer, _, payload = received
        ping = self.request_cache.get(TrackerPing, payload.identifier)
        if ping is None or ping.address != source_address or ping.peer != peer:
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        self.request_cache.pop(TrackerPing, payload.identifier)
        self.counters["pongs"] += 1
        self._occupancy.unproven.pop(ping.peer, None)
        ping.finish()
        if not new_style and payload.peer_limit_reached:
            ping.drop_service()
        return None

    # -- remembering -------------------------------------------------------------------------------------------------

    def _remember(self, peer: Peer, service: bytes, lan_address: Address) -> Peer | None:
        """Add ``peer`` to the known peers and to those of the service, if there is room.

        :returns: the known peer of this key, which is another object if it may have moved; ``None`` if there is none.
        """
        network = self.network
        known = network.get_verified_by_public_key_bin(peer.key_bin)
        services = network.services_per_peer.get(peer.key_bin, ()) if known is not None else ()
        if service not in services and not self._admit_to_service(known, peer, service):
            self.counters["unlisted"] += 1
            return known
        if (known is None or known is peer) and isinstance(lan_address, UDPv4Address) and lan_address != NOWHERE:
            peer.add_address(UDPv4LANAddress(*lan_address))
        if known is None:
            network.add_verified_peer(peer)
            known = peer
        if service not in services:
            network.discover_services(known, (service,))
        return known

    def _admit_to_service(self, known: Peer | None, peer: Peer, service: bytes) -> bool:
        """Whether ``peer`` can be remembered in another service; others may be evicted for that."""
        network, limits = self.network, self.limits
        if known is None:
            address, subnet = _places_of(peer.address[0])
            counts = self._occupancy.counts
            if (counts[address] >= limits.peers_per_address or counts[subnet] >= limits.peers_per_subnet) and not (
                    _is_loopback(peer.address[0])):
                return False
        if len(network.get_peers_for_service(service)) >= limits.peers_per_service:
            victim = network.unproven_peer_to_drop(service, UNPROVEN_GRACE)
            if victim is None:
                return False
            self._forget_service(victim, service)
        if known is None and len(network.verified_peers) >= limits.peers:
            network.remove_peer(next(iter(self._occupancy.unproven or network.verified_by_public_key_bin.values())))
            self.counters["evictions"] += 1
        elif known is not None and len(services := network.get_services_for_peer(known)) >= limits.services_per_peer:
            services.discard(next(iter(services)))
        return True

    def _forget_service(self, peer: Peer, service: bytes) -> None:
        self.counters["evictions"] += 1
        services = self.network.get_services_for_peer(peer)
        services.discard(service)
        if not services:
            self.network.remove_peer(peer)

    def services(self) -> dict[bytes, list[Peer]]:
        """The peers of each service."""
        services: dict[bytes, list[Peer]] = {}
        for key, peer in self.network.verified_by_public_key_bin.items():
            for service in self.network.services_per_peer.get(key, ()):
                services.setdefault(service, []).append(peer)
        return services

    # -- introducing -------------------------------------------------------------------------------------------------

    def get_peer_for_introduction(self, exclude: Peer | None = None, new_style: bool = False) -> None:  # noqa: ARG002 - as in the base
        """Nobody: a tracker has no overlay of its own."""
        return

    def _find_introduction(self, service: bytes, requester: Peer, family: type[Address]) -> Peer | None:
        """A random other peer of the service that ``requester`` can reach, if possible one whose address is proven.

        A peer that was introduced less than :data:`REST_SECONDS` ago is taken only if there is no other, because it has
        room for few. Newcomers that may still answer are preferred to it. The search starts at a random place and
        considers at most :data:`SEARCH_LENGTH` peers.
        """
        peers = self.network.get_peers_for_service(service)
        count = len(peers)
        if count < 2:
            return None if not peers or peers[0] == requester or family not in peers[0].addresses else peers[0]
        start = entropy.randint(0, count - 1)
        end = start + min(count, SEARCH_LENGTH)
        now = clock.monotonic()
        rest_began = now - REST_SECONDS
        fresh = now - PING_TIMEOUT
        introduced_at, known_since = self._introduced_at, self._occupancy.unproven
        best: Peer | None = None
        best_rank = -1
        for peer in (*peers[start:end], *peers[:max(0, end - count)]):
            proven = peer.proven
            rested = introduced_at.get(peer, rest_began) <= rest_began and (
                proven or known_since.get(peer, -inf) > fresh)
            rank = 2 * rested + proven
            if rank > best_rank and family in peer.addresses and peer != requester:
                best, best_rank = peer, rank
                if rank == 3:
                    break
        if best is not None and best_rank >= 2:
            introduced_at[best] = now
        return best

    def _answer(self, source_address: Address, request: Any, introduction: Peer | None, prefix: bytes,
                new_style: bool) -> None:
        """Send the address of the introduced peer to the requester, and ask that peer to puncture its NAT."""
        family = type(source_address)
        lan: Address = NOWHERE
        wan: Address = NOWHERE
        introduced_new_style = False
        if introduction is not None:
            wan = introduction.addresses[family]
            walker_lan: Address = NOWHERE
            if _is_loopback(source_address[0]):
                walker_lan = source_address
            elif wan[0] == source_address[0] and isinstance(request.source_lan_address, UDPv4Address):
                # Both are behind the same NAT: only then are inside addresses of use.
                lan = introduction.addresses.get(UDPv4LANAddress, NOWHERE)
                walker_lan = request.source_lan_address
            introduced_new_style = introduction.new_style_intro
            request_class = PunctureRequestPayload if family is UDPv4Address else NewPunctureRequestPayload
            self.endpoint.send(wan, self._pack_timed(request_class(walker_lan, source_address, request.identifier),
                                                     self.claim_global_time(), prefix, sig=False))
            self.counters["introductions"] += 1
        own = request.destination_address
        response: Payload
        if new_style:
            response = NewIntroductionResponsePayload(source_address, NOWHERE, own, lan, wan, request.identifier,
                                                      int(introduced_new_style), 0, 0, 0, 0, 0, 0, 0, b"")
        else:
            response = IntroductionResponsePayload(source_address, NOWHERE, own, lan, wan, "unknown",
                                                   request.identifier, b"", supports_new_style=True,
                                                   intro_supports_new_style=introduced_new_style)
        self.endpoint.send(source_address, self._pack_timed(response, self.claim_global_time() % 65536, prefix))

    # -- liveness ----------------------------------------------------------------------------------------------------

    def _take_churn_step(self) -> None:
        self.churn.sample_size = max(SAMPLE_SIZE, len(self.network.verified_peers) // CHURN_ROUNDS + 1)
        self.churn.take_step()

    def send_ping(self, peer: Peer) -> None:
        """Ask ``peer``, with the prefix of one of its services, whether it is still there."""
        services = tuple(self.network.get_services_for_peer(peer))
        if not services:
            self.network.remove_peer(peer)
        elif peer.address not in self._pending_pings:
            self._ping(peer, peer.address, entropy.choice(services))

    def _ping(self, peer: Peer, address: Address, service: bytes, lenient: bool = False) -> None:
        identifier = RandomNumberCache.find_unclaimed_identifier(self.request_cache, TrackerPing.name)
        ping = self.request_cache.add(TrackerPing(self.request_cache, identifier, self.network, peer, service,
                                                  address=address, lenient=lenient, pending=self._pending_pings))
        if ping is None:
            return
        self._pending_pings[address] = ping
        payload: Payload
        if isinstance(address, UDPv6Address):
            payload = NewIntroductionRequestPayload(address, NOWHERE, NOWHERE, identifier, 0, 0, 0, 0, 0, 0, 0, 0, b"")
        else:
            # Responses in the old style say when a peer has no room for others.
            payload = IntroductionRequestPayload(address, NOWHERE, NOWHERE, True, "unknown", identifier, b"",
                                                 supports_new_style=False)
        prefix = b"\x00" + self.version + service
        self.endpoint.send(address, self._pack_timed(payload, self.claim_global_time() % 65536, prefix))
        self.counters["pings"] += 1
