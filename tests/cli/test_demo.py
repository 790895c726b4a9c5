"""``ipv8 demo``: nodes on real sockets that use the overlays of the library, and the ways in which that is shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import ipv8
from ipv8.cli.demo import demonstration
from ipv8.cli.demo.activity import Activity
from ipv8.cli.demo.demonstration import demonstrate, watch
from ipv8.cli.demo.display import WIDTH_LEAST, Drawing, JsonLines, Lines, verdict
from ipv8.cli.demo.library import LibraryOverlays
from ipv8.cli.demo.network import PEERS_WANTED, Event, LocalNetwork, NodeView, Outcome
from ipv8.cli.main import main
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.REST.client import IPv8Client

ROOT = Path(ipv8.__file__).parent.parent
PATIENCE = 40.0
"""Seconds after which the demonstration gives up; it ends as soon as all is well."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Nothing(Activity):
    """The nodes only meet."""

    watched = DiscoveryCommunity

    def is_done(self, network: LocalNetwork) -> bool:
        return True

    def summary(self, network: LocalNetwork) -> str:
        return "That was all."


# -- what the nodes do -----------------------------------------------------------------------------------------------

async def test_nodes_use_the_overlays_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    async with LocalNetwork(4, LibraryOverlays()) as network:
        outcome = await watch(network, PATIENCE, Lines())
        views = network.views()
    assert outcome.good
    output = capsys.readouterr().out
    assert re.search(r"node \d stored a value in the DHT, and node \d found it", output)
    assert re.search(r"node \d built a circuit by way of node \d", output)
    assert re.search(r"node \d and node \d signed a block", output)
    assert re.search(r"^node +address +mid +peers +introduced +punctures +values +circuits +blocks$", output,
                     re.MULTILINE)
    assert all(circuits for _, circuits, _ in (view.figures for view in views))
    assert any(blocks for _, _, blocks in (view.figures for view in views))
    assert sum(values for values, _, _ in (view.figures for view in views))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nodes_without_time_did_not_meet(capsys: pytest.CaptureFixture[str]) -> None:
    async with LocalNetwork(2, Nothing()) as network:
        assert not (await watch(network, 1e-9, Lines())).good
    assert "Not every node met all others within" in capsys.readouterr().out


async def test_an_activity_that_fails_is_not_kept_secret() -> None:
    class Failing(Nothing):
        async def run(self, network: LocalNetwork) -> None:
            raise LookupError("a bug")

    async with LocalNetwork(2, Failing()) as network:
        with pytest.raises(LookupError, match="a bug"):
            await watch(network, PATIENCE, Lines())


async def test_an_activity_that_fails_later_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Nothing):
        async def run(self, network: LocalNetwork) -> None:
            raise LookupError("a bug")

    network = LocalNetwork(2, Failing())
    await network.start()
    await asyncio.sleep(0)  # it begins
    await network.stop()
    await network.stop()
    (record,) = caplog.records
    assert record.getMessage() == "What the nodes did has failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_network_that_cannot_start_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError("no more sockets")

    network = LocalNetwork(2, Nothing())
    monkeypatch.setattr(network, "_start_node", fail)
    with pytest.raises(OSError, match="no more sockets"):
        async with network:
            pass
    assert network.views() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("nodes", "met"), [
    (5, "Each of 5 nodes met all others in 1.5 s"), (21, "Each of 21 nodes met all others in 1.5 s"),
    (22, "Each of 22 nodes met at least 20 of 21 in 1.5 s"), (50, "Each of 50 nodes met at least 20 of 49 in 1.5 s")])
def test_verdict_says_what_was_reached(nodes: int, met: str) -> None:
    network = LocalNetwork(nodes, Nothing())

    def with_peers(count: int) -> bool:
        network.views = lambda: [NodeView("node", "", "", count, 1, 1, ())] * nodes  # type: ignore[method-assign]  # no node runs
        return network.have_met()

    assert not with_peers(network.peers_wanted - 1)
    assert verdict(network, Outcome(None, True, 30.0)).startswith("Not every node met " + met.split(" met ")[1][:-9])
    assert with_peers(network.peers_wanted)
    assert verdict(network, Outcome(1.5, True, 30.0)).startswith(met)
    assert verdict(network, Outcome(1.5, True, 30.0)).endswith("That was all.")
    assert verdict(network, Outcome(1.5, False, 30.0)).startswith("Each node met")


# -- displays --------------------------------------------------------------------------------------------------------

async def test_drawing_shows_every_node(capsys: pytest.CaptureFixture[str]) -> None:
    with Drawing(least_seconds=0.0) as display:
        async with LocalNetwork(2, Nothing()) as network:
            display.note("The dashboard is somewhere")
            assert (await watch(network, PATIENCE, display)).good
    output = capsys.readouterr().out
    assert "node 1" in output
    assert "node 2" in output
    assert "Each of 2 nodes met all others" in output
    assert "The dashboard is somewhere" in output


async def test_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    async with LocalNetwork(2, LibraryOverlays()) as network:
        display = JsonLines()
        display.note("for people")
        display.note("It is served", dashboard="http://127.0.0.1:1/dashboard")
        assert (await watch(network, PATIENCE, display)).good
    served, *events, concluded = map(json.loads, capsys.readouterr().out.splitlines())
    assert served == {"event": "served", "text": "It is served", "dashboard": "http://127.0.0.1:1/dashboard"}
    assert {event["event"] for event in events} >= {"met", "did"}
    assert all(event["seconds"] >= 0 and event["text"] for event in events)
    assert concluded["good"]
    assert concluded["text"].startswith("Each of 2 nodes met")
    assert [node["name"] for node in concluded["nodes"]] == ["node 1", "node 2"]
    assert set(concluded["nodes"][0]["figures"]) == {"values", "circuits", "blocks"}


def picture(nodes: int, width: int, height: int, columns: tuple[str, ...] = LibraryOverlays.columns) -> list[str]:
    """The lines of the drawing of a network that met long ago, in a terminal of this size."""
    network: Any = SimpleNamespace(
        size=nodes, peers_wanted=min(nodes - 1, PEERS_WANTED), tracker_address="127.0.0.1:50000",
        activity=SimpleNamespace(columns=columns, legend="values: in its DHT table"),
        events=[Event(12.5, "puncture", f"node {number} opened the way for node 10 with a puncture")
                for number in range(40)],
        views=lambda: [NodeView(f"node {number}", "127.0.0.1:60000", "0123abcd", nodes - 1, 1000, 1000,
                                tuple(10 ** len(column) // 10 for column in columns))
                       for number in range(1, nodes + 1)])
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(Drawing(console=console)._picture(network))
    return capture.get().splitlines()


@pytest.mark.parametrize("columns", [LibraryOverlays.columns, ("sent", "clock"), ()])
@pytest.mark.parametrize("nodes", [2, 5, 20, 50])
def test_drawing_fits_into_a_usual_terminal_and_hides_no_figure(nodes: int, columns: tuple[str, ...]) -> None:
    lines = picture(nodes, 80, 24, columns)
    assert len(lines) <= 22  # the verdict and the prompt follow
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert all("127.0.0.1:60000" in line for line in lines if line.startswith("node ") and "address" not in line)
    shown = sum(line.startswith("node ") for line in lines) - 1
    assert shown == nodes or f"{nodes - shown} more" in "\n".join(lines)


def test_narrow_terminal_gets_counts_but_no_addresses() -> None:
    lines = picture(5, 60, 24, ("sent", "clock"))
    assert max(map(len, lines)) <= 60
    assert "address" not in "\n".join(lines)
    assert sum(line.split()[2:4] == ["4/4", "1000"] for line in lines) == 5


def test_narrowest_terminal_that_is_drawn_on_shows_all_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = picture(50, WIDTH_LEAST, 24, ("sent", "clock"))[:-6]  # what happened and what it means stand below
    assert not any("…" in line for line in table)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(WIDTH_LEAST))
    assert Drawing.is_possible()
    monkeypatch.setenv("COLUMNS", str(WIDTH_LEAST - 1))
    assert not Drawing.is_possible()


def test_low_terminal_still_shows_a_node_and_events() -> None:
    lines = picture(5, 80, 5)
    assert sum(line.startswith("node ") for line in lines) == 2
    assert any("puncture" in line and "s  node" in line for line in lines)


@pytest.mark.parametrize(("plain", "as_json", "possible", "display"), [
    (False, False, True, Drawing), (False, False, False, Lines), (True, False, True, Lines),
    (False, True, True, JsonLines)])
def test_displays(plain: bool, as_json: bool, possible: bool, display: type[Any],
                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drawing, "is_possible", lambda: possible)
    assert type(demonstration._display(plain, as_json)) is display


# -- the command -----------------------------------------------------------------------------------------------------

def test_status_says_whether_all_was_done() -> None:
    assert demonstrate(2, 1e-9, Nothing(), plain=True) == 1
    assert demonstrate(2, PATIENCE, Nothing(), plain=True) == 0


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def record(*arguments: Any, **options: Any) -> int:
        calls.append((*arguments, options))
        return 1

    monkeypatch.setattr(demonstration, "demonstrate", record)
    monkeypatch.setattr(demonstration, "serve", record)
    assert main(["demo"]) == 1
    assert main(["demo", "--nodes", "7", "--seconds", "2.5", "--plain", "--serve", "--api-port", "5", "--json"]) == 1
    (five, long, activity, options), (seven, short, _, served, others) = calls
    assert (five, long, seven, short, served.port) == (5, 30.0, 7, 2.5, 5)
    assert isinstance(activity, LibraryOverlays)
    assert (options, others) == ({"plain": False, "as_json": False}, {"plain": True, "as_json": True})


@pytest.mark.parametrize(("arguments", "message"), [
    (["--nodes", "1"], "1 is no number from 2, as a node alone has nobody to meet, to 25"),
    (["--nodes", "26"], "26 is no number from 2"),
    (["--api-port", "5"], "--api-port needs --serve"),
    (["--seconds", "0"], "'0' is no time"),
])
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


@posix
async def test_served_nodes_fill_the_dashboard_and_end_with_0() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ipv8", "demo", "--serve", "--api-port", "0", "--json", "--nodes", "3",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment)
    assert process.stdout is not None
    try:
        served = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
        assert (served["event"], served["node"]) == ("served", "node 1")
        assert served["dashboard"] == f"{served['rest_api']}/dashboard"
        while json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))["event"] != "concluded":
            pass
        async with IPv8Client(served["rest_api"]) as client:
            assert "<html" in await client.get("/dashboard")

            async def answer(path: str, name: str) -> Any:
                return (await client.get(path))[name]

            async def wait_for(path: str, name: str) -> None:
                while not await answer(path, name):  # noqa: ASYNC110 - of another process, which can only be asked
                    await asyncio.sleep(0.1)

            for path, name in (("/node/peers", "peers"), ("/tunnel/circuits", "circuits"), ("/sessions", "sessions"),
                               ("/trustchain/recent", "blocks"), ("/trust/top", "peers"),
                               ("/identity/ann/outstanding/attestations", "requests")):
                await asyncio.wait_for(wait_for(path, name), PATIENCE)
            assert sorted(await answer("/identity", "names")) == ["ann", "bob"]
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
