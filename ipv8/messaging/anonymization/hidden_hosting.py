"""Hidden services that carry the messages of overlays (doc/protocol/hidden_services.md section 8)."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import entropy
from ...keyvault.crypto import default_eccrypto
from ...util import current_loop
from ..address import HiddenAddress
from ..inet import overlay_host
from ..interfaces.network_stats import DropCounter
from ..interfaces.routes import DEFAULT_ROUTES, FIRST_BASE_MESSAGE, PREFIX_LENGTH, Route
from .tunnel import (
    CIRCUIT_STATE_CLOSING,
    CIRCUIT_STATE_EXTENDING,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_SEEDER,
)

if TYPE_CHECKING:
    from asyncio import Future

    from ...keyvault.keys import PrivateKey
    from ..address import Address
    from ..interfaces.endpoint import Endpoint
    from .hidden_services import HiddenTunnelCommunity
    from .tunnel import Circuit

__all__ = ["HiddenHosting", "HostedService", "info_hash_of_service"]

SERVICE_LABEL = b"ipv8 hidden service"
HIDDEN_PORT = 2
NOWHERE: Address = ("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire

RETRY_INTERVAL = 5.0
"""Seconds between two attempts to find a service that is waited for, and to replace a lost introduction point."""


def info_hash_of_service(community_id: bytes, service_key: bytes) -> bytes:
    """The info hash, 20 bytes, of the swarm of one service of one overlay.

    :param community_id: of the overlay.
    :param service_key: the serialized public key of the service.
    """
    return sha256(SERVICE_LABEL + community_id + service_key).digest()[:20]


class Connection(NamedTuple):
    """A connection of an overlay.

    :param circuit: the circuit that its packets go through.
    :param address: the address by which the overlay knows the other end.
    :param listener: whose packets they are.
    """

    circuit: Circuit
    address: HiddenAddress
    listener: Listener


class Listener(NamedTuple):
    """An overlay that has connections.

    :param endpoint: its endpoint.
    :param prefix: the first 22 bytes of its packets.
    """

    endpoint: Endpoint
    prefix: bytes


class HostedService:
    """A hidden service of an overlay of this node, until it is closed.

    As an async context manager it closes at the end of the block.
    """

    def __init__(self, hosting: HiddenHosting, listener: Listener, key: PrivateKey, introduction_points: int) -> None:
        self._hosting = hosting
        self._has_point: Future[None] = current_loop().create_future()
        self.listener = listener
        self.introduction_points = introduction_points
        #: The serialized public key that others connect to.
        self.service_key = key.pub().key_to_bin()
        self.info_hash = info_hash_of_service(listener.prefix[2:], self.service_key)
        #: The circuits to the nodes that have agreed to introduce clients.
        self.introduced: set[int] = set()

    def note_introduced(self, circuit_id: int) -> None:
        """A node has agreed to introduce clients."""
        self.introduced.add(circuit_id)
        if not self._has_point.done():
            self._has_point.set_result(None)

    async def wait_until_reachable(self, timeout: float) -> None:
        """Wait until a node has agreed to introduce clients.

        :raises TimeoutError: if none has in time.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self._has_point), timeout)
        except asyncio.TimeoutError:
            raise TimeoutError(f"no node agreed within {timeout:g} s to introduce clients to the service: it needs "
                               "peers that relay") from None

    async def close(self) -> None:
        """Stop to be reachable, and close all connections of the service."""
        self._hosting.stop(self)

    async def __aenter__(self) -> HostedService:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class HiddenHosting:
    """The connections of overlays to and from hidden services.

    :param community: what makes the circuits.
    """

    def __init__(self, community: HiddenTunnelCommunity) -> None:
        self._community = community
        self._services: dict[bytes, HostedService] = {}
        self._wanted: dict[bytes, tuple[Listener, HiddenAddress]] = {}
        self._by_circuit: dict[int, Connection] = {}
        self._by_address: dict[HiddenAddress, Connection] = {}
        self._waiting: dict[bytes, list[Future[HiddenAddress]]] = {}
        community.endpoint.routes.hidden.provider = self
        community.register_task("keep introduction points", self._keep_introduction_points, interval=RETRY_INTERVAL)

    async def close(self) -> None:
        """Close all services and connections."""
        self._community.endpoint.routes.hidden.withdraw(self)
        for listener in {service.listener for service in self._services.values()} | {
                listener for listener, _ in self._wanted.values()}:
            self.leave(listener.prefix)

    def leave(self, prefix: bytes) -> None:
        """Close everything that there is for the packets with ``prefix``."""
        for service in [service for service in self._services.values() if service.listener.prefix == prefix]:
            self.stop(service)
        for info_hash in [info_hash for info_hash, (listener, _) in self._wanted.items() if listener.prefix == prefix]:
            self._give_up(info_hash)

    @staticmethod
    def _listen(listener: Listener) -> None:
        """Let packets of connections in, in addition to the others."""
        entry = listener.endpoint.gate.entries.get(listener.prefix)
        routes = DEFAULT_ROUTES if entry is None else Route(entry.routes)
        base_routes = DEFAULT_ROUTES if entry is None else Route(entry.base_routes)
        listener.endpoint.accept_routes(listener.prefix, routes | Route.CIRCUIT, base_routes)

    # Services of this node

    async def serve(self, endpoint: Endpoint, prefix: bytes, key: PrivateKey, hops: int, introduction_points: int,
                    timeout: float) -> HostedService:
        """Be reachable as a service.

        :raises TimeoutError: if no node agrees in time to introduce clients.
        """
        listener = Listener(endpoint, prefix)
        service = HostedService(self, listener, key, introduction_points)
        if service.info_hash in self._services:
            raise RuntimeError("this overlay is a hidden service already: close that first")
        self._listen(listener)
        self._services[service.info_hash] = service
        self._community.join_swarm(service.info_hash, hops, seeding=True, seeder_sk=key)
        self._keep_introduction_points()
        try:
            await service.wait_until_reachable(timeout)
        except BaseException:
            self.stop(service)
            raise
        return service

    def stop(self, service: HostedService) -> None:
        """Stop to be reachable, and close all connections of the service."""
        if self._services.get(service.info_hash) is service:
            del self._services[service.info_hash]
            self._community.leave_swarm(service.info_hash)

    def _keep_introduction_points(self) -> None:
        """Replace the introduction points that were lost."""
        community = self._community
        for service in tuple(self._services.values()):
            circuits = [circuit for circuit in community.circuits.values()
                        if circuit.info_hash == service.info_hash and circuit.ctype == CIRCUIT_TYPE_IP_SEEDER
                        and circuit.state != CIRCUIT_STATE_CLOSING]
            service.introduced &= {circuit.circuit_id for circuit in circuits}
            for _ in range(service.introduction_points - len(circuits)):
                community.register_anonymous_task("introduction point", community.create_introduction_point,
                                                  service.info_hash)

    def on_introduced(self, circuit: Circuit) -> None:
        """A node has agreed to introduce clients to a service of this node."""
        service = self._services.get(circuit.info_hash or b"")
        if service is not None:
            service.note_introduced(circuit.circuit_id)

    # Services of others

    async def connect(self, endpoint: Endpoint, prefix: bytes, service_key: bytes, hops: int,
                      timeout: float) -> HiddenAddress:
        """Connect to a service, unless there is a connection.

        :raises TimeoutError: if that takes too long.
        """
        mid = default_eccrypto.key_from_network(service_key).key_to_hash()
        address = HiddenAddress(overlay_host(mid), HIDDEN_PORT)
        info_hash = info_hash_of_service(prefix[2:], service_key)
        known = self._by_address.get(address)
        if known is not None and known.circuit.state == CIRCUIT_STATE_READY and known.listener.prefix == prefix:
            return address
        if info_hash not in self._wanted:
            listener = Listener(endpoint, prefix)
            self._listen(listener)
            self._wanted[info_hash] = listener, address
            self._community.join_swarm(info_hash, hops, lambda pseudo: self._on_connected(info_hash, pseudo),
                                       seeding=False, service_pk=service_key)
        connected: Future[HiddenAddress] = current_loop().create_future()
        self._waiting.setdefault(info_hash, []).append(connected)
        try:
            return await asyncio.wait_for(self._look_until(info_hash, connected), timeout)
        except asyncio.TimeoutError:
            raise TimeoutError(f"the hidden service did not answer within {timeout:g} s") from None
        finally:
            waiting = self._waiting[info_hash]
            waiting.remove(connected)
            if not waiting:
                del self._waiting[info_hash]
                if not self._is_connected(info_hash):
                    self._give_up(info_hash)

    async def _look_until(self, info_hash: bytes, connected: Future[HiddenAddress]) -> HiddenAddress:
        community = self._community
        while True:
            swarm = community.swarms.get(info_hash)
            if swarm is None:
                raise RuntimeError("the overlay was unloaded while it was connecting")
            waiting: list[Future[Any]] = [connected]
            if not swarm.connections:
                community.do_circuits()
                if community.select_circuit_for_infohash(info_hash) is not None:
                    await community.look_for_services(swarm)
                else:
                    waiting += [circuit.ready for circuit in community.find_circuits(state=CIRCUIT_STATE_EXTENDING,
                                                                                     hops=swarm.hops)]
            is_busy = swarm.attempts or swarm.connections
            await asyncio.wait(waiting, timeout=RETRY_INTERVAL if is_busy else RETRY_INTERVAL / 5,
                               return_when=asyncio.FIRST_COMPLETED)
            if connected.done():
                return connected.result()

    def _is_connected(self, info_hash: bytes) -> bool:
        wanted = self._wanted.get(info_hash)
        known = None if wanted is None else self._by_address.get(wanted[1])
        return known is not None and known.circuit.state == CIRCUIT_STATE_READY

    def _on_connected(self, info_hash: bytes, pseudo: Address) -> None:
        """A connection is complete; ``pseudo`` is the pseudo address of its circuit."""
        community = self._community
        circuit = community.circuits.get(community.ip_to_circuit_id(pseudo[0]))
        wanted = self._wanted.get(info_hash)
        if circuit is None or wanted is None:
            return
        listener, address = wanted
        self._note(Connection(circuit, address, listener))
        for connected in self._waiting.get(info_hash, ()):
            if not connected.done():
                connected.set_result(address)

    def _give_up(self, info_hash: bytes) -> None:
        """Look for a service no more; who waits for it is told at the next look."""
        if self._wanted.pop(info_hash, None) is not None:
            self._community.leave_swarm(info_hash)

    # Packets

    def _note(self, connection: Connection) -> None:
        self._by_circuit[connection.circuit.circuit_id] = connection
        self._by_address[connection.address] = connection

    def forget(self, circuit_id: int) -> None:
        """A circuit is closed."""
        connection = self._by_circuit.pop(circuit_id, None)
        if connection is not None and self._by_address.get(connection.address) is connection:
            del self._by_address[connection.address]

    def send(self, address: HiddenAddress, packet: bytes) -> bool:
        """Send a packet to the other end of a connection; ``False`` if there is none."""
        connection = self._by_address.get(address)
        if connection is None or connection.circuit.state != CIRCUIT_STATE_READY or connection.circuit.hop is None:
            return False
        self._community.send_data(connection.circuit.hop.address, connection.circuit.circuit_id, NOWHERE, NOWHERE,
                                  packet)
        return True

    def receive(self, circuit: Circuit, packet: bytes) -> None:
        """Deliver a packet of a connection to its overlay."""
        connection = self._by_circuit.get(circuit.circuit_id)
        if connection is None:
            service = self._services.get(circuit.info_hash or b"")
            if (service is None or circuit.ctype != CIRCUIT_TYPE_RP_SEEDER
                    or circuit.state == CIRCUIT_STATE_CLOSING):  # nobody would forget the connection
                return
            # The client has no key that is known here, so that its address is random.
            address = HiddenAddress(overlay_host(entropy.randbytes(20)), HIDDEN_PORT)
            connection = Connection(circuit, address, service.listener)
            self._note(connection)
        endpoint, prefix = connection.listener
        if (len(packet) <= PREFIX_LENGTH or packet[:PREFIX_LENGTH] != prefix
                or packet[PREFIX_LENGTH] >= FIRST_BASE_MESSAGE):
            self._community.drops.count(DropCounter.WRONG_ROUTE)
            return
        if endpoint.is_open():
            endpoint.gate.receive((connection.address, packet), Route.CIRCUIT)
