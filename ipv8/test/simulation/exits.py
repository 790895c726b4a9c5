"""The sockets of the exits of tunnels, on simulated hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...messaging.interfaces.endpoint import EndpointListener
from .endpoint import SimulatedEndpoint, SimulatedIPv6Endpoint
from .host import current_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address

__all__ = ["SimulatedProtocol"]


class SimulatedTransport(EndpointListener):
    """A bound socket of an exit."""

    def __init__(self, endpoint: SimulatedEndpoint, received: Callable[[bytes, Any], object]) -> None:
        super().__init__(endpoint)
        self._received = received
        self._bound = endpoint
        endpoint.add_listener(self)

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Hand on what arrives."""
        source, data = packet
        self._received(data, source)

    def sendto(self, data: bytes, address: Address) -> None:
        """Send a packet."""
        self._bound.send(address, data)

    def close(self) -> None:
        """Free the port."""
        self._bound.close()


class SimulatedProtocol:
    """What :class:`~ipv8.messaging.anonymization.exit_socket.TunnelProtocol` is on a real machine.

    :param received_cb: called with the data and the source of each packet.
    :param local_addr: decides on IPv4 or IPv6.
    """

    def __init__(self, received_cb: Callable[[bytes, Any], object], local_addr: Address) -> None:
        self._received = received_cb
        self._is_ipv6 = ":" in local_addr[0]

    async def open(self) -> SimulatedTransport:
        """Bind a free port of the host that runs this.

        :raises OSError: if it has no address of this kind.
        """
        host = current_host.get()
        if host is None:
            raise OSError("an exit can only be opened on a simulated host")
        endpoint = (SimulatedIPv6Endpoint if self._is_ipv6 else SimulatedEndpoint)(host)
        if not endpoint.open_now():
            raise OSError("the host has no address of this kind")
        return SimulatedTransport(endpoint, self._received)
