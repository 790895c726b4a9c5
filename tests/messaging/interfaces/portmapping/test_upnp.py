"""UPnP: without the library a clear message; with it, a gateway made of a small web server."""

from __future__ import annotations

import asyncio
import importlib
import re
import socket
import sys
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.interfaces.portmapping import upnp
from ipv8.messaging.interfaces.portmapping.gateway import PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.requester import MAX_REQUESTS
from ipv8.messaging.interfaces.portmapping.upnp import UpnpGateway, is_local_location

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.mark.parametrize(("location", "local"), [
    ("http://192.168.1.1:5000/root.xml", True), ("http://127.0.0.1/", True), ("https://192.168.1.1/", False),
    ("http://8.8.8.8/", False), ("http://example.org/", False), ("", False), ("http://[", False),
    ("file:///etc/passwd", False), ("http://169.254.169.254/latest/meta-data", False), ("http://0.0.0.0/", False),
    ("http://[fe80::1]/", False), ("http://[fd00::1]/", True), ("http://user@192.168.1.1/", False),
    ("http://10.0.0.1@8.8.8.8/", False), ("http://[::ffff:8.8.8.8]/", False), ("http://224.0.0.1/", False),
    ("http://240.0.0.1/", False), ("http://192.168.1.1:0/", False), ("http://192.168.1.1:99999/", False),
    ("http://192.168.1.1/" + "x" * 600, False),
])
def test_location(location: str, local: bool) -> None:
    assert is_local_location(location) is local


async def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "async_upnp_client", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ipv8\[portmapping\]'"):
        await UpnpGateway.search(1.0)


class FakeUpnpError(Exception):
    def __init__(self, code: int = 0) -> None:
        super().__init__(f"error {code}")
        self.error_code = code


class FakeDevice:
    """What is used of an ``IgdDevice``; refuses with the error codes of ``refusals``, one after another."""

    def __init__(self) -> None:
        self.refusals: list[int] = []
        self.ip: str | None = "130.161.1.1"
        self.asked: list[Any] = []
        self.deleted: list[Any] = []
        self.found: list[tuple[str, str]] = []
        self.problem: Exception | None = None
        self.sources: list[str] = []

    async def async_get_external_ip_address(self) -> str | None:
        if isinstance(self.ip, Exception):
            raise self.ip
        return self.ip

    async def async_add_port_mapping(self, *arguments: Any) -> None:
        self.asked.append(arguments)
        if self.refusals:
            raise FakeUpnpError(self.refusals.pop(0))

    async def async_delete_port_mapping(self, *arguments: Any) -> None:
        self.deleted.append(arguments)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    device = FakeDevice()

    async def search(timeout: float, source: str) -> list[tuple[str, str]]:
        device.sources.append(source)
        if device.problem is not None:
            raise device.problem
        return device.found

    monkeypatch.setattr(upnp, "search_network", search)
    monkeypatch.setattr(upnp, "_load", {"client_factory": None}.__getitem__)
    return device


async def test_mapping(device: FakeDevice) -> None:
    gateway = UpnpGateway(device, "192.168.1.2")
    mapping = await gateway.add(8090, 8091, 3600)
    assert mapping == PortMapping("UPnP-IGD", "130.161.1.1", 8091, 8090, 3600)
    [(remote, external, protocol, internal, client, enabled, description, lease)] = device.asked
    assert (str(remote), external, protocol, internal, str(client), enabled, description, lease.seconds) == (
        "0.0.0.0", 8091, "UDP", 8090, "192.168.1.2", True, "IPv8", 3600)
    await gateway.remove(mapping)
    assert [(str(remote), *rest) for remote, *rest in device.deleted] == [("0.0.0.0", 8091, "UDP")]


async def test_gateway_without_lifetimes(device: FakeDevice) -> None:
    device.refusals = [upnp.ONLY_PERMANENT]
    assert (await UpnpGateway(device, "192.168.1.2").add(8090, 8091, 3600)).lifetime == 0


async def test_taken_port(device: FakeDevice, script_entropy: Any) -> None:
    script_entropy(7)
    device.refusals = [upnp.CONFLICT]
    mapping = await UpnpGateway(device, "192.168.1.2").add(8090, 8091, 3600)
    assert mapping.external_port not in {8090, 8091}
    assert mapping.external_port >= 1024
    assert mapping.external_port == device.asked[1][1]


@pytest.mark.parametrize("refusals", [[upnp.CONFLICT] * upnp.ATTEMPTS, [606], [upnp.ONLY_PERMANENT, 606]])
async def test_refusal(device: FakeDevice, refusals: list[int]) -> None:
    device.refusals = refusals
    with pytest.raises(PortMappingError, match="the gateway refuses: error"):
        await UpnpGateway(device, "192.168.1.2").add(8090, 8091, 3600)
    assert device.refusals == []


@pytest.mark.parametrize("ip", [None, "", "nonsense", "::1"])
async def test_no_outside_address(device: FakeDevice, ip: str | None) -> None:
    device.ip = ip
    with pytest.raises(PortMappingError, match="does not know"):
        await UpnpGateway(device, "192.168.1.2").external_ip()


async def test_no_network(device: FakeDevice) -> None:
    device.problem = PortMappingError("unreachable")
    with pytest.raises(PortMappingError, match="unreachable"):
        await UpnpGateway.search(1.0)


async def test_search(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def at(location: str, timeout: float, source: str) -> Any:
        asked.append(location)
        if "broken" in location:
            raise PortMappingError(location)
        return location

    monkeypatch.setattr(UpnpGateway, "at", at)
    good = "http://192.168.1.1/root.xml"
    device.found.extend(("192.168.1.1", location) for location in (
        "http://192.168.1.1/broken", good, good, "http://8.8.8.8/root.xml", "http://192.168.1.2/root.xml",
        "http://127.0.0.1:8080/root.xml", ""))
    device.found.append(("192.168.1.3", "http://192.168.1.1/of-somebody-else"))
    found: list[Any] = list(await UpnpGateway.search(1.0))
    assert found == [good]
    assert asked == ["http://192.168.1.1/broken", good]
    await UpnpGateway.search(1.0, "192.168.1.2")
    assert device.sources == ["", "192.168.1.2"]


async def test_what_the_library_raises_is_a_refusal(device: FakeDevice) -> None:
    device.ip = KeyError("odd")  # type: ignore[assignment]  # which is raised
    with pytest.raises(PortMappingError, match="the gateway refuses"):
        await UpnpGateway(device, "192.168.1.2").external_ip()


ROOT = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">
<specVersion><major>1</major><minor>0</minor></specVersion><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<friendlyName>router</friendlyName><manufacturer>m</manufacturer><modelName>n</modelName><UDN>uuid:1</UDN>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/scpd</SCPDURL><controlURL>/control</controlURL>
<eventSubURL>/event</eventSubURL></service></serviceList></device></root>"""
ARGUMENTS = {
    "GetExternalIPAddress": [("out", "NewExternalIPAddress", "string")],
    "AddPortMapping": [("in", name, kind) for name, kind in (
        ("NewRemoteHost", "string"), ("NewExternalPort", "ui2"), ("NewProtocol", "string"),
        ("NewInternalPort", "ui2"), ("NewInternalClient", "string"), ("NewEnabled", "boolean"),
        ("NewPortMappingDescription", "string"), ("NewLeaseDuration", "ui4"))],
    "DeletePortMapping": [("in", "NewRemoteHost", "string"), ("in", "NewExternalPort", "ui2"),
                          ("in", "NewProtocol", "string")],
}


def description() -> str:
    actions = "".join(
        f"<action><name>{name}</name><argumentList>" + "".join(
            f"<argument><name>{argument}</name><direction>{direction}</direction>"
            f"<relatedStateVariable>{argument}</relatedStateVariable></argument>"
            for direction, argument, _ in arguments) + "</argumentList></action>"
        for name, arguments in ARGUMENTS.items())
    variables = {argument: kind for arguments in ARGUMENTS.values() for _, argument, kind in arguments}
    state = "".join(f'<stateVariable sendEvents="no"><name>{name}</name><dataType>{kind}</dataType></stateVariable>'
                    for name, kind in variables.items())
    return ('<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1</major>'
            f"<minor>0</minor></specVersion><actionList>{actions}</actionList>"
            f"<serviceStateTable>{state}</serviceStateTable></scpd>")


class WebRouter:
    """A router on the loopback network: descriptions and actions over HTTP."""

    def __init__(self) -> None:
        self.ports: dict[int, str] = {}
        self.location = ""

    async def handle(self, request: Any) -> Any:
        web = importlib.import_module("aiohttp.web")
        if request.path != "/control":
            return web.Response(text={"/root": ROOT, "/scpd": description()}[request.path], content_type="text/xml")
        action = request.headers["SOAPAction"].strip('"').partition("#")[2]
        text = await request.text()
        values = dict(re.findall(r"<(New\w+)[^>]*>([^<]*)</", text))
        answer = ""
        if action == "GetExternalIPAddress":
            answer = "<NewExternalIPAddress>130.161.1.1</NewExternalIPAddress>"
        elif action == "AddPortMapping":
            self.ports[int(values["NewExternalPort"])] = f"{values['NewInternalClient']}:{values['NewInternalPort']}"
        else:
            del self.ports[int(values["NewExternalPort"])]
        return web.Response(content_type="text/xml", text=(
            '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<u:{action}Response xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">{answer}'
            f"</u:{action}Response></s:Body></s:Envelope>"))


@pytest.fixture
async def router() -> AsyncIterator[WebRouter]:
    pytest.importorskip("async_upnp_client", reason="the extra portmapping is not installed")
    web = importlib.import_module("aiohttp.web")
    router = WebRouter()
    application = web.Application()
    application.router.add_route("*", "/{path}", router.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    router.location = f"http://127.0.0.1:{runner.addresses[0][1]}/root"
    yield router
    await runner.cleanup()


async def test_with_the_library(router: WebRouter) -> None:
    gateway = await UpnpGateway.at(router.location, 10.0)
    assert await gateway.external_ip() == "130.161.1.1"
    mapping = await gateway.add(8090, 8091, 3600)
    assert router.ports == {8091: "127.0.0.1:8090"}
    await gateway.remove(mapping)
    assert router.ports == {}
    await (await UpnpGateway.at(router.location, 10.0, "127.0.0.2")).add(8090, 8092, 3600)
    assert router.ports == {8092: "127.0.0.2:8090"}


async def test_with_the_library_and_no_router(router: WebRouter) -> None:
    with pytest.raises(PortMappingError, match="cannot be asked"):
        await UpnpGateway.at("http://127.0.0.1:1/root", 1.0)


async def test_only_the_local_network_is_asked(router: WebRouter) -> None:
    with pytest.raises(PortMappingError, match="expected in the local network"):
        await UpnpGateway.at("http://8.8.8.8/root", 1.0)


class HostileRouter:
    """Somebody who answers a search with what harms."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[tuple[str, str]] = []
        self.root = ROOT

    async def handle(self, request: Any) -> Any:
        web = importlib.import_module("aiohttp.web")
        name, host = request.path.strip("/"), request.host.partition(":")[0]
        self.requests.append((host, name))
        elsewhere = f"http://127.0.0.2:{self.port}"
        if name == "root":
            return web.Response(text=self.root, content_type="text/xml")
        if name in {"redirect", "moved"}:
            raise web.HTTPFound(f"{elsewhere}/internal")
        if name == "compressed":
            return web.Response(body=zlib.compress(b" " * (1 << 22)), headers={"Content-Encoding": "deflate"})
        if name == "large":
            return web.Response(text=self.root + " " * (1 << 20))
        if name == "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            with suppress(ConnectionError):
                while True:
                    await response.write(b" " * 10)
                    await asyncio.sleep(0.01)
        return web.Response(text={
            "scpd": description(), "deep": "<a>" * 33 + "</a>" * 33, "no-xml": "<a>",
            "entities": '<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>', "binary": "\0\0\0",
        }.get(name, "<a/>"), content_type="text/xml")


@pytest.fixture
async def hostile() -> AsyncIterator[HostileRouter]:
    pytest.importorskip("async_upnp_client", reason="the extra portmapping is not installed")
    web = importlib.import_module("aiohttp.web")
    application = web.Application()
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        hostile = HostileRouter(probe.getsockname()[1])
    application.router.add_route("*", "/{path}", hostile.handle)
    await runner.setup()
    for host in ("127.0.0.1", "127.0.0.2"):
        await web.TCPSite(runner, host, hostile.port).start()
    yield hostile
    await runner.cleanup()


@pytest.mark.parametrize(("path", "reason"), [
    ("redirect", "redirects"), ("compressed", "compresses"), ("large", "sends too much"), ("deep", "too deeply"),
    ("entities", "document type"), ("no-xml", "malformed"), ("binary", "cannot be used"), ("nothing", "cannot be used"),
    ("endless", "takes too long"),
])
async def test_a_description_that_harms(hostile: HostileRouter, path: str, reason: str) -> None:
    with pytest.raises(PortMappingError, match=reason):
        await UpnpGateway.at(f"http://127.0.0.1:{hostile.port}/{path}", 0.5)
    assert {host for host, _ in hostile.requests} == {"127.0.0.1"}
    assert len(hostile.requests) <= 5


@pytest.mark.parametrize(("old", "new"), [
    ("/scpd", "/moved"), ("/scpd", "http://127.0.0.2:{port}/scpd"), ("/control", "http://127.0.0.2:{port}/control"),
    ("/control", "http://127.0.0.1@127.0.0.2:{port}/control"), ("/control", "//127.0.0.2:{port}/control"),
])
async def test_no_other_host_is_asked(hostile: HostileRouter, old: str, new: str) -> None:
    hostile.root = ROOT.replace(f">{old}<", f">{new.format(port=hostile.port)}<")
    with pytest.raises(PortMappingError):
        await (await UpnpGateway.at(f"http://127.0.0.1:{hostile.port}/root", 5.0)).external_ip()
    assert {host for host, _ in hostile.requests} == {"127.0.0.1"}


async def test_the_services_of_a_gateway_are_limited(hostile: HostileRouter) -> None:
    service = ROOT[ROOT.index("<service>"):ROOT.index("</serviceList>")]
    hostile.root = ROOT.replace(service, "".join(service.replace("/scpd", f"/s{n}") for n in range(100)))
    with pytest.raises(PortMappingError, match="too many services"):
        await UpnpGateway.at(f"http://127.0.0.1:{hostile.port}/root", 5.0)
    assert len(hostile.requests) == MAX_REQUESTS
