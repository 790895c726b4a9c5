from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ipv8.messaging.interfaces.endpoint import Endpoint, EndpointListener
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ipv8.messaging.address import Address


class Collector(EndpointListener):
    """Keeps what it gets, and can be waited for."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.packets: list[tuple[Address, bytes]] = []
        self.hook: Callable[[tuple[Address, bytes]], None] = lambda _: None

    @property
    def data(self) -> list[bytes]:
        return [data for _, data in self.packets]

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        self.packets.append(packet)
        self.hook(packet)

    async def wait_for(self, count: int) -> list[bytes]:
        while len(self.packets) < count:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)
        return self.data


@pytest.fixture
def collect() -> type[Collector]:
    return Collector


@pytest.fixture
async def make_endpoint() -> AsyncIterator[Callable[..., Awaitable[UDPEndpoint]]]:
    """Open endpoints on the loopback interface, closed when the test is over."""
    made = []

    async def make(cls: type[UDPEndpoint] = UDPEndpoint, port: int = 0, **settings: object) -> UDPEndpoint:
        endpoint = cls(port, "::1" if cls.__name__ == "UDPv6Endpoint" else "127.0.0.1", **settings)  # type: ignore[arg-type]  # settings of the test
        made.append(endpoint)
        assert await endpoint.open()
        return endpoint

    yield make
    for endpoint in made:
        endpoint.close()
