"""What a node does for the hidden services of others: it introduces clients to them, and joins two circuits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...dht.discovery import DHTDiscoveryCommunity
from ...dht.introduction_point import IntroductionPoint
from ...dht.provider import DHTCommunityProvider
from ...limits import TokenBuckets
from ...peer import Peer
from ..interfaces.network_stats import DropCounter
from .community import TunnelCommunity, TunnelSettings, unpack_cell
from .exit_policy import is_reachable_address
from .exit_socket import TunnelExitSocket
from .hidden_payload import (
    CreateE2EPayload,
    EstablishIntroPayload,
    EstablishRendezvousPayload,
    IntroductionInfo,
    IntroEstablishedPayload,
    LinkE2EPayload,
    LinkedE2EPayload,
    PeersRequestPayload,
    PeersResponsePayload,
    RendezvousEstablishedPayload,
)
from .intro_points import MAX_POINTS_IN_ANSWER, IntroductionRegistry, points_in_answer
from .pex import is_service_key
from .pex_overlays import PexOverlays
from .rendezvous import RendezvousRegistry
from .tunnel import FORWARD, Hop, RelayRoute

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Coroutine

    from ...messaging.address import Address
    from ..lazy_payload import VariablePayloadWID
    from .tunnel import Circuit

__all__ = ["HiddenTunnelSettings", "IntroducingCommunity"]

ANNOUNCE_INTERVAL = 300.0
"""Seconds between two announcements of the introduced services in the DHT."""

ANNOUNCEMENTS_PER_SECOND, ANNOUNCEMENTS_AT_ONCE = 0.5, 8
"""Announcements in the DHT that registrations cause; further ones wait for the next round."""

MAX_DHT_LOOKUPS = 8
"""Lookups in the DHT for others at a time; further requests are not answered."""

LOOKUPS_PER_SECOND_PER_CIRCUIT, LOOKUPS_AT_ONCE_PER_CIRCUIT = 0.5, 5
"""Requests for introduction points by one circuit that are answered."""

NOWHERE: Address = ("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire


class HiddenTunnelSettings(TunnelSettings):
    """The settings of :class:`~.hidden_services.HiddenTunnelCommunity`.

    :param ipv8: the service that runs overlays, for the ones in which introduction points tell each other of services.
    :param e2e_callbacks: what to call for new connections, by info hash.
    """

    ipv8: Any = None
    e2e_callbacks: dict[bytes, Callable[..., Any]] | None = None


class IntroducingCommunity(TunnelCommunity):
    """A tunnel overlay whose nodes are introduction points and rendezvous points for the services of others."""

    settings_class = HiddenTunnelSettings

    def __init__(self, settings: HiddenTunnelSettings) -> None:
        self.ipv8 = settings.ipv8
        self.pex = PexOverlays(self)
        self._registry = IntroductionRegistry()
        self._rendezvous = RendezvousRegistry()
        self._announcements = TokenBuckets(ANNOUNCEMENTS_PER_SECOND, ANNOUNCEMENTS_AT_ONCE, capacity=1)
        self._circuit_lookups = TokenBuckets(LOOKUPS_PER_SECOND_PER_CIRCUIT, LOOKUPS_AT_ONCE_PER_CIRCUIT)
        self._dht_lookups = 0
        super().__init__(settings)
        #: For each key of a service that this node introduces, the end of its circuit and its info hash.
        self.intro_point_for = self._registry.first
        #: For each cookie, the end of the circuit that waits for another one with this cookie.
        self.rendezvous_point_for = self._rendezvous.waiting

        self.add_message_handler(CreateE2EPayload, self.on_create_e2e)
        self.add_message_handler(PeersRequestPayload, self.on_peers_request)
        self.add_cell_handler(CreateE2EPayload, self.on_create_e2e)
        self.add_cell_handler(PeersRequestPayload, self.on_peers_request)
        self.add_cell_handler(EstablishIntroPayload, self.on_establish_intro)
        self.add_cell_handler(EstablishRendezvousPayload, self.on_establish_rendezvous)
        self.add_cell_handler(LinkE2EPayload, self.on_link_e2e)
        self.register_task("announce intro points", self._announce_again, interval=ANNOUNCE_INTERVAL)

    async def unload(self) -> None:
        """Stop everything, with the overlays of introduction points."""
        await self.pex.unload(self.ipv8)
        await super().unload()

    def tunnel_data(self, circuit: Circuit | TunnelExitSocket, destination: Address,
                    payload: VariablePayloadWID) -> None:
        """Send ``payload`` as an unsigned packet of this overlay through a circuit.

        :param circuit: an own circuit, whose last node sends the packet to ``destination``; or the end of a circuit of
            somebody else, whose origin is told that the packet came from ``destination``.
        """
        packet = self.ezr_pack(payload.msg_id, payload, sig=False)
        if isinstance(circuit, TunnelExitSocket):
            self.send_data(circuit.hop.address, circuit.circuit_id, NOWHERE, destination, packet)
        elif circuit.hop is not None:
            self.send_data(circuit.hop.address, circuit.circuit_id, destination, NOWHERE, packet)

    # Introduction point

    @unpack_cell(EstablishIntroPayload)
    def on_establish_intro(self, source_address: Address, payload: EstablishIntroPayload,  # noqa: ARG002 - see below
                           circuit_id: int | None = None) -> None:
        """Message 9: introduce clients to the service at the other end of a circuit."""
        exit_socket = None if circuit_id is None else self.exit_sockets.get(circuit_id)
        if exit_socket is None or not is_service_key(payload.public_key):
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        accepted, removed = self._registry.register(exit_socket, payload.info_hash, payload.public_key)
        if removed is not None:
            self._withdraw(removed.info_hash, removed.seeder_pk)
        if not accepted:
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        self.pex.announce(self.ipv8, payload.info_hash, payload.public_key)
        if self._announcements.take():
            self._announce(payload.info_hash, payload.public_key)
        # Not to the source: whoever can send from any address must not choose who gets the answer.
        self.send_cell(exit_socket.hop.address, IntroEstablishedPayload(exit_socket.circuit_id, payload.identifier))

    def _withdraw(self, info_hash: bytes, seeder_pk: bytes) -> None:
        """Tell nobody of a service any more, unless it has another registration."""
        if not any(known.info_hash == info_hash for known in self._registry.of_key(seeder_pk)):
            self.pex.withdraw(self.ipv8, info_hash, seeder_pk,
                              lambda unload: self.register_anonymous_task("unload_pex", unload))

    def _announce_again(self) -> None:
        for info_hash, seeder_pk in {(known.info_hash, known.seeder_pk) for known in self._registry}:
            self._announce(info_hash, seeder_pk)

    def _announce(self, info_hash: bytes, seeder_pk: bytes) -> None:
        """Store in the DHT that this node introduces a service, if others can reach this node."""
        if is_reachable_address(self.my_estimated_wan, self.endpoint):
            me = Peer(self.my_peer.public_key, self.my_estimated_wan)
            self.dht_announce(info_hash, IntroductionPoint(me, seeder_pk))

    def _find_dht(self) -> DHTCommunityProvider | None:
        """What finds introduction points: what was set, or else the DHT that this node runs."""
        if self.dht_provider is None:
            for overlay in tuple(self.network.service_overlays.values()):
                if isinstance(overlay, DHTDiscoveryCommunity):
                    self.dht_provider = DHTCommunityProvider(overlay, 0)
        return self.dht_provider

    def dht_announce(self, info_hash: bytes, intro_point: IntroductionPoint) -> None:
        """Store an introduction point in the DHT, in the background."""
        dht = self._find_dht()
        if dht is None:
            self.logger.debug("An introduction point is not announced: there is no DHT")
            return
        self.register_anonymous_task("dht announce", dht.announce, info_hash, intro_point)

    async def dht_lookup(self, info_hash: bytes) -> tuple[bytes, list[IntroductionPoint]] | None:
        """``info_hash`` with its introduction points in the DHT; ``None`` if there is no DHT, or it does not work."""
        dht = self._find_dht()
        if dht is None:
            self.logger.error("Introduction points cannot be looked up: there is no DHT")
            return None
        return await dht.lookup(info_hash)

    @unpack_cell(CreateE2EPayload)
    def on_create_e2e(self, source_address: Address, payload: CreateE2EPayload,
                      circuit_id: int | None = None) -> Coroutine[Any, Any, None] | None:
        """Message 13: forward a request for a connection to the service, or answer it if this node is the service."""
        if circuit_id is not None:
            return self.on_connection_request(source_address, payload, circuit_id)
        registrations = self._registry.of_key(payload.node_public_key)
        if not registrations or not self._registry.introductions.admits(source_address[0], clock.monotonic()):
            self.drops.count(DropCounter.RATE_LIMITED if registrations else DropCounter.UNSOLICITED)
            return None
        for registration in registrations:
            if registration.info_hash == payload.info_hash:
                self.tunnel_data(registration.exit_socket, source_address, payload)
        return None

    def on_connection_request(self, source_address: Address, payload: CreateE2EPayload,  # noqa: ARG002 - for subclasses
                              circuit_id: int) -> Coroutine[Any, Any, None] | None:  # noqa: ARG002 - as above
        """Answer a request for a connection that an introduction point has forwarded; nothing by default."""
        return None

    # Telling of introduction points

    def on_peers_request(self, source_address: Address, data: bytes,
                         circuit_id: int | None = None) -> Coroutine[Any, Any, None] | None:
        """Message 17: tell of introduction points, of the DHT too if the last node of a circuit is asked."""
        payload: PeersRequestPayload | None = self.read_cell(PeersRequestPayload, data)
        if payload is None:
            return None
        now = clock.monotonic()
        if not (self._registry.lookups.admits(source_address[0], now) if circuit_id is None
                else self._circuit_lookups.take(circuit_id, now=now)):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        overlay = self.pex.get(payload.info_hash)
        if overlay is not None:
            points = overlay.get_intro_points()
            if circuit_id is None:
                known = self.network.get_verified_by_address(source_address)
                points = self._some(points, points_in_answer(len(data), known is not None and known.proven))
            self.send_peers_response(source_address, payload, points, circuit_id)
        elif circuit_id in self.exit_sockets and self._dht_lookups < MAX_DHT_LOOKUPS:
            return self._look_up(source_address, payload, circuit_id)
        else:
            self.drops.count(DropCounter.RATE_LIMITED if circuit_id in self.exit_sockets else DropCounter.UNSOLICITED)
        return None

    async def _look_up(self, source_address: Address, request: PeersRequestPayload, circuit_id: int | None) -> None:
        """Answer a request with what the DHT has."""
        self._dht_lookups += 1
        try:
            found = await self.dht_lookup(request.info_hash)
        finally:
            self._dht_lookups -= 1
        self.send_peers_response(source_address, request, list(found[1]) if found else [], circuit_id)

    def _some(self, intro_points: list[IntroductionPoint], most: int) -> list[IntroductionPoint]:
        """Random ones of the introduction points that can be reached."""
        reachable = [point for point in intro_points if is_reachable_address(point.peer.address, self.endpoint)]
        return entropy.sample(reachable, min(most, len(reachable)))

    def send_peers_response(self, target_addr: Address, request: PeersRequestPayload,
                            intro_points: list[IntroductionPoint], circuit_id: int | None) -> None:
        """Answer a request with some introduction points that can be reached.

        :param target_addr: who asked, if by the socket.
        :param circuit_id: the circuit whose origin asked; ``None`` for a request by the socket.
        """
        peers = [IntroductionInfo(point.peer.address, point.peer.public_key.key_to_bin(), point.seeder_pk, point.source)
                 for point in self._some(intro_points, MAX_POINTS_IN_ANSWER)]
        payload = PeersResponsePayload(request.circuit_id if circuit_id is None else circuit_id, request.identifier,
                                       request.info_hash, peers)
        if circuit_id is None:
            self.endpoint.send(target_addr, self.ezr_pack(payload.msg_id, payload, sig=False))
            return
        exit_socket = self.exit_sockets.get(circuit_id)
        if exit_socket is not None:
            self.send_cell(exit_socket.hop.address, payload)

    # Rendezvous point

    @unpack_cell(EstablishRendezvousPayload)
    def on_establish_rendezvous(self, source_address: Address, payload: EstablishRendezvousPayload,  # noqa: ARG002
                                circuit_id: int | None = None) -> None:
        """Message 11: let a circuit wait for another one."""
        exit_socket = None if circuit_id is None else self.exit_sockets.get(circuit_id)
        if exit_socket is None or not self._rendezvous.establish(payload.cookie, exit_socket, clock.monotonic()):
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        self.send_cell(exit_socket.hop.address, RendezvousEstablishedPayload(
            exit_socket.circuit_id, payload.identifier, self.my_estimated_wan))

    @unpack_cell(LinkE2EPayload)
    def on_link_e2e(self, source_address: Address, payload: LinkE2EPayload,  # noqa: ARG002 - the hop gets the answer
                    circuit_id: int | None = None) -> None:
        """Message 15: join a circuit to the one that waits for it."""
        waiting = self._rendezvous.find(payload.cookie, clock.monotonic())
        client = None if circuit_id is None else self.exit_sockets.get(circuit_id)
        service = None if waiting is None else self.exit_sockets.get(waiting.circuit_id)
        if client is None or service is None or client is service or client.enabled or service.enabled:
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        self._link_ends(client, service)
        self.send_cell(client.hop.address, LinkedE2EPayload(client.circuit_id, payload.identifier))

    def _link_ends(self, client: TunnelExitSocket, service: TunnelExitSocket) -> None:
        """Let the cells of each of two circuits that end here leave by the other one."""
        for exit_socket in (client, service):
            self.remove_exit_socket(exit_socket.circuit_id, "linking circuit", remove_now=True)
        for one, other in ((client, service), (service, client)):
            route = RelayRoute(other.circuit_id, Hop(other.hop.peer, one.hop.keys), FORWARD, True)
            route.proven = True
            self.relay_from_to[one.circuit_id] = route

    # Circuits

    def remove_exit_socket(self, circuit_id: int, additional_info: str = "", remove_now: bool = False,
                           destroy: bool | int = False) -> Future[TunnelExitSocket | None]:
        """Remove the end of a circuit, and what it was introduced for or waits for."""
        self._forget_end(circuit_id)
        removal = super().remove_exit_socket(circuit_id, additional_info, remove_now, destroy)
        removal.add_done_callback(lambda _: self._forget_end(circuit_id))  # it may have asked for something meanwhile
        return removal

    def _forget_end(self, circuit_id: int) -> None:
        for registration in self._registry.remove_circuit(circuit_id):
            self._withdraw(registration.info_hash, registration.seeder_pk)
        self._rendezvous.remove_circuit(circuit_id)

    def get_max_time(self, circuit_id: int) -> float:
        """Seconds that a circuit may live: longer for those to introduction points."""
        if self._registry.of_circuit(circuit_id):
            return float(self.settings.max_time_ip)
        return super().get_max_time(circuit_id)
