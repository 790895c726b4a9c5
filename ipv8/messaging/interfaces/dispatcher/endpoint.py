"""Several endpoints, one for each kind of address, that are used as one (doc/endpoints.md)."""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from inspect import isawaitable
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Any

from ....reexports import reexports
from ...inet import parse_host
from ..endpoint import LARGEST_DATAGRAM, Endpoint, EndpointListener
from ..lan_addresses.interfaces import get_lan_addresses
from ..network_stats import DropCounter
from ..udp.endpoint import UDPEndpoint, UDPv4Address, UDPv6Address, UDPv6Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...address import Address
    from ..routes import Route

__all__ = ["FAST_ADDR_TO_INTERFACE", "INTERFACES", "PREFERENCE_ORDER", "DispatcherEndpoint", "guess_interface"]

INTERFACES: dict[str, type[Endpoint]] = {"UDPIPv4": UDPEndpoint, "UDPIPv6": UDPv6Endpoint}
"""Interface names and the classes of their endpoints; programs may add their own."""

PREFERENCE_ORDER: list[str] = ["UDPIPv4", "UDPIPv6"]
"""Interface names, the preferred one first."""

FAST_ADDR_TO_INTERFACE: dict[type[Any], str] = {UDPv4Address: "UDPIPv4", UDPv6Address: "UDPIPv6"}
"""Address classes and the interface that sends to them."""

MAX_GUESSES = 4096
"""IP texts whose kind is remembered; the least recently used is evicted first."""

logger = logging.getLogger(__name__)


def guess_interface(socket_address: Any) -> str | None:
    """The interface name for an address by its text, ``None`` if it is no pair of an IP address and a port."""
    if not isinstance(socket_address, tuple) or len(socket_address) != 2:
        return None
    ip, port = socket_address
    return _guess(ip) if isinstance(ip, str) and isinstance(port, int) else None


@lru_cache(maxsize=MAX_GUESSES)
def _guess(ip: str) -> str | None:
    for family, name in ((AF_INET, "UDPIPv4"), (AF_INET6, "UDPIPv6")):
        try:
            inet_pton(family, ip.partition("%")[0] if family == AF_INET6 else ip)
        except (OSError, ValueError):
            continue
        return name
    logger.debug("Not an IP address: %r", ip)
    return None


class DispatcherEndpoint(Endpoint):
    """Sends through the interface that fits the destination; receives from all.

    :param interfaces: names out of ``INTERFACES``.
    :param kwargs: for each name, if wanted, the keyword arguments of its endpoint as a dictionary.
    :raises KeyError: if there is no such interface.

    Packets of all interfaces enter by the gate of this endpoint, where the listeners are registered. An interface keeps
    a gate of its own if its class does something of its own when listeners are registered, if its prefixes have another
    length, or if somebody registers listeners with it directly; then the listeners are registered there as well.
    """

    def __init__(self, interfaces: list[str], **kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.interfaces: dict[str, Endpoint] = {name: INTERFACES[name](**kwargs.get(name, {})) for name in interfaces}
        self.interface_order = [name for name in PREFERENCE_ORDER if name in self.interfaces]
        self._hosts = {name: str(given["ip"]) for name, given in kwargs.items() if "ip" in given}
        self._preferred_interface: Endpoint | None = None
        self._wanted = False
        self.update_preferred_interface()

    @property
    def preferred_interface(self) -> Endpoint | None:
        """The endpoint whose address counts as the own one."""
        return self._preferred_interface

    def update_preferred_interface(self) -> None:
        """Prefer the first of ``interface_order``, which was just changed."""
        self._preferred_interface = self.interfaces[self.interface_order[0]] if self.interface_order else None
        self._connect_interfaces()

    def add_interface(self, name: str, endpoint: Endpoint) -> None:
        """Use one more endpoint, under a name that may be none of ``INTERFACES``; it gets the listeners of this one."""
        self.interfaces[name] = endpoint
        known = [*self.interface_order, name]
        self.interface_order = [*(known_name for known_name in PREFERENCE_ORDER if known_name in known),
                                *(other for other in dict.fromkeys(known) if other not in PREFERENCE_ORDER)]
        self.update_preferred_interface()
        if endpoint.gate is not self.gate:
            endpoint.copy_listeners(self)

    @property
    def bytes_up(self) -> int:  # type: ignore[override]  # others assign it
        """Bytes sent by all interfaces."""
        return sum(endpoint.bytes_up for endpoint in self.interfaces.values())

    @property
    def bytes_down(self) -> int:  # type: ignore[override]  # others assign it
        """Bytes received by all interfaces."""
        return sum(endpoint.bytes_down for endpoint in self.interfaces.values())

    @property
    def max_packet_size(self) -> int:  # type: ignore[override]  # others assign it
        """Bytes of the largest packet that any interface can send."""
        return max((endpoint.max_packet_size for endpoint in self.interfaces.values()), default=LARGEST_DATAGRAM)

    @property
    def _sends_bursts(self) -> bool:  # type: ignore[override]  # others assign it
        """Whether any interface sends several packets in less time than each of them."""
        return any(isinstance(endpoint, Endpoint) and endpoint._sends_bursts for endpoint in self.interfaces.values())

    def reset_byte_counters(self) -> None:
        """Count sent and received bytes from 0 again."""
        for endpoint in self.interfaces.values():
            endpoint.reset_byte_counters()

    @property
    def drops(self) -> DropCounter:
        """What all interfaces and this endpoint itself dropped, as a copy."""
        total = DropCounter(self._own_drops)
        for endpoint in self.interfaces.values():
            total.merge(endpoint.drops)
        return total

    @drops.setter
    def drops(self, value: DropCounter) -> None:
        self._own_drops = value

    # Listeners

    def _connect_interfaces(self) -> None:
        """Let the packets of all interfaces, also of those that a program put in by hand, enter by one gate."""
        for endpoint in self.interfaces.values():
            if isinstance(endpoint, Endpoint) and not endpoint.gate.is_joined_to(self.gate):
                can_share = self._can_share_gate(endpoint)
                endpoint.gate.join(self.gate)
                if can_share:
                    endpoint.gate = self.gate
                    endpoint.routes = self.routes

    def _can_share_gate(self, endpoint: Endpoint) -> bool:
        kind, gate = type(endpoint), endpoint.gate
        does_more = (kind.add_listener is not Endpoint.add_listener
                     or kind.add_prefix_listener is not Endpoint.add_prefix_listener
                     or kind.remove_listener is not Endpoint.remove_listener
                     or kind._deliver_later is not Endpoint._deliver_later
                     or kind._on_listener_error is not Endpoint._on_listener_error)
        return not (does_more or gate.listeners or gate.entries or gate.prefixlen != self.prefixlen)

    def _with_own_gate(self) -> list[Endpoint]:
        """The interfaces where listeners have to be registered as well."""
        self._connect_interfaces()
        return [endpoint for endpoint in self.interfaces.values()
                if not isinstance(endpoint, Endpoint) or endpoint.gate is not self.gate]

    def add_listener(self, listener: EndpointListener) -> None:
        """Deliver the packets of all interfaces to ``listener``."""
        super().add_listener(listener)
        for endpoint in self._with_own_gate():
            endpoint.add_listener(listener)

    def add_prefix_listener(self, listener: EndpointListener, prefix: bytes) -> None:
        """Deliver the packets of all interfaces that start with ``prefix``, which has the length that they need."""
        others = self._with_own_gate()
        all_have_own_gates = bool(others) and len(others) == len(self.interfaces)
        if len(prefix) == self.prefixlen or not all_have_own_gates:
            super().add_prefix_listener(listener, prefix)
        for endpoint in others:
            endpoint.add_prefix_listener(listener, prefix)

    def remove_listener(self, listener: EndpointListener) -> None:
        """Remove from all interfaces."""
        super().remove_listener(listener)
        for endpoint in self._with_own_gate():
            endpoint.remove_listener(listener)

    def accept_routes(self, prefix: bytes, routes: Route, base_routes: Route | None = None) -> None:
        """Deliver packets of all interfaces with ``prefix`` only if they come by one of ``routes``."""
        super().accept_routes(prefix, routes, base_routes)
        for endpoint in self._with_own_gate():
            endpoint.accept_routes(prefix, routes, base_routes)

    def prefix_listeners(self, prefix: bytes) -> list[EndpointListener]:
        """The listeners that are registered for ``prefix``, here or with an interface, each once."""
        found = super().prefix_listeners(prefix)
        for endpoint in self._with_own_gate():
            found += endpoint.prefix_listeners(prefix)
        return list(dict.fromkeys(found))

    def notify_listeners(self, packet: tuple[Address, bytes]) -> None:
        """Deliver by every interface, so a listener gets the packet once from each."""
        for endpoint in self.interfaces.values():
            endpoint.notify_listeners(packet)

    def is_open(self) -> bool:
        """Whether any interface is open."""
        for endpoint in self.interfaces.values():  # noqa: SIM110 - half the time of any(), for each further listener
            if endpoint.is_open():
                return True
        return False

    def assert_open(self) -> None:
        """Do nothing if an interface is open.

        :raises AssertionError: otherwise.
        """
        if not self.is_open():
            raise AssertionError("no interface is open: call open() first")

    def get_address(self, interface: str | None = None) -> Address:
        """The address that the named interface is bound to.

        Without a name it is that of the preferred interface or, if it is closed, of the first open one; zero if there
        is no interface.
        """
        endpoint = self.interfaces.get(interface) if interface is not None else None
        if endpoint is None:
            endpoint = self._preferred_interface
            if endpoint is not None and not endpoint.is_open():
                endpoint = next((other for other in self.interfaces.values() if other.is_open()), endpoint)
        return ("0.0.0.0", 0) if endpoint is None else endpoint.get_address()  # noqa: S104 - not a bind

    def send(self, socket_address: Address, packet: bytes, interface: str | None = None) -> None:
        """Send through the named interface or the one that fits the address; without one the packet is dropped.

        :raises KeyError: if there is no interface of the given name.
        """
        if interface is not None:
            self.interfaces[interface].send(socket_address, packet)
            return
        kind = type(socket_address)
        name = FAST_ADDR_TO_INTERFACE.get(kind)
        if name is None:
            if kind in self.routes:
                self.routes[kind](socket_address, packet)
                return
            name = guess_interface(socket_address)
            if name is None and isinstance(socket_address, tuple) and len(socket_address) == 4:
                name = guess_interface(socket_address[:2])  # of a socket: with flow info and scope
        endpoint = self.interfaces.get(name) if name is not None else None
        if endpoint is None:
            self._own_drops.count(DropCounter.SEND_NO_INTERFACE)
        else:
            endpoint.send(socket_address, packet)

    def _has_sent_to(self, address: Address) -> bool:
        """Whether an interface sent a packet to ``address`` lately."""
        return any(endpoint._has_sent_to(address) for endpoint in self.interfaces.values())

    def send_many(self, socket_address: Address, packets: Sequence[bytes]) -> None:
        """Send several packets to the same address, in order, through the interface that fits the address."""
        name = FAST_ADDR_TO_INTERFACE.get(type(socket_address))
        endpoint = None if name is None else self.interfaces.get(name)
        if endpoint is None or self._sends_singly() or type(self).send is not DispatcherEndpoint.send:
            super().send_many(socket_address, packets)
        else:
            endpoint.send_many(socket_address, packets)

    async def open(self) -> bool:
        """Open all interfaces, one after another; whether any of them is open then.

        If the endpoint is closed before that is done, all of them are closed in the end.
        """
        self._connect_interfaces()
        self._wanted = True
        opened = False
        for endpoint in tuple(self.interfaces.values()):
            result: Any = endpoint.open()
            if isawaitable(result):
                result = await result
                if not self._wanted:  # it was closed meanwhile
                    await self.close()
                    return False
            opened = bool(endpoint.is_open() if result is None else result) or opened
        return opened

    async def open_late(self) -> None:
        """Open the interfaces whose address this machine has by now; nothing while the endpoint is closed."""
        if self._wanted:
            closed = [name for name, endpoint in self.interfaces.items()
                      if not endpoint.is_open() and name in self._hosts]
            here = {parse_host(host) for host in get_lan_addresses()} if closed else ()
            for name in closed:
                if self._wanted and parse_host(self._hosts[name]) in here:
                    result: Any = self.interfaces[name].open()
                    if isawaitable(result):
                        await result
            if not self._wanted:  # it was closed meanwhile
                await self.close()

    async def close(self) -> None:
        """Close all interfaces."""
        self._wanted = False
        results = [endpoint.close() for endpoint in self.interfaces.values()]
        await asyncio.gather(*(result for result in results if result is not None))


if TYPE_CHECKING:  # programs import these from here
    from ....util import maybe_coroutine as maybe_coroutine
    from ...address import Address as Address
else:
    __getattr__, __dir__ = reexports(__name__, {"...address": "Address", "....util": "maybe_coroutine"})
