from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.backend import hsalsa20, provider, sodium

if TYPE_CHECKING:
    from ipv8.keyvault.backend.provider import Provider

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

requires_both = pytest.mark.skipif(len(provider.available()) < 2, reason="there is one provider only on this machine")


def both() -> list[Provider]:
    providers = []
    for name in provider.NAMES:
        with provider.use(name) as chosen:
            providers.append(chosen)
    return providers


def test_the_choice_lasts_for_the_block() -> None:
    before = provider.current()
    with provider.use("cryptography") as chosen:
        assert provider.current() is chosen
        assert chosen.name == "cryptography"
    assert provider.current() is before
    assert before.name == provider.available()[0]


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of libsodium, cryptography"), provider.use("rot13"):
        pass


def test_a_provider_that_does_not_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_provider", {"libsodium": None}.__getitem__)
    with pytest.raises(ValueError, match="libsodium cannot be loaded"), provider.use("libsodium"):
        pass


def test_without_libnacl_there_is_no_libsodium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libnacl", cast("ModuleType", None))
    assert sodium.load() is None


def test_a_library_without_the_functions_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Incomplete:
        def __getitem__(self, name: str) -> None:
            raise AttributeError(name)

    module = ModuleType("libnacl")
    module.nacl = Incomplete()  # type: ignore[attr-defined]  # what libnacl calls its library handle
    monkeypatch.setitem(sys.modules, "libnacl", module)
    assert sodium.load() is None


def test_the_second_choice_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with provider.use("cryptography") as fallback:
        pass
    monkeypatch.setattr(provider, "_provider", {"libsodium": None, "cryptography": fallback}.__getitem__)
    monkeypatch.setattr(provider, "_preferred", provider._preferred.__wrapped__)
    assert provider.current() is fallback


def test_another_thread_does_not_use_the_provider_of_a_block() -> None:
    preferred = provider.current()
    with provider.use("cryptography") as fallback, ThreadPoolExecutor(1) as thread:
        assert provider.current() is fallback
        assert thread.submit(provider.current).result() is preferred
    assert provider.current() is preferred


@requires_both
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
@settings(deadline=None, max_examples=40)
def test_both_sign_and_verify_alike(seed: bytes, message: bytes) -> None:
    one, other = both()
    signer, twin = one.signer(seed), other.signer(seed)
    signature = signer.sign(message)
    assert twin.verify_key == signer.verify_key
    assert twin.sign(message) == signature
    for judge in (one, other):
        assert judge.verify(signer.verify_key, signature, message)
        assert not judge.verify(signer.verify_key, signature, message + b"\0")


@requires_both
@given(secret=st.binary(min_size=32, max_size=32), peer=st.binary(min_size=32, max_size=32))
@settings(deadline=None, max_examples=40)
def test_both_share_alike(secret: bytes, peer: bytes) -> None:
    one, other = both()
    assert one.crypt_public(secret) == other.crypt_public(secret)
    public = one.crypt_public(peer)
    assert one.shared(secret, public) == other.shared(secret, public)
    assert one.shared(secret, public) == one.shared(peer, one.crypt_public(secret))


@requires_both
@given(
    key=st.binary(min_size=32, max_size=32),
    signature=st.binary(min_size=64, max_size=64),
    flips=st.lists(st.integers(0, 511), max_size=2),
)
@settings(deadline=None, max_examples=100)
def test_both_judge_alike(key: bytes, signature: bytes, flips: list[int]) -> None:
    one, other = both()
    assert one.verify(key, signature, b"message") == other.verify(key, signature, b"message")
    signer = one.signer(key)
    number = int.from_bytes(signer.sign(b"message"), "little")
    for bit in flips:
        number ^= 1 << bit
    flipped = number.to_bytes(64, "little")
    verdict = one.verify(signer.verify_key, flipped, b"message")
    assert verdict == other.verify(signer.verify_key, flipped, b"message")
    assert verdict == (flipped == signer.sign(b"message"))


def test_an_s_above_the_group_order_is_refused(backend: str) -> None:
    chosen = provider.current()
    signer = chosen.signer(bytes(32))
    signature = signer.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not chosen.verify(signer.verify_key, signature[:32] + s.to_bytes(32, "little"), b"message")


def test_hsalsa20_of_the_nacl_paper() -> None:
    """Section 8 of "Cryptography in NaCl" (Bernstein, 2009): the first key of its example."""
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    expected = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"
    assert hsalsa20.derive(shared).hex() == expected
