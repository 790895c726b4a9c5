"""Sending requests and taking their answers, on an overlay that only notes what it is to send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.dht import DHTError
from ipv8.dht.admission import Admission
from ipv8.dht.freshness import Freshness
from ipv8.dht.payload import FindRequestPayload, PingRequestPayload, StoreRequestPayload
from ipv8.dht.requests import Request, Requester
from ipv8.dht.routing import Node
from ipv8.dht.timing import Measurements
from ipv8.dht.tokens import ReceivedTokens
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.serialization import default_serializer
from ipv8.requestcache import RequestCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = b"k" * 20


class Overlay:
    """What requests need of an overlay."""

    def __init__(self) -> None:
        self.request_cache = RequestCache()
        self.my_estimated_lan = UDPv4Address("192.168.1.1", 7)
        self.sent: list[tuple[Any, Any]] = []

    def ez_send(self, peer: Any, *payloads: Any) -> None:
        self.sent.append((peer, *payloads))


class Setup:
    """A requester with all that it needs."""

    def __init__(self) -> None:
        self.overlay = Overlay()
        self.measurements = Measurements()
        self.admission = Admission(138)
        freshness = Freshness(ReceivedTokens(), lambda _: b"t" * 20, default_serializer.pack_serializable)
        self.requester = Requester(self.overlay, self.measurements, self.admission, freshness)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    yield made
    await made.overlay.request_cache.shutdown()


def node(number: int = 1) -> Node:
    return Node(b"LibNaCLPK:" + bytes((number,)) * 64, UDPv4Address(f"{20 + number}.1.1.1", 7))


async def test_a_request_and_its_answer(setup: Setup, two_clocks: Any) -> None:
    other = node()
    future = setup.requester.ping(other)
    ((peer, payload),) = setup.overlay.sent
    assert (peer, type(payload)) == (other, PingRequestPayload)
    assert other.last_ping_sent == two_clocks.wall
    assert setup.requester.waits_for("ping", payload.identifier, other.key_bin)
    assert not setup.requester.waits_for("ping", payload.identifier, node(2).key_bin)
    assert not setup.requester.waits_for("store", payload.identifier, other.key_bin)

    two_clocks.advance(0.25)
    two_clocks.wall -= 3600
    other.failed = 1
    request = setup.requester.complete("ping", payload.identifier, other.address)
    assert (other.rtt, other.failed, other.last_response) == (0.25, 0, two_clocks.wall)
    assert setup.admission.is_proven(other.address)
    assert setup.measurements.round_trips.patience(node(2)) == 0.5
    assert not setup.requester.waits_for("ping", payload.identifier, other.key_bin)
    assert not future.done()
    request.resolve(other)
    request.resolve(None)
    assert await future is other


async def test_an_answer_from_elsewhere_proves_no_address(setup: Setup) -> None:
    other = node()
    setup.requester.find(other, KEY, force_nodes=True)
    elsewhere = UDPv4Address("99.1.1.1", 1)
    setup.requester.complete("find", setup.overlay.sent[0][1].identifier, elsewhere)
    assert not setup.admission.is_proven(other.address)
    assert not setup.admission.is_proven(elsewhere)


async def test_the_content_of_requests(setup: Setup) -> None:
    found = setup.requester.find(node(), KEY, force_nodes=False, offset=8)
    stored = setup.requester.store(node(), b"t" * 20, KEY, [b"v"])
    find, store = (payload for _, payload in setup.overlay.sent)
    assert isinstance(find, FindRequestPayload)
    assert (find.lan_address, find.target, find.offset, find.force_nodes) == (setup.overlay.my_estimated_lan, KEY, 8,
                                                                              False)
    assert isinstance(store, StoreRequestPayload)
    assert (store.token, store.target, store.values) == (b"t" * 20, KEY, [b"v"])
    request = setup.overlay.request_cache.get("find", find.identifier & 0xffff)
    assert isinstance(request, Request)
    assert (request.timeout_delay, request.params, request.future) == (2.0, [False], found)
    assert not stored.done()


async def test_the_same_request_again(setup: Setup) -> None:
    answer = setup.requester.find(node(), KEY, force_nodes=True)
    setup.requester.send_again(answer)
    assert setup.overlay.sent[0] == setup.overlay.sent[1]
    answer.set_result({})
    setup.requester.send_again(answer)
    await asyncio.sleep(0)
    setup.requester.send_again(answer)
    assert len(setup.overlay.sent) == 2
    assert not setup.requester._waiting


async def test_requests_have_no_task(setup: Setup) -> None:
    setup.requester.ping(node())
    assert not setup.overlay.request_cache.get_tasks()


async def test_every_packet_is_counted(setup: Setup, two_clocks: Any) -> None:
    answer = setup.requester.find(node(), KEY, force_nodes=True)
    for _ in range(8):
        setup.requester.send_again(answer)
    assert setup.measurements.pacer.free_at(node(), two_clocks.monotonic()) == two_clocks.monotonic() + 6


async def test_nothing_is_sent_after_the_shutdown(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    await setup.overlay.request_cache.shutdown()
    assert setup.requester.ping(node()).cancelled()
    assert not setup.overlay.sent
    assert "the shutdown has begun" in caplog.text


async def test_timeouts_count_against_a_node(setup: Setup) -> None:
    other = node()
    quiet = Request(setup.overlay, "ping", other, consume_errors=True)
    quiet.on_timeout()
    assert quiet.future.result() is None
    loud = Request(setup.overlay, "store", other)
    loud.on_timeout()
    assert other.failed == 2
    with pytest.raises(DHTError, match="Timeout for store to Peer<"):
        loud.future.result()
    loud.on_timeout()
    assert other.failed == 2
    loud.on_complete()
    assert other.failed == 0
    assert loud.timeout_delay == 5.0


async def test_what_programs_time_with_the_wall_clock(setup: Setup, two_clocks: Any) -> None:
    request = Request(setup.overlay, "ping", node())
    request.start_time = two_clocks.wall - 2
    request.on_complete()
    assert request.node.rtt == 2
    request.start_time = two_clocks.wall + 2
    request.on_complete()
    assert request.node.rtt == 0
