"""``/overlays``: the overlays of the node, and what they send and receive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Nested, String

from ..community import Community
from ..service import IPv8
from .apidocs import docs, json_schema, response_schema
from .base_endpoint import HTTP_BAD_REQUEST, HTTP_PRECONDITION_FAILED, BaseEndpoint, Response
from .paging import PAGE_SIZE, PAGE_START, page
from .parameters import BadRequest, boolean, json_object, text
from .schema import DefaultResponseSchema, OverlaySchema, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp.web import Request

    from ..messaging.interfaces.network_stats import NetworkStat

__all__ = ["OverlaysEndpoint"]

LONGEST_CHAIN = 8
"""Endpoints inside of each other that are looked at for one that counts."""

MEASURED = schema(MessageStatistics={
    "identifier": Integer, "num_up": Integer, "num_down": Integer, "bytes_up": Integer, "bytes_down": Integer,
    "first_measured_up": Float, "first_measured_down": Float, "last_measured_up": Float, "last_measured_down": Float})
FIELDS = frozenset(OverlaySchema._declared_fields)
"""The fields of an overlay."""


class OverlaysEndpoint(BaseEndpoint[IPv8]):
    """Shows the overlays, and what is counted of them."""

    def __init__(self) -> None:
        #: Whether messages can be counted.
        self.statistics_supported = False
        super().__init__()

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("", self.get_overlays),
            web.get("/statistics", self.get_statistics),
            web.post("/statistics", self.enable_statistics),
        ])

    def initialize(self, session: IPv8) -> None:
        """Show this node."""
        super().initialize(session)
        self.statistics_supported = self._counter() is not None

    def _counter(self) -> Any:
        """The endpoint of the node that counts messages, or the one inside of it that does; ``None`` without one.

        It may be of another library, so that it is known by its method.
        """
        endpoint: Any = getattr(self.session, "endpoint", None)
        for _ in range(LONGEST_CHAIN):
            if callable(getattr(type(endpoint), "get_aggregate_statistics", None)):
                return endpoint
            endpoint = getattr(endpoint, "endpoint", None)
            if endpoint is None:
                break
        return None

    def get_communities(self) -> Iterator[Community]:
        """The overlays that are communities."""
        overlays = () if self.session is None else tuple(self.session.overlays)
        yield from (overlay for overlay in overlays if isinstance(overlay, Community))

    @docs(tags=["Overlays"], summary="The overlays of the node.", parameters=[
        PAGE_SIZE, PAGE_START,
        {"in": "query", "name": "fields", "type": "string", "description":
         "names of fields with commas between them, as in id,overlay_name; all without it"},
        {"in": "query", "name": "peers", "type": "string", "description": "0 to leave out the peers"}],
          responses={400: {"description": "An argument is impossible."}})
    @response_schema(schema(OverlayResponse={"overlays": [OverlaySchema]}))
    async def get_overlays(self, request: Request) -> Response:
        """The overlays, with their peers; limit and offset are for the peers of each."""
        counter = self._counter()
        fields = _wanted(request)
        return Response({"overlays": [self._describe(overlay, counter, fields, request)
                                      for overlay in self.get_communities()]})

    def _describe(self, overlay: Community, counter: Any, fields: frozenset[str], request: Request) -> dict[str, Any]:
        described = self._without_peers(overlay, counter)
        peers = page(request, overlay.get_peers()) if "peers" in fields else []
        described["peers"] = [
            {"ip": peer.address[0], "port": peer.address[1], "public_key": peer.key_bin.hex()} for peer in peers]
        return described if fields == FIELDS else {name: described[name] for name in described if name in fields}

    def _without_peers(self, overlay: Community, counter: Any) -> dict[str, Any]:
        assert self.session is not None, "asked for an overlay of the node"
        return {
            "id": overlay.community_id.hex(),
            "my_peer": overlay.my_peer.public_key.key_to_bin().hex(),
            "global_time": overlay.global_time,
            "peers": [],
            "overlay_name": type(overlay).__name__,
            "statistics": {} if counter is None else counter.get_aggregate_statistics(overlay.get_prefix()),
            "max_peers": overlay.max_peers,
            "is_isolated": self.session.network != overlay.network,
            "my_estimated_wan": {"ip": overlay.my_estimated_wan[0], "port": overlay.my_estimated_wan[1]},
            "my_estimated_lan": {"ip": overlay.my_estimated_lan[0], "port": overlay.my_estimated_lan[1]},
            "strategies": [{"name": type(strategy).__name__, "target_peers": target_peers}
                           for strategy, target_peers in self.session.strategies
                           if getattr(strategy, "overlay", None) is overlay],
        }

    @docs(tags=["Overlays"], summary="What was sent and received, for each overlay and message.")
    @response_schema(schema(StatisticsResponse={
        "statistics": List(Dict(keys=String(), values=Dict(keys=String(), values=Nested(MEASURED))))}))
    async def get_statistics(self, _: Request) -> Response:
        """What is counted for each message."""
        counter = self._counter()
        communities = () if counter is None else self.get_communities()
        return Response({"statistics": [
            {type(overlay).__name__: self.statistics_by_name(counter.get_statistics(overlay.get_prefix()), overlay)}
            for overlay in communities]})

    def statistics_by_name(self, statistics: Mapping[int, NetworkStat], overlay: Any) -> dict[str, dict[str, Any]]:
        """The statistics of an overlay, by message number and name of the handler."""
        named = {}
        for identifier, measured in tuple(statistics.items()):
            handler = overlay.decode_map[identifier]
            named[f"{identifier}:{getattr(handler, '__name__', 'unknown')}"] = measured.to_dict()
        return named

    @docs(tags=["Overlays"], summary="Begin or stop to count the messages of overlays.", responses={
        412: {"schema": DefaultResponseSchema, "description": "The node does not count, or no overlay is named."},
        400: {"schema": DefaultResponseSchema, "description": "An argument is missing or impossible."}})
    @json_schema(schema(EnableStatisticsRequest={
        "enable*": (Boolean, "whether to count"), "all": (Boolean, "for all overlays"),
        "overlay_name": (String, "the class of the overlays")}))
    @response_schema(DefaultResponseSchema)
    async def enable_statistics(self, request: Request) -> Response:
        """Count from now on, or do not."""
        if self.session is None:
            return _refuse("IPv8 is not running", HTTP_PRECONDITION_FAILED)
        if not self.statistics_supported:
            return _refuse("StatisticsEndpoint is not enabled.", HTTP_PRECONDITION_FAILED)
        body = await json_object(request)
        if "enable" not in body:
            return _refuse('Parameter "enable" is required', HTTP_BAD_REQUEST)
        if "all" not in body and "overlay_name" not in body:
            return _refuse('Parameter "all" or "overlay_name" is required', HTTP_PRECONDITION_FAILED)
        self.enable_overlay_statistics(boolean(body, "enable"),
                                       text(body, "overlay_name") if "overlay_name" in body else None,
                                       "all" in body and boolean(body, "all"))
        return Response({"success": True})

    def enable_overlay_statistics(self, enable: bool = False, class_name: str | None = None,
                                  all_overlays: bool = False) -> None:
        """Begin or stop to count.

        :param class_name: of the overlays.
        :param all_overlays: whether it is for all of them.
        """
        counter = self._counter()
        if counter is None:
            return
        for overlay in self.get_communities():
            if all_overlays or type(overlay).__name__ == class_name:
                counter.enable_community_statistics(overlay.get_prefix(), enable)


def _wanted(request: Request) -> frozenset[str]:
    """The fields of overlays that a request asks for."""
    names = request.query.get("fields")
    fields = FIELDS if names is None else frozenset(names.split(","))
    if not fields <= FIELDS:
        raise BadRequest(f"fields must be of {', '.join(sorted(FIELDS))}")
    return fields if "peers" not in request.query or boolean({**request.query}, "peers") else fields - {"peers"}


def _refuse(error: str, status: int) -> Response:
    return Response({"success": False, "error": error}, status=status)
