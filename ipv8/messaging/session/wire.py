"""The datagrams, identities and frames of sessions (doc/protocol/sessions.md sections 3 to 5).

All integers are big endian, unless "little endian" is said.
"""

from __future__ import annotations

from hashlib import blake2s, sha1
from hmac import compare_digest
from struct import Struct, error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple

from .noise import DH_SIZE, TAG_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DATA_HEADER",
    "SERVICE_PREFIX",
    "Capability",
    "Datagram",
    "Flag",
    "Frame",
    "Identity",
    "MalformedError",
    "Reason",
    "frames",
    "join_frames",
    "prologue_for",
    "tag_of",
]

SERVICE_PREFIX: Final = b"\x00\x02" + sha1(b"ipv8 session service v1").digest()  # noqa: S324 - a name, not a secret
"""The first 22 bytes of every datagram of a session."""

LABEL: Final = b"ipv8-session-v1"

TYPE_OFFSET: Final = len(SERVICE_PREFIX)
BODY: Final = TYPE_OFFSET + 1
"""Where the type of a datagram is, and where its body starts."""

INDEX_SIZE: Final = 4
INDEX_END: Final = BODY + INDEX_SIZE
"""Where the index of a session ends, with which the body of most datagrams begins."""

MAC_SIZE: Final = 16
COOKIE_SIZE: Final = 16

INIT_SIZE: Final = 512
INIT_PADDING: Final = 421
"""Zero bytes of an INIT, so that no answer to a stranger is larger than its question."""

MAC1_OFFSET: Final = INIT_SIZE - 2 * MAC_SIZE
MAC2_OFFSET: Final = INIT_SIZE - MAC_SIZE

MAX_DATAGRAM: Final = 1232
"""Largest datagram that is sent, if it need not be larger: the payload of the smallest IPv6 packet (RFC 8200
section 5) without the headers of IPv6 and UDP."""

DATA_HEADER: Final = BODY + INDEX_SIZE + 8
DATA_OVERHEAD: Final = DATA_HEADER + TAG_SIZE
MAX_FRAMES: Final = MAX_DATAGRAM - DATA_OVERHEAD
"""Bytes of frames in a datagram of that size."""

MAX_QUIC_DATAGRAM: Final = 1252
"""Largest datagram with a frame QUIC, since QUIC needs packets of 1200 bytes (RFC 9000 section 14.1)."""

LARGEST_FRAME: Final = 60_000
"""A larger frame is not sent."""

MIN_DATA: Final = DATA_OVERHEAD + 1
MIN_RESPONSE: Final = BODY + 2 * INDEX_SIZE + 2 * DH_SIZE + 2 * TAG_SIZE
MAX_RESPONSE: Final = 450
MIN_FINISH: Final = BODY + INDEX_SIZE + DH_SIZE + 2 * TAG_SIZE
KEEPALIVE: Final = bytes(9)
"""Frames of a datagram that only says that its sender is there."""

MAX_KEY_SIZE: Final = 512
IDENTITY_VERSION: Final = 1
IDENTITY_HEADER: Final = Struct(">BH4sH")
"""Version, flags, index, size of the key."""

COUNTER: Final = Struct("<Q")
"""A counter, little endian."""

DATA_START: Final = Struct("<4sQ")
"""Index and counter of a DATA."""

OVERLAY_TAG_SIZE: Final = 8
LARGEST_PROGRAM_DATAGRAM: Final = MAX_FRAMES - 1 - OVERLAY_TAG_SIZE
"""Bytes of the largest unreliable datagram of a program."""

MESSAGE_HEADER: Final = OVERLAY_TAG_SIZE + 1
"""Tag of an overlay, and number of a message."""

MESSAGE_CONTENT: Final = 1 + MESSAGE_HEADER
"""Where the payloads of a message are in its frame, behind the type, the tag and the number."""

MORE: Final = 0x80
"""The bit of a frame's type that says that its length follows, and behind it another frame."""


class MalformedError(ValueError):
    """Bytes that are no datagram, identity or frame."""


class Datagram:
    """Types of datagrams."""

    INIT, RESPONSE, FINISH, COOKIE, DATA, UNKNOWN = range(1, 7)


class Frame:
    """Types of frames."""

    PAD, MESSAGE, UNSIGNED, PACKET, NEED_SIGNATURE, NO_OVERLAY, PING, PONG, CLOSE = range(9)
    REKEY_OFFER, REKEY_REPLY, REKEY_PART, REKEY_WANTED, DATAGRAM = range(9, 14)
    QUIC = 0x20

    ELICITING = frozenset({MESSAGE, UNSIGNED, PACKET, PING, REKEY_OFFER, REKEY_REPLY, REKEY_PART, REKEY_WANTED,
                           DATAGRAM, QUIC})
    """Frames whose sender expects to hear something."""

    ALL = frozenset(range(14)) | {QUIC}


class Reason:
    """Why a session was closed, as the frame CLOSE says it."""

    SHUTDOWN, POLICY, REPLACED, IDLE, PROTOCOL = range(5)

    NAMES = ("shutdown", "policy", "replaced", "idle", "protocol error")


class Flag:
    """What a side can do, as its identity says it."""

    STREAMS, ML_KEM, PREFERS_AES = 1, 2, 4


class Capability:
    """The bits in introductions that say that their sender answers sessions, by message number."""

    BITS: Final = {246: 0x10, 234: 0x10, 245: 0x20, 233: 0x40}


# Handshakes


def prologue_for(target: bytes) -> bytes:
    """The prologue of a handshake with the owner of the public key ``target``, empty if it is not known."""
    return LABEL + b"\0" + len(target).to_bytes(2, "big") + target


def mac_key(target: bytes) -> bytes:
    """The key of the first checksum of an INIT to the owner of ``target``."""
    return blake2s(LABEL + b" mac1" + target).digest()


def _mac(key: bytes, data: bytes) -> bytes:
    return blake2s(data, digest_size=MAC_SIZE, key=key).digest()


def write_init(index: bytes, ephemeral: bytes, target_key: bytes) -> bytes:
    """An INIT without cookie.

    :param target_key: :func:`mac_key` of the key that it is for.
    """
    start = SERVICE_PREFIX + bytes((Datagram.INIT,)) + index + ephemeral + bytes(INIT_PADDING)
    return start + _mac(target_key, start) + bytes(MAC_SIZE)


def with_cookie(init: bytes, cookie: bytes) -> bytes:
    """The same INIT with the second checksum, which proves that its sender got ``cookie``."""
    return init[:MAC2_OFFSET] + _mac(cookie, init[:MAC2_OFFSET])


def is_for(init: bytes, target_key: bytes) -> bool:
    """Whether the first checksum of an INIT of the right size is for this key; in constant time."""
    return compare_digest(_mac(target_key, init[:MAC1_OFFSET]), init[MAC1_OFFSET:MAC2_OFFSET])


def has_cookie(init: bytes, cookie: bytes) -> bool:
    """Whether the second checksum of an INIT of the right size was made with ``cookie``; in constant time."""
    return compare_digest(_mac(cookie, init[:MAC2_OFFSET]), init[MAC2_OFFSET:])


def make_cookie(secret: bytes, address: bytes) -> bytes:
    """The cookie for ``address``: 4 or 16 bytes of IP, and 2 of the port."""
    return _mac(secret, address)


def write_cookie(init: bytes, cookie: bytes) -> bytes:
    """The COOKIE that answers ``init``."""
    index = init[BODY : BODY + INDEX_SIZE]
    return SERVICE_PREFIX + bytes((Datagram.COOKIE,)) + index + init[MAC1_OFFSET:MAC2_OFFSET] + cookie


COOKIE_DATAGRAM_SIZE: Final = BODY + INDEX_SIZE + MAC_SIZE + COOKIE_SIZE
UNKNOWN_SIZE: Final = BODY + INDEX_SIZE


def write_response(index: bytes, receiver: bytes, message: bytes) -> bytes:
    """A RESPONSE with the second message of the handshake."""
    return SERVICE_PREFIX + bytes((Datagram.RESPONSE,)) + index + receiver + message


def write_finish(receiver: bytes, message: bytes) -> bytes:
    """A FINISH with the third message of the handshake."""
    return SERVICE_PREFIX + bytes((Datagram.FINISH,)) + receiver + message


def write_unknown(index: bytes) -> bytes:
    """An UNKNOWN that answers a DATA for ``index``."""
    return SERVICE_PREFIX + bytes((Datagram.UNKNOWN,)) + index


class Identity(NamedTuple):
    """What a side says of itself in the handshake, with what it signed."""

    flags: int
    own_index: bytes
    public_key: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The part that the signature covers."""
        header = IDENTITY_HEADER.pack(IDENTITY_VERSION, self.flags, self.own_index, len(self.public_key))
        return header + self.public_key

    @property
    def binary(self) -> bytes:
        """The bytes of it."""
        return self.signed + self.signature

    @classmethod
    def read(cls, data: bytes) -> tuple[Identity, bytes]:
        """Read all but the signature, whose size only the loaded key tells.

        :returns: the identity with an empty signature, and what follows its key.
        :raises MalformedError: if the version is another one, or something is too long or missing.
        """
        try:
            version, flags, index, size = IDENTITY_HEADER.unpack_from(data)
        except struct_error as e:
            raise MalformedError("the identity is too short") from e
        end = IDENTITY_HEADER.size + size
        if version != IDENTITY_VERSION or size > MAX_KEY_SIZE or len(data) < end:
            raise MalformedError("the identity is of another version, or its key is too long")
        return cls(flags, index, data[IDENTITY_HEADER.size : end], b""), data[end:]


def signed_text(initiator: bool, handshake_hash: bytes, signed: bytes) -> bytes:
    """What a side signs: nothing else that is signed with these keys starts with 64 spaces."""
    role = b" initiator" if initiator else b" responder"
    return b" " * 64 + LABEL + role + b"\0" + handshake_hash + signed


def rekey_prologue(epoch: int, handshake_hash: bytes) -> bytes:
    """The prologue of the handshake that begins ``epoch``."""
    return LABEL + b" rekey\0" + epoch.to_bytes(4, "big") + handshake_hash


CHAIN_LABEL: Final = LABEL + b" chain"


# Frames


def tag_of(prefix: bytes) -> bytes:
    """The 8 bytes by which frames name the overlay with this prefix."""
    return blake2s(prefix, digest_size=OVERLAY_TAG_SIZE).digest()


def frames(plaintext: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of a datagram: types and contents, in order.

    A frame of unknown type ends the datagram, as its content cannot be judged; it is the last that is returned.

    :raises MalformedError: if a length says more than there is. Frames before it were returned.
    """
    position, size = 0, len(plaintext)
    while position < size:
        kind = plaintext[position]
        if kind < MORE:
            yield kind, plaintext[position + 1 :]
            return
        start = position + 3
        end = start + int.from_bytes(plaintext[position + 1 : start], "big")
        if start > size or end > size:
            raise MalformedError("a frame is longer than its datagram")
        kind ^= MORE
        yield kind, plaintext[start:end]
        if kind not in Frame.ALL:
            return
        position = end


def frame_size(frame: bytes) -> int:
    """Bytes that ``frame`` takes in a datagram with others behind it."""
    return len(frame) + 2


def join_frames(parts: list[bytes]) -> bytes:
    """One plaintext of several frames, each a type byte and its content."""
    last = len(parts) - 1
    return b"".join(
        part if number == last else bytes((part[0] | MORE,)) + (len(part) - 1).to_bytes(2, "big") + part[1:]
        for number, part in enumerate(parts)
    )
