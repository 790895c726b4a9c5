"""Which peers are probed and when, and which are lost: without sockets and without a clock."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.contact.liveness import (
    DEPARTURE_TOLERANCE,
    JITTER,
    KEEP_ALIVE_INTERVAL,
    LONGEST_INTERVAL,
    MAX_DEPARTURES,
    PATIENCE,
    REST_INTERVAL,
    SHORTEST_INTERVAL,
    Departures,
    Liveness,
    Lost,
    Probe,
    ProbeKind,
)
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer

KEYS = [b"LibNaCLPK:" + number.to_bytes(64, "big") for number in range(40)]


class World:
    """A node with peers that answer as a test decides."""

    def __init__(self, peers: int = 1) -> None:
        self.now = 1000.0
        self.heard: dict[Peer, float] = {}
        self.needed = True
        self.liveness = Liveness(lambda peer: self.heard.get(peer, -inf), lambda _: self.needed)
        self.peers = [Peer(key, UDPv4Address("1.2.3.4", 1000 + number)) for number, key in enumerate(KEYS[:peers])]
        self.probes: list[tuple[float, Probe]] = []
        self.lost: list[tuple[float, Peer]] = []
        for peer in self.peers:
            self.heard[peer] = self.now
            self.liveness.watch(peer, self.now)

    def run(self, seconds: float, answers: tuple[ProbeKind, ...] = ()) -> World:
        """Let time pass; peers answer the kinds of probes in ``answers``."""
        end = self.now + seconds
        while (deadline := self.liveness.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            for action in self.liveness.tick(self.now):
                if isinstance(action, Lost):
                    self.lost.append((self.now, action.peer))
                    continue
                self.probes.append((self.now, action))
                if action.kind in answers:
                    self.now += 0.01
                    if action.kind == ProbeKind.PING:
                        assert self.liveness.answered(action.nonce, action.address) == action.peer
                    self.heard[action.peer] = self.now
        self.now = end
        return self

    def kinds(self) -> list[ProbeKind]:
        return [probe.kind for _, probe in self.probes]


def test_a_silent_peer_is_asked_three_times_and_lost_within_a_minute() -> None:
    world = World().run(300)
    assert world.kinds() == [ProbeKind.PING, ProbeKind.INTRODUCTION, ProbeKind.INTRODUCTION]
    (moment, peer), = world.lost
    assert peer == world.peers[0]
    assert KEEP_ALIVE_INTERVAL * (1 - JITTER) + sum(PATIENCE) <= moment - 1000.0 <= 60
    assert peer not in world.liveness
    assert world.liveness.deadline() is None


def test_even_with_the_longest_interval_a_crash_is_noticed_within_a_minute() -> None:
    assert LONGEST_INTERVAL + sum(PATIENCE) <= 60


def test_a_peer_that_answers_pings_is_asked_rarely_and_by_pings_only() -> None:
    world = World().run(3600, (ProbeKind.PING, ProbeKind.INTRODUCTION))
    assert set(world.kinds()) == {ProbeKind.PING}
    assert 3600 / LONGEST_INTERVAL <= len(world.probes) <= 3600 / (LONGEST_INTERVAL * (1 - JITTER)) + 10
    assert world.lost == []


def test_a_peer_that_knows_no_pings_is_pinged_once() -> None:
    world = World().run(600, (ProbeKind.INTRODUCTION,))
    assert world.kinds().count(ProbeKind.PING) == 1
    assert world.lost == []


def test_a_peer_that_sends_pings_is_pinged() -> None:
    world = World().run(100, (ProbeKind.INTRODUCTION,))
    world.liveness.pinged_by(world.peers[0])
    world.probes.clear()
    world.run(100, (ProbeKind.PING,))
    assert set(world.kinds()) == {ProbeKind.PING}


def test_traffic_takes_the_place_of_probes() -> None:
    world = World()
    for _ in range(100):
        world.run(5)
        world.heard[world.peers[0]] = world.now
    assert world.probes == []


def test_a_peer_that_nobody_needs_is_neither_probed_nor_lost() -> None:
    world = World()
    world.needed = False
    assert world.run(3600).probes == []
    assert world.lost == []
    world.needed = True
    assert set(world.run(REST_INTERVAL + 1, (ProbeKind.PING,)).kinds()) == {ProbeKind.PING}


def test_lost_probes_shorten_the_interval_and_answers_lengthen_it() -> None:
    world = World().run(600, (ProbeKind.PING,))
    long = world.probes[-1][0] - world.probes[-2][0]
    for _ in range(6):  # the first probe gets lost each time
        count = len(world.probes)
        while len(world.probes) == count:
            world.run(1)
        world.run(PATIENCE[0] + 0.5, (ProbeKind.PING,))
    world.probes.clear()
    world.run(SHORTEST_INTERVAL + 5, (ProbeKind.PING,))
    assert long > LONGEST_INTERVAL * (1 - JITTER) - 1
    assert len(world.probes) >= 1
    assert world.lost == []


def test_nobody_is_lost_unasked_however_late_the_timer_is() -> None:
    world = World()
    world.now += 7200
    actions = world.liveness.tick(world.now)
    assert [type(action) for action in actions] == [Probe]


def test_an_answer_counts_once_and_from_where_it_was_asked_for() -> None:
    world = World()
    while not world.probes:
        world.run(1)
    (_, probe), = world.probes
    assert world.liveness.answered(probe.nonce, UDPv4Address("4.3.2.1", 1)) is None
    assert world.liveness.answered(probe.nonce ^ 1, probe.address) is None
    assert world.liveness.answered(probe.nonce, probe.address) == probe.peer
    assert world.liveness.answered(probe.nonce, probe.address) is None


def test_probes_of_many_peers_are_spread() -> None:
    world = World(peers=40).run(KEEP_ALIVE_INTERVAL, (ProbeKind.PING,))
    assert len(world.probes) == 40
    assert len({int(moment) for moment, _ in world.probes}) >= 4


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["watch", "forget", "hear", "wait"]),
                          st.floats(0, 90)), max_size=40))
@settings(deadline=None)
def test_what_is_watched_has_a_deadline(steps: list[tuple[int, str, float]]) -> None:
    world = World(peers=3)
    watched = set(world.peers)
    for number, step, seconds in steps:
        peer = world.peers[number]
        if step == "watch":
            world.liveness.watch(peer, world.now)
            watched.add(peer)
        elif step == "forget":
            world.liveness.forget(peer)
            watched.discard(peer)
        elif step == "hear":
            world.heard[peer] = world.now
        else:
            lost = len(world.lost)
            world.run(seconds)
            watched -= {gone for _, gone in world.lost[lost:]}
        assert len(world.liveness) == len(watched)
        assert (world.liveness.deadline() is None) == (not watched)


def test_a_forgotten_peer_leaves_nothing_behind() -> None:
    world = World()
    for _ in range(1000):
        world.liveness.forget(world.peers[0])
        world.liveness.watch(world.peers[0], world.now)
    assert len(world.liveness._seconds) == 1
    assert len(world.liveness) == 1


@pytest.mark.parametrize(("off", "accepted"), [(0, True), (DEPARTURE_TOLERANCE - 1, True),
                                               (1 - DEPARTURE_TOLERANCE, True), (DEPARTURE_TOLERANCE + 1, False),
                                               (-DEPARTURE_TOLERANCE - 1, False)])
def test_a_goodbye_counts_at_its_time(off: float, accepted: bool) -> None:
    assert Departures().accept(b"m" * 20, b"r" * 20, int(1000 * (5000 + off)), 5000.0) == accepted


def test_a_goodbye_counts_once(manual_clock: object) -> None:
    departures = Departures()
    assert departures.accept(b"m" * 20, b"r" * 20, 5000_000, 5000.0)
    assert not departures.accept(b"m" * 20, b"r" * 20, 5000_000, 5001.0)
    assert departures.accept(b"n" * 20, b"r" * 20, 5000_000, 5001.0)
    assert departures.accept(b"m" * 20, b"r" * 20, 5000_001, 5001.0)
    assert departures.accept(b"m" * 20, b"s" * 20, 5000_000, 5001.0), "another key of this node"
    for number in range(MAX_DEPARTURES):
        departures.accept(b"x" * 20, b"r" * 20, 5000_002 + number, 5001.0)
    assert len(departures._heeded) == MAX_DEPARTURES


def test_goodbyes_that_removed_nobody_are_bounded(manual_clock: object) -> None:
    departures = Departures()
    for number in range(MAX_DEPARTURES + 1):
        departures.overlook(b"goodbye %d" % number)
    assert len(departures._overlooked) == MAX_DEPARTURES
    assert departures.was_overlooked(b"goodbye 1")
    assert not departures.was_overlooked(b"goodbye 0")
