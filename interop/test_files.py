"""``ipv8 send`` and ``ipv8 fetch`` on hosts behind NATs of the Linux kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.library import ROOT
from interop.laboratory.internet import Internet, what_is_lacking
from interop.laboratory.kernel import tool
from interop.laboratory.kinds import KINDS
from ipv8.messaging.session.manifest import HASH_SIZE
from ipv8.messaging.session.quic import available_library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interop.laboratory.internet import Site

PORT = 6421
SIZE = 24_000_000
CARRIED_SIZE = 200_000
"""Peers carry a few kilobytes a second."""
DELAY = 0.02

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180),
              pytest.mark.skipif(available_library() is None, reason="there is no library for streams")]


@pytest.fixture(scope="module", autouse=True)
def permitted() -> None:
    lacking = what_is_lacking()
    if lacking is not None:
        pytest.skip(lacking)


class Program:
    """An ``ipv8`` command on a host, which prints lines of JSON."""

    def __init__(self, site: Site, *arguments: str) -> None:
        command = site.host.command(sys.executable, "-m", "ipv8", *arguments, "--json")
        self.process = subprocess.Popen([tool(command[0]), *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)

    def next(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        told: dict[str, Any] = json.loads(line)
        return told

    def last(self) -> dict[str, Any]:
        """The last line, when the program has ended."""
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.read().splitlines()[-1])
        self.process.wait()
        return told

    def kill(self) -> None:
        """Kill it, if it runs."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running(site: Site, *arguments: str) -> Iterator[Program]:
    program = Program(site, *arguments)
    try:
        yield program
    finally:
        program.kill()


def has_a_chunk(notes: Path) -> bool:
    """Whether a fetch has noted that something is there."""
    try:
        return any(notes.read_bytes()[HASH_SIZE:])
    except FileNotFoundError:
        return False


class Homes:
    """A sender and a receiver behind NATs, and a server that introduces them."""

    def __init__(self, stack: ExitStack, sender: str, receiver: str, directory: Path, content: bytes) -> None:
        internet = stack.enter_context(Internet(DELAY))
        self.server, self.sender, self.receiver = (
            internet.add_site(KINDS[kind], network) for network, kind in enumerate(("none", sender, receiver)))
        tracker = stack.enter_context(running(self.server, "tracker", "--listen-address", self.server.ip, "--port",
                                              str(PORT)))
        tracker.next()
        self.node = ("--bootstrap", f"{self.server.ip}:{PORT}")
        (directory / "source").write_bytes(content)
        self.copy = directory / "copy"
        offer = stack.enter_context(running(self.sender, "send", str(directory / "source"), *self.node)).next()
        self.fetch = ("fetch", offer["id"], "--from", offer["mid"], "-o", str(self.copy), *self.node)


def test_a_file_crosses_two_nats_and_the_receiver_is_killed_meanwhile(tmp_path: Path) -> None:
    content = Random(5).randbytes(SIZE)
    with ExitStack() as stack:
        homes = Homes(stack, "moderate", "moderate", tmp_path, content)
        while not (tmp_path / "copy.part").exists():  # again, if the kill came too late
            homes.copy.unlink(missing_ok=True)
            with running(homes.receiver, *homes.fetch) as killed:
                while not has_a_chunk(tmp_path / "copy.part.have") and killed.process.poll() is None:
                    time.sleep(0.005)
        assert not homes.copy.exists()
        with running(homes.receiver, *homes.fetch) as fetching:
            fetched = fetching.last()
            assert fetching.process.returncode == 0
    assert (fetched["event"], fetched["size"]) == ("fetched", SIZE)
    assert fetched["resumed"] > 0
    assert homes.copy.read_bytes() == content


def test_a_file_is_carried_by_a_peer_where_there_is_no_other_way(tmp_path: Path) -> None:
    content = Random(5).randbytes(CARRIED_SIZE)
    with ExitStack() as stack:
        homes = Homes(stack, "strict", "strict", tmp_path, content)
        carrier = stack.enter_context(running(homes.server, "send", str(tmp_path / "source"), *homes.node))
        carrier.next()
        with running(homes.receiver, *homes.fetch) as fetching:
            fetched = fetching.last()
    assert fetched["event"] == "fetched", fetched
    assert homes.copy.read_bytes() == content
