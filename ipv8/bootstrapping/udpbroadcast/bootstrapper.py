"""Finding first peers by broadcasts in the local network (doc/protocol/trackers.md section 5)."""

from __future__ import annotations

import asyncio
import socket
from asyncio import DatagramProtocol, DatagramTransport, Lock
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, cast

from ... import clock
from ...contact.targets import is_on_link, is_target
from ...limits import TokenBuckets
from ...messaging.address import UDPv4Address
from ...messaging.interfaces.gate import Route
from ...messaging.interfaces.lan_addresses.interfaces import get_lan_addresses
from ..bootstrapper_interface import Bootstrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...community import Community
    from ...messaging.address import Address

__all__ = ["HDR_ANNOUNCE", "MAGIC", "PROTOCOL_VERSION", "BroadcastBootstrapEndpoint", "UDPBroadcastBootstrapper"]

PROTOCOL_VERSION = b"\x00\x00"
MAGIC = b"IPv8"
HDR_ANNOUNCE = PROTOCOL_VERSION + MAGIC + b"\x00"

BROADCAST_HOST = "255.255.255.255"
#: All ports, as those of other nodes are not known. Systems choose ports from the upper part, so that is first.
SWEPT_PORTS = (range(32768, 65535), range(32768))
#: Seconds between two bursts of a sweep.
BURST_INTERVAL = 0.05
#: Seconds between the starts of two sweeps, at least, while the overlay has peers.
KEEP_ALIVE_PAUSE = 600.0
#: Walks to one IP address because of announcements, and to all of them. A sweep brings one announcement in two minutes.
WALKS_PER_SECOND_PER_HOST, WALKS_AT_ONCE_PER_HOST = 0.1, 3.0
WALKS_PER_SECOND, WALKS_AT_ONCE = 1.0, 10.0


class BroadcastBootstrapEndpoint(DatagramProtocol):
    """A socket for announcements, in addition to the endpoint of ``overlay``.

    A node that announces itself is contacted from the endpoint of the overlay. Packets of the overlay that arrive at
    this socket enter by the gate of that endpoint.
    """

    def __init__(self, overlay: Community) -> None:
        self.overlay = overlay
        self._transport: DatagramTransport | None = None
        self._walks = TokenBuckets(WALKS_PER_SECOND, WALKS_AT_ONCE, capacity=1)
        self._walks_per_host = TokenBuckets(WALKS_PER_SECOND_PER_HOST, WALKS_AT_ONCE_PER_HOST)

    async def open(self) -> bool:
        """Open the socket on any port; ``False`` if that fails."""
        sock = None
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setblocking(False)
            sock.bind(("", 0))
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        except OSError:
            return False
        finally:
            if sock is not None and self._transport is None:
                sock.close()
        return True

    def close(self) -> None:
        """Close the socket if it is open."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def send(self, socket_address: Address, data: bytes) -> None:
        """Send a datagram if the socket is open; nothing is raised if it cannot be sent."""
        if self._transport is not None:
            try:
                self._transport.sendto(data, tuple(socket_address))
            except OSError:
                return

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Contact a node that announces the overlay, and hand packets of the overlay to it."""
        prefix = self.overlay.get_prefix()
        source = UDPv4Address(*addr[:2])
        if data.startswith(HDR_ANNOUNCE + prefix):
            if (self._may_announce(source) and not self._is_own(source) and self._walks_per_host.take(source.ip)
                    and self._walks.take()):
                self.overlay.walk_to(source)
        elif data.startswith(prefix):
            endpoint = self.overlay.endpoint
            if endpoint.is_open():
                endpoint.gate.receive((source, data), Route.SOCKET)

    def _may_announce(self, source: UDPv4Address) -> bool:
        """Whether an announcement can have come from ``source``, by a broadcast on a link of this machine.

        The socket takes packets from everywhere, and anybody can forge the source of one.
        """
        return (is_target(source, source)
                and is_on_link(source.ip, (self.overlay.my_estimated_lan[0], *get_lan_addresses())))

    def _is_own(self, source: UDPv4Address) -> bool:
        if self._transport is None or self._transport.get_extra_info("sockname")[1] != source.port:
            return False
        return self.overlay.address_is_lan(source.ip)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread runs ``loop``."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class UDPBroadcastBootstrapper(Bootstrapper):
    """Announces an overlay to all other nodes in the local network that use this class.

    Their ports are not known, so a sweep sends an announcement to every port. That takes minutes, as its rate is
    limited.

    :param bootstrap_timeout: seconds between the starts of two sweeps, at least, while there are no peers.
    :param sweep_rate: packets per second. With 0 nothing is announced, but announcements are received.
    """

    has_own_sockets = True

    #: When the last sweep was started, in seconds since the Unix epoch; 0 if none was.
    last_bootstrap = clock.WallTime("_sweep_started_at")

    def __init__(self, bootstrap_timeout: float = 30.0, sweep_rate: float = 500.0) -> None:
        super().__init__()
        self.bootstrap_timeout = bootstrap_timeout
        self.sweep_rate = sweep_rate
        self.overlay: Community | None = None
        self.endpoint: BroadcastBootstrapEndpoint | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep_started_at = -inf
        self._opening = Lock()
        self._unloads = 0
        self._task_name = f"broadcast sweep {id(self)}"

    async def initialize(self, overlay: Community) -> bool:
        """Open the socket and start a sweep; ``False`` if no socket can be opened, or this is unloaded meanwhile."""
        unloads = self._unloads
        async with self._opening:
            if not self.initialized:
                endpoint = BroadcastBootstrapEndpoint(overlay)
                if not await endpoint.open():
                    return False
                if self._unloads != unloads:
                    endpoint.close()
                    return False
                self._loop = asyncio.get_running_loop()
                self.overlay, self.endpoint, self.initialized = overlay, endpoint, True
                self.beacon(overlay.get_prefix())
        return self.initialized

    def beacon(self, service_prefix: bytes) -> None:
        """Start to send an announcement of the overlay with this prefix to every port, unless a sweep is running.

        It may be called in any thread, and returns at once.
        """
        if self._loop is not None and not _runs_here(self._loop):
            self._loop.call_soon_threadsafe(self.beacon, service_prefix)
            return
        if self.overlay is None or self.sweep_rate <= 0 or self.overlay.is_pending_task_active(self._task_name):
            return
        self.last_bootstrap = clock.time()
        self.overlay.register_task(self._task_name, self._sweep, service_prefix)

    async def get_addresses(self, overlay: Community, timeout: float) -> list[Address]:  # noqa: ARG002 - specified
        """Start a sweep if ``bootstrap_timeout`` is over.

        The result is empty: nodes that get an announcement contact this one.
        """
        self._beacon_after(self.bootstrap_timeout, overlay)
        return []

    def keep_alive(self, overlay: Community) -> None:
        """Start a sweep if the last one was long ago."""
        self._beacon_after(max(self.bootstrap_timeout, KEEP_ALIVE_PAUSE), overlay)

    def blacklist(self) -> Iterable[Address]:
        """There is no server."""
        return []

    def unload(self) -> None:
        """Stop the sweep and close the socket."""
        self._unloads += 1
        if self.overlay is not None:
            self.overlay.cancel_pending_task(self._task_name)
        if self.endpoint is not None:
            self.endpoint.close()
        self.overlay, self.endpoint, self.initialized, self._loop = None, None, False, None

    def _beacon_after(self, pause: float, overlay: Community) -> None:
        if self.initialized and clock.monotonic() >= self._sweep_started_at + pause:
            self.beacon(overlay.get_prefix())

    async def _sweep(self, prefix: bytes) -> None:
        endpoint = cast("BroadcastBootstrapEndpoint", self.endpoint)
        announcement = HDR_ANNOUNCE + prefix
        allowance = 0.0
        for port in chain(*SWEPT_PORTS):
            while allowance < 1:
                await asyncio.sleep(BURST_INTERVAL)
                allowance += self.sweep_rate * BURST_INTERVAL
            allowance -= 1
            endpoint.send((BROADCAST_HOST, port), announcement)
