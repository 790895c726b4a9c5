"""The network interfaces by which link-local IPv6 hosts are reached (RFC 4007).

Such an address is valid on one link only, so the system wants to know the interface as well: its number is the scope of
a socket address, and its name or number is the zone in a text, as in ``fe80::1%eth0``. Address objects have neither.
The scope of a host is remembered from what it sent, and from what was sent to it with a scope.
"""

from __future__ import annotations

from socket import if_nametoindex
from typing import Any

from ....limits import BoundedDict

__all__ = ["MAX_SCOPES", "Scopes", "is_link_local"]

MAX_SCOPES = 8192
"""Link-local hosts whose scope is remembered; the one noted first is evicted first."""


def is_link_local(packed: bytes) -> bool:
    """Whether 16 bytes are an address of fe80::/10 (RFC 4291 section 2.5.6)."""
    return packed[0] == 0xfe and packed[1] >> 6 == 2


class Scopes:
    """The scopes of link-local hosts, by their addresses of 16 bytes."""

    def __init__(self) -> None:
        self._scopes: BoundedDict[bytes, int] = BoundedDict(MAX_SCOPES)
        self._latest = 0

    def note(self, host: bytes, scope: int) -> bool:
        """Remember the scope of a host; whether :meth:`of` told another one before."""
        before = self.of(host)
        if self._scopes.get(host) != scope:
            self._scopes[host] = self._latest = scope
        return before != scope

    def of(self, host: bytes) -> int:
        """The scope of a host; that of another host if it is not known, as most machines are on one link; or 0."""
        return self._scopes.get(host, self._latest)

    @staticmethod
    def parse(zone: str) -> int:
        """The scope of a zone.

        :raises OSError: if this machine has no interface of this name.
        """
        return int(zone) if zone.isascii() and zone.isdecimal() and len(zone) < 10 else if_nametoindex(zone)

    @staticmethod
    def split(address: Any) -> tuple[str, int, int]:
        """The host without its zone, the port and the scope of a socket address of two or four elements.

        :raises OSError: if this machine has no such zone.
        :raises TypeError, ValueError: if it is no address.
        """
        host, port, *flow_and_scope = address
        scope = flow_and_scope[1] if len(flow_and_scope) > 1 else 0
        if not isinstance(host, str) or type(scope) is not int or not 0 <= scope < 1 << 32:
            raise ValueError(f"not an address: {address!r}")
        host, _, zone = host.partition("%")
        return host, port, Scopes.parse(zone) if zone else scope
