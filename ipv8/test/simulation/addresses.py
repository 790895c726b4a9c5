"""The addresses of simulated hosts for which no others are given."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["AddressPlan"]

HOME_NETWORKS = ("192.168.0", "192.168.1", "192.168.2", "192.168.178", "10.0.0")
"""Networks that homes use; several homes may use the same one."""

FIRST_OCTET, OCTETS = 20, 80
"""Public addresses are from 20.0.0.0 to 99.255.255.255, a range without reserved networks."""


class AddressPlan:
    """Gives every public host a network of its own, so that limits for each network apply to single hosts.

    :param chance: the source of randomness for private addresses.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._count = 0

    def public_ipv4(self) -> str:
        """The next public address; the first 20 480 are in different /16 networks."""
        number = self._count
        self._count += 1
        rest, first = divmod(number, OCTETS)
        return f"{FIRST_OCTET + first}.{rest % 256}.{rest // 256 % 256}.{1 + number % 250}"

    def public_ipv6(self) -> str:
        """The next global address; the first 65 536 are in different /32 networks."""
        number = self._count
        self._count += 1
        network = 0x2A000000 + number % 65536
        return str(IPv6Address(network << 96 | number // 65536 << 64 | 1))

    def carrier(self) -> str:
        """The next network behind the NAT of a carrier (RFC 6598), as three octets."""
        number = self._count
        self._count += 1
        return f"100.{64 + number // 256 % 64}.{number % 256}"

    def home(self) -> str:
        """A random one of the networks that homes use, as three octets."""
        return self._chance.choice(HOME_NETWORKS)

    def host_number(self) -> int:
        """A random last octet of a host in a network of 256 addresses."""
        return self._chance.randint(2, 254)
