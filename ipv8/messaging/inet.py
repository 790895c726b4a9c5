"""Text forms of IP addresses, the same on every platform (no C library is asked).

``bytes`` are in network order: 4 of them for IPv4, 16 for IPv6. Every parser raises ``OSError`` for text that it cannot
read, as the socket module does.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from struct import Struct

__all__ = ["classic_ipv4_to_bytes", "ipv4_to_bytes", "ipv4_to_text", "ipv6_to_bytes", "ipv6_to_text"]

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
    numbers = text.split(".")
    if len(numbers) == 4:
        try:
            packed = bytes(map(int, numbers))
        except ValueError:
            pass
        else:
            # int() takes signs, spaces, underscores and foreign digits too: only one spelling survives the way back.
            if ipv4_to_text(packed) == text:
                return packed
    raise OSError(f"not a dotted quad: {text[:64]!r}")


def classic_ipv4_to_bytes(text: str) -> bytes:
    """Read what ``inet_aton`` reads: one to four decimal, octal or hex numbers, the last one fills the rest."""
    try:
        return ipv4_to_bytes(text)
    except OSError:
        numbers = text.split(".")
    if len(numbers) <= 4 and len(text) <= 64 and all(re.fullmatch(_CLASSIC_NUMBER, number) for number in numbers):
        *leading, last = (_classic_number(number) for number in numbers)
        if all(number < 256 for number in leading) and last < 1 << 8 * (4 - len(leading)):
            return bytes(leading) + last.to_bytes(4 - len(leading), "big")
    raise OSError(f"not an IPv4 address: {text[:64]!r}")


def _classic_number(digits: str) -> int:
    if digits[:2] in {"0x", "0X"}:
        return int(digits[2:] or "0", 16)
    return int(digits, 8 if digits[0] == "0" else 10)


def ipv6_to_text(packed: bytes) -> str:
    """Shortest lower-case form of 16 bytes; addresses that embed an IPv4 address end in its dotted form."""
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
        if "%" not in text:
            return IPv6Address(text).packed
    except AddressValueError:
        pass
    raise OSError(f"not an IPv6 address: {text[:64]!r}")
