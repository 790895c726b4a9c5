from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ipv8.bootstrapping.udpbroadcast import bootstrapper as bootstrapper_module
from ipv8.bootstrapping.udpbroadcast.bootstrapper import (
    HDR_ANNOUNCE,
    MAGIC,
    PROTOCOL_VERSION,
    BroadcastBootstrapEndpoint,
    UDPBroadcastBootstrapper,
)
from ipv8.messaging.address import UDPv4Address

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "discovery.json").read_text("utf-8"))["misc"][
    "udp_broadcast_announce"]
ANNOUNCEMENT = bytes.fromhex(VECTOR["datagram"])
PREFIX = bytes.fromhex(VECTOR["prefix"])


class Endpoint(BroadcastBootstrapEndpoint):
    """Keeps what is sent instead of sending it."""

    opens = True
    sent: list[tuple[Any, bytes]]

    async def open(self) -> bool:
        self.sent = []
        return self.opens

    def send(self, address: Any, data: bytes) -> None:
        self.sent.append((address, data))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrapper_module, "BroadcastBootstrapEndpoint", Endpoint)
    monkeypatch.setattr(bootstrapper_module, "BURST_INTERVAL", 0.001)


def test_announcement() -> None:
    assert PROTOCOL_VERSION + MAGIC + b"\x00" == HDR_ANNOUNCE
    assert HDR_ANNOUNCE + PREFIX == ANNOUNCEMENT


def test_every_port_is_swept_once() -> None:
    ports = [port for ports in bootstrapper_module.SWEPT_PORTS for port in ports]
    assert sorted(ports) == list(range(65535))


@pytest.mark.usefixtures("silent")
async def test_sweep(overlay: Any) -> None:
    bootstrapper = UDPBroadcastBootstrapper(sweep_rate=4e6)
    assert await bootstrapper.initialize(overlay) is True
    assert bootstrapper.initialized
    endpoint: Any = bootstrapper.endpoint
    assert endpoint.sent == [], "nothing is sent in one go"
    await overlay.get_task(bootstrapper._task_name)
    assert len(endpoint.sent) == 65535
    assert set(endpoint.sent) == {(("255.255.255.255", port), ANNOUNCEMENT) for port in range(65535)}
    assert await bootstrapper.initialize(overlay) is True
    assert len(endpoint.sent) == 65535
    bootstrapper.unload()


@pytest.mark.usefixtures("silent")
async def test_sweep_is_paced(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrapper = UDPBroadcastBootstrapper()
    bursts: list[int] = []
    enough = asyncio.Event()
    real_sleep = asyncio.sleep

    async def count(delay: float) -> None:
        endpoint: Any = bootstrapper.endpoint
        bursts.append(len(endpoint.sent))
        if len(bursts) == 5:
            enough.set()
        await real_sleep(0 if delay == 0.05 else delay)

    monkeypatch.setattr(bootstrapper_module, "BURST_INTERVAL", 0.05)
    monkeypatch.setattr(asyncio, "sleep", count)
    await bootstrapper.initialize(overlay)
    await enough.wait()
    assert bursts[:5] == [0, 25, 50, 75, 100], "500 packets a second"
    bootstrapper.unload()


@pytest.mark.usefixtures("silent")
async def test_unload_ends_the_sweep(overlay: Any) -> None:
    bootstrapper = UDPBroadcastBootstrapper()
    await bootstrapper.initialize(overlay)
    sweep = overlay.get_task(bootstrapper._task_name)
    bootstrapper.unload()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    assert not bootstrapper.initialized
    assert bootstrapper.overlay is None
    assert bootstrapper.endpoint is None
    bootstrapper.beacon(PREFIX)
    assert overlay.get_tasks() == []


async def test_unload_while_the_socket_is_opened(overlay: Any) -> None:
    bootstrapper = UDPBroadcastBootstrapper(sweep_rate=0)
    opening = asyncio.ensure_future(bootstrapper.initialize(overlay))
    await asyncio.sleep(0)
    bootstrapper.unload()
    assert await opening is False
    assert (bootstrapper.initialized, bootstrapper.overlay, bootstrapper.endpoint) == (False, None, None)
    assert await bootstrapper.initialize(overlay) is True
    bootstrapper.unload()


@pytest.mark.usefixtures("silent")
async def test_other_threads_may_start_a_sweep(overlay: Any) -> None:
    bootstrapper = UDPBroadcastBootstrapper()
    await bootstrapper.initialize(overlay)
    overlay.cancel_pending_task(bootstrapper._task_name)
    await asyncio.to_thread(bootstrapper.beacon, PREFIX)
    assert overlay.is_pending_task_active(bootstrapper._task_name)
    bootstrapper.unload()
    await asyncio.to_thread(bootstrapper.beacon, PREFIX)


@pytest.mark.usefixtures("silent")
async def test_pauses_between_sweeps(overlay: Any, manual_clock: Any) -> None:
    bootstrapper = UDPBroadcastBootstrapper()
    await bootstrapper.initialize(overlay)
    started = manual_clock.now
    assert bootstrapper.last_bootstrap == started
    manual_clock.advance(30)
    await bootstrapper.get_addresses(overlay, 1.0)
    assert bootstrapper.last_bootstrap == started, "a sweep is under way"

    overlay.cancel_pending_task(bootstrapper._task_name)
    bootstrapper.keep_alive(overlay)
    assert bootstrapper.last_bootstrap == started
    assert await bootstrapper.get_addresses(overlay, 1.0) == []
    assert bootstrapper.last_bootstrap == started + 30

    overlay.cancel_pending_task(bootstrapper._task_name)
    await bootstrapper.get_addresses(overlay, 1.0)
    assert bootstrapper.last_bootstrap == started + 30
    manual_clock.advance(bootstrapper_module.KEEP_ALIVE_PAUSE)
    bootstrapper.keep_alive(overlay)
    assert bootstrapper.last_bootstrap == manual_clock.now
    bootstrapper.unload()


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("step", [-86400.0, 86400.0])
async def test_setting_the_wall_clock_changes_no_pause(overlay: Any, manual_clock: Any, step: float) -> None:
    bootstrapper = UDPBroadcastBootstrapper()
    await bootstrapper.initialize(overlay)
    overlay.cancel_pending_task(bootstrapper._task_name)
    manual_clock.step_wall(step)
    await bootstrapper.get_addresses(overlay, 1.0)
    assert not overlay.is_pending_task_active(bootstrapper._task_name)
    manual_clock.advance(30)
    await bootstrapper.get_addresses(overlay, 1.0)
    assert overlay.is_pending_task_active(bootstrapper._task_name)
    assert bootstrapper.last_bootstrap == manual_clock.time()
    bootstrapper.unload()


@pytest.mark.usefixtures("silent")
async def test_listening_only(overlay: Any) -> None:
    bootstrapper = UDPBroadcastBootstrapper(sweep_rate=0)
    assert await bootstrapper.initialize(overlay)
    assert overlay.get_tasks() == []
    bootstrapper.unload()


@pytest.mark.usefixtures("silent")
async def test_no_socket(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endpoint, "opens", False)
    bootstrapper = UDPBroadcastBootstrapper()
    assert await bootstrapper.initialize(overlay) is False
    assert not bootstrapper.initialized
    assert overlay.get_tasks() == []


async def test_endpoint_without_socket(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            raise OSError

    monkeypatch.setattr(socket, "socket", Socket)
    endpoint = BroadcastBootstrapEndpoint(overlay)
    assert await endpoint.open() is False
    endpoint.send(("127.0.0.1", 1), b"")
    endpoint.close()


async def test_sending_may_fail(overlay: Any) -> None:
    class Transport:
        def sendto(self, data: bytes, address: Any) -> None:
            raise OSError

    endpoint: Any = BroadcastBootstrapEndpoint(overlay)
    endpoint._transport = Transport()
    endpoint.send(("127.0.0.1", 1), ANNOUNCEMENT)


async def test_received_datagrams(overlay: Any) -> None:
    endpoint = BroadcastBootstrapEndpoint(overlay)
    sender = ("10.0.0.1", 5)
    for data in (b"", ANNOUNCEMENT[:-1], b"x" + ANNOUNCEMENT, HDR_ANNOUNCE + b"x" * 22, PREFIX[:-1], b"\x01" + PREFIX):
        endpoint.datagram_received(data, sender)
    assert overlay.walks == overlay.packets == []
    endpoint.datagram_received(ANNOUNCEMENT, sender)
    endpoint.datagram_received(PREFIX + b"\xf6", sender)
    assert overlay.walks == [sender]
    assert type(overlay.walks[0]) is UDPv4Address
    assert overlay.packets == [(sender, PREFIX + b"\xf6")]


async def test_announcements_of_one_host_are_limited(overlay: Any, manual_clock: Any) -> None:
    endpoint = BroadcastBootstrapEndpoint(overlay)
    for port in range(20):
        endpoint.datagram_received(ANNOUNCEMENT, ("10.0.0.1", port + 1))
    endpoint.datagram_received(ANNOUNCEMENT, ("10.0.0.2", 5))
    assert [address.ip for address in overlay.walks] == ["10.0.0.1"] * 3 + ["10.0.0.2"]


@pytest.mark.parametrize(("source", "is_near"), [
    (("66.6.6.6", 5353), False), (("10.0.0.9", 40000), True), (("192.168.7.9", 40000), True),
    (("169.254.3.3", 40000), True), (("224.0.0.1", 40000), False), (("255.255.255.255", 40000), False),
    (("10.0.0.9", 0), False), (("169.254.169.254", 80), False),
])
async def test_only_nodes_on_the_link_are_walked_to(overlay: Any, source: Any, is_near: bool) -> None:
    endpoint = BroadcastBootstrapEndpoint(overlay)
    endpoint.datagram_received(ANNOUNCEMENT, source)
    assert overlay.walks == ([source] if is_near else [])


async def test_forged_announcements_cause_few_packets(overlay: Any, manual_clock: Any) -> None:
    endpoint = BroadcastBootstrapEndpoint(overlay)
    for second in range(100):
        for number in range(30):
            endpoint.datagram_received(ANNOUNCEMENT, (f"10.0.{second}.{number + 1}", 40000))
            endpoint.datagram_received(ANNOUNCEMENT, (f"66.{second}.{number}.1", 53))
        manual_clock.advance(1.0)
    assert len(overlay.walks) <= 10 + 100
    assert len(overlay.walks) * 192 <= 3 * 2 * 3000 * len(ANNOUNCEMENT)


async def test_two_endpoints(make_bootstrapped: Any) -> None:
    first, second = make_bootstrapped(), make_bootstrapped()
    announcer, listener = BroadcastBootstrapEndpoint(first), BroadcastBootstrapEndpoint(second)
    assert await announcer.open() is True
    assert await listener.open() is True
    walked = asyncio.Event()
    second.wanted = walked.set
    announcer_port, listener_port = (endpoint._transport.get_extra_info("sockname")[1]  # type: ignore[union-attr]  # both are open
                                     for endpoint in (announcer, listener))
    announcer.send(("127.0.0.1", listener_port), ANNOUNCEMENT)
    announcer.send(("127.0.0.1", 0), ANNOUNCEMENT)
    await walked.wait()
    assert second.walks == [("127.0.0.1", announcer_port)]

    first.own_hosts = {"127.0.0.1"}
    announcer.datagram_received(ANNOUNCEMENT, ("127.0.0.1", announcer_port))
    assert first.walks == [], "it hears itself"
    announcer.datagram_received(ANNOUNCEMENT, ("10.0.0.1", announcer_port))
    assert first.walks == [("10.0.0.1", announcer_port)], "that is another machine"
    announcer.close()
    announcer.close()
    listener.close()
