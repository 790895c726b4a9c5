"""The encoding of claims."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.credentials.claims import (
    MAX_CLAIM_SIZE,
    RESERVED_NAMES,
    b64decode,
    b64encode,
    claim_digest,
    make_claim,
    names_of,
    read_claim,
    read_json,
    write_json,
)
from ipv8.attestation.credentials.errors import CredentialError

VALUES = st.recursive(st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(allow_nan=False,
                      allow_infinity=False) | st.text(max_size=20),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                                 max_size=3), max_leaves=8)


@given(name=st.text(min_size=1, max_size=20).filter(lambda name: name not in RESERVED_NAMES), value=VALUES)
@settings(deadline=None)
def test_claims_round_trip(name: str, value: Any) -> None:
    claim = make_claim(name, value)
    assert read_claim(claim.encoded) == claim
    salt, read_name, read_value = json.loads(claim.encoded)
    assert (read_name, read_value) == (name, value)
    assert len(b64decode(salt)) == 16


def test_each_claim_has_a_salt_of_its_own() -> None:
    assert make_claim("a", 1).encoded != make_claim("a", 1).encoded
    assert make_claim("a", 1, bytes(16)).encoded == b'["AAAAAAAAAAAAAAAAAAAAAA","a",1]'


def test_digest_of_rfc_9901() -> None:
    """The example of RFC 9901 section 4.2.3."""
    disclosure = "WyI2cU1RdlJMNWhhaiIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    encoded = base64.urlsafe_b64decode(disclosure + "==")
    assert read_claim(encoded)[1:] == ("family_name", "Möbius")
    assert claim_digest(encoded) == b64encode(sha256(disclosure.encode()).digest())


@pytest.mark.parametrize("name", ["", *sorted(RESERVED_NAMES)])
def test_names_that_are_not_possible(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        make_claim(name, 1)
    with pytest.raises(CredentialError):
        read_claim(json.dumps(["salt", name, 1]).encode())


def test_values_that_are_not_possible() -> None:
    with pytest.raises(TypeError):
        make_claim("a", b"bytes")
    with pytest.raises(ValueError, match="JSON"):
        make_claim("a", float("nan"))
    with pytest.raises(ValueError, match="bytes"):
        make_claim("a", "x" * MAX_CLAIM_SIZE)


@pytest.mark.parametrize("data", [
    b"", b"[]", b'["salt","a"]', b'["salt","a",1,2]', b'[1,"a",1]', b'["salt",1,1]', b'{"a":1}', b'["salt","a",NaN]',
    b'["salt","a",{"b":1,"b":2}]', b'["salt","a",1]x', b"\xff", b"[" * 4000, b'["salt","a","' + b"x" * 5000 + b'"]',
    b'["salt","a",' + b"9" * 4900 + b"]",
])
def test_what_is_no_claim(data: bytes) -> None:
    with pytest.raises(CredentialError):
        read_claim(data)


@given(data=st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    with suppress(CredentialError):
        read_claim(data)


@given(data=st.binary(max_size=50))
@settings(deadline=None)
def test_base64url(data: bytes) -> None:
    assert b64decode(b64encode(data)) == data
    assert b64decode(b64encode(data).encode()) == data


@pytest.mark.parametrize("text", ["A", "AB", "AA==", "A+", "A/", "Ä", "AA AA", "AA\n", b"\xff"])
def test_what_is_no_base64url(text: Any) -> None:
    with pytest.raises(CredentialError):
        b64decode(text)


def test_json_is_read_strictly() -> None:
    assert read_json(write_json({"b": 1, "a": "ü"})) == {"b": 1, "a": "ü"}
    assert write_json({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    for text in ('{"a":1,"a":2}', "Infinity", "1e999", "[-1e999]", "[1"):
        with pytest.raises(CredentialError):
            read_json(text)


def test_two_claims_with_one_name() -> None:
    with pytest.raises(CredentialError):
        names_of([make_claim("a", 1), make_claim("a", 2)])
