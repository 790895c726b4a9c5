"""Introduction points in the DHT (doc/protocol/dht.md section 11)."""

from __future__ import annotations

from typing import Any

from ipv8 import clock
from ipv8.dht import DHTError
from ipv8.dht.introduction_point import PEER_SOURCE_PEX, PEER_SOURCE_UNKNOWN
from ipv8.dht.provider import PEER_SOURCE_DHT, DHTCommunityProvider, IntroductionPoint
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer

INFO_HASH = b"i" * 20


async def test_announce_and_lookup(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    point = IntroductionPoint(Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5)),
                              default_eccrypto.generate_key("curve25519").pub().key_to_bin(), 1, 1234)
    await DHTCommunityProvider(one, 0).announce(INFO_HASH, point)
    await one.store_value(INFO_HASH, b"nonsense")
    result = await DHTCommunityProvider(other, 0).lookup(INFO_HASH)
    assert result == (INFO_HASH, [point])
    found = result[1][0]
    assert (found.peer.address, found.source, found.last_seen) == (("1.2.3.4", 5), PEER_SOURCE_DHT, 1234)


def test_introduction_points_are_equal_by_node_and_service(manual_clock: Any) -> None:
    peer, other = (Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5)) for _ in "ab")
    point = IntroductionPoint(peer, b"service")
    assert (point.source, point.last_seen) == (PEER_SOURCE_UNKNOWN, int(clock.time()))
    assert {point, IntroductionPoint(peer, b"service", PEER_SOURCE_PEX, 5)} == {point}
    assert point not in {IntroductionPoint(other, b"service"), IntroductionPoint(peer, b"another")}
    assert point != (peer, b"service")


def test_introduction_points_as_json() -> None:
    peer = Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5))
    address = {"ip": "1.2.3.4", "port": 5, "public_key": peer.public_key.key_to_bin().hex()}
    assert IntroductionPoint(peer, b"pk", PEER_SOURCE_DHT).to_dict() == {
        "address": address, "seeder_pk": b"pk".hex(), "source": 1}


async def test_failures_are_not_raised() -> None:
    class Failing:
        async def fail(self, *_: Any) -> None:
            raise DHTError("no")

        find_values = store_value = connect_peer = fail

    provider = DHTCommunityProvider(Failing(), 0)  # type: ignore[arg-type]  # a double
    peer = Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5))
    point = IntroductionPoint(peer, bytes(74), 1, 1)
    assert await provider.lookup(INFO_HASH) is None
    await provider.announce(INFO_HASH, point)
    await provider.peer_lookup(b"m" * 20)
    await provider.peer_lookup(b"m" * 20, point.peer)


async def test_values_of_any_kind_are_skipped() -> None:
    class Odd:
        async def find_values(self, _: bytes) -> Any:
            return ((None, None), (5, None), ("text", None), (b"", None))

    assert await DHTCommunityProvider(Odd(), 0).lookup(INFO_HASH) == (INFO_HASH, [])  # type: ignore[arg-type]  # a double


async def test_no_dht() -> None:
    provider = DHTCommunityProvider(None, 0)
    assert provider.port == 0
    assert await provider.lookup(INFO_HASH) is None
