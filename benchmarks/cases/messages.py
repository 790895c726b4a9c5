"""Whole messages without a socket: packing, and decoding up to the call of the handler."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, microseconds, microseconds_in_turn, microseconds_over
from benchmarks.messages import BODY, Message, UnsignedMessage, make_overlay
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = UDPv4Address("127.0.0.2", 2000)
ELSEWHERE = UDPv4Address("127.0.0.3", 2000)
DISTINCT = 256


def measure() -> Iterator[Figure]:
    """Yield the cost of packing and decoding signed and unsigned messages."""
    yield from asyncio.run(_measure())


async def _measure() -> list[Figure]:
    figures = []
    receiver, stranger, friend = (make_overlay() for _ in range(3))
    legacy = make_overlay(level="very-low")
    receiver.network.add_verified_peer(Peer(friend.my_peer.public_key.key_to_bin(), SOURCE))

    unsigned = [(SOURCE, friend.ezr_pack(UnsignedMessage.msg_id, UnsignedMessage(number, BODY), sig=False))
                for number in range(DISTINCT)]
    figures.extend([
        Figure("pack unsigned", microseconds(partial(friend.ezr_pack, sig=False), UnsignedMessage.msg_id,
                                             UnsignedMessage(1, BODY))),
        Figure("decode unsigned", microseconds_in_turn(receiver.on_packet, unsigned)),
        Figure("pack signed, curve25519", microseconds(friend.ezr_pack, Message.msg_id, Message(1, BODY))),
        Figure("pack signed, very-low", microseconds(legacy.ezr_pack, Message.msg_id, Message(1, BODY)))])
    for name, sender, source in (("of a peer", friend, SOURCE), ("of a stranger", stranger, ELSEWHERE),
                                 ("of a stranger, very-low", legacy, ELSEWHERE)):
        packets = [(source, sender.ezr_pack(Message.msg_id, Message(number, BODY))) for number in range(DISTINCT)]
        # Each of them once, and only a few: verifying takes long, and there may be a budget for it.
        figures.append(Figure(f"decode signed {name}", microseconds_over(receiver.on_packet, packets)))
    for overlay in (receiver, stranger, friend, legacy):
        await overlay.unload()
    return figures
