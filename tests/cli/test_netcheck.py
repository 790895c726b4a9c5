"""``ipv8 netcheck``: what it finds out on this machine alone, and what it says about what others would see."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.bootstrapping import resolver
from ipv8.cli import netcheck
from ipv8.cli.main import main
from ipv8.cli.netcheck import FamilyReport, PortMappingReport, Report, ServerReport, advise, check, lines, to_json
from ipv8.cli.tracker import TrackerService
from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.portmapping import search
from ipv8.messaging.interfaces.portmapping.search import Finding
from ipv8.peerdiscovery.nat_probe import NatKind, NatReport, Reachability

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trackers:
    """Two trackers in a thread of their own."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.ports: list[int] = []
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.thread.start()
        assert self.ready.wait(30)

    async def serve(self) -> None:
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        services = [TrackerService(), TrackerService()]
        for service in services:
            await service.start_tracker(0, "127.0.0.1")
            assert service.endpoint is not None
            self.ports.append(service.endpoint.get_address()[1])
        self.ready.set()
        await self.done.wait()
        for service in services:
            await service.shutdown()

    def arguments(self) -> list[str]:
        return [word for port in self.ports for word in ("--server", f"127.0.0.1:{port}")]

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(10)


@pytest.fixture
def trackers() -> Iterator[Trackers]:
    running = Trackers()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_public_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISPERSY_BOOTSTRAPPER, "init", {"ip_addresses": [], "dns_addresses": []})


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the servers of the tests, which are on this machine, were not."""
    monkeypatch.setattr(netcheck, "_is_here", lambda *_: False)


@pytest.mark.usefixtures("elsewhere")
def test_json(trackers: Trackers, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["netcheck", "--json", "--no-port-mapping", *trackers.arguments()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"]
    assert [server["address"] for server in report["servers"]] == [f"127.0.0.1:{port}" for port in trackers.ports]
    assert all(server["answered"] and server["rtt"] >= 0 and server["problem"] is None
               for server in report["servers"])
    assert len({server["mapped"] for server in report["servers"]}) == 1
    assert report["ipv4"] == {"addresses": [], "nat": "none", "mapped": report["servers"][0]["mapped"],
                              "port_kept": True, "contradicted_by": [], "reachable": "open"}
    assert (report["ipv6"]["nat"], report["ipv6"]["reachable"]) == ("unknown", "no_address")
    assert report["port_mapping"] == {"available": False, "protocol": None, "external_address": None,
                                      "problem": "not looked for", "protocols": {}}
    assert report["advice"] == []


@pytest.mark.parametrize("own", [[], ["127.0.0.1"]])
def test_servers_on_this_machine_prove_nothing(own: list[str], trackers: Trackers, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    async def own_hosts() -> list[str]:
        return own

    monkeypatch.setattr(netcheck, "_own_hosts", own_hosts)
    assert main(["netcheck", "--json", "--no-port-mapping", *trackers.arguments()]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["ipv4"]
    assert (found["nat"], found["mapped"], found["reachable"]) == ("unknown", None, "unknown")
    assert "neither of them on this machine" in report["advice"][0]


@pytest.mark.usefixtures("elsewhere")
def test_table(trackers: Trackers, silent_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["netcheck", "--no-port-mapping", "--timeout", "0.5", *trackers.arguments(),
                 "--server", f"127.0.0.1:{silent_port}"]) == 0
    out = capsys.readouterr().out
    assert "IPv4 NAT          none\nIPv4 reachable    direct\n" in out
    assert f"127.0.0.1:{trackers.ports[0]}" in out
    assert "usable: 2 of 3 servers answered" in out
    rows = out.splitlines()
    assert rows[-3].split() == [f"127.0.0.1:{silent_port}", "no", "answer"]


def test_no_server_answers(silent_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["netcheck", "--no-port-mapping", "--timeout", "0.05", "--server", f"127.0.0.1:{silent_port}"]) == 1
    out = capsys.readouterr().out
    assert "not usable: 0 of 1 servers answered\n- This machine has no network address" in out


def test_public_servers_are_asked_by_default(monkeypatch: pytest.MonkeyPatch, trackers: Trackers,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    names = resolver.NameResolver(lambda name: {"tracker.test": ["127.0.0.1"]}[name])
    monkeypatch.setattr(resolver, "shared_resolver", lambda: names)
    monkeypatch.setitem(DISPERSY_BOOTSTRAPPER, "init", {
        "ip_addresses": [("127.0.0.1", trackers.ports[0])],
        "dns_addresses": [("tracker.test", trackers.ports[0]), ("tracker.test", trackers.ports[1])]})
    assert main(["netcheck", "--json", "--no-port-mapping"]) == 0
    servers = json.loads(capsys.readouterr().out)["servers"]
    assert [(server["server"], server["address"]) for server in servers] == [
        (f"127.0.0.1:{trackers.ports[0]}", f"127.0.0.1:{trackers.ports[0]}"),
        (f"tracker.test:{trackers.ports[1]}", f"127.0.0.1:{trackers.ports[1]}")]


def test_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(name: str) -> list[str]:
        raise OSError(name)

    names = resolver.NameResolver(fail)
    monkeypatch.setattr(resolver, "shared_resolver", lambda: names)
    assert main(["netcheck", "--json", "--no-port-mapping", "--server", "unknown.test:5"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["servers"] == [{"server": "unknown.test:5", "address": None, "answered": False, "rtt": None,
                                  "mapped": None, "problem": "the name cannot be resolved"}]
    assert "DNS" in report["advice"][1]


async def test_slow_name() -> None:
    release = threading.Event()
    names = resolver.NameResolver(lambda _: ["127.0.0.1"] if release.wait(10) else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolver, "shared_resolver", lambda: names)
        report = await check([("slow.test", 5)], 0.01)
    release.set()
    assert report.servers[0].problem == "the name cannot be resolved"


async def test_ipv6_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipv8.messaging.interfaces.udp.endpoint import UDPv6Endpoint

    async def fail(self: Any) -> bool:
        return False

    monkeypatch.setattr(UDPv6Endpoint, "open", fail)
    report = await check([("::1", 5)], 0.01)
    assert report.servers == [("[::1]:5", ("::1", 5), None, None, "this machine has no IPv6")]


FOUND = [Finding("PCP"), Finding("NAT-PMP", "130.161.1.1"), Finding("UPnP-IGD", problem="pip install it")]


async def survey(timeout: float) -> list[Finding]:
    return FOUND


async def test_port_mapping() -> None:
    async def nothing(timeout: float) -> list[Finding]:
        return [Finding("PCP", problem="no answer"), Finding("UPnP-IGD", problem="no router")]

    report = await check([], 1.0, find=survey)
    assert report.port_mapping.protocols == ["PCP", "NAT-PMP"]
    assert report.port_mapping.host == "130.161.1.1"
    assert report.port_mapping.problem == ""
    assert to_json(report)["port_mapping"] == {
        "available": True, "protocol": "PCP", "external_address": "130.161.1.1", "problem": None, "protocols": {
            "PCP": {"available": True, "external_address": None, "problem": None},
            "NAT-PMP": {"available": True, "external_address": "130.161.1.1", "problem": None},
            "UPnP-IGD": {"available": False, "external_address": None, "problem": "pip install it"}}}
    report = await check([], 1.0, find=nothing)
    assert (report.port_mapping.protocols, report.port_mapping.host) == ([], "")
    assert report.port_mapping.problem == "PCP: no answer; UPnP-IGD: no router"
    assert to_json(report)["port_mapping"]["available"] is False


def test_routers_are_asked_unless_forbidden(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(search, "survey", survey)
    assert main(["netcheck", "--json", "--server", "[::1]:1", "--timeout", "0.01"]) == 1
    assert json.loads(capsys.readouterr().out)["port_mapping"]["external_address"] == "130.161.1.1"


async def test_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint

    async def fail(self: Any) -> bool:
        return False

    monkeypatch.setattr(UDPEndpoint, "open", fail)  # that of IPv6 as well
    with pytest.raises(OSError, match="no UDP socket"):
        await check([], 1.0)


@pytest.mark.parametrize("text", ["", "5", ":5", "a:", "a:0", "a:65536", "a:b", "a", "a b:5", "1.2.3:5", "::1:5",
                                  "[::1%lo]:5", "a..b:5", "-:5" * 99, "a:5_0", "a:\u0665"])
def test_server_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["netcheck", "--server", text]) == 2
    assert "is not HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "x", "nan", "inf", "", "3601", "1e999", "1_0", "-0.0"])
def test_time_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["netcheck", "--timeout", text]) == 2
    assert f"{text!r} is no time: give seconds, more than 0 and at most 3600" in capsys.readouterr().err


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def note(*arguments: Any) -> int:
        asked.append(arguments)
        return 1

    monkeypatch.setattr(netcheck, "check_and_print", note)
    assert main(["netcheck", "--server", "[2001:db8::1]:5", "--server", "a.b:6", "-p", "7", "--json"]) == 1
    assert asked == [((("2001:db8::1", 5), ("a.b", 6)), 5.0, 7, True, True)]


SEEN = UDPv4Address("130.161.1.1", 40000)
ANSWER = ServerReport("a.b:1", UDPv4Address("1.1.1.1", 1), SEEN, 0.0123)
NO_FAMILY = FamilyReport([], NatReport(NatKind.UNKNOWN), Reachability.NO_ADDRESS)


def make_report(kind: NatKind, reachability: Reachability, *, host: str = "192.168.1.2",
                port_mapping: PortMappingReport = PortMappingReport(),  # noqa: B008 - immutable
                contradicted_by: Any = ()) -> Report:
    nat = NatReport(kind, SEEN, False, contradicted_by)
    return Report([ANSWER], {"IPv4": FamilyReport([host], nat, reachability), "IPv6": NO_FAMILY}, port_mapping)


ROUTER = PortMappingReport((Finding("NAT-PMP", "10.1.1.1"),))


@pytest.mark.parametrize(("report", "words"), [
    (make_report(NatKind.ENDPOINT_INDEPENDENT, Reachability.PUNCHED), []),
    (make_report(NatKind.DEPENDENT, Reachability.HARD), ["PCP, NAT-PMP or UPnP"]),
    (make_report(NatKind.UNKNOWN, Reachability.UNKNOWN), ["two servers"]),
    (make_report(NatKind.ENDPOINT_INDEPENDENT, Reachability.PUNCHED, port_mapping=ROUTER), ["another NAT behind it"]),
    (make_report(NatKind.NONE, Reachability.OPEN, port_mapping=ROUTER), []),
    (make_report(NatKind.ENDPOINT_INDEPENDENT, Reachability.PUNCHED, host="100.64.1.2"), ["carrier-grade"]),
    (make_report(NatKind.ENDPOINT_INDEPENDENT, Reachability.PUNCHED,
                 contradicted_by=(UDPv4Address("6.6.6.6", 6),)), ["contradict each other"]),
    (Report([ServerReport("a", SEEN, problem="no answer")], {
        "IPv4": FamilyReport(["1.2.3.4"], NatReport(NatKind.UNKNOWN), Reachability.SILENT), "IPv6": NO_FAMILY},
        ROUTER), ["firewall blocks UDP"]),
])
def test_advice(report: Report, words: list[str]) -> None:
    advice = advise(report)
    assert len(advice) == len(words)
    assert all(word in sentence for word, sentence in zip(words, advice, strict=True))
    assert lines(report)[-len(words) - 1:] == [lines(report)[-len(words) - 1], *(f"- {line}" for line in advice)]
    assert to_json(report)["advice"] == advice
    json.dumps(to_json(report))


def test_lines() -> None:
    report = make_report(NatKind.ENDPOINT_INDEPENDENT, Reachability.PUNCHED, port_mapping=PortMappingReport(
        tuple(FOUND)))._replace(servers=[
            ServerReport("b", UDPv6Address("2001:db8::1", 5), problem="no answer"), ANSWER])
    assert lines(report) == [
        "IPv4 addresses    192.168.1.2",
        "IPv4 NAT          endpoint-independent mapping",
        "IPv4 reachable    by hole punching",
        "IPv6 addresses    none",
        "IPv6 NAT          unknown",
        "IPv6 reachable    no address",
        "PCP mapping       possible",
        "NAT-PMP mapping   possible, outside address 130.161.1.1",
        "UPnP-IGD mapping  pip install it",
        "",
        "server  address          answer     sees this machine as",
        "a.b:1   1.1.1.1:1        12.3 ms    130.161.1.1:40000",
        "b       [2001:db8::1]:5  no answer",
        "",
        "usable: 1 of 2 servers answered",
    ]


def test_terminals_get_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    report = make_report(NatKind.DEPENDENT, Reachability.HARD)
    assert not netcheck._print_rich(report)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert netcheck._print_rich(report)
    out = capsys.readouterr().out
    assert "130.161.1.1:40000" in out
    assert "NAT-PMP or UPnP" in out
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert not netcheck._print_rich(report)
