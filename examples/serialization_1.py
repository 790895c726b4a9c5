"""One message, an unsigned 32-bit and an unsigned 16-bit field, written in five ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_dataclass import DataClassPayload, type_from_format
from ipv8.messaging.serialization import Payload, Serializable, default_serializer

I = type_from_format("I")  # noqa: E741 - the name of the format
H = type_from_format("H")


class BareMessage(Serializable):
    """The minimum: formats, and methods that convert to values and back."""

    format_list = ["I", "H"]

    def __init__(self, field1: int, field2: int) -> None:
        self.field1 = field1
        self.field2 = field2

    def to_pack_list(self) -> list[tuple[Any, ...]]:
        return [("I", self.field1), ("H", self.field2)]

    @classmethod
    def from_unpack_list(cls, *args: int) -> BareMessage:
        return cls(*args)


class HandWrittenMessage(Payload):
    """The same, but it can be printed."""

    format_list = ["I", "H"]

    def __init__(self, field1: int, field2: int) -> None:
        self.field1 = field1
        self.field2 = field2

    def to_pack_list(self) -> list[tuple[Any, ...]]:
        return [("I", self.field1), ("H", self.field2)]

    @classmethod
    def from_unpack_list(cls, *args: int) -> HandWrittenMessage:
        return cls(*args)


class VariableMessage(VariablePayload):
    """Two lists describe the message."""

    format_list = ["I", "H"]
    names = ["field1", "field2"]


@vp_compile
class CompiledMessage(VariablePayload):
    """The same, but faster to make."""

    format_list = ["I", "H"]
    names = ["field1", "field2"]


@dataclass
class DataclassMessage(DataClassPayload):
    """The annotations describe the message, and type checkers know the fields."""

    field1: Annotated[int, I]
    field2: Annotated[int, H]


def main() -> None:
    for message_class in (BareMessage, HandWrittenMessage, VariableMessage, CompiledMessage, DataclassMessage):
        message = message_class(1, 2)
        packed = default_serializer.pack_serializable(message)
        unpacked, size = default_serializer.unpack_serializable(message_class, packed)
        print(str(message))
        print(packed.hex(), "=", vars(unpacked), "in", size, "bytes\n")


if __name__ == "__main__":
    main()
