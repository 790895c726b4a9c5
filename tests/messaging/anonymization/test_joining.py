from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.anonymization import joining as module
from ipv8.messaging.anonymization.joining import Extensions, Joins, candidates_in_answer
from ipv8.messaging.anonymization.tunnel import RoutingObject


def test_answers_to_strangers_are_at_most_three_times_as_long() -> None:
    for size in range(100, 700):
        count = candidates_in_answer(size, False, 9)
        assert 0 <= count <= 9
        assert module.ANSWER_SIZE + count * module.CANDIDATE_SIZE <= max(3 * size, module.ANSWER_SIZE)
    assert candidates_in_answer(142, False, 9) == 3
    assert candidates_in_answer(544, False, 9) == 9
    assert candidates_in_answer(142, True, 9) == 9


def test_one_host_does_not_keep_others_out() -> None:
    joins = Joins()
    assert sum(joins.admits(("1.2.3.4", port), 5.0) for port in range(1000)) <= module.JOINS_OF_A_HOST.burst
    assert joins.admits(("5.6.7.8", 1), 5.0)


def test_all_together_have_a_budget() -> None:
    joins = Joins()
    admitted = sum(joins.admits((f"{a}.{b}.7.7", 1), 5.0) for a in range(1, 60) for b in range(60))
    assert admitted <= module.JOINS_OF_ALL.burst


def test_nodes_on_this_machine_share_the_budget_of_all() -> None:
    joins = Joins()
    assert sum(joins.admits(("127.0.0.1", 1), 5.0) for _ in range(300)) > 2 * module.JOINS_OF_A_HOST.burst


def entry(created: float) -> RoutingObject:
    made = RoutingObject(1)
    made.created = created
    return made


def test_the_oldest_is_evicted_that_had_time_to_prove_itself() -> None:
    older, newer = entry(1.0), entry(2.0)
    assert Joins.victim([newer, older], 10.0) is older
    assert Joins.victim([], 10.0) is None
    assert Joins.victim([entry(9.5)], 10.0) is None


@pytest.mark.parametrize(("source", "expected"), [("1.2.3.4", True), ("1.2.3.5", False), ("127.0.0.1", False)])
def test_the_share_of_one_host(source: str, expected: bool) -> None:
    addresses: list[Any] = [("1.2.3.4", 1)] * 50 + [("127.0.0.1", 1)] * 50
    assert Joins.takes_too_many((source, 1), addresses, 100) is expected


def test_extensions_of_a_circuit() -> None:
    extensions = Extensions()
    assert sum(extensions.admits(1, 5.0) for _ in range(100)) == module.EXTENDS_OF_A_CIRCUIT.burst
    assert extensions.admits(2, 5.0)


def test_a_block_is_followed_once() -> None:
    extensions = Extensions()
    assert extensions.admits_block(b"a" * 400, 5.0)
    assert not extensions.admits_block(b"a" * 400, 6.0)
    assert sum(extensions.admits_block(b"%16d" % number, 6.0) for number in range(1000)) <= module.BLOCKS.burst


def test_look_ups_are_few() -> None:
    extensions = Extensions()
    extensions.lookups = module.MAX_PEER_LOOKUPS - 1
    assert extensions.may_look_up
    extensions.lookups += 1
    assert not extensions.may_look_up


