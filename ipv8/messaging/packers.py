"""The formats of fields, one class for each (doc/protocol/serialization.md sections 2 to 8).

A packer does not know payloads. ``pack`` returns the bytes of its arguments. ``unpack`` appends what it reads to a list
and returns the offset after it. ``wire_layout`` describes the same format, so that the serializer can read and write
whole payloads without calling the packers one by one.

Integers are big-endian, but arrays are little-endian. ``pack`` and ``unpack`` raise what the conversion raises
(``struct.error``, ``ValueError``, ``OSError``, ...). If a body of variable size is cut off, ``unpack`` yields what is
there and returns the offset where the body should have ended. The serializer refuses such data.
"""

from __future__ import annotations

import sys
from array import array
from itertools import product
from struct import Struct, pack
from typing import TYPE_CHECKING, Any

from .address import DomainAddress, UDPv4Address, UDPv6Address
from .cache import CACHE_SIZE, Cache
from .errors import PackError
from .inet import classic_ipv4_to_bytes, ipv4_to_bytes, ipv4_to_text, ipv6_to_bytes, ipv6_to_text
from .layouts import REFUSED, Body, Converted, Fixed, Layout, Many, Own, Rest, Variant
from .packer import LayoutPacker, Packer, layout_of_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .address import Address as AnyAddress
    from .layouts import Formats, Types
    from .serializable import Serializable

__all__ = [
    "ADDRESS_TYPE_DOMAIN_NAME",
    "ADDRESS_TYPE_IPV4",
    "ADDRESS_TYPE_IPV6",
    "CACHE_SIZE",
    "Address",
    "Bits",
    "Cache",
    "DefaultArray",
    "DefaultStruct",
    "IPv4",
    "LayoutPacker",
    "ListOf",
    "NestedPayload",
    "PackError",
    "Packer",
    "Raw",
    "VarLen",
    "VarLenUtf8",
]

ADDRESS_TYPE_IPV4 = 1
ADDRESS_TYPE_DOMAIN_NAME = 2
ADDRESS_TYPE_IPV6 = 3

_BYTE = Struct(">B")
_PORT = Struct(">H")
_LENGTH = Struct(">H")
_BIG_ENDIAN = {">", "!"}


def _unpack_ipv4(packed: bytes) -> UDPv4Address:
    (port,) = _PORT.unpack(packed[4:])
    return UDPv4Address(ipv4_to_text(packed[:4]), port)


def _unpack_ipv6(packed: bytes) -> UDPv6Address:
    (port,) = _PORT.unpack(packed[16:])
    return UDPv6Address(ipv6_to_text(packed[:16]), port)


def _pack_ipv4(address: Sequence[Any]) -> bytes:
    return classic_ipv4_to_bytes(address[0]) + _PORT.pack(address[1])


def _pack_ip_address(address: Sequence[Any]) -> bytes:
    host, port = address[0], _PORT.pack(address[1])
    try:
        return b"\x01" + ipv4_to_bytes(host) + port
    except OSError:
        try:
            return b"\x03" + ipv6_to_bytes(host) + port
        except OSError:
            raise PackError(f"neither an IPv4 nor an IPv6 address: {host[:64]!r}") from None


def _pack_bits(bits: Sequence[Any]) -> int:
    """The byte for the truth of eight values. The first value is the most significant bit."""
    try:
        return PACKED_BITS[tuple(bits[:8])]
    except (KeyError, TypeError):  # neither numbers nor truth values
        return sum(0x80 >> position for position in range(8) if bits[position])


# Results of pure functions. Nearly every packet has addresses that an earlier packet had. Addresses are immutable, so
# payloads share them.
IPV4_ADDRESSES: Cache[bytes, UDPv4Address] = Cache(_unpack_ipv4)
IPV6_ADDRESSES: Cache[bytes, UDPv6Address] = Cache(_unpack_ipv6)
PACKED_IPV4: Cache[Any, bytes] = Cache(_pack_ipv4)
PACKED_IP_ADDRESSES: Cache[Any, bytes] = Cache(_pack_ip_address)

IP_ADDRESSES: Types = {ADDRESS_TYPE_IPV4: (6, IPV4_ADDRESSES), ADDRESS_TYPE_IPV6: (18, IPV6_ADDRESSES)}
"""For each type of IP address, the number of bytes after the type, and what they mean."""

UNPACKED_BITS = tuple(product((0, 1), repeat=8))
PACKED_BITS: dict[tuple[Any, ...], int] = {bits: byte for byte, bits in enumerate(UNPACKED_BITS)}


class NestedPayload(Packer["Serializable", "type[Serializable]"]):
    """A payload inside a payload: the length in bytes (``H``), then the payload.

    See doc/protocol/serialization.md section 7.
    """

    def __init__(self, serializer: Formats) -> None:
        self.serializer = serializer

    def pack(self, serializable: Serializable) -> bytes:
        """Pack a payload after its length."""
        packed = self.serializer.pack_serializable(serializable)
        return _LENGTH.pack(len(packed)) + packed

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: type[Serializable]) -> int:
        """Append one payload of the class ``args[0]``. Bytes that the class leaves over are ignored."""
        (length,) = _LENGTH.unpack_from(data, offset)
        start = offset + _LENGTH.size
        stop: int = start + length
        unpack_list.append(self.serializer.unpack_serializable(args[0], data[start:stop])[0])
        return stop

    def wire_layout(self, *args: type[Serializable]) -> Layout | None:
        """The layout of payloads of the class ``args[0]``; without a class, one to write payloads by."""
        return self.serializer.nested(args[0] if args else None)


class Bits(Packer[Any, Any]):
    """Eight flags in a byte. The first flag is the most significant bit."""

    def pack(self, *data: Any) -> bytes:
        """Pack the truth of the first eight arguments."""
        return bytes((_pack_bits(data),))

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append eight integers, each 0 or 1."""
        (byte,) = _BYTE.unpack_from(data, offset)
        unpack_list += UNPACKED_BITS[byte]
        return offset + 1

    def wire_layout(self, *_: Any) -> Layout:
        """Eight values for one byte."""
        return Converted(Fixed("B"), PACKED_BITS.__getitem__, UNPACKED_BITS.__getitem__, values=8)


class Raw(Packer[bytes, Any]):
    """All bytes up to the end of the data."""

    def pack(self, packable: bytes) -> bytes:
        """Return the bytes as they are."""
        return packable

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the rest of the data."""
        unpack_list.append(data[offset:])
        return len(data)

    def wire_layout(self, *_: Any) -> Layout:
        """The rest."""
        return Rest()


class IPv4(Packer["AnyAddress", Any]):
    """An IPv4 address in four bytes, and a port in two."""

    def pack(self, data: AnyAddress) -> bytes:
        """Pack ``(ip, port)``; ``OSError`` if ``ip`` is not an IPv4 address."""
        return _pack_ipv4(data)

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append a ``UDPv4Address``."""
        unpack_list.append(IPV4_ADDRESSES[_exactly(data, offset, 6)])
        return offset + 6

    def wire_layout(self, *_: Any) -> Layout:
        """Six bytes."""
        return Converted(Fixed("6s"), PACKED_IPV4.__getitem__, IPV4_ADDRESSES.__getitem__)


class VarLen(Packer[bytes, Any]):
    """Bytes after their length.

    :param length_format: the ``struct`` format of the length.
    :param base: how many bytes the length counts as one. The number of bytes must be a multiple of it.
    """

    def __init__(self, length_format: str, base: int = 1) -> None:
        self.length_format = length_format
        self.base = base
        self._header = Struct(length_format)
        self.length_size = self._header.size

    def pack(self, data: bytes) -> bytes:
        """Pack bytes after their length."""
        return self._header.pack(len(data) // self.base) + data

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append bytes, fewer than announced if the data end before."""
        start, stop = self._body(data, offset)
        unpack_list.append(data[start:stop])
        return stop

    def _body(self, data: bytes, offset: int) -> tuple[int, int]:
        (length,) = self._header.unpack_from(data, offset)
        start = offset + self.length_size
        return start, start + length * self.base

    def wire_layout(self, *_: Any) -> Layout | None:
        """A body, if the length is big-endian."""
        return Body(self.length_format[1:], self.base) if self.length_format[0] in _BIG_ENDIAN else None


class VarLenUtf8(VarLen):
    """Text in UTF-8 after its length in bytes."""

    def pack(self, data: str) -> bytes:  # type: ignore[override]  # text instead of bytes
        """Pack text after its encoded length."""
        return super().pack(data.encode())

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append text; ``UnicodeDecodeError`` if it is not UTF-8."""
        start, stop = self._body(data, offset)
        unpack_list.append(str(data[start:stop], "utf-8"))
        return stop

    def wire_layout(self, *_: Any) -> Layout | None:
        """A body that is converted from and to text."""
        body = super().wire_layout()
        return None if body is None else Converted(body, str.encode, bytes.decode)


class Address(Packer["AnyAddress", Any]):
    """A type byte; then an IPv4 address, an IPv6 address or a host name; then a port.

    See doc/protocol/serialization.md section 5.

    :param ip_only: do not accept host names.
    """

    def __init__(self, ip_only: bool = False) -> None:
        self.ip_only = ip_only

    def pack(self, address: AnyAddress) -> bytes:
        """Pack ``(host, port)``. The text of ``host`` decides on the type."""
        try:
            return _pack_ip_address(address)
        except PackError:
            if self.ip_only:
                raise
        host = address[0].encode()
        return pack(f">BH{len(host)}sH", ADDRESS_TYPE_DOMAIN_NAME, len(host), host, address[1])

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append a ``UDPv4Address``, a ``UDPv6Address`` or a ``DomainAddress``."""
        (kind,) = _BYTE.unpack_from(data, offset)
        start = offset + 1
        if kind in IP_ADDRESSES:
            size, addresses = IP_ADDRESSES[kind]
            unpack_list.append(addresses[_exactly(data, start, size)])
            return start + size
        if kind != ADDRESS_TYPE_DOMAIN_NAME or self.ip_only:
            raise PackError(f"unexpected address type {kind}")
        (length,) = _LENGTH.unpack_from(data, start)
        stop: int = start + 2 + length
        (port,) = _PORT.unpack_from(data, stop)
        unpack_list.append(DomainAddress(str(data[start + 2 : stop], "utf-8"), port))
        return stop + 2

    def wire_layout(self, *_: Any) -> Layout:
        """A body whose size follows from the type, or from a length if host names are accepted."""
        if self.ip_only:
            return Variant(IP_ADDRESSES, PACKED_IP_ADDRESSES.__getitem__)
        return Own(_read_address, self.pack, "B")


def _read_address(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
    kind = values[-1]
    if kind in IP_ADDRESSES:
        size, addresses = IP_ADDRESSES[kind]
        stop: int = offset + size
        if stop <= len(data):
            values[-1] = addresses[data[offset:stop]]
        return stop
    if kind != ADDRESS_TYPE_DOMAIN_NAME:
        return REFUSED
    start = offset + 2
    if start > len(data):
        return start
    (length,) = _LENGTH.unpack_from(data, offset)
    stop = start + length
    if stop + 2 <= len(data):
        (port,) = _PORT.unpack_from(data, stop)
        values[-1] = DomainAddress(data[start:stop].decode(), port)
    return stop + 2


def _exactly(data: bytes, offset: int, size: int) -> bytes:
    """A copy of ``size`` bytes at ``offset``; ``struct.error`` if they are not all there."""
    packed: bytes = Struct(f"{size}s").unpack_from(data, offset)[0]
    return packed


class ListOf(Packer[Any, Any]):
    """A number of items of one format, after their number.

    :param packer: the format of the items.
    :param length_format: the ``struct`` format of the number of items.
    """

    def __init__(self, packer: Packer[Any, Any], length_format: str = ">B") -> None:
        self.packer = packer
        self.length_format = length_format
        self._header = Struct(length_format)
        self.length_size = self._header.size

    def pack(self, data: Sequence[Any]) -> bytes:
        """Pack a sequence after its length."""
        return self._header.pack(len(data)) + b"".join(map(self.packer.pack, data))

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: Any) -> int:
        """Append one list with all items; ``args`` are for the packer of the items."""
        (count,) = self._header.unpack_from(data, offset)
        offset += self.length_size
        items: list[Any] = []
        for _ in range(count):
            offset = self.packer.unpack(data, offset, items, *args)
        unpack_list.append(items)
        return offset

    def wire_layout(self, *args: Any) -> Layout | None:
        """Many items, if the number is big-endian and the format of the items has a layout."""
        item = layout_of_item(self.packer, *args)
        if item is None or self.length_format[0] not in _BIG_ENDIAN:
            return None
        return Many(self.length_format[1:], item)


class DefaultArray(Packer[Any, Any]):
    """A number of numbers, after their number. All is little-endian (doc/protocol/serialization.md section 8).

    :param format_str: the type code of the module ``array``, or ``?`` for truth values of a byte each.
    :param length_format: the ``struct`` format of the number of numbers, without byte order.
    """

    def __init__(self, format_str: str, length_format: str) -> None:
        self.format_str = format_str
        self.real_format_str = "B" if format_str == "?" else format_str
        self.length_format = length_format
        self.base = array(self.real_format_str).itemsize
        self._header = Struct("<" + length_format)
        self.length_size = self._header.size

    def pack(self, data: Any) -> bytes:
        """Pack any sized iterable of numbers."""
        header = self._header.pack(len(data))
        items = array(self.real_format_str, data)
        if sys.byteorder == "big":
            items.byteswap()
        return header + items.tobytes()

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append a list, shorter than announced if the data end before, between two numbers."""
        (count,) = self._header.unpack_from(data, offset)
        start = offset + self.length_size
        stop: int = start + count * self.base
        unpack_list.append(self._numbers(data[start:stop]))
        return stop

    def _numbers(self, packed: bytes) -> list[Any]:
        items = array(self.real_format_str)
        items.frombytes(packed)
        if sys.byteorder == "big":
            items.byteswap()
        return [item != 0 for item in items] if self.format_str == "?" else items.tolist()

    def wire_layout(self, *_: Any) -> Layout:
        """The same, but a list that is cut off is refused."""
        read_count, size, base = self._header.unpack_from, self.length_size, self.base

        def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
            start = offset + size
            if start > len(data):
                return start
            (count,) = read_count(data, offset)
            stop: int = start + count * base
            if stop <= len(data):
                values.append(self._numbers(data[start:stop]))
            return stop

        return Own(read, self.pack)


class DefaultStruct(Packer[Any, Any]):
    """One or more values of a fixed size, as the module ``struct`` writes them.

    :param format_str: the format of ``struct``. More than one value is unpacked to one tuple.
    """

    def __init__(self, format_str: str) -> None:
        self.format_str = format_str
        self._struct = Struct(format_str)
        self.size = self._struct.size
        self.values = len(self._struct.unpack(bytes(self.size)))

    def pack(self, *data: Any) -> bytes:
        """Pack one argument for each value."""
        return self._struct.pack(*data)

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the value, or one tuple of all values."""
        values = self._struct.unpack_from(data, offset)
        unpack_list.append(values[0] if self.values == 1 else values)
        return offset + self.size

    def wire_layout(self, *_: Any) -> Layout:
        """One value; or several, of which only a tuple can be read: each needs an argument to be packed."""
        if self.values == 1 and self.format_str[:1] in _BIG_ENDIAN:
            return Fixed(self.format_str[1:])
        unpack = self._struct.unpack
        return Converted(Fixed(f"{self.size}s"), self._struct.pack,
                         unpack if self.values != 1 else lambda packed: unpack(packed)[0])
