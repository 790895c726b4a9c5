"""TCP connections through circuits: the part of a tunnel community that both of their ends share.

The origin of a circuit opens one QUIC connection to the last hop, and a stream for each TCP connection. The last hop
connects each stream to what its first bytes name (doc/protocol/tunnel_streams.md).
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Any

from .... import clock
from ....fill import Fill
from ....limits import TokenBuckets
from ....stream_io import StreamConnection
from ....stream_limits import StreamLimits, StreamMemory
from ....streams import CODE_INTERNAL, CODE_REFUSED, Stream
from ...address import DomainAddress
from ...interfaces.network_stats import DropCounter
from ...serialization import PackError, default_serializer
from ...session.quic import Certificate, QuicConnection, QuicSettings, available_library, is_first_packet
from ..exit_policy import RefusedDestinationError
from ..tunnel import CIRCUIT_STATE_READY, CIRCUIT_TYPE_DATA, PEER_FLAG_EXIT_STREAMS
from .payload import ALPN, CONNECT, ConnectRequest, StreamPayload
from .pipe import Pipes, pipe
from .protocol import Reply

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Awaitable, Callable, Iterator

    from ...address import Address
    from ..tunnel import Circuit
    from .host import TunnelEnd, TunnelHost
    from .protocol import Destination

__all__ = ["REFUSED_PORTS", "CircuitStreams", "ConnectError"]

IDLE_TIMEOUT = 120.0
"""Seconds without a packet after which a connection has ended; it is kept alive while it has streams."""
REQUEST_TIMEOUT = 30.0
"""Seconds in which the request of a stream must have arrived."""
CONNECT_TIMEOUT = 20.0
"""Seconds that an exit tries to connect."""
ANSWER_TIMEOUT = 60.0
"""Seconds that the origin waits for the answer of the exit."""
MAX_REQUEST = 512
"""Bytes of a request."""
MAX_EXIT_STREAMS = 1024
"""TCP connections of all circuits that end here; one circuit has at most ``stream_limits.MAX_STREAMS``."""
HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE = 20, 50
"""QUIC connections that an exit begins for all circuits together."""
CIRCUIT_HANDSHAKES_PER_SECOND, CIRCUIT_HANDSHAKES_AT_ONCE = 0.1, 3
"""The same for one circuit."""
MAX_COUNTED_CIRCUITS = 1024
"""Circuits whose handshakes are counted; the least recently used is evicted first."""

REFUSED_PORTS = frozenset({25, 119, 135, 136, 137, 138, 139, 445, 465, 563, 587})
"""Ports to which exits do not connect: those of mail, news and shared folders, which are abused the most."""

_SETTINGS = QuicSettings(ALPN, IDLE_TIMEOUT)
_LIMITS = StreamLimits(idle_timeout=IDLE_TIMEOUT)
_REPLIES = {errno.ECONNREFUSED: Reply.REFUSED, errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
            errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE, errno.ETIMEDOUT: Reply.EXPIRED}


class ConnectError(ConnectionError):
    """An exit could not connect; ``reply`` says why, as a :class:`~.protocol.Reply`."""

    def __init__(self, reply: int) -> None:
        name = Reply(reply).name.lower().replace("_", " ") if reply in set(Reply) else f"reason {reply}"
        super().__init__(f"the exit did not connect: {name}")
        self.reply = reply


class CircuitStreams:
    """The streams of a tunnel community: of its own circuits, and of those that end here.

    :param community: the community. ``PEER_FLAG_EXIT_STREAMS`` among its flags makes it connect for others.
    """

    def __init__(self, community: TunnelHost) -> None:
        self._community = community
        self.clients: dict[int, StreamConnection] = {}
        self.servers: dict[int, StreamConnection] = {}
        self.memory = StreamMemory()
        self.refused_ports = REFUSED_PORTS
        #: Opens TCP connections; tests replace it.
        self.connect_tcp: Callable[[str, int], Awaitable[tuple[StreamReader, StreamWriter]]] = asyncio.open_connection
        self._pipes = Pipes()
        self._certificate: Certificate | None = None
        self._has_warned = False
        self._handshakes = TokenBuckets(HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE, capacity=1)
        self._circuit_handshakes = TokenBuckets(CIRCUIT_HANDSHAKES_PER_SECOND, CIRCUIT_HANDSHAKES_AT_ONCE,
                                                capacity=MAX_COUNTED_CIRCUITS)
        community.add_cell_handler(StreamPayload, self.on_packet)

    @property
    def exit_streams(self) -> int:
        """How many TCP connections there are for the circuits of others."""
        return len(self._pipes)

    async def close(self) -> None:
        """End everything."""
        for connection in (*self.clients.values(), *self.servers.values()):
            connection.close()
        await self._pipes.close()

    def on_packet(self, source_address: Address, data: bytes,  # noqa: ARG002 - as all cell handlers
                  circuit_id: int | None = None) -> None:
        """Handle a cell with a QUIC packet."""
        payload = self._community.read_cell(StreamPayload, data)
        if payload is None or circuit_id is None or not payload.packet:
            return
        connection = self.clients.get(circuit_id)
        exit_socket = self._community.exit_sockets.get(circuit_id)
        if connection is None and exit_socket is not None:
            exit_socket.beat_heart()
            connection = self.servers.get(circuit_id)
            if connection is None or connection.is_of_another(payload.packet):
                connection = self._accept(circuit_id, payload.packet)
        if connection is None:
            self._drop(DropCounter.UNSOLICITED)
        else:
            connection.receive(payload.packet)

    def _drop(self, reason: str) -> None:
        self._community.drops.count(reason)

    # The origin of a circuit

    async def connect(self, circuit: Circuit, destination: Destination, timeout: float = ANSWER_TIMEOUT) -> Stream:
        """Have the exit of a circuit open a TCP connection.

        :param destination: its names are resolved by the exit.
        :param timeout: in seconds.
        :returns: the stream that is connected.
        :raises ConnectError: if the exit could not connect.
        :raises ConnectionError: if the circuit is gone, or the exit does not take part.
        :raises TimeoutError: if the exit did not answer in time.
        :raises ImportError: if no QUIC library is installed; the message says what to install.
        """
        connection = self._client_of(circuit)
        try:
            stream = connection.open()
        except RuntimeError as e:
            raise ConnectError(Reply.FAILED) from e
        try:
            request = default_serializer.pack_serializable(ConnectRequest(CONNECT, destination))
            await stream.write(len(request).to_bytes(2, "big") + request)
            answer = await asyncio.wait_for(stream.read_exactly(1), timeout)
        except asyncio.IncompleteReadError as e:
            stream.reset()
            raise ConnectionError("the exit did not answer") from e
        except BaseException:
            stream.reset()
            raise
        if answer[0] != Reply.SUCCEEDED:
            stream.reset()
            raise ConnectError(answer[0])
        return stream

    def _client_of(self, circuit: Circuit) -> StreamConnection:
        connection = self.clients.get(circuit.circuit_id)
        if connection is not None:
            return connection
        if circuit.state != CIRCUIT_STATE_READY or circuit.ctype != CIRCUIT_TYPE_DATA:
            raise ConnectionError("the circuit is not ready, or not for data")
        connection = StreamConnection(
            QuicConnection.connect(_SETTINGS, clock.monotonic()), partial(self._send, circuit), self._community,
            on_closed=lambda: self._forget(self.clients, circuit), limits=_LIMITS, memory=self.memory)
        self.clients[circuit.circuit_id] = connection
        circuit.on_closed.append(connection.close)
        return connection

    @staticmethod
    def _forget(table: dict[int, StreamConnection], owner: TunnelEnd) -> None:
        """The connection of an own circuit, or of one that ends here, has ended."""
        connection = table.pop(owner.circuit_id, None)
        if connection is not None and connection.close in owner.on_closed:
            owner.on_closed.remove(connection.close)

    def _send(self, owner: TunnelEnd, packet: bytes) -> None:
        """Send a QUIC packet through an own circuit, or back from an exit."""
        hop = owner.hop
        if hop is not None:
            self._community.send_cell(hop.address, StreamPayload(owner.circuit_id, packet))

    # The exit

    def _accept(self, circuit_id: int, packet: bytes) -> StreamConnection | None:
        if PEER_FLAG_EXIT_STREAMS not in self._community.settings.peer_flags or not is_first_packet(packet):
            return None
        if not self._has_library():
            return None
        if not (self._circuit_handshakes.take(circuit_id) and self._handshakes.take(None)):
            self._drop(DropCounter.RATE_LIMITED)
            return None
        if self._certificate is None:
            self._certificate = Certificate.make()
        quic = QuicConnection.accept(packet, _SETTINGS, self._certificate)
        assert quic is not None, "it is a first packet"
        exit_socket = self._community.exit_sockets[circuit_id]
        previous = self.servers.get(circuit_id)
        if previous is not None:  # the origin has given it up
            previous.close()
        connection = self.servers[circuit_id] = StreamConnection(
            quic, partial(self._send_back, exit_socket), self._community, on_stream=self._on_stream,
            on_closed=lambda: self._forget(self.servers, exit_socket), limits=_LIMITS, memory=self.memory)
        exit_socket.on_closed.append(connection.close)
        return connection

    def _has_library(self) -> bool:
        """Whether streams can be accepted; if not, the log says so once."""
        if available_library() is not None:
            return True
        if not self._has_warned:
            self._has_warned = True
            self._community.logger.warning("This node offers TCP connections, but has no QUIC library: install "
                                           "ipv8[streams], or remove PEER_FLAG_EXIT_STREAMS from its flags")
        return False

    def _send_back(self, exit_socket: TunnelEnd, packet: bytes) -> None:
        may_exit = getattr(self._community.crypto_endpoint, "may_exit", None)
        if may_exit is not None and not may_exit(len(packet)):
            self._drop(DropCounter.RELAY_LIMITED)
        else:
            self._send(exit_socket, packet)

    def _on_stream(self, stream: Stream) -> None:
        if len(self._pipes) >= MAX_EXIT_STREAMS:
            stream.reset(CODE_REFUSED)
        else:
            self._pipes.start(self._serve(stream))

    async def _serve(self, stream: Stream) -> None:
        """Connect a stream to what its first bytes name."""
        try:
            request = await asyncio.wait_for(self._read_request(stream), REQUEST_TIMEOUT)
            reader, writer = await self._connect(request)
        except ConnectError as e:
            await self._answer(stream, e.reply)
        except (OSError, EOFError, PackError, asyncio.TimeoutError):
            stream.reset(CODE_INTERNAL)
        except asyncio.CancelledError:
            stream.reset()
            raise
        else:
            try:
                await self._answer(stream, Reply.SUCCEEDED, ends=False)
                await pipe(stream, reader, writer)
            finally:
                if not writer.is_closing():
                    writer.transport.abort()

    @staticmethod
    async def _read_request(stream: Stream) -> ConnectRequest:
        size = int.from_bytes(await stream.read_exactly(2), "big")
        if size > MAX_REQUEST:
            raise ConnectError(Reply.FAILED)
        data = await stream.read_exactly(size)
        request, _ = default_serializer.unpack_serializable(ConnectRequest, data)
        return request

    @staticmethod
    async def _answer(stream: Stream, reply: int, ends: bool = True) -> None:
        try:
            await stream.write(bytes((reply,)))
            if ends:
                stream.end()
        except OSError:
            pass  # the stream has ended, so nobody waits for the answer

    async def _connect(self, request: ConnectRequest) -> tuple[StreamReader, StreamWriter]:
        if request.command != CONNECT:
            raise ConnectError(Reply.UNKNOWN_COMMAND)
        destination = request.destination
        if destination[1] in self.refused_ports:
            raise ConnectError(Reply.NOT_ALLOWED)
        try:
            address: Any = destination
            if isinstance(destination, DomainAddress):
                address = await self._community.resolver.resolve(destination.host, destination.port)
            elif self._community.exit_policy.refuses(destination) is not None:
                raise ConnectError(Reply.NOT_ALLOWED)
        except RefusedDestinationError as e:
            raise ConnectError(Reply.NOT_ALLOWED) from e
        except OSError as e:
            raise e if isinstance(e, ConnectError) else ConnectError(Reply.HOST_UNREACHABLE) from e
        try:
            return await asyncio.wait_for(self.connect_tcp(address[0], address[1]), CONNECT_TIMEOUT)
        except asyncio.TimeoutError as e:
            raise ConnectError(Reply.EXPIRED) from e
        except OSError as e:
            raise ConnectError(_REPLIES.get(e.errno or 0, Reply.FAILED)) from e

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("streams of others", len(self._pipes), MAX_EXIT_STREAMS, rule="further ones are reset")
