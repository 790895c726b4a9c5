"""``/isolation``: servers and exits of a network of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Boolean, Integer, String

from ..bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ..community import Community
from ..messaging.anonymization.community import TunnelCommunity
from ..messaging.inet import parse_host
from ..service import IPv8
from .apidocs import docs, json_schema, response_schema
from .base_endpoint import HTTP_BAD_REQUEST, BaseEndpoint, Response
from .parameters import BadRequest, json_object, json_value, missing, number, text
from .schema import DefaultResponseSchema, schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.web import Request

__all__ = ["IsolationEndpoint"]

MAX_ADDED_SERVERS = 64
"""Servers that can be added to a running node; further ones are refused."""


class IsolationEndpoint(BaseEndpoint[IPv8]):
    """Tells a running node of a bootstrap server, or of a node that has an exit.

    :param middlewares: of the application.
    """

    def __init__(self, middlewares: Iterable[Any] = ()) -> None:
        self._added: set[tuple[str, int]] = set()
        super().__init__(middlewares)

    def setup_routes(self) -> None:
        """Add the route."""
        self.app.add_routes([web.post("", self.handle_post)])

    def add_exit_node(self, address: tuple[str, int]) -> None:
        """Contact a node in all tunnel overlays."""
        assert self.session is not None, "the node is not known yet"
        for overlay in tuple(self.session.overlays):
            if isinstance(overlay, TunnelCommunity):
                overlay.walk_to(address)

    def add_bootstrap_server(self, address: tuple[str, int]) -> None:
        """Contact a bootstrap server in all overlays, now and later. It is not taken for a peer."""
        assert self.session is not None, "the node is not known yet"
        _append(self.session.network.blacklist, address)
        for overlay in tuple(self.session.overlays):
            _append(overlay.network.blacklist, address)
            overlay.walk_to(address)
            if isinstance(overlay, Community):
                for bootstrapper in overlay.bootstrappers:
                    if isinstance(bootstrapper, DispersyBootstrapper):
                        _append(bootstrapper.ip_addresses, address)

    @docs(tags=["Isolation"], summary="Add a bootstrap server, or an exit, while the node runs.", responses={
        400: {"schema": DefaultResponseSchema, "description": "An argument is missing or impossible."}})
    @json_schema(schema(IsolationRequest={
        "ip*": (String, "the IP address"), "port*": (Integer, "the UDP port"),
        "bootstrapnode": (Boolean, "add it as a bootstrap server"), "exitnode": (Boolean, "add it as an exit")}))
    @response_schema(DefaultResponseSchema)
    async def handle_post(self, request: Request) -> Response:
        """Add what the body names."""
        if not await json_value(request):
            return _refuse('Parameters "ip" and "port" are required')
        body = await json_object(request)
        if missing(body, ("ip", "port")):
            return _refuse('Parameters "ip" and "port" are required')
        if "exitnode" not in body and "bootstrapnode" not in body:
            return _refuse('Parameter "exitnode" or "bootstrapnode" is required')
        if parse_host(text(body, "ip")) is None:
            raise BadRequest("ip must be an IP address") from ValueError("ip")
        port = number(body, "port", 0, 65535)  # tests of programs use port 0; nothing is ever sent there
        if port != int(port):
            raise BadRequest("port must be a whole number") from ValueError("port")
        address = body["ip"], int(port)
        if self.session is None:
            return _refuse("IPv8 is not running")
        if address not in self._added and len(self._added) >= MAX_ADDED_SERVERS:
            return _refuse(f"at most {MAX_ADDED_SERVERS} addresses can be added")
        self._added.add(address)
        if "exitnode" in body:
            self.add_exit_node(address)
        else:
            self.add_bootstrap_server(address)
        return Response({"success": True})


def _refuse(error: str) -> Response:
    return Response({"success": False, "error": error}, status=HTTP_BAD_REQUEST)


def _append(entries: list[Any], entry: Any) -> None:
    if entry not in entries:
        entries.append(entry)
