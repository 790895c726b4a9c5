"""A simulated machine: addresses, ports, and a firewall if it has one."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any

from ...messaging.address import UDPv4Address, UDPv6Address
from ...messaging.interfaces.lan_addresses.addressprovider import AddressProvider
from .network import MAX_DATAGRAM, Interface, Router
from .trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address
    from .endpoint import SimulatedEndpoint
    from .nat import Firewall
    from .network import Wires

__all__ = ["Host", "HostAddresses", "current_host"]

FIRST_EPHEMERAL_PORT = 32768

current_host: ContextVar[Host | None] = ContextVar("current_host", default=None)
"""The machine that the running code is on. Every host has a context of its own, which its tasks and timers inherit."""


class Host:
    """A machine with at most one IPv4 and one IPv6 interface.

    :param name: for people.
    :param wires: the network.
    :param firewall: filters what arrives on all interfaces.
    """

    def __init__(self, name: str, wires: Wires, firewall: Firewall | None = None) -> None:
        self.name = name
        self.firewall = firewall
        self.ipv4: Interface | None = None
        self.ipv6: Interface | None = None
        self.router: Router | None = None
        self.context = copy_context()
        self.context.run(current_host.set, self)
        self.packets_sent = 0
        self.packets_received = 0
        self._wires = wires
        self._sockets: dict[tuple[bool, int], SimulatedEndpoint] = {}

    def __repr__(self) -> str:
        return f"<Host {self.name}: {', '.join(self.ips)}>"

    @property
    def interfaces(self) -> list[Interface]:
        """The interfaces of the machine itself."""
        return [interface for interface in (self.ipv4, self.ipv6) if interface is not None]

    @property
    def outer_interfaces(self) -> list[Interface]:
        """Where the machine, or its outermost router, is plugged into the Internet."""
        found = []
        for interface in self.interfaces:
            outer = interface
            while (gateway := outer.segment.gateway) is not None:
                outer = gateway.interface
            found.append(outer)
        return found

    @property
    def ips(self) -> list[str]:
        """The addresses that the machine itself knows of."""
        return [ip for interface in self.interfaces for ip in interface.ips]

    def public_address(self, port: int, ipv6: bool = False) -> Address:
        """Where a port is reached from the Internet, as far as a NAT lets anybody reach it there.

        :raises ValueError: if the machine has no such interface.
        """
        interface = self.ipv6 if ipv6 else self.ipv4
        if interface is None:
            raise ValueError(f"{self.name} has no {'IPv6' if ipv6 else 'IPv4'} interface")
        if ipv6:
            return UDPv6Address(interface.ips[0], port)
        while (gateway := interface.segment.gateway) is not None:
            interface = gateway.interface
        return UDPv4Address(interface.ips[0], port)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)`` on this machine: it, and every task that it starts, sees this host's addresses."""
        return function(*args) if current_host.get() is self else self.context.run(function, *args)

    # Cables

    @property
    def connected(self) -> bool:
        """Whether any interface has its cable plugged in."""
        return any(interface.connected for interface in self.interfaces)

    def disconnect(self) -> None:
        """Pull all cables: nothing is sent and received, and nobody is told."""
        for interface in self.interfaces:
            interface.connected = False

    def reconnect(self) -> None:
        """Plug all cables in again."""
        for interface in self.interfaces:
            interface.connected = True

    # Sockets

    def bind(self, endpoint: SimulatedEndpoint, port: int) -> int | None:
        """Give ``endpoint`` a port: this one or the next free one above it, any for 0; ``None`` if that fails."""
        is_ipv6 = endpoint.SOCKET_FAMILY == AF_INET6
        if (self.ipv6 if is_ipv6 else self.ipv4) is None:
            return None
        first = port or self._wires.chance.randint(FIRST_EPHEMERAL_PORT, 60999)
        for candidate in range(first, 65536):
            if (is_ipv6, candidate) not in self._sockets:
                self._sockets[is_ipv6, candidate] = endpoint
                return candidate
        return None

    def unbind(self, endpoint: SimulatedEndpoint, port: int) -> None:
        """Free a port that ``endpoint`` has."""
        key = (endpoint.SOCKET_FAMILY != AF_INET, port)
        if self._sockets.get(key) is endpoint:
            del self._sockets[key]

    def send(self, port: int, destination: Address, data: bytes) -> None:
        """Send a packet from a port; nothing arrives before the next iteration of the event loop."""
        wires = self._wires
        now = wires.loop.time()
        interface = self.ipv6 if type(destination) is UDPv6Address else self.ipv4
        self.packets_sent += 1
        if interface is None or not interface.ips:
            wires.drop(Trace.UNROUTABLE)
            return
        if not interface.connected:
            wires.drop(Trace.DISCONNECTED)
            return
        family = UDPv6Address if interface is self.ipv6 else UDPv4Address
        if destination[0] in {"127.0.0.1", "::1"}:
            wires.loop.schedule(now, self._deliver, family(destination[0], port), destination, data)
            return
        source = family(interface.ips[0], port)
        wires.trace.send(now, source, destination, data)
        if len(data) > MAX_DATAGRAM:
            wires.drop(Trace.TOO_BIG)
            return
        if self.firewall is not None:
            self.firewall.outbound(source, destination, now)
        interface.send(source, destination, data)

    def receive(self, source: Address, destination: Address, data: bytes) -> None:
        """Take a packet from an interface."""
        if self.firewall is not None and not self.firewall.inbound(source, destination, self._wires.loop.time()):
            self._wires.drop(Trace.FILTERED)
        else:
            self._deliver(source, destination, data)

    def _deliver(self, source: Address, destination: Address, data: bytes) -> None:
        endpoint = self._sockets.get((type(destination) is UDPv6Address, destination[1]))
        if endpoint is None:
            self._wires.drop(Trace.NO_SOCKET)
            return
        self._wires.trace.delivered += 1
        self.packets_received += 1
        self.context.run(endpoint.receive, source, data)


class HostAddresses(AddressProvider):
    """Lets the library find the addresses of the simulated machine that it runs on, and never those of the real one."""

    def get_addresses(self) -> set[str]:
        """The addresses of :data:`current_host`."""
        host = current_host.get()
        return set() if host is None else set(host.ips)

    def discover_addresses(self, min_interval: float = 10.0) -> None:
        """Nothing: they are always known."""

    def get_addresses_buffered(self) -> set[str]:
        """The same as :meth:`get_addresses`."""
        return self.get_addresses()
