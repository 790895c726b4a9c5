"""Payloads inside payloads: one, or a list of them."""

from __future__ import annotations

from dataclasses import dataclass

from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.messaging.serialization import default_serializer


@vp_compile
class Point(VariablePayload):
    format_list = ["I", "H"]
    names = ["x", "y"]


@vp_compile
class Circle(VariablePayload):
    format_list = [Point, "H"]  # a class is one payload inside, a list with a class is a list of them
    names = ["center", "radius"]


@dataclass
class Item(DataClassPayload):
    foo: int
    bar: int


@dataclass
class Message(DataClassPayload):
    item: Item
    items: list[Item]
    baz: int


def main() -> None:
    for payload in (Circle(Point(1, 2), 3), Message(Item(1, 2), [Item(3, 4)], 7)):
        packed = default_serializer.pack_serializable(payload)
        unpacked, _ = default_serializer.unpack_serializable(type(payload), packed)
        print(packed.hex(), "=", repr(unpacked))


if __name__ == "__main__":
    main()
