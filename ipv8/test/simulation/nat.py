"""Address translators (NATs) and firewalls as state machines of addresses and times, without I/O (RFC 4787)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from ...messaging.address import UDPv4Address
from .arguments import check_kind, check_number

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ...messaging.address import Address

__all__ = ["NAT", "Dependence", "Firewall", "Permissions", "PortAllocation", "Translator"]

FIRST_PORT, LAST_PORT = 1024, 65535
"""The range of external ports, without the well-known ones (RFC 4787 section 4.2.2)."""

MAX_PERMISSIONS = 4096
"""The maximum number of remote endpoints of one mapping of a translator, or of one port of a firewall. The one that was
used longest ago is removed first."""


class Dependence(Enum):
    """The part of a remote endpoint that mapping or filtering depends on (RFC 4787 sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2

    def key(self, remote: Address) -> Hashable:
        """A key that is equal for remote endpoints that are treated alike."""
        return None if self is _INDEPENDENT else remote[0] if self is _ADDRESS else tuple(remote[:2])


_INDEPENDENT, _ADDRESS = Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT


class PortAllocation(Enum):
    """How the external port of a new mapping is chosen (RFC 4787 section 4.2)."""

    PRESERVING = "the internal port, or the next free one above it"
    SEQUENTIAL = "the next free one above the last that was given out"
    RANDOM = "any free one"
    PER_CONNECTION = "the latest one of the sender, the internal port, or any: the first one free for the destination"


@dataclass(frozen=True)
class NAT:
    """The behaviour of an address translator.

    :param mapping: the part of the destination that the external port depends on.
    :param filtering: the part of a remote endpoint that must be equal to that of a destination, so that its packets
        are let in.
    :param ports: how external ports are chosen.
    :param hairpinning: whether hosts behind the same translator reach each other at their external addresses, and see
        these addresses as the source (RFC 4787 section 6).
    :param timeout: the seconds without traffic after which a mapping or a permission is removed; RFC 4787 section 4.3
        asks for at least 120.
    :param refreshed_by_inbound: whether packets from outside prolong a mapping, as packets from inside do.
    :param exposed: whether packets to a port without a mapping go to the same port of the first internal host, and
        packets of this host keep their port: a one-to-one translator.
    :param tracks_strangers: whether a packet from outside that is not let in occupies its port for its sender until
        the timeout.
    :raises TypeError: for a value of another type.
    :raises ValueError: for ``PER_CONNECTION`` unless mapping and filtering are address- and port-dependent, and for
        ``tracks_strangers`` without ``PER_CONNECTION``.
    """

    mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT
    ports: PortAllocation = PortAllocation.PRESERVING
    hairpinning: bool = False
    timeout: float = 120.0
    refreshed_by_inbound: bool = False
    exposed: bool = False
    tracks_strangers: bool = False

    def __post_init__(self) -> None:
        check_kind("mapping", self.mapping, Dependence, "a Dependence")
        check_kind("filtering", self.filtering, Dependence, "a Dependence")
        check_kind("ports", self.ports, PortAllocation, "a PortAllocation")
        check_number("timeout", self.timeout, positive=True)
        is_per_connection = self.ports is PortAllocation.PER_CONNECTION
        if is_per_connection and {self.mapping, self.filtering} != {Dependence.ADDRESS_AND_PORT_DEPENDENT}:
            raise ValueError("ports per connection need mapping and filtering that are ADDRESS_AND_PORT_DEPENDENT")
        if self.tracks_strangers and not is_per_connection:
            raise ValueError("tracks_strangers needs ports per connection: set ports to PER_CONNECTION")

    ONE_TO_ONE: ClassVar[NAT]
    """All packets are let in; only the address is translated."""
    FULL_CONE: ClassVar[NAT]
    """One external port for all destinations; once it exists, all packets to it are let in."""
    ADDRESS_RESTRICTED: ClassVar[NAT]
    """One external port for all destinations; packets of hosts that something was sent to are let in."""
    PORT_RESTRICTED: ClassVar[NAT]
    """One external port for all destinations; packets of endpoints that something was sent to are let in. This is the
    most common kind in homes."""
    SYMMETRIC: ClassVar[NAT]
    """A random external port for each destination; only packets of that destination are let in."""
    SYMMETRIC_SEQUENTIAL: ClassVar[NAT]
    """As ``SYMMETRIC``, with consecutive ports."""
    LINUX_MASQUERADE: ClassVar[NAT]
    """``masquerade`` of the Linux kernel in a router that drops packets to itself, as routers in homes do. It is like
    ``PORT_RESTRICTED``, but hosts share a port as long as their destinations differ. The timeout is that of connections
    without an answer; the kernel keeps others for 120 seconds."""
    LINUX_UNPROTECTED: ClassVar[NAT]
    """The same in a router that does not drop packets to itself: a remote endpoint that sends before something was sent
    to it is tracked, and packets to it get another external port."""


NAT.ONE_TO_ONE = NAT(filtering=Dependence.ENDPOINT_INDEPENDENT, hairpinning=True, exposed=True)
NAT.FULL_CONE = NAT(filtering=Dependence.ENDPOINT_INDEPENDENT)
NAT.ADDRESS_RESTRICTED = NAT(filtering=Dependence.ADDRESS_DEPENDENT)
NAT.PORT_RESTRICTED = NAT(filtering=Dependence.ADDRESS_AND_PORT_DEPENDENT)
NAT.SYMMETRIC = NAT(mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, ports=PortAllocation.RANDOM)
NAT.SYMMETRIC_SEQUENTIAL = NAT(mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, ports=PortAllocation.SEQUENTIAL)
NAT.LINUX_MASQUERADE = NAT(mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, ports=PortAllocation.PER_CONNECTION,
                           timeout=30.0, refreshed_by_inbound=True)
NAT.LINUX_UNPROTECTED = replace(NAT.LINUX_MASQUERADE, tracks_strangers=True)


class Permissions:
    """The remote endpoints whose packets to one local endpoint are let in, and since when."""

    __slots__ = ("_filtering", "_granted", "_timeout")

    def __init__(self, filtering: Dependence, timeout: float) -> None:
        self._filtering = filtering
        self._timeout = timeout
        self._granted: dict[Hashable, float] = {}

    def grant(self, remote: Address, now: float) -> None:
        """Let packets of ``remote``, and of endpoints that are treated alike, in from ``now`` on."""
        key = self._filtering.key(remote)
        self._granted.pop(key, None)
        self._granted[key] = now
        if len(self._granted) > MAX_PERMISSIONS:
            del self._granted[next(iter(self._granted))]

    def admit(self, remote: Address, now: float, refresh: bool) -> bool:
        """Whether a packet of ``remote`` is let in now; ``refresh`` prolongs the permission if it is."""
        granted = self._granted.get(self._filtering.key(remote))
        if granted is None or now - granted > self._timeout:
            return False
        if refresh:
            self.grant(remote, now)
        return True


class _Mapping:
    """An internal endpoint and its external port for some or all destinations."""

    __slots__ = ("external", "internal", "key", "last_used", "permanent", "permissions", "slot")

    def __init__(self, key: Hashable, slot: Hashable, internal: Address, external: UDPv4Address,
                 permissions: Permissions, now: float) -> None:
        self.key = key
        self.slot = slot
        self.internal = UDPv4Address(*internal)
        self.external = external
        self.permissions = permissions
        self.last_used = now
        self.permanent = False


class Translator:
    """The state of one address translator with one external address.

    All times are in seconds of a clock that does not go back.

    :param behaviour: the kind of translator.
    :param external_ip: its address on the outside.
    :param chance: the source of random ports.
    """

    def __init__(self, behaviour: NAT, external_ip: str, chance: random.Random | None = None) -> None:
        self.behaviour = behaviour
        self.external_ip = external_ip
        self.exposed_ip: str | None = None
        self._chance = chance or random.Random(0)
        self._by_key: dict[Hashable, _Mapping] = {}
        self._by_slot: dict[Hashable, _Mapping] = {}
        self._forwarded: dict[Hashable, _Mapping] = {}
        self._latest: dict[Hashable, _Mapping] = {}
        self._exposed_ports: set[int] = set()
        self._strangers: dict[Hashable, float] = {}
        self._last_port = self._chance.randint(FIRST_PORT, LAST_PORT)

    def __len__(self) -> int:
        return len(self._by_slot)

    def outbound(self, source: Address, destination: Address, now: float) -> UDPv4Address | None:
        """The external source address of a packet from the inside; ``None`` if no port is free.

        Answers of the destination are let in from now on.
        """
        if self.behaviour.exposed and source[0] == self.exposed_ip:
            self._exposed_ports.add(source[1])
            return UDPv4Address(self.external_ip, source[1])
        forwarded = self._forwarded.get(tuple(source[:2]))
        if forwarded is not None:
            return forwarded.external
        key = (*source[:2], self.behaviour.mapping.key(destination))
        mapping = self._by_key.get(key)
        if mapping is None or self._is_expired(mapping, now):
            if mapping is not None:
                self._remove(mapping)
            port = self._free_port(source, destination, now)
            if port is None:
                return None
            mapping = self._add(key, self._slot(port, destination), source, port, now)
            self._latest[tuple(source[:2])] = mapping
        mapping.last_used = now
        mapping.permissions.grant(destination, now)
        return mapping.external

    def inbound(self, source: Address, destination: Address, now: float) -> UDPv4Address | None:
        """The internal destination of a packet from the outside; ``None`` if the packet is dropped."""
        slot = self._slot(destination[1], source)
        mapping = self._by_slot.get(slot) or self._by_slot.get(destination[1])
        if mapping is None or self._is_expired(mapping, now):
            if self.behaviour.tracks_strangers:
                self._note_stranger(slot, now)
            return None if self.exposed_ip is None else UDPv4Address(self.exposed_ip, destination[1])
        refresh = self.behaviour.refreshed_by_inbound
        if not mapping.permanent:
            independent = self.behaviour.filtering is _INDEPENDENT
            if not independent and not mapping.permissions.admit(source, now, refresh):
                return None
            if refresh:
                mapping.last_used = now
        return mapping.internal

    def forward(self, internal: Address, external_port: int, now: float) -> bool:
        """Forward a port to ``internal`` permanently, as UPnP or a person does; whether the port was free.

        Packets of ``internal`` get that external port from now on.
        """
        current = self._by_slot.get(external_port)
        if current is not None and not self._is_expired(current, now):
            return False
        if current is not None:
            self._remove(current)
        mapping = self._add(("forwarded", external_port), external_port, internal, external_port, now)
        mapping.permanent = True
        self._forwarded[tuple(internal[:2])] = mapping
        return True

    def expose(self, internal_ip: str) -> None:
        """Make this the host for packets to ports without a mapping, if there is none yet and ``exposed`` is set."""
        if self.behaviour.exposed and self.exposed_ip is None:
            self.exposed_ip = internal_ip

    def reset(self, external_ip: str | None = None) -> None:
        """Remove all mappings, as a restart does, and change the external address if one is given."""
        for table in (self._by_key, self._by_slot, self._forwarded, self._latest, self._strangers, self._exposed_ports):
            table.clear()
        self.external_ip = external_ip or self.external_ip

    def _is_expired(self, mapping: _Mapping, now: float) -> bool:
        return not mapping.permanent and now - mapping.last_used > self.behaviour.timeout

    def _slot(self, port: int, remote: Address) -> Hashable:
        """The key that one mapping only can have: an external port, or an external port and a remote endpoint."""
        return (port, *remote[:2]) if self.behaviour.ports is PortAllocation.PER_CONNECTION else port

    def _add(self, key: Hashable, slot: Hashable, internal: Address, port: int, now: float) -> _Mapping:
        permissions = Permissions(self.behaviour.filtering, self.behaviour.timeout)
        mapping = _Mapping(key, slot, internal, UDPv4Address(self.external_ip, port), permissions, now)
        self._by_key[key] = self._by_slot[slot] = mapping
        self._last_port = port
        return mapping

    def _remove(self, mapping: _Mapping) -> None:
        del self._by_key[mapping.key]
        del self._by_slot[mapping.slot]

    def _note_stranger(self, slot: Hashable, now: float) -> None:
        self._strangers.pop(slot, None)
        self._strangers[slot] = now
        if len(self._strangers) > MAX_PERMISSIONS:
            del self._strangers[next(iter(self._strangers))]

    def _free_port(self, source: Address, destination: Address, now: float) -> int | None:
        """A free external port for a mapping from ``source`` to ``destination``, by the rule of the behaviour."""
        rule = self.behaviour.ports
        first = source[1]
        if rule is PortAllocation.SEQUENTIAL:
            first = self._last_port + 1
        elif rule is PortAllocation.PER_CONNECTION:
            latest = self._latest.get(tuple(source[:2]))
            if latest is not None and self._is_expired(latest, now):
                latest = None
            for port in (source[1] if latest is None else latest.external.port, source[1]):
                if self._is_free(port, destination, now):
                    return port
        if rule in {PortAllocation.RANDOM, PortAllocation.PER_CONNECTION}:
            first = self._chance.randint(FIRST_PORT, LAST_PORT)
        span = LAST_PORT - FIRST_PORT + 1
        ports = (FIRST_PORT + (first - FIRST_PORT + offset) % span for offset in range(span))
        return next((port for port in ports if self._is_free(port, destination, now)), None)

    def _is_free(self, port: int, remote: Address, now: float) -> bool:
        """Whether a mapping to ``remote`` can have this port. An expired mapping with the port is removed."""
        slot = self._slot(port, remote)
        tracked = self._strangers.get(slot)
        if port in self._exposed_ports or (tracked is not None and now - tracked <= self.behaviour.timeout):
            return False
        for taken in dict.fromkeys((slot, port)):
            mapping = self._by_slot.get(taken)
            if mapping is not None:
                if not self._is_expired(mapping, now):
                    return False
                self._remove(mapping)
        return True


class Firewall:
    """A stateful packet filter without translation, for IPv4 and IPv6.

    :param filtering: the part of a remote endpoint that must be equal to that of a destination, so that its packets
        are let in.
    :param timeout: the seconds without traffic after which they are not let in any more.
    """

    def __init__(self, filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT, timeout: float = 120.0) -> None:
        self.filtering = filtering
        self.timeout = timeout
        self._by_local: dict[Address, Permissions] = {}

    def outbound(self, source: Address, destination: Address, now: float) -> None:
        """Note a packet from the inside."""
        permissions = self._by_local.get(source)
        if permissions is None:
            permissions = self._by_local[source] = Permissions(self.filtering, self.timeout)
        permissions.grant(destination, now)

    def inbound(self, source: Address, destination: Address, now: float) -> bool:
        """Whether a packet from the outside passes."""
        permissions = self._by_local.get(destination)
        return permissions is not None and permissions.admit(source, now, refresh=True)
