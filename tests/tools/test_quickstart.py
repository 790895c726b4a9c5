"""The demonstration over real sockets: nodes that know nothing but a tracker meet, and their clocks come together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import quickstart
from examples.quickstart.clocks import CommonClock
from ipv8.cli.demo import demonstration
from ipv8.cli.demo.demonstration import demonstrate, watch
from ipv8.cli.demo.display import Lines, verdict
from ipv8.cli.demo.library import LibraryOverlays
from ipv8.cli.demo.network import LocalNetwork, NodeView, Outcome
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peerdiscovery.tracker import EndpointServer
from scripts.bootstrap import Environment

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0
"""Seconds after which the demonstration gives up; it ends as soon as all is well."""


async def test_nodes_meet_and_clocks_come_together(capsys: pytest.CaptureFixture[str]) -> None:
    async with LocalNetwork(3, CommonClock()) as network:
        assert (await watch(network, PATIENCE, Lines())).good
    output = capsys.readouterr().out
    for name in ("node 1", "node 2", "node 3"):
        assert len(set(re.findall(rf"{name} met (node \d)", output))) == 2
    assert "the tracker introduced" in output
    assert "opened the way for" in output
    assert re.search(r"^node +address +mid +peers +introduced +punctures +sent +clock$", output, re.MULTILINE)
    assert re.search(r"^Each of 3 nodes met all others in .* s: \d+ introductions, \d+ punctures\. "
                     r"Their clocks read \d+ to", output, re.MULTILINE)


def test_clocks_must_agree() -> None:
    network = LocalNetwork(2, CommonClock())

    def with_clocks(first: int, second: int, sent: int = 1) -> bool:
        network.views = lambda: [NodeView("node", "", "", 1, 1, 1, (sent, clock))  # type: ignore[method-assign]  # no node runs
                                 for clock in (first, second)]
        return network.is_done()

    assert with_clocks(7, 9)
    assert not with_clocks(7, 9, sent=0)
    assert not with_clocks(7, 10)
    assert verdict(network, Outcome(1.5, False, 30.0)) == (
        "Each node met all others, but after 30.0 s not all was done. Their clocks read 7 to 10.")


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert demonstrate(2, PATIENCE, CommonClock()) == 0
    assert "node 1 met node 2" in capsys.readouterr().out.partition("\n\n")[0]


def test_status_says_whether_they_met() -> None:
    assert demonstrate(2, 1e-9, CommonClock(), plain=True) == 1
    assert demonstrate(2, PATIENCE, CommonClock(), plain=True) == 0


def run_quickstart(*arguments: str, python: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    interpreter = Environment(ROOT).python
    if not interpreter.exists():
        pytest.skip("the project's environment has not been made, and the tests do not make it")
    program = str(ROOT / "quickstart.py")
    return subprocess.run([str(interpreter), *python, program, "--plain", "--nodes", "2", *arguments],
                          check=False, text=True, stderr=subprocess.PIPE, timeout=PATIENCE, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_output_that_cannot_be_written_is_told_in_a_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        run = run_quickstart(stdout=full)
    # Before that it may have told that it makes an environment.
    assert (run.returncode, run.stderr.splitlines()[-1]) == (1, "quickstart.py: No space left on device")


def test_output_that_nobody_reads_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        run = run_quickstart(stdout=writer)
    finally:
        os.close(writer)
    assert (run.returncode, run.stderr) == (1, "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_too_few_files_are_told_in_a_line() -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))

    run = run_quickstart("--nodes", "5", stdout=subprocess.PIPE, preexec_fn=limit)
    assert run.returncode == 1
    assert re.fullmatch(r"quickstart\.py: 5 nodes need .* open files, .*: raise the limit \(ulimit.*\n", run.stderr)


def test_it_finds_its_parts_without_the_search_path(tmp_path: Path) -> None:
    run = run_quickstart("--help", python=("-I",), stdout=subprocess.PIPE, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


def test_options() -> None:
    assert vars(quickstart.parse_arguments([])) == {"nodes": 5, "seconds": 30.0, "plain": False, "serve": False,
                                                    "api_port": None}
    options = quickstart.parse_arguments(["--nodes", "7", "--seconds", "2.5", "--plain"])
    assert (options.nodes, options.seconds, options.plain) == (7, 2.5, True)
    options = quickstart.parse_arguments(["--serve", "--api-port", "0"])
    assert (options.serve, options.api_port) == (True, 0)


def test_served_nodes_use_the_overlays_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    extras: list[str] = []

    def record(*arguments: Any, **options: Any) -> int:
        calls.append((*arguments, options))
        return 0

    monkeypatch.setattr(quickstart, "enter", lambda *names: extras.extend(names))
    monkeypatch.setattr(demonstration, "serve", record)
    assert quickstart.main(["--serve", "--nodes", "3", "--plain", "--api-port", "0"]) == 0
    ((nodes, seconds, activity, rest, options),) = calls
    assert (nodes, seconds, rest.port, options) == (3, 30.0, 0, {"plain": True})
    assert isinstance(activity, LibraryOverlays)
    assert extras == ["cli", "rest", "trust"]


@pytest.mark.parametrize("arguments", [["--nodes", "1"], ["--nodes", "51"], ["--nodes", "many"], ["--seconds", "0"],
                                       ["--seconds", "nan"], ["--seconds", "inf"],
                                       ["--api-port", "1"], ["--nodes", "26", "--serve"],
                                       ["--api-port", "-1", "--serve"],
                                       ["--api-port", "65536", "--serve"]])
def test_senseless_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        quickstart.parse_arguments(arguments)
    assert refusal.value.code == 2
    assert arguments[0] in capsys.readouterr().err


CHAT = """
import runpy, sys
from ipv8.configuration import DISPERSY_BOOTSTRAPPER
DISPERSY_BOOTSTRAPPER["init"].update(ip_addresses=[("127.0.0.1", int(sys.argv[1]))], dns_addresses=[],
                                     bootstrap_timeout=1.0)
runpy.run_path("examples/chat.py", run_name="__main__")
"""


async def test_two_processes_of_the_short_form_greet_each_other() -> None:
    """The program of the README, unchanged but for the bootstrap server, in two processes."""
    import asyncio

    endpoint = UDPEndpoint(0, "127.0.0.1")
    assert await endpoint.open()
    tracker = EndpointServer(endpoint)
    command = [sys.executable, "-u", "-c", CHAT, str(endpoint.get_address()[1])]
    processes = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
            assert line.rstrip().endswith(b"says hello there")
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.communicate() for process in processes))
        await tracker.unload()
        endpoint.close()
    assert [process.returncode for process in processes] == [0, 0]
