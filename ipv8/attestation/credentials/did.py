"""Ed25519 keys as ``did:key`` (W3C CCG, The did:key Method v0.9) and as JWK (RFC 8037)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...keyvault.public.libnaclkey import LibNaCLPK
from .claims import b64decode, b64encode
from .errors import CredentialError

if TYPE_CHECKING:
    from ...keyvault.keys import Key, PublicKey

__all__ = ["did_of", "did_of_verify_key", "jwk_of", "key_from_verify_key", "require_curve25519", "verify_key_of",
           "verify_key_of_did", "verify_key_of_jwk"]

PREFIX = "did:key:z"
ED25519 = b"\xed\x01"
"""The multicodec of an Ed25519 public key."""

VERIFY_KEY_SIZE = 32
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MAX_DID_SIZE = 64


def require_curve25519(key: Key) -> None:
    """``ValueError`` if a key cannot sign or hold credentials."""
    if key.pub().curve_name() != "curve25519":
        raise ValueError(f"credentials need curve25519 keys, not {key.pub().curve_name()}: make one with "
                         "generate_key('curve25519')")


def verify_key_of(key: Key) -> bytes:
    """The Ed25519 half of a public key, 32 bytes."""
    require_curve25519(key)
    return key.pub().key_to_bin()[-VERIFY_KEY_SIZE:]


def key_from_verify_key(verify_key: bytes) -> PublicKey:
    """A key that can only verify signatures."""
    return LibNaCLPK(verify_key + verify_key)


@lru_cache(maxsize=1024)
def did_of_verify_key(verify_key: bytes) -> str:
    """The ``did:key`` of an Ed25519 key."""
    number = int.from_bytes(ED25519 + verify_key, "big")
    digits = ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return PREFIX + digits


def did_of(key: Key) -> str:
    """The ``did:key`` of a curve25519 key; it tells the Ed25519 half only."""
    return did_of_verify_key(verify_key_of(key))


def verify_key_of_did(did: str) -> bytes:
    """The Ed25519 key of a ``did:key``; ``CredentialError`` if it is none."""
    if not did.startswith(PREFIX) or len(did) > MAX_DID_SIZE:
        raise CredentialError("not a did:key of an Ed25519 key")
    number = 0
    for digit in did[len(PREFIX):]:
        place = ALPHABET.find(digit)
        if place < 0:
            raise CredentialError("not a did:key of an Ed25519 key")
        number = number * len(ALPHABET) + place
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) != len(ED25519) + VERIFY_KEY_SIZE or not data.startswith(ED25519) or did[len(PREFIX)] == ALPHABET[0]:
        raise CredentialError("not a did:key of an Ed25519 key")
    return data[len(ED25519):]


def jwk_of(key: Key) -> dict[str, str]:
    """The Ed25519 half of a key as JWK."""
    return {"crv": "Ed25519", "kty": "OKP", "x": b64encode(verify_key_of(key))}


def verify_key_of_jwk(jwk: Any) -> bytes:
    """The Ed25519 key of a JWK; ``CredentialError`` if it is none."""
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or not isinstance(
            jwk.get("x"), str):
        raise CredentialError("not the JWK of an Ed25519 key")
    verify_key = b64decode(jwk["x"])
    if len(verify_key) != VERIFY_KEY_SIZE:
        raise CredentialError("not the JWK of an Ed25519 key")
    return verify_key
