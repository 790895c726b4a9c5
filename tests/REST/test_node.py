"""What ``/node`` answers, the front page, parts of lists, and how responses are shortened."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from ipv8.messaging.address import UDPv4Address
from ipv8.REST.base_endpoint import BaseEndpoint
from ipv8.REST.content import LEAST_IN_THREAD, LONG
from ipv8.REST.gate import BodyReader, Gate
from ipv8.REST.node_endpoint import NodeEndpoint
from ipv8.REST.observation.observer import NodeObserver
from ipv8.REST.openapi import describe
from ipv8.REST.rest_manager import RESTManager
from ipv8.REST.root_endpoint import RootEndpoint
from ipv8.test.REST.rest_base import MockRequest, response_to_json
from tests.REST.world import World, peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.REST.conftest import Serve

PATHS = ("overview", "traffic", "peers", "graph", "tables", "loop", "log")


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def acquaint(world: World, count: int = 5) -> None:
    for number in range(2, 2 + count):
        world.network.add_verified_peer(peer(number))
        world.network.discover_services(peer(number), [world.overlays[0].community_id])


# -- /node -----------------------------------------------------------------------------------------------------------

async def test_everything_is_as_documented(world: World, serve: Serve) -> None:
    acquaint(world)
    async with serve() as (manager, client):
        world.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), world.overlays[0].get_prefix() + b"\x01more"))
        logging.getLogger("test of the node").error("broken")
        NodeObserver.of(world)._tick()
        assert manager.root_endpoint is not None
        document = describe(manager.root_endpoint.app, "t", "1")
        for name in PATHS:
            content = await get(client, f"/node/{name}")
            schema = document["paths"][f"/node/{name}"]["get"]["responses"]["200"]["content"]["application/json"]
            check(content, schema["schema"], document["components"]["schemas"], name)


def check(value: Any, schema: Any, schemas: Any, where: str) -> None:
    """Whether a response has all that its schema says, and nothing else."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "allOf" in schema or "anyOf" in schema:
        options = schema.get("allOf") or schema["anyOf"]
        if value is not None:
            check(value, options[0], schemas, where)
        return
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    types: Any = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
             "null": type(None)}
    assert any(isinstance(value, types[kind]) for kind in kinds), (where, value, schema)
    if isinstance(value, list):
        for entry in value:
            check(entry, schema["items"], schemas, f"{where}[]")
    elif isinstance(value, dict) and "properties" in schema:
        assert set(value) == set(schema["properties"]), where
        for name, entry in value.items():
            check(entry, schema["properties"][name], schemas, f"{where}.{name}")


async def test_peers_and_the_log(world: World, serve: Serve) -> None:
    acquaint(world)
    async with serve() as (_, client):
        found = await get(client, "/node/peers?sort=address&limit=2&offset=1")
        assert found["total"] == 5
        assert [entry["address"]["ip"] for entry in found["peers"]] == ["10.0.0.3", "10.0.0.4"]
        found = await get(client, "/node/peers?filter=10.0.0.5")
        assert (found["total"], len(found["peers"])) == (1, 1)
        assert len((await get(client, "/node/graph"))["nodes"]) == 6
        logging.getLogger("test of the node").warning("one")
        logging.getLogger("test of the node").error("two")
        records = (await get(client, "/node/log?filter=test%20of"))["records"]
        assert [record["message"] for record in records] == ["one", "two"]
        assert (await get(client, f"/node/log?after={records[0]['id']}"))["records"] == [records[1]]
        assert (await get(client, "/node/log?level=error&filter=test%20of"))["records"] == [records[1]]
        assert (await get(client, "/node/log?after=0&limit=1"))["last"] == records[1]["id"]


@pytest.mark.parametrize("path", ["peers?sort=nothing", "peers?limit=-1", "peers?offset=x", "log?level=LOUD",
                                  "log?after=-1", "log?limit=0", f"log?filter={'x' * 201}", f"log?after={10 ** 12}"])
async def test_impossible_arguments(serve: Serve, path: str) -> None:
    async with serve() as (_, client), client.get(f"/node/{path}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"]


async def test_a_node_that_is_not_observed(world: World, serve: Serve) -> None:
    async with serve(observe=False) as (_, client):
        assert world.endpoint.gate.meter is None
        for name in PATHS:
            async with client.get(f"/node/{name}") as response:
                assert response.status == 404
                assert "observe=True" in (await response.json())["error"]
    assert not NodeObserver.of(world).is_running


async def test_before_the_node_is_known() -> None:
    endpoint = NodeEndpoint()
    for name in PATHS:
        with pytest.raises(web.HTTPNotFound, match="Not Found"):
            await getattr(endpoint, f"get_{name}")(MockRequest("/"))


async def test_the_server_watches_while_it_runs(world: World) -> None:
    manager, other = RESTManager(world), RESTManager(world)
    await manager.start(0)
    await other.start(0)
    observer = NodeObserver.of(world)
    assert observer.is_running
    await manager.stop()
    assert observer.is_running
    await other.stop()
    assert not observer.is_running
    assert world.endpoint.gate.meter is None


async def test_an_application_with_the_endpoints(world: World) -> None:
    root = RootEndpoint()
    root.initialize(world)  # type: ignore[arg-type]  # has what a node has
    app = web.Application()
    app.add_subapp("/api/ipv8", root.app)
    runner = web.AppRunner(app)
    await runner.setup()
    observer = NodeObserver.of(world)
    assert not observer.is_running
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        for _ in range(2):
            assert (await get(client, "/api/ipv8/node/overview"))["uptime"] >= 0
    assert observer.is_running
    await runner.cleanup()
    assert not observer.is_running


async def test_handlers_can_be_called_directly(world: World) -> None:
    endpoint = NodeEndpoint()
    endpoint.initialize(world)  # type: ignore[arg-type]  # has what a node has
    for name in PATHS:
        response = await getattr(endpoint, f"get_{name}")(MockRequest("/"))
        assert await response_to_json(response)
    await endpoint._end(endpoint.app)
    assert not NodeObserver.of(world).is_running


# -- the front page --------------------------------------------------------------------------------------------------

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_browsers_are_sent_to_the_page(serve: Serve) -> None:
    async with serve(api_key="secret") as (_, client):
        async with client.get("/", headers=BROWSER, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "/dashboard")
        async with client.get("/") as response:
            assert response.status == 401
        async with client.get("/", headers={"X-Api-Key": "secret"}) as response:
            links = (await response.json())["links"]
            assert links["dashboard"] == "/dashboard"
            assert links["metrics"] == "/metrics"
            assert links["node"] == "/node"
        async with client.get("/overlays", headers=BROWSER) as response:
            assert response.status == 401


async def test_without_a_page(serve: Serve) -> None:
    async with serve(dashboard=False, metrics=False, docs=False) as (_, client):
        async with client.get("/", headers=BROWSER, allow_redirects=False) as response:
            assert response.status == 200
            links = (await response.json())["links"]
        assert links.keys().isdisjoint({"dashboard", "metrics", "docs"})
        for path in ("/dashboard", "/metrics"):
            assert (await client.get(path)).status == 404


class OwnFrontPage(BaseEndpoint[Any]):
    """Of a program."""

    def setup_routes(self) -> None:
        self.app.router.add_get("/", self.get_front)

    async def get_front(self, _: web.Request) -> web.Response:
        return web.Response(text="own")


async def test_a_program_with_a_front_page_of_its_own() -> None:
    manager = RESTManager(None, OwnFrontPage)
    await manager.start(0, observe=False)
    assert manager.url is not None
    async with aiohttp.ClientSession(manager.url) as client, client.get("/", headers=BROWSER) as response:
        assert await response.text() == "own"
    await manager.stop()


# -- parts of lists --------------------------------------------------------------------------------------------------

async def test_parts_of_overlays(world: World, serve: Serve) -> None:
    acquaint(world)
    async with serve() as (_, client):
        whole = (await get(client, "/overlays"))["overlays"]
        assert len(whole[0]["peers"]) == 5
        part = (await get(client, "/overlays?fields=id,overlay_name"))["overlays"]
        assert part == [{"id": entry["id"], "overlay_name": entry["overlay_name"]} for entry in whole]
        for text in ("0", "false"):
            part = (await get(client, f"/overlays?peers={text}"))["overlays"]
            assert part[0].keys() == whole[0].keys() - {"peers"}
        part = (await get(client, "/overlays?fields=peers&limit=2&offset=3"))["overlays"]
        assert part[0] == {"peers": whole[0]["peers"][3:]}
        for query in ("fields=secret", "fields=", "peers=maybe", "limit=x"):
            assert (await client.get(f"/overlays?{query}")).status == 400


async def test_parts_of_other_lists(world: World, serve: Serve) -> None:
    acquaint(world)
    dht = world.overlays[2]
    storage = dht.get_storage(dht.my_peer)
    for number in range(3):
        storage.put(bytes(19) + bytes((number,)), dht.serialize_value(b"value", sign=False))
    async with serve() as (_, client):
        whole = (await get(client, "/network"))["peers"]
        part = (await get(client, "/network?limit=2&offset=1"))["peers"]
        assert len(whole) == 5
        assert part.keys() < whole.keys()
        assert len(part) == 2
        values = await get(client, "/dht/values")
        assert len(values) == 3
        assert list(await get(client, "/dht/values?limit=1&offset=2")) == list(values)[2:]
        assert (await client.get("/dht/values?limit=many")).status == 400
        world.overlays[1].candidates = {peer(2): [1], peer(3): [1]}
        assert [entry["mid"] for entry in (await get(client, "/tunnel/peers?offset=1"))["peers"]] == [
            peer(3).mid.hex()]


async def test_distances_as_digits(world: World, serve: Serve) -> None:
    from ipv8.dht.routing import Node

    dht = world.overlays[2]
    node = Node(peer(4).key, peer(4).address)
    dht.get_routing_table(node).add(node)
    async with serve() as (_, client):
        (found,) = (await get(client, "/dht/buckets"))["buckets"][0]["peers"]
        assert len(found["distance_hex"]) == 40
        assert int(found["distance_hex"], 16) == found["distance"]


# -- how responses are shortened -------------------------------------------------------------------------------------

@pytest.fixture
async def raw() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that undoes no compression, and a server with responses of several sizes."""
    async def answer(request: web.Request) -> web.StreamResponse:
        size = int(request.query.get("size", "0"))
        if "stream" in request.query:
            stream = web.StreamResponse()
            await stream.prepare(request)
            await stream.write(b"x" * size)
            return stream
        headers = {"Content-Encoding": "identity"} if "encoded" in request.query else None
        return web.Response(body=b"x" * size, status=int(request.query.get("status", "200")), headers=headers,
                            content_type="text/plain")

    app = web.Application(middlewares=[Gate([], BodyReader(0))])
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", auto_decompress=False,
                                     skip_auto_headers={"Accept-Encoding"}) as client:
        yield client
    await runner.cleanup()


@pytest.mark.parametrize("size", [LONG + 1, LEAST_IN_THREAD + 1])
async def test_large_responses_are_compressed(raw: aiohttp.ClientSession, size: int) -> None:
    for accepted in ("gzip", "deflate, gzip;q=0.5", "*"):
        async with raw.get(f"/?size={size}", headers={"Accept-Encoding": accepted}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["Vary"] == "Accept-Encoding"
            assert gzip.decompress(await response.read()) == b"x" * size
    for refused in ({}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "br"}):
        async with raw.get(f"/?size={size}", headers=refused) as response:
            assert "Content-Encoding" not in response.headers
            assert response.headers["Vary"] == "Accept-Encoding"
            assert await response.read() == b"x" * size


@pytest.mark.parametrize("query", [f"size={LONG}", "size=5000&stream=1", "size=5000&status=404",
                                   "size=5000&encoded=1"])
async def test_what_is_not_compressed(raw: aiohttp.ClientSession, query: str) -> None:
    async with raw.get(f"/?{query}", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers.get("Content-Encoding") != "gzip"
        assert ("ETag" in response.headers) == ("encoded" in query)
        assert set(await response.read()) == {ord("x")}


async def test_what_a_client_has_is_not_sent_again(raw: aiohttp.ClientSession) -> None:
    async with raw.get("/?size=3000") as response:
        tag = response.headers["ETag"]
        assert tag.startswith('W/"')
    for known in (tag, f'"other", {tag}', "*"):
        async with raw.get("/?size=3000", headers={"If-None-Match": known, "Accept-Encoding": "gzip"}) as response:
            assert (response.status, response.headers["ETag"], await response.read()) == (304, tag, b"")
    async with raw.get("/?size=3001", headers={"If-None-Match": tag}) as response:
        assert response.status == 200
        assert response.headers["ETag"] != tag
    async with raw.head("/?size=3000", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with raw.post("/?size=3000", headers={"If-None-Match": tag}) as response:
        assert response.status == 200
        assert "ETag" not in response.headers


async def test_responses_of_the_server(world: World, serve: Serve) -> None:
    acquaint(world)
    async with serve() as (_, client):
        async with client.get("/network") as response:
            tag = response.headers["ETag"]
            assert response.headers["Content-Encoding"] == "gzip"
            assert len(json.loads(await response.text())["peers"]) == 5
        async with client.get("/network", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        world.network.add_verified_peer(peer(9))
        async with client.get("/network", headers={"If-None-Match": tag}) as response:
            assert response.status == 200
        await asyncio.sleep(0)
