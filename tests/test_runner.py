"""``run`` and ``running``: nodes without a configuration."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ipv8 import run, running, service
from ipv8.community import Community
from ipv8.configuration import ConfigBuilder, default_bootstrap_defs
from ipv8.peerdiscovery.tracker import EndpointServer
from ipv8.runner import add_overlay, bootstrappers_of, parse_host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipv8.service import IPv8


class Chat(Community):
    community_id = b"chat of test".ljust(20, b"\x00")
    calls: ClassVar[list[str]] = []

    def started(self) -> None:
        self.calls.append("started")

    async def unload(self) -> None:
        self.calls.append("unload")
        await super().unload()


@pytest.fixture(autouse=True)
def calls() -> list[str]:
    Chat.calls.clear()
    return Chat.calls


def test_names_in_the_service() -> None:
    assert (service.run, service.running) == (run, running)


# -- running ---------------------------------------------------------------------------------------------------------

async def test_running(calls: list[str]) -> None:
    async with running(Chat, address="127.0.0.1", bootstrappers=[], peers=40) as node:
        chat = node.get_overlay(Chat)
        assert chat is not None
        assert chat.max_peers == 60
        assert node.endpoint.is_open()
        assert calls == ["started"]
    assert calls == ["started", "unload"]
    assert not node.endpoint.is_open()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_running_stops_after_errors(calls: list[str]) -> None:
    with pytest.raises(LookupError, match="of the program"):
        async with running(Chat, address="127.0.0.1", bootstrappers=[]):
            raise LookupError("of the program")
    assert calls == ["started", "unload"]


async def test_running_keeps_the_key(tmp_path: Path) -> None:
    identities = set()
    for _ in range(2):
        async with running(Chat, address="127.0.0.1", bootstrappers=[], key_file=tmp_path / "key.pem") as node:
            identities.add(node.keys["my peer"].mid)
    assert len(identities) == 1


async def test_running_without_overlays() -> None:
    with pytest.raises(ValueError, match="at least one overlay class"):
        async with running():
            pass


async def test_nodes_meet_by_a_tracker(watch_for: Callable[..., asyncio.Event]) -> None:
    from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint

    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    tracker = EndpointServer(endpoint)
    place = f"127.0.0.1:{endpoint.get_address()[1]}"
    async with (running(Chat, address="127.0.0.1", tracker=place) as first,
                running(Chat, address="127.0.0.1", tracker=[place]) as second):
        met = watch_for(second.network, first.keys["my peer"])
        await met.wait()
    endpoint.close()
    await tracker.unload()


# -- run -------------------------------------------------------------------------------------------------------------

def test_main_gets_the_node(calls: list[str]) -> None:
    async def main(node: IPv8) -> int:
        assert node.get_overlay(Chat) is not None
        await asyncio.sleep(0)
        return 42

    answer = run(Chat, address="127.0.0.1", bootstrappers=[], main=main)
    assert answer == 42
    assert calls == ["started", "unload"]


def test_main_that_raises(calls: list[str]) -> None:
    async def main(node: IPv8) -> None:
        raise LookupError("in main")

    with pytest.raises(LookupError, match="in main"):
        run(Chat, address="127.0.0.1", bootstrappers=[], main=main)
    assert calls == ["started", "unload"]


@pytest.mark.parametrize(("classes", "arguments", "message"), [
    ((5,), {}, "5 is no overlay"), (("Chat",), {}, "'Chat' is no overlay"), ((object,), {}, "is no overlay"),
    ((Chat,), {"peers": "5"}, "peers must be a number"), ((Chat,), {"seconds": "1"}, "seconds must be a number"),
    ((Chat,), {"seconds": float("nan")}, "seconds must be"), ((Chat,), {"main": 5}, "main must be an async function"),
    ((Chat,), {"main": lambda _: 5}, "main must be an async function: it returned 5"),
    ((Chat,), {"bootstrappers": ["x"]}, "bootstrappers must be a list of BootstrapperDefinition"),
    ((Chat,), {"bootstrappers": default_bootstrap_defs[0]}, "bootstrappers must be a list"),
])
def test_arguments_of_another_type(classes: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        run(*classes, **{"address": "127.0.0.1", "bootstrappers": [], **arguments})


@pytest.mark.parametrize("stops", [
    pytest.param("signal", marks=pytest.mark.skipif(sys.platform == "win32", reason="signals end the process")),
    "seconds"])
def test_main_is_cancelled_at_the_end(stops: str, calls: list[str]) -> None:
    async def main(node: IPv8) -> int:
        try:
            if stops == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            calls.append("main ends")
        return 42

    seconds = 0.01 if stops == "seconds" else None
    assert run(Chat, address="127.0.0.1", bootstrappers=[], main=main, seconds=seconds) is None
    assert calls == ["started", "main ends", "unload"]


def test_tracker_or_bootstrappers() -> None:
    with pytest.raises(ValueError, match="give either tracker or bootstrappers"):
        run(Chat, tracker="127.0.0.1:5", bootstrappers=default_bootstrap_defs)
    with pytest.raises(ValueError, match="give at least one tracker"):
        run(Chat, tracker=[])
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        run(Chat, tracker="127.0.0.1")


# -- trackers --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "expected"), [
    ("1.2.3.4:5", ("1.2.3.4", 5)),
    ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ("tracker.example.org:6421", ("tracker.example.org", 6421)),
    (" my-host:1\n", ("my-host", 1)),
    ("host.:1", ("host.", 1)),
])
def test_hosts_and_ports(text: str, expected: tuple[str, int]) -> None:
    assert parse_host_and_port(text) == expected


@pytest.mark.parametrize("text", [
    "", ":", ":5", "host", "host:", "host:0", "host:65536", "host:-1", "host:x", "host:5:6", "::1:5", "[::1]", "[::1:5",
    "1.2.3.4.5:6", "1.2.3:4", "a b:5", "a..b:5", "x" * 300 + ":5", "fe80::1%eth0:5", "[fe80::1%eth0]:5", "host:\u0665",
    "[host]x:5", "http://host:5"])
def test_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST:PORT, such as 192\.0\.2\.1:6421"):
        parse_host_and_port(text)


@pytest.mark.parametrize(("trackers", "addresses", "names"), [
    (["1.2.3.4:5"], [("1.2.3.4", 5)], []),
    ([("1.2.3.4", 5), ("::1", 6)], [("1.2.3.4", 5), ("::1", 6)], []),
    (["a.b:5", ("c", 6), "[::1]:7"], [("::1", 7)], [("a.b", 5), ("c", 6)]),
])
def test_definitions_of_trackers(trackers: Any, addresses: Any, names: Any) -> None:
    (definition,) = bootstrappers_of(trackers)
    assert definition.init["ip_addresses"] == addresses
    assert definition.init["dns_addresses"] == names


@pytest.mark.parametrize("tracker", ["1.2.3.4:5", ("1.2.3.4", 5), [("1.2.3.4", 5)], ("1.2.3.4:5",),
                                     iter(["1.2.3.4:5"])])
async def test_one_tracker_or_several(tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Chat, address="127.0.0.1", tracker=tracker) as node:
        (bootstrapper,) = node.overlays[0].bootstrappers  # type: ignore[attr-defined]  # a Community
        assert bootstrapper.ip_addresses == [("1.2.3.4", 5)]


def test_an_overlay_with_a_random_walk() -> None:
    builder = ConfigBuilder()
    add_overlay(builder, "Chat", Chat, "anonymous id", peers=30)
    block = builder.finalize()["overlays"][-1]
    assert block["walkers"] == [{"strategy": "RandomWalk", "peers": 30, "init": {"timeout": 3.0}}]
    assert block["initialize"] == {"max_peers": 45}
    assert block["on_start"] == [("started",)]
