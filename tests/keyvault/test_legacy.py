"""The module layout of releases up to 3.2."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from ipv8.keyvault.crypto import SECT163K1, SECT571R1, default_eccrypto
from ipv8.keyvault.private.libnaclkey import LibNaCLSK
from ipv8.keyvault.private.m2crypto import M2CryptoSK
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.libnaclkey import LibNaCLPK
from ipv8.keyvault.public.m2crypto import M2CryptoPK
from ipv8.keyvault.public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from pathlib import Path

RAW = bytes(range(64))
DUAL = OpenSSLSK(b"LibNaCLSK:" + RAW)
SECT = OpenSSLSK.generate("sect163k1")


def test_raw_private_keys() -> None:
    key = LibNaCLSK(RAW)
    assert key == DUAL
    assert isinstance(key, OpenSSLSK)
    assert isinstance(key.pub(), LibNaCLPK)
    assert key.pub() == DUAL.pub()
    assert (key.key.sk, key.key.seed, key.key.pk) == (RAW[:32], RAW[32:], DUAL.get_crypt_pk())
    assert key.veri.vk == DUAL.pub().key_to_bin()[42:]
    assert key.signature(b"message") == DUAL.signature(b"message")
    assert RAW[:32].hex() not in repr(key.key)
    assert LibNaCLSK() != LibNaCLSK()


def test_raw_public_keys() -> None:
    raw = DUAL.pub().key_to_bin()[10:]
    key = LibNaCLPK(raw)
    assert key == DUAL.pub()
    assert isinstance(key, OpenSSLPK)
    assert key.key.pk == raw[:32]
    assert key.key.hex_pk() == raw[:32].hex().encode()
    assert key.veri.hex_vk() == raw[32:].hex().encode()
    assert LibNaCLPK(pk=key.key.pk, hex_vk=key.veri.hex_vk()) == key
    copied = pickle.loads(pickle.dumps(key))
    assert type(copied) is LibNaCLPK
    assert copied == key


@pytest.mark.parametrize("size", [1, 63, 65, 74])
def test_raw_keys_have_64_bytes(size: int) -> None:
    for kind in (LibNaCLSK, LibNaCLPK):
        with pytest.raises(ValueError, match="has 64 bytes"):
            kind(bytes(size))


def test_raw_public_keys_need_both_halves() -> None:
    with pytest.raises(ValueError, match="both pk and hex_vk"):
        LibNaCLPK()
    with pytest.raises(ValueError, match="both pk and hex_vk"):
        LibNaCLPK(pk=bytes(32))


@pytest.mark.parametrize(("curve", "name"), [(SECT163K1, "sect163k1"), (SECT571R1(), "sect571r1"),
                                             ("sect233k1", "sect233k1")])
def test_ec_keys_are_generated_by_curve(curve: str, name: str) -> None:
    key = M2CryptoSK(curve=curve)
    assert key.curve_name() == name
    assert isinstance(key.pub(), M2CryptoPK)
    assert key.pub().verify(key.signature(b"message"), b"message")


def test_ec_private_keys_load(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(SECT.key_to_pem())
    assert M2CryptoSK(filename=str(file)) == M2CryptoSK(keystring=SECT.key_to_bin()) == SECT
    assert M2CryptoSK(SECT163K1, keystring=b"ignored", filename="/ignored") != SECT
    assert OpenSSLSK(M2CryptoSK(keystring=SECT.key_to_bin()).key_from_pem(SECT.key_to_pem())) == SECT
    with pytest.raises(ValueError, match="give a curve"):
        M2CryptoSK()


def test_ec_public_keys_load() -> None:
    key = M2CryptoPK(keystring=SECT.pub().key_to_bin())
    assert key == M2CryptoPK(SECT.pub().ec) == SECT.pub()
    assert M2CryptoPK(key.key_from_pem(key.key_to_pem())) == key
    assert key.pem_to_bin(key.key_to_pem()) == key.key_to_bin()
    copied = pickle.loads(pickle.dumps(key))
    assert type(copied) is M2CryptoPK
    assert copied == key
    with pytest.raises(ValueError, match="give ec_pub or keystring"):
        M2CryptoPK()


def test_the_old_classes_work_with_the_new_functions() -> None:
    for key in (LibNaCLSK(RAW), M2CryptoSK(keystring=SECT.key_to_bin())):
        signature = default_eccrypto.create_signature(key, b"message")
        assert default_eccrypto.is_valid_signature(key.pub(), b"message", signature)
