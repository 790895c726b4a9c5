"""Keys as did:key and JWK."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.credentials.did import (
    did_of,
    did_of_verify_key,
    jwk_of,
    key_from_verify_key,
    verify_key_of,
    verify_key_of_did,
    verify_key_of_jwk,
)
from ipv8.attestation.credentials.errors import CredentialError
from ipv8.keyvault.crypto import default_eccrypto


@given(verify_key=st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_dids_round_trip(verify_key: bytes) -> None:
    did = did_of_verify_key(verify_key)
    assert did.startswith("did:key:z6Mk")
    assert verify_key_of_did(did) == verify_key


def test_did_of_the_specification() -> None:
    """An example of The did:key Method v0.9, with its key as JWK."""
    did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
    assert verify_key_of_did(did) == verify_key_of_jwk(
        {"kty": "OKP", "crv": "Ed25519", "x": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"})


def test_keys() -> None:
    key = default_eccrypto.generate_key("curve25519")
    assert verify_key_of_did(did_of(key)) == verify_key_of(key) == verify_key_of_jwk(jwk_of(key.pub()))
    message, signature = b"message", key.signature(b"message")
    assert key_from_verify_key(verify_key_of(key)).verify(signature, message)


def test_other_curves() -> None:
    with pytest.raises(ValueError, match="curve25519"):
        did_of(default_eccrypto.generate_key("low"))


@pytest.mark.parametrize("did", [
    "", "did:key:z", "did:web:example.org", "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooW",
    "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWpp", "did:key:z16MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3m",
    "did:key:z0OIl", "did:key:z" + "6" * 1000, "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"])
def test_what_is_no_did_of_an_ed25519_key(did: str) -> None:
    with pytest.raises(CredentialError):
        verify_key_of_did(did)


@pytest.mark.parametrize("jwk", [
    None, {}, [], {"kty": "EC", "crv": "P-256", "x": "AA"}, {"kty": "OKP", "crv": "Ed25519"},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kty": "OKP", "crv": "X25519", "x": "A" * 43}])
def test_what_is_no_jwk_of_an_ed25519_key(jwk: Any) -> None:
    with pytest.raises(CredentialError):
        verify_key_of_jwk(jwk)
