"""Finding first peers by multicast in the local network, with one packet (doc/protocol/trackers.md section 6)."""

from __future__ import annotations

from asyncio import Lock
from ipaddress import IPv6Address
from math import inf
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...contact.targets import HostKind, is_on_link, is_target, kind_of_host
from ...limits import TokenBuckets
from ...messaging.address import UDPv4Address, UDPv6Address
from ...messaging.interfaces.lan_addresses.interfaces import get_lan_addresses
from ..bootstrapper_interface import Bootstrapper
from .group import MulticastGroup
from .wire import ANNOUNCEMENT, ANSWER, NONCE_SIZE, Datagram, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...community import Community
    from ...messaging.address import Address

__all__ = ["MulticastBootstrapper"]

#: Administratively scoped (RFC 2365) and link-local (RFC 4291): routers do not forward packets to them.
GROUP_IPV4 = "239.255.118.56"
GROUP_IPV6 = "ff02::4950:7638"
PORT = 30264

#: Seconds by which an answer is delayed at most, at random, so that not all nodes answer at the same time.
MAX_ANSWER_DELAY = 1.0
#: Seconds after an announcement in which answers to it are accepted.
ANSWER_WINDOW = 5.0
#: Answers in all.
ANSWERS_PER_SECOND, ANSWERS_AT_ONCE = 5.0, 20.0
#: Answers to one IP address.
ANSWERS_PER_SECOND_PER_HOST, ANSWERS_AT_ONCE_PER_HOST = 0.2, 3.0
#: Walks to addresses from answers.
WALKS_PER_SECOND, WALKS_AT_ONCE = 5.0, 20.0


class MulticastBootstrapper(Bootstrapper):
    """Asks a multicast group which other nodes are in the overlay, and answers such questions.

    The question is an announcement. It is sent by :meth:`initialize` and later at most once in ``bootstrap_timeout``
    seconds.

    :param interface: the IPv4 address of the network interface to use; empty lets the system choose.
    :param interface_index: the index of the interface to use for IPv6; 0 lets the system choose.
    :param port: the port of the group.
    """

    has_own_sockets = True

    #: When the last announcement was sent, in seconds since the Unix epoch; 0 if none was.
    last_bootstrap = clock.WallTime("_announced_at")

    def __init__(self, bootstrap_timeout: float = 30.0, interface: str = "", interface_index: int = 0,
                 port: int = PORT) -> None:
        super().__init__()
        self.bootstrap_timeout = bootstrap_timeout
        self.overlay: Community | None = None
        self._announced_at = -inf
        self._possible_groups = (MulticastGroup(GROUP_IPV4, port, self._on_datagram, interface),
                                 MulticastGroup(GROUP_IPV6, port, self._on_datagram, interface_index))
        self._groups: list[MulticastGroup] = []
        self._opening = Lock()
        self._unloads = 0
        self._nonce = b""
        self._answers = TokenBuckets(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE)
        self._answers_per_host = TokenBuckets(ANSWERS_PER_SECOND_PER_HOST, ANSWERS_AT_ONCE_PER_HOST)
        self._walks = TokenBuckets(WALKS_PER_SECOND, WALKS_AT_ONCE)

    async def initialize(self, overlay: Community) -> bool:
        """Join the group, by IPv4 and IPv6, and announce the overlay.

        :returns: ``False`` if neither is possible, or this is unloaded meanwhile.
        """
        unloads = self._unloads
        async with self._opening:
            if not self.initialized:
                groups = [group for group in self._possible_groups if await group.open()]
                if self._unloads != unloads:
                    self._leave()
                elif groups:
                    self._groups, self.overlay, self.initialized = groups, overlay, True
                    self._announce()
        return self.initialized

    async def get_addresses(self, overlay: Community, timeout: float) -> list[Address]:  # noqa: ARG002 - specified
        """Announce the overlay, if ``bootstrap_timeout`` is over.

        The result is empty: nodes that answer are walked to.
        """
        self._announce_again()
        return []

    def keep_alive(self, overlay: Community) -> None:  # noqa: ARG002 - specified
        """Announce the overlay, if ``bootstrap_timeout`` is over."""
        self._announce_again()

    def blacklist(self) -> Iterable[Address]:
        """There is no server."""
        return []

    def unload(self) -> None:
        """Leave the group."""
        self._unloads += 1
        self._leave()
        self.overlay, self.initialized = None, False

    def _leave(self) -> None:
        self._groups = []
        for group in self._possible_groups:
            group.close()

    def _announce_again(self) -> None:
        if self.initialized and clock.monotonic() >= self._announced_at + self.bootstrap_timeout:
            self._announce()

    def _announce(self) -> None:
        if self.overlay is not None:
            self.last_bootstrap = clock.time()
            self._nonce = entropy.randbytes(NONCE_SIZE)
            announcement = encode(Datagram(ANNOUNCEMENT, self.overlay.get_prefix(), self._nonce))
            for group in self._groups:
                group.send(announcement)

    def _on_datagram(self, group: MulticastGroup, data: bytes, source: tuple[Any, ...]) -> None:
        datagram = decode(data)
        if self.overlay is None or datagram is None or datagram.prefix != self.overlay.get_prefix():
            return
        if datagram.kind == ANNOUNCEMENT:
            self._on_announcement(self.overlay, group, datagram, source)
        elif datagram.kind == ANSWER:
            self._on_answer(self.overlay, group, datagram, source)

    def _on_announcement(self, overlay: Community, group: MulticastGroup, datagram: Datagram,
                         source: tuple[Any, ...]) -> None:
        is_own = datagram.nonce == self._nonce
        is_near = is_on_link(source[0], (overlay.my_estimated_lan[0], *get_lan_addresses()))
        if not is_own and is_near and self._answers_per_host.take(source[0]) and self._answers.take():
            overlay.register_anonymous_task("multicast answer", self._answer, group, datagram.nonce, source,
                                            delay=entropy.random() * MAX_ANSWER_DELAY)

    def _answer(self, group: MulticastGroup, nonce: bytes, source: tuple[Any, ...]) -> None:
        overlay = self.overlay
        if overlay is None:
            return
        if group.is_ipv6:
            own = overlay.my_peer.addresses.get(UDPv6Address) or overlay.guess_address("UDPIPv6")
            if own is None:
                return
            ip, port = own
            ip = "" if IPv6Address(ip).is_unspecified else ip
        else:
            ip, port = "", overlay.my_estimated_lan[1]
        if port:
            group.send(encode(Datagram(ANSWER, overlay.get_prefix(), nonce, port, ip)), source)

    def _on_answer(self, overlay: Community, group: MulticastGroup, datagram: Datagram,
                   source: tuple[Any, ...]) -> None:
        expected = datagram.nonce == self._nonce and clock.monotonic() <= self._announced_at + ANSWER_WINDOW
        if not expected or not datagram.port:
            return
        address: Address
        if group.is_ipv6:
            address = UDPv6Address(datagram.ip or source[0], datagram.port)
            # A link-local address needs an interface, which addresses of peers do not have.
            if kind_of_host(address.ip) is HostKind.LINK_LOCAL:
                return
        else:
            address = UDPv4Address(source[0], datagram.port)
        if is_target(address, source[:2]) and self._walks.take():
            overlay.walk_to(address)
