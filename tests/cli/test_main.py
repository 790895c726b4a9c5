"""The command line itself: help, mistakes, interrupts, output that nobody takes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

import ipv8
from ipv8.cli import interrupts, main as main_module
from ipv8.cli.framework import Command, Group
from ipv8.cli.main import main
from ipv8.cli.root import root
from ipv8.database import CorruptDatabaseException, DatabaseException
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(ipv8.__file__).parent.parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and devices of POSIX")


def all_commands() -> Iterator[tuple[list[str], click.Command]]:
    """All commands and their actions, with the words that start them."""
    def below(words: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            for name, other in command.commands.items():
                yield from below([*words, name], other)

    return below([], root)


COMMANDS = [pytest.param(words, command, id=" ".join(words) or "ipv8") for words, command in all_commands()]


def run_module(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], text=True, check=False, cwd=ROOT,
                          **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


# -- help ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_every_command_has_help_with_examples(words: list[str], command: click.Command,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(command, (Command, Group))
    assert command.examples
    for option in ("--help", "-h"):
        assert main([*words, option]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"Usage: {' '.join(['ipv8', *words])} ")
        assert all(f"  {line}\n" in text for line, _ in command.examples)
        assert max(map(len, text.splitlines())) <= 100


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert re.findall(r"^  (\w+)  ", text.partition("Commands:")[2].partition("Examples:")[0], re.MULTILINE) == [
        "run", "demo", "top", "tracker", "key", "dht", "send", "fetch", "tunnel", "identity", "netcheck", "trust",
        "completion"]
    assert "..." not in text.replace("[ARGS]...", "")


def example_lines() -> list[object]:
    return [pytest.param(line, id=line) for _, command in all_commands()
            if isinstance(command, (Command, Group)) for line, _ in command.examples]


def arguments_of(ctx: click.Context) -> list[str]:
    """The name of the command that a group has read, which click keeps to itself."""
    return list(ctx._protected_args)


@pytest.mark.parametrize("line", example_lines())
def test_examples_are_valid(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("node.toml", "node.pem", "rest.key"):
        (tmp_path / file).write_text("")
    (tmp_path / "alice.json").write_text(json.dumps({
        "public_key": default_eccrypto.generate_key("curve25519").pub().key_to_bin().hex()}))
    (tmp_path / "credential.txt").write_text("an SD-JWT")
    (tmp_path / "holiday.zip").write_bytes(b"pictures")
    for owner in ("me", "city", "bar"):
        (tmp_path / f"{owner}.pub").write_text(default_eccrypto.generate_key("curve25519").pub().key_to_bin().hex())
    inner = re.fullmatch(r'eval "\$\((.*)\)"', line)
    program, *arguments = shlex.split((inner[1] if inner else line).partition(" > ")[0])
    assert program == "ipv8"
    ctx = root.make_context("ipv8", arguments)
    while isinstance(ctx.command, click.Group):
        name, command, rest = ctx.command.resolve_command(ctx, [*arguments_of(ctx), *ctx.args])
        assert command is not None
        ctx = command.make_context(name, rest, parent=ctx)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ipv8 {version('ipv8')}\n"


@pytest.mark.parametrize("words", [[], ["key"], ["dht"], ["tunnel"], ["trust"]])
def test_without_a_command_the_help_is_an_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: ipv8")


# -- mistakes --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("arguments", "message"), [
    (["fly"], ("ipv8: there is no command 'fly' (known: completion, demo, dht, fetch, identity, key, netcheck, run, "
               "send, top, tracker, trust, tunnel)")),
    (["trakcer"], "ipv8: there is no command 'trakcer'; did you mean 'tracker'?"),
    (["key", "genrate", "x"], "ipv8 key: there is no command 'genrate'; did you mean 'generate'?"),
    (["tracker", "--lisen-address", "1.2.3.4"], "--listen-address"),
    (["netcheck", "--jsn"], "--json"),
    (["tracker", "--port"], "Option '--port' requires an argument"),
    (["key", "show"], "Missing argument 'FILE'"),
    (["--port", "5", "run"], "It is an option of run, tracker, dht, send, fetch, netcheck: give it after the command."),
    (["run", "--version"], "It is an option of 'ipv8': give it in front of 'run'."),
    (["key", "--curve", "low", "generate", "x"], "It is an option of generate: give it after the command."),
    (["key", "show", "-5"], "If it is a value that begins with a dash, put -- in front of it."),
])
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("ipv8")
    assert re.search(r"See 'ipv8.* --help'\.\n$", captured.err)


def add_command(monkeypatch: pytest.MonkeyPatch, run: Callable[[int], Any]) -> None:
    @click.command(cls=Command, name="thing")
    @click.option("--number", type=int, default=0)
    def thing(number: int) -> Any:
        """Do a thing.

        More text.
        """
        return run(number)

    monkeypatch.setitem(root.commands, "thing", thing)


def test_commands_can_be_added(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    add_command(monkeypatch, lambda number: number)
    assert main(["thing", "--number", "7"]) == 7
    assert main(["thing"]) == 0
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Do a thing." in text
    assert "More text" not in text


def raising(error: BaseException) -> Callable[[int], Any]:
    def run(_: int) -> None:
        raise error

    return run


@pytest.mark.parametrize("error", [OSError, ValueError, ImportError, DatabaseException, CorruptDatabaseException])
def test_mistakes_of_the_user_are_told_in_one_line(error: type[Exception], monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    add_command(monkeypatch, raising(error("do it otherwise")))
    assert main(["thing"]) == 2
    assert capsys.readouterr().err == "ipv8: do it otherwise\n"


def test_error_of_a_file_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    add_command(monkeypatch, raising(PermissionError(13, "Permission denied", "my.pem")))
    assert main(["thing"]) == 2
    assert capsys.readouterr().err == "ipv8: my.pem: Permission denied\n"


def test_bugs_have_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    add_command(monkeypatch, raising(LookupError("bug")))
    with pytest.raises(LookupError):
        main(["thing"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupt(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    add_command(monkeypatch, raising(error))
    assert main(["thing"]) == 130


# -- what is not installed -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["click", "platformdirs"])
def test_missing_packages_are_named(name: str) -> None:
    program = (f"import sys; sys.modules[{name!r}] = None; sys.argv[1:] = ['--help']\n"
               "from ipv8.cli.main import main; sys.exit(main())")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == (f"ipv8: the command line needs the package {name}. This command installs it:\n"
                          f'  {sys.executable} -m pip install "ipv8[cli]"\n')


def test_parts_for_programs_need_no_extra() -> None:
    program = ("import sys; sys.modules['click'] = sys.modules['platformdirs'] = None\n"
               "import ipv8.cli.dht, ipv8.cli.netcheck, ipv8.cli.node, ipv8.cli.service, ipv8.cli.tracker\n"
               "from ipv8 import run, running; print('fine')")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.stdout == "fine\n", run.stderr


# -- output that nobody takes ----------------------------------------------------------------------------------------

@posix
@pytest.mark.parametrize("arguments", [["--help"], ["tracker", "--help"], ["--version"], ["run", "--print-config"]])
def test_closed_pipe(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    run = run_module("ipv8", *arguments, stdout=writing)
    os.close(writing)
    assert (run.returncode, run.stderr) == (1, "")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["tracker", "--help"], ["--version"], ["run", "--print-config"]])
def test_full_device(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        run = run_module("ipv8", *arguments, stdout=full)
    assert (run.returncode, run.stderr) == (2, "ipv8: No space left on device\n")


@posix
@pytest.mark.parametrize(("arguments", "status"), [("--help", 0), ("fly", 2)])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(arguments: str, status: int, closed: str) -> None:
    run = subprocess.run(f"{shlex.quote(sys.executable)} -m ipv8 {arguments} {closed}", shell=True, cwd=ROOT,
                         capture_output=True, text=True, check=False)
    assert run.returncode == status
    assert "Traceback" not in run.stderr + run.stdout


# -- Ctrl+C ----------------------------------------------------------------------------------------------------------

IMPORTS_THAT_TAKE_LONG = """
import os, signal, sys

class Slow:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv[1]
sys.meta_path.insert(0, Slow)
sys.argv[1:] = ["key", "show", "key.pem"]
from ipv8.cli.main import main
sys.exit(main())
"""


@posix
@pytest.mark.parametrize("module", ["ipv8.cli.interrupts", "ipv8.cli.status", "click", "ipv8.cli.commands.run",
                                    "ipv8.keyvault.files"])
def test_interrupt_during_imports(module: str) -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTS_THAT_TAKE_LONG, module], capture_output=True, text=True,
                         check=False, cwd=ROOT)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_other_commands_with_130(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = ("import sys; sys.argv[1:] = ['dht', '--peer', '127.0.0.1:9', '--listen-address', '127.0.0.1', "
               "'--wait', '50', 'status']\n"
               "from ipv8.cli import dht\n"
               "join = dht._join\n"
               "async def tell(*arguments):\n"
               "    print('joining', flush=True)\n"
               "    await join(*arguments)\n"
               "dht._join = tell\n"
               "from ipv8.cli.main import main; sys.exit(main())")
    with log.open("w") as errors, subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE,
                                                   stderr=errors, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "joining\n"
        process.send_signal(number)
        assert process.wait(45) == 130
    assert log.read_text() == ""


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_servers_with_0(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "ipv8", "tracker", "--json", "--port", "0", "--listen-address",
                           "127.0.0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=ROOT) as process:
        assert process.stdout is not None
        assert '"started"' in process.stdout.readline()
        process.send_signal(number)
        output, errors = process.communicate(timeout=50)
    assert (process.returncode, output) == (0, '{"event": "stopped"}\n')
    assert "Traceback" not in errors


def test_handlers_of_a_program_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_handlers: list[Any] = []
    monkeypatch.setattr(signal, "signal", lambda *arguments: set_handlers.append(arguments))
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    interrupts.end_on_interrupt()()
    interrupts.interrupt_on_termination()
    assert set_handlers == []


def test_other_threads_have_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    monkeypatch.setattr(signal, "signal", refuse)
    interrupts.end_on_interrupt()()


@posix
def test_the_process_belongs_to_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ipv8", "--version"])
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        assert main() == 0
        assert signal.getsignal(signal.SIGINT) not in {before[0], signal.SIG_DFL}
        terminate: Any = signal.getsignal(signal.SIGTERM)
        interrupts: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        terminate(signal.SIGTERM, None)
        assert interrupts == [signal.SIGINT]  # SIGTERM does what Ctrl+C does at that time
        for ignoring in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(signal.SIGINT, ignoring)
            with pytest.raises(KeyboardInterrupt):
                terminate(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    monkeypatch.setattr(main_module, "_run_process", lambda: raising(KeyboardInterrupt())(0))
    assert main() == 130


# -- as a module -----------------------------------------------------------------------------------------------------

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
