"""Tokens and trees of them: the vectors, and what a tree does with tokens in any order."""

from __future__ import annotations

import struct
from hashlib import sha3_256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.tokentree.token import Token
from ipv8.attestation.tokentree.tree import TokenTree
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = default_eccrypto.generate_key("curve25519")
OTHER = default_eccrypto.generate_key("curve25519")


@pytest.fixture
def vectors(load_vectors: Callable[[str], Any]) -> Any:
    return load_vectors("identity")


def owner_key(vectors: Any) -> Any:
    return default_eccrypto.key_from_private_bin(
        bytes.fromhex(vectors["keys"][vectors["roles"]["owner"]]["private_bin"]))


def chain(tree: TokenTree, length: int) -> list[Token]:
    tokens: list[Token] = []
    for number in range(length):
        tokens.append(tree.add(b"%d" % number, tokens[-1] if tokens else None))
    return tokens


def without_content(token: Token) -> Token:
    return Token.unserialize(token.get_plaintext_signed(), KEY.pub())


class CountingKey:
    """The public key, which counts how often it verifies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        verify = Token.verify

        def counted(token: Token, key: Any) -> bool:
            self.count += 1
            return verify(token, key)

        monkeypatch.setattr(Token, "verify", counted)


# Tokens

def test_token_vectors(vectors: Any) -> None:
    key = owner_key(vectors)
    for vector in [*vectors["tokens"], vectors["token_by_hash"]]:
        previous = bytes.fromhex(vector["previous_token_hash"])
        token = (Token(previous, content=bytes.fromhex(vector["content"]), private_key=key) if "content" in vector
                 else Token(previous, content_hash=bytes.fromhex(vector["content_hash"]), private_key=key))
        assert token.get_plaintext().hex() == vector["plaintext"]
        assert token.signature.hex() == vector["signature"]
        assert token.get_plaintext_signed().hex() == vector["serialized"]
        assert token.get_hash().hex() == vector["hash"]
        assert hash(token) == int(vector["python_hash"]) % ((1 << 61) - 1)
        assert str(token) == vector["str"]
        assert Token.unserialize(bytes.fromhex(vector["serialized"]), key.pub()) == token


def test_tree_vectors(vectors: Any) -> None:
    tree = TokenTree(private_key=owner_key(vectors))
    assert tree.genesis_hash.hex() == vectors["genesis_hash"]
    previous = None
    for vector in vectors["tokens"]:
        previous = tree.add(bytes.fromhex(vector["content"]), previous)
    assert tree.serialize_public().hex() == vectors["serialize_public"]["all_in_insertion_order"]


@pytest.mark.parametrize(("content", "content_hash"), [(None, None), (b"a", sha3_256(b"a").digest())])
def test_token_needs_exactly_one_content(content: Any, content_hash: Any) -> None:
    with pytest.raises(RuntimeError, match="content"):
        Token(bytes(32), content=content, content_hash=content_hash, private_key=KEY)


@pytest.mark.parametrize("kwargs", [{}, {"private_key": KEY, "signature": bytes(64)}])
def test_token_needs_exactly_one_of_key_and_signature(kwargs: Any) -> None:
    with pytest.raises(RuntimeError, match="private_key or signature"):
        Token(bytes(32), content=b"a", **kwargs)


def test_content_is_taken_if_its_hash_is_right() -> None:
    token = Token(bytes(32), content_hash=sha3_256(b"right").digest(), private_key=KEY)
    assert not token.receive_content(b"wrong")
    assert token.content is None
    assert token.receive_content(b"right")
    assert token.content == b"right"


def test_tokens_are_equal_by_their_signed_bytes() -> None:
    token = Token(bytes(24), content=b"a", private_key=KEY)
    assert token.verify(KEY.pub())
    assert not token.verify(OTHER.pub())
    assert token == Token(bytes(24), content=b"a", private_key=KEY)
    assert token != Token(bytes(24), content=b"b", private_key=KEY)
    assert token != "something else"


def test_database_tuples_round_trip_without_false_content() -> None:
    token = Token(bytes(32), content=b"a", private_key=KEY)
    assert Token.from_database_tuple(*token.to_database_tuple()).content == b"a"
    previous, signature, content_hash, _ = token.to_database_tuple()
    assert Token.from_database_tuple(previous, signature, content_hash, b"forged").content is None


@given(data=st.binary(max_size=200), offset=st.integers(0, 10))
@settings(deadline=None)
def test_truncated_tokens(data: bytes, offset: int) -> None:
    if len(data) < offset + 128:
        with pytest.raises(struct.error):
            Token.unserialize(data, KEY.pub(), offset)
    else:
        token = Token.unserialize(data, KEY.pub(), offset)
        assert token.get_plaintext_signed() == data[offset:offset + 128]
        assert not token.verify(KEY.pub())


@given(position=st.integers(0, 127), bit=st.integers(0, 7))
@settings(deadline=None)
def test_flipped_bits_are_noticed(position: int, bit: int) -> None:
    data = bytearray(Token(bytes(32), content=b"a", private_key=KEY).get_plaintext_signed())
    data[position] ^= 1 << bit
    assert not Token.unserialize(bytes(data), KEY.pub()).verify(KEY.pub())


# Trees

@pytest.mark.parametrize("kwargs", [{}, {"public_key": KEY.pub(), "private_key": KEY}])
def test_tree_needs_exactly_one_key(kwargs: Any) -> None:
    with pytest.raises(RuntimeError, match="public_key or private_key"):
        TokenTree(**kwargs)


def test_private_key_given_as_public_key() -> None:
    tree = TokenTree(public_key=KEY)  # type: ignore[arg-type]  # as old programs do
    assert tree.private_key is None
    assert tree.public_key == KEY.pub()
    with pytest.raises(RuntimeError, match="without a key"):
        tree.add(b"a")


@given(order=st.permutations(range(12)))
@settings(deadline=None)
def test_tokens_in_any_order_make_the_same_tree(order: list[int]) -> None:
    own = TokenTree(private_key=KEY)
    root = own.add(b"root")
    tokens = [root]
    for number in range(1, 12):  # a tree with branches
        tokens.append(own.add(b"%d" % number, tokens[(number - 1) // 2]))
    other = TokenTree(public_key=KEY.pub())
    for number in order:
        other.gather_token(without_content(tokens[number]))
    assert other.elements.keys() == own.elements.keys()
    assert not other.unchained
    assert not other.get_missing()
    assert all(other.verify(token) for token in tokens)


def test_all_tokens_with_the_same_predecessor_are_attached() -> None:
    own = TokenTree(private_key=KEY)
    root = own.add(b"root")
    leaves = [own.add(b"%d" % number, root) for number in range(5)]
    other = TokenTree(public_key=KEY.pub())
    for leaf in leaves:
        assert other.gather_token(leaf) is None
    assert other.get_missing() == {root.get_hash()}
    other.gather_token(root)
    assert len(other.elements) == 6


def test_forged_tokens_are_not_taken() -> None:
    tree = TokenTree(public_key=KEY.pub())
    assert tree.gather_token(Token(tree.genesis_hash, content=b"a", private_key=OTHER)) is None
    assert not tree.elements
    assert not tree.unchained


def test_unchained_tokens_are_bounded() -> None:
    tree = TokenTree(public_key=KEY.pub())
    tree.unchained_max_size = 3
    tokens = [Token(bytes([number]) * 32, content=b"a", private_key=KEY) for number in range(5)]
    for token in tokens:
        tree.gather_token(token)
    assert list(tree.unchained) == tokens[2:]
    assert tree.get_missing() == {token.previous_token_hash for token in tokens[2:]}
    assert len(tree._waiting) == 3
    assert len(tree._verified) == 3


def test_content_is_handed_over_to_a_known_token() -> None:
    own = TokenTree(private_key=KEY)
    token = own.add(b"a")
    other = TokenTree(public_key=KEY.pub())
    stored = other.gather_token(without_content(token))
    assert stored is not None
    assert other.gather_token(token) is stored
    assert stored.content == b"a"


@pytest.mark.parametrize(("length", "maxdepth", "valid"), [
    (1000, 1000, True), (1001, 1000, False), (1, 0, False), (1, 1, True), (1500, -1, True), (5, 4, False)])
def test_depth_of_paths(length: int, maxdepth: int, valid: bool) -> None:
    tree = TokenTree(private_key=KEY)
    tokens = chain(tree, length)
    assert tree.verify(tokens[-1], maxdepth) is valid
    assert tree.get_root_path(tokens[-1], maxdepth) == (tokens[::-1] if valid else [])


def test_path_with_a_gap_or_a_forgery() -> None:
    tree = TokenTree(private_key=KEY)
    tokens = chain(tree, 4)
    del tree.elements[tokens[1].get_hash()]
    assert not tree.verify(tokens[3])
    forged = Token(tokens[0].get_hash(), content=b"forged", private_key=OTHER)
    tree.elements[forged.get_hash()] = forged
    assert not tree.verify(Token(forged.get_hash(), content=b"a", private_key=KEY))
    assert tree.get_root_path(forged) == []


def test_each_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own = TokenTree(private_key=KEY)
    tokens = chain(own, 200)
    counting = CountingKey(monkeypatch)
    other = TokenTree(public_key=KEY.pub())
    for token in tokens:
        other.elements[token.get_hash()] = token
    assert other.longest_path() == tokens
    for token in tokens:
        assert other.verify(token)
    assert counting.count == 200


def test_longest_path() -> None:
    tree = TokenTree(private_key=KEY)
    assert tree.longest_path() == []
    tokens = chain(tree, 3)
    branch = tree.add(b"branch", tokens[0])
    assert tree.longest_path() == tokens
    longer = tree.add(b"leaf", tree.add(b"more", branch))
    assert tree.longest_path()[-1] == longer
    forged = Token(longer.get_hash(), content=b"forged", private_key=OTHER)
    tree.elements[forged.get_hash()] = forged
    assert tree.longest_path()[-1] == longer


def test_serialized_trees() -> None:
    own = TokenTree(private_key=KEY)
    tokens = chain(own, 3)
    assert own.serialize_public(tokens[1]) == b"".join(token.get_plaintext_signed() for token in tokens[1::-1])
    in_order, leaf_first = TokenTree(public_key=KEY.pub()), TokenTree(public_key=KEY.pub())
    assert in_order.unserialize_public(own.serialize_public())
    assert not leaf_first.unserialize_public(own.serialize_public(tokens[2]))
    assert leaf_first.elements.keys() == in_order.elements.keys()
    assert TokenTree(public_key=KEY.pub()).unserialize_public(b"")
    with pytest.raises(struct.error):
        in_order.unserialize_public(own.serialize_public()[:-1])


def test_gathering_does_not_depend_on_the_order() -> None:
    own = TokenTree(private_key=KEY)
    tokens = chain(own, 3)
    other = TokenTree(public_key=KEY.pub())
    assert other.gather_public(own.serialize_public(tokens[2])) == (True, tokens[::-1])
    missing = TokenTree(public_key=KEY.pub())
    assert missing.gather_public(tokens[2].get_plaintext_signed()) == (False, [])
    with pytest.raises(struct.error):
        missing.gather_public(own.serialize_public()[:-1])
    assert not missing.elements
