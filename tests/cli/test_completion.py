"""Completion in shells: each shell that is installed completes commands, options, choices and names of files."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click
import pytest

import ipv8
from ipv8.cli.commands.completion import SHELLS, completion
from ipv8.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(ipv8.__file__).parent.parent
PATIENCE = 30.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")

CASES = [
    ("ipv8 trac", "tracker"),
    ("ipv8 tunnel pro", "proxy"),
    ("ipv8 tracker --max", "--max-peers"),
    ("ipv8 run --format to", "toml"),
    ("ipv8 key generate x --curve very", "very-low"),
    ("ipv8 run --log-level WAR", "WARNING"),
    ("ipv8 completion zs", "zsh"),
    ("ipv8 key show my_sp", "my_special_key.pem"),
    ("ipv8 run --config my_sp", "my_special_key.pem"),
    ("ipv8 trust add my_sp", "my_special_key.pem"),
    ("ipv8 run --peers some_dir", "some_directory"),
]
"""The beginnings of lines, and the words that they are completed to."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which ``ipv8`` is a command, and a directory with a file that can be completed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_special_key.pem").touch()
    (tmp_path / "some_directory").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ipv8"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ipv8 "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path),
            "TERM": "dumb", "LANG": "C.UTF-8", "PS1": "$ ", "XDG_CONFIG_HOME": str(tmp_path / "config")}


def installed(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"the shell {shell} is not installed")
    return path


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, *command: str, environment: dict[str, str]) -> None:
        import pty

        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.execvpe(command[0], command, environment)

    def send(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def read_until(self, wanted: str) -> str:
        """What the terminal shows until the wanted text is there, or for a long time."""
        shown = ""
        end = monotonic() + PATIENCE
        while wanted not in shown and select.select([self._terminal], [], [], max(end - monotonic(), 0))[0]:
            shown += os.read(self._terminal, 4096).decode(errors="replace")
        return shown

    def close(self) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._terminal)


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Start shells, which are ended after the test."""
    terminals: list[Terminal] = []

    def start(*command: str) -> Terminal:
        terminals.append(Terminal(*command, environment=environment))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize(("shell", "options", "before"), [
    ("bash", ["--norc", "--noprofile", "-i"], ""),
    ("zsh", ["-f", "-i"], "autoload -U compinit && compinit -u -D; "),
])
def test_interactive_shells(shell: str, options: list[str], before: str, start: Callable[..., Terminal]) -> None:
    terminal = start(installed(shell), *options)
    terminal.send(f'{before}eval "$(ipv8 completion {shell})"; echo rea""dy\n')
    assert "ready" in terminal.read_until("ready")
    for line, word in CASES:
        terminal.send(f"{line}\t")
        shown = terminal.read_until(word)
        assert word in shown, (line, shown)
        terminal.send("\x15")  # Ctrl+U, which clears the line
    terminal.send('echo fini""shed\n')
    assert "finished" in terminal.read_until("finished")


def test_fish(environment: dict[str, str]) -> None:
    fish = installed("fish")
    for line, word in CASES:
        run = subprocess.run([fish, "--no-config", "-c", f'ipv8 completion fish | source; complete -C "{line}"'],
                             env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
        words = [offered.split("\t")[0].rstrip("/") for offered in run.stdout.splitlines()]
        assert word in words, (line, run.stdout, run.stderr)


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_IPV8_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_the_variable_of_click_works_as_before(monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    monkeypatch.setenv("_IPV8_COMPLETE", "bash_source")
    assert main([]) == 0
    assert capsys.readouterr().out == script
    monkeypatch.setenv("_IPV8_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "ipv8 tracker --max")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert main([]) == 0
    assert capsys.readouterr().out == "plain,--max-peers\n"


def test_other_shells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(completion, click.Command)
    assert main(["completion", "csh"]) == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err
