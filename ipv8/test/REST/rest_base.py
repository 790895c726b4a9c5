"""Requests that a test gives to a handler directly, and the content of the responses (doc/rest_api.md)."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

from aiohttp import HttpVersion10, payload
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_request import Request
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web import Response

__all__ = ["BodyCapture", "MockRequest", "response_to_bytes", "response_to_json"]


class BodyCapture(BytesIO, AbstractStreamWriter):
    """Keeps what a response writes."""

    async def write(self, value: Any) -> None:  # type: ignore[override]  # one base class has a method that is no coroutine
        """Keep some bytes."""
        BytesIO.write(self, value)

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Keep the last bytes."""
        BytesIO.write(self, chunk)

    async def drain(self) -> None:
        """Do nothing, as nothing waits."""

    def enable_compression(self, encoding: str = "deflate", strategy: Any = None) -> None:
        """Do nothing: what is kept is not compressed."""

    def enable_chunking(self) -> None:
        """Do nothing: what is kept has no chunks."""

    async def write_headers(self, status_line: str, headers: Any) -> None:
        """Do nothing: headers are not kept."""


class MockRequest(Request):
    """A request that no socket brought. It can be made while an event loop runs.

    :param path: the path of its URL.
    :param method: its method.
    :param query: both its query string and its body.
    :param match_info: the parts of the path, by their names.
    :param payload_writer: takes what a streamed response writes.
    """

    class Transport:
        """The connection that there is not."""

        closing = False

        def get_extra_info(self, _: str) -> None:
            """Nothing is known."""

        def is_closing(self) -> bool:
            """Whether it is being closed."""
            return self.closing

    def __init__(self, path: str = "", method: str = "GET", query: dict[str, Any] | None = None,
                 match_info: dict[str, str] | None = None, payload_writer: AbstractStreamWriter | None = None) -> None:
        self._transport = self.Transport()
        self._query = query or {}
        self.ssl_context = None
        self.peername = None
        empty: CIMultiDict[str] = CIMultiDict()
        message = RawRequestMessage(method, path, HttpVersion10, CIMultiDictProxy(empty), (), True, None, False, False,
                                    URL(path))
        loop = asyncio.get_running_loop()
        reader = StreamReader(cast("Any", self), 2 ** 16, loop=loop)
        super().__init__(message, reader, cast("Any", self), cast("Any", payload_writer), cast("Any", None), loop)
        self._match_info = UrlMappingMatchInfo(match_info or {}, Mock())

    def __setattr__(self, name: str, value: Any) -> None:  # programs set attributes of their own
        object.__setattr__(self, name, value)

    @property
    def query(self) -> MultiDictProxy[str]:
        """The query, of which every value is kept as it was given."""
        return MultiDictProxy(MultiDict(self._query))

    @property
    def match_info(self) -> UrlMappingMatchInfo:
        """The parts of the path."""
        return cast("UrlMappingMatchInfo", self._match_info)

    @property
    def transport(self) -> Any:
        """The connection."""
        return self._transport

    @property
    def sockname(self) -> None:
        """The address of the connection, which there is not."""
        return

    async def json(self, *, loads: Callable[[str], Any] = json.loads, **_: Any) -> Any:  # noqa: ARG002 - as in the base
        """The body."""
        return self._query


async def response_to_bytes(response: Response) -> bytes:
    """The body of a response."""
    body = response.body
    if isinstance(body, bytes):
        return body
    capture = BodyCapture()
    if isinstance(body, payload.Payload):
        await body.write(capture)
    return capture.getvalue()


async def response_to_json(response: Response) -> Any:
    """What the body of a response says in JSON."""
    return json.loads(await response_to_bytes(response))
