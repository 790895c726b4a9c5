"""What a DHT remembers of its lookups, for people who want to see how they go."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .. import clock
from ..limits import BoundedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .crawl import Crawl
    from .routing import Node

__all__ = ["ANSWERED", "ASKED", "FAILED", "LookupLog", "LookupRecord"]

MAX_RUNNING = 64
"""Lookups that run, of which something is remembered; the oldest is forgotten first."""

MAX_FINISHED = 50
"""Lookups that have ended; the oldest is forgotten first."""

MAX_STEPS = 64
"""Steps of a lookup; further ones are not remembered."""

ASKED, ANSWERED, FAILED = "asked", "answered", "failed"
"""What happens to a node in a lookup."""

ID_BITS = 160


class LookupRecord:
    """What is remembered of one lookup.

    :param number: counts the lookups of a node.
    :param crawls: its records for each address family.
    """

    def __init__(self, number: int, crawls: Sequence[Crawl]) -> None:
        self.id = number
        self.target = crawls[0].target
        #: Whether nodes are looked for, or values.
        self.kind = "nodes" if crawls[0].force_nodes else "values"
        #: When it was started, in seconds since the Unix epoch.
        self.started = clock.time()
        #: How long it took; ``None`` while it runs.
        self.seconds: float | None = None
        #: For each step: seconds since the start, how many bits the ids of the node and of the target have in common at
        #: their beginning, and what happened to the node.
        self.course: list[tuple[float, int, str]] = []
        self._began = clock.monotonic()
        self._crawls = crawls
        self._nodes_asked = self._values = 0

    @property
    def state(self) -> str:
        """``"started"`` or ``"finished"``."""
        return "started" if self.seconds is None else "finished"

    def note(self, node: Node, what: str) -> None:
        """Note what happened to a node."""
        if len(self.course) < MAX_STEPS:
            shared = ID_BITS - node.distance(self.target).bit_length()
            self.course.append((clock.monotonic() - self._began, shared, what))

    def finish(self) -> None:
        """Note the end."""
        self._nodes_asked, self._values = self._count()
        self.seconds = clock.monotonic() - self._began
        self._crawls = ()

    def _count(self) -> tuple[int, int]:
        nodes = {node for crawl in self._crawls for node in crawl.nodes_tried}
        values = {value for crawl in self._crawls for _, response in crawl.responses
                  for value in response.get("values", ())}
        return len(nodes), len(values)

    def to_dict(self) -> dict[str, Any]:
        """The lookup as JSON has it, without its course."""
        asked, values = self._count() if self.seconds is None else (self._nodes_asked, self._values)
        return {"id": self.id, "target": self.target.hex(), "kind": self.kind, "started": self.started,
                "state": self.state, "nodes_asked": asked, "values": values, "seconds": self.seconds}


class LookupLog:
    """The lookups of a node that run, and the last ones that have ended.

    :param tell: called with each lookup when it starts and when it ends.
    """

    def __init__(self, tell: Callable[[LookupRecord], None] = lambda _record: None) -> None:
        self._tell = tell
        self._started = 0
        self._running: BoundedDict[int, LookupRecord] = BoundedDict(MAX_RUNNING)
        self._finished: deque[LookupRecord] = deque(maxlen=MAX_FINISHED)

    def begin(self, crawls: Sequence[Crawl]) -> LookupRecord:
        """Note that a lookup starts."""
        self._started += 1
        record = self._running[self._started] = LookupRecord(self._started, crawls)
        self._tell(record)
        return record

    def end(self, record: LookupRecord) -> None:
        """Note that a lookup has ended."""
        record.finish()
        self._running.pop(record.id, None)
        self._finished.append(record)
        self._tell(record)

    def records(self) -> list[LookupRecord]:
        """The lookups that run, then those that have ended, each the newest first."""
        return [*reversed(self._running.values()), *reversed(self._finished)]
