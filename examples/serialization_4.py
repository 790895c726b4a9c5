"""A field that looks different in the program and on the wire: a dictionary, sent as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.messaging.serialization import default_serializer


@vp_compile
class VariableMessage(VariablePayload):
    msg_id = 1
    format_list = ["varlenH"]
    names = ["dictionary"]

    def fix_pack_dictionary(self, value: dict[str, Any]) -> bytes:
        return json.dumps(value).encode()

    @classmethod
    def fix_unpack_dictionary(cls, raw: bytes) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(raw)
        return found


@dataclass
class DataclassMessage(DataClassPayload):
    msg_id = 2

    dictionary: str  # the type on the wire; the attribute is a dict

    def fix_pack_dictionary(self, value: dict[str, Any]) -> str:
        return json.dumps(value)

    @classmethod
    def fix_unpack_dictionary(cls, raw: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(raw)
        return found


def main() -> None:
    content: Any = {"temperature": 21.5, "windows": ["north", "east"]}
    for message_class in (VariableMessage, DataclassMessage):
        message = message_class(content)
        packed = default_serializer.pack_serializable(message)
        unpacked, _ = default_serializer.unpack_serializable(message_class, packed)
        print(packed, "=", unpacked)


if __name__ == "__main__":
    main()
