"""Every vector of tests/vectors/keys.json, over each provider."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK

Vectors = dict[str, list[dict[str, Any]]]


def test_curve25519(vectors: Vectors, backend: str) -> None:
    assert vectors["curve25519"]
    for case in vectors["curve25519"]:
        private = OpenSSLSK(bytes.fromhex(case["private_bin"]))
        public = private.pub()
        assert private.key_to_bin().hex() == case["private_bin"]
        assert public.key_to_bin().hex() == case["public_bin"]
        assert OpenSSLPK(public.key_to_bin()) == public
        assert private.key_to_hash().hex() == public.key_to_hash().hex() == case["mid"]
        assert private.get_crypt_pk().hex() == public.get_crypt_pk().hex() == case["crypt_pk"]
        assert public.get_signature_length() == private.get_signature_length() == case["signature_length"]
        assert private.key_to_pem().decode() == case["private_pem"]
        assert public.key_to_pem().decode() == case["public_pem"]
        assert public.curve_name() == private.curve_name() == "curve25519"
        for signed in case["signatures"]:
            message, signature = bytes.fromhex(signed["message"]), bytes.fromhex(signed["signature"])
            assert private.signature(message) == signature
            assert public.verify(signature, message)
            assert private.verify(signature, message)


def test_x25519(vectors: Vectors, backend: str) -> None:
    assert vectors["x25519"]
    for case in vectors["x25519"]:
        private = OpenSSLSK(bytes.fromhex(case["private_bin"]))
        peer = OpenSSLPK(bytes.fromhex(case["peer_public_bin"]))
        assert private.diffie_hellman(peer.get_crypt_pk()).hex() == case["shared"]


def test_openssl(vectors: Vectors) -> None:
    assert vectors["openssl"]
    for case in vectors["openssl"]:
        private = OpenSSLSK(bytes.fromhex(case["private_bin"]))
        public = OpenSSLPK(bytes.fromhex(case["public_bin"]))
        assert private.key_to_bin().hex() == case["private_bin"]
        assert private.pub() == public
        assert public.key_to_bin().hex() == case["public_bin"]
        assert private.key_to_hash().hex() == public.key_to_hash().hex() == case["mid"]
        assert public.get_signature_length() == private.get_signature_length() == case["signature_length"]
        assert private.key_to_pem().decode() == case["private_pem"]
        assert public.key_to_pem().decode() == case["public_pem"]
        assert OpenSSLSK(private.key_to_pem()) == private
        assert OpenSSLPK(public.key_to_pem()) == public
        assert public.curve_name() == private.curve_name() == case["curve"]
        for signed in case["signatures_to_verify"]:
            message, signature = bytes.fromhex(signed["message"]), bytes.fromhex(signed["signature"])
            assert public.verify(signature, message)
            assert private.verify(signature, message)
            assert not public.verify(signature, message + b"!")


@pytest.mark.parametrize("kind", ["public", "private"])
def test_loading(vectors: Vectors, backend: str, kind: str) -> None:
    load = getattr(default_eccrypto, f"key_from_{kind}_bin")
    is_valid = getattr(default_eccrypto, f"is_valid_{kind}_bin")
    assert vectors[f"load_{kind}"]
    for case in vectors[f"load_{kind}"]:
        data = bytes.fromhex(case["input"])
        assert is_valid(data) == case["valid"], case["note"]
        if case["valid"]:
            assert load(data).key_to_bin().hex() == case["canonical"], case["note"]
        else:
            with pytest.raises(ValueError, match=f"not a valid {kind} key"):
                load(data)


def test_verification(vectors: Vectors, backend: str) -> None:
    assert vectors["verify"]
    for case in vectors["verify"]:
        key = default_eccrypto.key_from_public_bin(bytes.fromhex(case["public_bin"]))
        message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
        assert default_eccrypto.is_valid_signature(key, message, signature) == case["valid"], case["note"]
