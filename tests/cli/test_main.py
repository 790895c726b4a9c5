"""The command line itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import ipv8
from ipv8.cli.main import COMMANDS, main

if TYPE_CHECKING:
    import argparse

ROOT = Path(ipv8.__file__).parent.parent


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"ipv8 {version('ipv8')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["tracker", "--port", "x"], ["key"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: ipv8" in capsys.readouterr().err


def add_command(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    module: Any = ModuleType("ipv8_command_of_test", "Do a thing.\n\nMore text.")
    module.run = run
    module.add_arguments = lambda parser: parser.add_argument("--number", type=int)
    monkeypatch.setitem(COMMANDS, "thing", module)


def test_commands_can_be_added(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(arguments: argparse.Namespace) -> int:
        return int(arguments.number)

    add_command(monkeypatch, run)
    assert main(["thing", "--number", "7"]) == 7
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "Do a thing." in text
    assert "More text" not in text


@pytest.mark.parametrize("error", [OSError, ValueError, ImportError])
def test_mistakes_of_the_user_are_told_in_one_line(error: type[Exception], monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: argparse.Namespace) -> int:
        raise error("do it otherwise")

    add_command(monkeypatch, run)
    assert main(["thing"]) == 2
    assert capsys.readouterr().err == "ipv8: do it otherwise\n"


def test_error_of_a_file_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: argparse.Namespace) -> int:
        raise PermissionError(13, "Permission denied", "my.pem")

    add_command(monkeypatch, run)
    assert main(["thing"]) == 2
    assert capsys.readouterr().err == "ipv8: my.pem: Permission denied\n"


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    add_command(monkeypatch, run)
    assert main(["thing"]) == 130


def test_python_m_ipv8(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    run = run_module("ipv8", "key", "generate", str(path))
    assert (run.returncode, run.stderr) == (0, "")
    assert path.exists()
    assert run_module("ipv8", "key", "generate", str(path)).returncode == 2


def test_python_m_ipv8_service() -> None:
    run = run_module("ipv8_service", "--help")
    assert run.returncode == 0
    assert "--no-rest-api" in run.stdout
