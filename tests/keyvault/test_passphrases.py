"""Encryption with a passphrase."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf import scrypt
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.passphrases import (
    DEFAULT_COST,
    HEADER,
    MAX_DERIVED_KEYS,
    Passphrase,
    ScryptCost,
    WrongPassphraseError,
    is_encrypted,
)

CHEAP = ScryptCost(4, 8, 1)


@given(plaintext=st.binary(max_size=100), context=st.binary(max_size=10))
@settings(deadline=None, max_examples=20)
def test_round_trip(plaintext: bytes, context: bytes) -> None:
    data = Passphrase("secret", CHEAP).encrypt(plaintext, context)
    assert is_encrypted(data)
    assert Passphrase(b"secret", CHEAP).decrypt(data, context) == plaintext
    with pytest.raises(WrongPassphraseError):
        Passphrase("wrong", CHEAP).decrypt(data, context)
    with pytest.raises(WrongPassphraseError):
        Passphrase("secret").decrypt(data, context + b"x")


@pytest.mark.parametrize(("composed", "decomposed"), [
    ("caf\u00e9", "cafe\u0301"), ("\u212b", "\u00c5"), ("\ud55c", "\u1112\u1161\u11ab")])
def test_the_same_text_of_different_keyboards(composed: str, decomposed: str) -> None:
    data = Passphrase(composed, CHEAP).encrypt(b"plaintext")
    assert Passphrase(decomposed, CHEAP).decrypt(data) == b"plaintext"
    with pytest.raises(WrongPassphraseError):
        Passphrase("cafe", CHEAP).decrypt(data)


def test_text_that_utf_8_does_not_have() -> None:
    with pytest.raises(ValueError, match="bytes"):
        Passphrase("\ud800")


def test_the_same_plaintext_is_encrypted_differently() -> None:
    passphrase = Passphrase("secret", CHEAP)
    assert passphrase.encrypt(b"a") != passphrase.encrypt(b"a")


@given(position=st.integers(0, 1000), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_flipped_bits(position: int, bit: int) -> None:
    data = bytearray(Passphrase("secret", CHEAP).encrypt(b"plaintext"))
    place = position % len(data)
    if 8 <= place < 11:
        return  # parameters of scrypt: see below
    data[place] ^= 1 << bit
    with pytest.raises(WrongPassphraseError):
        Passphrase("secret", CHEAP).decrypt(bytes(data))


@pytest.mark.parametrize("cost", [(0, 8, 1), (21, 8, 1), (4, 0, 1), (4, 17, 1), (4, 8, 0), (4, 8, 17)])
def test_parameters_that_would_take_too_long(cost: tuple[int, int, int]) -> None:
    data = Passphrase("secret", CHEAP).encrypt(b"plaintext")
    magic, *_, salt = HEADER.unpack(data[:HEADER.size])
    with pytest.raises(WrongPassphraseError, match="scrypt"):
        Passphrase("secret").decrypt(HEADER.pack(magic, *cost, salt) + data[HEADER.size:])


@given(data=st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    for variant in (data, b"IPv8box1" + data[:10]):
        assert not is_encrypted(variant)
        with pytest.raises(WrongPassphraseError):
            Passphrase("secret", CHEAP).decrypt(variant)


def test_the_key_is_derived_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    class Counting:
        def __init__(self, **options: Any) -> None:
            self.scrypt = Scrypt(**options)

        def derive(self, secret: bytes) -> bytes:
            made.append(secret)
            return self.scrypt.derive(secret)

    monkeypatch.setattr(scrypt, "Scrypt", Counting)
    passphrase = Passphrase("secret", CHEAP)
    passphrase.prepare()
    for _ in range(3):
        passphrase.decrypt(passphrase.encrypt(b"a"))
    assert made == [b"secret"]


def test_one_salt_for_all_parts_of_a_file() -> None:
    first = Passphrase("secret", CHEAP).encrypt(b"a")
    passphrase = Passphrase("secret")
    passphrase.decrypt(first)
    second = passphrase.like(first).encrypt(b"b", b"context")
    assert second[:HEADER.size] == first[:HEADER.size]
    assert Passphrase("secret").decrypt(second, b"context") == b"b"
    assert len(passphrase._keys) == 1


def test_keys_of_many_salts_are_forgotten() -> None:
    passphrase = Passphrase("secret", CHEAP)
    for _ in range(MAX_DERIVED_KEYS + 2):
        passphrase.decrypt(Passphrase("secret", CHEAP).encrypt(b"a"))
        assert len(passphrase._keys) <= MAX_DERIVED_KEYS


def test_nothing_secret_is_shown() -> None:
    assert "secret" not in repr(Passphrase("secret"))


@pytest.mark.parametrize("empty", ["", b""])
def test_empty_passphrases(empty: str | bytes) -> None:
    with pytest.raises(ValueError, match="empty"):
        Passphrase(empty)


def test_default_cost() -> None:
    """At least what OWASP recommends for scrypt (Password Storage Cheat Sheet)."""
    assert DEFAULT_COST >= (17, 8, 1)
