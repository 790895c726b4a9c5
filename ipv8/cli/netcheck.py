"""Find out whether and how this machine can be reached by other nodes."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from .terminal import busy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from ..messaging.address import Address
    from ..messaging.interfaces.portmapping.search import Finding
    from ..peerdiscovery.nat_probe import NatReport, Observation, Reachability, ReachabilityProbe

__all__ = ["FamilyReport", "PortMappingReport", "Report", "ServerReport", "advise", "check", "check_and_print",
           "lines"]

USABLE, NOT_USABLE = 0, 1

INTERFACES = {"IPv4": "UDPIPv4", "IPv6": "UDPIPv6"}
DEFAULT_TIMEOUT = 5.0


class ServerReport(NamedTuple):
    """The result for one server; ``problem`` is empty if it answered, and ``rtt`` is in seconds."""

    name: str
    address: Address | None
    mapped: Address | None = None
    rtt: float | None = None
    problem: str = ""


class FamilyReport(NamedTuple):
    """The result for one version of IP."""

    hosts: list[str]
    nat: NatReport
    reachability: Reachability


class PortMappingReport(NamedTuple):
    """The result for each protocol by which gateways forward ports; empty if no gateway was looked for."""

    findings: tuple[Finding, ...] = ()

    @property
    def protocols(self) -> list[str]:
        """The protocols by which a gateway forwards ports."""
        return [finding.protocol for finding in self.findings if not finding.problem]

    @property
    def host(self) -> str:
        """The outside address of the gateway; empty if no gateway says it without forwarding a port."""
        return next((finding.external_ip for finding in self.findings if finding.external_ip), "")

    @property
    def problem(self) -> str:
        """Why no gateway forwards ports; empty if one does."""
        if self.protocols:
            return ""
        return "; ".join(f"{finding.protocol}: {finding.problem}" for finding in self.findings) or "not looked for"


class Report(NamedTuple):
    """All results; ``families`` has the keys ``IPv4`` and ``IPv6``."""

    servers: list[ServerReport]
    families: dict[str, FamilyReport]
    port_mapping: PortMappingReport

    @property
    def usable(self) -> bool:
        """Whether any server answered."""
        return any(server.rtt is not None for server in self.servers)


async def check_and_print(servers: Collection[tuple[str, int]] = (), timeout: float = DEFAULT_TIMEOUT, port: int = 0,
                          port_mapping: bool = True, as_json: bool = False) -> int:
    """Check and print. The end of the event loop may take long, as it waits for pending name lookups.

    :param servers: whom to ask; by default the public servers.
    :param port_mapping: whether to look for gateways that forward ports.
    :returns: the exit status: 0 if a server answered, 1 if not.
    """
    from ..configuration import DISPERSY_BOOTSTRAPPER
    from ..messaging.interfaces.portmapping import search

    public = DISPERSY_BOOTSTRAPPER["init"]
    with busy("Asking servers" + (", and the router" if port_mapping else "")):
        report = await check(servers or [*public["ip_addresses"], *public["dns_addresses"]], timeout, port,
                             search.survey if port_mapping else None)
    if as_json:
        print(json.dumps(to_json(report)), flush=True)
    elif not _print_rich(report):
        print("\n".join(lines(report)), flush=True)
    return USABLE if report.usable else NOT_USABLE


async def check(servers: Iterable[tuple[str, int]], timeout: float = DEFAULT_TIMEOUT, port: int = 0,
                find: Callable[[float], Awaitable[list[Finding]]] | None = None) -> Report:
    """Ask servers, and look for gateways that forward ports.

    :param servers: names or IP addresses, with ports.
    :param timeout: seconds to wait for the addresses of names, and then for answers.
    :param port: the UDP port to ask from; 0 for any.
    :param find: a function that looks for gateways by each protocol; by default none are looked for.
    :raises OSError: if no socket can be opened.
    """
    from ..messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
    from ..peerdiscovery.nat_probe import ReachabilityProbe, classify, judge

    endpoint = DispatcherEndpoint(list(INTERFACES.values()), **{name: {"port": port} for name in INTERFACES.values()})
    await endpoint.open()
    if not endpoint.is_open():
        raise OSError("no UDP socket can be opened on this machine")
    probe = ReachabilityProbe(endpoint)
    try:
        hosts, port_mapping, reports = await asyncio.gather(
            _own_hosts(), _look_for_gateways(find, timeout), _ask_all(probe, servers, timeout))
        ports = {name: part.get_address()[1] for name, part in endpoint.interfaces.items() if part.is_open()}
    finally:
        await probe.unload()
        await endpoint.close()
    families = {}
    for family, interface in INTERFACES.items():
        own = [host for host in hosts if (":" in host) == (family == "IPv6")]
        answers = [_observation(server) for server in reports
                   if server.address is not None and server.rtt is not None and _family(server.address) == family]
        witnesses = [answer for answer in answers if not _is_here(answer.server[0], own)]
        nat = classify(witnesses, own, ports.get(interface, 0))
        usable = any(not ip_address(host).is_link_local for host in own)
        families[family] = FamilyReport(own, nat, judge(usable, bool(answers), nat, port_mapping.host or None))
    return Report(reports, families, port_mapping)


def _is_here(host: str, own_hosts: Collection[str]) -> bool:
    """Whether a server is on this machine: what it sees does not depend on any NAT."""
    return host in own_hosts or ip_address(host).is_loopback


def _family(address: Address) -> str:
    return "IPv6" if ":" in address[0] else "IPv4"


def _observation(server: ServerReport) -> Observation:
    from ..peerdiscovery.nat_probe import Observation

    assert server.address is not None
    assert server.rtt is not None
    return Observation(server.address, server.mapped, server.rtt)


async def _own_hosts() -> list[str]:
    """The addresses of this machine, except those of the loopback network."""
    from ..messaging.interfaces.lan_addresses.interfaces import get_lan_addresses, get_providers

    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(None, provider.discover_addresses) for provider in get_providers()))
    hosts = []
    for host in get_lan_addresses():
        with suppress(ValueError):
            ip = ip_address(host.partition("%")[0])
            if not ip.is_loopback:
                hosts.append(str(ip))
    return list(dict.fromkeys(hosts))


async def _look_for_gateways(find: Callable[[float], Awaitable[list[Finding]]] | None,
                             timeout: float) -> PortMappingReport:
    return PortMappingReport() if find is None else PortMappingReport(tuple(await find(timeout)))


async def _ask_all(probe: ReachabilityProbe, servers: Iterable[tuple[str, int]], timeout: float) -> list[ServerReport]:
    """Ask all servers at the same time; a server with several addresses is asked at each, an address only once."""
    resolved = await asyncio.gather(*(_resolve(host, port, timeout) for host, port in servers))
    targets: dict[Address, str] = {}
    reports = []
    for name, addresses in resolved:
        if not addresses:
            reports.append(ServerReport(name, None, problem="the name cannot be resolved"))
        for address in addresses:
            targets.setdefault(address, name)
    answers = await asyncio.gather(*(_ask(probe, name, address, timeout) for address, name in targets.items()))
    return [*answers, *reports]


async def _resolve(host: str, port: int, timeout: float) -> tuple[str, list[Any]]:
    from ..bootstrapping.resolver import shared_resolver
    from ..messaging.address import UDPv4Address, UDPv6Address

    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        ip = ip_address(host)
    except ValueError:
        with suppress(asyncio.TimeoutError):
            return name, await asyncio.wait_for(shared_resolver().resolve(host, port), timeout)
        return name, []
    return name, [(UDPv6Address if ip.version == 6 else UDPv4Address)(str(ip), port)]


async def _ask(probe: ReachabilityProbe, name: str, address: Address, timeout: float) -> ServerReport:
    family = _family(address)
    if not probe.endpoint.interfaces[INTERFACES[family]].is_open():
        return ServerReport(name, address, problem=f"this machine has no {family}")
    seen = await probe.observe(address, timeout)
    if seen is None:
        return ServerReport(name, address, problem="no answer")
    return ServerReport(name, address, seen.mapped, seen.rtt)


def advise(report: Report) -> list[str]:
    """What the user can do about the problems that were found, one or two sentences each."""
    from ..peerdiscovery.nat_probe import NatKind, Reachability, is_carrier_grade

    advice = []
    ipv4, ipv6 = report.families["IPv4"], report.families["IPv6"]
    if not report.usable:
        if not ipv4.hosts and not ipv6.hosts:
            advice.append("This machine has no network address: connect it to a network.")
        elif any(server.address is not None for server in report.servers):
            advice.append("No server answered. Perhaps a firewall blocks UDP: allow it for this program, or try "
                          "another network. Other servers can be asked with --server HOST:PORT.")
        if any(server.address is None for server in report.servers):
            advice.append("Names of servers cannot be resolved: check the DNS settings of this machine.")
        return advice
    mapped = ipv4.nat.mapped
    if ipv4.reachability is Reachability.HARD:
        advice.append("The NAT shows every peer another address, so peers behind a NAT of the same kind cannot be "
                      "reached. Switch on PCP, NAT-PMP or UPnP in the router, forward a port in its settings, or use "
                      "IPv6.")
    if ipv4.nat.kind is NatKind.UNKNOWN and any(server.rtt is not None and server.address is not None
                                                and _family(server.address) == "IPv4" for server in report.servers):
        advice.append("To recognize the kind of NAT, answers of two servers with different IP addresses, neither of "
                      "them on this machine, are needed: give another one with --server HOST:PORT.")
    if ipv4.nat.kind is NatKind.NONE:
        pass  # there is no router with a NAT
    elif report.port_mapping.host and mapped is not None and report.port_mapping.host != mapped[0]:
        advice.append(f"The router's outside address, {report.port_mapping.host}, is not the one that servers see, "
                      f"{mapped[0]}: there is another NAT behind it, so a forwarded port does not help.")
    elif any(is_carrier_grade(host) for host in (*ipv4.hosts, report.port_mapping.host) if host):
        advice.append("The provider shares one IPv4 address among customers (carrier-grade NAT): a forwarded port does "
                      "not help, IPv6 does.")
    advice += [f"{family} servers contradict each other. Perhaps the answers of these are wrong: "
               + ", ".join(map(_show, found.nat.contradicted_by)) + "."
               for family, found in report.families.items() if found.nat.contradicted_by]
    return advice


def to_json(report: Report) -> dict[str, Any]:
    """A report as JSON types; addresses are texts such as ``1.2.3.4:5``, times are seconds."""
    return {
        "usable": report.usable,
        "servers": [{"server": server.name, "address": server.address and _show(server.address),
                     "answered": server.rtt is not None, "rtt": server.rtt,
                     "mapped": server.mapped and _show(server.mapped), "problem": server.problem or None}
                    for server in report.servers],
        **{family.lower(): {"addresses": found.hosts, "nat": found.nat.kind.name.lower(),
                            "mapped": found.nat.mapped and _show(found.nat.mapped), "port_kept": found.nat.port_kept,
                            "contradicted_by": [_show(server) for server in found.nat.contradicted_by],
                            "reachable": found.reachability.name.lower()}
           for family, found in report.families.items()},
        "port_mapping": {"available": bool(report.port_mapping.protocols),
                         "protocol": next(iter(report.port_mapping.protocols), None),
                         "external_address": report.port_mapping.host or None,
                         "problem": report.port_mapping.problem or None,
                         "protocols": {finding.protocol: {"available": not finding.problem,
                                                          "external_address": finding.external_ip or None,
                                                          "problem": finding.problem or None}
                                       for finding in report.port_mapping.findings}},
        "advice": advise(report),
    }


def _show(address: Address) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


SERVER_COLUMNS = ("server", "address", "answer", "sees this machine as")


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = []
    for family, found in report.families.items():
        facts += [(f"{family} addresses", ", ".join(found.hosts) or "none"),
                  (f"{family} NAT", found.nat.kind.value),
                  (f"{family} reachable", found.reachability.value)]
    if not report.port_mapping.findings:
        return [*facts, ("port mapping", report.port_mapping.problem)]
    return [*facts, *((f"{finding.protocol} mapping", finding.problem or "possible" + (
        f", outside address {finding.external_ip}" if finding.external_ip else ""))
        for finding in report.port_mapping.findings)]


def _server_rows(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for server in sorted(report.servers, key=lambda server: (server.rtt is None, server.rtt)):
        address = "" if server.address is None else _show(server.address)
        answer = server.problem if server.rtt is None else f"{1000 * server.rtt:.1f} ms"
        rows.append((server.name, "" if address == server.name else address, answer,
                     "" if server.mapped is None else _show(server.mapped)))
    return rows


def _verdict(report: Report) -> str:
    answered = sum(server.rtt is not None for server in report.servers)
    return f"{'usable' if report.usable else 'not usable'}: {answered} of {len(report.servers)} servers answered"


def lines(report: Report) -> list[str]:
    """A report as lines of text."""
    facts, rows = _facts(report), [SERVER_COLUMNS, *_server_rows(report)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        *(f"{name:18}{value}" for name, value in facts), "",
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows), "",
        _verdict(report), *(f"- {sentence}" for sentence in advise(report)),
    ]


def _print_rich(report: Report) -> bool:
    """Print a report in colors and return ``True``, if the output is a terminal and ``rich`` is installed."""
    if not sys.stdout.isatty():
        return False
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ModuleNotFoundError:
        return False
    console = Console()
    facts = Table(show_header=False, box=None)
    for name, value in _facts(report):
        facts.add_row(name, escape(value))
    servers = Table(*SERVER_COLUMNS)
    for row in _server_rows(report):
        servers.add_row(*map(escape, row), style=None if row[2].endswith(" ms") else "dim")
    console.print(facts, servers)
    console.print(_verdict(report), style="bold green" if report.usable else "bold red")
    for sentence in advise(report):
        console.print(f"- {escape(sentence)}")
    return True
