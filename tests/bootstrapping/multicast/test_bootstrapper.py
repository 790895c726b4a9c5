from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.bootstrapping.multicast import bootstrapper as bootstrapper_module
from ipv8.bootstrapping.multicast.bootstrapper import MulticastBootstrapper
from ipv8.bootstrapping.multicast.group import MulticastGroup
from ipv8.bootstrapping.multicast.wire import ANNOUNCEMENT, ANSWER, Datagram, decode, encode
from ipv8.messaging.address import UDPv4Address, UDPv6Address

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = b"\x00\x02" + bytes(range(20))
NONCE = b"n" * 8
LOOPBACK = next((index for index, name in socket.if_nameindex() if name.startswith("lo")), 1 << 20)
SOURCE = ("10.0.0.1", 5)
SOURCE6 = ("fe80::1%eth0", 5, 0, 2)


class Group(MulticastGroup):
    """Keeps what is sent instead of sending it."""

    opens = (True, True)
    sent: list[tuple[Any, Any]]

    async def open(self) -> bool:
        self.sent = []
        return self.opens[self.is_ipv6]

    def send(self, data: bytes, address: tuple[Any, ...] | None = None) -> None:
        self.sent.append((decode(data), address))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrapper_module, "MulticastGroup", Group)
    monkeypatch.setattr(bootstrapper_module, "MAX_ANSWER_DELAY", 0.0)


@pytest.fixture
async def joined(silent: None, overlay: Any) -> Any:
    bootstrapper = MulticastBootstrapper()
    assert await bootstrapper.initialize(overlay) is True
    return bootstrapper


def groups(bootstrapper: MulticastBootstrapper) -> tuple[Any, Any]:
    return bootstrapper._possible_groups


def receive(bootstrapper: MulticastBootstrapper, group: Any, datagram: Datagram, source: tuple[Any, ...]) -> None:
    bootstrapper._on_datagram(group, encode(datagram), source)


async def test_initialization_announces_on_all_groups(joined: Any, overlay: Any) -> None:
    assert joined.initialized
    announcement = Datagram(ANNOUNCEMENT, PREFIX, joined._nonce)
    assert [group.sent for group in groups(joined)] == [[(announcement, None)]] * 2
    assert await joined.initialize(overlay) is True
    assert len(groups(joined)[0].sent) == 1


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(("opens", "works"), [((True, False), True), ((False, True), True), ((False, False), False)])
async def test_groups_that_cannot_be_joined(overlay: Any, monkeypatch: pytest.MonkeyPatch, opens: tuple[bool, bool],
                                            works: bool) -> None:
    monkeypatch.setattr(Group, "opens", opens)
    bootstrapper = MulticastBootstrapper()
    assert await bootstrapper.initialize(overlay) is works
    assert bootstrapper.initialized is works
    assert [len(group.sent) for group in groups(bootstrapper)] == [int(opened) for opened in opens]
    bootstrapper.unload()


async def test_announcements_are_rare(joined: Any, overlay: Any, manual_clock: Any) -> None:
    ipv4, _ = groups(joined)
    joined.last_bootstrap = manual_clock.now
    joined.keep_alive(overlay)
    assert await joined.get_addresses(overlay, 1.0) == []
    assert len(ipv4.sent) == 1
    manual_clock.advance(30)
    joined.keep_alive(overlay)
    await joined.get_addresses(overlay, 1.0)
    assert len(ipv4.sent) == 2
    assert ipv4.sent[0][0].nonce != ipv4.sent[1][0].nonce


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
async def test_setting_the_wall_clock_changes_no_interval(joined: Any, overlay: Any, manual_clock: Any,
                                                          step: float) -> None:
    ipv4, _ = groups(joined)
    joined.last_bootstrap = manual_clock.time()
    manual_clock.step_wall(step)
    joined.keep_alive(overlay)
    assert len(ipv4.sent) == 1
    receive(joined, ipv4, Datagram(ANSWER, PREFIX, joined._nonce, 77), SOURCE)
    assert len(overlay.walks) == 1, "the answer is in time"
    manual_clock.advance(5.1)
    receive(joined, ipv4, Datagram(ANSWER, PREFIX, joined._nonce, 77), SOURCE)
    assert len(overlay.walks) == 1
    manual_clock.advance(25)
    joined.keep_alive(overlay)
    assert len(ipv4.sent) == 2


async def test_an_announcement_is_answered(joined: Any, overlay: Any) -> None:
    ipv4, _ = groups(joined)
    receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, NONCE), SOURCE)
    await overlay.wait_for_tasks()
    assert ipv4.sent[1:] == [(Datagram(ANSWER, PREFIX, NONCE, 8090), SOURCE)]
    assert overlay.walks == []


@pytest.mark.parametrize(("known", "guessed", "expected"), [
    (None, None, None),
    (None, UDPv6Address("2001:db8::1", 7), (7, "2001:db8::1")),
    (None, UDPv6Address("::", 7), (7, "")),
    (UDPv6Address("2001:db8::2", 6), UDPv6Address("::", 7), (6, "2001:db8::2")),
    (None, UDPv6Address("2001:db8::1", 0), None),
])
async def test_an_ipv6_announcement_is_answered(joined: Any, overlay: Any, known: Any, guessed: Any,
                                                expected: Any) -> None:
    _, ipv6 = groups(joined)
    overlay.ipv6_address = guessed
    if known:
        overlay.my_peer.address = known
    receive(joined, ipv6, Datagram(ANNOUNCEMENT, PREFIX, NONCE), SOURCE6)
    await overlay.wait_for_tasks()
    assert ipv6.sent[1:] == ([(Datagram(ANSWER, PREFIX, NONCE, *expected), SOURCE6)] if expected else [])


async def test_what_is_not_answered(joined: Any, overlay: Any) -> None:
    ipv4, _ = groups(joined)
    receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, joined._nonce), SOURCE)
    receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX[::-1], NONCE), SOURCE)
    joined._on_datagram(ipv4, b"", SOURCE)
    overlay.my_estimated_lan = UDPv4Address("0.0.0.0", 0)
    receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, NONCE), SOURCE)
    await overlay.wait_for_tasks()
    assert len(ipv4.sent) == 1


async def test_answers_are_limited(joined: Any, overlay: Any, manual_clock: Any) -> None:
    ipv4, _ = groups(joined)
    for number in range(10):
        receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, NONCE), ("10.0.0.1", number))
    await overlay.wait_for_tasks()
    assert len(ipv4.sent) == 1 + 3
    for number in range(100):
        receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, NONCE), (f"10.0.1.{number}", 5))
    await overlay.wait_for_tasks()
    assert len(ipv4.sent) == 1 + 20


@pytest.mark.parametrize(("port", "walks"), [(77, [("10.0.0.1", 77)]), (0, [])])
async def test_who_answers_is_walked_to(joined: Any, overlay: Any, port: int, walks: list[Any]) -> None:
    receive(joined, groups(joined)[0], Datagram(ANSWER, PREFIX, joined._nonce, port, "2001:db8::1"), SOURCE)
    assert overlay.walks == walks
    assert all(type(address) is UDPv4Address for address in overlay.walks)


@pytest.mark.parametrize(("claimed", "source", "walks"), [
    ("2001:db8::1", SOURCE6, [("2001:db8::1", 77)]),
    ("", ("2001:db8::2", 5, 0, 0), [("2001:db8::2", 77)]),
    ("", SOURCE6, []),
    ("fe80::2", SOURCE6, []),
    ("ff02::1", SOURCE6, []),
])
async def test_who_answers_by_ipv6_is_walked_to(joined: Any, overlay: Any, claimed: str, source: Any,
                                                walks: list[Any]) -> None:
    receive(joined, groups(joined)[1], Datagram(ANSWER, PREFIX, joined._nonce, 77, claimed), source)
    assert overlay.walks == walks
    assert all(type(address) is UDPv6Address for address in overlay.walks)


@pytest.mark.parametrize(("source", "is_near"), [
    (("66.6.6.6", 5353), False), (("10.0.0.9", 5), True), (("192.168.7.9", 5), True), (("169.254.3.3", 5), True),
    (("fe80::7%eth0", 5, 0, 2), True), (("2001:db8::7", 5, 0, 0), True), (("2a00:1::7", 5, 0, 0), False),
    (("224.0.0.1", 5), False),
])
async def test_only_nodes_on_the_link_are_answered(joined: Any, overlay: Any, source: Any, is_near: bool) -> None:
    group = groups(joined)[":" in source[0]]
    overlay.ipv6_address = UDPv6Address("fd00::1", 7)
    receive(joined, group, Datagram(ANNOUNCEMENT, PREFIX, NONCE), source)
    await overlay.wait_for_tasks()
    assert len(group.sent) - 1 == is_near


@pytest.mark.parametrize("claimed", ["::1", "fe80::2", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2001:21::1",
                                     "fd00:ec2::254"])
async def test_answers_lead_to_no_strange_address(joined: Any, overlay: Any, claimed: str) -> None:
    receive(joined, groups(joined)[1], Datagram(ANSWER, PREFIX, joined._nonce, 77, claimed), SOURCE6)
    assert overlay.walks == []


async def test_a_member_gets_only_what_is_for_the_group() -> None:
    received: list[bytes] = []
    port = free_port()
    group = MulticastGroup("239.255.118.56", port, lambda _, data, source: received.append(data), "127.0.0.1")
    if not await group.open() or sys.platform == "win32":
        pytest.skip("no multicast on the loopback interface")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"for this node", ("127.0.0.1", port))
    arrived = asyncio.Event()
    group._receive = lambda _, data, source: (received.append(data), arrived.set())  # type: ignore[assignment,func-returns-value]
    group.send(b"for the group")
    await asyncio.wait_for(arrived.wait(), 50)
    assert received == [b"for the group"]
    group.close()


async def test_unexpected_answers(joined: Any, overlay: Any, manual_clock: Any) -> None:
    ipv4, _ = groups(joined)
    joined.last_bootstrap = manual_clock.now
    receive(joined, ipv4, Datagram(ANSWER, PREFIX, NONCE, 77), SOURCE)
    manual_clock.advance(5.1)
    receive(joined, ipv4, Datagram(ANSWER, PREFIX, joined._nonce, 77), SOURCE)
    assert overlay.walks == []


async def test_walks_are_limited(joined: Any, overlay: Any, manual_clock: Any) -> None:
    joined.last_bootstrap = manual_clock.now
    for number in range(100):
        receive(joined, groups(joined)[0], Datagram(ANSWER, PREFIX, joined._nonce, 77), (f"10.0.0.{number}", 5))
    assert len(overlay.walks) == 20


async def test_unload(joined: Any, overlay: Any) -> None:
    ipv4, _ = groups(joined)
    receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, NONCE), SOURCE)
    joined.unload()
    await overlay.wait_for_tasks()
    assert not joined.initialized
    receive(joined, ipv4, Datagram(ANNOUNCEMENT, PREFIX, NONCE), SOURCE)
    joined.keep_alive(overlay)
    await overlay.wait_for_tasks()
    assert len(ipv4.sent) == 1


async def test_unload_while_the_groups_are_joined(silent: None, overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    joins = Group.open

    async def join_late(group: Group) -> bool:
        await asyncio.sleep(0)
        return await joins(group)

    monkeypatch.setattr(Group, "open", join_late)
    bootstrapper = MulticastBootstrapper()
    joining = asyncio.ensure_future(bootstrapper.initialize(overlay))
    await asyncio.sleep(0)
    bootstrapper.unload()
    assert await joining is False
    assert [group.sent for group in groups(bootstrapper)] == [[], []]
    assert bootstrapper.overlay is None
    assert await bootstrapper.initialize(overlay) is True


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_on_loopback(make_bootstrapped: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrapper_module, "MAX_ANSWER_DELAY", 0.0)
    monkeypatch.setattr(bootstrapper_module, "ANSWER_WINDOW", 1e9)
    port = free_port()
    nodes = [make_bootstrapped(7000 + number) for number in range(3)]
    bootstrappers = [MulticastBootstrapper(interface="127.0.0.1", interface_index=LOOPBACK, port=port) for _ in nodes]
    found = asyncio.Event()
    nodes[2].wanted = lambda: found.set() if len(nodes[2].walks) == 2 else None
    for node, bootstrapper in zip(nodes, bootstrappers, strict=True):
        if not await bootstrapper.initialize(node) or bootstrapper._groups[0].is_ipv6:
            pytest.skip("no multicast on the loopback interface")
    await found.wait()
    assert sorted(nodes[2].walks) == [("127.0.0.1", 7000), ("127.0.0.1", 7001)]
    for bootstrapper in bootstrappers:
        bootstrapper.unload()


@pytest.mark.parametrize(("host", "interface"), [("239.255.118.56", "203.0.113.77"), ("ff02::1", 1 << 20)])
async def test_group_that_cannot_be_joined(host: str, interface: str | int) -> None:
    group = MulticastGroup(host, free_port(), lambda *_: None, interface)
    assert await group.open() is False
    group.send(b"")
    group.close()


async def test_sending_to_a_group_may_fail() -> None:
    class Transport:
        def sendto(self, data: bytes, address: Any) -> None:
            raise OSError

    group: Any = MulticastGroup("239.255.118.56", 1, lambda *_: None)
    group._sender = Transport()
    group.send(b"")


async def test_group_of_ipv6_on_loopback() -> None:
    received: asyncio.Future[tuple[bytes, str]] = asyncio.get_running_loop().create_future()

    def receive(_: MulticastGroup, data: bytes, source: tuple[Any, ...]) -> None:
        if not received.done():
            received.set_result((data, source[0]))

    group = MulticastGroup("ff01::4950:7638", free_port(), receive, LOOPBACK)
    if not await group.open():
        pytest.skip("no IPv6 on the loopback interface")
    sender: Any = group._sender
    port = sender.get_extra_info("sockname")[1]
    group.send(b"data", ("::1", port))
    assert await received == (b"data", "::1")
    group.send(b"x" * 70000)
    group.close()
