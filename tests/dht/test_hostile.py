"""Whatever arrives, nothing breaks: decoders, values and handlers against arbitrary bytes."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8.dht import payload as payload_module
from ipv8.dht.payload import FindResponsePayload, NodePacker
from ipv8.dht.routing import Node
from ipv8.dht.values import newest, normalise_key, parse, sign, unsigned
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.serialization import ListOf, PackError, Serializer

KEY = default_eccrypto.generate_key("curve25519")
SERIALIZER = Serializer()
SERIALIZER.add_packer("node-list", ListOf(NodePacker(SERIALIZER)))
MESSAGES = [cls for cls in vars(payload_module).values() if isinstance(cls, type) and getattr(cls, "msg_id", None)]

ADDRESSES = st.one_of(
    st.builds(UDPv4Address, st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.builds(UDPv6Address, st.integers(1 << 120, (1 << 128) - 1).map(lambda number: str(IPv6Address(number))),
              st.integers(0, 65535)))
NODES = st.builds(lambda key, address: Node(b"LibNaCLPK:" + key, address),
                  st.binary(min_size=64, max_size=64), ADDRESSES)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2 ** 32 - 1), st.lists(st.binary(max_size=170), max_size=8), st.lists(NODES, max_size=8))
def test_find_responses_round_trip(identifier: int, values: list[bytes], nodes: list[Node]) -> None:
    packed = SERIALIZER.pack_serializable(FindResponsePayload(identifier, b"t" * 20, values, nodes))
    payload, end = SERIALIZER.unpack_serializable(FindResponsePayload, packed)
    assert end == len(packed)
    assert (payload.identifier, payload.values, payload.nodes) == (identifier, values, nodes)
    assert [node.address for node in payload.nodes] == [node.address for node in nodes]
    for cut in range(0, len(packed), 7):
        with pytest.raises(PackError):
            SERIALIZER.unpack_serializable(FindResponsePayload, packed[:cut])


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(MESSAGES), st.binary(max_size=300))
def test_arbitrary_bodies(payload_class: Any, data: bytes) -> None:
    with suppress(PackError):
        SERIALIZER.unpack_serializable_list([payload_class], data)


def test_a_node_without_a_key_is_left_out() -> None:
    good = Node(KEY, UDPv4Address("1.2.3.4", 5))
    packed = SERIALIZER.pack("node-list", [good, good])
    spoiled = packed.replace(b"LibNaCLPK:", b"LibNaCLPX:", 1)
    nodes, end = SERIALIZER.unpack("node-list", spoiled)
    assert nodes == [good]
    assert end == len(spoiled)
    assert b"LibNaCLSK" not in packed


@pytest.mark.parametrize("kind", [0, 2, 4])
def test_addresses_of_other_types_are_refused(kind: int) -> None:
    packed = bytearray(SERIALIZER.pack("node-list", [Node(KEY, UDPv4Address("1.2.3.4", 5))]))
    packed[1] = kind
    with pytest.raises(PackError):
        SERIALIZER.unpack("node-list", bytes(packed))


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=170).map(lambda tail: b"\x01" + tail)))
def test_arbitrary_values(value: bytes) -> None:
    entry = parse(value)
    if value[:1] == b"\x00":
        assert entry == (value[1:], None, 0)
    else:
        assert entry is None


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=23), st.integers(0, 2 ** 32 - 1), st.data())
def test_signed_values(content: bytes, version: int, data: st.DataObject) -> None:
    value = sign(content, KEY, version)
    assert parse(value) == (content, KEY.pub().key_to_bin(), version)
    index = data.draw(st.integers(1, len(value) - 1))
    spoiled = value[:index] + bytes((value[index] ^ data.draw(st.integers(1, 255)),)) + value[index + 1:]
    assert parse(spoiled) is None
    assert parse(value[:index]) is None


def test_the_newest_value_of_each_signer() -> None:
    other = default_eccrypto.generate_key("curve25519")
    values = [unsigned(b"loose"), sign(b"old", KEY, 1), sign(b"other", other, 7), sign(b"new", KEY, 2),
              sign(b"tie", KEY, 2)]
    entries = [entry for entry in map(parse, values) if entry]
    assert newest(entries) == [(b"new", KEY.pub().key_to_bin()), (b"other", other.pub().key_to_bin()), (b"loose", None)]


def test_keys_are_padded_and_cut() -> None:
    assert normalise_key(b"a") == b"a" + bytes(19)
    assert normalise_key(b"b" * 30) == b"b" * 20


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(msg_id=st.integers(1, 10), body=st.binary(max_size=120), signed=st.booleans())
async def test_arbitrary_packets(make_nodes: Any, msg_id: int, body: bytes, signed: bool) -> None:
    one, other = make_nodes(2)
    packet = one.get_prefix() + bytes((msg_id,))
    if signed:
        packet += other.serializer.pack("varlenH", other.my_peer.key_bin) + body
        packet += other.my_peer.key.signature(packet)
    else:
        packet += body
    one.on_packet((other.endpoint.wan_address, packet))
    assert sum(one.drops.values()) + len(one.endpoint.sent) <= 2
    assert sum(len(data) for _, data in one.endpoint.sent) <= 3 * len(packet)
