"""From blocks to the graph: extractors, folding, following an overlay, and what a restart finds."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.attestation.trustchain.block import ANY_COUNTERPARTY_PK, TrustChainBlock
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from ipv8.trust import DEFAULT_EXTRACTORS, TrustEvent, TrustGraph
from ipv8.trust.chain import _Batch
from ipv8.trust.heights import MAX_RANGES, Heights
from ipv8.trust.persistence import own_evidence
from tests.trust.helpers import Node, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from ipv8.attestation.trustchain.store import BlockStore
    from tests.postgres import Backend


@pytest.fixture
def database(backend: Backend) -> BlockStore:
    return backend.open(kept=False)


def folded(database: BlockStore, root: Node, **parameters: Any) -> TrustGraph:
    graph = TrustGraph(root.key, walks=500, rng=1, **parameters)
    graph.fold(database)
    graph.check()
    return graph


def test_default_extractors() -> None:
    assert DEFAULT_EXTRACTORS[b""].requires_pair  # type: ignore[attr-defined]
    for extractor in DEFAULT_EXTRACTORS.values():
        assert extractor.max_event == 1e9  # type: ignore[attr-defined]
        assert extractor.version == 1  # type: ignore[attr-defined]
    assert not DEFAULT_EXTRACTORS[b"tribler_bandwidth"].requires_pair  # type: ignore[attr-defined]


def test_pairs_count_when_both_halves_are_stored(database: BlockStore) -> None:
    a, b = Node(database), Node(database)
    proposal = a.sign(b)
    graph = TrustGraph(a.key, walks=100, rng=1)
    assert graph.fold(database) == 1
    assert graph.number_of_edges() == 0
    b.sign(a, link=proposal)
    assert graph.fold(database) == 1
    assert table_of(graph) == {(a.key, b.key): (1.0, 1), (b.key, a.key): (1.0, 1)}
    assert graph.fold(database) == 0
    assert graph.score(b.key) > 0.5


def test_bandwidth(database: BlockStore) -> None:
    a, b = Node(database), Node(database)
    a.sign(b, b"tribler_bandwidth", {"up": 7, "down": 3 * 2**20, "total_up": 7, "total_down": 3 * 2**20})
    b.sign(a, b"tribler_bandwidth", {b"up": 3, b"down": 2**19})
    a.sign(b, b"tribler_bandwidth", {"down": 0})
    a.sign(b, b"tribler_bandwidth", {"down": "much"})
    a.sign(b, b"tribler_bandwidth", {"down": -5})
    a.sign(b, b"tribler_bandwidth", {"down": 10**400})
    assert table_of(folded(database, a)) == {(a.key, b.key): (1e9 + 3.0, 2), (b.key, a.key): (0.5, 1)}


@pytest.mark.parametrize(("transaction", "weight"), [({"trust": 5}, 5.0), ({b"trust": 0.5}, 0.5),
                                                     ({"trust": 1e12}, 1e9), ({"trust": -1}, None),
                                                     ({"trust": True}, None),
                                                     ({"trust": "x"}, None), ({"trust": float("inf")}, None)])
def test_stated_trust(database: BlockStore, transaction: Any, weight: float | None) -> None:
    a, b = Node(database), Node(database)
    a.sign(b, b"opinion", transaction)
    assert table_of(folded(database, a)) == ({} if weight is None else {(a.key, b.key): (weight, 1)})


def test_links_to_a_source_block(database: BlockStore) -> None:
    a, b, c = Node(database), Node(database), Node(database)
    source = a.sign(ANY_COUNTERPARTY_PK, b"offer")
    for node in (b, c):
        node.sign(a, b"offer", link=source)
    assert set(table_of(folded(database, a))) == {(b.key, a.key), (c.key, a.key)}


def test_blocks_count_once_in_any_order(database: BlockStore) -> None:
    source = random.Random(5)
    nodes = [Node(database) for _ in range(5)]
    for _ in range(40):
        a, b = source.sample(nodes, 2)
        a.deal(b, *source.choice([(b"deal", None), (b"tribler_bandwidth", {"down": 12345678})]))
    graph = folded(database, nodes[0])
    expected = table_of(graph)
    blocks = database.get_all_blocks()
    for block in blocks[:10]:  # evicted, and stored again
        database.remove_block(block)
        database.add_block(block)
    assert graph.fold(database) == 10
    assert table_of(graph) == expected
    for _ in range(3):
        other = TrustChainDB(":memory:", "other")
        source.shuffle(blocks)
        shuffled = TrustGraph(nodes[0].key, walks=10)
        for block in blocks:
            other.add_block(block)
            shuffled.fold(other, limit=source.randrange(3))
        shuffled.fold(other)
        assert table_of(shuffled) == expected
        other.close()


@pytest.mark.parametrize("seed", range(5))
def test_partners_of_a_batch_are_those_of_the_database(seed: int) -> None:
    """Also where blocks point at sources, at nothing, or at blocks that are for others, and in any order."""
    database = TrustChainDB(":memory:", "trust")
    source = random.Random(seed)
    nodes = [Node(database) for _ in range(4)]
    made: list[TrustChainBlock] = []
    for _ in range(60):
        one, other = source.sample(nodes, 2)
        proper = [block for block in made if block.link_public_key in {one.key, ANY_COUNTERPARTY_PK}]
        some_of = proper if proper and source.random() < 0.7 else made
        link = source.choice(some_of) if some_of and source.random() < 0.6 else None
        if link is not None and link.public_key == one.key:
            continue
        block = one.sign(ANY_COUNTERPARTY_PK if source.random() < 0.2 else other, link=link)
        made.append(block)
    source.shuffle(made)
    for block in made:
        database.remove_block(block)
    for block in made:
        database.add_block(block)
    found = 0
    for size in (60, 7):
        place = 0
        while some := database.get_stored_after(place, size):
            place = some[-1][0]
            near = _Batch(block for _, block in some)
            for _, block in some:
                partner = near.partner_of(block)
                assert partner in (None, *database.get_all_linked(block))
                if partner is not None and block.link_public_key != ANY_COUNTERPARTY_PK and block.link_sequence_number:
                    assert partner == database.get_linked(block)
                found += partner is not None
    assert found > 5
    database.close()


def test_only_what_leaves_the_author_counts(database: BlockStore) -> None:
    nodes = [Node(database) for _ in range(3)]

    def everybody(_: TrustChainBlock) -> list[TrustEvent]:
        return [TrustEvent(one.key, other.key) for one in nodes for other in nodes]

    nodes[0].sign(nodes[1])
    graph = TrustGraph(nodes[0].key, walks=10)
    graph.fold(database, {b"": everybody})
    assert {edge.source for edge in graph} == {nodes[0].key}
    assert graph.statistics()["violations"] == 6


def test_extractors_that_fail_or_give_nonsense(database: BlockStore, caplog: pytest.LogCaptureFixture) -> None:
    a, b = Node(database), Node(database)
    for block_type in (b"fail", b"nan", b"odd", b"good", b"other"):
        a.sign(b, block_type)

    def fail(_: TrustChainBlock) -> Any:
        raise ZeroDivisionError

    odd: list[Any] = [(float("nan"), ""), (float("inf"), ""), ("now", ""), (1 << 63, ""), (1, 5), (1, None),
                      (1, "\ud800"), (1, "a\0b")]
    graph = TrustGraph(a.key, walks=10)
    graph.fold(database, {
        b"fail": fail,
        b"nan": lambda block: [TrustEvent(a.key, b.key, value) for value in (float("nan"), -1.0, float("inf"))],
        b"odd": lambda _: [TrustEvent(a.key, b.key, 1.0, time, kind) for time, kind in odd],
        b"good": lambda block: [TrustEvent(a.key, b.key, 2.0, block.timestamp, "good")],
    })
    assert table_of(graph) == {(a.key, b.key): (2.0, 1)}
    assert "ZeroDivisionError" in caplog.text


def test_frauds(database: BlockStore) -> None:
    a, b, c = Node(database), Node(database), Node(database)
    a.deal(b)
    b.deal(c)
    a.deal(c)
    graph = folded(database, a)
    assert graph.score(b.key) > 0
    first = database.get(b.key, 1)
    assert first is not None
    second = TrustChainBlock.create(b"deal", {"x": 1}, database, b.key, link_pk=c.key)
    second.sequence_number, second.previous_hash = 1, first.previous_hash
    second.sign(b.private_key)
    second.validate(database)
    graph.fold(database)
    assert graph.is_fraud(b.key)
    assert graph.score(b.key) == 0.0
    assert graph.explain(b.key).proof == (first.pack(), second.pack())
    assert {(edge.source, edge.target) for edge in graph} == {(a.key, c.key), (c.key, a.key)}
    b.deal(a)
    graph.fold(database)
    assert graph.score(b.key) == 0.0


def test_order_of_chains(database: BlockStore) -> None:
    """What was endorsed later gives nothing to what was endorsed before."""
    root, a, b, c = (Node(database) for _ in range(4))
    a.deal(b)  # before the root met a
    root.deal(a)
    a.deal(c)  # after that
    graph = folded(database, root)
    assert graph.score(root.key, "temporal") == 1.0
    assert graph.score(a.key, "temporal") == pytest.approx(0.8, abs=0.1)
    assert graph.score(b.key, "temporal") == pytest.approx(0.64, abs=0.15)
    assert graph.score(c.key, "temporal") == 0.0
    assert graph.score(c.key, "hits") > 0.0


def test_ageing_by_the_time_of_blocks(database: BlockStore) -> None:
    a, b, c = Node(database), Node(database), Node(database)
    now = clock.time()
    for node, age in ((b, 3600), (c, -10**6)):
        block = TrustChainBlock.create(b"opinion", {"trust": 1}, database, a.key, link_pk=node.key)
        block.timestamp = int((now - age) * 1000)
        block.sign(a.private_key)
        database.add_block(block)
    graph = TrustGraph(a.key, walks=10, half_life=3600.0)
    graph.fold(database)
    assert graph.weight(a.key, b.key) == pytest.approx(0.5, rel=0.01)
    assert graph.weight(a.key, c.key) == pytest.approx(1.0, rel=0.01)


def test_heights() -> None:
    heights = Heights()
    source, expected = random.Random(1), set()
    for _ in range(300):
        height = source.randrange(1, 60)
        heights.add(b"a", height)
        expected.add(height)
        assert {number for number in range(70) if (b"a", number) in heights} == expected
    every_second = range(1, 2 * MAX_RANGES + 100, 2)
    for height in every_second:
        heights.add(b"b", height)
    assert len(heights.ranges[b"b"]) <= MAX_RANGES
    assert all((b"b", height) in heights for height in every_second)
    heights.forget(b"b")
    assert (b"b", 1) not in heights


@pytest.mark.parametrize("most", [5, MAX_RANGES])
def test_changes_of_heights(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr("ipv8.trust.heights.MAX_RANGES", most)
    heights, source = Heights(), random.Random(1)
    kept: dict[int, int] = {}
    for _ in range(300):
        for first, last in heights.add(b"a", source.randrange(1, 120)).items():
            if last is None:
                kept.pop(first, None)
            else:
                kept[first] = last
        assert sorted(kept.items()) == heights.ranges[b"a"]


def test_long_chains_in_any_order(database: BlockStore) -> None:
    """Each block counts once, also if very many have gaps between them until others are stored."""
    one, other = Node(database), Node(database)
    blocks = [block for _ in range(400) for block in one.deal(other)]
    random.Random(1).shuffle(blocks)
    second = TrustChainDB(":memory:", "other")
    graph = TrustGraph(one.key, walks=10)
    for number, block in enumerate(blocks):
        second.add_block(block)
        if number % 10 == 0:
            graph.fold(second)
    graph.fold(second)
    second.close()
    assert graph.weight(one.key, other.key) == graph.weight(other.key, one.key) == 400.0


# Following an overlay

def make_community(directory: Path | str | None, key: Any, **settings: Any) -> TrustChainCommunity:
    endpoint = AutoMockEndpoint()
    endpoint.open()
    return TrustChainCommunity(TrustChainSettings(my_peer=Peer(key, endpoint.wan_address), endpoint=endpoint,
                                                  network=Network(), **{"working_directory": str(directory),
                                                                        **settings}))


def store(community: TrustChainCommunity, block: TrustChainBlock) -> None:
    community.validate_persist_block(block)


async def caught_up(graph: TrustGraph, edges: int) -> None:
    async def look() -> None:
        while graph.number_of_edges() != edges:  # noqa: ASYNC110 - a graph has no events of this kind
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), 60)


def test_two_programs_that_keep_a_graph_in_one_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both added what they took up of the same blocks, so that all weights were doubled after a restart."""
    databases = [TrustChainDB(str(tmp_path), "test") for _ in range(3)]
    one, other = Node(databases[0]), Node(databases[0])
    links = []

    def begin(database: TrustChainDB) -> None:
        link = TrustGraph(one.key, walks=10).link_to(database)
        link.persist()
        links.append(link)

    def deal_and_save() -> None:
        one.deal(other)
        for link in links:
            link.fold()
            link.graph.flush()
            link.save()

    begin(databases[0])
    deal_and_save()
    begin(databases[1])
    for _ in range(2):
        deal_and_save()
    links[0].graph.observe(other.key, 5.0, "seen")
    assert caplog.text.count("Another program keeps") == 1
    assert [link.graph.weight(other.key, one.key) for link in links] == [3.0, 3.0]
    begin(databases[2])
    assert links[2].graph.weight(other.key, one.key) == 3.0
    assert links[2].graph.weight(one.key, other.key) == 8.0
    assert links[2].fold() == 0
    for database in databases:
        database.close()


async def test_a_restart_finds_what_was_there(backend: Backend) -> None:
    key = default_eccrypto.generate_key("curve25519")
    community = make_community(None, key, **backend.settings(), trust_graph=True, trust_walks=300)
    graph = community.trust
    await graph.ready()
    mine = Node(community.persistence)
    mine.private_key, mine.key = key, key.pub().key_to_bin()
    a, b = Node(community.persistence), Node(community.persistence)
    for node in (a, b):
        proposal = mine.sign(node, store=False)
        store(community, proposal)
        store(community, node.sign(mine, link=proposal, store=False))
    await caught_up(graph, 4)
    graph.observe(a.key, 3.0, "helpful")
    graph.block(b.key)
    assert community.trust_of(a.key) > 0
    expected = table_of(graph)
    await community.unload()

    community = make_community(None, key, **backend.settings(), trust_graph=True)
    await community.trust.ready()
    assert table_of(community.trust) == expected
    assert community.trust.is_blocked(b.key)
    assert community.trust.statistics()["events"] == 5
    community.trust.unblock(b.key)
    community.trust.remove(mine.key, a.key, "helpful")
    await community.unload()

    database = backend.open()  # another half-life: blocks are taken up again
    database.close()
    community = make_community(None, key, **backend.settings(), trust_graph=True, trust_half_life=1e9)
    await community.trust.ready()
    assert {(edge.source, edge.target) for edge in community.trust} == set(expected)
    assert community.trust.weight(mine.key, a.key) == pytest.approx(1.0, rel=1e-3)
    assert not community.trust.is_blocked(b.key)
    await community.unload()


async def test_what_was_stored_but_not_taken_up_is_taken_up_later(backend: Backend) -> None:
    key = default_eccrypto.generate_key("curve25519")
    database = backend.open()
    nodes = [Node(database) for _ in range(4)]
    for a, b in ((0, 1), (1, 2)):
        nodes[a].deal(nodes[b])
    database.close()
    community = make_community(None, key, **backend.settings(), trust_graph=True)
    await community.trust.ready()
    assert community.trust.number_of_edges() == 4
    community.unload_callbacks.clear()  # as if the process was killed before
    nodes[2].database = community.persistence
    nodes[2].sign(nodes[3], b"opinion", {"trust": 2})
    await community.unload()
    community = make_community(None, key, **backend.settings(), trust_graph=True)
    await community.trust.ready()
    assert community.trust.weight(nodes[2].key, nodes[3].key) == 2.0
    assert community.trust.number_of_edges() == 5
    await community.unload()


@pytest.mark.parametrize("failing", ["change_heights", "set_cursor", "commit"])
async def test_what_could_not_be_saved_is_saved_later(backend: Backend, monkeypatch: pytest.MonkeyPatch,
                                                      failing: str) -> None:
    """As on a full disk: nothing of it is lost, and nothing counts twice."""
    key = default_eccrypto.generate_key("curve25519")
    database = backend.open()
    nodes = [Node(database) for _ in range(3)]
    for a, b in ((0, 1), (1, 2)):
        nodes[a].deal(nodes[b])
    graph = TrustGraph(key.pub().key_to_bin(), walks=10)
    link = graph.link_to(database)
    link.persist()
    graph.fold(database)

    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        if failing == "commit":
            full.setattr(database, "commit", fail)
        else:
            full.setattr(link.store, failing, fail)
        with pytest.raises(sqlite3.OperationalError):
            link.save()
    nodes[2].deal(nodes[0])
    graph.fold(database)
    link.save()
    expected = table_of(graph)
    database.close()
    database = backend.open()
    again = TrustGraph(key.pub().key_to_bin(), walks=10)
    again.link_to(database).persist()
    assert again.fold(database) == 0
    assert table_of(again) == expected
    assert len(expected) == 6


async def test_overlay_is_unloaded_although_its_graph_cannot_be_saved(backend: Backend,
                                                                      caplog: pytest.LogCaptureFixture) -> None:
    community = make_community(None, default_eccrypto.generate_key("curve25519"), **backend.settings(),
                               trust_graph=True)
    graph = community.trust
    await graph.ready()

    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    graph.link_to(community.persistence).store.set_cursor = fail
    await community.unload()
    assert not community.persistence.is_open
    assert "could not be saved" in caplog.text


DAMAGE = [
    ("UPDATE trust_cursor SET value = '\"x\"' WHERE name = 't_ref'", True),
    ("DELETE FROM trust_cursor WHERE name = 't_ref'", True),
    ("UPDATE trust_edges SET weight = -5", True),
    ("UPDATE trust_folded SET first = last + 1", True),
    ("DELETE FROM trust_keys", True),
    ("UPDATE trust_cursor SET value = '999999' WHERE name = 'place'", False),
    ("UPDATE trust_cursor SET value = '{garbage'", False),
    ("DELETE FROM trust_cursor", False),
]
TYPELESS = [
    ("UPDATE trust_edges SET weight = 'abc'", True),
    ("UPDATE trust_edges SET kind = x'ff'", True),
    ("UPDATE trust_edges SET last_time = 1e30", True),
    ("UPDATE trust_edges SET weight = 9e999", True),
    ("UPDATE trust_folded SET last = 'abc'", True),
    ("UPDATE trust_keys SET key = 'text' WHERE id = 1", True),
    ("UPDATE trust_observations SET weight = 'abc'", False),
]


async def kept_graph(backend: Backend, key: Any) -> dict[Any, Any]:
    """Let an overlay keep a graph, and return its edges."""
    community = make_community(None, key, **backend.settings(), trust_graph=True)
    await community.trust.ready()
    nodes = [Node(community.persistence) for _ in range(3)]
    for a, b in ((0, 1), (1, 2)):
        for block in nodes[a].deal(nodes[b]):
            community.notify_listeners(block)
    await caught_up(community.trust, 4)
    expected = table_of(community.trust)
    community.trust.observe(nodes[0].key, 2.0, "helpful")
    await community.unload()
    return expected


@pytest.mark.parametrize(("statement", "told"), [*DAMAGE, *TYPELESS])
async def test_damaged_tables_are_made_anew(backend: Backend, caplog: pytest.LogCaptureFixture, statement: str,
                                            told: bool) -> None:
    if backend.url is not None and (statement, told) in TYPELESS:
        pytest.skip("PostgreSQL does not let this happen")
    key = default_eccrypto.generate_key("curve25519")
    expected = await kept_graph(backend, key)
    database = backend.open()
    database.execute(statement)
    database.close()
    for restart in range(2):
        community = make_community(None, key, **backend.settings(), trust_graph=True)
        await community.trust.ready()
        edges = table_of(community.trust)
        assert {edge: value for edge, value in edges.items() if edge[0] != community.my_key_bin} == expected
        await community.unload()
        assert ("damaged" in caplog.text) == (told and not restart)
        caplog.clear()


@pytest.mark.parametrize("statements", [
    ["INSERT INTO trust_cursor(name, value) VALUES('version', '2') ON CONFLICT(name) DO UPDATE SET value = '2'"],
    ["DROP TABLE trust_edges", "CREATE TABLE trust_edges(source BIGINT, dst BIGINT)"],
    ["DROP TABLE trust_cursor", "CREATE TABLE trust_cursor(what TEXT)"],
])
async def test_tables_of_a_newer_release_are_left_alone(backend: Backend, caplog: pytest.LogCaptureFixture,
                                                        statements: list[str]) -> None:
    key = default_eccrypto.generate_key("curve25519")
    expected = await kept_graph(backend, key)

    def content() -> Any:
        database = backend.open()
        try:
            return [sorted(map(str, database.execute(f"SELECT * FROM {table}"))) for table in
                    ("trust_edges", "trust_cursor", "trust_folded", "trust_observations", "trust_keys")]
        finally:
            database.close()

    database = backend.open()
    for statement in statements:
        database.execute(statement)
    database.close()
    before = content()
    for _ in range(2):
        community = make_community(None, key, **backend.settings(), trust_graph=True)
        await community.trust.ready()
        assert table_of(community.trust) == expected
        community.trust.observe(b"k", 2.0, "helpful")
        await community.unload()
    assert content() == before
    assert "left as they are" in caplog.text
    database = backend.open()
    assert own_evidence(database, key.pub().key_to_bin()) == []
    database.close()


async def test_another_database(backend: Backend) -> None:
    """An attached graph goes with the overlay to another database, unless it has blocks of the first one already."""
    key = default_eccrypto.generate_key("curve25519")
    community = make_community(":memory:", key, trust_graph=True)
    other, third = backend.open("other"), backend.open("third")
    a, b = Node(other), Node(other)
    a.deal(b)
    community.use_database(other)
    await community.trust.ready()
    assert community.trust.number_of_edges() == 2
    before = community.persistence
    with pytest.raises(RuntimeError, match=r"call detach\(\)"):
        community.use_database(third)
    assert community.persistence is before
    assert before.is_open
    community.trust.detach()
    community.use_database(third)
    assert community.persistence is third
    await community.unload()


async def test_another_database_without_its_past(backend: Backend) -> None:
    community = make_community(":memory:", default_eccrypto.generate_key("curve25519"))
    other = backend.open("other")
    a, b = Node(other), Node(other)
    a.deal(b)
    graph = TrustGraph.attach(community, replay=False)
    community.use_database(other)
    c, d = Node(other), Node(other)
    c.deal(d)
    for block in other.get_all_blocks()[2:]:
        community.notify_listeners(block)
    await caught_up(graph, 2)
    assert {edge.source for edge in graph} == {c.key, d.key}
    await community.unload()


async def test_a_fraud_is_marked_at_once() -> None:
    community = make_community(":memory:", default_eccrypto.generate_key("curve25519"))
    graph = TrustGraph.attach(community)
    assert graph.root == community.my_key_bin
    await graph.ready()
    a, b = Node(community.persistence), Node(community.persistence)
    first = a.sign(b, store=False)
    second = a.sign(b, transaction={"x": 1}, store=False)
    store(community, first)
    assert not graph.is_fraud(a.key)
    store(community, second)
    assert graph.is_fraud(a.key)
    with pytest.raises(RuntimeError, match="already"):
        graph.attach(community)
    graph.detach()
    graph.detach()
    store(community, b.sign(a, b"opinion", {"trust": 1}, store=False))
    assert community.listeners_map == {}
    await community.unload()


async def test_following_again(backend: Backend) -> None:
    community = make_community(None, default_eccrypto.generate_key("curve25519"), **backend.settings())
    a, b = Node(community.persistence), Node(community.persistence)
    a.sign(b, b"opinion", {"trust": 1})
    graph = TrustGraph.attach(community)
    await graph.ready()
    for _ in range(2):
        graph.detach()
        graph.attach(community)
        await graph.ready()
    b.sign(a, b"opinion", {"trust": 1})
    assert graph.fold(community.persistence) == 1
    assert table_of(graph) == {(a.key, b.key): (1.0, 1), (b.key, a.key): (1.0, 1)}
    graph.detach()
    other = TrustGraph.attach(community)
    await other.ready()
    assert table_of(other) == table_of(graph)
    other.detach()
    graph = TrustGraph(community.my_key_bin, walks=10)
    graph.fold(community.persistence)
    graph.attach(community)
    await graph.ready()
    assert table_of(graph) == table_of(other)
    await community.unload()


async def test_what_is_removed_stays_removed(backend: Backend) -> None:
    community = make_community(None, default_eccrypto.generate_key("curve25519"), **backend.settings())
    nodes = [Node(community.persistence) for _ in range(4)]
    for one in nodes:
        for other in nodes:
            if one is not other:
                one.sign(other, b"opinion", {"trust": 1})
    graph = TrustGraph.attach(community)
    await graph.ready()
    graph.remove(nodes[0].key, nodes[1].key)
    graph.remove_node(nodes[3].key)
    graph.detach()
    restarted = TrustGraph.attach(community)
    await restarted.ready()
    assert table_of(restarted) == table_of(graph)
    assert restarted.number_of_edges() == 5
    await community.unload()


async def test_trusted_chains_are_asked_for() -> None:
    community = make_community(":memory:", default_eccrypto.generate_key("curve25519"))
    graph = TrustGraph(community.my_key_bin, walks=100).attach(community)
    await graph.ready()
    a = Node(community.persistence)
    asked: list[Any] = []

    crawl = graph.link_to(community.persistence).released.__self__._crawl  # type: ignore[union-attr]

    def send(*values: Any) -> asyncio.Future[Any]:
        asked.append(values)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result([])
        return future

    community.send_crawl_request = send  # type: ignore[assignment,method-assign]
    graph.observe(a.key)
    crawl()  # nobody can be asked
    peer = Peer(a.private_key.pub(), ("1.2.3.4", 5))
    community.network.add_verified_peer(peer)
    community.network.discover_services(peer, [community.community_id])
    crawl()
    assert asked == [(peer, a.key, 1, 1)]
    await community.unload()


async def test_without_replay_only_new_blocks_count() -> None:
    community = make_community(":memory:", default_eccrypto.generate_key("curve25519"))
    a, b = Node(community.persistence), Node(community.persistence)
    a.sign(b, b"opinion", {"trust": 1})
    graph = TrustGraph(community.my_key_bin, walks=10).attach(community, replay=False)
    await graph.ready()
    store(community, b.sign(a, b"opinion", {"trust": 1}, store=False))
    await caught_up(graph, 1)
    assert [edge.source for edge in graph] == [b.key]
    await community.unload()


async def test_chains_with_gaps() -> None:
    community = make_community(":memory:", default_eccrypto.generate_key("curve25519"))
    me = Node(community.persistence)
    me.key, me.private_key = community.my_key_bin, community.my_peer.key
    a, b = Node(community.persistence), Node(community.persistence)
    me.sign(a, b"opinion", {"trust": 1})
    blocks = [a.sign(b, b"opinion", {"trust": 1}) for _ in range(4)]
    community.persistence.remove_block(blocks[0])
    graph = TrustGraph(me.key, walks=4000, rng=1).attach(community, completeness=True)
    await graph.ready()
    assert graph.score(b.key, "hits") == pytest.approx(0.8 * 0.8 * 0.75, abs=0.05)
    assert graph.frontier(5) == [a.key, b.key]
    assert graph.frontier(1) == [a.key]
    store(community, blocks[0])
    graph.fold(community.persistence)
    assert graph.score(b.key, "hits") == pytest.approx(0.8 * 0.8, abs=0.05)
    assert graph.frontier(5) == [b.key]
    await community.unload()
