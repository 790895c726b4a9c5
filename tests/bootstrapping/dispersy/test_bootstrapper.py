from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from ipv8.bootstrapping.dispersy import bootstrapper as bootstrapper_module
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.bootstrapping.resolver import NameResolver
from ipv8.community import Community
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer

TRACKER = UDPv4Address("1.2.3.4", 5)
PEER = Peer(b"LibNaCLPK:" + b"0" * 64)


class Names:
    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.slow = threading.Event()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host == "slow":
            assert self.slow.wait(10)
        if host not in self.hosts:
            raise OSError
        return self.hosts[host]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    resolver = NameResolver(names)
    monkeypatch.setattr(bootstrapper_module, "shared_resolver", lambda: resolver)
    return names


def test_attributes() -> None:
    bootstrapper = DispersyBootstrapper(ip_addresses=[("1.2.3.4", 5), ("1::2", 6)], dns_addresses=[("a.b", 7)],
                                        bootstrap_timeout=3.0)
    assert bootstrapper.ip_addresses == [("1.2.3.4", 5), ("1::2", 6)]
    assert [type(address) for address in bootstrapper.ip_addresses] == [UDPv4Address, UDPv6Address]
    assert bootstrapper.dns_addresses == [("a.b", 7)]
    assert bootstrapper.bootstrap_timeout == 3.0
    assert bootstrapper.last_bootstrap == 0
    assert bootstrapper.blacklist() == bootstrapper.ip_addresses
    assert DispersyBootstrapper([], []).bootstrap_timeout == 30.0


async def test_initialize_blacklists(overlay: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [])
    assert await bootstrapper.initialize(overlay) is True
    assert bootstrapper.initialized
    assert overlay.network.blacklist == [TRACKER]
    assert overlay.walks == []
    assert await bootstrapper.initialize(overlay) is True


async def test_one_walk_for_each_round(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [])
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    assert overlay.walks == overlay.network.blacklist == [TRACKER]
    assert bootstrapper.last_bootstrap == manual_clock.now
    manual_clock.advance(29.9)
    await bootstrapper.get_addresses(overlay, 60.0)
    assert overlay.walks == [TRACKER]
    manual_clock.advance(0.1)
    await bootstrapper.get_addresses(overlay, 60.0)
    assert overlay.walks == [TRACKER] * 2


async def test_keep_alive_contacts_one(overlay: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER, ("5.6.7.8", 9)], [])
    bootstrapper.keep_alive(overlay)
    assert len(overlay.walks) == 1
    assert overlay.walks[0] in bootstrapper.ip_addresses
    assert overlay.network.blacklist == overlay.walks


async def test_names_are_walked_to_as_they_are_resolved(overlay: Any, names: Names) -> None:
    names.hosts = {"slow": ["9.9.9.9"], "fast": ["8.8.8.8", "8::8", "1.2.3.4"]}
    walked = asyncio.Event()
    overlay.wanted = lambda: walked.set() if len(overlay.walks) == 2 else None
    bootstrapper = DispersyBootstrapper([TRACKER], [("slow", 5), ("fast", 5), ("unknown", 5)])
    initialization = asyncio.ensure_future(bootstrapper.initialize(overlay))
    await walked.wait()
    assert overlay.walks == [("8.8.8.8", 5), ("8::8", 5)]
    assert not initialization.done()
    names.slow.set()
    assert await initialization
    assert overlay.walks[2:] == [("9.9.9.9", 5)]
    assert bootstrapper.ip_addresses == overlay.network.blacklist == [TRACKER, *overlay.walks]


async def test_first_round_does_not_wait_for_names(overlay: Any, names: Names) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [("slow", 5)])
    assert await bootstrapper.get_addresses(overlay, 60.0) == []
    assert overlay.walks == [TRACKER]
    assert names.asked == []


async def test_unresolved_names_are_tried_again(overlay: Any, names: Names, manual_clock: Any) -> None:
    names.hosts = {"known": ["7.7.7.7"]}
    bootstrapper = DispersyBootstrapper([], [("known", 5), ("unknown", 5)])
    await bootstrapper.initialize(overlay)
    names.hosts["unknown"] = ["8.8.8.8"]
    await bootstrapper.get_addresses(overlay, 60.0)
    manual_clock.advance(30)
    await bootstrapper.get_addresses(overlay, 60.0)
    assert sorted(names.asked) == ["known", "unknown", "unknown"]
    assert overlay.walks == [("7.7.7.7", 5), ("7.7.7.7", 5), ("7.7.7.7", 5), ("8.8.8.8", 5)]


async def test_a_round_ends_in_time(overlay: Any, names: Names) -> None:
    bootstrapper = DispersyBootstrapper([], [("slow", 5)])
    bootstrapper.initialized = True
    assert await bootstrapper.get_addresses(overlay, 0.01) == []
    names.slow.set()


async def test_resolving_alone_contacts_nobody(names: Names) -> None:
    names.hosts = {"known": ["7.7.7.7"]}
    bootstrapper = DispersyBootstrapper([], [("known", 5)])
    await bootstrapper.resolve_dns_bootstrap_addresses()
    await bootstrapper.resolve_dns_bootstrap_addresses()
    assert bootstrapper.ip_addresses == [("7.7.7.7", 5)]
    assert names.asked == ["known"]


async def test_overlays_share_answers(make_bootstrapped: Any, names: Names) -> None:
    names.hosts = {"known": ["7.7.7.7"]}
    for _ in range(3):
        overlay = make_bootstrapped()
        await DispersyBootstrapper([], [("known", 5)]).initialize(overlay)
        assert overlay.walks == [("7.7.7.7", 5)]
    assert names.asked == ["known"]


async def test_growing_pause(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [], 10.0, max_bootstrap_timeout=35.0)
    pauses = []
    for _ in range(5):
        await bootstrapper.get_addresses(overlay, 60.0)
        started, walks = manual_clock.now, len(overlay.walks)
        while len(overlay.walks) == walks:
            manual_clock.advance(5)
            await bootstrapper.get_addresses(overlay, 60.0)
        pauses.append(manual_clock.now - started)
    assert pauses == [10, 20, 35, 35, 35]

    bootstrapper.keep_alive(overlay)
    walks = len(overlay.walks)
    manual_clock.advance(10)
    overlay.peers = [PEER]
    for _ in range(3):
        await bootstrapper.get_addresses(overlay, 60.0)
        walks += 1
        assert len(overlay.walks) == walks
        manual_clock.advance(10)


class BootstrappingCommunity(Community):
    community_id = b"b" * 20


async def test_with_a_community(make_overlay: Any) -> None:
    tracker, client = make_overlay(BootstrappingCommunity), make_overlay(BootstrappingCommunity)
    bootstrapper = DispersyBootstrapper([tracker.my_peer.address], [])
    client.bootstrappers.append(bootstrapper)
    client.bootstrap()
    await asyncio.gather(*client.get_anonymous_tasks("bootstrap"))
    assert [address for address, _ in client.endpoint.sent] == [tracker.my_peer.address]
    assert bootstrapper.initialized
    assert tracker.my_peer.address in client.network.blacklist
    assert client.get_peers() == []
