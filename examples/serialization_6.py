"""A message without payloads: the community packs, signs and verifies it itself."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8_service import IPv8

if TYPE_CHECKING:
    from ipv8.messaging.address import Address


class RawCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.received = asyncio.Event()
        self.add_message_handler(1, self.on_message)

    def send_message(self, address: Address, text: str) -> None:
        message = text.encode()
        fields = {
            "message": message.hex(),
            "public_key": self.my_peer.public_key.key_to_bin().hex(),
            "signature": self.my_peer.key.signature(message).hex(),  # type: ignore[attr-defined]  # one's own key is private
        }
        # The prefix selects the community, and the byte after it selects the handler.
        packet = self.get_prefix() + b"\x01" + json.dumps(fields).encode()
        self.endpoint.send(address, packet)

    def on_message(self, source_address: Address, data: bytes) -> None:
        header_size = len(self.get_prefix()) + 1
        fields = json.loads(data[header_size:])
        message = bytes.fromhex(fields["message"])
        public_key = self.crypto.key_from_network(bytes.fromhex(fields["public_key"]))
        valid = self.crypto.is_valid_signature(public_key, message, bytes.fromhex(fields["signature"]))
        print("From", source_address, "comes", message, "with a", "valid" if valid else "bad", "signature")
        self.received.set()


def configure() -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address("127.0.0.1").set_log_level("WARNING")
    builder.add_ephemeral_key("my peer")
    builder.add_overlay("RawCommunity", "my peer", [], [], {}, [])
    return builder.finalize()


async def main() -> None:
    classes = {"RawCommunity": RawCommunity}
    async with (
        IPv8(configure(), extra_communities=classes) as one,
        IPv8(configure(), extra_communities=classes) as other,
    ):
        sender, receiver = one.get_overlay(RawCommunity), other.get_overlay(RawCommunity)
        assert sender is not None
        assert receiver is not None
        sender.send_message(other.endpoint.get_address(), "Hello there")
        await receiver.received.wait()


if __name__ == "__main__":
    asyncio.run(main())
