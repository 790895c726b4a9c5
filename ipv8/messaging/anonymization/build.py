"""Building a circuit of several hops in one round trip (doc/protocol/tunnels.md section 7).

A create is followed by a block of fixed size. In it, each hop finds which node to ask next, with which key, and the
block for that node: a header as in Sphinx (Danezis and Goldberg, 2009). The last hop gets bytes that it cannot tell
from random ones, like all nodes whose create asks for one hop only. A created is followed by the answers of the next
hops in as many slots. All messages have the same size on each link, whatever their position.
"""

from __future__ import annotations

import hmac
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from ..address import UDPv4Address, UDPv6Address
from ..inet import ipv4_to_bytes, ipv4_to_text, ipv6_to_bytes, ipv6_to_text
from .handshake import AUTH_SIZE, HALF_SIZE, CandidateList, authenticate, expand, open_candidates, seal_candidates
from .session_keys import LAYER_OVERHEAD, CryptoException, SessionKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..address import Address

__all__ = ["BLOCK_SIZE", "CONTROL_SIZE", "MAX_BUILT_HOPS", "TAIL_SIZE", "Answer", "PlannedHop", "Step", "block_of",
           "make_block", "open_answer", "pad", "read_block", "seal_answer"]

KEY_PREFIX = b"LibNaCLPK:"
KEY_SIZE = 64
MAC_SIZE = 16

_RECORD = Struct(">64s32sB16sHB16s")
"""The next node's public key without its prefix, the half of the key agreement for it, the type, host and port of its
address, how long to wait for it, and the code of the rest of the block."""

RECORD_SIZE = _RECORD.size

MAX_BUILT_HOPS = 4
"""Hops that one block can ask for, the one that gets it included."""

BODY_SIZE = (MAX_BUILT_HOPS - 1) * RECORD_SIZE

BLOCK_SIZE = MAC_SIZE + BODY_SIZE
"""Bytes of a block."""

CONTROL_SIZE = 544
"""Bytes to which the messages that build and keep circuits are padded: those of an extend to an IPv6 address."""

BLOCK_LABEL = b"ipv8 tunnel build 1 block"
ANSWER_LABEL = b"ipv8 tunnel build 1 answer"

PROOF_SIZE = LAYER_OVERHEAD + 1
SLOT_SIZE = HALF_SIZE + AUTH_SIZE + PROOF_SIZE
TAIL_SIZE = (MAX_BUILT_HOPS - 1) * SLOT_SIZE
"""Bytes behind the proof of an answer."""

TENTHS = 10


class PlannedHop(NamedTuple):
    """A hop of a circuit that is to be built in one pass."""

    public_key: bytes
    """The identity key, 74 bytes."""
    address: Address
    """Where the hop before it reaches it; of no use for the first one."""
    half: bytes
    """The X25519 half that was made for it."""
    shared: bytes
    """The secret of that half and its identity key."""


class Step(NamedTuple):
    """What a hop finds in its block."""

    public_key: bytes
    """The identity key of the next node, 74 bytes."""
    address: Address
    half: bytes
    """The ``key`` of the create for it."""
    wait: float
    """After how many seconds without an answer of the next node to answer alone."""
    block: bytes
    """The block for it."""


class Answer(NamedTuple):
    """What a hop answers: the fields of created and extended messages."""

    key: bytes
    auth: bytes
    sealed: bytes


def pad(message: bytes) -> bytes:
    """A message with zero bytes behind it, up to ``CONTROL_SIZE``. Receivers ignore them."""
    return message.ljust(CONTROL_SIZE, b"\0")


# Going


def _stream(key: bytes, data: bytes) -> bytes:
    """``data`` combined with the key stream of ChaCha20; each key is used for one stream."""
    return Cipher(ChaCha20(key, bytes(16)), None).encryptor().update(data)


def _block_keys(shared: bytes, half: bytes, identity: bytes) -> tuple[bytes, bytes]:
    """The keys of the stream and of the code of one hop's block."""
    material = expand(shared, BLOCK_LABEL + half + identity, 2 * HALF_SIZE)
    return material[:HALF_SIZE], material[HALF_SIZE:]


def _pack_address(address: Address) -> tuple[int, bytes, int]:
    host, port = address[0], address[1]
    return (3, ipv6_to_bytes(host), port) if ":" in host else (1, ipv4_to_bytes(host), port)


def _unpack_address(kind: int, host: bytes, port: int) -> Address | None:
    if kind == 1:
        return UDPv4Address(ipv4_to_text(host[:4]), port)
    return UDPv6Address(ipv6_to_text(host), port) if kind == 3 else None


def make_block(hops: Sequence[PlannedHop], filling: bytes) -> bytes:
    """The block that the first of ``hops`` gets, so that the others become the next ones.

    :param filling: random bytes, ``BLOCK_SIZE`` of them.
    :raises ValueError: if there are not two to ``MAX_BUILT_HOPS`` hops.
    """
    if not 2 <= len(hops) <= MAX_BUILT_HOPS:
        raise ValueError(f"a block is for 2 to {MAX_BUILT_HOPS} hops, not {len(hops)}")
    keys = [_block_keys(hop.shared, hop.half, hop.public_key[len(KEY_PREFIX):][:HALF_SIZE]) for hop in hops[:-1]]
    # What is pushed out at the front comes in at the back, so the end of each body follows from the hops before.
    end = b""
    for stream_key, _ in keys[:-1]:
        room = BODY_SIZE - len(end)
        end = _stream(stream_key, bytes(room) + end + bytes(RECORD_SIZE))[room:]
    code, body = filling[:MAC_SIZE], filling[MAC_SIZE:]
    for number in range(len(hops) - 2, -1, -1):
        following = hops[number + 1]
        record = _RECORD.pack(following.public_key[len(KEY_PREFIX):], following.half, *_pack_address(following.address),
                              TENTHS * (len(hops) - 1 - number), code)
        stream_key, code_key = keys[number]
        body = _stream(stream_key, (record + body)[:BODY_SIZE])
        if number == len(hops) - 2:
            body = body[:BODY_SIZE - len(end)] + end
        code = authenticate(code_key, body)[:MAC_SIZE]
    return code + body


def block_of(rest: bytes) -> bytes:
    """The block in what follows a create or an extend; empty if there is none, but for example padding."""
    return rest[:BLOCK_SIZE] if len(rest) >= BLOCK_SIZE and any(rest[:MAC_SIZE]) else b""


def read_block(shared: bytes, half: bytes, public_key: bytes, block: bytes) -> Step | None:
    """What a block tells a hop to do next; ``None`` if it is the last one.

    :param shared: the secret of the hop's identity key and of ``half``, the ``key`` of the create.
    :param public_key: the hop's identity key, 74 bytes.
    """
    stream_key, code_key = _block_keys(shared, half, public_key[len(KEY_PREFIX):][:HALF_SIZE])
    code, body = block[:MAC_SIZE], block[MAC_SIZE:]
    if not hmac.compare_digest(code, authenticate(code_key, body)[:MAC_SIZE]):
        return None
    content = _stream(stream_key, body + bytes(RECORD_SIZE))
    key, next_half, kind, host, port, tenths, next_code = _RECORD.unpack(content[:RECORD_SIZE])
    address = _unpack_address(kind, host, port)
    if address is None:
        return None
    return Step(KEY_PREFIX + key, address, next_half, tenths / TENTHS, next_code + content[RECORD_SIZE:])


# Coming back


def seal_answer(keys: SessionKeys, secret: bytes, chance: int, following: Answer | None, filling: bytes) -> bytes:
    """What follows the proof in a created message that answers a create with a block.

    :param keys: the session keys of the hop that answers, made of ``secret``.
    :param chance: 63 random bits.
    :param following: what the next hop answered; ``None`` if this is the last one.
    :param filling: random bytes, ``TAIL_SIZE`` of them.
    """
    tail = filling
    if following is not None:
        tail = (following.key + following.auth + following.sealed)[:TAIL_SIZE]
        tail += filling[len(tail):]
    return seal_candidates(keys, chance, ()) + _stream(_answer_key(secret), tail)


def open_answer(keys: SessionKeys, secret: bytes, sealed: bytes) -> tuple[CandidateList, Answer | None]:
    """The list of candidates in a created or extended message, and what the next hop answered.

    The answer may be random bytes, if there is no next hop. A node that knows no blocks answers with a list alone.

    :raises CryptoException: if the other side does not have the session keys.
    """
    try:
        return open_candidates(keys, sealed)[0], None
    except CryptoException:
        candidates, _ = open_candidates(keys, sealed[:PROOF_SIZE])
    tail = _stream(_answer_key(secret), sealed[PROOF_SIZE:PROOF_SIZE + TAIL_SIZE])
    if len(tail) < SLOT_SIZE:
        return candidates, None
    return candidates, Answer(tail[:HALF_SIZE], tail[HALF_SIZE:HALF_SIZE + AUTH_SIZE], tail[HALF_SIZE + AUTH_SIZE:])


def _answer_key(secret: bytes) -> bytes:
    return expand(secret, ANSWER_LABEL, HALF_SIZE)
