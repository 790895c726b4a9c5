from __future__ import annotations

import asyncio
import socket
import threading
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from ipv8 import clock
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization import exit_policy
from ipv8.messaging.anonymization.endpoint import TunnelEndpoint
from ipv8.messaging.anonymization.exit_policy import (
    DataChecker,
    Destinations,
    RefusedDestinationError,
    Resolver,
    is_local_endpoint,
    is_reachable_address,
)
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.taskmanager import TaskManager
from ipv8.test.clock import ManualClock
from ipv8.test.mocking.endpoint import AutoMockEndpoint

from .helpers import VECTORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FORBIDDEN = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8", "64:ff9b::808:808", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:20::1",
    "2001:db8::1", "2002:808:808::1", "2002:7f00:1::", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "ff0e::1",
    "192.0.0.9", "192.0.0.10", "192.88.99.1", "64:ff9b:2::1", "100:0:0:1::1", "1::1", "2001:1::1", "2001:3::1",
    "2001:4:112::1", "2001:30::1", "3fff::1", "4000::1", "5f00::1", "8000::1",
]
ALLOWED = ["1.1.1.1", "8.8.8.8", "192.88.98.1", "223.255.255.1", "2001:200::1", "2606:4700::1111", "2a00:1450::1",
           "3ffe::1"]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_addresses_that_may_not_be_reached(host: str) -> None:
    assert Destinations(own=list).refuses((host, 80)) is not None


@pytest.mark.parametrize("host", ALLOWED)
def test_addresses_that_may_be_reached(host: str) -> None:
    assert Destinations(own=list).refuses((host, 80)) is None


@pytest.mark.parametrize("port", [0, -1, 65536, None])
def test_ports(port: Any) -> None:
    assert Destinations(own=list).refuses(("8.8.8.8", port)) is not None
    assert Destinations(True, own=list).refuses(("8.8.8.8", port)) is not None


def test_own_addresses() -> None:
    own = ["8.8.8.8", "2606:4700::1111"]
    manual = ManualClock()
    with clock.use(manual):
        destinations = Destinations(own=lambda: own)
        for host in ("8.8.8.8", "2606:4700:0::1111", "2606:4700::abcd", "2606:4700::1:2:3:4"):
            assert destinations.refuses((host, 1)) == "an address of this node"
        for host in ("8.8.8.9", "2606:4700:0:1::1111"):
            assert destinations.refuses((host, 1)) is None
        own[0] = "9.9.9.9"
        manual.advance(exit_policy.OWN_INTERVAL)
        assert destinations.refuses(("8.8.8.8", 1)) is None
        assert destinations.refuses(("9.9.9.9", 1)) is not None


def test_a_node_for_tests_may_reach_its_own_machine() -> None:
    allowed = Destinations(lambda: True)
    for host in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "::1"):
        assert allowed.refuses((host, 1)) is None
    for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", "169.254.169.254"):
        assert allowed.refuses((host, 1)) is not None


@pytest.mark.parametrize("name", [
    "", ".", "localhost", "LOCALHOST.", "a.localhost", "router", "printer.local", "nas.lan", "fritz.home.arpa",
    "x.internal",
    "db.corp", "x.onion", "1.0.0.127.in-addr.arpa", "127.1", "0x7f.1", "2130706433", "0x7f000001", "017700000001",
    "127.0.0.1", "127.0.0.1.", "1.2.3", "example.123", "a..b", "a b.org", "[::1]", "fe80::1%1", "user@host.org",
    "a/b.org", "x" * 64 + ".org", ".".join(["x" * 60] * 5), "a\0.org",
    "127\u30020.0\u30021", "\uff11\uff12\uff17.0.0.\u2460", "0\uff587f.\u2460", "nas.home\uff61lan", "a.local\u3002",
    "a.\uff2c\uff2f\uff23\uff21\uff2c", "\u00df" * 64 + ".org", "\u30fb" * 300, "\u202e.org\u3002\u3002", "\u200b.org",
])
def test_names_that_may_not_be_looked_up(name: str) -> None:
    assert Destinations().refuses_name(name) is not None


@pytest.mark.parametrize("name", ["tribler.org", "a.b.example.com", "JP納豆.例.jp", "x1.de", "localhost.org",
                                  "a_b.example.org", "\uff41.org\u3002"])
def test_names_that_may_be_looked_up(name: str) -> None:
    assert Destinations().refuses_name(name) is None


def test_names_for_tests() -> None:
    assert Destinations(True).refuses_name("localhost") is None
    assert Destinations(True).refuses_name("127.1") is not None


@pytest.mark.parametrize("vector", VECTORS["data_checker"], ids=lambda vector: vector["data"][:16])
def test_vectors_of_the_data_checker(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    for name in ("utp", "udp_tracker", "dht", "bt", "ipv8"):
        assert getattr(DataChecker, f"could_be_{name}")(data) is vector[name], name


def test_what_is_no_data() -> None:
    assert not DataChecker.could_be_dht(5)
    assert not DataChecker.could_be_dht(None)


# -- names -----------------------------------------------------------------------------------------------------------

class Names:
    """Answers look-ups, when it is told to."""

    def __init__(self, **hosts: list[str]) -> None:
        self.hosts = {name.replace("_", "."): found for name, found in hosts.items()}
        self.asked: list[str] = []
        self.hold: asyncio.Event | None = None

    async def __call__(self, name: str) -> list[Any]:
        self.asked.append(name)
        if self.hold is not None:
            await self.hold.wait()
        if name not in self.hosts:
            raise OSError("unknown")
        return [(AF_INET6 if ":" in host else AF_INET, None, None, "", (host, 0)) for host in self.hosts[name]]


@pytest.fixture
async def tasks() -> AsyncIterator[TaskManager]:
    async with TaskManager() as manager:
        yield manager


async def test_addresses_of_names(tasks: TaskManager) -> None:
    names = Names(both_org=["2606:4700::1", "8.8.8.8"], six_org=["2606:4700::2"])
    resolver = Resolver(Destinations(own=list), tasks, names)
    found = await resolver.resolve("both.org", 80)
    assert (type(found), found) == (UDPv4Address, ("8.8.8.8", 80))
    found = await resolver.resolve("six.org", 81)
    assert (type(found), found) == (UDPv6Address, ("2606:4700::2", 81))
    assert await resolver.resolve("\uff22OTH\u3002org.", 80) == ("8.8.8.8", 80)
    assert names.asked == ["both.org", "six.org"]


async def test_each_address_is_checked(tasks: TaskManager) -> None:
    names = Names(evil_org=["127.0.0.1"], half_org=["10.0.0.1", "8.8.8.8"], mapped_org=["::ffff:10.0.0.1"])
    resolver = Resolver(Destinations(own=list), tasks, names)
    for name in ("evil.org", "mapped.org"):
        with pytest.raises(RefusedDestinationError):
            await resolver.resolve(name, 80)
    assert await resolver.resolve("half.org", 80) == ("8.8.8.8", 80)
    with pytest.raises(RefusedDestinationError):
        await resolver.resolve("localhost", 80)
    assert "localhost" not in names.asked


async def test_slow_names_leave_the_threads_of_the_event_loop_alone(tasks: TaskManager,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def look_up(name: str, port: int) -> list[Any]:
        may_end.wait(30)
        return [(AF_INET, None, None, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver(Destinations(own=list), tasks)
    looking = [asyncio.ensure_future(resolver.resolve(f"slow{number}.org", 80))
               for number in range(exit_policy.MAX_RESOLUTIONS)]
    await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.wait_for(asyncio.to_thread(may_end.is_set), 10)
    assert not any(future.done() for future in looking)
    may_end.set()
    assert set(await asyncio.gather(*looking)) == {("8.8.8.8", 80)}


async def test_a_name_has_one_address_for_a_while(tasks: TaskManager) -> None:
    manual = ManualClock()
    with clock.use(manual):
        names = Names(name_org=["8.8.8.8"])
        resolver = Resolver(Destinations(own=list), tasks, names)
        assert await resolver.resolve("name.org", 80) == ("8.8.8.8", 80)
        names.hosts["name.org"] = ["9.9.9.9"]
        assert await resolver.resolve("NAME.org.", 80) == ("8.8.8.8", 80)
        assert len(names.asked) == 1
        manual.advance(exit_policy.NAME_CACHE_LIFETIME)
        assert await resolver.resolve("name.org", 80) == ("9.9.9.9", 80)


async def test_unknown_names(tasks: TaskManager) -> None:
    names = Names()
    resolver = Resolver(Destinations(own=list), tasks, names)
    for _ in range(3):
        with pytest.raises(OSError, match="unknown"):
            await resolver.resolve("nobody.org", 80)
    assert names.asked == ["nobody.org"]


@pytest.mark.parametrize("failure", [RuntimeError("no thread"), asyncio.TimeoutError(),
                                     socket.gaierror(socket.EAI_AGAIN, "later")])
async def test_names_that_could_not_be_looked_up_are_looked_up_again(tasks: TaskManager, failure: Exception) -> None:
    """What keeps this node from looking names up makes none of them unknown for a while."""
    failures = [failure]

    async def look_up(name: str) -> list[Any]:
        if failures:
            raise failures.pop()
        return [(AF_INET, None, None, "", ("8.8.8.8", 0))]

    resolver = Resolver(Destinations(own=list), tasks, look_up)
    with pytest.raises(OSError, match="unknown"):
        await resolver.resolve("name.org", 80)
    assert await resolver.resolve("name.org", 80) == ("8.8.8.8", 80)


async def test_one_look_up_for_many_packets_and_few_at_a_time(tasks: TaskManager) -> None:
    names = Names(name_org=["8.8.8.8"])
    names.hold = asyncio.Event()
    resolver = Resolver(Destinations(own=list), tasks, names)
    same = [asyncio.ensure_future(resolver.resolve("name.org", port)) for port in range(1, 50)]
    others = [asyncio.ensure_future(resolver.resolve(f"name{number}.org", 1))
              for number in range(2 * exit_policy.MAX_RESOLUTIONS)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(names.asked) == exit_policy.MAX_RESOLUTIONS
    names.hold.set()
    assert [address[1] for address in await asyncio.gather(*same)] == list(range(1, 50))
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert all(isinstance(outcome, OSError) for outcome in outcomes)


async def test_names_that_take_too_long(tasks: TaskManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exit_policy, "RESOLUTION_TIMEOUT", 0.001)
    names = Names()
    names.hold = asyncio.Event()
    with pytest.raises(OSError, match="unknown"):
        await Resolver(Destinations(own=list), tasks, names).resolve("slow.org", 1)


# -- nodes -----------------------------------------------------------------------------------------------------------

async def test_nodes_that_are_on_this_machine_only() -> None:
    loopback, other = UDPEndpoint(0, "127.0.0.1"), UDPEndpoint(0, "0.0.0.0")
    for endpoint in (loopback, other):
        await endpoint.open()
    dispatcher = DispatcherEndpoint([])
    dispatcher.add_interface("UDPIPv4", other)
    mock = AutoMockEndpoint()
    cases: list[tuple[Any, bool]] = [
        (loopback, True), (other, False), (dispatcher, False), (mock, True), (Mock(), True),
        (StatisticsEndpoint(other), False), (TunnelEndpoint(loopback), True), (TunnelEndpoint(other), False)]
    for node, local in cases:
        assert is_local_endpoint(node) is local, node
        assert is_reachable_address(("127.0.0.1", 1), node) is local
        assert is_reachable_address(("8.8.8.8", 1), node)
        assert not is_reachable_address(("8.8.8.8", 0), node)
        assert not is_reachable_address(("0.0.0.0", 1), node)
    for endpoint in (loopback, other):
        endpoint.close()


async def test_a_closed_endpoint_is_not_local() -> None:
    assert not is_local_endpoint(UDPEndpoint(0, "0.0.0.0"))
