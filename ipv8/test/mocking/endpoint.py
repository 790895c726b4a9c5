"""Endpoints that exchange packets inside one process (doc/testing.md)."""

from __future__ import annotations

import os
from asyncio import ensure_future, get_running_loop
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, ClassVar

from ... import entropy
from ...messaging.address import UDPv4Address, UDPv6Address
from ...messaging.interfaces.endpoint import Endpoint, EndpointListener
from ...messaging.interfaces.network_stats import DropCounter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...messaging.address import Address

__all__ = [
    "AddressTester",
    "AutoMockEndpoint",
    "MockEndpoint",
    "MockEndpointListener",
    "MockLink",
    "MockNAT",
    "crash_event_loop",
    "internet",
]

internet: dict[Address, MockEndpoint] = {}
"""All endpoints by address; closed ones stay in it."""


async def crash_event_loop(forwarded_exception: BaseException) -> None:
    """Raise the argument, so that the event loop's exception handler is called with it when this runs as a task."""
    raise forwarded_exception


@dataclass
class MockLink:
    """How packets that an endpoint sends travel; chance is drawn from ``ipv8.entropy``.

    :param loss: the probability that a packet is lost.
    :param latency: the seconds that a packet takes.
    :param jitter: up to so many seconds more, drawn for each packet, which lets packets overtake each other.
    :param trace: source, destination and data of each packet handed to the link, lost ones included.
    """

    loss: float = 0.0
    latency: float = 0.0
    jitter: float = 0.0
    trace: list[tuple[Address, Address, bytes]] = field(default_factory=list)

    def carry(self, source: Address, destination: Address, packet: bytes, arrive: Callable[[], None]) -> None:
        """Call ``arrive`` when the packet gets there, if it does."""
        self.trace.append((source, destination, packet))
        if self.loss and entropy.random() < self.loss:
            return
        get_running_loop().call_later(self.latency + self.jitter * entropy.random(), arrive)


class MockNAT(Enum):
    """Which packets an address translator lets in, by the terms of RFC 4787 section 5."""

    ADDRESS_RESTRICTED = "from IP addresses that something was sent to"
    PORT_RESTRICTED = "from addresses that something was sent to"
    SYMMETRIC = "as PORT_RESTRICTED, and each destination sees another source port"


class MockEndpoint(Endpoint):
    """Sends to the other endpoints of this process.

    :param lan_address: the address in the local network.
    :param wan_address: the address on the Internet, which all packets come from.

    What a listener raises goes to the event loop's exception handler, or to the caller if no loop runs, so that it
    fails the test. ``link`` and ``nat``, of the instance or the class, add loss, delay and address translation.
    """

    SEND_INET_EXCEPTION_TO_LOOP = True
    keeps_ways_open = False

    link: MockLink | None = None
    nat: MockNAT | None = None

    def __init__(self, lan_address: Address, wan_address: Address) -> None:
        super().__init__()
        self.lan_address = lan_address
        self.wan_address = wan_address
        self.bytes_up = 0
        self.bytes_down = 0
        self._port = lan_address[1]
        self._open = False
        self._mappings: dict[Address, Address] = {}
        internet[lan_address] = self
        internet[wan_address] = self

    def assert_open(self) -> None:
        """Do nothing if the endpoint is open.

        :raises AssertionError: otherwise.
        """
        if not self._open:
            raise AssertionError("the mock endpoint is closed: call open() first")

    def is_open(self) -> bool:
        """Whether packets are sent and received."""
        return self._open

    def get_address(self) -> Address:
        """The address on the Internet."""
        return self.wan_address

    def send(self, socket_address: Address, packet: bytes) -> None:
        """Deliver ``packet`` to the endpoint with this address in a later round of the running event loop.

        It is lost if the host has no endpoint at this port: peers behind a NAT are looked for at other ports, too.

        :raises AssertionError: if there is no such host, in the event loop as well if ``SEND_INET_EXCEPTION_TO_LOOP``.
        """
        if not self._open:
            self.drops.count(DropCounter.SEND_CLOSED)
            return
        kind = type(socket_address)
        if kind in self.routes:
            self.routes[kind](socket_address, packet)
            return
        target = internet.get(socket_address)
        if target is None:
            if any(address[0] == socket_address[0] for address in internet):
                self.drops.count(DropCounter.SEND_FAILED)
                return
            error = AssertionError(f"nothing in this process has the address {socket_address}")
            if self.SEND_INET_EXCEPTION_TO_LOOP:
                ensure_future(crash_event_loop(error))  # noqa: RUF006 - its end is reported because nobody has it
            raise error
        self.bytes_up += len(packet)
        source = self.wan_address if self.nat is None else self._map(socket_address)
        if self.link is None and target.nat is None:
            get_running_loop().call_soon(target.notify_listeners, (source, packet))
        else:
            (self.link or MockLink()).carry(source, socket_address, packet,
                                            lambda: target._enter(source, socket_address, packet))

    def _map(self, destination: Address) -> Address:
        """The source address that ``destination`` sees; from now on the translator lets its answers in."""
        if destination not in self._mappings:
            source = self.wan_address
            if self.nat is MockNAT.SYMMETRIC:
                kind = UDPv6Address if isinstance(source, UDPv6Address) else UDPv4Address
                while source in internet:
                    source = kind(self.wan_address[0], entropy.randint(1024, 65535))
                internet[source] = self
            self._mappings[destination] = source
        return self._mappings[destination]

    def _enter(self, source: Address, destination: Address, packet: bytes) -> None:
        """Deliver what arrives at ``destination``, if the translator lets it in."""
        if self.nat is MockNAT.ADDRESS_RESTRICTED:
            admitted = any(source[0] == known[0] for known in self._mappings)
        else:
            admitted = self.nat is None or self._mappings.get(source) == destination
        if admitted:
            self.notify_listeners((source, packet))

    def notify_listeners(self, packet: tuple[Address, bytes]) -> None:
        """Deliver ``packet`` to all listeners, now."""
        if self._open:
            self.bytes_down += len(packet[1])
        super().notify_listeners(packet)

    def _on_listener_error(self, listener: object, error: Exception) -> None:
        self.drops.count(DropCounter.LISTENER_ERROR)
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise error from None
        loop.call_exception_handler({"message": f"{type(listener).__name__} failed to handle a packet",
                                     "exception": error})

    def open(self) -> None:  # type: ignore[override]  # synchronous: tests call it without a loop
        """Begin to send and receive."""
        self._open = True

    def close(self, timeout: float = 0.0) -> None:  # noqa: ARG002 - kept for programs that pass it
        """Stop to send and receive; the addresses stay taken."""
        self._open = False
        self.gate.release()

    def reset_byte_counters(self) -> None:
        """Count sent and received bytes from 0 again."""
        self.bytes_up = 0
        self.bytes_down = 0


class AddressTester(EndpointListener):
    """Tells which addresses this machine has itself.

    :param endpoint: any endpoint.
    """

    singleton: ClassVar[AddressTester | None] = None

    @classmethod
    def get_singleton(cls, endpoint: Endpoint) -> AddressTester:
        """The one instance, made for ``endpoint`` if there was none."""
        if cls.singleton is None:
            cls.singleton = cls(endpoint)
        return cls.singleton

    def is_lan(self, address: str) -> bool:
        """Whether ``address`` belongs to an interface of this machine."""
        return self.address_is_lan(address)

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Ignore the packet."""


class AutoMockEndpoint(MockEndpoint):
    """A mock endpoint with random addresses that nobody else has.

    With ``TEST_IPV8_WITH_IPV6=1`` in the environment, read at import, they are IPv6 addresses.
    """

    IPV6_ADDRESSES = bool(int(os.environ.get("TEST_IPV8_WITH_IPV6", "0")))

    def __init__(self) -> None:
        self._open = False
        super().__init__(self._generate_unique_address(), self._generate_unique_address())
        self._port = 0

    def _generate_address(self) -> Address:
        """Any global unicast address and port, as overlays drop packets from others."""
        port = entropy.randint(1, 65535)
        if self.IPV6_ADDRESSES:
            return UDPv6Address(str(IPv6Address(1 << 125 | entropy.randbits(125))), port)
        while True:
            ip = IPv4Address(entropy.randbytes(4))
            if ip.is_global and not ip.is_multicast:
                return UDPv4Address(str(ip), port)

    def _is_lan(self, address: Address) -> bool:
        """Whether this machine has the address itself."""
        return AddressTester.get_singleton(self).is_lan(address[0])

    def _generate_unique_address(self) -> Address:
        """An address that neither a mock endpoint nor this machine has."""
        while True:
            address = self._generate_address()
            if address not in internet and not self._is_lan(address):
                return address


class MockEndpointListener(EndpointListener):
    """Keeps all packets that an endpoint delivers, in ``received_packets``.

    :param endpoint: the endpoint; the listener registers itself with it.
    """

    def __init__(self, endpoint: Endpoint, main_thread: bool = False) -> None:
        super().__init__(endpoint, main_thread)
        self.received_packets: list[tuple[Address, bytes]] = []
        endpoint.add_listener(self)

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Keep the packet."""
        self.received_packets.append(packet)
