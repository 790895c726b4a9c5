"""The way of each request through the HTTP interface: it is checked, answered by a handler, and shortened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import StreamReader, web

from .. import clock
from .content import can_be_shortened, shortened
from .errors import error_response, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp.web import AppRunner, Request, StreamResponse

    Handler = Callable[[Request], Awaitable[StreamResponse]]

__all__ = ["LOOK_INTERVAL", "REQUEST_SECONDS", "BodyReader", "Gate"]

REQUEST_SECONDS = 30.0
"""Seconds within which a request must have come completely."""

LOOK_INTERVAL = 5.0
"""Seconds between two looks for connections that wait for too long."""


class BodyReader:
    """Reads the body of a request within limits of size and time.

    :param max_body: the most bytes.
    """

    def __init__(self, max_body: int, seconds: float = REQUEST_SECONDS) -> None:
        self._max_body = max_body
        self._seconds = seconds

    async def refuse(self, request: Request) -> StreamResponse | None:
        """Read the body; the response if that is too large or too slow, else ``None``."""
        if request.content_length is not None and request.content_length > self._max_body:
            return refusal(413, "HTTPRequestEntityTooLarge", f"the body must have at most {self._max_body} bytes")
        try:
            body = await asyncio.wait_for(request.read(), self._seconds)
        except asyncio.TimeoutError:
            response = refusal(408, "HTTPRequestTimeout", "the body did not come in time")
            response.force_close()
            return response
        # Handlers of programs may read it in parts, or as a stream, which has ended.
        request._payload = StreamReader(request.protocol, max(len(body), 1), loop=asyncio.get_running_loop())
        request._payload.feed_data(body)
        request._payload.feed_eof()
        return None


@web.middleware
class Gate:
    """Lets a handler answer what none of several checks refuses, and closes connections that wait.

    On a connection, a request must come within :data:`REQUEST_SECONDS`. All is done in one middleware, as each more
    costs every request time.

    :param checks: each returns a response, or ``None`` to let a request pass.
    :param body: reads the bodies of what has passed them.
    :param on_error: the response to an exception that was raised meanwhile; it may raise that again.
    """

    def __init__(self, checks: Iterable[Callable[[Request], StreamResponse | None]], body: BodyReader,
                 on_error: Callable[[Request, Exception], StreamResponse] = error_response) -> None:
        self._checks = tuple(checks)
        self._body = body
        self._on_error = on_error
        self._busy: set[Any] = set()
        self._idle_since: dict[Any, float] = {}

    async def __call__(self, request: Request, handler: Handler) -> StreamResponse:
        """Let the handler answer, or refuse."""
        connection = request.protocol
        self._busy.add(connection)
        try:
            for check in self._checks:
                refused = check(request)
                if refused is not None:
                    return refused
            if request.can_read_body:
                refused = await self._body.refuse(request)
                if refused is not None:
                    return refused
            response = await handler(request)
            return await shortened(request, response) if can_be_shortened(response) else response
        except Exception as e:  # noqa: BLE001 - answered, and logged unless it is of a known kind
            return self._on_error(request, e)
        finally:
            self._busy.discard(connection)
            self._idle_since[connection] = clock.monotonic()

    def close_idle_of(self, runner: AppRunner) -> None:
        """Close those connections of a server that wait for too long."""
        if runner.server is not None:
            self.close_idle(runner.server.connections)

    def close_idle(self, connections: Iterable[Any]) -> None:
        """Close those of these connections that wait for too long; the others are forgotten."""
        now = clock.monotonic()
        idle = {connection: self._idle_since.get(connection, now) for connection in connections
                if connection not in self._busy}
        for connection, since in list(idle.items()):
            if now - since >= REQUEST_SECONDS:
                connection.force_close()
                del idle[connection]
        self._idle_since = idle
