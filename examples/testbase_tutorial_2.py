"""Step 2: check which messages a node receives."""

from __future__ import annotations

import os
import unittest
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipv8.community import Community
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.payload_dataclass import DataClassPayload
from ipv8.test.base import TestBase

if TYPE_CHECKING:
    from ipv8.community import CommunitySettings
    from ipv8.peer import Peer


@dataclass
class First(DataClassPayload[1]):
    value: int


@dataclass
class Second(DataClassPayload[2]):
    value: int


@dataclass
class Third(DataClassPayload[3]):
    value: int


class MessageCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.add_message_handler(First, self.on_first)
        self.add_message_handler(Second, self.on_second)
        self.add_message_handler(Third, self.on_third)

    @lazy_wrapper(First)
    def on_first(self, peer: Peer, payload: First) -> None:
        pass

    @lazy_wrapper_unsigned(Second)
    def on_second(self, source_address: Any, payload: Second) -> None:
        pass

    @lazy_wrapper(Third)
    def on_third(self, peer: Peer, payload: Third) -> None:
        pass

    def send_all(self, peer: Peer) -> None:
        self.ez_send(peer, First(11))
        self.ez_send(peer, Second(22), sig=False)
        self.ez_send(peer, Third(33))


class TestMessages(TestBase[MessageCommunity]):
    def setUp(self) -> None:
        super().setUp()
        self.initialize(MessageCommunity, 2)

    async def test_in_order(self) -> None:
        with self.assertReceivedBy(1, [First, Second, Third]):
            self.overlay(0).send_all(self.peer(1))
            await self.deliver_messages()

    async def test_in_any_order(self) -> None:
        with self.assertReceivedBy(1, [Third, First, Second], ordered=False):
            self.overlay(0).send_all(self.peer(1))
            await self.deliver_messages()

    async def test_some_of_them(self) -> None:
        with self.assertReceivedBy(1, [First, Third], message_filter=[First, Third]):
            self.overlay(0).send_all(self.peer(1))
            await self.deliver_messages()

    async def test_contents(self) -> None:
        with self.assertReceivedBy(1, [First, Second, Third]) as received:
            self.overlay(0).send_all(self.peer(1))
            await self.deliver_messages()
        assert [First(11), Second(22), Third(33)] == received


if __name__ == "__main__":
    unittest.main()
