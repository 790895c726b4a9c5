"""The list of differences in ``differences.txt``, and the differences that are found."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.surface.compare import Difference, differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.library import Library

__all__ = ["LIST", "Entry", "describe", "find", "read_list", "stale", "unlisted"]

LIST = Path(__file__).parent / "differences.txt"
SEPARATOR = " | "
DESCRIBE_SECONDS = 120


@dataclass(frozen=True)
class Entry:
    """A line of the list: a pattern of differences, with ``*`` for any text, and the reason why they stay."""

    pattern: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Whether the pattern matches a difference."""
        return fnmatchcase(difference.subject, self.pattern.replace("[", "[[]"))


def read_list(text: str) -> list[Entry]:
    """The entries of a list.

    :raises ValueError: for a line without a reason.
    """
    entries = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, separator, reason = (part.strip() for part in line.partition(SEPARATOR))
            if not separator or not reason:
                raise ValueError(f"give a reason: {line!r} has to have the form 'difference{SEPARATOR}reason'")
            entries.append(Entry(pattern, reason))
    return entries


def unlisted(found: Sequence[Difference], entries: Sequence[Entry]) -> list[Difference]:
    """The differences that no entry covers."""
    return [difference for difference in found if not any(entry.covers(difference) for entry in entries)]


def stale(found: Sequence[Difference], entries: Sequence[Entry]) -> list[Entry]:
    """The entries that cover no difference."""
    return [entry for entry in entries if not any(entry.covers(difference) for difference in found)]


def find(theirs: Library, ours: Library) -> list[Difference]:
    """Describe both libraries, each in a process of its own, and compare them."""
    expected = describe(theirs)
    names = {module: [*found] for module, found in expected["modules"].items() if found is not None}
    return differences(expected, describe(ours, names))


def describe(library: Library, wanted: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """What a library offers, as :mod:`interop.surface.describe` tells it: the wanted names of modules, or all."""
    process = subprocess.run(library.command("interop.surface.describe"), input=json.dumps(wanted), check=True,
                             stdout=subprocess.PIPE, text=True, timeout=DESCRIBE_SECONDS)
    description: dict[str, Any] = json.loads(process.stdout)
    return description
