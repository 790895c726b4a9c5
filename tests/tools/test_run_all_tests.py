"""The test runner: which commands it starts, what it says of them, and with which status it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import run_all_tests

if TYPE_CHECKING:
    from pathlib import Path

PASSING_STEP = [sys.executable, "-c", "print('silent when all is well')"]
FAILING_STEP = [sys.executable, "-c", "print('what is wrong'); raise SystemExit(3)"]


def command_for(*arguments: str) -> list[str]:
    return run_all_tests.pytest_command(run_all_tests.parse_arguments(list(arguments)))[3:]


def test_all_tests_by_default() -> None:
    assert command_for() == ["-n", "auto"]


def test_options_pass_through() -> None:
    assert command_for("-k", "peer and not slow", "-p", "1", "tests/test_peer.py") == [
        "-n", "1", "-k", "peer and not slow", "tests/test_peer.py"]


def test_quick_leaves_out_what_takes_long() -> None:
    assert command_for("--quick") == ["-n", "auto", "-m", "not slow and not interop"]


def test_old_options_are_accepted() -> None:
    assert command_for("--noanimation", "-d", "-q", "--processes", "4") == ["-n", "4", "-q"]


def test_passing_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all_tests.check("a step", PASSING_STEP)
    output = capsys.readouterr().out
    assert output.startswith("a step")
    assert output.count("\n") == 1


def test_failing_step_shows_what_the_tool_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert not run_all_tests.check("a step", FAILING_STEP)
    output = capsys.readouterr().out
    assert "FAILED" in output
    assert "what is wrong" in output


@pytest.mark.parametrize(("printed", "shown", "last"), [
    (r"first\n\n== 3 passed in 0.1s ==\n", "first\n\n", "== 3 passed in 0.1s =="),
    (r"first\n3 passed in 0.1s\n\n", "first\n", "3 passed in 0.1s"),
    ("", "", ""),
])
def test_closing_line_is_held_back(printed: str, shown: str, last: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_all_tests.test([sys.executable, "-c", f"print('{printed}', end='')"]) == (True, last)
    assert capfd.readouterr().out == shown


def runner_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str, tests: str) -> None:
    """Let the steps before the tests be the program ``tool``, and the tests be the program ``tests``."""
    monkeypatch.setattr(run_all_tests, "enter", lambda *_: None)
    monkeypatch.setattr(run_all_tests, "ROOT", tmp_path)
    check = run_all_tests.check
    monkeypatch.setattr(run_all_tests, "check", lambda name, _: check(name, [sys.executable, "-c", tool]))
    monkeypatch.setattr(run_all_tests, "pytest_command", lambda _: [sys.executable, "-c", tests])


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner_with(monkeypatch, tmp_path, "", "print('== 1 passed in 0.1s ==')")
    assert run_all_tests.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["All steps passed.", "== 1 passed in 0.1s =="]


def test_failing_tool_does_not_keep_the_tests_from_running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    runner_with(monkeypatch, tmp_path, "raise SystemExit(1)", "print('== 1 passed in 0.1s ==')")
    assert run_all_tests.main([]) == 1
    *_, verdict, last = capsys.readouterr().out.splitlines()
    assert verdict == "Failed: lint (ruff), types (mypy --strict), contracts (import-linter)."
    assert last == "== 1 passed in 0.1s =="


def test_failing_tests_fail_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    runner_with(monkeypatch, tmp_path, "", "print('== 1 failed in 0.1s =='); raise SystemExit(1)")
    assert run_all_tests.main([]) == 1
    assert "Failed: tests (pytest)." in capsys.readouterr().out
