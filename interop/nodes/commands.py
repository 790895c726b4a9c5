"""What the programs of nodes with tunnels have in common."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from interop.nodes.values import tell
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["close", "make_endpoint", "obey_commands"]


async def make_endpoint(native: bool) -> Any:
    """An open endpoint on loopback."""
    if native:
        native_endpoint: Any = import_module("ipv8_rust_tunnels").Endpoint
        endpoint = native_endpoint(0, "127.0.0.1")
    else:
        endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    return endpoint


async def close(endpoint: Any) -> None:
    """Close an endpoint of either library."""
    closing = endpoint.close()
    if closing is not None:
        await closing


async def obey_commands(obey: Callable[..., Awaitable[Any]]) -> None:
    """Run commands until standard input ends; the result of each, or its error, is an event of the same name."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            tell(command["do"], result=await obey(**command))
        except Exception as e:  # noqa: BLE001 - the test is told
            tell(command["do"], error=repr(e))
