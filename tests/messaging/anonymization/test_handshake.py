"""The key agreement: who can complete it, and the lists that go with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.crypto import FIRST_COUNTER, TunnelCrypto, scatter_counters
from ipv8.messaging.anonymization.handshake import (
    MAX_CANDIDATES,
    CandidateList,
    CryptoException,
    accept,
    complete,
    derive_keys,
    open_candidates,
    seal_candidates,
)
from tests.messaging.anonymization.helpers import numbered_keys, private_key

X, Y, A, B = (private_key(name) for name in "xyAB")
LOW_ORDER = [bytes(32), bytes([1]) + bytes(31), bytes.fromhex(
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")]


def test_agreement() -> None:
    secret, auth = accept(X.get_crypt_pk(), Y, Y.get_crypt_pk(), B)
    assert len(secret) == 64
    assert complete(X, Y.get_crypt_pk(), auth, B.pub().get_crypt_pk()) == secret


def test_who_lacks_the_identity_key_gets_other_session_keys() -> None:
    secret, auth = accept(X.get_crypt_pk(), Y, Y.get_crypt_pk(), A)
    ours = derive_keys(complete(X, Y.get_crypt_pk(), auth, B.pub().get_crypt_pk()))
    theirs = derive_keys(secret)
    with pytest.raises(CryptoException):
        open_candidates(ours, seal_candidates(theirs, 0, []))


@pytest.mark.parametrize("half", [*LOW_ORDER, b"", bytes(31), bytes(33)])
def test_bad_halves(half: bytes) -> None:
    with pytest.raises(CryptoException):
        accept(half, Y, Y.get_crypt_pk(), B)
    with pytest.raises(CryptoException):
        complete(X, half, bytes(32), B.pub().get_crypt_pk())
    crypto = TunnelCrypto()
    crypto.initialize(B)
    with pytest.raises(ValueError):  # noqa: PT011 - what programs catch
        crypto.generate_diffie_shared_secret(half)


@pytest.mark.parametrize("length", [0, 31, 32, 33])
def test_bad_proofs(length: int) -> None:
    _, auth = accept(X.get_crypt_pk(), Y, Y.get_crypt_pk(), B)
    wrong = (bytes([auth[0] ^ 1]) + auth[1:] + b"\0")[:length]
    with pytest.raises(CryptoException, match="not proved"):
        complete(X, Y.get_crypt_pk(), wrong, B.pub().get_crypt_pk())


def test_the_community_s_object() -> None:
    initiator, joiner = TunnelCrypto(), TunnelCrypto()
    key = default_eccrypto.generate_key("curve25519")
    joiner.initialize(key)
    secret, half = initiator.generate_diffie_secret()
    for identity in (None, key):
        shared, answer, auth = joiner.generate_diffie_shared_secret(half, identity)
        assert TunnelCrypto.verify_and_generate_shared_secret(secret, answer, auth, key.get_crypt_pk()) == shared
    keys = TunnelCrypto.generate_session_keys(shared)
    assert TunnelCrypto.decrypt_str(TunnelCrypto.encrypt_str(b"x", keys, 0), keys, 0) == b"x"
    assert not joiner.is_key_compatible(default_eccrypto.generate_key("very-low").pub())


def test_counters_begin_at_random() -> None:
    starts = set()
    for _ in range(20):
        keys = numbered_keys(1)
        scatter_counters(keys)
        starts |= {keys.salt_explicit_forward, keys.salt_explicit_backward}
        assert all(FIRST_COUNTER <= start < 1 << 31 for start in starts)
    assert len(starts) == 40


def test_the_list_never_shares_a_nonce_with_the_other_side() -> None:
    keys = numbered_keys(1)
    assert seal_candidates(keys, 5, [])[:8].hex() == "8000000000000005"
    assert keys.salt_explicit_forward == 1


def test_composition_of_lists() -> None:
    relays, exits = [b"r%d" % n for n in range(9)], [b"e%d" % n for n in range(9)]
    full = CandidateList.of(relays, exits)
    assert full == [*relays[:MAX_CANDIDATES], b"e0", *exits[:MAX_CANDIDATES]]
    assert (full.relays, full.exits) == (relays[:MAX_CANDIDATES], exits[:MAX_CANDIDATES])
    for few in (CandidateList.of(relays, []), CandidateList.of([], exits), CandidateList.of([], [])):
        assert CandidateList.of(few.relays, few.exits) == few
    assert CandidateList([b"a", b"b"]).exits == []


@given(st.lists(st.binary(max_size=80), max_size=20), st.binary(max_size=50))
def test_lists_on_the_wire(keys: list[bytes], rest: bytes) -> None:
    packed = CandidateList(keys).pack()
    assert CandidateList.unpack(packed + rest) == (keys, rest)
    for stop in range(len(packed)):
        with pytest.raises(CryptoException):
            CandidateList.unpack(packed[:stop])
    session = numbered_keys(1)
    assert open_candidates(session, seal_candidates(session, 1, keys, rest)) == (keys, rest)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_list(data: bytes) -> None:
    try:
        keys, rest = CandidateList.unpack(data)
    except CryptoException:
        return
    assert keys.pack() + rest == data


def test_any_error_of_a_key_is_one_kind() -> None:
    class Key:
        def diffie_hellman(self, _: Any) -> bytes:
            raise ValueError("as it likes")

    with pytest.raises(CryptoException, match="as it likes"):
        accept(bytes(32), Key(), bytes(32), Key())
