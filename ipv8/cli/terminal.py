"""What terminals need: texts of others that do not control them, and a sign that a command still works."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["busy", "for_output", "printable"]


def printable(text: object) -> str:
    """A text in which nothing controls a terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def for_output(text: str) -> str:
    """A text of somebody else as it can be printed: as it is to a file or a pipe, and printable to a terminal."""
    return printable(text) if sys.stdout is not None and sys.stdout.isatty() else text


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show on the error output what a command waits for, if that is a terminal and ``rich`` is installed."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        yield
        return
    with Console(stderr=True).status(f"{text} (Ctrl+C ends it)"):
        yield
