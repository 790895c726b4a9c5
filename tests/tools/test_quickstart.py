"""The demonstration over real sockets: nodes that know nothing but a tracker meet, and their clocks come together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import quickstart
from examples.quickstart.demonstration import demonstrate, watch
from examples.quickstart.display import WIDTH_LEAST, Drawing, Lines, verdict
from examples.quickstart.network import PEERS_WANTED, Event, LocalNetwork, NodeView, Outcome
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peerdiscovery.tracker import EndpointServer
from scripts.bootstrap import Environment

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0
"""Seconds after which the demonstration gives up; it ends as soon as all is well."""


async def test_nodes_meet_and_clocks_come_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert (await watch(3, PATIENCE, Lines())).good
    output = capsys.readouterr().out
    for name in ("node 1", "node 2", "node 3"):
        assert len(set(re.findall(rf"{name} met (node \d)", output))) == 2
    assert "the tracker introduced" in output
    assert "opened the way for" in output
    assert re.search(r"^Each of 3 nodes met all others in .* s: \d+ introductions, \d+ punctures\.", output,
                     re.MULTILINE)


async def test_drawing_shows_every_node(capsys: pytest.CaptureFixture[str]) -> None:
    with Drawing(least_seconds=0.0) as display:
        assert (await watch(2, PATIENCE, display)).good
    output = capsys.readouterr().out
    assert "node 1" in output
    assert "node 2" in output
    assert "Each of 2 nodes met all others" in output


def picture(nodes: int, width: int, height: int) -> list[str]:
    """The lines of the drawing of a network that met long ago, in a terminal of this size."""
    network: Any = SimpleNamespace(
        size=nodes, peers_wanted=min(nodes - 1, PEERS_WANTED), tracker_address="127.0.0.1:50000",
        events=[Event(12.5, "puncture", f"node {number} opened the way for node 10 with a puncture")
                for number in range(40)],
        views=lambda: [NodeView(f"node {number}", "127.0.0.1:60000", "0123abcd", nodes - 1, 1000, 1000, 1000, 10_000)
                       for number in range(1, nodes + 1)])
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(Drawing(console=console)._picture(network))
    return capture.get().splitlines()


@pytest.mark.parametrize("nodes", [2, 5, 20, 50])
def test_drawing_fits_into_a_usual_terminal_and_hides_no_figure(nodes: int) -> None:
    lines = picture(nodes, 80, 24)
    assert len(lines) <= 22  # the verdict and the prompt follow
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert all("127.0.0.1:60000" in line for line in lines if line.startswith("node ") and "address" not in line)
    shown = sum(line.startswith("node ") for line in lines) - 1
    assert shown == nodes or f"{nodes - shown} more" in "\n".join(lines)


def test_narrow_terminal_gets_counts_but_no_addresses() -> None:
    lines = picture(5, 60, 24)
    assert max(map(len, lines)) <= 60
    assert "address" not in "\n".join(lines)
    assert sum(line.split()[2:4] == ["4/4", "1000"] for line in lines) == 5


def test_narrowest_terminal_that_is_drawn_on_shows_all_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = picture(50, WIDTH_LEAST, 24)[:-6]  # what happened and what it means stand below
    assert not any("…" in line for line in table)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(WIDTH_LEAST))
    assert Drawing.is_possible()
    monkeypatch.setenv("COLUMNS", str(WIDTH_LEAST - 1))
    assert not Drawing.is_possible()


@pytest.mark.parametrize(("nodes", "met"), [
    (5, "Each of 5 nodes met all others in 1.5 s"), (21, "Each of 21 nodes met all others in 1.5 s"),
    (22, "Each of 22 nodes met at least 20 of 21 in 1.5 s"), (50, "Each of 50 nodes met at least 20 of 49 in 1.5 s")])
def test_verdict_says_what_was_reached(nodes: int, met: str) -> None:
    network = LocalNetwork(nodes)

    def with_peers(count: int) -> bool:
        network.views = lambda: [NodeView("node", "", "", count, 1, 1, 1, 1)] * nodes  # type: ignore[method-assign]  # no node runs
        return network.have_met()

    assert not with_peers(network.peers_wanted - 1)
    assert verdict(network, Outcome(None, True, 30.0)).startswith("Not every node met " + met.split(" met ")[1][:-9])
    assert with_peers(network.peers_wanted)
    assert verdict(network, Outcome(1.5, True, 30.0)).startswith(met)
    assert verdict(network, Outcome(1.5, False, 30.0)).startswith("Each node met")


def test_low_terminal_still_shows_a_node_and_events() -> None:
    lines = picture(5, 80, 5)
    assert sum(line.startswith("node ") for line in lines) == 2
    assert any("puncture" in line and "s  node" in line for line in lines)


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert demonstrate(2, PATIENCE, plain=False) == 0
    assert "node 1 met node 2" in capsys.readouterr().out.partition("\n\n")[0]


async def test_nodes_without_time_did_not_meet(capsys: pytest.CaptureFixture[str]) -> None:
    assert not (await watch(2, 1e-9, Lines())).good
    assert "Not every node met all others within" in capsys.readouterr().out


def test_status_says_whether_they_met() -> None:
    assert demonstrate(2, 1e-9, plain=True) == 1
    assert demonstrate(2, PATIENCE, plain=True) == 0


async def test_network_that_cannot_start_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError("no more sockets")

    network = LocalNetwork(2)
    monkeypatch.setattr(network, "_start_node", fail)
    with pytest.raises(OSError, match="no more sockets"):
        async with network:
            pass
    assert network.views() == []


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
    assert vars(quickstart.parse_arguments([])) == {"nodes": 5, "seconds": 30.0, "plain": False}
    options = quickstart.parse_arguments(["--nodes", "7", "--seconds", "2.5", "--plain"])
    assert (options.nodes, options.seconds, options.plain) == (7, 2.5, True)


@pytest.mark.parametrize("arguments", [["--nodes", "1"], ["--nodes", "51"], ["--nodes", "many"], ["--seconds", "0"],
                                       ["--seconds", "nan"]])
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
