"""Optional budgets and bans per source, applied before anything looks into a packet."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .... import clock
from ....limits import BoundedDict, TokenBuckets
from ..network_stats import DropCounter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...address import Address

__all__ = ["MAX_BANNED", "MAX_SOURCES", "SourceFilter"]

MAX_BANNED = 4096
"""Banned sources that are remembered; a further ban lifts the oldest."""

MAX_SOURCES = 4096
"""Sources whose budget is remembered; the least recently active one is evicted first."""


class SourceFilter:
    """Lets packets of a source pass unless it is banned or over its budget; a source is an IP, whatever its ports.

    :param rate: packets a second that one source may send in the long run.
    :param burst: packets that one source may send at once.

    Sources of UDP packets can be forged: a stranger who sends in the name of a peer uses the budget of that peer.
    Choose a budget well above what an honest peer needs.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._budgets = TokenBuckets(rate, burst, MAX_SOURCES)
        self._banned: BoundedDict[str, float] = BoundedDict(MAX_BANNED)

    def ban(self, ip: str, seconds: float) -> None:
        """Let nothing from ``ip`` pass for this time."""
        self._banned[ip] = clock.monotonic() + seconds

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

    def refusal(self, ip: str) -> str | None:
        """Take one packet of ``ip`` out of its budget; the reason, if the packet has to be dropped, else ``None``."""
        if self.is_banned(ip):
            return DropCounter.BANNED
        return None if self._budgets.take(ip) else DropCounter.RATE_LIMITED

    def preview(self, packets: Sequence[tuple[Address, bytes]]) -> list[tuple[Address, bytes]]:
        """Those of ``packets`` that would pass now, in their order; no budget is used for that."""
        seen: Counter[str] = Counter()
        passing = []
        for packet in packets:
            ip = packet[0][0]
            seen[ip] += 1
            in_budget = seen[ip] <= self._budgets.burst and self._budgets.holds(ip, seen[ip])
            if in_budget and not self.is_banned(ip):
                passing.append(packet)
        return passing
