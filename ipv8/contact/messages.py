"""The messages by which an overlay meets its peers: how they are made, and what they tell of this node.

See doc/protocol/discovery.md sections 2 to 4.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from .. import clock, entropy
from ..lazy_community import EZPackOverlay
from ..messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address, has_network_address, plain_address
from ..messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE
from ..messaging.interfaces.endpoint import Endpoint
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
from .introductions import CLAIMS, NOWHERE, ipv4_or_none, told_addresses
from .parts import Contact, IntroductionObserver
from .story import Story
from .targets import Targets, is_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..peer import Peer
    from ..reputation import ContributionReporter

__all__ = ["DEFAULT_MAX_PEERS", "CommunitySettings", "IntroductionMessages"]

DEFAULT_MAX_PEERS = 30

LARGEST_STEP_BITS = 16
"""How far the Lamport clock goes forward for an introduction request: at most 2 to the power of this, at random.

The identifier of the request is the lower half of these bits, so nobody can tell it in advance.
"""

LARGEST_CLOCK = 1 << 62
"""From where on the Lamport clock only goes forward by one: it is sent in 64 bits."""


class CommunitySettings(Settings):
    """What a community is built from; subclasses add annotated attributes with defaults."""

    max_peers: int = DEFAULT_MAX_PEERS
    anonymize: bool = False
    #: Whether packets of peers that cannot reach each other are carried, for others and for this overlay.
    relay: bool = True
    #: Whether the ways to the peers are kept open, and peers that are gone are noticed, without the overlay's doing.
    keep_alive: bool = True
    #: What takes reports of what others did for this node; ``None`` for nothing.
    contribution_reporter: ContributionReporter | None = None
    #: A function, or something with a method ``score``, that gives the trust in the owner of a public key, a number;
    #: ``None`` while all are trusted alike.
    trust: Any = None
    #: Whether peers that are trusted are preferred in what this library does by itself.
    prefer_trusted: bool = False
    #: Whether messages go in encrypted sessions: ``"off"``, ``"accept"``, ``"prefer"`` or ``"require"``. ``None``: as
    #: the class of the overlay says.
    encryption: str | None = None
    #: How many messages are sent to a peer in clear before a session is opened for more of them.
    session_after: int = 0
    #: A :class:`ipv8.sessions.SessionService` to use in place of that of the endpoint.
    sessions: Any = None


class IntroductionMessages(EZPackOverlay[CommunitySettings]):
    """Makes introduction requests and responses, puncture requests and punctures.

    What to do is decided by the parts in ``contact``, which know neither sockets nor overlays.
    """

    settings_class: ClassVar[type[Any]] = CommunitySettings
    _prefix: bytes

    #: Whether nobody may learn where this node is.
    anonymize: bool = False
    #: What takes reports of what others did for this node; ``None`` for nothing.
    contribution_reporter: ContributionReporter | None = None
    #: A function, or something with a method ``score``, that gives the trust in the owner of a public key, a number;
    #: ``None`` while all are trusted alike.
    trust: Any = None
    #: Whether peers that are trusted are preferred in what this library does by itself: in introductions, and by a DHT
    #: for its values.
    prefer_trusted: bool = False

    #: The peer that is asked to carry the introduction request that is being made.
    _asked_carrier: Peer | None = None

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.max_peers = settings.max_peers
        for name in ("contribution_reporter", "trust", "prefer_trusted"):
            value = getattr(settings, name, None)  # programs also use plain settings, which have none of these
            if value is not None:
                setattr(self, name, value)

    @cached_property
    def _contact_parts(self) -> Contact:
        return Contact(self, Targets.of(self.endpoint))

    @cached_property
    def _story(self) -> Story:
        return Story(self.logger)

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

    def _told_addresses(self) -> tuple[Address, Address, Address]:
        """Our addresses in the local network and on the Internet, and the preferred one, as others are told them.

        An anonymous overlay tells none.
        """
        if self.anonymize:
            return NOWHERE, NOWHERE, NOWHERE
        return self.my_estimated_lan, self.my_estimated_wan, self.my_preferred_address()

    def _own_addresses(self) -> Iterator[Address]:
        """All addresses that are known to be this node's."""
        yield self.my_estimated_lan
        yield self.my_estimated_wan
        yield from self.my_peer.addresses.values()
        if self.endpoint.mapped_address is not None:
            yield self.endpoint.mapped_address
        for endpoint in (self.endpoint, *self.endpoint.interfaces.values()):
            if isinstance(endpoint, Endpoint) and endpoint.is_open():
                yield plain_address(endpoint.get_address())

    def _is_target(self, address: Address, source: Address) -> bool:
        """Whether to send to ``address``, which a node at ``source`` named."""
        return (is_target(address, source, self._own_addresses())
                and not (address[1] == self.my_estimated_lan[1] and self.address_is_lan(address[0])))

    # Making messages

    def _claim_identifier(self) -> int:
        """A global time, reduced to 16 bits, that nobody can tell in advance: the identifier of a request."""
        if self.global_time < LARGEST_CLOCK:
            self.update_global_time(self.global_time + entropy.randbits(LARGEST_STEP_BITS))
        return self.claim_global_time() % 65536

    def _claim_free_identifier(self, is_taken: Callable[[int], bool]) -> int:
        """As :meth:`_claim_identifier`, but one that is not taken, if such a one is found soon."""
        identifier = self._claim_identifier()
        for _ in range(CLAIMS):
            if not is_taken(identifier):
                break
            identifier = self._claim_identifier()
        return identifier

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
        socket_address = plain_address(socket_address)
        identifier = contact.introductions.ask(socket_address, self._claim_identifier, now)
        self._story.tell("Asking %s:%d for an introduction, by request %d", *socket_address, identifier)
        payload: Payload
        lan, wan, preferred = self._told_addresses()
        if new_style or ":" in socket_address[0]:
            told_lan = lan
            if self._asked_carrier is not None:
                from .relaying import naming_carrier  # most nodes ask nobody to carry

                told_lan = naming_carrier(self._asked_carrier)
            payload = NewIntroductionRequestPayload(socket_address, told_lan, preferred,
                                                    identifier, 0, 0, 0, int(self._has_sessions), 0, 0, 0, 0,
                                                    extra_bytes)
        else:
            kind = "unknown" if self.anonymize else contact.nat.connection_type(self.my_estimated_lan, now)
            old = IntroductionRequestPayload(socket_address, ipv4_or_none(lan), ipv4_or_none(wan), True, kind,
                                             identifier, extra_bytes, supports_new_style=new_style)
            old.supports_sessions = self._has_sessions
            payload = old
        return self._pack_timed(payload, identifier, prefix)

    def create_introduction_response(self, lan_socket_address: Address, socket_address: Address, identifier: int,
                                     introduction: Peer | None = None, extra_bytes: bytes = b"",
                                     prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """A signed answer that introduces a peer, who is asked to puncture (doc/protocol/discovery.md section 4.3).

        :param lan_socket_address: the LAN address of the requester that the introduced peer is told, unless both have
            the same public address: then the introduced peer is told the true LAN address, which it needs.
        :param socket_address: where the requester is reached.
        :param introduction: the peer to introduce; by default one of this overlay. One that is given is sent the
            puncture request in the style of the response, so ``new_style`` must be right for both.
        """
        new_style = new_style or ":" in socket_address[0]  # the old style has no room for it
        global_time = self.claim_global_time() % 65536
        other = self.network.get_verified_by_address(socket_address)
        is_given = introduction is not None
        if introduction is None and has_network_address(socket_address):
            introduction = self.get_peer_for_introduction(exclude=other, new_style=new_style)
        lan, wan = (NOWHERE, NOWHERE) if introduction is None else told_addresses(
            introduction, self.my_estimated_wan, self.address_is_lan)
        introduced_new_style = introduction is not None and introduction.new_style_intro
        payload: Payload
        own_lan, own_wan, preferred = self._told_addresses()
        if new_style:
            payload = NewIntroductionResponsePayload(
                socket_address, own_lan, preferred, lan, wan, identifier,
                int(introduced_new_style), int(self._has_sessions), 0, 0, 0, 0, 0, 0, extra_bytes)
        else:
            old = IntroductionResponsePayload(
                socket_address, ipv4_or_none(own_lan), ipv4_or_none(own_wan),
                ipv4_or_none(lan), ipv4_or_none(wan), "unknown", identifier, extra_bytes, supports_new_style=True,
                intro_supports_new_style=introduced_new_style,
                peer_limit_reached=self._contact_parts.introductions.has_enough())
            old.supports_sessions = self._has_sessions
            payload = old
        self._story.tell("Answering request %d of %s:%d, and introducing %s", identifier, *socket_address[:2],
                         introduction or "nobody")
        if introduction is not None:
            if other is not None and introduction.address[0] == socket_address[0]:
                lan_socket_address = UDPv4Address(*other.addresses.get(UDPv4LANAddress, lan_socket_address))
            style = new_style and (is_given or introduction.new_style_intro or ":" in introduction.address[0])
            self._ask_to_puncture(introduction, lan_socket_address, socket_address, identifier, prefix, style)
        return self._pack_timed(payload, global_time, prefix)

    def _ask_to_puncture(self, introduced: Peer, lan_walker: Address, wan_walker: Address, identifier: int,
                         prefix: bytes | None, new_style: bool) -> None:
        """Ask an introduced peer, in a style that it understands, to open the way for the one that will walk to it."""
        if not new_style:
            if ":" in wan_walker[0]:
                return  # which the old style has no room for, and this peer cannot be reached from
            lan_walker, wan_walker = UDPv4Address(*ipv4_or_none(lan_walker)), UDPv4Address(*wan_walker)
        self._story.tell("Asking %s to send a puncture to %s:%d, for request %d", introduced, *wan_walker, identifier)
        request = self.create_puncture_request(lan_walker, wan_walker, identifier, prefix=prefix, new_style=new_style)
        self.endpoint.send(introduced.address, request)

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
        trust = self.trust if self.prefer_trusted else None
        return self._contact_parts.introductions.choose_introduction(exclude, new_style, trust)
