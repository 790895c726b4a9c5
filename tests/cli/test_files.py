"""``ipv8 send`` and ``ipv8 fetch``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.blobs import BlobProgress
from ipv8.cli import files as library
from ipv8.cli.main import main
from ipv8.cli.tracker import TrackerService
from ipv8.messaging.session.manifest import CHUNK_SIZE, HASH_SIZE
from ipv8.messaging.session.quic import available_library

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

LOOPBACK = "127.0.0.1"
NOWHERE = f"{LOOPBACK}:9"
ID = "ab" * HASH_SIZE
CONTENT = Random(2).randbytes(24 * CHUNK_SIZE + 5)

needs_streams = pytest.mark.skipif(available_library() is None, reason="there is no library for streams")


class Program:
    """A command in a process of its own, which prints lines of JSON."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "ipv8", *arguments, "--listen-address", LOOPBACK,
                                         "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def first(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self, number: int | None = None) -> list[Any]:
        """What it still printed, at the end; by a signal, if one is given."""
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=50)
        return [json.loads(line) for line in rest.splitlines() if line.endswith("}")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def sender(source: Path) -> Iterator[tuple[Any, str]]:
    """What a sender printed, and where it is."""
    program = Program("send", str(source), "--bootstrap", NOWHERE)
    told = program.first()
    yield told, f"{told['address']['host']}:{told['address']['port']}"
    program.end(signal.SIGTERM)


@needs_streams
@pytest.mark.slow
def test_a_file_is_fetched(sender: tuple[Any, str], tmp_path: Path) -> None:
    told, place = sender
    assert told["size"] == len(CONTENT)
    copy = tmp_path / "copy"
    program = Program("fetch", told["id"], "--from", place, "-o", str(copy))
    events = program.end()
    assert program.process.returncode == 0
    assert {event["event"] for event in events} == {"progress", "fetched"}
    assert events[-1]["file"] == str(copy)
    assert (events[-1]["size"], events[-1]["resumed"]) == (len(CONTENT), 0)
    assert copy.read_bytes() == CONTENT


@needs_streams
@pytest.mark.slow
def test_a_file_under_its_id(sender: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    told, place = sender
    monkeypatch.chdir(tmp_path)
    assert main(["fetch", told["id"], "--from", place, "--listen-address", LOOPBACK]) == 0
    assert capsys.readouterr().out == f"{told['id']}\n"
    assert (tmp_path / told["id"]).read_bytes() == CONTENT
    assert main(["fetch", told["id"], "--from", place, "--listen-address", LOOPBACK]) == 2
    assert "--force" in capsys.readouterr().err


@needs_streams
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise")
def test_a_fetch_that_is_killed_goes_on(sender: tuple[Any, str], tmp_path: Path) -> None:
    told, place = sender
    copy, notes = tmp_path / "copy", tmp_path / "copy.part.have"
    arguments = ("fetch", told["id"], "--from", place, "-o", str(copy))
    chance, noted = Random(4), 0
    for _ in range(3):
        program = Program(*arguments)
        while not notes.exists() or _chunks(notes) <= noted:
            if program.process.poll() is not None:
                break  # it was faster
            time.sleep(0.002)
        time.sleep(chance.random() / 10)
        program.end(signal.SIGKILL)
        if copy.exists():
            break
        noted = _chunks(notes)
    else:
        assert 0 < noted <= 25
        last = Program(*arguments).end()[-1]
        assert last["resumed"] >= noted * CHUNK_SIZE - CHUNK_SIZE
    assert copy.read_bytes() == CONTENT


def _chunks(notes: Path) -> int:
    return sum(byte.bit_count() for byte in notes.read_bytes()[HASH_SIZE:])


@pytest.fixture
async def tracker() -> AsyncIterator[tuple[str, int]]:
    """The address of a tracker."""
    service = TrackerService()
    await service.start_tracker(0, LOOPBACK)
    assert service.endpoint is not None
    yield LOOPBACK, service.endpoint.get_address()[1]
    await service.shutdown()


@needs_streams
@pytest.mark.slow
async def test_senders_are_found_by_their_mid(tracker: tuple[str, int], tmp_path: Path) -> None:
    options = library.NodeOptions((tracker,), LOOPBACK)
    nodes = [library.FileNode(options, asks_public=False) for _ in range(3)]
    try:
        senders = [await node.start() for node in nodes]
        blob, *_ = [await sender.blobs.share(CONTENT) for sender in senders]
        mids = tuple(sender.my_peer.mid for sender in senders)
        wanted = library.FetchOptions(blob, str(tmp_path / "copy"), mids, 30.0, 1 << 30)
        assert await library.fetch(options, wanted) == 0
    finally:
        for node in nodes:
            await node.stop()
    assert (tmp_path / "copy").read_bytes() == CONTENT


@needs_streams
@pytest.mark.slow
@pytest.mark.parametrize("blob", [ID, None])
def test_what_cannot_be_fetched(blob: str | None, sender: tuple[Any, str], tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    told, place = sender
    options = ["--listen-address", LOOPBACK, "-o", str(tmp_path / "copy"), "--max-size", str(len(CONTENT) - 1)]
    assert main(["fetch", blob or told["id"], "--from", place, *options]) == 1
    assert ("does not share" if blob else f"{len(CONTENT)} bytes") in capsys.readouterr().err
    assert main(["fetch", blob or told["id"], "--from", place, "--json", *options]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "failed"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@needs_streams
@pytest.mark.slow
def test_nobody_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", ID, "--from", NOWHERE, "--wait", "0.1", "--listen-address", LOOPBACK, "-o",
                 str(tmp_path / "copy")]) == 1
    assert "no sender was found" in capsys.readouterr().err


@needs_streams
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sender_stops_cleanly(number: int, source: Path) -> None:
    program = Program("send", str(source), "--bootstrap", NOWHERE)
    assert program.first()["event"] == "started"
    assert program.end(number) == [{"event": "stopped"}]
    assert program.process.returncode == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (["send", "missing"], "no file 'missing'"),
    (["send", "."], "is a directory"),
    (["fetch", "abc", "--from", NOWHERE], "64 hex digits"),
    (["fetch", ID], "--from"),
    (["fetch", ID, "--from", "nonsense"], "nonsense"),
    (["fetch", ID, "--from", "ab" * 20 + "x"], "host"),
    (["fetch", ID, "--from", NOWHERE, "--wait", "0"], "no time"),
    (["fetch", ID, "--from", NOWHERE, "--max-size", "0"], "at least 1"),
    (["fetch", ID, "--from", NOWHERE, "-o", "."], "is a directory"),
])
def test_misuse(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message.lower() in capsys.readouterr().err.lower()


def test_streams_need_a_library(source: Path, monkeypatch: pytest.MonkeyPatch,
                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(library, "available_library", lambda: None)
    for arguments in (["send", str(source)], ["fetch", ID, "--from", NOWHERE]):
        assert main([*arguments, "--listen-address", LOOPBACK, "--bootstrap", NOWHERE]) == 2
        assert "ipv8[streams]" in capsys.readouterr().err


def test_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with library._Report(as_json=False) as report:
        for verified in (0, 5_000_000, 10_000_000):
            report.show(BlobProgress(verified, 10_000_000, 0, 1e6, 2))
    assert report.size == 10_000_000
    told = capsys.readouterr()
    assert "10.0/10.0 MB" in told.err
    assert "2 peers" in told.err
    assert not told.out
