"""Nodes behind NATs and firewalls of the Linux kernel reach each other as the simulator says."""

from __future__ import annotations

import asyncio

import pytest

from interop.laboratory.examine import examine_kernel, examine_simulator
from interop.laboratory.internet import what_is_lacking
from interop.laboratory.kernel import Namespaces, run
from interop.laboratory.kinds import KINDS
from interop.laboratory.matrix import MATRICES, Outcome, Pair, pairs_of
from interop.laboratory.real import meet_all
from interop.laboratory.report import ROUTERS
from interop.laboratory.simulated import simulate

TRIED = [name for name, (kinds, _) in MATRICES.items() if "bare" not in kinds]
"""Whether two nodes behind routers without rules meet depends on which packet comes first, and so on the load of this
machine."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Outcomes = dict[Pair, Outcome]


@pytest.fixture(scope="session")
def permitted() -> None:
    lacking = what_is_lacking()
    if lacking is not None:
        pytest.skip(lacking)


@pytest.fixture(scope="session")
def outcomes(permitted: None) -> Outcomes:
    pairs = dict.fromkeys(pair for name in TRIED for pair in pairs_of(name))
    return asyncio.run(meet_all(pairs))


@pytest.mark.parametrize("name", TRIED)
def test_the_simulator_says_who_reaches_whom(name: str, outcomes: Outcomes) -> None:
    pairs = pairs_of(name)
    real = {str(pair): outcomes[pair].is_direct for pair in pairs}
    assert real == {str(pair): simulate(pair).is_direct for pair in pairs}


def test_most_pairs_of_nats_need_nobody_in_between(outcomes: Outcomes) -> None:
    assert sum(outcomes[pair].is_direct for pair in pairs_of("NATs")) >= 13


@pytest.mark.parametrize("name", [name for name in TRIED if name != "NATs"])
def test_firewalls_are_no_obstacle_and_neither_are_nats_beside_ipv6(name: str, outcomes: Outcomes) -> None:
    assert all(outcomes[pair].is_direct for pair in pairs_of(name))


@pytest.mark.parametrize("kind", ROUTERS)
def test_the_simulator_translates_like_the_kernel(kind: str, permitted: None) -> None:
    assert examine_simulator(KINDS[kind]) == examine_kernel(KINDS[kind])


def test_nothing_is_left(permitted: None) -> None:
    names = []

    def be_interrupted() -> None:
        with Namespaces() as namespaces:
            names.append(namespaces.add("test").name)
            assert names[0] in run("ip", "netns", "list")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert names[0] not in run("ip", "netns", "list")


def test_what_others_left_is_removed(permitted: None) -> None:
    name = "ipv8-99999999-test"  # beyond the highest possible process id
    run("ip", "netns", "add", name)
    with Namespaces():
        assert name not in run("ip", "netns", "list")
