"""UDP sockets as endpoints, and the address classes (doc/endpoints.md)."""

from __future__ import annotations

import asyncio
import errno
import logging
from functools import partial
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_RCVBUF,
    SO_SNDBUF,
    SOL_SOCKET,
    inet_pton,
    socket,
)
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from .... import clock
from ...address import Address, DomainAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ...inet import is_orchid
from ...packers import Cache
from ..endpoint import LARGEST_DATAGRAM, DataTooBigException, Endpoint, EndpointClosedException
from ..gate import DELIVERIES_PER_LOOK
from ..network_stats import DropCounter
from ..routes import SOCKET
from . import forks
from .binding import SocketOption, bound_socket
from .scopes import Scopes, is_link_local
from .transport import MAX_DATAGRAMS_PER_WAKEUP, RECEIVE_SIZE, SEND_QUEUE_BYTES, DrainingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..gate import Packet

__all__ = [
    "Address",
    "DomainAddress",
    "Endpoint",
    "EndpointClosedException",
    "SocketOption",
    "UDPEndpoint",
    "UDPv4Address",
    "UDPv4LANAddress",
    "UDPv6Address",
    "UDPv6Endpoint",
]

RECEIVE_BUFFER = 870400
"""Bytes of socket buffer asked for, so that a burst of some thousand packets fits."""

DELIVERY_BUDGET = 0.002
"""Seconds that the delivery of received packets may take before other callbacks of the event loop run."""

MAX_CACHED_ADDRESSES = 8192
"""Sources that are not parsed again, and destinations that are not checked again; a full table is emptied."""

MULTICAST = 0xff
"""The first byte of the IPv6 addresses of groups (RFC 4291 section 2.7)."""


class _UndeliverableError(Exception):
    """There is no way to a destination, as is counted already."""


class UDPEndpoint(Endpoint, asyncio.DatagramProtocol):
    """An IPv4 UDP socket.

    :param port: the port to bind, 0 for any; if it is taken, the next free one is used: ``get_address`` tells.
    :param ip: the address of the interface to bind, ``0.0.0.0`` for all.
    :param sockopts: further socket options, applied after the buffer sizes.
    :param receive_buffer: bytes of socket buffer to ask for; ``granted_receive_buffer`` has what the system gave.
    :param send_buffer: the same for sending; ``None`` leaves it to the operating system.
    :param max_datagrams_per_wakeup: how many packets are read before the event loop's other callbacks run.
    :param max_payload: bytes that fit a usual path without fragments; larger packets are sent with a warning.
    :param strict: raise ``DataTooBigException`` for them instead.
    :raises ValueError: if there is no such port, or no packet could ever be read.
    """

    SOCKET_FAMILY = AF_INET
    MAX_PAYLOAD = 1472
    max_packet_size = 65507  # an IPv4 packet has 65535 bytes at most, with the headers of IPv4 and UDP

    def __init__(self, port: int = 0, ip: str = "0.0.0.0",  # noqa: S104 - peers are meant to reach the node
                 sockopts: list[SocketOption] | None = None, *, receive_buffer: int = RECEIVE_BUFFER,
                 send_buffer: int | None = None, max_datagrams_per_wakeup: int = MAX_DATAGRAMS_PER_WAKEUP,
                 max_payload: int | None = None, strict: bool = False) -> None:
        Endpoint.__init__(self)
        if not 0 <= port < 65536:
            raise ValueError(f"a UDP port is 0 to 65535, not {port}")
        if max_datagrams_per_wakeup < 1:
            raise ValueError("max_datagrams_per_wakeup must be at least 1")
        self._port = port
        self._ip = ip
        self._sockopts: list[SocketOption] = [(SOL_SOCKET, SO_RCVBUF, receive_buffer)]
        if send_buffer is not None:
            self._sockopts.append((SOL_SOCKET, SO_SNDBUF, send_buffer))
        self._sockopts.extend(sockopts or ())
        self._running = False
        self._was_opened = False
        self._wanted = False  # whether open() was called after the last close()
        self._opening: asyncio.Future[None] | None = None  # while the event loop makes the transport
        self._transport: asyncio.DatagramTransport | None = None
        self._transmit: Callable[[Any, Any], int] = self._transmit_nowhere
        self._bound: Address | None = None
        self._max_datagrams = max_datagrams_per_wakeup
        self._sources: Cache[Any, Address | None] = Cache(self._parse_source, MAX_CACHED_ADDRESSES)
        self._destinations: Cache[Any, Any] = Cache(self._check_destination, MAX_CACHED_ADDRESSES)
        self.max_payload = self.MAX_PAYLOAD if max_payload is None else max_payload
        self.strict = strict
        self.granted_receive_buffer = 0
        self.granted_send_buffer = 0
        self.bytes_up = 0
        self.bytes_down = 0

    # Opening and closing

    async def open(self) -> bool:
        """Bind the socket and start to receive.

        If the port is taken or forbidden, the next higher ones are tried, and then any free port.

        :returns: whether the endpoint is open; the reason for ``False`` is logged.
        """
        if self._running:
            return True
        self._was_opened = self._wanted = True
        loop = asyncio.get_running_loop()
        while self._opening is not None and self._opening.get_loop() is loop:  # another call came first
            await asyncio.wait([self._opening])
            if self._running or not self._wanted:
                return self._running
        sock = self._bind()
        if sock is None:
            return False
        try:
            direct = DrainingTransport(loop, sock, self._sources.__getitem__, self._on_packets, self._count_arrived,
                                       self._count_sent, self.drops, self._max_datagrams, self._on_drained)
        except NotImplementedError:
            return await self._open_without_readers(loop, sock)
        self._start(direct, direct.transmit)
        return True

    async def _open_without_readers(self, loop: asyncio.AbstractEventLoop, sock: socket) -> bool:
        """Use asyncio's own transport, as the event loop has no readers; whether the endpoint is open then."""
        opening = self._opening = loop.create_future()
        try:
            await loop.create_datagram_endpoint(lambda: self, sock=sock)
        except OSError as e:
            sock.close()
            self.log_error(f"The event loop refuses the socket: {e}")
        except asyncio.CancelledError:  # which closes the transport
            self._stop()
            raise
        finally:
            self._opening = None
            opening.set_result(None)
        return self._running

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Use asyncio's own transport, unless the endpoint was closed meanwhile."""
        if self._running or not self._wanted:
            transport.close()
            return
        if hasattr(transport, "max_size"):
            transport.max_size = RECEIVE_SIZE  # the default makes the allocator slow
        self._start(cast("asyncio.DatagramTransport", transport), self._transmit_buffered)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the endpoint, if asyncio has closed the socket that it uses."""
        if self._running and (exc is not None or (self._transport is not None and self._transport.is_closing())):
            self.log_error(f"The socket of {self.get_address()} was lost: {exc or 'closed by somebody else'}")
            self.close()

    def _start(self, transport: asyncio.DatagramTransport, transmit: Callable[[Any, Any], int]) -> None:
        sock = transport.get_extra_info("socket")
        self._bound = sock.getsockname()
        self.granted_receive_buffer = sock.getsockopt(SOL_SOCKET, SO_RCVBUF)
        self.granted_send_buffer = sock.getsockopt(SOL_SOCKET, SO_SNDBUF)
        self._transport = transport
        self._transmit = transmit
        self._running = True
        forks.note(self)

    def _bind(self) -> socket | None:
        sock = bound_socket(self.SOCKET_FAMILY, self._ip, self._port, self._sockopts, self._logger)
        if sock is not None:
            self._port = sock.getsockname()[1]
        return sock

    def close(self) -> None:
        """Stop to send and receive; ``open`` starts again and tries to get the same port."""
        self._wanted = False
        self._stop()

    def _stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self._transmit = self._transmit_nowhere
        forks.forget(self)
        if self._transport is not None:
            self._transport.close()
        self.gate.release()

    def _abandon(self) -> None:
        """Close this process's handle of the socket, which belongs to the process that this one was forked from.

        From now on the endpoint is closed in this process, and ``open`` makes a socket of its own.
        """
        self._running = self._wanted = False
        self._opening = None
        self._transmit = self._transmit_after_fork
        if isinstance(self._transport, DrainingTransport):
            self._transport.abandon()
        self._transport = None
        self.gate.lock = RLock()  # another thread of the other process may have held it
        self.gate.release()

    def assert_open(self) -> None:
        """Do nothing if the endpoint is open.

        :raises EndpointClosedException: otherwise.
        """
        if not self._running:
            raise EndpointClosedException(self)

    def is_open(self) -> bool:
        """Whether packets are sent and received."""
        return self._running

    def get_address(self) -> Address:
        """The address that the socket is bound to; two more elements for IPv6: flow info and scope id.

        :raises EndpointClosedException: if the endpoint is not open.
        """
        if not self._running or self._bound is None:
            raise EndpointClosedException(self)
        return self._bound

    def log_error(self, message: str, level: int = logging.WARNING) -> None:
        """Write ``message`` to the log."""
        self._logger.log(level, message)

    def reset_byte_counters(self) -> None:
        """Count sent and received bytes from 0 again."""
        self.bytes_up = 0
        self.bytes_down = 0

    # Receiving

    def _parse_source(self, source: Any) -> Address | None:
        """The address object of a sender; ``None`` if it must be forged."""
        ip, port = source
        network = int(ip.partition(".")[0])
        return UDPv4Address(ip, port) if port and 0 < network < 224 else None

    def datagram_received(self, datagram: bytes, addr: Any) -> None:
        """Deliver one datagram; if a subclass overrides this, it is called with every datagram."""
        if not self._running:
            return
        self.bytes_down += len(datagram)
        address = self._sources[addr]
        if address is None:
            self.drops.count(DropCounter.BAD_SOURCE)
            return
        self.notify_listeners((address, datagram))

    def _intercepts(self) -> bool:
        """Whether somebody overrides ``datagram_received``, which counts bytes itself."""
        return type(self).datagram_received is not UDPEndpoint.datagram_received or "datagram_received" in vars(self)

    def _count_arrived(self, num_bytes: int) -> None:
        if not self._intercepts():
            self.bytes_down += num_bytes

    def _on_packets(self, packets: Sequence[Packet]) -> bool:
        """Deliver packets; whether they only were put into queues, so that more may be read before they are handled."""
        gate = self.gate
        deliver: Callable[[Sequence[Packet], int], int] = gate.receive_some
        gate.burst.is_running = True
        if self._intercepts():
            deliver = partial(self._deliver_each, lambda packet: self.datagram_received(packet[1], packet[0]))
        elif type(self).notify_listeners is not Endpoint.notify_listeners or "notify_listeners" in vars(self):
            deliver = partial(self._deliver_each, self.notify_listeners)
        else:
            packets = gate.receive_queued(packets)
            if not packets:
                return True
            if gate.is_observed:
                deliver = partial(self._deliver_each, lambda packet: gate.receive(packet, SOCKET))
        gate.announce(packets)
        self._deliver(packets, 0, deliver, self._transport)
        return False

    def _on_drained(self) -> None:
        self.gate.burst.finish()

    def _deliver_each(self, deliver: Callable[[Packet], None], packets: Sequence[Packet], position: int) -> int:
        """Hand some packets to a method that somebody overrides; see ``Gate.receive_some``."""
        end = min(position + DELIVERIES_PER_LOOK, len(packets))
        while position < end and self._running:
            try:
                deliver(packets[position])
            except Exception as e:  # noqa: BLE001 - a subclass that raises must not stop the reading
                self._on_listener_error(self, e)
            position += 1
        return position

    def _deliver(self, packets: Sequence[Packet], position: int, deliver: Callable[[Sequence[Packet], int], int],
                 transport: asyncio.DatagramTransport | None, resumed: bool = False) -> None:
        """Deliver until nothing is left or the time is used up; the rest follows in the next round of the loop.

        :param position: of the first packet that was not delivered yet.
        :param deliver: delivers some packets from a position on, and returns the position behind them.
        """
        monotonic = clock.current().monotonic
        deadline = monotonic() + DELIVERY_BUDGET
        while position < len(packets) and self._running and self._transport is transport:
            position = deliver(packets, position)
            if position < len(packets) and monotonic() >= deadline:
                break
        else:
            self.gate.burst.finish()
            if resumed and self._running and self._transport is transport and isinstance(transport, DrainingTransport):
                transport.resume_reading()
            return
        if isinstance(transport, DrainingTransport) and not resumed:
            transport.pause_reading()
        asyncio.get_running_loop().call_soon(
            lambda: self._deliver(packets, position, deliver, transport, resumed=True))

    # Sending

    def send(self, socket_address: Address, packet: bytes) -> None:
        """Send ``packet`` now or, while the socket's buffer is full, as soon as possible; needs no running event loop.

        What cannot be sent is dropped and counted, also after ``close``. Names are never resolved.

        :raises EndpointClosedException: if ``open`` was never called.
        :raises DataTooBigException: if a strict endpoint is given more than ``max_payload`` bytes.
        """
        kind = type(socket_address)
        if kind in self.routes:  # before the cache, where addresses of all classes are equal
            self.routes[kind](socket_address, packet)
            return
        try:
            destination = self._destinations[socket_address]
            if len(packet) > self.max_payload:
                self._on_big_packet(len(packet))
            self.bytes_up += self._transmit(packet, destination)
        except _UndeliverableError:
            return
        except OSError as e:
            self.error_received(e)
        except (TypeError, ValueError, OverflowError) as e:
            self._drop_malformed(e)

    def _has_sent_to(self, address: Address) -> bool:
        """Whether a packet was sent to ``address`` lately."""
        return address in self._destinations

    def send_many(self, socket_address: Address, packets: Sequence[bytes]) -> None:
        """Send several packets to the same address, in order; see ``send``.

        If the operating system refuses one, those behind it are not sent either.
        """
        transport = self._transport
        if (len(packets) < 2 or not self._running or not isinstance(transport, DrainingTransport)
                or socket_address not in self._destinations or type(socket_address) in self.routes
                or self._sends_singly() or type(self).send is not UDPEndpoint.send
                or len(max(packets, key=len)) > self.max_payload):
            super().send_many(socket_address, packets)
            return
        try:
            self.bytes_up += transport.transmit_many(packets, self._destinations[socket_address])
        except OSError as e:
            self.error_received(e)
        except (TypeError, ValueError, OverflowError) as e:
            self._drop_malformed(e)

    @property
    def _sends_bursts(self) -> bool:  # type: ignore[override]  # others assign it
        """Whether the operating system takes several packets by one call."""
        transport = self._transport
        return isinstance(transport, DrainingTransport) and transport.sends_bursts

    def _count_sent(self, num_bytes: int) -> None:
        self.bytes_up += num_bytes

    def _check_destination(self, address: Any) -> Any:
        """The socket address for ``address``, if packets can be sent there.

        :raises _UndeliverableError: if the endpoint is closed, or it is a DNS name or the address of a key.
        :raises TypeError, ValueError: if it is no address.
        """
        if not self._running:
            self._transmit(b"", address)
            raise _UndeliverableError
        try:
            host, port, scope = self._split(address)
            packed = inet_pton(self.SOCKET_FAMILY, host)
        except OSError:
            self.drops.count(DropCounter.SEND_UNRESOLVED)
            if self._log_budget.take(DropCounter.SEND_UNRESOLVED):
                self.log_error(f"Dropping packet to {address[0]!r}: not an address of this endpoint's IP version")
            raise _UndeliverableError from None
        if type(port) is not int or not 0 < port < 65536:
            raise ValueError(f"no port: {port!r}")
        if is_orchid(packed):
            self.drops.count(DropCounter.SEND_NO_ROUTE)
            raise _UndeliverableError
        return self._socket_address(address, packed, scope)

    def _split(self, address: Any) -> tuple[str, int, int]:
        """The host, the port and the scope of an address."""
        host, port = address
        return host, port, 0

    def _socket_address(self, address: Any, packed: bytes, scope: int) -> Any:  # noqa: ARG002 - for IPv6
        """What the socket is told to send to, for a checked address."""
        return address

    def _drop_malformed(self, reason: Exception) -> None:
        self.drops.count(DropCounter.SEND_MALFORMED)
        if self._log_budget.take(DropCounter.SEND_MALFORMED):
            self.log_error(f"Dropping packet due to message formatting error: {reason}")

    def _on_big_packet(self, size: int) -> None:
        if self.strict:
            raise DataTooBigException(size, self.max_payload)
        if size > self.max_packet_size:
            self._drop_too_big(f"{size} bytes, and a datagram has at most {self.max_packet_size}")
            raise _UndeliverableError
        if self._log_budget.take(DataTooBigException):
            self.log_error(f"A packet of {size} bytes will be fragmented: more than {self.max_payload}", logging.INFO)

    def _drop_too_big(self, reason: str) -> None:
        self.drops.count(DropCounter.SEND_TOO_BIG)
        if self._log_budget.take(DropCounter.SEND_TOO_BIG):
            self.log_error(f"Dropping a packet that is too big: {reason}")

    def _transmit_after_fork(self, packet: Any, destination: Any) -> int:
        if self._log_budget.take("fork"):
            self.log_error("Dropping packets: the endpoint was opened before the process was forked. Call open() in "
                           "each process that uses it")
        return self._transmit_nowhere(packet, destination)

    def _transmit_nowhere(self, packet: Any, destination: Any) -> int:  # noqa: ARG002 - stands in for the transport
        if not self._was_opened:
            raise EndpointClosedException(self)
        self.drops.count(DropCounter.SEND_CLOSED)
        return 0

    def _transmit_buffered(self, packet: Any, destination: Any) -> int:
        transport = self._transport
        waiting = transport.get_write_buffer_size()  # type: ignore[union-attr]  # asyncio's, which has it
        if transport is None or waiting > SEND_QUEUE_BYTES:
            self.drops.count(DropCounter.SEND_QUEUE_FULL)
            return 0
        transport.sendto(packet, destination)
        return len(packet)

    def error_received(self, exc: Exception) -> None:
        """Count what could not be sent."""
        if isinstance(exc, OSError) and exc.errno == errno.EMSGSIZE:
            self._drop_too_big(str(exc))
            return
        self.drops.count(DropCounter.SEND_FAILED)
        self._logger.debug("Cannot send: %s", exc)
        transport: Any = self._transport
        if getattr(transport, "_read_fut", transport) is None:
            # Before Python 3.12.3, asyncio's transport for Windows stops to read when the system reports that an
            # earlier packet did not arrive (python/cpython issue 91227).
            transport._loop.call_soon(transport._loop_reading)


class UDPv6Endpoint(UDPEndpoint):
    """An IPv6 UDP socket, which takes no IPv4 traffic.

    :param port: the port to bind, 0 for any.
    :param ip: the address of the interface to bind, ``::`` for all.
    :param settings: the keyword arguments of ``UDPEndpoint``.

    Sources have no scope. The endpoint remembers by which interface link-local hosts are reached.
    """

    SOCKET_FAMILY = AF_INET6
    MAX_PAYLOAD = 1452
    max_packet_size = LARGEST_DATAGRAM

    def __init__(self, port: int = 0, ip: str = "::", **settings: Any) -> None:
        super().__init__(port, ip, **settings)
        self._sockopts.append((IPPROTO_IPV6, IPV6_V6ONLY, 1))
        self._scopes = Scopes()

    def _note_scope(self, packed: bytes, scope: int) -> None:
        if self._scopes.note(packed, scope):
            self._destinations.clear()  # which have scopes in them

    def _parse_source(self, source: Any) -> Address | None:
        ip, _, _ = source[0].partition("%")
        port, scope = source[1], source[3] if len(source) > 3 else 0
        try:
            packed = inet_pton(AF_INET6, ip)
        except OSError:
            return None
        if not port or not any(packed) or packed[0] == MULTICAST or is_orchid(packed):
            return None  # it must be forged
        if scope and is_link_local(packed):
            self._note_scope(packed, scope)
        return UDPv6Address(ip, port)

    def _split(self, address: Any) -> tuple[str, int, int]:
        return Scopes.split(address)

    def _socket_address(self, address: Any, packed: bytes, scope: int) -> Any:
        if not is_link_local(packed):
            return address
        if scope:
            self._note_scope(packed, scope)
        host, port, _ = self._split(address)
        return host, port, 0, scope or self._scopes.of(packed)
