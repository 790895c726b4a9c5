from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from ipv8 import clock
from ipv8.messaging.address import DomainAddress
from ipv8.messaging.anonymization.socks5.isolation import Isolation
from ipv8.test.clock import ManualClock

DESTINATION = DomainAddress("example.org", 80)


async def test_clients_that_ask_together_wait_together() -> None:
    """Without any circuit, each of many clients is told after the same time, not one after another."""
    manual, waited = ManualClock(), []

    async def take(hops: int, flags: tuple[int, ...], timeout: float) -> Any:
        waited.append((timeout, clock.monotonic()))
        await asyncio.sleep(0)
        manual.advance(timeout)
        raise TimeoutError

    community: Any = SimpleNamespace(pool=SimpleNamespace(take=take))
    streams: Any = SimpleNamespace(clients={})
    with clock.use(manual):
        isolation, start = Isolation(community, streams, 3, 60.0), clock.monotonic()
        answers = await asyncio.gather(*(isolation.connect(b"client", DESTINATION) for _ in range(5)),
                                       return_exceptions=True)
    assert all(isinstance(answer, TimeoutError) for answer in answers)
    assert waited == [(60.0, start), *[(0.0, start + 60.0)] * 4]
