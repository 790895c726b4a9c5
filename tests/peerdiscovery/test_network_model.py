"""The network graph against a model that knows no index: every query is a search through everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery import network as network_module
from ipv8.peerdiscovery.graph import addresses as address_book, services as services_module
from ipv8.peerdiscovery.network import Network, PeerObserver, WalkableAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS = [b"LibNaCLPK:" + number.to_bytes(64, "big") for number in range(5)]
SERVICES = [bytes([number]) * 20 for number in range(3)]
# Few addresses, equal ones of different classes among them, so that everything collides.
ADDRESSES: list[Any] = [
    *(UDPv4Address(ip, 1) for ip in ("1.1.1.1", "1.1.1.2", "2.2.2.2", "192.168.0.1")),
    *(UDPv4LANAddress(ip, 1) for ip in ("192.168.0.1", "192.168.0.2", "1.1.1.1")),
    UDPv6Address("1::1", 1), UDPv6Address("1::2", 1), ("1.1.1.1", 1), ("abc", 0),
]

keys = st.sampled_from(KEYS)
some_services = st.sets(st.sampled_from(SERVICES))
some_addresses = st.sampled_from(ADDRESSES)


def contacts(peer: Peer) -> set[Any]:
    return {address for kind, address in peer.addresses.items() if kind is not UDPv4LANAddress}


def all_addresses(peer: Peer) -> set[Any]:
    return set(peer.addresses.values())


class Model(PeerObserver):
    """What a network does, in the simplest way."""

    def __init__(self) -> None:
        self.addresses: dict[Any, WalkableAddress] = {}
        self.verified: dict[bytes, Peer] = {}
        self.services: dict[bytes, set[bytes]] = {}
        self.blacklist: set[Any] = set()
        self.blacklist_mids: set[bytes] = set()
        self.seen: list[tuple[str, bytes]] = []
        self.expected: list[tuple[str, bytes]] = []

    def on_peer_added(self, peer: Peer) -> None:
        self.seen.append(("added", peer.key_bin))

    def on_peer_removed(self, peer: Peer) -> None:
        self.seen.append(("removed", peer.key_bin))

    def discover_address(self, peer: Peer, address: Any, service: bytes | None, new_style: bool) -> None:
        if address not in self.blacklist:
            known = self.addresses.get(address)
            if known is None or known.introduced_by not in self.verified:
                self.addresses[address] = WalkableAddress(peer.key_bin, service, new_style)
        self.add(peer)

    def add(self, peer: Peer) -> None:
        if peer.mid in self.blacklist_mids or peer.key_bin in self.verified:
            return
        if not any(address in self.addresses for address in all_addresses(peer)):
            if all_addresses(peer) & self.blacklist:
                return
            self.addresses.update(dict.fromkeys(all_addresses(peer), WalkableAddress(b"", None, False)))
        self.verified[peer.key_bin] = peer
        self.expected.append(("added", peer.key_bin))

    def drop(self, key: bytes) -> None:
        del self.verified[key]
        self.services.pop(key, None)
        self.expected.append(("removed", key))

    def remove_by_address(self, address: Any) -> None:
        self.addresses.pop(address, None)
        for key, peer in list(self.verified.items()):
            if address in contacts(peer) or (peer.address == address and address in all_addresses(peer)):
                self.drop(key)

    def remove(self, peer: Peer) -> None:
        gone = all_addresses(peer)
        if peer.key_bin in self.verified:
            gone |= all_addresses(self.verified[peer.key_bin])
            self.drop(peer.key_bin)
        for address in gone:
            if not any(address in all_addresses(other) for other in self.verified.values()):
                self.addresses.pop(address, None)

    def walkable(self, service: bytes | None) -> set[Any]:
        used = (all_addresses(peer) for key, peer in self.verified.items()
                if service is None or service in self.services.get(key, ()))
        return {address for address, record in self.addresses.items()
                if service is None or record.services == service
                or service in self.services.get(record.introduced_by, ())}.difference(*used)


class NetworkComparison(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.network = Network()
        self.model = Model()
        self.network.add_peer_observer(self.model)

    @initialize(sizes=st.tuples(*[st.integers(0, 3)] * 3), asked=some_services)
    def configure(self, sizes: tuple[int, int, int], asked: set[bytes]) -> None:
        (self.network.reverse_ip_cache_size, self.network.reverse_intro_cache_size,
         self.network.reverse_service_cache_size) = sizes
        # What is asked for is kept up to date from then on; what is not is found by a search in the end.
        self.asked = sorted(asked)

    def make_peer(self, key: bytes, addresses: Iterable[Any]) -> Peer:
        peer = Peer(key)
        for address in addresses:
            peer.addresses[type(address)] = address
        return peer

    @rule(key=keys, own=st.lists(some_addresses, max_size=3), address=some_addresses,
          service=st.none() | st.sampled_from(SERVICES), new_style=st.booleans())
    def discover_address(self, key: bytes, own: list[Any], address: Any, service: bytes | None,
                         new_style: bool) -> None:
        peer = self.make_peer(key, own)
        self.model.discover_address(peer, address, service, new_style)
        self.network.discover_address(peer, address, service, new_style)

    @rule(key=keys, own=st.lists(some_addresses, max_size=3))
    def add_verified_peer(self, key: bytes, own: list[Any]) -> None:
        peer = self.make_peer(key, own)
        self.model.add(peer)
        self.network.add_verified_peer(peer)

    @rule(key=keys, services=some_services)
    def discover_services(self, key: bytes, services: set[bytes]) -> None:
        self.model.services.setdefault(key, set()).update(services)
        self.network.discover_services(Peer(key), services)

    @rule(key=keys, service=st.sampled_from(SERVICES))
    def toggle_service(self, key: bytes, service: bytes) -> None:
        if key in self.model.services:
            self.model.services[key] ^= {service}
            self.network.get_services_for_peer(Peer(key)).symmetric_difference_update({service})

    @rule(key=keys, address=some_addresses)
    def move(self, key: bytes, address: Any) -> None:
        if key in self.model.verified:
            self.model.verified[key].address = address

    @rule(key=keys, kind=st.sampled_from([UDPv4Address, UDPv4LANAddress, UDPv6Address, tuple]))
    def lose_address(self, key: bytes, kind: type) -> None:
        if key in self.model.verified:
            self.model.verified[key].addresses.pop(kind, None)

    @rule(key=keys, own=st.lists(some_addresses, max_size=2))
    def remove_peer(self, key: bytes, own: list[Any]) -> None:
        peer = self.make_peer(key, own)
        self.model.remove(peer)
        self.network.remove_peer(peer)

    @rule(address=some_addresses)
    def remove_by_address(self, address: Any) -> None:
        self.model.remove_by_address(address)
        self.network.remove_by_address(address)

    @rule(addresses=st.sets(st.sampled_from(ADDRESSES), max_size=3), mids=st.sets(keys, max_size=1))
    def blacklist(self, addresses: set[Any], mids: set[bytes]) -> None:
        self.model.blacklist = addresses
        self.model.blacklist_mids = {Peer(key).mid for key in mids}
        for blacklist, items in ((self.network.blacklist, addresses),
                                 (self.network.blacklist_mids, self.model.blacklist_mids)):
            blacklist.clear()
            blacklist.extend(items)  # type: ignore[arg-type]  # lists of addresses and of mids

    @rule(address=some_addresses, introducer=st.just(b"") | keys, service=st.none() | st.sampled_from(SERVICES))
    def write_address(self, address: Any, introducer: bytes, service: bytes | None) -> None:
        self.model.addresses[address] = self.network._all_addresses[address] = WalkableAddress(
            introducer, service, False)

    @rule(address=some_addresses)
    def pop_address(self, address: Any) -> None:
        assert self.network._all_addresses.pop(address, None) == self.model.addresses.pop(address, None)

    @rule(key=keys, services=some_services)
    def write_services(self, key: bytes, services: set[bytes]) -> None:
        self.model.services[key] = set(services)
        self.network.services_per_peer[key] = services

    @rule(key=keys)
    def pop_services(self, key: bytes) -> None:
        assert self.network.services_per_peer.pop(key, None) == self.model.services.pop(key, None)

    @rule(key=keys, by_key=st.booleans())
    def pop_peer(self, key: bytes, by_key: bool) -> None:
        self.model.verified.pop(key, None)
        if by_key:
            self.network.verified_by_public_key_bin.pop(key, None)
        else:
            self.network.verified_peers.discard(Peer(key))

    @rule(key=keys, own=st.lists(some_addresses, max_size=3), by_key=st.booleans())
    def write_peer(self, key: bytes, own: list[Any], by_key: bool) -> None:
        peer = self.make_peer(key, own)
        if by_key:
            self.model.verified[key] = self.network.verified_by_public_key_bin[key] = peer
        else:
            self.model.verified.setdefault(key, peer)
            self.network.verified_peers.add(peer)

    @rule(key=keys)
    def prove(self, key: bytes) -> None:
        if key in self.model.verified:
            self.network.mark_proven(Peer(key))

    @invariant()
    def network_and_model_agree(self) -> None:
        self.compare_tables()
        self.compare_queries()

    def compare_tables(self) -> None:
        network, model = self.network, self.model
        assert network._all_addresses == model.addresses
        assert network.verified_by_public_key_bin == model.verified
        assert network.verified_peers == set(model.verified.values())
        assert network.services_per_peer == model.services
        assert sorted(model.seen) == sorted(model.expected)
        model.seen.clear()
        model.expected.clear()

    def compare_queries(self) -> None:
        network, model = self.network, self.model
        for service in self.asked:
            self.compare_service(service)
        assert set(network.get_walkable_addresses()) == model.walkable(None)
        for key in KEYS:
            assert set(network.get_introductions_from(Peer(key))) == {
                address for address, record in model.addresses.items() if record.introduced_by == key}
        for address in ADDRESSES:
            here = [peer for peer in model.verified.values() if address in contacts(peer)]
            nearby = [peer for peer in model.verified.values() if address in all_addresses(peer)]
            found = network.get_verified_by_address(address)
            assert found in here if here else found in nearby if nearby else found is None
            assert network.is_new_style(address) == (address in model.addresses and model.addresses[address].new_style)
        assert len(network.reverse_ip_lookup) <= network.reverse_ip_cache_size
        assert len(network.reverse_intro_lookup) <= network.reverse_intro_cache_size
        assert len(network.reverse_service_lookup) <= network.reverse_service_cache_size

    def compare_service(self, service: bytes) -> None:
        network, model = self.network, self.model
        walkable = network.get_walkable_addresses(service)
        assert set(walkable) == model.walkable(service)
        assert len(set(walkable)) == len(walkable)
        peers = network.get_peers_for_service(service)
        offering = [peer for key, peer in model.verified.items() if service in model.services.get(key, ())]
        assert sorted(map(id, peers)) == sorted(map(id, offering))
        unproven = [peer for peer in offering if not peer.proven]
        dropped = network.unproven_peer_to_drop(service, -1)
        assert dropped in unproven if unproven else dropped is None

    def teardown(self) -> None:
        self.compare_tables()
        for service in SERVICES:
            self.compare_service(service)


TestNetworkComparison = NetworkComparison.TestCase
TestNetworkComparison.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


class CappedNetwork(NetworkComparison):
    """With tiny caps something is forgotten in nearly every step: no index may remember it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(address_book, "MAX_ADDRESSES", 4)
        self.patches.setattr(address_book, "RESERVED_ADDRESSES", 1)
        self.patches.setattr(address_book, "MAX_INTRODUCTIONS", 2)
        self.patches.setattr(network_module, "MAX_SERVICES_PER_PEER", 2)
        self.patches.setattr(services_module, "MAX_UNVERIFIED_SERVICES", 3)

    def compare_tables(self) -> None:
        network, model = self.network, self.model
        assert network.verified_by_public_key_bin.keys() <= model.verified.keys()
        assert all(services <= model.services[key] for key, services in network.services_per_peer.items())
        unused = network.get_walkable_addresses()
        assert len(network._all_addresses) <= 4 or len(unused) <= 1
        assert sum(max(1, len(services)) for key, services in network.services_per_peer.items()
                   if key not in network.verified_by_public_key_bin) <= 3
        # What was forgotten may be: from here on the model knows what the network knows.
        model.addresses = dict(network._all_addresses)
        model.verified = dict(network.verified_by_public_key_bin)
        model.services = {key: set(services) for key, services in network.services_per_peer.items()}
        model.seen.clear()
        model.expected.clear()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.patches.undo()


TestCappedNetwork = CappedNetwork.TestCase
TestCappedNetwork.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)
