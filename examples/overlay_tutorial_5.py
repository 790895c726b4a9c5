"""Step 5: three nodes that send messages with a Lamport clock.

A Lamport clock counts events. The receiver of a message sets its clock to a later time than that of the message, so
that everything that an event causes has a later time than the event.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition, default_bootstrap_defs
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.util import run_forever
from ipv8_service import IPv8

if TYPE_CHECKING:
    from ipv8.peer import Peer


@dataclass
class ClockMessage(DataClassPayload[1]):  # message number 1 of this overlay
    clock: int  # a signed 64-bit integer on the wire


class ClockCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.lamport_clock = 0
        self.add_message_handler(ClockMessage, self.on_clock)

    def started(self) -> None:
        self.register_task("greet", self.greet, interval=1.0, delay=0)

    def greet(self) -> None:
        if self.lamport_clock:
            self.cancel_pending_task("greet")  # from now on, each message is answered
        for peer in self.get_peers():
            self.ez_send(peer, ClockMessage(self.lamport_clock))

    @lazy_wrapper(ClockMessage)
    async def on_clock(self, peer: Peer, message: ClockMessage) -> None:
        self.lamport_clock = max(self.lamport_clock, message.clock) + 1
        print(self.my_peer, "has clock", self.lamport_clock, "after a message of", peer)
        await asyncio.sleep(0.5)  # slow enough to read the output
        self.ez_send(peer, ClockMessage(self.lamport_clock))


def configure(number: int) -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays()
    builder.add_key("my peer", "curve25519", f"ec{number}.pem")
    walk = WalkerDefinition(Strategy.RandomWalk, 10, {"timeout": 3.0})
    builder.add_overlay("ClockCommunity", "my peer", [walk], default_bootstrap_defs, {}, [("started",)])
    return builder.finalize()


async def main() -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(IPv8(configure(number),
                                                      extra_communities={"ClockCommunity": ClockCommunity}))
                 for number in (1, 2, 3)]
        for node in nodes[1:]:  # as in step 4, this works without bootstrap servers
            node.overlays[0].walk_to(("127.0.0.1", nodes[0].endpoint.get_address()[1]))
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
