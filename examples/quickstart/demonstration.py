"""Run the local network, show it, and print the result."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from .display import Drawing, Lines
from .network import LocalNetwork, Outcome

if TYPE_CHECKING:
    from .display import Display

FRAME = 0.1
"""The seconds between two updates."""


async def watch(size: int, seconds: float, display: Display) -> Outcome:
    """Watch a new network until all nodes have met, at most ``seconds``."""
    async with LocalNetwork(size) as network:
        start = monotonic()
        met_after: float | None = None
        while True:
            elapsed = monotonic() - start
            if met_after is None and network.have_met():
                met_after = elapsed
            outcome = Outcome(met_after, network.is_in_step(), elapsed)
            display.show(network)
            if elapsed >= seconds or (outcome.good and elapsed >= display.least_seconds):
                break
            await asyncio.sleep(FRAME)
        display.conclude(network, outcome)
        return outcome


def demonstrate(size: int, seconds: float, *, plain: bool) -> int:
    """Run the demonstration; 0 if the nodes met and their clocks came together, 1 if not.

    :param plain: print lines of text. This is also done if nothing can be drawn.
    """
    display: Display = Lines() if plain or not Drawing.is_possible() else Drawing()
    with display:
        return 0 if asyncio.run(watch(size, seconds, display)).good else 1
