"""Swarms: which ones a node takes part in, their circuits, and where their introduction points are.

See doc/protocol/hidden_services.md sections 1, 2 and 7.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...limits import ExpiringDict
from ..inet import ipv4_to_bytes, ipv4_to_text
from ..interfaces.network_stats import DropCounter
from .community import unpack_cell
from .end_to_end import tunnel_peer
from .exit_policy import is_reachable_address
from .hidden_caches import PeersRequestCache
from .hidden_payload import PaddedPeersRequestPayload, PeersRequestPayload, PeersResponsePayload
from .intro_points import PADDED_REQUEST_SIZE, REQUEST_SIZE
from .introducing import HiddenTunnelSettings, IntroducingCommunity
from .pex import is_service_key
from .swarm import IntroductionPoint, Swarm
from .tunnel import (
    CIRCUIT_ID_PORT,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_DATA,
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    DESTROY_REASON_UNNEEDED,
    HIDDEN_TYPES,
)

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Collection

    from ...keyvault.keys import PrivateKey
    from ...peer import Peer
    from ..address import Address
    from .tunnel import Circuit

__all__ = ["SwarmCommunity"]

INFO_HASH_SIZE = 20

MAX_POINTS_READ = 16
"""Introduction points of one answer that are read; the others are skipped."""

MAX_UNFIT = 64
"""Circuits that have not brought answers and are avoided; the oldest is forgotten first."""

UNFIT_LIFETIME = 120.0
"""Seconds for which they are."""

MAX_DATA_CIRCUITS = 4
"""Circuits of one length, up to which further ones are built because none of them brings answers."""


class SwarmCommunity(IntroducingCommunity):
    """A tunnel overlay that knows swarms and finds their introduction points."""

    def __init__(self, settings: HiddenTunnelSettings) -> None:
        self.e2e_callbacks: dict[bytes, Callable[..., Any] | None] = dict(settings.e2e_callbacks or {})
        self.swarms: dict[bytes, Swarm] = {}
        self._unfit: ExpiringDict[int, None] = ExpiringDict(MAX_UNFIT, UNFIT_LIFETIME)
        super().__init__(settings)
        self.add_cell_handler(PeersResponsePayload, self.on_peers_response)

    # Swarms

    def join_swarm(self, info_hash: bytes, hops: int, callback: Callable[..., Any] | None = None, seeding: bool = True,
                   seeder_sk: PrivateKey | None = None, service_pk: bytes | None = None) -> None:
        """Take part in a swarm.

        :param info_hash: 20 bytes.
        :param hops: the number of hops of the circuits for it.
        :param callback: called with the pseudo address of each connection that this node has made.
        :param seeding: whether this node is a service of the swarm. It is reachable once it has called
            :meth:`create_introduction_point`.
        :param seeder_sk: the key of the service; by default a new one.
        :param service_pk: the public key of the only service to connect to; by default, all are connected to.
        :raises ValueError: if ``info_hash`` has another length.
        """
        if len(info_hash) != INFO_HASH_SIZE:
            raise ValueError(f"an info hash has {INFO_HASH_SIZE} bytes, not {len(info_hash)}")
        if info_hash in self.swarms:
            self.logger.warning("The swarm %s was joined already: it is left first", info_hash.hex())
            self.leave_swarm(info_hash)
        key: PrivateKey | None = None
        if seeding:
            key = seeder_sk or self.crypto.generate_key("curve25519")
        self.swarms[info_hash] = Swarm(info_hash, hops, self.send_peers_request, key, service_pk=service_pk)
        self.e2e_callbacks[info_hash] = callback

    def leave_swarm(self, info_hash: bytes) -> None:
        """Leave a swarm, and close all circuits for it; nothing happens if it was not joined."""
        for circuit_id, circuit in tuple(self.circuits.items()):
            if circuit.info_hash == info_hash and circuit.ctype in HIDDEN_TYPES:
                self.remove_circuit(circuit_id, "leaving hidden swarm", destroy=DESTROY_REASON_UNNEEDED)
        self.swarms.pop(info_hash, None)
        self.e2e_callbacks.pop(info_hash, None)

    async def estimate_swarm_size(self, info_hash: bytes, hops: int = 1, max_requests: int = 10) -> int:
        """Ask introduction points for others, and these again; the number of different services that were found.

        :param max_requests: how many of them are asked.
        """
        return await Swarm(info_hash, hops, self.send_peers_request).count_services(max_requests)

    # Circuits

    def select_circuit(self, destination: Address | None, hops: int) -> Circuit | None:
        """A circuit for data: the connection that a pseudo address stands for, or else any one with so many hops."""
        if destination is not None and destination[1] == CIRCUIT_ID_PORT:
            circuit = self.circuits.get(self.ip_to_circuit_id(destination[0]))
            if (circuit is not None and circuit.state == CIRCUIT_STATE_READY
                    and circuit.ctype == CIRCUIT_TYPE_RP_DOWNLOADER):
                return circuit
        circuits = self.find_circuits(hops=hops)
        return entropy.choice(self._fit(circuits) or circuits) if circuits else None

    def _fit(self, circuits: list[Circuit]) -> list[Circuit]:
        """The circuits that have brought answers, or were not asked to, and that no client of a proxy uses.

        Crypto endpoints outside of this process hand everything that comes by the latter to the client.
        """
        endpoint: Any = self.crypto_endpoint
        proxies = endpoint.get_socks5_statistics() if hasattr(endpoint, "get_socks5_statistics") else ()
        bound = {circuit_id for proxy in proxies for circuit_id in endpoint.get_associated_circuits(proxy["port"])}
        return [circuit for circuit in circuits
                if circuit.circuit_id not in bound and circuit.circuit_id not in self._unfit]

    def give_up_silent(self, circuit: Circuit, reason: str) -> None:
        """Close a circuit whose last node has not answered; if that happens often, its first hop is left out."""
        if circuit.hops:
            self.path.back_off.note_silent(circuit.hops[0].public_key_bin, clock.monotonic())
        self.remove_circuit(circuit.circuit_id, reason)

    def note_unanswered_request(self, circuit_id: int | None) -> None:
        """Prefer other circuits to one by which a request was not answered: one of its nodes may drop what it gets."""
        if circuit_id is not None:
            self._unfit[circuit_id] = None

    def select_circuit_for_infohash(self, info_hash: bytes) -> Circuit | None:
        """A circuit for messages about a swarm that was joined; ``None`` if there is none."""
        swarm = self.swarms.get(info_hash)
        return None if swarm is None or not swarm.hops else self.select_circuit(None, swarm.hops)

    def create_circuit_for_infohash(self, info_hash: bytes, ctype: str, exit_flags: Collection[int] | None = None,
                                    required_exit: Peer | None = None) -> Circuit | None:
        """Begin to build a circuit for a swarm that was joined; ``None`` if that is not possible."""
        swarm = self.swarms.get(info_hash)
        if swarm is None or not swarm.hops:
            return None
        hops = swarm.hops + (ctype in {CIRCUIT_TYPE_IP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER})
        return self.create_circuit(hops, ctype, exit_flags, required_exit, info_hash)

    def do_circuits(self) -> None:
        """Build the circuits that are needed, of each length that a swarm needs at least one, and remove others."""
        super().do_circuits()
        for hops in {swarm.hops for swarm in self.swarms.values()}:
            circuits = self.find_circuits(CIRCUIT_TYPE_DATA, None, None, hops)
            if hops and not self._fit(circuits) and len(circuits) < MAX_DATA_CIRCUITS:
                self.create_circuit(hops)

    def ip_to_circuit_id(self, ip_str: str) -> int:
        """The number of the circuit that a pseudo address stands for."""
        return int.from_bytes(ipv4_to_bytes(ip_str), "big")

    def circuit_id_to_ip(self, circuit_id: int) -> str:
        """The pseudo address of a circuit."""
        return ipv4_to_text(circuit_id.to_bytes(4, "big"))

    # Looking for introduction points

    def send_peers_request(self, info_hash: bytes, target: IntroductionPoint | None,
                           hops: int) -> Future[list[IntroductionPoint]]:
        """Ask for introduction points of a swarm.

        :param target: whom to ask; ``None`` for the last node of a circuit, which also asks the DHT.
        :param hops: of the circuit.
        :returns: resolved with the introduction points, or with ``RuntimeError`` if there is no circuit or no answer.
        """
        circuit = self.select_circuit(None, hops)
        if circuit is None or circuit.hop is None:
            failed: Future[list[IntroductionPoint]] = asyncio.get_running_loop().create_future()
            failed.set_exception(RuntimeError("No circuit for peers-request"))
            return failed
        cache = PeersRequestCache(self, circuit, info_hash, target)
        self.request_cache.add(cache)
        if target is not None and target.peer.key_bin != circuit.hops[-1].public_key_bin:
            # Others must not see the number of the circuit. Nobody needs it: the identifier is what is repeated.
            self.tunnel_data(circuit, target.peer.address, PaddedPeersRequestPayload(
                0, cache.number, info_hash, bytes(PADDED_REQUEST_SIZE - REQUEST_SIZE)))
        else:
            self.send_cell(circuit.hop.address, PeersRequestPayload(circuit.circuit_id, cache.number, info_hash))
        return cache.future

    @unpack_cell(PeersResponsePayload)
    def on_peers_response(self, source_address: Address, payload: PeersResponsePayload,  # noqa: ARG002 - anybody's
                          circuit_id: int | None = None) -> None:
        """Message 18: learn of introduction points that were asked for."""
        cache = self.request_cache.get(PeersRequestCache, payload.identifier)
        if cache is None or cache.circuit.circuit_id != circuit_id or cache.info_hash != payload.info_hash:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(PeersRequestCache, payload.identifier)
        self._unfit.pop(circuit_id)
        points = []
        for info in payload.peers[:MAX_POINTS_READ]:
            peer = tunnel_peer(info.key, info.address)
            if (peer is not None and is_service_key(info.seeder_pk)
                    and is_reachable_address(info.address, self.endpoint)):
                points.append(IntroductionPoint(peer, info.seeder_pk, info.source))
        if not cache.future.done():
            cache.future.set_result(points)
