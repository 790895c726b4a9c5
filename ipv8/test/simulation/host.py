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
"""The machine that the running code belongs to. Each host has a context, which its tasks and timers inherit."""


class Host:
    """A machine with at most one IPv4 and one IPv6 interface.

    :param name: a name for logs and messages.
    :param wires: the network.
    :param firewall: a filter for packets that arrive on any interface.
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
        self.wall_offset = 0.0
        """Seconds by which the wall clock of this machine is ahead of the wall clock of the simulation."""
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
        """The interfaces of the machine, or of its outermost router, on the Internet."""
        found = []
        for interface in self.interfaces:
            outer = interface
            while (gateway := outer.segment.gateway) is not None:
                outer = gateway.interface
            found.append(outer)
        return found

    @property
    def ips(self) -> list[str]:
        """The addresses of the interfaces of the machine itself."""
        return [ip for interface in self.interfaces for ip in interface.ips]

    def public_address(self, port: int, ipv6: bool = False) -> Address:
        """The address of a port on the Internet. A NAT may drop what is sent there.

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
        """Call ``function(*args)`` on this machine, so that it and its tasks see the addresses of this machine."""
        return function(*args) if current_host.get() is self else self.context.run(function, *args)

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock of this machine forward, or back by a negative number. Monotonic time does not change."""
        self.wall_offset += seconds

    # Cables

    @property
    def connected(self) -> bool:
        """Whether any interface is connected."""
        return any(interface.connected for interface in self.interfaces)

    def disconnect(self) -> None:
        """Disconnect all interfaces: packets are neither sent nor received, and the software is not told."""
        for interface in self.interfaces:
            interface.connected = False

    def reconnect(self) -> None:
        """Connect all interfaces again."""
        for interface in self.interfaces:
            interface.connected = True

    # Sockets

    def bind(self, endpoint: SimulatedEndpoint, port: int) -> int | None:
        """Bind ``endpoint`` to ``port``, 0 for any, or to the next free one; ``None`` if there is none."""
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
        """Free the port of ``endpoint``."""
        key = (endpoint.SOCKET_FAMILY != AF_INET, port)
        if self._sockets.get(key) is endpoint:
            del self._sockets[key]

    def send(self, port: int, destination: Address, data: bytes) -> None:
        """Send a packet from ``port``. It arrives in the next iteration of the event loop, or later."""
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
        """Take a packet that arrived on an interface."""
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
    """Finds the addresses of the simulated machine that the code runs on, not those of the real machine."""

    def get_addresses(self) -> set[str]:
        """The addresses of :data:`current_host`."""
        host = current_host.get()
        return set() if host is None else set(host.ips)

    def discover_addresses(self, min_interval: float = 10.0) -> None:
        """Do nothing: the addresses are always known."""

    def get_addresses_buffered(self) -> set[str]:
        """The same as :meth:`get_addresses`."""
        return self.get_addresses()
