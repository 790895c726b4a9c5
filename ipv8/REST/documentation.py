"""``/docs``: what the interface can do, for people and for programs; and ``/`` and ``/health``."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .. import __version__, clock
from .base_endpoint import Response
from .openapi import describe

if TYPE_CHECKING:
    from aiohttp.web import Request

    from .base_endpoint import BaseEndpoint

__all__ = ["TITLE", "Documentation", "page_for_browsers"]

TITLE = "IPv8 REST API documentation"
API_VERSION = "v3.2"
"""Of the interface, which the first one of its kind has."""

PAGE_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
               "form-action 'none'; frame-ancestors 'none'")
FILES = {"docs.html": "text/html", "docs.js": "text/javascript", "docs.css": "text/css"}


class Documentation:
    """The routes that a manager adds to the root endpoint of its own.

    :param root: the endpoint whose routes are described.
    :param needs_key: whether requests need a key.
    :param docs: whether there is a documentation.
    :param dashboard: whether there is a page that shows the node.
    :param metrics: whether there are figures for Prometheus.
    """

    def __init__(self, root: BaseEndpoint[Any], needs_key: bool, docs: bool = True, dashboard: bool = False,
                 metrics: bool = False) -> None:
        self._root = root
        self._needs_key = needs_key
        further = {"docs": docs, "dashboard": dashboard, "metrics": metrics, "health": True}
        self._further = {name: f"/{name}" for name, is_there in further.items() if is_there}
        self._started = clock.monotonic()
        self._described: dict[str, dict[str, Any]] = {}
        routes = [web.get("/health", self.get_health)]
        taken = {route.resource.canonical for route in root.app.router.routes() if route.resource is not None}
        if "/" not in taken:
            routes.append(web.get("/", self.get_root))
        if docs:
            routes += [web.get("/docs", self.get_page), web.get("/docs/openapi.json", self.get_openapi),
                       web.get("/docs/swagger.json", self.get_swagger),
                       web.get("/static/{name}", self.get_file)]
        root.app.add_routes([route for route in routes if route.path not in taken])

    async def get_root(self, _: Request) -> Response:
        """What is here."""
        links = {prefix.strip("/"): prefix for prefix in self._root.endpoints}
        return Response({"name": "ipv8", "version": __version__, "uptime": clock.monotonic() - self._started,
                         "links": {**links, **self._further}})

    async def get_health(self, _: Request) -> Response:
        """Whether the node works; nothing else, as nobody needs a key for this."""
        endpoint = getattr(self._root.session, "endpoint", None)
        works = endpoint is not None and endpoint.is_open()
        return Response({"status": "ok" if works else "unavailable"}, status=200 if works else 503)

    async def get_page(self, _: Request) -> web.Response:
        """The page for people."""
        return _file("docs.html")

    async def get_file(self, request: Request) -> web.Response:
        """A file of the page."""
        if request.match_info["name"] not in FILES:
            raise web.HTTPNotFound
        return _file(request.match_info["name"])

    async def get_openapi(self, _: Request) -> Response:
        """The description in OpenAPI 3.1."""
        return Response(self.describe("3.1.0"))

    async def get_swagger(self, _: Request) -> Response:
        """The description in Swagger 2.0, for older programs."""
        return Response(self.describe("2.0"))

    def describe(self, version: str) -> dict[str, Any]:
        """The description in a version of OpenAPI, which is made when it is first asked for."""
        if version not in self._described:
            self._described[version] = describe(self._root.app, TITLE, API_VERSION, version, self._needs_key)
        return self._described[version]


def page_for_browsers(request: Request) -> web.Response | None:
    """Send a browser that asks for ``/`` to the page; ``None`` for other requests, and for a program's own ``/``."""
    if "text/html" not in request.headers.get("Accept", ""):
        return None
    if getattr(request.match_info.handler, "__func__", None) is not Documentation.get_root:
        return None
    return web.Response(status=302, headers={"Location": "/dashboard", "Vary": "Accept"})


def _file(name: str) -> web.Response:
    return web.Response(body=(files(__package__) / "static" / name).read_bytes(), content_type=FILES[name],
                        charset="utf-8", headers={"Content-Security-Policy": PAGE_POLICY,
                                                  "Cache-Control": "no-cache", "X-Frame-Options": "DENY",
                                                  "Referrer-Policy": "no-referrer"})
