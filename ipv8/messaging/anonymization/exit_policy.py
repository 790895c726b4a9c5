"""What leaves by an exit, and where it may go (doc/protocol/tunnels.md section 11).

:class:`DataChecker` recognises protocols. :class:`Destinations` says which addresses and names may not be reached.
:class:`Resolver` finds the addresses of names and checks each of them.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import get_running_loop
from functools import lru_cache
from ipaddress import IPv6Network, ip_network
from math import inf
from socket import AF_INET, AF_INET6
from struct import Struct
from typing import TYPE_CHECKING, Any

from ... import clock
from ...bootstrapping.resolver import LookUpThreads
from ...contact.targets import HostKind, kind_of_host
from ...fill import Fill
from ...limits import ExpiringDict
from ..address import UDPv4Address, UDPv6Address
from ..inet import HOST_BITS, classic_ipv4_to_bytes, is_global, network_of, parse_host
from ..interfaces.endpoint import Endpoint
from ..interfaces.lan_addresses.interfaces import get_lan_addresses
from ..interfaces.udp.endpoint import UDPEndpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from ...taskmanager import TaskManager
    from ..address import Address

__all__ = ["EXITED_OWN_MESSAGES", "RETURNED_OWN_MESSAGES", "DataChecker", "Destinations", "RefusedDestinationError",
           "Resolver", "is_local_endpoint", "is_reachable_address"]

EXITED_OWN_MESSAGES = frozenset({13, 14, 17, 18})
"""The messages with the prefix of the own overlay that leave by an exit: those of hidden services."""

RETURNED_OWN_MESSAGES = frozenset({14, 18})
"""The messages with the prefix of the own overlay that come back by an exit: answers."""

OWN_INTERVAL = 5.0
"""Seconds after which the addresses of this node are asked for again."""

REMEMBERED_HOSTS = 4096
"""Addresses of which it is remembered whether they are public; the least recently used is evicted first."""

NAME_CACHE_SIZE = 256
NAME_CACHE_LIFETIME = 60.0
"""Names whose addresses are kept, the oldest evicted first, and for how many seconds.

For that time a name has one address, so its owner cannot have it checked with one and reached with another.
"""
MAX_RESOLUTIONS = 16
"""Names that are looked up at a time, with those that wait for a thread; further ones fail at once."""
RESOLUTION_TIMEOUT = 10.0
"""Seconds after which a name that was not found counts as unknown. Its thread may take longer."""
LONGEST_NAME = 253
"""Characters of the longest name (RFC 1035)."""

LOCAL_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private",
               "home.arpa", "onion", "test", "invalid", "example", "alt", "arpa")
"""Names that stand for local networks, or for nothing, with all names below them (RFC 6761, 6762, 8375, 9476)."""

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""Where the IPv6 addresses of hosts on the public Internet are. Outside are those that lead to IPv4 addresses, such as
mapped, IPv4-compatible, translated and NAT64 ones, and those of sites."""

SPECIAL = tuple(ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20"))
"""Networks with a purpose of their own, some of which Python counts as public: those of protocols, such as the one of
the nearest port mapper (RFC 7723) and Teredo, those of 6to4, and one for documentation (RFC 9637)."""

_U32 = Struct(">I")


class DataChecker:
    """Recognises protocols by the first bytes of a packet. Each is easily imitated."""

    @staticmethod
    def could_be_utp(data: bytes) -> bool:
        """Whether it could be a packet of the uTorrent transport protocol (BEP 29)."""
        return len(data) >= 20 and data[0] >> 4 <= 4 and data[0] & 15 == 1 and data[1] <= 3

    @staticmethod
    def could_be_udp_tracker(data: bytes) -> bool:
        """Whether it could be a request to a BitTorrent tracker or its answer (BEP 15)."""
        return ((len(data) >= 8 and _U32.unpack_from(data, 0)[0] <= 3)
                or (len(data) >= 12 and _U32.unpack_from(data, 8)[0] <= 3))

    @staticmethod
    def could_be_dht(data: Any) -> bool:
        """Whether it could be a message of the BitTorrent DHT (BEP 5)."""
        try:
            return len(data) > 1 and data[0:1] == b"d" and data[-1:] == b"e"
        except TypeError:
            return False

    @staticmethod
    def could_be_bt(data: bytes) -> bool:
        """Whether it could be BitTorrent traffic."""
        return (DataChecker.could_be_dht(data) or DataChecker.could_be_utp(data)
                or DataChecker.could_be_udp_tracker(data))

    @staticmethod
    def could_be_ipv8(data: bytes) -> bool:
        """Whether it could be a packet of an overlay."""
        return len(data) >= 23 and data[0] == 0 and data[1] in {1, 2}


class RefusedDestinationError(ValueError):
    """Nothing may be sent to an address or a name; the message says why."""


@lru_cache(REMEMBERED_HOSTS)
def forbidden_host(host: str) -> str | None:
    """Why an address is not one of a single host on the public Internet; ``None`` if it is."""
    bare = host.partition("%")[0]
    address = parse_host(bare)
    if address is None or not is_global(bare) or kind_of_host(bare) is not HostKind.UNICAST:
        return "not a host on the public Internet"
    if (":" in bare and address not in GLOBAL_UNICAST) or any(address in network for network in SPECIAL):
        return "an address with a special purpose"
    return None


def is_local_endpoint(endpoint: Any) -> bool:
    """Whether a node with this endpoint is only on this machine: it has no socket, or all are bound to loopback."""
    return all(_is_bound_to_loopback(opened) for opened in _sockets_of(endpoint))


def _sockets_of(endpoint: Any) -> Iterable[Any]:
    """The endpoints with sockets that ``endpoint`` consists of or wraps."""
    seen = 0
    while endpoint is not None and seen < 8:
        interfaces = getattr(endpoint, "interfaces", None) if isinstance(endpoint, Endpoint) else None
        if interfaces:
            for interface in interfaces.values():
                yield from _sockets_of(interface)
            return
        if isinstance(endpoint, UDPEndpoint) or hasattr(type(endpoint), "create_socks5_server"):
            yield endpoint
            return
        inner = vars(endpoint).get("endpoint") if hasattr(endpoint, "__dict__") else None
        endpoint, seen = inner if isinstance(inner, Endpoint) else None, seen + 1


def _is_bound_to_loopback(endpoint: Any) -> bool:
    return endpoint.is_open() and kind_of_host(endpoint.get_address()[0]) is HostKind.LOOPBACK


def is_reachable_address(address: Address, endpoint: Any) -> bool:
    """Whether a node may be told to send packets to ``address``, which some other node named.

    It must be a global unicast address with a port, or, for a node that is only on this machine, anything that can be
    sent to.
    """
    host, port = address[:2]
    if type(port) is not int or not 0 < port < 65536:
        return False
    if is_local_endpoint(endpoint):
        return kind_of_host(host) is not HostKind.REFUSED
    return forbidden_host(host) is None


class Destinations:
    """Which addresses and names an exit sends to.

    :param allow_private: whether addresses that are not on the public Internet may be reached; a function is asked each
        time.
    :param own: returns addresses of this node, of whatever port, to which nothing is sent, and neither to others in the
        same /64 of IPv6: routers keep strangers from these, but not this node. It is called every few seconds.
    """

    def __init__(self, allow_private: Callable[[], bool] | bool = False,
                 own: Callable[[], Iterable[str]] = get_lan_addresses) -> None:
        self._allow_private = allow_private
        self._own = own
        self._own_hosts: frozenset[bytes] = frozenset()
        self._asked_at = -inf

    @property
    def allows_private(self) -> bool:
        """Whether addresses that are not on the public Internet may be reached."""
        return self._allow_private() if callable(self._allow_private) else self._allow_private

    def _is_own(self, host: str) -> bool:
        now = clock.monotonic()
        if now - self._asked_at >= OWN_INTERVAL:
            self._asked_at = now
            self._own_hosts = frozenset(network_of(own, *HOST_BITS) for own in self._own())
        return network_of(host, *HOST_BITS) in self._own_hosts

    def refuses(self, address: Address) -> str | None:
        """Why nothing may be sent to ``address``, which has the text of an IP address; ``None`` if it may be."""
        host, port = address[:2]
        if type(port) is not int or not 0 < port < 65536:
            return "no port"
        if self.allows_private:
            return None if kind_of_host(host.partition("%")[0]) is not HostKind.REFUSED else "not a host"
        return forbidden_host(host) or ("an address of this node" if self._is_own(host) else None)

    def refuses_name(self, name: str) -> str | None:
        """Why a name may not be looked up; ``None`` if it may be.

        Other spellings of IP addresses, such as ``0x7f.1``, are refused, as are names of local networks.
        """
        bare = ascii_name(name)
        if not bare or len(bare) > LONGEST_NAME or any(ord(char) <= 32 or char in "/\\@:%[]" for char in bare):
            return "not a name"
        try:
            classic_ipv4_to_bytes(bare)
        except OSError:
            pass
        else:
            return "another spelling of an address"
        labels = bare.split(".")
        if not all(0 < len(label.encode()) <= 63 for label in labels):
            return "not a name"
        if labels[-1].isdecimal() or labels[-1].startswith("0x"):
            return "another spelling of an address"
        if self.allows_private:
            return None
        if len(labels) == 1:
            return "a name of the local network"
        if any(bare == local or bare.endswith("." + local) for local in LOCAL_NAMES):
            return "a name of the local network"
        return None


def ascii_name(name: str) -> str:
    """A name as it is looked up: in lower case and ASCII (RFC 3490), without dots at its end; empty if there is none.

    Characters of other scripts may stand for digits, letters and dots of ASCII, and are looked up as these.
    """
    bare = name.rstrip(".").lower()
    if bare.isascii() or len(bare) > LONGEST_NAME:
        return bare
    try:
        return bare.encode("idna").decode("ascii").rstrip(".").lower()
    except UnicodeError:
        return ""


class Resolver:
    """Finds the addresses of names for exits, and keeps them for a while.

    :param destinations: what may be reached.
    :param tasks: runs the tasks that look names up.
    :param lookup: as ``loop.getaddrinfo`` with a host and the port 0, which is the default.
    """

    def __init__(self, destinations: Destinations, tasks: TaskManager,
                 lookup: Callable[[str], Awaitable[list[Any]]] | None = None) -> None:
        self.destinations = destinations
        self._tasks = tasks
        self._lookup = lookup or self._ask_system
        self._threads = LookUpThreads()
        self._found: ExpiringDict[str, tuple[str, ...]] = ExpiringDict(NAME_CACHE_SIZE, NAME_CACHE_LIFETIME)
        self._running: dict[str, asyncio.Future[tuple[str, ...] | None]] = {}

    async def resolve(self, name: str, port: int) -> UDPv4Address | UDPv6Address:
        """The address of a name that may be reached, IPv4 first.

        :raises RefusedDestinationError: if the name, or each of its addresses, may not be reached.
        :raises OSError: if the name is unknown, or too many names are being looked up.
        """
        key = ascii_name(name)
        reason = self.destinations.refuses_name(name)
        if reason is not None:
            raise RefusedDestinationError(f"{name!r:.80} is {reason}")
        hosts = self._found.get(key)
        if hosts is None:
            hosts = await self._find(key)
        for host in hosts:
            address = UDPv6Address(host, port) if ":" in host else UDPv4Address(host, port)
            if self.destinations.refuses(address) is None:  # each time: the own addresses may have changed
                return address
        if not hosts:
            raise OSError(f"{name!r:.80} is unknown")
        raise RefusedDestinationError(f"{name!r:.80} has no address that may be reached")

    async def _find(self, name: str) -> tuple[str, ...]:
        running = self._running.get(name)
        if running is None:
            if len(self._running) >= MAX_RESOLUTIONS:
                raise OSError(f"{name!r:.80} is not looked up: {MAX_RESOLUTIONS} names are being looked up")
            running = self._tasks.register_anonymous_task("look up a name", self._ask, name)
            self._running[name] = running
            running.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(running) or ()

    async def _ask_system(self, name: str) -> list[Any]:
        """Ask the resolver of the operating system.

        Not in the threads of the event loop: names that are found slowly would keep everything else in them waiting.
        """
        return await get_running_loop().run_in_executor(self._threads, socket.getaddrinfo, name, 0)

    async def _ask(self, name: str) -> tuple[str, ...]:
        try:
            entries = await asyncio.wait_for(self._lookup(name), RESOLUTION_TIMEOUT)
        except (RuntimeError, asyncio.TimeoutError):  # the first one if there are too many threads
            return ()  # which is not kept, as the name may be found now
        except (OSError, ValueError) as e:
            if isinstance(e, socket.gaierror) and e.errno == socket.EAI_AGAIN:
                return ()
            entries = []
        ordered = sorted((entry for entry in entries if entry[0] in {AF_INET, AF_INET6}),
                         key=lambda entry: entry[0] != AF_INET)
        hosts = tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in ordered))
        self._found.set(name, hosts)
        return hosts

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("names looked up", len(self._running), MAX_RESOLUTIONS, rule="further ones fail")
