"""The steps of the walkers of a node: one of each in a round, spread over the walker interval."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from . import clock

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from .overlay import Overlay
    from .peerdiscovery.discovery import DiscoveryStrategy

    Entry = tuple[DiscoveryStrategy[Any], int]

__all__ = ["overlay_of", "walk_round"]


@runtime_checkable
class _Walker(Protocol):
    """A strategy that says which overlay it walks for; programs may use others."""

    overlay: Overlay[Any] | None


def overlay_of(strategy: DiscoveryStrategy[Any]) -> Overlay[Any] | None:
    """The overlay that ``strategy`` walks for, ``None`` if it does not say so."""
    return strategy.overlay if isinstance(strategy, _Walker) else None


async def walk_round(entries: Sequence[Entry], begin: float, interval: float, logger: logging.Logger) -> None:
    """Let every strategy that wants more peers take one step. A failing one is logged, and the others go on.

    :param entries: the strategies, each with the number of peers from which on it takes no steps, -1 for any number.
        One that is removed meanwhile takes no step any more.
    :param begin: when the round begins, in seconds of the monotonic clock.
    :param interval: seconds over which the steps are spread.
    """
    round_ = tuple(entries)
    for index, entry in enumerate(round_):
        wait = begin + interval * index / len(round_) - clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if any(entry is other for other in entries):
            _walk(*entry, logger)


def _walk(strategy: DiscoveryStrategy[Any], target_peers: int, logger: logging.Logger) -> None:
    try:
        if target_peers == -1 or strategy.get_peer_count() < target_peers:
            strategy.take_step()
    except Exception:  # the other walkers take their steps nevertheless
        overlay = overlay_of(strategy)
        logger.exception("%s%s failed to take a step", type(strategy).__name__,
                         "" if overlay is None else f" of {type(overlay).__name__}")
