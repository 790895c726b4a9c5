"""The behaviour of translators with single packets, in the terms of RFC 4787, in the kernel and in the simulator."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from ipv8.messaging.address import UDPv4Address
from ipv8.test.simulation import Translator

from .internet import NETWORKS, Internet
from .kinds import KINDS

if TYPE_CHECKING:
    from .kinds import Kind

__all__ = ["examine", "examine_kernel", "examine_simulator"]

PORT = 8090
OTHER_PORT = 3000
REMOTES = 6
ARRIVAL_SECONDS = 0.2
"""Seconds after which a packet counts as dropped. There is no latency here."""

EXTERNAL_IP, HOME = "20.0.0.1", "192.168.1"


class Box(Protocol):
    """A translator with two inner hosts, which use the same port, and several outer hosts."""

    def outbound(self, host: int, remote: int, remote_port: int) -> int | None:
        """Send from an inner host to an outer one; the source port that it sees, or ``None`` if nothing arrives."""

    def inbound(self, remote: int, remote_port: int, port: int) -> bool:
        """Whether a packet of an outer host to ``port`` of the translator reaches an inner host."""


class KernelBox:
    """Sockets around a router of the laboratory."""

    def __init__(self, internet: Internet, kind: Kind, stack: ExitStack) -> None:
        site = internet.add_site(kind, 1)
        site.host.configure(f"addr add {site.inside.rpartition('.')[0]}.3/24 dev eth")
        self._ip = site.ip
        network = site.inside.rpartition(".")[0]
        self._inside = [stack.enter_context(site.host.socket(f"{network}.{last}", PORT)) for last in (2, 3)]
        self._remotes = {}
        for remote in range(REMOTES):
            other = internet.add_site(KINDS["none"], 2)
            for port in (PORT, OTHER_PORT):
                self._remotes[remote, port] = stack.enter_context(other.host.socket(other.ip, port))
        for each in (*self._inside, *self._remotes.values()):
            each.settimeout(ARRIVAL_SECONDS)

    def outbound(self, host: int, remote: int, remote_port: int) -> int | None:
        """See :class:`Box`."""
        receiver = self._remotes[remote, remote_port]
        self._inside[host].sendto(b"outbound", receiver.getsockname())
        try:
            _, (_, port) = receiver.recvfrom(64)
        except TimeoutError:
            return None
        return int(port)

    def inbound(self, remote: int, remote_port: int, port: int) -> bool:
        """See :class:`Box`."""
        self._remotes[remote, remote_port].sendto(b"inbound", (self._ip, port))
        try:
            self._inside[0].recv(64)
        except TimeoutError:
            return False
        return True


class SimulatedBox:
    """A translator of the simulator. No time passes."""

    def __init__(self, kind: Kind) -> None:
        assert kind.simulated is not None
        self._translator = Translator(kind.simulated, EXTERNAL_IP, random.Random(1))
        self._translator.expose(f"{HOME}.2")

    def outbound(self, host: int, remote: int, remote_port: int) -> int | None:
        """See :class:`Box`."""
        external = self._translator.outbound(UDPv4Address(f"{HOME}.{2 + host}", PORT), _remote(remote, remote_port), 0)
        return None if external is None else external.port

    def inbound(self, remote: int, remote_port: int, port: int) -> bool:
        """See :class:`Box`."""
        arrived = self._translator.inbound(_remote(remote, remote_port), UDPv4Address(EXTERNAL_IP, port), 0)
        return arrived == (f"{HOME}.2", PORT)


def _remote(remote: int, port: int) -> UDPv4Address:
    return UDPv4Address(f"{NETWORKS[2]}.{1 + remote}", port)


def _dependence(same_for_port: bool, same_for_host: bool) -> str:
    if same_for_host:
        return "endpoint-independent"
    return "address-dependent" if same_for_port else "address- and port-dependent"


def examine(box: Box, is_shared: bool = True) -> dict[str, str]:
    """The results, by the names of the properties.

    :param is_shared: whether the translator is meant for more than one inner host.
    """
    facts = {}
    port = box.outbound(0, 0, PORT)
    if port is None:
        return {"outbound": "nothing passes"}
    facts["port"] = "kept" if port == PORT else "another one"
    to_other_port, to_other_host = box.outbound(0, 0, OTHER_PORT), box.outbound(0, 1, PORT)
    facts["mapping"] = _dependence(to_other_port == port, to_other_host == port)
    box.outbound(0, 2, PORT)
    ports = {0: port, 2: box.outbound(0, 2, PORT) or 0}
    facts["filtering"] = _dependence(box.inbound(2, OTHER_PORT, ports[2]), box.inbound(4, PORT, ports[2]))
    facts["answers"] = "pass" if box.inbound(0, PORT, ports[0]) else "are dropped"
    # A packet of an outer host comes before the first packet to it, as an early puncture does.
    facts["early packet"] = "passes" if box.inbound(3, PORT, PORT) else "is dropped"
    after = box.outbound(0, 3, PORT)
    facts["port after an early packet"] = "as before" if after == PORT else "another one"
    facts["answers after an early packet"] = "pass" if box.inbound(3, PORT, after or 0) else "are dropped"
    later = box.outbound(0, 3, OTHER_PORT)
    facts["port for others afterwards"] = ("as before" if later == PORT else
                                           "as after the early packet" if later == after else "another one")
    if is_shared:
        shared = box.outbound(1, 5, PORT)
        facts["second host with the same port"] = "has the same port" if shared == PORT else "has another port"
        shared = box.outbound(1, 0, PORT)
        facts["second host, same destination"] = "has the same port" if shared == port else "has another port"
    return facts


def examine_kernel(kind: Kind) -> dict[str, str]:
    """The results for the kernel."""
    with Internet(delay=0) as internet, ExitStack() as stack:
        return examine(KernelBox(internet, kind, stack), _is_shared(kind))


def examine_simulator(kind: Kind) -> dict[str, str]:
    """The results for the simulator."""
    return examine(SimulatedBox(kind), _is_shared(kind))


def _is_shared(kind: Kind) -> bool:
    return kind.simulated is not None and not kind.simulated.exposed
