"""What gateways that forward ports on request have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from .... import clock
from ...inet import is_global

__all__ = ["EpochTracker", "Gateway", "PortMapping", "PortMappingError"]


class PortMappingError(RuntimeError):
    """A gateway does not do what it was asked to; the message says why."""


class PortMapping(NamedTuple):
    """UDP packets to the outside address are forwarded to the internal port for ``lifetime`` seconds (0: no limit)."""

    protocol: str
    external_ip: str
    external_port: int
    internal_port: int
    lifetime: float

    @property
    def is_public(self) -> bool:
        """Whether the outside address is one of the internet; if not, there is another gateway in between."""
        return is_global(self.external_ip)


class EpochTracker:
    """Notices by the clock in a gateway's answers that it lost its mappings (RFC 6887 section 8.5).

    That clock counts the seconds for which the gateway has kept its mappings.
    """

    def __init__(self) -> None:
        self._previous: tuple[float, int] | None = None

    def note(self, epoch: int) -> None:
        """Remember the clock of an answer that just came in."""
        self._previous = (clock.monotonic(), epoch)

    def is_plausible(self, epoch: int) -> bool:
        """Whether ``epoch`` can be the clock, now, of a gateway that has kept its mappings."""
        if self._previous is None:
            return True
        then, before = self._previous
        ours, theirs = clock.monotonic() - then, epoch - before
        # Two seconds and a sixteenth are what clocks may differ by.
        return theirs >= -1 and ours + 2 >= theirs - theirs / 16 and theirs + 2 >= ours - ours / 16


class Gateway(ABC):
    """A router that forwards ports on request; every method raises :class:`PortMappingError` if it refuses."""

    protocol: str

    @abstractmethod
    async def external_ip(self) -> str:
        """The outside address; empty if the gateway tells it only together with a mapping. Changes nothing."""

    @abstractmethod
    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        """Forward a UDP port to the same machine that asks, or extend the time for which that is done.

        :param external_port: the wanted outside port; another one may be given.
        :param lifetime: seconds.
        """

    @abstractmethod
    async def remove(self, mapping: PortMapping) -> None:
        """End the forwarding."""

    def announces_loss(self, data: bytes, source: tuple[str, int]) -> bool:  # noqa: ARG002 - for those that do
        """Whether a datagram, and the host and port that it came from, tell that this gateway lost its mappings."""
        return False
