"""An endpoint on a simulated host."""

from __future__ import annotations

from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING

from ...messaging.address import UDPv4Address, UDPv6Address
from ...messaging.inet import ipv6_to_bytes, is_orchid
from ...messaging.interfaces.dispatcher.endpoint import guess_interface
from ...messaging.interfaces.endpoint import Endpoint, EndpointClosedException
from ...messaging.interfaces.network_stats import DropCounter

if TYPE_CHECKING:
    from ...messaging.address import Address
    from .host import Host

__all__ = ["SimulatedEndpoint", "SimulatedIPv6Endpoint"]


class SimulatedEndpoint(Endpoint):
    """A UDP socket over IPv4 of a simulated host; what ``UDPEndpoint`` is on a real one.

    :param host: the host.
    :param port: the port to bind, 0 for any; if it is taken, the next free one is used: ``get_address`` tells.
    """

    SOCKET_FAMILY = AF_INET
    WILDCARD: Address = UDPv4Address("0.0.0.0", 0)
    INTERFACE = "UDPIPv4"
    ADDRESS_CLASS: type[UDPv4Address | UDPv6Address] = UDPv4Address

    def __init__(self, host: Host, port: int = 0) -> None:
        super().__init__()
        self.host = host
        self.bytes_up = 0
        self.bytes_down = 0
        self._port = port
        self._running = False

    async def open(self) -> bool:
        """Bind a port of the host; ``False`` if it has no address of this kind, or no free port."""
        return self.open_now()

    def open_now(self) -> bool:
        """The same as :meth:`open`, for code that is not asynchronous."""
        if not self._running:
            port = self.host.bind(self, self._port)
            if port is None:
                return False
            self._port = port
            self._running = True
        return True

    def close(self) -> None:
        """Free the port."""
        if self._running:
            self._running = False
            self.host.unbind(self, self._port)
            self.gate.release()

    def assert_open(self) -> None:
        """Do nothing if the endpoint is open.

        :raises EndpointClosedException: otherwise.
        """
        if not self._running:
            raise EndpointClosedException(self)

    def is_open(self) -> bool:
        """Whether packets are sent and received."""
        return self._running

    def get_address(self) -> Address:
        """The bound address: all interfaces of the host, and the port.

        :raises EndpointClosedException: if the endpoint is not open.
        """
        self.assert_open()
        return self.ADDRESS_CLASS(self.WILDCARD[0], self._port)

    def reset_byte_counters(self) -> None:
        """Count sent and received bytes from 0 again."""
        self.bytes_up = 0
        self.bytes_down = 0

    def send(self, socket_address: Address, packet: bytes) -> None:
        """Send a packet, if the endpoint is open and the address is one of its IP version."""
        if not self._running:
            self.drops.count(DropCounter.SEND_CLOSED)
            return
        destination, kind = socket_address, type(socket_address)
        if kind is not self.ADDRESS_CLASS:
            if kind in self.routes:
                self.routes[kind](socket_address, packet)
                return
            if guess_interface(destination) != self.INTERFACE:
                self.drops.count(DropCounter.SEND_MALFORMED)
                return
            destination = self.ADDRESS_CLASS(*destination)
        if not 0 < destination[1] < 65536 or destination[0] == self.WILDCARD[0]:
            self.drops.count(DropCounter.SEND_FAILED)
            return
        if destination[0].startswith("2001:") and is_orchid(ipv6_to_bytes(destination[0])):
            self.drops.count(DropCounter.SEND_NO_ROUTE)
            return
        self.bytes_up += len(packet)
        self.host.send(self._port, destination, bytes(packet))

    def receive(self, source: Address, data: bytes) -> None:
        """Deliver a packet that the host received."""
        self.bytes_down += len(data)
        self.notify_listeners((source, data))


class SimulatedIPv6Endpoint(SimulatedEndpoint):
    """A UDP socket over IPv6 of a simulated host."""

    SOCKET_FAMILY = AF_INET6
    WILDCARD = UDPv6Address("::", 0)
    INTERFACE = "UDPIPv6"
    ADDRESS_CLASS = UDPv6Address
