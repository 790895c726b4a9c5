"""A community's side of introductions and punctures: how the eight messages of every community are handled.

See doc/protocol/discovery.md sections 5 and 6.

What to do is decided by the parts in :class:`ipv8.contact.parts.Contact`, which know neither sockets nor overlays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from ..messaging.payload_headers import GlobalTimeDistributionPayload
from ..reputation import INTRODUCTION
from .host import other_interface
from .introductions import NOWHERE, Decision, addresses_to_try, response_size, walk_order, wants_new_style
from .messages import DEFAULT_MAX_PEERS, CommunitySettings, IntroductionMessages
from .nat import PUNCTURE_DELAYS, PeerPath, is_open, puncture_target
from .parts import IntroductionObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..peer import Peer
    from ..reputation import ContributionReporter

__all__ = ["DEFAULT_MAX_PEERS", "CommunitySettings", "IntroductionObserver", "IntroductionProtocol"]

IntroductionRequest = IntroductionRequestPayload | NewIntroductionRequestPayload
IntroductionResponse = IntroductionResponsePayload | NewIntroductionResponsePayload
PunctureRequest = PunctureRequestPayload | NewPunctureRequestPayload


class IntroductionProtocol(IntroductionMessages):
    """Handles introduction requests and responses, puncture requests and punctures.

    Who is admitted as a peer: see :class:`ipv8.contact.introductions.Introductions`. The address of a proven peer moves
    only when the peer answers from the new one.
    """

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
        self._story.tell("%s asks for an introduction, by request %d", peer, payload.identifier)
        if peer.address in self.network.blacklist:
            self._contact_parts.nat.trackers.note_request(peer.address, peer.key_bin, payload.destination_address,
                                                          self.my_estimated_wan, now)
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
            if not has_network_address(peer.address):
                self._contact_parts.relaying.note_peer(peer)
        if payload.supports_sessions and self._overlay_sessions is not None:
            self._overlay_sessions.note_capable(peer, now)
        packet = self.create_introduction_response(payload.destination_address, peer.address, payload.identifier,
                                                   new_style=wants_new_style(payload))
        self.endpoint.send(peer.address, packet)
        self.introduction_request_callback(peer, dist, payload)

    def _turn_away(self, peer: Peer, decision: Decision, now: float) -> None:
        """Do not answer an introduction request of ``peer``."""
        if decision is Decision.OVER_BUDGET:
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        self._story.tell("There is no room for %s", peer)
        if decision is Decision.CONFIRM:
            self._ask_to_confirm(peer, peer.address, now)

    def _admit_newcomer(self, address: Address, now: float) -> bool:
        """Note how a peer that was unknown came to us; whether another one may come that way."""
        if not has_network_address(address):
            return self._contact_parts.relaying.has_room(address, now)
        contact = self._contact_parts
        if self.endpoint.mapped_address is not None and not contact.introductions.waits_for(address, now):
            contact.nat.note_path(address, PeerPath.MAPPED)
        return True

    def on_unconfirmed_address(self, peer: Peer, source_address: Address) -> None:
        """Ask ``peer`` whether it is at ``source_address``; it moves when it answers from there."""
        self._ask_to_confirm(peer, source_address, clock.monotonic())

    def _ask_to_confirm(self, peer: Peer, address: Address, now: float) -> None:
        """Send an introduction request to an address at which ``peer`` may be, unless one is on its way."""
        is_somewhere = not has_network_address(address) or self._is_target(address, address)
        if is_somewhere and self._contact_parts.introductions.may_confirm(address, now):
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
        if known.session is None or type(known.session.address) is not type(source_address):
            known.add_address(source_address)  # with a session, the address is that of the session
        known.heard_now()
        if payload.supports_sessions and self._overlay_sessions is not None:
            self._overlay_sessions.note_capable(known, now)
        if source_address in self.network.blacklist:
            contact.nat.trackers.note_answer(source_address, known.key_bin, now)
        if has_network_address(source_address):
            known.addresses.pop(RelayedAddress, None)
            known.path = contact.nat.path_to(source_address, self.address_in_lan_subnets(source_address[0]))
        elif known.address == source_address:
            known.path = PeerPath.RELAYED
            contact.relaying.note_answer(asked, known, now)
        if new_style:
            known.new_style_intro = True
        if not known.proven:
            if known.session is None and has_network_address(source_address):
                self._forget_unproven_addresses(known, source_address)
            self._story.tell("Met %s, asked at %s:%d; path: %s; carrier: %s", known, *asked, known.path,
                             contact.relaying.carrier_to(known.address, now) or "none")
            self.network.mark_proven(known)
            if self.contribution_reporter is not None:
                self._report_introducer(self.contribution_reporter, asked, known)
            victim = contact.introductions.give_place(known)
            if victim is not None:
                self.network.remove_peer(victim)
        self.on_introduction_response(known, dist, payload)

    @staticmethod
    def _forget_unproven_addresses(peer: Peer, proven: Address) -> None:
        """Leave a peer the address that it has just proved, and not those whose packets may have been forged before."""
        for kind in (UDPv4Address, UDPv6Address):
            if peer.addresses.get(kind, proven) != proven:
                del peer.addresses[kind]

    def _report_introducer(self, reporter: ContributionReporter, address: Address, met: Peer) -> None:
        """Report the peer that introduced the one which answered from ``address`` for the first time."""
        introducer = self.network.get_introducer(address)
        if (introducer is not None and introducer not in {met.key_bin, self.my_peer.key_bin}
                and self.network.get_verified_by_public_key_bin(introducer) is not None):
            reporter.contributed(introducer, INTRODUCTION)

    def on_introduction_response(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                 payload: IntroductionResponse) -> None:
        """Learn about our own address and about the introduced peer (doc/protocol/discovery.md section 5.2)."""
        contact = self._contact_parts
        now = clock.monotonic()
        is_lan = self.address_in_lan_subnets(payload.destination_address[0])
        # An anonymous overlay is told the address of the exit of its circuit.
        own = None if self.anonymize else contact.nat.learn_own_address(peer, payload.destination_address, is_lan, now)
        if own is not None:
            self.my_peer.address = own
            if isinstance(own, UDPv4Address) and not is_lan:
                self.my_estimated_wan = own
        if contact.introductions.may_join(peer):
            self.network.add_verified_peer(peer)
            self.network.discover_services(peer, [self.community_id])
        other = self._other_address(peer, payload)
        targets = self._introduced_addresses(peer, payload, now)
        contact.targets.introduce([*targets, *other], response_size(peer, payload), now)
        for address in other:
            self._ask_for_other_interface(peer, address, payload.identifier)
        for address in targets:
            self.network.discover_address(peer, address, self.community_id, bool(payload.intro_supports_new_style))
        if targets:
            contact.nat.expect_puncture(payload.identifier, targets, now)
        self._story.tell("%s answered request %d and introduced %s", peer, payload.identifier, targets or "nobody")
        try:
            self.introduction_response_callback(peer, dist, payload)
        finally:  # what programs do in it is not what walkers depend on
            promising = walk_order(targets, payload.lan_introduction_address, self.my_estimated_lan)
            for observer in tuple(contact.observers):
                self._tell_of_introduction(observer, peer, promising)

    def _tell_of_introduction(self, observer: IntroductionObserver, peer: Peer, addresses: list[Address]) -> None:
        try:
            observer.on_introduction(peer, addresses)
        except Exception:  # the others are told nevertheless
            self.logger.exception("%r failed", observer)

    def _introduced_addresses(self, peer: Peer, payload: IntroductionResponse, now: float) -> list[Address]:
        """The addresses at which the peer that a response of ``peer`` introduces can be tried."""
        named = addresses_to_try(payload.lan_introduction_address, payload.wan_introduction_address,
                                 self.my_estimated_lan, self.my_estimated_wan)
        targets = [address for address in named if self._is_target(address, peer.address)]
        if len(targets) < len(named):
            self.drops.count(DropCounter.BAD_TARGET)
            self._story.tell("%s introduced %s: no packet may go there", peer,
                             [address for address in named if address not in targets])
        return [] if any(self._contact_parts.relaying.is_met(address, now) for address in targets) else targets

    def _other_address(self, peer: Peer, payload: IntroductionResponse) -> list[Address]:
        """The address of the other family that ``peer`` says it has, if that is of use; nothing else in the list."""
        theirs = payload.source_wan_address
        if (peer.new_style_intro and has_network_address(peer.address)
                and other_interface(self.endpoint, peer.address, theirs) is not None
                and self._is_target(theirs, peer.address)):
            return [theirs]
        return []

    def _ask_for_other_interface(self, peer: Peer, theirs: Address, identifier: int) -> None:
        """Prepare contact on the other address family that ``peer`` says it has.

        See doc/protocol/discovery.md section 6.5.
        """
        self.network.discover_address(peer, theirs, self.community_id, True)
        mine = self.my_peer.addresses.get(type(theirs)) or self.guess_address(FAST_ADDR_TO_INTERFACE[type(theirs)])
        if mine is not None and not self.anonymize:
            packet = self.create_puncture_request(NOWHERE, mine, identifier, new_style=True)
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
        contact, now = self._contact_parts, clock.monotonic()
        self._story.tell("A puncture for request %d came from %s:%d", identifier, *source)
        told = contact.nat.learn_from_puncture(identifier, source, now)
        if (told is not None and self._is_target(source, told) and not contact.introductions.has_enough()
                and self.network.get_verified_by_address(source) is None):
            contact.nat.note_path(source, PeerPath.OBSERVED)
            contact.targets.share(told, [source], now)
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
        if not self._is_target(target, source_address):
            self.drops.count(DropCounter.BAD_TARGET)
            return False
        allowed = self._pay_puncture(source_address, target, size, now)
        if not allowed:
            self.drops.count(DropCounter.RATE_LIMITED)
        return allowed

    def is_acquainted(self, address: Address) -> bool:
        """Whether a peer, or a bootstrap server that answered not long ago, is at ``address``.

        Punctures are sent at their request. Subclasses may know other nodes.
        """
        return (self.network.get_verified_by_address(address) is not None
                or self._contact_parts.nat.trackers.is_in_contact(address, clock.monotonic()))

    def _pay_puncture(self, source_address: Address, target: Address, size: int, now: float) -> bool:
        """Whether the budget has another puncture, after ``size`` more bytes came from its source."""
        acquainted = self.is_acquainted(source_address)
        return self._contact_parts.nat.punctures.allow(source_address, target, acquainted, size, now)

    def on_puncture_request(self, source_address: Address, dist: GlobalTimeDistributionPayload,
                            payload: PunctureRequest, new_style: bool = False) -> None:
        """Send a puncture, and, if a NAT may need it, the same again a little later.

        See doc/protocol/discovery.md section 5.4.
        """
        packet = self.create_puncture(NOWHERE if self.anonymize else self.my_estimated_lan, payload.wan_walker_address,
                                      payload.identifier, new_style=new_style)
        target = puncture_target(payload.lan_walker_address, payload.wan_walker_address, self.my_estimated_wan)
        self._story.tell("Sending a puncture to %s:%d, for request %d, as %s:%d asks", *target, payload.identifier,
                         *source_address)
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
