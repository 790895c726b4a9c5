"""Watches a node: what it sends, how late its event loop is, what it logs, and what happens in it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary

from ... import __version__, clock
from ...events import EventBus
from ...taskmanager import TaskManager
from . import peers
from .health import Health, Reachability, nat_state, sockets_of
from .log import LogBuffer
from .loop import ClockWatch, LoopMonitor
from .packets import PacketEvents
from .parts import communities_of, name_of, networks_of
from .sources import EventSources
from .tables import Tables
from .traffic import Traffic
from .tunnels import TunnelTotals

if TYPE_CHECKING:
    from ...peerdiscovery.network import Network
    from .log import LogRecord

__all__ = ["NodeObserver"]

TICK_INTERVAL = 1.0
"""Seconds between two entries of the histories."""

ERROR_SECONDS = 60
"""Seconds of which the errors in the log are counted."""

_observers: WeakValueDictionary[int, NodeObserver] = WeakValueDictionary()


class ObserverTasks(TaskManager):
    """The timers of an observer."""


class NodeObserver:
    """Watches a node while somebody wants it to. Nothing of it stays with the node afterwards.

    :param node: the node; an object of a program may have only some of the attributes of ``IPv8``.
    """

    def __init__(self, node: Any) -> None:
        self.node = node
        self._users = 0
        self._started = 0.0
        self._make_parts()

    def _make_parts(self) -> None:
        node = self.node
        #: What happens in the node.
        self.events = EventBus()
        #: What the node sends and receives.
        self.traffic = Traffic(node)
        self._tasks: ObserverTasks | None = None
        self.sources = EventSources(node, self.events)
        self.packets = PacketEvents(node, self.events, self.traffic)
        self.log = LogBuffer(self._tell_of_line)
        self.tables = Tables(node, self.events)
        self.clock = ClockWatch()
        #: What circuits have carried.
        self.tunnels = TunnelTotals(node)
        self.reachability = Reachability(node)
        self._health = Health(self)
        self._errors: deque[int] = deque(maxlen=ERROR_SECONDS)
        self._networks: WeakSet[Network] = WeakSet()
        self._loop: LoopMonitor | None = None

    @classmethod
    def of(cls, node: Any) -> NodeObserver:
        """The observer of a node; it is made if there is none."""
        found = _observers.get(id(node))
        if found is None or found.node is not node:
            found = _observers[id(node)] = cls(node)
        return found

    # Starting and stopping

    @property
    def is_running(self) -> bool:
        """Whether it watches."""
        return self._users > 0

    def start(self) -> None:
        """Watch, until :meth:`stop` was called as often as this."""
        self._users += 1
        if self._users > 1:
            return
        self._started = clock.monotonic()
        tasks = self._tasks = ObserverTasks()
        self._loop = LoopMonitor(tasks, self.traffic.handler_was_slow)
        self.log.start(asyncio.get_running_loop())
        self.traffic.start()
        self._loop.start()
        self._follow_networks()
        self.sources.start()
        self.packets.start()
        tasks.register_task("observe", self._tick, interval=TICK_INTERVAL)

    async def stop(self) -> None:
        """Watch no more, if nobody else wants it; streams of events end then."""
        if self._users == 0:
            return
        self._users -= 1
        if self._users > 0:
            return
        self.packets.stop()
        self.sources.stop()
        self.traffic.stop()
        self.log.stop()
        for network in self._networks:
            network.remove_peer_observer(self.reachability)
        self.events.close()
        tasks = self._tasks
        self._make_parts()
        if tasks is not None:
            await tasks.shutdown_task_manager()

    def _follow_networks(self) -> None:
        """Look where new peers come from, also those of overlays that have a network of their own."""
        for network in networks_of(self.node):
            if network not in self._networks:
                self._networks.add(network)
                network.add_peer_observer(self.reachability)

    @property
    def loop(self) -> LoopMonitor:
        """How late the event loop is.

        :raises RuntimeError: if it was not started.
        """
        if self._loop is None:
            raise RuntimeError("the observer was not started: call start() first")
        return self._loop

    # Once a second

    def _tick(self) -> None:
        self.traffic.tick()
        self.loop.tick()
        self.clock.tick()
        self.tunnels.look()
        self._errors.append(self.log.errors)
        self._follow_networks()
        self.sources.tick()
        self.packets.tick()
        if self.events.wants("stats"):
            self.events.publish("stats", self._stats())

    def _stats(self) -> dict[str, Any]:
        lag = self.loop.history[-1][1] if self.loop.history else 0.0
        return {**self.traffic.summary(), "peers": peers.total(self.node), "lag": lag,
                "dropped": self.traffic.drops().total()}

    def _tell_of_line(self, record: LogRecord) -> None:
        self.events.publish("log", record.to_dict)

    @property
    def uptime(self) -> float:
        """Seconds for which it has watched."""
        return clock.monotonic() - self._started if self._users else 0.0

    def recent_errors(self) -> int:
        """The errors in the log of the last minute."""
        return self.log.errors - (self._errors[0] if self._errors else 0)

    # What is shown

    def overview(self) -> dict[str, Any]:
        """The node in short."""
        node = self.node
        nat = nat_state(node, self.reachability)
        reasons = self._health.reasons(nat)
        lag = self.loop.lag()
        known = [peer for peer, _ in peers.peers_of(node).values()]
        by_path: dict[str, int] = {}
        for peer in known:
            by_path[peer.path] = by_path.get(peer.path, 0) + 1
        recent = self.traffic.recent_drops()
        drops = self.traffic.drops()
        overlays = communities_of(node)
        return {
            "time": clock.time(), "version": __version__, "uptime": self.uptime,
            "keys": [{"alias": alias, "mid": key.mid.hex(), "public_key": key.public_key.key_to_bin().hex()}
                     for alias, key in dict(getattr(node, "keys", {})).items()],
            "addresses": sockets_of(node),
            "wan": _address(next((overlay.my_estimated_wan for overlay in overlays), None)),
            "lan": _address(next((overlay.my_estimated_lan for overlay in overlays), None)),
            "health": {"status": self._health.status(reasons), "reasons": [reason.to_dict() for reason in reasons]},
            "nat": nat.to_dict(),
            "peers": {"total": len(known), "by_path": by_path, "encrypted": sum(map(peers.encrypted, known))},
            "loop": {"lag_p50": lag.p50, "lag_p99": lag.p99, "lag_max": lag.max,
                     "slow_callbacks": self.loop.slow_count + self.traffic.meter.slow_count,
                     "tasks": self.loop.tasks().total()},
            "drops": {"total": drops.total(), "last_minute": recent.total(), "by_reason": dict(drops)},
            "traffic": self.traffic.summary(),
            "overlays": [{"id": overlay.community_id.hex(), "name": name_of(overlay), "peers": len(overlay.get_peers()),
                          "max_peers": overlay.max_peers} for overlay in overlays],
        }

    def loop_state(self) -> dict[str, Any]:
        """The event loop."""
        monitor, lag = self.loop, self.loop.lag()
        slow = [*(callback._asdict() for callback in monitor.slow), *self.traffic.slow_handlers()]
        return {
            "lag": {"p50": lag.p50, "p99": lag.p99, "max": lag.max,
                    "history": [list(entry) for entry in monitor.history]},
            "slow": sorted(slow, key=lambda entry: entry["time"]),
            "tasks": [{"manager": manager, "count": count} for manager, count in monitor.tasks().most_common()],
            "debug": asyncio.get_running_loop().get_debug(),
        }


def _address(address: Any) -> dict[str, Any] | None:
    if address is None or not address[1]:
        return None
    return {"ip": address[0], "port": address[1]}
