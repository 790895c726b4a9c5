"""Find-requests that show that they are new."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.dht.freshness import FIND_SIZE, Freshness
from ipv8.dht.payload import FindRequestPayload
from ipv8.dht.routing import Node
from ipv8.dht.tokens import ReceivedTokens
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.serialization import default_serializer

KEY = b"k" * 20
LAN = UDPv4Address("192.168.1.1", 7)
ADDRESS = UDPv4Address("21.1.1.1", 7)
NODE = Node(default_eccrypto.generate_key("curve25519").pub(), ADDRESS)


def freshness(token: bytes, received: bytes | None = None) -> Freshness:
    tokens = ReceivedTokens()
    if received is not None:
        tokens.note(NODE.id, received)
    return Freshness(tokens, lambda _: token, default_serializer.pack_serializable)


def marked(token: bytes, **changes: Any) -> FindRequestPayload:
    payload = FindRequestPayload(**{"identifier": 77, "lan_address": LAN, "target": KEY, "offset": 0,
                                    "force_nodes": True, **changes})
    payload.identifier |= freshness(token).mark(NODE, payload) << 16
    return payload


def test_the_owner_of_the_token_sees_the_mark() -> None:
    payload = marked(b"t" * 20)
    assert payload.identifier & 0xffff == 77
    assert freshness(bytes(20), b"t" * 20).is_marked(ADDRESS, NODE.mid, payload)
    packed = default_serializer.pack_serializable(payload)
    assert len(packed) == FIND_SIZE
    assert freshness(bytes(20), b"t" * 20).is_marked(ADDRESS, NODE.mid, packed)


@pytest.mark.parametrize("received", [None, b"u" * 20])
def test_nobody_else_does(received: bytes | None) -> None:
    assert not freshness(bytes(20), received).is_marked(ADDRESS, NODE.mid, marked(b"t" * 20))


@pytest.mark.parametrize("field", [{"identifier": 78}, {"target": bytes(20)}, {"offset": 1}, {"force_nodes": False},
                                   {"lan_address": UDPv4Address("192.168.1.2", 7)}])
def test_the_mark_is_one_of_the_whole_request(field: dict[str, Any]) -> None:
    payload = marked(b"t" * 20)
    for name, value in field.items():
        setattr(payload, name, (payload.identifier & ~0xffff) | value if name == "identifier" else value)
    assert not freshness(bytes(20), b"t" * 20).is_marked(ADDRESS, NODE.mid, payload)


def test_a_token_is_that_of_an_address() -> None:
    there = freshness(bytes(20), b"t" * 20)
    assert not there.is_marked(UDPv4Address("99.1.1.1", 7), NODE.mid, marked(b"t" * 20))
    assert not there.is_marked(ADDRESS, bytes(20), marked(b"t" * 20))


def test_no_mark_where_it_does_not_fit() -> None:
    over_ipv6 = Node(NODE.public_key, UDPv6Address("2a00::1", 7))
    payload = FindRequestPayload(77, LAN, KEY, 0, True)
    assert freshness(b"t" * 20).mark(over_ipv6, payload) == 0
    assert freshness(b"t" * 20).mark(NODE, FindRequestPayload(77, UDPv6Address("fd00::1", 7), KEY, 0, True)) == 0


def test_malformed_requests_have_no_mark() -> None:
    for data in (b"", b"\0", bytes(FIND_SIZE - 1), bytes(FIND_SIZE)):
        assert not freshness(bytes(20), b"t" * 20).is_marked(ADDRESS, NODE.mid, data)
