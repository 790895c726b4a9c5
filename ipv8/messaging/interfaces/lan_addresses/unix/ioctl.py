"""Addresses by the ``SIOCGIFADDR`` control call of Linux."""

from __future__ import annotations

import fcntl
import socket
import struct

from ..addressprovider import AddressProvider

__all__ = ["Ioctl"]

SIOCGIFADDR = 0x8915
"""Request for the IPv4 address of an interface (netdevice(7))."""


class Ioctl(AddressProvider):
    """The first IPv4 address of each interface that has one."""

    def get_addresses(self) -> set[str]:
        """Ask for each interface of the system."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            return {address for _, name in socket.if_nameindex() for address in self._address_of(control, name)}

    def _address_of(self, control: socket.socket, name: str) -> set[str]:
        # struct ifreq: 16 bytes of name, then a sockaddr_in with the address at its offset 4; 40 bytes on 64 bits.
        request = struct.pack("40s", name.encode()[:15])
        try:
            answer = fcntl.ioctl(control.fileno(), SIOCGIFADDR, request)
        except OSError:
            self.on_exception()
            return set()
        return {socket.inet_ntoa(answer[20:24])}
