"""The overlay that users subclass: message table, introductions and punctures.

See doc/overlay_tutorial.md and doc/protocol/discovery.md.
"""

from __future__ import annotations

from asyncio import ensure_future
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar

from . import clock, entropy
from .anonymous_overlay import AnonymousOverlay
from .contact.host import socket_address
from .contact.keeper import PeerKeeper
from .contact.nat import PeerPath
from .contact.protocol import DEFAULT_MAX_PEERS, CommunitySettings, IntroductionProtocol
from .lazy_community import Declared, raising, try_decode
from .message_table import MessageTable, message_id_of
from .messaging.address import has_network_address, plain_address
from .messaging.interfaces.network_stats import DropCounter
from .messaging.interfaces.routes import Route
from .messaging.payload_relay import RelayPayload
from .messaging.readers import Refusal
from .reexports import reexports
from .requestcache import RequestCache
from .util import Computed
from .verification import HEADER_SIZE, MESSAGE_ID_OFFSET, try_verify

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Coroutine, Iterable

    from .asking import BoundRequest
    from .message_table import Handler
    from .messaging.address import Address
    from .messaging.serialization import Payload

__all__ = ["DEFAULT_MAX_PEERS", "Community", "CommunitySettings"]

P = ParamSpec("P")
T = TypeVar("T")

COMMUNITY_ID_SIZE = 20

REMEMBERED_SETS = 256
"""Sets of message ids that overlays with the same signed messages have in common; the least recently used goes."""

BOOTSTRAP_TASK = "bootstrap "
"""How the names of the tasks begin that look for first peers."""

BOOTSTRAP_TIMEOUT = 60.0
"""Seconds that a bootstrapper has to find addresses."""

KEEP_ALIVE_CHANCE = 0.05
"""How often a bootstrap server is asked for an introduction although there are peers to ask."""

DEPRECATED_MESSAGES = {
    255: "reserved-255", 254: "on-missing-sequence", 253: "missing-proof", 252: "signature-request",
    251: "signature-response", 248: "on-identity", 247: "on-missing-identity", 244: "destroy-community",
    243: "authorize", 242: "revoke", 241: "subjective-set", 240: "missing-subjective-set", 239: "on-missing-message",
    238: "undo-own", 237: "undo-other", 236: "dynamic-settings", 235: "missing-last-message",
}


class PeerSource(Protocol):
    """What an overlay needs of a bootstrapper (``ipv8.bootstrapping.bootstrapper_interface``)."""

    initialized: bool

    def initialize(self, overlay: Any) -> Future[bool] | Coroutine[Any, Any, bool]:
        """Connect to the service for ``overlay``."""

    async def get_addresses(self, overlay: Any, timeout: float) -> Iterable[Address]:
        """Addresses for ``overlay`` to walk to."""

    def keep_alive(self, overlay: Any) -> None:
        """Make the service remember this node."""

    def unload(self) -> None:
        """Stop everything."""


@lru_cache(REMEMBERED_SETS)
def _one_of_equal(message_ids: frozenset[int]) -> frozenset[int]:
    """The same object for equal sets, as thousands of overlays may run in a process, and a set takes 700 bytes."""
    return message_ids


class Community(IntroductionProtocol, AnonymousOverlay[CommunitySettings]):
    """An overlay of all peers that use the same 20-byte ``community_id``.

    Subclasses define ``community_id`` and handle messages, either declared with :func:`ipv8.declaration.message` or
    registered with :meth:`add_message_handler`.

    :raises RuntimeError: if there is no ``community_id``, or it is not ``bytes``.
    """

    version = b"\x02"
    community_id: bytes

    #: Whether the packets of all overlays are received, and not only those that start with the prefix of this one.
    any_prefix: ClassVar[bool] = False

    #: Whether the overlay can do with peers that have no address on any network.
    relayable: ClassVar[bool] = True

    #: Whether packets are carried, for others and for this overlay.
    relay: bool = False

    _carried_prefix: bytes | None = None
    _message_table: MessageTable | None = None
    _request_cache: RequestCache | None = None
    _keeper: PeerKeeper | None = None

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

        self.relay = (self.relayable and getattr(settings, "relay", True)
                      and not getattr(settings, "anonymize", False))
        self._prefix = b"\x00" + self.version + community_id
        if not self.any_prefix:
            self.endpoint.remove_listener(self)
            self.endpoint.add_prefix_listener(self, self._prefix)
        self.anonymize = settings.anonymize
        if self.anonymize:
            self._set_anonymity()
        self.network.register_service_provider(community_id, self)
        self.network.blacklist_mids.append(self.my_peer.mid)
        self.bootstrappers: list[PeerSource] = []

        self._message_table = MessageTable(self)
        self.deprecated_message_names = dict(DEPRECATED_MESSAGES)
        self._register_handlers()
        if getattr(settings, "keep_alive", True) and not self.anonymize:
            self._keeper = PeerKeeper.of(self.endpoint, self.network)
            if self._keeper is not None:
                self._keeper.join(self)
        self._set_encryption(settings)

    def _get_message_table(self) -> MessageTable:
        # Made here for overlays that did not run the constructor of this class.
        if self._message_table is None:
            self._message_table = MessageTable(self)
        return self._message_table

    #: The handlers of the messages of this overlay.
    message_table = Computed(_get_message_table)

    @property
    def decode_map(self) -> list[Handler | None]:
        """The handler of each message id, ``None`` where there is none: a list of 256 that programs may change."""
        return self._get_message_table().handlers

    @decode_map.setter
    def decode_map(self, handlers: list[Handler | None]) -> None:
        self._get_message_table().handlers = handlers

    @property
    def request_cache(self) -> RequestCache:
        """The requests of this overlay that wait for an answer.

        The request cache is made when it is first used. A program may set another one. All of them are shut down when
        the overlay is unloaded, if they were not before.
        """
        if self._request_cache is None:
            self._request_cache = RequestCache()
        return self._request_cache

    @request_cache.setter
    def request_cache(self, cache: RequestCache) -> None:
        if isinstance(self._request_cache, RequestCache):
            self.register_shutdown_task(self._request_cache.shutdown)
        self._request_cache = cache

    def _register_handlers(self) -> None:
        """Fill the message table."""
        for payload_class, handler in self.introduction_handlers().items():
            self.add_message_handler(payload_class, handler)
        if self.relay:
            self.add_message_handler(RelayPayload, self.on_relay)
            self._carried_prefix = self._prefix
            self.endpoint.routes.carriers.register(self._prefix, self._have_carried)
        for msg_id in DEPRECATED_MESSAGES:
            self.add_message_handler(msg_id, self.on_deprecated_message)
        declarations = {name for base in type(self).__mro__ for name, value in vars(base).items()
                        if isinstance(value, Declared)}
        for name in sorted(declarations):
            declared = getattr(type(self), name)
            if not isinstance(declared, Declared):
                msg = f"{type(self).__name__}.{name} replaces a declared message: decorate it with @message as well"
                raise TypeError(msg)
            if hasattr(Community, name) or name in vars(self):
                msg = (f"{type(self).__name__} can have no message {name}: all overlays use that name. Choose another "
                       "one")
                raise TypeError(msg)
            declared.attach(self)

    def get_prefix(self) -> bytes:
        """The 22 bytes that every packet of this overlay starts with."""
        return self._prefix

    async def unload(self) -> None:
        """Say goodbye if this is the last overlay of its key, give up all requests, stop listening and end all tasks.

        The network forgets that this node runs the overlay, and the peers that no other overlay of the node has.
        """
        async with AsyncExitStack() as unloading:  # each of these steps, the last one first, whatever the others raise
            unloading.push_async_callback(super().unload)
            unloading.callback(self._stop_relaying)
            if isinstance(self.request_cache, RequestCache):
                unloading.push_async_callback(self.request_cache.shutdown)
            unloading.callback(self._leave_network)
            unloading.callback(self._leave_sessions)
            unloading.callback(self.endpoint.routes.hidden.leave, self._prefix)
            while self.bootstrappers:
                unloading.callback(self.bootstrappers.pop().unload)
            unloading.callback(self._stop_bootstrapping)
            if self._keeper is not None:
                unloading.callback(self._keeper.leave, self)  # first, as it says goodbye to the peers

    def _leave_network(self) -> None:
        """Let the network forget that this node runs the overlay."""
        self.network.unregister_service_provider(self.community_id, self)
        if self.my_peer.mid in self.network.blacklist_mids:
            self.network.blacklist_mids.remove(self.my_peer.mid)  # once, as each overlay of the key has added it

    def add_message_handler(self, msg_num: int | type[Payload], callback: Callable[..., Any]) -> None:
        """Call ``callback(source_address, data)`` with each packet of a message; it may return a coroutine.

        :param msg_num: the id of the message, 0 to 255, or a payload class with a ``msg_id``.
        :raises RuntimeError: if there is no such id, or the message has a handler already.
        """
        table = self._get_message_table()
        if table.handlers[message_id_of(msg_num)] == self.on_relay:
            self._stop_relaying()  # an overlay that has a message of this number needs it more
            table.handlers[message_id_of(msg_num)] = None
        msg_id = table.add(msg_num, callback)
        reception = table.reception(msg_id)
        if reception is not None and reception.signed:
            self.signed_messages = _one_of_equal(self.signed_messages | {msg_id})

    async def ask(self, peer: Peer, message: BoundRequest[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask a peer, and wait for its answer.

        ::

            total = await self.ask(peer, self.add, 2, 3)

        :param message: a message of this overlay that was declared with :func:`ipv8.asking.request`. How long an answer
            is waited for, and how often the question is sent again meanwhile, is said there, or by ``message.within``.
        :param args: the fields of the question.
        :returns: what the handler of the other peer returned.
        :raises TimeoutError: if no answer came in time.
        :raises RuntimeError: if the overlay is unloaded, or too many requests wait for answers.
        """
        answer: T = await message.question(peer, *args, **kwargs).ask()
        return answer

    def on_deprecated_message(self, source_address: Address, data: bytes) -> None:
        """Count a message that is no longer in use, and log a warning, within a budget."""
        self.drops.count(DropCounter.UNKNOWN_ID)
        if self._get_message_table().may_warn("deprecated"):
            self.logger.warning("Received a message that is no longer in use, %s, from %s:%d",
                                self.deprecated_message_names[data[MESSAGE_ID_OFFSET]], *source_address)

    def on_packet(self, packet: tuple[Address, bytes], warn_unknown: bool = True) -> None:
        """Hand a packet to the handler of its message; whatever is wrong with it is counted in ``drops``.

        :param packet: the source address and the data.
        :param warn_unknown: whether messages without a handler are logged, within a budget.
        """
        source_address, data = packet
        if data.startswith(self._prefix):
            (self._message_table or self._get_message_table()).receive(source_address, data, warn_unknown)
        else:
            self.drops.count(DropCounter.SHORT if len(data) < HEADER_SIZE else DropCounter.UNKNOWN_PREFIX)

    # Packets that peers carry

    def accepts_route(self, route: Route) -> bool:
        """Whether packets that come by ``route`` are handled: those that peers carry are, while ``relay`` is set."""
        return route is not Route.RELAY or bool(self.relay)

    def _stop_relaying(self) -> None:
        """Carry nothing any more."""
        self.relay = False
        if self._carried_prefix is not None:
            self.endpoint.routes.carriers.unregister(self._carried_prefix, self._have_carried)
            self._carried_prefix = None

    @raising
    def on_relay(self, source_address: Address, data: bytes) -> Refusal | None:
        """Message 230: take in what is for us, and carry what is for somebody else."""
        from .contact.relaying import CarryOn, Deliver  # most nodes carry nothing

        neighbour = self.network.get_verified_by_address(source_address)
        if not self.relay or neighbour is None or not has_network_address(source_address):
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        signer = try_verify(self, source_address, data)
        if isinstance(signer, Refusal):
            return signer
        key, start, end = signer
        decoded = try_decode(self, (RelayPayload,), data[:end], start)
        if isinstance(decoded, Refusal):
            return decoded
        todo = self._contact_parts.relaying.on_envelope(neighbour, key.key_to_hash(), decoded[0], len(data),
                                                        clock.time(), clock.monotonic())
        if isinstance(todo, CarryOn):
            self.endpoint.send(todo.target.address, data)
        elif isinstance(todo, Deliver):
            self.endpoint.gate.receive((todo.source, todo.packet), Route.RELAY)
        else:
            self.drops.count(todo.reason)
        return None

    def _have_carried(self, address: Address, packet: bytes) -> bool:
        """Ask the peer by which ``address`` is reached to carry ``packet`` there; whether there is one."""
        from .contact.relaying import Dropped

        wrapped = Dropped(DropCounter.SEND_NO_ROUTE) if not self.relay else self._contact_parts.relaying.wrap(
            address, packet, clock.time(), clock.monotonic())
        if isinstance(wrapped, Dropped):
            return False
        carrier, envelope = wrapped
        self.endpoint.send(carrier.address, self.ezr_pack(RelayPayload.msg_id, envelope))
        return True

    # Bootstrapping and walking

    def bootstrap(self) -> None:
        """Start looking for first peers with every bootstrapper."""
        for bootstrapper in self.bootstrappers:
            if self.anonymize and getattr(bootstrapper, "has_own_sockets", False):
                self.logger.warning("%s is not used: it would tell the local network of an anonymous overlay",
                                    type(bootstrapper).__name__)
                continue
            self.register_anonymous_task(f"{BOOTSTRAP_TASK}{bootstrapper!r}", self._bootstrap, bootstrapper)

    def _stop_bootstrapping(self) -> None:
        """End the search for first peers before anything is waited for, so that it does not go on meanwhile."""
        for name in [name for name in self._pending_tasks if str(name).startswith(BOOTSTRAP_TASK)]:
            self.cancel_pending_task(name)

    async def _bootstrap(self, bootstrapper: PeerSource) -> None:
        """Walk to the addresses that one bootstrapper knows."""
        initialization = ensure_future(bootstrapper.initialize(self))
        try:
            addresses = list(await bootstrapper.get_addresses(self, BOOTSTRAP_TIMEOUT))
            for address in addresses[:self.max_peers] if self.max_peers > 0 else addresses:
                try:
                    self.walk_to(address)
                except Exception as e:  # noqa: BLE001, PERF203 - whatever is wrong with one, the others are of use
                    self.logger.warning("%s gave an address that cannot be contacted, %.80r: %s: %s",
                                        type(bootstrapper).__name__, address, type(e).__name__, e)
            await initialization
        finally:
            initialization.cancel()

    def ensure_blacklisted(self, address: Address) -> None:
        """Add ``address`` to the blacklist, unless it is there: nobody at that address becomes a peer."""
        if address not in self.network.blacklist:
            self.network.blacklist.append(address)

    def walk_to(self, address: Address) -> None:
        """Send an introduction request to ``address``.

        If a peer introduced the address, nothing is sent once enough was sent to it: see ``ipv8.contact.targets``.

        :param address: host and port. For IPv6 it may be a socket address of four elements, and the host may have a
            zone, as in ``fe80::1%eth0``.
        :raises ValueError: if this machine has no such zone.
        """
        self._walk(address)

    def _walk(self, address: Address) -> bool:
        """Send an introduction request to ``address``, if enough may be sent there; whether it was sent."""
        destination, address = socket_address(address), plain_address(address)
        packet = self.create_introduction_request(address, new_style=self.network.is_new_style(address))
        contact = self._contact_parts
        record, known = self.network._all_addresses.get(address), self.network.get_verified_by_address(address)
        introduced = record is not None and bool(record.introduced_by) and not (known is not None and known.proven)
        now = clock.monotonic()
        if not contact.targets.may_walk(address, len(packet), introduced, now):
            contact.introductions.withdraw(now)
            self._story.tell("Sending nothing more to %s:%d, which was introduced", *address)
            if introduced and known is None and contact.targets.is_spent(address, len(packet), now):
                self.network.remove_by_address(address)  # until somebody introduces it again
            return False
        self.endpoint.send(destination, packet)
        return True

    def retry_walk(self, address: Address) -> None:
        """Walk again to an ``address`` that did not answer, and to where a NAT may have put its owner for us."""
        contact, now = self._contact_parts, clock.monotonic()
        is_lan = self.address_in_lan_subnets(address[0])
        again, *predicted = contact.nat.second_tries(address, self.my_estimated_lan, self.my_estimated_wan, is_lan,
                                                     now) or (None,)
        if again is not None:
            self._walk(again)
            contact.targets.share(again, predicted, now)
        for other in predicted:
            if not self._walk(other):
                break
            contact.nat.note_path(other, PeerPath.PREDICTED)

    def on_walk_failed(self, address: Address) -> None:
        """Have a request carried to an ``address`` that did not answer, by the peer that introduced it."""
        introduction = self.network._all_addresses.get(address)
        introducer = None if introduction is None else self.network.get_verified_by_public_key_bin(
            introduction.introduced_by)
        if (self.relay and not self.address_in_lan_subnets(address[0])
                and self._contact_parts.relaying.may_ask_to_carry(introducer, address, clock.monotonic())):
            self._ask_by_relay(introducer, address)

    def _ask_by_relay(self, carrier: Peer | None, address: Address) -> None:
        """Have a first request carried to ``address``, and name the carrier in it."""
        self._story.tell("Asking %s to carry a request to %s:%d", carrier, *address)
        self._asked_carrier = carrier
        try:
            request = self.create_introduction_request(address, new_style=True)
        finally:
            self._asked_carrier = None
        self._contact_parts.introductions.note_relayed(address, clock.monotonic())
        self._have_carried(address, request)

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
                try:
                    bootstrapper.keep_alive(self)
                except Exception:  # noqa: PERF203 - the others are asked nevertheless
                    self.logger.exception("%s failed to keep this node known", type(bootstrapper).__name__)
        else:
            self.send_introduction_request(
                self._contact_parts.introductions.choose_to_ask(available, clock.monotonic()))

    def get_walkable_addresses(self) -> list[Address]:
        """Addresses that were introduced in this overlay and belong to none of its peers."""
        return self.network.get_walkable_addresses(self.community_id)

    def get_peers(self) -> list[Peer]:
        """The verified peers of this overlay."""
        return self.network.get_peers_for_service(self.community_id)


if TYPE_CHECKING:  # programs import these from here
    from .lazy_community import (
        EZPackOverlay as EZPackOverlay,
        lazy_wrapper as lazy_wrapper,
        lazy_wrapper_unsigned as lazy_wrapper_unsigned,
    )
    from .messaging.address import (
        Address as Address,
        UDPv4Address as UDPv4Address,
        UDPv4LANAddress as UDPv4LANAddress,
        UDPv6Address as UDPv6Address,
    )
    from .messaging.interfaces.dispatcher.endpoint import (
        FAST_ADDR_TO_INTERFACE as FAST_ADDR_TO_INTERFACE,
        INTERFACES as INTERFACES,
    )
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
    from .peer import Peer as Peer
else:
    __getattr__, __dir__ = reexports(__name__, {
        ".lazy_community": "EZPackOverlay lazy_wrapper lazy_wrapper_unsigned",
        ".messaging.address": "Address UDPv4Address UDPv4LANAddress UDPv6Address",
        ".messaging.interfaces.dispatcher.endpoint": "FAST_ADDR_TO_INTERFACE INTERFACES",
        ".messaging.payload":
            "IntroductionRequestPayload IntroductionResponsePayload NewIntroductionRequestPayload "
            "NewIntroductionResponsePayload NewPuncturePayload NewPunctureRequestPayload PuncturePayload "
            "PunctureRequestPayload",
        ".messaging.payload_headers": "BinMemberAuthenticationPayload GlobalTimeDistributionPayload",
        ".overlay": "Settings", ".peer": "Peer",
    })
