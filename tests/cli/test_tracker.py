"""The tracker as a program: sockets, options, HTTP interface."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import tracker as tracker_module
from ipv8.cli.main import main
from ipv8.cli.tracker import TrackerService
from ipv8.configuration import Bootstrapper, BootstrapperDefinition, ConfigBuilder, Strategy, WalkerDefinition
from ipv8.peerdiscovery.tracker import EndpointServer, TrackerLimits
from ipv8.service import IPv8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_nodes_meet_through_a_tracker_on_sockets(watch_for: Callable[..., asyncio.Event]) -> None:
    service = TrackerService()
    await service.start_tracker(0, "127.0.0.1")
    assert service.endpoint is not None
    address = ("127.0.0.1", service.endpoint.get_address()[1])

    def node() -> IPv8:
        builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_walker_interval(0.01)
        builder.set_address("127.0.0.1").set_port(0).add_overlay(
            "DiscoveryCommunity", "me", [WalkerDefinition(Strategy.RandomWalk, 20, {"timeout": 3.0})],
            [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, {
                "ip_addresses": [address], "dns_addresses": [], "bootstrap_timeout": 0.05})], {}, [])
        return IPv8(builder.finalize())

    async with node() as first, node() as second:
        met = watch_for(second.network, first.keys["me"])
        await met.wait()
    await service.shutdown()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_start_and_shutdown(tmp_path: Path) -> None:
    path = tmp_path / "tracker.pem"
    identities = set()
    for _ in range(2):
        service = TrackerService(TrackerLimits(peers=7), str(path))
        await service.start_tracker(0, "127.0.0.1")
        assert service.overlay is not None
        assert service.overlay.limits.peers == 7
        identities.add(service.overlay.my_peer.mid)
        await service.shutdown()
        assert not any((service.endpoint, service.overlay, service.site))
        await service.shutdown()
    assert len(identities) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_subclasses_bring_their_own_server() -> None:
    class Server(EndpointServer):
        pass

    class Service(TrackerService):
        def create_endpoint_server(self) -> EndpointServer:
            assert self.endpoint is not None
            return Server(self.endpoint)

    service = Service()
    await service.start_tracker(0, "127.0.0.1")
    assert type(service.overlay) is Server
    await service.shutdown()


@pytest.mark.usefixtures("ipv6_loopback")
async def test_ipv6() -> None:
    service = TrackerService()
    await service.start_tracker(0, "127.0.0.1", "::1")
    assert service.endpoint is not None
    assert [part.get_address()[0] for part in service.endpoint.interfaces.values()] == [
        "127.0.0.1", "::1"]
    await service.shutdown()


async def test_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        service = TrackerService()
        with pytest.raises(OSError, match=f"UDP port {port} of 127.0.0.1 is in use"):
            await service.start_tracker(port, "127.0.0.1")
    assert service.endpoint is None
    assert not caplog.records  # of another port
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_address_of_another_machine() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1"):
        await TrackerService().start_tracker(0, "192.0.2.1")


async def test_http_interface_needs_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp.web", None)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    service = TrackerService()
    await service.start_tracker(0, "127.0.0.1")
    with pytest.raises(ModuleNotFoundError, match="pip install aiohttp"):
        await service.start_api(0, "key")
    await service.shutdown()


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
def test_command(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TrackerService] = []

    class Service(TrackerService):
        async def start_tracker(self, *args: Any) -> None:
            made.append(self)
            await super().start_tracker(*args)
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tracker_module, "TrackerService", Service)
    assert main(["tracker", "--port", "0", "--listen-address", "127.0.0.1", "--max-peers", "9",
                 "--requests-per-address", "3"]) == 0
    assert made[0].limits == TrackerLimits(peers=9, requests_per_address=3.0, requests_per_subnet=15.0)
    assert made[0].overlay is None


def test_command_without_aiohttp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp.web", None)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert main(["tracker", "--port", "0", "--listen-address", "127.0.0.1", "--api-port", "0"]) == 2
    assert "pip install aiohttp" in capsys.readouterr().err
