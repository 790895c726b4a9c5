"""Encryption to a public key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.backend import provider
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.sealing import SEAL_OVERHEAD, NotSealedForUsError, open_sealed, seal

KEY, OTHER = (default_eccrypto.generate_key("curve25519") for _ in range(2))


@given(plaintext=st.binary(max_size=100), context=st.binary(max_size=10))
@settings(deadline=None)
def test_round_trip(plaintext: bytes, context: bytes) -> None:
    sealed = seal(KEY.pub(), plaintext, context)
    assert len(sealed) == len(plaintext) + SEAL_OVERHEAD
    assert open_sealed(KEY, sealed, context) == plaintext
    for key, other_context in ((OTHER, context), (KEY, context + b"x")):
        with pytest.raises(NotSealedForUsError):
            open_sealed(key, sealed, other_context)


def test_by_hand() -> None:
    """What doc/protocol/keys.md section 9 says."""
    sealed = seal(KEY.pub(), b"plaintext", b"context")
    sender, receiver = sealed[:32], KEY.get_crypt_pk()
    key = HKDF(SHA256(), 32, None, b"ipv8-seal-v1" + sender + receiver).derive(KEY.diffie_hellman(sender))
    assert ChaCha20Poly1305(key).decrypt(bytes(12), sealed[32:], b"context") == b"plaintext"


@given(position=st.integers(0, 1000), bit=st.integers(0, 7))
@settings(deadline=None)
def test_flipped_bits(position: int, bit: int) -> None:
    sealed = bytearray(seal(KEY.pub(), b"plaintext"))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(NotSealedForUsError):
        open_sealed(KEY, bytes(sealed))


@given(data=st.binary(max_size=100))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(NotSealedForUsError):
        open_sealed(KEY, data)


def test_points_of_low_order() -> None:
    with pytest.raises(NotSealedForUsError):
        open_sealed(KEY, bytes(100))


def test_other_curves() -> None:
    with pytest.raises(ValueError, match="25519"):
        seal(default_eccrypto.generate_key("low").pub(), b"plaintext")


def test_all_providers_agree() -> None:
    for one in provider.available():
        with provider.use(one):
            key = default_eccrypto.key_from_private_bin(KEY.key_to_bin())
            sealed = seal(key.pub(), b"plaintext")
        assert open_sealed(KEY, sealed) == b"plaintext"
