"""``ipv8 top``: what a node tells, in terminals of all sizes, and what is said if it does not tell."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import signal
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from rich.console import Console

import ipv8
from ipv8.cli import top as library
from ipv8.cli.commands.top import DEFAULT_URL
from ipv8.cli.main import main
from ipv8.cli.service import IPV8Service
from ipv8.cli.snapshot import PATHS, ForeignAnswer, Snapshot
from ipv8.cli.top import TopOptions, watch
from ipv8.cli.top_view import picture, report
from ipv8.configuration import ConfigBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ROOT = Path(ipv8.__file__).parent.parent
URL = "http://127.0.0.1:8085"
PATIENCE = 30.0
HANDLER = {"count": 4, "seconds": 0.02, "mean": 0.005, "p50": 0.004, "p99": 0.0125, "max": 0.02}
posix = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")


def answers(peers: int = 37, overlays: int = 2, messages: int = 8, circuits: int = 3, tables: int = 30) -> Any:
    """What a node answers, by path."""
    names = ["DHTDiscoveryCommunity", "HiddenTunnelCommunity", *(f"Community{i}" for i in range(overlays))][:overlays]
    return {
        "/node/overview": {
            "time": 1.8e9, "version": "1.2.3", "uptime": 4000.0, "keys": [{"alias": "me", "mid": "ab" * 20}],
            "health": {"status": "problem", "reasons": [
                {"level": "ok", "name": "clock", "text": "The clock is right."},
                {"level": "warning", "name": "nat", "text": "The NAT is symmetric."},
                {"level": "problem", "name": "sockets", "text": "No socket is open: close the program on port 8090."}]},
            "peers": {"total": peers, "by_path": {"direct": peers - peers // 4, "relayed": peers // 4},
                      "encrypted": peers // 2},
            "loop": {"lag_p50": 0.001, "lag_p99": 0.02, "lag_max": 1.25, "slow_callbacks": 3, "tasks": 44},
            "drops": {"total": 12, "last_minute": 5, "by_reason": {"malformed": 9, "rate_limited": 3}},
            "traffic": {"bytes_up": 2_500_000, "bytes_down": 900, "packets_up": 1, "packets_down": 1,
                        "bytes_up_per_second": 1234.0, "bytes_down_per_second": 20.0},
            "overlays": [{"id": name, "name": name, "peers": 5, "max_peers": 30} for name in names]},
        "/node/traffic": {
            "interval": 1, "history": [[1.8e9 + i, 10 * i, i, 1, 1] for i in range(600)],
            "overlays": [{"id": name, "name": name, "bytes_up": 7, "bytes_down": 8, "messages": [
                {"id": i, "name": f"on_message_{i}", "packets_up": 10 * i, "packets_down": i, "bytes_up": 1000 * i,
                 "bytes_down": 5, "handler": HANDLER if i else dict.fromkeys(HANDLER)} for i in range(messages)]}
                for name in names]},
        "/node/tables": {"tables": [{"owner": "Network", "name": f"table_{i}", "size": i, "capacity": 100}
                                    for i in range(tables)]},
        "/tunnel/circuits": {"circuits": [
            {"circuit_id": i, "state": "READY", "type": "DATA", "goal_hops": 3, "actual_hops": 2,
             "verified_hops": ["12" * 20, "34" * 20], "bytes_up": 1, "bytes_down": 2} for i in range(circuits)]},
    }


def drawn(content: Any, width: int, height: int) -> list[str]:
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(content)
    return capture.get().splitlines()


# -- what is shown ---------------------------------------------------------------------------------------------------

SIZES = [(80, 24), (200, 50), (100, 30), (60, 15), (40, 10), (20, 5)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("content", [answers(), answers(0, 0, 0, 0, 0), answers(5000, 12, 40, 60, 300)],
                         ids=["usual", "empty", "much"])
def test_it_fits_into_any_terminal(content: Any, width: int, height: int) -> None:
    snapshot = Snapshot.of(content)
    for before in (None, snapshot):
        lines = drawn(picture(snapshot, before, 2.0, URL, width, height), width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_usual_terminals_show_everything(width: int, height: int) -> None:
    text = "\n".join(drawn(picture(Snapshot.of(answers()), None, 0.0, URL, width, height), width, height))
    assert text.startswith("Problem  http://127.0.0.1:8085")
    for wanted in (r"ipv8 1\.2\.3, up 1\.1 h", r"Problem +No socket is open: close the program on port 8090\.",
                   r"Warning +The NAT is symmetric\.", r"37 peers, 18 encrypted", r"direct +28 ━+", r"relayed +9 ━+",
                   r"up +1\.2 kB/s +2\.5 MB", r"down +20 B/s +900 B", r"▁.*█", r"the last 10\.0 min",
                   r"lag 1\.00 ms, p99 20 ms", r"max 1\.2 s, 3 slow calls", r"dropped 12, 5/min",
                   r"malformed 9, rate_", r"message_7 +7 +70 +7\.0 kB +5\.00 ms +12 ms",
                   r"3 circuits", r"ready data +2/3 12121212 → 34343434", r"table_29 +29/100 +29%"):
        assert re.search(wanted, text), wanted
    assert "The clock is right" not in text  # there are worse reasons


def test_changes_since_the_last_look_are_rates() -> None:
    before, after = answers(), answers()
    message = after["/node/traffic"]["overlays"][0]["messages"][2]
    message["packets_down"] += 10
    message["bytes_down"] += 5000
    lines = drawn(picture(Snapshot.of(after), Snapshot.of(before), 2.0, URL, 80, 24), 80, 24)
    head = next(index for index, line in enumerate(lines) if line.startswith("overlay  "))
    assert lines[head].split() == ["overlay", "message", "in", "out", "bytes/s", "mean", "p99"]
    assert lines[head + 1].split() == ["DHTDiscovery", "message_2", "5.0", "0", "2.5", "kB", "5.00", "ms", "12", "ms"] \
        or lines[head + 1].split()[:5] == ["DHTDiscovery", "message_2", "5", "0", "2.5"]


def test_a_node_that_is_well_says_why() -> None:
    content = answers()
    content["/node/overview"]["health"] = {"status": "ok", "reasons": [
        {"level": "ok", "name": "clock", "text": "The clock is right."},
        {"level": "unknown", "name": "nat", "text": "Nobody knows."}, {"level": "new", "name": "x", "text": "More."}]}
    lines = drawn(picture(Snapshot.of(content), None, 0.0, URL, 80, 24), 80, 24)
    assert lines[0].startswith("Well  ")
    assert [line.rstrip() for line in lines[1:4]] == ["Unknown  Nobody knows.", "Unknown  More.",
                                                      "Well     The clock is right."]


def test_a_report_has_all_messages_and_reasons() -> None:
    text = "\n".join(drawn(report(Snapshot.of(answers(messages=50)), URL, 80), 80, 24))
    assert text.count("on_message_") == 100
    assert "The NAT is symmetric" in text


def test_control_characters_of_a_node_do_not_reach_the_terminal() -> None:
    content = answers()
    content["/node/overview"]["health"]["reasons"][2]["text"] = "evil \x1b]0;title\x07 \u202e [bold]text"
    content["/node/traffic"]["overlays"][0]["messages"][7]["name"] = "on_\x1b[2J"
    text = "\n".join(drawn(picture(Snapshot.of(content), None, 0.0, URL, 80, 24), 80, 24))
    assert "\x1b" not in text
    assert "evil ?]0;title? ? [bold]text" in text


@pytest.mark.parametrize("change", [
    lambda content: content.pop("/node/tables"),
    lambda content: content["/node/overview"].pop("health"),
    lambda content: content["/node/overview"]["health"].update(reasons=["fine"]),
    lambda content: content["/node/overview"]["loop"].update(tasks="many"),
    lambda content: content.update({"/node/traffic": []}),
    lambda content: content.update({"/tunnel/circuits": None}),
])
def test_other_answers_are_noticed(change: Callable[[Any], object]) -> None:
    content = copy.deepcopy(answers())
    change(content)
    with pytest.raises(ForeignAnswer):
        Snapshot.of(content)


# -- a node ----------------------------------------------------------------------------------------------------------

@pytest.fixture
async def node() -> AsyncIterator[str]:
    """The address of the REST API of a node, which has the key ``secret``."""
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_address("127.0.0.1").set_port(0)
    builder.add_overlay("DiscoveryCommunity", "me", [], [], {}, [])
    service = IPV8Service(builder.finalize())
    await service.start_ipv8(api_key="secret", api_port=0)
    assert service.restapi is not None
    yield str(service.restapi.url)
    await service.stop_ipv8()


async def test_once(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await watch(TopOptions(node, "secret")) == 0
    text = capsys.readouterr().out
    assert re.match(rf"(Well|Warning|Problem)  {re.escape(node)}", text)
    assert "DiscoveryCommunity, 0/" in text
    assert "It has met nobody yet." in text
    assert "0 circuits" in text


async def test_without_a_terminal_it_is_printed_once(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await watch(TopOptions(node, "secret", interval=0.1)) == 0
    assert capsys.readouterr().out.count(node) == 1


async def test_json(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await watch(TopOptions(node, "secret", as_json=True)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert set(json.loads(line)) == {path.rpartition("/")[2] for path in PATHS}


@pytest.mark.parametrize(("key", "message"), [(None, "the node needs its API key: give it with --key-file"),
                                              ("wrong", "the API key is wrong: give it with --key-file")])
async def test_it_says_how_to_give_the_key(key: str | None, message: str, node: str,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert await watch(TopOptions(node, key)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ipv8 top: {message}")
    assert "IPV8_API_KEY" in error


async def test_no_node(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert await watch(TopOptions(f"http://127.0.0.1:{port}")) == 1
    assert capsys.readouterr().err.startswith(
        f"ipv8 top: http://127.0.0.1:{port} cannot be reached: Connection refused.")


@pytest.mark.parametrize(("status", "body", "message"), [
    (404, "{}", "does not tell this: it is another version, or it is not observed"),
    (503, '{"error": "later"}', "refuses to answer, with status 503: later"),
    (200, '{"a": 1}', "is not a node of this version"),
    (200, "[]", "is not a node of this version"),
])
async def test_other_servers(status: int, body: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status, content_type="application/json")

    application = web.Application()
    application.add_routes([web.get("/{path:.*}", answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert await watch(TopOptions(f"http://127.0.0.1:{runner.addresses[0][1]}")) == 1
    assert message in capsys.readouterr().err
    await runner.cleanup()


# -- the command -----------------------------------------------------------------------------------------------------

@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[TopOptions]:
    calls: list[TopOptions] = []

    async def watch(options: TopOptions) -> int:
        calls.append(options)
        return 0

    monkeypatch.setattr(library, "watch", watch)
    monkeypatch.delenv("IPV8_API_KEY", raising=False)
    return calls


@pytest.mark.parametrize(("arguments", "expected"), [
    ([], TopOptions(DEFAULT_URL, interval=2.0)),
    (["localhost:8086"], TopOptions("http://localhost:8086", interval=2.0)),
    (["https://[::1]:1/dashboard", "--interval", "5"], TopOptions("https://[::1]:1", interval=5.0)),
    (["--once"], TopOptions(DEFAULT_URL)),
    (["--json"], TopOptions(DEFAULT_URL, as_json=True)),
    (["--json", "--interval", "2"], TopOptions(DEFAULT_URL, interval=2.0, as_json=True)),
    (["--json", "--interval", "2", "--once"], TopOptions(DEFAULT_URL, as_json=True)),
])
def test_options(arguments: list[str], expected: TopOptions, watched: list[TopOptions]) -> None:
    assert main(["top", *arguments]) == 0
    assert watched == [expected]


def test_keys(watched: list[TopOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
              capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rest.key"
    path.write_text("from-file\n")
    monkeypatch.setenv("IPV8_API_KEY", "from-environment")
    assert main(["top"]) == 0
    assert main(["top", "--key-file", str(path)]) == 0
    assert [options.api_key for options in watched] == ["from-environment", "from-file"]
    for content in ("", "two words", "\xff"):
        path.write_text(content)
        assert main(["top", "--key-file", str(path)]) == 2
        assert "has no API key" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://a:0", "http://a:99999", "http://u:p@a", "a b",
                                 "http://[::1", "http://a\x1b"])
def test_addresses_that_are_none(url: str, watched: list[TopOptions], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", url]) == 2
    assert "is no address of a REST API" in capsys.readouterr().err
    assert not watched


# -- a terminal ------------------------------------------------------------------------------------------------------

class Terminal:
    """A terminal in which ``ipv8 top`` runs."""

    def __init__(self, *arguments: str, columns: int = 80, lines: int = 24) -> None:
        import pty

        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "IPV8_API_KEY": "secret"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen([sys.executable, "-m", "ipv8", "top", *arguments], stdin=theirs, stdout=theirs,
                                        stderr=subprocess.PIPE, env=environment)
        os.close(theirs)
        os.set_blocking(self._ours, False)

    def resize(self, columns: int, lines: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def read_until(self, wanted: str) -> str:
        """What is drawn until the wanted text is there."""
        shown = ""

        async def read() -> None:
            nonlocal shown
            loop = asyncio.get_running_loop()
            while wanted not in shown:
                readable = asyncio.Event()
                loop.add_reader(self._ours, readable.set)
                await readable.wait()
                loop.remove_reader(self._ours)
                shown += os.read(self._ours, 65536).decode(errors="replace")

        await asyncio.wait_for(read(), PATIENCE)
        return shown

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    async def end(self) -> tuple[int, str]:
        """The exit status, and what went to the error output."""
        _, errors = await asyncio.get_running_loop().run_in_executor(None, self.process.communicate, None, PATIENCE)
        return self.process.returncode, errors.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self._ours)


@pytest.fixture
def start() -> Iterator[Callable[..., Terminal]]:
    """Start the command in a terminal, which is closed after the test."""
    terminals: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        terminals.append(Terminal(*arguments))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@posix
@pytest.mark.parametrize("key", ["q", "\x1b"])
async def test_it_is_drawn_again_and_again_until_a_key_is_pressed(key: str, node: str,
                                                                start: Callable[..., Terminal]) -> None:
    terminal = start(node, "--interval", "0.2")
    assert "DiscoveryCommunity" not in await terminal.read_until("fullest tables")  # there is too little room
    await terminal.read_until("bytes/s")
    terminal.resize(150, 50)
    await terminal.read_until("DiscoveryCommunity, 0/")
    terminal.press("x")
    await terminal.read_until("bytes/s")
    terminal.press(key)
    assert await terminal.end() == (0, "")


@posix
async def test_interrupts_end_it(node: str, start: Callable[..., Terminal]) -> None:
    terminal = start(node)
    await terminal.read_until("fullest tables")
    terminal.process.send_signal(signal.SIGINT)
    assert await terminal.end() == (130, "")


@posix
async def test_a_node_that_stops_is_told_in_a_line(start: Callable[..., Terminal]) -> None:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_address("127.0.0.1").set_port(0)
    service = IPV8Service(builder.finalize())
    await service.start_ipv8(api_port=0)
    assert service.restapi is not None
    terminal = start(str(service.restapi.url), "--interval", "0.2")
    await terminal.read_until("fullest tables")
    url = service.restapi.url
    await service.stop_ipv8()
    status, errors = await terminal.end()
    assert status == 1
    assert re.fullmatch(rf"ipv8 top: {re.escape(str(url))} cannot be reached: .*\n", errors)
