"""Cells that follow one another leave together, so that they take few system calls (doc/protocol/tunnels.md section 6).

Nothing here is seen on the wire.
"""

from __future__ import annotations

from asyncio import get_running_loop
from math import inf
from typing import TYPE_CHECKING

from ... import clock

if TYPE_CHECKING:
    from ..address import Address
    from ..interfaces.endpoint import Endpoint

__all__ = ["BURST_SECONDS", "LARGEST_HELD", "MAX_HELD", "Outbox"]

BURST_SECONDS = 0.002
"""A packet that follows another one in less time belongs to a burst."""

MAX_HELD = 32
"""Packets that wait; one more lets all of them leave."""

LARGEST_HELD = 1452
"""Bytes of the largest packet that waits: the largest one that is not fragmented over IPv6."""


class Outbox:
    """Sends packets by an endpoint: single ones at once, and those of a burst together.

    The first packet of a burst leaves at once. The others wait until the event loop has called what is due now, if the
    endpoint sends several packets in less time than each of them. The order of packets is kept.

    :param endpoint: sends the packets.
    """

    __slots__ = ("_address", "_endpoint", "_held", "_sent_at")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._held: list[bytes] = []
        self._address: Address = ("", 0)  # where those go that are held
        self._sent_at = -inf

    def send(self, address: Address, packet: bytes) -> None:
        """Send a packet, now or soon."""
        held = self._held
        fits = len(packet) <= LARGEST_HELD
        if held:
            if fits and len(held) < MAX_HELD and (address is self._address or address == self._address):
                held.append(packet)
                return
            self.flush()
        if not (fits and self._endpoint._sends_bursts and self._is_burst() and self._will_flush()):
            self._sent_at = clock.monotonic()
            self._endpoint.send(address, packet)
            return
        self._address = address
        self._held.append(packet)

    def flush(self) -> None:
        """Send the packets that wait."""
        if self._held:
            packets, self._held = self._held, []
            self._sent_at = clock.monotonic()
            self._endpoint.send_many(self._address, packets)

    def _is_burst(self) -> bool:
        return clock.monotonic() - self._sent_at < BURST_SECONDS

    def _will_flush(self) -> bool:
        """Have the event loop call :meth:`flush`; ``False`` if none is running."""
        try:
            get_running_loop().call_soon(self.flush)
        except RuntimeError:
            return False
        return True
