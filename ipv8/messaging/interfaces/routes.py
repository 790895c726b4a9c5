"""The routes by which packets come and go, and what sends to the addresses that no socket reaches."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from ..address import HiddenAddress, RelayedAddress, TunnelledAddress
from .network_stats import DropCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..address import Address
    from .hidden import HiddenProvider

__all__ = ["DEFAULT_ROUTES", "FIRST_BASE_MESSAGE", "SOCKET", "Carriers", "Carry",
           "HiddenConnections", "Route", "RouteTable", "Sender"]

PREFIX_LENGTH = 22
"""Bytes in front of the message id: two of version and the 20 of a community id."""

FIRST_BASE_MESSAGE = 230
"""Message ids from this one on belong to the library: envelopes of relays, introductions and punctures."""


class Route(IntFlag):
    """How a packet came or goes; ``|`` combines several.

    New routes get the next free bits.
    """

    SOCKET = 1
    """In a datagram of its own."""
    RELAY = 2
    """In an envelope that a peer of both sides carries."""
    CIRCUIT = 4
    """Through the circuit of a tunnel."""
    SESSION = 8
    """In an encrypted session."""


SOCKET = Route.SOCKET
"""The same as the member, without the time that it takes to look a member up."""

DEFAULT_ROUTES = Route.SOCKET | Route.RELAY
"""The routes by which a prefix accepts packets unless it says otherwise (see ``Endpoint.accept_routes``)."""

Sender = Callable[[Any, bytes], None]
"""``send(address, packet)``: sends to all addresses of one class."""

Carry = Callable[[Any, bytes], bool]
"""``carry(address, packet)``: has a packet carried to a relayed address; ``False`` if no peer is known to carry it."""


class Carriers:
    """Sends to relayed addresses: by the overlay whose packet it is or else by any other that knows a way.

    :param drops: where packets are counted that nobody carries.
    """

    def __init__(self, drops: DropCounter) -> None:
        self._drops = drops
        self._carriers: dict[bytes, list[WeakMethod[Carry]]] = {}

    def register(self, prefix: bytes, carry: Carry) -> None:
        """Ask the bound method ``carry`` about packets that start with ``prefix``; its object is held weakly."""
        self._carriers.setdefault(prefix, []).append(WeakMethod(carry))

    def unregister(self, prefix: bytes, carry: Carry) -> None:
        """Ask ``carry`` no more; an unknown one is ignored."""
        kept = [other for other in self._carriers.get(prefix, ()) if other() not in {None, carry}]
        if kept:
            self._carriers[prefix] = kept
        else:
            self._carriers.pop(prefix, None)

    def send(self, address: Address, packet: bytes) -> None:
        """Have ``packet`` carried to ``address``, or count it."""
        prefix = packet[:PREFIX_LENGTH]
        if not any(carry(address, packet) for carry in self._in_order(prefix)):
            self._drops.count(DropCounter.SEND_NO_ROUTE)

    def _in_order(self, prefix: bytes) -> Iterator[Carry]:
        """All carriers that still exist, those of ``prefix`` first."""
        others = [reference for key, group in self._carriers.items() if key != prefix for reference in group]
        for reference in [*self._carriers.get(prefix, ()), *others]:
            carry = reference()
            if carry is not None:
                yield carry


class HiddenConnections:
    """Sends to the other ends of connections to and from hidden services.

    Messages of the library are not sent there: introductions tell addresses.

    :param drops: where packets are counted that could not be sent.
    """

    def __init__(self, drops: DropCounter) -> None:
        self._drops = drops
        self._provider: HiddenProvider | None = None

    @property
    def provider(self) -> HiddenProvider:
        """What makes the connections.

        :raises RuntimeError: if there is none.
        """
        if self._provider is None:
            raise RuntimeError("hidden services need a HiddenTunnelCommunity on the same endpoint: add one to the "
                               "configuration")
        return self._provider

    @provider.setter
    def provider(self, provider: HiddenProvider) -> None:
        self._provider = provider

    def withdraw(self, provider: HiddenProvider) -> None:
        """Use ``provider`` no more; nothing happens if another one is used."""
        if self._provider is provider:
            self._provider = None

    def send(self, address: Any, packet: bytes) -> None:
        """Send ``packet`` to the other end of a connection, or count it."""
        if (self._provider is None or len(packet) <= PREFIX_LENGTH
                or packet[PREFIX_LENGTH] >= FIRST_BASE_MESSAGE
                or not self._provider.send(address, packet)):
            self._drops.count(DropCounter.SEND_NO_ROUTE)

    def leave(self, prefix: bytes) -> None:
        """Close everything that there is for the packets with ``prefix``."""
        if self._provider is not None:
            self._provider.leave(prefix)


class RouteTable(dict[type[Any], Sender]):
    """What sends to each class of addresses that sockets do not send to, by exact class.

    :param drops: where packets are counted that could not be sent.

    Every class of ``KINDS_WITHOUT_NETWORK_ADDRESS`` has a sender from the start, so that no socket ever sends to one of
    its addresses.
    """

    __slots__ = ("_kinds", "carriers", "hidden")

    def __init__(self, drops: DropCounter) -> None:
        super().__init__()
        self._kinds: dict[type[Any], Route] = {}
        #: Who carries packets to relayed addresses; overlays register here.
        self.carriers = Carriers(drops)
        self.register(RelayedAddress, Route.RELAY, self.carriers.send)
        self.register(TunnelledAddress, Route.CIRCUIT, lambda _address, _packet: drops.count(DropCounter.SEND_NO_ROUTE))
        #: Connections to and from hidden services; a tunnel overlay provides them.
        self.hidden = HiddenConnections(drops)
        self.register(HiddenAddress, Route.CIRCUIT, self.hidden.send)

    def register(self, kind: type[Any], route: Route, send: Sender) -> None:
        """Send to addresses of exactly the class ``kind`` by ``send``, which is the given ``route``."""
        self._kinds[kind] = route
        self[kind] = send

    def route_to(self, address: object) -> Route:
        """The route by which packets to ``address`` go."""
        return self._kinds.get(type(address), Route.SOCKET)
