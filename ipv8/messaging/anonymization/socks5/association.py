"""UDP through circuits: what a client of the proxy has asked for by UDP ASSOCIATE."""

from __future__ import annotations

import asyncio
from collections import deque
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, cast

from ....limits import BoundedDict
from ...address import UDPv4Address
from ..tunnel import CIRCUIT_ID_PORT, CIRCUIT_STATE_READY, PEER_FLAG_EXIT_BT
from .protocol import NOWHERE, pack_datagram, read_datagram

if TYPE_CHECKING:
    from ...address import Address
    from ..tunnel import Circuit
    from .host import TunnelHost
    from .protocol import Destination

__all__ = ["Association"]

QUEUE_LENGTH = 64
"""Datagrams that wait for a circuit; the oldest is dropped first."""
MAX_DESTINATIONS = 256
"""Destinations of one association that are remembered; the oldest is forgotten first."""


class Association(asyncio.DatagramProtocol):
    """Passes the datagrams of one client on, through a circuit that nothing else uses.

    Nothing is sent past the circuit. While there is none, datagrams wait, and then are dropped.

    :param community: has the circuit.
    :param hops: its length.
    :param client_host: datagrams are only taken from this host, and from the first of its ports that sends one.
    :param default_client: where data are sent before the client has sent anything.
    :param timeout: seconds that a circuit may take.
    """

    def __init__(self, community: TunnelHost, hops: int, client_host: str, default_client: Address | None,
                 timeout: float) -> None:
        self._community = community
        self._hops = hops
        self._client_host = client_host
        self._client: Any = default_client
        self._is_bound = False
        self._timeout = timeout
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: deque[tuple[Destination, bytes]] = deque(maxlen=QUEUE_LENGTH)
        self._taking: asyncio.Task[None] | None = None
        self._destinations: BoundedDict[tuple[str, int], None] = BoundedDict(MAX_DESTINATIONS)
        self._end_to_end: list[Circuit] = []
        self.circuit: Circuit | None = None
        self.dropped = 0

    @property
    def circuits(self) -> list[Circuit]:
        """The circuits in use."""
        return [circuit for circuit in (self.circuit, *self._end_to_end)
                if circuit is not None and circuit.state == CIRCUIT_STATE_READY]

    @property
    def destinations(self) -> list[tuple[str, int]]:
        """Where the client has sent datagrams."""
        return list(self._destinations)

    async def open(self, host: str) -> tuple[str, int]:
        """Open the socket for the client; its address.

        :raises OSError: if the system refuses.
        """
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self._transport = transport
        bound: tuple[str, int] = transport.get_extra_info("sockname")[:2]
        return bound

    def close(self) -> None:
        """Close the socket and the circuit."""
        if self._taking is not None:
            self._taking.cancel()
        if self._transport is not None:
            self._transport.close()
        for circuit in self._end_to_end:
            circuit.receiver = None
        if self.circuit is not None:
            self.circuit.receiver = None
            self._community.pool.give_back(self.circuit)
            self.circuit = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def error_received(self, exc: Exception) -> None:
        """Ignore that the client did not take a datagram."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass a datagram of the client on."""
        if addr[0] != self._client_host or (self._is_bound and addr != self._client):
            self.dropped += 1
            return
        found = read_datagram(data)
        if found is None:
            self.dropped += 1
            return
        self._client, self._is_bound = addr, True
        destination, payload = found
        self._destinations[destination[0], destination[1]] = None
        if destination[1] == CIRCUIT_ID_PORT and isinstance(destination, UDPv4Address):
            self._send_end_to_end(destination, payload)
            return
        circuit = self.circuit
        if circuit is not None and circuit.state == CIRCUIT_STATE_READY:
            self._send(circuit, destination, payload)
            return
        self._waiting.append((destination, payload))
        if self._taking is None:
            self._taking = asyncio.ensure_future(self._take())

    def _send(self, circuit: Circuit, destination: Address, payload: bytes) -> None:
        hop = circuit.hop
        if hop is not None:
            self._community.send_data(hop.address, circuit.circuit_id, destination, NOWHERE, payload)

    async def _take(self) -> None:
        """Get a circuit, and send what waits for it."""
        try:
            if self.circuit is not None:
                self.circuit.receiver = None
                self._community.pool.give_back(self.circuit)
                self.circuit = None
            circuit = await self._community.pool.take(self._hops, (PEER_FLAG_EXIT_BT,), self._timeout)
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            self.dropped += len(self._waiting)
            self._waiting.clear()
            return
        finally:
            self._taking = None
        self.circuit = circuit
        circuit.receiver = self._on_data
        while self._waiting:
            self._send(circuit, *self._waiting.popleft())

    def _send_end_to_end(self, destination: UDPv4Address, payload: bytes) -> None:
        """Send through the circuit to a hidden service that a pseudo address stands for."""
        circuit = self._community.circuits.get(int(IPv4Address(destination.ip)))
        if circuit is None or not circuit.e2e or circuit.state != CIRCUIT_STATE_READY:
            self.dropped += 1
            return
        if circuit.receiver is None:
            circuit.receiver = lambda _, data: self._on_data(destination, data)
            self._end_to_end = [*self.circuits_to_services(), circuit]
        self._send(circuit, destination, payload)

    def circuits_to_services(self) -> list[Circuit]:
        """The circuits to hidden services that are still there."""
        return [circuit for circuit in self._end_to_end if circuit.state == CIRCUIT_STATE_READY]

    def _on_data(self, origin: Address, data: bytes) -> None:
        """Tell the client what came out of a circuit."""
        if self._client is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(pack_datagram((origin[0], origin[1]), data), self._client)
