"""``/noblockdht``: looks for a peer in the DHT without letting the caller wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from ..dht import DHTError
from ..dht.discovery import DHTDiscoveryCommunity
from ..service import IPv8
from .apidocs import docs, response_schema
from .base_endpoint import HTTP_NOT_FOUND, BaseEndpoint, FromNode, Response, changes_state
from .parameters import hexadecimal
from .schema import DefaultResponseSchema

if TYPE_CHECKING:
    from aiohttp.web import Request

__all__ = ["NoBlockDHTEndpoint"]

logger = logging.getLogger(__name__)

MAX_SEARCHES = 16
"""Searches that run at the same time; further ones are refused."""


class NoBlockDHTEndpoint(BaseEndpoint[IPv8]):
    """Has the owner of a key send a puncture to this node, if the DHT knows it."""

    dht = FromNode[DHTDiscoveryCommunity](lambda node: node.get_overlay(DHTDiscoveryCommunity))

    def __init__(self) -> None:
        self._searches: set[str] = set()
        super().__init__()

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([web.get("/{mid}", self.handle_get, allow_head=False),
                             web.post("/{mid}", self.handle_post)])

    def is_available(self, _: Request) -> bool:
        """Whether there is a DHT that finds peers."""
        return self.dht is not None

    @docs(tags=["DHT"], summary="Look for a peer, and do not wait until it is found.", responses={
        404: {"schema": DefaultResponseSchema, "description": "There is no DHT."},
        429: {"schema": DefaultResponseSchema, "description": "Too many searches run."}})
    @response_schema(DefaultResponseSchema)
    @changes_state
    async def handle_get(self, request: Request) -> Response:
        """Begin to look for a peer."""
        return self._begin(request)

    @docs(tags=["DHT"], summary="Look for a peer, and do not wait until it is found.", responses={
        404: {"schema": DefaultResponseSchema, "description": "There is no DHT."},
        429: {"schema": DefaultResponseSchema, "description": "Too many searches run."}})
    @response_schema(DefaultResponseSchema)
    async def handle_post(self, request: Request) -> Response:
        """Begin to look for a peer."""
        return self._begin(request)

    def _begin(self, request: Request) -> Response:
        dht = self.dht
        if dht is None:
            return Response({"error": "DHT community not found"}, status=HTTP_NOT_FOUND)
        mid = hexadecimal(request, "mid")
        name = f"search {mid.hex()}"
        self._searches = {other for other in self._searches if dht.is_pending_task_active(other)}
        if name not in self._searches:
            if len(self._searches) >= MAX_SEARCHES:
                return Response({"success": False, "error": "too many searches run: try again later"}, status=429)
            self._searches.add(name)
            dht.register_task(name, _search, dht, mid)
        return Response({"success": True})


async def _search(dht: DHTDiscoveryCommunity, mid: bytes) -> None:
    try:
        await dht.connect_peer(mid)
    except DHTError as e:
        logger.info("The peer %s was not found: %s", mid.hex(), e)
    else:
        logger.info("The peer %s was found", mid.hex())
