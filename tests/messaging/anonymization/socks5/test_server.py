from __future__ import annotations

import asyncio
import contextlib
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.messaging.address import DomainAddress, UDPv4Address
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.socks5 import server as server_module
from ipv8.messaging.anonymization.socks5.association import Association
from ipv8.messaging.anonymization.socks5.protocol import Reply, pack_datagram, read_datagram
from ipv8.messaging.anonymization.socks5.server import Socks5Server
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_ID_PORT,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    PEER_FLAG_EXIT_BT,
    PEER_FLAG_EXIT_STREAMS,
)
from ipv8.messaging.interfaces.endpoint import EndpointClosedException
from ipv8.test.messaging.anonymization.base import TestTunnelBase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipv8.messaging.anonymization.tunnel import Circuit

NO_AUTHENTICATION = b"\x05\x01\x00"
CONNECT, BIND, ASSOCIATE = 1, 2, 3


def request(command: int, host: str, port: int) -> bytes:
    name = host.encode()
    return bytes((5, command, 0, 3, len(name))) + name + port.to_bytes(2, "big")


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received: list[bytes] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)
        self.transport.sendto(data, addr)


class Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.datagrams.put_nowait(data)


class TestSocks5Server(TestTunnelBase[TunnelCommunity]):
    MAX_TEST_TIME = 30

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, 4)
        self.settings(0).ready_circuits = 0
        self.servers: list[Socks5Server] = []
        self.tcp: list[asyncio.Server] = []
        self.requests: list[bytes] = []
        self.handlers: list[asyncio.Task[Any] | None] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # as in TestBase
        for server in self.servers:
            await server.close()
        for listener in self.tcp:
            listener.close()
        await super().tearDown()
        await asyncio.gather(*filter(None, self.handlers))
        await asyncio.sleep(0)

    async def start(self, hops: int = 3, flags: tuple[int, ...] = (PEER_FLAG_EXIT_STREAMS, PEER_FLAG_EXIT_BT),
                    **options: Any) -> int:
        """A proxy of node 0; node 3 is the exit."""
        self.make_exit(3, flags=flags)
        await self.introduce_nodes()
        server = Socks5Server(self.overlay(0), hops, **options)
        self.servers.append(server)
        return await server.start()

    async def start_http(self) -> int:
        """A server that answers each request line with itself, and closes."""
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.handlers.append(asyncio.current_task())
            with contextlib.suppress(OSError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + head.split(b"\r\n")[0])
                writer.write_eof()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.tcp.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def ask(self, proxy: int, data: bytes, expected: bytes = b"\x05\x00", greeting: bytes = NO_AUTHENTICATION,
                  ) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """The reply of the proxy to a request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
        writer.write(greeting + data)
        assert await reader.readexactly(len(expected)) == expected
        head = await reader.readexactly(4)
        rest = await reader.readexactly({1: 6, 4: 18}[head[3]])
        return head + rest, reader, writer

    async def fetch(self, proxy: int, port: int, host: str = "localhost", **options: Any) -> bytes:
        reply, reader, writer = await self.ask(proxy, request(CONNECT, host, port), **options)
        assert reply[1] == Reply.SUCCEEDED
        writer.write(b"GET /page HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def test_a_page_through_three_hops(self) -> None:
        proxy, port = await self.start(), await self.start_http()
        assert await self.fetch(proxy, port) == b"HTTP/1.0 200 OK\r\n\r\nGET /page HTTP/1.0"
        (circuit,) = self.servers[0].circuits
        assert len(circuit.hops) == 3
        assert self.overlay(3).streams.servers

    async def test_by_address(self) -> None:
        proxy, port = await self.start(hops=1), await self.start_http()
        assert (await self.fetch(proxy, port, "127.0.0.1")).endswith(b"GET /page HTTP/1.0")

    async def test_names_are_resolved_by_the_exit(self) -> None:
        proxy, port = await self.start(hops=2), await self.start_http()
        asked = []

        async def lookup(name: str) -> list[Any]:
            asked.append(name)
            return [(2, 1, 6, "", ("127.0.0.1", 0))]

        self.overlay(3).resolver._lookup = lookup
        assert (await self.fetch(proxy, port, "only.known.there")).endswith(b"GET /page HTTP/1.0")
        assert asked == ["only.known.there"]

    async def test_data_that_come_with_the_request(self) -> None:
        proxy, port = await self.start(hops=1), await self.start_http()
        early = b"GET /early HTTP/1.0\r\n\r\n"
        reply, reader, writer = await self.ask(proxy, request(CONNECT, "localhost", port) + early)
        assert reply[1] == Reply.SUCCEEDED
        assert (await reader.read()).endswith(b"GET /early HTTP/1.0")
        writer.close()

    async def test_many_at_a_time_share_a_circuit(self) -> None:
        proxy, port = await self.start(hops=2), await self.start_http()
        answers = await asyncio.gather(*[self.fetch(proxy, port) for _ in range(20)])
        assert len(set(answers)) == 1
        assert len(self.overlay(0).circuits) == 1

    async def test_much_data_both_ways(self) -> None:
        proxy = await self.start(hops=2)
        data = bytes(range(256)) * 4096

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.handlers.append(asyncio.current_task())
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        self.tcp.append(server)
        _, reader, writer = await self.ask(proxy, request(CONNECT, "localhost", server.sockets[0].getsockname()[1]))
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data
        writer.close()

    async def test_isolation_by_credentials(self) -> None:
        proxy, port = await self.start(hops=2), await self.start_http()
        for name in (b"one", b"two", b"one"):
            credentials = bytes((1, len(name))) + name + b"\x01x"
            await self.fetch(proxy, port, greeting=b"\x05\x01\x02" + credentials, expected=b"\x05\x02\x01\x00")
        await self.fetch(proxy, port)
        assert len(self.servers[0].circuits) == len({circuit.circuit_id for circuit in self.servers[0].circuits}) == 3
        assert len(self.overlay(0).circuits) == 3

    async def test_passwords(self) -> None:
        proxy, port = await self.start(hops=1, passwords={"me": "key"}), await self.start_http()
        await self.fetch(proxy, port, greeting=b"\x05\x01\x02\x01\x02me\x03key", expected=b"\x05\x02\x01\x00")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
        writer.write(b"\x05\x01\x02\x01\x02me\x03???")
        assert await reader.read() == b"\x05\x02\x01\x01"
        writer.close()

    async def test_refused_connections(self) -> None:
        proxy = await self.start(hops=1)
        with socket.socket() as silent:  # it has a port, and does not listen
            silent.bind(("127.0.0.1", 0))
            reply, _, writer = await self.ask(proxy, request(CONNECT, "127.0.0.1", silent.getsockname()[1]))
        assert reply[1] == Reply.REFUSED
        writer.close()

    async def test_what_the_policy_forbids(self) -> None:
        proxy, port = await self.start(hops=1), await self.start_http()
        self.settings(3).exit_to_private = False
        for host in ("127.0.0.1", "10.0.0.1", "localhost", "::1", "0x7f.1"):
            reply, _, writer = await self.ask(proxy, request(CONNECT, host, port))
            assert reply[1] == Reply.NOT_ALLOWED, host
            writer.close()
        self.settings(3).exit_to_private = True
        reply, _, writer = await self.ask(proxy, request(CONNECT, "127.0.0.1", 25))
        assert reply[1] == Reply.NOT_ALLOWED
        writer.close()
        assert not self.requests

    async def test_unknown_requests(self) -> None:
        proxy = await self.start(hops=1)
        for data, reply_code in ((request(BIND, "1.2.3.4", 5), Reply.UNKNOWN_COMMAND),
                                 (b"\x05\x01\x00\x09\x00", Reply.UNKNOWN_ADDRESS_TYPE)):
            reply, reader, writer = await self.ask(proxy, data)
            assert reply[1] == reply_code
            assert await reader.read() == b""
            writer.close()

    async def test_without_an_exit_nothing_leaves(self) -> None:
        proxy, port = await self.start(flags=(), timeout=0.1), await self.start_http()
        reply, _, writer = await self.ask(proxy, request(CONNECT, "127.0.0.1", port))
        assert reply[1] == Reply.EXPIRED
        writer.close()
        assert not self.requests

    async def test_an_exit_that_ended_its_service(self) -> None:
        proxy, port = await self.start(hops=1), await self.start_http()
        self.settings(3).peer_flags = {1, 2}
        with self._patience(0.05), self._short_wait():
            reply, _, writer = await self.ask(proxy, request(CONNECT, "127.0.0.1", port))
        assert reply[1] in {Reply.EXPIRED, Reply.FAILED}
        writer.close()
        assert not self.requests
        assert not self.overlay(0).path.back_off.is_usable(self.key_bin(3), clock.monotonic())
        assert not self.overlay(3).streams.servers

    @contextlib.contextmanager
    def _short_wait(self) -> Iterator[None]:
        """Do not wait long for another exit than the one that did not answer, as there is none."""
        isolation = self.servers[0]._isolation
        kept, blame = isolation._timeout, isolation._blame_exit

        def blame_and_hurry(circuit: Circuit) -> None:
            blame(circuit)
            isolation._timeout = 0.0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(isolation, "_blame_exit", blame_and_hurry)
            yield
        isolation._timeout = kept

    @contextlib.contextmanager
    def _patience(self, seconds: float) -> Iterator[None]:
        from ipv8.messaging.anonymization.socks5 import isolation

        kept, isolation.FIRST_ANSWER = isolation.FIRST_ANSWER, seconds
        try:
            yield
        finally:
            isolation.FIRST_ANSWER = kept

    async def test_the_end_of_the_circuit_ends_connections(self) -> None:
        proxy = await self.start(hops=2)
        ended = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.handlers.append(asyncio.current_task())
            with contextlib.suppress(OSError):
                await reader.read()
            ended.set()
            writer.close()

        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        self.tcp.append(server)
        _, reader, writer = await self.ask(proxy, request(CONNECT, "127.0.0.1", server.sockets[0].getsockname()[1]))
        (circuit,) = self.overlay(0).circuits.values()
        await self.overlay(0).remove_circuit(circuit.circuit_id, remove_now=True, destroy=True)
        with contextlib.suppress(OSError):
            assert await reader.read() == b""
        await ended.wait()
        writer.close()
        assert not self.overlay(0).streams.clients

    async def test_another_circuit_after_the_end_of_one(self) -> None:
        proxy, port = await self.start(hops=2), await self.start_http()
        await self.fetch(proxy, port)
        (first,) = self.overlay(0).circuits.values()
        await self.overlay(0).remove_circuit(first.circuit_id, remove_now=True, destroy=True)
        assert (await self.fetch(proxy, port)).endswith(b"GET /page HTTP/1.0")
        (second,) = self.overlay(0).circuits.values()
        assert second is not first

    # UDP

    async def _associate(self, proxy: int) -> tuple[Inbox, asyncio.DatagramTransport, tuple[str, int],
                                                    asyncio.StreamWriter]:
        reply, _, writer = await self.ask(proxy, request(ASSOCIATE, "0.0.0.0", 0))
        assert reply[:4] == b"\x05\x00\x00\x01"
        where = ("127.0.0.1", int.from_bytes(reply[8:10], "big"))
        transport, inbox = await asyncio.get_running_loop().create_datagram_endpoint(
            Inbox, local_addr=("127.0.0.1", 0))
        return inbox, transport, where, writer

    async def _echo(self) -> tuple[Echo, asyncio.DatagramTransport, tuple[str, int]]:
        transport, echo = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        return echo, transport, transport.get_extra_info("sockname")

    async def test_datagrams(self) -> None:
        proxy = await self.start(hops=2)
        inbox, transport, where, writer = await self._associate(proxy)
        echo, server, address = await self._echo()
        for destination in (UDPv4Address(*address), DomainAddress("localhost", address[1])):
            transport.sendto(pack_datagram(destination, b"d1:ae"), where)
            assert read_datagram(await inbox.datagrams.get()) == (UDPv4Address(*address), b"d1:ae")
        assert echo.received == [b"d1:ae"] * 2
        (association,) = self.servers[0].associations
        assert address in association.destinations
        writer.close()
        transport.close()
        server.close()
        while self.servers[0].associations:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0)

    async def test_associations_are_accepted_without_circuits(self) -> None:
        proxy = await self.start(flags=(), timeout=0.05)
        inbox, transport, where, writer = await self._associate(proxy)
        echo, server, address = await self._echo()
        transport.sendto(pack_datagram(address, b"d1:ae"), where)
        (association,) = self.servers[0].associations
        while not association.dropped:  # noqa: ASYNC110 - the association has no event for it
            await asyncio.sleep(0.01)
        assert not echo.received
        assert inbox.datagrams.empty()
        writer.close()
        transport.close()
        server.close()

    async def test_an_association_without_a_socket_is_refused(self) -> None:
        proxy = await self.start(flags=())

        async def fail(*_: object) -> tuple[str, int]:
            raise OSError("too many open files")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Association, "open", fail)
            reply, _, writer = await self.ask(proxy, request(ASSOCIATE, "0.0.0.0", 0))
        assert reply[1] == Reply.FAILED
        assert not self.servers[0].associations
        writer.close()

    async def test_only_the_client_uses_an_association(self) -> None:
        proxy = await self.start(hops=1)
        inbox, transport, where, writer = await self._associate(proxy)
        other, _ = await asyncio.get_running_loop().create_datagram_endpoint(Inbox, local_addr=("127.0.0.1", 0))
        echo, server, address = await self._echo()
        transport.sendto(pack_datagram(address, b"d1:ae"), where)
        await inbox.datagrams.get()
        other.sendto(pack_datagram(address, b"d1:be"), where)
        transport.sendto(b"\x00\x00\x01" + pack_datagram(address, b"d1:ce")[3:], where)
        transport.sendto(pack_datagram(address, b"d1:de"), where)
        await inbox.datagrams.get()
        assert echo.received == [b"d1:ae", b"d1:de"]
        (association,) = self.servers[0].associations
        assert association.dropped == 2
        for closing in (writer, transport, other, server):
            closing.close()

    async def test_datagrams_to_hidden_services(self) -> None:
        proxy = await self.start(hops=1)
        circuit = await self.build(0, 1)
        circuit.ctype = CIRCUIT_TYPE_RP_DOWNLOADER
        inbox, transport, where, writer = await self._associate(proxy)
        pseudo = UDPv4Address(str(IPv4Address(circuit.circuit_id)), CIRCUIT_ID_PORT)
        sent: list[Any] = []
        overlay: Any = self.overlay(0)
        overlay.send_data = lambda *arguments: sent.append(arguments)
        transport.sendto(pack_datagram(pseudo, b"too early"), where)
        (association,) = self.servers[0].associations
        while not association.dropped:  # noqa: ASYNC110 - the association has no event for it
            await asyncio.sleep(0.01)
        circuit.e2e = True
        for data in (b"one", b"two"):
            transport.sendto(pack_datagram(pseudo, data), where)
        while len(sent) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert circuit.hop is not None
        assert sent == [(circuit.hop.address, circuit.circuit_id, pseudo, ("0.0.0.0", 0), data)
                        for data in (b"one", b"two")]
        assert association.circuits == [circuit]
        assert circuit.receiver is not None
        circuit.receiver(("0.0.0.0", 0), b"answer")
        assert read_datagram(await inbox.datagrams.get()) == (pseudo, b"answer")
        transport.close()
        writer.close()
        while circuit.receiver is not None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert circuit.state == CIRCUIT_STATE_READY  # it is not the proxy's

    # Limits

    async def test_no_more_clients_than_the_limit(self) -> None:
        proxy = await self.start(hops=1)
        kept, server_module.MAX_CLIENTS = server_module.MAX_CLIENTS, 1
        try:
            _, first = await asyncio.open_connection("127.0.0.1", proxy)
            while not self.servers[0].clients:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
            reader, second = await asyncio.open_connection("127.0.0.1", proxy)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        finally:
            server_module.MAX_CLIENTS = kept
        first.close()
        second.close()

    async def test_silent_clients_are_closed(self) -> None:
        proxy = await self.start(hops=1)
        kept, server_module.NEGOTIATION_TIMEOUT = server_module.NEGOTIATION_TIMEOUT, 0.05
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
            assert await reader.read() == b""
        finally:
            server_module.NEGOTIATION_TIMEOUT = kept
        writer.close()

    async def test_tcp_without_a_library(self) -> None:
        proxy, port = await self.start(hops=1), await self.start_http()

        async def connect(*_: Any) -> Any:
            raise ImportError("install it")

        streams: Any = self.overlay(0).streams
        streams.connect = connect
        with self.assertLogs("Socks5Server", "ERROR") as logs:
            for _ in range(2):
                reply, _, writer = await self.ask(proxy, request(CONNECT, "127.0.0.1", port))
                assert reply[1] == Reply.FAILED
                writer.close()
        assert len(logs.records) == 1
        assert not self.requests

    # By the crypto endpoint

    async def test_the_crypto_endpoint_offers_proxies(self) -> None:
        self.make_exit(3, flags=(PEER_FLAG_EXIT_STREAMS, PEER_FLAG_EXIT_BT))
        await self.introduce_nodes()
        endpoint: Any = self.overlay(0).crypto_endpoint
        port = endpoint.create_socks5_server(0, 2)
        assert endpoint.get_socks5_statistics() == [{"port": port, "hops": 2, "associates": 0}]
        assert endpoint.get_associated_circuits(port) == endpoint.get_associated_circuits(1) == ()
        target = await self.start_http()
        assert (await self.fetch(port, target)).endswith(b"GET /page HTTP/1.0")
        client, transport, where, writer = await self._associate(port)
        assert endpoint.get_socks5_statistics()[0]["associates"] == 1
        _, server, address = await self._echo()
        transport.sendto(pack_datagram(address, b"d1:ae"), where)
        await client.datagrams.get()
        (circuit_id,) = endpoint.get_associated_circuits(port)
        assert endpoint.get_peers_for_circuit(circuit_id) == [address]
        assert endpoint.get_peers_for_circuit(0) == []
        for closing in (writer, transport, server):
            closing.close()

    async def test_the_default_client(self) -> None:
        self.make_exit(3)
        await self.introduce_nodes()
        endpoint: Any = self.overlay(0).crypto_endpoint
        port = endpoint.create_socks5_server(0, 1)
        inbox, transport, _, writer = await self._associate(port)
        writer.close()
        endpoint.set_udp_associate_default_remote(transport.get_extra_info("sockname"), 1)
        _, unused, _, second = await self._associate(port)
        association = next(association for association in endpoint._servers[port].associations
                           if association._client is not None)
        association._on_data(UDPv4Address("1.2.3.4", 5), b"data")
        assert read_datagram(await inbox.datagrams.get()) == (UDPv4Address("1.2.3.4", 5), b"data")
        for closing in (second, transport, unused):
            closing.close()

    async def test_impossible_lengths(self) -> None:
        for hops in (0, 9):
            with pytest.raises(ValueError, match="1 to 8 hops"):
                Socks5Server(self.overlay(0), hops)

    async def test_closed_endpoints_have_no_proxies(self) -> None:
        endpoint: Any = self.overlay(0).crypto_endpoint
        endpoint.endpoint.close()
        with pytest.raises(EndpointClosedException):
            endpoint.create_socks5_server(0, 2)

    async def test_unloaded_overlays_have_no_proxies(self) -> None:
        await self.overlay(0).unload()
        endpoint: Any = self.overlay(0).crypto_endpoint
        with pytest.raises(EndpointClosedException):
            endpoint.create_socks5_server(0, 2)
