"""``/node``: what the node says of itself: health, traffic, peers, tables, the event loop and the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Nested, String

from .apidocs import docs, response_schema
from .base_endpoint import Response
from .observation import peers
from .observation.log import MAX_RECORDS
from .observing import ObservingEndpoint
from .paging import PAGE_SIZE, PAGE_START, page
from .parameters import BadRequest, limited
from .schema import Address, DefaultResponseSchema, schema

if TYPE_CHECKING:
    from aiohttp.web import Request

__all__ = ["NodeEndpoint"]

LONGEST_FILTER = 200
"""Characters of a text that is looked for."""

NUMBERS = 10**10 - 1
"""Above all ids of lines of the log."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

NOT_OBSERVED = {404: {"schema": DefaultResponseSchema, "description": "There is no node, or it is not observed."}}
WRONG = {**NOT_OBSERVED, 400: {"description": "An argument is impossible."}}
FILTER = {"in": "query", "name": "filter", "type": "string", "maxLength": LONGEST_FILTER}

REASON = schema(HealthReason={
    "level": (String, "ok, warning, problem, or unknown"), "name": String,
    "text": (String, "what is so, and what to do")})
PLACE = Nested(Address, allow_none=True)
COUNTS = {"bytes_up": Integer, "bytes_down": Integer, "packets_up": Integer, "packets_down": Integer}
ROW = List(Float())


def _seconds(description: str) -> Float:
    return Float(allow_none=True, metadata={"description": description})


class NodeEndpoint(ObservingEndpoint):
    """Shows how the node is."""

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("/overview", self.get_overview),
            web.get("/traffic", self.get_traffic),
            web.get("/peers", self.get_peers),
            web.get("/graph", self.get_graph),
            web.get("/tables", self.get_tables),
            web.get("/loop", self.get_loop),
            web.get("/log", self.get_log),
        ])

    @docs(tags=["Node"], summary="The node in short: whether it is well, and why.", responses=NOT_OBSERVED)
    @response_schema(schema(NodeOverview={
        "time": (Float, "seconds since the Unix epoch"), "version": String,
        "uptime": (Float, "seconds for which the node has been observed"),
        "keys": [schema(NodeKey={"alias": String, "mid": String, "public_key": String})],
        "addresses": [schema(NodeSocket={"interface": String, "ip": String, "port": Integer, "is_open": Boolean})],
        "wan": PLACE, "lan": PLACE,
        "health": schema(NodeHealth={"status": (String, "ok, warning or problem"), "reasons": [REASON]}),
        "nat": schema(NodeNat={"mapping": String, "reachable": Boolean(allow_none=True), "text": (String, "why")}),
        "peers": schema(NodePeerCounts={"total": Integer, "by_path": Dict(keys=String(), values=Integer()),
                                        "encrypted": Integer}),
        "loop": schema(NodeLoopSummary={"lag_p50": Float, "lag_p99": Float, "lag_max": Float,
                                        "slow_callbacks": Integer, "tasks": Integer}),
        "drops": schema(NodeDrops={"total": Integer, "last_minute": Integer,
                                   "by_reason": Dict(keys=String(), values=Integer())}),
        "traffic": schema(NodeTrafficSummary={**COUNTS, "bytes_up_per_second": Integer,
                                              "bytes_down_per_second": Integer}),
        "overlays": [schema(NodeOverlay={"id": String, "name": String, "peers": Integer, "max_peers": Integer})]}))
    async def get_overview(self, request: Request) -> Response:
        """The node in short."""
        return Response(self.observer(request).overview())

    @docs(tags=["Node"], summary="What was sent and received: by seconds, and by overlay and message.",
          responses=NOT_OBSERVED)
    @response_schema(schema(NodeTraffic={
        "interval": (Integer, "seconds between two entries of the history"),
        "history": List(ROW, metadata={"description": "time, bytes up and down, packets up and down"}),
        "overlays": [schema(OverlayTraffic={
            "id": String, "name": String, **COUNTS, "drops": Dict(keys=String(), values=Integer()),
            "messages": [schema(MessageTraffic={
                "id": (Integer, "-1 for all messages that nothing handles"), "name": String, **COUNTS,
                "handler": schema(HandlerTimes={
                    "count": Integer, "seconds": Float, "mean": _seconds("of one"), "p50": _seconds("half took less"),
                    "p99": _seconds("99 of 100 took less"), "max": _seconds("the longest")})})]})]}))
    async def get_traffic(self, request: Request) -> Response:
        """The traffic."""
        traffic = self.observer(request).traffic
        return Response({"interval": 1, "history": [list(entry) for entry in traffic.history],
                         "overlays": [overlay.to_dict() for overlay in traffic.overlays()]})

    @docs(tags=["Node"], summary="The peers, with the ways to them.", responses=WRONG, parameters=[
        PAGE_SIZE, PAGE_START, {"in": "query", "name": "sort", "type": "string", "description":
                        f"one of {', '.join(peers.SORTS)}; with - in front of it for the reverse order"},
        {**FILTER, "description": "a part of the address, mid, key, path or name of an overlay"}])
    @response_schema(schema(NodePeers={"total": Integer, "peers": [schema(NodePeer={
        "mid": String, "public_key": String, "address": Address, "path": (String, "how it is reached"),
        "round_trip": _seconds("of packets"), "encrypted": Boolean, "overlays": [String], "services": Integer,
        "last_heard": _seconds("since then"), "trust": Float(allow_none=True), "bytes_up": Integer(allow_none=True),
        "bytes_down": Integer(allow_none=True)})]}))
    async def get_peers(self, request: Request) -> Response:
        """A part of the table of peers."""
        node = self.observer(request).node
        sort = request.query.get("sort", "")
        if sort and sort.removeprefix("-") not in peers.SORTS:
            raise BadRequest(f"sort must be one of {', '.join(peers.SORTS)}, perhaps with - in front of it")
        rows = peers.table(node, sort, _filter(request))
        return Response({"total": len(rows), "peers": page(request, rows)})

    @docs(tags=["Node"], summary="The node and its peers as a graph.", responses=NOT_OBSERVED)
    @response_schema(schema(NodeGraph={
        "root": (String, "the mid of this node"),
        "nodes": [schema(NodeGraphNode={
            "mid": String, "address": PLACE, "path": String, "overlays": [String],
            "round_trip": _seconds("of packets")})],
        "edges": List(List(String()), metadata={"description": "two mids and peer, introduced or carries"})}))
    async def get_graph(self, request: Request) -> Response:
        """The graph."""
        return Response(peers.graph(self.observer(request).node))

    @docs(tags=["Node"], summary="The tables that have a cap, and how full they are.", responses=NOT_OBSERVED)
    @response_schema(schema(NodeTables={"tables": [schema(NodeTable={
        "owner": (String, "the class that it belongs to"), "name": String,
        "kind": (String, "table, budgets, queue or cache"), "size": Integer, "capacity": Integer,
        "rule": (String, "what happens to a further entry")})]}))
    async def get_tables(self, request: Request) -> Response:
        """All tables."""
        return Response({"tables": [row.to_dict() for row in self.observer(request).tables.rows()]})

    @docs(tags=["Node"], summary="How late the event loop is, and what keeps it busy.", responses=NOT_OBSERVED)
    @response_schema(schema(NodeLoop={
        "lag": schema(LoopLag={
            "p50": Float, "p99": Float, "max": Float,
            "history": List(ROW, metadata={"description": "time, and the largest lag of that second"})}),
        "slow": [schema(SlowCallback={"time": Float, "seconds": Float, "what": String})],
        "tasks": [schema(ManagerTasks={"manager": String, "count": Integer})], "debug": Boolean}))
    async def get_loop(self, request: Request) -> Response:
        """The event loop."""
        return Response(self.observer(request).loop_state())

    @docs(tags=["Node"], summary="The last lines of the log.", responses=WRONG, parameters=[
        {"in": "query", "name": "level", "type": "string", "enum": list(LEVELS), "description": "the least level"},
        {"in": "query", "name": "after", "type": "integer", "description": "the id of the last line that is known"},
        {"in": "query", "name": "limit", "type": "integer", "description": f"how many, 1 to {MAX_RECORDS}"},
        {**FILTER, "description": "a part of the message or of the name of the logger"}])
    @response_schema(schema(NodeLog={"last": (Integer, "the id of the last line"), "records": [schema(NodeLogRecord={
        "id": Integer, "time": Float, "level": String, "logger": String, "message": String})]}))
    async def get_log(self, request: Request) -> Response:
        """Some lines, the oldest first."""
        log = self.observer(request).log
        level = request.query.get("level", "")
        if level and level.upper() not in LEVELS:
            raise BadRequest(f"level must be one of {', '.join(LEVELS)}")
        records = log.select(logging.getLevelName(level.upper()) if level else logging.NOTSET,
                             limited(request, "after", 0, 0, NUMBERS) if "after" in request.query else None,
                             limited(request, "limit", 200, 1, MAX_RECORDS), _filter(request))
        return Response({"last": log.last_id, "records": [record.to_dict() for record in records]})


def _filter(request: Request) -> str:
    text: Any = request.query.get("filter", "")
    if len(text) > LONGEST_FILTER:
        raise BadRequest(f"filter must have at most {LONGEST_FILTER} characters")
    return str(text)
