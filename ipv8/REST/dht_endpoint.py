"""``/dht``: the DHT of the node."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow.fields import Dict, Float, Integer, List, Raw, String

from .. import clock
from ..dht import DHTError
from ..dht.community import MAX_ENTRY_SIZE, DHTCommunity
from ..dht.discovery import DHTDiscoveryCommunity
from ..dht.routing import NODE_STATUS_BAD, NODE_STATUS_GOOD, NODE_STATUS_UNKNOWN, calc_node_id, distance
from ..messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE
from ..service import IPv8
from .apidocs import docs, json_schema, response_schema
from .base_endpoint import HTTP_BAD_REQUEST, HTTP_NOT_FOUND, BaseEndpoint, FromNode, Response, changes_state
from .paging import PAGE_SIZE, PAGE_START, page
from .parameters import ID_BYTES, BadRequest, hexadecimal, json_object, unhexadecimal
from .schema import DefaultResponseSchema, DHTValueSchema, schema

if TYPE_CHECKING:
    from aiohttp.web import Request

    from ..dht.routing import Bucket

__all__ = ["DHTEndpoint"]

TABLE = schema(DHTTable={
    "endpoint": String, "node_id": String, "routing_table_size": Integer, "routing_table_buckets": Integer,
    "num_keys_in_store": Integer})
STATISTICS = schema(DHTStats={
    "peer_id": String, "num_tokens": Integer, "endpoints": [TABLE],
    "num_peers_in_store": (Dict(keys=String(), values=Integer())),
    "num_store_for_me": (Dict(keys=String(), values=Integer()))})
DEBUG = schema(DHTDebug={"requests": Integer, "responses": Integer, "responses_with_nodes": Integer,
                         "responses_with_values": Integer, "time": Float})
BUCKET = schema(Bucket={
    "prefix": String, "last_changed": Float, "endpoint": String,
    "peers": [schema(BucketPeer={
        "ip": String, "port": Integer, "mid": String, "id": String, "failed": Integer, "last_contact": Float,
        "status": (String, "good, unknown or bad"), "rtt": (Float, "seconds; 0 if none was measured"),
        "distance": (Integer, "of the ids, with up to 160 bits"),
        "distance_hex": (String, "the same, since some programs round such numbers")})]})
STATUS = {NODE_STATUS_GOOD: "good", NODE_STATUS_UNKNOWN: "unknown", NODE_STATUS_BAD: "bad"}
LOOKUP = schema(DHTLookup={
    "id": Integer, "target": String, "kind": (String, "nodes or values"),
    "started": (Float, "seconds since the Unix epoch"), "state": (String, "started or finished"),
    "nodes_asked": Integer, "values": Integer,
    "seconds": Float(allow_none=True, metadata={"description": "how long it took; null while it runs"}),
    "course": List(List(Raw()), metadata={
        "description": "for each step: seconds since the start, bits that the ids of the node and of the target have "
                       "in common, and asked, answered or failed"})})
UNAVAILABLE = {"schema": DefaultResponseSchema, "description": "There is no DHT."}
NO_NODES = {"description": "The DHT found no nodes, or none answered as it should."}
WRONG = {"description": "An argument is missing or impossible."}


class DHTEndpoint(BaseEndpoint[IPv8]):
    """Shows the DHT, and stores and finds values."""

    dht = FromNode[DHTCommunity](lambda node: node.get_overlay(DHTCommunity))
    publisher = None

    def setup_routes(self) -> None:
        """Add the routes."""
        self.app.add_routes([
            web.get("/statistics", self.get_statistics),
            web.get("/values", self.get_stored_values),
            web.get("/values/{key}", self.get_values),
            web.put("/values/{key}", self.put_value),
            web.get("/peers/{mid}", self.get_peer),
            web.get("/lookups", self.get_lookups),
            web.get("/buckets", self.get_buckets),
            web.get(r"/buckets/{prefix:\w*}/refresh", self.refresh_bucket, allow_head=False),
            web.post(r"/buckets/{prefix:\w*}/refresh", self.post_refresh),
        ])

    def is_available(self, _: Request) -> bool:
        """Whether there is a DHT."""
        return self.dht is not None

    @docs(tags=["DHT"], summary="The sizes of the tables of the DHT.", responses={404: UNAVAILABLE})
    @response_schema(schema(DHTStatsResponse={"statistics": STATISTICS}))
    async def get_statistics(self, _: Request) -> Response:
        """How large the tables are."""
        dht = self.dht
        if dht is None:
            return _not_found()
        tables = []
        for family, table in dht.routing_tables.items():
            address = dht.my_peer.addresses.get(family) or dht.my_estimated_wan
            buckets = table.trie.values()
            storage = dht.storages.get(family)
            tables.append({
                "endpoint": FAST_ADDR_TO_INTERFACE.get(family, family.__name__),
                "node_id": calc_node_id(address, dht.my_peer.mid).hex(),
                "routing_table_size": sum(len(bucket.nodes) for bucket in buckets),
                "routing_table_buckets": len(buckets),
                "num_keys_in_store": 0 if storage is None else len(storage.items),
            })
        statistics: dict[str, Any] = {"peer_id": dht.my_peer.mid.hex(), "num_tokens": len(dht.tokens),
                                      "endpoints": tables}
        if isinstance(dht, DHTDiscoveryCommunity):
            statistics["num_peers_in_store"] = {key.hex(): len(nodes) for key, nodes in dht.store.items()}
            statistics["num_store_for_me"] = {key.hex(): len(nodes) for key, nodes in dht.store_for_me.items()}
        return Response({"statistics": statistics})

    @docs(tags=["DHT"], summary="The values that this node stores for others, by their keys.",
          responses={404: UNAVAILABLE, 400: WRONG}, parameters=[PAGE_SIZE, PAGE_START])
    @response_schema(schema(DHTStoredValuesResponse={}))
    async def get_stored_values(self, request: Request) -> Response:
        """The stored values; limit and offset count keys."""
        dht = self.dht
        if dht is None:
            return _not_found()
        stored: dict[str, list[dict[str, Any]]] = {}
        keys = dict.fromkeys(key for storage in dht.storages.values() for key in storage.items)
        for key in page(request, keys):
            for family, storage in dht.storages.items():
                name = FAST_ADDR_TO_INTERFACE.get(family, family.__name__)
                values = dht.post_process_values(storage.get(key)) if key in storage.items else []
                stored.setdefault(key.hex(), []).extend(
                    {"endpoint": name, **_value(key, data, signer)} for data, signer in values)
        return Response(stored)

    @docs(tags=["DHT"], summary="Find the values of a key.", responses={404: UNAVAILABLE, 503: NO_NODES, 400: WRONG})
    @response_schema(schema(DHTValuesResponse={"values": [DHTValueSchema], "debug": DEBUG}))
    async def get_values(self, request: Request) -> Response:
        """The values of a key, and how they were found."""
        dht = self.dht
        if dht is None:
            return _not_found()
        key = hexadecimal(request, "key")
        started = clock.monotonic()
        values, crawls = await dht.find_values(key, 0, True)
        responses = [response for crawl in crawls for _, response in crawl.responses]
        tried = {node for crawl in crawls for node in crawl.nodes_tried}
        debug = {"requests": len(tried), "responses": len(responses),
                 "responses_with_nodes": sum("nodes" in response for response in responses),
                 "responses_with_values": sum("values" in response for response in responses),
                 "time": clock.monotonic() - started}
        return Response({"values": [_value(key, data, signer) for data, signer in values], "debug": debug})

    @docs(tags=["DHT"], summary="Store a value, signed by this node.",
          responses={404: UNAVAILABLE, 503: NO_NODES, 400: WRONG})
    @json_schema(schema(DHTStoreRequest={"value*": (String, "the value, as hexadecimal digits")}))
    @response_schema(DefaultResponseSchema)
    async def put_value(self, request: Request) -> Response:
        """Store a value."""
        dht = self.dht
        if dht is None:
            return _not_found()
        body = await json_object(request)
        if "value" not in body:
            return _refuse("incorrect parameters")
        value = unhexadecimal(body["value"], "value")
        key = hexadecimal(request, "key")
        if len(dht.serialize_value(value, True)) > MAX_ENTRY_SIZE:
            raise BadRequest("the value is too long") from DHTError("Maximum length exceeded")
        await dht.store_value(key, value, sign=True)
        return Response({"success": True})

    @docs(tags=["DHT"], summary="Find the addresses of a peer.",
          responses={404: UNAVAILABLE, 503: NO_NODES, 400: WRONG})
    @response_schema(schema(DHTPeerResponse={"peers": [schema(DHTPeer={
        "public_key": String, "address": List(Raw(), metadata={"description": "IP address and port"})})]}))
    async def get_peer(self, request: Request) -> Response:
        """The addresses of the owner of a key."""
        dht = self.dht
        if not isinstance(dht, DHTDiscoveryCommunity):
            return _not_found()
        nodes = await dht.connect_peer(hexadecimal(request, "mid"))
        return Response({"peers": [{"public_key": base64.b64encode(node.public_key.key_to_bin()).decode(),
                                    "address": list(node.address[:2])} for node in nodes]})

    @docs(tags=["DHT"], summary="The lookups that run, then the last ones that have ended.")
    @response_schema(schema(DHTLookupsResponse={"lookups": [LOOKUP]}))
    async def get_lookups(self, _: Request) -> Response:
        """The lookups of this node and how they went, each the newest first."""
        dht = self.dht
        records = [] if dht is None else dht.lookups.records()
        return Response({"lookups": [{**record.to_dict(), "course": record.course} for record in records]})

    @docs(tags=["DHT"], summary="The buckets of the routing tables.")
    @response_schema(schema(BucketsResponse={"buckets": [BUCKET]}))
    async def get_buckets(self, _: Request) -> Response:
        """All buckets with their nodes."""
        dht = self.dht
        tables = {} if dht is None else dht.routing_tables
        return Response({"buckets": [
            _bucket(bucket, table.my_node_id, FAST_ADDR_TO_INTERFACE.get(family, family.__name__))
            for family, table in tables.items() for bucket in table.trie.values()]})

    @docs(tags=["DHT"], summary="Look for nodes of a bucket.", responses={400: WRONG})
    @response_schema(DefaultResponseSchema)
    @changes_state
    async def refresh_bucket(self, request: Request) -> Response:
        """Look for a random id that belongs into a bucket."""
        dht = self.dht
        if dht is None:
            return _refuse("DHT community is not loaded")
        prefix = request.match_info["prefix"]
        buckets = [bucket for table in dht.routing_tables.values() for bucket in table.trie.values()
                   if bucket.prefix_id == prefix]
        if not buckets:
            return _refuse("no such bucket")
        error = None
        for bucket in buckets:
            try:
                await dht.find_values(bucket.generate_id())
            except DHTError as e:  # noqa: PERF203 - there are two tables at most
                error = e
            else:
                return Response({"success": True})
        return Response({"success": False, "error": str(error)})

    @docs(tags=["DHT"], summary="Look for nodes of a bucket.", responses={400: WRONG})
    @response_schema(DefaultResponseSchema)
    async def post_refresh(self, request: Request) -> Response:
        """As :meth:`refresh_bucket`."""
        return await self.refresh_bucket(request)


def _value(key: bytes, data: bytes, signer: bytes | None) -> dict[str, Any]:
    return {"public_key": None if signer is None else base64.b64encode(signer).decode(), "key": key.hex(),
            "value": data.hex()}


def _bucket(bucket: Bucket, my_node_id: bytes, interface: str) -> dict[str, Any]:
    return {
        "prefix": bucket.prefix_id, "last_changed": bucket.last_changed, "endpoint": interface,
        "peers": [{"ip": node.address[0], "port": node.address[1], "mid": node.mid.hex(), "id": node.id.hex(),
                   "failed": node.failed, "last_contact": node.last_contact,
                   "status": STATUS[node.status], "rtt": node.rtt,
                   **_distance(node.id, my_node_id)}
                  for node in tuple(bucket.nodes.values())],
    }


def _distance(one: bytes, other: bytes) -> dict[str, Any]:
    found = distance(one, other)
    return {"distance": found, "distance_hex": f"{found:0{2 * ID_BYTES}x}"}


def _not_found() -> Response:
    return Response({"success": False, "error": "DHT community not found"}, status=HTTP_NOT_FOUND)


def _refuse(error: str) -> Response:
    return Response({"success": False, "error": error}, status=HTTP_BAD_REQUEST)
