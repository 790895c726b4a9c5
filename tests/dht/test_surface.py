"""The public names of the overlays of the DHT: those that programs know, and others that have a reason."""

from __future__ import annotations

from typing import Any

from ipv8.community import Community
from ipv8.dht.community import DHTCommunity
from ipv8.dht.discovery import DHTDiscoveryCommunity

KNOWN_TO_PROGRAMS = {
    "add_value", "check_token", "find", "find_nodes", "find_values", "generate_token", "get_address_class",
    "get_my_node_id", "get_requesting_node", "get_routing_table", "get_storage", "node_maintenance",
    "on_find_request", "on_find_response", "on_node_discovered", "on_ping_request", "on_ping_response",
    "on_store_request", "on_store_response", "ping", "post_process_values", "request_cache", "routing_tables",
    "serialize_value", "storages", "store_on_nodes", "store_value", "token_maintenance", "token_secrets", "tokens",
    "unserialize_value", "value_maintenance",
}
DISCOVERY_KNOWN_TO_PROGRAMS = {
    "connect_peer", "find_node_in_dict", "on_connect_peer_request", "on_connect_peer_response",
    "on_store_peer_request", "on_store_peer_response", "ping_all", "send_connect_peer_request",
    "send_store_peer_request", "store", "store_for_me", "store_peer",
}
OTHERS = {
    "admission": "a part: limits for requests, proofs of addresses",
    "driver": "a part: runs lookups and replications",
    "finder": "a part: lookups",
    "measurements": "a part: how nodes answer",
    "publications": "a part: values that are stored again",
    "replicator": "a part: stores",
    "requester": "a part: requests",
    "snapshot": "a part: the database",
    "token_issuer": "a part: tokens of this node",
    "admit": "the way into the routing tables, which PingChurn uses",
    "on_pinged": "for subclasses, which need not verify a ping again",
    "on_ponged": "likewise",
    "request_puncture": "for the handlers of both classes",
    "unpublish": "ends what store_value(..., republish=True) begins",
}


class Plain(Community):
    """What every overlay has."""

    community_id = b"p" * 20


def public_names(overlay: Any) -> set[str]:
    return {name for name in dir(overlay) if not name.startswith("_")}


async def test_no_other_names(make_nodes: Any) -> None:
    plain, dht, discovery = (make_nodes(1, overlay)[0] for overlay in (Plain, DHTCommunity, DHTDiscoveryCommunity))
    assert public_names(dht) - public_names(plain) == (KNOWN_TO_PROGRAMS | set(OTHERS)) - public_names(plain)
    assert public_names(discovery) - public_names(dht) == DISCOVERY_KNOWN_TO_PROGRAMS
    assert not {name for name in OTHERS if hasattr(plain, name)}
