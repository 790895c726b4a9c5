from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging import address as address_classes
from ipv8.messaging.address import DomainAddress, RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery import network as network_module
from ipv8.peerdiscovery.graph import (
    addresses as address_book,
    neighborhoods as neighborhoods_module,
    services as services_module,
)
from ipv8.peerdiscovery.graph.neighborhoods import FAIR_SHARE
from ipv8.peerdiscovery.network import Network, PeerObserver, WalkableAddress

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE, OTHER_SERVICE = b"a" * 20, b"b" * 20
MISC = json.loads((Path(__file__).parents[1] / "vectors" / "discovery.json").read_text("utf-8"))["misc"]


class Witness(PeerObserver):
    def __init__(self) -> None:
        self.events: list[tuple[str, Peer]] = []

    def on_peer_added(self, peer: Peer) -> None:
        self.events.append(("added", peer))

    def on_peer_removed(self, peer: Peer) -> None:
        self.events.append(("removed", peer))


@pytest.fixture
def network() -> Network:
    return Network()


def key(number: int) -> bytes:
    return b"LibNaCLPK:" + number.to_bytes(64, "big")


def make_peer(number: int, *addresses: Any) -> Peer:
    peer = Peer(key(number), addresses[0] if addresses else UDPv4Address(f"1.2.{number}.1", number))
    for address in addresses[1:]:
        peer.address = address
    return peer


PEERS = range(1, 6)


@pytest.fixture
def peers() -> list[Peer]:
    return [make_peer(number) for number in PEERS]


def test_a_new_network_is_empty(network: Network) -> None:
    assert network._all_addresses == {}
    assert network.verified_peers == set()
    assert network.verified_by_public_key_bin == {}
    assert network.blacklist == []
    assert network.blacklist_mids == []
    assert network.services_per_peer == {}
    assert network.service_overlays == {}
    assert network.peer_observers == set()
    assert not any([network.reverse_ip_lookup, network.reverse_intro_lookup, network.reverse_service_lookup])
    sizes = network.reverse_ip_cache_size, network.reverse_intro_cache_size, network.reverse_service_cache_size
    assert sizes == (500, 500, 500)
    with network.graph_lock, network.graph_lock:
        assert network.get_walkable_addresses() == []


# Addresses


def test_discovered_address(network: Network, peers: list[Peer]) -> None:
    address = peers[1].address
    network.discover_address(peers[0], address, SERVICE, True)
    assert network._all_addresses[address] == WalkableAddress(key(1), SERVICE, True)
    assert network._all_addresses[peers[0].address] == WalkableAddress(b"", None, False)
    assert network.verified_peers == {peers[0]}
    assert network.get_walkable_addresses() == [address]
    assert network.is_new_style(address)
    assert not network.is_new_style(peers[0].address)
    assert not network.is_new_style(("9.9.9.9", 9))


def test_blacklisted_address_is_not_discovered_but_its_introducer_is(network: Network, peers: list[Peer]) -> None:
    network.blacklist.append(peers[1].address)
    network.discover_address(peers[0], peers[1].address)
    assert peers[1].address not in network._all_addresses
    assert network.verified_peers == {peers[0]}
    assert network.get_introductions_from(peers[0]) == []


def test_first_verified_introducer_stays(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], ("9.9.9.9", 9), SERVICE)
    network.discover_address(peers[1], ("9.9.9.9", 9), OTHER_SERVICE, True)
    assert network._all_addresses["9.9.9.9", 9] == WalkableAddress(key(1), SERVICE, False)
    assert network.get_introductions_from(peers[0]) == [("9.9.9.9", 9)]
    assert network.get_introductions_from(peers[1]) == []


def test_introducer_that_is_gone_is_replaced(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], ("9.9.9.9", 9), SERVICE)
    network.remove_peer(peers[0])
    network.discover_address(peers[1], ("9.9.9.9", 9), OTHER_SERVICE)
    assert network._all_addresses["9.9.9.9", 9].introduced_by == key(2)
    assert network.get_introductions_from(peers[0]) == []


def test_own_registration_is_replaced_by_an_introduction(network: Network, peers: list[Peer]) -> None:
    network.add_verified_peer(peers[0])
    network.discover_address(peers[1], peers[0].address, SERVICE)
    assert network._all_addresses[peers[0].address] == WalkableAddress(key(2), SERVICE, False)
    assert network.get_walkable_addresses() == []


def test_tracker_introductions_are_kept_once(network: Network, peers: list[Peer]) -> None:
    tracker = peers[0]
    network.blacklist.append(tracker.address)
    network.discover_services(tracker, [SERVICE])
    for _ in range(3):
        network.discover_address(tracker, ("9.9.9.9", 9))
        network.discover_address(tracker, ("8.8.8.8", 8), OTHER_SERVICE)
    assert network.verified_peers == set()
    assert network.get_introductions_from(tracker) == [("9.9.9.9", 9), ("8.8.8.8", 8)]
    assert network.reverse_intro_lookup == {tracker: [("9.9.9.9", 9), ("8.8.8.8", 8)]}
    assert sorted(network.get_walkable_addresses(SERVICE)) == [("8.8.8.8", 8), ("9.9.9.9", 9)]
    assert network.get_walkable_addresses(OTHER_SERVICE) == [("8.8.8.8", 8)]


def test_walkable_through_the_service_of_the_introducer(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], peers[1].address)
    assert network.get_walkable_addresses(SERVICE) == []
    network.discover_services(peers[0], [SERVICE])
    assert network.get_walkable_addresses(SERVICE) == [peers[1].address]
    assert network.get_walkable_addresses(OTHER_SERVICE) == []
    network.get_services_for_peer(peers[0]).discard(SERVICE)
    assert network.get_walkable_addresses(SERVICE) == []


def test_walkable_through_the_service_of_the_introduction(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], peers[1].address, SERVICE)
    assert network.get_walkable_addresses(SERVICE) == [peers[1].address]
    assert network.get_services_for_peer(peers[0]) == set(), "asking teaches nothing"


def test_address_of_a_verified_peer_is_walkable_for_other_services(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], peers[1].address, SERVICE)
    network.add_verified_peer(peers[1])
    assert network.get_walkable_addresses() == []
    assert network.get_walkable_addresses(SERVICE) == [peers[1].address]
    network.discover_services(peers[1], [SERVICE])
    assert network.get_walkable_addresses(SERVICE) == []


def test_all_addresses_of_verified_peers_are_in_use(network: Network) -> None:
    peer = make_peer(1, UDPv4Address("1.1.1.1", 1), UDPv4LANAddress("192.168.0.1", 2), UDPv6Address("1::1", 3))
    for address in peer.addresses.values():
        network.discover_address(make_peer(2), UDPv4Address(*address), SERVICE)
    assert len(network.get_walkable_addresses(SERVICE)) == 3
    network.add_verified_peer(peer)
    network.discover_services(peer, [SERVICE])
    assert network.get_walkable_addresses(SERVICE) == network.get_walkable_addresses() == []


def test_old_style_walkable_addresses(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], ("9.9.9.9", 9), SERVICE, True)
    network.discover_address(peers[0], ("8.8.8.8", 8), SERVICE, False)
    assert sorted(network.get_walkable_addresses(SERVICE)) == [("8.8.8.8", 8), ("9.9.9.9", 9)]
    assert network.get_walkable_addresses(SERVICE, old_style=True) == [("8.8.8.8", 8)]
    assert network.get_walkable_addresses(old_style=True) == [("8.8.8.8", 8)]


def test_walkable_addresses_keep_their_class(network: Network) -> None:
    introduced = UDPv4Address("192.168.0.1", 2)
    network.discover_address(make_peer(1), introduced, SERVICE)
    neighbour = make_peer(2, UDPv4Address("1.1.1.1", 1), UDPv4LANAddress(*introduced))
    network.add_verified_peer(neighbour)
    network.discover_services(neighbour, [SERVICE])
    del neighbour.addresses[UDPv4LANAddress]
    assert [type(address) for address in network.get_walkable_addresses(SERVICE)] == [UDPv4Address]


def test_left_over_lan_addresses_are_walked_to_as_ipv4(network: Network) -> None:
    peer = make_peer(1, UDPv4Address("1.1.1.1", 1), UDPv4LANAddress("192.168.0.1", 2))
    network.add_verified_peer(peer)
    network.remove_by_address(peer.address)
    assert network.get_walkable_addresses() == [("192.168.0.1", 2)]
    assert type(network.get_walkable_addresses()[0]) is UDPv4Address


def test_callers_may_edit_the_lists_they_get(network: Network, peers: list[Peer]) -> None:
    network.discover_services(peers[0], [SERVICE])
    network.discover_address(peers[0], ("9.9.9.9", 9), SERVICE)
    queries: list[Callable[[], list[Any]]] = [
        network.get_walkable_addresses, partial(network.get_walkable_addresses, SERVICE),
        partial(network.get_introductions_from, peers[0]), partial(network.get_peers_for_service, SERVICE),
    ]
    for query in queries:
        expected = list(query())
        query().clear()
        assert query() == expected
        query().append(("abc", 1))
        assert query() == expected


def test_introductions_follow_the_addresses(network: Network, peers: list[Peer]) -> None:
    for number in range(3):
        network.discover_address(peers[0], ("9.9.9.9", number))
    network.remove_by_address(("9.9.9.9", 0))
    network.discover_address(peers[0], ("9.9.9.9", 3))
    assert network.get_introductions_from(peers[0]) == [("9.9.9.9", 1), ("9.9.9.9", 2), ("9.9.9.9", 3)]


def test_introduction_cache_size(network: Network, peers: list[Peer]) -> None:
    network.reverse_intro_cache_size = 2
    for number, peer in enumerate(peers[:3]):
        network.discover_address(peer, ("9.9.9.9", number))
    assert list(network.reverse_intro_lookup) == peers[1:3]
    network.get_introductions_from(peers[1])
    network.get_introductions_from(peers[0])
    assert list(network.reverse_intro_lookup) == [peers[2], peers[0]], "a hit does not refresh"
    assert network.get_introductions_from(peers[1]) == [("9.9.9.9", 1)]


# Peers


def test_verified_peer(network: Network, peers: list[Peer]) -> None:
    network.add_verified_peer(peers[0])
    assert network.verified_peers == {peers[0]}
    assert network.verified_by_public_key_bin == {key(1): peers[0]}
    assert network.get_verified_by_public_key_bin(key(1)) is peers[0]
    assert network.get_verified_by_public_key_bin(key(2)) is None
    assert network.get_verified_by_address(peers[0].address) is peers[0]
    assert network._all_addresses == {peers[0].address: WalkableAddress(b"", None, False)}
    assert network.get_walkable_addresses() == []


def test_walkable_address_becomes_verified(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], peers[1].address, SERVICE)
    network.add_verified_peer(peers[1])
    assert network.get_walkable_addresses() == []
    assert network._all_addresses[peers[1].address].introduced_by == key(1)


def test_peer_without_address(network: Network) -> None:
    peer = Peer(key(1))
    network.add_verified_peer(peer)
    assert network.verified_peers == {peer}
    assert network._all_addresses == {}


def test_addresses_of_any_form(network: Network) -> None:
    peer = make_peer(1, ("abc", 0))
    network.discover_address(peer, ("def", 0), SERVICE)
    assert network.get_verified_by_address(("abc", 0)) is peer
    assert network.get_walkable_addresses() == [("def", 0)]
    network.unproven_peer_to_drop(SERVICE, 0)


def test_blacklisted_mid(network: Network, peers: list[Peer]) -> None:
    network.blacklist_mids.append(peers[0].mid)
    network.add_verified_peer(peers[0])
    network.discover_address(peers[0], peers[1].address)
    assert network.verified_peers == set()
    assert network.get_walkable_addresses() == [peers[1].address]


def test_blacklisted_address(network: Network, peers: list[Peer]) -> None:
    network.blacklist.append(peers[0].address)
    network.add_verified_peer(peers[0])
    assert network.verified_peers == set()
    assert network._all_addresses == {}
    network.blacklist.clear()
    network.add_verified_peer(peers[0])
    assert network.verified_peers == {peers[0]}


def test_one_blacklisted_address_of_two(network: Network) -> None:
    peer = make_peer(1, UDPv4Address("1.1.1.1", 1), UDPv6Address("1::1", 2))
    network.blacklist.append(("1::1", 2))
    network.add_verified_peer(peer)
    assert network.verified_peers == set()
    network.discover_address(make_peer(2), ("1.1.1.1", 1))
    network.add_verified_peer(peer)
    assert peer in network.verified_peers


def test_blacklists_are_lists_without_duplicates(network: Network) -> None:
    for _ in range(3):
        network.blacklist.append(("1.1.1.1", 1))
        network.blacklist.extend([("1.1.1.1", 1), ("2.2.2.2", 2)])
    assert network.blacklist == [("1.1.1.1", 1), ("2.2.2.2", 2)]
    assert isinstance(network.blacklist, list)
    network.blacklist += [UDPv4Address("3.3.3.3", 3)]
    assert ("3.3.3.3", 3) in network.blacklist
    network.blacklist.remove(("1.1.1.1", 1))
    assert ("1.1.1.1", 1) not in network.blacklist


def test_known_peer_learns_addresses(network: Network) -> None:
    known = make_peer(1, UDPv4Address("1.1.1.1", 1))
    network.add_verified_peer(known)
    network.add_verified_peer(make_peer(1, UDPv6Address("1::1", 2), UDPv4LANAddress("192.168.0.1", 3)))
    assert network.verified_peers == {known}
    assert known.addresses == {UDPv4Address: ("1.1.1.1", 1), UDPv6Address: ("1::1", 2),
                               UDPv4LANAddress: ("192.168.0.1", 3)}
    for address in known.addresses.values():
        assert network.get_verified_by_address(address) is known
    network.add_verified_peer(make_peer(1, UDPv4Address("5.5.5.5", 5)))
    assert network.get_verified_by_address(("5.5.5.5", 5)) is known
    assert network.get_verified_by_address(("1.1.1.1", 1)) is None
    assert ("1.1.1.1", 1) not in network.reverse_ip_lookup


def test_frozen_addresses_stay(network: Network) -> None:
    known = make_peer(1, UDPv4Address("1.1.1.1", 1))
    known.address_frozen = True
    network.add_verified_peer(known)
    network.add_verified_peer(make_peer(1, UDPv4Address("5.5.5.5", 5)))
    assert known.addresses == {UDPv4Address: ("1.1.1.1", 1)}
    assert network.get_verified_by_address(("5.5.5.5", 5)) is None


def test_address_changes_of_verified_peers_are_noticed(network: Network, peers: list[Peer]) -> None:
    other = Network()
    peer = peers[0]
    old = peer.address
    for view in (network, other):
        view.add_verified_peer(peer)
        view.discover_services(peer, [SERVICE])
        view.discover_address(peers[1], ("7.7.7.7", 7), SERVICE)
        assert view.get_verified_by_address(old) is peer
        assert view.get_walkable_addresses(SERVICE) == [("7.7.7.7", 7)]
    peer.address = UDPv4Address("7.7.7.7", 7)
    for view in (network, other):
        assert view.get_verified_by_address(("7.7.7.7", 7)) is peer
        assert view.get_verified_by_address(old) is None
        assert view.get_walkable_addresses(SERVICE) == []
        assert view.get_peers_for_service(SERVICE)[0].address == ("7.7.7.7", 7)
    other.remove_peer(peer)
    peer.addresses.update({UDPv6Address: UDPv6Address("1::1", 1)})
    assert network.get_verified_by_address(("1::1", 1)) is peer
    assert other.get_verified_by_address(("1::1", 1)) is None


def test_ip_cache_evicts_the_least_recently_used(network: Network, peers: list[Peer]) -> None:
    network.reverse_ip_cache_size = 2
    for peer in peers[:3]:
        network.add_verified_peer(peer)
    addresses = [peer.address for peer in peers]
    network.get_verified_by_address(addresses[0])
    network.get_verified_by_address(addresses[1])
    network.get_verified_by_address(addresses[0])
    network.get_verified_by_address(addresses[2])
    network.get_verified_by_address(addresses[4])
    assert list(network.reverse_ip_lookup) == [addresses[0], addresses[2]]
    network.reverse_ip_cache_size = 0
    assert network.get_verified_by_address(addresses[1]) is peers[1]


def test_contact_addresses_come_before_lan_aliases(network: Network) -> None:
    stranger = make_peer(1, UDPv4Address("1.1.1.1", 1), UDPv4LANAddress("192.168.0.1", 2))
    neighbour = make_peer(2, UDPv4Address("192.168.0.1", 2))
    network.add_verified_peer(stranger)
    assert network.get_verified_by_address(("192.168.0.1", 2)) is stranger
    network.add_verified_peer(neighbour)
    assert network.get_verified_by_address(("192.168.0.1", 2)) is neighbour
    network.remove_peer(neighbour)
    assert network.get_verified_by_address(("192.168.0.1", 2)) is stranger


def test_remove_by_address(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], peers[1].address, SERVICE)
    network.discover_services(peers[0], [SERVICE])
    assert network.get_peers_for_service(SERVICE) == [peers[0]]
    network.remove_by_address(peers[0].address)
    assert network.verified_peers == set()
    assert network.verified_by_public_key_bin == {}
    assert network.get_verified_by_address(peers[0].address) is None
    assert network.get_peers_for_service(SERVICE) == []
    assert network.get_services_for_peer(peers[0]) == set()
    assert network.get_walkable_addresses() == [peers[1].address]
    network.remove_by_address(peers[1].address)
    network.remove_by_address(("unknown", 0))
    assert network._all_addresses == {}


def test_remove_by_address_removes_all_who_share_it(network: Network) -> None:
    witness = Witness()
    sharing = [make_peer(number, UDPv4Address("1.1.1.1", 1)) for number in PEERS]
    for peer in sharing:
        network.add_verified_peer(peer)
    network.add_peer_observer(witness)
    network.remove_by_address(("1.1.1.1", 1))
    assert network.verified_peers == set()
    assert witness.events == [("removed", peer) for peer in sharing]


def test_remove_by_address_spares_strangers_with_that_lan_address(network: Network) -> None:
    lan = UDPv4LANAddress("192.168.0.1", 2)
    stranger = make_peer(1, UDPv4Address("1.1.1.1", 1), lan)
    neighbour = make_peer(2, UDPv4Address(*lan), lan)
    only_lan = make_peer(3, lan)
    for peer in (stranger, neighbour, only_lan):
        network.add_verified_peer(peer)
    network.remove_by_address(lan)
    assert network.verified_peers == {stranger}


def test_removed_peer_can_come_back(network: Network, peers: list[Peer]) -> None:
    for remove in (partial(network.remove_by_address, peers[0].address), partial(network.remove_peer, peers[0])):
        network.add_verified_peer(peers[0])
        network.discover_services(peers[0], [SERVICE])
        assert network.get_peers_for_service(SERVICE) == [peers[0]]
        assert network.get_verified_by_address(peers[0].address) is peers[0]
        remove()
        assert network.get_peers_for_service(SERVICE) == []
        assert network.get_verified_by_address(peers[0].address) is None
        assert network.reverse_ip_lookup == {}
    again = make_peer(1)
    network.add_verified_peer(again)
    assert network.get_verified_by_public_key_bin(key(1)) is again


def test_remove_peer(network: Network) -> None:
    known = make_peer(1, UDPv4Address("1.1.1.1", 1), UDPv6Address("1::1", 2))
    network.add_verified_peer(known)
    network.discover_address(make_peer(2), ("9.9.9.9", 9), SERVICE)
    network.remove_peer(make_peer(1, UDPv4Address("9.9.9.9", 9)))
    assert network.verified_peers == {make_peer(2)}
    assert list(network._all_addresses) == [make_peer(2).address]
    known.address = UDPv4Address("3.3.3.3", 3)
    assert network.get_verified_by_address(("3.3.3.3", 3)) is None, "it is not followed any more"


def test_remove_unknown_peer(network: Network, peers: list[Peer]) -> None:
    witness = Witness()
    network.add_peer_observer(witness)
    network.discover_services(peers[1], [SERVICE])
    network.discover_address(peers[0], peers[1].address)
    network.remove_peer(peers[1])
    assert network.get_walkable_addresses() == []
    assert network.verified_peers == {peers[0]}
    assert network.get_services_for_peer(peers[1]) == {SERVICE}
    assert witness.events == [("added", peers[0])]


def test_remove_peer_keeps_addresses_that_others_use(network: Network) -> None:
    first, second = make_peer(1, UDPv4Address("1.1.1.1", 1)), make_peer(2, UDPv4Address("1.1.1.1", 1))
    network.add_verified_peer(first)
    network.add_verified_peer(second)
    network.remove_peer(first)
    assert network.get_verified_by_address(("1.1.1.1", 1)) is second
    assert ("1.1.1.1", 1) in network._all_addresses


def test_observers(network: Network, peers: list[Peer]) -> None:
    witness = Witness()
    network.remove_peer_observer(witness)
    network.add_peer_observer(witness)
    network.add_peer_observer(witness)
    network.add_verified_peer(peers[0])
    network.add_verified_peer(make_peer(1))
    network.discover_address(peers[1], peers[2].address)
    network.remove_peer(peers[0])
    network.remove_peer(peers[0])
    network.remove_by_address(peers[1].address)
    assert witness.events == [("added", peers[0]), ("added", peers[1]), ("removed", peers[0]), ("removed", peers[1])]
    network.remove_peer_observer(witness)
    network.remove_peer_observer(witness)
    network.add_verified_peer(peers[3])
    assert len(witness.events) == 4


class Failing(PeerObserver):
    """An observer with a mistake."""

    def on_peer_added(self, peer: Peer) -> None:
        raise LookupError("added")

    def on_peer_removed(self, peer: Peer) -> None:
        raise LookupError("removed")


def test_observers_that_fail_stop_nothing(network: Network, peers: list[Peer],
                                          caplog: pytest.LogCaptureFixture) -> None:
    witness = Witness()
    for observer in (Failing(), witness, Failing()):
        network.add_peer_observer(observer)
    network.add_verified_peer(peers[0])
    network.add_verified_peer(peers[1])
    network.remove_peer(peers[0])
    network.remove_by_address(peers[1].address)
    assert witness.events == [("added", peers[0]), ("added", peers[1]), ("removed", peers[0]), ("removed", peers[1])]
    assert network.verified_peers == set()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "added"] * 4 + ["removed"] * 4


def test_observers_may_react(network: Network, peers: list[Peer]) -> None:
    class Bouncer(PeerObserver):
        def on_peer_added(self, peer: Peer) -> None:
            network.remove_peer(peer)

        def on_peer_removed(self, peer: Peer) -> None:
            network.remove_peer_observer(self)

    network.add_peer_observer(Bouncer())
    network.add_verified_peer(peers[0])
    network.add_verified_peer(peers[1])
    assert network.verified_peers == {peers[1]}


def test_the_set_of_verified_peers_may_be_edited(network: Network, peers: list[Peer]) -> None:
    network.discover_services(peers[0], [SERVICE])
    network.verified_peers.add(peers[0])
    assert network.get_verified_by_address(peers[0].address) is peers[0]
    assert network.get_peers_for_service(SERVICE) == [peers[0]]
    assert network.get_verified_by_public_key_bin(key(1)) is peers[0]
    network.verified_peers.clear()
    assert network.get_verified_by_address(peers[0].address) is None
    assert network.get_peers_for_service(SERVICE) == []
    assert network.get_services_for_peer(peers[0]) == {SERVICE}


def test_the_verified_peers_may_be_replaced(network: Network, peers: list[Peer]) -> None:
    network.add_verified_peer(peers[0])
    network.discover_services(peers[1], [SERVICE])
    network.verified_peers = {peers[1]}
    assert network.get_verified_by_address(peers[0].address) is None
    assert network.get_peers_for_service(SERVICE) == [peers[1]]
    network.verified_peers = set()
    assert network.get_peers_for_service(SERVICE) == []
    network.add_verified_peer(peers[1])
    assert network.get_peers_for_service(SERVICE) == [peers[1]]
    network.verified_peers |= {peers[2]}
    assert network.get_verified_by_public_key_bin(key(3)) is peers[2]


def test_the_peers_by_key_may_be_edited(network: Network, peers: list[Peer]) -> None:
    network.verified_by_public_key_bin[key(1)] = peers[0]
    assert network.verified_peers == {peers[0]}
    assert network.get_verified_by_address(peers[0].address) is peers[0]
    successor = make_peer(1, ("9.9.9.9", 9))
    network.verified_by_public_key_bin[key(1)] = successor
    assert network.get_verified_by_address(peers[0].address) is None
    assert network.get_verified_by_address(("9.9.9.9", 9)) is successor
    network.verified_by_public_key_bin.clear()
    network.verified_peers.clear()
    assert network.verified_peers == set()
    network.verified_by_public_key_bin = {key(2): peers[1]}
    network.verified_by_public_key_bin |= {}
    assert network.verified_peers == {peers[1]}


def test_a_peer_under_a_wrong_key_is_verified_under_its_own(network: Network, peers: list[Peer]) -> None:
    network.verified_by_public_key_bin[b"wrong"] = peers[0]
    assert network.get_verified_by_public_key_bin(key(1)) is peers[0]
    network.verified_by_public_key_bin[b"wrong too"] = peers[0]
    del network.verified_by_public_key_bin[b"wrong"]
    del network.verified_by_public_key_bin[b"wrong too"]
    assert network.verified_peers == {peers[0]}
    peers[0].address = UDPv4Address("9.9.9.9", 9)
    assert network.get_verified_by_address(("9.9.9.9", 9)) is peers[0]
    network.remove_peer(peers[0])
    assert network.verified_peers == set()
    assert network.verified_by_public_key_bin == {}


def test_the_services_per_peer_may_be_edited(network: Network, peers: list[Peer]) -> None:
    network.add_verified_peer(peers[0])
    network.services_per_peer[key(1)] = {SERVICE}
    assert network.get_peers_for_service(SERVICE) == [peers[0]]
    network.services_per_peer[key(1)] |= {OTHER_SERVICE}
    assert network.get_peers_for_service(OTHER_SERVICE) == [peers[0]]
    network.services_per_peer.clear()
    assert network.get_peers_for_service(SERVICE) == []
    network.services_per_peer = {key(1): {OTHER_SERVICE}}
    network.services_per_peer |= {}
    assert network.get_peers_for_service(OTHER_SERVICE) == [peers[0]]


def test_the_known_addresses_may_be_edited(network: Network, peers: list[Peer]) -> None:
    network.discover_services(peers[0], [SERVICE])
    assert network.get_walkable_addresses(SERVICE) == []
    network._all_addresses["9.9.9.9", 9] = WalkableAddress(key(1), None, False)
    network._all_addresses.update({("8.8.8.8", 8): WalkableAddress(b"", SERVICE, True)})
    assert network.get_walkable_addresses(SERVICE) == network.get_walkable_addresses() == [("9.9.9.9", 9),
                                                                                          ("8.8.8.8", 8)]
    assert network.get_walkable_addresses(old_style=True) == [("9.9.9.9", 9)]
    assert network.get_introductions_from(peers[0]) == [("9.9.9.9", 9)]
    network._all_addresses.pop(("9.9.9.9", 9))
    assert network.get_walkable_addresses(SERVICE) == [("8.8.8.8", 8)]
    network._all_addresses.clear()
    assert network.get_walkable_addresses() == []
    network._all_addresses = {("7.7.7.7", 7): WalkableAddress(b"", None, False)}
    network._all_addresses |= {}
    assert network.get_walkable_addresses() == [("7.7.7.7", 7)]


# Services


def test_peer_with_a_service_shows_once_it_is_verified(network: Network, peers: list[Peer]) -> None:
    network.discover_services(peers[0], [SERVICE])
    assert network.get_peers_for_service(SERVICE) == []
    network.add_verified_peer(peers[0])
    assert network.get_peers_for_service(SERVICE) == [peers[0]]
    assert network.get_peers_for_service(OTHER_SERVICE) == []


def test_services_accumulate(network: Network, peers: list[Peer]) -> None:
    network.discover_services(peers[0], [SERVICE])
    network.discover_services(make_peer(1), iter([OTHER_SERVICE, SERVICE]))
    assert network.get_services_for_peer(peers[0]) == {SERVICE, OTHER_SERVICE}
    assert network.services_per_peer == {key(1): {SERVICE, OTHER_SERVICE}}
    assert network.get_services_for_peer(peers[1]) == set()
    assert key(2) not in network.services_per_peer


def test_the_set_of_services_may_be_edited(network: Network, peers: list[Peer]) -> None:
    network.add_verified_peer(peers[0])
    network.discover_services(peers[0], [SERVICE])
    services = network.get_services_for_peer(peers[0])
    services.add(OTHER_SERVICE)
    assert network.get_peers_for_service(OTHER_SERVICE) == [peers[0]]
    services.remove(SERVICE)
    assert network.get_peers_for_service(SERVICE) == []
    network.remove_peer(peers[0])
    services.add(SERVICE)
    network.add_verified_peer(peers[0])
    assert network.get_peers_for_service(SERVICE) == [], "what was handed out before the removal counts no more"


def test_the_stored_peer_is_returned(network: Network) -> None:
    known = make_peer(1, UDPv4Address("1.1.1.1", 1))
    network.add_verified_peer(known)
    network.get_peers_for_service(SERVICE)
    network.discover_services(make_peer(1, UDPv4Address("2.2.2.2", 2)), [SERVICE])
    assert network.get_peers_for_service(SERVICE)[0] is known
    network.add_verified_peer(make_peer(1, UDPv4Address("3.3.3.3", 3)))
    assert network.get_peers_for_service(SERVICE)[0].address == ("3.3.3.3", 3)


def test_list_of_peers_grows_but_does_not_shrink(network: Network, peers: list[Peer]) -> None:
    listed = network.get_peers_for_service(SERVICE)
    for peer in peers[:3]:
        network.add_verified_peer(peer)
        network.discover_services(peer, [SERVICE])
    assert listed == peers[:3]
    assert network.get_peers_for_service(SERVICE) is listed
    network.remove_peer(peers[1])
    assert listed == peers[:3], "who iterates over it is not disturbed"
    assert network.get_peers_for_service(SERVICE) == [peers[0], peers[2]]


def test_service_cache_size(network: Network, peers: list[Peer]) -> None:
    network.reverse_service_cache_size = 1
    network.add_verified_peer(peers[0])
    network.discover_services(peers[0], [SERVICE, OTHER_SERVICE])
    assert network.reverse_service_lookup == {}
    network.get_peers_for_service(SERVICE)
    network.get_peers_for_service(OTHER_SERVICE)
    assert network.reverse_service_lookup == {OTHER_SERVICE: [peers[0]]}
    network.reverse_service_cache_size = 2
    network.get_peers_for_service(SERVICE)
    network.get_peers_for_service(OTHER_SERVICE)
    assert list(network.reverse_service_lookup) == [SERVICE, OTHER_SERVICE]
    network.get_peers_for_service(SERVICE)
    assert list(network.reverse_service_lookup) == [OTHER_SERVICE, SERVICE]


def test_service_provider(network: Network) -> None:
    overlay: Any = object()
    network.register_service_provider(SERVICE, overlay)
    assert network.service_overlays == {SERVICE: overlay}


# Proven peers


def test_unproven_peers_make_room(network: Network, manual_clock: Any) -> None:
    assert network.unproven_peer_to_drop(SERVICE, 0) is None
    single = make_peer(1, UDPv4Address("9.9.9.9", 1))
    others = [make_peer(number, UDPv4Address(f"1.2.3.{number}", 1)) for number in range(2, 5)]
    for peer in [single, *others]:
        network.add_verified_peer(peer)
        network.discover_services(peer, [SERVICE])
    assert network.unproven_peer_to_drop(SERVICE, 0) is None, "nobody is older than now"
    manual_clock.advance(10)
    assert network.unproven_peer_to_drop(SERVICE, 5) is others[0]
    assert network.unproven_peer_to_drop(SERVICE, 10) is None
    assert network.unproven_peer_to_drop(OTHER_SERVICE, 5) is None
    assert network.count_neighbors(SERVICE, ("1.2.3.77", 5)) == 3

    network.mark_proven(make_peer(2))
    assert others[0].proven
    assert network.unproven_peer_to_drop(SERVICE, 5) is others[1]
    others[1].proven = True
    assert network.unproven_peer_to_drop(SERVICE, 5) in (single, others[2])
    network.remove_peer(others[2])
    assert network.unproven_peer_to_drop(SERVICE, 5) is single
    network.mark_proven(single)
    network.mark_proven(single)
    assert network.unproven_peer_to_drop(SERVICE, 5) is None


def test_proven_is_remembered_by_the_peer(network: Network, peers: list[Peer], manual_clock: Any) -> None:
    network.mark_proven(peers[0])
    network.add_verified_peer(peers[0])
    network.discover_services(peers[0], [SERVICE])
    manual_clock.advance(10)
    assert network.unproven_peer_to_drop(SERVICE, 5) is None


def test_setting_the_wall_clock_does_not_age_peers(network: Network, manual_clock: Any) -> None:
    old = make_peer(1)
    network.add_verified_peer(old)
    network.discover_services(old, [SERVICE])
    manual_clock.step_wall(3600)
    assert network.unproven_peer_to_drop(SERVICE, 5) is None
    manual_clock.step_wall(-7200)
    manual_clock.advance(10)
    newcomer = make_peer(2)
    network.add_verified_peer(newcomer)
    network.discover_services(newcomer, [SERVICE])
    assert network.unproven_peer_to_drop(SERVICE, 5) is old


# Neighborhoods


class LimitedOverlay:
    def __init__(self, max_peers: int) -> None:
        self.max_peers = max_peers


def arrive(network: Network, host: str, number: int = 1, services: Any = (SERVICE,)) -> Peer:
    peer = make_peer(int.from_bytes(f"{host}:{number}".encode(), "big"), UDPv4Address(host, number))
    network.add_verified_peer(peer)
    network.discover_services(peer, services)
    return peer


def limited(network: Network, max_peers: int, service: bytes = SERVICE) -> Network:
    overlay: Any = LimitedOverlay(max_peers)
    network.register_service_provider(service, overlay)
    return network


def test_one_subnet_does_not_take_all_places(network: Network) -> None:
    limited(network, 12)
    for number in range(1, 100):
        arrive(network, f"1.2.3.{number}")
    early = len(network.verified_peers)
    assert early == len(network.get_peers_for_service(SERVICE)) == 10
    assert network.count_neighbors(SERVICE, ("1.2.3.200", 1)) == 10
    assert network.count_surplus_peers(SERVICE) == 10 - FAIR_SHARE
    assert not network.services_per_peer.keys() - {peer.key_bin for peer in network.verified_peers}
    for number in range(1, 100):
        arrive(network, f"{number}.9.9.9")
        arrive(network, f"1.2.3.{number}", 2)
    assert network.count_surplus_peers(SERVICE) == 0
    assert network.count_neighbors(SERVICE, ("1.2.3.200", 1)) == FAIR_SHARE
    assert len(network.verified_peers) == 99 + FAIR_SHARE, "how many peers there may be is up to the overlay"


def test_surplus_peers_stay_while_there_is_room(network: Network) -> None:
    limited(network, 12)
    hosts = [arrive(network, f"1.2.3.{number}") for number in range(1, 8)]
    surplus = [arrive(network, f"7.7.7.{number}") for number in range(1, 4)]
    assert network.get_peers_for_service(SERVICE) == [*hosts, *surplus]
    newcomer = arrive(network, "9.9.9.9")
    assert network.get_peers_for_service(SERVICE) == [*hosts[:6], *surplus, newcomer], "the newest of the most go first"
    arrive(network, "1.2.3.99")
    assert network.get_peers_for_service(SERVICE) == [*hosts[:6], *surplus, newcomer]


@pytest.mark.parametrize("host", ["127.0.0.1", "192.168.1.1", "10.0.0.1"])
def test_nodes_of_one_machine_or_network_are_no_surplus(network: Network, host: str) -> None:
    limited(network, 12)
    for number in range(1, 41):
        arrive(network, host, number)
    assert len(network.verified_peers) == 40
    assert network.count_surplus_peers(SERVICE) == 0


def test_without_a_limit_all_may_come_from_anywhere(network: Network) -> None:
    limited(network, -1)
    for number in range(1, 41):
        arrive(network, "1.2.3.4", number, [SERVICE, OTHER_SERVICE])
    assert len(network.get_peers_for_service(SERVICE)) == len(network.get_peers_for_service(OTHER_SERVICE)) == 40
    assert network.has_room_for(SERVICE, ("1.2.3.4", 1))
    assert network.has_room_for(OTHER_SERVICE, ("1.2.3.4", 1))


def test_a_surplus_peer_stays_in_other_overlays(network: Network) -> None:
    limited(limited(network, 6), -1, OTHER_SERVICE)
    peers = [arrive(network, "1.2.3.4", number, [SERVICE, OTHER_SERVICE]) for number in range(1, 11)]
    assert network.get_peers_for_service(OTHER_SERVICE) == peers
    assert network.get_peers_for_service(SERVICE) == peers[:5]


def test_who_is_not_admitted_does_not_come_in_with_an_introduction(network: Network) -> None:
    limited(network, 6)
    for number in range(1, 11):
        peer = arrive(network, "1.2.3.4", number)
        network.discover_address(peer, ("8.8.8.8", number), SERVICE)
    assert len(network.verified_peers) == 5
    assert network.get_walkable_addresses(SERVICE) == [("8.8.8.8", number) for number in range(1, 11)]
    outsider = make_peer(77, UDPv4Address("9.9.9.9", 1))
    network.discover_address(outsider, ("8.8.8.8", 77), SERVICE)
    assert outsider in network.verified_peers


def test_surplus_peers_make_room_for_others(network: Network, manual_clock: Any) -> None:
    surplus = [arrive(network, f"1.2.3.{number}") for number in range(1, 5)]
    for peer in surplus:
        network.mark_proven(peer)
    single = arrive(network, "9.9.9.9")
    manual_clock.advance(10)
    assert network.unproven_peer_to_drop(SERVICE, 5) is surplus[3]
    for peer in surplus[FAIR_SHARE:]:
        network.remove_peer(peer)
    assert network.unproven_peer_to_drop(SERVICE, 5) is single


def test_where_a_peer_is_counts_from_its_proof_on(network: Network) -> None:
    liar = arrive(network, "9.9.9.9")
    assert network.count_neighbors(SERVICE, ("9.9.9.1", 1)) == 1
    network.add_verified_peer(Peer(liar.key_bin, UDPv4Address("1.2.3.4", 1)))
    assert network.count_neighbors(SERVICE, ("9.9.9.1", 1)) == 1
    network.mark_proven(liar)
    assert network.count_neighbors(SERVICE, ("9.9.9.1", 1)) == 0
    assert network.count_neighbors(SERVICE, ("1.2.3.1", 1)) == 1


def test_drawing_peers(network: Network) -> None:
    assert network.draw_peer(SERVICE) is None
    peer = arrive(network, "9.9.9.9")
    assert network.draw_peer(SERVICE) is peer
    assert network.draw_peer(OTHER_SERVICE) is None


# Snapshots


def test_snapshot_vectors(network: Network) -> None:
    for number, entry in enumerate(MISC["snapshot_entries"]):
        kind, ip, port = entry["address"]
        network.add_verified_peer(make_peer(number, getattr(address_classes, kind)(ip, port)))
    snapshot = network.snapshot()
    assert snapshot == b"".join(bytes.fromhex(entry["hex"]) for entry in MISC["snapshot_entries"])

    other = Network()
    other.load_snapshot(snapshot)
    assert other.get_walkable_addresses() == [tuple(entry["address"][1:]) for entry in MISC["snapshot_entries"]]
    assert set(other._all_addresses.values()) == {WalkableAddress(b"", None, False)}
    assert other.verified_peers == set()


def test_snapshot_leaves_out_who_has_no_address(network: Network) -> None:
    network.add_verified_peer(Peer(key(1)))
    network.add_verified_peer(make_peer(2, ("no address at all", 1 << 20)))
    network.add_verified_peer(make_peer(3, DomainAddress("example.org", 5)))
    network.add_verified_peer(make_peer(4, RelayedAddress("2001:21::1", 1)))
    assert network.snapshot() == b"\x02\x00\x0bexample.org\x00\x05"


def test_truncated_snapshot(network: Network) -> None:
    network.load_snapshot(bytes.fromhex("0101020304000a" "0105060708"))
    assert network.get_walkable_addresses() == [("1.2.3.4", 10)]


def test_snapshot_does_not_replace_what_is_known(network: Network, peers: list[Peer]) -> None:
    network.discover_address(peers[0], UDPv4Address("1.2.3.4", 10), SERVICE)
    network.load_snapshot(bytes.fromhex("0101020304000a"))
    assert network._all_addresses["1.2.3.4", 10].introduced_by == key(1)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\x01", b"\x02\x00\x02", b"\x03", bytes(16)]))))
def test_no_snapshot_raises(parts: list[bytes]) -> None:
    Network().load_snapshot(b"".join(parts))


# Caps


def test_oldest_unused_addresses_are_forgotten(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_book, "MAX_ADDRESSES", 10)
    monkeypatch.setattr(address_book, "RESERVED_ADDRESSES", 3)
    introducer = make_peer(1)
    network.discover_address(introducer, ("9.9.9.9", 0))
    used = make_peer(2, ("9.9.9.9", 0))
    network.add_verified_peer(used)
    for number in range(1, 30):
        network.discover_address(introducer, ("9.9.9.9", number))
    assert len(network._all_addresses) == 10
    assert network.get_walkable_addresses() == [("9.9.9.9", number) for number in range(22, 30)]
    assert introducer.address in network._all_addresses
    assert used.address in network._all_addresses

    network.discover_address(introducer, ("9.9.9.9", 22))
    network.discover_address(introducer, ("9.9.9.9", 30))
    assert ("9.9.9.9", 22) in network.get_walkable_addresses(), "it was told again"
    assert ("9.9.9.9", 23) not in network.get_walkable_addresses()


def test_some_addresses_are_walkable_however_many_are_used(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_book, "MAX_ADDRESSES", 10)
    monkeypatch.setattr(address_book, "RESERVED_ADDRESSES", 3)
    for number in range(1, 20):
        network.add_verified_peer(make_peer(number))
    for number in range(5):
        network.discover_address(make_peer(1), ("9.9.9.9", number))
    assert network.get_walkable_addresses() == [("9.9.9.9", number) for number in range(2, 5)]
    assert len(network._all_addresses) == 22


def test_one_introducer_does_not_displace_others(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_book, "MAX_INTRODUCTIONS", 3)
    network.discover_address(make_peer(1), ("8.8.8.8", 8))
    network.discover_address(make_peer(2), ("9.9.9.9", 0))
    network.add_verified_peer(make_peer(3, ("9.9.9.9", 0)))
    for number in range(1, 10):
        network.discover_address(make_peer(2), ("9.9.9.9", number))
    assert network.get_introductions_from(make_peer(1)) == [("8.8.8.8", 8)]
    assert network.get_introductions_from(make_peer(2)) == [("9.9.9.9", 0), ("9.9.9.9", 8), ("9.9.9.9", 9)]


def test_used_introductions_do_not_count(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_book, "MAX_INTRODUCTIONS", 1)
    for number in range(3):
        network.add_verified_peer(make_peer(number + 2, ("9.9.9.9", number)))
        network.discover_address(make_peer(1), ("9.9.9.9", number))
    assert len(network.get_introductions_from(make_peer(1))) == 3


def test_services_of_a_peer_are_limited(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "MAX_SERVICES_PER_PEER", 3)
    overlay: Any = object()
    network.register_service_provider(SERVICE, overlay)
    network.discover_services(make_peer(1), [b"%d" % number for number in range(10)])
    network.discover_services(make_peer(1), [OTHER_SERVICE, SERVICE])
    assert network.get_services_for_peer(make_peer(1)) == {b"0", b"1", b"2", SERVICE}


def test_services_of_unverified_peers_are_limited(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_module, "MAX_UNVERIFIED_SERVICES", 10)
    verified = make_peer(1)
    network.add_verified_peer(verified)
    network.discover_services(verified, [SERVICE])
    tracker = make_peer(2)
    network.discover_services(tracker, [SERVICE, OTHER_SERVICE])
    for number in range(3, 30):
        network.discover_services(make_peer(number), [SERVICE, OTHER_SERVICE] if number % 2 else [])
        network.discover_services(tracker, [SERVICE])
    unverified = {key: services for key, services in network.services_per_peer.items() if key != verified.key_bin}
    assert sum(max(1, len(services)) for services in unverified.values()) <= 10
    assert network.get_services_for_peer(verified) == {SERVICE}
    assert network.get_services_for_peer(tracker) == {SERVICE, OTHER_SERVICE}, "it was heard of again and again"
    assert network.get_services_for_peer(make_peer(29)) == {SERVICE, OTHER_SERVICE}


def test_forgotten_services_make_introductions_unwalkable(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_module, "MAX_UNVERIFIED_SERVICES", 2)
    tracker = make_peer(1)
    network.blacklist.append(tracker.address)
    network.discover_services(tracker, [SERVICE])
    network.discover_address(tracker, ("9.9.9.9", 9))
    network.discover_address(tracker, ("8.8.8.8", 8), SERVICE)
    assert len(network.get_walkable_addresses(SERVICE)) == 2
    network.discover_services(make_peer(2), [SERVICE, OTHER_SERVICE])
    assert network.get_walkable_addresses(SERVICE) == [("8.8.8.8", 8)]


def test_any_number_of_services_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, manual_clock: Any) -> None:
    monkeypatch.setattr(address_book, "MAX_TRACKED_SERVICES", 2)
    monkeypatch.setattr(neighborhoods_module, "MAX_TRACKED_SERVICES", 2)
    network = Network()
    services = [b"%d" % number for number in range(5)]
    for number, service in enumerate(services, 1):
        peer = make_peer(number)
        network.add_verified_peer(peer)
        network.discover_services(peer, [service])
        network.discover_address(peer, ("9.9.9.9", number))
    manual_clock.advance(10)
    for _ in range(2):
        for number, service in enumerate(services, 1):
            assert network.get_walkable_addresses(service) == [("9.9.9.9", number)]
            assert network.unproven_peer_to_drop(service, 5) == make_peer(number)


class TestLeavingAnOverlay:
    def test_nothing_of_it_is_left(self) -> None:
        network = Network()
        left: Any = object()
        kept: Any = object()
        network.register_service_provider(SERVICE, left)
        network.register_service_provider(OTHER_SERVICE, kept)
        both, only = (Peer(b"LibNaCLPK:" + bytes(63) + bytes([n]), UDPv4Address("1.2.3.4", n)) for n in (1, 2))
        for peer in (both, only):
            network.add_verified_peer(peer)
            network.discover_services(peer, [SERVICE])
        network.discover_services(both, [OTHER_SERVICE])
        network.discover_address(both, UDPv4Address("5.6.7.8", 9), SERVICE)
        network.get_walkable_addresses(SERVICE)
        network.get_peers_for_service(SERVICE)

        network.unregister_service_provider(SERVICE, left)

        assert network.service_overlays == {OTHER_SERVICE: kept}
        assert network.verified_peers == {both}
        assert network.get_services_for_peer(both) == {OTHER_SERVICE}
        assert UDPv4Address("5.6.7.8", 9) not in network._all_addresses
        assert SERVICE not in network.reverse_service_lookup
        assert network.get_peers_for_service(SERVICE) == []

    def test_the_last_overlay_leaves_its_peers(self) -> None:
        network = Network()
        overlay: Any = object()
        network.register_service_provider(SERVICE, overlay)
        peer = Peer(b"LibNaCLPK:" + bytes(64), UDPv4Address("1.2.3.4", 5))
        network.add_verified_peer(peer)
        network.discover_services(peer, [SERVICE])
        network.unregister_service_provider(SERVICE, overlay)
        assert network.verified_peers == {peer}
        assert network.get_services_for_peer(peer) == set()

    def test_overlays_one_after_another_leave_no_peers(self) -> None:
        network = Network()
        known = Peer(b"LibNaCLPK:" + bytes(63) + b"\x01", UDPv4Address("1.2.3.4", 1))
        network.add_verified_peer(known)  # by a program, before there was an overlay
        for number in range(2, 10):
            overlay: Any = object()
            service = bytes(19) + bytes([number])
            network.register_service_provider(service, overlay)
            assert network.verified_peers == {known}
            peer = Peer(b"LibNaCLPK:" + bytes(63) + bytes([number]), UDPv4Address("1.2.3.4", number))
            network.add_verified_peer(peer)
            network.discover_services(peer, [service])
            network.unregister_service_provider(service, overlay)
            assert network.verified_peers == {known, peer}

    def test_another_overlay_with_the_same_id_stays(self) -> None:
        network = Network()
        first: Any = object()
        second: Any = object()
        network.register_service_provider(SERVICE, first)
        network.register_service_provider(SERVICE, second)
        network.unregister_service_provider(SERVICE, first)
        assert network.service_overlays == {SERVICE: second}


def test_peers_are_found_by_their_mid(peers: list[Peer]) -> None:
    network = Network()
    assert network.get_verified_by_mid(peers[0].mid) is None
    for peer in peers[:2]:
        network.add_verified_peer(peer)
    assert network.get_verified_by_mid(peers[0].mid) is peers[0]
    assert network.get_verified_by_mid(peers[1].mid[:12]) is peers[1]
    assert network.get_verified_by_mid(peers[1].mid[:12] + bytes(8)) is None
    network.remove_peer(peers[0])
    assert network.get_verified_by_mid(peers[0].mid) is None
    network.verified_peers = {peers[0]}
    assert network.get_verified_by_mid(peers[0].mid) is peers[0]
    assert network.get_verified_by_mid(peers[1].mid) is None
    del network.verified_by_public_key_bin[peers[0].key_bin]
    assert network.get_verified_by_mid(peers[0].mid) is None


def test_who_says_to_be_in_a_full_overlay_is_not(peers: list[Peer]) -> None:
    class Full:
        max_peers = 0

    network, overlay = Network(), Full()
    network.register_service_provider(SERVICE, overlay)  # type: ignore[arg-type]  # all that is looked at
    network.discover_services(peers[1], [SERVICE, OTHER_SERVICE])
    for peer in peers[:2]:
        network.add_verified_peer(peer)
        if peer is peers[0]:
            network.discover_services(peer, [SERVICE])
    assert network.get_peers_for_service(SERVICE) == [peers[0]]
    assert network.get_peers_for_service(OTHER_SERVICE) == [peers[1]]
    network.discover_services(peers[1], [SERVICE])
    assert network.get_peers_for_service(SERVICE) == peers[:2], "unless the overlay itself says so"
