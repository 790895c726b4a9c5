"""The gateways to the internet that the operating system tells."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address

__all__ = ["default_gateways", "parse_routes"]

ROUTES_FILE = "/proc/net/route"
ROUTE_GATEWAY_FLAG = 0x2

MAX_GATEWAYS = 4
"""Gateways that are asked; there is usually one."""


def parse_routes(table: str) -> list[str]:
    """The gateways of the default routes in a routing table in the format of Linux."""
    gateways = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        with suppress(ValueError, IndexError):
            if int(fields[1], 16) == 0 and int(fields[3], 16) & ROUTE_GATEWAY_FLAG:
                gateways.append(str(IPv4Address(socket.htonl(int(fields[2], 16)).to_bytes(4, "big"))))
    return list(dict.fromkeys(gateways))[:MAX_GATEWAYS]


def default_gateways() -> list[str]:
    """The IPv4 addresses of the gateways; none where the system does not tell (Linux does)."""
    try:
        with open(ROUTES_FILE, encoding="ascii") as file:
            return parse_routes(file.read())
    except OSError:
        return []
