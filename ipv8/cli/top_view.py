"""The view of ``ipv8 top``: a :class:`~ipv8.cli.snapshot.Snapshot` as tables, in a terminal of any size."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Group
from rich.layout import Layout
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from .snapshot import Message, Snapshot

__all__ = ["picture", "report"]

WORDS = {"ok": "Well", "unknown": "Unknown", "warning": "Warning", "problem": "Problem"}
STYLES = {"ok": "green", "unknown": "blue", "warning": "yellow", "problem": "red"}
"""For each level of health a word, as on the dashboard, and a colour."""

TITLE = "bold cyan"
DIM = "dim"
BLOCKS = "▁▂▃▄▅▆▇█"

WIDE = 130
"""From so many characters on, what is otherwise below the messages stands beside them."""

MIDDLE_LINES = 5
"""Lines of the block with peers, traffic and event loop, its titles included."""

LEAST_LINES = 9
"""Lines for messages, circuits and tables, from which on there is room for all of them."""

GROUPED_LINES = 24
"""Lines for messages from which on they stand below their overlays."""

MOST_BELOW = 8
"""Lines of circuits and tables, at most, if they are below the messages."""

NUMBER_WIDTH = 7
"""Characters of columns of numbers, at least, so that they stay where they are when numbers grow."""

MOST_TABLES = 12
"""Tables that a report has."""


def picture(snapshot: Snapshot, before: Snapshot | None, seconds: float, url: str, width: int, height: int) -> Layout:
    """The snapshot for a terminal of this size.

    :param before: an earlier snapshot; messages are sorted by what was done since then.
    :param seconds: the time between both.
    """
    reasons = _reasons(snapshot, width, max(height // 8, 2))
    head = [Layout(_head(snapshot, url, width), size=1), Layout(Text("\n").join(reasons), size=len(reasons) + 1),
            Layout(_middle(snapshot, width), size=MIDDLE_LINES + 1)]
    rest = max(height - 2 - len(reasons) - MIDDLE_LINES - 1, 1)
    is_wide = width >= WIDE
    below = 0 if is_wide or rest < LEAST_LINES else min(rest // 3, MOST_BELOW)
    room = max(rest - below - 2, 1)  # besides the title, and those of the columns
    rows = (_messages if rest >= GROUPED_LINES else _flat_messages)(snapshot, before, seconds, room)
    messages = Layout(Padding(_titled("overlays and messages", rows), (0, 2 if is_wide else 0, 0, 0)), ratio=3)
    side = width * 2 // 5 if is_wide else width // 2
    circuits = Layout(Padding(_titled(_count(len(snapshot.circuits), "circuit"), _circuits(snapshot)), (0, 1, 0, 0)))
    tables = Layout(_titled("fullest tables", _tables(snapshot, height, side - 2 * (NUMBER_WIDTH + 1) - 2)))
    root = Layout()
    if is_wide:
        body, right = Layout(), Layout(ratio=2)
        right.split_column(circuits, tables)
        body.split_row(messages, right)
        root.split_column(*head, body)
    elif below:
        body = Layout(size=below)
        body.split_row(circuits, tables)
        root.split_column(*head, messages, body)
    else:
        root.split_column(*head, messages)
    return root


def report(snapshot: Snapshot, url: str, width: int) -> Group:
    """The same once and in full, for an output that is no terminal."""
    rows = len(snapshot.messages) + len(snapshot.overlays)
    return Group(
        _head(snapshot, url, width), *_reasons(snapshot, width, len(snapshot.reasons) * width), Text(),
        _middle(snapshot, width), Text(),
        _titled("overlays and messages", _messages(snapshot, None, 0.0, rows)), Text(),
        _titled(_count(len(snapshot.circuits), "circuit"), _circuits(snapshot)), Text(),
        _titled("fullest tables", _tables(snapshot, MOST_TABLES, width)))


# -- the parts -------------------------------------------------------------------------------------------------------

def _head(snapshot: Snapshot, url: str, width: int) -> Grid:
    grid = Grid.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    facts = f" · mid {snapshot.mid}" if width >= WIDE else ""
    grid.add_row(Text.assemble((WORDS[snapshot.health], f"bold {STYLES[snapshot.health]}"), (f"  {url}{facts}", DIM)),
                 Text(f"ipv8 {snapshot.version}, up {_duration(snapshot.uptime)}", style=DIM))
    return grid


def _reasons(snapshot: Snapshot, width: int, most: int) -> list[Text]:
    """Lines with the reasons for the health, the worst first. If there are warnings, the others are left out."""
    bad = [reason for reason in snapshot.reasons if reason[0] in {"warning", "problem"}]
    lines: list[Text] = []
    for level, text in bad or snapshot.reasons:
        mark = Text(f"{WORDS[level]:9}", style=STYLES[level])
        for part in wrap(text, max(width - len(mark), 1)) or [""]:
            lines.append(mark + Text(part))
            mark = Text(" " * len(mark))
    if len(lines) > most:
        lines[most - 1:] = [Text(f"{'':9}and more, see /dashboard", style=DIM)]
    return lines


def _middle(snapshot: Snapshot, width: int) -> Grid:
    grid = Grid.grid(expand=True, padding=(0, 2, 0, 0))
    for _ in range(3):
        grid.add_column(ratio=1, no_wrap=True)
    column = max(width // 3 - 2, 8)
    grid.add_row(_peers(snapshot, column), _traffic(snapshot, column), _loop(snapshot))
    return grid


def _peers(snapshot: Snapshot, width: int) -> Group:
    title = f"{_count(snapshot.peers, 'peer')}, {snapshot.encrypted} encrypted"
    ordered = sorted(snapshot.paths.items(), key=lambda entry: (-entry[1], entry[0]))
    room = MIDDLE_LINES - 1
    if len(ordered) > room:
        ordered = [*ordered[:room - 1], ("other ways", sum(count for _, count in ordered[room - 1:]))]
    bar = max(min(width - 17, 30), 0)
    lines = [Text.assemble(f"{path:10}", f"{count:5} ", ("━" * _bar(count, snapshot.peers, bar), "cyan"))
             for path, count in ordered]
    return Group(Text(title, style=TITLE), *(lines or [Text("It has met nobody yet.", style=DIM)]))


def _bar(count: int, total: int, width: int) -> int:
    return -(-count * width // total) if total > 0 else 0


def _traffic(snapshot: Snapshot, width: int) -> Group:
    return Group(
        Text("traffic", style=TITLE),
        Text(f"up   {_bytes(snapshot.up):>8}/s {_bytes(snapshot.bytes_up):>8}"),
        Text(f"down {_bytes(snapshot.down):>8}/s {_bytes(snapshot.bytes_down):>8}"),
        Text(_sparkline(snapshot.history, min(width, 60)), style="cyan"),
        Text(f"the last {_duration(len(snapshot.history))}" if snapshot.history else "", style=DIM))


def _loop(snapshot: Snapshot) -> Group:
    median, high, most = map(_milliseconds, snapshot.lag)
    drops = sorted(snapshot.drop_reasons.items(), key=lambda entry: -entry[1])
    return Group(
        Text("event loop and drops", style=TITLE),
        Text(f"lag {median}, p99 {high}"),
        Text(f"max {most}, {snapshot.slow_callbacks} slow calls"),
        Text(f"dropped {snapshot.drops}, {snapshot.drops_last_minute}/min"),
        Text(", ".join(f"{reason} {count}" for reason, count in drops[:2] if count), style=DIM, overflow="ellipsis"))


def _messages(snapshot: Snapshot, before: Snapshot | None, seconds: float, most: int) -> Grid:
    """A line for each overlay, with its busiest messages below it."""
    grid = _table(("message", 5), "in", "out", "bytes" if before is None else "bytes/s", "mean", "p99")
    busy = _busiest(snapshot, before, seconds)
    shown = set(list(busy)[:max(most - len(snapshot.overlays), 1)])
    for overlay in snapshot.overlays:
        of = f"{overlay.peers}/{overlay.max_peers}" if overlay.max_peers >= 0 else str(overlay.peers)
        mine = [message for message in busy if message.overlay == overlay.name]
        grid.add_row(Text(f"{overlay.name}, {of} peers", style="bold"),
                     *(Text(text, style=DIM) for text in _sums(busy[message] for message in mine)), "", "")
        for message in mine:
            if message in shown:
                grid.add_row(f"  {message.name}", *_figures(message, busy[message]))
    return grid


def _flat_messages(snapshot: Snapshot, before: Snapshot | None, seconds: float, most: int) -> Grid:
    """The busiest messages of all overlays."""
    grid = _table(("overlay", 2), ("message", 3), "in", "out", "bytes" if before is None else "bytes/s", "mean", "p99")
    for message, activity in list(_busiest(snapshot, before, seconds).items())[:most]:
        grid.add_row(_short(message.overlay), message.name.removeprefix("on_"), *_figures(message, activity))
    return grid


Activity = tuple[float, float, float]
"""Packets received and sent, and bytes."""


def _busiest(snapshot: Snapshot, before: Snapshot | None, seconds: float) -> dict[Message, Activity]:
    """What was done with each message, the busiest first."""
    old = {} if before is None else {(message.overlay, message.name): message for message in before.messages}
    activity = {message: _since(message, old.get((message.overlay, message.name)), seconds)
                for message in snapshot.messages}
    return dict(sorted(activity.items(), key=lambda entry: (-entry[1][2], -entry[0].bytes, entry[0].name)))


def _sums(activities: Iterable[Activity]) -> list[str]:
    received, sent, size = (sum(column) for column in zip(*activities, (0, 0, 0), strict=True))
    return [_number(received), _number(sent), _bytes(size)]


def _figures(message: Message, activity: Activity) -> list[str]:
    return [_number(activity[0]), _number(activity[1]), _bytes(activity[2]), _milliseconds(message.mean),
            _milliseconds(message.p99)]


def _short(overlay: str) -> str:
    """The name of an overlay without the word that most of them end with."""
    return overlay.removesuffix("Community") or overlay


def _since(message: Message, old: Message | None, seconds: float) -> Activity:
    """What was done in each second since an earlier look; without one, since the node has started."""
    if old is None or seconds <= 0:
        return message.packets_down, message.packets_up, message.bytes
    return ((message.packets_down - old.packets_down) / seconds, (message.packets_up - old.packets_up) / seconds,
            (message.bytes - old.bytes) / seconds)


def _circuits(snapshot: Snapshot) -> Grid:
    grid = _table(("state", 1), "hops", ("by way of", 2))
    for circuit in sorted(snapshot.circuits, key=lambda circuit: -(circuit.bytes_up + circuit.bytes_down)):
        grid.add_row(f"{circuit.state.lower()} {circuit.type.lower()}", f"{len(circuit.hops)}/{circuit.goal}",
                     Text(" → ".join(circuit.hops), overflow="ellipsis"))
    if not snapshot.circuits:
        grid.add_row(Text("It has none.", style=DIM), "", "")
    return grid


def _tables(snapshot: Snapshot, most: int, width: int) -> Grid:
    """The fullest tables. Names longer than ``width`` lose their beginnings, as their ends say more."""
    grid = _table(("table", 1), "entries", "full")
    for table in sorted(snapshot.tables, key=lambda table: (-table.share, table.name))[:most]:
        style = "red" if table.share >= 0.9 else "yellow" if table.share >= 0.7 else ""
        name = table.name if len(table.name) <= width else f"…{table.name[-max(width - 1, 1):]}"
        grid.add_row(name, f"{table.size}/{table.capacity}", Text(f"{table.share:.0%}", style=style))
    return grid


def _titled(title: str, content: RenderableType) -> Group:
    return Group(Text(title, style=TITLE), content)


def _table(*columns: str | tuple[str, int]) -> Grid:
    """A table without lines; a column with a share of the width is text, the others are numbers."""
    grid = Grid(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style=DIM)
    for column in columns:
        if isinstance(column, tuple):
            grid.add_column(column[0], ratio=column[1], no_wrap=True, overflow="ellipsis")
        else:
            grid.add_column(column, justify="right", no_wrap=True, min_width=NUMBER_WIDTH)
    return grid


# -- figures ---------------------------------------------------------------------------------------------------------

def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _number(value: float) -> str:
    """Few digits, as for packets in a second."""
    return "0" if not value else f"{value:.1f}" if value < 10 and value != int(value) else f"{value:.0f}"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _milliseconds(seconds: float) -> str:
    if not seconds:
        return "-"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.2f} ms"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _sparkline(history: Sequence[float], width: int) -> str:
    """The history as bars of blocks; several seconds share one if there are more than fit."""
    if not history:
        return ""
    count = -(-len(history) // width)
    bars = [max(history[end - count if end > count else 0:end]) for end in _ends(len(history), count)]
    most = max(bars) or 1.0
    return "".join(BLOCKS[min(int(bar / most * len(BLOCKS)), len(BLOCKS) - 1)] for bar in bars)


def _ends(length: int, count: int) -> Iterable[int]:
    """The ends of the groups of ``count`` entries, of which the last one is complete."""
    return range(length % count or count, length + 1, count)
