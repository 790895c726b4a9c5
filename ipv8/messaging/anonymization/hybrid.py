"""Session keys that a quantum computer cannot find either: X25519 and ML-KEM-768 (doc/protocol/tunnels.md section 8).

Both sides have session keys already. The node that built the circuit sends an ML-KEM public key in two parts, and the
hop answers with a secret that is encrypted to it, also in two parts. The new session keys are made of the old ones and
of that secret, so they are secret while either of both is. All of this travels inside the circuit, so nobody else can
offer or answer anything.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ...keyvault.ml_kem import CIPHERTEXT_SIZE, PUBLIC_KEY_SIZE, PrivateKey, encapsulate, make_key
from .handshake import KEYS_SIZE, cut_keys
from .session_keys import CryptoException, SessionKeys

__all__ = ["DONE", "HOP_MESSAGE", "HOP_MESSAGES", "OFFER", "REPLY", "Offer", "Part", "Parts", "read_part", "reply_to"]

HOP_MESSAGE = 0x80
"""The first byte of a message for one hop, which may be in the middle of a circuit, is at least this. That of an
encrypted layer is lower, as counters are."""

OFFER = HOP_MESSAGE | 36
REPLY = HOP_MESSAGE | 37

DONE = HOP_MESSAGE | 38
"""A message without content, the first one that is sealed with the new keys."""

HOP_MESSAGES = frozenset({OFFER, REPLY, DONE})
"""At the end of a circuit, where there is no further layer, programs may use the other ids from ``HOP_MESSAGE`` on."""

LABEL = b"ipv8 tunnel hybrid 1"

PARTS = 2

_HEADER = Struct(">BB8s")
"""The id of the message, the number of the part, and the first bytes of the hash of the public key."""

NAME_SIZE = 8


class Part(NamedTuple):
    """One of the parts of an offer or a reply."""

    msg_id: int
    number: int
    name: bytes
    """Which offer it belongs to."""
    content: bytes


def read_part(message: bytes) -> Part:
    """The part in a message.

    :raises CryptoException: if it is none.
    """
    if len(message) < _HEADER.size:
        raise CryptoException("too short for a part of a key")
    msg_id, number, name = _HEADER.unpack_from(message)
    size = {OFFER: PUBLIC_KEY_SIZE, REPLY: CIPHERTEXT_SIZE}.get(msg_id, 0) // PARTS
    content = message[_HEADER.size:_HEADER.size + size]
    if not size or number >= PARTS or len(content) != size:
        raise CryptoException("not a part of a key")
    return Part(msg_id, number, name, content)


def _split(msg_id: int, name: bytes, whole: bytes) -> list[bytes]:
    size = len(whole) // PARTS
    return [_HEADER.pack(msg_id, number, name) + whole[number * size:(number + 1) * size] for number in range(PARTS)]


class Parts:
    """The parts of one key or secret that have arrived."""

    __slots__ = ("_parts", "name")

    def __init__(self, name: bytes) -> None:
        #: Which offer they belong to.
        self.name = name
        self._parts: dict[int, bytes] = {}

    def add(self, part: Part) -> bytes | None:
        """All parts together, if none is missing any more."""
        self._parts.setdefault(part.number, part.content)
        return b"".join(self._parts[number] for number in range(PARTS)) if len(self._parts) == PARTS else None


def _combine(keys: SessionKeys, shared: bytes, public_key: bytes, ciphertext: bytes) -> SessionKeys:
    """The new session keys, made of the old ones and a shared secret."""
    secret = keys.key_forward + keys.key_backward + shared
    return cut_keys(HKDF(SHA256(), KEYS_SIZE, LABEL, sha256(public_key + ciphertext).digest()).derive(secret))


class Offer:
    """The side that built the circuit.

    :param keys: the session keys of a hop.
    :param kem: an ML-KEM-768 key and its public key, by default new ones.
    """

    def __init__(self, keys: SessionKeys, kem: tuple[PrivateKey, bytes] | None = None) -> None:
        self._keys = keys
        self._private_key, self._public_key = kem or make_key()
        name = sha256(self._public_key).digest()[:NAME_SIZE]
        self._received = Parts(name)
        #: What to send, until there is an answer.
        self.messages = _split(OFFER, name, self._public_key)

    def receive(self, part: Part) -> SessionKeys | None:
        """The new session keys, once all parts of the reply were received."""
        if part.msg_id != REPLY or part.name != self._received.name:
            return None
        ciphertext = self._received.add(part)
        if ciphertext is None:
            return None
        return _combine(self._keys, self._private_key.decapsulate(ciphertext), self._public_key, ciphertext)


def reply_to(keys: SessionKeys, name: bytes, public_key: bytes,
             encapsulated: tuple[bytes, bytes] | None = None) -> tuple[SessionKeys, list[bytes]]:
    """The other side: the new session keys, and what to send.

    :param name: which offer the public key is of.
    :param encapsulated: a secret and its ciphertext for the public key, by default new ones.
    :raises CryptoException: if this is not the public key of that offer, or no key.
    """
    if sha256(public_key).digest()[:NAME_SIZE] != name:
        raise CryptoException("the parts are not of one offer")
    try:
        shared, ciphertext = encapsulated or encapsulate(public_key)
    except ValueError as e:
        raise CryptoException(str(e)) from None
    return _combine(keys, shared, public_key, ciphertext), _split(REPLY, name, ciphertext)
