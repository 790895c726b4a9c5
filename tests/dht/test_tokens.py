"""Tokens that a node makes, and those that it received."""

from __future__ import annotations

from typing import Any

from ipv8.dht import tokens as tokens_module
from ipv8.dht.routing import Node
from ipv8.dht.tokens import ReceivedTokens, TokenIssuer
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address

KEY = default_eccrypto.generate_key("curve25519")
NODE_ID = b"n" * 20


def test_a_token_is_bound_to_address_key_and_secret() -> None:
    issuer = TokenIssuer()
    issuer.renew()
    node = Node(KEY, UDPv4Address("1.2.3.4", 5))
    token = issuer.make(node)
    assert len(token) == 20
    assert issuer.accepts(Node(KEY.pub(), ("1.2.3.4", 5)), token)
    assert not issuer.accepts(Node(KEY, UDPv4Address("1.2.3.4", 6)), token)
    assert not issuer.accepts(Node(KEY, UDPv4Address("1.2.3.5", 5)), token)
    assert not issuer.accepts(Node(default_eccrypto.generate_key("curve25519"), node.address), token)
    issuer.renew()
    assert issuer.accepts(node, token)
    assert issuer.make(node) != token
    issuer.renew()
    assert not issuer.accepts(node, token)


def test_received_tokens_are_used_for_a_while(two_clocks: Any) -> None:
    tokens = ReceivedTokens()
    assert tokens.usable(NODE_ID) is None
    tokens.note(NODE_ID, b"t" * 20)
    assert tokens == {NODE_ID: (two_clocks.wall, b"t" * 20)}
    two_clocks.advance(279)
    assert tokens.usable(NODE_ID) == b"t" * 20
    two_clocks.advance(1)
    assert tokens.usable(NODE_ID) is None
    two_clocks.advance(320)
    tokens.drop_expired()
    assert NODE_ID in tokens
    two_clocks.advance(1)
    tokens.drop_expired()
    assert not tokens


def test_steps_of_the_wall_clock_do_not_change_the_age_of_a_token(two_clocks: Any) -> None:
    tokens = ReceivedTokens()
    tokens.note(NODE_ID, b"t" * 20)
    for step in (86400, -2 * 86400):
        two_clocks.wall += step
        tokens.drop_expired()
        assert tokens.usable(NODE_ID) == b"t" * 20
    two_clocks.advance(300)
    assert tokens.usable(NODE_ID) is None


def test_programs_write_tokens_with_wall_times(two_clocks: Any) -> None:
    tokens = ReceivedTokens()
    tokens[NODE_ID] = two_clocks.wall, b"t" * 20
    assert tokens.usable(NODE_ID) == b"t" * 20
    tokens[NODE_ID] = two_clocks.wall - 600, b"t" * 20
    assert tokens.usable(NODE_ID) is None
    tokens.update({b"m" * 20: (two_clocks.wall, b"u" * 20)})
    assert tokens.usable(b"m" * 20) == b"u" * 20


def test_the_oldest_token_is_evicted() -> None:
    tokens = ReceivedTokens()
    tokens.capacity = 2
    for node_id in (b"a", b"b", b"a", b"c"):
        tokens.note(node_id, b"t" * 20)
    assert list(tokens) == [b"a", b"c"]
    assert ReceivedTokens().capacity == tokens_module.MAX_RECEIVED_TOKENS
