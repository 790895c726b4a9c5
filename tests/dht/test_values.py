"""Reading and signing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipv8.dht import values as values_module
from ipv8.dht.storage import Storage
from ipv8.dht.values import (
    MAX_VERSION_LEAD,
    SIGNATURES_AT_ONCE,
    SIGNATURES_PER_SECOND,
    STORED_SIGNATURES_AT_ONCE,
    ValueReader,
    ValueSigner,
    is_malformed,
    keep,
    key_for,
    parse,
    sign,
    unsigned,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.verification import SignatureGuard

if TYPE_CHECKING:
    import pytest

KEY = default_eccrypto.generate_key("curve25519")
PUBLIC = KEY.pub().key_to_bin()
FIELDS = len(PUBLIC).to_bytes(2, "big") + PUBLIC + bytes(64)
"""The end of a signed value with a bad signature, from the length of the key on."""


def with_bad_signature(value: bytes) -> bytes:
    return value[:-1] + bytes((value[-1] ^ 1,))


def make_reader() -> ValueReader:
    return ValueReader(SignatureGuard())


def test_each_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def noting(value: bytes, *arguments: Any) -> Any:
        read.append(value)
        return parse(value, *arguments)

    monkeypatch.setattr(values_module, "parse", noting)
    reader, good, bad = make_reader(), sign(b"good", KEY, 1), with_bad_signature(sign(b"bad", KEY, 1))
    for _ in range(3):
        assert reader.read(good) == (b"good", PUBLIC, 1)
        assert reader.read(bad) is None
        assert reader.read(unsigned(b"data")) == (b"data", None, 0)
        assert reader.read(b"") is None
    assert reader.affordable([good, bad, unsigned(b"data")], "1.2.3.4", was_asked=False) == [good, bad,
                                                                                            unsigned(b"data")]
    other = sign(b"other", KEY, 1)
    for was_asked in (False, True):
        assert reader.affordable([other], "1.2.3.4", was_asked) == [other]
        assert reader.read(other) == (b"other", PUBLIC, 1)
    assert [value for value in read if value[:1] == b"\x01"] == [good, bad, other]


def test_signatures_are_verified_within_the_budget_of_a_network(two_clocks: Any) -> None:
    reader = make_reader()
    values = [b"\x01\x00\x00" + number.to_bytes(4, "big") + FIELDS for number in range(400)]
    assert len(reader.affordable(values, "8.8.8.8", was_asked=False)) == SIGNATURES_AT_ONCE
    assert reader.affordable(values[-1:], "8.8.8.9", was_asked=False) == []
    assert reader.affordable(values[-1:], "2a00::1", was_asked=False) == values[-1:]
    assert reader.affordable([b"\x00data", values[0]], "8.8.8.9", was_asked=False) == [b"\x00data", values[0]]
    two_clocks.advance(1)
    assert len(reader.affordable(values, "8.8.8.8", was_asked=False)) == (SIGNATURES_AT_ONCE + SIGNATURES_PER_SECOND
                                                                          + 1)


def test_all_stores_together_have_a_budget_and_lookups_their_own(two_clocks: Any) -> None:
    reader = make_reader()
    for number in range(1000):
        value = b"\x01\x00\x00" + number.to_bytes(4, "big") + FIELDS
        kept = reader.affordable([value], f"20.{number >> 8}.{number & 255}.1", was_asked=False)
        assert bool(kept) == (number < STORED_SIGNATURES_AT_ONCE)
    assert reader.affordable([value], "99.9.9.9", was_asked=True) == [value]


def test_costly_signatures_have_the_budget_of_the_endpoint(two_clocks: Any) -> None:
    guard = SignatureGuard()
    reader = ValueReader(guard)
    key = default_eccrypto.generate_key("very-low")
    values = [with_bad_signature(sign(b"", key, number)) for number in range(20)]
    guard.charge_costly("8.8.8.8", 1.0)
    assert reader.affordable(values, "8.8.8.8", was_asked=False) == []
    assert not reader._read
    for value in values:
        two_clocks.advance(3600)
        assert reader.affordable([value], "8.8.8.8", was_asked=False) == [value]
    assert [reader.read(value) for value in values] == [None] * 20


def test_what_no_node_can_read() -> None:
    good = sign(b"data", KEY, 1)
    for value in (b"", b"\x01", b"\x01\x00\x05a", good[:40]):
        assert is_malformed(value)
    for value in (good, with_bad_signature(good), good[:-1], b"\x00", b"\x07", b"\x01" + bytes(8)):
        assert not is_malformed(value)


def test_what_was_verified_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "MAX_READ_VALUES", 2)
    reader = make_reader()
    for version in range(5):
        assert reader.read(sign(b"v", KEY, version)) == (b"v", PUBLIC, version)
    assert len(reader._read) == 2
    large = sign(bytes(400), KEY, 1)
    assert reader.read(large) == parse(large)
    assert large not in reader._read


def test_versions_do_not_go_down_with_the_clock(two_clocks: Any) -> None:
    signer = ValueSigner(KEY)

    def version() -> int:
        entry = parse(signer.sign(b"data"))
        assert entry is not None
        return entry.version

    now = int(two_clocks.wall)
    assert version() == now
    two_clocks.wall -= 600
    assert version() == now
    two_clocks.wall += 601
    assert version() == now + 1
    # A clock that was far ahead is not followed: nodes refused what was signed then.
    two_clocks.wall += 2 * MAX_VERSION_LEAD
    assert version() == now + 1 + 2 * MAX_VERSION_LEAD
    two_clocks.wall -= 2 * MAX_VERSION_LEAD
    assert version() == now + 1


def test_the_newest_value_of_a_signer_is_kept() -> None:
    storage = Storage()
    for data, version, kept in ((b"b", 2, True), (b"a", 1, False), (b"c", 2, True)):
        value = sign(data, KEY, version)
        assert keep(storage, b"k", value, (data, PUBLIC, version), 60) == kept
    assert storage.get(b"k") == [sign(b"c", KEY, 2)]
    assert keep(storage, b"k", unsigned(b"d"), (b"d", None, 0), 60)
    assert keep(storage, b"k", unsigned(b"e"), (b"e", None, 0), 60)
    assert len(storage.get(b"k")) == 3


def test_keys_of_signers() -> None:
    assert key_for(PUBLIC) == key_for(KEY.pub()) == KEY.pub().key_to_hash()
    assert key_for(PUBLIC, b"salt") != key_for(PUBLIC)
    storage = Storage()
    keep(storage, key_for(PUBLIC), sign(b"mine", KEY, 1), (b"mine", PUBLIC, 1), 60)
    assert storage.items[key_for(PUBLIC)][0].id == key_for(PUBLIC)
