"""Key agreement with the hops of a circuit (doc/protocol/tunnels.md section 4)."""

from __future__ import annotations

import hmac
from hashlib import sha512
from itertools import pairwise
from struct import Struct, error
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .session_keys import BACKWARD, FORWARD, CryptoException, SessionKeys

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BACKWARD",
    "FORWARD",
    "MAX_CANDIDATES",
    "CandidateList",
    "CryptoException",
    "DiffieHellman",
    "SessionKeys",
    "accept",
    "authenticate",
    "complete",
    "cut_keys",
    "derive_keys",
    "expand",
    "is_authentic",
    "open_candidates",
    "seal_candidates",
]

HALF_SIZE = 32
AUTH_SIZE = 32
SECRET_SIZE = 64
KEYS_SIZE = 72
KEYS_LABEL = b"key_generation"

MAX_CANDIDATES = 4
"""Relays, and exits, of a list of candidates."""

_LENGTH = Struct(">H")

_OTHER_SIDE = 1 << 63
"""The first bit of the counters with which a joining node seals in the direction that the other side seals in."""


class DiffieHellman(Protocol):
    """A private key, as far as the key agreement needs it."""

    def diffie_hellman(self, peer: bytes, /) -> bytes:
        """The secret, 32 bytes, that is shared with the owner of an X25519 public key; ``ValueError`` for bad ones."""


# Primitives


def authenticate(key: bytes, message: bytes) -> bytes:
    """A code, 32 bytes, that only who knows ``key`` can make: the first half of HMAC-SHA-512."""
    return hmac.digest(key, message, sha512)[:AUTH_SIZE]


def is_authentic(code: bytes, key: bytes, message: bytes) -> bool:
    """Whether ``code`` is the one of a message, in a time that does not depend on its content."""
    return hmac.compare_digest(code, authenticate(key, message))


def expand(secret: bytes, label: bytes, size: int) -> bytes:
    """``size`` bytes derived from a secret of full entropy, different for each label: HKDF-Expand with SHA-256."""
    return HKDFExpand(SHA256(), size, label).derive(secret)


# Key agreement


def accept(received: bytes, ephemeral: DiffieHellman, own_half: bytes, identity: DiffieHellman) -> tuple[bytes, bytes]:
    """The joining side: the shared secret, 64 bytes, and the code that proves it.

    :param received: the X25519 half that came with the create.
    :param ephemeral: a key that is made for this circuit, and ``own_half`` its X25519 public key.
    :param identity: the key that the node is known by.
    :raises CryptoException: if ``received`` is no X25519 key.
    """
    secret = _shared(ephemeral, received) + _shared(identity, received)
    return secret, authenticate(secret[:HALF_SIZE], own_half)


def complete(ephemeral: DiffieHellman, received: bytes, auth: bytes, identity: bytes) -> bytes:
    """The initiating side: the shared secret, 64 bytes.

    That the other side has the identity key is only known once something opens under keys of the secret.

    :param received: the X25519 half that the other side has made.
    :param auth: the code that came with it.
    :param identity: the X25519 half of the public key that the other side is known by.
    :raises CryptoException: if ``received`` is no X25519 key, or ``auth`` is not the code for it.
    """
    fresh = _shared(ephemeral, received)
    if not is_authentic(auth, fresh, received):
        raise CryptoException("the other side has not proved that it shares the secret")
    return fresh + _shared(ephemeral, identity)


def _shared(key: DiffieHellman, peer: bytes) -> bytes:
    try:
        return key.diffie_hellman(peer)
    except ValueError as e:
        raise CryptoException(str(e)) from None


def derive_keys(secret: bytes) -> SessionKeys:
    """The session keys of a shared secret; both counters are 1."""
    return cut_keys(expand(secret, KEYS_LABEL, KEYS_SIZE))


def cut_keys(material: bytes) -> SessionKeys:
    """The session keys that are made of 72 derived bytes."""
    return SessionKeys(key_backward=material[:32], key_forward=material[32:64], salt_backward=material[64:68],
                       salt_forward=material[68:72])


# Candidates for the next hop


class CandidateList(list[bytes]):
    """The public keys that a node proposes as next hops, as they are sent: relays, then exits, the first one twice."""

    @classmethod
    def of(cls, relays: Iterable[bytes], exits: Iterable[bytes]) -> CandidateList:
        """The list of at most ``MAX_CANDIDATES`` relays and as many exits."""
        last = list(exits)[:MAX_CANDIDATES]
        return cls([*list(relays)[:MAX_CANDIDATES], *last[:1], *last])

    @property
    def separator(self) -> int:
        """The index of the first of two equal neighbours; the length if there are none."""
        return next((index for index, (key, after) in enumerate(pairwise(self)) if key == after), len(self))

    @property
    def relays(self) -> list[bytes]:
        """The keys before the first one that is followed by itself."""
        return list(self[:self.separator])

    @property
    def exits(self) -> list[bytes]:
        """The keys from there on, without the repetition."""
        return list(self[self.separator + 1:])

    def pack(self) -> bytes:
        """The bytes of the list: the number of keys, and each key after its length."""
        return b"".join([bytes((len(self),)), *(_LENGTH.pack(len(key)) + key for key in self)])

    @classmethod
    def unpack(cls, data: bytes) -> tuple[CandidateList, bytes]:
        """The list that ``data`` start with, and the rest of the data.

        :raises CryptoException: if the data are cut off.
        """
        keys = cls()
        offset = 1
        try:
            for _ in range(data[0]):
                (length,) = _LENGTH.unpack_from(data, offset)
                start = offset + _LENGTH.size
                offset = start + length
                keys.append(data[start:offset])
        except (error, IndexError):
            offset = len(data) + 1
        if offset > len(data):
            raise CryptoException("the list of candidates is cut off")
        return keys, data[offset:]


def seal_candidates(keys: SessionKeys, chance: int, candidates: Iterable[bytes], rest: bytes = b"") -> bytes:
    """The list of candidates that goes with a created message.

    It is sealed with the key of the direction away from the builder, although it travels toward him. So that no nonce
    is used twice, the first bit of the counter is one that the builder never sets.

    :param chance: 63 random bits.
    :param rest: what follows the list. Nodes of other releases ignore it.
    """
    return keys.forward.seal_at(_OTHER_SIDE | chance, CandidateList(candidates).pack() + rest)


def open_candidates(keys: SessionKeys, sealed: bytes) -> tuple[CandidateList, bytes]:
    """The list of candidates, and what follows it.

    That it opens proves that the other side has the identity key: nobody else knows the session keys.

    :raises CryptoException: if it does not open, or the list is cut off.
    """
    return CandidateList.unpack(keys.forward.open_again(sealed))
