from __future__ import annotations

import base64
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = [OpenSSLSK(b"LibNaCLSK:" + bytes(range(64))), OpenSSLSK.generate("sect163k1"), OpenSSLSK.generate("sect571r1")]
PUBLIC = [key.pub() for key in KEYS]
NOT_BYTES: list[Any] = ["text", None, bytearray(74), memoryview(bytes(74)), 74]


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=150)
def test_random_bytes_are_refused(load_or_refuse: Callable[..., Any], data: bytes) -> None:
    assert load_or_refuse(OpenSSLPK, data) is None


@given(st.binary(max_size=120))
@settings(deadline=None, max_examples=100)
def test_what_begins_like_a_key_loads_or_is_refused(load_or_refuse: Callable[..., Any], data: bytes) -> None:
    whole = load_or_refuse(OpenSSLPK, b"LibNaCLPK:" + data)
    assert (whole is not None) == (len(data) >= 64)
    load_or_refuse(OpenSSLPK, PUBLIC[1].key_to_bin()[:24] + data)
    load_or_refuse(OpenSSLPK, b"-----BEGIN PUBLIC KEY-----\n" + data)
    load_or_refuse(OpenSSLPK, b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(data) + b"\n-----END PUBLIC KEY-----")


@pytest.mark.parametrize("key", PUBLIC, ids=OpenSSLPK.curve_name)
def test_no_part_of_a_key_is_a_key(key: OpenSSLPK, load_or_refuse: Callable[..., Any]) -> None:
    for data in (key.key_to_bin(), key.key_to_pem().rstrip()):
        for size in range(len(data)):
            assert load_or_refuse(OpenSSLPK, data[:size]) is None


@pytest.mark.parametrize("key", PUBLIC, ids=OpenSSLPK.curve_name)
def test_a_flipped_bit_makes_another_key_or_none(key: OpenSSLPK, load_or_refuse: Callable[..., Any],
                                                 flip_bits: Callable[..., Any]) -> None:
    for flipped in flip_bits(key.key_to_bin()):
        loaded = load_or_refuse(OpenSSLPK, flipped)
        assert loaded is None or loaded.key_to_bin() == flipped


@pytest.mark.parametrize("key", PUBLIC, ids=OpenSSLPK.curve_name)
def test_bytes_behind_a_key_are_dropped(key: OpenSSLPK) -> None:
    assert OpenSSLPK(key.key_to_bin() + b"behind").key_to_bin() == key.key_to_bin()


@pytest.mark.parametrize("data", NOT_BYTES, ids=lambda data: type(data).__name__)
def test_only_bytes_are_loaded(data: Any) -> None:
    with pytest.raises(TypeError, match="keystring must be bytes"):
        OpenSSLPK(data)


def test_the_parameter_is_named_and_required() -> None:
    assert OpenSSLPK(keystring=PUBLIC[0].key_to_bin()) == PUBLIC[0]
    with pytest.raises(TypeError):
        OpenSSLPK()  # type: ignore[call-arg]  # what is tested


@pytest.mark.parametrize("data", ["text", None, 7])
def test_only_bytes_are_verified(data: Any) -> None:
    for key in PUBLIC:
        with pytest.raises(TypeError, match="signature must be bytes"):
            key.verify(data, b"message")
        with pytest.raises(TypeError, match="message must be bytes"):
            key.verify(b"signature", data)


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_buffers_are_verified(key: OpenSSLSK, kind: type) -> None:
    signature = key.signature(kind(b"message"))
    assert key.pub().verify(kind(signature), kind(b"message"))


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
def test_malformed_signatures_are_invalid(key: OpenSSLSK, backend: str) -> None:
    public = OpenSSLPK(key.pub().key_to_bin())
    signature = key.signature(b"message")
    for malformed in (b"", b"\0", signature[:-1], signature + b"\0", bytes(len(signature)), 100 * signature,
                      b"\xff" * len(signature)):
        assert not public.verify(malformed, b"message")


@given(st.binary(max_size=160))
@settings(deadline=None, max_examples=60)
def test_random_signatures_are_invalid(signature: bytes) -> None:
    assert not any(key.verify(signature, b"message") for key in PUBLIC)


def test_a_pem_text_restores_ec_keys() -> None:
    pem = PUBLIC[1].key_to_pem()
    assert pem.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert PUBLIC[1].pem_to_bin(pem) == PUBLIC[1].key_to_bin()
    assert OpenSSLPK(keystring=base64.decodebytes(pem[27:-25])).key_to_pem() == pem


def test_a_pem_text_of_curve25519_can_only_verify() -> None:
    whole = PUBLIC[0]
    for source in (whole.key_to_pem(), whole.pem_to_bin(whole.key_to_pem())):
        half = OpenSSLPK(source)
        assert half.verify(KEYS[0].signature(b"message"), b"message")
        assert half.curve_name() == "curve25519"
        assert half.key_to_pem() == whole.key_to_pem()
        assert half.key_to_bin() == b"LibNaCLPK:" + 2 * whole.key_to_bin()[42:]
        for key in (half, pickle.loads(pickle.dumps(half))):
            with pytest.raises(ValueError, match="no X25519 half"):
                key.get_crypt_pk()


def test_ec_keys_cannot_encrypt() -> None:
    with pytest.raises(ValueError, match="no X25519 half"):
        PUBLIC[1].get_crypt_pk()


def test_private_keys_are_no_public_keys() -> None:
    for key in KEYS:
        for data in (key.key_to_bin(), key.key_to_pem()):
            with pytest.raises(ValueError, match="not a valid public key"):
                default_eccrypto.key_from_public_bin(data)
