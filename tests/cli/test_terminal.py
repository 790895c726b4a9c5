"""What goes to terminals."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from ipv8.cli import dht, identity
from ipv8.cli.terminal import busy, for_output, printable

if TYPE_CHECKING:
    import pytest

EVIL = "\x1b]0;title\x07\u202eevil\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_printable() -> None:
    assert printable(EVIL) == "?]0;title??evil?"
    assert printable("Zoë → 5 [bold]") == "Zoë → 5 [bold]"


def test_values_of_others_do_not_control_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"values": [{"text": EVIL, "signer": None}]}
    claims = {"claims": {EVIL: EVIL}}
    assert dht._lines(report) == [EVIL]
    assert EVIL in "\n".join(identity.lines(claims))
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert for_output(EVIL) == printable(EVIL)
    assert dht._lines(report) == [printable(EVIL)]
    assert "\x1b" not in "\n".join(identity.lines(claims))


def test_waiting_is_shown_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        with busy("Asking somebody"):
            pass
        assert ("Asking somebody (Ctrl+C ends it)" in stream.getvalue()) == shown
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with busy("Asking somebody"):
        pass
    monkeypatch.setattr(sys, "stderr", None)
    with busy("Asking somebody"):
        pass
