"""An exit that sends by a mock endpoint (doc/testing.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messaging.anonymization.exit_policy import DataChecker
from ...messaging.anonymization.exit_socket import TunnelExitSocket
from ...messaging.interfaces.endpoint import EndpointListener
from .endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from ...messaging.address import Address

__all__ = ["MockTunnelExitSocket"]


class MockTunnelExitSocket(TunnelExitSocket, EndpointListener):
    """Takes the place of an exit socket in ``exit_sockets``, with an open mock endpoint in place of its sockets.

    :param parent: the exit socket whose place it takes. It is closed together with this one.
    """

    def __init__(self, parent: TunnelExitSocket) -> None:
        self.endpoint = AutoMockEndpoint()
        self.endpoint.open()
        TunnelExitSocket.__init__(self, parent.circuit_id, parent.hop, parent.overlay)
        self.parent = parent
        self.proven = parent.proven
        EndpointListener.__init__(self, self.endpoint, main_thread=False)
        self.endpoint.add_listener(self)

    def enable(self) -> None:
        """Note that data leave."""
        self.enabled = True

    def sendto(self, data: bytes, destination: Address) -> None:
        """Send to another mock endpoint.

        :raises AssertionError: if the data are neither BitTorrent traffic nor a packet of an overlay.
        """
        if not (DataChecker.could_be_bt(data) or DataChecker.could_be_ipv8(data)):
            raise AssertionError("an exit was given data that it must not pass")
        self.endpoint.send(destination, data)

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Handle a packet that came for the circuit."""
        source, data = packet
        self.datagram_received(data, source)

    async def close(self) -> None:
        """End all tasks, and close the exit socket whose place this one takes."""
        if self.has_tasks:
            await self.shutdown_task_manager()
        await self.parent.close()
