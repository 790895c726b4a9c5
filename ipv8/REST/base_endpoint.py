"""What all HTTP endpoints have in common: an application of ``aiohttp`` with routes, and the node that it shows."""

from __future__ import annotations

import json
import logging
import math
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from aiohttp import web
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.web import Request

__all__ = ["DEFAULT_HEADERS", "HTTP_BAD_REQUEST", "HTTP_CONFLICT", "HTTP_INTERNAL_SERVER_ERROR", "HTTP_NOT_FOUND",
           "HTTP_PRECONDITION_FAILED", "HTTP_UNAUTHORIZED", "LEGACY", "BaseEndpoint", "FromNode", "Response", "T",
           "changes_state", "makes_pseudonyms", "needs_no_key", "plain", "takes_tickets"]

HTTP_BAD_REQUEST = 400
HTTP_UNAUTHORIZED = 401
HTTP_NOT_FOUND = 404
HTTP_CONFLICT = 409
HTTP_PRECONDITION_FAILED = 412
HTTP_INTERNAL_SERVER_ERROR = 500

LEGACY: ContextVar[bool] = ContextVar("legacy_errors", default=False)
"""Whether a request is to be answered as other implementations do."""

DEFAULT_HEADERS: dict[str, str] = {}
JSON_TYPE = "application/json"
JSON_HEADERS = CIMultiDict({"Content-Type": JSON_TYPE})

INHERITED_MARKS = frozenset({"__changes_state__", "__takes_tickets__"})
"""What decorators set on a handler, and a method has as well that replaces it in a subclass."""

MAX_DEPTH = 32
"""Values of peers that stand further inside of others are left out."""

LEFT_OUT = "…"


def _fast_encoder() -> Callable[[Any], str]:
    """What ``json.dumps`` calls, which makes an object of C for each value. Here it is made once, where that works."""
    encoder, library = json.JSONEncoder(), json.encoder
    try:  # what is used of the library is not documented
        chunks = library.c_make_encoder(None, encoder.default, library.encode_basestring_ascii, None,  # type: ignore[attr-defined]
                                        encoder.key_separator, encoder.item_separator, False, False, True)
        if "".join(chunks(["", {"a": 1.5}], 0)) == encoder.encode(["", {"a": 1.5}]):
            return lambda value: "".join(chunks(value, 0))
    except (AttributeError, TypeError):
        pass
    return encoder.encode


_encode = _fast_encoder()

T = TypeVar("T")
HandlerT = TypeVar("HandlerT", bound="Callable[..., Any]")
PartT = TypeVar("PartT")


def changes_state(handler: HandlerT) -> HandlerT:
    """Mark a handler of GET that changes something, so that pages of other sites cannot make a browser call it."""
    handler.__changes_state__ = "always"  # type: ignore[attr-defined]  # functions have attributes
    return handler


def makes_pseudonyms(handler: HandlerT) -> HandlerT:
    """Mark a handler of GET that makes the pseudonym it names, if there is none."""
    handler.__changes_state__ = "maybe"  # type: ignore[attr-defined]  # functions have attributes
    return handler


def takes_tickets(handler: HandlerT) -> HandlerT:
    """Mark a handler for which a ticket is as good as the key (see ``tickets.py``)."""
    handler.__takes_tickets__ = True  # type: ignore[attr-defined]  # functions have attributes
    return handler


def needs_no_key(handler: HandlerT) -> HandlerT:
    """Mark a handler that answers everybody, without the key."""
    handler.__needs_no_key__ = True  # type: ignore[attr-defined]  # functions have attributes
    return handler


class BaseEndpoint(Generic[T]):
    """An application with routes, and others below it.

    Programs that combine this class with an endpoint class of their own call both constructors. So this one does not
    call that of the next class.

    :param middlewares: of the application.
    """

    def __init__(self, middlewares: Iterable[Any] = ()) -> None:
        self._logger = logging.getLogger(type(self).__name__)
        self.app = web.Application(middlewares=tuple(middlewares))
        #: The node, once it is known.
        self.session: T | None = None
        #: The endpoints below this one, by the beginning of their paths.
        self.endpoints: dict[str, Any] = {}
        self.setup_routes()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__:
            for name, handler in tuple(vars(base).items()):
                marks = INHERITED_MARKS & vars(handler).keys() if isinstance(handler, FunctionType) else ()
                replacing = getattr(cls, name) if marks else None
                if isinstance(replacing, FunctionType):
                    for mark in marks:
                        vars(replacing).setdefault(mark, vars(handler)[mark])

    def setup_routes(self) -> None:
        """Add routes to ``app``, and endpoints by :meth:`add_endpoint`. The constructor calls this at its end."""

    def initialize(self, session: T) -> None:
        """Show this node, here and in the endpoints below. Requests may come before that."""
        self.session = session
        for endpoint in self.endpoints.values():
            endpoint.initialize(session)

    def is_available(self, _: Request) -> bool:
        """Whether the node has what this endpoint shows now."""
        return True

    def add_endpoint(self, prefix: str, endpoint: Any) -> None:
        """Put an endpoint below this one.

        :param prefix: the beginning of its paths, as in ``"/dht"``.
        :param endpoint: anything that has an ``app`` and a method ``initialize``.
        """
        self.endpoints[prefix] = endpoint
        self.app.add_subapp(prefix, endpoint.app)


class FromNode(Generic[PartT]):
    """An attribute of an endpoint: a part of the node as it is now, unless a program has assigned another one.

    :param find: finds the part in the node; ``None`` if there is none.
    """

    def __init__(self, find: Callable[[Any], PartT | None]) -> None:
        self._find = find
        self._name = self._found = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name, self._found = name, f"{name} of the node"  # an overlay is found again only when it has gone

    @overload
    def __get__(self, endpoint: None, owner: type[Any]) -> FromNode[PartT]: ...

    @overload
    def __get__(self, endpoint: BaseEndpoint[Any], owner: type[Any]) -> PartT | None: ...

    def __get__(self, endpoint: BaseEndpoint[Any] | None, owner: type[Any]) -> FromNode[PartT] | PartT | None:
        if endpoint is None:
            return self
        state = endpoint.__dict__
        assigned: PartT | None = state.get(self._name)
        if assigned is not None:
            return assigned
        session = state.get("session")  # the constructor of a subclass may ask earlier than it is there
        if session is None:
            return None
        found: PartT | None = state.get(self._found)
        if found is None or found not in session.overlays:
            found = state[self._found] = self._find(session)
        return found

    def __set__(self, endpoint: BaseEndpoint[Any], value: PartT | None) -> None:
        vars(endpoint)[self._name] = value


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """What JSON can have in the place of a value that a peer has sent.

    Bytes and numbers that are not finite become text. What is nested too deep is left out.
    """
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return value
    if depth == 0:
        return LEFT_OUT
    if isinstance(value, dict):
        return {str(plain(name, depth - 1)): plain(entry, depth - 1) for name, entry in value.items()}
    return [plain(entry, depth - 1) for entry in value]


class Response(web.Response):
    """A response; dictionaries and lists are sent as JSON.

    :raises TypeError: if they hold something that JSON cannot have.
    """

    def __init__(self, body: Any = None, headers: Any = None, content_type: str | None = None, status: int = 200,
                 **kwargs: Any) -> None:
        headers = headers or DEFAULT_HEADERS
        if isinstance(body, (dict, list)):
            body = _encode(body).encode()
            if headers:
                content_type = JSON_TYPE
            else:
                headers, content_type = JSON_HEADERS, None  # which are copied faster than a type is set
        super().__init__(body=body, headers=headers, content_type=content_type, status=status, **kwargs)
