"""The network: segments, interfaces in them, and routers between two of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ...checks import did_you_mean
from .arguments import check_kind
from .links import PERFECT, Access, Link
from .nat import NAT, Translator
from .trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...messaging.address import Address
    from .loop import VirtualTimeLoop

__all__ = ["Interface", "Internet", "Router", "Segment", "Wires", "check_nat"]

MAX_DATAGRAM = 65507
"""The maximum size of a datagram of UDP over IPv4, in bytes."""


class Wires:
    """What all segments of one network share: time, randomness, the trace, and broken connections.

    :param loop: the event loop of the simulation, which calls receivers.
    :param chance: the source of randomness for packets. Nothing else uses it.
    """

    def __init__(self, loop: VirtualTimeLoop, chance: random.Random, trace: Trace) -> None:
        self.loop = loop
        self.chance = chance
        self.trace = trace
        self._broken: set[frozenset[Interface]] = set()

    def drop(self, reason: str) -> None:
        """Count a dropped packet."""
        self.trace.drops[reason] += 1

    def sever(self, one: Interface, other: Interface) -> None:
        """Drop all packets between two interfaces of one segment."""
        self._broken.add(frozenset((one, other)))

    def mend(self, one: Interface, other: Interface) -> None:
        """Undo :meth:`sever`."""
        self._broken.discard(frozenset((one, other)))

    def are_separated(self, one: Interface, other: Interface) -> bool:
        """Whether packets between the two are dropped."""
        return one.island != other.island or bool(self._broken and frozenset((one, other)) in self._broken)


class Interface:
    """The interface of a host or router in a segment.

    ``connected`` is whether its cable is plugged in. Interfaces with different values of ``island`` do not reach one
    another.

    :param segment: the segment, which is joined at once.
    :param access: the line to the segment.
    :param receive: is called with source, destination and data of each packet that arrives.
    :param ips: the addresses of the interface; each must be free in the segment.
    """

    def __init__(self, segment: Segment, access: Access, receive: Callable[[Address, Address, bytes], None],
                 ips: Iterable[str]) -> None:
        self.segment = segment
        self.access = access
        self.receive = receive
        self.ips: list[str] = []
        self.connected = True
        self.island = 0
        for ip in ips:
            self.add_ip(ip)

    def add_ip(self, ip: str) -> None:
        """Add the address ``ip``; ``ValueError`` if it is not free."""
        self.segment.claim(ip, self)
        self.ips.append(ip)

    def remove_ip(self, ip: str) -> None:
        """Remove the address ``ip``."""
        self.ips.remove(ip)
        self.segment.release(ip)

    def unplug(self) -> None:
        """Leave the segment permanently."""
        self.connected = False
        for ip in list(self.ips):
            self.remove_ip(ip)

    def send(self, source: Address, destination: Address, data: bytes) -> None:
        """Send a packet."""
        segment = self.segment
        wires = segment.wires
        if not self.connected:
            wires.drop(Trace.DISCONNECTED)
            return
        lane = self.access.up
        if lane.is_plain:
            segment.route(wires.loop.time() + lane.link.latency, self, source, destination, data)
            return
        overflows = lane.overflows
        arrivals = lane.carry(wires.loop.time(), len(data))
        if not arrivals:
            wires.drop(Trace.LOST if lane.overflows == overflows else Trace.QUEUE_FULL)
        for when in arrivals:
            segment.route(when, self, source, destination, data)

    def enter(self, when: float, sender: Interface | None, source: Address, destination: Address, data: bytes,
              at_once: bool = False) -> None:
        """Take a packet that reaches the line of this interface at ``when``.

        :param at_once: whether the packet may be received before this method returns, if the line takes no time.
        """
        wires = self.segment.wires
        lane = self.access.down
        overflows = lane.overflows
        arrivals = lane.carry(when, len(data))
        if not arrivals:
            wires.drop(Trace.LOST if lane.overflows == overflows else Trace.QUEUE_FULL)
        for arrival in arrivals:
            if at_once and arrival <= wires.loop.time():
                self._arrive(sender, source, destination, data)
            else:
                wires.loop.schedule(arrival, self._arrive, sender, source, destination, data)

    def _arrive(self, sender: Interface | None, source: Address, destination: Address, data: bytes) -> None:
        wires = self.segment.wires
        if not self.connected or destination[0] not in self.ips:  # they changed while the packet was on its way
            wires.drop(Trace.DISCONNECTED)
        elif sender is not None and wires.are_separated(sender, self):
            wires.drop(Trace.PARTITIONED)
        else:
            self.receive(source, destination, data)


class Segment:
    """Interfaces that reach each other directly, with or without a router for all other addresses.

    :param wires: what the segments of the network share.
    """

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self.gateway: Router | None = None
        self._interfaces: dict[str, Interface] = {}

    def __contains__(self, ip: str) -> bool:
        return ip in self._interfaces

    def claim(self, ip: str, interface: Interface) -> None:
        """Give the address ``ip`` to ``interface``; ``ValueError`` if another one has it."""
        if ip in self._interfaces:
            raise ValueError(f"the address {ip} is taken in this network: choose another one")
        self._interfaces[ip] = interface

    def release(self, ip: str) -> None:
        """Free the address ``ip``."""
        del self._interfaces[ip]

    def route(self, when: float, sender: Interface | None, source: Address, destination: Address, data: bytes,
              at_once: bool = False) -> None:
        """Pass on a packet that is in the middle of this segment at ``when``; see ``Interface.enter``."""
        receiver = self._interfaces.get(destination[0])
        wires = self.wires
        if receiver is not None:
            if receiver.access.down.has_queue and when > wires.loop.time():
                wires.loop.schedule(when, receiver.enter, when, sender, source, destination, data)
            else:
                receiver.enter(when, sender, source, destination, data, at_once)
        elif self.gateway is None:
            wires.drop(Trace.UNROUTABLE)
        elif when > wires.loop.time():
            wires.loop.schedule(when, self.gateway.forward, source, destination, data)
        else:
            self.gateway.forward(source, destination, data)


class Internet(Segment):
    """The outermost segment, which has no router."""


class Router:
    """A router with a translator, an interface in an outer segment, and an inner segment.

    The inner segment may contain another router: a double NAT.

    :param outside: the outer segment.
    :param behaviour: the kind of translator.
    :param external_ip: the address of the router in the outer segment.
    :param link: the line to the outer segment. The inner segment is without latency and loss.
    """

    def __init__(self, outside: Segment, behaviour: NAT, external_ip: str, link: Link = PERFECT) -> None:
        wires = outside.wires
        self.inside = Segment(wires)
        self.inside.gateway = self
        self.network: str | None = None
        """The first three octets of inner addresses; ``None`` until there is one."""
        self.translator = Translator(behaviour, external_ip, random.Random(wires.chance.getrandbits(64)))
        self.interface = Interface(outside, Access(link, wires.chance), self._receive, [external_ip])

    @property
    def external_ip(self) -> str:
        """The address in the outer segment."""
        return self.translator.external_ip

    def forward(self, source: Address, destination: Address, data: bytes) -> None:
        """Take a packet from the inner segment to an address outside of it."""
        wires = self.inside.wires
        translator = self.translator
        now = wires.loop.time()
        external = translator.outbound(source, destination, now)
        if external is None:
            wires.drop(Trace.NO_PORT)
        elif destination[0] != translator.external_ip:
            self.interface.send(external, destination, data)
        elif not translator.behaviour.hairpinning:
            wires.drop(Trace.FILTERED)
        else:
            self._pass_in(external, destination, data, at_once=False)

    def _receive(self, source: Address, destination: Address, data: bytes) -> None:
        self._pass_in(source, destination, data, at_once=True)

    def _pass_in(self, source: Address, destination: Address, data: bytes, at_once: bool) -> None:
        wires = self.inside.wires
        now = wires.loop.time()
        internal = self.translator.inbound(source, destination, now)
        if internal is None:
            wires.drop(Trace.FILTERED)
        elif internal[0] not in self.inside:
            wires.drop(Trace.UNROUTABLE)
        else:
            self.inside.route(now, None, source, internal, data, at_once)

    def renew(self, external_ip: str) -> None:
        """Change the external address and remove all mappings."""
        self.interface.remove_ip(self.translator.external_ip)
        self.interface.add_ip(external_ip)
        self.translator.reset(external_ip)


def check_nat(nat: object, allowed: tuple[type, ...] = (NAT, Router, type(None))) -> None:
    """Check what says which NAT a machine is behind.

    :raises TypeError: if it is none of the ``allowed`` types.
    """
    presets = [name for name in vars(NAT) if isinstance(getattr(NAT, name), NAT)]
    hint = did_you_mean(nat.upper(), presets) if isinstance(nat, str) else ""
    other = ", a router or None" if Router in allowed else ""
    check_kind("nat", nat, allowed, f"a NAT such as NAT.SYMMETRIC{other}", hint)
