"""The DHT against the test vectors of the ecosystem (tests/vectors/dht.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ipv8.dht.community as community_module
from ipv8.dht import payload as payload_module
from ipv8.dht.community import Crawl, DHTCommunity
from ipv8.dht.payload import NodePacker, SignedStrPayload, StrPayload
from ipv8.dht.provider import DHTIntroPointPayload
from ipv8.dht.routing import Node, RoutingTable, calc_node_id, distance, id_to_binary_string
from ipv8.dht.storage import Storage
from ipv8.dht.trie import Trie
from ipv8.dht.values import newest, parse, sign, unsigned
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.serialization import ListOf, Serializer, default_serializer

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dht.json").read_text())
KEYS = VECTORS["keys"]


def to_address(spec: dict[str, Any]) -> Any:
    return (UDPv6Address if spec["family"] == "ipv6" else UDPv4Address)(spec["ip"], spec["port"])


def public_key(index: int) -> bytes:
    return bytes.fromhex(KEYS[index]["public_key"])


def private_key(index: int) -> Any:
    return default_eccrypto.key_from_private_bin(bytes.fromhex(KEYS[index]["private_key"]))


def test_constants() -> None:
    for name, value in VECTORS["constants"].items():
        assert getattr(community_module, name) == value, name
    assert DHTCommunity.community_id.hex() == VECTORS["community_id"]
    assert (b"\x00" + DHTCommunity.version + DHTCommunity.community_id).hex() == VECTORS["prefix"]


@pytest.mark.parametrize("vector", VECTORS["node_ids"])
def test_node_ids(vector: dict[str, Any]) -> None:
    assert calc_node_id(to_address(vector["address"]), bytes.fromhex(vector["mid"])).hex() == vector["node_id"]


def test_distances_and_bits() -> None:
    for vector in VECTORS["distances"]:
        assert f"{distance(bytes.fromhex(vector['a']), bytes.fromhex(vector['b'])):x}" == vector["distance_hex"]
    for vector in VECTORS["binary_strings"]:
        assert id_to_binary_string(bytes.fromhex(vector["id"])) == vector["bits"]


@pytest.mark.parametrize("vector", VECTORS["values"])
def test_values(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    value = bytes.fromhex(vector["serialized"])
    signer: Any = vector["signer"]
    made = sign(data, private_key(signer), vector["version"]) if vector["signed"] else unsigned(data)
    assert made == value
    assert len(value) == vector["length"]
    assert (len(value) <= community_module.MAX_ENTRY_SIZE) == vector["fits"]
    expected = public_key(signer) if vector["signed"] else None
    assert parse(value) == (data, expected, vector["version"] if vector["signed"] else 0)


def test_malformed_values_are_none() -> None:
    for vector in VECTORS["bad_values"]:
        value = bytes.fromhex(vector["serialized"])
        assert parse(value) is None


def test_surplus_bytes_that_are_signed_are_tolerated() -> None:
    for vector in VECTORS["values_lenient"]:
        assert parse(bytes.fromhex(vector["serialized"])) is not None


def test_post_processing() -> None:
    vector = VECTORS["post_process"]
    entries = [parse(bytes.fromhex(value)) for value in vector["input"]]
    result = newest(entry for entry in entries if entry is not None)
    assert result == [(bytes.fromhex(data), None if key is None else bytes.fromhex(key))
                      for data, key in (pair if isinstance(pair, list) else (pair["data"], pair["public_key"])
                                        for pair in vector["output"])]


def dht_serializer() -> Serializer:
    serializer = Serializer()
    serializer.add_packer("node-list", ListOf(NodePacker(serializer)))
    return serializer


def field(name: str, value: Any) -> Any:
    if name == "lan_address":
        return to_address(value)
    if name == "nodes":
        return [Node(bytes.fromhex(node["public_key"]), to_address(node["address"])) for node in value]
    if name == "values":
        return [bytes.fromhex(item) for item in value]
    return bytes.fromhex(value) if isinstance(value, str) else value


@pytest.mark.parametrize("vector", VECTORS["messages"])
def test_messages(vector: dict[str, Any]) -> None:
    payload_class = getattr(payload_module, vector["class"])
    assert payload_class.msg_id == vector["msg_id"]
    serializer = dht_serializer()
    values = {name: field(name, value) for name, value in vector["fields"].items()}
    payload = payload_class(**values)
    assert serializer.pack_serializable(payload).hex() == vector["body"]
    packet = bytes.fromhex(VECTORS["prefix"]) + bytes((vector["msg_id"],))
    packet += default_serializer.pack("varlenH", public_key(vector["signer"])) + bytes.fromhex(vector["body"])
    assert (packet + private_key(vector["signer"]).signature(packet)).hex() == vector["packet"]

    decoded, end = serializer.unpack_serializable(payload_class, bytes.fromhex(vector["body"]))
    assert end == len(vector["body"]) // 2
    for name, value in values.items():
        assert getattr(decoded, name) == value
    if "nodes" in values:
        assert [node.address for node in decoded.nodes] == [node.address for node in values["nodes"]]


def test_introduction_point() -> None:
    vector = VECTORS["intro_point"]
    payload = DHTIntroPointPayload(to_address(vector["address"]), vector["last_seen"],
                                   bytes.fromhex(vector["intro_public_key"])[10:],
                                   bytes.fromhex(vector["seeder_public_key"])[10:])
    data = default_serializer.pack_serializable(payload)
    assert data.hex() == vector["data"]
    assert unsigned(data).hex() == vector["serialized_value"]


def test_routing_table() -> None:
    vector = VECTORS["routing_table"]
    table = RoutingTable(bytes.fromhex(vector["my_id"]))
    for add in vector["adds"]:
        node = Node(bytes.fromhex(add["public_key"]), to_address(add["address"]))
        assert (table.add(node) is not None) == add["added"]
    assert {bucket.prefix_id: [node_id.hex() for node_id in bucket.nodes] for bucket in table.trie.values()
            } == vector["buckets"]
    for closest in vector["closest"]:
        found = table.closest_nodes(bytes.fromhex(closest["target"]), max_nodes=closest["max_nodes"])
        assert [node.id.hex() for node in found] == closest["ids"]


@pytest.mark.parametrize("vector", VECTORS["storage"], ids=lambda vector: vector["name"])
def test_storage(vector: dict[str, Any], manual_clock: Any) -> None:
    storage = Storage()
    start = manual_clock.now
    for step in vector["steps"]:
        manual_clock.now = start + step["t"]
        key = bytes.fromhex(step.get("key") or vector["steps"][0]["key"])
        if step["op"] == "put":
            storage.put(key, bytes.fromhex(step["data"]), id_=step["id"] and bytes.fromhex(step["id"]),
                        max_age=step["max_age"], version=step["version"])
        else:
            storage.clean()
        live = [value.data.hex() for value in storage.items.get(key, []) if not value.expired]
        # What has expired is gone, even where the reference still has it.
        assert live == [data for data in step["values_after"] if data in live]
        assert {data.hex() for data in storage.get(key)} == set(live)


def test_lifetimes() -> None:
    for entry in VECTORS["max_age_by_closer"]:
        assert 3600 >> max(0, entry["closer_nodes"] - 7) == entry["max_age"]


def test_crawl() -> None:
    vector = VECTORS["crawl"]
    pool = [Node(bytes.fromhex(entry["public_key"]), to_address(entry["address"])) for entry in vector["pool"]]
    rank = {node: index for index, node in enumerate(pool)}
    target = bytes.fromhex(vector["target"])
    table = RoutingTable(bytes(20))
    for index in (10, 12, 14):
        table.add(pool[index])
    crawl = Crawl(target, table)
    for step in vector["steps"]:
        event = step["event"]
        if "pop_and_respond" in event:
            todo = crawl.nodes_todo.pop(0)
            assert rank[todo.node_to_contact] == event["pop_and_respond"]
            crawl.nodes_tried.add(todo.node_to_contact)
            answer = {"values": [bytes.fromhex(value) for value in event["values"]]} if "values" in event else {
                "nodes": [pool[index] for index in event["nodes"]]}
            crawl.add_response(todo.node_to_contact, answer)
        todo_ranks = [[rank[todo.node_to_contact], todo.node_to_puncture and rank[todo.node_to_puncture]]
                      for todo in crawl.nodes_todo]
        assert todo_ranks == [list(pair) for pair in step["todo"]]
        assert sorted(rank[node] for node in crawl.nodes_tried) == sorted(step["tried"])
    assert [value.hex() for value in crawl.values] == vector["values"]
    candidate = crawl.cache_candidate
    assert (None if candidate is None else rank[candidate]) == vector["cache_candidate"]


def test_trie() -> None:
    vector = VECTORS["trie"]
    trie: Trie[Any] = Trie("01")
    for key, value in vector["items"].items():
        trie[key] = value
    for key, expected in vector["suffixes"].items():
        assert trie.suffixes(key) == expected
    for key, expected in vector["longest_prefix"].items():
        assert trie.longest_prefix(key, None) == expected


def test_value_payloads_are_what_values_are_made_of() -> None:
    assert default_serializer.pack_serializable(StrPayload(b"data")) == b"data"
    packed = default_serializer.pack_serializable(SignedStrPayload(b"d", 7, b"k"))
    assert packed == b"\x00\x01d\x00\x00\x00\x07\x00\x01k"
