from __future__ import annotations

from typing import Any

import pytest

from ipv8 import clock
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery import churn as churn_module, discovery
from ipv8.peerdiscovery.churn import RandomChurn
from ipv8.peerdiscovery.network import Network


class Overlay:
    def __init__(self) -> None:
        self.network = Network()
        self.pinged: list[Peer] = []

    def get_peers(self) -> list[Peer]:
        return []

    def send_ping(self, peer: Peer) -> None:
        self.pinged.append(peer)


@pytest.fixture
def overlay() -> Overlay:
    return Overlay()


def join(overlay: Overlay, number: int, silent_for: float, now: float, pings: int = 5) -> Peer:
    peer = Peer(b"LibNaCLPK:" + number.to_bytes(64, "big"), UDPv4Address("1.2.3.4", number))
    peer.last_response = now - silent_for
    peer.pings.extend([0.1] * pings)
    overlay.network.add_verified_peer(peer)
    return peer


def test_defaults(overlay: Overlay) -> None:
    churn = RandomChurn(overlay)
    assert (churn.sample_size, churn.ping_interval, churn.inactive_time, churn.drop_time) == (8, 10.0, 27.5, 57.5)
    assert churn._pinged == {}
    assert churn_module.DiscoveryStrategy is discovery.DiscoveryStrategy


@pytest.mark.parametrize(("silent_for", "inactive", "drop"), [
    (0, False, False), (27.5, False, False), (28, True, False), (57.5, True, False), (58, True, True),
])
def test_judgement(overlay: Overlay, manual_clock: Any, silent_for: float, inactive: bool, drop: bool) -> None:
    churn = RandomChurn(overlay)
    peer = join(overlay, 1, silent_for, manual_clock.now)
    assert churn.is_inactive(peer) is inactive
    assert churn.should_drop(peer) is drop


def test_who_was_never_heard_of_is_judged_by_the_creation_time(overlay: Overlay, manual_clock: Any) -> None:
    churn = RandomChurn(overlay)
    peer = join(overlay, 1, 0, manual_clock.now)
    peer.last_response = 0
    assert not churn.is_inactive(peer)
    assert not churn.should_drop(peer)
    manual_clock.advance(30)
    assert churn.is_inactive(peer)
    churn.take_step()
    assert overlay.pinged == [peer]
    manual_clock.advance(30)
    churn.take_step()
    assert overlay.network.verified_peers == set()


def test_silent_peer_is_pinged_before_it_is_dropped(overlay: Overlay, manual_clock: Any) -> None:
    peer = join(overlay, 1, 100, manual_clock.now)
    churn = RandomChurn(overlay)
    churn.take_step()
    assert overlay.pinged == [peer]
    assert churn._pinged == {peer.address: manual_clock.now}
    churn.take_step()
    assert overlay.network.verified_peers == set()
    assert churn._pinged == {}


def test_peer_that_answers_stays(overlay: Overlay, manual_clock: Any) -> None:
    peer = join(overlay, 1, 30, manual_clock.now)
    churn = RandomChurn(overlay, ping_interval=0)
    churn.take_step()
    peer.last_response = manual_clock.now
    manual_clock.advance(20)
    churn.take_step()
    assert overlay.pinged == [peer]
    assert overlay.network.verified_peers == {peer}


def test_a_ping_that_was_answered_is_no_reason_to_drop_a_peer_later(overlay: Overlay, manual_clock: Any) -> None:
    peer = join(overlay, 1, 30, manual_clock.now)
    churn = RandomChurn(overlay)
    churn.take_step()
    manual_clock.advance(1)
    peer.heard_now()
    manual_clock.advance(60)
    churn.take_step()
    assert overlay.network.verified_peers == {peer}
    assert overlay.pinged == [peer, peer]
    churn.take_step()
    assert overlay.network.verified_peers == set()


@pytest.mark.parametrize("step", [-86400, 86400])
def test_setting_the_wall_clock_changes_no_silence(overlay: Overlay, manual_clock: Any, step: float) -> None:
    live = join(overlay, 1, 0, manual_clock.time())
    silent = join(overlay, 2, 0, manual_clock.time())
    never_heard = join(overlay, 3, 0, manual_clock.time())
    never_heard.last_response = 0
    churn = RandomChurn(overlay)
    manual_clock.step_wall(step)
    churn.take_step()
    assert overlay.pinged == []
    manual_clock.advance(30)
    live.heard_now()
    churn.take_step()
    assert set(overlay.pinged) == {silent, never_heard}
    overlay.pinged.clear()
    manual_clock.step_wall(-2 * step)
    manual_clock.advance(11)
    churn.take_step()
    assert set(overlay.pinged) == {silent, never_heard}, "the ping interval is over"
    manual_clock.advance(20)
    live.heard_now()
    churn.take_step()
    assert overlay.network.verified_peers == {live}


def test_active_peer_with_known_round_trip_times_is_left_alone(overlay: Overlay, manual_clock: Any) -> None:
    join(overlay, 1, 0, manual_clock.now)
    RandomChurn(overlay).take_step()
    assert overlay.pinged == []


def test_round_trip_times_are_gathered(overlay: Overlay, manual_clock: Any) -> None:
    peer = join(overlay, 1, 0, manual_clock.now, pings=4)
    RandomChurn(overlay).take_step()
    assert overlay.pinged == [peer]


@pytest.mark.parametrize(("ping_interval", "pings"), [(10000, 1), (0, 1), (-1, 2)])
def test_ping_interval(overlay: Overlay, manual_clock: Any, ping_interval: float, pings: int) -> None:
    join(overlay, 1, 30, manual_clock.now)
    churn = RandomChurn(overlay, ping_interval=ping_interval)
    churn.take_step()
    churn.take_step()
    assert len(overlay.pinged) == pings


@pytest.mark.parametrize(("sample_size", "pings"), [(0, 0), (3, 3), (8, 5)])
def test_sample_size(overlay: Overlay, manual_clock: Any, sample_size: int, pings: int) -> None:
    for number in range(1, 6):
        join(overlay, number, 30, manual_clock.now)
    RandomChurn(overlay, sample_size=sample_size).take_step()
    assert len(overlay.pinged) == pings


def test_memory_of_pings_is_limited(overlay: Overlay, manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(churn_module, "MAX_PINGED", 3)
    for number in range(1, 9):
        join(overlay, number, 30, manual_clock.now)
    churn = RandomChurn(overlay)
    churn.take_step()
    assert len(overlay.pinged) == 8
    assert list(churn._pinged) == [peer.address for peer in overlay.pinged[-3:]]


def test_subclass_may_judge_otherwise(overlay: Overlay, manual_clock: Any) -> None:
    class Impatient(RandomChurn):
        def is_inactive(self, peer: Peer) -> bool:
            return True

    peer = join(overlay, 1, 0, manual_clock.now)
    Impatient(overlay).take_step()
    assert overlay.pinged == [peer]


class WithoutPings:
    def __init__(self) -> None:
        self.network = Network()
        self.asked: list[Peer] = []

    def get_peers(self) -> list[Peer]:
        return []

    def send_introduction_request(self, peer: Peer) -> None:
        self.asked.append(peer)


def test_an_overlay_without_pings_sends_introduction_requests() -> None:
    overlay: Any = WithoutPings()
    peer = join(overlay, 1, 30, clock.time())
    RandomChurn(overlay).take_step()
    assert overlay.asked == [peer]
