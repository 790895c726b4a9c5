"""Which nodes are pinged, removed, and taken for peers (doc/protocol/dht.md section 6.5)."""

from __future__ import annotations

from typing import Any

from ipv8.dht.churn import PingChurn
from ipv8.peer import Peer


async def test_a_node_that_answers_recovers(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    node = one.get_routing_table(dht.as_node(other)).get(dht.as_node(other).id)
    node.failed, node.last_response = 1, 0
    churn = PingChurn(one, ping_interval=0.0)
    churn.take_step()
    assert node.failed == 1
    await dht.settle()
    assert node.failed == 0
    assert node.last_response > 0
    assert other.my_peer in one.get_peers()


async def test_pings_have_an_interval(make_nodes: Any, dht: Any, manual_clock: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    churn = PingChurn(one)
    for seconds, pings in ((0, 1), (24, 1), (1, 2)):
        manual_clock.advance(seconds)
        churn.take_step()
        assert one.endpoint.sent_ids() == [1] * pings


async def test_bad_nodes_are_removed(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    churn = PingChurn(one)
    churn.take_step()
    table = one.get_routing_table(dht.as_node(other))
    table.get(dht.as_node(other).id).failed = 2
    churn.take_step()
    assert not list(table.nodes())
    assert not one.get_peers()


async def test_peers_are_nodes(make_nodes: Any, dht: Any, monkeypatch: Any) -> None:
    one, other, trackers = make_nodes(3)
    dht.introduce(one, other)
    for overlay in (other, trackers):
        one.network.add_verified_peer(Peer(overlay.my_peer.public_key, overlay.endpoint.wan_address))
        one.network.discover_services(overlay.my_peer, [one.community_id])
    monkeypatch.setattr(one, "admit", lambda _: None)
    PingChurn(one).take_step()
    assert one.get_peers() == [other.my_peer]


async def test_nothing_to_do(make_nodes: Any) -> None:
    one, = make_nodes(1)
    PingChurn(one).take_step()
    assert not one.endpoint.sent
