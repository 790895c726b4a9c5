"""Which packets leave at once, and which wait for others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.outbox import BURST_SECONDS, LARGEST_HELD, MAX_HELD, Outbox
from ipv8.test.clock import ManualClock
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE, THERE = UDPv4Address("10.0.0.1", 1), UDPv4Address("10.0.0.2", 2)


class Recorder(AutoMockEndpoint):
    """Keeps what is sent by each call."""

    _sends_bursts = True

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, list[bytes]]] = []

    def send(self, socket_address: Any, packet: bytes) -> None:
        self.calls.append((socket_address, [packet]))

    def send_many(self, socket_address: Any, packets: Sequence[bytes]) -> None:
        self.calls.append((socket_address, [*packets]))

    def take(self) -> list[tuple[Any, list[bytes]]]:
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def endpoint() -> Recorder:
    return Recorder()


@pytest.fixture
def outbox(endpoint: Recorder) -> Outbox:
    return Outbox(endpoint)


@pytest.fixture(autouse=True)
def manual() -> Iterator[ManualClock]:
    with clock.use(ManualClock()) as manual:
        yield manual


async def test_the_first_packet_of_a_burst_leaves_at_once_and_the_others_together(endpoint: Recorder,
                                                                                  outbox: Outbox) -> None:
    for packet in (b"1", b"2", b"3"):
        outbox.send(HERE, packet)
    assert endpoint.take() == [(HERE, [b"1"])]
    await asyncio.sleep(0)
    assert endpoint.take() == [(HERE, [b"2", b"3"])]
    outbox.send(HERE, b"4")
    assert endpoint.take() == [], "the burst goes on"
    await asyncio.sleep(0)
    assert endpoint.take() == [(HERE, [b"4"])]


async def test_single_packets_never_wait(endpoint: Recorder, outbox: Outbox, manual: ManualClock) -> None:
    for packet in (b"1", b"2"):
        outbox.send(HERE, packet)
        assert endpoint.take() == [(HERE, [packet])]
        manual.advance(BURST_SECONDS)


async def test_each_address_gets_its_packets_in_order(endpoint: Recorder, outbox: Outbox) -> None:
    for address, packet in ((HERE, b"1"), (HERE, b"2"), (THERE, b"3"), (THERE, b"4"), (HERE, b"5")):
        outbox.send(address, packet)
    await asyncio.sleep(0)
    assert endpoint.take() == [(HERE, [b"1"]), (HERE, [b"2"]), (THERE, [b"3", b"4"]), (HERE, [b"5"])]


async def test_no_more_than_a_few_packets_wait(endpoint: Recorder, outbox: Outbox) -> None:
    packets = [bytes((number,)) for number in range(2 * MAX_HELD)]
    for packet in packets:
        outbox.send(HERE, packet)
    assert endpoint.take() == [(HERE, packets[:1]), (HERE, packets[1:1 + MAX_HELD])]
    outbox.flush()
    assert endpoint.take() == [(HERE, packets[1 + MAX_HELD:])]
    await asyncio.sleep(0)
    assert endpoint.take() == []


async def test_large_packets_never_wait(endpoint: Recorder, outbox: Outbox) -> None:
    large = bytes(LARGEST_HELD + 1)
    for packet in (b"1", b"2", large, large[1:]):
        outbox.send(HERE, packet)
    assert endpoint.take() == [(HERE, [b"1"]), (HERE, [b"2"]), (HERE, [large])]
    await asyncio.sleep(0)
    assert endpoint.take() == [(HERE, [large[1:]])]


async def test_nothing_waits_where_that_saves_nothing(endpoint: Recorder, outbox: Outbox) -> None:
    endpoint._sends_bursts = False
    for packet in (b"1", b"2"):
        outbox.send(HERE, packet)
    assert endpoint.take() == [(HERE, [b"1"]), (HERE, [b"2"])]


def test_nothing_waits_without_an_event_loop(endpoint: Recorder, outbox: Outbox) -> None:
    for packet in (b"1", b"2"):
        outbox.send(HERE, packet)
    assert endpoint.take() == [(HERE, [b"1"]), (HERE, [b"2"])]
