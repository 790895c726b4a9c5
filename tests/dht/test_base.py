"""The test case for users: short names for the parts of a DHT (doc/testing.md)."""

from __future__ import annotations

import unittest

from ipv8.community import Community
from ipv8.dht.community import DHTCommunity
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node
from ipv8.test.dht.base import TestDHTBase as BaseCase
from ipv8.test.mocking.ipv8 import MockIPv8


class ExampleCase(BaseCase[DHTCommunity]):
    """What a user writes."""

    async def asyncSetUp(self) -> None:
        self.initialize(DHTCommunity, 2)

    def create_node(self, *_: object, **__: object) -> MockIPv8:
        return MockIPv8("curve25519", DHTCommunity)

    async def runTest(self) -> None:
        await self.introduce_nodes()
        node = self.dht_node(1)
        assert isinstance(node, Node)
        assert self.routing_table(0).has(node.id)
        assert self.my_node_id(1) == node.id
        await self.overlay(0).store_value(b"k" * 20, b"data")
        assert self.storage(1).get(b"k" * 20) == [b"\x00data"]


async def test_a_node_with_a_dht_beside_its_overlay() -> None:
    class Other(Community):
        community_id = b"o" * 20

    node = MockIPv8("curve25519", Other, create_dht=True)
    assert isinstance(node.dht, DHTDiscoveryCommunity)
    await node.stop()


def test_a_test_case_of_a_user() -> None:
    result = unittest.TestResult()
    ExampleCase().run(result)
    assert [text for _, text in result.failures + result.errors] == []
    assert result.testsRun == 1
