from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from ipv8.messaging.interfaces.lan_addresses.addressprovider import AddressProvider, broadcasts_of


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


class Failing(Counting):
    error: Exception | None = None

    def get_addresses(self) -> set[str]:
        super().get_addresses()
        if self.error is not None:
            raise self.error
        return {f"10.0.0.{self.lookups}"}


@pytest.mark.parametrize("error", [
    OSError(24, "too many open files"), RuntimeError("can't start new thread"), UnicodeError("label empty or too long"),
])
def test_a_lookup_that_raises_changes_nothing_and_is_made_again(manual_clock: Any, error: Exception,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    provider = Failing(verbose=True)
    provider.discover_addresses()
    provider.error = error
    manual_clock.advance(11)
    provider.discover_addresses()
    assert provider.addresses == {"10.0.0.1"}
    assert type(error).__name__ in capsys.readouterr().err
    provider.discover_addresses()
    assert provider.lookups == 2, "not at once"
    provider.error = None
    manual_clock.advance(11)
    provider.discover_addresses()
    assert provider.addresses == {"10.0.0.3"}


class Waiting(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.begun, self.end = threading.Event(), threading.Event()

    def get_addresses(self) -> set[str]:
        super().get_addresses()
        self.begun.set()
        assert self.end.wait(10)
        return {"1.2.3.4"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # with other threads, which this is about
def test_a_lookup_that_takes_long_is_not_made_twice_at_a_time(manual_clock: Any) -> None:
    provider = Waiting()
    thread = threading.Thread(target=provider.discover_addresses)
    thread.start()
    assert provider.begun.wait(10)
    manual_clock.advance(100)
    provider.discover_addresses()
    assert provider.lookups == 1
    child = os.fork()
    if not child:  # here, no thread looks anything up
        provider.end.set()
        provider.discover_addresses()
        os._exit(provider.lookups)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    provider.end.set()
    thread.join(10)
    assert provider.addresses == {"1.2.3.4"}


@pytest.mark.parametrize(("host", "netmask", "expected"), [
    ("10.1.2.3", "255.255.0.0", {"10.1.0.0", "10.1.255.255"}), ("192.168.1.5", 30, {"192.168.1.4", "192.168.1.7"}),
    ("192.168.1.5", 31, set()), ("192.168.1.5", "255.255.255.255", set())])
def test_addresses_for_all_hosts_of_a_network(host: str, netmask: Any, expected: set[str]) -> None:
    assert broadcasts_of(host, netmask) == expected
