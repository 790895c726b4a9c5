"""Nodes that leave and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Iterable

    from .loop import VirtualTimeLoop
    from .node import Node

__all__ = ["Churn"]


class Churn:
    """Stops nodes and starts them again, each at random times, until it is stopped itself.

    :param loop: the event loop of the simulation.
    :param chance: the source of randomness for the times, which are distributed exponentially.
    :param nodes: the nodes; all of them are running.
    :param mean_uptime: the mean time in seconds from a start to the next stop.
    :param mean_downtime: the mean time in seconds from a stop to the next start.
    :param crashes: the share of stops that are crashes; the others unload the overlays.
    """

    def __init__(self, loop: VirtualTimeLoop, chance: random.Random, nodes: Iterable[Node], mean_uptime: float,
                 mean_downtime: float, crashes: float) -> None:
        self.departures = 0
        self.arrivals = 0
        self._loop = loop
        self._chance = chance
        self._uptime = mean_uptime
        self._downtime = mean_downtime
        self._crashes = crashes
        self._timers: dict[Node, asyncio.TimerHandle] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        for node in nodes:
            self._timers[node] = loop.call_later(chance.expovariate(1 / mean_uptime), self._take_down, node)

    def stop(self) -> None:
        """Stop; all nodes stay as they are."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _take_down(self, node: Node) -> None:
        self.departures += 1
        if self._chance.random() < self._crashes:
            node.crash()
        else:
            task = self._loop.create_task(node.stop())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self._timers[node] = self._loop.call_later(self._chance.expovariate(1 / self._downtime), self._bring_up, node)

    def _bring_up(self, node: Node) -> None:
        if not node.running:
            self.arrivals += 1
            node.start()
        self._timers[node] = self._loop.call_later(self._chance.expovariate(1 / self._uptime), self._take_down, node)
