"""The sockets of one member of a multicast group."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import DatagramProtocol, DatagramTransport
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MulticastGroup"]


class _Receiving(DatagramProtocol):
    """Hands datagrams to a function."""

    def __init__(self, receive: Callable[[bytes, tuple[Any, ...]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receive(data, addr)


class MulticastGroup:
    """Membership of a multicast group with a fixed port.

    What is sent to the group arrives at one socket, which shares the port with other programs of this machine. Another
    socket, with a port of its own, sends, and receives the answers. Nothing leaves the local network (one hop).

    :param host: the address of the group, IPv4 or IPv6.
    :param receive: called with this group, the data and the socket address of the sender for each datagram.
    :param interface: the IPv4 address, or for IPv6 the index, of the network interface; empty or 0 lets the system
        choose.
    """

    def __init__(self, host: str, port: int, receive: Callable[[MulticastGroup, bytes, tuple[Any, ...]], None],
                 interface: str | int = 0) -> None:
        self.host = host
        self.port = port
        self.is_ipv6 = ":" in host
        self._receive = receive
        self._interface_index = interface if isinstance(interface, int) else 0
        self._interface_host = str(interface or "0.0.0.0")  # noqa: S104 - how the option says "any"
        self._sender: DatagramTransport | None = None
        self._listener: DatagramTransport | None = None

    async def open(self) -> bool:
        """Join the group; ``False`` if that is impossible."""
        try:
            self._listener = await self._open(self._make_listener)
            self._sender = await self._open(self._make_sender)
        except OSError:
            return False
        finally:
            if self._sender is None:
                self.close()
        return True

    def close(self) -> None:
        """Leave the group."""
        for transport in (self._listener, self._sender):
            if transport is not None:
                transport.close()
        self._listener = self._sender = None

    def send(self, data: bytes, address: tuple[Any, ...] | None = None) -> None:
        """Send a datagram to ``address``, by default to the group; that it cannot be sent is no error."""
        if self._sender is not None:
            try:
                self._sender.sendto(data, address or (self.host, self.port))
            except OSError:
                return

    async def _open(self, make: Callable[[socket.socket], None]) -> DatagramTransport:
        sock = socket.socket(socket.AF_INET6 if self.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        transport = None
        try:
            sock.setblocking(False)
            if self.is_ipv6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            make(sock)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Receiving(self._on_datagram), sock=sock)
        finally:
            if transport is None:
                sock.close()
        return transport

    def _on_datagram(self, data: bytes, address: tuple[Any, ...]) -> None:
        self._receive(self, data, address)

    def _make_listener(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):  # what BSD and macOS need to share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("", self.port))
        if self.is_ipv6:
            membership = struct.pack("@16sI", socket.inet_pton(socket.AF_INET6, self.host), self._interface_index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        else:
            membership = struct.pack("4s4s", socket.inet_aton(self.host), socket.inet_aton(self._interface_host))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    def _make_sender(self, sock: socket.socket) -> None:
        if self.is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._interface_index)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self._interface_host))
        sock.bind(("", 0))
