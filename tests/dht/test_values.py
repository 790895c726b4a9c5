"""Reading and signing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipv8.dht import values as values_module
from ipv8.dht.storage import Storage
from ipv8.dht.values import MAX_VERSION_LEAD, ValueReader, ValueSigner, keep, key_for, parse, sign, unsigned
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    import pytest

KEY = default_eccrypto.generate_key("curve25519")
PUBLIC = KEY.pub().key_to_bin()


def test_each_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def noting(value: bytes) -> Any:
        read.append(value)
        return parse(value)

    monkeypatch.setattr(values_module, "parse", noting)
    reader, good, bad = ValueReader(), sign(b"good", KEY, 1), sign(b"bad", KEY, 1)[:-1] + b"?"
    for _ in range(3):
        assert reader.read(good) == (b"good", PUBLIC, 1)
        assert reader.read(bad) is None
        assert reader.read(unsigned(b"data")) == (b"data", None, 0)
        assert reader.read(b"") is None
    assert [value for value in read if value[:1] == b"\x01"] == [good, bad]


def test_what_was_verified_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "MAX_READ_VALUES", 2)
    reader = ValueReader()
    for version in range(5):
        assert reader.read(sign(b"v", KEY, version)) == (b"v", PUBLIC, version)
    assert len(reader._verified) == 2
    large = sign(bytes(400), KEY, 1)
    assert reader.read(large) == parse(large)
    assert large not in reader._verified


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
