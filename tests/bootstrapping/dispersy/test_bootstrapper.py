from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, Mock

import pytest

from ipv8 import clock, entropy
from ipv8.bootstrapping.dispersy import bootstrapper as bootstrapper_module
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.bootstrapping.memory.bootstrapper import MemoryBootstrapper, encode
from ipv8.bootstrapping.resolver import NameResolver
from ipv8.community import Community
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.peer import Peer
from ipv8.test.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
            assert self.slow.wait(60)
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


def answer(bootstrapper: DispersyBootstrapper) -> None:
    """A peer answers that is no server."""
    bootstrapper.on_introduction(Peer(PEER.key, UDPv4Address("5.6.7.8", 9)), [])


async def pauses_of(bootstrapper: DispersyBootstrapper, overlay: Any, manual_clock: Any, count: int) -> list[float]:
    """How many seconds pass from each round to the next one, if somebody asks eight times a second."""
    pauses = []
    await bootstrapper.get_addresses(overlay, 60.0)
    for _ in range(count):
        started, walks = manual_clock.now, len(overlay.walks)
        while len(overlay.walks) == walks:
            manual_clock.advance(0.125)
            await bootstrapper.get_addresses(overlay, 60.0)
        pauses.append(manual_clock.now - started)
    return pauses


async def test_one_walk_for_each_round(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [])
    answer(bootstrapper)
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


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
async def test_setting_the_wall_clock_changes_no_pause(overlay: Any, manual_clock: Any, step: float) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [])
    answer(bootstrapper)
    await bootstrapper.get_addresses(overlay, 60.0)
    manual_clock.step_wall(step)
    await bootstrapper.get_addresses(overlay, 60.0)
    assert len(overlay.walks) == 1
    manual_clock.advance(30)
    await bootstrapper.get_addresses(overlay, 60.0)
    assert len(overlay.walks) == 2
    assert bootstrapper.last_bootstrap == manual_clock.time()
    bootstrapper.last_bootstrap = 0
    await bootstrapper.get_addresses(overlay, 60.0)
    assert len(overlay.walks) == 3, "programs can make it forget its last round"


async def test_the_first_round_does_not_wait_until_the_machine_runs_for_long(overlay: Any, manual_clock: Any) -> None:
    with clock.use(type(manual_clock)(1.0)):
        bootstrapper = DispersyBootstrapper([TRACKER], [])
        answer(bootstrapper)
        await bootstrapper.get_addresses(overlay, 60.0)
    assert overlay.walks == [TRACKER]


async def test_keep_alive_contacts_one(overlay: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER, ("5.6.7.8", 9)], [])
    bootstrapper.keep_alive(overlay)
    assert len(overlay.walks) == 1
    assert overlay.walks[0] in bootstrapper.ip_addresses
    assert overlay.network.blacklist == overlay.walks


@pytest.mark.parametrize("mock", [Mock, MagicMock])
async def test_with_a_mocked_overlay(mock: Callable[[], Any]) -> None:
    overlay = mock()
    overlay.network.blacklist = []
    bootstrapper = DispersyBootstrapper([TRACKER], [])
    assert await bootstrapper.initialize(overlay) is True
    await bootstrapper.get_addresses(overlay, 60.0)
    overlay.walk_to.assert_called_once_with(TRACKER)
    bootstrapper.keep_alive(overlay)
    assert overlay.walk_to.call_count == 2


SERVERS: Any = [TRACKER, UDPv6Address("1::2", 6), UDPv4Address("5.6.7.8", 7)]


@pytest.mark.parametrize(("make_endpoint", "left_out"), [
    (UDPEndpoint, [SERVERS[1]]),
    (UDPv6Endpoint, SERVERS[::2]),
    (lambda: DispatcherEndpoint(["UDPIPv4"]), [SERVERS[1]]),
    (lambda: DispatcherEndpoint(["UDPIPv6"]), SERVERS[::2]),
    (lambda: DispatcherEndpoint(["UDPIPv4", "UDPIPv6"]), []),
    (lambda: StatisticsEndpoint(DispatcherEndpoint(["UDPIPv6"])), SERVERS[::2]),
    (lambda: StatisticsEndpoint(UDPv6Endpoint()), SERVERS[::2]),
    (Mock, []),
    (MagicMock, []),
    (lambda: None, []),
])
async def test_servers_out_of_reach_are_left_out(overlay: Any, make_endpoint: Callable[[], Any],
                                                 left_out: list[Any]) -> None:
    overlay.endpoint = make_endpoint()
    bootstrapper = DispersyBootstrapper(SERVERS, [])
    await bootstrapper.get_addresses(overlay, 60.0)
    reachable = [address for address in SERVERS if address not in left_out]
    assert overlay.walks == reachable
    assert overlay.network.blacklist == SERVERS
    for _ in range(20):
        bootstrapper.keep_alive(overlay)
    assert set(overlay.walks) <= set(reachable)


async def test_nobody_is_kept_alive_where_no_server_is_in_reach(overlay: Any) -> None:
    overlay.endpoint = UDPv6Endpoint()
    DispersyBootstrapper([TRACKER], []).keep_alive(overlay)
    assert overlay.walks == []


async def test_a_lookup_outlives_who_waits_for_it(overlay: Any, names: Names) -> None:
    names.hosts = {"slow": ["9.9.9.9"]}
    bootstrapper = DispersyBootstrapper([], [("slow", 5)])
    initialization = asyncio.ensure_future(bootstrapper.initialize(overlay))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    initialization.cancel()
    waiting = asyncio.ensure_future(bootstrapper.get_addresses(overlay, 60.0))
    await asyncio.wait([initialization])
    names.slow.set()
    await waiting
    assert overlay.walks == [("9.9.9.9", 5)]
    assert names.asked == ["slow"]


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


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrapper_module, "JITTER", 0.0)


@pytest.mark.usefixtures("no_jitter")
async def test_without_answers_the_next_rounds_come_early(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [], 10.0)
    assert await pauses_of(bootstrapper, overlay, manual_clock, 6) == [1, 2, 4, 8, 10, 10]


@pytest.mark.usefixtures("no_jitter")
async def test_the_answer_of_a_peer_ends_early_rounds(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [], 10.0)
    bootstrapper.on_introduction(Peer(PEER.key, TRACKER), [UDPv4Address("5.6.7.8", 9)])
    assert await pauses_of(bootstrapper, overlay, manual_clock, 2) == [1, 2], "only a server has answered"
    answer(bootstrapper)
    assert await pauses_of(bootstrapper, overlay, manual_clock, 3) == [10, 10, 10]


@pytest.mark.usefixtures("no_jitter")
async def test_pauses_shorter_than_the_first_one_stay(overlay: Any, manual_clock: Any) -> None:
    assert await pauses_of(DispersyBootstrapper([TRACKER], [], 0.25), overlay, manual_clock, 2) == [0.25, 0.25]


@pytest.mark.usefixtures("no_jitter")
async def test_growing_pause(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = DispersyBootstrapper([TRACKER], [], 10.0, max_bootstrap_timeout=35.0)
    answer(bootstrapper)
    assert await pauses_of(bootstrapper, overlay, manual_clock, 5) == [10, 20, 35, 35, 35]
    overlay.peers = [PEER]
    manual_clock.advance(35)
    assert await pauses_of(bootstrapper, overlay, manual_clock, 2) == [10, 10], "success ends the growth"
    overlay.peers = []
    assert await pauses_of(bootstrapper, overlay, manual_clock, 2) == [10, 10]
    bootstrapper.keep_alive(overlay)
    assert await pauses_of(bootstrapper, overlay, manual_clock, 2) == [10, 10]


async def test_pauses_differ_but_never_undercut_the_usual_one(overlay: Any, manual_clock: Any,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "_current", random.Random(1))
    bootstrapper = DispersyBootstrapper([TRACKER], [], 16.0, max_bootstrap_timeout=64.0)
    pauses = await pauses_of(bootstrapper, overlay, manual_clock, 9)
    expected = [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert all(0.75 * usual <= pause <= usual for pause, usual in zip(pauses, expected, strict=True))
    assert len(set(pauses[6:])) > 1
    assert pauses[4] == 16


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


async def test_joining_is_noticed(make_overlay: Any) -> None:
    tracker, client, other = (make_overlay(BootstrappingCommunity) for _ in range(3))
    bootstrapper = DispersyBootstrapper([tracker.my_peer.address], [])
    client.bootstrappers.append(bootstrapper)
    client.bootstrap()
    await asyncio.gather(*client.get_anonymous_tasks("bootstrap"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert client.get_peers() == []
    assert bootstrapper._pause() < bootstrapper.bootstrap_timeout
    client.walk_to(other.my_peer.address)
    for _ in range(20):
        await asyncio.sleep(0)
    assert client.get_peers() == [other.my_peer]
    assert bootstrapper._pause() == bootstrapper.bootstrap_timeout


async def test_remembered_peers_are_contacted_before_servers(make_overlay: Any, tmp_path: Path) -> None:
    client = make_overlay(BootstrappingCommunity, deliver=False)
    path = tmp_path / "peers"
    path.write_bytes(encode([UDPv4Address("7.7.7.7", 7)]))
    client.bootstrappers += [MemoryBootstrapper(path), DispersyBootstrapper([TRACKER], [])]
    client.bootstrap()
    await asyncio.gather(*client.get_anonymous_tasks("bootstrap"))
    assert [address for address, _ in client.endpoint.sent] == [("7.7.7.7", 7), TRACKER]


def test_lost_first_request_costs_a_second() -> None:
    with Simulation(1) as sim:
        tracker = sim.add_tracker()
        nodes = [sim.add_node(BootstrappingCommunity, start=False) for _ in range(2)]
        sim.sever(tracker, nodes[0])
        sim.sever(tracker, nodes[1])
        for node in nodes:
            sim.start(node)
        sim.run(0.9)
        sim.mend(tracker, nodes[0])
        sim.mend(tracker, nodes[1])
        sim.run_until(lambda: nodes[0].knows(nodes[1]), timeout=5.0)
