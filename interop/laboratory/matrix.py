"""Which pairs are tried, and what comes out of a try, in whichever world."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from ipv8.contact.nat import PeerPath

from .kinds import KINDS, Kind

if TYPE_CHECKING:
    from .meeting import Sight

__all__ = ["DELAY", "HEAD_START", "MATRICES", "PATIENCE", "Outcome", "Pair", "all_pairs", "pairs_of"]

DELAY = 0.02
"""Seconds that a packet takes from one site to another."""

HEAD_START = 0.2
"""Seconds by which the second node of a pair is there before the first one, which then walks to it."""

PATIENCE = 8.0
"""Seconds after which a pair that has not met does not meet."""

RELAYED = "relayed"


@dataclass(frozen=True)
class Pair:
    """Two kinds of boxes between two nodes.

    :param walker: what the node that comes last, and is the first to hear of the other one, is behind.
    :param host: what the other one is behind.
    :param families: which kinds of addresses both have: "IPv4", "IPv6" or "IPv4 and IPv6".
    """

    walker: Kind
    host: Kind
    families: str

    @property
    def ipv4(self) -> bool:
        """Whether there are IPv4 addresses."""
        return "IPv4" in self.families

    @property
    def ipv6(self) -> bool:
        """Whether there are IPv6 addresses."""
        return "IPv6" in self.families

    def __str__(self) -> str:
        return f"{self.walker.name} - {self.host.name}, {self.families}"


@dataclass(frozen=True)
class Outcome:
    """What became of a pair.

    :param seconds: from the first step of the walker until both have each other; ``None`` if they never had.
    :param path: how they reached each other, "" if they did not.
    :param introductions: how often one was introduced to the other until then.
    """

    seconds: float | None = None
    path: str = ""
    introductions: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether packets go from one to the other without anybody in between."""
        return bool(self.path) and self.path not in {RELAYED, PeerPath.UNKNOWN}

    @property
    def is_first_attempt(self) -> bool:
        """Whether one introduction was enough."""
        return self.is_direct and self.introductions <= 1

    @staticmethod
    def of(walker: Sight | None, host: Sight | None, begin: float) -> Outcome | None:
        """The outcome by what both saw of each other; ``None`` if they do not have each other yet.

        Whoever has an answer knows that packets pass in both directions.
        """
        if walker is None or host is None:
            return None
        answers = [(sight.answered, sight.path) for sight in (walker, host) if sight.answered is not None]
        if not answers:
            return None
        answered, path = min(answers)
        seconds = max(walker.known, host.known, answered) - begin
        return Outcome(seconds, path, walker.introductions + host.introductions)

    def __str__(self) -> str:
        if self.seconds is None:
            return "no"
        return f"{self.path}, {self.seconds:.2f} s" + ("" if self.is_first_attempt else f", {self.introductions} tries")


MATRICES: dict[str, tuple[tuple[str, ...], str]] = {
    "NATs": (("none", "open", "moderate", "strict"), "IPv4"),
    "NATs without protection of their own": (("moderate", "strict", "bare"), "IPv4"),
    "IPv4 firewalls": (("none", "firewall"), "IPv4"),
    "IPv6 firewalls": (("none", "firewall"), "IPv6"),
    "Firewalls of dual-stack hosts": (("none", "firewall"), "IPv4 and IPv6"),
    "Strict NATs of dual-stack hosts with firewalls": (("none", "strict + firewall"), "IPv4 and IPv6"),
}
"""What is tried with itself and all others of its row, and by which protocols."""


def pairs_of(matrix: str) -> list[Pair]:
    """The pairs of one of the ``MATRICES``, walkers in the outer loop."""
    kinds, families = MATRICES[matrix]
    return [Pair(KINDS[walker], KINDS[host], families) for walker, host in product(kinds, repeat=2)]


def all_pairs() -> list[Pair]:
    """Every pair once."""
    return list(dict.fromkeys(pair for matrix in MATRICES for pair in pairs_of(matrix)))
