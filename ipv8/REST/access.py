"""Who may call the HTTP interface: checks of requests before a handler gets them (doc/rest_api.md)."""

from __future__ import annotations

import asyncio
import hmac
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiohttp import web
from yarl import URL

from .. import clock
from ..dht import DHTError
from ..limits import BoundedDict, TokenBuckets
from ..messaging.inet import HOST_BITS, network_of, parse_host
from .base_endpoint import (
    HTTP_BAD_REQUEST,
    HTTP_INTERNAL_SERVER_ERROR,
    HTTP_UNAUTHORIZED,
    LEGACY,
    Response,
)
from .tickets import Tickets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from aiohttp.web import Request, StreamResponse

    Handler = Callable[[Request], Awaitable[StreamResponse]]

__all__ = ["ORIGINS", "ApiKeyMiddleware", "BodyReader", "Cors", "Gate", "HostCheck", "Origins", "RateLimit",
           "StateCheck", "cors_middleware", "error_middleware", "is_loopback", "is_public", "legacy_error_middleware"]

logger = logging.getLogger("RESTManager")

WRONG_KEYS = 20
"""Wrong keys from one address in a minute, after which it gets no other response than 429."""

REQUESTS_PER_SECOND = 50.0
"""Requests from one address of another machine, each second."""

REQUESTS_AT_ONCE = 200
"""The same, at once."""

MAX_CLIENTS = 1024
"""Addresses of which requests and wrong keys are counted; the least recently used is evicted first."""

MAX_NAMES = 64
"""Headers with names of the server that are known to be right; the oldest is forgotten first."""

REQUEST_SECONDS = 30.0
"""Seconds within which a request must have come completely."""

PREFLIGHT_AGE = 86400
"""Seconds for which browsers remember what other sites may do."""

RETRY_AFTER = 5
"""Seconds after which a client should try again what the DHT could not do."""

METHODS = "GET, PUT, POST, PATCH, DELETE, OPTIONS"
PUBLIC = ("/docs", "/static", "/health")
"""What tells nothing of the node: paths that are, or begin with, one of these and a slash."""

BELOW_PUBLIC = tuple(f"{path}/" for path in PUBLIC)

READING = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - to recognize it


@lru_cache(MAX_CLIENTS)  # asked for each request
def is_loopback(host: str | None) -> bool:
    """Whether only programs of this machine reach a server that listens on ``host``."""
    address = parse_host(host or "")
    return host == "localhost" or (address is not None and address.is_loopback)


def is_public(path: str) -> bool:
    """Whether everybody may read what is at a path."""
    return path in PUBLIC or path.startswith(BELOW_PUBLIC)


def client_of(request: Request) -> bytes:
    """The host that a request came from."""
    return network_of(request.remote or "", *HOST_BITS)


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response({"success": False, "error": {"code": code, "message": message}}, headers=headers, status=status)


def _text_of(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # headers may have bytes that are no UTF-8


# -- errors ----------------------------------------------------------------------------------------------------------

@web.middleware
async def error_middleware(request: Request, handler: Handler) -> StreamResponse:
    """Answer exceptions: those of HTTP with their own status, those of the DHT with 503, others with 500.

    An exception that should not occur is logged. The response has only a number, by which it is found in the log.
    """
    try:
        return await handler(request)
    except web.HTTPException as e:
        if e.status < HTTP_BAD_REQUEST:
            raise
        if e.content_type == "application/json":
            return Response(e.body, status=e.status, content_type="application/json")
        headers = {name: e.headers[name] for name in ("Allow", "Retry-After") if name in e.headers}
        return _error(e.status, type(e).__name__, e.reason, headers)
    except DHTError as e:
        return _error(503, "DHTError", str(e), {"Retry-After": str(RETRY_AFTER)})
    except ConnectionResetError:
        raise
    except Exception:
        number = uuid4().hex
        logger.exception("The request %s %s failed (request %s)", request.method, request.path, number)
        return Response({"success": False, "error": {"code": "InternalError", "message": "see the log of the node",
                                                     "request_id": number}}, status=HTTP_INTERNAL_SERVER_ERROR)


@web.middleware
async def legacy_error_middleware(request: Request, handler: Handler) -> StreamResponse:
    """Answer all exceptions with status 500, as other implementations do, with their classes and texts."""
    try:
        return await handler(request)
    except ConnectionResetError:
        raise
    except Exception as e:
        if isinstance(e, web.HTTPException) and e.status < HTTP_BAD_REQUEST:
            raise
        cause = e.__cause__ if isinstance(e, web.HTTPException) and e.__cause__ is not None else e
        if not isinstance(e, (web.HTTPException, DHTError)):
            logger.exception("The request %s %s failed", request.method, request.path)
        message = cause.reason if isinstance(cause, web.HTTPException) else str(cause)
        return _error(HTTP_INTERNAL_SERVER_ERROR, type(cause).__name__, message)


# -- keys ------------------------------------------------------------------------------------------------------------

@web.middleware
class ApiKeyMiddleware:
    """Lets those in who have the key: in the header ``X-Api-Key`` or ``Authorization``, or as ``apikey`` in the query.

    Handlers that are marked with ``takes_tickets`` are also for those who have a ticket: as ``ticket`` in the query.
    The documentation needs no key, nor what is marked with ``needs_no_key``. After :data:`WRONG_KEYS` wrong ones within
    a minute, an address has to wait.

    :param api_key: the key; ``None`` or empty for none.
    """

    def __init__(self, api_key: str | None) -> None:
        self.api_key = api_key
        self.tickets = Tickets()
        self._wrong = TokenBuckets(WRONG_KEYS / 60, WRONG_KEYS, MAX_CLIENTS)

    async def __call__(self, request: Request, handler: Handler) -> StreamResponse:
        """Let the handler answer, or refuse."""
        return self.refuse(request) or await handler(request)

    def refuse(self, request: Request) -> Response | None:
        """The response to a request that may not be answered; ``None`` for others."""
        if not self.api_key or _needs_no_key(request):
            return None
        if len(self._wrong) and not self._wrong.holds(client_of(request)):
            return Response({"error": "Too many wrong keys: try again later"}, status=429,
                            headers={"Retry-After": str(60 // WRONG_KEYS)})
        ticket = request.query.get("ticket", "") if _takes_tickets(request) else ""
        if self.authenticate(request) or (ticket and self.tickets.redeem(ticket)):
            return None
        if ticket or _candidate(request):
            self._wrong.take(client_of(request))
        return Response({"error": "Unauthorized access"}, status=HTTP_UNAUTHORIZED)

    def authenticate(self, request: Request) -> bool:
        """Whether a request may be answered."""
        if not self.api_key or _needs_no_key(request):
            return True
        return hmac.compare_digest(_text_of(_candidate(request)), _text_of(self.api_key))


def _takes_tickets(request: Request) -> bool:
    return getattr(request.match_info.handler, "__takes_tickets__", False)


def _needs_no_key(request: Request) -> bool:
    return is_public(request.path) or hasattr(request.match_info.handler, "__needs_no_key__")


def _candidate(request: Request) -> str:
    """The key that a request has, if any."""
    key = request.headers.get("X-Api-Key")
    if not key and "Authorization" in request.headers:
        kind, _, token = request.headers["Authorization"].partition(" ")
        key = token.strip() if kind.lower() == "bearer" else ""
    return key or request.query.get("apikey") or ""


# -- browsers --------------------------------------------------------------------------------------------------------

@web.middleware
async def cors_middleware(request: Request, handler: Handler) -> StreamResponse:
    """Answer that pages of all sites may do everything, as other implementations do.

    A manager uses it only with ``legacy_errors``, behind the key.
    """
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(content_type="application/octet-stream", headers={
            "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": "*",
            "Access-Control-Allow-Origin": "*", "Access-Control-Max-Age": str(PREFLIGHT_AGE)})
    return await handler(request)


class Origins:
    """The sites whose pages may use the interface.

    :param allowed: their origins, as in ``https://example.org``; ``"*"`` for all.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def allows(self, origin: str) -> bool:
        """Whether pages of another site may use it."""
        return "*" in self.allowed or origin.lower() in self.allowed

    def is_foreign(self, request: Request) -> bool:
        """Whether a page of a site that is not allowed made a browser send a request."""
        origin = request.headers.get("Origin")
        if origin is not None and self.allows(origin):
            return False
        if origin is not None and not _is_same(origin, request.headers.get("Host", "")):
            return True
        site = request.headers.get("Sec-Fetch-Site", "").lower()
        return site in {"cross-site", "same-site"} and "*" not in self.allowed


def _is_same(origin: str, host: str) -> bool:
    _, separator, authority = origin.partition("://")
    return bool(separator) and authority.lower() == host.lower()


ORIGINS = web.AppKey("origins", Origins)
"""Where an application has the sites whose pages may use it."""


class Cors:
    """Tells browsers which sites may use the interface, and which not.

    :param origins: these sites.
    """

    def __init__(self, origins: Origins) -> None:
        self.origins = origins

    def answer(self, request: Request) -> StreamResponse | None:
        """The response to a preflight request, which has no key; ``None`` for others."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        headers = {"Vary": "Origin"}
        if self.origins.allows(request.headers.get("Origin", "")):
            headers |= {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": str(PREFLIGHT_AGE),
                        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Api-Key, X-Rendezvous"}
        return web.Response(status=204, headers=headers)

    async def on_prepare(self, request: Request, response: StreamResponse) -> None:
        """Set the headers of a response that is about to be sent."""
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        if self.origins.allowed:
            headers["Vary"] = "Origin"
            origin = request.headers.get("Origin")
            if origin is not None and self.origins.allows(origin):
                headers.setdefault("Access-Control-Allow-Origin", origin)


class HostCheck:
    """Refuses requests for other names, so that a site whose name resolves to this machine gets nothing.

    :param host: where the server listens.
    :param allowed: further names of it.
    """

    def __init__(self, host: str | None, allowed: Collection[str] | None = None) -> None:
        self._names = LOOPBACK_NAMES | {name.lower() for name in allowed or ()} | {(host or "").lower()}
        self._any_address = (host or "") in ANY_ADDRESS
        self._seen: BoundedDict[str, None] = BoundedDict(MAX_NAMES)

    def refuse(self, request: Request) -> Response | None:
        """The response to a request for another server; ``None`` for others."""
        header = request.headers.get("Host")
        if header is None or header in self._seen:
            return None
        if not self.allows(header):
            return _error(403, "ForeignHost", "this server is not known by the name in the header Host")
        self._seen[header] = None
        return None

    def allows(self, header: str) -> bool:
        """Whether a header ``Host`` names this server."""
        try:
            name = (URL(f"http://{header}").host or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return bool(name)
        address = parse_host(name)
        return address is not None and (self._any_address or str(address) in self._names)


class StateCheck:
    """Keeps pages of other sites from changing something, by requests that browsers send without asking.

    A handler of GET that changes something needs a key as well, since a browser may not say which site it acts for.

    :param origins: the sites that may.
    :param has_key: whether all requests have a key.
    :param legacy: whether GET may change something without. Requests are marked then, for handlers.
    """

    def __init__(self, origins: Origins, has_key: bool, legacy: bool = False) -> None:
        self._origins = origins
        self._may_get = has_key or legacy
        self._legacy = legacy

    def refuse(self, request: Request) -> Response | None:
        """The response to a request for what may not be done; ``None`` for others."""
        if self._legacy:
            LEGACY.set(True)
        marked = getattr(request.match_info.handler, "__changes_state__", None)
        reads = request.method in READING
        if (marked or not reads) and self._origins.is_foreign(request):
            return _error(403, "ForeignOrigin", "pages of other sites may not do this")
        if marked == "always" and reads and not self._may_get:
            return _error(405, "HTTPMethodNotAllowed", "this changes something: use POST, or DELETE to remove",
                          {"Allow": "DELETE, POST"})
        return None


# -- limits ----------------------------------------------------------------------------------------------------------

class RateLimit:
    """Limits how many requests an address of another machine may send."""

    def __init__(self) -> None:
        self._budget = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE, MAX_CLIENTS)

    def refuse(self, request: Request) -> Response | None:
        """The response to a request above the limit; ``None`` for others."""
        if request.remote and not is_loopback(request.remote) and not self._budget.take(client_of(request)):
            return _error(429, "TooManyRequests", "send fewer requests", {"Retry-After": "1"})
        return None


class BodyReader:
    """Reads the body of a request within limits of size and time.

    :param max_body: the most bytes.
    """

    def __init__(self, max_body: int, seconds: float = REQUEST_SECONDS) -> None:
        self._max_body = max_body
        self._seconds = seconds

    async def refuse(self, request: Request) -> Response | None:
        """Read the body; the response if that is too large or too slow, else ``None``."""
        if request.content_length is not None and request.content_length > self._max_body:
            return _error(413, "HTTPRequestEntityTooLarge", f"the body must have at most {self._max_body} bytes")
        try:
            await asyncio.wait_for(request.read(), self._seconds)
        except asyncio.TimeoutError:
            response = _error(408, "HTTPRequestTimeout", "the body did not come in time")
            response.force_close()
            return response
        return None


@web.middleware
class Gate:
    """Lets a handler answer what none of several checks refuses, and closes connections that wait.

    On a connection, a request must come within :data:`REQUEST_SECONDS`.

    :param checks: each returns a response, or ``None`` to let a request pass.
    :param body: reads the bodies of what has passed them.
    """

    def __init__(self, checks: Iterable[Callable[[Request], StreamResponse | None]], body: BodyReader) -> None:
        self._checks = tuple(checks)
        self._body = body
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
            return await handler(request)
        finally:
            self._busy.discard(connection)
            self._idle_since[connection] = clock.monotonic()

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
