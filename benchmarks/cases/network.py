"""The table of known peers: what a question costs with few and with many of them."""

from __future__ import annotations

from os import urandom
from random import Random
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, microseconds, microseconds_in_turn, microseconds_over
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = b"s" * 20
REMOVED = 100
STRANGERS = 10_000


def address(number: int) -> UDPv4Address:
    """A different address for each number below 2 ** 24."""
    return UDPv4Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 8000)


def measure() -> Iterator[Figure]:
    """Yield the cost of each question and change at 500 and at 5 000 peers."""
    for size in (500, 5_000):
        network = Network()
        peers = [Peer(b"LibNaCLPK:" + urandom(64), address(number)) for number in range(size)]

        def add(peer: Peer, network: Network = network) -> None:
            network.add_verified_peer(peer)
            network.discover_services(peer, [SERVICE])

        yield Figure(f"add, {size} peers", microseconds_over(add, peers))
        strangers = [address(number) for number in range(1 << 20, (1 << 20) + STRANGERS)]
        yield Figure(f"lookup of an unknown address, {size} peers",
                     microseconds_in_turn(network.get_verified_by_address, strangers))
        known = Random(1).sample(peers, 4 * REMOVED)
        yield Figure(f"lookup of a known address, {size} peers",
                     microseconds_over(network.get_verified_by_address, [peer.address for peer in known[:2 * REMOVED]]))
        yield Figure(f"peers of a service, {size} peers",
                     microseconds(network.get_peers_for_service, SERVICE))
        yield Figure(f"walkable addresses, {size} peers",
                     microseconds(network.get_walkable_addresses, SERVICE))
        yield Figure(f"removal, {size} peers", microseconds_over(network.remove_peer, known[:REMOVED]))
        yield Figure(f"removal by address, {size} peers",
                     microseconds_over(network.remove_by_address,
                                       [peer.address for peer in known[REMOVED:2 * REMOVED]]))

        def remove_and_ask(peer: Peer, network: Network = network) -> None:
            network.remove_peer(peer)
            network.get_peers_for_service(SERVICE)

        yield Figure(f"removal and the peers of a service, {size} peers",
                     microseconds_over(remove_and_ask, known[2 * REMOVED:]))
