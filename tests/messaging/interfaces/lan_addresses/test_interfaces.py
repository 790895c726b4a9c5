from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.interfaces.lan_addresses import interfaces as module
from ipv8.messaging.interfaces.lan_addresses.addressprovider import AddressProvider
from ipv8.messaging.interfaces.lan_addresses.any_os.netifaces import Netifaces
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_lan_addresses, get_providers


class Fixed:
    def __init__(self, *addresses: str) -> None:
        self.addresses = set(addresses)

    def get_addresses_buffered(self) -> set[str]:
        return self.addresses


def test_exports() -> None:
    assert {"get_lan_addresses", "get_providers"} <= set(module.__all__)
    assert module.VERBOSE is False
    assert {"127.0.0.1", "127.0.1.1", "0.0.0.0", "255.255.255.255", "::1"} == module.BLACKLIST


def test_providers_are_always_the_same_list() -> None:
    assert get_providers() is get_providers()
    providers = get_providers.__wrapped__()
    assert providers
    assert all(isinstance(provider.get_addresses(), set) for provider in providers)


def test_netifaces_is_enough_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "netifaces", object())
    assert [type(provider) for provider in get_providers.__wrapped__()] == [Netifaces]


def test_without_providers_nothing_is_found() -> None:
    get_providers().clear()
    assert get_lan_addresses() == []


def test_addresses_are_ordered_by_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[Any] = [Fixed("a", "b", "127.0.0.1"), Fixed("b", "c", "::1"), Fixed("c", "b", "0.0.0.0")]
    monkeypatch.setitem(get_lan_addresses.__globals__, "get_providers", lambda: providers)
    assert get_lan_addresses() == ["b", "c", "a"]
    providers[0].addresses = {"5.6.7.8.9"}
    assert get_lan_addresses() == ["b", "c", "5.6.7.8.9"]
    providers[0].addresses.add("a")
    assert get_lan_addresses() == ["b", "c", "5.6.7.8.9", "a"]
    get_lan_addresses().clear()
    assert get_lan_addresses() == ["b", "c", "5.6.7.8.9", "a"]


def test_link_local_addresses_come_after_others(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = [Fixed("fe80::1", "fd00::1", "169.254.1.1", "192.168.1.1")]
    monkeypatch.setitem(get_lan_addresses.__globals__, "get_providers", lambda: providers)
    assert get_lan_addresses() == ["192.168.1.1", "fd00::1", "169.254.1.1", "fe80::1"]


class Broken:
    def get_addresses_buffered(self) -> set[str]:
        raise RuntimeError("broken")

    def discover_addresses(self) -> None:
        raise RuntimeError("broken")


class Machine(AddressProvider):
    """A machine that is moved from one network to another."""

    now = "10.11.12.13"

    def get_addresses(self) -> set[str]:
        return {self.now}


def test_a_provider_that_raises_does_not_spoil_the_others() -> None:
    providers: list[Any] = get_providers()
    providers[:] = [Broken(), Fixed("192.168.1.1"), Broken()]
    assert get_lan_addresses() == ["192.168.1.1"]


@pytest.mark.parametrize("step", [0.0, -86400.0, 86400.0])
async def test_overlays_notice_a_change_within_a_minute(manual_clock: Any, make_overlay: Any, step: float) -> None:
    from ipv8.community import Community
    from ipv8.overlay import LAN_SCAN_INTERVAL

    class Lonely(Community):
        community_id = bytes(20)

    machine = Machine()
    providers: list[Any] = get_providers()
    providers[:] = [Broken(), machine]
    overlay = make_overlay(Lonely)
    await overlay.discover_lan_addresses()
    assert get_lan_addresses() == ["10.11.12.13"]
    machine.now = "192.168.77.5"
    manual_clock.step_wall(step)
    for _ in range(int(60 / LAN_SCAN_INTERVAL)):  # as the task of the overlay does
        manual_clock.advance(LAN_SCAN_INTERVAL)
        await overlay.discover_lan_addresses()
    assert get_lan_addresses() == ["192.168.77.5"]
