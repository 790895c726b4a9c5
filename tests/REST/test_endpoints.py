"""Handlers that are called directly, as programs do in their tests, and as the server does before the node is known."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from ipv8 import clock
from ipv8.attestation.identity.metadata import Metadata
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.waiting import Asked
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.database import DatabaseException
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node as DHTNode
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.tunnel import Circuit, Hop
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.wrapping import WrappingEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.REST.asyncio_endpoint import AsyncioEndpoint, DequeLogHandler, DriftMeasurementStrategy
from ipv8.REST.base_endpoint import BaseEndpoint, Response, plain
from ipv8.REST.dht_endpoint import DHTEndpoint
from ipv8.REST.identity_endpoint import IdentityEndpoint, ez_b64_decode, ez_b64_encode
from ipv8.REST.isolation_endpoint import MAX_ADDED_SERVERS, IsolationEndpoint
from ipv8.REST.network_endpoint import NetworkEndpoint
from ipv8.REST.noblock_dht_endpoint import NoBlockDHTEndpoint
from ipv8.REST.overlays_endpoint import OverlaysEndpoint
from ipv8.REST.parameters import BadRequest, Conflict, NotFound
from ipv8.REST.root_endpoint import RootEndpoint
from ipv8.REST.sessions_endpoint import SessionsEndpoint
from ipv8.REST.speed_test import speed_tester
from ipv8.REST.trust_endpoint import TrustEndpoint
from ipv8.REST.trustchain_endpoint import TrustchainEndpoint
from ipv8.REST.tunnel_endpoint import TunnelEndpoint
from ipv8.taskmanager import TaskManager
from ipv8.test.mocking.community import MockCommunity
from ipv8.test.REST.rest_base import BodyCapture, MockRequest, response_to_bytes, response_to_json
from ipv8.trust import computed
from ipv8.trust.graph import TrustGraph
from tests.REST.full_nodes import acquaint, full_nodes, until
from tests.REST.world import World, peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ipv8.attestation.communication_manager import CommunicationChannel

KEY = "00" * 20


async def call(handler: Any, query: Any = None, **match_info: str) -> tuple[int, Any]:
    response = await handler(MockRequest("/", query=query, match_info=match_info))
    return response.status, await response_to_json(response)


# -- before the node is known ----------------------------------------------------------------------------------------

DRIFT, MISSING = "Core drift disabled.", {"success": False, "error": "DHT community not found"}
LOADED = {"success": False, "error": "communication manager is not loaded"}


@pytest.mark.parametrize(("endpoint", "handler", "query", "status", "content"), [
    (NetworkEndpoint, "retrieve_peers", {}, 200, {"peers": {}}),
    (OverlaysEndpoint, "get_overlays", {}, 200, {"overlays": []}),
    (OverlaysEndpoint, "get_statistics", {}, 200, {"statistics": []}),
    (OverlaysEndpoint, "enable_statistics", {}, 412, {"success": False, "error": "IPv8 is not running"}),
    (AsyncioEndpoint, "retrieve_drift", {}, 404, {"success": False, "error": DRIFT}),
    (AsyncioEndpoint, "enable_measurements", {"enable": True}, 200,
     {"success": False, "error": "Session not initialized."}),
    (DHTEndpoint, "get_statistics", {}, 404, MISSING), (DHTEndpoint, "get_stored_values", {}, 404, MISSING),
    (DHTEndpoint, "get_values", {}, 404, MISSING), (DHTEndpoint, "put_value", {}, 404, MISSING),
    (DHTEndpoint, "get_peer", {}, 404, MISSING), (DHTEndpoint, "get_buckets", {}, 200, {"buckets": []}),
    (DHTEndpoint, "get_lookups", {}, 200, {"lookups": []}),
    (DHTEndpoint, "refresh_bucket", {}, 400, {"success": False, "error": "DHT community is not loaded"}),
    (NoBlockDHTEndpoint, "handle_get", {}, 404, {"error": "DHT community not found"}),
    (TunnelEndpoint, "get_settings", {}, 200, {"settings": {}}),
    (TunnelEndpoint, "get_circuits", {}, 200, {"circuits": []}),
    (TunnelEndpoint, "get_relays", {}, 200, {"relays": []}), (TunnelEndpoint, "get_exits", {}, 200, {"exits": []}),
    (TunnelEndpoint, "get_swarms", {}, 200, {"swarms": []}), (TunnelEndpoint, "get_peers", {}, 200, {"peers": []}),
    (TunnelEndpoint, "get_swarm_size", {}, 200, {"swarms": []}),
    (TunnelEndpoint, "get_dht_peers", {}, 200, []), (TunnelEndpoint, "get_pex_peers", {}, 200, []),
    (TunnelEndpoint, "speed_test_new_circuit", {}, 404, {"error": "TunnelCommunity is not initialized"}),
    (IdentityEndpoint, "list_pseudonyms", {}, 200, {"names": []}),
    (IdentityEndpoint, "list_schemas", {}, 200, {"schemas": []}),
    (IdentityEndpoint, "get_pseudonym_public_key", {}, 200, LOADED),
    (IdentityEndpoint, "unload_pseudonym", {}, 200, LOADED), (IdentityEndpoint, "remove_pseudonym", {}, 200, LOADED),
    (IdentityEndpoint, "list_pseudonym_credentials", {}, 200, {"names": []}),
    (IdentityEndpoint, "list_pseudonym_peers", {}, 200, {"peers": []}),
    (IdentityEndpoint, "list_pseudonym_outstanding_attestations", {}, 200, {"requests": []}),
    (IdentityEndpoint, "list_pseudonym_verification_output", {}, 200, {"outputs": []}),
    (IdentityEndpoint, "allow_pseudonym_verification", {}, 200, LOADED),
    (SessionsEndpoint, "get_sessions", {}, 200, {"enabled": False, "sessions": []}),
    (TrustchainEndpoint, "get_recent_blocks", {}, 404, {"error": "Trustchain community not found"}),
])
async def test_without_a_node(endpoint: Any, handler: str, query: Any, status: int, content: Any) -> None:
    assert await call(getattr(endpoint(), handler), query, key=KEY, mid=KEY) == (status, content)


# -- base ------------------------------------------------------------------------------------------------------------

async def test_two_bases() -> None:
    made = []

    class Theirs(TaskManager):
        def __init__(self) -> None:
            super().__init__()
            self.app: Any = object()
            made.append(self)

    class Both(RootEndpoint, Theirs):
        def __init__(self) -> None:
            Theirs.__init__(self)
            RootEndpoint.__init__(self)

    both: Any = Both()
    assert made == [both]
    assert list(both.endpoints)[:8] == ["/asyncio", "/dht", "/identity", "/isolation", "/network", "/noblockdht",
                                        "/overlays", "/tunnel"]
    assert both.app.router.resources()
    await both.shutdown_task_manager()


async def test_initialize_reaches_all(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []
    child = SimpleNamespace(app=BaseEndpoint[Any]().app, initialize=seen.append)
    root = BaseEndpoint[Any]()
    root.add_endpoint("/child", child)
    root.initialize("node")
    assert (root.session, seen, root.endpoints) == ("node", ["node"], {"/child": child})
    assert not caplog.records


async def test_response() -> None:
    response = Response({"é": [1]}, status=201)
    assert response.headers["Content-Type"] == "application/json"
    assert await response_to_bytes(response) == b'{"\\u00e9": [1]}'
    assert await response_to_bytes(Response(b"raw", content_type="text/plain")) == b"raw"
    with pytest.raises(TypeError):
        Response({"a": b"bytes"})


# -- asyncio ---------------------------------------------------------------------------------------------------------

async def test_drift(world: World, manual_clock: Any) -> None:
    endpoint = AsyncioEndpoint()
    endpoint.initialize(world)  # type: ignore[arg-type]
    assert await call(endpoint.enable_measurements, {"enable": True}) == (200, {"success": True})
    assert endpoint.enable()
    ((strategy, target),) = world.strategies
    assert isinstance(strategy, DriftMeasurementStrategy)
    assert target == -1
    manual_clock.advance(0.75)
    strategy.take_step()
    _, content = await call(endpoint.retrieve_drift)
    assert content == {"measurements": [{"timestamp": manual_clock.time(), "drift": 0.25}]}
    assert await call(endpoint.enable_measurements, {"enable": False}) == (200, {"success": True})
    assert (world.strategies, endpoint.strategy) == ([], None)


async def test_debug() -> None:
    endpoint, loop = AsyncioEndpoint(), asyncio.get_running_loop()
    assert await call(endpoint.set_asyncio_debug, {"enable": True, "slow_callback_duration": 0.5}) == (
        200, {"success": True})
    logging.getLogger("asyncio").warning("slow")
    assert await call(endpoint.get_asyncio_debug) == (
        200, {"messages": [{"message": "slow"}], "enable": True, "slow_callback_duration": 0.5})
    await endpoint.on_shutdown(endpoint.app)
    assert not any(isinstance(handler, DequeLogHandler) for handler in logging.getLogger("asyncio").handlers)
    endpoint.set_debug(False, 0.1)
    assert not loop.get_debug()


async def test_tasks() -> None:
    manager = TaskManager()
    manager.register_task("work", lambda: None, interval=5.0)
    _, content = await call(AsyncioEndpoint().get_asyncio_tasks)
    (task,) = (task for task in content["tasks"] if task["name"] == "work")
    assert (task["taskmanager"], task["interval"], task["running"]) == ("TaskManager", 5.0, False)
    assert sum(task["running"] for task in content["tasks"]) == 1
    await manager.shutdown_task_manager()


# -- overlays --------------------------------------------------------------------------------------------------------

async def test_statistics_of_wrapped_endpoints(world: World) -> None:
    endpoint, counter = OverlaysEndpoint(), world.endpoint
    world.endpoint = WrappingEndpoint(counter)
    endpoint.initialize(world)  # type: ignore[arg-type]
    assert endpoint.statistics_supported
    prefix = world.overlays[0].get_prefix()
    assert await call(endpoint.enable_statistics, {"enable": "false", "all": True}) == (200, {"success": True})
    assert prefix not in counter.statistics
    endpoint.enable_overlay_statistics(True, "DiscoveryCommunity")
    assert list(counter.statistics) == [prefix]
    counter.add_sent_stat(prefix, 246, 10, 5.0)
    _, content = await call(endpoint.get_statistics)
    assert content["statistics"][0]["DiscoveryCommunity"]["246:on_old_introduction_request"]["bytes_up"] == 10
    assert content["statistics"][1:] == [{"HiddenTunnelCommunity": {}}, {"DHTDiscoveryCommunity": {}}]


async def test_node_that_does_not_count(world: World) -> None:
    endpoint = OverlaysEndpoint()
    world.endpoint = world.endpoint.endpoint
    endpoint.initialize(world)  # type: ignore[arg-type]
    assert await call(endpoint.enable_statistics, {"enable": True, "all": True}) == (
        412, {"success": False, "error": "StatisticsEndpoint is not enabled."})
    endpoint.enable_overlay_statistics(True, None, True)
    assert (await call(endpoint.get_overlays))[1]["overlays"][0]["statistics"] == {}


async def test_statistics_of_a_mock() -> None:
    overlay = MockCommunity()
    counter = StatisticsEndpoint(overlay.endpoint)
    endpoint = OverlaysEndpoint()
    endpoint.session = SimpleNamespace(overlays=[overlay], endpoint=counter, network=overlay.network,  # type: ignore[assignment]
                                       strategies=[])
    endpoint.statistics_supported = True
    await call(endpoint.enable_statistics, {"enable": True, "overlay_name": "MockCommunity"})
    counter.add_sent_stat(overlay.get_prefix(), 1, 1337, 7.0)
    _, content = await call(endpoint.get_overlays)
    assert content["overlays"][0]["statistics"] == {"bytes_down": 0, "bytes_up": 1337, "diff_time": 0.0, "num_down": 0,
                                                    "num_up": 1}
    await overlay.unload()


# -- isolation -------------------------------------------------------------------------------------------------------

async def test_servers_are_added(world: World) -> None:
    endpoint = IsolationEndpoint()
    endpoint.session = world  # type: ignore[assignment]
    known = DispersyBootstrapper([], [])
    world.overlays[0].bootstrappers.append(known)
    body = {"ip": "127.0.0.1", "port": 5, "bootstrapnode": True}
    for _ in range(2):
        assert await call(endpoint.handle_post, body) == (200, {"success": True})
    assert known.ip_addresses == [("127.0.0.1", 5)]
    assert world.network.blacklist.count(("127.0.0.1", 5)) == 1
    assert world.endpoint.endpoint.sent[0] == ("127.0.0.1", 5)
    for port in range(10, 9 + MAX_ADDED_SERVERS):
        assert (await call(endpoint.handle_post, {**body, "port": port}))[0] == 200
    assert (await call(endpoint.handle_post, {**body, "port": 9999}))[0] == 400


async def test_port_0_is_for_tests() -> None:
    endpoint = IsolationEndpoint()
    endpoint.session = SimpleNamespace(overlays=[], network=Network())  # type: ignore[assignment]
    body = {"ip": "127.0.0.1", "bootstrapnode": True}
    assert await call(endpoint.handle_post, {**body, "port": 0}) == (200, {"success": True})
    for port in (-1, 65536, 1.5, "1", True, None):
        with pytest.raises(BadRequest):
            await call(endpoint.handle_post, {**body, "port": port})


# -- DHT -------------------------------------------------------------------------------------------------------------

async def test_search_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    going_on = asyncio.Event()

    async def connect_peer(mid: bytes) -> list[Any]:
        asked.append(mid)
        await going_on.wait()
        return []

    endpoint = NoBlockDHTEndpoint()
    endpoint.dht = dht = world.get_overlay(DHTDiscoveryCommunity)
    monkeypatch.setattr(dht, "connect_peer", connect_peer)
    for _ in range(2):
        assert await call(endpoint.handle_get, mid=KEY) == (200, {"success": True})
    await asyncio.sleep(0)
    assert asked == [bytes(20)]
    statuses = [(await call(endpoint.handle_post, mid=f"{n:040x}"))[0] for n in range(1, 20)]
    assert statuses == [200] * 15 + [429] * 4
    going_on.set()


async def test_lookups(world: World, manual_clock: Any) -> None:
    endpoint = DHTEndpoint()
    endpoint.dht = dht = world.get_overlay(DHTDiscoveryCommunity)
    node = DHTNode(peer(4).key, peer(4).address)
    dht.get_routing_table(node).add(node)
    looking = asyncio.ensure_future(dht.find_values(bytes(20)))
    while not any(record.course for record in dht.lookups.records()):  # noqa: ASYNC110 - until the node is asked
        await asyncio.sleep(0)
    shared = 160 - node.distance(bytes(20)).bit_length()
    running = {"id": 1, "target": KEY, "kind": "values", "started": manual_clock.time(), "state": "started",
               "nodes_asked": 1, "values": 0, "seconds": None, "course": [[0.0, shared, "asked"]]}
    assert await call(endpoint.get_lookups) == (200, {"lookups": [running]})
    looking.cancel()
    await asyncio.wait([looking])
    _, content = await call(endpoint.get_lookups)
    assert content == {"lookups": [{**running, "state": "finished", "seconds": 0.0}]}


async def test_both_families_of_a_stored_key(world: World) -> None:
    endpoint = DHTEndpoint()
    endpoint.dht = dht = world.get_overlay(DHTDiscoveryCommunity)
    value = dht.serialize_value(b"value", sign=False)
    for address in (("10.0.0.4", 1), ("2001:db8::4", 1, 0, 0)):
        node: Any = Peer(peer(4).key, dht.my_estimated_wan if len(address) == 2 else None)
        if len(address) == 4:
            from ipv8.messaging.address import UDPv6Address
            node.address = UDPv6Address("2001:db8::4", 1)
        dht.get_storage(node).put(bytes(20), value)
    _, content = await call(endpoint.get_stored_values)
    assert [entry["endpoint"] for entry in content[KEY]] == ["UDPIPv4", "UDPIPv6"]


# -- tunnels ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def tested(world: World) -> tuple[TunnelEndpoint, list[Any]]:
    """Tunnels with a circuit whose speed can be measured."""
    calls: list[Any] = []

    def run_speedtest(*arguments: Any) -> None:
        calls.append(arguments)
        callback = arguments[5]
        callback({1: [1000, 1 << 20, 2000, 1 << 20], 2: [2000, 1 << 20, 3000, 1 << 20]}, False)
        callback({1: [1000, 1 << 20, 2000, 1 << 20], 2: [2000, 1 << 20, 3000, 1 << 20]}, True)

    endpoint = TunnelEndpoint()
    endpoint.tunnels = world.overlays[1]
    endpoint.tunnels.crypto_endpoint.run_speedtest = run_speedtest  # type: ignore[union-attr]
    circuit = Circuit(11, 1)
    circuit.add_hop(Hop(peer(2), flags=[8]))
    world.overlays[1].circuits[11] = circuit
    return endpoint, calls


@pytest.mark.parametrize(("form", "start", "end"), [("", "speed", "\n"), ("sse", "data", "\n\n")])
async def test_speed_test(tested: Any, form: str, start: str, end: str) -> None:
    endpoint, calls = tested
    writer = BodyCapture()
    request = MockRequest("/", query={"request_size": "10", "test_time_ms": "100", "format": form},
                          match_info={"circuit_id": "11"}, payload_writer=writer)
    response = await endpoint.speed_test_existing_circuit(request)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert writer.getvalue().decode() == (f'{start}: {{"up": 2.0, "down": 2.0}}{end}'
                                          f'{start}: {{"up": 0.0, "down": 0.0}}{end}')
    assert calls[0][:5] == (11, 100, 10, 1024, 100)
    assert calls[0][6] == 500


@pytest.mark.parametrize(("query", "error"), [
    ({"request_size": "2001"}, "invalid request or response size specified"),
    ({"response_size": "-1"}, "invalid request or response size specified"),
    ({"test_time_ms": "0"}, "invalid test time specified"), ({"test_time_ms": "1e3"}, "invalid test time specified")])
async def test_impossible_speed_tests(tested: Any, query: Any, error: str) -> None:
    assert await call(tested[0].speed_test_existing_circuit, query, circuit_id="11") == (400, {"error": error})


async def test_speed_test_in_python(tmp_path: Path) -> None:
    """Of a real circuit, through an endpoint that makes no speed tests itself."""
    async with full_nodes(tmp_path, 3) as nodes:
        endpoint = TunnelEndpoint()
        endpoint.initialize(nodes[0])
        circuit = await nodes[0].make_circuit(2)
        writer = BodyCapture()
        await endpoint.speed_test_existing_circuit(MockRequest(
            "/", query={"test_time_ms": "1200", "request_size": "100", "response_size": "400"},
            match_info={"circuit_id": str(circuit.circuit_id)}, payload_writer=writer))
        lines = [json.loads(line.removeprefix("speed: ")) for line in writer.getvalue().decode().splitlines()]
        assert lines
        assert lines[0]["up"] > 0
        assert max(line["down"] for line in lines) > 0
        assert circuit.bytes_down > 400


async def test_speed_test_of_a_circuit_that_ends(tmp_path: Path) -> None:
    async with full_nodes(tmp_path, 2) as nodes:
        tunnels = nodes[0].tunnels
        circuit = await nodes[0].make_circuit(1)
        told: list[bool] = []
        running = speed_tester(tunnels)(circuit.circuit_id, 60_000, 10, 10, 100,
                                        lambda _, is_done: told.append(is_done), 50)
        await tunnels.remove_circuit(circuit.circuit_id, "the test ends it", remove_now=True)
        await asyncio.wait_for(running, 30.0)  # half of the time of the test
        assert told[-1]
        assert told.count(True) == 1


async def test_removed_circuits(tmp_path: Path) -> None:
    async with full_nodes(tmp_path, 2) as nodes:
        endpoint = TunnelEndpoint()
        assert await call(endpoint.get_removed_circuits) == (200, {"circuits": []})
        endpoint.initialize(nodes[0])
        for reason in ("first", "second"):
            circuit = await nodes[0].make_circuit(1)
            await nodes[0].tunnels.remove_circuit(circuit.circuit_id, reason, remove_now=True)
        status, content = await call(endpoint.get_removed_circuits)
        second, first = content["circuits"]
        assert (status, second["reason"], first["reason"]) == (200, "second", "first")
        assert (second["circuit_id"], second["type"], second["goal_hops"]) == (circuit.circuit_id, "DATA", 1)
        assert second["hops"] == [nodes[1].known_as().mid.hex()]
        assert (second["bytes_up"], second["bytes_down"]) == (circuit.bytes_up, circuit.bytes_down)
        assert second["time"] == pytest.approx(clock.time(), abs=30)
        assert 0 < second["seconds"] < 30


# -- sessions --------------------------------------------------------------------------------------------------------

async def test_sessions(world: World) -> None:
    counters = dict.fromkeys(("bytes_up", "bytes_down", "datagrams_up", "datagrams_down", "malformed", "moves",
                              "rekeys"), 1)
    session = SimpleNamespace(peer=peer(2), address=peer(2).address, initiator=True, hybrid=True, cipher="AES-256-GCM",
                              is_open=True, opened_at=5.0, stats=SimpleNamespace(round_trip=None, **counters))
    world.sessions = SimpleNamespace(sessions=lambda: [session])
    endpoint = SessionsEndpoint()
    endpoint.initialize(world)  # type: ignore[arg-type]
    assert await call(endpoint.get_sessions) == (200, {"enabled": True, "sessions": [
        {"mid": peer(2).mid.hex(), "public_key": peer(2).public_key.key_to_bin().hex(),
         "address": {"ip": "10.0.0.2", "port": 1002}, "initiator": True, "hybrid": True, "cipher": "AES-256-GCM",
         "is_open": True, "opened_at": 5.0, "round_trip": None, **counters}]})


# -- trust -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def trust() -> TrustEndpoint:
    endpoint = TrustEndpoint()
    endpoint.graph = graph = TrustGraph(b"root", walks=200, rng=1)
    graph.add(b"root", b"friend", 2.0)
    graph.add(b"friend", b"other", 1.0)
    return endpoint


async def test_trust(trust: TrustEndpoint) -> None:
    graph: Any = trust.graph
    key = b"friend".hex()
    assert await call(trust.get_score, pub_key=key) == (200, {
        "public_key": key, "score": graph.score(b"friend"), "rank": 1, "confidence": list(graph.confidence(b"friend")),
        "fraud": False})
    assert (await call(trust.get_score, pub_key="00"))[1]["score"] == 0
    _, content = await call(trust.get_top, {"limit": "1"})
    assert content == {"peers": [{"public_key": key, "mid": hashlib.sha1(b"friend").hexdigest(),
                                  "score": graph.score(b"friend")}]}
    _, content = await call(trust.get_explanation, pub_key=b"other".hex())
    assert content["paths"] == [{"nodes": [name.hex() for name in (b"root", b"friend", b"other")], "share": 1.0}]
    assert len((await call(trust.get_graph, {"depth": "1"}))[1]["nodes"]) == 2
    assert (await call(trust.get_statistics))[1]["nodes"] == 3
    assert await call(trust.block, pub_key=key) == (200, {"success": True})
    assert (await call(trust.get_score, pub_key=key))[1]["score"] == 0
    assert await call(trust.get_blocked) == (200, {"total": 1, "keys": [key]})
    assert await call(trust.unblock, pub_key=key) == (200, {"success": True})
    assert await call(trust.get_blocked) == (200, {"total": 0, "keys": []})
    assert (await call(trust.get_score, pub_key=key))[1]["score"] > 0


@pytest.mark.parametrize(("handler", "query", "key"), [
    ("get_score", {}, "zz"), ("get_score", {"name": "no"}, "00"), ("get_top", {"limit": "0"}, ""),
    ("get_graph", {"depth": "x"}, ""), ("block", {}, b"root".hex()), ("get_explanation", {"paths": "99"}, "00")])
async def test_impossible_questions_about_trust(trust: TrustEndpoint, handler: str, query: Any, key: str) -> None:
    with pytest.raises(BadRequest):
        await call(getattr(trust, handler), query, pub_key=key)


async def test_score_that_needs_a_smaller_graph(trust: TrustEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed, "FLOW_NODES", 2)
    for handler in (trust.get_score, trust.get_top, trust.get_explanation):
        with pytest.raises(BadRequest) as refused:
            await call(handler, {"name": "netflow"}, pub_key="00")
        assert "use another score" in str(refused.value.__cause__)
    monkeypatch.setattr(computed, "FLOW_NODES", 3)
    status, content = await call(trust.get_score, {"name": "netflow"}, pub_key=b"friend".hex())
    assert (status, content["score"]) == (200, 2.0)


async def test_graph_of_an_overlay(world: World, trust: TrustEndpoint) -> None:
    endpoint = TrustEndpoint()
    endpoint.initialize(world)  # type: ignore[arg-type]
    assert (await call(endpoint.get_statistics))[0] == 404
    world.overlays[0].trust = trust.graph
    assert (await call(endpoint.get_statistics))[0] == 200


# -- parts of the node that come and go ------------------------------------------------------------------------------

@pytest.mark.parametrize(("endpoint_class", "name", "overlay_class"), [
    (DHTEndpoint, "dht", DHTDiscoveryCommunity), (NoBlockDHTEndpoint, "dht", DHTDiscoveryCommunity),
    (TunnelEndpoint, "tunnels", HiddenTunnelCommunity), (TrustchainEndpoint, "trustchain", TrustChainCommunity)])
async def test_overlays_are_those_that_the_node_has_now(world: World, endpoint_class: Any, name: str,
                                                        overlay_class: Any) -> None:
    if overlay_class is TrustChainCommunity:
        world.overlays.append(TrustChainCommunity(TrustChainCommunity.settings_class(
            my_peer=world.my_peer, endpoint=world.endpoint, network=world.network, working_directory=":memory:")))
    overlay = world.get_overlay(overlay_class)
    endpoint, request = endpoint_class(), MockRequest("/")
    assert not endpoint.is_available(request)
    endpoint.initialize(world)
    assert getattr(endpoint, name) is overlay
    assert endpoint.is_available(request)
    await world.unload_overlay(overlay)
    assert getattr(endpoint, name) is None
    assert not endpoint.is_available(request)
    setattr(endpoint, name, overlay)
    endpoint.initialize(world)
    assert getattr(endpoint, name) is overlay
    setattr(endpoint, name, None)
    assert getattr(endpoint, name) is None
    world.overlays.append(overlay)
    assert getattr(endpoint, name) is overlay


async def test_tunnels_that_go_while_a_circuit_is_made(world: World) -> None:
    endpoint: Any = TunnelEndpoint()
    endpoint.initialize(world)
    circuit = Circuit(7, 1)

    async def unload() -> Circuit:
        world.overlays.remove(tunnels)
        return circuit

    tunnels = world.get_overlay(HiddenTunnelCommunity)
    circuit.ready = asyncio.ensure_future(unload())
    tunnels.create_circuit = lambda *_, **__: circuit
    assert await call(endpoint.speed_test_new_circuit) == (404, {"error": "TunnelCommunity is not initialized"})
    await tunnels.unload()


# -- TrustChain ------------------------------------------------------------------------------------------------------

@pytest.fixture
async def chain(world: World) -> AsyncIterator[TrustchainEndpoint]:
    community = TrustChainCommunity(TrustChainCommunity.settings_class(
        my_peer=world.my_peer, endpoint=world.endpoint, network=world.network, working_directory=":memory:"))
    endpoint = TrustchainEndpoint()
    endpoint.trustchain = community
    key: Any = world.my_peer.key
    other = default_eccrypto.generate_key("curve25519")
    for number in range(1, 4):
        block = TrustChainBlock.create(b"test", {"n": number, "x": float("nan")}, community.persistence,
                                       key.pub().key_to_bin(), link_pk=other.pub().key_to_bin())
        block.sign(key)
        community.persistence.add_block(block)
    yield endpoint
    await community.unload()


async def test_trustchain(chain: TrustchainEndpoint, world: World) -> None:
    key = world.my_peer.public_key.key_to_bin().hex()
    assert await call(chain.get_users) == (200, {"users": [{"public_key": key, "blocks": 3}]})
    _, content = await call(chain.get_blocks_for_user, {"limit": "2"}, pub_key=key)
    assert [block["sequence_number"] for block in content["blocks"]] == [3, 2]
    block = content["blocks"][0]
    _, rest = await call(chain.get_blocks_for_user, {"limit": "1", "offset": "1"}, pub_key=key)
    assert rest["blocks"] == content["blocks"][1:]
    assert (block["type"], block["public_key"], block["transaction"]) == ("test", key, {"n": 3, "x": "nan"})
    assert await call(chain.get_block, block_hash=block["hash"]) == (200, {"block": block})
    assert await call(chain.get_block, block_hash="00" * 32) == (
        404, {"error": "the block with the provided hash could not be found"})
    _, content = await call(chain.get_recent_blocks, {"limit": "1", "offset": "1"})
    assert len(content["blocks"]) == 1


async def test_transaction_that_is_nested_deep(chain: TrustchainEndpoint, world: World) -> None:
    assert chain.trustchain is not None
    block = TrustChainBlock.create(b"test", {}, chain.trustchain.persistence, world.my_peer.public_key.key_to_bin())
    block._transaction = b'{"a": ' + b"[" * 800 + b"1" + b"]" * 800 + b"}"
    block.sign(world.my_peer.key)  # type: ignore[arg-type]  # it is a private key
    chain.trustchain.persistence.add_block(block)
    status, content = await call(chain.get_recent_blocks, {"limit": "100"})
    assert status == 200
    assert len(content["blocks"]) == 4
    assert content["blocks"][0]["transaction"] == {}, "it is opaque"


@pytest.mark.parametrize(("value", "expected"), [
    (b"text", "text"), (b"\xff", "ff"), (float("inf"), "inf"), (1.5, 1.5), (None, None), (True, True),
    ({b"a": (b"b", {float("nan")})}, {"a": ["b", ["nan"]]}), ({1: 2}, {"1": 2})])
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


# -- identity --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("metadata", "expected"), [
    ({"a": float("nan"), "b": [float("inf")]}, {"a": "nan", "b": ["inf"]}),
    (json.loads('{"a": ' + "[" * 300 + "]" * 300 + "}"), None)])
async def test_metadata_of_peers_is_json(world: World, metadata: Any, expected: Any) -> None:
    endpoint = IdentityEndpoint()
    endpoint.communication_manager = world.manager
    channel = await world.manager.load("alice")
    channel.on_request_attestation(peer(5), "age", metadata)
    response = await endpoint.list_requests(MockRequest("", "GET", {}, {"pseudonym_name": "alice"}))
    text = (await response_to_bytes(response)).decode()
    (request,) = json.loads(text, parse_constant=pytest.fail)["requests"]
    assert request["metadata"] == expected if expected is not None else "\\u2026" in text


async def alice_and_peer(world: World) -> tuple[IdentityEndpoint, CommunicationChannel, Peer, str]:
    """The interface, the pseudonym alice, and a peer that she knows, with its key in base64."""
    endpoint = IdentityEndpoint()
    endpoint.communication_manager = world.manager
    channel, other = await world.manager.load("alice"), peer(5)
    network = channel.identity_overlay.network
    network.add_verified_peer(other)
    network.discover_services(other, [channel.identity_overlay.community_id])
    return endpoint, channel, other, ez_b64_encode(other.public_key.key_to_bin())


async def test_requests_that_wait(world: World) -> None:
    endpoint, channel, other, key = await alice_and_peer(world)
    assert ez_b64_decode(key) == other.public_key.key_to_bin()
    waiting = channel.on_request_attestation(other, "age", {"a": "b"})
    assert await call(endpoint.list_pseudonym_outstanding_attestations, pseudonym_name="alice") == (
        200, {"requests": [{"peer": key, "attribute_name": "age", "metadata": '{"a": "b"}'}]})
    attest: Any = endpoint.attest_pseudonym_credential
    body = {"name": "age", "value": ez_b64_encode(b"18")}
    assert await call(attest, body, pseudonym_name="alice", subject_key=key) == (200, {"success": True})
    assert await waiting == b"18"
    with pytest.raises(NotFound):
        await call(attest, body, pseudonym_name="alice", subject_key=key)
    assert await call(attest, body, pseudonym_name="alice", subject_key="AAAA") == (
        200, {"success": False, "error": "failed to find subject"})
    channel.verification_output[b"h" * 20] = [(b"18", 0.99), (b"19", None)]
    channel.verification_output[b"i" * 20] = [(b"18", None)]
    assert await call(endpoint.list_pseudonym_verification_output, pseudonym_name="alice") == (200, {"outputs": [
        {"hash": ez_b64_encode(b"h" * 20), "reference": ez_b64_encode(b"18"), "match": 0.99}]})


@pytest.mark.filterwarnings("ignore:The identity format")  # which is told once in a process
async def test_answers_say_what_is_weak(world: World) -> None:
    endpoint, channel, other, key = await alice_and_peer(world)
    socket: Any = channel.attestation_overlay.endpoint
    socket.send = lambda *_: None

    async def header(handler: Any, body: dict[str, Any], name: str) -> str | None:
        response = await handler(MockRequest("/", query=body, match_info={"pseudonym_name": "alice", name: key}))
        assert await response_to_json(response) == {"success": True}
        weakness: str | None = response.headers.get("X-IPv8-Weakness")
        return weakness

    request: Any = endpoint.create_pseudonym_credential
    verify: Any = endpoint.verify_pseudonym_credential
    attest: Any = endpoint.attest_pseudonym_credential
    body = {"name": "age", "schema": "id_metadata", "metadata": {}}
    assert "can be broken" in (await header(request, body, "authority_key") or "")
    checked = {"hash": ez_b64_encode(bytes(20)), "value": ez_b64_encode(b"18"), "schema": "id_metadata_range_18plus"}
    assert "can be broken" in (await header(verify, checked, "subject_key") or "")
    for asked in (True, False):
        if asked:
            channel.attestation_overlay.asked_formats[other, "age"] = "id_metadata_big"
        else:
            channel.attestation_overlay.asked_formats.clear()
        channel.on_request_attestation(other, "age", {})
        weakness = await header(attest, {"name": "age", "value": ez_b64_encode(b"18")}, "subject_key")
        assert (weakness is not None) is asked

    for handler, wrong, message in (
            (request, {**body, "metadata": {"public_key": "x"}}, "says that itself"),
            (request, {**body, "name": "n" * 8193}, "name must have at most"),
            (verify, checked, "already"),
            (verify, {**checked, "hash": ez_b64_encode(bytes(19))}, "20 bytes")):
        with pytest.raises(BadRequest) as raised:
            await call(handler, wrong, pseudonym_name="alice", authority_key=key, subject_key=key)
        assert message in raised.value.message


@pytest.mark.parametrize("error", [DatabaseException, sqlite3.OperationalError])
async def test_a_database_that_cannot_be_used(world: World, error: type[Exception]) -> None:
    endpoint = IdentityEndpoint()
    endpoint.communication_manager = world.manager

    async def fail(*_: Any) -> None:
        raise error("the file is of a newer release")

    world.manager.load = fail  # type: ignore[assignment,method-assign]
    with pytest.raises(BadRequest) as raised:
        await call(endpoint.load_pseudonym, pseudonym_name="alice")
    assert raised.value.message == "the file is of a newer release"


@pytest.mark.filterwarnings("ignore:The identity format")  # which is told once in a process
async def test_requests_with_their_formats_are_refused(tmp_path: Path) -> None:
    async with full_nodes(tmp_path, 2) as nodes:
        endpoint = IdentityEndpoint()
        endpoint.communication_manager = nodes[0].pseudonyms
        alice, bob = await nodes[0].pseudonyms.load("alice"), await nodes[1].pseudonyms.load("bob")
        acquaint(alice, bob)
        subject, authority = alice.peers[0], bob.peers[0]
        bob.request_attestation(authority, "height", "id_metadata_big", {"unit": "cm"})
        await until(lambda: alice.attestation_requests, "the request")
        key = ez_b64_encode(subject.public_key.key_to_bin())
        expected = {"kind": "attestation", "peer": key, "attribute_name": "height", "metadata": {"unit": "cm"},
                    "format": "id_metadata_big", "hash": None,
                    "request_id": Asked(subject, "height", '{"unit": "cm"}', "id_metadata_big").request_id}
        assert await call(endpoint.list_requests, pseudonym_name="alice") == (200, {"requests": [expected]})
        refuse: Any = endpoint.refuse_pseudonym_credential
        body = {"name": "height"}
        assert await call(refuse, body, pseudonym_name="alice", subject_key=key) == (200, {"success": True})
        assert await call(endpoint.list_requests, pseudonym_name="alice") == (200, {"requests": []})
        with pytest.raises(NotFound):
            await call(refuse, body, pseudonym_name="alice", subject_key=key)
        waiting = alice.on_verify_request(subject, b"unknown")
        assert await waiting is None
        alice.verify_requests[subject, "age"] = asyncio.get_running_loop().create_future()
        _, content = await call(endpoint.list_requests, pseudonym_name="alice")
        assert content == {"requests": [{"kind": "verification", "peer": key, "attribute_name": "age", "metadata": {},
                                         "format": None, "hash": None, "request_id": None}]}


async def test_a_decision_is_about_the_request_that_was_seen(world: World) -> None:
    endpoint, channel, other, key = await alice_and_peer(world)
    known = Metadata(b"t" * 32, b'{"name": "age"}', signature=b"s" * 64)
    channel.identity_overlay.get_attestation_by_hash = lambda _: known  # type: ignore[assignment,method-assign]
    path = {"pseudonym_name": "alice", "subject_key": key, "verifier_key": key}

    async def listed() -> dict[str, Any]:
        _, content = await call(endpoint.list_requests, pseudonym_name="alice")
        (request,) = content["requests"]
        return cast("dict[str, Any]", request)

    value = ez_b64_encode(b"18")
    ask: Callable[[int], asyncio.Future[Any]]
    for ask, handlers, named in (
            (lambda number: channel.on_request_attestation(other, "age", {"number": number}),
             (endpoint.attest_pseudonym_credential, endpoint.refuse_pseudonym_credential),
             ("request_id", "metadata", "text")),
            (lambda number: channel.on_verify_request(other, bytes([number]) * 20),
             (endpoint.allow_pseudonym_verification, endpoint.disallow_pseudonym_verification), ("request_id",))):
        for handler, name in product(handlers, named):
            decide: Any = handler
            first = ask(1)
            shown = await listed()
            seen = {"metadata": shown["metadata"], "text": json.dumps(shown["metadata"]),
                    "request_id": shown["request_id"]}[name]
            body = {"name": "age", "value": value, "request_id" if name == "request_id" else "metadata": seen}
            first.set_result(None)  # it has ended while somebody looked at it
            await asyncio.sleep(0)
            second = ask(2)
            with pytest.raises(Conflict) as raised:
                await call(decide, body, **path)
            assert raised.value.status == 409
            assert "decide again" in raised.value.message
            assert not second.done()
            assert await call(decide, {**body, "request_id": (await listed())["request_id"], "metadata": None},
                              **path) == (200, {"success": True})
            assert second.done()
            await asyncio.sleep(0)
            with pytest.raises(NotFound):
                await call(decide, body, **path)
            for wrong in ({"request_id": 7}, *([{"metadata": 7}] if "metadata" in named else [])):
                with pytest.raises(BadRequest):
                    await call(decide, {"name": "age", "value": value, **wrong}, **path)


async def test_hashes_of_attributes_to_be_verified(world: World) -> None:
    endpoint, channel, other, _ = await alice_and_peer(world)
    known = Metadata(b"t" * 32, b'{"name": "age"}', signature=b"s" * 64)
    channel.identity_overlay.get_attestation_by_hash = lambda _: known  # type: ignore[assignment,method-assign]
    channel.on_verify_request(other, b"h" * 20)
    _, content = await call(endpoint.list_requests, pseudonym_name="alice")
    assert [request["hash"] for request in content["requests"]] == [ez_b64_encode(b"h" * 20)]


async def test_state_of_a_pseudonym_that_is_not_loaded(world: World) -> None:
    endpoint = IdentityEndpoint()
    assert await call(endpoint.load_pseudonym, pseudonym_name="alice") == (200, LOADED)
    with pytest.raises(NotFound):
        await call(endpoint.get_pseudonym, pseudonym_name="alice")
    endpoint.communication_manager = world.manager
    stopped = {"name": "alice", "loaded": False, "public_key": None, "peers": 0, "attributes": 0,
               "attestation_requests": 0, "verification_requests": 0}
    assert await call(endpoint.get_pseudonym, pseudonym_name="alice") == (200, stopped)
    assert world.manager.list_loaded() == []
    _, loaded = await call(endpoint.load_pseudonym, pseudonym_name="alice")
    channel = world.manager.name_to_channel["alice"]
    assert loaded == {**stopped, "loaded": True, "public_key": ez_b64_encode(channel.public_key_bin)}
    channel.on_request_attestation(peer(5), "age", {})
    assert await call(endpoint.get_pseudonym, pseudonym_name="alice") == (200, {**loaded, "attestation_requests": 1})
    with pytest.raises(NotFound):
        await call(endpoint.get_pseudonym, pseudonym_name="nobody")
    with pytest.raises(BadRequest) as raised:
        await call(endpoint.load_pseudonym, pseudonym_name="../evil")
    assert "cannot be the name" in raised.value.message


async def test_formats_say_what_is_weak(world: World) -> None:
    endpoint = IdentityEndpoint()
    endpoint.communication_manager = world.manager
    _, content = await call(endpoint.list_formats, pseudonym_name="alice")
    formats = {entry["name"]: entry for entry in content["formats"]}
    assert formats["id_metadata"]["algorithm"] == "bonehexact"
    assert "can be broken" in formats["id_metadata"]["weakness"]
    assert formats.keys() == set((await call(endpoint.list_schemas, pseudonym_name="alice"))[1]["schemas"])


async def test_pseudonym_is_not_made_by_a_request_that_loads_nothing(world: World) -> None:
    endpoint = IdentityEndpoint()
    endpoint.communication_manager = world.manager
    for handler in (endpoint.list_requests, endpoint.list_formats, endpoint.list_pseudonym_peers):
        for name in ("alice", "new"):
            with pytest.raises(NotFound):
                await call(handler, {"load": "false"}, pseudonym_name=name)
    assert world.manager.list_names() == ["alice"]
    assert not world.manager.channels
    with pytest.raises(BadRequest):
        await call(endpoint.list_requests, {"load": "perhaps"}, pseudonym_name="alice")
    assert await call(endpoint.list_requests, {"load": "true"}, pseudonym_name="alice") == (200, {"requests": []})
    assert await call(endpoint.list_requests, {"load": "0"}, pseudonym_name="alice") == (200, {"requests": []})


async def test_removed_pseudonym_is_made_again(world: World, tmp_path: Path) -> None:
    endpoint = IdentityEndpoint()
    endpoint.communication_manager = world.manager
    _, first = await call(endpoint.get_pseudonym_public_key, pseudonym_name="bob")
    overlays = len(world.overlays)
    assert await call(endpoint.remove_pseudonym, pseudonym_name="bob") == (200, {"success": True})
    assert len(world.overlays) == overlays - 1
    assert not (tmp_path / "pseudonyms" / "bob").exists()
    _, second = await call(endpoint.get_pseudonym_public_key, pseudonym_name="bob")
    assert first != second
    await endpoint.on_shutdown(endpoint.app)
    assert world.manager.list_loaded() == []
