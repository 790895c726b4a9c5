"""The environment of a checkout: when it is made, kept, completed and rebuilt. Nothing is installed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts import bootstrap
from scripts.bootstrap import NOT_IN_ALL, Environment

ROOT = Path(bootstrap.ROOT)
PROGRAMS = ["quickstart.py", "run_all_tests.py", "create_test_coverage_report.py"]


class Tools:
    """Stands for the programs that are started: remembers them, and makes what they would make."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.failing = ""

    def run(self, command: list[str], **_: Any) -> SimpleNamespace:
        self.commands.append(command)
        if "venv" in command:
            make_environment(Path(command[-1]))
        return SimpleNamespace(returncode=int(bool(self.failing) and self.failing in command),
                               stdout=b"what pip says")

    def installed(self) -> list[str]:
        return [command[-1] for command in self.commands if "--editable" in command]

    def made(self) -> int:
        return sum("venv" in command for command in self.commands)


def make_environment(directory: Path, version: tuple[int, int] = sys.version_info[:2]) -> None:
    (directory / "bin").mkdir(parents=True)
    (directory / "Scripts").mkdir()
    for python in ("bin/python", "Scripts/python.exe"):
        (directory / python).touch()
    (directory / "pyvenv.cfg").write_text(f"home = /somewhere\nversion = {version[0]}.{version[1]}.0\n")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    tools = Tools()
    monkeypatch.setattr("scripts.bootstrap.subprocess.run", tools.run)
    return tools


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def ensure(checkout: Path, *extras: str) -> bool:
    return Environment(checkout).ensure(frozenset(extras))


def test_first_start_makes_and_fills_it(tools: Tools, checkout: Path) -> None:
    assert ensure(checkout, "cli")
    assert tools.made() == 1
    assert tools.installed() == [".[cli]"]


def test_a_program_that_needs_no_extra(tools: Tools, checkout: Path) -> None:
    assert ensure(checkout)
    assert tools.installed() == ["."]  # pip refuses ".[]"
    assert not ensure(checkout)


def test_second_start_starts_nothing(tools: Tools, checkout: Path) -> None:
    ensure(checkout, "cli")
    tools.commands.clear()
    assert not ensure(checkout, "cli")
    assert tools.commands == []


def test_other_extras_complete_it_and_keep_what_is_there(tools: Tools, checkout: Path) -> None:
    ensure(checkout, "cli")
    assert ensure(checkout, "dev", "rest")
    assert tools.made() == 1
    assert tools.installed() == [".[cli]", ".[cli,dev,rest]"]
    assert not ensure(checkout, "cli")


def test_all_has_the_others(tools: Tools, checkout: Path) -> None:
    ensure(checkout, "cli")
    assert ensure(checkout, "dev", "all")
    assert tools.installed() == [".[cli]", ".[all,dev]"]
    assert not ensure(checkout, "cli", "rest")
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    first = lines.index("[project.optional-dependencies]") + 1
    extras = dict(line.split(" = ", 1) for line in lines[first:lines.index("", first)] if " = " in line)
    named = set(extras.pop("all").removeprefix('["ipv8[').removesuffix(']"]').split(","))
    assert named == extras.keys() - NOT_IN_ALL


def test_changed_project_file_installs_again(tools: Tools, checkout: Path) -> None:
    ensure(checkout, "cli")
    (checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert ensure(checkout, "cli")
    assert tools.made() == 1
    assert len(tools.installed()) == 2


def make_own(checkout: Path, version: tuple[int, int] = sys.version_info[:2]) -> None:
    """An environment that this program made."""
    make_environment(checkout / ".venv", version)
    Environment(checkout).marker.touch()


def test_environment_of_another_python_is_rebuilt(tools: Tools, checkout: Path) -> None:
    make_own(checkout, (3, 9))
    (checkout / ".venv" / "leftover").touch()
    assert ensure(checkout, "cli")
    assert tools.made() == 1
    assert not (checkout / ".venv" / "leftover").exists()


def test_environment_that_was_copied_here_is_rebuilt(tools: Tools, checkout: Path, tmp_path_factory: Any) -> None:
    ensure(checkout, "cli")
    copy = tmp_path_factory.mktemp("elsewhere")
    for path in ("pyproject.toml", ".venv"):
        (checkout / path).rename(copy / path)
    tools.commands.clear()
    assert ensure(copy, "cli")
    assert tools.made() == 1


def test_environment_without_pip_is_rebuilt(tools: Tools, checkout: Path) -> None:
    make_own(checkout)
    tools.failing = "--version"
    assert ensure(checkout, "cli")
    assert tools.made() == 1


def test_usable_environment_of_somebody_else_is_filled_and_kept(tools: Tools, checkout: Path) -> None:
    make_environment(checkout / ".venv")
    assert ensure(checkout, "cli")
    assert tools.made() == 0
    assert tools.installed() == [".[cli]"]


@pytest.mark.parametrize("fault", ["python", "pip", "stamp", "link"])
def test_unusable_environment_of_somebody_else_is_never_removed(tools: Tools, checkout: Path, fault: str,
                                                                tmp_path_factory: Any) -> None:
    directory = checkout / ".venv"
    if fault == "link":  # to an environment of this program in another checkout
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        make_own(elsewhere, (3, 9))
        directory.symlink_to(elsewhere / ".venv", target_is_directory=True)
    else:
        make_environment(directory, (3, 9) if fault == "python" else sys.version_info[:2])
    if fault == "pip":
        tools.failing = "--version"
    if fault == "stamp":  # it was filled by this program in another place, and moved here by its owner
        (directory / "installed.json").write_text('{"extras": [], "root": "/elsewhere"}')
    (directory / "precious").touch()
    with pytest.raises(SystemExit, match=r"not made by this program.*Move it"):
        ensure(checkout, "cli")
    assert (directory / "precious").exists()
    assert tools.made() == 0
    assert tools.installed() == []


def test_something_else_of_that_name_is_never_removed(tools: Tools, checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "precious").touch()
    with pytest.raises(SystemExit, match="not a virtual environment"):
        ensure(checkout, "cli")
    assert (checkout / ".venv" / "precious").exists()
    assert tools.commands == []


def test_failed_installation_is_repeated_at_the_next_start(tools: Tools, checkout: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    tools.failing = "--editable"
    with pytest.raises(SystemExit, match="PIP_INDEX_URL"):
        ensure(checkout, "cli")
    assert "what pip says" in capsys.readouterr().err
    tools.failing = ""
    assert ensure(checkout, "cli")
    assert tools.made() == 1
    assert "what pip says" not in capsys.readouterr().err


def test_failed_making_leaves_nothing_behind(tools: Tools, checkout: Path) -> None:
    tools.failing = "venv"
    with pytest.raises(SystemExit, match="could not be made"):
        ensure(checkout, "cli")
    assert not (checkout / ".venv").exists()


def test_damaged_stamp_counts_as_none(tools: Tools, checkout: Path) -> None:
    ensure(checkout, "cli")
    for damage in ("", "[]", '{"extras": 1}', "\x00"):
        (checkout / ".venv" / "installed.json").write_text(damage)
        assert ensure(checkout, "cli")


def test_python_without_venv_gets_advice(tools: Tools, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bootstrap.importlib.util.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        ensure(checkout, "cli")
    assert tools.commands == []


def test_old_python_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bootstrap.sys.version_info", (3, 8, 10, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.10 or newer; .* is Python 3\.8"):
        bootstrap.enter("cli")


@pytest.mark.parametrize("command", [["program.py", "--option"], ["-I", "-m", "package.module", "--option"]])
def test_program_is_restarted_inside_with_its_arguments(tools: Tools, monkeypatch: pytest.MonkeyPatch, checkout: Path,
                                                        command: list[str]) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "ROOT", checkout)
    monkeypatch.setattr("scripts.bootstrap.sys.orig_argv", ["python3", *command])
    monkeypatch.setattr("scripts.bootstrap.os.execv", lambda _, command: started.append(command))
    bootstrap.enter("cli")
    assert [arguments for _, *arguments in started] == [command]
    assert Path(started[0][0]).parent.parent == checkout / ".venv"


def test_program_ends_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bootstrap.sys.argv", ["program.py", "an", "argument"])
    with pytest.raises(SystemExit) as ended:
        bootstrap.run(len)
    assert ended.value.code == 2


def test_interrupted_program_says_so_and_has_the_usual_status(capsys: pytest.CaptureFixture[str]) -> None:
    def program(_: list[str]) -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        bootstrap.run(program)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize("program", [*PROGRAMS, "scripts/bootstrap.py"])
def test_program_can_be_read_by_old_interpreters(program: str) -> None:
    # feature_version checks grammar alone, which is what stands between an old interpreter and the sentence.
    import ast

    ast.parse((ROOT / program).read_text(encoding="utf-8"), feature_version=(3, 6))
    assert "from __future__" not in (ROOT / program).read_text(encoding="utf-8")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_no_environment(program: str) -> None:
    run = subprocess.run([sys.executable, "-S", program, "--help"], cwd=ROOT, check=True, capture_output=True,
                         text=True)
    assert run.stdout.startswith("usage:")
