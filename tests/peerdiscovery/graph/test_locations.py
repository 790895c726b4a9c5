"""Peers by address."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.graph.locations import PeerLocations, PeersByAddress

HOME, LAN, SIX = UDPv4Address("1.1.1.1", 1), UDPv4LANAddress("192.168.0.1", 2), UDPv6Address("1::1", 3)


class Moves(list[tuple[Peer, list[Any], list[Any]]]):
    def __call__(self, peer: Peer, old: list[Any], new: list[Any]) -> None:
        self.append((peer, old, new))


@pytest.fixture
def moves() -> Moves:
    return Moves()


@pytest.fixture
def locations(moves: Moves) -> PeerLocations:
    return PeerLocations(moves)


def make_peer(number: int, *addresses: Any) -> Peer:
    peer = Peer(b"LibNaCLPK:" + number.to_bytes(64, "big"))
    for address in addresses:
        peer.address = address
    return peer


def test_peers_come_and_go(locations: PeerLocations, moves: Moves) -> None:
    peer = make_peer(1, HOME, LAN)
    assert peer.key_bin not in locations
    assert locations.addresses(peer) == []
    locations.add(peer)
    assert peer.key_bin in locations
    assert locations.addresses(peer) == [HOME, LAN]
    assert (locations.contacts, locations.lan) == ({HOME: peer}, {LAN: peer})
    assert locations.remove(peer.key_bin) is peer
    assert (locations.contacts, locations.lan) == ({}, {})
    assert moves == [(peer, [], [HOME, LAN]), (peer, [HOME, LAN], [])]
    with pytest.raises(KeyError):
        locations.remove(peer.key_bin)


def test_moves_are_followed_until_the_peer_is_removed(locations: PeerLocations, moves: Moves) -> None:
    peer = make_peer(1, HOME)
    locations.add(peer)
    peer.address = SIX
    peer.addresses.pop(UDPv4Address)
    peer.addresses.update({})
    locations.remove(peer.key_bin)
    peer.address = HOME
    assert [(old, new) for _, old, new in moves] == [([], [HOME]), ([], [SIX]), ([HOME], []), ([SIX], [])]


def test_equal_addresses_of_two_classes_are_one_contact(locations: PeerLocations, moves: Moves) -> None:
    peer = make_peer(1, HOME, tuple(HOME), UDPv4LANAddress(*HOME))
    locations.add(peer)
    assert locations.addresses(peer) == [HOME, HOME], "as a contact and in the LAN"
    assert moves == [(peer, [], [HOME, HOME])]


def test_contacts_are_not_those_with_the_address_in_their_lan(locations: PeerLocations) -> None:
    stranger, neighbor = make_peer(1, HOME, LAN), make_peer(2, UDPv4Address(*LAN), LAN)
    only_lan = Peer(make_peer(3).key_bin, LAN)
    for peer in (stranger, neighbor, only_lan):
        locations.add(peer)
    assert locations.contacted_at(LAN) == [neighbor, only_lan]
    assert locations.contacted_at(SIX) == []


def test_shared_addresses(locations: PeerLocations) -> None:
    first, second = make_peer(1, HOME), make_peer(2, SIX, UDPv4LANAddress(*HOME))
    locations.add(first)
    assert not locations.is_shared(HOME, first)
    assert locations.is_shared(HOME, None)
    locations.add(second)
    assert locations.is_shared(HOME, first)
    assert not locations.is_shared(SIX, second)


def test_several_peers_at_one_address() -> None:
    peers = PeersByAddress()
    members = [make_peer(number) for number in range(4)]
    for number, peer in enumerate(members):
        assert list(peers.at(HOME)) == members[:number]
        peers.add(HOME, peer)
    assert list(peers.at(HOME)) == members
    for peer in (members[0], members[2], members[3]):
        peers.remove(HOME, peer)
    assert list(peers.at(HOME)) == [members[1]]
    peers.add(HOME, members[0])
    peers.remove(HOME, members[1])
    peers.remove(HOME, members[0])
    assert list(peers.at(HOME)) == []
    assert peers == {}
