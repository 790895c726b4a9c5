"""``/dashboard``: the page that shows a running node (doc/dashboard.md)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web
from marshmallow.fields import String

from .apidocs import docs, response_schema
from .base_endpoint import BaseEndpoint, Response, needs_no_key
from .schema import schema

if TYPE_CHECKING:
    from importlib.abc import Traversable

    from aiohttp.web import Request

__all__ = ["PAGES", "PAGE_POLICY", "Dashboard"]

PAGES = ("overview", "network", "peers", "traffic", "circuits", "dht", "identity", "trust", "asyncio", "tables", "log")
"""Each has an address of its own. The scripts of the page know them by the same names."""

PAGE_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache", "X-Frame-Options": "DENY",
           "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Dashboard:
    """The routes that a manager adds to the root endpoint of its own.

    The page needs no key, as it is the same for every node: it asks for the key, and reads the node with it.

    :param root: the endpoint that gets the routes.
    :param needs_key: whether other requests need a key.
    """

    def __init__(self, root: BaseEndpoint[Any], needs_key: bool = False) -> None:
        self._root = root
        self._needs_key = needs_key
        routes = [web.get("/dashboard", self.get_page), web.get("/dashboard/files/{path:.+}", self.get_file),
                  web.get("/dashboard/access", self.get_access), web.get("/dashboard/parts", self.get_parts),
                  web.get("/dashboard/{page}", self.get_page)]
        taken = {resource.canonical for resource in root.app.router.resources()}
        if not taken.intersection(route.path for route in routes):  # a program may have a page of its own there
            root.app.add_routes(routes)

    @needs_no_key
    async def get_page(self, request: Request) -> web.Response:
        """The page. Its scripts show what its address names."""
        if request.match_info.get("page", PAGES[0]) not in PAGES:
            raise web.HTTPNotFound
        return _answer("index.html")

    @needs_no_key
    async def get_file(self, request: Request) -> web.Response:
        """A file of the page."""
        if request.match_info["path"] not in package_files():
            raise web.HTTPNotFound
        return _answer(request.match_info["path"])

    @needs_no_key
    async def get_access(self, _: Request) -> Response:
        """Whether a key is needed. Browsers would log the response that says so to a request without one."""
        return Response({"needs_key": self._needs_key})

    @docs(tags=["Node"], summary="The paths of this interface for which the node has something to show now.")
    @response_schema(schema(DashboardParts={"parts": [String]}))
    async def get_parts(self, request: Request) -> Response:
        """What the page can ask for. Browsers would log each response that says that there is nothing."""
        return Response({"parts": [prefix.strip("/") for prefix, endpoint in self._root.endpoints.items()
                                   if isinstance(endpoint, BaseEndpoint) and endpoint.is_available(request)]})


class PackageFile(NamedTuple):
    """A file of the page."""

    content: bytes
    content_type: str


@cache
def package_files() -> dict[str, PackageFile]:
    """The files of the page by their paths. They are read once."""
    found: dict[str, PackageFile] = {}
    _read(files(__package__) / "static" / "dashboard", "", found)
    return found


def _read(directory: Traversable, prefix: str, found: dict[str, PackageFile]) -> None:
    for entry in directory.iterdir():
        ending = entry.name[entry.name.rfind("."):]
        if entry.is_dir():
            _read(entry, f"{prefix}{entry.name}/", found)
        elif ending in CONTENT_TYPES:
            found[prefix + entry.name] = PackageFile(entry.read_bytes(), CONTENT_TYPES[ending])


def _answer(name: str) -> web.Response:
    file = package_files()[name]
    return web.Response(body=file.content, content_type=file.content_type, charset="utf-8", headers=HEADERS)
