from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import entropy
from ipv8.keyvault import encoding
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = [OpenSSLSK(b"LibNaCLSK:" + bytes(range(64))), OpenSSLSK.generate("sect163k1"), OpenSSLSK.generate("sect571r1")]
DUAL, SECT, _ = KEYS
NOT_BYTES: list[Any] = ["text", None, bytearray(74), memoryview(bytes(74)), 74, DUAL.pub().ec]


@given(st.binary(max_size=250))
@settings(deadline=None, max_examples=150)
def test_random_bytes_are_refused(load_or_refuse: Callable[..., Any], data: bytes) -> None:
    assert load_or_refuse(OpenSSLSK, data) is None


@given(st.binary(max_size=120))
@settings(deadline=None, max_examples=60)
def test_what_begins_like_a_key_loads_or_is_refused(load_or_refuse: Callable[..., Any], data: bytes) -> None:
    whole = load_or_refuse(OpenSSLSK, b"LibNaCLSK:" + data)
    assert (whole is not None) == (len(data) >= 64)
    load_or_refuse(OpenSSLSK, SECT.key_to_bin()[:7] + data)
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(data) + b"\n-----END PRIVATE KEY-----"
    load_or_refuse(OpenSSLSK, pem)


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
def test_no_part_of_a_key_is_a_key(key: OpenSSLSK, load_or_refuse: Callable[..., Any]) -> None:
    for data in (key.key_to_bin(), key.key_to_pem().rstrip()):
        for size in range(len(data)):
            assert load_or_refuse(OpenSSLSK, data[:size]) is None


@pytest.mark.parametrize("key", KEYS[:2], ids=OpenSSLSK.curve_name)
def test_a_flipped_bit_makes_another_key_or_none(key: OpenSSLSK, load_or_refuse: Callable[..., Any],
                                                 flip_bits: Callable[..., Any]) -> None:
    for flipped in flip_bits(key.key_to_bin()):
        loaded = load_or_refuse(OpenSSLSK, flipped)
        assert loaded is None or loaded.key_to_bin() == flipped


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
def test_a_refusal_shows_nothing_of_the_key(key: OpenSSLSK) -> None:
    data = key.key_to_bin()[:-1]
    with pytest.raises(ValueError, match="not a valid private key") as refusal:
        OpenSSLSK(data)
    assert refusal.value.__suppress_context__
    assert data[20:30].hex() not in str(refusal.value)
    assert repr(data[20:30])[2:-1] not in str(refusal.value)


@pytest.mark.parametrize("key", KEYS, ids=OpenSSLSK.curve_name)
def test_bytes_behind_a_key_are_dropped(key: OpenSSLSK) -> None:
    assert OpenSSLSK(key.key_to_bin() + b"behind").key_to_bin() == key.key_to_bin()


@pytest.mark.parametrize("data", NOT_BYTES, ids=lambda data: type(data).__name__)
def test_only_bytes_and_handles_are_loaded(data: Any) -> None:
    with pytest.raises(TypeError, match="keystring must be bytes"):
        OpenSSLSK(data)


def test_the_parameter_is_named_and_required() -> None:
    assert OpenSSLSK(keystring=DUAL.key_to_bin()) == DUAL
    assert OpenSSLSK(DUAL.ec).key_to_bin() == DUAL.key_to_bin()
    with pytest.raises(TypeError):
        OpenSSLSK()  # type: ignore[call-arg]  # what is tested


@pytest.mark.parametrize("name", ["curve25519", "sect163k1", "prime256v1", "brainpoolP256r1"])
def test_keys_are_generated_by_name(name: str) -> None:
    key = OpenSSLSK.generate(name)
    assert type(key) is OpenSSLSK
    assert key.curve_name() == name
    assert OpenSSLSK(key.key_to_bin()).pub() == key.pub()
    assert key != OpenSSLSK.generate(name)


@pytest.mark.parametrize("name", ["", "ed25519", "SECT163K1", "very-low", "SM2", "sect163k1\0", "Curve25519"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="has no curve"):
        OpenSSLSK.generate(name)


def test_a_name_is_a_string() -> None:
    with pytest.raises(TypeError, match="curve_name must be a string"):
        OpenSSLSK.generate(None)  # type: ignore[arg-type]  # what is tested


def test_simulations_repeat_their_curve25519_keys() -> None:
    def generated() -> bytes:
        with entropy.use(random.Random(1)):
            return OpenSSLSK.generate("curve25519").key_to_bin()

    assert generated() == generated()
    assert generated() != OpenSSLSK.generate("curve25519").key_to_bin()


@pytest.mark.parametrize("data", ["text", None, 7])
def test_only_bytes_are_signed(data: Any) -> None:
    for key in KEYS:
        with pytest.raises(TypeError, match="message must be bytes"):
            key.signature(data)
        with pytest.raises(TypeError, match="key of the peer must be bytes"):
            key.diffie_hellman(data)


def test_secrets_are_shared(backend: str) -> None:
    one, other = OpenSSLSK.generate("curve25519"), OpenSSLSK.generate("curve25519")
    secret = one.diffie_hellman(other.get_crypt_pk())
    assert secret == other.diffie_hellman(one.get_crypt_pk())
    assert len(secret) == 32


@pytest.mark.parametrize("peer", [b"", bytes(31), bytes(33), DUAL.pub().key_to_bin()])
def test_a_peers_key_has_32_bytes(peer: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DUAL.diffie_hellman(peer)


def test_nothing_is_shared_with_the_zero_key(backend: str) -> None:
    with pytest.raises(ValueError, match="low order"):
        OpenSSLSK(DUAL.key_to_bin()).diffie_hellman(bytes(32))


def test_ec_keys_cannot_encrypt() -> None:
    with pytest.raises(ValueError, match="only curve25519"):
        SECT.diffie_hellman(bytes(32))
    with pytest.raises(ValueError, match="no X25519 half"):
        SECT.get_crypt_pk()


def test_a_pem_text_restores_ec_keys() -> None:
    pem = SECT.key_to_pem()
    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    assert SECT.pem_to_bin(pem) == SECT.key_to_bin()
    assert OpenSSLSK(keystring=base64.decodebytes(pem[31:-29])).key_to_pem() == pem


def test_a_pem_text_of_curve25519_lost_a_half() -> None:
    one, other = OpenSSLSK(DUAL.key_to_pem()), OpenSSLSK(DUAL.key_to_pem())
    assert one.signature(b"message") == DUAL.signature(b"message")
    assert one.pub() == other.pub() == OpenSSLPK(DUAL.pub().key_to_pem())
    assert one.key_to_bin() == one.key_to_bin() != other.key_to_bin()
    assert one.key_to_bin()[42:] == DUAL.key_to_bin()[42:]
    assert one.key_to_pem() == DUAL.key_to_pem()
    with pytest.raises(ValueError, match="no X25519 half"):
        one.get_crypt_pk()
    with pytest.raises(ValueError, match="no X25519 half"):
        one.diffie_hellman(DUAL.get_crypt_pk())


def test_a_missing_public_key_is_computed_but_not_written() -> None:
    curve, secret, point = encoding.decode_private(SECT.key_to_bin())
    bare = encoding.encode_private(curve, secret, None)
    key = OpenSSLSK(bare)
    assert point is not None
    assert key.pub() == SECT.pub()
    assert key.key_to_bin() == bare
    assert SECT.pub().verify(key.signature(b"message"), b"message")


def test_a_public_key_of_another_secret_is_refused() -> None:
    curve, secret, _ = encoding.decode_private(SECT.key_to_bin())
    _, _, point = encoding.decode_private(OpenSSLSK.generate("sect163k1").key_to_bin())
    with pytest.raises(ValueError, match="does not belong to the private key"):
        OpenSSLSK(encoding.encode_private(curve, secret, point))


def test_scalars_of_any_padding_are_the_same_key() -> None:
    curve = bytes.fromhex("2b81040001")
    keys = [OpenSSLSK(encoding.encode_private(curve, b"\2".rjust(size, b"\0"), None)) for size in (1, 21)]
    assert keys[0].key_to_bin() == keys[1].key_to_bin()
    assert len(encoding.decode_private(keys[0].key_to_bin()).secret) == 21


def test_public_keys_are_no_private_keys() -> None:
    for key in KEYS:
        for data in (key.pub().key_to_bin(), key.pub().key_to_pem()):
            with pytest.raises(ValueError, match="not a valid private key"):
                OpenSSLSK(data)
