"""A custom format: everything that JSON can contain."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from typing import Any

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.serialization import Packer, Serializer
from ipv8.peer import Peer
from ipv8_service import IPv8


class PackerJSON(Packer[Any, Any]):
    """JSON text after its length in two bytes."""

    def pack(self, data: Any) -> bytes:
        text = json.dumps(data).encode()
        return struct.pack(">H", len(text)) + text

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        (size,) = struct.unpack_from(">H", data, offset)
        start = offset + 2
        unpack_list.append(json.loads(data[start : start + size]))
        end: int = start + size
        return end  # the serializer refuses the packet if this is after its end


@vp_compile
class Document(VariablePayload):
    msg_id = 1
    format_list = ["json", "json", "json", "json"]
    names = ["title", "pages", "author", "tags"]


class LibraryCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.received = asyncio.Event()
        self.add_message_handler(Document, self.on_document)

    def get_serializer(self) -> Serializer:
        serializer = super().get_serializer()  # used by this overlay only
        serializer.add_packer("json", PackerJSON())
        return serializer

    def publish(self, peer: Peer) -> None:
        document = Document("On the wire", 12, {"name": "Ada", "born": 1815}, [])
        document.tags = ["bytes", "fields"]  # type: ignore[attr-defined]  # checkers know the fields of dataclasses only
        self.ez_send(peer, document)

    @lazy_wrapper(Document)
    def on_document(self, peer: Peer, document: Document) -> None:
        print("From", peer, "\n", document)
        self.received.set()


def configure() -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address("127.0.0.1").set_log_level("WARNING")
    builder.add_ephemeral_key("my peer")
    builder.add_overlay("LibraryCommunity", "my peer", [], [], {}, [])
    return builder.finalize()


async def main() -> None:
    classes = {"LibraryCommunity": LibraryCommunity}
    async with (
        IPv8(configure(), extra_communities=classes) as one,
        IPv8(configure(), extra_communities=classes) as other,
    ):
        sender, receiver = one.get_overlay(LibraryCommunity), other.get_overlay(LibraryCommunity)
        assert sender is not None
        assert receiver is not None
        sender.publish(Peer(receiver.my_peer.public_key, other.endpoint.get_address()))
        await receiver.received.wait()


if __name__ == "__main__":
    asyncio.run(main())
