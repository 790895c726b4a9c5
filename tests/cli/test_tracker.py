"""The tracker as a program: sockets, options, HTTP interface."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import tracker as tracker_module
from ipv8.cli.commands.tracker import arguments_of, tracker as tracker_command
from ipv8.cli.framework import parse
from ipv8.cli.main import main
from ipv8.cli.tracker import TrackerService
from ipv8.configuration import Bootstrapper, BootstrapperDefinition, ConfigBuilder, Strategy, WalkerDefinition
from ipv8.keyvault.crypto import default_eccrypto
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
def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[TrackerService] = []

    class Service(TrackerService):
        async def start_tracker(self, *args: Any) -> None:
            made.append(self)
            await super().start_tracker(*args)
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tracker_module, "TrackerService", Service)
    assert main(["tracker", "--port", "0", "--listen-address", "127.0.0.1", "--max-peers", "9",
                 "--requests-per-address", "3", "--json"]) == 0
    started, stopped = map(json.loads, capsys.readouterr().out.splitlines())
    assert stopped == {"event": "stopped"}
    assert (started["event"], started["http"]) == ("started", None)
    assert started["addresses"][0]["host"] == "127.0.0.1"
    assert started["addresses"][0]["port"] > 0
    assert bytes.fromhex(started["mid"]) == default_eccrypto.key_from_public_bin(
        bytes.fromhex(started["public_key"])).key_to_hash()
    assert made[0].limits == TrackerLimits(peers=9, requests_per_address=3.0, requests_per_subnet=15.0)
    assert made[0].overlay is None


def test_command_without_aiohttp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp.web", None)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert main(["tracker", "--port", "0", "--listen-address", "127.0.0.1", "--api-port", "0"]) == 2
    assert "pip install aiohttp" in capsys.readouterr().err


def test_defaults_are_those_of_the_tracker() -> None:
    _, arguments = arguments_of(parse(tracker_command, "tracker", []))
    made, _ = arguments_of(parse(tracker_command, "tracker", []))
    assert made.limits == TrackerLimits()
    assert made.key_file is None
    assert arguments == {"listen_port": 8090, "listen_address": "0.0.0.0", "listen_address_ipv6": None,
                         "api_port": None, "api_key": None, "cert_file": None, "as_json": False}


@pytest.mark.parametrize(("arguments", "message"), [
    (["--api-port", "99999"], "'99999' is no port"),
    (["--api-port=-1"], "'-1' is no port"),
    (["-a", "65536"], "'65536' is no port"),
    (["--port", "x"], "'x' is no port"),
    (["--port", ""], "'' is no port"),
    (["--port", "\u0665"], "is no port"),
    (["--max-peers", "0"], "no whole number of at least 1"),
    (["--max-peers", "-5"], "no whole number of at least 1"),
    (["--max-peers", "1.5"], "no whole number of at least 1"),
    (["--requests-per-address", "nan"], "no number greater than 0"),
    (["--requests-per-address", "inf"], "no number greater than 0"),
    (["--requests-per-address", "0"], "no number greater than 0"),
    (["--listen-address", ""], "is no IPv4 address"),
    (["--listen-address", "localhost"], "is no IPv4 address"),
    (["--listen-address", "::1"], "is no IPv4 address"),
    (["--listen-address-ipv6", "127.0.0.1"], "is no IPv6 address"),
    (["--cert-file", "missing.pem", "--api-port", "0"], "there is no file 'missing.pem'"),
    (["--cert-file", __file__], "--cert-file needs --api-port"),
    (["--api-key", "secret"], "--api-key needs --api-port"),
    (["--api-key", "", "--api-port", "0"], "must not be empty"),
    (["--key-file", "."], "is a directory"),
    (["extra"], "unexpected extra argument"),
    (["--maxpeers", "5"], "--max-peers"),
])
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tracker", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ipv8 tracker: ")
    assert message in error
    assert error.endswith("See 'ipv8 tracker --help'.\n")


def test_file_without_a_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp")
    path = tmp_path / "certificate.pem"
    path.write_text("nothing")
    assert main(["tracker", "-p", "0", "--listen-address", "127.0.0.1", "-a", "0", "-c", str(path)]) == 2
    assert "does not hold a certificate and its private key" in capsys.readouterr().err


def test_tcp_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["tracker", "-p", "0", "--listen-address", "127.0.0.1", "-a", str(port)]) == 2
    assert f"ipv8: TCP port {port} of 127.0.0.1 cannot be used for the HTTP interface" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
def test_signal_during_the_start(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    class Service(TrackerService):
        async def start_tracker(self, *args: Any) -> None:
            os.kill(os.getpid(), number)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("start")

        async def shutdown(self) -> None:
            ended.append("shutdown")

    monkeypatch.setattr(tracker_module, "TrackerService", Service)
    assert main(["tracker"]) == 0
    assert ended == ["start", "shutdown"]
