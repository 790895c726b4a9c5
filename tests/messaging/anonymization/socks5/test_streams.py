from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from ipv8 import clock
from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.payload import DataPayload
from ipv8.messaging.anonymization.socks5 import isolation as isolation_module, streams as streams_module
from ipv8.messaging.anonymization.socks5.isolation import Isolation
from ipv8.messaging.anonymization.socks5.payload import CONNECT, ConnectRequest, StreamPayload
from ipv8.messaging.anonymization.socks5.protocol import Reply
from ipv8.messaging.anonymization.socks5.streams import MAX_REQUEST, ConnectError
from ipv8.messaging.anonymization.tunnel import PEER_FLAG_EXIT_STREAMS
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.serialization import PackError, default_serializer
from ipv8.messaging.session.quic import QuicConnection, QuicSettings
from ipv8.stream_io import END
from ipv8.streams import StreamReset
from ipv8.test.clock import ManualClock
from ipv8.test.messaging.anonymization.base import TestTunnelBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.messaging.anonymization.tunnel import Circuit


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(2, "big") + payload


def request_to(destination: Any, command: int = CONNECT) -> bytes:
    return framed(default_serializer.pack_serializable(ConnectRequest(command, destination)))


# Bytes

def test_requests_are_those_of_the_vectors(load_vectors: Callable[[str], Any]) -> None:
    kinds = {"ipv4": UDPv4Address, "ipv6": UDPv6Address, "name": DomainAddress}
    for vector in load_vectors("tunnel_streams")["requests"]:
        destination = kinds[vector["name"]](vector["host"], vector["port"])
        assert request_to(destination).hex() == vector["data"]
        read, _ = default_serializer.unpack_serializable(ConnectRequest, bytes.fromhex(vector["data"])[2:])
        assert (read.command, read.destination) == (CONNECT, destination)
        assert type(read.destination) is type(destination)


def test_answers_are_those_of_the_vectors(load_vectors: Callable[[str], Any]) -> None:
    answers = load_vectors("tunnel_streams")["answers"]
    assert answers == {reply.name.lower(): reply.value for reply in Reply if reply.name.lower() in answers}


def test_cells_are_those_of_the_vectors(load_vectors: Callable[[str], Any]) -> None:
    for vector in load_vectors("tunnel_streams")["cells"]:
        payload = StreamPayload(vector["circuit_id"], bytes.fromhex(vector["packet"]))
        packed = default_serializer.pack_serializable(payload)
        assert (bytes((payload.msg_id,)) + packed[4:]).hex() == vector["message"]


def test_records_and_directions_are_those_of_the_vectors(load_vectors: Callable[[str], Any]) -> None:
    vectors = load_vectors("tunnel_streams")
    for vector in vectors["records"]:
        assert (vector["stream"].to_bytes(8, "big") + vector["consumed"].to_bytes(8, "big")).hex() == vector["data"]
    requests = {vector["name"]: vector["data"] for vector in vectors["requests"]}
    for vector in vectors["directions"]:
        begin = requests[vector["request"]] if "request" in vector else f"{vectors['answers'][vector['answer']]:02x}"
        assert begin + vector["bytes"] + END.hex() == vector["stream"]


@given(st.binary(max_size=80))
def test_any_request(data: bytes) -> None:
    try:
        request, end = default_serializer.unpack_serializable(ConnectRequest, data)
    except PackError:
        return
    assert end <= len(data)
    assert len(request.destination) == 2


# Exits

class TestExitStreams(TestTunnelBase[TunnelCommunity]):
    MAX_TEST_TIME = 30

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, 3)
        self.settings(0).ready_circuits = 0
        self.handlers: list[asyncio.Task[Any] | None] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # as in TestBase
        await super().tearDown()
        await asyncio.gather(*filter(None, self.handlers))
        await asyncio.sleep(0)

    async def prepare(self, hops: int = 2) -> Circuit:
        """A circuit of node 0 to an exit, node 2."""
        self.make_exit(2, flags=(PEER_FLAG_EXIT_STREAMS,))
        await self.introduce_nodes()
        return await self.build(0, hops, exit_flags=[PEER_FLAG_EXIT_STREAMS])

    async def raw_stream(self, circuit: Circuit, data: bytes) -> Any:
        """A stream whose first bytes are ``data``."""
        stream = self.overlay(0).streams._client_of(circuit).open()
        await stream.write(data)
        return stream

    async def test_unknown_commands(self) -> None:
        circuit = await self.prepare()
        stream = await self.raw_stream(circuit, request_to(UDPv4Address("127.0.0.1", 9), 2))
        assert await stream.read() == bytes((Reply.UNKNOWN_COMMAND,))
        assert await stream.read() == b""

    async def test_long_requests(self) -> None:
        circuit = await self.prepare()
        stream = await self.raw_stream(circuit, (MAX_REQUEST + 1).to_bytes(2, "big"))
        assert await stream.read() == bytes((Reply.FAILED,))

    async def test_undecodable_requests(self) -> None:
        circuit = await self.prepare()
        whole = request_to(UDPv4Address("127.0.0.1", 9))
        for data in (framed(whole[2:-1]), framed(b""), framed(b"\x01\x09"),
                     framed(b"\x01\x02\x00\x01\xff\x00\x50")):
            stream = await self.raw_stream(circuit, data)
            with pytest.raises(StreamReset):
                await stream.read()

    async def test_requests_that_are_cut_off(self) -> None:
        circuit = await self.prepare()
        whole = request_to(UDPv4Address("127.0.0.1", 9))
        for length in range(len(whole)):
            stream = await self.raw_stream(circuit, whole[:length])
            stream.end()
            with pytest.raises(StreamReset):
                await stream.read()
        assert not self.overlay(2).streams.exit_streams

    async def test_requests_that_are_too_long_are_read(self) -> None:
        circuit = await self.prepare()
        stream = await self.raw_stream(circuit, framed(request_to(UDPv4Address("127.0.0.1", 25))[2:] + b"more"))
        assert await stream.read() == bytes((Reply.NOT_ALLOWED,))

    async def test_requests_that_never_end(self) -> None:
        circuit = await self.prepare()
        kept, streams_module.REQUEST_TIMEOUT = streams_module.REQUEST_TIMEOUT, 0.05
        try:
            stream = await self.raw_stream(circuit, b"\x00")
            with pytest.raises(StreamReset):
                await stream.read()
        finally:
            streams_module.REQUEST_TIMEOUT = kept

    async def test_slow_servers(self) -> None:
        circuit = await self.prepare()

        async def never(host: str, port: int) -> Any:
            await asyncio.Event().wait()

        self.overlay(2).streams.connect_tcp = never
        kept, streams_module.CONNECT_TIMEOUT = streams_module.CONNECT_TIMEOUT, 0.05
        try:
            with pytest.raises(ConnectError) as caught:
                await self.overlay(0).streams.connect(circuit, UDPv4Address("127.0.0.1", 9))
        finally:
            streams_module.CONNECT_TIMEOUT = kept
        assert caught.value.reply == Reply.EXPIRED

    async def test_unknown_names(self) -> None:
        circuit = await self.prepare()

        async def lookup(name: str) -> list[Any]:
            raise OSError("unknown")

        self.overlay(2).resolver._lookup = lookup
        with pytest.raises(ConnectError) as caught:
            await self.overlay(0).streams.connect(circuit, DomainAddress("nowhere.org", 80))
        assert caught.value.reply == Reply.HOST_UNREACHABLE

    async def test_names_are_checked_by_their_addresses(self) -> None:
        circuit = await self.prepare()
        self.settings(2).exit_to_private = False
        connected = []

        async def lookup(name: str) -> list[Any]:
            return [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("10.1.2.3", 0))]

        async def connect(host: str, port: int) -> Any:
            connected.append(host)
            raise OSError

        self.overlay(2).resolver._lookup = lookup
        self.overlay(2).streams.connect_tcp = connect
        with pytest.raises(ConnectError) as caught:
            await self.overlay(0).streams.connect(circuit, DomainAddress("rebinding.org", 80))
        assert caught.value.reply == Reply.NOT_ALLOWED
        assert not connected

    async def test_no_more_streams_than_the_limit(self) -> None:
        circuit = await self.prepare()
        kept, streams_module.MAX_EXIT_STREAMS = streams_module.MAX_EXIT_STREAMS, 2
        try:
            for _ in range(2):
                await self.raw_stream(circuit, b"\x00")
            stream = await self.raw_stream(circuit, b"\x00")
            with pytest.raises(StreamReset):
                await stream.read()
            assert self.overlay(2).streams.exit_streams == 2
        finally:
            streams_module.MAX_EXIT_STREAMS = kept

    async def test_handshakes_of_a_circuit_are_limited(self) -> None:
        circuit = await self.prepare()
        refused = 0
        with clock.use(ManualClock()):
            for _ in range(streams_module.CIRCUIT_HANDSHAKES_AT_ONCE + 2):
                self.first_packet(0, circuit)
                await self.deliver_messages()
                servers = self.overlay(2).streams.servers
                refused += not servers
                for connection in list(servers.values()):
                    connection.close()
        assert refused == 2
        assert self.overlay(2).drops[DropCounter.RATE_LIMITED] == 2

    def first_packet(self, node: int, circuit: Any) -> None:
        """Send the first packet of a connection."""
        quic = QuicConnection.connect(QuicSettings("ipv8-exit/1"), clock.monotonic())
        self.overlay(node).send_cell(circuit.hop.address,
                                     StreamPayload(circuit.circuit_id, quic.datagrams(clock.monotonic())[0]))

    async def test_an_exit_without_a_library(self) -> None:
        circuit = await self.prepare()
        module: Any = streams_module
        kept, module.available_library = module.available_library, lambda: None
        try:
            with self.assertLogs(self.overlay(2).logger, "WARNING") as logs:
                for _ in range(3):
                    self.first_packet(0, circuit)
                    await self.deliver_messages()
        finally:
            module.available_library = kept
        assert len(logs.records) == 1
        assert not self.overlay(2).streams.servers

    async def test_an_exit_cannot_begin(self) -> None:
        circuit = await self.prepare()
        self.settings(0).peer_flags |= {PEER_FLAG_EXIT_STREAMS}
        (exit_socket,) = self.overlay(2).exit_sockets.values()
        self.first_packet(2, exit_socket)
        await self.deliver_messages()
        assert not self.overlay(0).streams.servers
        assert not self.overlay(0).streams.clients
        assert self.overlay(0).drops[DropCounter.UNSOLICITED] == 1
        assert circuit.circuit_id in self.overlay(0).circuits

    async def test_nothing_is_let_in_from_outside(self) -> None:
        circuit = await self.prepare()
        message = self.overlay(0).get_prefix() + default_serializer.pack_serializable(
            StreamPayload(circuit.circuit_id, b"x" * 1200))
        packet = message[:22] + bytes((StreamPayload.msg_id,)) + message[22:]
        with pytest.raises(AssertionError, match="no handler for message 40"):  # by the socket
            self.overlay(0).on_packet((UDPv4Address("9.9.9.9", 9), packet))
        (exit_socket,) = self.overlay(2).exit_sockets.values()
        assert exit_socket.hop is not None
        self.overlay(2).send_cell(exit_socket.hop.address, DataPayload(
            exit_socket.circuit_id, ("0.0.0.0", 0), ("9.9.9.9", 9), packet))
        await self.deliver_messages()
        assert self.overlay(0).drops[DropCounter.NOT_ADMITTED] >= 1
        assert self.overlay(0).drops[DropCounter.UNSOLICITED] == 0  # the handler was not called

    async def test_garbage_does_no_harm(self) -> None:
        circuit = await self.prepare()
        for packet in (b"", b"\x00", b"\xc3" * 1200, bytes(1200), b"\xc3\x00\x00\x00\x01\x14" + bytes(1200)):
            assert circuit.hop is not None
            self.overlay(0).send_cell(circuit.hop.address, StreamPayload(circuit.circuit_id, packet))
        await self.deliver_messages()
        with pytest.raises(ConnectError):
            await self.overlay(0).streams.connect(circuit, UDPv4Address("127.0.0.1", 25))

    async def test_the_end_of_the_exit_ends_the_connection(self) -> None:
        circuit = await self.prepare()
        await self.raw_stream(circuit, b"\x00")
        while not self.overlay(2).streams.servers:
            await self.deliver_messages()
        await self.overlay(2).remove_exit_socket(next(iter(self.overlay(2).exit_sockets)), remove_now=True)
        assert not self.overlay(2).streams.servers

    async def test_packets_over_the_bandwidth_are_dropped(self) -> None:
        circuit = await self.prepare()
        crypto_endpoint: Any = self.overlay(2).crypto_endpoint
        crypto_endpoint.may_exit = lambda size: False
        await self.raw_stream(circuit, b"\x00")
        await self.deliver_messages()
        assert self.overlay(2).drops[DropCounter.RELAY_LIMITED] > 0
        assert not self.overlay(0).streams.clients[circuit.circuit_id].is_connected

    async def test_circuits_that_cannot_carry_streams(self) -> None:
        circuit = await self.prepare()
        streams = self.overlay(0).streams
        circuit.ctype = "IP_SEEDER"
        with pytest.raises(ConnectionError):
            await streams.connect(circuit, UDPv4Address("127.0.0.1", 9))
        circuit.ctype = "DATA"
        await self.overlay(0).remove_circuit(circuit.circuit_id, remove_now=True)
        with pytest.raises(ConnectionError):
            await streams.connect(circuit, UDPv4Address("127.0.0.1", 9))

    # Isolation

    async def connect(self, isolation: Isolation, key: Any) -> Any:
        return await isolation.connect(key, DomainAddress("localhost", self.port))

    async def isolated(self) -> Isolation:
        self.make_exit(2, flags=(PEER_FLAG_EXIT_STREAMS,))
        await self.introduce_nodes()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.handlers.append(asyncio.current_task())
            with contextlib.suppress(OSError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        self.addCleanup(server.close)
        self.port = server.sockets[0].getsockname()[1]
        return Isolation(self.overlay(0), self.overlay(0).streams, 2, 5.0)

    async def test_old_circuits_are_kept_for_their_streams_only(self) -> None:
        isolation = await self.isolated()
        first, leave = await self.connect(isolation, "a")
        (old,) = isolation.circuits
        kept, isolation_module.MAX_AGE = isolation_module.MAX_AGE, 0.0
        try:
            second, leave_second = await self.connect(isolation, "a")
        finally:
            isolation_module.MAX_AGE = kept
        (new,) = isolation.circuits
        assert new is not old
        assert old.state == "READY"
        first.end()
        leave()
        await self.deliver_messages()
        assert old.state == "CLOSING"
        assert new.state == "READY"
        second.end()
        leave_second()
        isolation.close()
        await self.deliver_messages()
        assert new.state == "CLOSING"

    async def test_another_circuit_when_one_is_full(self) -> None:
        isolation = await self.isolated()
        _, leave = await self.connect(isolation, "a")
        (full,) = isolation.circuits
        connection = self.overlay(0).streams.clients[full.circuit_id]
        connection.limits = connection.limits._replace(streams=1)
        await self.connect(isolation, "a")
        (other,) = isolation.circuits
        assert other is not full
        assert full.state == "READY"
        leave()
        await self.deliver_messages()
        assert full.state == "CLOSING"
        isolation.close()

    async def test_groups_are_limited(self) -> None:
        isolation = await self.isolated()
        kept, isolation_module.MAX_GROUPS = isolation_module.MAX_GROUPS, 2
        try:
            _, leave = await self.connect(isolation, "a")
            await self.connect(isolation, "b")
            with pytest.raises(ConnectionError, match="groups of clients"):
                await self.connect(isolation, "c")
            leave()
            await self.connect(isolation, "c")
            assert list(isolation._groups) == ["b", "c"]
        finally:
            isolation_module.MAX_GROUPS = kept
        isolation.close()
