"""The node: what it is made of, how it starts, walks and stops."""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import ipv8_service
from ipv8 import calls, clock, rounds, service
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.community import Community, CommunitySettings
from ipv8.configuration import (
    Bootstrapper,
    BootstrapperDefinition,
    ConfigBuilder,
    ConfigurationError,
    get_default_configuration,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.dispatcher import endpoint as dispatcher
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPv6Endpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.discovery import DiscoveryStrategy, EdgeWalk, RandomWalk
from ipv8.service import CLOSED_POLL_INTERVAL, IPv8, ShutdownError, run
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Note(Community):
    """An overlay that notes what is done to it."""

    community_id = b"note" * 5
    made: ClassVar[list[Note]] = []

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.settings = settings
        self.calls: list[Any] = []
        self.made.append(self)

    def get_available_strategies(self) -> dict[str, type[DiscoveryStrategy[Any]]]:
        return {"Count": Count, "Wrong": int}  # the second one is a mistake to be found

    def started(self, *args: Any) -> None:
        self.calls.append(("started", *args))

    async def started_later(self) -> None:
        await asyncio.sleep(0)
        self.calls.append(("started later",))

    def fail(self) -> None:
        raise LookupError("cannot start")

    async def unload(self) -> None:
        self.calls.append("unload")
        await super().unload()


class Other(Note):
    community_id = b"other" * 4


class BadUnload(Note):
    community_id = b"bad" * 6 + b"ab"

    async def unload(self) -> None:
        await super().unload()
        raise LookupError("cannot stop")


class Count(DiscoveryStrategy[Any]):
    """Notes when it takes steps."""

    def __init__(self, overlay: Any, peers: int = 0) -> None:
        super().__init__(overlay)
        self.peers = peers
        self.steps: list[float] = []
        self.enough = asyncio.Event()
        self.goal = 3

    def get_peer_count(self) -> int:
        return self.peers

    def take_step(self) -> None:
        self.steps.append(clock.monotonic())
        if len(self.steps) >= self.goal:
            self.enough.set()


class Crash(Count):
    def take_step(self) -> None:
        super().take_step()
        raise LookupError("cannot walk")


class CrashingCount(Count):
    def get_peer_count(self) -> int:
        raise LookupError("cannot count")


class Homeless(DiscoveryStrategy[Any]):
    """Does not say which overlay it walks for, as its base class is not initialised."""

    def __init__(self) -> None:
        pass

    def take_step(self) -> None:
        raise LookupError("cannot walk")




class Quitter(Note):
    """Stops its node in several ways."""

    community_id = b"quit" * 5

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.add_message_handler(1, self.on_quit)
        self.node: Any = None
        self.went_on = asyncio.Event()

    async def quit(self) -> None:
        await self.node.stop()
        self.went_on.set()

    async def quit_within(self) -> None:
        await asyncio.wait_for(self.node.stop(), 60)

    async def on_quit(self, source_address: Any, data: bytes) -> None:
        await self.quit()


CLASSES: dict[str, Any] = {cls.__name__: cls for cls in (Note, Other, BadUnload, Quitter)}


@pytest.fixture(autouse=True)
def forget_overlays() -> Iterator[None]:
    Note.made.clear()
    yield
    Note.made.clear()
    gc.collect()  # a coroutine or socket left behind warns here, in the test that left it


def configure(*names: str, walkers: tuple[dict[str, Any], ...] = (), on_start: tuple[Any, ...] = (),
              **initialize: Any) -> dict[str, Any]:
    """A configuration with an ephemeral key and a loopback socket."""
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me")
    builder.set_address("127.0.0.1").set_port(0).set_walker_interval(0.01)
    for name in names:
        builder.add_overlay(name, "me", [], [], dict(initialize), list(on_start), allow_duplicate=True)
        builder.config["overlays"][-1]["walkers"] = list(walkers)
    return builder.finalize()


def walker(strategy: str = "Count", target: float = -1, **init: Any) -> dict[str, Any]:
    return {"strategy": strategy, "peers": target, "init": init}


def mock_node(*names: str, **kwargs: Any) -> IPv8:
    """A node on a mock endpoint that opens when it starts."""
    return IPv8(configure(*names, **kwargs), endpoint_override=AutoMockEndpoint(), extra_communities=CLASSES)


# -- construction ----------------------------------------------------------------------------------------------------

async def test_nothing_is_open_before_start() -> None:
    node = IPv8(configure("Note"), extra_communities=CLASSES)
    assert isinstance(node.endpoint, DispatcherEndpoint)
    assert not node.endpoint.is_open()
    assert node.state_machine_task is None
    await node.stop()


async def test_overlays_share_key_network_and_endpoint() -> None:
    node = mock_node("Note", "Other", max_peers=7, anything="x")
    first, second = Note.made
    assert node.overlays == [first, second]
    assert first.my_peer is second.my_peer is node.keys["me"]
    assert first.network is second.network is node.network
    assert first.endpoint is second.endpoint is node.endpoint
    assert first.max_peers == 7
    assert first.settings.anything == "x"
    assert (node.get_overlay(Other), node.get_overlay(Note), node.get_overlay(DiscoveryCommunity)) == (
        second, first, None)
    assert list(node.get_overlays(Note)) == [first, second]
    assert node.walk_interval == 0.01
    await node.stop()


async def test_configuration_is_kept_and_not_changed() -> None:
    config = {**configure("Note"), "port": 0, "address": "127.0.0.1"}
    before = copy.deepcopy(config)
    node = IPv8(config, extra_communities=CLASSES)
    assert node.configuration is config
    assert config == before
    await node.stop()
    assert config == before


async def test_deprecated_address_and_port() -> None:
    config = configure()
    del config["interfaces"]
    node = IPv8({**config, "address": "127.0.0.1", "port": 0})
    assert list(node.endpoint.interfaces) == ["UDPIPv4"]
    await node.stop()


async def test_interfaces_by_name() -> None:
    config = configure()
    config["interfaces"].append({"interface": "UDPIPv6", "ip": "::1", "port": 0})
    node = IPv8(config)
    assert list(node.endpoint.interfaces) == ["UDPIPv4", "UDPIPv6"]
    await node.stop()
    config["interfaces"][0]["interface"] = "UDPIPv5"
    with pytest.raises(ConfigurationError, match=r"no interface 'UDPIPv5'; did you mean 'UDPIPv\d'"):
        IPv8(config)


async def test_port_of_a_whole_float() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        config = configure()
        config["interfaces"][0]["port"] = float(port)
        async with IPv8(config) as node:
            assert node.endpoint.get_address()[1] != port  # the next free one


async def test_walkers() -> None:
    walkers = (walker("RandomWalk", 20, timeout=3.0), walker("EdgeWalk", 5), walker("Count", -1, peers=4))
    node = mock_node("Note", walkers=walkers)
    assert [(type(strategy), peers) for strategy, peers in node.strategies] == [
        (RandomWalk, 20), (EdgeWalk, 5), (Count, -1)]
    assert all(strategy.overlay is Note.made[0] for strategy, _ in node.strategies)
    await node.stop()


async def test_bootstrappers(caplog: pytest.LogCaptureFixture) -> None:
    config = configure()
    ConfigBuilder(clean=True)
    config["overlays"] = [{
        "class": "Note", "key": "me",
        "bootstrappers": [{"class": "DispersyBootstrapper", "init": {"ip_addresses": [("1.2.3.4", 5)],
                                                                     "dns_addresses": []}},
                          {"class": "DispersyBootstraper", "init": {}}]}]
    node = IPv8(config, AutoMockEndpoint(), extra_communities=CLASSES)
    (bootstrapper,) = Note.made[0].bootstrappers
    assert isinstance(bootstrapper, DispersyBootstrapper)
    assert bootstrapper.ip_addresses == [("1.2.3.4", 5)]
    assert "no bootstrapper 'DispersyBootstraper'; did you mean 'DispersyBootstrapper'" in caplog.text
    await node.stop()


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"class": "Not"}, RuntimeError, "no overlay class 'Not'; did you mean 'Note'.*extra_communities"),
    ({"class": "DiscoveryComunity"}, RuntimeError, "did you mean 'DiscoveryCommunity'"),
    ({"key": "you"}, ConfigurationError, "no key has the alias 'you'"),
    ({"walkers": [walker("RandomWolk")]}, RuntimeError, "Note has no discovery strategy 'RandomWolk'; did you mean"),
    ({"walkers": [walker("Wrong")]}, RuntimeError, "Note has no discovery strategy 'Wrong'"),
    ({"on_start": [("begin",)]}, AttributeError, "Note: it has no method 'begin'"),
    ({"on_start": [("startet",)]}, AttributeError, "'startet'; did you mean 'started'"),
    ({"initialize": {"max_peerz": 1}}, ConfigurationError, r"overlays\[2\] \(Note\).initialize.*mean 'max_peers'"),
    ({"initialize": {"max_peers": 10 ** 400}}, ConfigurationError, "too large"),
    ({"walkers": [walker(peerz=1)]}, ConfigurationError, "Count of Note: Count has no argument 'peerz'; did you"),
    ({"walkers": [walker(peers="x")]}, ConfigurationError, "argument 'peers' must be a number, not str"),
    ({"bootstrappers": [{"class": "MemoryBootstrapper", "init": {}}]}, ConfigurationError, "needs the argument 'path'"),
])
async def test_mistakes_leave_nothing_behind(change: dict[str, Any], error: type[Exception], message: str) -> None:
    config = configure("Other", "DiscoveryCommunity", "Note")
    config["overlays"][-1].update(change)
    endpoint = AutoMockEndpoint()
    with pytest.raises(error, match=message):
        IPv8(config, endpoint, extra_communities=CLASSES)
    assert not endpoint._prefix_map
    await asyncio.gather(*service._background)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_mistakes_without_an_event_loop() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    config = configure("Other", "Note")
    config["overlays"][-1]["on_start"] = [("begin",)]
    with pytest.raises(AttributeError, match="begin"):
        IPv8(config, AutoMockEndpoint(), extra_communities=CLASSES)
    loop.run_until_complete(asyncio.sleep(0))
    assert not asyncio.all_tasks(loop)
    loop.close()
    asyncio.set_event_loop(None)


async def test_only_communities_can_have_bootstrappers() -> None:
    class NoCommunity:
        settings_class = CommunitySettings

        def __init__(self, settings: CommunitySettings) -> None:
            self.network = settings.network

        def get_available_strategies(self) -> dict[str, Any]:
            return {}

        def cancel_all_pending_tasks(self) -> list[Any]:
            return []

    config = configure("Note")
    empty: dict[str, Any] = {"ip_addresses": [], "dns_addresses": []}
    config["overlays"][0]["bootstrappers"] = [{"class": "DispersyBootstrapper", "init": empty}]
    with pytest.raises(RuntimeError, match="NoCommunity is no Community"):
        IPv8(config, AutoMockEndpoint(), extra_communities={"Note": NoCommunity})  # type: ignore[dict-item]  # tested


async def test_default_configuration_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    config = get_default_configuration()
    for overlay in config["overlays"]:
        overlay["bootstrappers"] = []
    async with IPv8(config, AutoMockEndpoint()) as node:
        assert type(node.overlays[0]) is DiscoveryCommunity
        assert type(node.overlays[1]).__name__ == "HiddenTunnelCommunity"
        assert not [record.message for record in caplog.records if "This release" in record.message]
    assert (tmp_path / "ec_multichain.pem").exists()


async def test_programs_can_extend_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ipv8_service._COMMUNITIES, "Extended", Note)
    monkeypatch.setitem(ipv8_service._WALKERS, "ExtendedWalk", Count)
    node = IPv8(configure("Extended", walkers=(walker("ExtendedWalk"),)), AutoMockEndpoint())
    assert type(node.overlays[0]) is Note
    assert type(node.strategies[0][0]) is Count
    await node.stop()


async def test_statistics() -> None:
    node = IPv8(configure("Note"), AutoMockEndpoint(), enable_statistics=True, extra_communities=CLASSES)
    assert isinstance(node.endpoint, StatisticsEndpoint)
    assert Note.made[0].endpoint is node.endpoint
    await node.stop()


# -- keys ------------------------------------------------------------------------------------------------------------

async def identity(block: dict[str, Any]) -> bytes:
    config = configure()
    config["keys"] = [{"alias": "me", **block}]
    node = IPv8(config, AutoMockEndpoint())
    await node.stop()
    return node.keys["me"].key.key_to_bin()


async def test_key_is_made_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first = await identity({"generation": "curve25519", "file": str(path)})
    assert path.read_bytes() == first
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0
    assert await identity({"generation": "curve25519", "file": str(path)}) == first
    assert await identity({"file": str(path)}) == first


async def test_key_of_the_configuration_is_stored(tmp_path: Path) -> None:
    key = default_eccrypto.generate_key("curve25519").key_to_bin()
    text = base64.b64encode(key).decode()
    path = tmp_path / "key.pem"
    assert await identity({"bin": text}) == key
    assert await identity({"bin": text, "file": str(path)}) == key
    assert path.read_bytes() == key
    other = base64.b64encode(default_eccrypto.generate_key("curve25519").key_to_bin()).decode()
    assert await identity({"bin": other, "generation": "low", "file": str(path)}) == key


async def test_key_in_a_path_object(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first = await identity({"generation": "curve25519", "file": path})
    assert path.read_bytes() == first
    assert await identity({"file": path}) == first


@pytest.mark.parametrize("form", [
    lambda key: base64.encodebytes(key).decode(),
    base64.encodebytes,
    lambda key: f" \t{base64.b64encode(key).decode()}\r\n",
    lambda key: bytearray(base64.b64encode(key)),
])
async def test_white_space_around_a_key_does_not_matter(form: Callable[[bytes], Any]) -> None:
    key = default_eccrypto.generate_key("medium").key_to_bin()
    assert await identity({"bin": form(key)}) == key


async def test_key_without_file_is_stored_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = [await identity({"generation": "curve25519", **file}) for file in ({}, {"file": ""}, {"file": None})]
    assert len(set(keys)) == 3
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a look at a small file


@pytest.mark.parametrize("text", ["!!", "AAAA", "x" * 100, "\N{NO-BREAK SPACE}AAAA", 1.25])
async def test_bad_key_is_not_shown(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="'bin' of the key 'me'") as error:
        await identity({"bin": text})
    assert str(text) not in str(error.value)
    assert error.value.__cause__ is None


async def test_lost_key_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        await identity({"file": str(tmp_path / "key.pem")})


async def test_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"key\.pem"):
        await identity({"generation": "curve25519", "file": str(path)})
    assert path.read_bytes() == b"damaged"


# -- start and stop --------------------------------------------------------------------------------------------------

async def test_on_start() -> None:
    node = mock_node("Note", on_start=(("started", 1, 2), ["started_later"]))
    assert not Note.made[0].calls
    await node.start()
    assert Note.made[0].calls == [("started", 1, 2), ("started later",)]
    assert node.endpoint.is_open()
    await node.stop()
    assert Note.made[0].calls[-1] == "unload"


async def test_walkers_wait_for_on_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ON_START_PATIENCE", 1e6)
    node = mock_node("Note", walkers=(walker(),))
    count: Any = node.strategies[0][0]
    go_on = asyncio.Event()

    async def call() -> None:
        await go_on.wait()
        node.overlays[0].calls.append(len(count.steps))  # type: ignore[attr-defined]  # it is a Note

    node.on_start.append((call, ()))
    starting = asyncio.ensure_future(node.start())
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert node.endpoint.is_open()
    go_on.set()
    await starting
    assert Note.made[0].calls == [0]
    await count.enough.wait()
    await node.stop()


async def test_walkers_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(service, "ON_START_PATIENCE", 0.01)
    node = mock_node("Note", walkers=(walker(),))
    count: Any = node.strategies[0][0]
    node.on_start.append((count.enough.wait, ()))
    await node.start()
    assert len(count.steps) >= 3
    assert "so the walkers start without them" in caplog.text
    assert "Event.wait" in caplog.text
    await node.stop()


async def test_failing_on_start_does_not_keep_others_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    node = mock_node("Note", "Other", on_start=(("fail",), ("started_later",)))
    with pytest.raises(LookupError, match="cannot start"):
        await node.start()
    assert [overlay.calls for overlay in Note.made] == [[("started later",)]] * 2
    assert node.state_machine_task is None
    assert "Another on_start call failed" in caplog.text
    await node.stop()


async def test_context_manager_stops_what_could_not_start() -> None:
    node = mock_node("Note", on_start=(("fail",),))
    with pytest.raises(LookupError, match="cannot start"):
        async with node:
            pytest.fail("not started")
    assert not node.endpoint.is_open()
    assert Note.made[0].calls == ["unload"]


async def test_cancelled_start() -> None:
    node = mock_node("Note", walkers=(walker(),))
    called = asyncio.Event()

    async def call() -> None:
        called.set()
        await asyncio.Event().wait()

    node.on_start.append((call, ()))
    starting = asyncio.ensure_future(node.start())
    await called.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert node.state_machine_task is None
    await node.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stop_while_starting() -> None:
    node = mock_node("Note", walkers=(walker(),))
    called = asyncio.Event()

    async def call() -> None:
        called.set()
        await asyncio.Event().wait()

    node.on_start.append((call, ()))
    starting = asyncio.ensure_future(node.start())
    await called.wait()
    await node.stop()
    await starting
    assert node.state_machine_task is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stop_by_an_on_start_call() -> None:
    node = mock_node("Note")
    node.on_start.append((node.stop, ()))
    await node.start()
    assert Note.made[0].calls == ["unload"]
    assert not node.endpoint.is_open()


class SlowEndpoint(AutoMockEndpoint):
    """Takes its time to open, and is open then, even if it was closed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.may_open = asyncio.Event()
        self.opening = asyncio.Event()

    def open(self) -> Any:
        return self._open_later()

    async def _open_later(self) -> bool:
        self.opening.set()
        await self.may_open.wait()
        super().open()
        return True


@pytest.mark.parametrize("opens", [True, False])
async def test_stop_while_opening(opens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STOP_GRACE", 30.0 if opens else 0.01)
    endpoint = SlowEndpoint()
    node = IPv8(configure("Note", on_start=(("started",),)), endpoint, extra_communities=CLASSES)
    starting = asyncio.ensure_future(node.start())
    await endpoint.opening.wait()
    stopping = asyncio.ensure_future(node.stop())
    await asyncio.sleep(0)
    if opens:
        endpoint.may_open.set()
    await asyncio.gather(starting, stopping)
    assert not endpoint.is_open()
    assert Note.made[0].calls == ["unload"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_while_opening() -> None:
    endpoint = SlowEndpoint()
    node = IPv8(configure("Note"), endpoint, extra_communities=CLASSES)
    starting = asyncio.ensure_future(node.start())
    await endpoint.opening.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await node.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_second_start_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with mock_node("Note", on_start=(("started",),)) as node:
        task = node.state_machine_task
        await node.start()
        assert node.state_machine_task is task
        assert Note.made[0].calls == [("started",)]
    assert "running already" in caplog.text


async def test_start_after_a_failed_start() -> None:
    node = mock_node("Note", on_start=(("fail",),))
    with pytest.raises(LookupError):
        await node.start()
    node.on_start.clear()
    await node.start()
    assert node.state_machine_task is not None
    await node.stop()


async def test_start_after_stop_says_what_to_do() -> None:
    node = mock_node("Note")
    await node.start()
    await node.stop()
    with pytest.raises(RuntimeError, match="was stopped, and its overlays are gone: make a new IPv8"):
        await node.start()
    overlay = Note(CommunitySettings(my_peer=node.keys["me"], endpoint=node.endpoint, network=node.network))
    node.overlays.append(overlay)
    await node.start()  # a program that gives it new ones may use it again
    await node.stop()


async def test_node_without_overlays_can_start_again() -> None:
    node = mock_node()
    for _ in range(2):
        await node.start()
        assert node.endpoint.is_open()
        await node.stop()


@pytest.mark.parametrize("steps", range(1, 8))
async def test_start_while_stopping(steps: int) -> None:
    with_overlay, without = mock_node("Note"), mock_node()
    for node in (with_overlay, without):
        await node.start()
    stopping = [asyncio.ensure_future(node.stop()) for node in (with_overlay, without)]
    for _ in range(steps):
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="was stopped"):
        await with_overlay.start()
    assert not with_overlay.endpoint.is_open()
    await without.start()
    assert without.endpoint.is_open()
    assert without.state_machine_task is not None
    assert not without.state_machine_task.done()
    await without.stop()
    await asyncio.gather(*stopping)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_start_by_a_part_that_is_unloaded() -> None:
    node = mock_node("Note")
    unload = node.overlays[0].unload

    async def start_and_unload() -> None:
        with pytest.raises(RuntimeError, match="is being stopped"):
            await node.start()
        await unload()

    node.overlays[0].unload = start_and_unload  # type: ignore[method-assign]
    await node.start()
    await node.stop()
    assert Note.made[0].calls == ["unload"]


def test_node_that_was_made_for_another_loop_says_so_at_once() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    node = mock_node("Note")

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"made for another event loop.*inside of the coroutine"):
            async with node:
                pytest.fail("not started")

    asyncio.set_event_loop(None)
    asyncio.run(main())
    loop.run_until_complete(asyncio.sleep(0))
    assert not asyncio.all_tasks(loop)
    loop.close()


def test_node_that_is_made_before_its_loop_runs() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    node = mock_node("Note", walkers=(walker(),))
    count: Any = node.strategies[0][0]

    async def main() -> None:
        async with node:
            await count.enough.wait()

    loop.run_until_complete(main())
    loop.close()
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("value", [None, False, 0, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_open_returns_does_not_matter_if_it_is_open(value: Any, is_async: bool) -> None:
    node = mock_node("Note", walkers=(walker(),))
    count: Any = node.strategies[0][0]
    really_open = node.endpoint.open

    async def open_later() -> Any:
        really_open()
        return value

    node.endpoint.open = open_later if is_async else lambda: (really_open(), value)[1]
    async with node:
        await count.enough.wait()


async def test_endpoint_that_does_not_open(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(service, "OPEN_RETRY_INTERVAL", 0.0)
    monkeypatch.setattr(service, "CLOSED_POLL_INTERVAL", 0.0)
    node = mock_node("Note", walkers=(walker(),), on_start=(("started",),))
    count: Any = node.strategies[0][0]
    really_open, tries = node.endpoint.open, 0

    def open_at_last() -> bool:
        nonlocal tries
        tries += 1
        return bool(really_open()) if tries == 3 else False

    node.endpoint.open = open_at_last
    await node.start()
    assert Note.made[0].calls == [("started",)]
    assert not count.steps
    assert "none of the configured interfaces could be opened" in caplog.text
    await count.enough.wait()
    assert tries == 3
    await node.stop()


async def test_an_interface_that_appears_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "OPEN_RETRY_INTERVAL", 0.0)
    config = configure("Note")
    config["interfaces"].append({"interface": "UDPIPv6", "ip": "::1", "port": 0})
    is_there, asked, opened = False, asyncio.Event(), asyncio.Event()
    really_open = UDPv6Endpoint.open

    async def open_if_there(self: UDPv6Endpoint) -> bool:
        if not is_there:
            return False
        opened.set()
        return await really_open(self)

    def addresses() -> list[str]:
        asked.set()
        return ["::1"] if is_there else []

    monkeypatch.setattr(UDPv6Endpoint, "open", open_if_there)
    monkeypatch.setattr(dispatcher, "get_lan_addresses", addresses)
    async with IPv8(config, extra_communities=CLASSES, enable_statistics=True) as node:
        ipv6 = node.endpoint.interfaces["UDPIPv6"]
        await asked.wait()
        assert not ipv6.is_open()
        is_there = True
        await opened.wait()
        assert ipv6.is_open()
    assert not ipv6.is_open()


async def test_unusable_address() -> None:
    config = configure("Note")
    config["interfaces"][0]["ip"] = "192.0.2.1"
    with pytest.raises(OSError, match="check their 'ip' and 'port'"):
        async with IPv8(config, extra_communities=CLASSES):
            pytest.fail("not open")
    assert Note.made[0].calls == ["unload"]


async def test_stop_without_start() -> None:
    node = mock_node("Note", walkers=(walker(),), on_start=(("started",),))
    await node.stop()
    assert Note.made[0].calls == ["unload"]
    for left in (node.overlays, node.strategies, node.on_start):
        assert list(left) == []
    await node.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stop_leaves_nothing_behind() -> None:
    async with IPv8(configure("Note", "Other", walkers=(walker(),)), extra_communities=CLASSES) as node:
        port = node.endpoint.get_address()[1]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    again = configure()
    again["interfaces"][0]["port"] = port
    async with IPv8(again) as node:
        assert node.endpoint.get_address()[1] == port


async def test_everything_is_stopped_whatever_fails() -> None:
    node = mock_node("BadUnload", "Note", "BadUnload")

    def bad_close() -> None:
        node.endpoint._open = False
        raise OSError("cannot close")

    await node.start()
    node.endpoint.close = bad_close
    with pytest.raises(ShutdownError, match=r"BadUnload: LookupError: cannot stop.*OSError: cannot close") as error:
        await node.stop()
    assert [type(e) for e in error.value.errors] == [LookupError, LookupError, OSError]
    assert error.value.__cause__ is error.value.errors[0]
    assert all("unload" in overlay.calls for overlay in Note.made)
    assert not node.endpoint.is_open()
    assert not node.overlays


async def test_no_task_is_left_of_an_overlay_that_cannot_be_unloaded() -> None:
    node = mock_node("BadUnload", "Note")
    await node.start()
    bad, careless = node.overlays

    async def unload_too_little() -> None:
        pass

    careless.unload = unload_too_little  # type: ignore[method-assign]
    for overlay in (bad, careless):
        overlay.register_task("work", asyncio.Event().wait)
    with pytest.raises(ShutdownError):
        await node.stop()
    await asyncio.sleep(0)
    assert [task for overlay in (bad, careless) for task in overlay.get_tasks() if not task.done()] == []


async def test_stop_by_the_unloading_of_an_overlay() -> None:
    node = mock_node("Note", "Note")
    unload = node.overlays[0].unload

    async def stop_and_unload() -> None:
        await node.stop()
        await asyncio.gather(node.stop())
        await unload()

    node.overlays[0].unload = stop_and_unload  # type: ignore[method-assign]
    await node.start()
    await node.stop()
    assert [overlay.calls for overlay in Note.made] == [["unload"], ["unload"]]
    assert not node.endpoint.is_open()


async def test_overlay_that_is_listed_twice_is_unloaded_once() -> None:
    node = mock_node("Note")
    node.overlays.append(Note.made[0])
    await node.stop()
    assert Note.made[0].calls == ["unload"]


async def test_stop_from_two_sides() -> None:
    node = mock_node("Note")
    await node.start()
    await asyncio.gather(node.stop(), node.stop())
    assert Note.made[0].calls == ["unload"]


@pytest.mark.parametrize("how", ["task", "interval", "inner task", "handler", "signal", "thread", "walker"])
async def test_stop_from_everywhere(how: str) -> None:
    problems: list[Any] = []
    stops: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(context))
    node = mock_node("Quitter", "Note", "DHTDiscoveryCommunity")
    quitter: Any = node.overlays[0]
    quitter.node = node
    await node.start()
    endpoint, prefix = node.endpoint, quitter.get_prefix()
    closed = asyncio.Event()
    close = endpoint.close

    def close_and_tell() -> None:
        close()
        closed.set()

    endpoint.close = close_and_tell
    if how == "task":
        quitter.register_task("quit", quitter.quit)
    elif how == "interval":
        quitter.register_task("quit", quitter.quit, interval=0.001)
    elif how == "inner task":
        quitter.register_task("quit", quitter.quit_within)
    elif how == "handler":
        endpoint.notify_listeners((endpoint.wan_address, prefix + b"\x01"))
    elif how == "signal":
        if os.name != "posix":
            pytest.skip("needs POSIX signals")
        loop.add_signal_handler(signal.SIGUSR1, lambda: stops.append(asyncio.ensure_future(node.stop())))
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
    elif how == "thread":
        await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(node.stop(), loop).result())
    else:
        strategy: Any = Count(quitter)
        strategy.take_step = lambda: stops.append(asyncio.ensure_future(node.stop()))
        node.add_strategy(quitter, strategy, -1)
    await closed.wait()
    if how in {"task", "interval", "handler"}:
        await quitter.went_on.wait()
    await node.stop()
    assert not endpoint.is_open()
    assert [overlay.calls for overlay in Note.made] == [["unload"]] * 2
    assert not endpoint._prefix_map
    await asyncio.gather(*stops)
    while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110 - the last steps of tasks
        await asyncio.sleep(0)
    assert problems == []
    if how == "signal":
        loop.remove_signal_handler(signal.SIGUSR1)


async def test_stop_of_a_cancelled_caller_goes_on() -> None:
    node = mock_node("Note")
    await node.start()
    caller = asyncio.ensure_future(node.stop())
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await node.stop()
    assert Note.made[0].calls == ["unload"]
    assert not node.endpoint.is_open()


async def test_all_who_stop_a_node_are_told_what_failed() -> None:
    node = mock_node("BadUnload")
    outcomes = await asyncio.gather(node.stop(), node.stop(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ShutdownError] * 2
    await node.stop()


async def test_stop_on_another_loop_says_what_to_do() -> None:
    node = mock_node("Note")
    await node.start()
    with pytest.raises(RuntimeError, match="run_coroutine_threadsafe"):
        await asyncio.to_thread(lambda: asyncio.run(node.stop()))
    await node.stop()


def test_node_in_a_thread() -> None:
    def work() -> bool:
        async def main() -> bool:
            async with mock_node("Note") as node:
                return bool(node.endpoint.is_open())

        return asyncio.run(main())

    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    assert results == [True]


async def test_on_start_call_that_ignores_its_cancellation(monkeypatch: pytest.MonkeyPatch,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(calls, "STOP_GRACE", 0.01)
    node = mock_node("Note")
    go_on = asyncio.Event()
    called = asyncio.Event()

    async def stubborn() -> None:
        called.set()
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    node.on_start.append((stubborn, ()))
    starting = asyncio.ensure_future(node.start())
    await called.wait()
    await node.stop()
    assert "did not end within 0.01 s of its cancellation" in caplog.text
    assert not node.endpoint.is_open()
    go_on.set()
    await starting


async def test_stop_while_opening_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(service, "OPEN_RETRY_INTERVAL", 0.0)
    monkeypatch.setattr(service, "CLOSED_POLL_INTERVAL", 0.0)
    monkeypatch.setattr(service, "STOP_GRACE", 0.01)
    node = mock_node("Note")
    node.walk_interval = 3600
    again = asyncio.Event()
    tries = 0

    async def open_never() -> bool:
        nonlocal tries
        tries += 1
        if tries > 1:
            again.set()
            await asyncio.Event().wait()
        return False

    node.endpoint.open = open_never
    await node.start()
    await again.wait()
    await node.stop()
    assert "did not end" not in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- two nodes with one key ------------------------------------------------------------------------------------------

async def test_nodes_that_share_a_configuration_have_keys_of_their_own() -> None:
    config = configure("Note")
    for shared in (config, copy.deepcopy(config)):
        first, second = (IPv8(one, AutoMockEndpoint(), extra_communities=CLASSES) for one in (config, shared))
        assert base64.b64decode(config["keys"][0]["bin"]) == first.keys["me"].key.key_to_bin()
        assert first.keys["me"] != second.keys["me"]
        await first.stop()
        await second.stop()


async def test_key_that_was_given_is_kept_by_all() -> None:
    config = configure("Note")
    config["keys"][0]["bin"] = str(json.loads(json.dumps(config["keys"][0]["bin"])))
    first, second = (IPv8(config, AutoMockEndpoint(), extra_communities=CLASSES) for _ in range(2))
    assert first.keys["me"] == second.keys["me"]
    await first.stop()
    await second.stop()


async def test_second_node_with_the_same_key_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    config = configure("Note")
    config["keys"][0]["bin"] = str(config["keys"][0]["bin"])
    async with IPv8(config, extra_communities=CLASSES) as one, IPv8(config, extra_communities=CLASSES) as other:
        told = asyncio.Event()
        observe = one.network.own_key_observer
        assert observe is not None

        def observe_and_tell(peer: Peer) -> None:
            observe(peer)
            told.set()

        one.network.own_key_observer = observe_and_tell
        for _ in range(2):
            other.overlays[0].walk_to(UDPv4Address("127.0.0.1", one.endpoint.get_address()[1]))
            await told.wait()
            told.clear()
        port = other.endpoint.get_address()[1]
    found = [record for record in caplog.records if f"127.0.0.1 port {port}." in record.getMessage()]
    assert len(found) == 1
    assert "give it a key of its own" in found[0].getMessage()
    assert f"(mid {one.keys['me'].mid.hex()}) came from 127.0.0.1 port {port}" in found[0].getMessage()


async def test_own_packets_are_no_second_node(caplog: pytest.LogCaptureFixture) -> None:
    async with IPv8(configure("Note"), extra_communities=CLASSES) as node:
        port = node.endpoint.get_address()[1]
        node.overlays[0].my_estimated_wan = UDPv4Address("5.6.7.8", 9)
        for address in (UDPv4Address("127.0.0.1", port), UDPv4Address("5.6.7.8", 1234)):
            node.network.add_verified_peer(Peer(node.keys["me"].public_key, address))
        assert "key of its own" not in caplog.text
        node.network.add_verified_peer(Peer(node.keys["me"].public_key, UDPv4Address("5.6.7.9", 9)))
        assert "came from 5.6.7.9 port 9" in caplog.text


# -- overlays at run time --------------------------------------------------------------------------------------------

async def test_add_strategy_and_unload_overlay() -> None:
    async with mock_node("Note") as node:
        settings = CommunitySettings(my_peer=node.keys["me"], endpoint=node.endpoint, network=node.network)
        other = Other(settings)
        first, second = Count(other), Count(other)
        node.add_strategy(other, first, -1)
        node.add_strategy(other, second, 5)
        assert node.overlays == [Note.made[0], other]
        assert node.strategies == [(first, -1), (second, 5)]
        await first.enough.wait()

        unloading = node.unload_overlay(other)
        assert node.overlays == [Note.made[0]]
        assert node.strategies == []
        steps = len(first.steps)
        await unloading
        assert other.calls == ["unload"]
        third = Count(node.overlays[0])
        node.add_strategy(node.overlays[0], third, -1)
        await third.enough.wait()
        assert len(first.steps) == steps


async def test_unload_beside_a_walker_that_does_not_tell_its_overlay() -> None:
    async with mock_node("Note") as node:
        strategy = Homeless()
        node.strategies.append((strategy, -1))
        await node.unload_overlay(node.overlays[0])
        assert node.overlays == []
        assert node.strategies == [(strategy, -1)]


async def test_unload_of_an_unknown_overlay() -> None:
    async with mock_node("Note") as node:
        stranger = Other(CommunitySettings(my_peer=node.keys["me"], endpoint=node.endpoint, network=node.network))
        await node.unload_overlay(stranger)
        assert node.overlays == [Note.made[0]]


async def test_other_threads_add_strategies_by_way_of_the_event_loop() -> None:
    async with mock_node("Note", walkers=(walker(),)) as node:
        added = Count(node.overlays[0])
        call = asyncio.get_running_loop().call_soon_threadsafe
        thread = threading.Thread(target=call, args=(node.add_strategy, node.overlays[0], added, -1))
        thread.start()
        await added.enough.wait()
        thread.join()
        assert len(node.strategies) == 2
        with node.overlay_lock, node.overlay_lock:
            assert node.overlays == [Note.made[0]]


# -- ticks -----------------------------------------------------------------------------------------------------------

class JumpingClock:
    """Time that passes only while the service sleeps, which it does not really do."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[JumpingClock]:
    """A clock that jumps over every sleep of the service."""
    jumping = JumpingClock()

    async def sleep(delay: float) -> None:
        jumping.now += max(0.0, delay)
        await asyncio.sleep(0)

    class PatchedAsyncio(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return sleep if name == "sleep" else getattr(asyncio, name)

    for module in (service, rounds):
        monkeypatch.setattr(module, "asyncio", PatchedAsyncio("asyncio"))
    with clock.use(jumping):
        yield jumping


async def test_steps_are_spread_over_the_interval_and_do_not_drift(fast_clock: JumpingClock) -> None:
    node = mock_node("Note", walkers=(walker(), walker(), walker(), walker()))
    node.walk_interval = 0.5
    counts: list[Any] = [strategy for strategy, _ in node.strategies]
    for count in counts:
        count.goal = 10
    async with node:
        await counts[-1].enough.wait()
    begin = counts[0].steps[0]
    for index, count in enumerate(counts):
        for number, step in enumerate(count.steps[:10]):
            assert step - begin == pytest.approx(0.5 * number + 0.125 * index)


async def test_slow_steps_are_not_caught_up_with(fast_clock: JumpingClock) -> None:
    node = mock_node("Note", walkers=(walker(),))
    node.walk_interval = 0.5
    count: Any = node.strategies[0][0]
    take_step = count.take_step

    def slow_step() -> None:
        take_step()
        if len(count.steps) == 2:
            fast_clock.now += 3.2

    count.take_step = slow_step
    count.goal = 5
    async with node:
        await count.enough.wait()
    pauses = [later - earlier for earlier, later in zip(count.steps, count.steps[1:], strict=False)]
    assert pauses[:4] == pytest.approx([0.5, 3.2, 0.5, 0.5])


async def test_only_walkers_that_want_peers_walk(fast_clock: JumpingClock) -> None:
    node = mock_node("Note", walkers=(walker(), walker("Count", 3, peers=3), walker("Count", 3, peers=2),
                                      walker("Count", float("inf"), peers=99), walker("Count", -1, peers=99)))
    counts: list[Any] = [strategy for strategy, _ in node.strategies]
    async with node:
        await counts[-1].enough.wait()
    assert [bool(count.steps) for count in counts] == [True, False, True, True, True]


async def test_failing_walkers_do_not_stop_others(fast_clock: JumpingClock, caplog: pytest.LogCaptureFixture) -> None:
    node = mock_node("Note")
    good = Count(node.overlays[0])
    for strategy in (Crash(node.overlays[0]), CrashingCount(node.overlays[0]), good):
        node.add_strategy(node.overlays[0], strategy, 20)
    async with node:
        await good.enough.wait()
    assert "Crash of Note failed to take a step" in caplog.text
    assert "CrashingCount of Note failed to take a step" in caplog.text
    assert "cannot walk" in caplog.text


async def test_failing_walkers_without_an_overlay(fast_clock: JumpingClock, caplog: pytest.LogCaptureFixture) -> None:
    class Duck:
        def take_step(self) -> None:
            raise LookupError("quack")

    node = mock_node("Note")
    good = Count(node.overlays[0])
    walkers: list[Any] = [Homeless(), Duck(), good]
    node.strategies.extend((strategy, -1) for strategy in walkers)
    async with node:
        await good.enough.wait()
    assert "Homeless failed to take a step" in caplog.text
    assert "Duck failed to take a step" in caplog.text
    assert "quack" in caplog.text


@pytest.mark.parametrize("interval", [0, 0.01, 2.0])
async def test_closed_endpoint_is_waited_for_without_haste(fast_clock: JumpingClock, interval: float) -> None:
    node = mock_node("Note", walkers=(walker(),))
    node.walk_interval = interval
    count: Any = node.strategies[0][0]
    await node.start()
    node.endpoint.close()
    begin, steps, looks = fast_clock.now, len(count.steps), 0
    is_open = node.endpoint.is_open

    def look() -> bool:
        nonlocal looks
        looks += 1
        return bool(is_open())

    node.endpoint.is_open = look
    while looks < 10:  # noqa: ASYNC110 - the condition is what is tested
        await asyncio.sleep(0)
    assert len(count.steps) == steps
    assert fast_clock.now - begin >= 8 * max(interval, CLOSED_POLL_INTERVAL)
    node.endpoint.open()
    await count.enough.wait()
    await node.stop()


async def test_no_walkers_at_all(fast_clock: JumpingClock) -> None:
    async with mock_node("Note"):
        begin = fast_clock.now
        while fast_clock.now < begin + 1:  # noqa: ASYNC110 - the condition is what is tested
            await asyncio.sleep(0)


async def test_overlay_unloaded_in_the_middle_of_a_round(fast_clock: JumpingClock) -> None:
    node = mock_node("Note", "Other", walkers=(walker(),))
    first, second = (strategy for strategy, _ in node.strategies)
    unloading: list[Any] = []
    first.take_step = lambda: unloading.append(  # type: ignore[method-assign]  # a step with an effect
        node.unload_overlay(Note.made[1])) if not unloading else None
    async with node:
        while not unloading:  # noqa: ASYNC110 - the condition is what is tested
            await asyncio.sleep(0)
        await unloading[0]
        for _ in range(20):
            await asyncio.sleep(0)
    assert isinstance(second, Count)
    assert not second.steps


# -- tunnels ---------------------------------------------------------------------------------------------------------

async def test_with_tunnels(monkeypatch: pytest.MonkeyPatch) -> None:
    class TunnelEndpoint(StatisticsEndpoint):
        def set_anonymity(self, prefix: bytes, enable: bool) -> None:
            self.anonymized = (prefix, enable)

    monkeypatch.setattr(service, "tunnel_endpoint_class", lambda: TunnelEndpoint)
    node = mock_node("Note", anonymize=True)
    assert isinstance(node.endpoint, TunnelEndpoint)
    assert node.endpoint.anonymized == (Note.made[0].get_prefix(), True)
    anonymized = await node.produce_anonymized_endpoint()
    assert isinstance(anonymized, TunnelEndpoint)
    assert anonymized.is_open()
    assert anonymized.get_address()[0] == "127.0.0.1"
    anonymized.close()
    await node.stop()


# -- two nodes -------------------------------------------------------------------------------------------------------

async def test_two_nodes_meet_on_loopback(watch_for: Callable[..., asyncio.Event]) -> None:
    config = configure("DiscoveryCommunity", walkers=(walker("RandomWalk", 20),))
    async with IPv8(config) as first, IPv8({**config, "keys": configure()["keys"]}) as second:
        met = watch_for(second.network, first.keys["me"])
        first.overlays[0].walk_to(second.endpoint.get_address())
        await met.wait()


# -- the short way ---------------------------------------------------------------------------------------------------

class Short(Note):
    async def started(self) -> None:  # type: ignore[override]  # may be asynchronous
        self.calls.append(self.endpoint.is_open())
        os.kill(os.getpid(), signal.SIGINT)


class Silent(Community):
    community_id = b"silent--" * 2 + b"1234"
    made: ClassVar[list[Silent]] = []

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.made.append(self)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
def test_run_until_a_signal(caplog: pytest.LogCaptureFixture) -> None:
    run(Short, address="127.0.0.1", bootstrappers=[])
    assert Note.made[0].calls == [True, "unload"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_run_for_some_time(tmp_path: Path) -> None:
    Silent.made.clear()
    path = tmp_path / "key.pem"
    bootstrappers = [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper,
                                            {"ip_addresses": [], "dns_addresses": []})]
    for key_file in (str(path), path):
        run(Silent, Silent, address="127.0.0.1", key_file=key_file, seconds=0.01, bootstrappers=bootstrappers,
            peers=40)
    assert len({overlay.my_peer.mid for overlay in Silent.made}) == 1
    assert len(Silent.made) == 4
    assert path.exists()
    assert [overlay.max_peers for overlay in Silent.made] == [60] * 4


def test_run_in_another_thread() -> None:
    Silent.made.clear()
    thread = threading.Thread(target=run, args=(Silent,), kwargs={"address": "127.0.0.1", "seconds": 0.01,
                                                                  "bootstrappers": []})
    thread.start()
    thread.join()
    assert Silent.made[0].max_peers == 30


class Endless(Silent):
    steps = 0

    async def started(self) -> None:
        while True:
            Endless.steps += 1
            await asyncio.sleep(0.001)


def test_run_of_an_overlay_whose_start_never_ends() -> None:
    Note.made.clear()
    run(Endless, Short, address="127.0.0.1", bootstrappers=[], seconds=60)
    assert Endless.steps
    assert Note.made[0].calls == [True, "unload"]


class LoopWithoutSignals(asyncio.SelectorEventLoop):
    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]  # what it is given does not matter
        raise NotImplementedError

    def remove_signal_handler(self, sig: int) -> bool:
        raise NotImplementedError


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
def test_run_on_a_loop_without_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("asyncio.events.BaseDefaultEventLoopPolicy._loop_factory", LoopWithoutSignals)
    run(Short, address="127.0.0.1", bootstrappers=[])
    assert Note.made[0].calls == [True, "unload"]
    signal.signal(signal.SIGTERM, usual)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_run_where_no_socket_can_be_opened() -> None:
    with pytest.raises(OSError, match=r"could be opened \(UDPIPv4 192.0.2.1 port 0\)"):
        run(Silent, address="192.0.2.1", bootstrappers=[], seconds=60)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="this Python starts no task eagerly")
@pytest.mark.parametrize("how", ["task", "on_start", "caller"])
def test_tasks_that_start_eagerly(how: str) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        node = mock_node("Quitter", "Note", walkers=(walker(),), on_start=(("started",),))
        quitter: Any = node.overlays[0]
        quitter.node = node
        count: Any = node.strategies[0][0]
        if how == "on_start":
            node.on_start.append((quitter.quit, ()))
        await node.start()
        if how != "on_start":
            await count.enough.wait()
            assert Note.made[-1].calls == [("started",)]
        if how == "task":
            quitter.register_task("quit", quitter.quit)
            await quitter.went_on.wait()
        await node.stop()
        assert not node.endpoint.is_open()
        assert [overlay.calls[-1] for overlay in Note.made] == ["unload"] * 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_run_does_not_mistake_a_class_for_one_of_the_library() -> None:
    namesake = type("DiscoveryCommunity", (Silent,), {})
    Silent.made.clear()
    run(namesake, address="127.0.0.1", seconds=0.0, bootstrappers=[])
    assert [type(overlay) for overlay in Silent.made] == [namesake]


def test_run_without_overlays() -> None:
    with pytest.raises(ValueError, match="at least one overlay class"):
        run()


def test_run_tells_what_failed() -> None:
    class Failing(Note):
        def started(self, *args: Any) -> None:
            raise LookupError("cannot start")

    with pytest.raises(LookupError, match="cannot start"):
        run(Failing, address="127.0.0.1", bootstrappers=[])
    assert Note.made[0].calls == ["unload"]


# -- the module of the ecosystem -------------------------------------------------------------------------------------

def test_names_of_the_ecosystem() -> None:
    assert ipv8_service.IPv8 is IPv8
    assert sorted(ipv8_service._WALKERS) == ["EdgeWalk", "RandomWalk"]
    assert sorted(ipv8_service._BOOTSTRAPPERS) == [
        "DispersyBootstrapper", "MemoryBootstrapper", "MulticastBootstrapper", "UDPBroadcastBootstrapper"]
    assert "DiscoveryCommunity" in ipv8_service._COMMUNITIES


def test_import_is_light() -> None:
    program = ("import sys, ipv8_service; print(sorted(m for m in sys.modules if m in "
               "('ipv8.community', 'ipv8.peerdiscovery.community', 'ipv8.dht', 'ipv8.cli', 'argparse')))")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_log_level_is_that_of_the_configuration() -> None:
    program = ("import logging, ipv8_service; "
               "ipv8_service.IPv8({'keys': [], 'overlays': [], 'logger': {'level': 'ERROR'}}); "
               "print(logging.getLogger().level)")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(result.stdout) == logging.ERROR
