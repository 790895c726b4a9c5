from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ipv8 import clock
from ipv8.dht.introduction_point import PEER_SOURCE_DHT, PEER_SOURCE_PEX, IntroductionPoint
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.swarm import (
    FIRST_BACK_OFF,
    LONGEST_BACK_OFF,
    MAX_FAILURES,
    MAX_INTRO_POINTS,
    RendezvousPoint,
    Swarm,
)
from ipv8.messaging.anonymization.tunnel import Circuit, Hop
from ipv8.peer import Peer
from ipv8.test.clock import ManualClock

INFO_HASH = b"i" * 20
NODES = [Peer(default_eccrypto.generate_key("curve25519").pub(), (f"1.2.3.{number}", 4)) for number in range(4)]


def point(node: int = 0, service: bytes = b"service", source: int = PEER_SOURCE_PEX,
          last_seen: int | None = None) -> IntroductionPoint:
    return IntroductionPoint(NODES[node], service, source, last_seen)


@pytest.fixture(autouse=True)
def manual_clock() -> Any:
    with clock.use(ManualClock()) as manual:
        yield manual


class Lookup:
    """Answers requests for introduction points with ``answers``, which are returned or raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[bytes, IntroductionPoint | None, int]] = []

    async def __call__(self, info_hash: bytes, target: IntroductionPoint | None, hops: int) -> Any:
        self.asked.append((info_hash, target, hops))
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer


def make_swarm(*answers: Any, **options: Any) -> tuple[Swarm, Lookup]:
    lookup = Lookup(*answers)
    return Swarm(INFO_HASH, 1, lookup, **options), lookup


def connect(swarm: Swarm, number: int, intro_point: IntroductionPoint, complete: bool = True) -> Circuit:
    circuit = Circuit(number, 1)
    circuit.add_hop(Hop(NODES[0]))
    circuit.e2e = complete
    swarm.add_connection(circuit, intro_point)
    return circuit


def test_defaults() -> None:
    swarm, lookup = make_swarm()
    assert (swarm.info_hash, swarm.hops, swarm.lookup_func) == (INFO_HASH, 1, lookup)
    assert (swarm.seeding, swarm.seeder_sk, swarm.max_ip_age) == (False, None, 180.0)
    assert (swarm.min_dht_lookup_interval, swarm.max_dht_lookup_interval) == (300.0, 120.0)
    assert (swarm.last_lookup, swarm.last_dht_response, swarm.transfer_history) == (0, 0, [0, 0])
    assert (swarm.intro_points, swarm.connections) == ([], {})


def test_a_swarm_with_a_key_seeds() -> None:
    assert make_swarm(seeder_sk=default_eccrypto.generate_key("curve25519"))[0].seeding


def test_connections_are_counted() -> None:
    swarm, _ = make_swarm()
    known = point()
    circuit = connect(swarm, 1, known, complete=False)
    assert swarm.has_connection(b"service")
    assert not swarm.has_connection(b"other")
    assert (swarm.get_num_connections(), swarm.get_num_connections_incomplete()) == (0, 1)
    circuit.e2e = True
    assert (swarm.get_num_connections(), swarm.get_num_connections_incomplete()) == (1, 0)
    swarm.add_connection(circuit, point(1))
    assert swarm.connections == {1: (circuit, known)}
    assert swarm.remove_connection(circuit)
    assert not swarm.remove_connection(circuit)
    assert not swarm.has_connection(b"service")


def test_traffic_of_connections_that_are_gone_counts() -> None:
    swarm, _ = make_swarm()
    gone, there = connect(swarm, 1, point()), connect(swarm, 2, point(1))
    gone.bytes_up, gone.bytes_down, there.bytes_up, there.bytes_down = 1, 2, 10, 20
    swarm.remove_connection(gone)
    assert (swarm.get_total_up(), swarm.get_total_down()) == (11, 22)
    assert swarm.transfer_history == [1, 2]


def test_an_introduction_point_that_is_added_again_is_seen_again(manual_clock: ManualClock) -> None:
    swarm, _ = make_swarm()
    first = swarm.add_intro_point(point())
    seen = first.last_seen
    manual_clock.advance(5)
    assert swarm.add_intro_point(point()) is first
    assert first.last_seen == seen + 5
    assert swarm.intro_points == [first]


def test_old_introduction_points_are_removed_unless_they_are_in_use(manual_clock: ManualClock) -> None:
    swarm, _ = make_swarm()
    used, waiting, old = (swarm.add_intro_point(point(node)) for node in range(3))
    connect(swarm, 1, used)
    connect(swarm, 2, waiting, complete=False)
    manual_clock.advance(swarm.max_ip_age + 1)
    fresh = swarm.add_intro_point(point(3))
    swarm.remove_old_intro_points()
    assert swarm.intro_points == [used, fresh]
    swarm.remove_intro_point(old)


def test_a_time_of_another_node_keeps_nothing_longer(manual_clock: ManualClock) -> None:
    swarm, _ = make_swarm()
    swarm.add_intro_point(point(last_seen=int(clock.time()) + 10**6))
    manual_clock.advance(swarm.max_ip_age + 1)
    swarm.remove_old_intro_points()
    assert not swarm.intro_points


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
def test_a_clock_that_is_set_changes_no_age(manual_clock: ManualClock, step: float) -> None:
    swarm, _ = make_swarm()
    kept = swarm.add_intro_point(point())
    manual_clock.step_wall(step)
    swarm.remove_old_intro_points()
    assert swarm.intro_points == [kept]
    manual_clock.advance(swarm.max_ip_age + 1)
    swarm.remove_old_intro_points()
    assert not swarm.intro_points


async def test_what_programs_find_need_not_tell_when_it_was_seen() -> None:
    found = SimpleNamespace(source=PEER_SOURCE_DHT, seeder_pk=b"service")
    swarm, _ = make_swarm([found])
    answer: Any = await swarm.lookup()
    assert answer == [found]
    assert swarm.last_dht_response == swarm.add_intro_point(answer[0]).last_seen
    swarm.remove_old_intro_points()
    assert swarm.intro_points == answer


def test_the_introduction_point_that_was_seen_longest_ago_is_evicted(manual_clock: ManualClock) -> None:
    swarm, _ = make_swarm()
    used = swarm.add_intro_point(point(0, b"used"))
    connect(swarm, 1, used)
    for number in range(MAX_INTRO_POINTS):
        manual_clock.advance(1)
        swarm.add_intro_point(point(0, b"%d" % number))
    assert len(swarm.intro_points) == MAX_INTRO_POINTS
    assert used in swarm.intro_points
    assert point(0, b"0") not in swarm.intro_points


def test_services_are_counted_once() -> None:
    swarm, _ = make_swarm()
    swarm.add_intro_point(point(0))
    swarm.add_intro_point(point(1))
    connect(swarm, 1, point(2, b"other"))
    assert swarm.get_num_seeders() == 2


def test_each_service_is_tried_by_one_introduction_point() -> None:
    swarm, _ = make_swarm()
    for node, service in ((0, b"one"), (1, b"one"), (2, b"two"), (3, b"connected")):
        swarm.add_intro_point(point(node, service))
    connect(swarm, 1, point(3, b"connected"), complete=False)
    swarm.attempts[b"two"] = point(2, b"two")
    assert swarm.untried() == [point(0, b"one")]


def test_an_introduction_point_that_failed_is_left_alone_for_longer_and_longer(manual_clock: ManualClock) -> None:
    swarm, _ = make_swarm()
    one, two = swarm.add_intro_point(point(0)), swarm.add_intro_point(point(1))
    swarm.attempts[b"service"] = one
    swarm.note_failure(one)
    assert not swarm.attempts
    assert swarm.untried() == [two]
    swarm.note_failure(two)
    assert swarm.untried() == []
    manual_clock.advance(FIRST_BACK_OFF)
    assert swarm.untried() == [one]
    swarm.note_failure(one)
    manual_clock.advance(FIRST_BACK_OFF)
    assert swarm.untried() == [two]
    for _ in range(10):
        swarm.note_failure(one)
        swarm.note_failure(two)
    manual_clock.advance(LONGEST_BACK_OFF)
    assert swarm.untried()
    swarm.note_success(one)
    assert swarm.untried() == [one]


def test_failures_are_bounded() -> None:
    swarm, _ = make_swarm()
    for number in range(MAX_FAILURES + 1):
        swarm.note_failure(point(0, b"%d" % number))
    assert len(swarm._failures) == MAX_FAILURES


def test_only_the_wanted_service_counts() -> None:
    swarm, _ = make_swarm(service_pk=b"service")
    assert swarm.is_wanted(point())
    assert not swarm.is_wanted(point(0, b"other"))


async def test_a_lookup_at_a_target() -> None:
    swarm, lookup = make_swarm([point(1)])
    assert await swarm.lookup(point()) == [point(1)]
    assert lookup.asked == [(INFO_HASH, point(), 1)]
    assert (swarm.last_lookup, swarm.last_dht_response) == (0, 0)


async def test_the_dht_is_asked_first_and_others_after_that(manual_clock: ManualClock) -> None:
    swarm, lookup = make_swarm([point(0, source=PEER_SOURCE_DHT)], [point(2)], RuntimeError(), [point(3)])
    found = await swarm.lookup()
    assert found is not None
    assert swarm.last_lookup == swarm.last_dht_response == clock.time()
    for known in (*found, point(1), point(2)):
        swarm.add_intro_point(known)
    assert await swarm.lookup() == [point(2), point(3)]
    assert [target for _, target, _ in lookup.asked] == [None, point(0), point(1), point(2)]


async def test_the_dht_is_asked_again_after_a_while(manual_clock: ManualClock) -> None:
    swarm, lookup = make_swarm([point(0, source=PEER_SOURCE_DHT)])
    await swarm.lookup()
    assert await swarm.lookup() is None
    manual_clock.advance(swarm.max_dht_lookup_interval + 1)
    await swarm.lookup()
    assert len(lookup.asked) == 2


async def test_a_failed_lookup_is_no_answer_of_the_dht() -> None:
    swarm, _ = make_swarm(RuntimeError("no"), [point(0, source=PEER_SOURCE_DHT)])
    with pytest.raises(RuntimeError, match="no"):
        await swarm.lookup()
    assert swarm.last_dht_response == 0
    await swarm.lookup()
    assert swarm.last_dht_response


async def test_the_wall_clock_does_not_change_intervals(manual_clock: ManualClock) -> None:
    swarm, lookup = make_swarm([point(0, source=PEER_SOURCE_DHT)])
    await swarm.lookup()
    manual_clock.step_wall(10**6)
    assert await swarm.lookup() is None
    assert len(lookup.asked) == 1


async def test_a_rendezvous_point_waits_for_its_answer() -> None:
    rendezvous = RendezvousPoint(Circuit(1), b"c" * 20)
    assert rendezvous.address is None
    assert not rendezvous.ready.done()
    rendezvous.ready.set_result(rendezvous)
    assert await rendezvous.ready is rendezvous
