"""A SOCKS5 proxy: everything that its clients ask for goes through circuits, or nowhere (doc/anonymity.md)."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from .association import Association
from .isolation import Isolation
from .pipe import Pipes, pipe
from .protocol import Command, Negotiation, ProtocolError, Reply, Request, pack_reply
from .streams import ConnectError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Mapping

    from ...address import Address
    from ..tunnel import Circuit
    from .host import TunnelHost

__all__ = ["Socks5Server"]

MAX_HOPS = 8
"""The longest circuits."""
MAX_CLIENTS = 1024
"""Connections of clients; further ones are closed at once."""
NEGOTIATION_TIMEOUT = 30.0
"""Seconds in which a client must have said what it wants."""
CIRCUIT_TIMEOUT = 60.0
"""Seconds that a request waits for a circuit."""
READ_SIZE = 1024
"""Bytes of the negotiation that are read at a time."""
BACKLOG = 128
"""Connections that the system keeps until they are accepted."""


class Socks5Server:
    """Accepts clients on one port, and carries what they ask for through circuits of one length.

    TCP connections go through an exit of this library that offers them, UDP through any exit that offers BitTorrent
    traffic. Names are resolved by the exit. Clients that authenticate with different names or passwords use different
    circuits. If there is no circuit, nothing is sent: TCP requests fail after some time, and UDP associations are
    accepted and drop what they cannot send, so that no client goes around the proxy.

    :param community: has the circuits.
    :param hops: the length of the circuits.
    :param passwords: passwords by user name. Without any, each name and password is accepted.
    :param timeout: seconds that a request waits for a circuit.
    :raises ValueError: if there can be no circuit of that length.
    """

    def __init__(self, community: TunnelHost, hops: int, passwords: Mapping[str, str] | None = None,
                 timeout: float = CIRCUIT_TIMEOUT) -> None:
        if not 1 <= hops <= MAX_HOPS:
            raise ValueError(f"a circuit has 1 to {MAX_HOPS} hops, not {hops}")
        self.hops = hops
        self.default_client: Address | None = None
        self.associations: set[Association] = set()
        self._community = community
        self._passwords = None if passwords is None else {name.encode(): password.encode()
                                                          for name, password in passwords.items()}
        self._timeout = timeout
        self._isolation = Isolation(community, community.streams, hops, timeout)
        self._pipes = Pipes()
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._starting: asyncio.Future[Any] | None = None
        self._logger = logging.getLogger(type(self).__name__)
        self._has_warned = False

    @property
    def circuits(self) -> list[Circuit]:
        """The circuits that clients use for TCP."""
        return self._isolation.circuits

    @property
    def clients(self) -> int:
        """How many connections of clients there are."""
        return len(self._pipes)

    def listen(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Listen on a TCP port, and begin to serve as soon as the event loop runs.

        :param port: 0 for any.
        :returns: the port.
        :raises OSError: if the port cannot be used.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        listener.setblocking(False)
        self._socket = listener
        self._starting = asyncio.ensure_future(self._start(listener))
        bound: int = listener.getsockname()[1]
        return bound

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """As :meth:`listen`, until clients are served."""
        bound = self.listen(port, host)
        assert self._starting is not None
        await self._starting
        return bound

    async def _start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._on_client, sock=listener)

    async def close(self) -> None:
        """Close the port, all connections and their circuits."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()
        await self._pipes.close()
        self._isolation.close()

    def _on_client(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._pipes) >= MAX_CLIENTS:
            writer.transport.abort()
        else:
            self._pipes.start(self._serve(reader, writer))

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            negotiation = Negotiation(self._passwords)
            request = await asyncio.wait_for(self._negotiate(negotiation, reader, writer), NEGOTIATION_TIMEOUT)
            if request is not None:
                await self._do(request, bytes(negotiation.rest), reader, writer)
        except (OSError, ProtocolError, asyncio.TimeoutError) as e:
            self._logger.debug("A connection to the proxy ended: %s", e)
        finally:
            writer.close()

    async def _negotiate(self, negotiation: Negotiation, reader: StreamReader, writer: StreamWriter) -> Request | None:
        """What the client wants; ``None`` if it left."""
        while data := await reader.read(READ_SIZE):
            try:
                request = negotiation.receive(data)
            finally:
                writer.write(negotiation.take_output())
            if request is not None:
                return request
            await writer.drain()
        return None

    async def _do(self, request: Request, rest: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        if request.command == Command.UDP_ASSOCIATE:
            await self._associate(reader, writer)
        elif request.destination is None:
            writer.write(pack_reply(Reply.UNKNOWN_ADDRESS_TYPE))
        elif request.command == Command.CONNECT:
            await self._connect(request, rest, reader, writer)
        else:
            writer.write(pack_reply(Reply.UNKNOWN_COMMAND))
        await writer.drain()

    async def _connect(self, request: Request, rest: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        assert request.destination is not None
        try:
            stream, leave = await self._isolation.connect(request.credentials, request.destination)
        except ConnectError as e:
            writer.write(pack_reply(e.reply if e.reply in set(Reply) else Reply.FAILED))
            return
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            writer.write(pack_reply(Reply.EXPIRED))
            return
        except (OSError, ImportError) as e:
            if isinstance(e, ImportError) and not self._has_warned:
                self._has_warned = True
                self._logger.error("The proxy cannot carry TCP: %s", e)  # noqa: TRY400 - the message says what to do
            writer.write(pack_reply(Reply.FAILED))
            return
        try:
            writer.write(pack_reply(Reply.SUCCEEDED))
            if rest:
                await stream.write(rest)
            await pipe(stream, reader, writer)
        finally:
            leave()

    async def _associate(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry datagrams until the client closes the connection. This is never refused for want of a circuit."""
        own, client = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        association = Association(self._community, self.hops, client[0], self.default_client, self._timeout)
        try:
            bound = await association.open(own[0])
        except OSError as e:
            self._logger.warning("The proxy cannot carry UDP: %s", e)
            writer.write(pack_reply(Reply.FAILED))
            return
        try:
            self.associations.add(association)
            writer.write(pack_reply(Reply.SUCCEEDED, bound))
            while await reader.read(READ_SIZE):
                pass
        finally:
            self.associations.discard(association)
            association.close()
