from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization import exit_socket as module
from ipv8.messaging.anonymization.exit_policy import Destinations, Resolver
from ipv8.messaging.anonymization.exit_socket import TunnelExitSocket
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer
from ipv8.taskmanager import TaskManager

from .helpers import PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = b"LibNaCLPK:" + bytes(64)
BITTORRENT = b"d1:ade"
OTHER_OVERLAY = b"\0\2" + b"x" * 20 + b"\1data"


class Overlay(TaskManager):
    """What an exit needs of a community."""

    def __init__(self, flags: set[int], private: bool = True) -> None:
        super().__init__()
        self.settings = Mock(peer_flags=flags)
        self.drops = DropCounter()
        self.exit_policy = Destinations(private, list)
        self.resolver = Resolver(self.exit_policy, self, self.look_up)
        self.crypto_endpoint = object()
        self.sent: list[tuple[Any, ...]] = []
        self.has_sent = asyncio.Event()

    async def look_up(self, name: str) -> list[Any]:
        return [(socket.AF_INET, None, None, "", ("127.0.0.1", 0))]

    def get_prefix(self) -> bytes:
        return PREFIX

    def send_data(self, *arguments: Any) -> None:
        self.sent.append(arguments)
        self.has_sent.set()


@pytest.fixture
async def overlay() -> AsyncIterator[Overlay]:
    async with Overlay({1, 2, 4}) as made:
        yield made


@pytest.fixture
async def exit_socket(overlay: Overlay) -> AsyncIterator[TunnelExitSocket]:
    made = TunnelExitSocket(7, Mock(peer=Peer(KEY), address=("9.9.9.9", 9)), overlay)  # type: ignore[arg-type]
    yield made
    await made.close()


@pytest.fixture
async def sink() -> AsyncIterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


async def receive(sock: socket.socket) -> tuple[bytes, Any]:
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(sock, arrived.set)
    try:
        await asyncio.wait_for(arrived.wait(), 50)
        return sock.recvfrom(65536)
    finally:
        loop.remove_reader(sock)


# -- rules -----------------------------------------------------------------------------------------------------------

def own(msg_id: int) -> bytes:
    return PREFIX + bytes((msg_id,)) + b"body"


@pytest.mark.parametrize(("flags", "data", "allowed"), [
    (set(), BITTORRENT, False), ({2}, BITTORRENT, True), ({4}, BITTORRENT, False),
    (set(), OTHER_OVERLAY, False), ({2}, OTHER_OVERLAY, False), ({4}, OTHER_OVERLAY, True),
    (set(), own(0), True), ({2}, own(17), True), ([4], own(1), True), ({4: 1}, OTHER_OVERLAY, True),
    ({1, 2, 4, 8}, b"anything else that is long enough", False),
])
async def test_kinds_of_data(flags: Any, data: bytes, allowed: bool) -> None:
    async with Overlay(flags) as overlay:
        assert TunnelExitSocket(0, Mock(), overlay).is_allowed(data) is allowed  # type: ignore[arg-type]


@pytest.mark.parametrize("flags", [{1}, {1, 2, 4, 8}])
async def test_a_relay_is_no_open_proxy(flags: set[int]) -> None:
    """Of the packets with the own prefix, only those of hidden services leave, whatever the flags; answers return."""
    async with Overlay(flags) as overlay:
        made = TunnelExitSocket(7, Mock(address=("9.9.9.9", 9)), overlay)  # type: ignore[arg-type]
        made.enabled = made._opened = True
        made.transport_ipv4 = transport = Mock()
        for msg_id in range(256):
            made.sendto(own(msg_id), UDPv4Address("8.8.8.8", 1))
            made.datagram_received(own(msg_id), UDPv4Address("8.8.8.8", 1))
        left = [call.args[0][22] for call in transport.sendto.call_args_list]
        assert left == [13, 14, 17, 18]
        assert [sent[4][22] for sent in overlay.sent] == [14, 18]
        assert overlay.drops[DropCounter.EXIT_REFUSED] == 512 - 6
        made.sendto(PREFIX, UDPv4Address("8.8.8.8", 1))
        assert len(transport.sendto.call_args_list) == 4
        made.transport_ipv4 = None


async def test_destinations_are_checked() -> None:
    async with Overlay({2}, private=False) as overlay:
        made = TunnelExitSocket(7, Mock(), overlay)  # type: ignore[arg-type]
        made.transport_ipv4 = transport = Mock()
        for host in ("127.0.0.1", "10.0.0.1", "224.0.0.1", "0.0.0.0"):
            made.sendto(BITTORRENT, UDPv4Address(host, 80))
        made.sendto(BITTORRENT, UDPv4Address("8.8.8.8", 0))
        assert not transport.sendto.called
        assert overlay.drops[DropCounter.BAD_TARGET] == 5
        made.sendto(BITTORRENT, UDPv4Address("8.8.8.8", 80))
        assert transport.sendto.call_args.args == (BITTORRENT, ("8.8.8.8", 80))
        made.transport_ipv4 = None


# -- sockets ---------------------------------------------------------------------------------------------------------

async def test_data_out_and_back(exit_socket: TunnelExitSocket, overlay: Overlay, sink: socket.socket) -> None:
    exit_socket.enable()
    exit_socket.enable()
    exit_socket.sendto(BITTORRENT, UDPv4Address(*sink.getsockname()))
    assert len(exit_socket.queue) == 1
    data, source = await receive(sink)
    assert data == BITTORRENT
    assert not exit_socket.queue
    assert exit_socket.bytes_up == len(BITTORRENT)
    sink.sendto(BITTORRENT + b"answere", ("127.0.0.1", source[1]))
    await asyncio.wait_for(overlay.has_sent.wait(), 50)
    assert overlay.sent == [(("9.9.9.9", 9), 7, ("0.0.0.0", 0), sink.getsockname(), BITTORRENT + b"answere")]
    assert type(overlay.sent[0][3]) is UDPv4Address
    assert exit_socket.bytes_down == len(BITTORRENT) + 7


async def test_names(exit_socket: TunnelExitSocket, sink: socket.socket) -> None:
    exit_socket.enable()
    exit_socket.sendto(BITTORRENT, DomainAddress("localhost", sink.getsockname()[1]))
    assert (await receive(sink))[0] == BITTORRENT


async def test_names_that_cannot_be_reached(overlay: Overlay, exit_socket: TunnelExitSocket) -> None:
    exit_socket.sendto(BITTORRENT, DomainAddress("127.1", 80))
    for _ in range(5):
        await asyncio.sleep(0)
    assert overlay.drops[DropCounter.SEND_UNRESOLVED] == 1


async def test_few_packets_wait_for_names(exit_socket: TunnelExitSocket, overlay: Overlay) -> None:
    for number in range(2 * module.MAX_WAITING):
        exit_socket.sendto(BITTORRENT, DomainAddress(f"name{number}.org", 80))
    assert overlay.drops[DropCounter.SEND_QUEUE_FULL] == module.MAX_WAITING
    assert len(exit_socket.get_anonymous_tasks("resolving_")) == module.MAX_WAITING


async def test_few_packets_wait_for_sockets(exit_socket: TunnelExitSocket) -> None:
    for number in range(3 * module.QUEUE_LENGTH):
        exit_socket.sendto(b"d%de" % number, UDPv4Address("127.0.0.1", 80))
    assert len(exit_socket.queue) == module.QUEUE_LENGTH
    assert exit_socket.queue[-1][0] == b"d%de" % (3 * module.QUEUE_LENGTH - 1)


async def test_no_ipv6(exit_socket: TunnelExitSocket, overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    bind = module.TunnelProtocol._bind

    def refuse(self: module.TunnelProtocol) -> socket.socket:
        if ":" in self.local_addr[0]:
            raise OSError("no IPv6")
        return bind(self)

    monkeypatch.setattr(module.TunnelProtocol, "_bind", refuse)
    exit_socket.enable()
    exit_socket.sendto(BITTORRENT, UDPv6Address("2606:4700::1", 80))
    await exit_socket.wait_for_tasks()
    assert not exit_socket.queue
    assert overlay.drops[DropCounter.SEND_NO_INTERFACE] == 1


async def test_what_the_socket_cannot_send_is_counted(exit_socket: TunnelExitSocket, overlay: Overlay,
                                                      sink: socket.socket) -> None:
    exit_socket.enable()
    exit_socket.sendto(BITTORRENT.ljust(70_000, b"e"), UDPv4Address(*sink.getsockname()))
    exit_socket.sendto(BITTORRENT, UDPv4Address(*sink.getsockname()))
    assert (await receive(sink))[0] == BITTORRENT
    assert sum(overlay.drops.values()) == 1


async def test_event_loops_without_readers(exit_socket: TunnelExitSocket, sink: socket.socket,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(module, "DrainingTransport", refuse)
    exit_socket.enable()
    exit_socket.sendto(BITTORRENT, UDPv4Address(*sink.getsockname()))
    assert (await receive(sink))[0] == BITTORRENT


async def test_mapped_sources_are_left_to_the_other_socket(exit_socket: TunnelExitSocket, overlay: Overlay) -> None:
    exit_socket.datagram_received_ipv6(BITTORRENT, ("::ffff:1.2.3.4", 5, 0, 0))
    assert not overlay.sent
    exit_socket.datagram_received_ipv6(BITTORRENT, ("2606:4700::1", 5, 0, 0))
    assert type(overlay.sent[0][3]) is UDPv6Address


async def test_bandwidth_of_what_comes_back(exit_socket: TunnelExitSocket, overlay: Overlay) -> None:
    overlay.crypto_endpoint = Mock(may_exit=lambda size: False)
    exit_socket.datagram_received(BITTORRENT, UDPv4Address("8.8.8.8", 1))
    assert not overlay.sent
    assert overlay.drops[DropCounter.RELAY_LIMITED] == 1


# -- life ------------------------------------------------------------------------------------------------------------

async def test_no_task_until_data_leave(exit_socket: TunnelExitSocket) -> None:
    assert not exit_socket.has_tasks
    assert exit_socket.transport_ipv4 is None
    await exit_socket.close()
    assert not exit_socket.has_tasks


async def test_closing(exit_socket: TunnelExitSocket) -> None:
    closed: list[int] = []
    exit_socket.on_closed.append(lambda: closed.append(1))
    exit_socket.enable()
    await exit_socket.wait_for_tasks()
    transport = exit_socket.transport_ipv4
    assert transport is not None
    exit_socket.note_closed()
    exit_socket.note_closed()
    await exit_socket.close()
    assert closed == [1]
    assert transport.is_closing()
    assert exit_socket.transport_ipv4 is None


async def test_without_a_community() -> None:
    made = TunnelExitSocket(0, Mock(peer=Peer(KEY + b"\0")), Mock(settings=Mock(peer_flags={2})))
    assert made.is_allowed(BITTORRENT)
    assert (await made.resolve(DomainAddress("localhost", 5)))[1] == 5
    await made.close()
    with pytest.raises(AttributeError, match="nothing"):
        made.nothing  # noqa: B018 - that is tested
