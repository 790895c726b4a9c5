from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.crowd import Crowd, subnet_of


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


def test_counts() -> None:
    crowd = Crowd()
    peers = [make_peer(i, UDPv4Address(ip, i)) for i, ip in enumerate(["1.2.3.4", "1.2.3.4", "1.2.3.5", "9.9.9.9"], 1)]
    for peer in [*peers, peers[0]]:
        crowd.add(peer)
    assert len(crowd) == 4
    assert crowd.count(("1.2.3.4", 77)) == (2, 3)
    assert crowd.count(("1.2.3.6", 77)) == (0, 3)
    assert crowd.count(("8.8.8.8", 77)) == (0, 0)
    for peer in [peers[0], peers[0], peers[3]]:
        crowd.discard(peer)
    assert peers[0] not in crowd
    assert crowd.count(("1.2.3.4", 77)) == (1, 2)
    assert crowd.count(("9.9.9.9", 77)) == (0, 0)


def test_the_oldest_of_the_most_crowded_subnet_goes_first(manual_clock: Any) -> None:
    crowd = Crowd()
    addresses = [UDPv4Address("5.5.5.5", 1), UDPv4Address("1.2.3.1", 1), UDPv6Address("2001:db8::1", 1),
                 UDPv4Address("1.2.3.2", 1), UDPv6Address("2001:db8::2", 1), UDPv4Address("1.2.3.3", 1)]
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
    assert set(order[1:3]) == {"2001:db8::1", "1.2.3.2"}, "both subnets had two left"
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
