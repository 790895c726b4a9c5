"""Datagrams that are wrong in different ways, for the case ``malformed`` and for the attack of ``hostile``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.messages import BODY, Message, UnsignedMessage

if TYPE_CHECKING:
    from random import Random

    from benchmarks.messages import MeasuredCommunity

__all__ = ["bad_signatures", "malformed", "off_its_curve"]

UNHANDLED_ID = 200
DEPRECATED_ID = 253
LARGEST = 60_000
SECT163K1_HEADER = bytes.fromhex("304030100607 2a8648ce3d0201 06052b81040001 032c0004")


def malformed(sender: MeasuredCommunity, random: Random) -> dict[str, bytes]:
    """One datagram of each kind that can be refused by its bytes, without cryptography.

    :param sender: an overlay with the community id of the victim.
    """
    prefix = sender.get_prefix()
    unsigned = sender.ezr_pack(UnsignedMessage.msg_id, UnsignedMessage(1, BODY), sig=False)
    signed = sender.ezr_pack(Message.msg_id, Message(1, BODY))
    signed_header = prefix + bytes([Message.msg_id])
    unsigned_header = prefix + bytes([UnsignedMessage.msg_id])
    introduction_header = prefix + b"\xf6"
    return {
        "empty": b"",
        "short": prefix[:9],
        "bare prefix": prefix,
        "random bytes": random.randbytes(200),
        "foreign prefix": b"\x00\x02" + random.randbytes(198),
        "unhandled id": prefix + bytes([UNHANDLED_ID]) + random.randbytes(100),
        "deprecated id": prefix + bytes([DEPRECATED_ID]) + random.randbytes(100),
        "no body": unsigned_header,
        "truncated": unsigned[:-10],
        "trailing bytes": unsigned + b"more",
        "lying length": unsigned_header + bytes(4) + b"\xff\xff" + random.randbytes(60),
        "oversized": unsigned_header + random.randbytes(LARGEST),
        "signed without key": signed_header,
        "signed, key cut off": signed[:60],
        "signed, lying key length": signed_header + b"\xff\xff" + random.randbytes(160),
        "signed, unknown kind of key": signed_header + b"\x00\x4a" + random.randbytes(200),
        "signed, malformed DER": signed_header + b"\x00\x42" + b"\x30\x40\x30\x10" + random.randbytes(162),
        "signed, no room for a signature": signed[:120],
        "signed, oversized with an unknown kind of key": signed_header + b"\xea\x00" + random.randbytes(LARGEST),
        "introduction request, truncated": introduction_header + signed[23:110],
        "introduction response, truncated": prefix + b"\xf5" + signed[23:110],
        "introduction response, malformed DER": (prefix + b"\xf5\x00\x42" + b"\x30\x40\x30\x10"
                                                 + random.randbytes(162)),
        "puncture, truncated": prefix + b"\xf9" + signed[23:60],
        "puncture request, truncated": prefix + b"\xfa" + bytes(10),
        "new puncture request, unknown address type": prefix + b"\xe8" + bytes(8) + b"\x09" * 40,
    }


def off_its_curve(sender: MeasuredCommunity, random: Random) -> bytes:
    """A signed datagram whose key is not a point of its curve, which takes arithmetic to find out."""
    return (sender.get_prefix() + bytes([Message.msg_id]) + b"\x00\x42" + SECT163K1_HEADER + random.randbytes(42)
            + random.randbytes(100))


def bad_signatures(sender: MeasuredCommunity, count: int) -> list[bytes]:
    """Different packets with the signature of another packet, which takes a verification to find out."""
    packets = [sender.ezr_pack(Message.msg_id, Message(number, BODY)) for number in range(count)]
    width = sender.my_peer.public_key.get_signature_length()
    other = sender.ezr_pack(Message.msg_id, Message(count, BODY))[-width:]
    return [packet[:-width] + other for packet in packets]
