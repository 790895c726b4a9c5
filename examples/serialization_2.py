"""A message that consists of two payloads."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8_service import IPv8

if TYPE_CHECKING:
    from ipv8.messaging.address import Address
    from ipv8.peer import Peer


@vp_compile
class Reading(VariablePayload):
    format_list = ["d"]
    names = ["temperature"]


@vp_compile
class Battery(VariablePayload):
    format_list = []  # a message that has it says that the battery is low
    names = []


class SensorCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.received = asyncio.Event()
        self.add_message_handler(1, self.on_reading)

    @lazy_wrapper(Reading, Battery)
    def on_reading(self, peer: Peer, reading: Reading, battery: Battery) -> None:
        print("From", peer, "\n", reading, "\n", battery)
        self.received.set()

    def send_reading(self, address: Address) -> None:
        packet = self.ezr_pack(1, Reading(21.5), Battery())
        self.endpoint.send(address, packet)


def configure() -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address("127.0.0.1").set_log_level("WARNING")
    builder.add_ephemeral_key("my peer")
    builder.add_overlay("SensorCommunity", "my peer", [], [], {}, [])
    return builder.finalize()


async def main() -> None:
    classes = {"SensorCommunity": SensorCommunity}
    async with (
        IPv8(configure(), extra_communities=classes) as one,
        IPv8(configure(), extra_communities=classes) as other,
    ):
        sender, receiver = one.get_overlay(SensorCommunity), other.get_overlay(SensorCommunity)
        assert sender is not None
        assert receiver is not None
        sender.send_reading(other.endpoint.get_address())
        await receiver.received.wait()


if __name__ == "__main__":
    asyncio.run(main())
