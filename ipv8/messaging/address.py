"""Socket addresses (doc/endpoints.md): what serializers, peers and endpoints have in common.

The classes are named tuples, so they compare and hash equal to plain tuples of the same content and to one another;
only their class tells them apart. They are also importable from ``ipv8.messaging.interfaces.udp.endpoint``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "Address",
    "DomainAddress",
    "HiddenAddress",
    "RelayedAddress",
    "TunnelledAddress",
    "UDPv4Address",
    "UDPv4LANAddress",
    "UDPv6Address",
    "has_network_address",
    "plain_address",
]


class UDPv4Address(NamedTuple):
    """An IPv4 address in dotted form and a UDP port."""

    ip: str
    port: int


class UDPv4LANAddress(NamedTuple):
    """The address of a peer inside its own local network: the key for it among a peer's addresses."""

    ip: str
    port: int


class UDPv6Address(NamedTuple):
    """An IPv6 address in text form, without scope, and a UDP port."""

    ip: str
    port: int


class DomainAddress(NamedTuple):
    """A DNS name and a UDP port."""

    host: str
    port: int


class TunnelledAddress(NamedTuple):
    """Where something came from that came out of a circuit of this node.

    An answer must go back by the circuit. So no socket sends to this class: an answer that went there would tell who
    has built the circuit.
    """

    ip: str
    port: int


class RelayedAddress(NamedTuple):
    """A public key whose owner is reached through another peer: an IPv6 address of 2001:20::/28 (RFC 7343), and 1.

    No packet on any network has such an address. Endpoints send to this class by their relay route (see
    ``ipv8.messaging.interfaces.routes``).
    """

    ip: str
    port: int


class HiddenAddress(NamedTuple):
    """The other end of a connection to or from a hidden service: an IPv6 address of 2001:20::/28 (RFC 7343), and 2.

    No packet on any network has such an address. Endpoints send to this class through the circuit of the connection
    (see ``ipv8.messaging.interfaces.hidden``).
    """

    ip: str
    port: int


KINDS_WITHOUT_NETWORK_ADDRESS: frozenset[type[Any]] = frozenset({RelayedAddress, TunnelledAddress, HiddenAddress})
"""Address classes that name no place on a network. Every endpoint has a route for each of them."""


def has_network_address(address: object) -> bool:
    """Whether a socket can send to ``address``: its class names a place on a network, such as an IP address."""
    return type(address) not in KINDS_WITHOUT_NETWORK_ADDRESS


Address = tuple[str, int] | UDPv4Address | UDPv6Address | DomainAddress


def plain_address(address: Any) -> Address:
    """``address`` as host and port: without the flow info and the scope of IPv6 socket addresses, and without a zone.

    The zone of a link-local address, as in ``fe80::1%eth0``, only means something on this machine. Addresses of two
    elements without a zone are returned as they are, and so is what is no address: programs may say anything of where
    a packet came from.
    """
    if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[0], str):
        return address  # type: ignore[no-any-return]  # as below
    host, port = address[:2]
    if len(address) == 2 and "%" not in host:
        return address  # type checkers take the caller's word for it
    host = host.partition("%")[0]
    return UDPv6Address(host, port) if ":" in host else UDPv4Address(host, port)
