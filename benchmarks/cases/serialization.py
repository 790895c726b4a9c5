"""Packing and unpacking payloads."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.measure import Figure, microseconds
from benchmarks.messages import SEVEN_VALUES, Item, Items, PlainSeven, Record, Seven
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload import IntroductionRequestPayload, NewIntroductionRequestPayload
from ipv8.messaging.serialization import Packer, Serializer

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESSES = (UDPv4Address("1.2.3.4", 5), UDPv4Address("192.168.1.2", 6421), UDPv4Address("5.6.7.8", 9))


_UUID = Struct("16s")


class PackerUUID(Packer[UUID, Any]):
    """A format of a program, without layout, as every library can use it."""

    def pack(self, data: UUID) -> bytes:
        return data.bytes

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        unpack_list.append(UUID(bytes=_UUID.unpack_from(data, offset)[0]))
        return offset + 16


@vp_compile
class OwnFormat(VariablePayload):
    """A payload with a format of a program between others."""

    format_list = ["I", "uuid", "varlenH"]  # noqa: RUF012 - never changed
    names = ["number", "identity", "body"]  # noqa: RUF012 - never changed


def measure() -> Iterator[Figure]:
    """Yield the cost of constructing, packing and unpacking payloads of several kinds."""
    serializer = Serializer()
    serializer.add_packer("uuid", PackerUUID())
    samples: dict[str, tuple[type[Any], tuple[Any, ...]]] = {
        "7 fields, compiled": (Seven, SEVEN_VALUES),
        "7 fields, plain": (PlainSeven, SEVEN_VALUES),
        "nested list of 10": (Items, (1, [Item(number, b"body") for number in range(10)])),
        "dataclass": (Record, (1, b"body", "text", True)),
        "own format": (OwnFormat, (1, UUID(int=7), b"body")),
        "introduction request": (IntroductionRequestPayload, (*ADDRESSES, True, "unknown", 258, b"")),
        "new introduction request": (NewIntroductionRequestPayload, (*ADDRESSES, 258, 0, 0, 0, 0, 0, 0, 0, 0, b"")),
    }
    for name, (payload_class, values) in samples.items():
        payload = payload_class(*values)
        packed = serializer.pack_serializable(payload)
        yield Figure(f"{name}: construct", microseconds(payload_class, *values))
        yield Figure(f"{name}: pack", microseconds(serializer.pack_serializable, payload))
        yield Figure(f"{name}: unpack", microseconds(serializer.unpack_serializable, payload_class, packed))
