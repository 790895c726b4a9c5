"""Lines between machines: latency, loss, duplicates, reordering and limited bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arguments import check_numbers

if TYPE_CHECKING:
    import random

__all__ = ["PERFECT", "Access", "Lane", "Link"]

HEADER_SIZE = 28
"""Bytes of the IPv4 and UDP headers, which count for the bandwidth."""


@dataclass(frozen=True)
class Link:
    """The line between a host and the middle of the network, the same in both directions.

    A packet takes two lines, that of the sender and that of the receiver.

    :param latency: the seconds that each packet takes.
    :param jitter: the maximum of a random time in seconds that is added for each packet, so that packets may arrive
        in another order.
    :param loss: the probability that a packet is lost.
    :param duplication: the probability that a packet arrives twice.
    :param reordering: the probability that a packet takes ``reordering_delay`` seconds longer.
    :param bandwidth: bytes per second in each direction; ``None`` for no limit.
    :param buffer: the maximum number of bytes that wait on a line with a bandwidth; further packets are dropped.
    :raises TypeError: for a value that is no number.
    :raises ValueError: for a probability outside 0 to 1, a negative time, or a bandwidth that is not positive.
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
        check_numbers(self, ("latency", "jitter", "loss", "duplication", "reordering", "reordering_delay", "buffer"))
        if self.bandwidth is not None:
            check_numbers(self, ("bandwidth",))
        if not all(0 <= chance <= 1 for chance in (self.loss, self.duplication, self.reordering)):
            raise ValueError("loss, duplication and reordering are probabilities: give numbers from 0 to 1")
        if min(self.latency, self.jitter, self.reordering_delay) < 0:
            raise ValueError("latency, jitter and reordering_delay are times in seconds: give numbers from 0 on")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError("the bandwidth is in bytes per second: give a positive number, or None for no limit")

    @property
    def is_plain(self) -> bool:
        """Whether latency is all that the line adds."""
        return not (self.jitter or self.loss or self.duplication or self.reordering or self.bandwidth)


PERFECT = Link(latency=0.0)
"""A line without latency and loss, as inside a home."""


class Lane:
    """One direction of a link, with the packets that wait on it.

    :param link: the properties of the line.
    :param chance: the source of randomness.
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
        """Whether packets wait for one another."""
        return self.link.bandwidth is not None

    def carry(self, now: float, size: int) -> tuple[float, ...]:
        """The times at which copies of a packet of ``size`` bytes, sent ``now``, arrive; none if it is lost."""
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
    """Both directions of a link, shared by all interfaces that use it."""

    __slots__ = ("_chance", "down", "up")

    def __init__(self, link: Link, chance: random.Random) -> None:
        self._chance = chance
        self.change(link)

    @property
    def link(self) -> Link:
        """The current properties of the line."""
        return self.up.link

    def change(self, link: Link) -> None:
        """Change the properties of the line; packets that were sent already are not affected."""
        self.up = Lane(link, self._chance)
        self.down = Lane(link, self._chance)
