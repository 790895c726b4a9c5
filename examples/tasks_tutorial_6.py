"""Step 6: test a community that starts tasks in its constructor. It is better to start them in another method.

``create_node`` is called before the event loop runs the tasks, so they can be cancelled there.
"""

from __future__ import annotations

import os
import unittest
from typing import TYPE_CHECKING, Any

from ipv8.community import Community
from ipv8.test.base import TestBase

if TYPE_CHECKING:
    from ipv8.community import CommunitySettings
    from ipv8.test.mocking.ipv8 import MockIPv8


class HastyCommunity(Community):
    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.register_task("too early", self.use_the_network)

    async def use_the_network(self) -> None:
        raise RuntimeError("There is no network yet!")


class TestHastyCommunity(TestBase[HastyCommunity]):
    def create_node(self, *args: Any, **kwargs: Any) -> MockIPv8:
        node = super().create_node(*args, **kwargs)
        node.overlay.cancel_all_pending_tasks()
        return node

    async def test_nothing_runs(self) -> None:
        self.initialize(HastyCommunity, 1)
        await self.deliver_messages()
        assert self.overlay(0).get_tasks() == []


if __name__ == "__main__":
    unittest.main()
