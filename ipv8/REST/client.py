"""Reads and steers a running node by its HTTP interface (doc/rest_api.md, section A client in Python).

::

    async with IPv8Client("http://127.0.0.1:8085", key) as client:
        print((await client.overview())["health"]["status"])
        async for event in client.events("peer"):
            print(event.topic, event.data)
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from ssl import SSLContext
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Event", "IPv8Client", "RequestFailed", "Unreachable"]

TIMEOUT = 10.0
"""Seconds within which a response must have come."""

SILENCE = 40.0
"""Seconds without a byte after which a stream of events is taken for lost: servers send a comment each 15 s."""

RECONNECT = 2.0
"""Seconds after which a stream that was lost is opened again, unless the server says something else."""

MAX_LINE = 1024 * 1024
"""Bytes of a line of a stream of events."""

Json = dict[str, Any]


class Unreachable(ConnectionError):  # noqa: N818 - it says what the server is
    """There is no server, or it did not answer in time."""


class RequestFailed(RuntimeError):  # noqa: N818 - the request failed, the client is right
    """The server answered with an error.

    :param status: the status code of HTTP.
    :param message: what is wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{message} (HTTP status {status})")


class Event(NamedTuple):
    """What happened in the node."""

    id: int
    """Counts the events of the node."""
    topic: str
    time: float
    """Seconds since the Unix epoch."""
    data: Json


class IPv8Client:
    """Requests of one node, as an async context manager.

    Methods return the JSON objects of the responses, or the lists in them, as ``doc/rest_api.md`` has them.

    :param url: where the server is, as in ``"http://127.0.0.1:8085"``.
    :param key: the key of the server, if it needs one.
    :param ssl: for HTTPS, if the certificate is not one that the system trusts.
    :param timeout: seconds within which a response must have come.
    :raises RequestFailed: by all methods, if the server answers with an error; its ``status`` is 401 if another key is
        needed.
    :raises Unreachable: by all methods, if there is no server, or it does not answer in time.
    """

    def __init__(self, url: str = "http://127.0.0.1:8085", key: str | None = None, *,
                 ssl: SSLContext | None = None, timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self._headers = {"X-Api-Key": key} if key else {}
        self._ssl: SSLContext | bool = True if ssl is None else ssl
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        return self._http

    async def close(self) -> None:
        """Close all connections. The next request opens another one."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    # Any request

    async def request(self, method: str, path: str, /, body: Any = None, **query: Any) -> Any:
        """Make a request, and return the JSON of the response, or its text if it is no JSON.

        :param path: as in ``"/overlays"``.
        :param body: sent as JSON unless it is ``None``.
        :param query: values of the query; those that are ``None`` are left out.
        """
        try:
            async with self._open().request(method, f"{self.url}{path}", json=body, params=_query(query),
                                            ssl=self._ssl, allow_redirects=False) as response:
                content = await _content(response)
                if response.status >= 400:
                    raise RequestFailed(response.status, _message(content) or response.reason or "error")
                return content
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as e:
            raise Unreachable(_reason(self.url, e)) from e

    async def get(self, path: str, /, **query: Any) -> Any:
        """Read what is at a path, see :meth:`request`."""
        return await self.request("GET", path, **query)

    # The node

    async def root(self) -> Json:
        """Version and links: ``GET /``."""
        return await self._object("/")

    async def health(self) -> bool:
        """Whether the node works: ``GET /health``, which needs no key."""
        try:
            return bool((await self._object("/health"))["status"] == "ok")
        except RequestFailed as e:
            if e.status == 503:
                return False
            raise

    async def overview(self) -> Json:
        """The node in short: ``GET /node/overview``."""
        return await self._object("/node/overview")

    async def traffic(self) -> Json:
        """What was sent and received: ``GET /node/traffic``."""
        return await self._object("/node/traffic")

    async def peers(self, *, limit: int | None = None, offset: int | None = None, sort: str | None = None,
                    filter: str | None = None) -> Json:  # noqa: A002 - as the query has it
        """A part of the table of peers, and how many there are: ``GET /node/peers``.

        :param sort: as in ``"-round_trip"``.
        :param filter: a part of an address, mid, key, path or name of an overlay.
        """
        return await self._object("/node/peers", limit=limit, offset=offset, sort=sort, filter=filter)

    async def graph(self) -> Json:
        """The node and its peers as a graph: ``GET /node/graph``."""
        return await self._object("/node/graph")

    async def tables(self) -> list[Json]:
        """The tables that have a cap: ``GET /node/tables``."""
        return await self._list("/node/tables", "tables")

    async def loop(self) -> Json:
        """The event loop: ``GET /node/loop``."""
        return await self._object("/node/loop")

    async def log(self, *, level: str | None = None, after: int | None = None, limit: int | None = None,
                  filter: str | None = None) -> Json:  # noqa: A002 - as the query has it
        """The last lines of the log: ``GET /node/log``."""
        return await self._object("/node/log", level=level, after=after, limit=limit, filter=filter)

    async def metrics(self) -> str:
        """Figures for Prometheus as text: ``GET /metrics``."""
        return str(await self.get("/metrics"))

    # Overlays, peers and sessions

    async def overlays(self, *, fields: str | None = None, peers: bool = True) -> list[Json]:
        """The overlays of the node: ``GET /overlays``.

        :param fields: names of the wanted fields with commas between them; all without it.
        :param peers: whether the peers of each are wanted.
        """
        return await self._list("/overlays", "overlays", fields=fields, peers=None if peers else 0)

    async def statistics(self) -> list[Json]:
        """What overlays count by message, if that is enabled: ``GET /overlays/statistics``."""
        return await self._list("/overlays/statistics", "statistics")

    async def network(self) -> Json:
        """The verified peers by the base64 of their mids: ``GET /network``."""
        return dict((await self._object("/network"))["peers"])

    async def sessions(self) -> list[Json]:
        """The encrypted sessions: ``GET /sessions``."""
        return await self._list("/sessions", "sessions")

    async def tasks(self) -> list[Json]:
        """The tasks of the event loop: ``GET /asyncio/tasks``."""
        return await self._list("/asyncio/tasks", "tasks")

    async def set_debug(self, enable: bool, slow_callback_duration: float | None = None) -> None:
        """Switch the debug mode of the event loop: ``PUT /asyncio/debug``."""
        body = {"enable": enable}
        if slow_callback_duration is not None:
            body["slow_callback_duration"] = slow_callback_duration  # type: ignore[assignment]  # JSON has both
        await self.request("PUT", "/asyncio/debug", body)

    # Tunnels

    async def circuits(self) -> list[Json]:
        """The circuits of the node: ``GET /tunnel/circuits``."""
        return await self._list("/tunnel/circuits", "circuits")

    async def relays(self) -> list[Json]:
        """The circuits of others that are passed on: ``GET /tunnel/relays``."""
        return await self._list("/tunnel/relays", "relays")

    async def exits(self) -> list[Json]:
        """The circuits of others that end at the node: ``GET /tunnel/exits``."""
        return await self._list("/tunnel/exits", "exits")

    async def swarms(self) -> list[Json]:
        """The hidden services: ``GET /tunnel/swarms``."""
        return await self._list("/tunnel/swarms", "swarms")

    # DHT

    async def dht_statistics(self) -> Json:
        """The sizes of the tables of the DHT: ``GET /dht/statistics``."""
        return dict((await self._object("/dht/statistics"))["statistics"])

    async def dht_lookups(self) -> list[Json]:
        """Lookups that run, and the last ones: ``GET /dht/lookups``."""
        return await self._list("/dht/lookups", "lookups")

    async def dht_buckets(self) -> list[Json]:
        """The buckets of the routing tables: ``GET /dht/buckets``."""
        return await self._list("/dht/buckets", "buckets")

    async def dht_values(self, key: str) -> list[Json]:
        """Find the values of a key of 40 hexadecimal digits: ``GET /dht/values/{key}``."""
        return await self._list(f"/dht/values/{_part(key)}", "values")

    async def store(self, key: str, value: str) -> None:
        """Store a value under a key, both as hexadecimal digits: ``PUT /dht/values/{key}``."""
        await self.request("PUT", f"/dht/values/{_part(key)}", {"value": value})

    # TrustChain and trust

    async def blocks(self, limit: int | None = None) -> list[Json]:
        """The newest blocks of TrustChain: ``GET /trustchain/recent``."""
        return await self._list("/trustchain/recent", "blocks", limit=limit)

    async def users(self, limit: int | None = None) -> list[Json]:
        """The authors of blocks: ``GET /trustchain/users``."""
        return await self._list("/trustchain/users", "users", limit=limit)

    async def trusted(self, limit: int | None = None) -> list[Json]:
        """The keys that are trusted most: ``GET /trust/top``."""
        return await self._list("/trust/top", "peers", limit=limit)

    async def explain(self, public_key: str) -> Json:
        """Why a key has its score: ``GET /trust/explain/{pub_key}``."""
        return await self._object(f"/trust/explain/{_part(public_key)}")

    # Identity

    async def pseudonyms(self) -> list[str]:
        """The names of the pseudonyms: ``GET /identity``."""
        return list((await self._object("/identity"))["names"])

    # Events

    async def events(self, *topics: str, last_id: int | None = None,
                     reconnect: bool = True) -> AsyncGenerator[Event, None]:
        """What happens in the node, without end: ``GET /events``.

        A stream that is lost is opened again, and goes on with the first event that was missed and is still kept.

        :param topics: as in ``"peer"`` or ``"circuit.ready"``; without any, all but single packets.
        :param last_id: the id of the last event that is known, for those since then.
        :param reconnect: whether to open the stream again. If not, its end is the end of the iteration, and a loss
            raises :class:`Unreachable`.
        """
        pause = RECONNECT
        while True:
            try:
                async for event in self._stream(topics, last_id):
                    if isinstance(event, Event):
                        last_id = event.id
                        yield event
                    else:
                        pause = event
            except Unreachable:
                if not reconnect:
                    raise
            if not reconnect:
                return
            await asyncio.sleep(pause)

    async def _stream(self, topics: tuple[str, ...], last_id: int | None) -> AsyncIterator[Event | float]:
        """The events of one stream, and seconds to wait before the next one, as the server tells them."""
        query = {"topics": ",".join(topics) or None, "last_id": last_id}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.total, sock_read=SILENCE)
        try:
            async with self._open().get(f"{self.url}/events", params=_query(query), ssl=self._ssl, timeout=timeout,
                                        headers={"Accept": "text/event-stream"}, read_bufsize=MAX_LINE) as response:
                if response.status != 200:
                    message = _message(await _content(response)) or response.reason or "error"
                    raise RequestFailed(response.status, message)
                async for line in response.content:
                    field, _, value = line.decode().rstrip("\r\n").partition(": ")
                    if field == "data":
                        content = json.loads(value)
                        yield Event(content["id"], content["topic"], content["time"], content["data"])
                    elif field == "retry" and value.isdigit():
                        yield int(value) / 1000
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as e:
            raise Unreachable(_reason(self.url, e)) from e

    # Helpers

    async def _object(self, path: str, **query: Any) -> Json:
        content = await self.get(path, **query)
        if not isinstance(content, dict):
            raise RequestFailed(200, f"{path} is no JSON object: is this the HTTP interface of a node?")
        return content

    async def _list(self, path: str, name: str, **query: Any) -> list[Json]:
        found = (await self._object(path, **query)).get(name)
        return found if isinstance(found, list) else []


def _query(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


async def _content(response: aiohttp.ClientResponse) -> Any:
    """The JSON of a response; its text if it is none."""
    text = await response.text(errors="replace")
    if response.content_type == "application/json":
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


def _part(text: str) -> str:
    """A part of a path, whatever it has in it."""
    return quote(text, safe="")


def _message(content: Any) -> str:
    """What an error says, in any of the forms that responses have."""
    error = content.get("error", "") if isinstance(content, dict) else content
    if isinstance(error, dict):
        error = error.get("message", "")
    return str(error)


def _reason(url: str, error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"{url} did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            error = OSError(cause.strerror)
        elif cause.errno is not None:
            error = OSError(os.strerror(cause.errno))  # the text of aiohttp has the address once more
    return f"{url} cannot be reached: {error or type(error).__name__}"
