"""How overlays report what others did for them, and ask how far others are trusted (doc/trust.md, section 8).

Both are attributes of an overlay, set by the node or by a program: ``contribution_reporter`` and ``trust``. An overlay
without them pays one test of an attribute. What stands behind them is usually a trust graph (``ipv8.trust``), of which
nothing here knows.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["DELIVERY", "INTRODUCTION", "RELAY", "ContributionReporter", "is_refused", "score_of"]

INTRODUCTION = "introduction"
"""The kind of a contribution: somebody introduced a peer, which then answered. The amount is the number of peers."""

DELIVERY = "delivery"
"""Somebody stored values of ours, or that we asked for, and delivered them. The amount is the number of answers."""

RELAY = "relay"
"""Somebody relayed traffic of ours. The amount is the number of bytes that came through."""

KEY_SIZE = 74
"""Bytes of a key in blocks; shorter keys are filled up with zero bytes there."""


class ContributionReporter(Protocol):
    """Takes what an overlay saw others do for this node."""

    def contributed(self, public_key: bytes, kind: str, amount: float = 1.0) -> None:
        """Note that the owner of a key did something for this node.

        An overlay reports its own observations only, never what others tell. It may report after each packet, but
        adding up for some seconds costs less. Budgets are the business of the reporter.

        :param public_key: the key in its binary form, as ``peer.key_bin``.
        :param kind: one of the constants of this module, or a name of a program's own.
        :param amount: how much, in the unit of the kind.
        """


def score_of(trust: Any, key: bytes) -> float:
    """What a graph, or a function, says about a key, which may be filled up as in blocks; not below 0."""
    score = getattr(trust, "score", trust)
    value = score(key)
    if not value and len(key) < KEY_SIZE:
        value = score(key.ljust(KEY_SIZE, b"\0"))
    return max(0.0, float(value))


def is_refused(trust: Any, key: bytes) -> bool:
    """Whether a graph says that a key is blocked or that of a fraud."""
    tests = [test for name in ("is_fraud", "is_blocked") if (test := getattr(trust, name, None)) is not None]
    return any(test(spelling) for test in tests for spelling in {key, key.ljust(KEY_SIZE, b"\0")})
