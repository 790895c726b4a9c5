"""The command line of the benchmarks: what is wrong is said before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as program, runner
from benchmarks.measure import Figure


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The cases that would have been run, each with the library."""
    runs: list[tuple[str, str]] = []

    def run_once(case: str, library: Any) -> tuple[list[Figure], str]:
        runs.append((case, library.name))
        return [Figure("a figure", 2.0)], ""

    monkeypatch.setattr(program, "enter", lambda: None)
    monkeypatch.setattr(runner, "_run_once", run_once)
    return runs


@pytest.mark.parametrize(("arguments", "message"), [
    (["fly"], "there is no case 'fly': choose from "),
    (["dht", "fly"], "there is no case 'fly': choose from "),
    (["--repeat", "0"], "--repeat must be at least 1"),
    (["--against", "nowhere"], "nowhere has no Python interpreter: give the directory of a virtual environment"),
    (["--json", "nowhere/values.json"], "No such file or directory: 'nowhere/values.json'"),
])
def test_mistakes_are_told_at_once(arguments: list[str], message: str, measured: list[Any], tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refusal:
        program.main(arguments)
    assert refusal.value.code == 2
    assert message in capsys.readouterr().err
    assert not measured


def test_all_cases_by_default(measured: list[Any]) -> None:
    assert program.main(["--repeat", "1"]) == 0
    assert measured == [(name, "ipv8") for name in runner.case_names()]


def test_two_libraries_take_turns(measured: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    for interpreter in ("bin/python", "Scripts/python.exe"):
        (other / interpreter).parent.mkdir(parents=True)
        (other / interpreter).touch()
    values = tmp_path / "values.json"
    assert program.main(["dht", "--repeat", "2", "--against", str(other), "--json", str(values)]) == 0
    assert measured == [("dht", "ipv8"), ("dht", "other")] * 2
    assert "1.00x" in capsys.readouterr().out
    assert json.loads(values.read_text(encoding="utf-8"))["figures"][0]["values"] == {
        "ipv8": [2.0, 2.0], "other": [2.0, 2.0]}


def test_it_is_run_in_the_environment_of_the_project(monkeypatch: pytest.MonkeyPatch, measured: list[Any]) -> None:
    class ElsewhereError(Exception):
        pass

    def enter() -> None:
        raise ElsewhereError

    monkeypatch.setattr(program, "enter", enter)
    with pytest.raises(ElsewhereError):
        program.main([])
    assert not measured


def test_cases_start_processes_that_find_the_library() -> None:
    """A case runs in another directory, isolated, with the library that is measured: so must its own processes."""
    for path in Path(program.__file__).parent.glob("**/*.py"):
        if path.name != "library.py":
            assert "sys.executable" not in path.read_text(encoding="utf-8"), f"{path.name}: use Library.command"
