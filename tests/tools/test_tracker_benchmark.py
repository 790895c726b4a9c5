"""The load of the tracker benchmark, small: trackers answer it, and what is counted is what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import tracker_node
from benchmarks.cases import tracker as case
from ipv8.community import CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = UDPv4Address("127.0.0.1", 1)


async def test_every_request_is_answered_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case, "REQUESTS", 60)
    newcomers, seconds, spent, introduced = await case.serve(20, "own")
    assert min(newcomers, seconds, spent) > 0
    assert introduced == 60


@pytest.fixture
async def stand_in(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[tracker_node.StandIn, list[Any]]]:
    endpoint = AutoMockEndpoint()
    endpoint.open()
    sent: list[Any] = []
    monkeypatch.setattr(endpoint, "send", lambda *packet: sent.append(packet))
    tracker = tracker_node.StandIn(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("very-low")),
                                                     endpoint=endpoint, network=Network()))
    yield tracker, sent
    await tracker.unload()


async def test_stand_in_introduces_the_second_to_the_first(stand_in: Any) -> None:
    tracker, sent = stand_in
    crowd = case.Crowd(1, 2 * case.OVERLAYS)
    first, second = crowd.clients[0], crowd.clients[case.OVERLAYS]  # of the same overlay
    addresses = [UDPv4Address(*client.sock.getsockname()) for client in (first, second)]
    for number, (client, address) in enumerate(zip((first, second), addresses, strict=True), 7):
        tracker.on_packet((address, client.request(HERE, number)))
    assert [(address, packet[22]) for address, packet in sent] == [
        (addresses[0], 245), (addresses[0], 250), (addresses[1], 245)]
    answers = [packet for _, packet in sent if packet[22] == 245]
    assert [case.field_at(packet, case.TO_RESPONSE_IDENTIFIER, 2) for packet in answers] == [b"\0\7", b"\0\10"]
    assert [any(case.field_at(packet, case.TO_INTRODUCED, 6)) for packet in answers] == [False, True]
    await crowd.close()


async def test_stand_in_keeps_the_hundred_latest(stand_in: Any) -> None:
    tracker, _ = stand_in
    peers = [Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("127.0.0.1", port))
             for port in range(1, 105)]
    for age, peer in enumerate(peers):
        peer.creation_time = 1000.0 + age
        tracker.network.add_verified_peer(peer)
    tracker.trim()
    assert set(tracker.network.verified_peers) == set(peers[4:])
