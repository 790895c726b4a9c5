"""The encoding of claims, which both forms of a credential share (doc/protocol/credentials.md section 2).

A claim is a JSON array of a salt, a name and a value. It is what RFC 9901 section 4.2.1 calls a disclosure, before the
encoding as base64url.
"""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha3_256, sha256
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import entropy
from ..foreign_json import finite, refuse_constant
from .errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_CLAIM_SIZE", "RESERVED_NAMES", "Claim", "b64decode", "b64encode", "claim_digest", "leaf_of",
           "make_claim", "names_of", "read_claim", "read_json", "write_json"]

MAX_CLAIM_SIZE = 4096
"""Bytes of an encoded claim."""

SALT_SIZE = 16

RESERVED_NAMES = frozenset({"_sd", "...", "_sd_alg", "iss", "iat", "exp", "nbf", "cnf", "vct", "vct#integrity",
                            "status"})
"""Names that claims cannot have, because they have a meaning in an SD-JWT."""

LEAF = b"\x00"
"""In front of what is hashed to a leaf of the tree."""

BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_encode_sorted = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


class Claim(NamedTuple):
    """One claim; ``encoded`` has the bytes that are hashed."""

    encoded: bytes
    name: str
    value: Any


def b64encode(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64decode(text: str | bytes) -> bytes:
    """The inverse of :func:`b64encode`; ``CredentialError`` for anything that it does not return."""
    try:
        characters = text if isinstance(text, str) else text.decode("ascii")
        if BASE64URL.fullmatch(characters) is None:
            raise ValueError
        data = base64.urlsafe_b64decode(characters + "=" * (-len(characters) % 4))
    except ValueError:
        raise CredentialError("not base64url without padding") from None
    if b64encode(data) != characters:
        raise CredentialError("not the canonical form of base64url")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CredentialError("a JSON object has a name twice")
    return found


def read_json(data: str | bytes) -> Any:
    """JSON in UTF-8, without names that are in an object twice, and with finite numbers.

    :raises CredentialError: for anything else.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        return json.loads(text, object_pairs_hook=_unique, parse_constant=refuse_constant, parse_float=finite)
    except CredentialError:
        raise
    except (ValueError, RecursionError) as e:
        raise CredentialError(f"not JSON: {e}") from None


def write_json(content: Any) -> bytes:
    """JSON in ASCII, without blanks and with sorted names.

    :raises ValueError: if it has numbers that JSON does not have.
    :raises TypeError: if it has values that JSON does not have.
    """
    return _encode_sorted(content).encode()


def make_claim(name: str, value: Any, salt: bytes | None = None) -> Claim:
    """Encode a claim with a new salt.

    :raises ValueError: if the name is reserved or empty, or the claim is too long.
    :raises TypeError: if the value is not JSON.
    """
    if not isinstance(name, str) or not name or name in RESERVED_NAMES:
        raise ValueError(f"a claim cannot have the name {name!r}: choose another one")
    salted = b64encode(entropy.randbytes(SALT_SIZE) if salt is None else salt)
    encoded = f'["{salted}",{encode_basestring_ascii(name)},{_encode(value)}]'.encode()
    if len(encoded) > MAX_CLAIM_SIZE:
        raise ValueError(f"the claim {name!r} has {len(encoded)} bytes, and {MAX_CLAIM_SIZE} are possible: put the "
                         "hash of a large value into it")
    return Claim(encoded, name, value)


def read_claim(encoded: bytes) -> Claim:
    """Decode a claim that somebody sent.

    :raises CredentialError: if it is not one.
    """
    if len(encoded) > MAX_CLAIM_SIZE:
        raise CredentialError(f"a claim has {len(encoded)} bytes")
    content = read_json(encoded)
    if not (isinstance(content, list) and len(content) == 3 and isinstance(content[0], str)
            and isinstance(content[1], str)):
        raise CredentialError("a claim is not an array of salt, name and value")
    _, name, value = content
    if not name or name in RESERVED_NAMES:
        raise CredentialError(f"a claim has the name {name!r}")
    return Claim(encoded, name, value)


def leaf_of(encoded: bytes) -> bytes:
    """The leaf of the tree for a claim, 32 bytes."""
    return sha3_256(LEAF + encoded).digest()


def claim_digest(encoded: bytes) -> str:
    """The digest of a claim in an SD-JWT: the SHA-256 of its base64url form, as base64url."""
    return b64encode(sha256(b64encode(encoded).encode()).digest())


def names_of(claims: Iterable[Claim]) -> dict[str, Any]:
    """The values of claims by their names; ``CredentialError`` if two have the same name."""
    return _unique([(claim.name, claim.value) for claim in claims])
