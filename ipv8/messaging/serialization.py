"""The serializer: payloads to bytes and back (spec 02 section 2)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .address import DomainAddress, UDPv4Address, UDPv6Address
from .packers import (
    ADDRESS_TYPE_DOMAIN_NAME,
    ADDRESS_TYPE_IPV4,
    ADDRESS_TYPE_IPV6,
    Address,
    Bits,
    Cache,
    DefaultArray,
    DefaultStruct,
    IPv4,
    ListOf,
    NestedPayload,
    Packer,
    PackError,
    Raw,
    VarLen,
    VarLenUtf8,
)
from .read_plan import compile_decoder, resolve
from .readers import WHOLE, SurplusError, UnpackError
from .serializable import FormatListType, Payload, Serializable
from .write_plan import compile_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .readers import Decoder
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

S = TypeVar("S", bound=Serializable)

PLAN_LIMIT = 1 << 14
"""How many classes a serializer keeps plans for; behind that it starts anew."""


class Serializer:
    """Packs and unpacks payloads with its own table of formats.

    What a class needs is worked out at its first use, so ``format_list`` must not change after that. Data may be any
    bytes-like object.
    """

    def __init__(self) -> None:
        self._packers: dict[str, Any] = _built_in_packers(self)
        self._encoders: dict[type, Encoder] = Cache(partial(compile_encoder, self), PLAN_LIMIT)
        #: What reads one payload of a class, or for several classes a list with one payload of each.
        self.decoders: dict[type[Serializable] | tuple[type[Serializable], ...], Decoder] = Cache(
            partial(compile_decoder, self), PLAN_LIMIT)

    def get_available_formats(self) -> list[str]:
        """Names of all formats, in the order of their registration."""
        return list(self._packers)

    def get_packer_for(self, name: str) -> Packer[Any, Any]:
        """The packer registered as ``name``; ``KeyError`` if there is none."""
        packer: Packer[Any, Any] = self._packers[name]
        return packer

    def add_packer(self, name: str, packer: Packer[Any, Any]) -> None:
        """Register a format, or replace it, for this serializer only."""
        self._packers[name] = packer
        self._encoders.clear()
        self.decoders.clear()

    def pack(self, fmt: str, item: Any) -> bytes:
        """Pack one value of a format with one argument; raises what its packer raises."""
        return self.get_packer_for(fmt).pack(item)

    def unpack(self, fmt: FormatListType, data: bytes, offset: int = 0) -> tuple[Any, int]:
        """First value of a format at ``offset`` and the offset behind it; raises what its packer raises."""
        name, inner = resolve(fmt)
        values: list[Any] = []
        stop = self.get_packer_for(name).unpack(data, offset, values, *inner)
        return values[0], stop

    def pack_serializable(self, serializable: Serializable) -> bytes:
        """Bytes of a payload; ``PackError`` if an item of its pack list can't be packed."""
        return self._encoders[type(serializable)](serializable)

    def pack_serializable_list(self, serializables: Iterable[Serializable]) -> bytes:
        """Bytes of several payloads, one behind the other."""
        encoders = self._encoders
        packed = []
        for serializable in serializables:
            packed.append(encoders[type(serializable)](serializable))  # noqa: PERF401 - faster for the usual one to three
        return b"".join(packed)

    def unpack_serializable(self, serializable: type[S], data: Buffer, offset: int = 0) -> tuple[S, int]:
        """Object of class ``serializable`` at ``offset`` and the offset behind it.

        Truncated data and bad values raise ``PackError``; what ``from_unpack_list`` raises passes through.
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
        """Objects of several classes that stand one behind the other from ``offset`` on.

        :param consume_all: raise ``PackError`` if anything is left; without it the rest, maybe ``b""``, is the last
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
"""The formats that all serializers have, in their order; payloads depend on the other formats of each serializer."""


def _built_in_packers(serializer: Serializer) -> dict[str, Any]:
    nested = NestedPayload(serializer)
    return _BUILT_IN | {"payload": nested, "payload-list": ListOf(nested)}


default_serializer = Serializer()
"""Shared by code that has no overlay of its own; formats added here are there for everybody."""
