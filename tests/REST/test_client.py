"""The client in Python, with a server, and with servers that answer something else."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import aiohttp
import pytest
from aiohttp import web

from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.REST.client import Event, IPv8Client, RequestFailed, Unreachable
from ipv8.REST.observation.observer import NodeObserver
from ipv8.trust.graph import TrustGraph
from tests.REST.world import World, peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.REST.conftest import Serve

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEY = "00" * 20


async def test_all_methods(world: World, serve: Serve) -> None:
    for number in (2, 3):
        world.network.add_verified_peer(peer(number))
        world.network.discover_services(peer(number), [world.overlays[0].community_id])
    world.overlays.append(TrustChainCommunity(TrustChainCommunity.settings_class(
        my_peer=world.my_peer, endpoint=world.endpoint, network=world.network, working_directory=":memory:")))
    world.overlays[0].trust = graph = TrustGraph(world.my_peer.public_key.key_to_bin(), walks=100, rng=1)
    graph.add(graph.root, peer(2).public_key.key_to_bin())
    async with serve(api_key="secret") as (manager, _):
        assert manager.url is not None
        async with IPv8Client(f"{manager.url}/", "secret") as client:
            assert await client.health()
            assert (await client.root())["name"] == "ipv8"
            assert (await client.overview())["peers"]["total"] == 2
            assert (await client.traffic())["interval"] == 1
            found = await client.peers(limit=1, sort="-mid", filter="10.0.0")
            assert (found["total"], len(found["peers"])) == (2, 1)
            assert len((await client.graph())["nodes"]) == 3
            assert {"owner", "capacity"} <= (await client.tables())[0].keys()
            assert (await client.loop())["debug"] == asyncio.get_running_loop().get_debug()
            assert "last" in await client.log(level="ERROR", after=0, limit=5, filter="x")
            assert "ipv8_peers 2.0" in await client.metrics()
            assert {"overlay_name": "DiscoveryCommunity"} in await client.overlays(fields="overlay_name")
            assert "peers" not in (await client.overlays(peers=False))[0]
            assert len(await client.statistics()) == 4
            assert len(await client.network()) == 2
            assert await client.sessions() == []
            assert await client.tasks()
            before = asyncio.get_running_loop().slow_callback_duration
            await client.set_debug(False, 3.5)
            assert asyncio.get_running_loop().slow_callback_duration == 3.5
            asyncio.get_running_loop().slow_callback_duration = before
            for method in (client.circuits, client.relays, client.exits, client.swarms, client.dht_lookups,
                           client.dht_buckets):
                assert await method() == []
            assert "peer_id" in await client.dht_statistics()
            assert await client.blocks(5) == []
            assert await client.users(5) == []
            assert len(await client.trusted(1)) == 1
            assert (await client.explain(peer(2).public_key.key_to_bin().hex()))["score"] > 0
            assert await client.pseudonyms() == ["alice"]
            assert await client.dht_values(KEY) == []
            with pytest.raises(RequestFailed, match="value must be an even number"):
                await client.store(KEY, "x")


async def test_every_method_has_a_path_that_exists(serve: Serve) -> None:
    import re

    source = inspect.getsource(IPv8Client)
    async with serve() as (manager, _):
        assert manager.root_endpoint is not None
        known = {route.resource.canonical for route in manager.root_endpoint.app.router.routes() if route.resource}
        named = {path for _, path in re.findall(r"``(GET|PUT|POST|DELETE) (/[^`]*)``", source)}
        assert len(named) > 25
        assert named <= known


async def test_keys(serve: Serve) -> None:
    async with serve(api_key="secret") as (manager, _):
        assert manager.url is not None
        for key in (None, "wrong"):
            async with IPv8Client(manager.url, key) as client:
                assert await client.health()
                with pytest.raises(RequestFailed, match="Unauthorized access") as caught:
                    await client.overview()
                assert caught.value.status == 401
        client = IPv8Client(manager.url, "secret")
        assert await client.overlays()
        await client.close()
        assert await client.overlays()
        await client.close()
        await client.close()


# -- servers of tests ------------------------------------------------------------------------------------------------

class Server:
    """Answers as handlers of tests say."""

    def __init__(self) -> None:
        self.handlers: list[Handler] = []
        self.requests: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await (self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0])(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def answering(**options: Any) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(**options)

    return handler


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"text": "hello"}, RequestFailed, "no JSON object"),
    ({"text": "[1]", "content_type": "application/json"}, RequestFailed, "no JSON object"),
    ({"text": "{", "content_type": "application/json"}, RequestFailed, "no JSON"),
    ({"text": "gone", "status": 500}, RequestFailed, "gone"),
    ({"status": 404}, RequestFailed, "Not Found"),
    ({"text": '{"error": {"message": "wrong"}}', "content_type": "application/json", "status": 400}, RequestFailed,
     "wrong"),
    ({"text": '{"error": "plain"}', "content_type": "application/json", "status": 400}, RequestFailed, "plain"),
    ({"status": 302, "headers": {"Location": "/elsewhere"}}, RequestFailed, "no JSON object")])
async def test_answers_of_something_else(server: Server, options: Any, error: Any, message: str) -> None:
    server.handlers = [answering(**options)]
    async with IPv8Client(server.url) as client:
        with pytest.raises(error, match=message):
            await client.overview()
    assert len(server.requests) == 1


async def test_health_of_a_node(server: Server) -> None:
    server.handlers = [answering(text='{"status": "ok"}', content_type="application/json"),
                       answering(text='{"status": "unavailable"}', content_type="application/json", status=503),
                       answering(status=500)]
    async with IPv8Client(server.url) as client:
        assert await client.health()
        assert not await client.health()
        with pytest.raises(RequestFailed):
            await client.health()


async def test_nobody_is_there(unused_tcp_port: int) -> None:
    async with IPv8Client(f"http://127.0.0.1:{unused_tcp_port}", ssl=ssl.create_default_context()) as client:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await client.overview()
        with pytest.raises(Unreachable, match="cannot be reached"):
            await anext(client.events(reconnect=False))


async def test_a_name_that_nobody_knows() -> None:
    unknown = aiohttp.ClientConnectorError(Mock(), socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with patch.object(aiohttp.ClientSession, "request", side_effect=unknown):
        async with IPv8Client("http://node") as client:
            with pytest.raises(Unreachable, match="node cannot be reached: Name or service not known"):
                await client.overview()


async def test_a_server_that_does_not_answer(server: Server) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    server.handlers = [never]
    async with IPv8Client(server.url, timeout=0.05) as client:
        with pytest.raises(Unreachable, match="did not answer in time"):
            await client.overview()


async def test_parts_of_paths_are_quoted(server: Server) -> None:
    server.handlers = [answering(text="{}", content_type="application/json")]
    async with IPv8Client(server.url) as client:
        assert await client.dht_values("../secret?x") == []
    assert server.requests[0].raw_path == "/dht/values/..%2Fsecret%3Fx"


# -- events ----------------------------------------------------------------------------------------------------------

async def test_events_of_a_node(world: World, serve: Serve) -> None:
    async with serve() as (manager, _):
        assert manager.url is not None
        bus = NodeObserver.of(world).events
        async with IPv8Client(manager.url) as client:
            events = client.events("peer", "circuit.ready")
            waiting = asyncio.ensure_future(anext(events))
            while not bus.subscriptions:  # noqa: ASYNC110 - the server tells nobody that it has subscribed
                await asyncio.sleep(0.01)
            bus.publish("dht.stored", {"not": "wanted"})
            bus.publish("peer.added", {"mid": "ab"})
            event = await waiting
            assert isinstance(event, Event)
            assert (event.id, event.topic, event.data) == (2, "peer.added", {"mid": "ab"})
            assert event.time > 0
            await events.aclose()


def stream(*lines: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write("".join(f"{line}\n" for line in lines).encode())
        return response

    return handler


def frame(number: int) -> tuple[str, ...]:
    data = f'{{"id": {number}, "topic": "log", "time": 1.5, "data": {{}}}}'
    return f"id: {number}", "event: log", f"data: {data}", ""


async def test_a_lost_stream_goes_on(server: Server) -> None:
    server.handlers = [stream("retry: 10", "", ":", *frame(5), *frame(6)), answering(status=503), stream(*frame(9))]
    async with IPv8Client(server.url) as client:
        events = client.events("log")
        assert [(await anext(events)).id for _ in range(2)] == [5, 6]
        with pytest.raises(RequestFailed, match="503"):
            await anext(events)
        assert server.requests[1].query == {"topics": "log", "last_id": "6"}
        server.handlers = [stream("retry: 10", *frame(7)), stream(*frame(8)), stream(*frame(9))]
        events = client.events(last_id=6)
        assert [(await anext(events)).id for _ in range(3)] == [7, 8, 9]
        assert [request.query.get("last_id") for request in server.requests[-3:]] == ["6", "7", "8"]
        await events.aclose()


async def test_without_another_connection(server: Server) -> None:
    server.handlers = [stream(*frame(1)), stream("data: {")]
    async with IPv8Client(server.url) as client:
        assert [event.id async for event in client.events(reconnect=False)] == [1]
        with pytest.raises(Unreachable):
            await anext(client.events(reconnect=False))


async def test_events_that_are_refused(server: Server) -> None:
    server.handlers = [answering(status=401, text='{"error": "no"}', content_type="application/json")]
    async with IPv8Client(server.url) as client:
        with pytest.raises(RequestFailed, match="no"):
            await anext(client.events())
