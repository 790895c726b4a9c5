"""What a node tells about itself by its REST API at one moment, for :mod:`ipv8.cli.top`."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, Protocol

from .terminal import printable

__all__ = ["Circuit", "Client", "ForeignAnswer", "Message", "Overlay", "Snapshot", "Table", "look"]

PATHS = ("/node/overview", "/node/traffic", "/node/tables", "/tunnel/circuits")

LEVELS = ("ok", "unknown", "warning", "problem")
"""How well something is, the best first."""


class ForeignAnswer(Exception):  # noqa: N818 - it is about what was answered
    """What answered is not a node of this version."""


class Client(Protocol):
    """What is needed of :class:`ipv8.REST.client.IPv8Client`."""

    async def get(self, path: str, /, **query: Any) -> Any:
        """The JSON at a path."""


class Message(NamedTuple):
    """A message of an overlay. The bytes are of both directions."""

    overlay: str
    name: str
    packets_up: int
    packets_down: int
    bytes: int
    mean: float
    p99: float
    seconds: float


class Overlay(NamedTuple):
    """An overlay; ``max_peers`` is negative for any number."""

    name: str
    peers: int
    max_peers: int
    bytes_up: int
    bytes_down: int


class Circuit(NamedTuple):
    """A circuit of the node; ``hops`` has the beginnings of their mids."""

    number: int
    state: str
    type: str
    goal: int
    hops: tuple[str, ...]
    bytes_up: int
    bytes_down: int


class Table(NamedTuple):
    """A table with an upper limit."""

    name: str
    size: int
    capacity: int

    @property
    def share(self) -> float:
        """How full it is, from 0 to 1."""
        return self.size / self.capacity if self.capacity else 0.0


class Snapshot(NamedTuple):
    """All that :class:`ipv8.cli.top_view.View` shows. Times are seconds, rates bytes a second."""

    version: str
    uptime: float
    mid: str
    health: str
    reasons: tuple[tuple[str, str], ...]
    peers: int
    encrypted: int
    paths: dict[str, int]
    lag: tuple[float, float, float]
    slow_callbacks: int
    tasks: int
    drops: int
    drops_last_minute: int
    drop_reasons: dict[str, int]
    up: float
    down: float
    bytes_up: int
    bytes_down: int
    history: tuple[float, ...]
    overlays: tuple[Overlay, ...]
    messages: tuple[Message, ...]
    circuits: tuple[Circuit, ...]
    tables: tuple[Table, ...]

    @classmethod
    def of(cls, answers: dict[str, Any]) -> Snapshot:
        """The snapshot of what was answered for :data:`PATHS`.

        :raises ForeignAnswer: if that is not what a node of this version answers.
        """
        try:
            return cls._of(*(answers[path] for path in PATHS))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as e:
            raise ForeignAnswer(f"{type(e).__name__}: {e}") from e

    @classmethod
    def _of(cls, overview: Any, traffic: Any, tables: Any, circuits: Any) -> Snapshot:
        health, loop, drops, total = (overview[name] for name in ("health", "loop", "drops", "traffic"))
        reasons = [(_level(reason["level"]), printable(reason["text"])) for reason in health["reasons"]]
        by_id = {overlay["id"]: overlay for overlay in traffic["overlays"]}
        return cls(
            version=printable(overview["version"]), uptime=float(overview["uptime"]),
            mid=printable(overview["keys"][0]["mid"]) if overview["keys"] else "",
            health=_level(health["status"]),
            reasons=tuple(sorted(reasons, key=lambda reason: -LEVELS.index(reason[0]))),
            peers=int(overview["peers"]["total"]), encrypted=int(overview["peers"]["encrypted"]),
            paths={printable(path): int(count) for path, count in overview["peers"]["by_path"].items()},
            lag=(_seconds(loop["lag_p50"]), _seconds(loop["lag_p99"]), _seconds(loop["lag_max"])),
            slow_callbacks=int(loop["slow_callbacks"]), tasks=int(loop["tasks"]),
            drops=int(drops["total"]), drops_last_minute=int(drops["last_minute"]),
            drop_reasons={printable(reason): int(count) for reason, count in drops["by_reason"].items()},
            up=float(total["bytes_up_per_second"]), down=float(total["bytes_down_per_second"]),
            bytes_up=int(total["bytes_up"]), bytes_down=int(total["bytes_down"]),
            history=tuple(float(up) + float(down) for _, up, down, *_ in traffic["history"]),
            overlays=tuple(_overlay(overlay, by_id.get(overlay["id"], {})) for overlay in overview["overlays"]),
            messages=tuple(_message(printable(overlay["name"]), message) for overlay in traffic["overlays"]
                           for message in overlay["messages"]),
            circuits=tuple(_circuit(circuit) for circuit in circuits["circuits"]),
            tables=tuple(map(_table, tables["tables"])))


async def look(client: Client) -> tuple[dict[str, Any], Snapshot]:
    """Ask a node; the answers by path, and what they say.

    :raises ForeignAnswer: if it is not a node of this version.
    """
    answers = dict(zip(PATHS, await asyncio.gather(*map(client.get, PATHS)), strict=True))
    return answers, Snapshot.of(answers)


def _level(text: object) -> str:
    return str(text) if text in LEVELS else "unknown"


def _seconds(value: object) -> float:
    """A time, which is zero while none was measured."""
    return 0.0 if value is None else float(value)  # type: ignore[arg-type]  # another type is an error of the answer


def _overlay(overlay: Any, traffic: Any) -> Overlay:
    return Overlay(printable(overlay["name"]), int(overlay["peers"]),
                   -1 if overlay["max_peers"] is None else int(overlay["max_peers"]),
                   int(traffic.get("bytes_up", 0)), int(traffic.get("bytes_down", 0)))


def _message(overlay: str, message: Any) -> Message:
    handler = message["handler"]
    return Message(overlay, printable(message["name"]), int(message["packets_up"]), int(message["packets_down"]),
                   int(message["bytes_up"]) + int(message["bytes_down"]), _seconds(handler["mean"]),
                   _seconds(handler["p99"]), _seconds(handler["seconds"]))


def _table(table: Any) -> Table:
    return Table(printable(f"{table['owner']}.{table['name']}"), int(table["size"]), int(table["capacity"]))


def _circuit(circuit: Any) -> Circuit:
    return Circuit(int(circuit["circuit_id"]), printable(circuit["state"]), printable(circuit["type"]),
                   int(circuit["goal_hops"]), tuple(printable(mid)[:8] for mid in circuit["verified_hops"]),
                   int(circuit["bytes_up"]), int(circuit["bytes_down"]))
