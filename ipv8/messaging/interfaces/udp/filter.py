"""Optional budgets and bans per source, applied before anything looks into a packet (spec 03 section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .... import clock
from ....limits import TokenBuckets
from ..network_stats import DropCounter

if TYPE_CHECKING:
    from ...address import Address

__all__ = ["MAX_BANNED", "MAX_SOURCES", "SourceFilter"]

MAX_BANNED = 4096
"""Banned sources that are remembered; a further ban lifts the oldest."""

MAX_SOURCES = 4096
"""Sources whose budget is remembered; the one that was silent for longest is forgotten first."""


class SourceFilter:
    """Lets packets of a source pass until it is banned or over its budget; a source is an IP, whatever its ports.

    :param rate: packets a second that one source may send in the long run.
    :param burst: packets that one source may send at once.

    Sources of UDP packets can be forged: with a budget, a stranger who sends in the name of a peer uses that peer's.
    Choose it well above what an honest peer needs.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._budgets = TokenBuckets(rate, burst, MAX_SOURCES)
        self._banned: dict[str, float] = {}

    def ban(self, ip: str, seconds: float) -> None:
        """Let nothing from ``ip`` pass for this time."""
        self._banned.pop(ip, None)
        self._banned[ip] = clock.monotonic() + seconds
        if len(self._banned) > MAX_BANNED:
            del self._banned[next(iter(self._banned))]

    def unban(self, ip: str) -> None:
        """Lift the ban of ``ip``, if there is one."""
        self._banned.pop(ip, None)

    def is_banned(self, ip: str) -> bool:
        """Whether ``ip`` is banned now."""
        until = self._banned.get(ip)
        if until is None:
            return False
        if until <= clock.monotonic():
            del self._banned[ip]
            return False
        return True

    def admit(self, packets: list[tuple[Address, bytes]], drops: DropCounter) -> list[tuple[Address, bytes]]:
        """Those of ``packets``, in their order, that may pass; the others are counted in ``drops``."""
        passed = []
        for packet in packets:
            source = packet[0][0]
            if self.is_banned(source):
                drops.count(DropCounter.BANNED)
            elif not self._budgets.take(source):
                drops.count(DropCounter.RATE_LIMITED)
            else:
                passed.append(packet)
        return passed
