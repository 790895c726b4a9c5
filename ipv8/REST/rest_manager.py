"""The HTTP server of a node (doc/rest_api.md)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..taskmanager import TaskManager
from .access import (
    ORIGINS,
    ApiKeyMiddleware,
    Cors,
    HostCheck,
    Origins,
    RateLimit,
    StateCheck,
    cors_middleware,
    is_loopback,
)
from .base_endpoint import (  # programs import these from here
    HTTP_INTERNAL_SERVER_ERROR as HTTP_INTERNAL_SERVER_ERROR,
    HTTP_UNAUTHORIZED as HTTP_UNAUTHORIZED,
    BaseEndpoint as BaseEndpoint,  # noqa: TC001 - as the others
    Response as Response,
)
from .dashboard import Dashboard
from .documentation import Documentation, page_for_browsers
from .errors import (
    SERVER_LOG,
    error_middleware as error_middleware,  # for programs
    error_response,
    legacy_error_response,
)
from .gate import LOOK_INTERVAL, REQUEST_SECONDS, BodyReader, Gate
from .key_file import KEY_FILE, make_or_read_key
from .metrics import Metrics
from .observation.observer import NodeObserver
from .observing import OBSERVES
from .root_endpoint import RootEndpoint
from .tickets import TICKETS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection
    from types import TracebackType

    from aiohttp.web import Request, StreamResponse

    Check = Callable[[Request], StreamResponse | None]

__all__ = ["ApiKeyMiddleware", "RESTManager", "cors_middleware", "error_middleware"]

MAX_BODY = 1024 * 1024
"""Bytes of the body of a request."""

SHUTDOWN_SECONDS = 2.0
"""Seconds that handlers have to end when the server stops."""


class RESTManager:
    """Serves a node by HTTP.

    :param session: the node.
    :param root_endpoint_class: the class of the endpoint that has all others, by default :class:`RootEndpoint`. Its
        constructor takes ``middlewares``.
    """

    def __init__(self, session: Any, root_endpoint_class: type[BaseEndpoint[Any]] | None = None) -> None:
        self._logger = logging.getLogger(type(self).__name__)
        self._root_endpoint_class = root_endpoint_class or RootEndpoint
        self.session = session
        self.root_endpoint: BaseEndpoint[Any] | None = None
        self.site: web.TCPSite | None = None
        self.runner: web.AppRunner | None = None
        self._lock = asyncio.Lock()
        #: The key that requests need; ``None`` for none.
        self.api_key: str | None = None
        self.documentation: Documentation | None = None
        self._scheme = "http"
        self._tasks: TaskManager | None = None
        self._observer: NodeObserver | None = None

    async def start(self, port: int = 8085, host: str = "127.0.0.1", api_key: str | None = None,
                    ssl_context: ssl.SSLContext | None = None, *, cors_origins: Collection[str] = (),
                    allowed_hosts: Collection[str] | None = None, max_body: int = MAX_BODY, docs: bool = True,
                    dashboard: bool = True, observe: bool = True, metrics: bool = True,
                    metrics_without_key: bool = False, legacy_errors: bool = False) -> None:
        """Begin to serve.

        :param port: the TCP port; 0 for any free one, see :attr:`port`.
        :param host: the address to listen on.
        :param api_key: what requests must have in the header ``X-Api-Key``. By default, no key is needed on an address
            of this machine only; for any other address a key is made and kept in the file ``rest.key`` in the working
            directory. An empty text is for no key.
        :param ssl_context: for HTTPS.
        :param cors_origins: the sites whose pages may use the interface, as in ``https://example.org``.
        :param allowed_hosts: further names of this server, besides the address and those of this machine.
        :param max_body: the most bytes of the body of a request.
        :param docs: whether there is a documentation at ``/docs``.
        :param dashboard: whether there is a page that shows the node at ``/dashboard``.
        :param observe: whether the node is watched: its traffic, event loop, log and events. The page, ``/node``,
            ``/events`` and ``/metrics`` need that.
        :param metrics: whether there are figures for Prometheus at ``/metrics``.
        :param metrics_without_key: whether everybody may read these.
        :param legacy_errors: answer errors as other implementations do, most of them with status 500.
        :raises OSError: if the port cannot be used. It may be tried again.
        :raises RuntimeError: if it serves already.
        """
        async with self._lock:
            if self.runner is not None:
                raise RuntimeError("it serves already: call stop() first")
            key = self._key_for(host, api_key, ssl_context is not None)
            cors, keys = Cors(Origins(cors_origins)), ApiKeyMiddleware(key)
            gate = Gate(_checks(host, allowed_hosts, keys, cors, dashboard, legacy_errors), BodyReader(max_body),
                        legacy_error_response if legacy_errors else error_response)
            root: Any = self._root_endpoint_class(middlewares=[gate, cors_middleware] if legacy_errors else [gate])
            root.app._client_max_size = max_body  # the constructor of the endpoint has no argument for it
            root.app[ORIGINS], root.app[TICKETS], root.app[OBSERVES] = cors.origins, keys.tickets, observe
            root.app.on_response_prepare.append(cors.on_prepare)
            root.initialize(self.session)
            observer = NodeObserver.of(self.session) if observe else None
            self.root_endpoint, self.api_key = root, key
            self.documentation = Documentation(root, bool(key), docs, dashboard, metrics)
            if dashboard:
                Dashboard(root, bool(key))
            if metrics:
                Metrics(root, observer, metrics_without_key)
            self._scheme = "http" if ssl_context is None else "https"
            self.runner = await self._listen(root.app, host, port, ssl_context)
            if observer is not None:
                self._observer = observer
                observer.start()
            self._tasks = TaskManager()
            self._tasks.register_task("close idle connections", gate.close_idle_of, self.runner,
                                      interval=LOOK_INTERVAL)

    async def _listen(self, app: web.Application, host: str, port: int,
                      ssl_context: ssl.SSLContext | None) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, logger=SERVER_LOG, shutdown_timeout=SHUTDOWN_SECONDS,
                               keepalive_timeout=REQUEST_SECONDS)
        try:
            await runner.setup()
            await self.start_site(runner, host, port, ssl_context)
        except BaseException:
            self.site = None
            await runner.cleanup()
            raise
        return runner

    async def start_site(self, runner: web.AppRunner, host: str | None, port: int | None,
                         ssl_context: ssl.SSLContext | None) -> None:
        """Begin to listen. Subclasses may listen elsewhere."""
        self.site = web.TCPSite(runner, host, port, ssl_context=ssl_context)
        await self.site.start()

    def _key_for(self, host: str | None, api_key: str | None, encrypted: bool) -> str | None:
        """The key that a server at this address has."""
        if is_loopback(host):
            return api_key or None
        if api_key is None:
            api_key = self._stored_key()
        if not api_key:
            self._logger.warning("The REST API at %s needs no key: everybody who reaches it controls the node", host)
        elif not encrypted:
            self._logger.warning("The REST API at %s is not encrypted: give it a certificate, as its key can be read "
                                 "on the way", host)
        return api_key or None

    def _stored_key(self) -> str:
        """The key in the file, which is made if there is none. Only the owner can read it."""
        configuration = getattr(self.session, "configuration", {})
        path = Path(configuration.get("working_directory") or ".") / KEY_FILE
        key = make_or_read_key(path)
        self._logger.warning("The key of the REST API is in %s", path)
        return key

    @property
    def port(self) -> int | None:
        """The TCP port on which it listens; ``None`` if it does not."""
        addresses = [] if self.runner is None else self.runner.addresses
        return addresses[0][1] if addresses else None

    @property
    def url(self) -> str | None:
        """Where it is reached; ``None`` if it does not serve."""
        addresses = [] if self.runner is None else self.runner.addresses
        if not addresses:
            return None
        host, port = addresses[0][:2]
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    async def stop(self) -> None:
        """Stop to serve, and end what handlers still do; nothing is done if it does not serve."""
        async with self._lock:  # what has begun to start is stopped when it has started
            runner, self.runner = self.runner, None
            tasks, self._tasks = self._tasks, None
            observer, self._observer = self._observer, None
            self.site = None
            if tasks is not None:
                await tasks.shutdown_task_manager()
            if runner is not None:
                await runner.cleanup()
            if observer is not None:
                await observer.stop()

    async def __aenter__(self) -> RESTManager:  # noqa: PYI034 - Self is newer than Python 3.10
        if self.runner is None:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.stop()


def _checks(host: str, allowed_hosts: Collection[str] | None, keys: ApiKeyMiddleware, cors: Cors, dashboard: bool,
            legacy: bool) -> list[Check]:
    """What a request must pass, in this order."""
    checks: list[Check] = [HostCheck(host, allowed_hosts).refuse]
    if not is_loopback(host):  # where others than this machine can connect
        checks.insert(0, RateLimit().refuse)
    if dashboard:
        checks.append(page_for_browsers)
    if not legacy:  # else cors_middleware answers, behind the key
        checks.append(cors.answer)
    if keys.api_key:
        checks.append(keys.refuse)
    checks.append(StateCheck(cors.origins, bool(keys.api_key), legacy).refuse)
    return checks
