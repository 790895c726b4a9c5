"""What refusing costs: malformed datagrams against a valid unsigned message, bad signatures and keys against good ones.

All are delivered as the socket of the library delivers what it has received. Log lines are written as a service
writes them, but to nowhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.datagrams import bad_signatures, malformed, off_its_curve
from benchmarks.measure import Figure, microseconds_over, microseconds_side_by_side
from benchmarks.messages import BODY, MeasuredCommunity, Message, UnsignedMessage, make_overlay
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Deliver = Callable[..., None]

SOURCE = UDPv4Address("127.0.0.2", 2000)
SIGNERS = {level: UDPv4Address(f"127.0.1.{number}", 2000)  # apart, as budgets may be by source
           for number, level in enumerate(("curve25519", "very-low", "high"), 1)}
VALID = "valid unsigned"
KEY_SOURCE = UDPv4Address("127.0.2.1", 2000)
FIRST = 50  # before any budget for signature verification is used up


def measure() -> Iterator[Figure]:
    """Yield the cost of each shape, and how the dearest ones compare with what is valid."""
    with Path(os.devnull).open("w") as nowhere:
        logging.basicConfig(level=logging.INFO, stream=nowhere)
        yield from asyncio.run(_measure())


async def _measure() -> list[Figure]:
    victim, sender = make_overlay(), make_overlay()
    await victim.endpoint.open()

    deliver = _entrance(victim.endpoint)
    valid = sender.ezr_pack(UnsignedMessage.msg_id, UnsignedMessage(1, BODY), sig=False)
    costs = microseconds_side_by_side(deliver, {VALID: valid, **malformed(sender, Random(1))})
    figures = [Figure(name, cost) for name, cost in costs.items()]
    dearest = max(cost for name, cost in costs.items() if name != VALID)
    figures.append(Figure("dearest shape, in valid unsigned messages", dearest / costs[VALID], "x"))

    for level, source in SIGNERS.items():
        signer = make_overlay(level=level)
        figures.extend(_signatures(level, signer, partial(deliver, source=source)))
        await signer.unload()
    figures.extend(_keys(sender, partial(deliver, source=KEY_SOURCE)))
    victim.endpoint.close()
    for overlay in (victim, sender):
        await overlay.unload()
    return figures


def _entrance(endpoint: Any) -> Deliver:
    """What does with a packet as the socket does; libraries without a gate notify the listeners."""
    if not hasattr(endpoint, "gate"):
        def notify(data: bytes, source: UDPv4Address = SOURCE) -> None:
            with suppress(IndexError):  # what a library fails with is part of the cost of the shape
                endpoint.notify_listeners((source, data))

        return notify
    from ipv8.messaging.interfaces.routes import SOCKET

    def enter(data: bytes, source: UDPv4Address = SOURCE) -> None:
        with suppress(IndexError):
            endpoint.gate.receive((source, data), SOCKET)

    return enter


def _keys(sender: MeasuredCommunity, deliver: Callable[[bytes], None]) -> Iterator[Figure]:
    """Keys that cannot be refused without arithmetic."""
    random = Random(2)
    keys = [off_its_curve(sender, random) for _ in range(4 * FIRST)]
    yield Figure("very-low key off its curve", microseconds_over(deliver, keys[:FIRST]))
    for data in keys:
        deliver(data)
    yield Figure("very-low key off its curve, sustained", microseconds_over(deliver, keys))


def _signatures(level: str, signer: MeasuredCommunity, deliver: Callable[[bytes], None]) -> Iterator[Figure]:
    good = microseconds_over(deliver, [signer.ezr_pack(Message.msg_id, Message(number, BODY))
                                       for number in range(FIRST)])
    forgeries = bad_signatures(signer, 4 * FIRST)
    bad = microseconds_over(deliver, forgeries[:FIRST // 2])
    for data in forgeries:
        deliver(data)
    sustained = microseconds_over(deliver, forgeries)
    yield Figure(f"{level} good signature", good)
    yield Figure(f"{level} bad signature", bad)
    yield Figure(f"{level} bad signature, sustained", sustained)
    yield Figure(f"{level} bad signature, in good ones", bad / good, "x")
