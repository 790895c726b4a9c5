"""The address book without a network."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress
from ipv8.peer import Peer
from ipv8.peerdiscovery.graph import addresses as module
from ipv8.peerdiscovery.graph.addresses import NOT_INTRODUCED, AddressBook, WalkableAddress

S, T = b"s" * 20, b"t" * 20
A, B, C, D = (("1.1.1.1", port) for port in (1, 2, 3, 4))
PEER = Peer(b"LibNaCLPK:" + bytes(64))


class World:
    """The peers and services that an address book asks about."""

    def __init__(self) -> None:
        self.services: dict[bytes, set[bytes]] = {}
        self.peers: dict[bytes, list[Peer]] = {}
        self.addresses: list[Any] = []
        self.book = AddressBook(lambda key: self.services.get(key, ()), lambda service: self.peers.get(service, ()),
                                lambda _: self.addresses)


@pytest.fixture
def world() -> World:
    return World()


def by(introducer: bytes, service: bytes | None = None) -> WalkableAddress:
    return WalkableAddress(introducer, service, False)


def test_records_are_indexed_by_introducer(world: World) -> None:
    book = world.book
    book.remember(A, by(b"x"))
    book.remember(B, by(b"x"))
    book.remember(C, NOT_INTRODUCED)
    listed = book.introductions(b"x")
    assert listed == [A, B]
    book.remember(D, by(b"x"))
    assert book.introductions(b"x") is listed
    assert listed == [A, B, D]
    book.remember(A, by(b"y"))
    book.forget(B)
    book.forget(B)
    assert book.introductions(b"x") == [D]
    assert book.introductions(b"y") == [A]
    assert book.introductions(b"z") == []


def test_lan_addresses_are_remembered_as_contacts(world: World) -> None:
    world.book.remember(UDPv4LANAddress("192.168.0.1", 1), NOT_INTRODUCED)
    (address,) = world.book.records
    assert type(address) is UDPv4Address


@pytest.mark.parametrize("asked_before", [True, False])
def test_walkable_addresses_of_a_service(world: World, asked_before: bool) -> None:
    book = world.book
    if asked_before:
        assert book.walkable(S).to_list() == []
    world.services[b"x"] = {S}
    book.start_service(b"x", S)
    book.remember(A, by(b"x"))
    book.remember(B, by(b"y", S))
    book.remember(C, by(b"y", T))
    assert book.walkable(S).to_list() == [A, B]
    assert book.unused.to_list() == [A, B, C]
    world.services[b"y"] = {S}
    book.start_service(b"y", S)
    assert book.walkable(S).to_list() == [A, B, C]
    world.services.clear()
    book.stop_service(b"x", S)
    book.stop_service(b"y", S)
    assert book.walkable(S).to_list() == [B]


@pytest.mark.parametrize("asked_before", [True, False])
def test_addresses_of_verified_peers_are_not_walkable(world: World, asked_before: bool) -> None:
    book = world.book
    for address in (A, B):
        book.remember(address, by(b"x", S))
    if asked_before:
        book.walkable(S)
    world.addresses = [A]
    book.move(PEER, [], [A])
    assert book.unused.to_list() == [B]
    assert book.walkable(S).to_list() == [A, B], "the peer does not offer the service"
    world.peers[S], world.services[PEER.key_bin] = [PEER], {S}
    book.start_use(PEER, S)
    assert book.walkable(S).to_list() == [B]
    world.addresses = [B]
    book.move(PEER, [A], [B])
    assert book.walkable(S).to_list() == book.unused.to_list() == [A]
    world.peers.clear()
    book.stop_use(PEER, S)
    assert book.walkable(S).to_list() == [A, B]


def test_the_oldest_unused_address_is_evicted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 3)
    monkeypatch.setattr(module, "RESERVED_ADDRESSES", 1)
    book = world.book
    book.remember(A, NOT_INTRODUCED)
    book.move(PEER, [], [A])
    for address in (B, C, D):
        book.remember(address, NOT_INTRODUCED)
    assert list(book.records) == [A, C, D]
    book.move(PEER, [], [C, D])
    book.remember(B, NOT_INTRODUCED)
    assert list(book.records) == [A, C, D, B], "the reserve"
    book.move(PEER, [A], [])
    assert list(book.records) == [A, C, D], "unused ones of the reserve are evicted, the oldest first"


def test_an_introducer_evicts_its_own_addresses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INTRODUCTIONS", 2)
    book = world.book
    book.remember(A, by(b"y"))
    for address in (B, C, D):
        book.remember(address, by(b"x"))
    assert list(book.records) == [A, C, D]


def test_services_beyond_the_cap_are_searched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRACKED_SERVICES", 2)
    book = World().book
    for number in range(5):
        book.remember((f"1.1.1.{number}", 1), by(b"x", b"%d" % number))
    for _ in range(2):
        assert [book.walkable(b"%d" % number).to_list() for number in range(5)] == [
            [(f"1.1.1.{number}", 1)] for number in range(5)]


def test_records_may_be_edited(world: World) -> None:
    book = world.book
    book.records[A] = by(b"x", S)
    assert book.introductions(b"x") == book.walkable(S).to_list() == [A]
    book.records[A] = by(b"y")
    assert book.introductions(b"x") == book.walkable(S).to_list() == []
    book.records.clear()
    assert book.unused.to_list() == []
