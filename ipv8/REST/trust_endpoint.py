"""``/trust``: whom the node trusts, and why (doc/trust.md)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aiohttp import web
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Raw, String

from ..service import IPv8
from ..trust.graph import TrustGraph
from .apidocs import docs, response_schema
from .base_endpoint import HTTP_NOT_FOUND, BaseEndpoint, FromNode, Response
from .observation.parts import graph_of
from .parameters import BadRequest, hexadecimal, limited
from .schema import DefaultResponseSchema, schema

if TYPE_CHECKING:
    from aiohttp.web import Request

__all__ = ["TrustEndpoint"]

MAX_NODES = 2000
"""Keys that one response has."""

MAX_DEPTH = 8
"""Steps from the own key to the keys that are shown."""

MAX_PATHS = 20
"""Ways to a key that are shown."""

SCORE = {"in": "query", "name": "name", "type": "string", "description": "the name of the score"}
NO_GRAPH = {404: {"schema": DefaultResponseSchema, "description": "The node has no trust graph."}}
WRONG = {**NO_GRAPH, 400: {"description": "An argument is impossible."}}


class TrustEndpoint(BaseEndpoint[IPv8]):
    """Shows the trust graph, and keeps keys out of it."""

    #: The graph that is shown; by default that of the node, or of one of its overlays.
    graph = FromNode[TrustGraph](graph_of)

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("/score/{pub_key}", self.get_score),
            web.get("/top", self.get_top),
            web.get("/graph", self.get_graph),
            web.get("/explain/{pub_key}", self.get_explanation),
            web.get("/statistics", self.get_statistics),
            web.get("/block", self.get_blocked),
            web.post("/block/{pub_key}", self.block),
            web.delete("/block/{pub_key}", self.unblock),
        ])

    def is_available(self, _: Request) -> bool:
        """Whether there is a graph."""
        return self.graph is not None

    @docs(tags=["Trust"], summary="How far a key is trusted.", parameters=[SCORE], responses=WRONG)
    @response_schema(schema(TrustScoreResponse={
        "public_key": String, "score": Float, "rank": Integer(allow_none=True),
        "confidence": List(Float(), metadata={"description": "low and high end"}), "fraud": Boolean}))
    async def get_score(self, request: Request) -> Response:
        """The score of a key; 0 for an unknown one."""
        if (graph := self.graph) is None:
            return _no_graph()
        key, name = hexadecimal(request, "pub_key", None), await _prepared(graph, request)
        return Response({"public_key": key.hex(), "score": graph.score(key, name), "rank": graph.rank(key, name),
                         "confidence": list(graph.confidence(key)), "fraud": graph.is_fraud(key)})

    @docs(tags=["Trust"], summary="The keys that are trusted most.", responses=WRONG, parameters=[
        {"in": "query", "name": "limit", "type": "integer", "description": "how many, 1 to 2000"}, SCORE])
    @response_schema(schema(TrustTopResponse={"peers": [schema(TrustedPeer={
        "public_key": String, "mid": String, "score": Float})]}))
    async def get_top(self, request: Request) -> Response:
        """The keys with the highest scores."""
        if (graph := self.graph) is None:
            return _no_graph()
        limit = limited(request, "limit", 100, 1, MAX_NODES)
        best = graph.top(limit, await _prepared(graph, request))
        return Response({"peers": [{"public_key": key.hex(), "mid": _mid(key), "score": score}
                                   for key, score in best]})

    @docs(tags=["Trust"], summary="The surroundings of the own key, to be drawn.", responses=WRONG, parameters=[
        {"in": "query", "name": "depth", "type": "integer", "description": "steps from the own key, 0 to 8"},
        {"in": "query", "name": "limit", "type": "integer", "description": "how many keys, 1 to 2000"}])
    @response_schema(schema(TrustGraphResponse={
        "root": String,
        "nodes": [schema(TrustNode={"id": Integer, "key": String, "score": Float, "pos": [Float]})],
        "edges": List(List(Raw()), metadata={"description": "two ids and a weight"})}))
    async def get_graph(self, request: Request) -> Response:
        """Keys with places, and the endorsements between them."""
        if (graph := self.graph) is None:
            return _no_graph()
        depth, limit = limited(request, "depth", 2, 0, MAX_DEPTH), limited(request, "limit", 500, 1, MAX_NODES)
        await graph.prepare()
        return Response(graph.to_json(depth, limit))

    @docs(tags=["Trust"], summary="Why a key has its score.", responses=WRONG, parameters=[
        {"in": "query", "name": "paths", "type": "integer", "description": "how many ways to it, 0 to 20"}, SCORE])
    @response_schema(schema(TrustExplanationResponse={
        "key": String, "name": String, "score": Float, "rank": Integer(allow_none=True), "confidence": List(Float()),
        "paths": [schema(TrustPath={"nodes": [String], "share": Float})], "dominator": String(allow_none=True),
        "direct": Dict(keys=String(), values=Float()), "fraud": Boolean}))
    async def get_explanation(self, request: Request) -> Response:
        """The ways by which trust reaches a key."""
        if (graph := self.graph) is None:
            return _no_graph()
        key, paths = hexadecimal(request, "pub_key", None), limited(request, "paths", 3, 0, MAX_PATHS)
        found = graph.explain(key, paths, await _prepared(graph, request))
        return Response({
            "key": found.key.hex(), "name": found.name, "score": found.score, "rank": found.rank,
            "confidence": list(found.confidence),
            "paths": [{"nodes": [node.hex() for node in path.nodes], "share": path.share} for path in found.paths],
            "dominator": None if found.dominator is None else found.dominator.hex(), "direct": dict(found.direct),
            "fraud": found.fraud})

    @docs(tags=["Trust"], summary="The size of the graph, and what it costs.", responses=NO_GRAPH)
    @response_schema(schema(TrustStatisticsResponse={
        "nodes": Integer, "edges": Integer, "walks": Integer, "visits": Integer, "events": Integer,
        "rewalks": Integer, "violations": Integer, "last_update_us": Float, "memory_estimate": Integer}))
    async def get_statistics(self, _: Request) -> Response:
        """Sizes and counters."""
        graph = self.graph
        return _no_graph() if graph is None else Response(graph.statistics())

    @docs(tags=["Trust"], summary="The keys that are blocked.", responses=WRONG, parameters=[
        {"in": "query", "name": "limit", "type": "integer", "description": "how many, 1 to 2000"}])
    @response_schema(schema(BlockedKeysResponse={"total": Integer, "keys": [String]}))
    async def get_blocked(self, request: Request) -> Response:
        """The keys under a veto, the oldest first."""
        if (graph := self.graph) is None:
            return _no_graph()
        keys = graph.blocked_keys()
        return Response({"total": len(keys), "keys": [key.hex() for key in keys[:limited(request, "limit", 100, 1,
                                                                                         MAX_NODES)]]})

    @docs(tags=["Trust"], summary="Trust a key no more, whatever others say.", responses=WRONG)
    @response_schema(DefaultResponseSchema)
    async def block(self, request: Request) -> Response:
        """Veto a key."""
        if (graph := self.graph) is None:
            return _no_graph()
        key = hexadecimal(request, "pub_key", None)
        if key == graph.root:
            raise BadRequest("the own key cannot be blocked") from ValueError("root")
        graph.block(key)
        return Response({"success": True})

    @docs(tags=["Trust"], summary="Take a veto back.", responses=WRONG)
    @response_schema(DefaultResponseSchema)
    async def unblock(self, request: Request) -> Response:
        """Let a key be trusted again."""
        if (graph := self.graph) is None:
            return _no_graph()
        graph.unblock(hexadecimal(request, "pub_key", None))
        return Response({"success": True})


async def _prepared(graph: TrustGraph, request: Request) -> str | None:
    """The name of the score that is asked for, which is ready until the caller awaits something else."""
    name = request.query.get("name")
    try:
        await graph.prepare(name)
    except (KeyError, RuntimeError) as e:
        raise BadRequest(str(e.args[0])) from e
    return name


def _mid(key: bytes) -> str:
    return hashlib.sha1(key, usedforsecurity=False).hexdigest()


def _no_graph() -> Response:
    return Response({"success": False, "error": "the node has no trust graph: add trust to its configuration"},
                    status=HTTP_NOT_FOUND)
