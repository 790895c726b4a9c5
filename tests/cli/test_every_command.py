"""What holds for each command and each option, found by walking through all of them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

import ipv8
from ipv8.cli.commands.tunnel import MOST_HOPS
from ipv8.cli.framework import Command, Group
from ipv8.cli.main import main
from ipv8.cli.options import FilePath, Seconds
from ipv8.cli.root import root
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(ipv8.__file__).parent.parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="devices of POSIX")

NO_JSON = {"completion"}
"""Commands that print what is no data: the script of ``completion`` is for a shell."""


def walk(words: tuple[str, ...] = (), command: click.Command = root) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands, with the words that start them."""
    yield words, command
    if isinstance(command, click.Group):
        for name, other in command.commands.items():
            yield from walk((*words, name), other)


def parameters() -> list[Any]:
    """All options and arguments, with the words of their commands."""
    return [pytest.param(words, parameter, id=" ".join([*words, str(parameter.name)]))
            for words, command in walk() for parameter in command.params
            if not (isinstance(parameter, click.Option) and parameter.is_flag)]


def options() -> list[Any]:
    """All options that have a long name, with the words of their commands."""
    return [pytest.param(words, name, id=" ".join([*words, name])) for words, command in walk()
            for parameter in command.params if isinstance(parameter, click.Option)
            for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]


COMMANDS = [pytest.param(words, command, id=" ".join(words) or "ipv8") for words, command in walk()]
LEAVES = [pytest.param(words, command, id=" ".join(words)) for words, command in walk()
          if not isinstance(command, click.Group)]


# -- values ----------------------------------------------------------------------------------------------------------

WHOLE = ["-1", "1.5", "1e3", "nan", "inf", "0x1", "1_0", "\u0663", " 1", "", "9" * 19, "many"]
REAL = ["0", "-1", "-0.0", "nan", "-inf", "inf", "1e999", "1_0", "", "soon", "1,5"]
PATHS = ["", " ", "a\0b", "x" * 5000]
BAD: dict[str, Iterable[str]] = {
    "_Port": [*WHOLE, "65536"],
    "Count": [*WHOLE, "0"], "_Bandwidth": [*WHOLE, "0"], "_Nodes": [*WHOLE, "0", "1", "26"],
    "_Hops": [*WHOLE, "0", str(MOST_HOPS + 1)],
    "_Rate": REAL, "Seconds": REAL,
    "FilePath": [*PATHS, ".", "directory", "directory/", "missing/file", "file/below"],
    "TreePath": [*PATHS, "file", "file/below"],
    "_Server": ["", "host", "host:", "host:0", "host:65536", "host:nan", ":5", "[::1", "[::1]", "a b:5", "host:5:6",
                "192.0.2.1", "1.2.3:5", "host:-1", "x" * 300 + ":5"],
    "_Address": ["", "host", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::g", "1.2.3.4/8", " "],
    "Text": [""], "_HostName": ["", "http://host", "host:5", "a b", "[::1]", "x" * 254, "n\u00e4me"],
    "_Key": ["", "x" * 21], "_Mid": ["", "0" * 39, "g" * 40, "0" * 41],
    "_PublicKey": ["", "00", "xyz", "directory", "file", "x" * 5000],
    "_Curve": ["", "curve", "LOW "], "_LogLevel": ["", "LOUD"], "Choice": ["", "nothing of that"],
    "_Name": ["", "..", "a/b", "../x", "x" * 200, "a\0b"],
    "_Id": ["", "0" * 63, "g" * 64], "_BlobId": ["", "0" * 63, "g" * 64],
    "_Source": ["", "host", "0" * 39, "host:0"],
    "_Claim": ["", "name", "=value"], "_Range": ["", "age", "age=1", "age=x:0:9", "age=5:0"],
    "_Bound": ["", "age", "age=5", "age>=x", ">=5"],
    "_User": ["", "name", "name:", ":password", "x" * 256 + ":p"],
    "_Url": ["", "ftp://host", "http://", "http://host:0", "http://host:65536", "http://a b"],
}
"""For each type of parameter values that none of its kind takes."""

ANYTHING = {("dht", "put", "value"), ("identity", "verify", "purpose")}
"""Parameters that take any text, also an empty one."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the current one, with a file and a directory in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_DATA_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "file").write_text("nothing")
    (tmp_path / "directory").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(("words", "parameter"), parameters())
def test_values_that_make_no_sense_are_refused(words: tuple[str, ...], parameter: click.Parameter,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    if (*words, parameter.name) in ANYTHING:
        return
    arguments = [other for other in dict(walk())[words].params if isinstance(other, click.Argument)]
    before = ["name"] * (arguments.index(parameter) if isinstance(parameter, click.Argument) else 0)
    shown = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.metavar or parameter.name.upper()
    kind = type(parameter.type).__name__
    assert kind in BAD, f"add bad values for parameters of the type {kind}"
    values = [*BAD[kind], *([repr(2 * parameter.type.maximum)] if isinstance(parameter.type, Seconds) else ())]
    if isinstance(parameter.type, FilePath) and not parameter.type.may_be_pipe and hasattr(os, "mkfifo"):
        values.append("pipe")
    for value in values:
        given = [parameter.opts[0], value] if isinstance(parameter, click.Option) else ["--", *before, value]
        assert main([*words, *given]) == 2, given
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        message, hint = captured.err.splitlines()
        command = " ".join(["ipv8", *words])
        assert message.startswith(f"{command}: Invalid value for '"), given
        assert shown in message, given
        assert hint == f"See '{command} --help'."
        assert len(message) < 700, "a long value is not repeated in full"


@pytest.mark.parametrize(("words", "option"), options())
def test_misspelt_options_are_corrected(words: tuple[str, ...], option: str,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    wrong = option[:-2] + option[-1] + "x" if len(option) > 5 else f"{option}x"
    assert main([*words, wrong]) == 2
    error = capsys.readouterr().err
    assert f"No such option {wrong!r}" in error or f"No such option: {wrong}" in error
    assert "Did you mean" in error
    assert option in error


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_misspelt_commands_are_corrected(words: tuple[str, ...], command: click.Command,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    for name in command.commands if isinstance(command, click.Group) else ():
        wrong = f"{name[0]}x{name[1:]}"
        assert main([*words, wrong]) == 2
        error = capsys.readouterr().err
        assert re.search(rf"there is no command {wrong!r}; did you mean '\w[\w-]*'\?", error)


@pytest.mark.parametrize(("words", "command"), LEAVES)
def test_every_command_has_json(words: tuple[str, ...], command: click.Command) -> None:
    has_json = any("--json" in parameter.opts for parameter in command.params)
    assert has_json == (" ".join(words) not in NO_JSON)


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_every_option_is_explained(words: tuple[str, ...], command: click.Command) -> None:
    assert isinstance(command, (Command, Group))
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help[0].isupper() or parameter.help.startswith(("very-low", "so many")), parameter.help
            assert parameter.help.rstrip("]").endswith((".", "TiB")), parameter.help
        else:
            name = (parameter.metavar or str(parameter.name)).upper().strip("[].")
            assert name in str(command.help) or name == "SHELL", f"the help does not say what {name} is"


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_lists_of_commands_are_not_cut_off(words: tuple[str, ...], command: click.Command,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].partition("Examples:")[0]
    assert "..." not in listed


# -- output that nobody takes ----------------------------------------------------------------------------------------

@posix
@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_help_into_a_closed_pipe(words: tuple[str, ...], command: click.Command, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main([*words, "--help"]) == 1
        monkeypatch.undo()
    assert capsys.readouterr().err == ""


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_help_into_a_full_device(words: tuple[str, ...], command: click.Command, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([*words, "--help"]) == 2
        monkeypatch.undo()
    assert capsys.readouterr().err == "ipv8: No space left on device\n"


# -- Ctrl+C ----------------------------------------------------------------------------------------------------------

INTERRUPTED_AT_ONCE = """
import json, os, signal, sys

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if armed and name.startswith("ipv8."):
            armed.clear()
            os.kill(os.getpid(), signal.SIGINT)

armed = []
from ipv8.cli import root
from ipv8.cli.main import main

class Arming:
    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments, **options):
        armed.append(True)
        return self.function(*arguments, **options)

def arm(command):
    command.callback = Arming(command.callback)
    for other in getattr(command, "commands", {}).values():
        arm(other)

for command in root.COMMANDS:
    arm(command)
sys.meta_path.insert(0, Interrupting)
sys.argv[1:] = json.loads(sys.argv[1])
status = main()
sys.exit(status if not armed else f"nothing was imported, and the status is {status}")
"""


def example(command: click.Command) -> list[str]:
    """The arguments of an example of a command."""
    assert isinstance(command, Command)
    inner = re.fullmatch(r'eval "\$\((.*)\)"', command.examples[0][0])
    line = inner[1] if inner else command.examples[0][0]
    return shlex.split(line.partition(" > ")[0])[1:]


@posix
@pytest.mark.parametrize(("words", "command"), [leaf for leaf in LEAVES if leaf.id != "completion"])
def test_interrupts_while_a_command_imports_what_it_needs(words: tuple[str, ...], command: click.Command,
                                                          home: Path) -> None:
    key = default_eccrypto.generate_key("curve25519").pub().key_to_bin().hex()
    for name in ("me.pub", "city.pub", "bar.pub"):
        (home / name).write_text(key)
    (home / "alice.json").write_text(json.dumps({"public_key": key}))
    for name in ("holiday.zip", "credential.txt"):
        (home / name).write_text("content")
    run = subprocess.run([sys.executable, "-c", INTERRUPTED_AT_ONCE, json.dumps(example(command))], check=False,
                         capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=50)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")
