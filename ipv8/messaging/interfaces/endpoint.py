"""What every endpoint offers and what listens to endpoints (doc/endpoints.md)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from functools import lru_cache
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_pton
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...limits import TokenBuckets
from ..inet import parse_host
from .gate import Gate
from .lan_addresses.interfaces import get_lan_addresses
from .network_stats import DropCounter
from .routes import PREFIX_LENGTH, SOCKET, RouteTable

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from ..address import Address
    from .gate import Packet
    from .routes import Route
    from .trace import TraceFunction
    from .udp.filter import SourceFilter

__all__ = [
    "DataTooBigException",
    "Endpoint",
    "EndpointClosedException",
    "EndpointListener",
    "IllegalDestination",
    "IllegalEndpointListenerError",
    "PacketTooLargeError",
]

LARGEST_DATAGRAM = 65527
"""Bytes of the largest UDP datagram: the length in its header has 16 bits and includes that header (RFC 768)."""

LOG_RATE = 0.1
"""Lines a second that an endpoint may log about packets of one kind, after the first few."""

LOG_BURST = 5
"""Lines of one kind that are logged before the rate applies."""

LAN_SUBNETS = (("192.168.0.0", 16), ("172.16.0.0", 12), ("10.0.0.0", 8))
"""The private address blocks of RFC 1918."""


def _ipv4_number(address: str) -> int:
    return int.from_bytes(inet_pton(AF_INET, address), "big")


_LAN_NETWORKS = tuple((_ipv4_number(network) >> (32 - bits), 32 - bits) for network, bits in LAN_SUBNETS)


class IllegalEndpointListenerError(RuntimeError):
    """Something that is not an ``EndpointListener`` was registered."""

    def __init__(self, other: object) -> None:
        super().__init__(f"{type(other)} is not an instance of {EndpointListener.__name__}")


class EndpointClosedException(Exception):  # noqa: N818 - public name of the ecosystem
    """The operation needs an open endpoint."""

    def __init__(self, endpoint: object) -> None:
        super().__init__(f"{type(endpoint)} is unexpectedly closed")


class DataTooBigException(Exception):  # noqa: N818 - public name of the ecosystem
    """A packet is larger than a strict endpoint sends; sizes in bytes."""

    def __init__(self, size: int, max_size: int) -> None:
        super().__init__(f"Tried to send packet of size {size} > MAX_SIZE({max_size})")


class PacketTooLargeError(DataTooBigException):
    """A packet has more bytes than any that the endpoint can send."""

    def __init__(self, size: int, max_size: int) -> None:
        Exception.__init__(self, f"a packet of {size} bytes can never be sent, as this endpoint sends at most "
                                 f"{max_size}: divide the data among several messages")


class IllegalDestination(Exception):  # noqa: N818 - public name of the ecosystem
    """The all-zero address is no destination; kept for programs that catch it."""

    def __init__(self) -> None:
        super().__init__("Attempted to send a message to 0.0.0.0:0.")


class Endpoint(ABC):
    """Sends packets and hands received ones, ``(source address, data)``, to its listeners.

    :param prefixlen: how many leading bytes of a packet choose the prefix listeners that get it.

    Listeners of a prefix come before general listeners, each group in the order of registration. All packets enter by
    the ``gate``, and ``routes`` has what sends to addresses that no socket reaches.
    """

    # What only some endpoints have: these are the values of the others.
    mapped_address: Address | None = None
    """The public address from which a gateway forwards packets to this endpoint, on request; ``None`` if none does."""
    max_packet_size: int = LARGEST_DATAGRAM
    """Bytes of the largest packet that can be sent to anybody. Most paths lose packets of more than 1500 bytes."""
    SOCKET_FAMILY: int | None = None
    """The address family of the endpoint's only socket."""
    interfaces: Mapping[str, Endpoint] = MappingProxyType({})
    """The endpoints by name that this one consists of."""
    keeps_ways_open: bool = True
    """Whether peers behind this endpoint are asked for signs of life, so that NATs keep the ways to them open."""
    _sends_bursts: bool = False
    """Whether ``send_many`` takes less time than one ``send`` for each packet."""
    bytes_up: int = 0
    """Bytes that were sent."""
    bytes_down: int = 0
    """Bytes that were received."""

    def __init__(self, prefixlen: int = PREFIX_LENGTH) -> None:
        drops = DropCounter()
        self._logger = logging.getLogger(type(self).__name__)
        self._log_budget = TokenBuckets(LOG_RATE, LOG_BURST, capacity=64)
        self.drops = drops
        self.gate = Gate(self, prefixlen, drops)
        self.routes = RouteTable(drops)

    # Listeners

    @property
    def prefixlen(self) -> int:
        """How many leading bytes of a packet choose the prefix listeners that get it."""
        return self.gate.prefixlen

    @prefixlen.setter
    def prefixlen(self, value: int) -> None:
        if value != self.gate.prefixlen:
            self._own_gate().prefixlen = value

    @property
    def listener_update_lock(self) -> threading.RLock:
        """Held while listeners change."""
        return self.gate.lock

    @property
    def _listeners(self) -> list[EndpointListener]:
        """The general listeners."""
        return self.gate.listeners

    @property
    def _prefix_map(self) -> Mapping[bytes, list[EndpointListener]]:
        """The complete list of listeners for each prefix that has listeners of its own."""
        return self.gate.entries

    def _own_gate(self) -> Gate:
        """The gate of this endpoint, which has its own listeners from now on if it had those of another endpoint."""
        if self.gate.owner is not self:
            gate = Gate(self, self.gate.prefixlen, self.drops)
            gate.copy(self.gate)
            gate.join(self.gate)
            self.gate = gate
        return self.gate

    def add_listener(self, listener: EndpointListener) -> None:
        """Deliver all packets that sockets bring to ``listener``; to add it twice delivers twice.

        :raises IllegalEndpointListenerError: if it is no ``EndpointListener``.
        """
        _require_listener(listener)
        self._own_gate().add_listener(listener)

    def add_prefix_listener(self, listener: EndpointListener, prefix: bytes) -> None:
        """Deliver the packets that start with ``prefix``, before any general listener gets them.

        :raises IllegalEndpointListenerError: if it is no ``EndpointListener``.
        :raises RuntimeError: if the prefix is not exactly ``prefixlen`` bytes long.
        """
        _require_listener(listener)
        self._own_gate().add_prefix_listener(listener, prefix)

    def remove_listener(self, listener: EndpointListener) -> None:
        """Deliver nothing to ``listener`` any more, however often it was added; an unknown one is ignored."""
        if self.gate.knows(listener):
            self._own_gate().remove_listener(listener)

    def accept_routes(self, prefix: bytes, routes: Route, base_routes: Route | None = None) -> None:
        """Deliver packets with ``prefix`` only if they come by one of ``routes``; what comes otherwise is dropped.

        It is counted as ``DropCounter.WRONG_ROUTE``. The rule holds until it is replaced, or until the last listener of
        the prefix is removed. Without a rule, ``DEFAULT_ROUTES`` are accepted.

        :param base_routes: the same for messages with ids from ``FIRST_BASE_MESSAGE`` on; by default as ``routes``.
        :raises RuntimeError: if the prefix is not exactly ``prefixlen`` bytes long.
        """
        self._own_gate().accept_routes(prefix, routes, base_routes)

    def set_anonymity(self, prefix: bytes, enable: bool) -> bool | None:  # noqa: ARG002 - for endpoints with tunnels
        """Send packets with ``prefix`` through tunnels, or no longer; ``False`` if this endpoint has no tunnels."""
        return False

    def copy_listeners(self, other: Endpoint) -> None:
        """Register all listeners of ``other`` here too."""
        self._own_gate().copy(other.gate)

    def prefix_listeners(self, prefix: bytes) -> list[EndpointListener]:
        """The listeners registered for ``prefix``, without the general ones."""
        return self.gate.prefix_listeners(prefix)

    # Packets

    def _has_sent_to(self, address: Address) -> bool:  # noqa: ARG002 - for endpoints that remember it
        """Whether a packet was sent to ``address`` lately; an endpoint that does not remember says so of all."""
        return True

    @property
    def source_filter(self) -> SourceFilter | None:
        """Drops packets of sockets by their source; ``None`` to let all pass. Interfaces of one endpoint share it."""
        return self.gate.source_filter

    @source_filter.setter
    def source_filter(self, value: SourceFilter | None) -> None:
        self.gate.source_filter = value

    @property
    def trace(self) -> TraceFunction | None:
        """Called with a ``PacketEvent`` for each packet in and out; ``None``, which costs nothing, calls nothing."""
        return self.gate.trace

    @trace.setter
    def trace(self, value: TraceFunction | None) -> None:
        self.gate.trace = value

    def get_drops(self, prefix: bytes | None = None) -> dict[str, int]:
        """How many packets were dropped, by reason (see ``DropCounter``).

        :param prefix: also add what the overlays that listen to this prefix have dropped.
        """
        total = DropCounter(self.drops)
        for listener in self.prefix_listeners(prefix) if prefix is not None else ():
            total.merge(listener.drops)
        return dict(total)

    def notify_listeners(self, packet: tuple[Address, bytes]) -> None:
        """Deliver a packet that a socket brought, if the endpoint is open: see ``Gate.receive``."""
        if self.is_open():
            self.gate.receive(packet, SOCKET)

    def _deliver_later(self, listener: EndpointListener, packet: tuple[Address, bytes]) -> None:
        """Deliver a packet of a socket to one listener, if the endpoint is open and it may be registered for it."""
        if self.is_open():
            self.gate.deliver_to(listener, packet)

    def _on_listener_error(self, listener: object, error: Exception) -> None:
        """Count and log, with its traceback, what ``listener`` raised: that is a bug on this side."""
        self.gate.drops.count(DropCounter.LISTENER_ERROR)
        if self._log_budget.take(type(listener).__name__):
            self._logger.error("%s failed to handle a packet", type(listener).__name__, exc_info=error)

    @abstractmethod
    def assert_open(self) -> None:
        """Raise if the endpoint is not open."""

    @abstractmethod
    def is_open(self) -> bool:
        """Whether packets are sent and received."""

    @abstractmethod
    def get_address(self) -> Address:
        """The address the endpoint is bound to, often ``0.0.0.0``; IPv6 ones may have two more elements."""

    @abstractmethod
    def send(self, socket_address: Address, packet: bytes) -> None:
        """Send ``packet``, without a guarantee of delivery and without raising for what the network does."""

    def send_many(self, socket_address: Address, packets: Sequence[bytes]) -> None:
        """Send several packets to the same address, in order; some endpoints do that by fewer system calls."""
        for packet in packets:
            self.send(socket_address, packet)

    def _sends_singly(self) -> bool:
        """Whether each packet has to pass ``send``, which a program or a trace has replaced in this object."""
        send = vars(self).get("send")
        return send is not None and send is not self.gate.counting_send

    @abstractmethod
    async def open(self) -> bool:
        """Start to send and receive; whether that worked. Some implementations return a plain value or a future."""

    async def open_late(self) -> None:  # noqa: B027 - most endpoints are open as a whole, or not at all
        """Open what could not be opened with the rest and can be by now; nothing if there is no such thing."""

    @abstractmethod
    def close(self) -> Awaitable[None] | None:
        """Stop to send and receive."""

    @abstractmethod
    def reset_byte_counters(self) -> None:
        """Count sent and received bytes from 0 again."""


class EndpointListener(ABC):
    """Gets packets from an endpoint once it is registered there.

    :param endpoint: the endpoint to ask for addresses; the listener is *not* registered with it.
    :param main_thread: kept for programs that read ``use_main_thread``; delivery is always in the event loop's thread.
    """

    observes_only: bool = False
    """Whether the listener merely watches: a packet that only observers get still counts as dropped."""

    drops: Mapping[str, int] = MappingProxyType({})
    """How many packets the listener did not handle, by reason, if it counts them."""

    _queue_packets: Callable[[Sequence[Packet]], Sequence[Packet]] | None = None
    """If set, it may be called with the packets that a socket had, also with those of other listeners; at least one. It
    keeps some of its own for later, and returns the others in their order. They are delivered to ``on_packet``."""

    _take_packets: Callable[[Sequence[Packet], int], int] | None = None
    """If set, it may be called instead of ``on_packet``, with packets that a socket had and the position of one that is
    for this listener. It handles that one, and maybe some that follow directly and are for it as well, for about a
    millisecond at most. It returns how many it has handled."""

    def __init__(self, endpoint: Endpoint, main_thread: bool = True) -> None:
        self._use_main_thread = main_thread
        self.endpoint = endpoint
        self._my_estimated_lan: Address | None = None
        self._lan_is_guessed = False
        self.my_estimated_wan: Address = self.my_estimated_lan

    @property
    def use_main_thread(self) -> bool:
        """The constructor's ``main_thread``."""
        return self._use_main_thread

    @property
    def my_estimated_lan(self) -> Address:
        """The own address in the local network: guessed unless it was set; zero while the endpoint is closed."""
        if not self.endpoint.is_open():
            return ("::1" if self.is_ipv6_listener else "0.0.0.0", 0)  # noqa: S104 - "unknown", not a bind
        if self._my_estimated_lan is None:
            self._my_estimated_lan = self._get_lan_address()
            self._lan_is_guessed = True
        return self._my_estimated_lan

    @my_estimated_lan.setter
    def my_estimated_lan(self, value: Address) -> None:
        self._my_estimated_lan = value
        self._lan_is_guessed = False

    def _follow_interfaces(self) -> None:
        """Guess the own address in the local network anew if it was guessed, as the interfaces may have changed.

        The address that others see follows as long as it is the same, which means that nothing translates it.
        """
        if not self._lan_is_guessed or self._my_estimated_lan is None or not self.endpoint.is_open():
            return
        before, now = self._my_estimated_lan, self._get_lan_address()
        if now != before:
            self._my_estimated_lan = now
            if self.my_estimated_wan == before:
                self.my_estimated_wan = now

    @property
    def is_ipv6_listener(self) -> bool:
        """Whether the endpoint is bound to an IPv6 address or, when closed, would be."""
        if self.endpoint.is_open():
            return self._is_ipv6_address(self.endpoint.get_address()[0])
        return self.endpoint.SOCKET_FAMILY == AF_INET6

    def accepts_route(self, route: Route) -> bool:  # noqa: ARG002 - for overrides
        """Whether the listener takes packets of its prefixes that come by ``route``; not asked about sockets."""
        return True

    @abstractmethod
    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Handle a packet: the address that it came from and its data."""

    def _is_ipv6_address(self, address: str) -> bool:
        return ":" in address and _is_ipv6(address)

    def _address_in_subnet(self, address: str, subnet: tuple[str, int]) -> bool:
        """Whether an IPv4 address has the leading bits of ``(network, bits)``; ``OSError`` for any other text."""
        network, bits = subnet
        return (_ipv4_number(address) ^ _ipv4_number(network)) >> (32 - bits) == 0

    def address_in_lan_subnets(self, address: str) -> bool:
        """Whether ``address`` is a private IPv4 address (RFC 1918)."""
        try:
            number = _ipv4_number(address)
        except (OSError, ValueError):
            return False
        return any(number >> shift == network for network, shift in _LAN_NETWORKS)

    def address_is_lan(self, address: str) -> bool:
        """Whether ``address`` belongs to an interface of this very machine."""
        return address in get_lan_addresses()

    def get_ipv6_address(self) -> Address:
        """The endpoint's own address; of an endpoint with several interfaces, that of the preferred one.

        It is zero while the endpoint is closed.
        """
        if not self.endpoint.is_open():
            return ("::" if self.is_ipv6_listener else "0.0.0.0", 0)  # noqa: S104 - "unknown", not a bind
        return self.endpoint.get_address()

    def _get_lan_address(self, bootstrap: bool = False) -> Address:
        """The guessed own IP and the endpoint's port; port 0 for ``bootstrap``, and while the endpoint is closed.

        If the socket is bound to one of the addresses of this machine, it is that one: others do not reach it.
        """
        bound, port = self.endpoint.get_address()[:2] if self.endpoint.is_open() else ("", 0)
        addresses = get_lan_addresses()
        parsed = parse_host(bound)
        is_own = bound in addresses or (parsed is not None and parsed.is_loopback)
        return (bound if is_own else self._guess_lan_address(addresses), 0 if bootstrap else port)

    def _guess_lan_address(self, addresses: Iterable[str]) -> str:
        """The first of ``addresses`` that has the listener's IP version, else the loopback address of IPv4."""
        wanted = self.is_ipv6_listener
        return next((address for address in addresses if self._is_ipv6_address(address) == wanted), "127.0.0.1")


def _require_listener(candidate: Any) -> None:
    if not isinstance(candidate, EndpointListener):
        raise IllegalEndpointListenerError(candidate)


@lru_cache(maxsize=256)
def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True
