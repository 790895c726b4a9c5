"""The classes and objects that the blocks of a configuration name."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.assembly import bind_calls, create_endpoint, create_strategies, plan_overlays
from ipv8.configuration import ConfigurationError
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.peerdiscovery.churn import RandomChurn
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.discovery import RandomWalk


class Own(DiscoveryCommunity):
    """An overlay of a program."""

    def begin(self, number: int) -> int:
        return number


def test_overlays_are_planned_in_their_order() -> None:
    blocks = [{"class": "Own"}, {"class": "DHTDiscoveryCommunity"}, {"class": "Own"}]
    planned = plan_overlays(blocks, {"Own": Own})
    assert planned == [(blocks[0], Own), (blocks[1], DHTDiscoveryCommunity), (blocks[2], Own)]


def test_a_name_that_nobody_knows_is_refused_with_a_hint() -> None:
    with pytest.raises(RuntimeError, match="'DHTDiscoveryComunity'; did you mean 'DHTDiscoveryCommunity'"):
        plan_overlays([{"class": "DHTDiscoveryComunity"}], {})


def test_the_endpoint_has_the_interfaces() -> None:
    endpoint = create_endpoint([{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 8090.0}, {"interface": "UDPIPv6"}])
    assert [*endpoint.interfaces] == ["UDPIPv4", "UDPIPv6"]
    assert not endpoint.is_open()
    with pytest.raises(ConfigurationError, match="there is no interface 'UDPv4'; did you mean 'UDPIPv4'"):
        create_endpoint([{"interface": "UDPv4"}])


async def test_strategies_are_general_ones_and_those_of_the_overlay(make_overlay: Any) -> None:
    overlay = make_overlay(Own)
    block = {"class": "Own", "walkers": [{"strategy": "RandomWalk", "peers": 7, "init": {"timeout": 2.0}},
                                         {"strategy": "RandomChurn", "peers": -1, "init": {}}]}
    (walk, wanted), (churn, unlimited) = create_strategies(block, overlay)
    assert (type(walk), wanted, type(churn), unlimited) == (RandomWalk, 7, RandomChurn, -1)
    assert walk.overlay is churn.overlay is overlay
    block["walkers"] = [{"strategy": "RandomWlak", "peers": 1, "init": {}}]
    with pytest.raises(RuntimeError, match="Own has no discovery strategy 'RandomWlak'; did you mean 'RandomWalk'"):
        list(create_strategies(block, overlay))


async def test_calls_at_the_start(make_overlay: Any) -> None:
    overlay = make_overlay(Own)
    (method, arguments), = bind_calls({"class": "Own", "on_start": [["begin", 5]]}, overlay)
    assert method(*arguments) == 5
    with pytest.raises(AttributeError, match="on_start of Own: it has no method 'beginn'; did you mean 'begin'"):
        list(bind_calls({"class": "Own", "on_start": [["beginn", 5]]}, overlay))
    for given in ([], [5, 6]):
        with pytest.raises(ConfigurationError, match=r"on_start of Own: begin\(\) cannot be called with \d argument"):
            list(bind_calls({"class": "Own", "on_start": [["begin", *given]]}, overlay))
