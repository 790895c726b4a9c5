from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ipv8 import clock
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization import path as module
from ipv8.messaging.anonymization.path import BackOff, PathChooser
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_TYPE_DATA,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
    Circuit,
    Hop,
)
from ipv8.peer import Peer
from ipv8.test.clock import ManualClock

RELAY, EXIT = [1], [1, 2]


def make_peer(host: str) -> Peer:
    address: Any = UDPv6Address(host, 1) if ":" in host else UDPv4Address(host, 1)
    return Peer(default_eccrypto.generate_key("curve25519").pub(), address)


def network(relays: int, exits: int, form: str = "{}.1.1.1") -> dict[Peer, list[int]]:
    return {make_peer(form.format(number + 11)): RELAY if number < relays else EXIT for number in range(relays + exits)}


@pytest.fixture
def chooser() -> PathChooser:
    return PathChooser(make_peer("5.5.5.5").key_bin)


def circuit_of(*hops: Peer, goal: int, ctype: str = CIRCUIT_TYPE_DATA, required_exit: Peer | None = None) -> Circuit:
    circuit = Circuit(1, goal, ctype, required_exit)
    for hop in hops:
        circuit.add_hop(Hop(hop))
    return circuit


def build(chooser: PathChooser, candidates: dict[Peer, list[int]], goal: int, ctype: str = CIRCUIT_TYPE_DATA,
          required_exit: Peer | None = None) -> list[Peer]:
    """The path that a circuit gets if all nodes answer."""
    path = chooser.first_hops(candidates, goal, ctype, required_exit)[:1]
    while path and len(path) < goal:
        if required_exit is not None and len(path) == goal - 1:
            path.append(required_exit)
            break
        circuit = circuit_of(*path, goal=goal, ctype=ctype, required_exit=required_exit)
        following = chooser.next_hops(circuit, candidates)
        if not following:
            break
        path.append(following[0])
    return path


# -- paths -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("goal", [2, 3, 5, 8])
def test_paths(chooser: PathChooser, goal: int) -> None:
    candidates = network(20, 20)
    for _ in range(50):
        path = build(chooser, candidates, goal)
        assert len({peer.key_bin for peer in path}) == goal
        assert candidates[path[-1]] == EXIT


def test_few_first_hops(chooser: PathChooser) -> None:
    candidates = network(50, 50)
    assert len({build(chooser, candidates, 3)[0].key_bin for _ in range(200)}) <= 3


def test_one_hop_of_each_network(chooser: PathChooser) -> None:
    crowded = {make_peer(f"9.9.{number}.{number}"): EXIT for number in range(40)}
    candidates = {**crowded, **network(4, 4)}
    for _ in range(40):
        path = build(chooser, candidates, 3)
        assert len(path) == 3
        assert sum(peer in crowded for peer in path) <= 1
    other = PathChooser(chooser.own_key)
    assert len(build(other, crowded, 3)) == 1
    other.allow_same_network = True
    assert len(build(other, crowded, 3)) == 3


def test_networks_of_ipv6(chooser: PathChooser) -> None:
    one, other, far = (make_peer(host) for host in ("2606:4700:1::1", "2606:4700:2::1", "2606:4701::1"))
    assert chooser.conflicts(one, [other])
    assert not chooser.conflicts(one, [far])


def test_private_addresses_are_in_no_network(chooser: PathChooser) -> None:
    candidates = network(3, 3, "127.0.0.{}")
    assert len(build(chooser, candidates, 3)) == 3


def test_the_only_exit_is_kept_for_the_end(chooser: PathChooser) -> None:
    for relays, goal in ((1, 2), (2, 3), (3, 4)):
        candidates = network(relays, 1)
        for _ in range(20):
            path = build(PathChooser(chooser.own_key), candidates, goal)
            assert len(path) == goal
            assert candidates[path[-1]] == EXIT


def test_networks_of_exits_only(chooser: PathChooser) -> None:
    for count in (2, 3, 4):
        for _ in range(20):
            assert len(build(PathChooser(chooser.own_key), network(0, count), count)) == count
    assert build(PathChooser(chooser.own_key), network(0, 1), 2) == []


def test_a_last_hop_that_is_chosen_already(chooser: PathChooser) -> None:
    candidates = network(5, 5)
    last = next(peer for peer, flags in candidates.items() if flags == EXIT)
    for _ in range(20):
        path = build(chooser, candidates, 3, required_exit=last)
        assert path[-1] is last
        assert last not in path[:-1]


def test_this_node_is_no_hop(chooser: PathChooser) -> None:
    me = make_peer("44.1.1.1")
    alone = PathChooser(me.key_bin)
    assert alone.usable([me]) == []
    assert me not in alone.next_hops(circuit_of(make_peer("45.1.1.1"), goal=3), {me: RELAY, **network(1, 1)})


def test_services_have_few_second_hops(chooser: PathChooser) -> None:
    candidates = network(60, 60)
    for ctype, goal, last in ((CIRCUIT_TYPE_RP_SEEDER, 2, None), (CIRCUIT_TYPE_RP_SEEDER, 3, None),
                              (CIRCUIT_TYPE_RP_DOWNLOADER, 3, make_peer("201.1.1.1"))):
        seconds = {build(chooser, candidates, goal, ctype, last)[1].key_bin for _ in range(500)}
        assert len(seconds) <= 4
    assert len({build(chooser, candidates, 3)[1].key_bin for _ in range(200)}) > 20


# -- nodes that fail -------------------------------------------------------------------------------------------------

def test_pauses_grow() -> None:
    back_off, key, now = BackOff(), b"key", 1000.0
    pauses = []
    for _ in range(10):
        assert back_off.is_usable(key, now)
        back_off.note_failure(key, now)
        back_off.note_failure(key, now)  # of another circuit at the same time
        start = now
        while not back_off.is_usable(key, now):
            now += 1
        pauses.append(now - start)
    assert pauses == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800]
    back_off.note_failure(key, now)
    back_off.note_success(key)
    assert back_off.is_usable(key, now)


def test_failures_are_bounded() -> None:
    back_off = BackOff()
    for number in range(2 * module.MAX_FAILED_NODES):
        back_off.note_failure(b"%d" % number, 1.0)
    assert len(back_off._failed._entries) == module.MAX_FAILED_NODES


def test_a_relay_that_extends_to_nobody_loses_its_turn() -> None:
    back_off, relay = BackOff(), b"relay"
    assert not back_off.note_dead_end(relay, b"a", 1.0)
    assert not back_off.note_dead_end(relay, b"a", 2.0)  # the same node again: it may be dead
    back_off.note_extended(relay)
    assert not back_off.note_dead_end(relay, b"b", 3.0)
    assert back_off.note_dead_end(relay, b"c", 4.0)
    assert not back_off.is_usable(relay, 5.0)


def test_dead_nodes_are_left_out(chooser: PathChooser) -> None:
    manual = ManualClock()
    with clock.use(manual):
        candidates = network(3, 3)
        exits = [peer for peer, flags in candidates.items() if flags == EXIT]
        chooser.back_off.note_failure(exits[0].key_bin, clock.monotonic())
        start = make_peer("200.1.1.1")
        for _ in range(20):
            assert exits[0] not in chooser.next_hops(circuit_of(start, goal=2), candidates)
        assert chooser.usable(exits) == exits[1:]
        manual.advance(module.FIRST_PAUSE)
        assert exits[0] in chooser.next_hops(circuit_of(start, goal=2), candidates)


def test_without_others_dead_nodes_are_tried(chooser: PathChooser) -> None:
    candidates = network(1, 1)
    for peer in candidates:
        chooser.back_off.note_failure(peer.key_bin, clock.monotonic())
    path = build(chooser, candidates, 2)
    assert len(path) == 2
    assert chooser.usable(list(candidates)) == list(candidates)


def test_a_lying_relay_captures_few_circuits(chooser: PathChooser) -> None:
    """A guard that only extends to its accomplices does not get more circuits than its part of the nodes."""
    manual = ManualClock()
    with clock.use(manual):
        candidates = network(30, 30)
        peers = list(candidates)
        bad = set(peers[:6]) | set(peers[30:36])
        outcomes: Counter[str] = Counter()
        for _ in range(300):
            manual.advance(5)
            path = chooser.first_hops(candidates, 3, CIRCUIT_TYPE_DATA, None)[:1]
            while len(path) < 3:
                following = chooser.next_hops(circuit_of(*path, goal=3), candidates)[0]
                if path[-1] in bad and following not in bad:
                    if not chooser.back_off.note_dead_end(path[-1].key_bin, following.key_bin, clock.monotonic()):
                        chooser.back_off.note_failure(following.key_bin, clock.monotonic())
                    break
                chooser.back_off.note_extended(path[-1].key_bin)
                path.append(following)
            else:
                outcomes["captured" if all(peer in bad for peer in path) else "free"] += 1
        assert outcomes["captured"] <= sum(outcomes.values()) / 3
        assert outcomes["free"] > 50
