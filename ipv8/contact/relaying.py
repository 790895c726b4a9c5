"""Packets between two peers that cannot reach each other, carried by a peer of both: message 230.

An envelope goes from its author to the carrier, and from there, byte by byte the same, to its destination. Both check
the signature of the author, and that they have not seen the envelope before, so a carrier can neither make one up nor
change one, nor send it twice; what it carries is as big as what it was sent. Nodes that do not know the message drop
it. The rules are in doc/protocol/relaying.md.

There are no sockets and no clock here. Methods take values and times, ``now`` of ``clock.monotonic`` and ``wall`` of
``clock.time``, and return what is to be done; :class:`ipv8.community.Community` does it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..limits import BoundedDict
from ..messaging.address import RelayedAddress, UDPv6Address, has_network_address
from ..messaging.inet import RELAYED_PORT, is_overlay_host, mid_of_overlay_host, overlay_host
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload import IntroductionRequestPayload, NewIntroductionRequestPayload
from ..messaging.payload_relay import RelayPayload
from ..messaging.serialization import PackError, default_serializer
from ..verification import KEY_OFFSET, KEY_SIZE_OFFSET, MESSAGE_ID_OFFSET
from .carriage import CarriageBudget, Meetings, ReplayWindow, Routes
from .host import Members

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["MAX_RELAYED_SIZE", "CarryOn", "Deliver", "Dropped", "RelayHost", "Relaying", "carrier_in_request",
           "naming_carrier", "overlay_address"]

MAX_RELAYED_SIZE = 1500
"""Bytes of a packet that is carried: what fits into an Ethernet frame."""

RELAYED_PEERS = 8
RELAYED_PEERS_PER_CARRIER = 4
"""Peers of one overlay that are reached through others: so many newcomers are admitted, and so many by one carrier."""

REMEMBERED_RELAYED_PEERS = 64
"""Peers that are known to be reached through others; the oldest is evicted first."""

FIRST_REQUESTS = frozenset((IntroductionRequestPayload.msg_id, NewIntroductionRequestPayload.msg_id))
"""The messages that an envelope for an address, and not for a key, may contain."""

GLOBAL_TIME_SIZE = 8


class RelayHost(Members, Protocol):
    """What relaying needs to know of the overlay that it belongs to."""

    my_peer: Peer

    #: Where others see this node.
    my_estimated_wan: Address

    @property
    def my_estimated_lan(self) -> Address:
        """The address of this node in its local network."""


class CarryOn(NamedTuple):
    """To be done: send the envelope, as it is, to ``target``."""

    target: Peer


class Deliver(NamedTuple):
    """To be done: handle ``packet`` as one that came from ``source``."""

    source: RelayedAddress
    packet: bytes


class Dropped(NamedTuple):
    """Nothing is to be done, for a ``reason`` of ``DropCounter``."""

    reason: str


def overlay_address(mid: bytes) -> RelayedAddress:
    """The address of a key that is reached by relay."""
    return RelayedAddress(overlay_host(mid), RELAYED_PORT)


def carrier_in_request(packet: bytes) -> str | None:
    """The overlay host of the carrier that an introduction request in the new style names; ``None`` if it names none.

    It stands in the place of the LAN address (doc/protocol/relaying.md section 4.1).
    """
    if packet[MESSAGE_ID_OFFSET:KEY_SIZE_OFFSET] != bytes((NewIntroductionRequestPayload.msg_id,)):
        return None
    start = KEY_OFFSET + int.from_bytes(packet[KEY_SIZE_OFFSET:KEY_OFFSET], "big") + GLOBAL_TIME_SIZE
    try:
        _, start = default_serializer.unpack("ip_address", packet, start)
        told, _ = default_serializer.unpack("ip_address", packet, start)
    except (PackError, struct.error, ValueError):
        return None
    host: str = told[0]
    return host if is_overlay_host(host) else None


def naming_carrier(carrier: Peer) -> UDPv6Address:
    """What a first request that ``carrier`` is asked to carry tells in place of a LAN address."""
    return UDPv6Address(overlay_host(carrier.mid), RELAYED_PORT)


class Relaying:
    """What one overlay carries for others, and how its own packets are carried.

    :param host: the overlay.
    """

    __slots__ = ("_budget", "_counters", "_host", "_last_counter", "_meetings", "_relayed", "_routes")

    def __init__(self, host: RelayHost) -> None:
        self._host = host
        self._routes = Routes()
        self._meetings = Meetings()
        self._counters = ReplayWindow()
        self._budget = CarriageBudget()
        self._relayed: BoundedDict[Peer, None] = BoundedDict(REMEMBERED_RELAYED_PEERS)
        self._last_counter = 0

    # Envelopes that come in

    def on_envelope(self, neighbour: Peer, author: bytes, payload: RelayPayload, size: int, wall: float,
                    now: float) -> CarryOn | Deliver | Dropped:
        """What to do with an envelope whose signature is valid.

        :param neighbour: the verified peer that the envelope came from.
        :param author: the key hash of who signed it.
        :param size: the bytes of the whole envelope.
        """
        packet = payload.packet
        if len(packet) > MAX_RELAYED_SIZE or _message_id(packet) == payload.msg_id:
            return Dropped(DropCounter.UNDECODABLE)
        is_for_others = author == neighbour.mid
        if not is_for_others:
            refusal = self._refusal_to_take_in(neighbour, payload)
            if refusal is not None:
                return Dropped(refusal)
        refusal = self._counters.refusal(author, payload.counter, neighbour.mid, wall)
        if refusal is not None:
            return Dropped(refusal)
        if is_for_others:
            return self._carry_on(neighbour, payload.destination, size, now)
        return self._take_in(neighbour, author, payload, now)

    def _carry_on(self, author: Peer, destination: Address, size: int, now: float) -> CarryOn | Dropped:
        """Send an envelope on, to a peer that is known to receive what it is sent."""
        network, host = self._host.network, destination[0]
        target = (network.get_verified_by_mid(mid_of_overlay_host(host)) if is_overlay_host(host)
                  else network.get_verified_by_address(destination))
        if target is None or target == author or not target.proven or not has_network_address(target.address):
            return Dropped(DropCounter.NO_ROUTE)
        if not self._budget.allow(author.mid, target.mid, size, now):
            return Dropped(DropCounter.RATE_LIMITED)
        return CarryOn(target)

    def _refusal_to_take_in(self, carrier: Peer, payload: RelayPayload) -> str | None:
        """Why an envelope that ``carrier`` brought is not for this node; ``None`` if it is.

        An envelope for an address, and not for a key, can be right at several nodes. So it must be a first request, to
        the host of this node, and, if it says which carrier was asked, that must be the one that brought it.
        """
        host = payload.destination[0]
        if is_overlay_host(host):
            return None if host == overlay_host(self._host.my_peer.mid) else DropCounter.NO_ROUTE
        if host not in self._own_hosts():
            return DropCounter.NO_ROUTE
        if _message_id(payload.packet) not in FIRST_REQUESTS:
            return DropCounter.UNDECODABLE
        asked = carrier_in_request(payload.packet)
        return None if asked in {None, overlay_host(carrier.mid)} else DropCounter.NO_ROUTE

    def _own_hosts(self) -> set[str]:
        host = self._host
        return {host.my_estimated_wan[0], host.my_estimated_lan[0],
                *(address[0] for address in host.my_peer.addresses.values())}

    def _take_in(self, carrier: Peer, author: bytes, payload: RelayPayload, now: float) -> Deliver:
        """Deliver the packet of an envelope that ``carrier`` brought, as if its author had sent it to us."""
        source = overlay_address(author)
        # An envelope for an address replaces no route: who asked this carrier for it could not say so for sure.
        if is_overlay_host(payload.destination[0]) or self._routes.known(source, now) is None:
            self._routes.note(source, carrier, now)
        return Deliver(source, payload.packet)

    # Packets of ours

    def wrap(self, destination: Address, packet: bytes, wall: float, now: float) -> tuple[Peer, RelayPayload] | Dropped:
        """Put ``packet`` into an envelope for ``destination``.

        :returns: the peer that is to carry it and the envelope, which is yet to be signed; or why there is none.
        """
        carrier = self._routes.hop(destination, now)
        if (carrier is None or len(packet) > MAX_RELAYED_SIZE or carrier not in self._host.network.verified_peers
                or not has_network_address(carrier.address)):
            return Dropped(DropCounter.SEND_NO_ROUTE)
        self._last_counter = max(self._last_counter + 1, int(wall * 1e6))
        return carrier, RelayPayload(destination, self._last_counter, packet)

    def may_ask_to_carry(self, introducer: Peer | None, address: Address, now: float) -> bool:
        """Whether to ask ``introducer`` to carry a first request to the stranger at ``address``, whom it introduced.

        If so, it is the carrier to ``address`` from now on.
        """
        if (introducer is None or not introducer.proven or not has_network_address(introducer.address)
                or not self._budget.may_attempt(introducer.mid, address, now)):
            return False
        self._routes.note(address, introducer, now)
        return True

    def carrier_to(self, address: Address, now: float) -> Peer | None:
        """The peer that carries what is for ``address``."""
        return self._routes.known(address, now)

    # Peers that are reached by relay

    def has_room(self, address: Address, now: float) -> bool:
        """Whether somebody new at ``address`` may become a peer who can be reached through others only."""
        relayed = self._relayed_addresses()
        carrier = self._routes.known(address, now)
        return (len(relayed) < RELAYED_PEERS
                and sum(self._routes.known(other, now) == carrier for other in relayed) < RELAYED_PEERS_PER_CARRIER)

    def note_peer(self, peer: Peer) -> None:
        """Note that ``peer``, which is or becomes a verified one, is reached through others."""
        self._relayed[peer] = None

    def _relayed_addresses(self) -> list[Address]:
        verified = self._host.network.verified_peers
        for peer in [peer for peer in self._relayed if peer not in verified or has_network_address(peer.address)]:
            del self._relayed[peer]
        return [peer.address for peer in self._relayed]

    def note_answer(self, asked: Address, peer: Peer, now: float) -> None:
        """Note that ``peer`` answered by relay a request that was to reach ``asked``."""
        self._meetings.note(asked, peer, now)
        self.note_peer(peer)

    def is_met(self, address: Address, now: float) -> bool:
        """Whether a peer that is reached by relay is at ``address``, and is not due to be tried there again."""
        return self._meetings.is_with_peer(address, self._host.network.verified_peers, now)


def _message_id(packet: bytes) -> int | None:
    return packet[MESSAGE_ID_OFFSET] if len(packet) > MESSAGE_ID_OFFSET else None
