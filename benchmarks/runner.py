"""Runs the cases on each library in turn, and compares the medians."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.library import Library

__all__ = ["Row", "case_names", "report", "run", "table"]

CASE_SECONDS = 600


def case_names() -> list[str]:
    """The names of all cases, in alphabetical order."""
    return sorted(path.stem for path in (Path(__file__).parent / "cases").glob("*.py") if path.stem != "__init__")


@dataclass
class Row:
    """The values of one figure for each library, one for each run of its case."""

    case: str
    figure: Figure
    values: dict[str, list[float]] = field(default_factory=dict)

    def median(self, library: str) -> float | None:
        """The median for ``library``; ``None`` if there are no values."""
        values = self.values.get(library)
        return median(values) if values else None

    def ratio(self, ours: str, theirs: str) -> float | None:
        """How many times better ``ours`` is than ``theirs``; less than 1 if it is worse."""
        mine, other = self.median(ours), self.median(theirs)
        if not mine or not other:
            return None
        return mine / other if self.figure.more_is_better else other / mine


def run(cases: Sequence[str], libraries: Sequence[Library], repeat: int) -> tuple[list[Row], list[str]]:
    """Run each case ``repeat`` times on each library, interleaved (A B A B).

    :returns: the rows, in the order in which their figures first appeared, and the failures.
    """
    rows: dict[tuple[str, str], Row] = {}
    failures: list[str] = []
    for case in cases:
        for turn in range(repeat):
            for library in libraries:
                print(f"{case} {turn + 1}/{repeat} {library.name}", file=sys.stderr, flush=True)
                figures, failure = _run_once(case, library)
                if failure:
                    failures.append(f"{case} on {library.name}: {failure}")
                for figure in figures:
                    row = rows.setdefault((case, figure.name), Row(case, figure))
                    row.values.setdefault(library.name, []).append(figure.value)
    return list(rows.values()), failures


def _run_once(case: str, library: Library) -> tuple[list[Figure], str]:
    with tempfile.TemporaryDirectory() as directory:
        try:
            result = subprocess.run(library.command("benchmarks.worker", case), capture_output=True, text=True,
                                    cwd=directory, timeout=CASE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return [], f"not finished after {CASE_SECONDS} s"
    figures = [Figure(**json.loads(line)) for line in result.stdout.splitlines() if line.startswith("{")]
    if result.returncode == 0:
        return figures, ""
    return figures, (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]


def table(rows: Iterable[Row], libraries: Sequence[Library]) -> str:
    """The medians as text; with two libraries also the ratio, which is above 1 where the first one is better."""
    names = [library.name for library in libraries]
    head = ["case", "figure", "unit", *names, *(["ratio"] if len(names) > 1 else [])]
    lines = [head]
    for row in rows:
        line = [row.case, row.figure.name, row.figure.unit, *(_number(row.median(name)) for name in names)]
        if len(names) > 1:
            ratio = row.ratio(names[0], names[1])
            line.append("" if ratio is None else f"{ratio:.2f}x")
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) if column < 3 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
                     for line in lines)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def report(rows: Iterable[Row], libraries: Sequence[Library]) -> dict[str, Any]:
    """All values, for a JSON file."""
    names = [library.name for library in libraries]
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "libraries": names,
        "figures": [{"case": row.case, "name": row.figure.name, "unit": row.figure.unit,
                     "more_is_better": row.figure.more_is_better, "values": row.values,
                     "ratio": row.ratio(names[0], names[1]) if len(names) > 1 else None} for row in rows],
    }
