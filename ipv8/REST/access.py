"""Who may call the HTTP interface: checks of requests before a handler gets them (doc/rest_api.md)."""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiohttp import web
from yarl import URL

from ..limits import BoundedDict, TokenBuckets
from ..messaging.inet import HOST_BITS, network_of, parse_host
from .base_endpoint import HTTP_UNAUTHORIZED, LEGACY, Response
from .errors import refusal
from .tickets import Tickets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from aiohttp.web import Request, StreamResponse

    Handler = Callable[[Request], Awaitable[StreamResponse]]

__all__ = ["ORIGINS", "ApiKeyMiddleware", "Cors", "HostCheck", "Origins", "RateLimit", "StateCheck", "cors_middleware",
           "is_loopback", "is_public"]

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

PREFLIGHT_AGE = 86400
"""Seconds for which browsers remember what other sites may do."""

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


def _require_several(name: str, values: Iterable[str] | None) -> None:
    """Refuse a text, which is also an iterable of texts: of its letters."""
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list, as in [{values!r}]")


def client_of(request: Request) -> bytes:
    """The host that a request came from."""
    return network_of(request.remote or "", *HOST_BITS)


def _mark(request: Request, name: str) -> Any:
    """What a decorator has set on the handler of a request; ``None`` if it has not."""
    return getattr(request.match_info.handler, "__dict__", {}).get(name)  # most have none: getattr() is slower then


def _text_of(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # headers may have bytes that are no UTF-8


# -- keys ------------------------------------------------------------------------------------------------------------

@web.middleware
class ApiKeyMiddleware:
    """Lets those in who have the key: in the header ``X-Api-Key`` or ``Authorization``, or as ``apikey`` in the query.

    Handlers that are marked with ``takes_tickets`` are also for those who have a ticket: as ``ticket`` in the query.
    The documentation needs no key, nor what is marked with ``needs_no_key``. After :data:`WRONG_KEYS` wrong ones within
    a minute, an address has to wait. Those of pages of other sites are counted apart: nobody has to wait because of a
    page that made the browser send them.

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
        if len(self._wrong) and not self._wrong.holds(_counted(request)):
            return Response({"error": "Too many wrong keys: try again later"}, status=429,
                            headers={"Retry-After": str(60 // WRONG_KEYS)})
        ticket = request.query.get("ticket", "") if _takes_tickets(request) else ""
        if self.authenticate(request) or (ticket and self.tickets.redeem(ticket)):
            return None
        if ticket or _candidate(request):
            self._wrong.take(_counted(request))
        return Response({"error": "Unauthorized access"}, status=HTTP_UNAUTHORIZED)

    def authenticate(self, request: Request) -> bool:
        """Whether a request may be answered."""
        if not self.api_key or _needs_no_key(request):
            return True
        return hmac.compare_digest(_text_of(_candidate(request)), _text_of(self.api_key))


def _counted(request: Request) -> bytes:
    """Whose wrong keys those of a request are counted with."""
    client = client_of(request)
    return client + b" page" if Origins().is_foreign(request) else client


def _takes_tickets(request: Request) -> bool:
    return bool(_mark(request, "__takes_tickets__"))


def _needs_no_key(request: Request) -> bool:
    return is_public(request.path) or bool(_mark(request, "__needs_no_key__"))


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
        _require_several("cors_origins", allowed)
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
            headers["Vary"] = "Accept-Encoding, Origin" if headers.get("Vary") == "Accept-Encoding" else "Origin"
            origin = request.headers.get("Origin")
            if origin is not None and self.origins.allows(origin):
                headers.setdefault("Access-Control-Allow-Origin", origin)


class HostCheck:
    """Refuses requests for other names, so that a site whose name resolves to this machine gets nothing.

    :param host: where the server listens.
    :param allowed: further names of it.
    """

    def __init__(self, host: str | None, allowed: Collection[str] | None = None) -> None:
        _require_several("allowed_hosts", allowed)
        self._names = LOOPBACK_NAMES | {name.lower() for name in allowed or ()} | {(host or "").lower()}
        self._any_address = (host or "") in ANY_ADDRESS
        self._seen: BoundedDict[str, None] = BoundedDict(MAX_NAMES)

    def refuse(self, request: Request) -> Response | None:
        """The response to a request for another server; ``None`` for others."""
        header = request.headers.get("Host")
        if header is None or header in self._seen:
            return None
        if not self.allows(header):
            return refusal(403, "ForeignHost", "this server is not known by the name in the header Host: "
                           "use its address, or start it with this name (allowed_hosts, --api-name)")
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
        marked = _mark(request, "__changes_state__")
        reads = request.method in READING
        if (marked or not reads) and self._origins.is_foreign(request):
            return refusal(403, "ForeignOrigin", "pages of other sites may not do this")
        if marked == "always" and reads and not self._may_get:
            return refusal(405, "HTTPMethodNotAllowed", "this changes something: use POST", {"Allow": "POST"})
        return None


# -- limits ----------------------------------------------------------------------------------------------------------

class RateLimit:
    """Limits how many requests an address of another machine may send."""

    def __init__(self) -> None:
        self._budget = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE, MAX_CLIENTS)

    def refuse(self, request: Request) -> Response | None:
        """The response to a request above the limit; ``None`` for others."""
        if request.remote and not is_loopback(request.remote) and not self._budget.take(client_of(request)):
            return refusal(429, "TooManyRequests", "send fewer requests", {"Retry-After": "1"})
        return None
