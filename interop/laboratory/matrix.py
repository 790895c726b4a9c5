"""The pairs of nodes, and the outcomes of their attempts to meet."""

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
"""The seconds that a packet takes from one site to another."""

HEAD_START = 0.2
"""The seconds from the start of the second node of a pair to the start of the first one, which walks to it."""

PATIENCE = 8.0
"""The seconds after which a pair counts as one that does not meet."""

RELAYED = "relayed"


@dataclass(frozen=True)
class Pair:
    """Two nodes behind NATs or firewalls.

    :param walker: the kind in front of the node that starts last, and hears first of the other one.
    :param host: the kind in front of the other node.
    :param families: the kinds of addresses of both: "IPv4", "IPv6" or "IPv4 and IPv6".
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
    """The outcome of the attempt of a pair to meet.

    :param seconds: the seconds from the first step of the walker until both are peers; ``None`` for never.
    :param path: the way by which they reached each other, or "".
    :param introductions: how often one of them was introduced to the other until then.
    """

    seconds: float | None = None
    path: str = ""
    introductions: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether packets go from one to the other without a third node."""
        return bool(self.path) and self.path not in {RELAYED, PeerPath.UNKNOWN}

    @property
    def is_first_attempt(self) -> bool:
        """Whether one introduction was enough."""
        return self.is_direct and self.introductions <= 1

    @staticmethod
    def of(walker: Sight | None, host: Sight | None, begin: float) -> Outcome | None:
        """The outcome by the records of both nodes; ``None`` if they are not peers yet.

        A node that got an answer knows that packets pass in both directions.
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
"""The kinds that are combined with themselves and each other, and the kinds of addresses."""


def pairs_of(matrix: str) -> list[Pair]:
    """The pairs of one of the ``MATRICES``, walkers in the outer loop."""
    kinds, families = MATRICES[matrix]
    return [Pair(KINDS[walker], KINDS[host], families) for walker, host in product(kinds, repeat=2)]


def all_pairs() -> list[Pair]:
    """Every pair once."""
    return list(dict.fromkeys(pair for matrix in MATRICES for pair in pairs_of(matrix)))
