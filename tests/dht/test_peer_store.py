"""Stored addresses of peers, without a network."""

from __future__ import annotations

from typing import Any

from ipv8.dht.moments import Moment
from ipv8.dht.peer_store import StoredPeers, StoringNodes
from ipv8.dht.routing import Node
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer


def peer(number: int = 1, address: Any = None) -> Peer:
    return Peer(b"LibNaCLPK:" + bytes((number,)) * 64, address or UDPv4Address("1.2.3.4", number))


def node(number: int = 1) -> Node:
    return Node(peer(number).public_key, peer(number).address)


def test_the_latest_address_of_each_family_counts() -> None:
    stored = StoredPeers()
    for address in (UDPv4Address("1.1.1.1", 1), UDPv6Address("2a00::1", 1), UDPv4Address("2.2.2.2", 2)):
        stored.put(peer(address=address))
    assert [each.address for each in stored[peer().mid]] == [UDPv6Address("2a00::1", 1), UDPv4Address("2.2.2.2", 2)]
    assert stored.at(peer().mid, UDPv4Address("2.2.2.2", 2)) == {peer().mid: [peer()]}
    assert stored.at(peer().mid, UDPv4Address("1.1.1.1", 1)) == {peer().mid: []}
    assert stored.at(b"nobody", UDPv4Address("1.1.1.1", 1)) == {b"nobody": []}


def test_missing_keys_are_lists() -> None:
    stored = StoredPeers()
    stored[b"m" * 20].append(node())
    assert stored == {b"m" * 20: [node()]}
    assert stored.get(b"o" * 20) is None
    storing = StoringNodes()
    storing[b"m" * 20].append(node())
    assert storing == {b"m" * 20: [node()]}


def test_the_peer_stored_the_longest_ago_is_evicted() -> None:
    stored = StoredPeers()
    stored.capacity = 2
    for number in (1, 2, 1, 3):
        stored.put(peer(number))
    assert set(stored) == {peer(1).mid, peer(3).mid}


def test_peers_are_dropped_a_minute_after_their_last_request(two_clocks: Any) -> None:
    stored = StoredPeers()
    stored.put(peer(1))
    stored.put(peer(2))
    two_clocks.wall += 86400
    stored.drop_expired()
    assert len(stored) == 2
    two_clocks.wall -= 2 * 86400
    two_clocks.advance(30)
    stored[peer(1).mid][0].last_queries.append(Moment.now())
    two_clocks.advance(31)
    stored.drop_expired()
    assert list(stored) == [peer(1).mid]
    two_clocks.advance(30)
    stored.drop_expired()
    assert not stored


def test_storing_nodes_are_pinged_and_dropped_when_bad(two_clocks: Any) -> None:
    storing, key = StoringNodes(), b"k" * 20
    storing.add(key, node(1))
    storing.add(key, node(1))
    storing.add(key, node(2))
    assert storing == {key: [node(1), node(2)]}
    assert storing.to_ping() == [node(1), node(2)]
    for each in storing[key]:
        each.last_ping_sent = Moment.now()
    two_clocks.wall += 86400
    assert storing.to_ping() == []
    two_clocks.wall -= 2 * 86400
    two_clocks.advance(25)
    assert storing.to_ping() == [node(1), node(2)]
    storing[key][0].failed = 2
    storing.drop_bad()
    assert storing == {key: [node(2)]}
    storing[key][0].failed = 2
    storing.drop_bad()
    assert storing == {}
