"""What blocks of TrustChain say about who endorses whom (doc/trust.md, section 1)."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from .model import TrustEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..attestation.trustchain.block import TrustChainBlock

__all__ = ["DEFAULT_EXTRACTORS", "Extractor", "number_in"]

MEBIBYTE = 2**20

MAX_EVENT = 1e9
"""The weight that one event has at most, unless an extractor says something else."""


class Extractor:
    """A function that makes events of blocks, with what a graph has to know of it.

    :param function: gives the events of a block.
    :param requires_pair: whether a block counts only when the half of the counterparty is stored too.
    :param max_event: larger weights count as this.
    :param version: to be raised when the function changes: all blocks are taken up again then.
    :param stands_alone: whether a block counts without the other half in spite of ``requires_pair``.
    """

    def __init__(self, function: Callable[[TrustChainBlock], Iterable[TrustEvent]], *, requires_pair: bool = False,
                 max_event: float = MAX_EVENT, version: int = 1,
                 stands_alone: Callable[[TrustChainBlock], bool] | None = None) -> None:
        self.function = function
        self.requires_pair = requires_pair
        self.max_event = max_event
        self.version = version
        self.stands_alone = stands_alone

    def __call__(self, block: TrustChainBlock) -> Iterable[TrustEvent]:
        """The events of a block."""
        return self.function(block)


def number_in(transaction: Any, name: str) -> float | None:
    """The number under ``name``, which may be text or bytes; ``None`` if there is none that is finite."""
    if not isinstance(transaction, dict):
        return None
    value = transaction.get(name, transaction.get(name.encode()))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return float(max(-MAX_NUMBER, min(value, MAX_NUMBER)))
    return value if isfinite(value) else None


MAX_NUMBER = 10**300
"""Larger whole numbers count as this."""


def _bandwidth(block: TrustChainBlock) -> Iterable[TrustEvent]:
    """The author received ``down`` bytes. What it sent is in the other half, as ``down`` of the other one."""
    down = number_in(block.transaction, "down")
    if down is None or down <= 0.0:
        return ()
    return (TrustEvent(block.public_key, block.link_public_key, down / MEBIBYTE, block.timestamp, "bandwidth"),)


def _states_trust(block: TrustChainBlock) -> bool:
    return number_in(block.transaction, "trust") is not None


def _default(block: TrustChainBlock) -> Iterable[TrustEvent]:
    """The number ``trust`` of the transaction if it has one, 1 for any other transaction that both signed."""
    trust = number_in(block.transaction, "trust")
    kind = "pair" if trust is None else "trust"
    return (TrustEvent(block.public_key, block.link_public_key, 1.0 if trust is None else trust, block.timestamp,
                       kind),)


DEFAULT_EXTRACTORS: dict[bytes, Callable[[TrustChainBlock], Iterable[TrustEvent]]] = {
    b"tribler_bandwidth": Extractor(_bandwidth),
    b"": Extractor(_default, requires_pair=True, stands_alone=_states_trust),
}
"""What makes events of blocks, by type; the empty type stands for all others."""
