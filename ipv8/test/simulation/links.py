"""What happens to packets on their way: time, loss, duplicates, other orders, and too narrow lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["PERFECT", "Access", "Lane", "Link"]

HEADER_SIZE = 28
"""Bytes of IPv4 and UDP headers, which need bandwidth too."""


@dataclass(frozen=True)
class Link:
    """The line between a host and the middle of the network, the same in both directions.

    A packet goes over two of them, that of the sender and that of the receiver.

    :param latency: seconds that each packet takes.
    :param jitter: up to so many seconds more, drawn for each packet, so that one may overtake another.
    :param loss: the probability that a packet is lost.
    :param duplication: the probability that a packet arrives twice.
    :param reordering: the probability that a packet is held up by ``reordering_delay`` seconds.
    :param bandwidth: bytes a second in each direction; ``None`` for any number.
    :param buffer: bytes that may wait for their turn on a line with a bandwidth; further packets are dropped.
    :raises ValueError: for a probability outside 0 to 1, a negative time, or a line that carries nothing.
    """

    latency: float = 0.025
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_delay: float = 0.1
    bandwidth: float | None = None
    buffer: int = 65536

    def __post_init__(self) -> None:
        if not all(0 <= chance <= 1 for chance in (self.loss, self.duplication, self.reordering)):
            raise ValueError("loss, duplication and reordering are probabilities, from 0 to 1")
        if min(self.latency, self.jitter, self.reordering_delay) < 0:
            raise ValueError("latency, jitter and reordering_delay are seconds, 0 or more")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError("a bandwidth is a positive number of bytes a second, or None for no limit")

    @property
    def is_plain(self) -> bool:
        """Whether all that happens to a packet is that it takes its time."""
        return not (self.jitter or self.loss or self.duplication or self.reordering or self.bandwidth)


PERFECT = Link(latency=0.0)
"""A line inside a home: everything arrives, at once."""


class Lane:
    """One direction of a link, with the packets that wait for their turn.

    :param link: what it is like.
    :param chance: what decides about each packet.
    """

    __slots__ = ("_chance", "_free_at", "is_plain", "link", "overflows")

    def __init__(self, link: Link, chance: random.Random) -> None:
        self.link = link
        self.is_plain = link.is_plain
        self.overflows = 0
        self._chance = chance
        self._free_at = 0.0

    @property
    def has_queue(self) -> bool:
        """Whether it matters when a packet enters, and not only how long ago it was sent."""
        return self.link.bandwidth is not None

    def carry(self, now: float, size: int) -> tuple[float, ...]:
        """When the copies of a packet of ``size`` bytes that enters ``now`` come out; nothing if it is lost."""
        link = self.link
        if self.is_plain:
            return (now + link.latency,)
        if link.bandwidth is not None:
            size += HEADER_SIZE
            begin = max(now, self._free_at)
            if (begin - now) * link.bandwidth + size > link.buffer:
                self.overflows += 1
                return ()
            self._free_at = now = begin + size / link.bandwidth
        chance = self._chance.random
        if link.loss and chance() < link.loss:
            return ()
        copies = 2 if link.duplication and chance() < link.duplication else 1
        return tuple(now + self._delay() for _ in range(copies))

    def _delay(self) -> float:
        link, chance = self.link, self._chance.random
        delay = link.latency
        if link.jitter:
            delay += link.jitter * chance()
        if link.reordering and chance() < link.reordering:
            delay += link.reordering_delay
        return delay


class Access:
    """Both directions of a link, which all interfaces behind it share."""

    __slots__ = ("_chance", "down", "up")

    def __init__(self, link: Link, chance: random.Random) -> None:
        self._chance = chance
        self.change(link)

    @property
    def link(self) -> Link:
        """What it is like now."""
        return self.up.link

    def change(self, link: Link) -> None:
        """Be like ``link`` from now on; packets under way are not affected."""
        self.up = Lane(link, self._chance)
        self.down = Lane(link, self._chance)
