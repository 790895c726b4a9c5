"""Hidden services: who connects and who is connected to do not know where the other one is.

See doc/protocol/hidden_services.md.
"""

from __future__ import annotations

from asyncio import Future, ensure_future, iscoroutine
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...reexports import reexports
from ..interfaces.network_stats import DropCounter
from .community import unpack_cell
from .crypto import scatter_counters
from .end_to_end import ServiceBudget, accept_connection, open_answer, tunnel_peer
from .exit_policy import is_reachable_address
from .hidden_caches import E2ERequestCache, IPRequestCache, LinkRequestCache, RPRequestCache
from .hidden_hosting import HiddenHosting
from .hidden_payload import (
    CreatedE2EPayload,
    CreateE2EPayload,
    EstablishIntroPayload,
    EstablishRendezvousPayload,
    IntroEstablishedPayload,
    LinkE2EPayload,
    LinkedE2EPayload,
    RendezvousEstablishedPayload,
    RendezvousInfo,
)
from .introducing import NOWHERE, HiddenTunnelSettings
from .swarm import RendezvousPoint
from .swarming import SwarmCommunity
from .tunnel import (
    CIRCUIT_ID_PORT,
    CIRCUIT_STATE_CLOSING,
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
    DESTROY_REASON_UNNEEDED,
    Hop,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from ...peer import Peer
    from ..address import Address
    from .session_keys import SessionKeys
    from .swarm import IntroductionPoint, Swarm
    from .tunnel import Circuit

__all__ = ["HiddenTunnelCommunity", "HiddenTunnelSettings"]

DISCOVERY_INTERVAL = 10.0
"""Seconds between two rounds in which services are looked for."""

UNLINKED_LIFETIME = 60.0
"""Seconds after which a circuit of a service is given up to which no client was joined."""

MAX_UNLINKED = 32
"""Such circuits of one service; the oldest is given up for a further one. Honest clients come within seconds."""

MAX_CLIENTS = 256
"""Clients of one service; further ones are not answered until one has left."""

COOKIE_SIZE = 20


class HiddenTunnelCommunity(SwarmCommunity):
    """A tunnel overlay with hidden services.

    A *swarm* is known by an info hash of 20 bytes. A node joins it as a service, which others can connect to, or to
    connect to the services of others. :meth:`ipv8.community.Community.serve_hidden` and
    :meth:`ipv8.community.Community.connect_hidden` do all of that for the messages of an overlay.
    """

    def __init__(self, settings: HiddenTunnelSettings) -> None:
        super().__init__(settings)
        self._budgets: dict[bytes, ServiceBudget] = {}
        self.hosting = HiddenHosting(self)
        self.add_cell_handler(IntroEstablishedPayload, self.on_intro_established)
        self.add_cell_handler(RendezvousEstablishedPayload, self.on_rendezvous_established)
        self.add_cell_handler(CreatedE2EPayload, self.on_created_e2e)
        self.add_cell_handler(LinkedE2EPayload, self.on_linked_e2e)
        self.register_task("do_peer_discovery", self.do_peer_discovery, interval=DISCOVERY_INTERVAL)

    async def unload(self) -> None:
        """Close everything."""
        await self.hosting.close()
        await super().unload()

    # Circuits

    def leave_swarm(self, info_hash: bytes) -> None:
        """Leave a swarm, and close all circuits for it; nothing happens if it was not joined."""
        super().leave_swarm(info_hash)
        self._budgets.pop(info_hash, None)

    def do_circuits(self) -> None:
        """Build the circuits that are needed, and remove others, with those of services to which no client came."""
        super().do_circuits()
        horizon = clock.monotonic() - UNLINKED_LIFETIME
        for circuit_id, circuit in tuple(self.circuits.items()):
            if circuit.ctype == CIRCUIT_TYPE_RP_SEEDER and not circuit.e2e and circuit.created < horizon:
                self.remove_circuit(circuit_id, "no client came", destroy=DESTROY_REASON_UNNEEDED)

    def do_ping(self, exclude: Collection[int] | None = None) -> None:
        """Ping all circuits, but not those that wait for their other end: the node in between cannot read it."""
        unlinked = [circuit_id for circuit_id, circuit in self.circuits.items()
                    if circuit.ctype == CIRCUIT_TYPE_RP_SEEDER
                    or (circuit.ctype == CIRCUIT_TYPE_RP_DOWNLOADER and not circuit.e2e)]
        super().do_ping([*(exclude or ()), *unlinked])

    def remove_circuit(self, circuit_id: int, additional_info: str = "", remove_now: bool = False,
                       destroy: bool | int = False) -> Future[None]:
        """Remove a circuit, and the connection that it is."""
        circuit = self.circuits.get(circuit_id)
        if circuit is not None and circuit.ctype == CIRCUIT_TYPE_RP_DOWNLOADER and circuit.info_hash is not None:
            swarm = self.swarms.get(circuit.info_hash)
            if swarm is not None:
                swarm.remove_connection(circuit)
        self.hosting.forget(circuit_id)
        return super().remove_circuit(circuit_id, additional_info, remove_now, destroy)

    def get_max_time(self, circuit_id: int) -> float:
        """Seconds that a circuit may live: longer for those to introduction points."""
        circuit = self.circuits.get(circuit_id)
        if circuit is not None and circuit.ctype == CIRCUIT_TYPE_IP_SEEDER:
            return float(self.settings.max_time_ip)
        return super().get_max_time(circuit_id)

    # Looking for services

    async def do_peer_discovery(self) -> None:
        """Look for introduction points of all swarms, and connect to services to which there is no connection."""
        for swarm in tuple(self.swarms.values()):
            due = swarm.last_lookup + self.settings.swarm_lookup_interval <= clock.time()
            if swarm.seeding or not due or swarm.get_num_connections() >= self.settings.swarm_connection_limit:
                continue
            await self.look_for_services(swarm)

    async def look_for_services(self, swarm: Swarm) -> None:
        """Look for introduction points of a swarm, and connect to services to which there is no connection."""
        try:
            found = await swarm.lookup()
        except (IndexError, RuntimeError) as e:
            self.logger.debug("No introduction points of %s were found: %s", swarm.info_hash.hex(), e)
            return
        for intro_point in dict.fromkeys(found or ()):
            if swarm.is_wanted(intro_point):
                swarm.add_intro_point(intro_point)
        if self.swarms.get(swarm.info_hash) is swarm and found is not None:
            for intro_point in swarm.untried():
                self.create_e2e(swarm.info_hash, intro_point)

    # Service

    async def create_introduction_point(self, info_hash: bytes, required_ip: Peer | None = None) -> None:
        """Have a node introduce clients to the service that this node is.

        :param required_ip: the node; by default a random one.
        """
        swarm = self.swarms.get(info_hash)
        if swarm is None or swarm.seeder_sk is None:
            self.logger.warning("No introduction point for %s: this node is no service of it", info_hash.hex())
            return
        circuit = self.create_circuit_for_infohash(info_hash, CIRCUIT_TYPE_IP_SEEDER, required_exit=required_ip)
        if circuit is None or not await circuit.ready or circuit.hop is None:
            self.logger.info("There is no circuit to an introduction point for %s", info_hash.hex())
            return
        cache = self.request_cache.add(IPRequestCache(self, circuit))
        if cache is not None:
            self.send_cell(circuit.hop.address, EstablishIntroPayload(
                circuit.circuit_id, cache.number, info_hash, swarm.seeder_sk.pub().key_to_bin()))

    @unpack_cell(IntroEstablishedPayload)
    def on_intro_established(self, source_address: Address, payload: IntroEstablishedPayload,  # noqa: ARG002
                             circuit_id: int | None = None) -> None:
        """Message 10: a node has agreed to be an introduction point."""
        cache = self.request_cache.get(IPRequestCache, payload.identifier)
        if cache is None or cache.circuit.circuit_id != circuit_id:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(IPRequestCache, payload.identifier)
        self.hosting.on_introduced(cache.circuit)

    async def create_rendezvous_point(self, info_hash: bytes) -> RendezvousPoint | None:
        """Begin to have a node join the circuit of a client to one of this service; ``None`` if there is no circuit."""
        circuit = self.create_circuit_for_infohash(info_hash, CIRCUIT_TYPE_RP_SEEDER)
        if circuit is None or not await circuit.ready or circuit.hop is None:
            self.logger.info("There is no circuit to a rendezvous point for %s", info_hash.hex())
            return None
        rp = RendezvousPoint(circuit, entropy.randbytes(COOKIE_SIZE))
        cache = self.request_cache.add(RPRequestCache(self, rp))
        if cache is None:
            return None
        self.send_cell(circuit.hop.address, EstablishRendezvousPayload(circuit.circuit_id, cache.number, rp.cookie))
        return rp

    @unpack_cell(RendezvousEstablishedPayload)
    def on_rendezvous_established(self, source_address: Address, payload: RendezvousEstablishedPayload,  # noqa: ARG002
                                  circuit_id: int | None = None) -> None:
        """Message 12: a node has agreed to be a rendezvous point."""
        cache = self.request_cache.get(RPRequestCache, payload.identifier)
        if cache is None or cache.rp.circuit.circuit_id != circuit_id:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(RPRequestCache, payload.identifier)
        rp = cache.rp
        known = self.network.get_verified_by_public_key_bin(rp.circuit.hops[-1].public_key_bin)
        addresses = [payload.rendezvous_point_addr, *([known.address] if known is not None else [])]
        rp.address = next((address for address in addresses if is_reachable_address(address, self.endpoint)), None)
        if rp.address is None:
            self.remove_circuit(circuit_id, "the rendezvous point has no address", destroy=DESTROY_REASON_UNNEEDED)
        if not rp.ready.done():
            rp.ready.set_result(None if rp.address is None else rp)

    def on_connection_request(self, source_address: Address, payload: CreateE2EPayload,
                              circuit_id: int) -> Coroutine[Any, Any, None] | None:
        """Answer a client, if it asks for the service of the circuit that its request came by."""
        circuit = self.circuits.get(circuit_id)
        info_hash = payload.info_hash
        swarm = self.swarms.get(info_hash)
        if (circuit is None or circuit.ctype != CIRCUIT_TYPE_IP_SEEDER or circuit.info_hash != info_hash
                or swarm is None or swarm.seeder_sk is None
                or payload.node_public_key != swarm.seeder_sk.pub().key_to_bin()):
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        budget = self._budgets.setdefault(info_hash, ServiceBudget())
        circuits = [other for other in self.find_circuits(CIRCUIT_TYPE_RP_SEEDER, None) if other.info_hash == info_hash
                    and other.state != CIRCUIT_STATE_CLOSING]
        unlinked = [other for other in circuits if not other.e2e]  # the oldest first
        if (len(circuits) - len(unlinked) >= MAX_CLIENTS
                or not budget.admits(circuit_id, source_address[0], payload.key, clock.monotonic())):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        if len(unlinked) >= MAX_UNLINKED:
            self.remove_circuit(unlinked[0].circuit_id, "another client asks", destroy=DESTROY_REASON_UNNEEDED)
        return self._meet(source_address, payload, circuit_id)

    async def _meet(self, source_address: Address, payload: CreateE2EPayload, circuit_id: int) -> None:
        """Have a client meet this service at a rendezvous point."""
        rp = await self.create_rendezvous_point(payload.info_hash)
        if rp is not None and await rp.ready:
            self.create_created_e2e(rp, source_address, payload, circuit_id)

    def create_created_e2e(self, rp: RendezvousPoint, source_address: Address, payload: CreateE2EPayload,
                           circuit_id: int) -> None:
        """Tell a client where to meet, and use the keys that are shared with it from now on.

        :param source_address: where the introduction point sends the answer.
        :param circuit_id: the circuit to the introduction point.
        """
        swarm, circuit = self.swarms.get(payload.info_hash), self.circuits.get(circuit_id)
        if swarm is None or swarm.seeder_sk is None or circuit is None or rp.address is None or not rp.circuit.hops:
            return
        meeting = RendezvousInfo(rp.address, rp.circuit.hops[-1].public_key_bin, rp.cookie)
        try:
            offer = accept_connection(self.crypto, self.serializer, swarm.seeder_sk, payload.key, payload.identifier,
                                      meeting)
        except ValueError:
            self.drops.count(DropCounter.UNDECODABLE)
            self.remove_circuit(rp.circuit.circuit_id, "bad key of a client", destroy=DESTROY_REASON_UNNEEDED)
            return
        scatter_counters(offer.keys)
        rp.circuit.hs_session_keys = offer.keys
        self.circuits.get(rp.circuit.circuit_id)  # tables outside this process take over changes when they are read
        self.tunnel_data(circuit, source_address, offer.payload)

    # Client

    def create_e2e(self, info_hash: bytes, intro_point: IntroductionPoint) -> None:
        """Ask a service for a connection, by one of its introduction points."""
        circuit, swarm = self.select_circuit_for_infohash(info_hash), self.swarms.get(info_hash)
        if circuit is None or swarm is None:
            self.logger.error("There is no circuit with which to ask for a connection to %s", info_hash.hex())
            return
        service = tunnel_peer(intro_point.seeder_pk, NOWHERE)
        if service is None:
            self.drops.count(DropCounter.UNDECODABLE)
            return
        secret, public = self.crypto.generate_diffie_secret()
        hop = Hop(service, dh_secret=secret, dh_first_part=public)
        cache = self.request_cache.add(E2ERequestCache(self, info_hash, hop, intro_point, circuit.circuit_id))
        if cache is not None:
            swarm.attempts[intro_point.seeder_pk] = intro_point
            self.tunnel_data(circuit, intro_point.peer.address,
                             CreateE2EPayload(cache.number, info_hash, intro_point.seeder_pk, public))

    @unpack_cell(CreatedE2EPayload)
    def on_created_e2e(self, source_address: Address, payload: CreatedE2EPayload,  # noqa: ARG002 - anybody's
                       circuit_id: int | None = None) -> Coroutine[Any, Any, None] | None:
        """Message 14: a service has told where to meet; build a circuit to there."""
        cache = self.request_cache.get(E2ERequestCache, payload.identifier)
        if cache is None or cache.circuit_id != circuit_id:
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        opened = open_answer(self.crypto, self.serializer, cache.hop, payload)
        if opened is None:
            self.drops.count(DropCounter.NOT_AUTHENTIC)
            return None
        self.request_cache.pop(E2ERequestCache, payload.identifier)  # not before: forged answers must not end it
        self._unfit.pop(circuit_id)
        return self._go_to_meet(cache, *opened)

    async def _go_to_meet(self, cache: E2ERequestCache, keys: SessionKeys, meeting: RendezvousInfo) -> None:
        """Build a circuit to where a service waits, and have it joined to that of the service."""
        scatter_counters(keys)
        swarm = self.swarms.get(cache.info_hash)
        rendezvous_point = tunnel_peer(meeting.key, meeting.address)
        if swarm is None or rendezvous_point is None or not is_reachable_address(meeting.address, self.endpoint):
            if swarm is not None:
                swarm.note_failure(cache.intro_point)
            return
        circuit = self.create_circuit_for_infohash(cache.info_hash, CIRCUIT_TYPE_RP_DOWNLOADER,
                                                   required_exit=rendezvous_point)
        if circuit is None:
            swarm.note_failure(cache.intro_point)
            return
        swarm.add_connection(circuit, cache.intro_point)
        if not await circuit.ready or circuit.hop is None:
            self.connection_failed(cache.info_hash, circuit, "no circuit to the rendezvous point", cache.intro_point)
            return
        link = self.request_cache.add(LinkRequestCache(self, circuit, cache.info_hash, keys))
        if link is not None:
            self.send_cell(circuit.hop.address, LinkE2EPayload(circuit.circuit_id, link.number, meeting.cookie))

    def connection_failed(self, info_hash: bytes, circuit: Circuit, reason: str,
                          intro_point: IntroductionPoint | None = None) -> None:
        """Give a connection up that is not complete, and do not use its introduction point for a while."""
        swarm = self.swarms.get(info_hash)
        if swarm is not None:
            _, used = swarm.connections.get(circuit.circuit_id, (None, intro_point))
            if used is not None:
                swarm.note_failure(used)
            swarm.remove_connection(circuit)
        self.remove_circuit(circuit.circuit_id, reason, destroy=DESTROY_REASON_UNNEEDED)

    @unpack_cell(LinkedE2EPayload)
    def on_linked_e2e(self, source_address: Address, payload: LinkedE2EPayload,  # noqa: ARG002 - the hop sent it
                      circuit_id: int | None = None) -> None:
        """Message 16: a circuit is joined to that of a service."""
        cache = self.request_cache.get(LinkRequestCache, payload.identifier)
        if (cache is None or cache.circuit.circuit_id != circuit_id
                or cache.circuit.state == CIRCUIT_STATE_CLOSING):
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(LinkRequestCache, payload.identifier)
        circuit = cache.circuit
        circuit.e2e = True
        circuit.hs_session_keys = cache.hs_session_keys
        self.circuits.get(circuit.circuit_id)  # as in create_created_e2e
        swarm = self.swarms.get(cache.info_hash)
        if swarm is not None and circuit.circuit_id in swarm.connections:
            swarm.note_success(swarm.connections[circuit.circuit_id][1])
        callback = self.e2e_callbacks.get(cache.info_hash)
        if callback is None:
            self.logger.error("A connection for %s was made, but there is no callback for it", cache.info_hash.hex())
            return
        result = callback((self.circuit_id_to_ip(circuit.circuit_id), CIRCUIT_ID_PORT))
        if iscoroutine(result):
            self.register_anonymous_task("e2e_callback", ensure_future(result))

    # Data

    def on_raw_data(self, circuit: Circuit, origin: Address, data: bytes) -> None:  # noqa: ARG002 - as in the base
        """Hand the packets of connections of overlays to these."""
        self.hosting.receive(circuit, data)


if TYPE_CHECKING:  # programs import these from here
    from ...bootstrapping.dispersy.bootstrapper import DispersyBootstrapper as DispersyBootstrapper
    from ...dht.introduction_point import PEER_SOURCE_DHT as PEER_SOURCE_DHT, PEER_SOURCE_PEX as PEER_SOURCE_PEX
    from ...keyvault.public.openssl import OpenSSLPK as OpenSSLPK
    from ...peer import Peer as Peer
    from ...peerdiscovery.churn import RandomChurn as RandomChurn
    from ...peerdiscovery.discovery import RandomWalk as RandomWalk
    from ...peerdiscovery.network import Network as Network
    from ...taskmanager import task as task
    from ...util import fail as fail
    from .community import TunnelCommunity as TunnelCommunity, TunnelSettings as TunnelSettings
    from .exit_socket import TunnelExitSocket as TunnelExitSocket
    from .hidden_caches import PeersRequestCache as PeersRequestCache
    from .hidden_payload import (
        IntroductionInfo as IntroductionInfo,
        PeersRequestPayload as PeersRequestPayload,
        PeersResponsePayload as PeersResponsePayload,
    )
    from .pex import PexCommunity as PexCommunity, PexSettings as PexSettings
    from .swarm import IntroductionPoint as IntroductionPoint, Swarm as Swarm
    from .tunnel import (
        CIRCUIT_STATE_READY as CIRCUIT_STATE_READY,
        FORWARD as FORWARD,
        Circuit as Circuit,
        RelayRoute as RelayRoute,
    )
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...bootstrapping.dispersy.bootstrapper": "DispersyBootstrapper",
        "...dht.introduction_point": "PEER_SOURCE_DHT PEER_SOURCE_PEX",
        "...keyvault.public.openssl": "OpenSSLPK",
        "...peer": "Peer",
        "...peerdiscovery.churn": "RandomChurn",
        "...peerdiscovery.discovery": "RandomWalk",
        "...peerdiscovery.network": "Network",
        "...taskmanager": "task",
        "...util": "fail",
        ".community": "TunnelCommunity TunnelSettings",
        ".exit_socket": "TunnelExitSocket",
        ".hidden_caches": "PeersRequestCache",
        ".hidden_payload": "IntroductionInfo PeersRequestPayload PeersResponsePayload",
        ".pex": "PexCommunity PexSettings",
        ".swarm": "IntroductionPoint Swarm",
        ".tunnel": "CIRCUIT_STATE_READY FORWARD Circuit RelayRoute",
    })
