"""Receiving over real UDP: a sender in another process, a few peers, nothing dropped.

The sender keeps a bounded number of datagrams in flight, as the receiver's progress allows, so that the receiver is
always busy and never overrun: messages a second and processor time for each message are what its code costs.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from benchmarks.library import Library
from benchmarks.measure import Figure
from benchmarks.messages import BODY, MeasuredCommunity, Message, UnsignedMessage, make_overlay
from benchmarks.sender import BATCH, shared_counter
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = 4
DISTINCT = 64  # different datagrams of each peer
COUNTS = {"unsigned": 64_000, "signed": 9_600}  # multiples of the sender's batch
WARM_UP = 3_200


def measure() -> Iterator[Figure]:
    """Yield the messages a second and the processor time of a message, unsigned and signed."""
    yield from asyncio.run(_measure())


async def _measure() -> list[Figure]:
    figures = []
    for kind, count in COUNTS.items():
        receiver, *peers = [make_overlay() for _ in range(PEERS + 1)]
        for number, peer in enumerate(peers, 1):
            receiver.network.add_verified_peer(Peer(peer.my_peer.public_key.key_to_bin(),
                                                    UDPv4Address("127.0.0.1", number)))
        await receiver.endpoint.open()
        await _receive(receiver, peers, kind, WARM_UP)
        wall, processor = await _receive(receiver, peers, kind, count)
        figures.extend([Figure(f"{kind} messages", count / wall, "1/s", more_is_better=True),
                        Figure(f"{kind} processor time", processor / count * 1e6)])
        receiver.endpoint.close()
        for overlay in (receiver, *peers):
            await overlay.unload()
    return figures


def _packets(sender: MeasuredCommunity, kind: str) -> list[str]:
    if kind == "signed":
        return [sender.ezr_pack(Message.msg_id, Message(number, BODY)).hex() for number in range(DISTINCT)]
    return [sender.ezr_pack(UnsignedMessage.msg_id, UnsignedMessage(number, BODY), sig=False).hex()
            for number in range(DISTINCT)]


async def _receive(receiver: MeasuredCommunity, peers: list[MeasuredCommunity], kind: str,
                   count: int) -> tuple[float, float]:
    """Receive ``count`` messages, in whole batches; the wall time and the processor time that they take, in seconds."""
    marks: list[tuple[float, float]] = []
    datagrams = json.dumps([_packets(peer, kind) for peer in peers])
    with tempfile.NamedTemporaryFile() as counter_file:
        handled = shared_counter(counter_file.name)

        number = 0

        def count_message() -> None:  # short, since this is part of what is measured
            nonlocal number
            number += 1
            if not number % BATCH:
                handled.value = number
                if number in {BATCH, count}:
                    marks.append((perf_counter(), process_time()))

        receiver.on_message = count_message
        sender = await asyncio.create_subprocess_exec(
            *Library.running().command("benchmarks.sender", str(receiver.endpoint.get_address()[1]),
                                       counter_file.name, str(count)),
            stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        _, errors = await sender.communicate(datagrams.encode())
        receiver.on_message = int
    if sender.returncode:
        raise RuntimeError(errors.decode().strip())
    (wall_start, processor_start), (wall_end, processor_end) = marks
    share = count / (count - BATCH)  # the first batch is over when the clocks start
    return (wall_end - wall_start) * share, (processor_end - processor_start) * share
