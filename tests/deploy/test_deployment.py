"""Service units and the container file: they are valid, hardened, and start what the command line knows."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import ipv8
from ipv8.cli.root import root
from ipv8.cli.tracker import TrackerService

ROOT = Path(ipv8.__file__).parent.parent
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
PROGRAM = "/opt/ipv8/bin/ipv8"
MOST_EXPOSED = 2.0
"""What ``systemd-analyze security`` may say at most, of 10."""


def parse(words: list[str], directory: Path) -> dict[str, Any]:
    """The parameters of a command line, whose paths are below the directory."""
    ctx = root.make_context("ipv8", [word.replace("/var/lib/ipv8", str(directory)).replace("%S", str(directory))
                                     for word in words])
    while isinstance(ctx.command, click.Group):
        name, command, rest = ctx.command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert command is not None
        ctx = command.make_context(name, rest, parent=ctx)
    return {"command": ctx.command_path, **ctx.params}


# -- systemd ---------------------------------------------------------------------------------------------------------

def unit(path: Path) -> dict[str, list[str]]:
    """The values of each setting."""
    settings: dict[str, list[str]] = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_there_is_a_unit_for_each_program() -> None:
    assert [path.stem for path in UNITS] == ["ipv8-exit", "ipv8-node", "ipv8-tracker"]


def test_units_start_what_the_command_line_knows(path: Path, tmp_path: Path) -> None:
    (start,) = unit(path)["ExecStart"]
    program, *words = shlex.split(start)
    assert program == PROGRAM
    (tmp_path / path.stem).mkdir()
    parameters = parse(words, tmp_path)
    assert parameters["command"] == {"ipv8-node": "ipv8 run", "ipv8-tracker": "ipv8 tracker",
                                     "ipv8-exit": "ipv8 tunnel exit"}[path.stem]
    assert parameters["key_file"] == str(tmp_path / path.stem / "key.pem")
    assert parameters["api_port"]


def test_units_can_write_to_their_directory_only(path: Path) -> None:
    settings = unit(path)
    assert settings["StateDirectory"] == [path.stem]
    assert settings["WorkingDirectory"] == [f"%S/{path.stem}"]
    for name, value in {"DynamicUser": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes",
                        "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "MemoryDenyWriteExecute": "yes",
                        "RestrictNamespaces": "yes", "UMask": "0077"}.items():
        assert settings[name] == [value]
    assert "ReadWritePaths" not in settings


@pytest.fixture
def analyzed(path: Path, tmp_path: Path) -> Path:
    """The unit for a program that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: the Debian package systemd has it")
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace(PROGRAM, sys.executable))
    return copy


def test_systemd_finds_no_mistake(analyzed: Path) -> None:
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(analyzed)], capture_output=True, text=True,
                         check=False)
    assert (run.returncode, [line for line in run.stderr.splitlines() if analyzed.name in line]) == (0, [])


def test_systemd_finds_mistakes(analyzed: Path) -> None:
    analyzed.write_text(analyzed.read_text().replace("ProtectSystem=strict", "ProtectSystem=a bit"))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(analyzed)], capture_output=True, text=True,
                         check=False)
    assert re.search(rf"{re.escape(analyzed.name)}:\d+: Failed to parse protect system value", run.stderr)


def test_systemd_finds_them_hardened(analyzed: Path) -> None:
    run = subprocess.run(["systemd-analyze", "security", "--offline=yes", str(analyzed)], capture_output=True,
                         text=True, check=False)
    if "unrecognized option" in run.stderr:
        pytest.skip("this release of systemd-analyze rates only units that are loaded")
    match = re.search(r"Overall exposure level for .*: ([0-9.]+)", run.stdout)
    assert match is not None, run.stderr
    assert float(match[1]) <= MOST_EXPOSED


# -- containers ------------------------------------------------------------------------------------------------------

class Stage:
    """A stage of the build, with what it takes over from the one that it is based on."""

    def __init__(self, name: str, base: str, below: Stage | None) -> None:
        self.name, self.base = name, base
        self.instructions: list[tuple[str, str]] = [] if below is None else list(below.instructions)

    def last(self, instruction: str) -> str:
        return [value for name, value in self.instructions if name == instruction][-1]


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    """The stages of the container file by name."""
    found: dict[str, Stage] = {}
    text = (ROOT / "deploy" / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        instruction, _, value = line.partition(" ")
        assert instruction in {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "STOPSIGNAL",
                               "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "CMD"}
        if instruction == "FROM":
            match = re.fullmatch(r"(\S+) AS (\w+)", value)
            assert match is not None
            found[match[2]] = stage = Stage(match[2], match[1], found.get(match[1]))
        elif found:
            stage.instructions.append((instruction, " ".join(value.split())))
    return found


def test_there_is_a_target_for_each_program(stages: dict[str, Stage]) -> None:
    assert list(stages) == ["build", "base", "tracker", "exit", "node"]
    assert stages["build"].base == stages["base"].base  # so that the environment that is copied works
    assert [stages[name].base for name in ("tracker", "exit", "node")] == ["base"] * 3


@pytest.mark.parametrize(("target", "command", "port"), [
    ("node", "ipv8 run", 8090), ("tracker", "ipv8 tracker", 6421), ("exit", "ipv8 tunnel exit", 8090)])
def test_targets_start_what_the_command_line_knows(target: str, command: str, port: int, stages: dict[str, Stage],
                                                   tmp_path: Path) -> None:
    stage = stages[target]
    words = [*json.loads(stage.last("ENTRYPOINT")), *json.loads(stage.last("CMD"))]
    assert words[0] == "ipv8"
    parameters = parse(words[1:], tmp_path)
    assert (parameters["command"], parameters.get("port", parameters.get("listen_port"))) == (command, port)
    assert parameters["key_file"].startswith(str(tmp_path))
    assert stage.last("EXPOSE") == f"{port}/udp"
    assert f"http://127.0.0.1:{parameters['api_port']}/health" in stage.last("HEALTHCHECK")
    assert stage.last("USER") == "10001:10001"
    assert json.loads(stage.last("VOLUME")) == [stage.last("WORKDIR")]
    assert stage.last("STOPSIGNAL") == "SIGTERM"


def test_what_is_copied_exists(stages: dict[str, Stage]) -> None:
    sources = [source for name, value in stages["build"].instructions if name == "COPY"
               for source in value.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    settings = (ROOT / "pyproject.toml").read_text()
    install = next(value for name, value in stages["build"].instructions if name == "RUN")
    extras = re.search(r'"\.\[([\w,-]+)\]"', install)
    assert extras is not None
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", settings, re.MULTILINE)


async def test_the_health_check_asks_a_running_program(stages: dict[str, Stage]) -> None:
    service = TrackerService()
    await service.start_tracker(0, "127.0.0.1")
    await service.start_api(0, "secret")
    port = service.site.addresses[0][1]
    _, _, command = stages["tracker"].last("HEALTHCHECK").partition("CMD ")
    python, option, program = json.loads(command)
    assert (python, option) == ("python", "-c")
    loop = asyncio.get_running_loop()

    def check(number: int) -> int:
        return subprocess.run([sys.executable, option, program.replace("6480", str(number))], capture_output=True,
                              check=False).returncode

    assert await loop.run_in_executor(None, check, port) == 0
    await service.shutdown()
    assert await loop.run_in_executor(None, check, port) == 1
