from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import UDPv6Address
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp import scopes as module
from ipv8.messaging.interfaces.udp.endpoint import UDPv6Endpoint
from ipv8.messaging.interfaces.udp.scopes import Scopes, is_link_local

if TYPE_CHECKING:
    from collections.abc import Iterator


def packed(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, host)


@pytest.mark.parametrize(("host", "expected"), [
    ("fe80::1", True), ("febf::1", True), ("fec0::1", False), ("ff02::1", False), ("fd00::1", False), ("::1", False),
])
def test_link_local(host: str, expected: bool) -> None:
    assert is_link_local(packed(host)) is expected


def test_scopes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCOPES", 2)
    scopes = Scopes()
    assert scopes.of(packed("fe80::1")) == 0
    assert scopes.note(packed("fe80::1"), 3)
    assert not scopes.note(packed("fe80::1"), 3)
    assert scopes.of(packed("fe80::9")) == 3, "most machines are on one link only"
    assert not scopes.note(packed("fe80::9"), 3), "as it was taken to be"
    assert scopes.note(packed("fe80::2"), 4)
    assert [scopes.of(packed(f"fe80::{number}")) for number in (9, 2, 3)] == [3, 4, 4]
    scopes.note(packed("fe80::3"), 5)
    assert len(scopes._scopes) == 2


def test_zones() -> None:
    assert Scopes.split(("fe80::1%7", 5)) == ("fe80::1", 5, 7)
    assert Scopes.split(("fe80::1", 5, 0, 8)) == ("fe80::1", 5, 8)
    assert Scopes.split(("fe80::1", 5)) == ("fe80::1", 5, 0)
    index, name = socket.if_nameindex()[0]
    assert Scopes.split((f"fe80::1%{name}", 5)) == ("fe80::1", 5, index)
    for zone in ("no such interface", "9" * 400, "\u0667"):
        with pytest.raises(OSError):  # noqa: PT011 - the text is the system's
            Scopes.parse(zone)


class Recording:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __call__(self, packet: bytes, destination: Any) -> int:
        self.sent.append(destination)
        return len(packet)


@pytest.fixture
def endpoint() -> Iterator[UDPv6Endpoint]:
    """An endpoint that keeps where it is told to send; it has no socket."""
    endpoint = UDPv6Endpoint()
    endpoint._running = True
    endpoint._transmit = Recording()
    yield endpoint
    endpoint._running = False


def sent(endpoint: UDPv6Endpoint) -> list[Any]:
    recording: Any = endpoint._transmit
    return list(recording.sent)


def test_an_answer_leaves_by_the_interface_of_the_question(endpoint: UDPv6Endpoint) -> None:
    source = endpoint._parse_source(("fe80::1", 5, 0, 3))
    assert source == UDPv6Address("fe80::1", 5)
    endpoint.send(source, b"data")
    endpoint.send(UDPv6Address("fe80::1", 6), b"data")
    endpoint._parse_source(("fe80::1", 5, 0, 4))  # it is plugged in elsewhere
    endpoint.send(source, b"data")
    assert sent(endpoint) == [("fe80::1", 5, 0, 3), ("fe80::1", 6, 0, 3), ("fe80::1", 5, 0, 4)]


def test_whoever_was_sent_to_with_a_scope_is_reached_without_it(endpoint: UDPv6Endpoint) -> None:
    endpoint.send(("fe80::1", 5, 0, 3), b"data")  # type: ignore[arg-type]  # as sockets have it
    endpoint.send(UDPv6Address("fe80::1", 5), b"data")
    endpoint.send(UDPv6Address("fe80::2%4", 5), b"data")
    endpoint.send(UDPv6Address("fe80::2", 5), b"data")
    assert sent(endpoint) == [("fe80::1", 5, 0, 3)] * 2 + [("fe80::2", 5, 0, 4)] * 2


def test_other_hosts_have_no_scope(endpoint: UDPv6Endpoint) -> None:
    endpoint._parse_source(("fd00::1", 5, 0, 3))
    endpoint.send(UDPv6Address("fd00::1", 5), b"data")
    assert sent(endpoint) == [("fd00::1", 5)]
    endpoint.send(UDPv6Address("fe80::1%no such interface", 5), b"data")
    assert endpoint.drops == {DropCounter.SEND_UNRESOLVED: 1}


@pytest.mark.parametrize("address", [
    (None, 5), (5, 5), (b"fe80::1", 5), ("fe80::1", 5, 0, "3"), ("fe80::1", 5, 0, None), ("fe80::1",), (), None,
    ("fe80::1", "5", 0, 3), ("fe80::1", 5, 0, -1), ("fe80::1", 5, 0, 1 << 40),
])
async def test_malformed_addresses_are_dropped(make_endpoint: Any, ipv6_loopback: None, address: Any) -> None:
    endpoint = await make_endpoint(UDPv6Endpoint)
    endpoint.send(address, b"data")
    assert sum(endpoint.drops.values()) == 1
    assert endpoint.is_open()


def test_the_dispatcher_takes_addresses_of_sockets(endpoint: UDPv6Endpoint) -> None:
    dispatcher = DispatcherEndpoint([])
    dispatcher.add_interface("UDPIPv6", endpoint)
    destinations: list[Any] = [("fe80::1", 5, 0, 3), UDPv6Address("fe80::1%3", 5), ("fe80::1%3", 5)]
    for destination in destinations:
        dispatcher.send(destination, b"data")
    assert sent(endpoint) == [("fe80::1", 5, 0, 3)] * 3
    nowhere: Any = ("fe80::1", 5, 0)
    dispatcher.send(nowhere, b"data")
    assert dispatcher.drops == {DropCounter.SEND_NO_INTERFACE: 1}
