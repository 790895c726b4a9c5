"""Addresses that others name and that this node then sends to: which of them are refused, and how much goes there.

All such addresses pass one filter, :func:`is_target`: those of introduced peers, of walkers that want a puncture, of
peers that say they have another address, of announcements in the local network, and of nodes of the DHT. What is sent
to them is paid for twice: from a budget for each host, and, if somebody introduced the address, from a credit for each
introduction. See doc/protocol/discovery.md section 6.6.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from ..limits import ExpiringDict, TokenBuckets
from ..messaging.inet import HOST_BITS, LONGEST_HOST, is_global, is_orchid, network_of, parse_host
from ..messaging.interfaces.endpoint import Endpoint
from ..messaging.interfaces.lan_addresses.interfaces import is_broadcast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address

__all__ = ["HostKind", "Targets", "is_on_link", "is_target", "kind_of_host", "same_address"]

PACKETS_PER_SECOND_PER_HOST, PACKETS_AT_ONCE_PER_HOST = 2.0, 30.0
"""Packets to one host that others named, whoever they were."""

KEPT_FOR_WALKS = 20.0
"""Packets of these that only walks to introduced addresses may use.

An introduction answers a request of this node. Anybody can name an address in a puncture request, which is not signed,
or forge the source of a request, and must not use up what a walk to that host needs.
"""

AMPLIFICATION = 3
"""How many times the bytes of an introduction response may be sent to the addresses that it named."""

SMALLEST_RESPONSE = 204
"""Bytes of an old-style introduction response with a curve25519 key: the credit of an introduction of long ago."""

CREDIT_LIMIT = 2048
CREDIT_LIFETIME = 300.0
"""Addresses with a credit, the oldest evicted first, and the seconds for which a credit counts."""

LINK_BITS = (24, 64)
"""Prefix lengths of what is taken for one link, as the system does not tell the netmask."""

REMEMBERED_HOSTS = 8192
"""Hosts of which the kind is remembered; the least recently used is evicted first."""

METADATA_HOSTS = frozenset(parse_host(host) for host in (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"))
"""Where providers of virtual machines tell secrets of the machine, to whoever asks from inside of it."""

THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""Addresses that no packet may be sent to (RFC 1122 section 3.2.1.3)."""

IPV4_AT = ((IPv6Network("::/96"), 12), (IPv6Network("64:ff9b::/96"), 12), (IPv6Network("64:ff9b:1::/48"), 12),
           (IPv6Network("2002::/16"), 2))
"""IPv6 networks whose addresses contain an IPv4 address, and the offset of its first byte.

IPv4-compatible addresses (RFC 4291), NAT64 (RFC 6052 and RFC 8215) and 6to4 (RFC 3056). Mapped ones are resolved by
``parse_host``.
"""

TEREDO = IPv6Network("2001::/32")
"""Addresses that end with an IPv4 address whose bits are inverted (RFC 4380)."""


class HostKind(Enum):
    """What others may name a host as."""

    REFUSED = "refused"
    """Nobody may: it is no host, it is one of the machine's provider, or it stands for a key."""
    LOOPBACK = "loopback"
    """Nodes on the same machine may."""
    LINK_LOCAL = "link-local"
    """Nodes on the same link may."""
    UNICAST = "unicast"
    """Everybody may."""


def kind_of_host(host: str) -> HostKind:
    """The kind of the host with this text; a text that is no IP address is refused."""
    return _kind_of_host(host) if len(host) <= LONGEST_HOST else HostKind.REFUSED


@lru_cache(REMEMBERED_HOSTS)
def _kind_of_host(host: str) -> HostKind:
    address = parse_host(host)
    if address is None:
        return HostKind.REFUSED
    inner = address if isinstance(address, IPv4Address) else _inner_ipv4(address)
    kind = _kind_of(inner or address)
    # An IPv6 address that contains an IPv4 one is only good for hosts that everybody may name.
    is_wrapped = inner is not None and ":" in host
    return HostKind.REFUSED if is_wrapped and kind is not HostKind.UNICAST else kind


def _kind_of(address: IPv4Address | IPv6Address) -> HostKind:
    if address.is_loopback:
        return HostKind.LOOPBACK
    if address in METADATA_HOSTS or address.is_multicast or address.is_unspecified:
        return HostKind.REFUSED
    if isinstance(address, IPv4Address):
        if address in THIS_NETWORK or address.is_reserved:
            return HostKind.REFUSED
    elif is_orchid(address.packed):
        return HostKind.REFUSED
    return HostKind.LINK_LOCAL if address.is_link_local else HostKind.UNICAST


def _inner_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address contains, if it does."""
    if isinstance(address, IPv4Address):
        return None
    packed = address.packed
    if address in TEREDO:
        return IPv4Address(bytes(byte ^ 0xff for byte in packed[12:]))
    if int(address) < 2:  # "::" and "::1"
        return None
    return next((IPv4Address(packed[start:start + 4]) for network, start in IPV4_AT if address in network), None)


def _ipv4_text(host: str) -> str:
    """The text of the IPv4 address that ``host`` is or contains; any other text as it is."""
    if ":" not in host:
        return host
    address = parse_host(host)
    inner = None if address is None else _inner_ipv4(address) or address
    return str(inner) if isinstance(inner, IPv4Address) else host


def same_address(one: Address, other: Address) -> bool:
    """Whether two addresses are the same place: the texts of their hosts may differ, and so may their classes."""
    if one[1] != other[1]:
        return False
    host, other_host = parse_host(one[0]), parse_host(other[0])
    if host is None or other_host is None:
        return one[0] == other[0]
    return (_inner_ipv4(host) or host) == (_inner_ipv4(other_host) or other_host)


def is_target(address: Address, source: Address, own: Iterable[Address] = ()) -> bool:
    """Whether to send to ``address``, which a node at ``source`` named.

    Loopback and link-local addresses are for sources of the same kind. An address that stands for all hosts of a link
    of this machine is for nobody.

    :param own: the addresses of this node, which does not send to itself.
    """
    port = address[1]
    if type(port) is not int or not 0 < port < 65536:
        return False
    kind = kind_of_host(address[0])
    if kind is HostKind.REFUSED or (kind is not HostKind.UNICAST and kind_of_host(source[0]) is not kind):
        return False
    return not is_broadcast(_ipv4_text(address[0])) and not any(same_address(address, mine) for mine in own)


def is_on_link(host: str, own_hosts: Iterable[str]) -> bool:
    """Whether ``host`` can be on a link of this machine, whose interfaces have ``own_hosts``.

    Hosts with loopback addresses are on the machine itself, and those with link-local ones on a link of it. A private
    address may be on a link with another one; a public address is if it is in the same /24, or /64 for IPv6.
    """
    kind = kind_of_host(host)
    if kind is not HostKind.UNICAST:
        return kind is not HostKind.REFUSED
    own = [other for other in own_hosts if kind_of_host(other) is HostKind.UNICAST]
    if not is_global(host):
        return not own or any(not is_global(other) for other in own)
    link = network_of(host, *LINK_BITS)
    return any(network_of(other, *LINK_BITS) == link for other in own)


class _Credit:
    """What may still be sent because of one introduction, to all its addresses together."""

    __slots__ = ("left",)

    def __init__(self, size: int) -> None:
        self.left = size


class Targets:
    """How much is sent to addresses that others named. All overlays of an endpoint share one.

    Times are those of ``clock.monotonic``.
    """

    __slots__ = ("_credits", "_hosts")

    @classmethod
    def of(cls, endpoint: Endpoint) -> Targets:
        """The one of ``endpoint``; a new one for an object that is no ``Endpoint``."""
        return endpoint.gate.shared(cls) if isinstance(endpoint, Endpoint) else cls()

    def __init__(self) -> None:
        self._hosts = TokenBuckets(PACKETS_PER_SECOND_PER_HOST, PACKETS_AT_ONCE_PER_HOST)
        self._credits: ExpiringDict[Address, _Credit] = ExpiringDict(CREDIT_LIMIT, CREDIT_LIFETIME)

    def release(self) -> None:
        """Forget all credits, as the endpoint is closed. What hosts got still counts."""
        self._credits.clear()

    def introduce(self, addresses: Iterable[Address], size: int, now: float) -> None:
        """Note that a packet of ``size`` bytes named ``addresses``, which share one credit."""
        credit = _Credit(AMPLIFICATION * size)
        for address in addresses:
            self._credits.set(address, credit, now)

    def share(self, address: Address, others: Iterable[Address], now: float) -> None:
        """Give ``others`` the credit of ``address``: its owner may be there instead."""
        credit = self._credits.get(address, now=now)
        if credit is not None:
            for other in others:
                self._credits.set(other, credit, now)

    def may_walk(self, address: Address, size: int, introduced: bool, now: float) -> bool:
        """Whether to send a request of ``size`` bytes to ``address``; it is paid for if so.

        :param introduced: whether somebody introduced the address. Others have no limit: this program chose them.
        """
        credit = self._credits.get(address, now=now)
        if credit is None:
            if not introduced:
                return True
            credit = _Credit(AMPLIFICATION * SMALLEST_RESPONSE)
            self._credits.set(address, credit, now)
        # Only nodes of this machine can name its loopback addresses, and many nodes may share them.
        is_local = kind_of_host(address[0]) is HostKind.LOOPBACK
        if credit.left < size or not (is_local or self._take(address, 0.0, now)):
            return False
        credit.left -= size
        return True

    def is_spent(self, address: Address, size: int, now: float) -> bool:
        """Whether the credit of ``address`` has less than ``size`` bytes left."""
        credit = self._credits.get(address, now=now)
        return credit is not None and credit.left < size

    def may_answer(self, address: Address, now: float) -> bool:
        """Whether to send a packet to ``address`` because of a packet whose source may be forged."""
        return self._take(address, KEPT_FOR_WALKS, now)

    def _take(self, address: Address, spared: float, now: float) -> bool:
        return self._hosts.take(network_of(address[0], *HOST_BITS), now=now, spared=spared)
