"""Introductions and punctures: the eight messages that every community speaks (spec 05 sections 3 to 6)."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

from .. import clock
from ..lazy_community import lazy_wrapper, lazy_wrapper_unsigned_wd, receive_from
from ..limits import TokenBuckets
from ..messaging.address import RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ..messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
    NewPuncturePayload,
    NewPunctureRequestPayload,
    PuncturePayload,
    PunctureRequestPayload,
)
from ..messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ..overlay import Settings
from ..util import Computed
from .carriage import is_overlay_host
from .introductions import (
    NOWHERE,
    IntroductionLedger,
    OwnAddressVotes,
    PendingIntroductions,
    PunctureBudget,
    ipv4_or_none,
    is_sendable,
    is_somewhere,
    sample_peers,
)
from .nat import PUNCTURE_DELAYS, AddressMapping, Detours, ExpectedPunctures, MappingDetector, PeerPath
from .relaying import RelayProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..peer import Peer

__all__ = ["DEFAULT_MAX_PEERS", "CommunitySettings", "IntroductionObserver", "IntroductionProtocol"]

DEFAULT_MAX_PEERS = 30

UNPROVEN_GRACE = 5.0
"""Seconds in which a peer that was only heard of once keeps its place, however many others want it."""

RESPONSES_PER_SECOND, RESPONSES_AT_ONCE = 20.0, 100.0
"""Introduction responses to the peers of one IP address that have not proved to be there."""

CONFIRMATIONS_PER_SECOND, CONFIRMATIONS_AT_ONCE = 2.0, 10.0
"""Introduction requests of our own, by IP address, to find out whether somebody is there."""

OPEN_FOR = 15.0
"""Seconds since the last packet from somewhere in which the way to there is surely open and needs no puncture."""


CONNECTION_TYPES = {AddressMapping.NONE: "public", AddressMapping.ENDPOINT_DEPENDENT: "symmetric-NAT"}

IntroductionRequest = IntroductionRequestPayload | NewIntroductionRequestPayload
IntroductionResponse = IntroductionResponsePayload | NewIntroductionResponsePayload
PunctureRequest = PunctureRequestPayload | NewPunctureRequestPayload


class CommunitySettings(Settings):
    """What a community is built from; subclasses add annotated attributes with defaults."""

    max_peers: int = DEFAULT_MAX_PEERS
    anonymize: bool = False
    #: Whether packets of peers that cannot reach each other are carried, for others and for this overlay.
    relay: bool = True


class IntroductionState:
    """All that an overlay remembers of introductions, its own and those of others."""

    __slots__ = ("confirmations", "detours", "expected_punctures", "ledger", "mapping", "own_address_votes", "pending",
                 "punctures", "responses")

    def __init__(self) -> None:
        self.pending = PendingIntroductions()
        self.own_address_votes = OwnAddressVotes()
        self.responses = TokenBuckets(RESPONSES_PER_SECOND, RESPONSES_AT_ONCE)
        self.confirmations = TokenBuckets(CONFIRMATIONS_PER_SECOND, CONFIRMATIONS_AT_ONCE)
        self.punctures = PunctureBudget()
        self.ledger = IntroductionLedger()
        self.expected_punctures = ExpectedPunctures()
        self.mapping = MappingDetector()
        self.detours = Detours()


class IntroductionObserver(Protocol):
    """Somebody who wants to know when a request was answered."""

    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Called after ``peer`` answered and introduced the one peer with these addresses, if it has any."""


class IntroductionProtocol(RelayProtocol[CommunitySettings]):
    """Making and handling introduction requests and responses, puncture requests and punctures.

    Peers are admitted in two tiers. Who sends a signed introduction request is a peer at once. A peer that answers a
    request of ours is *proven*: there is somebody at that address. When there are more than ``max_peers``, the place
    of somebody who is not proven goes to somebody who is; and the address of a proven peer moves only when the peer
    answers from the new one.
    """

    settings_class: ClassVar[type[Any]] = CommunitySettings
    _prefix: bytes

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.max_peers = settings.max_peers
        #: Whoever is told of introduction responses, in this order, as long as somebody else holds it.
        self.introduction_observers: MutableMapping[IntroductionObserver, None] = WeakKeyDictionary()

    @cached_property
    def _introductions(self) -> IntroductionState:
        return IntroductionState()

    def introduction_handlers(self) -> dict[type[Payload], Callable[[Address, bytes], Any]]:
        """The handlers of the eight messages."""
        return {
            IntroductionRequestPayload: self.on_old_introduction_request,
            IntroductionResponsePayload: self.on_old_introduction_response,
            PunctureRequestPayload: self.on_old_puncture_request,
            PuncturePayload: self.on_puncture,
            NewIntroductionRequestPayload: self.on_new_introduction_request,
            NewIntroductionResponsePayload: self.on_new_introduction_response,
            NewPunctureRequestPayload: self.on_new_puncture_request,
            NewPuncturePayload: self.on_new_puncture,
        }

    @abstractmethod
    def walk_to(self, address: Address) -> None:
        """Send an introduction request to ``address``."""

    def _detect_mapping(self) -> str:
        return self._introductions.mapping.mapping(self.my_estimated_lan)

    def _detect_nat_type(self) -> str:
        return CONNECTION_TYPES.get(self._detect_mapping(), "unknown")

    #: How our IPv4 address is translated, as far as several peers have told: a value of :class:`AddressMapping`.
    mapping = Computed(_detect_mapping)

    #: The connection type that requests tell: "unknown", "public" or "symmetric-NAT" (spec 05 section 3.1).
    nat_type = Computed(_detect_nat_type)

    @abstractmethod
    def my_preferred_address(self) -> Address:
        """Our address on the best interface."""

    @abstractmethod
    def guess_address(self, interface: str) -> Address | None:
        """Our address on an interface, as far as this machine can tell."""

    def get_peer_for_introduction(self, exclude: Peer | None = None, new_style: bool = False) -> Peer | None:
        """A random peer to introduce, if possible one that has proved to be where it seems to be."""
        available = [peer for peer in sample_peers(self.get_peers())
                     if peer != exclude and (new_style or isinstance(peer.address, UDPv4Address))
                     and not isinstance(peer.address, RelayedAddress)]
        proven = [peer for peer in available if peer.proven]
        return self._introductions.ledger.choose(proven or available, exclude) if available else None

    def _pack_timed(self, payload: Payload, global_time: int, prefix: bytes | None = None, sig: bool = True) -> bytes:
        """A packet of the base protocol: author if signed, global time and one payload."""
        timed = (GlobalTimeDistributionPayload(global_time), payload)
        if sig:
            author = BinMemberAuthenticationPayload(self.my_peer.public_key.key_to_bin())
            return self._ez_pack(prefix or self._prefix, payload.msg_id, (author, *timed))
        return self._ez_pack(prefix or self._prefix, payload.msg_id, timed, sig=False)

    def create_introduction_request(self, socket_address: Address, extra_bytes: bytes = b"", new_style: bool = False,
                                    prefix: bytes | None = None) -> bytes:
        """A signed request to whoever is at ``socket_address``, whose answer will be expected (spec 05 section 4.1).

        :param extra_bytes: data of the application.
        :param new_style: whether the receiver is known to understand messages 231 to 234.
        :param prefix: the prefix of another overlay than this one.
        """
        global_time = self.claim_global_time() % 65536
        identifier = self._introductions.pending.new(socket_address)
        payload: Payload
        if new_style or ":" in socket_address[0]:
            payload = NewIntroductionRequestPayload(socket_address, self.my_estimated_lan, self.my_preferred_address(),
                                                    identifier, 0, 0, 0, 0, 0, 0, 0, 0, extra_bytes)
        else:
            payload = IntroductionRequestPayload(socket_address, ipv4_or_none(self.my_estimated_lan),
                                                 ipv4_or_none(self.my_estimated_wan), True, self._detect_nat_type(),
                                                 identifier, extra_bytes, supports_new_style=new_style)
        return self._pack_timed(payload, global_time, prefix)

    def create_introduction_response(self, lan_socket_address: Address, socket_address: Address, identifier: int,
                                     introduction: Peer | None = None, extra_bytes: bytes = b"",
                                     prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """A signed answer that introduces a peer, who is asked to puncture (spec 05 section 4.2).

        :param lan_socket_address: what the introduced peer is told as the LAN address of the one who asked, unless both
            have the same public address: then the introduced one needs, and is told, the true one.
        :param socket_address: where the one who asked is reached.
        :param introduction: whom to introduce; by default a peer of this overlay.
        """
        new_style = new_style or ":" in socket_address[0]  # the old style has no room for it
        global_time = self.claim_global_time() % 65536
        other = self.network.get_verified_by_address(socket_address)
        if introduction is None and not isinstance(socket_address, RelayedAddress):
            introduction = self.get_peer_for_introduction(exclude=other, new_style=new_style)
        lan, wan = (NOWHERE, NOWHERE) if introduction is None else self._introduced_addresses(introduction)
        introduced_new_style = introduction is not None and introduction.new_style_intro
        payload: Payload
        if new_style:
            payload = NewIntroductionResponsePayload(
                socket_address, self.my_estimated_lan, self.my_preferred_address(), lan, wan, identifier,
                int(introduced_new_style), 0, 0, 0, 0, 0, 0, 0, extra_bytes)
        else:
            full = 0 <= self.max_peers <= len(self.get_peers())
            payload = IntroductionResponsePayload(
                socket_address, ipv4_or_none(self.my_estimated_lan), ipv4_or_none(self.my_estimated_wan),
                ipv4_or_none(lan), ipv4_or_none(wan), "unknown", identifier, extra_bytes, supports_new_style=True,
                intro_supports_new_style=introduced_new_style, peer_limit_reached=full)
        if introduction is not None:
            if other is not None and introduction.address[0] == socket_address[0]:
                lan_socket_address = UDPv4Address(*other.addresses.get(UDPv4LANAddress, lan_socket_address))
            request = self.create_puncture_request(lan_socket_address, socket_address, identifier, prefix=prefix,
                                                   new_style=new_style)
            self.endpoint.send(introduction.address, request)
        return self._pack_timed(payload, global_time, prefix)

    def _introduced_addresses(self, introduction: Peer) -> tuple[Address, Address]:
        """The LAN and the WAN address under which others are told of a peer."""
        address, own_host = introduction.address, self.my_estimated_wan[0]
        if isinstance(address, UDPv4Address) and self.address_is_lan(address[0]) and ":" not in own_host:
            return address, UDPv4Address(own_host, address[1])
        return introduction.addresses.get(UDPv4LANAddress, NOWHERE), address

    def create_puncture_request(self, lan_walker: Address, wan_walker: Address, identifier: int,
                                prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """An unsigned request to open the way for somebody who is about to walk (spec 05 section 4.3)."""
        old_style = not new_style and isinstance(lan_walker, UDPv4Address) and isinstance(wan_walker, UDPv4Address)
        payload_class = PunctureRequestPayload if old_style else NewPunctureRequestPayload
        payload = payload_class(lan_walker, wan_walker, identifier)
        return self._pack_timed(payload, self.claim_global_time(), prefix, sig=False)

    def create_puncture(self, lan_walker: Address, wan_walker: Address, identifier: int,
                        new_style: bool = False) -> bytes:
        """A signed packet whose only purpose is to pass our own NAT (spec 05 section 4.4)."""
        payload = (NewPuncturePayload(lan_walker, wan_walker, identifier) if new_style else
                   PuncturePayload(ipv4_or_none(lan_walker), ipv4_or_none(wan_walker), identifier))
        return self._pack_timed(payload, self.claim_global_time())

    def introduction_request_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: IntroductionRequest) -> None:
        """Do more with an introduction request, which was answered; for subclasses."""

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                       payload: IntroductionResponse) -> None:
        """Do more with an introduction response; for subclasses."""

    @lazy_wrapper(GlobalTimeDistributionPayload, IntroductionRequestPayload)
    def on_old_introduction_request(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                    payload: IntroductionRequestPayload) -> None:
        """Message 246, which says whether its sender understands the new style."""
        if payload.supports_new_style:
            peer.new_style_intro = True
        self.on_introduction_request(peer, dist, payload)

    @lazy_wrapper(GlobalTimeDistributionPayload, NewIntroductionRequestPayload)
    def on_new_introduction_request(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                    payload: NewIntroductionRequestPayload) -> None:
        """Message 234."""
        peer.new_style_intro = True
        self.on_introduction_request(peer, dist, payload)

    def on_introduction_request(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                payload: IntroductionRequest) -> None:
        """Admit the peer and introduce another one to it (spec 05 section 5.1).

        Who is a peer already is answered even if there is no room for others.
        """
        known = self.network.get_verified_by_public_key_bin(peer.key_bin)
        is_member = known is not None and self.community_id in self.network.get_services_for_peer(known)
        if not is_member and 0 <= self.max_peers < len(self.get_peers()) and not self._make_room(peer):
            self.logger.debug("There is no room for %s", peer)
            return
        if (known is None or not known.proven) and not self._introductions.responses.take(peer.address[0]):
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        if known is None and not self._admit_newcomer(peer.address):
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        if known is None or known is peer:
            if isinstance(payload.source_lan_address, UDPv4Address):
                peer.address = UDPv4LANAddress(*payload.source_lan_address)
            self.network.add_verified_peer(peer)
            self.network.discover_services(peer, [self.community_id])
        packet = self.create_introduction_response(payload.destination_address, peer.address, payload.identifier,
                                                   new_style=peer.new_style_intro)
        self.endpoint.send(peer.address, packet)
        self.introduction_request_callback(peer, dist, payload)

    def _admit_newcomer(self, address: Address) -> bool:
        """Note how somebody who was unknown came to us; whether there may be another one who came that way."""
        if isinstance(address, RelayedAddress):
            return self._has_room_for_relayed(address)
        if self.endpoint.mapped_address is not None and not self._introductions.pending.waits_for(address):
            self._introductions.detours.note(address, PeerPath.MAPPED)
        return True

    def _make_room(self, peer: Peer) -> bool:
        """Give the place of an unproven peer to ``peer``, if that one is proven; if not, find out whether it is."""
        victim = self.network.unproven_peer_to_drop(self.community_id, UNPROVEN_GRACE)
        if victim is None or victim == peer:
            return False
        if not peer.proven:
            self._ask_to_confirm(peer, peer.address)
            return False
        self.network.remove_peer(victim)
        return True

    def on_unconfirmed_address(self, peer: Peer, source_address: Address) -> None:
        """Ask ``peer`` whether it is at ``source_address``; it moves when it answers from there."""
        self._ask_to_confirm(peer, source_address)

    def _ask_to_confirm(self, peer: Peer, address: Address) -> None:
        """Send an introduction request to an address at which ``peer`` may be, unless one is on its way."""
        if self._introductions.confirmations.take(address[0]) and not self._introductions.pending.waits_for(address):
            self.endpoint.send(address, self.create_introduction_request(address, new_style=peer.new_style_intro))

    @receive_from(GlobalTimeDistributionPayload, IntroductionResponsePayload)
    def on_old_introduction_response(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                                     payload: IntroductionResponsePayload) -> None:
        """Message 245, which says whether its sender understands the new style."""
        self._accept_introduction_response(source_address, peer, dist, payload)

    @receive_from(GlobalTimeDistributionPayload, NewIntroductionResponsePayload)
    def on_new_introduction_response(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                                     payload: NewIntroductionResponsePayload) -> None:
        """Message 233."""
        self._accept_introduction_response(source_address, peer, dist, payload)

    def _accept_introduction_response(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: IntroductionResponse) -> None:
        """Accept a response to a request of ours, from where that was sent to, and nothing else."""
        known = self.network.get_verified_by_public_key_bin(peer.key_bin) or peer
        asked = self._introductions.pending.asked(payload.identifier)
        if not self._introductions.pending.take(payload.identifier, source_address, known):
            self.drops.count(DropCounter.UNSOLICITED)
            return
        known.add_address(source_address)
        known.last_response = clock.time()
        if not isinstance(source_address, RelayedAddress):
            known.addresses.pop(RelayedAddress, None)
            in_lan = self.address_in_lan_subnets(source_address[0])
            known.path = self._introductions.detours.path(source_address, in_lan)
        elif known.address == source_address:
            known.path = PeerPath.RELAYED
            self._relay_state.meetings.note(asked, known)
        if isinstance(payload, NewIntroductionResponsePayload) or payload.supports_new_style:
            known.new_style_intro = True
        if not known.proven:
            self.network.mark_proven(known)
            if 0 <= self.max_peers < len(self.get_peers()) and known not in self.network.verified_peers:
                self._make_room(known)
        self.on_introduction_response(known, dist, payload)

    def on_introduction_response(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                 payload: IntroductionResponse) -> None:
        """Learn about our own address and about the introduced peer (spec 05 section 5.4)."""
        self._learn_own_address(peer, payload.destination_address)
        if peer.new_style_intro and not isinstance(peer.address, RelayedAddress):
            self._learn_other_interface(peer, payload)
        self.network.add_verified_peer(peer)
        self.network.discover_services(peer, [self.community_id])
        targets = self._walk_targets(payload)
        if any(self._relay_state.meetings.is_with_peer(address, self.network.verified_peers) for address in targets):
            targets = []
        for address in targets:
            self.network.discover_address(peer, address, self.community_id, bool(payload.intro_supports_new_style))
        if targets:
            self._introductions.expected_punctures.note(payload.identifier, targets)
        self.introduction_response_callback(peer, dist, payload)
        for observer in tuple(self.introduction_observers):
            observer.on_introduction(peer, targets)

    def _learn_own_address(self, witness: Peer, destination: Address) -> None:
        """Learn where ``witness`` sees us; who reaches us through others sees no address of ours."""
        if is_overlay_host(destination[0]) or not is_somewhere(destination):
            return
        if isinstance(destination, UDPv4Address) and not self.address_in_lan_subnets(destination[0]):
            self._introductions.mapping.observe(witness.address, destination)
            destination = self._introductions.own_address_votes.vote(witness.address, destination)
            self.my_estimated_wan = destination
        self.my_peer.address = destination

    def _learn_other_interface(self, peer: Peer, payload: IntroductionResponse) -> None:
        """Prepare contact on the other address family that ``peer`` says it has (spec 05 section 6.5)."""
        theirs = payload.source_wan_address
        family = theirs.__class__
        interface = FAST_ADDR_TO_INTERFACE.get(family)
        if (family is peer.address.__class__ or theirs == peer.address or interface is None
                or interface not in (getattr(self.endpoint, "interfaces", None) or ())):
            return
        self.network.discover_address(peer, theirs, self.community_id, True)
        mine = self.my_peer.addresses.get(family) or self.guess_address(interface)
        if mine is not None:
            packet = self.create_puncture_request(NOWHERE, mine, payload.identifier, new_style=True)
            self.endpoint.send(peer.address, packet)

    def _walk_targets(self, payload: IntroductionResponse) -> list[Address]:
        """The addresses under which an introduced peer is to be tried, in order (spec 05 section 5.4, step 5)."""
        lan, wan = payload.lan_introduction_address, payload.wan_introduction_address
        if wan == NOWHERE:
            return []
        if wan[0] != self.my_estimated_wan[0] or isinstance(wan, UDPv6Address):
            return [wan] if lan == NOWHERE else [lan, wan]
        if lan != NOWHERE:
            return [lan]
        if ":" in self.my_estimated_lan[0]:
            return [wan]
        return [wan, UDPv4Address(self.my_estimated_lan[0], wan[1])]

    @lazy_wrapper(GlobalTimeDistributionPayload, PuncturePayload)
    def on_puncture(self, peer: Peer, dist: GlobalTimeDistributionPayload, payload: PuncturePayload) -> None:
        """Message 249."""
        self._follow_puncture(peer, payload)

    @lazy_wrapper(GlobalTimeDistributionPayload, NewPuncturePayload)
    def on_new_puncture(self, peer: Peer, dist: GlobalTimeDistributionPayload, payload: NewPuncturePayload) -> None:
        """Message 231."""
        self._follow_puncture(peer, payload)

    def _follow_puncture(self, peer: Peer, payload: PuncturePayload | NewPuncturePayload) -> None:
        """Walk to where an introduced peer turns out to be, if its NAT gives it another port for us than for others."""
        source = peer.address
        if (self._introductions.expected_punctures.reveals(payload.identifier, source)
                and not 0 <= self.max_peers <= len(self.get_peers())
                and self.network.get_verified_by_address(source) is None):
            self._introductions.detours.note(source, PeerPath.OBSERVED)
            self.walk_to(source)

    @lazy_wrapper_unsigned_wd(GlobalTimeDistributionPayload, PunctureRequestPayload)
    def on_old_puncture_request(self, source_address: Address, dist: GlobalTimeDistributionPayload,
                                payload: PunctureRequestPayload, data: bytes) -> None:
        """Message 250."""
        if self._may_puncture(source_address, payload, len(data)):
            self.on_puncture_request(source_address, dist, payload)

    @lazy_wrapper_unsigned_wd(GlobalTimeDistributionPayload, NewPunctureRequestPayload)
    def on_new_puncture_request(self, source_address: Address, dist: GlobalTimeDistributionPayload,
                                payload: NewPunctureRequestPayload, data: bytes) -> None:
        """Message 232."""
        if self._may_puncture(source_address, payload, len(data)):
            self.on_puncture_request(source_address, dist, payload, new_style=True)

    def _may_puncture(self, source_address: Address, payload: PunctureRequest, size: int) -> bool:
        """Whether to send a packet to a third party because of an unsigned request of ``size`` bytes."""
        target = self._puncture_target(payload)
        if self._is_open(payload.wan_walker_address):
            return False
        allowed = is_sendable(target, self.my_estimated_lan, source_address) and self._pay_puncture(
            source_address, target, size)
        if not allowed:
            self.drops.count(DropCounter.RATE_LIMITED)
        return allowed

    def is_acquainted(self, address: Address) -> bool:
        """Whether somebody at ``address`` is known, and may have punctures sent: a peer or a bootstrap server.

        Subclasses may know others.
        """
        return self.network.get_verified_by_address(address) is not None or address in self.network.blacklist

    def _pay_puncture(self, source_address: Address, target: Address, size: int) -> bool:
        """Whether the budget has another puncture, after ``size`` more bytes came from its source."""
        acquainted = self.is_acquainted(source_address)
        return self._introductions.punctures.allow(source_address[0], target, acquainted, size)

    def _is_open(self, address: Address) -> bool:
        """Whether somebody who is known to be at ``address`` has just sent something from there."""
        peer = self.network.get_verified_by_address(address)
        return peer is not None and peer.proven and clock.time() < peer.last_response + OPEN_FOR

    def _puncture_target(self, payload: PunctureRequest) -> Address:
        """Where a puncture goes: to the LAN address of somebody behind our own NAT, else to the WAN address."""
        same_nat = payload.wan_walker_address[0] == self.my_estimated_wan[0]
        return payload.lan_walker_address if same_nat else payload.wan_walker_address

    def on_puncture_request(self, source_address: Address, dist: GlobalTimeDistributionPayload,
                            payload: PunctureRequest, new_style: bool = False) -> None:
        """Send a puncture (spec 05 section 5.2), and, if a NAT may need it, the same again a little later."""
        packet = self.create_puncture(self.my_estimated_lan, payload.wan_walker_address, payload.identifier,
                                      new_style=new_style)
        target = self._puncture_target(payload)
        self.endpoint.send(target, packet)
        if self.my_estimated_lan != self.my_estimated_wan:
            for delay in PUNCTURE_DELAYS:
                self.register_anonymous_task("puncture", self._repeat_puncture, source_address, target, packet,
                                             delay=delay)

    def _repeat_puncture(self, source_address: Address, target: Address, packet: bytes) -> None:
        """Send a puncture once more, unless the walker has come through, or the budget is spent."""
        if self.network.get_verified_by_address(target) is None and self._pay_puncture(source_address, target, 0):
            self.endpoint.send(target, packet)
