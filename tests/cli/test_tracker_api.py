"""What a tracker tells about itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli.tracker import TrackerService
from ipv8.cli.tracker_api import metrics_text, services_json
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer
from ipv8.util import maybe_coroutine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICE = bytes(range(20))


@pytest.fixture
async def service() -> AsyncIterator[TrackerService]:
    """A tracker with one peer."""
    tracker = TrackerService()
    await tracker.start_tracker(0, "127.0.0.1")
    assert tracker.overlay is not None
    peer = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("1.2.3.4", 5))
    tracker.overlay.network.add_verified_peer(peer)
    tracker.overlay.network.discover_services(peer, [SERVICE])
    tracker.overlay.counters["requests"] += 3
    tracker.overlay.drops.count("short")
    yield tracker
    await tracker.shutdown()


async def test_services(service: TrackerService) -> None:
    assert service.overlay is not None
    (peer,) = service.overlay.network.verified_peers
    assert services_json(service.overlay) == {SERVICE.hex(): [str(peer)]}


async def test_metrics(service: TrackerService) -> None:
    assert service.overlay is not None
    lines = metrics_text(service.overlay).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "ipv8_tracker_peers 1",
        "ipv8_tracker_services 1",
        'ipv8_tracker_events_total{event="requests"} 3',
        'ipv8_tracker_dropped_packets_total{reason="short"} 1',
    ]


async def get(service: TrackerService, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and body of a request to the HTTP interface."""
    aiohttp = pytest.importorskip("aiohttp")
    host, port = service.site.addresses[0][:2]
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}",
                                                               headers=headers) as response:
        assert host in {"127.0.0.1", "0.0.0.0"}
        return response.status, await response.text()


async def test_http(service: TrackerService) -> None:
    pytest.importorskip("aiohttp")
    assert service.overlay is not None
    await service.start_api(0)
    assert service.site.addresses[0][0] == "127.0.0.1"  # without a key it is for this machine only
    status, body = await get(service, "/services")
    assert (status, json.loads(body)) == (200, services_json(service.overlay))
    assert await get(service, "/metrics") == (200, metrics_text(service.overlay))
    assert (await get(service, "/else"))[0] == 404


async def test_http_with_a_key(service: TrackerService) -> None:
    pytest.importorskip("aiohttp")
    await service.start_api(0, "söcret")
    assert service.site.addresses[0][0] == "0.0.0.0"
    for path in ("/services", "/metrics", "/else"):
        for headers in ({}, {"X-Api-Key": "wrong"}):
            assert await get(service, path, headers) == (401, '{"error": "Unauthorized access"}')
    assert (await get(service, "/services", {"X-Api-Key": "söcret"}))[0] == 200
    assert (await get(service, "/services?apikey=s%C3%B6cret"))[0] == 200


async def test_http_is_guarded(service: TrackerService, manual_clock: Any) -> None:
    pytest.importorskip("aiohttp")
    from ipv8.REST.access import WRONG_KEYS

    await service.start_api(0)
    for name in ("evil.example", "127.0.0.1.evil.example"):
        assert (await get(service, "/services", {"Host": name}))[0] == 403
    assert (await get(service, "/services", {"Host": "localhost:1"}))[0] == 200
    await service.site.cleanup()
    await service.start_api(0, "secret")
    assert (await get(service, "/services", {"Host": "tracker.example", "X-Api-Key": "secret"}))[0] == 200
    statuses = [(await get(service, f"/services?apikey={number}"))[0] for number in range(WRONG_KEYS + 1)]
    assert statuses == [401] * WRONG_KEYS + [429]


@pytest.mark.parametrize("key", [None, "secret"])
async def test_health_needs_no_key(key: str | None, service: TrackerService) -> None:
    pytest.importorskip("aiohttp")
    await service.start_api(0, key)
    assert await get(service, "/health") == (200, '{"status": "ok"}')
    assert service.endpoint is not None
    await maybe_coroutine(service.endpoint.close)
    assert await get(service, "/health") == (503, '{"status": "closed"}')
