"""Introduction points in the DHT (spec 07 section 13)."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from ipv8.dht import DHTError
from ipv8.dht.provider import DHTCommunityProvider
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer

INFO_HASH = b"i" * 20


class Point(NamedTuple):
    """What an introduction point is, as far as the provider is concerned."""

    peer: Peer
    seeder_pk: bytes
    source: int
    last_seen: int


@pytest.fixture(autouse=True)
def tunnels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the place of the tunnels."""
    module: Any = ModuleType("ipv8.messaging.anonymization.tunnel")
    module.IntroductionPoint, module.PEER_SOURCE_DHT = Point, 1
    monkeypatch.setitem(sys.modules, "ipv8.messaging.anonymization", ModuleType("ipv8.messaging.anonymization"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


async def test_announce_and_lookup(make_nodes: Any, dht: Any) -> None:
    one, other = make_nodes(2)
    dht.introduce(one, other)
    point = Point(Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5)),
                  default_eccrypto.generate_key("curve25519").pub().key_to_bin(), 1, 1234)
    await DHTCommunityProvider(one, 0).announce(INFO_HASH, point)
    await one.store_value(INFO_HASH, b"nonsense")
    result = await DHTCommunityProvider(other, 0).lookup(INFO_HASH)
    assert result == (INFO_HASH, [point])
    assert result[1][0].peer.address == ("1.2.3.4", 5)


async def test_failures_are_not_raised() -> None:
    class Failing:
        async def fail(self, *_: Any) -> None:
            raise DHTError("no")

        find_values = store_value = connect_peer = fail

    provider = DHTCommunityProvider(Failing(), 0)  # type: ignore[arg-type]  # a double
    point = Point(Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", 5)), bytes(74), 1, 1)
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
