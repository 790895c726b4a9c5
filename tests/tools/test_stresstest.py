"""The measurements against bootstrap servers, with one on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli.tracker import TrackerService
from stresstest import bootstrap_introductions, bootstrap_rtt, peer_discovery, peer_discovery_defaults
from stresstest.servers import asking, bootstrapper, find_servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["bootstrap_rtt", "bootstrap_introductions", "peer_discovery", "peer_discovery_defaults"]
NOBODY = ("127.0.0.1", 9)


@pytest.fixture
async def tracker() -> AsyncIterator[tuple[str, int]]:
    """The address of a bootstrap server."""
    service = TrackerService()
    await service.start_tracker(0, "127.0.0.1")
    assert service.endpoint is not None
    yield "127.0.0.1", service.endpoint.get_address()[1]
    await service.shutdown()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs write to the current directory."""
    monkeypatch.chdir(tmp_path)


async def test_round_trip_times(tracker: tuple[str, int], tmp_path: Path) -> None:
    servers = [f"--tracker={host}:{port}" for host, port in (tracker, NOBODY)]
    await bootstrap_rtt.run([*servers, "--requests=2", "--timeout=0.2"])
    address = f"127.0.0.1 127.0.0.1:{tracker[1]}"
    assert (tmp_path / "summary.txt").read_text() == (
        f"HOST_NAME ADDRESS REQUESTS RESPONSES\n{address} 2 2\n127.0.0.1 127.0.0.1:9 2 0\n")
    head, *lines = (tmp_path / "walk_rtts.txt").read_text().splitlines()
    assert head == "HOST_NAME ADDRESS RTT"
    assert [line.rpartition(" ")[0] for line in lines] == [address, address]
    assert all(0 < float(line.rpartition(" ")[2]) < 0.2 for line in lines)


async def test_introductions(tracker: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRODUCTION_CID", "ab" * 20)
    monkeypatch.setenv("INTRODUCTION_COUNT", "3")
    monkeypatch.setenv("INTRODUCTION_DELAY", "0")
    (server,) = await find_servers([tracker])
    async with asking(b"\xab" * 20) as member:
        assert await member.ask_server(server.address, 1) is not None
        await bootstrap_introductions.run([f"--tracker={tracker[0]}:{tracker[1]}", "--timeout=1"])
    head, *lines = (tmp_path / "bootstrap_introductions.txt").read_text().splitlines()
    assert head == "Address Peers Type"
    assert [line.split()[::2] for line in lines] == [[f"127.0.0.1:{tracker[1]}", str(kind)] for kind in range(4)]
    total, different, reachable, _ = (int(line.split()[1]) for line in lines)
    assert 1 <= total <= 3
    assert different == reachable == 1


async def test_two_nodes_find_each_other(tracker: tuple[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    await peer_discovery.run([f"--tracker={tracker[0]}:{tracker[1]}"])
    first, both = map(float, capsys.readouterr().out.split(","))
    assert 0 < first <= both < peer_discovery.TIMEOUT


async def test_two_nodes_that_do_not() -> None:
    assert await peer_discovery.measure([NOBODY], 0.05) == (-1, -1)


async def test_default_overlays(tracker: tuple[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    await peer_discovery_defaults.run([f"--tracker={tracker[0]}:{tracker[1]}"])
    output = capsys.readouterr()
    names = output.err.splitlines()[-1].split(",")
    assert names == sorted(names)
    assert {"DHTDiscoveryCommunity", "DiscoveryCommunity"} <= {*names}
    times = [float(text) for text in output.out.split(",")]
    assert len(times) == len(names)
    assert all(0 < seconds < peer_discovery_defaults.TIMEOUT for seconds in times)


async def test_default_overlays_that_find_nobody() -> None:
    assert {*(await peer_discovery_defaults.measure([NOBODY], 0.05)).values()} == {-1}


def test_public_servers_unless_others_are_given() -> None:
    assert len(bootstrapper(None)["init"]["dns_addresses"]) > 1
    assert bootstrapper([("1.2.3.4", 5), ("server.example", 6)])["init"] == {
        "ip_addresses": [("1.2.3.4", 5)], "dns_addresses": [("server.example", 6)], "bootstrap_timeout": 30.0}


async def test_servers_without_an_address_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    servers = await find_servers([("no..name", 5), ("127.0.0.1", 6)])
    assert [server.address for server in servers] == [("127.0.0.1", 6)]
    assert "no..name" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["localhost", ":5", "host:", "host:x", "host:0", "host:65536"])
async def test_wrong_servers(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        await bootstrap_rtt.run(["--tracker", wrong])
    assert "HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("program", PROGRAMS)
def test_started_by_path_and_as_a_module(program: str) -> None:
    for command in ([str(ROOT / "stresstest" / f"{program}.py")], ["-m", f"stresstest.{program}"]):
        cwd = ROOT if command[0] == "-m" else None
        run = subprocess.run([sys.executable, *command, "--help"], capture_output=True, text=True, check=True, cwd=cwd)
        assert "--tracker HOST:PORT" in run.stdout


@pytest.mark.parametrize("program", [bootstrap_introductions, bootstrap_rtt, peer_discovery, peer_discovery_defaults])
@pytest.mark.parametrize("wrong", ["nan", "inf", "-1", "0", "1e10", "soon", ""])
async def test_times_that_make_no_sense(program: Any, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        await program.run([f"--timeout={wrong}"])
    assert "more than 0 and at most 86400 seconds" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many", "9999999999"])
async def test_counts_that_make_no_sense(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        await bootstrap_rtt.run([f"--requests={wrong}"])
    assert "a whole number from 1" in capsys.readouterr().err
