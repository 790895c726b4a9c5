"""Overlays that report what others did, and prefer those who are trusted; and the node that ties it together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder, ConfigurationError, validate_configuration
from ipv8.contact.introductions import EXPLORED, Introductions
from ipv8.dht.community import DHTCommunity
from ipv8.dht.lookup import TARGET_NODES
from ipv8.dht.replication import StoreTargets
from ipv8.dht.routing import Node
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.reputation import DELIVERY, INTRODUCTION, RELAY
from ipv8.service import IPv8, ShutdownError
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from ipv8.trust import TrustGraph
from ipv8.trust.node import LOOK_INTERVAL, NodeTrust
from ipv8.trust.statements import STATEMENT, Statements, StatementsFileError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.conftest import ManualClock


class Reports(list[tuple[bytes, str, float]]):
    """A reporter that keeps what it is told."""

    def contributed(self, public_key: bytes, kind: str, amount: float = 1.0) -> None:
        self.append((public_key, kind, amount))


class Simple(Community):
    community_id = b"what others did...".ljust(20)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    def make_overlay(overlay_class: type[Any] = Simple, **settings: Any) -> Any:
        endpoint = AutoMockEndpoint()
        endpoint.open()
        peer = Peer(default_eccrypto.generate_key("curve25519"), endpoint.wan_address)
        overlay = overlay_class(CommunitySettings(my_peer=peer, endpoint=endpoint, network=Network(), **settings))
        overlay.my_estimated_wan, overlay.my_estimated_lan = endpoint.wan_address, endpoint.lan_address
        made.append(overlay)
        return overlay

    yield make_overlay
    for overlay in made:
        await overlay.unload()


def key_of(overlay: Any) -> bytes:
    key: bytes = overlay.my_peer.public_key.key_to_bin()
    return key


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


# Introductions


async def test_who_introduces_a_peer_that_answers_is_reported(make: Any) -> None:
    reports = Reports()
    me, friend, other = make(contribution_reporter=reports), make(), make()
    other.walk_to(friend.endpoint.wan_address)
    await settle()
    me.walk_to(friend.endpoint.wan_address)
    await settle()
    assert reports == [], "nobody introduced the friend"
    for address in me.get_walkable_addresses():
        me.walk_to(address)
    await settle()
    assert me.network.get_verified_by_public_key_bin(key_of(other)) is not None
    assert reports == [(key_of(friend), INTRODUCTION, 1.0)]
    me.walk_to(other.endpoint.wan_address)
    await settle()
    assert len(reports) == 1, "only the first answer counts"


async def test_an_introduction_to_nobody_is_not_reported(make: Any) -> None:
    reports = Reports()
    me, friend = make(contribution_reporter=reports), make()
    me.walk_to(friend.endpoint.wan_address)
    await settle()
    gone = make()
    me.network.discover_address(friend.my_peer, gone.endpoint.wan_address, me.community_id)
    gone.endpoint.close()
    me.walk_to(gone.endpoint.wan_address)
    await settle()
    assert reports == []


class Club:
    """The peers of an overlay."""

    community_id = b"s" * 20
    max_peers = -1

    def __init__(self, peers: list[Peer]) -> None:
        self.network = Network()
        self.peers = peers

    def get_peers(self) -> list[Peer]:
        return self.peers


def test_trusted_peers_are_introduced_more_often_and_frauds_never() -> None:
    peers = [Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address(f"{20 + n}.1.1.1", 7))
             for n in range(10)]
    graph = TrustGraph(b"root", walks=1000, rng=1)
    graph.add(b"root", peers[0].key_bin)
    graph.mark_fraud(peers[1].key_bin)
    graph.block(peers[2].key_bin)
    introductions = Introductions(Club(peers))
    chosen = [introductions.choose_introduction(None, True, graph) for _ in range(1000)]
    assert peers[1] not in chosen
    assert peers[2] not in chosen
    assert abs(chosen.count(peers[0]) / 1000 - (1 - EXPLORED)) < 0.08, "others are introduced by turns"
    assert all(peer in chosen for peer in peers[3:]), "strangers have a way in"
    only = Introductions(Club(peers[1:3]))
    assert only.choose_introduction(None, True, graph) is None


async def test_preference_is_an_option(make: Any) -> None:
    graph = TrustGraph(b"root", walks=10, rng=1)
    plain, preferring = make(trust=graph), make(trust=graph, prefer_trusted=True)
    stranger = Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5))
    graph.mark_fraud(stranger.key_bin)
    for overlay in (plain, preferring):
        overlay.network.add_verified_peer(stranger)
        overlay.network.discover_services(stranger, [overlay.community_id])
    assert plain.get_peer_for_introduction() == stranger
    assert preferring.get_peer_for_introduction() is None


# The DHT


async def test_nodes_that_deliver_our_values_are_reported(make: Any) -> None:
    reports = Reports()
    me, other = make(DHTCommunity, contribution_reporter=reports), make(DHTCommunity)
    me.get_requesting_node(Peer(other.my_peer.public_key, other.endpoint.wan_address))
    other.get_requesting_node(Peer(me.my_peer.public_key, me.endpoint.wan_address))
    await me.store_value(b"k" * 20, b"mine", sign=True)
    assert reports == [], "to store is promised easily"
    me.storages.clear()
    assert len(await me.find_values(b"k" * 20)) == 1
    assert reports == [(key_of(other), DELIVERY, 1.0)]


async def test_made_up_values_are_not_reported(make: Any) -> None:
    reports = Reports()
    me, other = make(DHTCommunity, contribution_reporter=reports), make(DHTCommunity)
    node = Node(other.my_peer.public_key, other.endpoint.wan_address)
    me.get_requesting_node(node)
    storage = other.get_storage(Node(me.my_peer.public_key, me.endpoint.wan_address))
    for sign in (False, True):
        storage.put(b"k" * 20, other.serialize_value(b"made up", sign=sign))
    assert len(await me.find_values(b"k" * 20)) == 2
    assert reports == []


def nodes_of(count: int) -> list[Node]:
    made = [Node(b"LibNaCLPK:" + bytes((n + 1,)) * 64, UDPv4Address(f"{20 + n}.1.1.1", 7)) for n in range(count)]
    return sorted(made, key=lambda node: node.distance(bytes(20)))


def test_trusted_nodes_get_half_of_the_copies() -> None:
    nodes = nodes_of(24)
    trusted = {nodes[9], nodes[12], nodes[20]}
    targets = StoreTargets.nearest(nodes, 8, lambda node: float(node in trusted))
    assert targets == [*nodes[:6], nodes[9], nodes[12]], "the nearest half, and trusted ones of the sixteen nearest"
    assert set(targets) | set(targets.spares) == set(nodes)
    assert StoreTargets.nearest(nodes, 8, lambda _: 0.0) == StoreTargets.nearest(nodes, 8), "without trust, the nearest"
    fakes = StoreTargets.nearest(nodes, 8, lambda node: float(node in nodes[8:16]))
    assert sum(node in nodes[:8] for node in fakes) == 4, "who surrounds a key has half of the copies at most"


async def test_values_are_stored_on_trusted_nodes(make: Any) -> None:
    me = make(DHTCommunity)
    nodes = nodes_of(20)
    graph = TrustGraph(b"root", walks=1000, rng=1)
    graph.add(b"root", nodes[15].key_bin)
    graph.mark_fraud(nodes[0].key_bin)
    me.trust = graph
    assert me._targets_among(nodes) == nodes[:TARGET_NODES]
    assert not me.finder.is_distrusted(nodes[0])
    me.prefer_trusted = True
    targets = me._targets_among(nodes)
    assert nodes[15] in targets
    assert nodes[0] not in targets
    assert me.finder.is_distrusted(nodes[0])
    assert not me.finder.is_distrusted(nodes[1])


# The node


def configuration(directory: Path, *overlays: tuple[str, dict[str, Any]], **trust: Any) -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address("127.0.0.1").set_port(0)
    builder.add_key("my peer", "curve25519", str(directory / "key.pem"))
    for name, initialize in overlays:
        builder.add_overlay(name, "my peer", [], [], initialize, [])
    return {**builder.finalize(), "trust": trust}


BOTH: tuple[tuple[str, dict[str, Any]], ...] = (
    ("TrustChainCommunity", {"working_directory": ":memory:"}), ("DHTDiscoveryCommunity", {}))


def overlays_of(node: IPv8) -> list[Any]:
    return list(node.overlays)


async def test_a_node_with_trust(tmp_path: Path) -> None:
    statements = Statements(tmp_path / "trust.json")
    friend = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
    statements.add(friend, "friend", 3.0)
    statements.save()
    node = IPv8(configuration(tmp_path, *BOTH, statements=str(tmp_path / "trust.json"), prefer=True))
    assert node.trust is not None
    graph = node.trust.graph
    assert graph.root == node.keys["my peer"].public_key.key_to_bin()
    assert graph.weight(graph.root, friend) == 3.0
    chain, dht = overlays_of(node)
    for overlay in (chain, dht):
        assert overlay.trust is graph
        assert overlay.contribution_reporter is node.trust.reporter
        assert overlay.prefer_trusted
    await graph.ready()
    dht.contribution_reporter.contributed(b"x" * 74, RELAY, 1 << 20)
    await node.stop()
    assert graph.weight(graph.root, b"x" * 74) == 1.0, "nothing that was reported is lost"


def test_statements_that_change(tmp_path: Path, manual_clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trust.json"
    trust = NodeTrust(b"root", statements=path, walks=10)
    friend = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
    statements = Statements(path)
    statements.add(friend, weight=2.0)
    statements.save()
    trust.refresh()
    assert trust.graph.weight(b"root", friend) == 0.0, "the file is not looked at all the time"
    for _ in range(2):
        manual_clock.advance(LOOK_INTERVAL)
        trust.reporter.contributed(b"x", RELAY, 1 << 20)
        trust.refresh()
    assert trust.graph.weight(b"root", friend) == 2.0
    assert trust.graph.weight(b"root", b"x") == 2.0
    path.write_text("nonsense")
    manual_clock.advance(LOOK_INTERVAL)
    trust.refresh()
    assert "stay as they were" in caplog.text
    assert trust.graph.weight(b"root", friend) == 2.0
    statements.remove(friend)
    statements.save()
    manual_clock.advance(LOOK_INTERVAL)
    trust.refresh()
    assert trust.graph.weight(b"root", friend) == 0.0


async def test_walkers_go_on_when_the_graph_cannot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {**configuration(tmp_path, ("DHTDiscoveryCommunity", {})), "walker_interval": 0.01}
    async with IPv8(config) as node:
        assert node.trust is not None
        failed = 0
        twice = asyncio.Event()

        def fail() -> None:
            nonlocal failed
            failed += 1
            if failed == 2:
                twice.set()
            raise OSError(28, "no space left")

        node.trust.refresh = fail  # type: ignore[method-assign]
        await asyncio.wait_for(twice.wait(), 60)
    assert "could not take up what is new" in caplog.text


async def test_a_running_node_looks_at_the_statements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipv8.trust.node.LOOK_INTERVAL", 0.0)
    path = tmp_path / "trust.json"
    config = {**configuration(tmp_path, ("DHTDiscoveryCommunity", {}), statements=str(path)), "walker_interval": 0.01}
    async with IPv8(config) as node:
        assert node.trust is not None
        looked = asyncio.Event()
        refresh = node.trust.refresh

        def refresh_and_tell() -> None:
            refresh()
            if node.trust is not None and node.trust.graph.number_of_edges():
                looked.set()

        node.trust.refresh = refresh_and_tell  # type: ignore[method-assign]
        statements = Statements(path)
        statements.add(default_eccrypto.generate_key("curve25519").pub().key_to_bin())
        statements.save()
        await asyncio.wait_for(looked.wait(), 60)


async def test_what_was_reported_is_there_after_a_restart(tmp_path: Path) -> None:
    chain = "TrustChainCommunity", {"working_directory": str(tmp_path)}
    for expected in (0.0, 1.0, 2.0):
        node = IPv8(configuration(tmp_path, chain))
        assert node.trust is not None
        await node.trust.graph.ready()
        root = node.trust.graph.root
        assert node.trust.graph.weight(root, b"x" * 74) == expected
        node.trust.reporter.contributed(b"x" * 74, RELAY, 1 << 20)
        await node.stop()


async def test_what_was_reported_is_there_after_a_restart_without_a_chain(tmp_path: Path) -> None:
    for expected in (0.0, 1.0, 2.0):
        node = IPv8(configuration(tmp_path, ("DHTDiscoveryCommunity", {}), working_directory=str(tmp_path)))
        assert node.trust is not None
        graph = node.trust.graph
        assert graph.weight(graph.root, b"x" * 74) == expected
        node.trust.reporter.contributed(b"x" * 74, RELAY, 1 << 20)
        await node.stop()


async def test_broadcasts_go_to_trusted_peers(make: Any) -> None:
    from ipv8.attestation.trustchain.community import TrustChainCommunity
    from ipv8.attestation.trustchain.settings import TrustChainSettings

    endpoint = AutoMockEndpoint()
    endpoint.open()
    chain: Any = TrustChainCommunity(TrustChainSettings(
        my_peer=Peer(default_eccrypto.generate_key("curve25519"), endpoint.wan_address), endpoint=endpoint,
        network=Network(), working_directory=":memory:", broadcast_fanout=5, prefer_trusted=True))
    graph = chain.trust = TrustGraph(chain.my_key_bin, walks=1000, rng=1)
    peers = [Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address(f"{20 + n}.1.1.1", 7))
             for n in range(40)]
    for peer in peers:
        chain.network.add_verified_peer(peer)
        chain.network.discover_services(peer, [chain.community_id])
    for peer in peers[:5]:
        graph.add(graph.root, peer.key_bin)
    graph.mark_fraud(peers[6].key_bin)
    chosen = [chain._audience(peers[0].address) for _ in range(200)]
    assert all(len(set(some)) == 5 and peers[0] not in some and peers[6] not in some for some in chosen)
    assert sum(peer in peers[1:5] for some in chosen for peer in some) > 0.7 * 200 * 4
    assert any(peer in peers[10:] for some in chosen for peer in some)
    chain.prefer_trusted = False
    assert sum(peer in peers[:5] for _ in range(200) for peer in chain._audience(None)) < 0.5 * 200 * 4
    await chain.unload()


async def test_the_graph_of_a_chain_is_used(tmp_path: Path) -> None:
    node = IPv8(configuration(tmp_path, ("TrustChainCommunity", {"working_directory": ":memory:", "trust_graph": True}),
                              ("DHTDiscoveryCommunity", {}), report=False))
    assert node.trust is not None
    chain, dht = overlays_of(node)
    assert chain.trust is dht.trust is node.trust.graph
    assert dht.contribution_reporter is None
    assert not dht.prefer_trusted
    await node.stop()


async def test_without_trust_nothing_is_done(tmp_path: Path) -> None:
    config = configuration(tmp_path, ("DHTDiscoveryCommunity", {}))
    del config["trust"]
    node = IPv8(config)
    assert node.trust is None
    (dht,) = overlays_of(node)
    assert dht.trust is dht.contribution_reporter is None
    await node.stop()


async def test_a_trust_graph_that_cannot_be_kept_does_not_stop_the_stop(tmp_path: Path) -> None:
    node = IPv8(configuration(tmp_path, ("DHTDiscoveryCommunity", {})))
    assert node.trust is not None

    def fail() -> None:
        raise OSError(28, "no space left")

    node.trust.stop = fail  # type: ignore[method-assign]
    (dht,) = overlays_of(node)
    with pytest.raises(ShutdownError, match=r"NodeTrust: OSError: .*no space left"):
        await node.stop()
    assert dht not in node.overlays
    assert not dht.is_pending_task_active("sweep")


async def test_other_meanings_of_trust_are_left_alone(make: Any) -> None:
    overlay = make()
    overlay.trust = {"of a program": 1}
    NodeTrust(b"root", [overlay], walks=10, prefer=True)
    assert overlay.trust == {"of a program": 1}
    assert not overlay.prefer_trusted


async def test_anonymous_overlays_do_not_report(make: Any) -> None:
    overlay = make()
    overlay.anonymize = True
    trust = NodeTrust(b"root", [overlay, object()], walks=10)
    assert overlay.contribution_reporter is None
    assert overlay.trust is trust.graph


async def test_damaged_statements_stop_a_node(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text("nonsense")
    with pytest.raises(StatementsFileError, match="left as it is"):
        IPv8(configuration(tmp_path, *BOTH, statements=str(tmp_path / "trust.json")))
    await settle()


@pytest.mark.parametrize(("block", "message"), [
    ([], "trust must be a dictionary"), ({"prefer": 1}, "trust.prefer must be True or False"),
    ({"walks": True}, "trust.walks must be a whole number"), ({"walks": 0}, "trust.walks must be at least 1"),
    ({"half_life": 0}, "trust.half_life must be more than 0"), ({"key": "my pear"}, "did you mean 'my peer'"),
    ({"statement": "x"}, "did you mean 'statements'"), ({"statements": 1}, "trust.statements must be the path"),
])
def test_configurations_that_are_not_valid(tmp_path: Path, block: Any, message: str) -> None:
    config = configuration(tmp_path)
    config["trust"] = block
    with pytest.raises(ConfigurationError, match=message):
        validate_configuration(config)


def test_statements_have_a_kind_of_their_own() -> None:
    assert STATEMENT not in {INTRODUCTION, DELIVERY, RELAY}
