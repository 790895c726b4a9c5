"""The values that go into a trust graph and come out of it."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["SCORES", "Edge", "Explanation", "FoldedEvent", "Path", "TrustEvent"]

SCORES = ("hits", "meritrank", "ppr", "eigentrust", "barter", "netflow", "direct", "temporal")
"""The names of the scores that every graph has."""


class TrustEvent(NamedTuple):
    """One endorsement: ``target`` did something useful for ``source``, and ``source`` says so.

    :param source: the key of who endorses.
    :param target: the key of who is endorsed.
    :param weight: how much, finite and not negative.
    :param timestamp: when, in milliseconds since the Unix epoch; ``None`` for now.
    :param kind: a name of the kind of evidence.
    """

    source: bytes
    target: bytes
    weight: float = 1.0
    timestamp: int | None = None
    kind: str = ""


class FoldedEvent(TrustEvent):
    """An event out of a stored block, whose time was compared with the time when the block was stored."""

    __slots__ = ()


class Edge(NamedTuple):
    """All endorsements of one key by another.

    ``weight`` is the sum of ``kinds``, which are the weights by kind; ``events`` is the number of endorsements and
    ``last_time`` the time of the newest, in milliseconds since the Unix epoch (``None`` if none had a time).
    """

    source: bytes
    target: bytes
    weight: float
    kinds: dict[str, float]
    events: int
    last_time: int | None


class Path(NamedTuple):
    """A way by which trust reaches a key.

    :param nodes: the keys on it: the root first, the key last, none twice.
    :param share: the part of the walks to the key that came this way, in (0, 1].
    """

    nodes: tuple[bytes, ...]
    share: float


class Explanation(NamedTuple):
    """Why a key has its score.

    :param key: the key.
    :param name: the name of the score.
    :param score: its value.
    :param rank: its place among all others, 1 for the highest; ``None`` without a positive score.
    :param confidence: the 95 % interval of the probability that a walk visits the key.
    :param paths: the most frequent ways to it, most frequent first.
    :param dominator: the last node that is on nearly all ways, if there is one.
    :param direct: the weights of the root's own endorsements, by kind.
    :param fraud: whether the key is marked as a fraud.
    :param proof: what was given as a proof of that.
    """

    key: bytes
    name: str
    score: float
    rank: int | None = None
    confidence: tuple[float, float] = (0.0, 0.0)
    paths: tuple[Path, ...] = ()
    dominator: bytes | None = None
    direct: dict[str, float] = {}  # noqa: RUF012 - a default of a named tuple; nobody changes it
    fraud: bool = False
    proof: Any = None
