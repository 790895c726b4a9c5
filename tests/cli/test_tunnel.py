"""Proxies, exits and the status of tunnels, as programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import tunnel as library
from ipv8.cli.main import main
from ipv8.cli.tracker import TrackerService
from ipv8.messaging.anonymization.tunnel import (
    PEER_FLAG_EXIT_BT,
    PEER_FLAG_EXIT_IPV8,
    PEER_FLAG_EXIT_STREAMS,
    PEER_FLAG_RELAY,
    PEER_FLAG_SPEED_TEST,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOPBACK = "127.0.0.1"


def start(*arguments: str) -> subprocess.Popen[str]:
    """A command that is stopped by a signal."""
    return subprocess.Popen([sys.executable, "-m", "ipv8", "tunnel", *arguments, "--listen-address", LOOPBACK,
                             "--bootstrap", f"{LOOPBACK}:9", "--json"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)


def first_event(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("action", ["proxy", "exit"])
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_servers_stop_cleanly(action: str, number: int, tmp_path: Path) -> None:
    options = ["--socks-port", "0", "--guards-file", str(tmp_path / "guards")] if action == "proxy" else []
    process = start(action, *options)
    event = first_event(process)
    assert event["event"] == "started"
    assert event["addresses"][0]["host"] == LOOPBACK
    assert (event["rest_api"], event["dashboard"]) == (None, None)
    assert len(bytes.fromhex(event["mid"])) == 20
    process.send_signal(number)
    rest, _ = process.communicate(timeout=50)
    assert process.returncode == 0
    assert json.loads(rest) == {"event": "stopped"}


@pytest.mark.slow
@pytest.mark.parametrize("action", ["proxy", "exit"])
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_servers_can_be_watched(action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IPV8_API_KEY", "secret")
    options = ["--socks-port", "0", "--guards-file", str(tmp_path / "guards")] if action == "proxy" else []
    process = start(action, "--api-port", "0", *options)
    url = first_event(process)["rest_api"]
    assert main(["top", url, "--once"]) == 0
    assert "HiddenTunnelCommunity" in capsys.readouterr().out
    monkeypatch.setenv("IPV8_API_KEY", "wrong")
    assert main(["top", url, "--once"]) == 2
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=50)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_port_that_is_taken(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        assert main(["tunnel", "proxy", "--socks-port", str(port), "--listen-address", LOOPBACK, "--bootstrap",
                     f"{LOOPBACK}:9", "--guards-file", str(tmp_path / "guards")]) == 2
    assert "address" in capfd.readouterr().err.lower()


@pytest.mark.parametrize(("arguments", "message"), [
    (["proxy", "--hops", "9"], "at most 8 hops"),
    (["proxy", "--hops", "0"], "at least 1"),
    (["proxy", "--user", "me"], "NAME:PASSWORD"),
    (["proxy", "--user", ":secret"], "NAME:PASSWORD"),
    (["exit", "--exit-bandwidth", "0"], "at least 1"),
    (["status", "--wait", "0"], "no time"),
])
def test_misuse(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tunnel", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "flags", "exit_bandwidth"), [
    ([], {PEER_FLAG_EXIT_STREAMS, PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_IPV8}, 0),
    (["--relay-only"], set(), 0),
    (["--no-tcp", "--no-overlays", "--exit-bandwidth", "5"], {PEER_FLAG_EXIT_BT}, 5000),
])
def test_what_an_exit_offers(arguments: list[str], flags: set[int], exit_bandwidth: int,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Recorded(library.Server):
        def __init__(self, node: library.NodeOptions, settings: dict[str, Any], api_port: int | None = None) -> None:
            made.append(settings)
            raise OSError("nothing is started")

    monkeypatch.setattr(library, "Server", Recorded)
    assert main(["tunnel", "exit", *arguments]) == 2
    assert made == [{"peer_flags": {PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST, *flags}, "max_relay_bandwidth": 0,
                     "max_exit_bandwidth": exit_bandwidth}]


def test_tcp_needs_a_library(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                             tmp_path: Path) -> None:
    monkeypatch.setattr(library, "available_library", lambda: None)
    for arguments in (["proxy", "--guards-file", str(tmp_path / "guards")], ["exit"]):
        assert main(["tunnel", *arguments]) == 2
        assert "ipv8[streams]" in capsys.readouterr().err


@pytest.fixture
async def tracker() -> AsyncIterator[tuple[str, int]]:
    """The address of a tracker."""
    service = TrackerService()
    await service.start_tracker(0, LOOPBACK)
    assert service.endpoint is not None
    yield LOOPBACK, service.endpoint.get_address()[1]
    await service.shutdown()


@pytest.mark.slow
async def test_status_without_nodes(tracker: tuple[str, int]) -> None:
    report = await library.report_status(library.NodeOptions((tracker,), LOOPBACK), 3, 0.2)
    assert report["found"] is False
    assert report["seconds"] is None
    assert report["relays"] == 0


@pytest.mark.slow
async def test_status_with_nodes(tracker: tuple[str, int]) -> None:
    node = library.NodeOptions((tracker,), LOOPBACK)
    relays = {PEER_FLAG_RELAY, PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_STREAMS}
    servers = [library.Server(node, {"peer_flags": relays}) for _ in range(2)]
    for server in servers:
        await server.start()
    report = await library.report_status(node, 2, 30.0)
    for server in servers:
        await server.stop()
    assert report["found"] is True
    assert report["seconds"] > 0
    assert report["relays"] == report["exits"]["tcp"] == report["exits"]["bittorrent"] == 2
    assert report["exits"]["overlays"] == 0
