from __future__ import annotations

import random
from typing import Any

import pytest

from ipv8 import entropy
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.graph.crowd import FAIR_SHARE, Crowd, neighborhood_of, subnet_of


def make_peer(number: int, address: Any) -> Peer:
    return Peer(b"LibNaCLPK:" + number.to_bytes(64, "big"), address)


@pytest.mark.parametrize(("host", "neighbour", "stranger"), [
    ("1.2.3.4", "1.2.3.250", "1.2.4.4"),
    ("2001:db8:1::1", "2001:db8:1:ffff::2", "2001:db8:2::1"),
    ("::ffff:1.2.3.4", "1.2.3.9", "::ffff:1.2.4.4"),
    ("abc", "abc", "abd"),
])
def test_subnets(host: str, neighbour: str, stranger: str) -> None:
    assert subnet_of(host) == subnet_of(neighbour) != subnet_of(stranger)


def test_any_text_has_a_subnet() -> None:
    assert subnet_of("\udcff") != subnet_of("")


@pytest.mark.parametrize(("host", "is_crowded"), [
    ("1.2.3.4", True), ("2a00:1:2::3", True), ("::ffff:1.2.3.4", True),
    ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.1.2", False), ("172.16.0.1", False), ("100.64.0.1", False),
    ("169.254.1.1", False), ("::1", False), ("fe80::1", False), ("fd00::1", False), ("abc", False),
])
def test_only_public_addresses_have_neighbors(host: str, is_crowded: bool) -> None:
    assert (neighborhood_of((host, 1)) == neighborhood_of((host, 2))) is is_crowded


def test_counts() -> None:
    crowd = Crowd()
    peers = [make_peer(i, UDPv4Address(ip, i)) for i, ip in enumerate(["1.2.3.4", "1.2.3.4", "1.2.3.5", "9.9.9.9"], 1)]
    for peer in [*peers, peers[0]]:
        crowd.add(peer)
    assert len(crowd) == 4
    assert [crowd.count((host, 77)) for host in ("1.2.3.6", "9.9.9.8", "8.8.8.8")] == [3, 1, 0]
    assert [crowd.neighbors(peer) for peer in peers] == [3, 3, 3, 1]
    assert crowd.surplus == 3 - FAIR_SHARE
    for peer in [peers[0], peers[0], peers[3]]:
        crowd.discard(peer)
    assert peers[0] not in crowd
    assert crowd.neighbors(peers[0]) == 0
    assert [crowd.count((host, 77)) for host in ("1.2.3.6", "9.9.9.8")] == [2, 0]
    assert crowd.surplus == 0


def test_moving() -> None:
    crowd = Crowd()
    peer = make_peer(1, UDPv4Address("1.2.3.4", 1))
    crowd.move(peer)
    assert peer not in crowd
    crowd.add(peer)
    peer.address = UDPv4Address("9.9.9.9", 1)
    assert crowd.count(("1.2.3.5", 1)) == 1
    crowd.move(peer)
    assert [crowd.count((host, 1)) for host in ("1.2.3.5", "9.9.9.8")] == [0, 1]


def test_the_newest_of_the_largest_neighborhood() -> None:
    crowd = Crowd()
    assert crowd.last_of_largest() is None
    for number, host in enumerate(["1.2.3.1", "9.9.9.9", "1.2.3.2", "1.2.3.3", "8.8.8.8", "9.9.9.8"]):
        crowd.add(make_peer(number, UDPv4Address(host, 1)))
    order = []
    while (peer := crowd.last_of_largest()) is not None:
        crowd.discard(peer)
        order.append(peer.address[0])
    assert order[0] == "1.2.3.3"
    assert set(order[1:]) == {"1.2.3.2", "9.9.9.8"}, "then no two are in the same neighborhood"


def test_neighborhoods_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "_current", random.Random(1))
    crowd = Crowd()
    assert crowd.draw() is None
    single, others = make_peer(0, UDPv4Address("9.9.9.9", 1)), [make_peer(0, UDPv4Address("8.8.8.8", 1))]
    crowd.add(others[0])
    for number in range(1, 100):
        others.append(make_peer(number, UDPv4Address("1.2.3.4", number)))
        crowd.add(others[-1])
    crowd.discard(others[0])
    crowd.add(single)
    drawn = [crowd.draw() for _ in range(300)]
    assert 100 < drawn.count(single) < 200
    assert len(set(drawn)) > 50


def test_the_oldest_of_the_most_crowded_subnet_goes_first(manual_clock: Any) -> None:
    crowd = Crowd()
    addresses = [UDPv4Address("5.5.5.5", 1), UDPv4Address("1.2.3.1", 1), UDPv6Address("2a00::1", 1),
                 UDPv4Address("1.2.3.2", 1), UDPv6Address("2a00::2", 1), UDPv4Address("1.2.3.3", 1)]
    peers = []
    for number, address in enumerate(addresses):
        peers.append(make_peer(number, address))
        crowd.add(peers[-1])
        manual_clock.advance(1)

    order = []
    while (peer := crowd.first_to_go(manual_clock.now)) is not None:
        crowd.discard(peer)
        order.append(peer.address[0])
    assert order[0] == "1.2.3.1"
    assert set(order[1:3]) == {"2a00::1", "1.2.3.2"}, "both subnets had two left"
    assert len(order) == 6
    assert crowd.first_to_go(manual_clock.now) is None


def test_young_peers_are_spared(manual_clock: Any) -> None:
    crowd = Crowd()
    old = make_peer(1, UDPv4Address("5.5.5.5", 1))
    other = make_peer(2, UDPv4Address("6.6.6.6", 1))
    crowd.add(other)
    crowd.add(old)
    manual_clock.advance(10)
    for number in range(3, 6):
        crowd.add(make_peer(number, UDPv4Address("1.2.3.4", number)))
    assert crowd.first_to_go(manual_clock.now - 5) is other
    assert crowd.first_to_go(manual_clock.now - 10) is None
    manual_clock.advance(1)
    first = crowd.first_to_go(manual_clock.now)
    assert first is not None
    assert first.address == ("1.2.3.4", 3)


def test_the_oldest_of_all_is_found_behind_younger_crowds(manual_clock: Any) -> None:
    crowd = Crowd()
    oldest = make_peer(1, UDPv4Address("1.1.1.1", 1))
    crowd.add(oldest)
    manual_clock.advance(10)
    for number in range(2, 6):
        crowd.add(make_peer(number, UDPv4Address(f"{number}.2.2.2", 1)))
        crowd.add(make_peer(number + 10, UDPv4Address(f"{number}.2.2.3", 1)))
    crowd.add(make_peer(20, UDPv4Address("1.1.1.2", 1)))
    assert crowd.first_to_go(manual_clock.now - 5) is oldest
