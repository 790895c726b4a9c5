"""Tests of programs replace ``asyncio.get_running_loop``. The library uses the real event loop nevertheless."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from unittest.mock import Mock, patch

import pytest

from ipv8.community import Community
from ipv8.requestcache import NumberCache, RequestCache
from ipv8.test.base import TestBase
from ipv8.util import current_loop, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def replaced() -> Iterator[Mock]:
    """``asyncio.get_running_loop`` and ``asyncio.get_event_loop``, as a test has them."""
    loop = Mock()
    with patch("asyncio.get_running_loop", return_value=loop), patch("asyncio.get_event_loop", return_value=loop):
        yield loop


async def test_the_current_loop(replaced: Mock) -> None:
    assert asyncio.get_running_loop() is replaced
    assert current_loop() is not replaced
    assert await succeed(5) == 5


async def test_tasks_and_requests(replaced: Mock) -> None:
    done: list[int] = []
    cache = RequestCache()
    await cache.register_task("task", done.append, 1)
    await cache.register_executor_task("executor", done.append, 2)
    assert cache.add(NumberCache(cache, "prefix", 1)) is not None
    assert cache.wait_for("prefix", 1).done()
    await cache.shutdown()
    assert done == [1, 2]
    assert replaced.mock_calls == []


class Quiet(Community):
    community_id = b"the quiet community."


class TestOverlays(TestBase[Quiet]):
    """Under pytest."""

    async def test_messages_arrive(self) -> None:
        self.initialize(Quiet, 2)
        with patch("asyncio.get_running_loop", return_value=Mock()):
            self.overlay(0).walk_to(self.address(1))
        await self.deliver_messages()
        assert self.my_peer(1) in self.overlay(0).get_peers()
        with patch("asyncio.get_running_loop", return_value=Mock()):
            await self.overlay(0).unload()
