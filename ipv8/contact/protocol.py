"""A community's side of introductions and punctures: the eight messages of every community.

See doc/protocol/discovery.md sections 3 to 6.

What to do is decided by the parts in :class:`ipv8.contact.parts.Contact`, which know neither sockets nor overlays.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from .. import clock
from ..lazy_community import lazy_wrapper, lazy_wrapper_unsigned_wd, receive_from
from ..messaging.address import RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address, has_network_address
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
from .host import other_interface
from .introductions import (
    NOWHERE,
    Decision,
    addresses_to_try,
    ipv4_or_none,
    is_sendable,
    told_addresses,
)
from .nat import PUNCTURE_DELAYS, PeerPath, is_open, puncture_target
from .parts import Contact, IntroductionObserver
from .relaying import RelayProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..peer import Peer

__all__ = ["DEFAULT_MAX_PEERS", "CommunitySettings", "IntroductionObserver", "IntroductionProtocol"]

DEFAULT_MAX_PEERS = 30

IntroductionRequest = IntroductionRequestPayload | NewIntroductionRequestPayload
IntroductionResponse = IntroductionResponsePayload | NewIntroductionResponsePayload
PunctureRequest = PunctureRequestPayload | NewPunctureRequestPayload


class CommunitySettings(Settings):
    """What a community is built from; subclasses add annotated attributes with defaults."""

    max_peers: int = DEFAULT_MAX_PEERS
    anonymize: bool = False
    #: Whether packets of peers that cannot reach each other are carried, for others and for this overlay.
    relay: bool = True
    #: Whether the ways to the peers are kept open, and peers that are gone are noticed, without the overlay's doing.
    keep_alive: bool = True


class IntroductionProtocol(RelayProtocol[CommunitySettings]):
    """Makes and handles introduction requests and responses, puncture requests and punctures.

    Who is admitted as a peer: see :class:`ipv8.contact.introductions.Introductions`. The address of a proven peer moves
    only when the peer answers from the new one.
    """

    settings_class: ClassVar[type[Any]] = CommunitySettings
    _prefix: bytes

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.max_peers = settings.max_peers

    @cached_property
    def _contact_parts(self) -> Contact:
        return Contact(self)

    @Computed
    def contact(self) -> Contact:
        """What this overlay remembers of how it meets its peers."""
        return self._contact_parts

    @Computed
    def introduction_observers(self) -> MutableMapping[IntroductionObserver, None]:
        """The observers of introduction responses, in the order in which they are told; references to them are weak."""
        return self._contact_parts.observers

    @Computed
    def mapping(self) -> str:
        """How our IPv4 address is translated, as far as several peers have told: a value of ``AddressMapping``."""
        return self._contact_parts.nat.mapping(self.my_estimated_lan, clock.monotonic())

    @Computed
    def nat_type(self) -> str:
        """The connection type that requests tell: "unknown", "public" or "symmetric-NAT".

        See doc/protocol/discovery.md section 3.1.
        """
        return self._contact_parts.nat.connection_type(self.my_estimated_lan, clock.monotonic())

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

    # Our own addresses

    def guess_address(self, interface: str) -> Address | None:
        """Our address on an interface, ``"UDPIPv4"`` or ``"UDPIPv6"``, as far as this machine can tell."""
        if interface == "UDPIPv4":
            lan = self._get_lan_address()
            return UDPv4Address(*lan[:2]) if not self._is_ipv6_address(lan[0]) else None
        if interface == "UDPIPv6":
            own = self.get_ipv6_address()
            return UDPv6Address(*own[:2]) if self._is_ipv6_address(own[0]) else None
        return None

    def my_preferred_address(self) -> Address:
        """Our address on the best interface: IPv6 before IPv4."""
        interfaces = self.endpoint.interfaces
        if not interfaces:
            return self.my_estimated_wan
        for address_class, interface in FAST_ADDR_TO_INTERFACE.items():
            if interface in interfaces and address_class not in self.my_peer.addresses:
                guess = self.guess_address(interface)
                if guess is not None:
                    self.my_peer.address = guess
        return self.my_peer.address

    # Making messages

    def _pack_timed(self, payload: Payload, global_time: int, prefix: bytes | None = None, sig: bool = True) -> bytes:
        """A packet of the base protocol: author if signed, global time and one payload."""
        timed = (GlobalTimeDistributionPayload(global_time), payload)
        if sig:
            author = BinMemberAuthenticationPayload(self.my_peer.public_key.key_to_bin())
            return self._ez_pack(prefix or self._prefix, payload.msg_id, (author, *timed))
        return self._ez_pack(prefix or self._prefix, payload.msg_id, timed, sig=False)

    def create_introduction_request(self, socket_address: Address, extra_bytes: bytes = b"", new_style: bool = False,
                                    prefix: bytes | None = None) -> bytes:
        """A signed request to the node at ``socket_address``; its answer is expected from now on.

        See doc/protocol/discovery.md section 4.2.

        :param extra_bytes: data of the application.
        :param new_style: whether the receiver is known to understand messages 231 to 234.
        :param prefix: the prefix of another overlay than this one.
        """
        now = clock.monotonic()
        contact = self._contact_parts
        global_time = self.claim_global_time() % 65536
        identifier = contact.introductions.ask(socket_address, now)
        payload: Payload
        if new_style or ":" in socket_address[0]:
            payload = NewIntroductionRequestPayload(socket_address, self.my_estimated_lan, self.my_preferred_address(),
                                                    identifier, 0, 0, 0, 0, 0, 0, 0, 0, extra_bytes)
        else:
            own = self.my_estimated_lan
            payload = IntroductionRequestPayload(socket_address, ipv4_or_none(own), ipv4_or_none(self.my_estimated_wan),
                                                 True, contact.nat.connection_type(own, now), identifier, extra_bytes,
                                                 supports_new_style=new_style)
        return self._pack_timed(payload, global_time, prefix)

    def create_introduction_response(self, lan_socket_address: Address, socket_address: Address, identifier: int,
                                     introduction: Peer | None = None, extra_bytes: bytes = b"",
                                     prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """A signed answer that introduces a peer, who is asked to puncture (doc/protocol/discovery.md section 4.3).

        :param lan_socket_address: the LAN address of the requester that the introduced peer is told, unless both have
            the same public address: then the introduced peer is told the true LAN address, which it needs.
        :param socket_address: where the requester is reached.
        :param introduction: the peer to introduce; by default one of this overlay.
        """
        new_style = new_style or ":" in socket_address[0]  # the old style has no room for it
        global_time = self.claim_global_time() % 65536
        other = self.network.get_verified_by_address(socket_address)
        if introduction is None and has_network_address(socket_address):
            introduction = self.get_peer_for_introduction(exclude=other, new_style=new_style)
        lan, wan = (NOWHERE, NOWHERE) if introduction is None else told_addresses(
            introduction, self.my_estimated_wan, self.address_is_lan)
        introduced_new_style = introduction is not None and introduction.new_style_intro
        payload: Payload
        if new_style:
            payload = NewIntroductionResponsePayload(
                socket_address, self.my_estimated_lan, self.my_preferred_address(), lan, wan, identifier,
                int(introduced_new_style), 0, 0, 0, 0, 0, 0, 0, extra_bytes)
        else:
            payload = IntroductionResponsePayload(
                socket_address, ipv4_or_none(self.my_estimated_lan), ipv4_or_none(self.my_estimated_wan),
                ipv4_or_none(lan), ipv4_or_none(wan), "unknown", identifier, extra_bytes, supports_new_style=True,
                intro_supports_new_style=introduced_new_style,
                peer_limit_reached=self._contact_parts.introductions.has_enough())
        if introduction is not None:
            if other is not None and introduction.address[0] == socket_address[0]:
                lan_socket_address = UDPv4Address(*other.addresses.get(UDPv4LANAddress, lan_socket_address))
            request = self.create_puncture_request(lan_socket_address, socket_address, identifier, prefix=prefix,
                                                   new_style=new_style)
            self.endpoint.send(introduction.address, request)
        return self._pack_timed(payload, global_time, prefix)

    def create_puncture_request(self, lan_walker: Address, wan_walker: Address, identifier: int,
                                prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """An unsigned request to open the way for a node that is about to walk.

        See doc/protocol/discovery.md section 4.4.
        """
        old_style = not new_style and isinstance(lan_walker, UDPv4Address) and isinstance(wan_walker, UDPv4Address)
        payload_class = PunctureRequestPayload if old_style else NewPunctureRequestPayload
        payload = payload_class(lan_walker, wan_walker, identifier)
        return self._pack_timed(payload, self.claim_global_time(), prefix, sig=False)

    def create_puncture(self, lan_walker: Address, wan_walker: Address, identifier: int,
                        new_style: bool = False) -> bytes:
        """A signed packet whose only purpose is to pass our own NAT (doc/protocol/discovery.md section 4.5)."""
        payload = (NewPuncturePayload(lan_walker, wan_walker, identifier) if new_style else
                   PuncturePayload(ipv4_or_none(lan_walker), ipv4_or_none(wan_walker), identifier))
        return self._pack_timed(payload, self.claim_global_time())

    def get_peer_for_introduction(self, exclude: Peer | None = None, new_style: bool = False) -> Peer | None:
        """A random peer to introduce, if possible one that has proved to be where it seems to be."""
        return self._contact_parts.introductions.choose_introduction(exclude, new_style)

    # Handling introduction requests

    def introduction_request_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: IntroductionRequest) -> None:
        """Do more with an introduction request, which was answered; for subclasses."""

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
        """Admit the peer and introduce another one to it (doc/protocol/discovery.md section 5.1)."""
        now = clock.monotonic()
        decision, victim = self._contact_parts.introductions.admit(peer, now)
        if decision is not Decision.ADMIT:
            self._turn_away(peer, decision, now)
            return
        known = self.network.get_verified_by_public_key_bin(peer.key_bin)
        if known is None and not self._admit_newcomer(peer.address, now):
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        if victim is not None:
            self.network.remove_peer(victim)
        if known is None or known is peer:
            if isinstance(payload.source_lan_address, UDPv4Address):
                peer.address = UDPv4LANAddress(*payload.source_lan_address)
            self.network.add_verified_peer(peer)
            self.network.discover_services(peer, [self.community_id])
        packet = self.create_introduction_response(payload.destination_address, peer.address, payload.identifier,
                                                   new_style=peer.new_style_intro)
        self.endpoint.send(peer.address, packet)
        self.introduction_request_callback(peer, dist, payload)

    def _turn_away(self, peer: Peer, decision: Decision, now: float) -> None:
        """Do not answer an introduction request of ``peer``."""
        if decision is Decision.OVER_BUDGET:
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        self.logger.debug("There is no room for %s", peer)
        if decision is Decision.CONFIRM:
            self._ask_to_confirm(peer, peer.address, now)

    def _admit_newcomer(self, address: Address, now: float) -> bool:
        """Note how a peer that was unknown came to us; whether another one may come that way."""
        if not has_network_address(address):
            return self._has_room_for_relayed(address)
        contact = self._contact_parts
        if self.endpoint.mapped_address is not None and not contact.introductions.waits_for(address, now):
            contact.nat.note_path(address, PeerPath.MAPPED)
        return True

    def on_unconfirmed_address(self, peer: Peer, source_address: Address) -> None:
        """Ask ``peer`` whether it is at ``source_address``; it moves when it answers from there."""
        self._ask_to_confirm(peer, source_address, clock.monotonic())

    def _ask_to_confirm(self, peer: Peer, address: Address, now: float) -> None:
        """Send an introduction request to an address at which ``peer`` may be, unless one is on its way."""
        if self._contact_parts.introductions.may_confirm(address, now):
            self.endpoint.send(address, self.create_introduction_request(address, new_style=peer.new_style_intro))

    # Handling introduction responses

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                       payload: IntroductionResponse) -> None:
        """Do more with an introduction response; for subclasses."""

    @receive_from(GlobalTimeDistributionPayload, IntroductionResponsePayload)
    def on_old_introduction_response(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                                     payload: IntroductionResponsePayload) -> None:
        """Message 245, which says whether its sender understands the new style."""
        self._accept_introduction_response(source_address, peer, dist, payload, payload.supports_new_style)

    @receive_from(GlobalTimeDistributionPayload, NewIntroductionResponsePayload)
    def on_new_introduction_response(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                                     payload: NewIntroductionResponsePayload) -> None:
        """Message 233."""
        self._accept_introduction_response(source_address, peer, dist, payload, True)

    def _accept_introduction_response(self, source_address: Address, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: IntroductionResponse, new_style: bool) -> None:
        """Accept a response to a request of ours, from where that was sent to, and nothing else."""
        contact = self._contact_parts
        now = clock.monotonic()
        known = self.network.get_verified_by_public_key_bin(peer.key_bin) or peer
        asked = contact.introductions.settle(payload.identifier, source_address, known, now)
        if asked is None:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        known.add_address(source_address)
        known.heard_now()
        if has_network_address(source_address):
            known.addresses.pop(RelayedAddress, None)
            known.path = contact.nat.path_to(source_address, self.address_in_lan_subnets(source_address[0]))
        elif known.address == source_address:
            known.path = PeerPath.RELAYED
            self._relay_state.meetings.note(asked, known)
        if new_style:
            known.new_style_intro = True
        if not known.proven:
            self.network.mark_proven(known)
            victim = contact.introductions.give_place(known)
            if victim is not None:
                self.network.remove_peer(victim)
        self.on_introduction_response(known, dist, payload)

    def on_introduction_response(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                 payload: IntroductionResponse) -> None:
        """Learn about our own address and about the introduced peer (doc/protocol/discovery.md section 5.2)."""
        contact = self._contact_parts
        now = clock.monotonic()
        is_lan = self.address_in_lan_subnets(payload.destination_address[0])
        own = contact.nat.learn_own_address(peer, payload.destination_address, is_lan, now)
        if own is not None:
            self.my_peer.address = own
            if isinstance(own, UDPv4Address) and not is_lan:
                self.my_estimated_wan = own
        if peer.new_style_intro and has_network_address(peer.address):
            self._learn_other_interface(peer, payload)
        self.network.add_verified_peer(peer)
        self.network.discover_services(peer, [self.community_id])
        targets = addresses_to_try(payload.lan_introduction_address, payload.wan_introduction_address,
                                   self.my_estimated_lan, self.my_estimated_wan)
        if any(self._relay_state.meetings.is_with_peer(address, self.network.verified_peers) for address in targets):
            targets = []
        for address in targets:
            self.network.discover_address(peer, address, self.community_id, bool(payload.intro_supports_new_style))
        if targets:
            contact.nat.expect_puncture(payload.identifier, targets, now)
        self.introduction_response_callback(peer, dist, payload)
        for observer in tuple(contact.observers):
            observer.on_introduction(peer, targets)

    def _learn_other_interface(self, peer: Peer, payload: IntroductionResponse) -> None:
        """Prepare contact on the other address family that ``peer`` says it has.

        See doc/protocol/discovery.md section 6.5.
        """
        theirs = payload.source_wan_address
        interface = other_interface(self.endpoint, peer.address, theirs)
        if interface is None:
            return
        self.network.discover_address(peer, theirs, self.community_id, True)
        mine = self.my_peer.addresses.get(type(theirs)) or self.guess_address(interface)
        if mine is not None:
            packet = self.create_puncture_request(NOWHERE, mine, payload.identifier, new_style=True)
            self.endpoint.send(peer.address, packet)

    # Handling punctures and requests for them

    @lazy_wrapper(GlobalTimeDistributionPayload, PuncturePayload)
    def on_puncture(self, peer: Peer, dist: GlobalTimeDistributionPayload, payload: PuncturePayload) -> None:
        """Message 249."""
        self._follow_puncture(peer.address, payload.identifier)

    @lazy_wrapper(GlobalTimeDistributionPayload, NewPuncturePayload)
    def on_new_puncture(self, peer: Peer, dist: GlobalTimeDistributionPayload, payload: NewPuncturePayload) -> None:
        """Message 231."""
        self._follow_puncture(peer.address, payload.identifier)

    def _follow_puncture(self, source: Address, identifier: int) -> None:
        """Walk to an introduced peer whose puncture shows that its NAT gives it another port for us than for others."""
        contact = self._contact_parts
        is_elsewhere = contact.nat.learn_from_puncture(identifier, source, clock.monotonic())
        if (is_elsewhere and not contact.introductions.has_enough()
                and self.network.get_verified_by_address(source) is None):
            contact.nat.note_path(source, PeerPath.OBSERVED)
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
        walker, now = payload.wan_walker_address, clock.monotonic()
        if is_open(self.network.get_verified_by_address(walker), now):
            return False
        target = puncture_target(payload.lan_walker_address, walker, self.my_estimated_wan)
        allowed = (is_sendable(target, self.my_estimated_lan, source_address)
                   and self._pay_puncture(source_address, target, size, now))
        if not allowed:
            self.drops.count(DropCounter.RATE_LIMITED)
        return allowed

    def is_acquainted(self, address: Address) -> bool:
        """Whether a peer or a bootstrap server is at ``address``: punctures are sent at their request.

        Subclasses may know other nodes.
        """
        return self.network.get_verified_by_address(address) is not None or address in self.network.blacklist

    def _pay_puncture(self, source_address: Address, target: Address, size: int, now: float) -> bool:
        """Whether the budget has another puncture, after ``size`` more bytes came from its source."""
        acquainted = self.is_acquainted(source_address)
        return self._contact_parts.nat.punctures.allow(source_address, target, acquainted, size, now)

    def on_puncture_request(self, source_address: Address, dist: GlobalTimeDistributionPayload,
                            payload: PunctureRequest, new_style: bool = False) -> None:
        """Send a puncture, and, if a NAT may need it, the same again a little later.

        See doc/protocol/discovery.md section 5.4.
        """
        packet = self.create_puncture(self.my_estimated_lan, payload.wan_walker_address, payload.identifier,
                                      new_style=new_style)
        target = puncture_target(payload.lan_walker_address, payload.wan_walker_address, self.my_estimated_wan)
        self.endpoint.send(target, packet)
        if self.my_estimated_lan != self.my_estimated_wan:
            for delay in PUNCTURE_DELAYS:
                self.register_anonymous_task("puncture", self._repeat_puncture, source_address, target, packet,
                                             delay=delay)

    def _repeat_puncture(self, source_address: Address, target: Address, packet: bytes) -> None:
        """Send a puncture once more, unless the walker has come through, or the budget is spent."""
        if self.network.get_verified_by_address(target) is None and self._pay_puncture(
                source_address, target, 0, clock.monotonic()):
            self.endpoint.send(target, packet)
