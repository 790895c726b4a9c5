"""The programs in ``scripts/``, which are found without the package being installed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import service as service_module, tracker as tracker_module
from ipv8.configuration import ConfigBuilder
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.test.mocking.community import MockCommunity

if TYPE_CHECKING:
    from types import ModuleType

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_of_test", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stop_when_started(monkeypatch: pytest.MonkeyPatch, service_class: Any, method: str) -> None:
    """Send SIGTERM to this process when a method of a service has been called."""
    start = getattr(service_class, method)

    async def start_and_stop(service: Any, *args: Any, **kwargs: Any) -> None:
        await start(service, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(service_class, method, start_and_stop)


@pytest.mark.parametrize(("name", "option"), [("ipv8_plugin", "--no-rest-api"), ("tracker_plugin", "--listen_port"),
                                             ("tracker_reporter_plugin", "--listen_port")])
def test_help_from_any_directory(name: str, option: str, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, str(SCRIPTS / f"{name}.py"), "--help"], capture_output=True, text=True,
                         check=True, cwd=tmp_path)
    assert option in run.stdout


def test_port_that_is_taken_is_told_in_a_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        port = other.getsockname()[1]
        run = subprocess.run([sys.executable, str(SCRIPTS / "tracker_plugin.py"), "-p", str(port)],
                             capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == f"tracker_plugin.py: UDP port {port} of 0.0.0.0 is in use by another program\n"


def test_repository_is_found_without_installation(tmp_path: Path) -> None:
    program = ("import runpy, sys; sys.path[:] = [p for p in sys.path if p and not p.endswith('main')]; "
               f"runpy.run_path({str(SCRIPTS / 'tracker_service.py')!r})")
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=tmp_path)


def test_tracker_service_has_the_parts() -> None:
    module = load("tracker_service")
    assert issubclass(module.EndpointServer, object)
    assert {"EndpointServer", "TrackerChurn", "TrackerPing", "TrackerService"} <= set(module.__all__)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
def test_ipv8_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    def configuration() -> dict[str, Any]:
        return (ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_address("127.0.0.1")
                .set_port(0).finalize())

    monkeypatch.setattr(service_module, "get_default_configuration", configuration)
    stop_when_started(monkeypatch, service_module.IPV8Service, "start_ipv8")
    module = load("ipv8_plugin")
    assert module.IPV8Service is service_module.IPV8Service
    asyncio.run(module.main(["-s", "-a"]))


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
def test_tracker_plugin_knows_the_old_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate = tmp_path / "c"
    certificate.touch()
    started: list[Any] = []

    class Service(tracker_module.TrackerService):
        async def start_tracker(self, *args: Any) -> None:
            started.append(("tracker", *args))

        async def start_api(self, *args: Any) -> None:
            started.append(("api", *args))

    monkeypatch.setattr(tracker_module, "TrackerService", Service)
    stop_when_started(monkeypatch, Service, "start_tracker")
    module = load("tracker_plugin")
    file = str(certificate)
    asyncio.run(module.main(["--listen_port", "7", "--listen_port_api", "8", "--api_key", "k", "--cert_file", file]))
    asyncio.run(module.main(["-p", "7", "-a", "8", "-k", "k", "-c", file]))
    assert started == [("tracker", 7, "0.0.0.0", None), ("api", 8, "k", file)] * 2
    started.clear()
    for no_port in (["--listen_port_api", "-1"], ["--listen_port_api=-1"], ["-a", "-1"]):
        asyncio.run(module.main(["-p", "7", *no_port]))
    assert started == [("tracker", 7, "0.0.0.0", None)] * 3


@pytest.mark.parametrize("arguments", [["-p", "65536"], ["-a", "-2"], ["-q"]])
def test_wrong_arguments_are_told_in_a_line(arguments: list[str]) -> None:
    run = subprocess.run([sys.executable, str(SCRIPTS / "tracker_plugin.py"), *arguments], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("tracker_plugin.py: ")
    assert "Traceback" not in run.stderr


class Reporter:
    """Stands for the one of the module that is not part of this project."""

    def __init__(self, port: int) -> None:
        self.told: list[Any] = [port]

    def start(self) -> None:
        self.told.append("started")

    async def shutdown(self) -> None:
        self.told.append("shut down")

    def count_peer(self, mid: bytes, address: Any, service_id: bytes) -> None:
        self.told.append((mid, address[0], service_id))


async def test_tracker_reporter_plugin_tells_of_each_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    reporters: list[Reporter] = []

    def make_reporter(port: int) -> Reporter:
        reporters.append(Reporter(port))
        return reporters[0]

    module = load("tracker_reporter_plugin")
    services: list[Any] = []
    create = module.ReportingTrackerService.create_endpoint_server

    def create_endpoint_server(service: Any) -> Any:
        services.append(service)
        return create(service)

    async def visit() -> None:
        visitor = MockCommunity()
        tracker = services[0].overlay
        tracker.on_packet((UDPv4Address("127.0.0.1", 1), visitor.create_introduction_request(("127.0.0.1", 2))))
        visited.append((visitor.my_peer.mid, "127.0.0.1", visitor.community_id))
        await visitor.unload()

    visited: list[Any] = []
    monkeypatch.setattr(module.ReportingTrackerService, "create_endpoint_server", create_endpoint_server)
    monkeypatch.setattr(module, "run_forever", visit)
    monkeypatch.setitem(sys.modules, "trackermetricsreporter", SimpleNamespace(MetricsReporter=make_reporter))
    await module.main(["-p", "0"])
    assert reporters[0].told == [0, "started", *visited, "shut down"]
    assert services[0].endpoint is None


async def test_tracker_reporter_plugin_says_what_it_lacks() -> None:
    with pytest.raises(SystemExit, match="trackermetricsreporter is not installed"):
        await load("tracker_reporter_plugin").main([])
