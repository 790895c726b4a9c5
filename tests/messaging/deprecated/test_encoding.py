"""The encoding of transactions."""

from __future__ import annotations

import json
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.deprecated.encoding import MalformedEncodingError, decode, decode_strictly, encode
from tests.attestation.trustchain.vectors import value_of
from tests.instructions import instructions

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "trustchain.json").read_text())["encoding"]

SCALARS = (st.none() | st.booleans() | st.integers(-(10 ** 40), 10 ** 40) | st.floats(allow_nan=False) | st.text()
           | st.binary())
HASHABLE = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
VALUES = st.recursive(
    SCALARS, lambda inner: (st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
                            | st.sets(HASHABLE, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=4)),
    max_leaves=20)


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


@pytest.mark.parametrize("vector", VECTORS["roundtrip"], ids=lambda vector: vector["encoded"][:40])
def test_vectors_both_ways(vector: dict[str, Any]) -> None:
    value, encoded = value_of(vector["value"]), bytes.fromhex(vector["encoded"])
    assert encode(value) == encoded
    assert decode(encoded)[0] == len(encoded)
    assert same(decode(encoded)[1], value)
    assert same(decode_strictly(encoded), value)


@pytest.mark.parametrize("vector", VECTORS["decode_only"], ids=lambda vector: vector["encoded"][:40])
def test_vectors_that_only_decode(vector: dict[str, Any]) -> None:
    assert decode(bytes.fromhex(vector["encoded"])) == (vector["next_offset"], value_of(vector["value"]))


@pytest.mark.parametrize("vector", VECTORS["reject"], ids=lambda vector: vector["encoded"][:40])
def test_vectors_that_are_rejected(vector: dict[str, Any]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the class is compared below
        decode(bytes.fromhex(vector["encoded"]))
    assert type(caught.value).__name__ == vector["error"]
    with pytest.raises(MalformedEncodingError):
        decode_strictly(bytes.fromhex(vector["encoded"]))


def test_vector_as_text() -> None:
    vector = VECTORS["cast_utf8"]
    assert decode(bytes.fromhex(vector["encoded"]), cast_utf8=True)[1] == value_of(vector["value"])


@given(VALUES)
def test_round_trip(value: Any) -> None:
    encoded = encode(value)
    assert decode(encoded) == (len(encoded), value)
    assert decode_strictly(encoded) == value


@given(VALUES, st.data())
@settings(max_examples=200)
def test_malformed_streams_raise_one_class_of_error(value: Any, data: st.DataObject) -> None:
    """W10: eight classes of errors escaped."""
    encoded = bytearray(encode(value))
    kind = data.draw(st.sampled_from(["cut", "flip", "lie", "append"]))
    if kind == "cut":
        del encoded[data.draw(st.integers(0, len(encoded) - 1)):]
    elif kind == "flip":
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "append":
        encoded += data.draw(st.binary(min_size=1))
    else:
        encoded[1:1] = data.draw(st.sampled_from([b"9", b"99999999999", b"-1", b" "]))
    with suppress(MalformedEncodingError):
        decode_strictly(bytes(encoded))


def test_the_class_of_error_is_one_of_each_that_programs_catch() -> None:
    for expected in (ValueError, KeyError, IndexError, AssertionError):
        with pytest.raises(expected, match="the stream is malformed"):
            decode_strictly(b"a5")


@given(st.binary())
def test_random_bytes(stream: bytes) -> None:
    for candidate in (stream, b"a" + stream):
        with suppress(MalformedEncodingError):
            decode_strictly(candidate)


@pytest.mark.parametrize("stream", [
    b"a" + b"1l" * 40 + b"0n", b"a3i1_0", b"a2i 5", b"a1i5junk", b"a5i12", b"a99999999l", b"a4097i" + b"1" * 4097,
    b"a1d0l0n", b"a1L0d", b"a2i+5", b"a0i", b"a0f", b"a3f1_0", b"a1i\xd9", b"a000000000000000000000001i5", b"", b"b0n"])
def test_what_strict_decoding_refuses(stream: bytes) -> None:
    with pytest.raises(MalformedEncodingError):
        decode_strictly(stream)


def test_strict_decoding_takes_what_it_should() -> None:
    assert decode_strictly(b"a" + b"1l" * 31 + b"0n")
    assert decode_strictly(b"a4096i" + b"1" * 4096) > 0
    assert decode_strictly(b"a2J42") == 42
    assert decode_strictly(b"a3fnan") != decode_strictly(b"a3fnan")
    with pytest.raises(MalformedEncodingError):
        decode_strictly("a0n")  # type: ignore[arg-type]


def test_lies_about_counts_cost_nothing() -> None:
    def decode() -> None:
        with pytest.raises(MalformedEncodingError):
            decode_strictly(b"a" + b"999999999l" * 100)

    assert instructions(decode) < 5000


def test_what_cannot_be_encoded() -> None:
    class Number(int):
        pass

    unknown: list[Any] = [bytearray(), frozenset(), 1j, Number(5), [Number(5)]]
    for value in unknown:
        with pytest.raises(KeyError):
            encode(value)
    unknown_inside: list[Any] = [{1: Number(5)}, {1j: 1}]
    for value in unknown_inside:
        with pytest.raises(AssertionError):
            encode(value)
    assert encode(OrderedDict(a=1)) == encode({"a": 1})


def test_versions() -> None:
    assert encode(None, "a") == b"a0n"
    with pytest.raises(ValueError, match="'b'"):
        encode(None, "b")
    with pytest.raises(AssertionError):
        encode(None, b"a")  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        decode("a0n")  # type: ignore[arg-type]
    assert decode(b"xxa0n", 2) == (5, None)
