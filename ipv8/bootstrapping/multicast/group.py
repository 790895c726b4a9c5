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
    """Calls a function with each datagram."""

    def __init__(self, receive: Callable[[bytes, tuple[Any, ...]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receive(data, addr)


class MulticastGroup:
    """Membership of a multicast group with a fixed port.

    There are two sockets. The one that receives the packets to the group shares its port with other programs of this
    machine. The other one, with a port of its own, sends, and receives the answers. Packets have a hop limit of 1, so
    they do not leave the local network.

    :param host: the address of the group, IPv4 or IPv6.
    :param receive: called with this group, the data and the socket address of the sender for each datagram.
    :param interface: the network interface: its IPv4 address, or for IPv6 its index. If it is empty or 0, the system
        chooses.
    """

    def __init__(self, host: str, port: int, receive: Callable[[MulticastGroup, bytes, tuple[Any, ...]], None],
                 interface: str | int = 0) -> None:
        self.host = host
        self.port = port
        self.is_ipv6 = ":" in host
        self._receive = receive
        self._interface_index = interface if isinstance(interface, int) else 0
        self._interface_host = str(interface or "0.0.0.0")  # noqa: S104 - stands for "any" in the option
        self._sender: DatagramTransport | None = None
        self._listener: DatagramTransport | None = None

    async def open(self) -> bool:
        """Join the group; ``False`` if that fails."""
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
        """Send a datagram to ``address``, by default to the group; nothing is raised if it cannot be sent."""
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
        if hasattr(socket, "SO_REUSEPORT"):  # BSD and macOS need it to share the port
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
