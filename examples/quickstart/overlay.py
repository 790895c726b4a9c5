"""The overlay of the tutorial: peers that keep a Lamport clock together."""

from __future__ import annotations

from dataclasses import dataclass

from ipv8 import Community, CommunitySettings, DataClassPayload, Peer, lazy_wrapper


@dataclass
class ClockMessage(DataClassPayload[1]):
    clock: int


class ClockCommunity(Community):
    community_id = bytes.fromhex("7c1f0a59d2b84e63917c0d5e8fa26b3094e1c8d7")

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.lamport_clock = 0
        self.add_message_handler(ClockMessage, self.on_clock)

    def started(self) -> None:
        self.register_task("tick", self.tick, interval=0.2)

    def tick(self) -> None:
        self.lamport_clock += 1
        for peer in self.get_peers():
            self.ez_send(peer, ClockMessage(self.lamport_clock))

    @lazy_wrapper(ClockMessage)
    def on_clock(self, peer: Peer, message: ClockMessage) -> None:
        self.lamport_clock = max(self.lamport_clock, message.clock) + 1
