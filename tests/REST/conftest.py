"""Fixtures: a node without sockets, and its HTTP interface on a loopback port."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from ipv8.REST.rest_manager import RESTManager
from tests.REST.browser import started_browser
from tests.REST.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from playwright.async_api import Browser

    Serve = Callable[..., AbstractAsyncContextManager[tuple[RESTManager, aiohttp.ClientSession]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A browser for all tests of a module, which need ``pytestmark = pytest.mark.asyncio(loop_scope="module")``."""
    async with started_browser() as started:
        yield started


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.stop()


@pytest.fixture
async def serve(world: World, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serve the node with some options, and give a client."""
    monkeypatch.setattr("ipv8.REST.identity_endpoint.CommunicationManager", lambda _: world.manager)

    @asynccontextmanager
    async def serving(session: Any = world, **options: Any) -> AsyncIterator[tuple[RESTManager, aiohttp.ClientSession]]:
        manager = RESTManager(session)
        await manager.start(0, **options)
        try:
            assert manager.url is not None
            async with aiohttp.ClientSession(manager.url.replace("0.0.0.0", "127.0.0.1")) as client:
                yield manager, client
        finally:
            await manager.stop()

    return serving
