"""``/tunnel``: the circuits of the node, and what it carries for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow import Schema
from marshmallow.fields import Boolean, Dict, Float, Integer, String

from ..dht.provider import read_introduction_point
from ..messaging.anonymization.community import TunnelCommunity
from ..messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ..messaging.anonymization.tunnel import (
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_DATA,
    FORWARD,
    PEER_FLAG_SPEED_TEST,
)
from ..service import IPv8
from .apidocs import docs, response_schema
from .base_endpoint import (
    HTTP_BAD_REQUEST,
    HTTP_INTERNAL_SERVER_ERROR,
    HTTP_NOT_FOUND,
    BaseEndpoint,
    FromNode,
    Response,
    changes_state,
)
from .paging import PAGE_SIZE, PAGE_START, page
from .parameters import hexadecimal, limited
from .schema import AddressWithPK, schema
from .speed_test import CIRCUIT_TYPE_SPEED_TEST, Parameters, SpeedTest, speed_tester

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse

    from ..dht.introduction_point import IntroductionPoint
    from ..messaging.anonymization.swarm import Swarm
    from ..messaging.anonymization.tunnel import Circuit

__all__ = ["SpeedTestResponseSchema", "TunnelEndpoint"]

MAX_HOPS = 3
MAX_SPEED_TESTS = 4
"""Speed tests that run at the same time; further ones are refused."""

CIRCUIT = schema(Circuit={
    "circuit_id": Integer, "goal_hops": Integer, "actual_hops": Integer, "verified_hops": [String],
    "unverified_hop": String, "type": String, "state": String, "bytes_up": Integer, "bytes_down": Integer,
    "creation_time": Float, "exit_flags": [Integer]})
REMOVED = schema(RemovedCircuit={
    "circuit_id": Integer, "type": String, "goal_hops": Integer, "hops": [String], "reason": String,
    "time": (Float, "seconds since the Unix epoch"), "seconds": (Float, "for how long there was the circuit"),
    "bytes_up": Integer, "bytes_down": Integer})
RELAY = schema(Relay={
    "circuit_from": Integer, "circuit_to": Integer, "is_rendezvous": Boolean, "direction": String,
    "bytes_up": Integer, "bytes_down": Integer, "creation_time": Float})
EXIT = schema(Exit={
    "circuit_from": Integer, "enabled": Boolean, "bytes_up": Integer, "bytes_down": Integer, "creation_time": Float,
    "is_introduction": Boolean, "is_rendezvous": Boolean})
SWARM = schema(Swarm={
    "info_hash": String, "num_seeders": Integer, "num_connections": Integer, "num_connections_incomplete": Integer,
    "num_ips_from_dht": Integer, "num_ips_from_pex": Integer, "seeding": Boolean, "last_lookup": Float,
    "bytes_up": Integer, "bytes_down": Integer})
TUNNEL_PEER = schema(TunnelPeer={"ip": String, "port": Integer, "mid": String, "is_key_compatible": Boolean,
                                 "flags": [Integer]})
INTRODUCTION_POINTS = schema(IntroductionPoints={
    "info_hash": String,
    "peers": [schema(IntroductionPoint={"address": AddressWithPK, "seeder_pk": String, "source": Integer})]})
TEST_PARAMETERS = [
    {"in": "query", "name": "request_size", "type": "integer", "description": "bytes of a request, 0 to 2000"},
    {"in": "query", "name": "response_size", "type": "integer", "description": "bytes of a response, 0 to 2000"},
    {"in": "query", "name": "test_time_ms", "type": "integer", "description": "milliseconds, 1 to 60000"},
    {"in": "query", "name": "format", "type": "string", "description": "sse for server-sent events"},
]
HOPS = {"in": "query", "name": "goal_hops", "type": "integer", "description": "the number of hops, 1 to 3"}
TEST_RESPONSES = {
    400: {"description": "An argument is impossible, or the circuit cannot be tested."},
    404: {"description": "There are no tunnels, or there is no such circuit."},
    429: {"description": "Too many tests run."},
}
NO_CIRCUIT = {500: {"description": "No circuit could be made."}}


class SpeedTestResponseSchema(Schema):
    """A line of a speed test: MiB each second."""

    up = Float()
    down = Float()


class TunnelEndpoint(BaseEndpoint[IPv8]):
    """Shows the tunnels."""

    tunnels = FromNode[TunnelCommunity](lambda node: node.get_overlay(TunnelCommunity))

    def __init__(self) -> None:
        self._tests = 0
        super().__init__()

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("/settings", self.get_settings),
            web.get("/circuits", self.get_circuits),
            web.get("/circuits/removed", self.get_removed_circuits),
            web.get("/circuits/test", self.speed_test_new_circuit, allow_head=False),
            web.post("/circuits/test", self.post_speed_test_new_circuit),
            web.get("/circuits/{circuit_id}/test", self.speed_test_existing_circuit, allow_head=False),
            web.post("/circuits/{circuit_id}/test", self.post_speed_test_existing_circuit),
            web.get("/relays", self.get_relays),
            web.get("/exits", self.get_exits),
            web.get("/swarms", self.get_swarms),
            web.get("/swarms/{infohash}/size", self.get_swarm_size),
            web.get("/peers", self.get_peers),
            web.get("/peers/dht", self.get_dht_peers),
            web.get("/peers/pex", self.get_pex_peers),
        ])

    def is_available(self, _: Request) -> bool:
        """Whether there are tunnels."""
        return self.tunnels is not None

    def _hidden(self) -> HiddenTunnelCommunity | None:
        tunnels = self.tunnels
        return tunnels if isinstance(tunnels, HiddenTunnelCommunity) else None

    @docs(tags=["Tunnels"], summary="The settings of the tunnels.")
    @response_schema(schema(TunnelSettingsResponse={"settings": (Dict(keys=String()), "by name")}))
    async def get_settings(self, _: Request) -> Response:
        """The settings that JSON can have."""
        settings: dict[str, Any] = {}
        tunnels = self.tunnels
        found = None if tunnels is None else tunnels.settings
        for name in dir(found) if found is not None else ():
            value = None if name.startswith("__") else getattr(found, name, None)
            if isinstance(value, (str, int)):
                settings[name.lstrip("_")] = value
            elif isinstance(value, (set, list, tuple)):
                settings[name.lstrip("_")] = list(value)
        return Response({"settings": settings})

    @docs(tags=["Tunnels"], summary="The circuits of this node.")
    @response_schema(schema(CircuitsResponse={"circuits": [CIRCUIT]}))
    async def get_circuits(self, _: Request) -> Response:
        """All circuits of this node."""
        tunnels = self.tunnels
        circuits = () if tunnels is None else tuple(tunnels.circuits.values())
        return Response({"circuits": [_circuit(circuit) for circuit in circuits]})

    @docs(tags=["Tunnels"], summary="The circuits of this node that were removed last, the newest first.")
    @response_schema(schema(RemovedCircuitsResponse={"circuits": [REMOVED]}))
    async def get_removed_circuits(self, _: Request) -> Response:
        """Up to 50 circuits, and why they were removed."""
        tunnels = self.tunnels
        removed = () if tunnels is None else tuple(tunnels.removed_circuits)
        return Response({"circuits": [
            {"circuit_id": circuit.circuit_id, "type": circuit.ctype, "goal_hops": circuit.goal_hops,
             "hops": [mid.hex() for mid in circuit.hops], "reason": circuit.reason, "time": _seconds(circuit.time),
             "seconds": _seconds(circuit.seconds), "bytes_up": circuit.bytes_up, "bytes_down": circuit.bytes_down}
            for circuit in reversed(removed)]})

    @docs(tags=["Tunnels"], summary="The circuits of others that this node passes on.")
    @response_schema(schema(RelaysResponse={"relays": [RELAY]}))
    async def get_relays(self, _: Request) -> Response:
        """What is passed on."""
        tunnels = self.tunnels
        relays = () if tunnels is None else tuple(tunnels.relay_from_to.items())
        return Response({"relays": [
            {"circuit_from": circuit_id, "circuit_to": relay.circuit_id, "is_rendezvous": relay.rendezvous_relay,
             "direction": "forward" if relay.direction == FORWARD else "backward", "bytes_up": relay.bytes_up,
             "bytes_down": relay.bytes_down, "creation_time": _seconds(relay.creation_time)}
            for circuit_id, relay in relays]})

    @docs(tags=["Tunnels"], summary="The circuits of others that end at this node.")
    @response_schema(schema(ExitsResponse={"exits": [EXIT]}))
    async def get_exits(self, _: Request) -> Response:
        """What ends here."""
        tunnels = self._hidden()
        if tunnels is None:
            return Response({"exits": []})
        introduces = {known.circuit_id for known, _ in tunnels.intro_point_for.values()}
        meets = {known.circuit_id for known in tunnels.rendezvous_point_for.values()}
        return Response({"exits": [
            {"circuit_from": circuit_id, "enabled": ending.enabled, "bytes_up": ending.bytes_up,
             "bytes_down": ending.bytes_down, "creation_time": _seconds(ending.creation_time),
             "is_introduction": ending.circuit_id in introduces, "is_rendezvous": ending.circuit_id in meets}
            for circuit_id, ending in tuple(tunnels.exit_sockets.items())]})

    @docs(tags=["Tunnels"], summary="The hidden services that this node offers or uses.")
    @response_schema(schema(SwarmsResponse={"swarms": [SWARM]}))
    async def get_swarms(self, _: Request) -> Response:
        """All swarms."""
        tunnels = self._hidden()
        swarms = () if tunnels is None else tuple(tunnels.swarms.items())
        return Response({"swarms": [_swarm(info_hash, swarm) for info_hash, swarm in swarms]})

    @docs(tags=["Tunnels"], summary="Ask how many services a swarm has.", parameters=[
        {"in": "query", "name": "hops", "type": "integer", "description": "of the circuits, 1 to 3"}],
        responses={400: {"description": "An argument is impossible."}})
    @response_schema(schema(SwarmsSizeResponse={"swarm_size": Integer}))
    async def get_swarm_size(self, request: Request) -> Response:
        """An estimate by circuits of the wanted length."""
        tunnels = self._hidden()
        if tunnels is None:
            return Response({"swarms": []})
        info_hash = hexadecimal(request, "infohash")
        hops = limited(request, "hops", 1, 1, MAX_HOPS)
        return Response({"swarm_size": await tunnels.estimate_swarm_size(info_hash, hops=hops)})

    @docs(tags=["Tunnels"], summary="The nodes that can be hops.", parameters=[PAGE_SIZE, PAGE_START])
    @response_schema(schema(TunnelPeersResponse={"peers": [TUNNEL_PEER]}))
    async def get_peers(self, request: Request) -> Response:
        """The candidates."""
        tunnels = self.tunnels
        if tunnels is None:
            return Response({"peers": []})
        return Response({"peers": [
            {"ip": peer.address[0], "port": peer.address[1], "mid": peer.mid.hex(),
             "is_key_compatible": tunnels.crypto.is_key_compatible(peer.public_key), "flags": list(flags)}
            for peer, flags in page(request, tuple(tunnels.candidates.items()))]})

    @docs(tags=["Tunnels"], summary="The introduction points that this node stores for the DHT.")
    @response_schema(INTRODUCTION_POINTS(many=True))
    async def get_dht_peers(self, _: Request) -> Response:
        """What is in the storage of the DHT."""
        tunnels = self.tunnels
        provider = None if tunnels is None else tunnels.dht_provider
        dht = None if provider is None else provider.dht_community
        found: dict[bytes, list[dict[str, Any]]] = {}
        if dht is None:
            return Response([])
        for storage in dht.storages.values():
            for key in tuple(storage.items):
                points = [read_introduction_point(data) for data, _ in dht.post_process_values(storage.get(key))]
                found.setdefault(key, []).extend(point.to_dict() for point in points if point is not None)
        return Response([{"info_hash": key.hex(), "peers": points} for key, points in found.items()])

    @docs(tags=["Tunnels"], summary="The introduction points that other introduction points have told of.")
    @response_schema(INTRODUCTION_POINTS(many=True))
    async def get_pex_peers(self, _: Request) -> Response:
        """What the overlays of swarms have learnt."""
        tunnels = self._hidden()
        overlays = () if tunnels is None else tuple(tunnels.pex.items())
        return Response([{"info_hash": info_hash.hex(), "peers": _introduction_points(overlay.get_intro_points())}
                         for info_hash, overlay in overlays])

    # Speed tests

    @docs(tags=["Tunnels"], summary="Measure the speed of a new circuit.", parameters=[HOPS, *TEST_PARAMETERS],
          responses={**TEST_RESPONSES, **NO_CIRCUIT}, produces=["text/event-stream"])
    @response_schema(SpeedTestResponseSchema)
    @changes_state
    async def speed_test_new_circuit(self, request: Request) -> StreamResponse:
        """Make a circuit, measure it and remove it."""
        tunnels = self.tunnels
        if tunnels is None:
            return _refuse("TunnelCommunity is not initialized", HTTP_NOT_FOUND)
        hops = request.query.get("goal_hops", request.query.get("goals_hops", "1"))
        if hops not in {"1", "2", "3"}:
            return _refuse("invalid number of hops specified")
        if self._tests >= MAX_SPEED_TESTS:
            return _refuse("too many speed tests run: try again later", 429)
        self._tests += 1
        try:
            circuit = tunnels.create_circuit(int(hops), ctype=CIRCUIT_TYPE_SPEED_TEST,
                                             exit_flags=(PEER_FLAG_SPEED_TEST,))
            if circuit is None:
                return _refuse("failed to create circuit", HTTP_INTERNAL_SERVER_ERROR)
            try:
                if not await circuit.ready:
                    return _refuse("failed to create circuit", HTTP_INTERNAL_SERVER_ERROR)
                return await self.run_speed_test(request, circuit, dict(request.query))
            finally:
                await tunnels.remove_circuit(circuit.circuit_id, additional_info="speed test finished")
        finally:
            self._tests -= 1

    @docs(tags=["Tunnels"], summary="Measure the speed of a new circuit.", parameters=[HOPS, *TEST_PARAMETERS],
          responses={**TEST_RESPONSES, **NO_CIRCUIT}, produces=["text/event-stream"])
    @response_schema(SpeedTestResponseSchema)
    async def post_speed_test_new_circuit(self, request: Request) -> StreamResponse:
        """As :meth:`speed_test_new_circuit`."""
        return await self.speed_test_new_circuit(request)

    @docs(tags=["Tunnels"], summary="Measure the speed of a circuit.", parameters=TEST_PARAMETERS,
          responses=TEST_RESPONSES, produces=["text/event-stream"])
    @response_schema(SpeedTestResponseSchema)
    @changes_state
    async def speed_test_existing_circuit(self, request: Request) -> StreamResponse:
        """Measure a circuit that there is."""
        text = request.match_info.get("circuit_id", "")
        if not (text.isascii() and text.isdigit()):
            return _refuse("circuit_id must be an integer")
        tunnels = self.tunnels
        if tunnels is None:
            return _refuse("TunnelCommunity is not initialized", HTTP_NOT_FOUND)
        circuit = tunnels.circuits.get(int(text)) if len(text) <= 10 else None
        if circuit is None:
            return _refuse("could not find requested circuit", HTTP_NOT_FOUND)
        if circuit.state != CIRCUIT_STATE_READY:
            return _refuse("the requested circuit is not ready to transfer data")
        if circuit.ctype == CIRCUIT_TYPE_DATA and PEER_FLAG_SPEED_TEST not in circuit.exit_flags:
            return _refuse("the requested circuit does not support speed testing")
        if self._tests >= MAX_SPEED_TESTS:
            return _refuse("too many speed tests run: try again later", 429)
        self._tests += 1
        try:
            return await self.run_speed_test(request, circuit, dict(request.query))
        finally:
            self._tests -= 1

    @docs(tags=["Tunnels"], summary="Measure the speed of a circuit.", parameters=TEST_PARAMETERS,
          responses=TEST_RESPONSES, produces=["text/event-stream"])
    @response_schema(SpeedTestResponseSchema)
    async def post_speed_test_existing_circuit(self, request: Request) -> StreamResponse:
        """As :meth:`speed_test_existing_circuit`."""
        return await self.speed_test_existing_circuit(request)

    async def run_speed_test(self, request: Request, circuit: Circuit, params: dict[str, Any]) -> StreamResponse:
        """Measure a circuit, and write a line each time that there is something new.

        :param params: the parameters of the test, as numbers or as their digits.
        """
        tunnels = self.tunnels
        if tunnels is None:  # it was unloaded while the circuit was made
            return _refuse("TunnelCommunity is not initialized", HTTP_NOT_FOUND)
        parameters = Parameters.read(params)
        if isinstance(parameters, str):
            return _refuse(parameters)
        return await SpeedTest(speed_tester(tunnels), circuit, parameters).run(request)


def _seconds(when: float) -> float:
    """A time of the wall clock without the noise of its computation from that of the monotonic clock."""
    return round(when, 3)


def _circuit(circuit: Circuit) -> dict[str, Any]:
    waiting = circuit.unverified_hop
    return {
        "circuit_id": circuit.circuit_id, "goal_hops": circuit.goal_hops, "actual_hops": len(circuit.hops),
        "verified_hops": [hop.mid.hex() for hop in circuit.hops],
        "unverified_hop": "" if waiting is None else waiting.mid.hex(), "type": circuit.ctype,
        "state": f"{circuit.state} ({circuit.closing_info})" if circuit.closing_info else circuit.state,
        "bytes_up": circuit.bytes_up, "bytes_down": circuit.bytes_down,
        "creation_time": _seconds(circuit.creation_time), "exit_flags": list(circuit.exit_flags),
    }


def _swarm(info_hash: bytes, swarm: Swarm) -> dict[str, Any]:
    from ..dht.introduction_point import PEER_SOURCE_DHT, PEER_SOURCE_PEX

    sources = [point.source for point in swarm.intro_points]
    return {
        "info_hash": info_hash.hex(), "num_seeders": swarm.get_num_seeders(),
        "num_connections": swarm.get_num_connections(),
        "num_connections_incomplete": swarm.get_num_connections_incomplete(),
        "num_ips_from_dht": sources.count(PEER_SOURCE_DHT), "num_ips_from_pex": sources.count(PEER_SOURCE_PEX),
        "seeding": swarm.seeding, "last_lookup": _seconds(swarm.last_lookup), "bytes_up": swarm.get_total_up(),
        "bytes_down": swarm.get_total_down(),
    }


def _introduction_points(points: list[IntroductionPoint]) -> list[dict[str, Any]]:
    return [point.to_dict() for point in points]


def _refuse(error: str, status: int = HTTP_BAD_REQUEST) -> Response:
    return Response({"error": error}, status=status)
