"""The overlay that users subclass: message table, introductions and punctures (spec 04 section 4, spec 05)."""

from __future__ import annotations

import logging
from asyncio import ensure_future, iscoroutine
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from . import entropy
from .contact.introductions import sample_peers
from .contact.nat import AddressMapping, PeerPath, predicted_addresses
from .contact.protocol import DEFAULT_MAX_PEERS, CommunitySettings, IntroductionProtocol
from .declaration import Message
from .lazy_community import Attempt, reception_of
from .limits import TokenBuckets
from .messaging.address import UDPv4Address, UDPv6Address
from .messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE
from .messaging.interfaces.network_stats import DropCounter
from .messaging.payload_relay import RelayPayload
from .messaging.readers import Refusal
from .reexports import reexports
from .verification import HEADER_SIZE, MESSAGE_ID_OFFSET

if TYPE_CHECKING:
    from .bootstrapping.bootstrapper_interface import Bootstrapper
    from .messaging.address import Address
    from .messaging.serialization import Payload
    from .peer import Peer

__all__ = ["DEFAULT_MAX_PEERS", "Community", "CommunitySettings"]

COMMUNITY_ID_SIZE = 20

BOOTSTRAP_TIMEOUT = 60.0
KEEP_ALIVE_CHANCE = 0.05
"""How often a new introduction is asked of a bootstrap server although there are peers to ask."""

UNPROVEN_CHANCE = 0.5
"""How often a new introduction is asked of a peer that has yet to answer: its answer proves that it is there."""

WARNINGS_PER_SECOND, WARNINGS_AT_ONCE = 0.1, 5.0

REMARKS = 100
"""How many refusals for one reason a debug log tells of; after that it is every one in so many."""

DEPRECATED_MESSAGES = {
    255: "reserved-255", 254: "on-missing-sequence", 253: "missing-proof", 252: "signature-request",
    251: "signature-response", 248: "on-identity", 247: "on-missing-identity", 244: "destroy-community",
    243: "authorize", 242: "revoke", 241: "subjective-set", 240: "missing-subjective-set", 239: "on-missing-message",
    238: "undo-own", 237: "undo-other", 236: "dynamic-settings", 235: "missing-last-message",
}

Handler = Callable[[Any, bytes], Any]

_NO_ATTEMPT: tuple[None, Any] = (None, None)


class Community(IntroductionProtocol):
    """An overlay of all peers that use the same 20-byte ``community_id``.

    Subclasses define ``community_id`` and handle messages, either declared with :func:`ipv8.declaration.message` or
    registered with :meth:`add_message_handler`.

    :raises RuntimeError: if there is no ``community_id``, or it is not ``bytes``.
    """

    version = b"\x02"
    community_id: bytes

    #: By message id, a handler of ``decode_map`` and what does the same, but returns refusals. Never changed in place.
    _message_attempts: MappingProxyType[int, tuple[Handler, Attempt]] = MappingProxyType({})

    def __init__(self, settings: CommunitySettings) -> None:
        community_id = getattr(self, "community_id", None)
        if community_id is None:
            msg = f"{type(self).__name__} needs a community_id: define 20 bytes as a class attribute"
            raise RuntimeError(msg)
        if not isinstance(community_id, bytes):
            msg = f"the community_id of {type(self).__name__} must be 20 bytes, not {type(community_id).__name__}"
            raise RuntimeError(msg)  # noqa: TRY004 - the specified class of error
        if len(community_id) != COMMUNITY_ID_SIZE:
            msg = (f"the community_id of {type(self).__name__} must have {COMMUNITY_ID_SIZE} bytes, "
                   f"not {len(community_id)}")
            raise RuntimeError(msg)
        settings.community_id = community_id
        super().__init__(settings)

        self._prefix = b"\x00" + self.version + community_id
        self.endpoint.remove_listener(self)
        self.endpoint.add_prefix_listener(self, self._prefix)
        self.anonymize = settings.anonymize
        if self.anonymize:
            self._set_anonymity()
        self.network.register_service_provider(community_id, self)
        self.network.blacklist_mids.append(self.my_peer.mid)
        self.bootstrappers: list[Bootstrapper] = []

        self.decode_map: list[Handler | None] = [None] * 256
        self.deprecated_message_names = dict(DEPRECATED_MESSAGES)
        self._register_handlers()

    @cached_property
    def _warning_budget(self) -> TokenBuckets:
        return TokenBuckets(WARNINGS_PER_SECOND, WARNINGS_AT_ONCE)

    def _may_warn(self, kind: str) -> bool:
        """Whether another line of this kind may be logged; cheap where none may, as in a flood."""
        return self._warning_budget.holds(kind) and self._warning_budget.take(kind)

    def _set_anonymity(self) -> None:
        """Ask the endpoint to send the packets of this overlay through tunnels."""
        set_anonymity = getattr(self.endpoint, "set_anonymity", None)
        if set_anonymity is None:
            self.logger.warning("%s asks for anonymity, but its endpoint has no tunnels: it is not anonymous",
                                type(self).__name__)
        else:
            set_anonymity(self._prefix, True)

    def _register_handlers(self) -> None:
        """Fill the message table."""
        for payload_class, handler in self.introduction_handlers().items():
            self.add_message_handler(payload_class, handler)
        if self.relay:
            self.add_message_handler(RelayPayload, self.on_relay)
        for msg_id in DEPRECATED_MESSAGES:
            self.add_message_handler(msg_id, self.on_deprecated_message)
        declarations = {name for base in type(self).__mro__ for name, value in vars(base).items()
                        if isinstance(value, Message)}
        for name in sorted(declarations):
            declared = getattr(type(self), name)
            if not isinstance(declared, Message):
                msg = f"{type(self).__name__}.{name} replaces a declared message: decorate it with @message as well"
                raise TypeError(msg)
            self.add_message_handler(declared.msg_id, declared.receiver().__get__(self))

    def get_prefix(self) -> bytes:
        """The 22 bytes that every packet of this overlay starts with."""
        return self._prefix

    async def unload(self) -> None:
        """Unload the bootstrappers, stop listening and end all tasks."""
        try:
            with ExitStack() as unloading:  # each of them, whatever the others raise
                while self.bootstrappers:
                    unloading.callback(self.bootstrappers.pop().unload)
        finally:
            await super().unload()

    def add_message_handler(self, msg_num: int | type[Payload], callback: Callable[..., Any]) -> None:
        """Call ``callback(source_address, data)`` with each packet of a message; it may return a coroutine.

        :param msg_num: the id of the message, 0 to 255, or a payload class with a ``msg_id``.
        :raises RuntimeError: if there is no such id, or somebody handles it already.
        """
        msg_id = msg_num if isinstance(msg_num, int) else getattr(msg_num, "msg_id", None)
        if msg_id is None:
            msg = f"{msg_num!r} has no msg_id: give it one, or register the number of the message"
            raise RuntimeError(msg)
        if not 0 <= msg_id < 256:
            msg = f"a message id is one byte, 0 to 255, which {msg_id} is not"
            raise RuntimeError(msg)
        current = self.decode_map[msg_id]
        if current == self.on_relay:
            self.relay = False  # an overlay that has a message of this number needs it more
        elif current:
            msg = f"message {msg_id} cannot be handled by {callback!r}: {current!r} does so already"
            raise RuntimeError(msg)
        self.decode_map[msg_id] = callback
        reception = reception_of(callback, self)
        if reception is not None:
            self._message_attempts = MappingProxyType(
                {**self._message_attempts, msg_id: (callback, reception.attempt)})
            if reception.signed:
                self.signed_messages |= {msg_id}

    def on_deprecated_message(self, source_address: Address, data: bytes) -> None:
        """Note a message that is not in use any more."""
        self.drops.count(DropCounter.UNKNOWN_ID)
        if self._may_warn("deprecated"):
            self.logger.warning("Received a message that is no longer in use, %s, from %s:%d",
                                self.deprecated_message_names[data[MESSAGE_ID_OFFSET]], *source_address)

    def on_packet(self, packet: tuple[Address, bytes], warn_unknown: bool = True) -> None:
        """Hand a datagram to the handler of its message; whatever is wrong with it is counted in ``drops``."""
        source_address, data = packet
        if not data.startswith(self._prefix):
            self.drops.count(DropCounter.SHORT if len(data) < HEADER_SIZE else DropCounter.UNKNOWN_PREFIX)
            return
        try:
            msg_id = data[MESSAGE_ID_OFFSET]
        except IndexError:
            self.drops.count(DropCounter.SHORT)
            return
        handler = self.decode_map[msg_id]
        if handler is None:
            self.drops.count(DropCounter.UNKNOWN_ID)
            if warn_unknown and self._may_warn("unknown"):
                self.logger.warning("Nothing handles message %d, sent by %s:%d", msg_id, *source_address)
            return
        registered, attempt = self._message_attempts.get(msg_id, _NO_ATTEMPT)
        try:
            result = attempt(self, source_address, data) if registered is handler else handler(source_address, data)
        except Refusal as e:
            result = e
        except Exception:
            self.logger.exception("Message %d, sent by %s, could not be handled", msg_id, source_address)
            return
        if result is None:
            return
        if isinstance(result, Refusal):
            drops, reason = self.drops, result.reason
            drops[reason] = count = drops[reason] + 1
            if (count <= REMARKS or count % REMARKS == 0) and self.logger.isEnabledFor(logging.DEBUG):
                self.logger.debug("Message %d, sent by %s, is refused: %s", msg_id, source_address, result)
        elif iscoroutine(result):
            self.register_anonymous_task("on_packet", ensure_future(self._await_handler(result)), ignore=(Exception,))

    async def _await_handler(self, running: Awaitable[Any]) -> None:
        """Wait for a handler, and count the packet if the handler refuses it."""
        try:
            await running
        except Refusal as e:
            self.drops.count(e.reason)

    # Bootstrapping and walking

    def bootstrap(self) -> None:
        """Start looking for first peers with every bootstrapper."""
        for bootstrapper in self.bootstrappers:
            self.register_anonymous_task(f"bootstrap {bootstrapper!r}", self._bootstrap, bootstrapper)

    async def _bootstrap(self, bootstrapper: Bootstrapper) -> None:
        """Walk to the addresses that one bootstrapper knows."""
        initialization = ensure_future(bootstrapper.initialize(self))
        try:
            addresses = list(await bootstrapper.get_addresses(self, BOOTSTRAP_TIMEOUT))
            for address in addresses[:self.max_peers] if self.max_peers > 0 else addresses:
                self.walk_to(address)
            await initialization
        finally:
            initialization.cancel()

    def ensure_blacklisted(self, address: Address) -> None:
        """See to it that nobody at ``address`` becomes a peer."""
        if address not in self.network.blacklist:
            self.network.blacklist.append(address)

    def walk_to(self, address: Address) -> None:
        """Send an introduction request to ``address``."""
        packet = self.create_introduction_request(address, new_style=self.network.is_new_style(address))
        self.endpoint.send(address, packet)

    def retry_walk(self, address: Address) -> None:
        """Walk again to an ``address`` that did not answer, and to where a NAT may have put its owner for us.

        Nothing is done without a NAT on our side: then the punctures of the other side show the way.
        """
        if self.my_estimated_lan != self.my_estimated_wan:
            self.walk_to(address)
            predictable = self._detect_mapping() != AddressMapping.ENDPOINT_DEPENDENT
            if predictable and not self.address_in_lan_subnets(address[0]):
                for predicted in predicted_addresses(address):
                    self._introductions.detours.note(predicted, PeerPath.PREDICTED)
                    self.walk_to(predicted)

    def on_walk_failed(self, address: Address) -> None:
        """Have a request carried to an ``address`` that did not answer, by the peer that introduced it."""
        introduction = self.network._all_addresses.get(address)
        introducer = None if introduction is None else self.network.get_verified_by_public_key_bin(
            introduction.introduced_by)
        if introducer is None or not introducer.proven or self.address_in_lan_subnets(address[0]):
            return
        way = self._way_by_relay(introducer, address)
        if way is not None:
            self._send_by_relay(way, self.create_introduction_request(way, new_style=True))

    def send_introduction_request(self, peer: Peer) -> None:
        """Ask ``peer`` for the address of another peer."""
        packet = self.create_introduction_request(peer.address, new_style=peer.new_style_intro)
        self.endpoint.send(peer.address, packet)

    def get_new_introduction(self, from_peer: Peer | None = None) -> None:
        """Ask ``from_peer``, or else any peer, or a bootstrap server, for the address of another peer."""
        if from_peer is not None:
            self.send_introduction_request(from_peer)
            return
        available = self.get_peers()
        if not available:
            self.bootstrap()
        elif entropy.random() < KEEP_ALIVE_CHANCE and any(b.initialized for b in self.bootstrappers):
            for bootstrapper in self.bootstrappers:
                bootstrapper.keep_alive(self)
        else:
            pending = self._introductions.pending
            unproven = [peer for peer in sample_peers(available)
                        if not (peer.proven or pending.waits_for(peer.address))]
            ask_unproven = unproven and entropy.random() < UNPROVEN_CHANCE
            self.send_introduction_request(entropy.choice(unproven if ask_unproven else available))

    def get_walkable_addresses(self) -> list[Address]:
        """Addresses that were introduced in this overlay and belong to none of its peers."""
        return self.network.get_walkable_addresses(self.community_id)

    def get_peers(self) -> list[Peer]:
        """The verified peers of this overlay."""
        return self.network.get_peers_for_service(self.community_id)

    # Addresses of our own

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
        interfaces = getattr(self.endpoint, "interfaces", None)
        if not interfaces:
            return self.my_estimated_wan
        for address_class, interface in FAST_ADDR_TO_INTERFACE.items():
            if interface in interfaces and address_class not in self.my_peer.addresses:
                guess = self.guess_address(interface)
                if guess is not None:
                    self.my_peer.address = guess
        return self.my_peer.address


if TYPE_CHECKING:  # programs import these from here
    from .lazy_community import (
        EZPackOverlay as EZPackOverlay,
        lazy_wrapper as lazy_wrapper,
        lazy_wrapper_unsigned as lazy_wrapper_unsigned,
    )
    from .messaging.address import Address as Address, UDPv4LANAddress as UDPv4LANAddress
    from .messaging.interfaces.dispatcher.endpoint import INTERFACES as INTERFACES
    from .messaging.payload import (
        IntroductionRequestPayload as IntroductionRequestPayload,
        IntroductionResponsePayload as IntroductionResponsePayload,
        NewIntroductionRequestPayload as NewIntroductionRequestPayload,
        NewIntroductionResponsePayload as NewIntroductionResponsePayload,
        NewPuncturePayload as NewPuncturePayload,
        NewPunctureRequestPayload as NewPunctureRequestPayload,
        PuncturePayload as PuncturePayload,
        PunctureRequestPayload as PunctureRequestPayload,
    )
    from .messaging.payload_headers import (
        BinMemberAuthenticationPayload as BinMemberAuthenticationPayload,
        GlobalTimeDistributionPayload as GlobalTimeDistributionPayload,
    )
    from .overlay import Settings as Settings
else:
    __getattr__, __dir__ = reexports(__name__, {
        ".lazy_community": "EZPackOverlay lazy_wrapper lazy_wrapper_unsigned",
        ".messaging.address": "Address UDPv4LANAddress",
        ".messaging.interfaces.dispatcher.endpoint": "INTERFACES",
        ".messaging.payload":
            "IntroductionRequestPayload IntroductionResponsePayload NewIntroductionRequestPayload "
            "NewIntroductionResponsePayload NewPuncturePayload NewPunctureRequestPayload PuncturePayload "
            "PunctureRequestPayload",
        ".messaging.payload_headers": "BinMemberAuthenticationPayload GlobalTimeDistributionPayload",
        ".overlay": "Settings",
    })
