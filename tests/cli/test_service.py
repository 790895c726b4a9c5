"""The node as a program."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.cli import rest, service as service_module
from ipv8.cli.service import IPV8Service, main
from ipv8.configuration import ConfigBuilder
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.REST.identity_endpoint import IdentityEndpoint

if TYPE_CHECKING:
    from pathlib import Path


def configuration() -> dict[str, Any]:
    return (ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me").set_address("127.0.0.1").set_port(0)
            .finalize())


async def test_start_and_stop(caplog: pytest.LogCaptureFixture) -> None:
    service = IPV8Service(configuration())
    assert service.ipv8 is None
    await service.start_ipv8(statistics=True, no_rest_api=True)
    assert service.ipv8 is not None
    assert isinstance(service.ipv8.endpoint, StatisticsEndpoint)
    assert service.ipv8.endpoint.is_open()
    assert service.restapi is None
    assert not caplog.records
    await service.stop_ipv8()
    assert service.ipv8 is None
    await service.stop_ipv8()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_rest_api() -> None:
    service = IPV8Service(configuration())
    await service.start_ipv8(api_key="secret", api_port=0)
    assert service.restapi is not None
    async with aiohttp.ClientSession(service.restapi.url) as client:
        assert (await client.get("/overlays")).status == 401
        response = await client.get("/overlays", headers={"X-Api-Key": "secret"})
        assert await response.json() == {"overlays": []}
    await service.stop_ipv8()
    assert service.restapi is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("without_key", "status"), [(False, 401), (True, 200)])
async def test_metrics_may_need_no_key(without_key: bool, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "RESTManager")
    service = IPV8Service(configuration())
    await service.start_ipv8(api_key="secret", api_port=0, metrics_without_key=without_key)
    assert service.restapi is not None
    assert f"The dashboard of the node is at {service.restapi.url}/dashboard, which asks for the API key" in caplog.text
    async with aiohttp.ClientSession(service.restapi.url) as client:
        assert (await client.get("/metrics")).status == status
    await service.stop_ipv8()


async def test_names_of_the_rest_api() -> None:
    service = IPV8Service(configuration())
    await service.start_ipv8(api_port=0, api_names=["node.test"])
    assert service.restapi is not None
    async with aiohttp.ClientSession(service.restapi.url) as client:
        for name, status in (("node.test:8085", 200), ("NODE.test", 200), ("other.test", 403)):
            assert (await client.get("/overlays", headers={"Host": name})).status == status
    await service.stop_ipv8()


async def test_pseudonyms_ask_the_servers_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    service = IPV8Service({**configuration(), "working_directory": ":memory:"})
    await service.start_ipv8(api_port=0, bootstrap=[("127.0.0.1", 9), ("localhost", 10)])
    assert service.restapi is not None
    assert service.restapi.root_endpoint is not None
    identity = service.restapi.root_endpoint.endpoints["/identity"]
    assert isinstance(identity, IdentityEndpoint)
    assert identity.communication_manager is not None
    channel = await identity.communication_manager.load("me")
    (way,) = channel.identity_overlay.bootstrappers
    assert isinstance(way, DispersyBootstrapper)
    assert (way.ip_addresses, way.dns_addresses) == ([("127.0.0.1", 9)], [("localhost", 10)])
    await service.stop_ipv8()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("overlays", "servers"), [
    ([], None),
    ([[]], []),
    ([[("127.0.0.1", 9)], [], [("127.0.0.1", 9)], [("127.0.0.1", 10)]], [("127.0.0.1", 9), ("127.0.0.1", 10)]),
])
def test_pseudonyms_ask_whom_the_overlays_ask(overlays: list[Any], servers: list[Any] | None) -> None:
    blocks = [{"bootstrappers": [
        {"class": "DispersyBootstrapper", "init": {"ip_addresses": [server], "dns_addresses": []}}
        for server in addresses]} for addresses in overlays]
    ways = rest._ways(SimpleNamespace(configuration={"overlays": blocks}), ())
    assert (ways if ways is None else [address for way in ways for address in way.ip_addresses]) == servers


async def test_next_port_is_taken_if_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(rest, "DEFAULT_PORT", port)
        service = IPV8Service(configuration())
        await service.start_ipv8()
        assert service.restapi is not None
        assert service.restapi.port in range(port + 1, port + 10)
        await service.stop_ipv8()
        with pytest.raises(OSError, match=f"TCP port {port} .* cannot be used"):
            await service.start_ipv8(api_port=port)
    assert service.ipv8 is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_certificate_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Any) -> None:
        pytest.fail("the node was started before the mistake was found")

    monkeypatch.setattr("ipv8.service.IPv8.start", never)
    (tmp_path / "empty.pem").write_text("nothing")
    service = IPV8Service(configuration())
    with pytest.raises(ValueError, match="does not hold a certificate"):
        await service.start_ipv8(cert_file=str(tmp_path / "empty.pem"))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_packages_of_the_rest_api_may_be_missing(monkeypatch: pytest.MonkeyPatch,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delitem(sys.modules, "ipv8.REST.rest_manager", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    caplog.set_level("INFO", "RESTManager")
    service = IPV8Service(configuration())
    await service.start_ipv8()
    assert 'needs pip install "ipv8[rest]"' in caplog.text
    assert service.ipv8 is not None
    await service.stop_ipv8()
    with pytest.raises(ModuleNotFoundError, match="or start without it"):
        await service.start_ipv8(api_port=0)


async def test_node_that_cannot_start_is_stopped() -> None:
    config = configuration()
    config["interfaces"][0]["ip"] = "192.0.2.1"
    service = IPV8Service(config)
    with pytest.raises(OSError, match="could be opened"):
        await service.start_ipv8(no_rest_api=True)
    assert service.ipv8 is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def stop_when_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGTERM to this process as soon as a node has started."""
    start = IPV8Service.start_ipv8

    async def start_and_stop(service: IPV8Service, *args: Any, **kwargs: Any) -> None:
        await start(service, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(IPV8Service, "start_ipv8", start_and_stop)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
@pytest.mark.usefixtures("stop_when_started")
def test_main(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "get_default_configuration", configuration)
    main(["--statistics", "--no-rest-api"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["-x"], "ipv8_service: No such option"), (["--statistic"], "Did you mean"), (["-c", "missing.pem"], "no file")])
def test_main_tells_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_main_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "--no-rest-api" in capsys.readouterr().out


def test_main_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ipv8.cli.commands.service", "ipv8.cli.framework", "ipv8.cli.options"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    assert 'pip install "ipv8[cli]"' in capsys.readouterr().err


def test_main_tells_mistakes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(service_module, "get_default_configuration", lambda: {**configuration(), "keys": 5})
    with pytest.raises(SystemExit) as error:
        main(["-a"])
    assert error.value.code == 2
    assert "ipv8_service: keys must be a list" in capsys.readouterr().err
