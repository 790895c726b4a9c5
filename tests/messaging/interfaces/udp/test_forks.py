"""Processes that are forked while an endpoint is open."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from typing import Any

import pytest

from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.endpoint import EndpointClosedException
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp import forks
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from tests.forking import SECONDS, in_a_fork

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # with other threads, such as those of a test run
]

def body(number: int) -> bytes:
    return number.to_bytes(4, "big") + hashlib.sha256(b"%d" % number).digest() * 40


async def exchange(endpoint: UDPEndpoint, collector: Any, count: int, first: int = 0) -> None:
    """Send packets to an endpoint, which must receive exactly these."""
    kind = socket.SOCK_DGRAM
    with socket.socket(endpoint.SOCKET_FAMILY, kind) as sender:
        collector.packets.clear()
        for number in range(first, first + count):
            sender.sendto(body(number), endpoint.get_address())
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert await asyncio.wait_for(collector.wait_for(count), SECONDS) == [
            body(number) for number in range(first, first + count)]


@pytest.mark.parametrize("cls", [UDPEndpoint, UDPv6Endpoint])
async def test_a_fork_has_a_socket_of_its_own_when_it_opens_one(make_endpoint: Any, collect: Any,
                                                                request: pytest.FixtureRequest, cls: Any) -> None:
    if cls is UDPv6Endpoint:
        request.getfixturevalue("ipv6_loopback")
    endpoint = await make_endpoint(cls)
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    await exchange(endpoint, collector, 100)
    port = endpoint.get_address()[1]

    async def child() -> None:
        assert await endpoint.open()
        assert endpoint.get_address()[1] != port
        await exchange(endpoint, collector, 300, first=1000)
        endpoint.close()

    in_a_fork(lambda: asyncio.run(child()))
    await exchange(endpoint, collector, 300, first=5000)
    assert endpoint.get_address()[1] == port


async def test_in_a_fork_the_endpoint_of_the_parent_is_closed(make_endpoint: Any, collect: Any,
                                                              caplog: pytest.LogCaptureFixture) -> None:
    endpoint, other = await make_endpoint(), await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    target, descriptor = other.get_address(), endpoint._transport.get_extra_info("socket").fileno()

    def child() -> None:
        assert not endpoint.is_open()
        with pytest.raises(EndpointClosedException):
            endpoint.assert_open()
        with pytest.raises(EndpointClosedException):
            endpoint.get_address()
        for _ in range(10):
            endpoint.send(target, b"data")
        assert endpoint.drops == {DropCounter.SEND_CLOSED: 10}
        assert "before the process was forked. Call open()" in caplog.text
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
        endpoint.close()
        other.close()

    in_a_fork(child)
    await exchange(endpoint, collector, 100)  # the child did not stop the reading of the parent
    assert endpoint.is_open()
    assert not endpoint.drops
    assert not other.bytes_down


async def test_the_overlays_of_a_fork(make_endpoint: Any) -> None:
    class Lonely(Community):
        community_id = bytes(20)

    ipv4 = await make_endpoint()
    endpoint = DispatcherEndpoint([])
    endpoint.add_interface("UDPIPv4", ipv4)
    overlay = Lonely(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                                       network=Network()))
    lan = overlay.my_estimated_lan
    assert lan[1] == ipv4.get_address()[1]
    target = ipv4.get_address()

    def child() -> None:
        assert not endpoint.is_open()
        overlay.walk_to(target)
        overlay.get_new_introduction()
        assert overlay.my_estimated_lan == overlay.get_ipv6_address() == ("0.0.0.0", 0)
        assert endpoint.drops[DropCounter.SEND_CLOSED] == 1
        endpoint.add_listener(overlay)  # another thread of the parent may have held the lock

    ipv4.gate.lock.acquire()
    try:
        in_a_fork(child)
    finally:
        ipv4.gate.lock.release()
    await overlay.unload()


async def test_closed_endpoints_are_not_kept(make_endpoint: Any) -> None:
    endpoint = await make_endpoint()
    assert endpoint in forks._opened
    endpoint.close()
    assert endpoint not in forks._opened


async def test_packets_that_wait_are_sent_once(make_endpoint: Any) -> None:
    endpoint = await make_endpoint()
    endpoint._transport._queue.append((b"data", endpoint.get_address()))
    endpoint._transport._queued_bytes = 4

    def child() -> None:
        assert endpoint.drops == {DropCounter.SEND_CLOSED: 1}

    in_a_fork(child)
    assert endpoint._transport.get_write_buffer_size() == 4
