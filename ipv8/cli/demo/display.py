"""Displays of a local network: lines of text, lines of JSON, and a drawing in the terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..serving import print_event

if TYPE_CHECKING:
    from rich.console import RenderableType
    from typing_extensions import Self

    from .network import Event, LocalNetwork, NodeView, Outcome

__all__ = ["Display", "Drawing", "JsonLines", "Lines", "verdict"]

COLUMNS = ("node", "address", "mid", "peers", "introduced", "punctures")
"""The first columns; those of the activity follow."""

LEGEND = "introduced: answers received  punctures: ways opened"
"""An explanation of these columns."""

WIDTHS = {"node": 7, "address": 15, "mid": 8}
"""Characters of the columns that are text. Numbers are not longer than their titles, or not much."""

DISPENSABLE = ("mid", "address")
"""The columns that are left out where there is not enough room, in this order."""

EVENTS_LEAST, EVENTS_MOST = 4, 10
"""The number of events that are drawn, depending on the size of the terminal."""

LINES_AROUND = 9
"""Lines that are not nodes or events: title and head with what is below them, frame, legend, verdict and prompt."""

WIDTH_MOST = 100
"""Characters of a line of a drawing, however wide the terminal."""

WIDTH_LEAST = 50
"""Characters of a drawing, at least; in a narrower terminal, nothing is drawn."""

SPARE = 7
"""Characters for numbers that are longer than their titles."""

STYLES = {"met": "green", "lost": "red", "puncture": "yellow", "did": "cyan"}
"""The colours of some kinds of events."""


def verdict(network: LocalNetwork, outcome: Outcome) -> str:
    """The result, in one or two sentences."""
    views = network.views()
    others = network.size - 1
    wanted = "all others" if network.peers_wanted == others else f"at least {network.peers_wanted} of {others}"
    if outcome.met_after is None:
        met = [view.peers for view in views]
        return (f"Not every node met {wanted} within {outcome.seconds:.1f} s: "
                f"of {others} others, each met {min(met)} to {max(met)}.")
    if not outcome.done:
        return (f"Each node met {wanted}, but after {outcome.seconds:.1f} s not all was done. "
                f"{network.activity.summary(network)}")
    return (f"Each of {network.size} nodes met {wanted} in {outcome.met_after:.1f} s: "
            f"{sum(view.introductions for view in views)} introductions, "
            f"{sum(view.punctures for view in views)} punctures. {network.activity.summary(network)}")


def titles(network: LocalNetwork) -> tuple[str, ...]:
    """The titles of all columns."""
    return (*COLUMNS, *network.activity.columns)


def cells(view: NodeView) -> list[str]:
    """What these columns have for a node."""
    return [str(value) for value in (*view[:len(COLUMNS)], *view.figures)]


def titles_that_fit(network: LocalNetwork, width: int) -> list[str]:
    """The titles of the columns for which there is room."""
    shown = list(titles(network))
    for title in DISPENSABLE:
        if sum(WIDTHS.get(name, len(name)) + 1 for name in shown) - 1 + SPARE > width:
            shown.remove(title)
    return shown


class Display(ABC):
    """Shows a network inside a ``with`` block, for at least ``least_seconds``."""

    least_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    @abstractmethod
    def note(self, text: str, **facts: str) -> None:
        """Tell something about the demonstration itself.

        :param facts: the same for programs.
        """

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

    def note(self, text: str, **facts: str) -> None:  # noqa: ARG002 - of the base
        """Print it."""
        print(text, flush=True)

    def show(self, network: LocalNetwork) -> None:
        """Print what is new."""
        for event in network.events[self._shown:]:
            self._tell(event)
        self._shown = len(network.events)

    def _tell(self, event: Event) -> None:
        print(f"{event.seconds:6.2f} s  {event.text}", flush=True)

    def conclude(self, network: LocalNetwork, outcome: Outcome) -> None:
        """Print the table, and the result."""
        rows = [titles(network), *map(cells, network.views())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        print()
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print(f"\n{verdict(network, outcome)}", flush=True)


class JsonLines(Lines):
    """The same for programs: lines of JSON."""

    def note(self, text: str, **facts: str) -> None:
        """Print the facts, if there are any."""
        if facts:
            print_event("served", text=text, **facts)

    def _tell(self, event: Event) -> None:
        print_event(event.kind, seconds=round(event.seconds, 3), text=event.text)

    def conclude(self, network: LocalNetwork, outcome: Outcome) -> None:
        """Print the nodes, and the result."""
        nodes = [{**view._asdict(), "figures": dict(zip(network.activity.columns, view.figures, strict=True))}
                 for view in network.views()]
        print_event("concluded", good=outcome.good, met_after=outcome.met_after, seconds=outcome.seconds,
                    text=verdict(network, outcome), nodes=nodes)


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

    def note(self, text: str, **facts: str) -> None:  # noqa: ARG002 - of the base
        """Print it, above the drawing if that goes on."""
        self._console.print(text, highlight=False)

    def show(self, network: LocalNetwork) -> None:
        """Draw the network."""
        self._live.update(self._picture(network))

    def conclude(self, network: LocalNetwork, outcome: Outcome) -> None:
        """Draw the network for the last time, and print the result."""
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
                     Text(f"{LEGEND}  {network.activity.legend}".rstrip(), style="dim", no_wrap=True,
                          overflow="ellipsis"))

    @staticmethod
    def _table(network: LocalNetwork, views: list[NodeView], hidden: int, width: int) -> Table:
        """A row for each of ``views``, and one that tells how many are ``hidden``."""
        table = Table(title=f"A tracker at {network.tracker_address} and {network.size} nodes on this machine\n",
                      title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
                      width=width)
        shown = titles_that_fit(network, width)
        for title in shown:
            table.add_column(title, justify="left" if title in WIDTHS else "right", no_wrap=True)
        others = network.size - 1
        for view in views:
            row = dict(zip(titles(network), map(Text, cells(view)), strict=True))
            row["peers"] = Text(f"{view.peers}/{others}",
                                style="green" if view.peers >= network.peers_wanted else "yellow")
            table.add_row(*(row[title] for title in shown))
        if hidden:
            table.add_row(f"{hidden} more", style="dim")
        return table

    @staticmethod
    def _latest(network: LocalNetwork, count: int, width: int) -> Panel:
        """The latest events, the newest at the bottom."""
        lines = [Text(f"{event.seconds:6.2f} s  {event.text}", style=STYLES.get(event.kind, ""))
                 for event in network.events[-count:]]
        lines += [Text()] * (count - len(lines))
        text = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
        return Panel(text, title="what happened", border_style="dim", width=width)
