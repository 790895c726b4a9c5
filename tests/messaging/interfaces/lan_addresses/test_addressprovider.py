from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.interfaces.lan_addresses.addressprovider import AddressProvider


class Counting(AddressProvider):
    lookups = 0
    result: frozenset[str] = frozenset()

    def get_addresses(self) -> set[str]:
        self.lookups += 1
        return set(self.result)


def test_lookups_have_a_minimum_interval(manual_clock: Any) -> None:
    provider = Counting()
    assert (provider.addresses, provider.addresses_ts, provider.verbose) == (set(), 0.0, False)
    assert provider.get_addresses_buffered() == set()
    assert provider.get_addresses_buffered() == set()
    assert provider.lookups == 1
    manual_clock.advance(0.02)
    provider.discover_addresses(0.01)
    provider.discover_addresses(0.01)
    assert provider.lookups == 2
    assert provider.addresses_ts == manual_clock.now
    manual_clock.advance(10.1)
    provider.result = frozenset(["1.2.3.4"])
    assert provider.get_addresses_buffered() == {"1.2.3.4"}
    manual_clock.advance(100)
    assert provider.get_addresses_buffered() == {"1.2.3.4"}
    assert provider.lookups == 3


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_setting_the_wall_clock_does_not_change_the_interval(manual_clock: Any, step: float) -> None:
    provider = Counting()
    provider.discover_addresses()
    manual_clock.step_wall(step)
    manual_clock.advance(9)
    provider.discover_addresses()
    assert provider.lookups == 1
    manual_clock.advance(2)
    provider.discover_addresses()
    assert provider.lookups == 2
    assert provider.addresses_ts == manual_clock.time()


@pytest.mark.parametrize("verbose", [False, True])
def test_exceptions_are_printed_if_wanted(verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    provider = Counting(verbose)
    try:
        raise ValueError("broken")
    except ValueError:
        provider.on_exception()
    assert ("ValueError: broken" in capsys.readouterr().err) is verbose
