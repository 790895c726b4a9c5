"""Fixtures: the two libraries, and nodes of them, which end with the test."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from interop import environment
from interop.driver import NodeProcess

StartNode = Callable[..., Awaitable[NodeProcess]]


@pytest.fixture(scope="session")
def libraries() -> dict[str, Any]:
    """Both libraries, by the names in the tests."""
    try:
        return {"ours": environment.ours(), "theirs": environment.theirs()}
    except environment.EnvironmentUnavailableError as e:
        if os.environ.get("IPV8_SKIP_INTEROP") == "1":
            pytest.skip(str(e))
        pytest.fail(str(e), pytrace=False)


@pytest.fixture
async def start(libraries: dict[str, Any]) -> AsyncIterator[StartNode]:
    """Start a node: ``await start("ours", key="very-low", …)``; all are killed after the test."""
    nodes = []

    async def start_node(kind: str, **options: Any) -> NodeProcess:
        node = await NodeProcess.start(libraries[kind], **options)
        nodes.append(node)
        return node

    yield start_node
    for node in nodes:
        await node.kill()


@pytest.fixture
def ipv6() -> None:
    """Skip the test where this machine has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as e:
        pytest.skip(f"this machine has no IPv6: {e}")
