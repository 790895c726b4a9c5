from __future__ import annotations

import random
from typing import Any

import pytest

from ipv8 import entropy
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.graph import neighborhoods as module
from ipv8.peerdiscovery.graph.neighborhoods import (
    FAIR_SHARE,
    Neighborhoods,
    ServiceNeighborhoods,
    neighborhood_of,
)


def make_peer(number: int, address: Any) -> Peer:
    return Peer(b"LibNaCLPK:" + number.to_bytes(64, "big"), address)


@pytest.mark.parametrize(("host", "neighbour", "stranger"), [
    ("1.2.3.4", "1.2.3.250", "1.2.4.4"),
    ("2a00:1:1::1", "2a00:1:1:ffff::2", "2a00:1:2::1"),
    ("::ffff:1.2.3.4", "1.2.3.9", "::ffff:1.2.4.4"),
])
def test_public_networks_are_neighborhoods(host: str, neighbour: str, stranger: str) -> None:
    assert neighborhood_of((host, 1)) == neighborhood_of((neighbour, 2)) != neighborhood_of((stranger, 1))


@pytest.mark.parametrize(("host", "is_shared"), [
    ("1.2.3.4", True), ("2a00:1:2::3", True), ("::ffff:1.2.3.4", True),
    ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.1.2", False), ("172.16.0.1", False), ("100.64.0.1", False),
    ("169.254.1.1", False), ("::1", False), ("fe80::1", False), ("fd00::1", False), ("224.0.0.1", False),
    ("abc", False), ("\udcff", False),
])
def test_only_public_addresses_have_neighbors(host: str, is_shared: bool) -> None:
    assert (neighborhood_of((host, 1)) == neighborhood_of((host, 2))) is is_shared


def test_counts() -> None:
    neighborhoods = Neighborhoods()
    peers = [make_peer(i, UDPv4Address(ip, i)) for i, ip in enumerate(["1.2.3.4", "1.2.3.4", "1.2.3.5", "9.9.9.9"], 1)]
    for peer in [*peers, peers[0]]:
        neighborhoods.add(peer)
    assert len(neighborhoods) == 4
    assert [neighborhoods.count((host, 77)) for host in ("1.2.3.6", "9.9.9.8", "8.8.8.8")] == [3, 1, 0]
    assert [neighborhoods.size_of_own(peer) for peer in peers] == [3, 3, 3, 1]
    assert neighborhoods.surplus == 3 - FAIR_SHARE
    for peer in [peers[0], peers[0], peers[3]]:
        neighborhoods.discard(peer)
    assert peers[0] not in neighborhoods
    assert neighborhoods.size_of_own(peers[0]) == 0
    assert [neighborhoods.count((host, 77)) for host in ("1.2.3.6", "9.9.9.8")] == [2, 0]
    assert neighborhoods.surplus == 0


def test_moving() -> None:
    neighborhoods = Neighborhoods()
    peer = make_peer(1, UDPv4Address("1.2.3.4", 1))
    neighborhoods.move(peer)
    assert peer not in neighborhoods
    neighborhoods.add(peer)
    peer.address = UDPv4Address("9.9.9.9", 1)
    assert neighborhoods.count(("1.2.3.5", 1)) == 1
    neighborhoods.move(peer)
    assert [neighborhoods.count((host, 1)) for host in ("1.2.3.5", "9.9.9.8")] == [0, 1]


def test_the_newest_of_the_largest_neighborhood() -> None:
    neighborhoods = Neighborhoods()
    assert neighborhoods.newest_of_largest() is None
    for number, host in enumerate(["1.2.3.1", "9.9.9.9", "1.2.3.2", "1.2.3.3", "8.8.8.8", "9.9.9.8"]):
        neighborhoods.add(make_peer(number, UDPv4Address(host, 1)))
    order = []
    while (peer := neighborhoods.newest_of_largest()) is not None:
        neighborhoods.discard(peer)
        order.append(peer.address[0])
    assert order[0] == "1.2.3.3"
    assert set(order[1:]) == {"1.2.3.2", "9.9.9.8"}, "then no two are in the same neighborhood"


def test_neighborhoods_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "_current", random.Random(1))
    neighborhoods = Neighborhoods()
    assert neighborhoods.draw() is None
    single, others = make_peer(0, UDPv4Address("9.9.9.9", 1)), [make_peer(0, UDPv4Address("8.8.8.8", 1))]
    neighborhoods.add(others[0])
    for number in range(1, 100):
        others.append(make_peer(number, UDPv4Address("1.2.3.4", number)))
        neighborhoods.add(others[-1])
    neighborhoods.discard(others[0])
    neighborhoods.add(single)
    drawn = [neighborhoods.draw() for _ in range(300)]
    assert 100 < drawn.count(single) < 200
    assert len(set(drawn)) > 50


def test_the_oldest_of_the_largest_neighborhood(manual_clock: Any) -> None:
    neighborhoods = Neighborhoods()
    addresses = [UDPv4Address("5.5.5.5", 1), UDPv4Address("1.2.3.1", 1), UDPv6Address("2a00::1", 1),
                 UDPv4Address("1.2.3.2", 1), UDPv6Address("2a00::2", 1), UDPv4Address("1.2.3.3", 1)]
    peers = []
    for number, address in enumerate(addresses):
        peers.append(make_peer(number, address))
        neighborhoods.add(peers[-1])
        manual_clock.advance(1)

    order = []
    while (peer := neighborhoods.oldest_of_largest(manual_clock.now)) is not None:
        neighborhoods.discard(peer)
        order.append(peer.address[0])
    assert order[0] == "1.2.3.1"
    assert set(order[1:3]) == {"2a00::1", "1.2.3.2"}, "both networks had two left"
    assert len(order) == 6
    assert neighborhoods.oldest_of_largest(manual_clock.now) is None


def test_young_peers_are_spared(manual_clock: Any) -> None:
    neighborhoods = Neighborhoods()
    old = make_peer(1, UDPv4Address("5.5.5.5", 1))
    other = make_peer(2, UDPv4Address("6.6.6.6", 1))
    neighborhoods.add(other)
    neighborhoods.add(old)
    manual_clock.advance(10)
    for number in range(3, 6):
        neighborhoods.add(make_peer(number, UDPv4Address("1.2.3.4", number)))
    assert neighborhoods.oldest_of_largest(manual_clock.now - 5) is other
    assert neighborhoods.oldest_of_largest(manual_clock.now - 10) is None
    manual_clock.advance(1)
    first = neighborhoods.oldest_of_largest(manual_clock.now)
    assert first is not None
    assert first.address == ("1.2.3.4", 3)


def test_the_oldest_of_all_is_found_behind_larger_neighborhoods_of_young_ones(manual_clock: Any) -> None:
    neighborhoods = Neighborhoods()
    oldest = make_peer(1, UDPv4Address("1.1.1.1", 1))
    neighborhoods.add(oldest)
    manual_clock.advance(10)
    for number in range(2, 6):
        neighborhoods.add(make_peer(number, UDPv4Address(f"{number}.2.2.2", 1)))
        neighborhoods.add(make_peer(number + 10, UDPv4Address(f"{number}.2.2.3", 1)))
    neighborhoods.add(make_peer(20, UDPv4Address("1.1.1.2", 1)))
    assert neighborhoods.oldest_of_largest(manual_clock.now - 5) is oldest


def test_age_is_that_of_the_monotonic_clock(manual_clock: Any) -> None:
    neighborhoods = Neighborhoods()
    peer = make_peer(1, UDPv4Address("1.1.1.1", 1))
    neighborhoods.add(peer)
    manual_clock.step_wall(-3600)
    manual_clock.advance(10)
    assert neighborhoods.oldest_of_largest(manual_clock.monotonic() - 5) is peer
    manual_clock.step_wall(7200)
    assert neighborhoods.oldest_of_largest(manual_clock.monotonic() - 10) is None


# The neighborhoods of services

SERVICE = b"s" * 20


class Limited:
    def __init__(self, max_peers: Any) -> None:
        self.max_peers = max_peers


def test_peers_of_a_service_are_followed_from_the_first_question_on() -> None:
    early, late = make_peer(1, UDPv4Address("1.2.3.1", 1)), make_peer(2, UDPv4Address("1.2.3.2", 1))
    services = ServiceNeighborhoods({SERVICE: [early]}, {})
    services.add(SERVICE, early)
    assert len(services.all_of(SERVICE)) == len(services.unproven_of(SERVICE)) == 1
    services.add(SERVICE, late)
    assert services.all_of(SERVICE).count(("1.2.3.3", 1)) == len(services.unproven_of(SERVICE)) == 2
    early.proven = True
    services.prove(early)
    assert early in services.all_of(SERVICE)
    assert early not in services.unproven_of(SERVICE)
    services.discard(SERVICE, late)
    assert len(services.all_of(SERVICE)) == 1
    assert len(services.unproven_of(SERVICE)) == 0
    proven = make_peer(3, UDPv4Address("1.2.3.3", 1))
    proven.proven = True
    services.add(SERVICE, proven)
    assert proven in services.all_of(SERVICE)
    assert proven not in services.unproven_of(SERVICE)
    assert len(services.all_of(b"other")) == 0


def test_services_beyond_the_cap_are_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRACKED_SERVICES", 2)
    peer = make_peer(1, UDPv4Address("1.2.3.1", 1))
    services = ServiceNeighborhoods({b"%d" % number: [peer] for number in range(5)}, {})
    for _ in range(2):
        assert [len(services.all_of(b"%d" % number)) for number in range(5)] == [1] * 5
    assert len(services._all) == 2


@pytest.mark.parametrize(("overlay", "limit"), [
    (Limited(12), 10), (Limited(6), 5), (Limited(0), 0), (Limited(-1), -1), (Limited(float("inf")), -1),
    (object(), -1), (None, -1),
])
def test_limit_of_surplus_peers(overlay: Any, limit: int) -> None:
    assert ServiceNeighborhoods({}, {SERVICE: overlay}).surplus_limit(SERVICE) == limit
    assert ServiceNeighborhoods({}, {}).surplus_limit(SERVICE) == -1


def test_surplus_peers_leave_the_reserved_places() -> None:
    peers = [make_peer(number, UDPv4Address("1.2.3.4", number)) for number in range(5)]
    services = ServiceNeighborhoods({SERVICE: peers}, {SERVICE: Limited(6)})
    assert services.surplus_peer_to_drop(SERVICE, peers[-1]) is None, "as many as there may be"
    assert not services.has_room_for(SERVICE, ("1.2.3.5", 1))
    assert services.has_room_for(SERVICE, ("9.9.9.9", 1))
    newcomer = make_peer(9, UDPv4Address("9.9.9.9", 1))
    services.add(SERVICE, newcomer)
    assert services.surplus_peer_to_drop(SERVICE, newcomer) is peers[-1], "the newest of the largest neighborhood"
    services.discard(SERVICE, newcomer)
    one_more = make_peer(10, UDPv4Address("1.2.3.4", 10))
    services.add(SERVICE, one_more)
    assert services.surplus_peer_to_drop(SERVICE, one_more) is one_more
