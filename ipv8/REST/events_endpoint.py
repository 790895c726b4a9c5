"""``/events``: what happens in the node, as it happens (doc/rest_api.md, section Live events)."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web
from marshmallow.fields import Dict, Float, Integer, String

from .. import entropy
from ..events import is_topic
from ..limits import TokenBuckets
from .access import ORIGINS, Origins
from .apidocs import docs, response_schema
from .base_endpoint import Response, takes_tickets
from .observing import ObservingEndpoint
from .parameters import BadRequest
from .schema import DefaultResponseSchema, schema
from .tickets import TICKET_SECONDS, TICKETS, Tickets

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from aiohttp import WSMessage
    from aiohttp.web import Request

    from ..events import Event, EventBus, Subscription

__all__ = ["EventsEndpoint"]

MAX_STREAMS = 32
"""Clients that get events at the same time; others are refused."""

MAX_TOPICS_NAMED = 32
"""Topics that one client may name."""

MAX_CLIENT_MESSAGE = 4096
"""Bytes of a message of a client of the WebSocket."""

CLIENT_MESSAGES_PER_SECOND = 10.0
"""Messages of one client of the WebSocket, each second and at once."""

WRITE_SECONDS = 30.0
"""Seconds after which a client is dropped that reads nothing of what is sent to it."""

WRITE_INTERVAL = 0.02
"""Seconds between two writes to one client, on average: the events of that time are sent together."""

PING_INTERVAL = 15.0
"""Seconds without events after which a client gets an empty comment."""

HEARTBEAT = 30.0
"""Seconds between two pings of a WebSocket."""

CLOSE_SECONDS = 1.0
"""Seconds for which a client of the WebSocket may take to agree to the end."""

RETRY = 2000
"""Milliseconds after which browsers connect again."""

LONGEST_NUMBER = 19
STREAM_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

TOPICS = {"in": "query", "name": "topics", "type": "string",
          "description": "topics, with commas between them, as in peer,circuit; without it all except packet"}
LAST_ID = {"in": "query", "name": "last_id", "type": "integer",
           "description": "the id of the last event that is known: kept ones since then are sent first"}
EVENT = schema(Event={
    "id": (Integer, "counts the events"), "topic": String, "time": (Float, "seconds since the Unix epoch"),
    "data": (Dict(keys=String()))})
REFUSALS = {400: {"description": "An argument is impossible."},
            403: {"description": "Pages of other sites may not do this."},
            404: {"schema": DefaultResponseSchema, "description": "There is no node, or it is not observed."},
            429: {"description": f"There are {MAX_STREAMS} clients already."}}


class EventsEndpoint(ObservingEndpoint):
    """Sends events as Server-Sent Events and by WebSocket."""

    def __init__(self) -> None:
        #: Where the events come from; by default the observer of the node.
        self.bus: EventBus | None = None
        self._streams: dict[Subscription, Request] = {}
        self._tickets = Tickets()
        super().__init__()

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("", self.get_events, allow_head=False),
            web.get("/ws", self.get_websocket, allow_head=False),
            web.post("/ticket", self.post_ticket),
        ])
        self.app.on_shutdown.append(self._end_streams)

    async def _end_streams(self, _: web.Application) -> None:
        """End all streams, since the server stops. Clients that do not read are dropped."""
        for subscription, request in tuple(self._streams.items()):
            subscription.close()
            if request.transport is not None and request.transport.get_write_buffer_size():
                request.transport.abort()

    @contextmanager
    def _subscribed(self, request: Request) -> Iterator[Subscription]:
        """The events that a request asks for.

        :raises HTTPException: if it may not have them.
        """
        if request.config_dict.get(ORIGINS, Origins()).is_foreign(request):
            raise web.HTTPForbidden(reason="pages of other sites may not do this")
        topics = [topic for topic in request.query.get("topics", "").split(",") if topic]
        after = _last_id(request)
        bus = self.observer(request).events if self.bus is None else self.bus
        if len(self._streams) >= MAX_STREAMS:
            self._drop_vanished()
        if len(self._streams) >= MAX_STREAMS:
            raise web.HTTPTooManyRequests(reason=f"there are {MAX_STREAMS} streams already",
                                          headers={"Retry-After": str(int(PING_INTERVAL))})
        with bus.subscribe(_checked(topics), after) as subscription:
            _notice_silence(request)
            self._streams[subscription] = request
            try:
                yield subscription
            finally:
                self._streams.pop(subscription, None)

    def _drop_vanished(self) -> None:
        for subscription, request in tuple(self._streams.items()):
            if request.transport is None or request.transport.is_closing():
                subscription.close()
                del self._streams[subscription]

    # -- Server-Sent Events ------------------------------------------------------------------------------------------

    @docs(tags=["Events"], summary="Events as Server-Sent Events, without end.", parameters=[
        TOPICS, LAST_ID, {"in": "header", "name": "Last-Event-ID", "type": "integer",
                          "description": "the same as last_id; browsers send it when they connect again"}],
          responses=REFUSALS, produces=["text/event-stream"])
    @response_schema(EVENT, description="Each event has the lines id, event and data; data is this object in one line.")
    @takes_tickets
    async def get_events(self, request: Request) -> web.StreamResponse:
        """Write events until the client leaves or the server stops."""
        with self._subscribed(request) as subscription:
            response = web.StreamResponse(headers=STREAM_HEADERS)
            with suppress(ConnectionError, asyncio.TimeoutError):
                await response.prepare(request)
                await _write(request, response.write(f"retry: {RETRY}\n\n".encode()))
                while not subscription.closed:
                    events = await subscription.take(PING_INTERVAL)
                    if not subscription.closed:
                        text = "".join(map(_frame, events)) or ":\n\n"
                        await _write(request, response.write(text.encode()))
                        await _pause()
        return response

    # -- WebSocket ---------------------------------------------------------------------------------------------------

    @docs(tags=["Events"], summary="Events as JSON texts of a WebSocket, without end.", parameters=[TOPICS, LAST_ID],
          responses={**REFUSALS, 101: {"description": "A WebSocket. The client may send an object with a list of "
                                                      "topics, subscribe, to get these instead."}})
    @takes_tickets
    async def get_websocket(self, request: Request) -> web.StreamResponse:
        """Send events until the client leaves or the server stops."""
        with self._subscribed(request) as subscription:
            client = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_CLIENT_MESSAGE, timeout=CLOSE_SECONDS,
                                           compress=False)
            if not client.can_prepare(request).ok:
                raise BadRequest("this is a WebSocket: send the headers that ask for one")
            try:
                await client.prepare(request)
            except ConnectionError:
                return client  # it has left
            sending = asyncio.ensure_future(_send(request, client, subscription))
            try:
                await _receive(client, subscription)
            finally:
                if not subscription.closed:
                    sending.cancel()
                (outcome,) = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(outcome, Exception):
                raise outcome
        return client

    # -- Tickets -----------------------------------------------------------------------------------------------------

    @docs(tags=["Events"], summary="A key for one stream, for browsers, which cannot send headers with these.")
    @response_schema(schema(TicketResponse={
        "ticket": (String, "goes into the query of the stream, as ticket"),
        "expires_in": (Integer, "seconds for which it can be used, once")}))
    async def post_ticket(self, request: Request) -> Response:
        """A new ticket."""
        tickets = request.config_dict.get(TICKETS, self._tickets)
        return Response({"ticket": tickets.issue(), "expires_in": TICKET_SECONDS})


def _notice_silence(request: Request) -> None:
    """Have the system end the connection to a client that confirms nothing, where it can do that."""
    found = None if request.transport is None else request.transport.get_extra_info("socket")
    if found is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        with suppress(OSError):  # it is no TCP connection
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))


def _frame(event: Event) -> str:
    return f"id: {event.id}\nevent: {event.topic}\ndata: {event.text}\n\n"


async def _write(request: Request, writing: Coroutine[Any, Any, None]) -> None:
    """Wait until something is written; a client that does not read is dropped."""
    try:
        await asyncio.wait_for(writing, WRITE_SECONDS)
    except asyncio.TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise


async def _pause() -> None:
    """Wait until the next write. At random, so that not all clients are written to at the same moment."""
    await asyncio.sleep(WRITE_INTERVAL * (0.5 + entropy.random()))


async def _send(request: Request, client: web.WebSocketResponse, subscription: Subscription) -> None:
    """Send events to a client until the subscription is closed."""
    async def send(events: list[Event]) -> None:
        for event in events:
            await client.send_str(event.text)

    with suppress(ConnectionError, asyncio.TimeoutError):
        while not subscription.closed:
            await _write(request, send(await subscription.take()))
            await _pause()
        await client.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")


async def _receive(client: web.WebSocketResponse, subscription: Subscription) -> None:
    """Do what a client says until it leaves, or says something else than it may."""
    budget = TokenBuckets(CLIENT_MESSAGES_PER_SECOND, CLIENT_MESSAGES_PER_SECOND, 1)
    async for message in client:
        if message.type is WSMsgType.ERROR:
            return
        try:
            if not budget.take():
                raise BadRequest("send fewer messages")
            subscription.change(_topics_of(message))
        except BadRequest as e:
            await client.close(code=WSCloseCode.POLICY_VIOLATION, message=e.message.encode())
            return


def _topics_of(message: WSMessage) -> list[str]:
    """The topics that a message of a client names."""
    try:
        content = json.loads(message.data) if message.type is WSMsgType.TEXT else None
    except (ValueError, RecursionError):
        content = None
    topics = content.get("subscribe") if isinstance(content, dict) else None
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise BadRequest('send {"subscribe": ["peer", "circuit"]}')
    return _checked(topics)


def _checked(topics: list[str]) -> list[str]:
    if len(topics) > MAX_TOPICS_NAMED or not all(map(is_topic, topics)):
        raise BadRequest(f"topics must be at most {MAX_TOPICS_NAMED} words, or words with dots between them")
    return topics


def _last_id(request: Request) -> int | None:
    """The id of the last event that a client knows; ``None`` if it knows none."""
    text = request.query.get("last_id") or request.headers.get("Last-Event-ID")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        raise BadRequest("the id of the last event must be a whole number")
    return int(text)
