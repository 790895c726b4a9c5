"""Figures for Prometheus: their form, their names, and that there are not too many of them."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.tunnel import Circuit
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.REST.metrics import MetricsCollector
from ipv8.REST.observation.observer import NodeObserver
from ipv8.sessions import SessionService
from ipv8.trust.graph import TrustGraph
from tests.REST.world import World, peer

if TYPE_CHECKING:
    import aiohttp

    from tests.REST.conftest import Serve

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

NAMES = {
    "ipv8", "ipv8_uptime_seconds", "ipv8_clock_drift_seconds", "ipv8_log_errors", "ipv8_peers", "ipv8_peers_by_path",
    "ipv8_peers_encrypted", "ipv8_overlay_peers", "ipv8_bytes", "ipv8_packets", "ipv8_messages",
    "ipv8_message_bytes", "ipv8_handler_seconds", "ipv8_slow_handlers", "ipv8_drops", "ipv8_loop_lag_seconds",
    "ipv8_tasks", "ipv8_slow_callbacks", "ipv8_table_size", "ipv8_table_capacity", "ipv8_queue_size",
    "ipv8_queue_capacity", "ipv8_sessions", "ipv8_session_handshakes", "ipv8_streams", "ipv8_stream_open",
    "ipv8_stream_connections", "ipv8_stream_bytes", "ipv8_stream_packets", "ipv8_stream_stalls",
    "ipv8_stream_memory_bytes", "ipv8_stream_memory_limit_bytes", "ipv8_circuits", "ipv8_relays", "ipv8_exits",
    "ipv8_tunnel_bytes", "ipv8_dht_nodes", "ipv8_dht_keys", "ipv8_trustchain_blocks", "ipv8_trust_nodes",
    "ipv8_trust_edges", "ipv8_trust_walks", "ipv8_trust_events", "ipv8_trust_update_seconds",
    "ipv8_trust_memory_bytes"}

LABELS = {"version", "python", "overlay", "message", "direction", "reason", "manager", "owner", "name", "kind", "le",
          "path", "state", "type", "role", "family", "hybrid", "result", "event"}
"""None of these has something of a single peer."""


async def text_of(client: aiohttp.ClientSession, accept: str | None = None) -> tuple[str, str]:
    async with client.get("/metrics", headers={} if accept is None else {"Accept": accept}) as response:
        assert response.status == 200, await response.text()
        return response.headers["Content-Type"], await response.text()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in parse_openmetrics(text):  # type: ignore[no-untyped-call]  # of the package
        for sample in family.samples:
            place = sample.name, tuple(sorted(sample.labels.items()))
            assert place not in found, place
            found[place] = sample.value
    return found


def populate(world: World) -> None:
    discovery, tunnels, dht = world.overlays[:3]
    for number in range(2, 7):
        world.network.add_verified_peer(peer(number))
        world.network.discover_services(peer(number), [discovery.community_id])
    world.sessions = SessionService.of(world.endpoint)
    world.sessions.machine.handshakes["answered"] += 3
    chain = TrustChainCommunity(TrustChainCommunity.settings_class(
        my_peer=world.my_peer, endpoint=world.endpoint, network=world.network, working_directory=":memory:"))
    world.overlays.append(chain)
    discovery.trust = TrustGraph(world.my_peer.public_key.key_to_bin(), walks=100, rng=1)
    discovery.trust.add(discovery.trust.root, peer(2).public_key.key_to_bin())
    circuit = Circuit(11, 2)
    circuit.bytes_up, circuit.bytes_down = 100, 200
    tunnels.circuits[11] = circuit
    storage = dht.get_storage(dht.my_peer)
    storage.put(b"k" * 20, dht.serialize_value(b"value", sign=False))
    discovery.drops.count(DropCounter.BAD_SIGNATURE, 4)


async def test_text_and_openmetrics(world: World, serve: Serve) -> None:
    populate(world)
    async with serve() as (_, client):
        content_type, text = await text_of(client)
        assert content_type.startswith("text/plain")
        assert {family.name for family in parse_text(text)} >= {"ipv8_peers", "ipv8_info"}
        content_type, text = await text_of(client, OPENMETRICS)
        assert content_type.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")
        families: Any = {family.name: family
                         for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]  # of the package
        assert families.keys() == NAMES
        assert all(family.documentation.endswith(".") for family in families.values())
        for family in families.values():
            for sample in family.samples:
                assert sample.labels.keys() <= LABELS, sample


@pytest.mark.parametrize("accept", ["", "*/*", "application/openmetrics-text; version=x", "text/plain; version=9.x",
                                    "application/openmetrics-text; version=1; escaping=?", ";=,"])
async def test_strange_wishes(serve: Serve, accept: str) -> None:
    async with serve() as (_, client):
        assert (await text_of(client, accept))[1].startswith("# HELP ipv8")


async def test_what_they_say(world: World, serve: Serve) -> None:
    populate(world)
    async with serve() as (_, client):
        prefix = world.overlays[0].get_prefix()
        world.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), prefix + b"\x01more"))
        world.endpoint.send(UDPv4Address("1.2.3.4", 5), prefix + b"\x01")
        found = samples((await text_of(client, OPENMETRICS))[1])

        def value(name: str, /, **labels: str) -> float:
            return found[name, tuple(sorted(labels.items()))]

        message = {"overlay": "DiscoveryCommunity", "message": "on_similarity_request"}
        assert value("ipv8_peers") == 5
        assert value("ipv8_overlay_peers", overlay="DiscoveryCommunity") == 5
        assert value("ipv8_bytes_total", direction="down") == 27
        assert value("ipv8_packets_total", direction="up") == 1
        assert value("ipv8_messages_total", direction="up", **message) == 1
        assert value("ipv8_message_bytes_total", direction="down", **message) == 27
        assert value("ipv8_handler_seconds_count", **message) == 1
        assert value("ipv8_handler_seconds_bucket", le="+Inf", **message) == 1
        assert value("ipv8_drops_total", overlay="DiscoveryCommunity", reason="bad_signature") == 4
        assert value("ipv8_session_handshakes_total", result="answered") == 3
        assert value("ipv8_circuits", state="EXTENDING", type="DATA") == 1
        assert value("ipv8_tunnel_bytes_total", role="circuit", direction="down") == 200
        assert value("ipv8_dht_keys", family="UDPIPv4") == 1
        assert value("ipv8_trust_nodes") == 2
        assert value("ipv8_trustchain_blocks") == 0
        assert value("ipv8_table_capacity", owner="Network", name="_book.addresses", kind="table") == 5000
        assert value("ipv8_queue_capacity", owner="SessionService", name="machine.openings.held bytes",
                     kind="queue") == 8 << 20
        world.overlays[1].circuits.clear()
        later = samples((await text_of(client, OPENMETRICS))[1])
        assert later["ipv8_tunnel_bytes_total", (("direction", "down"), ("role", "circuit"))] == 200


async def test_buckets_add_up(world: World) -> None:
    observer = NodeObserver.of(world)
    observer.start()
    observer.loop.buckets[2], observer.loop.buckets[-1], observer.loop.seconds = 3, 1, 7.0
    family = next(family for family in MetricsCollector(observer).collect() if family.name == "ipv8_loop_lag_seconds")
    values = {sample.labels.get("le", sample.name): sample.value for sample in family.samples}
    assert (values["0.0025"], values["0.005"], values["5.0"], values["+Inf"]) == (0, 3, 3, 4)
    assert (values["ipv8_loop_lag_seconds_count"], values["ipv8_loop_lag_seconds_sum"]) == (4, 7.0)
    await observer.stop()


async def test_the_number_of_series_is_limited(world: World, serve: Serve) -> None:
    async with serve() as (_, client):
        before = len(samples((await text_of(client, OPENMETRICS))[1]))
        for number in range(256):
            for overlay in world.overlays:
                packet = overlay.get_prefix() + bytes((number,))
                world.endpoint.send(UDPv4Address("1.2.3.4", 5), packet)
            world.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), bytes((number,)) * 40))
            world.network.add_verified_peer(peer(number))
        after = len(samples((await text_of(client, OPENMETRICS))[1]))
        handlers = sum(len([handler for handler in overlay.decode_map if handler]) for overlay in world.overlays)
        assert after - before < 5 * handlers


async def test_two_overlays_of_a_class_are_one_series(world: World, serve: Serve) -> None:
    from ipv8.dht.discovery import DHTDiscoveryCommunity

    class Another(DHTDiscoveryCommunity):
        community_id = b"\x2c" * 20

    Another.__name__ = "DHTDiscoveryCommunity"
    overlay = Another(Another.settings_class(my_peer=world.my_peer, endpoint=world.endpoint, network=world.network))
    overlay.cancel_all_pending_tasks()
    world.overlays.append(overlay)
    for made in world.overlays[2:]:
        made.drops.count(DropCounter.UNDECODABLE, 2)
    async with serve() as (_, client):
        found = samples((await text_of(client, OPENMETRICS))[1])
        assert found["ipv8_drops_total", (("overlay", "DHTDiscoveryCommunity"), ("reason", "undecodable"))] == 4


async def test_blocks_are_not_counted_at_each_request(world: World, manual_clock: Any) -> None:
    counts: list[int] = []

    class Database:
        def get_number_of_known_blocks(self) -> int:
            counts.append(1)
            return 7

    observer = NodeObserver.of(world)
    collector = MetricsCollector(observer)
    chains: Any = [type("Chain", (), {"persistence": Database()})()]
    assert [collector._count_blocks(chains) for _ in range(3)] == [7, 7, 7]
    assert len(counts) == 1
    manual_clock.advance(61)
    collector._count_blocks(chains)
    assert len(counts) == 2


async def test_the_key(serve: Serve) -> None:
    async with serve(api_key="secret") as (_, client):
        assert (await client.get("/metrics")).status == 401
        assert (await client.get("/metrics", headers={"Authorization": "Bearer secret"})).status == 200
    async with serve(api_key="secret", metrics_without_key=True) as (_, client):
        assert (await client.get("/metrics")).status == 200
        assert (await client.get("/overlays")).status == 401


async def test_without_an_observer(serve: Serve) -> None:
    async with serve(observe=False) as (_, client), client.get("/metrics") as response:
        assert response.status == 404
        assert "observe=True" in (await response.json())["error"]


async def test_a_missing_package(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="prometheus_client")
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    async with serve() as (_, client), client.get("/metrics") as response:
        assert response.status == 404
        assert "pip install prometheus_client" in (await response.json())["error"]


async def test_it_is_documented(serve: Serve) -> None:
    async with serve() as (_, client), client.get("/docs/openapi.json") as response:
        operation = (await response.json())["paths"]["/metrics"]["get"]
        assert operation["responses"].keys() == {"200", "404"}
        assert list(operation["responses"]["200"]["content"]) == ["text/plain"]
