"""The formats of the wire, one packer each (spec 02 sections 2.1 to 2.6).

A packer knows nothing of payloads: ``pack`` makes bytes of its arguments, ``unpack`` appends what it read to a list and
returns the offset behind it. Integers are big-endian, arrays little-endian. Packers raise whatever the conversion
raises (``struct.error``, ``ValueError``, ``OSError``, ...) and follow the lenient rule of spec 02 section 2.2: a
variable body that is cut off yields what is there, with the offset where it should have ended. ``Serializer`` reads
whole payloads with its own strict plans instead.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from array import array
from itertools import product
from struct import Struct, pack
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .address import DomainAddress, UDPv4Address, UDPv6Address
from .inet import classic_ipv4_to_bytes, ipv4_to_bytes, ipv4_to_text, ipv6_to_bytes, ipv6_to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .address import Address as AnyAddress
    from .serializable import Serializable
    from .serialization import Serializer

__all__ = [
    "ADDRESS_TYPE_DOMAIN_NAME",
    "ADDRESS_TYPE_IPV4",
    "ADDRESS_TYPE_IPV6",
    "IPV4_ADDRESSES",
    "IPV6_ADDRESSES",
    "PACKED_BITS",
    "PACKED_IPV4",
    "PACKED_IP_ADDRESSES",
    "UNPACKED_BITS",
    "Address",
    "Bits",
    "Cache",
    "DefaultArray",
    "DefaultStruct",
    "IPv4",
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

CACHE_SIZE = 4096
"""How many conversions of one kind are remembered; a full cache is emptied and starts anew."""

T = TypeVar("T")
A = TypeVar("A")
K = TypeVar("K")
V = TypeVar("V")

_BYTE = Struct(">B")
_PORT = Struct(">H")
_LENGTH = Struct(">H")


class PackError(RuntimeError):
    """Something can't be packed, or bytes are not what they should be."""


class Cache(dict[K, V]):
    """A bounded memory of a pure function: a dictionary that computes what it lacks, and looks up at dictionary speed.

    :param compute: the function of one hashable argument; what it raises is not remembered.
    :param size: after this many entries all are forgotten.
    """

    __slots__ = ("compute", "size")

    def __init__(self, compute: Callable[[K], V], size: int = CACHE_SIZE) -> None:
        super().__init__()
        self.compute = compute
        self.size = size

    def __missing__(self, key: K) -> V:
        value = self.compute(key)
        if len(self) >= self.size:
            self.clear()
        self[key] = value
        return value


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
    """Byte for the truth of eight values, the first one in the most significant bit."""
    try:
        return PACKED_BITS[tuple(bits[:8])]
    except (KeyError, TypeError):  # neither numbers nor truth values
        return sum(0x80 >> position for position in range(8) if bits[position])


# Addresses are immutable, hence shared between all payloads that mention them: nearly every packet speaks of addresses
# that were in an earlier one.
IPV4_ADDRESSES: Cache[bytes, UDPv4Address] = Cache(_unpack_ipv4)
IPV6_ADDRESSES: Cache[bytes, UDPv6Address] = Cache(_unpack_ipv6)
PACKED_IPV4: Cache[Any, bytes] = Cache(_pack_ipv4)
PACKED_IP_ADDRESSES: Cache[Any, bytes] = Cache(_pack_ip_address)

UNPACKED_BITS = tuple(product((0, 1), repeat=8))
PACKED_BITS: dict[tuple[Any, ...], int] = {bits: byte for byte, bits in enumerate(UNPACKED_BITS)}


class Packer(ABC, Generic[T, A]):
    """One format: to and from bytes."""

    @abstractmethod
    def pack(self, data: T) -> bytes:
        """Bytes for ``data``."""

    @abstractmethod
    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: A) -> int:
        """Append what stands at ``offset`` to ``unpack_list`` and return the offset behind it.

        :param args: for a nested payload (or a list of them) the class that it has.
        """


class NestedPayload(Packer["Serializable", "type[Serializable]"]):
    """A payload inside of a payload: its length in bytes (``H``), then the payload (spec 02 section 2.4)."""

    def __init__(self, serializer: Serializer) -> None:
        self.serializer = serializer

    def pack(self, serializable: Serializable) -> bytes:
        """Pack a payload behind its length."""
        packed = self.serializer.pack_serializable(serializable)
        return _LENGTH.pack(len(packed)) + packed

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: type[Serializable]) -> int:
        """Append one object of the class ``args[0]``; bytes that the class leaves over are ignored."""
        (length,) = _LENGTH.unpack_from(data, offset)
        start = offset + _LENGTH.size
        stop: int = start + length
        unpack_list.append(self.serializer.unpack_serializable(args[0], data[start:stop])[0])
        return stop


class Bits(Packer[Any, Any]):
    """Eight flags in a byte, the most significant one first."""

    def pack(self, *data: Any) -> bytes:
        """Pack the first eight arguments by their truth."""
        return bytes((_pack_bits(data),))

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append eight integers, 0 or 1."""
        (byte,) = _BYTE.unpack_from(data, offset)
        unpack_list += UNPACKED_BITS[byte]
        return offset + 1


class Raw(Packer[bytes, Any]):
    """Everything up to the end of the data."""

    def pack(self, packable: bytes) -> bytes:
        """Return the bytes as they are."""
        return packable

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the rest of the data."""
        unpack_list.append(data[offset:])
        return len(data)


class IPv4(Packer["AnyAddress", Any]):
    """An IPv4 address in four bytes and a port in two."""

    def pack(self, data: AnyAddress) -> bytes:
        """Pack ``(ip, port)``; ``OSError`` if ``ip`` is no IPv4 address."""
        return _pack_ipv4(data)

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append a ``UDPv4Address``."""
        unpack_list.append(IPV4_ADDRESSES[_exactly(data, offset, 6)])
        return offset + 6


class VarLen(Packer[bytes, Any]):
    """Bytes behind their length.

    :param length_format: how the length is packed.
    :param base: how many bytes one unit of the length stands for; other lengths than multiples lose their sync.
    """

    def __init__(self, length_format: str, base: int = 1) -> None:
        self.length_format = length_format
        self.base = base
        self._header = Struct(length_format)
        self.length_size = self._header.size

    def pack(self, data: bytes) -> bytes:
        """Pack bytes behind their length."""
        return self._header.pack(len(data) // self.base) + data

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append bytes; fewer than announced if the data end before."""
        start, stop = self._body(data, offset)
        unpack_list.append(data[start:stop])
        return stop

    def _body(self, data: bytes, offset: int) -> tuple[int, int]:
        (length,) = self._header.unpack_from(data, offset)
        start = offset + self.length_size
        return start, start + length * self.base


class VarLenUtf8(VarLen):
    """Text in UTF-8 behind its length in bytes."""

    def pack(self, data: str) -> bytes:  # type: ignore[override]  # text instead of bytes
        """Pack text behind its encoded length."""
        return super().pack(data.encode())

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append text; ``UnicodeDecodeError`` if it is not UTF-8."""
        start, stop = self._body(data, offset)
        unpack_list.append(str(data[start:stop], "utf-8"))
        return stop


class Address(Packer["AnyAddress", Any]):
    """A type byte, then an IPv4 address, an IPv6 address or a host name, then a port (spec 02 section 2.3).

    :param ip_only: accept no host names.
    """

    def __init__(self, ip_only: bool = False) -> None:
        self.ip_only = ip_only

    def pack(self, address: AnyAddress) -> bytes:
        """Pack ``(host, port)``; what ``host`` looks like decides on the type."""
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
        if kind == ADDRESS_TYPE_IPV4:
            unpack_list.append(IPV4_ADDRESSES[_exactly(data, start, 6)])
            return start + 6
        if kind == ADDRESS_TYPE_IPV6:
            unpack_list.append(IPV6_ADDRESSES[_exactly(data, start, 18)])
            return start + 18
        if kind != ADDRESS_TYPE_DOMAIN_NAME or self.ip_only:
            raise PackError(f"unexpected address type {kind}")
        (length,) = _LENGTH.unpack_from(data, start)
        stop: int = start + 2 + length
        (port,) = _PORT.unpack_from(data, stop)
        unpack_list.append(DomainAddress(str(data[start + 2 : stop], "utf-8"), port))
        return stop + 2


def _exactly(data: bytes, offset: int, size: int) -> bytes:
    """``size`` bytes at ``offset``, as an owner of their own; ``struct.error`` if they are not all there."""
    packed: bytes = Struct(f"{size}s").unpack_from(data, offset)[0]
    return packed


class ListOf(Packer[Any, Any]):
    """A count, then that many items of one format.

    :param packer: the format of the items.
    :param length_format: how the count is packed.
    """

    def __init__(self, packer: Packer[Any, Any], length_format: str = ">B") -> None:
        self.packer = packer
        self.length_format = length_format
        self._header = Struct(length_format)
        self.length_size = self._header.size

    def pack(self, data: Sequence[Any]) -> bytes:
        """Pack a sequence behind its length."""
        return self._header.pack(len(data)) + b"".join(map(self.packer.pack, data))

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *args: Any) -> int:
        """Append one list with all items; ``args`` go to the packer of the items."""
        (count,) = self._header.unpack_from(data, offset)
        offset += self.length_size
        items: list[Any] = []
        for _ in range(count):
            offset = self.packer.unpack(data, offset, items, *args)
        unpack_list.append(items)
        return offset


class DefaultArray(Packer[Any, Any]):
    """A count, then that many numbers, all of it little-endian (spec 02 section 2.5).

    :param format_str: type code of the module ``array``, or ``?`` for truth values in a byte each.
    :param length_format: struct format of the count, without byte order.
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
        """Append a list; it is shorter than announced if the data end between two items before."""
        (count,) = self._header.unpack_from(data, offset)
        start = offset + self.length_size
        stop: int = start + count * self.base
        items = array(self.real_format_str)
        items.frombytes(data[start:stop])
        if sys.byteorder == "big":
            items.byteswap()
        unpack_list.append([bool(item) for item in items] if self.format_str == "?" else items.tolist())
        return stop


class DefaultStruct(Packer[Any, Any]):
    """Fields of a fixed size, as the module ``struct`` writes them.

    :param format_str: format of ``struct``; with more than one value it unpacks to one tuple.
    """

    def __init__(self, format_str: str) -> None:
        self.format_str = format_str
        self._struct = Struct(format_str)
        self.size = self._struct.size
        self.values = len(self._struct.unpack(bytes(self.size)))

    def pack(self, *data: Any) -> bytes:
        """Pack one argument a value."""
        return self._struct.pack(*data)

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the value, or one tuple of all values."""
        values = self._struct.unpack_from(data, offset)
        unpack_list.append(values[0] if self.values == 1 else values)
        return offset + self.size
