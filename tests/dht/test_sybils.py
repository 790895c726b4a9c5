"""How many networks it takes to hide the values of a key, as doc/security.md says it."""

from __future__ import annotations

import pytest

from benchmarks.cases import sybils
from ipv8.dht import diversity


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sybils, "NODES", 200)
    monkeypatch.setattr(sybils, "KEYS", 5)


@pytest.mark.parametrize(("networks", "per_region", "hidden"), [(1, 1, 0), (7, 1, 0), (16, 256, 0), (12, 4, 0),
                                                               (8, 2, 1), (8, 1, 1)])
def test_eight_networks_in_four_regions_hide_a_key_and_fewer_do_not(networks: int, per_region: int,
                                                                   hidden: float) -> None:
    assert sybils.hidden_share(networks, per_region) == hidden


def test_without_the_limits_three_networks_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "MAX_PLACES_PER_NETWORK", 8)
    monkeypatch.setattr(diversity, "MAX_PLACES_PER_REGION", 8)
    assert [sybils.hidden_share(networks, 1) for networks in (1, 2, 3)] == [0, 0, 1]
