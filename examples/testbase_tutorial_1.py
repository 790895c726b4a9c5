"""Step 1: test a community with nodes inside the test, without sockets and without waiting."""

from __future__ import annotations

import os
import unittest
from typing import TYPE_CHECKING, Any

from ipv8.community import Community, CommunitySettings
from ipv8.requestcache import NumberCache
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from ipv8.peer import Peer


class VisitorCache(NumberCache):
    def __init__(self, community: VisitorCommunity) -> None:
        super().__init__(community.request_cache, "visitor", 0)
        self.community = community

    def on_timeout(self) -> None:
        self.community.timed_out = True


class VisitorSettings(CommunitySettings):
    capacity: int | None = None


class VisitorCommunity(Community):
    community_id = os.urandom(20)
    settings_class = VisitorSettings

    def __init__(self, settings: VisitorSettings) -> None:
        super().__init__(settings)
        self.capacity = settings.capacity
        self.last_visitor: Peer | None = None
        self.timed_out = False

    def introduction_request_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        self.last_visitor = peer

    def add_cache(self) -> None:
        self.request_cache.add(VisitorCache(self))


class TestVisitors(TestBase[VisitorCommunity]):
    def setUp(self) -> None:
        super().setUp()  # always
        self.initialize(VisitorCommunity, 2)

    async def tearDown(self) -> None:  # type: ignore[override]  # may be async in a TestBase
        await super().tearDown()  # always

    async def test_access(self) -> None:
        """``overlay(i)`` is the community of node ``i``. There are more shortcuts like this."""
        assert self.overlay(0).capacity is None
        assert self.my_peer(1) == self.peer(1)
        assert [self.peer(1)] == self.overlay(0).get_peers()

    async def test_messages(self) -> None:
        """Messages are delivered while ``deliver_messages`` waits."""
        self.overlay(0).walk_to(self.address(1))
        assert self.overlay(1).last_visitor is None
        await self.deliver_messages()
        assert self.my_peer(0) == self.overlay(1).last_visitor

    async def test_introductions(self) -> None:
        """``introduce_nodes`` does so for all nodes."""
        await self.introduce_nodes()
        assert self.my_peer(1) == self.overlay(0).last_visitor
        assert self.my_peer(0) == self.overlay(1).last_visitor

    async def test_timeout(self) -> None:
        """Inside ``passthrough``, caches time out at once."""
        with self.overlay(0).request_cache.passthrough():
            self.overlay(0).add_cache()
        await self.deliver_messages()
        assert self.overlay(0).timed_out

    async def test_timeout_of_others(self) -> None:
        """``passthrough`` can be limited to some classes of caches."""
        class OtherCache(NumberCache):
            pass

        with self.overlay(0).request_cache.passthrough(OtherCache):
            self.overlay(0).add_cache()
        await self.deliver_messages()
        assert not self.overlay(0).timed_out

    async def test_files(self) -> None:
        """Directories that are removed after the test."""
        assert os.path.basename(self.temporary_directory()) in os.listdir()


class TestSettings(TestBase[VisitorCommunity]):
    async def test_settings(self) -> None:
        """Every node gets a copy of the settings."""
        self.initialize(VisitorCommunity, 2, VisitorSettings(capacity=7))
        assert [self.overlay(i).capacity for i in range(2)] == [7, 7]


class TestOwnNodes(TestBase[VisitorCommunity]):
    def create_node(self, *args: Any, **kwargs: Any) -> MockIPv8:
        """Nodes with another kind of key. The default is a kind that is made quickly."""
        assert self.overlay_class is not None
        return MockIPv8("curve25519", self.overlay_class, *args, **kwargs)

    def patch_overlays(self, i: int) -> None:
        """Exceptions in message handlers fail the test. Those of node 1 are only logged, as in production."""
        if i != 1:
            super().patch_overlays(i)

    async def test_key(self) -> None:
        self.initialize(VisitorCommunity, 2)
        assert self.key_bin(0).startswith(b"LibNaCLPK:")


if __name__ == "__main__":
    unittest.main()
