"""Where the circuits of others end, and by which their data leave (doc/protocol/tunnels.md section 11)."""

from __future__ import annotations

import asyncio
import logging
from asyncio import DatagramProtocol
from collections import deque
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SO_RCVBUF, SOCK_DGRAM, SOL_SOCKET, socket
from typing import TYPE_CHECKING, Any

from ... import clock
from ...reexports import reexports
from ...taskmanager import TaskManager
from ..address import DomainAddress, UDPv4Address, UDPv6Address
from ..interfaces.network_stats import DropCounter
from ..interfaces.udp.transport import RECEIVE_SIZE, DrainingTransport
from .exit_policy import EXITED_OWN_MESSAGES, RETURNED_OWN_MESSAGES, DataChecker, Destinations, Resolver
from .tunnel import PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_IPV8, RoutingObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import TunnelBase

__all__ = ["DataChecker", "TunnelExitSocket", "TunnelProtocol"]

QUEUE_LENGTH = 64
"""Packets that wait until the sockets of an exit are open; the oldest is dropped first."""

MAX_WAITING = 16
"""Packets of one exit that wait for the addresses of names; further ones are dropped."""

PERMISSION_SECONDS = 1.0
"""How long packets go to the same address before it is checked again."""

EXIT_RECEIVE_BUFFER = 1 << 20
"""Bytes of socket buffer that an exit asks for."""

ZERO = ("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire
_OF_TASK_MANAGERS = frozenset({"_checker", "_counter", "_logger", "_pending_tasks", "_replacements", "_shutdown",
                               "_shutdown_tasks", "_task_lock", "_timers"})
PREFIX_START = b"\0"
"""The first byte of the prefix of each overlay."""
ID_AT = 22
"""Where the message id of a packet of an overlay is."""


class TunnelProtocol(DatagramProtocol):
    """Opens a UDP socket.

    :param received_cb: called with the data and the source of each packet.
    :param local_addr: the address to bind, which decides on IPv4 or IPv6.
    """

    def __init__(self, received_cb: Callable[[bytes, Any], object], local_addr: Address) -> None:
        self.logger = logging.getLogger(type(self).__name__)
        self.received_cb = received_cb
        self.local_addr = local_addr
        #: Where packets are counted that could not be sent.
        self.drops = DropCounter()

    async def open(self) -> asyncio.DatagramTransport:
        """Bind the socket and begin to receive.

        :raises OSError: if the operating system refuses.
        """
        loop = asyncio.get_running_loop()
        sock = self._bind()
        try:
            return DrainingTransport(loop, sock, lambda source: source, self._received, _ignore, _ignore, self.drops)
        except NotImplementedError:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
        if hasattr(transport, "max_size"):
            transport.max_size = RECEIVE_SIZE  # the default makes the allocator slow
        return transport

    def _bind(self) -> socket:
        family = AF_INET6 if ":" in self.local_addr[0] else AF_INET
        sock = socket(family, SOCK_DGRAM)
        try:
            if family == AF_INET6:
                sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
            sock.setsockopt(SOL_SOCKET, SO_RCVBUF, EXIT_RECEIVE_BUFFER)
            sock.setblocking(False)
            sock.bind(self.local_addr)
        except OSError:
            sock.close()
            raise
        return sock

    def _received(self, packets: list[tuple[Any, bytes]]) -> None:
        for source, data in packets:
            self.received_cb(data, source)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Hand on a packet of asyncio's own transport."""
        self.received_cb(data, addr)


def _ignore(_: int) -> None:
    """Count nothing."""


class TunnelExitSocket(RoutingObject, TaskManager):
    """The end of a circuit of another node.

    Its sockets are opened when the first data shall leave. Most joined circuits have none, so tasks are only prepared
    for when there is one.

    :param circuit_id: the number of the circuit on the link that it came by.
    :param hop: the node at the other end of that link, with the keys that the origin and this node share.
    :param overlay: the tunnel community.
    """

    def __init__(self, circuit_id: int, hop: Hop, overlay: TunnelBase) -> None:
        RoutingObject.__init__(self, circuit_id)
        self.hop = hop
        self.overlay = overlay
        self.transport_ipv4: asyncio.DatagramTransport | None = None
        self.transport_ipv6: asyncio.DatagramTransport | None = None
        self.queue: deque[tuple[bytes, Any]] = deque(maxlen=QUEUE_LENGTH)
        self.enabled = False
        #: Called once each when the circuit does not end here any more.
        self.on_closed: list[Callable[[], object]] = []
        self._waiting = 0
        self._opened = False
        self._held: list[bytes] | None = None  # what is sent together, to _permitted
        self._permitted: Address | None = None  # where something was sent last, and may be sent until _ask_again
        self._ask_again = 0.0

    def __getattr__(self, name: str) -> Any:
        # The attributes of the task manager are made when one of them is first needed.
        if name in _OF_TASK_MANAGERS and "_pending_tasks" not in vars(self):
            TaskManager.__init__(self)
            return getattr(self, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def has_tasks(self) -> bool:
        """Whether there was ever a task of this exit."""
        return "_pending_tasks" in vars(self)

    def _drop(self, reason: str) -> None:
        drops = self.overlay.drops
        if isinstance(drops, DropCounter):
            drops.count(reason)

    # Opening

    def enable(self) -> None:
        """Open the sockets, once; what waits is sent then."""
        if not self.enabled:
            self.enabled = True
            self.register_task("create_transports", self.create_transports)

    async def create_transports(self) -> None:
        """Open one socket for each IP version; if there is none of a version, its packets are dropped."""
        self.transport_ipv4 = await self._open(self.datagram_received_ipv4, ("0.0.0.0", 0))  # noqa: S104 - any interface
        self.transport_ipv6 = await self._open(self.datagram_received_ipv6, ("::", 0))
        self._opened = True
        while self.queue:
            self.sendto(*self.queue.popleft())

    async def _open(self, received: Callable[[bytes, Any], object], address: Address) -> Any:
        try:
            protocol = TunnelProtocol(received, address)
            if isinstance(self.overlay.drops, DropCounter):
                protocol.drops = self.overlay.drops
            return await protocol.open()
        except OSError as e:
            self.logger.info("An exit has no socket on %s: %s", address[0], e)
            return None

    # Out

    def sendto(self, data: bytes, destination: Address) -> None:
        """Send data that came by the circuit, if they and the destination are allowed."""
        if not self.is_allowed(data) or not self._own_message_in(data, EXITED_OWN_MESSAGES):
            self._drop(DropCounter.EXIT_REFUSED)
            return
        now = clock.monotonic()
        if destination is not self._permitted or now >= self._ask_again:  # mostly it is the same object
            if isinstance(destination, DomainAddress):
                self._send_to_name(data, destination)
                return
            self._send_held()
            if self._destinations.refuses(destination) is not None:
                self._drop(DropCounter.BAD_TARGET)
                return
            self._permitted, self._ask_again = destination, now + PERMISSION_SECONDS
        transport = self.transport_ipv6 if isinstance(destination, UDPv6Address) else self.transport_ipv4
        if transport is None:
            if self._opened:
                self._drop(DropCounter.SEND_NO_INTERFACE)
            else:
                self.queue.append((data, destination))
            return
        if self._held is not None and isinstance(transport, DrainingTransport):
            self._held.append(data)
        else:
            try:
                transport.sendto(data, tuple(destination))
            except (OSError, ValueError, TypeError) as e:
                self._note_unsent(e, 1)
                return
        self.bytes_up += len(data)
        self.active = now

    def hold(self) -> None:
        """Keep what is sent until :meth:`release`, so that several packets take one system call."""
        self._held = []

    def release(self) -> None:
        """Send what was kept, and what comes from now on at once."""
        self._send_held()
        self._held = None

    def _send_held(self) -> None:
        if not self._held or self._permitted is None:
            return
        packets, self._held = self._held, []
        transport = self.transport_ipv6 if isinstance(self._permitted, UDPv6Address) else self.transport_ipv4
        if not isinstance(transport, DrainingTransport):
            self._note_unsent("it was closed", len(packets))
            return
        try:
            transport.transmit_many(packets, tuple(self._permitted))
        except (OSError, ValueError, TypeError) as e:
            self._note_unsent(e, len(packets))

    def _note_unsent(self, reason: object, count: int) -> None:
        self.logger.debug("An exit could not send: %s", reason)
        for _ in range(count):
            self._drop(DropCounter.SEND_FAILED)

    def _send_to_name(self, data: bytes, destination: DomainAddress) -> None:
        if self._waiting >= MAX_WAITING:
            self._drop(DropCounter.SEND_QUEUE_FULL)
            return
        self._waiting += 1
        self.register_anonymous_task(f"resolving_{destination.host!r:.80}", self._resolve_and_send, data, destination)

    async def _resolve_and_send(self, data: bytes, destination: DomainAddress) -> None:
        try:
            address = await self.resolve(destination)
        except (OSError, ValueError) as e:
            self.logger.debug("An exit did not find a host: %s", e)
            self._drop(DropCounter.SEND_UNRESOLVED)
            return
        finally:
            self._waiting -= 1
        self.sendto(data, address)

    async def resolve(self, address: DomainAddress) -> UDPv4Address | UDPv6Address:
        """The IP address of a name that may be reached, IPv4 first.

        :raises ValueError: if the name or its address may not be reached.
        :raises OSError: if the name is unknown, or too many are being looked up.
        """
        resolver = self.overlay.resolver
        if not isinstance(resolver, Resolver):  # without a community
            resolver = Resolver(self._destinations, self)
        return await resolver.resolve(address.host, address.port)

    @property
    def _destinations(self) -> Destinations:
        policy = self.overlay.exit_policy
        return policy if isinstance(policy, Destinations) else Destinations(allow_private=True)

    # Back

    def datagram_received_ipv4(self, data: bytes, source: Any) -> None:
        """Handle a packet of the IPv4 socket."""
        self.datagram_received(data, UDPv4Address(*source))

    def datagram_received_ipv6(self, data: bytes, source: Any) -> None:
        """Handle a packet of the IPv6 socket."""
        if not source[0].startswith("::ffff:"):  # an IPv4 address, for which there is another socket
            self.datagram_received(data, UDPv6Address(*source[:2]))

    def datagram_received(self, data: bytes, source: Address) -> None:
        """Send a packet that came for the circuit to its origin, if it is allowed."""
        self.bytes_down += len(data)
        if not self.is_allowed(data) or not self._own_message_in(data, RETURNED_OWN_MESSAGES):
            self._drop(DropCounter.EXIT_REFUSED)
            return
        may_exit = getattr(self.overlay.crypto_endpoint, "may_exit", None)
        if may_exit is not None and not may_exit(len(data)):
            self._drop(DropCounter.RELAY_LIMITED)
            return
        try:
            self.tunnel_data(source, data)
        except Exception:
            self.logger.exception("An exit could not pass on a packet")

    def tunnel_data(self, source: Address, data: bytes) -> None:
        """Send data to the origin of the circuit."""
        self.overlay.send_data(self.hop.address, self.circuit_id, ZERO, source, data)

    # Rules

    def is_allowed(self, data: bytes) -> bool:
        """Whether data of this kind pass, either way: see the exit flags of the settings.

        Packets of the tunnel community itself pass in any case, as hidden services need them.
        """
        flags = self.overlay.settings.peer_flags
        if PEER_FLAG_EXIT_BT in flags and DataChecker.could_be_bt(data):
            return True
        return DataChecker.could_be_ipv8(data) and (PEER_FLAG_EXIT_IPV8 in flags
                                                    or data[:ID_AT] == self.overlay.get_prefix())

    def _own_message_in(self, data: bytes, allowed: frozenset[int]) -> bool:
        """Whether data are no packet of the tunnel community, or have one of the ``allowed`` messages.

        Otherwise anybody could build circuits in the name of the exit.
        """
        if data[:1] != PREFIX_START or data[:ID_AT] != self.overlay.get_prefix():
            return True
        return len(data) > ID_AT and data[ID_AT] in allowed

    # Closing

    def note_closed(self) -> None:
        """Tell those who want to know that the circuit does not end here any more."""
        callbacks, self.on_closed = self.on_closed, []
        for callback in callbacks:
            callback()

    async def close(self) -> None:
        """Close the sockets and end the tasks."""
        if self.has_tasks:
            await self.shutdown_task_manager()
        for transport in (self.transport_ipv4, self.transport_ipv6):
            if transport is not None:
                transport.close()
        self.transport_ipv4 = self.transport_ipv6 = None
        self.queue.clear()


if TYPE_CHECKING:  # programs import these from here
    from ..address import Address as Address
    from .tunnel import Hop as Hop
else:
    __getattr__, __dir__ = reexports(__name__, {"..address": "Address", ".tunnel": "Hop"})
