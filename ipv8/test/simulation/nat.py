"""Address translators and firewalls as plain state machines: addresses and times in, addresses out (RFC 4787)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from ...messaging.address import UDPv4Address

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ...messaging.address import Address

__all__ = ["NAT", "Dependence", "Firewall", "Permissions", "PortAllocation", "Translator"]

FIRST_PORT, LAST_PORT = 1024, 65535
"""External ports that are given out; the well-known ones are not (RFC 4787 section 4.2.2)."""

MAX_PERMISSIONS = 4096
"""Remote endpoints that a translator remembers for one mapping, or a firewall for one port; the one that was in use the
longest ago is forgotten first."""


class Dependence(Enum):
    """What of a remote endpoint makes a difference (RFC 4787 sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2

    def key(self, remote: Address) -> Hashable:
        """Equal for two remote endpoints if they are treated alike."""
        return None if self is _INDEPENDENT else remote[0] if self is _ADDRESS else tuple(remote[:2])


_INDEPENDENT, _ADDRESS = Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT


class PortAllocation(Enum):
    """Which external port a new mapping gets (RFC 4787 section 4.2)."""

    PRESERVING = "the internal port, or the next free one above it"
    SEQUENTIAL = "the next free one above the last that was given out"
    RANDOM = "any free one"
    PER_CONNECTION = "the sender's latest one, or the internal port, or any: whichever nobody has for that destination"


@dataclass(frozen=True)
class NAT:
    """How a translator behaves.

    :param mapping: on what of the destination the external port depends.
    :param filtering: which remote endpoints are let in: those that something was sent to, by this measure.
    :param ports: how external ports are chosen.
    :param hairpinning: whether hosts behind the same translator reach each other at their external addresses, which are
        then also the source that they see (RFC 4787 section 6).
    :param timeout: seconds without traffic after which a mapping or a permission is gone; RFC 4787 section 4.3 asks for
        at least 120.
    :param refreshed_by_inbound: whether packets from outside prolong it, as packets from inside do.
    :param exposed: whether everything that arrives at a port without a mapping goes to the same port of the first
        internal host, and everything that this host sends keeps its port: a one-to-one translator.
    :param tracks_strangers: whether a packet from outside that is for nobody inside occupies its port, as far as its
        sender is concerned, until the timeout.
    :raises ValueError: for ports per connection where a mapping, or what it lets in, is not one connection, and for
        strangers that are tracked otherwise.
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
        is_per_connection = self.ports is PortAllocation.PER_CONNECTION
        if is_per_connection and {self.mapping, self.filtering} != {Dependence.ADDRESS_AND_PORT_DEPENDENT}:
            raise ValueError("ports per connection need mapping and filtering to be address- and port-dependent")
        if self.tracks_strangers and not is_per_connection:
            raise ValueError("strangers are tracked together with ports per connection only")

    ONE_TO_ONE: ClassVar[NAT]
    """Everything passes, only the address changes."""
    FULL_CONE: ClassVar[NAT]
    """One external port for all; everybody may use it once it is there."""
    ADDRESS_RESTRICTED: ClassVar[NAT]
    """One external port for all; hosts that were sent to may answer."""
    PORT_RESTRICTED: ClassVar[NAT]
    """One external port for all; endpoints that were sent to may answer. The most common kind in homes."""
    SYMMETRIC: ClassVar[NAT]
    """Another, random, external port for each destination, which alone may answer."""
    SYMMETRIC_SEQUENTIAL: ClassVar[NAT]
    """As ``SYMMETRIC``, with consecutive ports."""
    LINUX_MASQUERADE: ClassVar[NAT]
    """``masquerade`` of the Linux kernel in a router that drops what is sent to itself, as homes have it: like
    ``PORT_RESTRICTED``, but hosts share a port as long as their destinations differ. The timeout is that of a
    connection that nobody answers; others have 120 seconds."""
    LINUX_UNPROTECTED: ClassVar[NAT]
    """The same in a router without rules for what is sent to itself: whoever sends first from outside is tracked, and
    later reached from another port than everybody else."""


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
    """Which remote endpoints may send to one local endpoint, and since when."""

    __slots__ = ("_filtering", "_granted", "_timeout")

    def __init__(self, filtering: Dependence, timeout: float) -> None:
        self._filtering = filtering
        self._timeout = timeout
        self._granted: dict[Hashable, float] = {}

    def grant(self, remote: Address, now: float) -> None:
        """Let ``remote``, and whoever counts as the same, in from ``now`` on."""
        key = self._filtering.key(remote)
        self._granted.pop(key, None)
        self._granted[key] = now
        if len(self._granted) > MAX_PERMISSIONS:
            del self._granted[next(iter(self._granted))]

    def admit(self, remote: Address, now: float, refresh: bool) -> bool:
        """Whether ``remote`` may send now, and, with ``refresh``, may therefore go on to do so."""
        granted = self._granted.get(self._filtering.key(remote))
        if granted is None or now - granted > self._timeout:
            return False
        if refresh:
            self.grant(remote, now)
        return True


class _Mapping:
    """An internal endpoint and the external port that it has for some or all destinations."""

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

    All times are seconds of any clock that does not run backwards.

    :param behaviour: what kind it is.
    :param external_ip: its address on the outside.
    :param chance: where random ports come from.
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

        The destination may answer from now on.
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
        """The internal address that a packet from the outside to ``destination`` is for; ``None`` if it is dropped."""
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
        """Let everybody reach ``internal`` at a port for good, as UPnP or a person arranges; whether it was free.

        What ``internal`` sends comes from that port from now on.
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
        """Send to this host whatever arrives at a port without a mapping, if that is the behaviour."""
        if self.behaviour.exposed and self.exposed_ip is None:
            self.exposed_ip = internal_ip

    def reset(self, external_ip: str | None = None) -> None:
        """Forget all mappings, as a restart does, and maybe get another external address."""
        for table in (self._by_key, self._by_slot, self._forwarded, self._latest, self._strangers, self._exposed_ports):
            table.clear()
        self.external_ip = external_ip or self.external_ip

    def _is_expired(self, mapping: _Mapping, now: float) -> bool:
        return not mapping.permanent and now - mapping.last_used > self.behaviour.timeout

    def _slot(self, port: int, remote: Address) -> Hashable:
        """What one mapping only may have: an external port, or one as far as ``remote`` is concerned."""
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
        """A port for a mapping from ``source`` to ``destination``, by the rule of the behaviour."""
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
        """Whether a mapping to ``remote`` may have this port; one that has expired is removed for it."""
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
    """A stateful packet filter that translates nothing, IPv4 or IPv6.

    :param filtering: which remote endpoints are let in: those that something was sent to, by this measure.
    :param timeout: seconds without traffic after which they are not.
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
