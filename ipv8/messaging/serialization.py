"""The serializer: payloads to bytes and back (doc/protocol/serialization.md)."""

from __future__ import annotations

from dataclasses import is_dataclass
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar

from .address import DomainAddress, UDPv4Address, UDPv6Address
from .annotations import describe_dataclass
from .cache import Cache
from .errors import SurplusError, UnpackError
from .layouts import WHOLE, Description, Field, Formats, Layout, Nested, Own, Rest, entry_name, number_of_values
from .packer import LayoutPacker, Packer, layout_to_read, layout_to_write
from .packers import (
    ADDRESS_TYPE_DOMAIN_NAME,
    ADDRESS_TYPE_IPV4,
    ADDRESS_TYPE_IPV6,
    Address,
    Bits,
    DefaultArray,
    DefaultStruct,
    IPv4,
    ListOf,
    NestedPayload,
    PackError,
    Raw,
    VarLen,
    VarLenUtf8,
)
from .read_plan import compile_decoder
from .serializable import CompositeFormat, FlatPayload, FormatListType, Payload, Serializable, format_and_class
from .write_plan import compile_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .layouts import Decoder
    from .write_plan import Encoder

    Buffer = bytes | bytearray | memoryview

__all__ = [
    "ADDRESS_TYPE_DOMAIN_NAME",
    "ADDRESS_TYPE_IPV4",
    "ADDRESS_TYPE_IPV6",
    "Address",
    "Bits",
    "DefaultArray",
    "DefaultStruct",
    "DomainAddress",
    "FormatListType",
    "IPv4",
    "LayoutPacker",
    "ListOf",
    "NestedPayload",
    "PackError",
    "Packer",
    "Payload",
    "Raw",
    "Serializable",
    "Serializer",
    "UDPv4Address",
    "UDPv6Address",
    "UnpackError",
    "VarLen",
    "VarLenUtf8",
    "default_serializer",
]

T = TypeVar("T")

PLAN_LIMIT = 1 << 14
"""Classes that a serializer keeps plans for. A full table is emptied."""


class Serializer(Formats):
    """Packs and unpacks payloads with its own table of formats.

    The plan for a class is made when the class is first used, so ``format_list`` must not change after that. Data may
    be any bytes-like object.
    """

    def __init__(self) -> None:
        self._packers: dict[str, Any] = _built_in_packers(self)
        self._encoders: dict[type, Encoder] = Cache(partial(compile_encoder, self), PLAN_LIMIT)
        #: How the payloads of each class are read; for a tuple of classes, a list with one payload of each.
        self.decoders: dict[Any, Decoder] = Cache(partial(compile_decoder, self), PLAN_LIMIT)

    def get_available_formats(self) -> list[str]:
        """The names of all formats, in the order in which they were added."""
        return list(self._packers)

    def get_packer_for(self, name: str) -> Packer[Any, Any]:
        """The packer for the format ``name``; ``KeyError`` if there is none."""
        packer: Packer[Any, Any] = self._packers[name]
        return packer

    def add_packer(self, name: str, packer: Packer[Any, Any]) -> None:
        """Add a format, or replace one, for this serializer only."""
        self._packers[name] = packer
        self._encoders.clear()
        self.decoders.clear()

    def pack(self, fmt: FormatListType, item: Any) -> bytes:
        """Pack one value of a format with one argument. Errors are those of the packer."""
        packed: bytes = self.field(fmt).packer.pack(item)
        return packed

    def unpack(self, fmt: FormatListType, data: bytes, offset: int = 0) -> tuple[Any, int]:
        """The first value of a format at ``offset``, and the offset after it. Errors are those of the packer."""
        field = self.field(fmt)
        values: list[Any] = []
        stop = field.packer.unpack(data, offset, values, *field.arguments)
        return values[0], stop

    def pack_serializable(self, serializable: Serializable) -> bytes:
        """The bytes of a payload; ``PackError`` if an item of its pack list cannot be packed."""
        return self._encoders[type(serializable)](serializable)

    def pack_serializable_list(self, serializables: Iterable[Serializable]) -> bytes:
        """The bytes of several payloads, one after the other."""
        encoders = self._encoders
        packed = []
        for serializable in serializables:
            packed.append(encoders[type(serializable)](serializable))  # noqa: PERF401 - faster for the usual one to three
        return b"".join(packed)

    def unpack_serializable(self, serializable: type[T], data: Buffer, offset: int = 0) -> tuple[T, int]:
        """The object of the class ``serializable`` at ``offset``, and the offset after it.

        Data that are cut off, and wrong values, raise ``PackError``. Errors of ``from_unpack_list`` pass through.
        """
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        read, build = self.decoders[serializable]
        values, stop = read(data, offset, 0)
        if stop < 0:
            raise values
        return build(*values), stop

    def unpack_serializable_list(
        self, serializables: Sequence[type[Serializable]], data: Buffer, offset: int = 0, consume_all: bool = True
    ) -> list[Any]:
        """The objects of several classes, one after the other from ``offset`` on.

        :param consume_all: raise ``PackError`` if bytes are left. Without it the rest, maybe ``b""``, is the last
            element.
        """
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        read, build = self.decoders[tuple(serializables)]
        values, offset = read(data, offset, WHOLE if consume_all else 0)
        if offset < 0:
            raise values
        if consume_all and offset != len(data):
            raise SurplusError(serializables, data, offset)
        payloads: list[Any] = build(*values)
        if not consume_all:
            payloads.append(data[offset:])
        return payloads

    def field(self, entry: Any) -> Field:
        """The field for an entry of a format list; ``KeyError`` if this serializer does not have the format."""
        if isinstance(entry, CompositeFormat):
            layout = entry.layout(self._layout_inside)
            return Field(str(entry), _Composed(layout), (), layout, layout)
        name, arguments = format_and_class(entry)
        packer = self._packers[name]
        return Field(entry_name(entry), packer, arguments, layout_to_read(packer, *arguments),
                     layout_to_write(packer, *arguments))

    def _layout_inside(self, entry: Any) -> Layout:
        """The layout for an entry inside a composed format."""
        field = self.field(entry)
        if field.reading is None or field.writing is None:
            return _layout_by_packer(field)
        if number_of_values(field.reading) != 1 or isinstance(field.reading, Rest):
            raise PackError(f"the format {field.name} cannot be inside of another one")
        return field.reading

    def describe(self, payload_class: type[Any] | None) -> Description:
        """The description of a class of payloads, or of a dataclass."""
        if payload_class is None:
            raise TypeError("use the class of the payload instead of 'payload', and [class] instead of 'payload-list'")
        name = payload_class.__name__
        if not hasattr(payload_class, "format_list") and is_dataclass(payload_class):
            return describe_dataclass(payload_class)
        entries, names = payload_class.format_list, getattr(payload_class, "names", None)
        items, values = methodcaller("to_pack_list"), None
        if not issubclass(payload_class, FlatPayload):
            return Description(name, entries, names, payload_class.from_unpack_list, values, items)
        if payload_class.to_pack_list is FlatPayload.to_pack_list:
            values = payload_class._wire_getter()
        return Description(name, entries, names, payload_class._wire_factory(), values, items)

    def nested(self, payload_class: type[Any] | None) -> Nested | None:
        """The layout of a payload inside another one; ``None`` if a subclass has its own way to do it."""
        own, stock = type(self), Serializer
        replaced = (own.pack_serializable is not stock.pack_serializable
                    or own.unpack_serializable is not stock.unpack_serializable)
        return None if replaced else Nested(self, payload_class)


class _Composed(LayoutPacker):
    """The packer of a composed format."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def wire_layout(self, *_: Any) -> Layout:
        """The layout of the format."""
        return self._layout


def _layout_by_packer(field: Field) -> Layout:
    """The layout of a field that only its packer can read or write."""
    unpack, arguments = field.packer.unpack, field.arguments

    def read(data: bytes, offset: int, values: list[Any], _depth: int) -> int:
        found: list[Any] = []
        stop: int = unpack(data, offset, found, *arguments)
        if len(found) != 1 and stop <= len(data):
            raise ValueError(f"the format {field.name} must be one value here, not {len(found)}")
        values += found
        return stop

    return Own(read, field.packer.pack)


_FIXED = "? B BBH BH c f d H HH I l LL q Q QH QL QQHHBH ccB 4SH 20s 32s 64s 74s c20s"
_BUILT_IN: dict[str, Any] = {
    **{code: DefaultStruct(">" + code.replace("S", "s")) for code in _FIXED.split()},
    "bits": Bits(),
    "ipv4": IPv4(),
    "ip_address": Address(ip_only=True),
    "address": Address(),
    "raw": Raw(),
    "varlenBx2": VarLen(">B", 2),
    "varlenH": VarLen(">H"),
    "varlenHutf8": VarLenUtf8(">H"),
    "varlenIutf8": VarLenUtf8(">I"),
    "varlenHx20": VarLen(">H", 20),
    "varlenH-list": ListOf(VarLen(">H")),
    "varlenI": VarLen(">I"),
    "doublevarlenH": VarLen(">H"),
    "payload": None,
    "payload-list": None,
    "arrayH-?": DefaultArray("?", "H"),
    "arrayH-q": DefaultArray("q", "H"),
    "arrayH-d": DefaultArray("d", "H"),
}
"""The formats that all serializers have, in their order. Nested payloads use the other formats of their serializer."""


def _built_in_packers(serializer: Serializer) -> dict[str, Any]:
    nested = NestedPayload(serializer)
    return _BUILT_IN | {"payload": nested, "payload-list": ListOf(nested)}


default_serializer = Serializer()
"""Shared by code that has no overlay of its own. Formats that are added to it are there for everybody."""
