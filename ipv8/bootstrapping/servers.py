"""Reading the addresses of bootstrap servers, as they stand in a configuration."""

from __future__ import annotations

from typing import Any

from ..checks import shown
from ..messaging.address import UDPv4Address, UDPv6Address
from ..messaging.inet import classic_ipv4_to_bytes, ipv4_to_text, parse_host

__all__ = ["read_ip_server", "read_named_server"]

LONGEST_NAME = 253
"""Characters of the longest host name (RFC 1035)."""
LONGEST_LABEL = 63
"""Characters of the longest part of a host name between two dots."""

_NOT_IN_NAMES = frozenset(" \t\r\n\0:/[]@%,;'\"")


def _read_pair(entry: Any, example: str) -> tuple[Any, int]:
    try:
        if isinstance(entry, (str, bytes)):
            raise TypeError
        host, port = entry
    except (TypeError, ValueError):
        raise ValueError(f"it must be a pair such as {example}") from None
    if isinstance(port, bool) or not isinstance(port, (int, float)) or port % 1 != 0:
        raise ValueError(f"the port must be a number, not {type(port).__name__}")
    if not 0 < port < 65536:
        raise ValueError("the port must be from 1 to 65535")
    if not isinstance(host, str):
        raise ValueError(f"the address must be text, not {type(host).__name__}")  # noqa: TRY004 - one kind of error
    if host != host.strip():
        raise ValueError("there is a blank at the beginning or the end of the address")
    if not host:
        raise ValueError("the address is empty")
    return host, int(port)


def read_ip_server(entry: Any) -> UDPv4Address | UDPv6Address:
    """The address of a server that is given as an (IP address, port) pair.

    IPv4 addresses may have the forms that ``inet_aton`` reads. A link-local IPv6 address may have a zone.

    :raises ValueError: if nothing can be sent there. The message says why, without the entry.
    """
    host, port = _read_pair(entry, "('192.0.2.1', 6421)")
    text, _, zone = host.partition("%")
    if ":" not in host:
        try:
            text = ipv4_to_text(classic_ipv4_to_bytes(host))
        except OSError:
            raise ValueError(f"{shown(host)} is not an IP address: list names in dns_addresses") from None
    ip = parse_host(text)
    if ip is None:
        raise ValueError(f"{shown(host)} is not an IP address; the port is the second element of the pair, and there "
                         "are no brackets")
    if "%" in host and not (zone and ip.is_link_local):
        raise ValueError("only a link-local IPv6 address has a zone")
    if ip.is_unspecified or ip.is_multicast or text == "255.255.255.255":
        raise ValueError(f"{text} is not the address of one host")
    return UDPv4Address(str(ip), port) if ip.version == 4 else UDPv6Address(host, port)


def read_named_server(entry: Any) -> tuple[str, int]:
    """The name and the port of a server that is given as a (name, port) pair; the name may be an IP address.

    :raises ValueError: if it is no name. The message says why, without the entry.
    """
    host, port = _read_pair(entry, "('tracker.example.com', 6421)")
    if parse_host(host) is None:
        if not _NOT_IN_NAMES.isdisjoint(host):
            raise ValueError(f"{shown(host)} is not a host name; the port is the second element of the pair")
        labels = host.removesuffix(".").split(".")
        if len(host) > LONGEST_NAME or any(not 0 < len(label) <= LONGEST_LABEL for label in labels):
            raise ValueError(f"{shown(host)} is not a host name: a part of it is empty, or it is too long")
    return host, port
