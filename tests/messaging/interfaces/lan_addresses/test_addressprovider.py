from __future__ import annotations

from typing import Any

import pytest

from ipv8 import clock
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


class TwoClocks:
    """Wall time that is set while the monotonic clock goes on."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.seconds = 0.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize("step", [-1e6, 1e6])
def test_setting_the_clock_changes_no_interval(step: float) -> None:
    provider, clocks = Counting(), TwoClocks()
    with clock.use(clocks):
        provider.discover_addresses()
        assert provider.lookups == 1
        clocks.wall += step
        provider.discover_addresses()
        assert provider.lookups == 1
        clocks.seconds += 10.5
        provider.discover_addresses()
    assert provider.lookups == 2
    assert provider.addresses_ts == clocks.wall


@pytest.mark.parametrize("verbose", [False, True])
def test_exceptions_are_printed_if_wanted(verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    provider = Counting(verbose)
    try:
        raise ValueError("broken")
    except ValueError:
        provider.on_exception()
    assert ("ValueError: broken" in capsys.readouterr().err) is verbose
