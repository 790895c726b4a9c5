from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.keyvault import crypto
from ipv8.keyvault.crypto import STANDARD_CURVES, ECCrypto, default_eccrypto
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from ipv8.keyvault.keys import PublicKey

LEVELS = {
    "very-low": ("sect163k1", 42),
    "low": ("sect233k1", 60),
    "medium": ("sect409k1", 104),
    "high": ("sect571k1", 144),
    "curve25519": ("curve25519", 64),
}
SECRET = OpenSSLSK(b"LibNaCLSK:" + bytes(range(64)))
PUBLIC = SECRET.pub()
IDENTITY_POINT = b"\1" + bytes(31)


def dual(number: int) -> OpenSSLPK:
    """One of many different keys."""
    return OpenSSLPK(b"LibNaCLPK:" + number.to_bytes(64, "big"))


def test_levels_keep_their_order() -> None:
    assert default_eccrypto.security_levels == list(LEVELS)
    assert frozenset(curve for curve, _ in LEVELS.values()) | {"sect571r1"} == STANDARD_CURVES


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_names_a_curve(level: str) -> None:
    private = default_eccrypto.generate_key(level)
    public = private.pub()
    curve, size = LEVELS[level]
    assert (public.curve_name(), default_eccrypto.get_signature_length(public)) == (curve, size)
    signature = default_eccrypto.create_signature(private, b"message")
    assert len(signature) == size
    assert default_eccrypto.is_valid_signature(public, b"message", signature)
    assert not default_eccrypto.is_valid_signature(public, b"another", signature)
    assert default_eccrypto.key_from_public_bin(default_eccrypto.key_to_bin(public)) == public
    assert default_eccrypto.key_from_private_bin(default_eccrypto.key_to_bin(private)) == private
    assert default_eccrypto.key_to_hash(private) == default_eccrypto.key_to_hash(public)


@pytest.mark.parametrize("level", ["", "sect163k1", None, "ultra"])
def test_other_levels_are_illegal(level: Any) -> None:
    with pytest.raises(RuntimeError, match=f"Illegal curve for key generation: {level}"):
        default_eccrypto.generate_key(level)


@pytest.mark.parametrize("blob", [b"", b"LibNaCLPK:", "text", None, 7])
def test_validity_never_raises(blob: Any) -> None:
    assert not default_eccrypto.is_valid_public_bin(blob)
    assert not default_eccrypto.is_valid_private_bin(blob)


def test_what_is_no_key_is_an_assertion_error() -> None:
    stranger: Any = b"LibNaCLPK:"
    for call in (default_eccrypto.key_to_bin, default_eccrypto.key_to_hash, default_eccrypto.get_signature_length,
                 lambda key: default_eccrypto.create_signature(key, b""),
                 lambda key: default_eccrypto.is_valid_signature(key, b"", b"")):
        with pytest.raises(AssertionError, match="not a key: bytes"):
            call(stranger)


@pytest.mark.parametrize("data", [None, 7, ["message"]])
def test_what_is_no_data_is_an_assertion_error(data: Any) -> None:
    for call in (lambda: default_eccrypto.create_signature(SECRET, data),
                 lambda: default_eccrypto.is_valid_signature(PUBLIC, data, b""),
                 lambda: default_eccrypto.is_valid_signature(PUBLIC, b"", data)):
        with pytest.raises(AssertionError, match="not bytes"):
            call()


def test_text_is_neither_signed_nor_valid() -> None:
    text: Any = ""
    with pytest.raises(TypeError):
        default_eccrypto.create_signature(SECRET, text)
    assert not default_eccrypto.is_valid_signature(PUBLIC, b"message", text)
    assert not default_eccrypto.is_valid_signature(PUBLIC, text, SECRET.signature(b""))


def test_buffers_are_signed_and_valid() -> None:
    signature = default_eccrypto.create_signature(SECRET, memoryview(b"message"))  # type: ignore[arg-type]  # a buffer
    assert default_eccrypto.is_valid_signature(PUBLIC, b"message", bytearray(signature))  # type: ignore[arg-type]  # a buffer


def test_a_verification_that_raises_is_an_invalid_signature() -> None:
    class Broken(OpenSSLPK):
        def verify(self, signature: bytes, msg: bytes) -> bool:
            raise ZeroDivisionError

    assert not default_eccrypto.is_valid_signature(Broken(PUBLIC.key_to_bin()), b"", b"")


def test_a_remembered_key_is_found_again() -> None:
    ec = ECCrypto()
    data = PUBLIC.key_to_bin()
    assert ec.key_from_public_bin(data) is not ec.key_from_public_bin(data)
    ec.remember_public_key(PUBLIC, data)
    assert ec.key_from_public_bin(bytes(bytearray(data))) is PUBLIC
    assert ECCrypto().key_from_public_bin(data) is not PUBLIC


def test_one_key_is_remembered_once() -> None:
    ec = ECCrypto()
    for tail in (b"", b"\0", b"\1"):
        received = PUBLIC.key_to_bin() + tail
        ec.remember_public_key(ec.key_from_public_bin(received), received)
    assert list(ec._verified) == [PUBLIC.key_to_bin()]


def test_secrets_are_not_remembered() -> None:
    ec = ECCrypto()
    for key in (SECRET, OpenSSLSK.generate("sect163k1")):
        ec.remember_public_key(key, key.key_to_bin())
        ec.remember_public_key(key, key.pub().key_to_bin())
    assert not ec._verified


def test_remembering_does_not_loosen_types() -> None:
    ec = ECCrypto()
    ec.remember_public_key(PUBLIC, PUBLIC.key_to_bin())
    buffers: list[Any] = [bytearray(PUBLIC.key_to_bin()), memoryview(PUBLIC.key_to_bin())]
    for buffer in buffers:
        with pytest.raises(TypeError, match="keystring must be bytes"):
            ec.key_from_public_bin(buffer)


def test_the_key_used_the_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "VERIFIED_KEYS_CAPACITY", 3)
    ec = ECCrypto()
    keys = [dual(number) for number in range(4)]
    for key in keys[:3]:
        ec.remember_public_key(key, key.key_to_bin())
    assert ec.key_from_public_bin(keys[0].key_to_bin()) is keys[0]
    ec.remember_public_key(keys[3], keys[3].key_to_bin())

    def is_remembered(key: PublicKey) -> bool:
        return ec.key_from_public_bin(key.key_to_bin()) is key

    assert [is_remembered(key) for key in keys] == [True, False, True, True]
    assert len(ec._verified) == 3


def test_an_allow_list_limits_curves() -> None:
    ec = ECCrypto(curves=STANDARD_CURVES)
    for curve in sorted(STANDARD_CURVES):
        assert ec.is_valid_public_bin(OpenSSLSK.generate(curve).pub().key_to_bin())
    other = OpenSSLSK.generate("prime256v1").pub().key_to_bin()
    assert default_eccrypto.is_valid_public_bin(other)
    with pytest.raises(ValueError, match="keys on prime256v1 are not allowed here"):
        ec.key_from_public_bin(other)


@pytest.mark.parametrize("level", LEVELS)
def test_strict_loading_takes_what_nodes_send(level: str) -> None:
    data = default_eccrypto.generate_key(level).pub().key_to_bin()
    assert ECCrypto(strict=True).key_from_public_bin(data).key_to_bin() == data


@pytest.mark.parametrize(
    "data",
    [
        PUBLIC.key_to_bin() + b"\0",
        PUBLIC.key_to_pem(),
        PUBLIC.key_to_bin()[:42] + IDENTITY_POINT,
        PUBLIC.key_to_bin()[:42] + b"\xff" * 32,
        b"LibNaCLPK:" + bytes(32) + PUBLIC.key_to_bin()[42:],
        OpenSSLSK.generate("sect163k1").pub().key_to_bin()[:-42] + bytes(41) + b"\1",
    ],
    ids=["tail", "pem", "identity", "not canonical", "zero crypt key", "order two"],
)
def test_strict_loading_refuses_what_no_node_sends(data: bytes) -> None:
    assert default_eccrypto.is_valid_public_bin(data)
    with pytest.raises(ValueError, match="not the canonical encoding of a sound public key"):
        ECCrypto(strict=True).key_from_public_bin(data)


NETWORK_KEYS = [OpenSSLSK.generate(curve).pub() for curve in sorted(STANDARD_CURVES)]


@pytest.mark.parametrize("key", NETWORK_KEYS, ids=OpenSSLPK.curve_name)
def test_only_binary_keys_come_from_the_network(key: OpenSSLPK) -> None:
    for tail in (b"", b"\0"):
        assert default_eccrypto.key_from_network(key.key_to_bin() + tail) == key
    text = key.key_to_pem()
    assert default_eccrypto.is_valid_public_bin(text)
    for data in (text, b"\n" + text, text.strip(), b"", b"-", b"LibNaCLSK:" + bytes(64)):
        with pytest.raises(ValueError, match="not the binary form of a public key"):
            default_eccrypto.key_from_network(data)


def test_a_key_from_the_network_follows_the_policy() -> None:
    other = OpenSSLSK.generate("prime256v1").pub().key_to_bin()
    with pytest.raises(ValueError, match="keys on prime256v1 are not allowed here"):
        ECCrypto(curves=STANDARD_CURVES).key_from_network(other)
    with pytest.raises(ValueError, match="not the canonical encoding"):
        ECCrypto(strict=True).key_from_network(PUBLIC.key_to_bin() + b"\0")
    ec = ECCrypto()
    ec.remember_public_key(PUBLIC, PUBLIC.key_to_bin())
    assert ec.key_from_network(PUBLIC.key_to_bin()) is PUBLIC


def test_an_overridden_way_to_load_keys_is_used_for_the_network_too() -> None:
    class Own(ECCrypto):
        def key_from_public_bin(self, string: bytes) -> PublicKey:
            raise ValueError("nobody")

    with pytest.raises(ValueError, match="nobody"):
        Own().key_from_network(PUBLIC.key_to_bin())


@pytest.mark.parametrize("data", [None, "LibNaCLPK:", bytearray(PUBLIC.key_to_bin())])
def test_only_bytes_come_from_the_network(data: Any) -> None:
    with pytest.raises(TypeError, match="keystring must be bytes"):
        default_eccrypto.key_from_network(data)


def test_legacy_names() -> None:
    assert dict(crypto._CURVES) == {level: curve for level, (curve, _) in LEVELS.items()}
    assert crypto.OpenSSLSK is OpenSSLSK
    assert crypto.OpenSSLPK is OpenSSLPK
    names = [curve.name for curve in (crypto.SECT163K1, crypto.SECT233K1, crypto.SECT409K1, crypto.SECT571R1)]
    assert names == ["sect163k1", "sect233k1", "sect409k1", "sect571r1"]
