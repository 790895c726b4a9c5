"""Socket addresses (spec 03 section 1): what serializers, peers and endpoints have in common.

The classes are named tuples, so they compare and hash equal to plain tuples of the same content and to one another;
only their class tells them apart. They are also importable from ``ipv8.messaging.interfaces.udp.endpoint``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Address", "DomainAddress", "RelayedAddress", "UDPv4Address", "UDPv4LANAddress", "UDPv6Address"]


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


class RelayedAddress(UDPv6Address):
    """The address of somebody whom no socket reaches, and who carries packets there.

    It looks like an IPv6 address, so that programs can print, compare and pack it as one. Endpoints call ``carry``.
    """

    #: Takes packets on their way; an address without one leads nowhere.
    carrier: Callable[[RelayedAddress, bytes], None] | None = None

    @classmethod
    def by(cls, carrier: Callable[[RelayedAddress, bytes], None], host: str, port: int) -> RelayedAddress:
        """The address of whoever ``carrier`` knows as ``host`` and ``port``."""
        address = cls(host, port)
        address.carrier = carrier
        return address

    def carry(self, packet: bytes) -> None:
        """Let ``packet`` be carried, if there is a way."""
        if self.carrier is not None:
            self.carrier(self, packet)


Address = tuple[str, int] | UDPv4Address | UDPv6Address | DomainAddress
