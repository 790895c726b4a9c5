"""Live events over HTTP: who may have them, what clients get, and what becomes of clients that do not read."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from ipv8.events import LAGGED, MAX_QUEUED, EventBus
from ipv8.REST import events_endpoint, rest_manager, tickets
from ipv8.REST.access import WRONG_KEYS
from ipv8.REST.rest_manager import RESTManager
from ipv8.REST.tickets import Tickets
from tests.REST.browser import open_page, started_browser
from tests.REST.full_nodes import acquaint, full_nodes
from tests.REST.world import peer as known_peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.REST.conftest import Serve
    from tests.REST.world import World

KEY = "secret"
HEADERS = {"X-Api-Key": KEY}


class Stream:
    """A client that reads Server-Sent Events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> list[str]:
        """The lines of the next block; none at the end."""
        lines = []
        while line := (await self.response.content.readline()).decode():
            if line == "\n":
                break
            lines.append(line.removesuffix("\n"))
        return lines

    async def event(self) -> dict[str, Any]:
        """The next event."""
        number, topic, data = await self.block()
        event: dict[str, Any] = json.loads(data.removeprefix("data: "))
        assert number == f"id: {event['id']}"
        assert topic == f"event: {event['topic']}"
        return event


@asynccontextmanager
async def streaming(client: aiohttp.ClientSession, query: str = "", **options: Any) -> AsyncIterator[Stream]:
    async with client.get(f"/events{query}", **options) as response:
        assert response.status == 200, await response.text()
        stream = Stream(response)
        assert await stream.block() == ["retry: 2000"]
        yield stream


def bus_of(manager: RESTManager) -> EventBus:
    """The bus that a manager shows, which is made for the test."""
    endpoint: Any = manager.root_endpoint
    bus = endpoint.endpoints["/events"].bus = EventBus()
    return bus


async def until(condition: Callable[[], Any]) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - of what nothing tells
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), 30)


# -- Server-Sent Events ----------------------------------------------------------------------------------------------

async def test_events_are_streamed(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with streaming(client) as stream:
            assert stream.response.headers["Content-Type"] == "text/event-stream"
            assert stream.response.headers["Cache-Control"] == "no-store"
            assert "Content-Encoding" not in stream.response.headers
            bus.publish("peer.added", {"mid": "ab"})
            bus.publish("packet", {})
            bus.publish("circuit.ready", {"reason": "line\nbreak"})
            first, second = await stream.event(), await stream.event()
        assert (first["id"], first["topic"], first["data"]) == (1, "peer.added", {"mid": "ab"})
        assert isinstance(first["time"], float)
        assert (second["id"], second["data"]) == (3, {"reason": "line\nbreak"})
        await fill(bus, lambda: not bus.subscriptions)


@pytest.mark.parametrize("kind", [web.StreamResponse, web.WebSocketResponse])
async def test_client_that_leaves_at_once_is_no_error(serve: Serve, kind: Any, monkeypatch: pytest.MonkeyPatch,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(*_: Any) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    async with serve() as (manager, client):
        bus = bus_of(manager)
        monkeypatch.setattr(kind, "prepare", refuse)
        request = client.ws_connect("/events/ws") if kind is web.WebSocketResponse else client.get("/events")
        with pytest.raises(aiohttp.ClientError):
            await request
        assert not bus.subscriptions
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_topics_are_chosen(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with streaming(client, "?topics=circuit,packet") as stream:
            for topic in ("peer.added", "packet", "circuit.ready"):
                bus.publish(topic, {})
            assert [(await stream.event())["topic"] for _ in range(2)] == ["packet", "circuit.ready"]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_client_that_comes_back_gets_what_it_missed(serve: Serve, how: str) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with streaming(client):
            bus.publish("peer", {"n": 1})
        bus.publish("peer", {"n": 2})
        options: Any = {"headers": {"Last-Event-ID": "1"}} if how == "header" else {"query": "?last_id=1"}
        async with streaming(client, **options) as stream:
            bus.publish("peer", {"n": 3})
            assert [(await stream.event())["data"]["n"] for _ in range(2)] == [2, 3]


async def test_a_client_is_told_that_it_lagged(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with streaming(client) as stream:
            for _ in range(MAX_QUEUED + 5):
                bus.publish("peer", {})
            event = await stream.event()
            assert (event["topic"], event["data"]) == (LAGGED, {"count": 5})
            assert (await stream.event())["id"] == 6


async def test_a_stream_without_events_gets_comments(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_endpoint, "PING_INTERVAL", 0.001)
    async with serve() as (manager, client):
        bus_of(manager)
        async with streaming(client) as stream:
            assert await stream.block() == [":"]
            assert await stream.block() == [":"]


@pytest.mark.parametrize("query", ["topics=a%20b", "topics=a..b", "topics=" + "a" * 65,
                                   "topics=" + ",".join(map(str, range(33))), "last_id=x", "last_id=-1",
                                   "last_id=" + "1" * 20])
@pytest.mark.parametrize("path", ["/events", "/events/ws"])
async def test_impossible_arguments(serve: Serve, path: str, query: str) -> None:
    async with serve() as (manager, client):
        bus_of(manager)
        response = await client.get(f"{path}?{query}")
        assert response.status == 400
        assert "must be" in (await response.json())["error"]["message"]


async def test_streams_are_not_idle(serve: Serve, manual_clock: Any) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        root: Any = manager.root_endpoint
        runner: Any = manager.runner
        gate = next(middleware for middleware in root.app.middlewares if hasattr(middleware, "close_idle"))
        async with streaming(client) as stream, client.ws_connect("/events/ws") as connection:
            for _ in range(3):
                manual_clock.advance(40)
                gate.close_idle(runner.server.connections)
            bus.publish("peer", {})
            assert (await stream.event())["topic"] == "peer"
            assert (await connection.receive_json())["topic"] == "peer"


# -- WebSocket -------------------------------------------------------------------------------------------------------

async def test_events_come_by_websocket(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with client.ws_connect("/events/ws?topics=peer&last_id=0") as connection:
            for topic in ("peer.added", "circuit.ready", "peer.removed"):
                bus.publish(topic, {"a": 1})
            first, second = await connection.receive_json(), await connection.receive_json()
            assert (first["id"], first["topic"], first["data"]) == (1, "peer.added", {"a": 1})
            assert second["topic"] == "peer.removed"
            await connection.send_json({"subscribe": ["circuit"]})
            await until(lambda: bus.wants("circuit"))
            for topic in ("peer.added", "circuit.ready"):
                bus.publish(topic, {})
            assert (await connection.receive_json())["topic"] == "circuit.ready"
        await until(lambda: not bus.subscriptions)


@pytest.mark.parametrize("message", ["", "{", "[]", '{"subscribe": "peer"}', '{"subscribe": [1]}',
                                     '{"subscribe": ["a b"]}', '{"other": []}', "[" * 3000, b"bytes"])
async def test_a_client_that_says_something_else_is_closed(serve: Serve, message: str | bytes) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with client.ws_connect("/events/ws") as connection:
            await (connection.send_str(message) if isinstance(message, str) else connection.send_bytes(message))
            closing = await connection.receive()
            assert (closing.type, closing.data) == (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
        await until(lambda: not bus.subscriptions)


async def test_limits_of_what_a_client_says(serve: Serve, manual_clock: Any) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with client.ws_connect("/events/ws") as connection:
            await connection.send_str(json.dumps({"subscribe": [], "more": "x" * 4096}))
            closing = await connection.receive()
            assert (closing.type, closing.data) == (WSMsgType.CLOSE, WSCloseCode.MESSAGE_TOO_BIG)
        async with client.ws_connect("/events/ws") as connection:
            for _ in range(11):
                await connection.send_json({"subscribe": ["peer"]})
            closing = await connection.receive()
            assert (closing.type, closing.data, closing.extra) == (
                WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION, "send fewer messages")
        await until(lambda: not bus.subscriptions)


async def test_a_request_that_asks_for_no_websocket(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus = bus_of(manager)
        assert (await client.get("/events/ws")).status == 400
        assert not bus.subscriptions


# -- who may have them -----------------------------------------------------------------------------------------------

async def test_a_ticket_is_good_for_one_stream(serve: Serve) -> None:
    async with serve(api_key=KEY) as (manager, client):
        bus_of(manager)
        for path in ("/events", "/events/ws"):
            assert (await client.get(path)).status == 401
        assert (await client.post("/events/ticket")).status == 401
        granted = await (await client.post("/events/ticket", headers=HEADERS)).json()
        assert granted["expires_in"] == 30
        for path in ("/overlays", "/events/ticket", "/health/../overlays"):
            assert (await client.get(f"{path}?ticket={granted['ticket']}")).status == 401
        async with streaming(client, f"?ticket={granted['ticket']}"):
            assert (await client.get(f"/events?ticket={granted['ticket']}")).status == 401
        granted = await (await client.post("/events/ticket", headers=HEADERS)).json()
        async with client.ws_connect(f"/events/ws?ticket={granted['ticket']}"):
            pass
        async with streaming(client, f"?apikey={KEY}"), streaming(client, headers=HEADERS):
            pass


async def test_wrong_tickets_count_as_wrong_keys(serve: Serve, manual_clock: Any) -> None:
    async with serve(api_key=KEY) as (manager, client):
        bus_of(manager)
        for _ in range(WRONG_KEYS):
            assert (await client.get("/events?ticket=wrong%ud800")).status == 401
        assert (await client.get("/events", headers=HEADERS)).status == 429


def test_tickets_end(manual_clock: Any) -> None:
    issued = Tickets()
    first = issued.issue()
    assert not issued.redeem("")
    assert not issued.redeem("\ud800")
    assert issued.redeem(first)
    assert not issued.redeem(first)
    late = issued.issue()
    manual_clock.advance(tickets.TICKET_SECONDS)
    assert not issued.redeem(late)
    oldest, *others = [issued.issue() for _ in range(tickets.MAX_TICKETS + 1)]
    assert not issued.redeem(oldest)
    assert all(map(issued.redeem, others))


async def test_pages_of_other_sites_get_nothing(serve: Serve) -> None:
    async with serve(cors_origins=["https://friend.example"]) as (manager, client):
        bus = bus_of(manager)
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await client.get("/events", headers=headers)).status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await client.ws_connect("/events/ws", headers=headers)
            assert refusal.value.status == 403
        assert not bus.subscriptions
        for origin in ("https://friend.example", manager.url):
            assert origin is not None
            async with (streaming(client, headers={"Origin": origin}),
                        client.ws_connect("/events/ws", headers={"Origin": origin})):
                pass


async def test_only_so_many_streams(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_endpoint, "MAX_STREAMS", 2)
    async with serve() as (manager, client):
        bus = bus_of(manager)
        async with streaming(client):
            async with streaming(client) as second:
                refused = await client.get("/events")
                assert (refused.status, refused.headers["Retry-After"]) == (429, "15")
                second.response.close()
            root: Any = manager.root_endpoint
            streams = root.endpoints["/events"]._streams
            await until(lambda: any(request.transport is None for request in streams.values()))
            async with streaming(client):  # in the place of the one that has vanished
                assert len(bus.subscriptions) == 2


async def test_head_requests_do_not_stream(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus_of(manager)
        assert (await client.head("/events")).status == 405


async def test_events_of_the_node(serve: Serve, world: World) -> None:
    async with serve() as (_, client), streaming(client, "?topics=peer") as stream:
        world.network.add_verified_peer(known_peer(2))
        event = await stream.event()
        assert (event["topic"], event["data"]["mid"]) == ("peer.added", known_peer(2).mid.hex())


async def test_a_node_that_is_not_observed(serve: Serve, world: World) -> None:
    async with serve(observe=False) as (_, client):
        for path in ("/events", "/events/ws"):
            response = await client.get(path)
            assert response.status == 404
            assert "observe=True" in (await response.json())["error"]
    assert not any("event_bus" in vars(overlay) for overlay in world.overlays)


async def test_without_a_node(serve: Serve) -> None:
    async with serve() as (manager, client):
        endpoint: Any = manager.root_endpoint
        endpoint.endpoints["/events"].session = None
        for path in ("/events", "/events/ws"):
            assert (await client.get(path)).status == 404


# -- clients that do not read, and the end ---------------------------------------------------------------------------

async def open_blindly(manager: RESTManager, path: str) -> asyncio.StreamWriter:
    """A client that asks for events and reads nothing."""
    assert manager.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", manager.port, limit=1)
    upgrade = ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" if path.endswith("ws") else "")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{manager.port}\r\n{upgrade}\r\n".encode())
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # nothing is read, not even by asyncio
    return writer


async def fill(bus: EventBus, is_full: Callable[[], Any]) -> None:
    """Publish large events until a client takes no more."""
    while not is_full():
        bus.publish("peer", {"text": "x" * 100_000})
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("path", ["/events", "/events/ws"])
async def test_a_client_that_does_not_read_is_dropped(serve: Serve, path: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_endpoint, "WRITE_SECONDS", 1.0)
    topics: list[str] = []

    async def read(stream: Stream) -> None:
        while True:
            topics.append((await stream.event())["topic"])

    async with serve() as (manager, client):
        bus = bus_of(manager)
        writer = await open_blindly(manager, path)
        await until(lambda: bus.subscriptions)
        (blind,) = bus.subscriptions
        async with streaming(client) as other:
            reading = asyncio.ensure_future(read(other))
            await fill(bus, lambda: len(blind) > MAX_QUEUED)
            await until(lambda: blind not in bus.subscriptions)
            assert len(bus.subscriptions) == 1
            reading.cancel()
        assert set(topics) <= {"peer", LAGGED}
        assert "peer" in topics
        writer.close()


@pytest.mark.parametrize("path", ["/events", "/events/ws"])
async def test_a_client_that_does_not_read_costs_little(serve: Serve, path: str) -> None:
    async with serve() as (manager, _):
        bus = bus_of(manager)
        writer = await open_blindly(manager, path)
        await until(lambda: bus.subscriptions)
        (slow,) = bus.subscriptions
        await fill(bus, lambda: len(slow) > MAX_QUEUED)
        for _ in range(1000):
            bus.publish("peer", {})
        assert len(slow) == MAX_QUEUED + 1
        writer.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
async def test_the_system_notices_clients_that_are_gone(serve: Serve) -> None:
    async with serve() as (manager, client):
        bus_of(manager)
        root: Any = manager.root_endpoint
        async with streaming(client), client.ws_connect("/events/ws"):
            sockets = [request.transport.get_extra_info("socket")
                       for request in root.endpoints["/events"]._streams.values()]
            assert [found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for found in sockets] == [30_000] * 2


async def test_stopping_ends_all_streams_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_manager, "SHUTDOWN_SECONDS", 3600.0)
    async with serve() as (manager, client):
        bus = bus_of(manager)
        blind = [await open_blindly(manager, path) for path in ("/events", "/events/ws")]
        await until(lambda: len(bus.subscriptions) == 2)
        slow = bus.subscriptions
        await fill(bus, lambda: all(len(subscription) > MAX_QUEUED for subscription in slow))
        async with streaming(client) as stream, client.ws_connect("/events/ws") as connection:
            stopping = asyncio.ensure_future(manager.stop())
            while await stream.block():
                pass
            while (message := await connection.receive()).type is not WSMsgType.CLOSE:
                assert message.type is WSMsgType.TEXT
            assert (message.data, message.extra) == (WSCloseCode.GOING_AWAY, "the server stops")
            await stopping
        assert not bus.subscriptions
        for writer in blind:
            writer.close()


async def test_a_websocket_client_that_does_not_say_goodbye(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_manager, "SHUTDOWN_SECONDS", 3600.0)
    async with serve() as (manager, _):
        bus = bus_of(manager)
        writer = await open_blindly(manager, "/events/ws")
        await until(lambda: bus.subscriptions)
        await manager.stop()
        writer.close()


# -- a running network, and a browser --------------------------------------------------------------------------------

async def watch(url: str, seen: dict[str, dict[str, Any]], is_ready: asyncio.Event) -> None:
    """Note the last event of each topic."""
    async with aiohttp.ClientSession(url) as client, client.ws_connect("/events/ws") as connection:
        is_ready.set()
        while True:
            event = await connection.receive_json()
            seen[event["topic"]] = event["data"]


async def test_what_happens_in_real_nodes(tmp_path: Path) -> None:
    seen: dict[str, dict[str, Any]] = {}
    is_ready = asyncio.Event()
    async with full_nodes(tmp_path, 3) as (node, other, third), RESTManager(node) as manager:
        assert manager.url is not None
        watching = asyncio.ensure_future(watch(manager.url, seen, is_ready))
        await asyncio.wait_for(is_ready.wait(), 30)

        circuit = await node.make_circuit(2)
        await node.tunnels.remove_circuit(circuit.circuit_id, "enough", remove_now=True)
        await node.dht.store_value(b"k" * 20, b"value")
        peer = other.known_as()
        other.agree(b"test")
        await node.chain.sign_block(peer, peer.public_key.key_to_bin(), b"test", {b"n": 1})
        assert node.sessions is not None
        (await node.sessions.connect(peer)).close()
        node.network.remove_peer(third.known_as())
        alice, bob = await node.pseudonyms.load("alice"), await other.pseudonyms.load("bob")
        acquaint(alice, bob)
        await until(lambda: "overlay.loaded" in seen)
        bob.request_attestation(bob.peers[0], "age", "id_metadata", {})
        await until(lambda: "identity.request" in seen)
        await node.pseudonyms.unload("alice")
        logging.getLogger("test").warning("a line")

        wanted = {"circuit.created", "circuit.extended", "circuit.ready", "circuit.removed", "dht.lookup", "dht.stored",
                  "trustchain.block", "session.opened", "session.closed", "peer.removed", "overlay.loaded",
                  "overlay.unloaded", "identity.request", "packets", "stats", "log"}
        await until(lambda: wanted <= seen.keys())
        watching.cancel()
        await asyncio.wait([watching])
    assert seen["circuit.removed"]["reason"] == "enough"
    assert (seen["identity.request"]["pseudonym"], seen["identity.request"]["name"]) == ("alice", "age")
    assert seen["overlay.unloaded"]["name"] == "IdentityCommunity"


LISTEN = """async (key) => {
    const ticket = async () => {
        const answer = await fetch("/events/ticket", {method: "POST", headers: {"X-Api-Key": key}});
        return encodeURIComponent((await answer.json()).ticket);
    };
    const tickets = [await ticket(), await ticket()];
    const source = new EventSource(`/events?topics=peer&ticket=${tickets[0]}`);
    const socket = new WebSocket(`ws://${location.host}/events/ws?topics=peer&ticket=${tickets[1]}`);
    const data = (target, name) => new Promise((done, failed) => {
        target.addEventListener(name, (event) => done(event.data ? JSON.parse(event.data) : null));
        target.addEventListener("error", () => failed(new Error(`${name} did not come`)));
    });
    window.received = Promise.all([data(source, "peer.added"), data(socket, "message")]);
    await Promise.all([data(source, "open"), data(socket, "open")]);
}"""


async def test_a_browser_with_tickets(serve: Serve) -> None:
    async with serve(api_key=KEY) as (manager, _), started_browser() as browser:
        bus = bus_of(manager)
        async with open_page(browser, f"{manager.url}/docs", allowed=["status 401", "401"]) as page:
            await page.evaluate(LISTEN, KEY)
            bus.publish("peer.added", {"mid": "ab"})
            received = await page.evaluate("window.received")
        assert [(event["topic"], event["data"]) for event in received] == [("peer.added", {"mid": "ab"})] * 2
