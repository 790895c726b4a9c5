"""Text forms of IP addresses, the same on all platforms: the C library is not called.

Bytes are in network order: 4 bytes for IPv4, 16 bytes for IPv6. Parsers raise ``OSError`` for text that they cannot
read, as the module ``socket`` does. Texts that are too long to be an address are not looked into.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from struct import Struct

__all__ = ["HOST_BITS", "RELAYED_PORT", "classic_ipv4_to_bytes", "ipv4_to_bytes", "ipv4_to_text", "ipv6_to_bytes",
           "ipv6_to_text", "is_global", "is_orchid", "is_overlay_host", "mid_of_overlay_host", "network_of",
           "overlay_host", "parse_host"]

HOST_BITS = (32, 64)
"""Prefix lengths of one host, for IPv4 and IPv6: a host with one IPv6 address has all of its /64 (RFC 6177)."""

REMEMBERED_HOSTS = 8192
"""Texts of hosts for which the results are kept; the least recently used is evicted first."""

LONGEST_HOST = 255
"""Characters of the longest text of a host for which the results are kept: no name in the DNS is longer (RFC 1035)."""

OVERLAY_PREFIX = 0x2001002 << 100
"""2001:20::/28, from which no address is ever routed: it is kept for hashes of keys (RFC 7343)."""

SHA1_OF_KEY = 1 << 96
"""The four bits behind the prefix, which name the hash: SHA-1 of a public key, shortened to its first 96 bits."""

OVERLAY_HOSTS = "2001:21:"
"""How the texts of such addresses begin."""

MID_SIZE_IN_HOST = 12
"""Bytes of the SHA-1 of a key that such an address has, at its end."""

RELAYED_PORT = 1
"""The port that goes with an overlay host, where one must be."""

_LONGEST_IPV4 = len("255.255.255.255")
_LONGEST_IPV6 = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_LONGEST_CLASSIC = 64  # leading zeros are allowed

_GROUPS = Struct(">8H")
_IPV6_FORM = ":".join(["{:x}"] * 8)
_ZERO_GROUPS = r"\b0(?::0)+\b"
_CLASSIC_NUMBER = r"0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*"
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def ipv4_to_text(packed: bytes) -> str:
    """Dotted decimal form of 4 bytes."""
    return "{}.{}.{}.{}".format(*packed)


def ipv4_to_bytes(text: str) -> bytes:
    """Read four decimal numbers without leading zeros (what ``inet_pton`` accepts)."""
    numbers = text.split(".") if len(text) <= _LONGEST_IPV4 else ()
    if len(numbers) == 4:
        try:
            packed = bytes(map(int, numbers))
        except ValueError:
            pass
        else:
            # int() also accepts signs, spaces, underscores and digits of other scripts. Only one spelling is allowed.
            if ipv4_to_text(packed) == text:
                return packed
    raise OSError(f"not a dotted quad: {text[:64]!r}")


def classic_ipv4_to_bytes(text: str) -> bytes:
    """Read what ``inet_aton`` reads: one to four decimal, octal or hexadecimal numbers; the last one fills the rest."""
    try:
        return ipv4_to_bytes(text)
    except OSError:
        numbers = text.split(".") if len(text) <= _LONGEST_CLASSIC else []
    if 1 <= len(numbers) <= 4 and all(re.fullmatch(_CLASSIC_NUMBER, number) for number in numbers):
        *leading, last = (_classic_number(number) for number in numbers)
        if all(number < 256 for number in leading) and last < 1 << 8 * (4 - len(leading)):
            return bytes(leading) + last.to_bytes(4 - len(leading), "big")
    raise OSError(f"not an IPv4 address: {text[:64]!r}")


def _classic_number(digits: str) -> int:
    if digits[:2] in {"0x", "0X"}:
        return int(digits[2:] or "0", 16)
    return int(digits, 8 if digits[0] == "0" else 10)


def ipv6_to_text(packed: bytes) -> str:
    """Shortest lower-case form of 16 bytes. An IPv4 address inside the IPv6 address is in dotted form."""
    if packed.startswith(_MAPPED_PREFIX):
        return "::ffff:" + ipv4_to_text(packed[12:])
    if not any(packed[:12]) and any(packed[12:14]):
        return "::" + ipv4_to_text(packed[12:])
    text = _IPV6_FORM.format(*_GROUPS.unpack(packed))
    zeros = max(re.finditer(_ZERO_GROUPS, text), key=lambda match: len(match[0]), default=None)
    if zeros is None:
        return text
    return text[: zeros.start()].rstrip(":") + "::" + text[zeros.end() :].lstrip(":")


def ipv6_to_bytes(text: str) -> bytes:
    """Read an IPv6 address without scope (what ``inet_pton`` accepts)."""
    try:
        if len(text) <= _LONGEST_IPV6 and "%" not in text:
            return IPv6Address(text).packed
    except AddressValueError:
        pass
    raise OSError(f"not an IPv6 address: {text[:64]!r}")


def is_orchid(packed: bytes) -> bool:
    """Whether 16 bytes are an address of 2001:20::/28, which stands for a hash and is routed nowhere (RFC 7343)."""
    return packed.startswith(b"\x20\x01\x00") and packed[3] >> 4 == 2


def overlay_host(mid: bytes) -> str:
    """The IPv6 address that stands for the public key with the SHA-1 ``mid`` (20 bytes), as text.

    It belongs to the overlay routable cryptographic hash identifiers of RFC 7343.
    """
    return ipv6_to_text((OVERLAY_PREFIX | SHA1_OF_KEY | int.from_bytes(mid[:MID_SIZE_IN_HOST], "big"))
                        .to_bytes(16, "big"))


def is_overlay_host(host: str) -> bool:
    """Whether ``host`` is an address as :func:`overlay_host` makes them, which leads nowhere on any network."""
    return host.startswith(OVERLAY_HOSTS)


def mid_of_overlay_host(host: str) -> bytes:
    """The first 12 bytes of the SHA-1 of the key that an overlay host stands for."""
    return ipv6_to_bytes(host)[-MID_SIZE_IN_HOST:]


def parse_host(host: str) -> IPv4Address | IPv6Address | None:
    """The address that ``host`` is the text of; ``None`` for any other text.

    For an IPv4 address that is mapped into IPv6, it is the IPv4 address. A scope (``%eth0``) is ignored.
    """
    return _parse_host(host) if len(host) <= LONGEST_HOST else None


@lru_cache(REMEMBERED_HOSTS)
def _parse_host(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def network_of(host: str, ipv4_bits: int = 24, ipv6_bits: int = 48) -> bytes:
    """The network of ``host``, as bytes. They are equal for hosts of one network, and different for all others.

    :param host: the text of an IP address. An IPv4 address that is mapped into IPv6 is in its IPv4 network. Any other
        text is a network of its own.
    :param ipv4_bits: how many leading bits the IPv4 addresses of one network have in common.
    :param ipv6_bits: the same for IPv6. Use ``*HOST_BITS`` for the addresses of one host.
    """
    if len(host) > LONGEST_HOST:
        return host.encode(errors="surrogatepass")
    return _network_of(host, ipv4_bits, ipv6_bits)


@lru_cache(REMEMBERED_HOSTS)
def _network_of(host: str, ipv4_bits: int, ipv6_bits: int) -> bytes:
    address = _parse_host(host)
    if address is None:
        return host.encode(errors="surrogatepass")
    packed = address.packed
    kept = ipv4_bits if len(packed) == 4 else ipv6_bits
    shift = 8 * len(packed) - kept
    return bytes((len(packed), kept)) + (int.from_bytes(packed, "big") >> shift).to_bytes(len(packed), "big")


def is_global(host: str) -> bool:
    """Whether ``host`` is the text of an IP address that one host can have on the public Internet."""
    address = parse_host(host)
    return address is not None and address.is_global and not address.is_multicast
