"""Who may call the interface: keys, names of hosts, other sites, limits."""

from __future__ import annotations

import asyncio
import binascii
import gzip
import json
import logging
import os
import ssl
from datetime import datetime, timedelta, timezone
from functools import partialmethod
from io import BytesIO
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from ipv8.dht import DHTError
from ipv8.REST import access
from ipv8.REST.access import HostCheck, Origins, RateLimit, is_loopback
from ipv8.REST.base_endpoint import BaseEndpoint, Response
from ipv8.REST.gate import REQUEST_SECONDS, BodyReader, Gate
from ipv8.REST.identity_endpoint import IdentityEndpoint
from ipv8.REST.rest_manager import ApiKeyMiddleware, RESTManager, cors_middleware, error_middleware
from ipv8.REST.root_endpoint import RootEndpoint
from ipv8.test.REST.rest_base import MockRequest, response_to_json

if TYPE_CHECKING:
    from pathlib import Path

    from tests.REST.conftest import Serve
    from tests.REST.world import World

KEY = {"X-Api-Key": "secret"}
PREFLIGHT = {"Access-Control-Request-Method": "PUT"}


@pytest.fixture
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are told no port use a free one."""
    monkeypatch.setattr(RESTManager, "start", partialmethod(RESTManager.start, 0))


async def fine(_: Any) -> web.Response:
    return web.Response(text="fine")


class Asked(MockRequest):
    """A request with headers."""

    def __init__(self, path: str = "/", method: str = "GET", query: Any = None, **headers: str) -> None:
        super().__init__(path, method, query)
        self._headers: Any = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def headers(self) -> Any:
        return self._headers


# -- keys ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("path", "query", "headers", "status"), [
    ("/network", {}, {}, 401), ("/network", {"apikey": "secret"}, {}, 200), ("/network", {"apikey": "wrong"}, {}, 401),
    ("/network", {}, {"X_Api_Key": "secret"}, 200), ("/network", {"apikey": "secret"}, {"X_Api_Key": "wrong"}, 401),
    ("/network", {}, {"Authorization": "Bearer secret"}, 200), ("/network", {}, {"Authorization": "Basic secret"}, 401),
    ("/network", {}, {"X_Api_Key": "\udcff"}, 401), ("/docs", {}, {}, 200), ("/docs/openapi.json", {}, {}, 200),
    ("/static/x", {}, {}, 200), ("/health", {}, {}, 200), ("/docsx", {}, {}, 401), ("/static.py", {}, {}, 401)])
async def test_key(path: str, query: Any, headers: Any, status: int) -> None:
    response = await ApiKeyMiddleware("secret")(Asked(path, "GET", query, **headers), fine)
    assert response.status == status
    if status == 401:
        assert await response_to_json(response) == {"error": "Unauthorized access"}  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, ""])
async def test_no_key(key: str | None) -> None:
    assert ApiKeyMiddleware(key).authenticate(Asked("/network"))


async def test_wrong_keys_are_limited(serve: Serve) -> None:
    async with serve(api_key="secret") as (_, client):
        statuses = [(await client.get("/network", headers={"X-Api-Key": str(n)})).status
                    for n in range(access.WRONG_KEYS + 2)]
        assert statuses == [401] * access.WRONG_KEYS + [429] * 2
        response = await client.get("/network", headers=KEY)
        assert response.status == 429
        assert response.headers["Retry-After"]
        assert (await client.get("/docs")).status == 200


async def test_wrong_keys_of_pages_lock_nobody_out(serve: Serve, manual_clock: Any) -> None:
    async with serve(api_key="secret") as (_, client):
        for page in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            statuses = [(await client.get("/network", params={"apikey": str(n)}, headers=page)).status
                        for n in range(access.WRONG_KEYS + 1)]
            assert statuses[-1] == 429
        assert (await client.get("/network", headers=KEY)).status == 200


async def test_missing_keys_are_not_wrong_keys(serve: Serve) -> None:
    async with serve(api_key="secret") as (_, client):
        for _ in range(access.WRONG_KEYS + 2):
            assert (await client.get("/network")).status == 401
        assert (await client.get("/network", headers=KEY)).status == 200


async def test_key_is_made_for_other_addresses(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(host="0.0.0.0") as (manager, client):
        assert manager.api_key is not None
        assert len(manager.api_key) > 32
        assert (await client.get("/network")).status == 401
        assert (await client.get("/network", headers={"X-Api-Key": manager.api_key})).status == 200
        file = tmp_path / "rest.key"
        assert file.read_text().strip() == manager.api_key
        assert os.name != "posix" or file.stat().st_mode & 0o077 == 0
        assert manager.api_key not in caplog.text
        assert "not encrypted" in caplog.text
        key = manager.api_key
    async with serve(host="0.0.0.0") as (manager, _):
        assert manager.api_key == key
    file.write_text("")
    with pytest.raises(ValueError, match="has no API key"):
        await RESTManager(manager.session).start(0, "0.0.0.0")


async def test_no_key_by_choice(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(host="0.0.0.0", api_key="") as (manager, client):
        assert manager.api_key is None
        assert (await client.get("/network")).status == 200
        assert "needs no key" in caplog.text


# -- names and sites -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("host", "allowed", "header", "answered"), [
    ("127.0.0.1", None, "127.0.0.1:8085", True), ("127.0.0.1", None, "localhost:8085", True),
    ("127.0.0.1", None, "LOCALHOST", True), ("127.0.0.1", None, "[::1]:8085", True),
    ("127.0.0.1", None, "evil.example:8085", False), ("127.0.0.1", None, "localhost.evil.example", False),
    ("127.0.0.1", None, "192.0.2.1", False), ("127.0.0.1", None, "[::1", False), ("127.0.0.1", None, "", False),
    ("127.0.0.1", ["Node.example"], "node.example:1", True), ("192.0.2.1", None, "192.0.2.1:1", True),
    ("0.0.0.0", None, "192.0.2.1", True), ("0.0.0.0", None, "evil.example", False), ("", None, "", False)])
async def test_names_of_the_server(host: str, allowed: Any, header: str, answered: bool) -> None:
    check = HostCheck(host, allowed)
    for _ in range(2):
        refused = check.refuse(Asked(Host=header))
        assert (refused is None) == answered
        assert refused is None or refused.status == 403


async def test_foreign_name_gets_nothing(serve: Serve) -> None:
    async with serve() as (_, client):
        for path in ("/network", "/docs", "/nope"):
            response = await client.get(path, headers={"Host": "evil.example"})
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


def test_lists_are_lists() -> None:
    with pytest.raises(TypeError, match=r"cors_origins must be a list, as in \['https://a.example'\]"):
        Origins("https://a.example")
    with pytest.raises(TypeError, match="allowed_hosts must be a list"):
        HostCheck("127.0.0.1", "a.example")


@pytest.mark.parametrize(("headers", "foreign"), [
    ({}, False), ({"Origin": "https://friend.example"}, False), ({"Origin": "http://node:1", "Host": "node:1"}, False),
    ({"Origin": "http://node:2", "Host": "node:1"}, True), ({"Origin": "null"}, True),
    ({"Sec_Fetch_Site": "cross-site"}, True), ({"Sec_Fetch_Site": "same-site"}, True),
    ({"Sec_Fetch_Site": "same-origin"}, False), ({"Sec_Fetch_Site": "none"}, False),
    ({"Sec_Fetch_Site": "cross-site", "Origin": "https://friend.example"}, False)])
async def test_foreign_sites(headers: Any, foreign: bool) -> None:
    assert Origins(["https://friend.example/"]).is_foreign(Asked(**headers)) == foreign
    assert not Origins(["*"]).is_foreign(Asked(**headers))


async def test_pages_of_other_sites_change_nothing(serve: Serve, world: World) -> None:
    await world.manager.load("alice")
    async with serve(api_key="secret", cors_origins=["https://friend.example"]) as (_, client):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            for method, path in (("GET", "/identity/alice/unload"), ("DELETE", "/identity/alice"),
                                 ("GET", "/identity/new/public_key"), ("PUT", "/asyncio/debug")):
                assert (await client.request(method, path, headers={**KEY, **headers})).status == 403
            assert (await client.get("/network", headers={**KEY, **headers})).status == 200
        assert world.manager.list_loaded() == ["alice"]
        allowed = {**KEY, "Origin": "https://friend.example"}
        response = await client.get("/identity/alice/unload", headers=allowed)
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://friend.example"
        assert response.headers["Vary"] == "Origin"
        assert world.manager.list_loaded() == []


@pytest.mark.parametrize("path", ["/identity/alice/unload", "/identity/alice/remove", "/noblockdht/" + "0" * 40,
                                  "/dht/buckets/0/refresh", "/tunnel/circuits/test", "/tunnel/circuits/1/test"])
async def test_get_changes_nothing_without_a_key(serve: Serve, path: str) -> None:
    async with serve() as (_, client):
        response = await client.get(path)
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert (await client.head(path)).status == 405
        assert (await client.post(path)).status != 405
    async with serve(legacy_errors=True) as (_, client):
        assert (await client.get(path)).status != 405


@pytest.mark.usefixtures("any_port")
async def test_methods_that_replace_others_are_marked_as_they_are(world: World) -> None:
    removed = []

    class Quiet:
        async def unload_pseudonym(self, request: Any) -> Response:
            removed.append(request.path)
            return Response({"success": True})

    class Pseudonyms(Quiet, IdentityEndpoint):
        async def remove_pseudonym(self, request: Any) -> Response:
            removed.append(request.path)
            return await super().remove_pseudonym(request)

    class Root(RootEndpoint):
        def setup_routes(self) -> None:
            self.add_endpoint("/identity", Pseudonyms())

    async with RESTManager(world, Root) as manager, aiohttp.ClientSession(manager.url) as client:
        for action in ("remove", "unload"):
            assert (await client.get(f"/identity/alice/{action}")).status == 405
    assert not removed


async def test_what_responses_depend_on(serve: Serve) -> None:
    async with serve(cors_origins=["https://friend.example"]) as (_, client):
        assert (await client.get("/dashboard")).headers["Vary"] == "Accept-Encoding, Origin"
        assert (await client.get("/health")).headers["Vary"] == "Origin"


async def test_preflight(serve: Serve) -> None:
    async with serve(api_key="secret", cors_origins=["https://friend.example"]) as (_, client):
        response = await client.options("/network", headers={**PREFLIGHT, "Origin": "https://friend.example"})
        assert response.status == 204
        assert "PUT" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Origin"] == "https://friend.example"
        response = await client.options("/network", headers={**PREFLIGHT, "Origin": "https://evil.example"})
        assert response.status == 204
        assert response.headers["Vary"] == "Origin"
        assert not [name for name in response.headers if name.startswith("Access-Control")]


async def test_cors_middleware_by_itself() -> None:
    request = Asked("/network", "OPTIONS", Access_Control_Request_Method="PUT")
    response = await cors_middleware(request, fine)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert (await cors_middleware(Asked(), fine)).headers.get("Access-Control-Allow-Origin") is None


# -- errors ----------------------------------------------------------------------------------------------------------

async def answer(error: BaseException) -> Any:
    async def fails(_: Any) -> web.Response:
        raise error

    response = await error_middleware(Asked("/x"), fails)
    return response, await response_to_json(response)  # type: ignore[arg-type]


async def test_errors(caplog: pytest.LogCaptureFixture) -> None:
    response, content = await answer(web.HTTPMethodNotAllowed("PUT", ["GET"]))
    assert (response.status, response.headers["Allow"]) == (405, "GET")
    assert content == {"success": False, "error": {"code": "HTTPMethodNotAllowed", "message": "Method Not Allowed"}}
    response, content = await answer(DHTError("nobody"))
    assert (response.status, response.headers["Retry-After"], content["error"]["message"]) == (503, "5", "nobody")
    assert not caplog.records
    response, content = await answer(RuntimeError("a secret"))
    assert response.status == 500
    assert "a secret" not in json.dumps(content)
    assert content["error"]["request_id"] in caplog.text
    for passed in (asyncio.CancelledError(), ConnectionResetError(), web.HTTPFound("/")):
        with pytest.raises(type(passed)):
            await answer(passed)


@pytest.mark.parametrize("error", [json.JSONDecodeError("no value", "", 0), binascii.Error("Odd-length string")])
async def test_handlers_of_programs_that_read_what_is_wrong(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    response, content = await answer(error)
    assert response.status == 400
    assert content == {"success": False, "error": {"code": type(error).__name__, "message": str(error)}}
    assert not caplog.records


class Failing(BaseEndpoint[Any]):
    """Has a handler that fails after it has sent a part of a response."""

    def setup_routes(self) -> None:
        self.app.router.add_get("/stream", self.stream)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a part")
        raise RuntimeError("too late")


@pytest.mark.parametrize("legacy", [False, True])
async def test_no_second_response_in_the_first_one(world: World, caplog: pytest.LogCaptureFixture,
                                                   legacy: bool) -> None:
    manager = RESTManager(world, Failing)
    await manager.start(0, legacy_errors=legacy)
    reader, writer = await asyncio.open_connection("127.0.0.1", manager.port)
    writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = await reader.read()
    assert received.endswith(b"\r\n\r\n6\r\na part\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert "The response to GET /stream ended early" in caplog.text
    writer.close()
    await manager.stop()


GOOD = gzip.compress(b'{"enable": false}', mtime=0)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("head", "body"), [
    (b"Content-Encoding: gzip\r\nContent-Length: 17", b'{"enable": false}'),
    (b"Content-Encoding: gzip\r\nContent-Length: %d" % len(GOOD), GOOD[:-9] + b"damaged..")], ids=["plain", "damaged"])
async def test_damaged_bodies(serve: Serve, caplog: pytest.LogCaptureFixture, legacy: bool, head: bytes,
                              body: bytes) -> None:
    async with serve(legacy_errors=legacy) as (manager, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", manager.port)
        writer.write(b"PUT /asyncio/drift HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n" + body)
        received = await reader.read()
        assert received.startswith(b"HTTP/1.1 500" if legacy else b"HTTP/1.1 400")
        assert b'{"success": false' in received
        writer.close()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"HELP", b"GET /\xff HTTP/1.1", b"\x16\x03\x01"])
async def test_what_is_no_http_is_no_error_of_the_node(serve: Serve, caplog: pytest.LogCaptureFixture,
                                                       request_line: bytes) -> None:
    async with serve() as (manager, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", manager.port)
        writer.write(request_line + b"\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
        overview = await (await client.get("/node/overview")).json()
        assert "problem" not in {reason["level"] for reason in overview["health"]["reasons"] if reason["name"] == "Log"}


async def test_what_is_no_http_is_told_without_its_text(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with serve(api_key="secret") as (manager, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", manager.port)
        writer.write(b"GET /network?apikey=secret now please HTTP/1.1\r\nX-Api-Key : secret\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    assert "Error handling request from 127.0.0.1: Bad" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("method", "path", "body", "status"), [
    ("GET", "/network/", None, 404), ("POST", "/network", None, 405), ("PUT", "/asyncio/drift", "{", 400),
    ("PUT", "/asyncio/drift", "5", 400), ("PUT", "/asyncio/drift", "[" * 100_000, 400),
    ("PUT", "/asyncio/drift", b"\xff", 400), ("PUT", "/asyncio/drift", '{"enable": "maybe"}', 400),
    ("GET", "/dht/values/abc", None, 400), ("GET", "/dht/values/ab", None, 400),
    ("PUT", "/dht/values/" + "0" * 40, '{"value": "00"}', 503),
    ("PUT", "/dht/values/" + "0" * 40, '{"value": "' + "00" * 200 + '"}', 400),
    ("PUT", "/dht/values/" + "0" * 40, '{"value": "0"}', 400),
    ("PUT", "/asyncio/debug", '{"slow_callback_duration": "1"}', 400),
    ("PUT", "/asyncio/debug", '{"slow_callback_duration": NaN}', 400),
    ("PUT", "/asyncio/debug", '{"slow_callback_duration": -1}', 400),
    ("PUT", "/asyncio/debug", '{"slow_callback_duration": true}', 400),
    ("POST", "/isolation", '{"ip": "a.example", "port": 1, "exitnode": 1}', 400),
    ("POST", "/isolation", '{"ip": "127.0.0.1", "port": 70000, "exitnode": 1}', 400),
    ("POST", "/isolation", '{"ip": "127.0.0.1", "port": 1.5, "exitnode": 1}', 400),
    ("GET", "/tunnel/swarms/" + "0" * 40 + "/size?hops=9", None, 400),
    ("GET", "/identity/..%2F..%2Fevil/public_key", None, 400), ("DELETE", "/identity/..%2Falice", None, 200),
    ("PUT", "/identity/alice/allow/AA!A", '{"name": "a"}', 400),
    ("PUT", "/identity/alice/request/AAAA", '{"name": "a", "schema": "no"}', 400),
    ("PUT", "/identity/alice/request/AAAA", '{"name": 5, "schema": "id_metadata"}', 400),
    ("PUT", "/identity/alice/request/AAAA", '{"name": "a", "schema": "id_metadata", "metadata": {"b": NaN}}', 400),
    ("PUT", "/identity/alice/request/AAAA", '{"name": "a", "schema": "id_metadata", "metadata": {"b": [1e999]}}', 400)])
async def test_bad_requests(serve: Serve, tmp_path: Path, method: str, path: str, body: Any, status: int) -> None:
    async with serve() as (_, client):
        response = await client.request(method, URL(path, encoded=True), data=body)
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
    assert [entry.name for entry in (tmp_path / "pseudonyms").iterdir()] == ["alice"]
    assert not (tmp_path.parent / "evil").exists()


class Reading(BaseEndpoint[Any]):
    """Has handlers that read the body in other ways than as JSON."""

    def setup_routes(self) -> None:
        self.app.add_routes([web.post("/form", self.form), web.post("/stream", self.stream)])

    async def form(self, request: web.Request) -> Response:
        return Response({name: value if isinstance(value, str) else value.file.read().decode()  # type: ignore[union-attr]
                         for name, value in (await request.post()).items()})

    async def stream(self, request: web.Request) -> Response:
        return Response({"parts": sum([len(part) async for part in request.content.iter_chunked(1000)])})


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
@pytest.mark.usefixtures("any_port")
async def test_handlers_of_programs_read_bodies_as_they_like(world: World, size: int) -> None:
    async with RESTManager(world, Reading) as manager, aiohttp.ClientSession(manager.url) as client:
        text = "x" * size
        for _ in range(2):  # on the same connection
            assert await (await client.post("/form", data={"a": text})).json() == {"a": text}
            form = aiohttp.FormData({"a": "b"})
            form.add_field("file", text.encode(), filename="file")
            assert await (await client.post("/form", data=form)).json() == {"a": "b", "file": text}
            assert await (await client.post("/stream", data=text.encode())).json() == {"parts": size}


# -- limits ----------------------------------------------------------------------------------------------------------

async def test_large_bodies(serve: Serve) -> None:
    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * 500

    async with serve(max_body=1000) as (_, client):
        assert (await client.put("/asyncio/drift", data=b" " * 1001)).status == 413
        assert (await client.put("/asyncio/drift", data=chunks())).status == 413
        assert (await client.put("/asyncio/drift", data=b'{"enable": false}' + b" " * 900)).status == 200
    async with serve(max_body=3_000_000) as (_, client):
        assert (await client.put("/asyncio/drift", data=BytesIO(b'{"enable": false}' + b" " * 2_000_000))).status == 200


async def test_slow_body() -> None:
    class Slow(Asked):
        can_read_body = True
        content_length = None

        async def read(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    response = await BodyReader(100, 0.0).refuse(Slow())
    assert response is not None
    assert response.status == 408
    assert response.keep_alive is False


async def test_rate_of_other_machines(monkeypatch: pytest.MonkeyPatch, manual_clock: Any) -> None:
    limit = RateLimit()
    monkeypatch.setattr(Asked, "remote", "192.0.2.1")
    assert [limit.refuse(Asked()) for _ in range(access.REQUESTS_AT_ONCE)] == [None] * access.REQUESTS_AT_ONCE
    refused = limit.refuse(Asked())
    assert refused is not None
    assert refused.status == 429
    for other in ("192.0.2.2", "127.0.0.1"):
        monkeypatch.setattr(Asked, "remote", other)
        assert limit.refuse(Asked()) is None


async def test_idle_connections_are_closed(manual_clock: Any) -> None:
    class Connection:
        closed = False

        def force_close(self) -> None:
            self.closed = True

    class Request:
        protocol = Connection()
        can_read_body = False

    progress, silent, request = Gate([], BodyReader(1)), Connection(), Request()

    async def works(_: Any) -> web.Response:
        progress.close_idle([silent, request.protocol])
        manual_clock.advance(REQUEST_SECONDS)
        progress.close_idle([silent, request.protocol])
        return web.Response()

    await progress(request, works)  # type: ignore[arg-type]
    assert silent.closed
    assert not request.protocol.closed
    progress.close_idle([request.protocol])
    manual_clock.advance(REQUEST_SECONDS)
    progress.close_idle([request.protocol])
    assert request.protocol.closed


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False),
    (None, False), ("::", False), ("192.0.2.1", False), ("example.org", False)])
def test_loopback(host: str | None, loopback: bool) -> None:
    assert is_loopback(host) == loopback


# -- the server ------------------------------------------------------------------------------------------------------

async def test_busy_port_is_tried_again(world: World, serve: Serve) -> None:
    async with serve() as (first, _):
        second = RESTManager(world)
        with pytest.raises(OSError, match="in use"):
            await second.start(first.port or 0)
        assert (second.site, second.port, second.url) == (None, None, None)
        await second.start(0)
        assert second.port not in {None, first.port}
        with pytest.raises(RuntimeError, match="serves already"):
            await second.start(0)
        await second.stop()
        await second.stop()


async def test_starting_twice_at_once(world: World) -> None:
    manager = RESTManager(world)
    first, second = await asyncio.gather(manager.start(0), manager.start(0), return_exceptions=True)
    assert first is None
    assert isinstance(second, RuntimeError)
    await manager.stop()


async def test_stopping_while_it_starts(world: World) -> None:
    manager = RESTManager(world)
    starting = asyncio.ensure_future(manager.start(0))
    await asyncio.sleep(0)
    await manager.stop()
    await starting
    assert manager.runner is None
    assert manager.url is None


@pytest.mark.usefixtures("any_port")
async def test_start_and_stop_leave_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipv8.REST.identity_endpoint.CommunicationManager", lambda _: world.manager)
    before = asyncio.all_tasks()
    for _ in range(20):
        async with RESTManager(world) as manager:
            root = manager.root_endpoint
            assert root is not None
            root.endpoints["/asyncio"].enable()
            await world.manager.load("alice")
        assert world.strategies == []
        assert world.manager.list_loaded() == []
    assert asyncio.all_tasks() == before


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate of this machine, beside ``node.pem`` with its private key as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    (tmp_path / "node.pem").write_bytes(secret + made)
    (tmp_path / "certificate").write_bytes(made)
    return tmp_path / "certificate"


async def test_https(serve: Serve, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.with_name("node.pem"))
    async with serve(ssl_context=context) as (manager, _):
        assert manager.url == f"https://127.0.0.1:{manager.port}"
        trusting = ssl.create_default_context(cafile=str(certificate))
        async with aiohttp.ClientSession(manager.url) as client:
            assert (await client.get("/network", ssl=trusting)).status == 200


async def test_root_of_a_program(world: World) -> None:
    class Root(RootEndpoint):
        def setup_routes(self) -> None:
            super().setup_routes()
            self.app.router.add_get("/", fine)

    manager = RESTManager(world, Root)
    await manager.start(0)
    async with aiohttp.ClientSession(manager.url) as client:
        assert await (await client.get("/")).text() == "fine"
    await manager.stop()


async def test_root_and_health(serve: Serve, world: World) -> None:
    async with serve(api_key="secret") as (_, client):
        assert (await client.get("/")).status == 401
        about = await (await client.get("/", headers=KEY)).json()
        assert about["links"]["overlays"] == "/overlays"
        assert await (await client.get("/health")).json() == {"status": "ok"}
        world.endpoint.close()
        response = await client.get("/health")
        assert (response.status, await response.json()) == (503, {"status": "unavailable"})
