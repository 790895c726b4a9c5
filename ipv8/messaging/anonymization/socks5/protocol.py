"""The server's side of SOCKS5 without I/O: RFC 1928, and user names and passwords by RFC 1929."""

from __future__ import annotations

import hmac
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from ...address import DomainAddress, UDPv4Address, UDPv6Address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Command", "Credentials", "Destination", "Negotiation", "ProtocolError", "Reply", "Request", "pack_datagram",
           "pack_reply", "read_datagram"]

VERSION = 5
AUTHENTICATION_VERSION = 1
NO_AUTHENTICATION, USER_AND_PASSWORD, NO_METHOD = 0x00, 0x02, 0xFF
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04
_PORT = Struct(">H")

NOWHERE = UDPv4Address("0.0.0.0", 0)  # noqa: S104 - stands for "no address" in replies

Destination = UDPv4Address | UDPv6Address | DomainAddress
Credentials = tuple[bytes, bytes]
"""A user name and a password."""


class Command(IntEnum):
    """What a client asks for."""

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3


class Reply(IntEnum):
    """How a request ended."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    EXPIRED = 6
    UNKNOWN_COMMAND = 7
    UNKNOWN_ADDRESS_TYPE = 8


class ProtocolError(ValueError):
    """A client does not speak SOCKS5; the connection is to be closed."""


class Request(NamedTuple):
    """A request of a client.

    :param command: the number of a :class:`Command`, or another one.
    :param destination: where to; ``None`` if its address has an unknown type.
    :param credentials: what the client has authenticated with, if it has.
    """

    command: int
    destination: Destination | None
    credentials: Credentials | None

    def __repr__(self) -> str:
        """Without the password, as others may read what is logged."""
        return f"{type(self).__name__}(command={self.command!r}, destination={self.destination!r})"


class Negotiation:
    """What is said on one connection until the request of the client.

    The owner gives it the bytes that arrive, and sends what :meth:`take_output` returns. ``rest`` has the bytes that
    follow the request.

    :param passwords: the passwords by user name. Without any, all names and passwords are accepted, and so are clients
        that have none.
    """

    def __init__(self, passwords: Mapping[bytes, bytes] | None = None) -> None:
        self.rest = bytearray()
        self._passwords = passwords
        self._output = bytearray()
        self._credentials: Credentials | None = None
        self._step = self._read_greeting

    def take_output(self) -> bytes:
        """What is to be sent now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> Request | None:
        """Process bytes of the client; the request, when it is complete.

        :raises ProtocolError: if the client has to be given up; what is to be sent is sent before.
        """
        self.rest += data
        request: Request | None = None
        while request is None:
            before = self._step
            request = self._step()
            if request is None and self._step == before:
                return None  # there is not enough yet
        return request

    def _take(self, size: int) -> bytes:
        taken = bytes(self.rest[:size])
        del self.rest[:size]
        return taken

    def _read_greeting(self) -> Request | None:
        rest = self.rest
        if rest and rest[0] != VERSION:
            raise ProtocolError(f"the client speaks version {rest[0]}")
        if len(rest) < 2 or len(rest) < 2 + rest[1]:
            return None
        methods = self._take(2 + rest[1])[2:]
        if USER_AND_PASSWORD in methods:
            self._output += bytes((VERSION, USER_AND_PASSWORD))
            self._step = self._read_authentication
        elif NO_AUTHENTICATION in methods and self._passwords is None:
            self._output += bytes((VERSION, NO_AUTHENTICATION))
            self._step = self._read_request
        else:
            self._output += bytes((VERSION, NO_METHOD))
            raise ProtocolError("the client has no method of authentication that is accepted")
        return None

    def _read_authentication(self) -> Request | None:
        rest = self.rest
        if rest and rest[0] != AUTHENTICATION_VERSION:
            raise ProtocolError(f"the client authenticates by version {rest[0]}")
        if len(rest) < 2 or len(rest) < 3 + rest[1] or len(rest) < 3 + rest[1] + rest[2 + rest[1]]:
            return None
        name_length = rest[1]
        taken = self._take(3 + name_length + rest[2 + name_length])
        name, password = taken[2:2 + name_length], taken[3 + name_length:]
        expected = password if self._passwords is None else self._passwords.get(name)
        if expected is None or not hmac.compare_digest(expected, password):
            self._output += bytes((AUTHENTICATION_VERSION, 1))
            raise ProtocolError("the client has another user name or password")
        self._output += bytes((AUTHENTICATION_VERSION, 0))
        self._credentials = name, password
        self._step = self._read_request
        return None

    def _read_request(self) -> Request | None:
        rest = self.rest
        if rest and rest[0] != VERSION:
            raise ProtocolError(f"the request has version {rest[0]}")
        if len(rest) < 5:
            return None
        command, kind = rest[1], rest[3]
        if kind not in {_IPV4, _NAME, _IPV6}:
            return Request(command, None, self._credentials)
        found = _read_address(bytes(rest[:4 + 1 + 255 + 2]), 3)
        if found is None:
            return None
        destination, offset = found
        del rest[:offset]
        return Request(command, destination, self._credentials)


def _read_address(data: bytes, offset: int) -> tuple[Destination | None, int] | None:
    """An address, ``None`` if its name is no text, and the offset behind it; ``None`` if something is missing."""
    if len(data) < offset + 2:
        return None
    kind = data[offset]
    size = {_IPV4: 4, _IPV6: 16, _NAME: 1 + data[offset + 1]}.get(kind, 0)
    start, end = offset + 1, offset + 1 + size
    if not size or len(data) < end + 2:
        return None
    host, (port,) = data[start:end], _PORT.unpack_from(data, end)
    destination: Destination | None
    if kind == _IPV4:
        destination = UDPv4Address(str(IPv4Address(host)), port)
    elif kind == _IPV6:
        destination = UDPv6Address(str(IPv6Address(host)), port)
    else:
        destination = _named(host[1:], port)
    return destination, end + 2


def _named(name: bytes, port: int) -> Destination | None:
    """The address of a name, which may be the text of an IP address."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return None
    try:
        return UDPv4Address(str(IPv4Address(text)), port)
    except ValueError:
        pass
    try:
        return UDPv6Address(str(IPv6Address(text.strip("[]"))), port)
    except ValueError:
        return DomainAddress(text, port) if text else None


def _pack_address(address: tuple[str, int]) -> bytes:
    host, port = address
    try:
        kind, packed = _IPV4, IPv4Address(host).packed
    except ValueError:
        try:
            kind, packed = _IPV6, IPv6Address(host).packed
        except ValueError:
            name = host.encode()[:255]
            kind, packed = _NAME, bytes((len(name),)) + name
    return bytes((kind,)) + packed + _PORT.pack(port)


def pack_reply(reply: int, bound: tuple[str, int] = NOWHERE) -> bytes:
    """The answer to a request.

    :param bound: the address of the socket that was opened for it.
    """
    return bytes((VERSION, reply, 0)) + _pack_address(bound)


def read_datagram(datagram: bytes) -> tuple[Destination, bytes] | None:
    """Where the client of an association sends a datagram to, and its data; ``None`` if it cannot be passed on.

    Fragments are not reassembled (RFC 1928 section 7 allows that).
    """
    if len(datagram) < 4 or datagram[:3] != b"\x00\x00\x00":
        return None
    found = _read_address(datagram, 3)
    if found is None:
        return None
    destination, offset = found
    return None if destination is None else (destination, datagram[offset:])


def pack_datagram(origin: tuple[str, int], data: bytes) -> bytes:
    """The datagram that tells the client of an association what came from where."""
    return b"\x00\x00\x00" + _pack_address(origin) + data
