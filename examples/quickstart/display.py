"""Two ways to show a local network: as lines of text, and drawn in the terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from typing_extensions import Self

    from .network import LocalNetwork, Outcome

COLUMNS = ("node", "address", "mid", "peers", "introduced", "punctures", "told", "clock")
EVENTS_DRAWN = 10


def verdict(network: LocalNetwork, outcome: Outcome) -> str:
    """How it ended, in one or two sentences."""
    views = network.views()
    if outcome.met_after is None:
        lonely = ", ".join(f"{view.name} met {view.peers}" for view in views)
        return f"The nodes did not meet within {outcome.seconds:.1f} s: {lonely}."
    clocks = [view.clock for view in views]
    if not outcome.in_step:
        return f"The nodes met, but after {outcome.seconds:.1f} s their clocks read {min(clocks)} to {max(clocks)}."
    return (f"{network.size} nodes met in {outcome.met_after:.1f} s. After {sum(view.introductions for view in views)} "
            f"introductions and {sum(view.punctures for view in views)} punctures, "
            f"their clocks read {min(clocks)} to {max(clocks)}.")


class Display(ABC):
    """Something that shows a network, inside a ``with`` block, for ``least_seconds`` even if all is well before."""

    least_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    @abstractmethod
    def show(self, network: LocalNetwork) -> None:
        """Show the network as it is now."""

    @abstractmethod
    def conclude(self, network: LocalNetwork, outcome: Outcome) -> None:
        """Say how it ended."""


class Lines(Display):
    """A line for each event, and a table at the end."""

    def __init__(self) -> None:
        self._shown = 0

    def show(self, network: LocalNetwork) -> None:
        for event in network.events[self._shown:]:
            print(f"{event.seconds:6.2f} s  {event.text}", flush=True)
        self._shown = len(network.events)

    def conclude(self, network: LocalNetwork, outcome: Outcome) -> None:
        rows = [COLUMNS, *(tuple(str(value) for value in view) for view in network.views())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        print()
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print(f"\n{verdict(network, outcome)}", flush=True)


class Drawing(Display):
    """A table that moves, above the latest events."""

    def __init__(self, least_seconds: float = 4.0) -> None:
        self.least_seconds = least_seconds
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, network: LocalNetwork) -> None:
        self._live.update(self._picture(network))

    def conclude(self, network: LocalNetwork, outcome: Outcome) -> None:
        self._live.update(self._picture(network))
        self._live.stop()
        self._console.print(verdict(network, outcome), style="bold green" if outcome.good else "bold red",
                            highlight=False)

    def _picture(self, network: LocalNetwork) -> RenderableType:
        """The network as a table and its latest events."""
        table = Table(title=f"A tracker and {network.size} nodes on loopback", box=box.SIMPLE_HEAD,
                      padding=(0, 1, 0, 0), expand=True)
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in COLUMNS[:3] else "right")
        for view in network.views():
            cells = [str(value) for value in view]
            cells[3] = f"{view.peers} of {network.size - 1}"
            table.add_row(*cells)
        latest = network.events[-EVENTS_DRAWN:]
        lines = [f"{event.seconds:6.2f} s  {event.text}" for event in latest]
        lines += [""] * (EVENTS_DRAWN - len(lines))
        return Group(table, Panel("\n".join(lines), title="what happened"))
