"""Two displays of a local network: lines of text, and a drawing in the terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from typing_extensions import Self

    from .network import LocalNetwork, NodeView, Outcome

COLUMNS = ("node", "address", "mid", "peers", "introduced", "punctures", "sent", "clock")
LEGEND = "introduced: answers received  punctures: ways opened  sent: clock messages"
"""An explanation of the columns that fits into a terminal of 80 characters."""

EVENTS_LEAST, EVENTS_MOST = 4, 10
"""The number of events that are drawn, depending on the size of the terminal."""

LINES_AROUND = 9
"""Lines that are not nodes or events: title and head with what is below them, frame, legend, verdict and prompt."""

WIDTH_MOST = 100
"""Characters of a line of a drawing, however wide the terminal."""

WIDTH_FOR_ALL = 77
"""Characters that all columns need; where there are fewer, nodes are drawn without address and key."""

WIDTH_LEAST = 50
"""Characters that the other columns need; where there are fewer, nothing is drawn."""

STYLES = {"met": "green", "lost": "red", "introduced": "", "puncture": "yellow"}
"""The colours of the kinds of events."""


def verdict(network: LocalNetwork, outcome: Outcome) -> str:
    """The result, in one or two sentences."""
    views = network.views()
    others = network.size - 1
    wanted = "all others" if network.peers_wanted == others else f"at least {network.peers_wanted} of {others}"
    if outcome.met_after is None:
        met = [view.peers for view in views]
        return (f"Not every node met {wanted} within {outcome.seconds:.1f} s: "
                f"of {others} others, each met {min(met)} to {max(met)}.")
    clocks = [view.clock for view in views]
    if not outcome.in_step:
        return (f"Each node met {wanted}, but after {outcome.seconds:.1f} s their clocks read "
                f"{min(clocks)} to {max(clocks)}.")
    return (f"Each of {network.size} nodes met {wanted} in {outcome.met_after:.1f} s: "
            f"{sum(view.introductions for view in views)} introductions, "
            f"{sum(view.punctures for view in views)} punctures. Clocks read {min(clocks)} to {max(clocks)}.")


class Display(ABC):
    """Shows a network inside a ``with`` block, for at least ``least_seconds``."""

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
        """Print the result."""


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
    """A table that is updated, above the latest events."""

    def __init__(self, least_seconds: float = 4.0, console: Console | None = None) -> None:
        self.least_seconds = least_seconds
        self._console = console or Console()
        self._live = Live(console=self._console, refresh_per_second=10)

    @staticmethod
    def is_possible() -> bool:
        """Whether standard output is a terminal that can be drawn on and is wide enough."""
        console = Console()
        return console.is_terminal and not console.is_dumb_terminal and console.width >= WIDTH_LEAST

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
        """The network as a table, and its latest events, as far as they fit into the terminal."""
        views = network.views()
        room = self._console.height - LINES_AROUND
        if len(views) > max(room - EVENTS_LEAST, 1):
            views = views[:max(room - EVENTS_LEAST - 1, 1)]
        hidden = network.size - len(views)
        width = min(self._console.width, WIDTH_MOST)
        count = min(max(room - len(views) - (hidden > 0), EVENTS_LEAST), EVENTS_MOST)
        # The legend comes last, so that the "^C" of the terminal appears after it and moves nothing.
        return Group(self._table(network, views, hidden, width), self._latest(network, count, width),
                     Text(LEGEND, style="dim", no_wrap=True, overflow="ellipsis"))

    @staticmethod
    def _table(network: LocalNetwork, views: list[NodeView], hidden: int, width: int) -> Table:
        """A row for each of ``views``, and one that tells how many are ``hidden``."""
        table = Table(title=f"A tracker at {network.tracker_address} and {network.size} nodes on this machine\n",
                      title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
                      width=width)
        shown = [index for index in range(len(COLUMNS)) if width >= WIDTH_FOR_ALL or index not in {1, 2}]
        for index in shown:
            table.add_column(COLUMNS[index], justify="left" if index < 3 else "right", no_wrap=True)
        others = network.size - 1
        for view in views:
            cells = [Text(str(value)) for value in view]
            cells[3] = Text(f"{view.peers}/{others}", style="green" if view.peers >= network.peers_wanted else "yellow")
            table.add_row(*(cells[index] for index in shown))
        if hidden:
            table.add_row(f"{hidden} more", style="dim")
        return table

    @staticmethod
    def _latest(network: LocalNetwork, count: int, width: int) -> Panel:
        """The latest events, the newest at the bottom."""
        lines = [Text(f"{event.seconds:6.2f} s  {event.text}", style=STYLES[event.kind])
                 for event in network.events[-count:]]
        lines += [Text()] * (count - len(lines))
        text = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
        return Panel(text, title="what happened", border_style="dim", width=width)
