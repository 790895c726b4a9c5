"""The HTTP interface of a node: requests on one connection, and what it costs to count packets.

The client is in another process and sends one request after the other, so requests a second are what one client gets,
and the processor time of a request is that of the node.
"""

from __future__ import annotations

import asyncio
from os import urandom
from time import process_time
from typing import TYPE_CHECKING, Any

from benchmarks.library import Library
from benchmarks.measure import Figure
from ipv8.configuration import ConfigBuilder
from ipv8.messaging.interfaces.endpoint import EndpointListener
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.peer import Peer
from ipv8.REST.rest_manager import RESTManager
from ipv8_service import IPv8

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = ("/overlays", "/network", "/tunnel/circuits", "/dht/statistics")
OVERLAYS = ("DiscoveryCommunity", "HiddenTunnelCommunity", "DHTDiscoveryCommunity")
PEERS = 30
WARM_UP, REQUESTS = 200, 4000
PACKETS = 200_000
PREFIX = b"\x00\x02" + b"B" * 20

CLIENT = """
import socket, sys, time
port, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connection = socket.create_connection(("127.0.0.1", port))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
request = f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n".encode()
buffer = b""
started = time.perf_counter()
for _ in range(count):
    connection.sendall(request)
    while b"\\r\\n\\r\\n" not in buffer:
        buffer += connection.recv(1 << 16)
    head, _, buffer = buffer.partition(b"\\r\\n\\r\\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
    while len(buffer) < length:
        buffer += connection.recv(1 << 20)
    buffer = buffer[length:]
print(time.perf_counter() - started)
"""


def measure() -> Iterator[Figure]:
    """Yield the requests a second and their processor time, and the time that counting adds to a packet."""
    yield from asyncio.run(_measure())
    yield from _measure_meter()


async def _measure() -> list[Figure]:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("my peer")
    builder.set_address("127.0.0.1").set_log_level("ERROR")
    for name in OVERLAYS:
        builder.add_overlay(name, "my peer", [], [], {}, [])
    node = IPv8(builder.finalize())
    await node.start()
    for index in range(PEERS):
        peer = Peer(b"LibNaCLPK:" + urandom(64), UDPv4Address(f"127.1.0.{index + 1}", 9))
        node.network.add_verified_peer(peer)
        node.network.discover_services(peer, [overlay.community_id for overlay in node.overlays])
    manager = RESTManager(node)
    await manager.start(0)
    site: Any = manager.site
    port = site._server.sockets[0].getsockname()[1]
    figures = []
    for path in PATHS:
        await _request(port, path, WARM_UP)
        before = process_time()
        seconds = await _request(port, path, REQUESTS)
        processor = process_time() - before
        figures += [Figure(f"GET {path}", REQUESTS / seconds, "1/s", more_is_better=True),
                    Figure(f"GET {path} processor time", processor / REQUESTS * 1e6)]
    await manager.stop()
    await node.stop()
    return figures


async def _request(port: int, path: str, count: int) -> float:
    """Make requests from another process, and return the seconds that it takes."""
    client = await asyncio.create_subprocess_exec(*Library.running().script(CLIENT), str(port), path, str(count),
                                                  stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await client.communicate()
    if client.returncode:
        raise RuntimeError(errors.decode().strip())
    return float(output)


class _Listener(EndpointListener):
    """Takes packets."""

    def on_packet(self, packet: Any) -> None:
        """Do nothing."""


def _measure_meter() -> Iterator[Figure]:
    try:
        from ipv8.messaging.interfaces.meter import TrafficMeter
    except ModuleNotFoundError:  # another library
        return
    endpoint = UDPEndpoint(ip="127.0.0.1")
    endpoint._running = True  # without a socket, whose cost would be the largest part
    endpoint._bound = ("127.0.0.1", 1)
    endpoint._transmit = lambda packet, _: len(packet)
    endpoint.add_prefix_listener(_Listener(endpoint), PREFIX)
    packet = UDPv4Address("127.0.0.1", 9), PREFIX + b"\x01" + bytes(100)
    for meter in (None, TrafficMeter()):
        endpoint.gate.meter = meter
        receive, send, route = endpoint.gate.receive, endpoint.send, endpoint.gate.route
        _repeat(receive, packet, route)
        name = "with" if meter is not None else "without"
        yield Figure(f"receive a packet {name} a meter", min(_repeat(receive, packet, route) for _ in range(5)) * 1e9,
                     "ns")
        yield Figure(f"send a packet {name} a meter", min(_repeat(send, *packet) for _ in range(5)) * 1e9, "ns")


def _repeat(function: Any, *arguments: Any) -> float:
    """Seconds of one call."""
    started = process_time()
    for _ in range(PACKETS):
        function(*arguments)
    return (process_time() - started) / PACKETS
