"""The demonstration over real sockets: nodes that know nothing but a tracker meet, and their clocks come together."""

from __future__ import annotations

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
from examples.quickstart.display import Drawing, Lines
from examples.quickstart.network import Event, LocalNetwork, NodeView
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peerdiscovery.tracker import EndpointServer

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
    assert re.search(r"^3 nodes met in .* s: \d+ introductions, \d+ punctures\.", output, re.MULTILINE)


async def test_drawing_shows_every_node(capsys: pytest.CaptureFixture[str]) -> None:
    with Drawing(least_seconds=0.0) as display:
        assert (await watch(2, PATIENCE, display)).good
    output = capsys.readouterr().out
    assert "node 1" in output
    assert "node 2" in output
    assert "2 nodes met" in output


def picture(nodes: int, width: int, height: int) -> list[str]:
    """The lines of the drawing of a network that met long ago, in a terminal of this size."""
    network: Any = SimpleNamespace(
        size=nodes, tracker_address="127.0.0.1:50000",
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


def test_low_terminal_still_shows_a_node_and_events() -> None:
    lines = picture(5, 80, 5)
    assert sum(line.startswith("node ") for line in lines) == 2
    assert any("puncture" in line and "s  node" in line for line in lines)


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert demonstrate(2, PATIENCE, plain=False) == 0
    assert "node 1 met node 2" in capsys.readouterr().out.partition("\n\n")[0]


async def test_nodes_without_time_did_not_meet(capsys: pytest.CaptureFixture[str]) -> None:
    assert not (await watch(2, 1e-9, Lines())).good
    assert "The nodes did not meet" in capsys.readouterr().out


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
