from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.address import HiddenAddress
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.routes import FIRST_BASE_MESSAGE, HiddenConnections, Route, RouteTable

PREFIX = b"\x00\x02" + b"A" * 20
SOMEBODY = HiddenAddress("2001:21::1", 2)


class Provider:
    """Sends to the addresses that it knows."""

    def __init__(self, *known: Any) -> None:
        self.known = known
        self.sent: list[bytes] = []
        self.left: list[bytes] = []

    def send(self, address: HiddenAddress, packet: bytes) -> bool:
        if address in self.known:
            self.sent.append(packet)
        return address in self.known

    def leave(self, prefix: bytes) -> None:
        self.left.append(prefix)


def make(*known: Any) -> tuple[HiddenConnections, Any, DropCounter]:
    drops = DropCounter()
    connections, provider = HiddenConnections(drops), Provider(*known)
    connections.provider = provider  # type: ignore[assignment]  # the rest of the protocol is not needed
    return connections, provider, drops


def test_without_a_provider() -> None:
    drops = DropCounter()
    connections = HiddenConnections(drops)
    with pytest.raises(RuntimeError, match="HiddenTunnelCommunity"):
        assert connections.provider
    connections.leave(PREFIX)
    connections.send(SOMEBODY, PREFIX + b"\x01")
    assert drops == {DropCounter.SEND_NO_ROUTE: 1}


def test_packets_go_to_the_provider() -> None:
    connections, provider, drops = make(SOMEBODY)
    connections.send(SOMEBODY, PREFIX + b"\x01")
    connections.send(HiddenAddress("2001:21::2", 2), PREFIX + b"\x01")
    assert provider.sent == [PREFIX + b"\x01"]
    assert drops == {DropCounter.SEND_NO_ROUTE: 1}


@pytest.mark.parametrize("number", [FIRST_BASE_MESSAGE, 246, 255])
def test_messages_that_tell_addresses_do_not(number: int) -> None:
    connections, provider, drops = make(SOMEBODY)
    connections.send(SOMEBODY, PREFIX + bytes((number,)))
    assert not provider.sent
    assert drops == {DropCounter.SEND_NO_ROUTE: 1}


def test_a_provider_that_withdraws() -> None:
    connections, provider, _ = make(SOMEBODY)
    connections.leave(PREFIX)
    assert provider.left == [PREFIX]
    connections.withdraw(Provider())  # type: ignore[arg-type]  # as above
    assert connections.provider is provider
    connections.withdraw(provider)
    with pytest.raises(RuntimeError):
        assert connections.provider


def test_route() -> None:
    drops = DropCounter()
    table = RouteTable(drops)
    assert table.route_to(SOMEBODY) is Route.CIRCUIT
    table[HiddenAddress](SOMEBODY, PREFIX + b"\x01")
    assert drops == {DropCounter.SEND_NO_ROUTE: 1}


def test_short_packets_are_counted() -> None:
    connections, provider, drops = make(SOMEBODY)
    for size in (0, 21, 22):
        connections.send(SOMEBODY, PREFIX[:size])
    assert not provider.sent
    assert drops == {DropCounter.SEND_NO_ROUTE: 3}
