"""Datagrams of a session that arrived together and carry packets of QUIC.

A stream that is read fast consists of nearly nothing else. What is the same for all of them is done once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag

from .channel import APPLICATION
from .events import Received
from .keys import NONCE_START
from .window import COUNTER_LIMIT
from .wire import COUNTER, DATA_HEADER, INDEX_END, MIN_DATA, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ..address import Address
    from .keys import Epoch

__all__ = ["LONGEST_RUN", "Run"]

LONGEST_RUN: Final = 64
"""Datagrams that are taken together. With all that follows from them, they usually take half a millisecond."""

LOOK_AFTER: Final = 8
"""Datagrams that are taken before the time is looked at."""

QUIC: Final = Frame.QUIC
LONG_HEADER: Final = 0x80


class Run:
    """Takes datagrams of an epoch, as long as they are the next ones by their counters.

    ``Channel.receive`` has to take all others: those that are late, repeated, behind a gap, of another address or
    another epoch. A datagram that contains anything else than a packet of QUIC with a short header is the last one.

    :param datagrams: what arrived together, each with its source. A run ends where that is another object.
    :param position: of the first one to take.
    :param is_late: whether the rest has to be left for later.
    """

    __slots__ = ("_bytes", "_datagrams", "_epoch", "_is_late", "_now", "_opened", "_other", "_position", "channel",
                 "count", "packets")

    def __init__(self, epoch: Epoch, datagrams: Sequence[tuple[Address, bytes]], position: int, now: float,
                 is_late: Callable[[], bool]) -> None:
        self.channel = epoch.channel
        self._epoch, self._datagrams, self._position = epoch, datagrams, position
        self._now, self._is_late = now, is_late
        self._opened = self._bytes = 0
        self._other = b""
        #: How many datagrams were taken, with forged ones; after :meth:`finish`.
        self.count = 0
        #: The packets of QUIC. A datagram is taken when its packet is asked for.
        self.packets = self._take()

    def _take(self) -> Generator[bytes, None, None]:
        epoch, window, roaming = self._epoch, self.channel.window, self.channel.roaming
        source, first = self._datagrams[self._position]
        top = window.top
        if (source != roaming.address or roaming.is_probing or epoch.number > self.channel.confirmed
                or top + LONGEST_RUN >= COUNTER_LIMIT):
            return
        head, pack, unseal = first[:INDEX_END], COUNTER.pack, epoch.open
        has_gaps = window.missing
        count = opened = size = 0
        try:
            for address, datagram in self._datagrams[self._position:self._position + LONGEST_RUN]:
                packed = pack(top + 1)
                if datagram[:DATA_HEADER] != head + packed or address is not source or len(datagram) <= MIN_DATA:
                    return
                if count and not count % LOOK_AFTER and self._is_late():
                    return
                count += 1
                try:
                    plaintext = unseal(NONCE_START + packed, datagram[DATA_HEADER:], None)
                except InvalidTag:
                    epoch.forged += 1
                    self.channel.machine.drops["forged"] += 1
                    continue
                top += 1
                opened += 1
                size += len(datagram)
                if has_gaps:
                    window.take(top)
                if plaintext[0] != QUIC or plaintext[1] >= LONG_HEADER:
                    self._other = plaintext
                    return
                yield plaintext[1:]
        finally:
            window.top = top
            self.count, self._opened, self._bytes = count, opened, size

    def finish(self) -> None:
        """Note what was taken. The events of the machine tell what the last datagram has, if that is something else."""
        self.packets.close()
        if not self._opened:
            return
        channel, other, source = self.channel, self._other, self._datagrams[self._position][0]
        is_application = bool(other) and other[0] in APPLICATION
        channel.heard, channel.asked_at = True, None
        channel.stats.datagrams_down += self._opened
        channel.stats.bytes_down += self._bytes
        if channel.roaming.is_direct:
            channel.roaming.direct_at = self._now
        if is_application or self._opened > 1 or not other:
            channel.owes = channel.busy = True
        if is_application:
            channel.machine.events.append(Received(channel, source, other))
        elif other:
            channel.take(other, source, self._now)
