"""How the rest of the network sees this node: its outside addresses and what its NAT does.

See doc/protocol/discovery.md section 3 and doc/protocol/trackers.md section 3.

Every bootstrap server says in its answer from where the question came. Answers of several servers, all asked from one
socket, show whether there is a NAT, and whether it uses the same outside address for everybody: the terms are those of
RFC 4787, section 4.1. :class:`ReachabilityProbe` asks; the rest is plain logic.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from .. import clock, entropy
from ..community import Community, CommunitySettings
from ..contact.introductions import NOWHERE
from ..contact.nat import OwnAddressVote
from ..keyvault.crypto import default_eccrypto
from ..lazy_community import receive_from
from ..messaging.address import UDPv6Address
from ..messaging.inet import HOST_BITS
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
)
from ..messaging.payload_headers import GlobalTimeDistributionPayload
from ..peer import Peer
from ..requestcache import RandomNumberCache
from .network import Network

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Collection, Iterable

    from ..contact.protocol import IntroductionRequest, IntroductionResponse
    from ..messaging.address import Address
    from ..messaging.interfaces.endpoint import Endpoint
    from ..requestcache import RequestCache

__all__ = ["NatKind", "NatReport", "Observation", "Reachability", "ReachabilityProbe", "classify", "is_carrier_grade",
           "judge"]

ATTEMPTS = 3
"""How often a server is asked, at equal intervals, because packets get lost."""

TRUSTED_WITNESSES = 3
"""How many servers must agree before others, at most a third as many, are ignored that contradict them.

A mapping that depends on the destination does not make three servers agree.
"""

CARRIER_GRADE = ip_network("100.64.0.0/10")
"""What providers use between their NAT and those of their customers (RFC 6598)."""


class NatKind(Enum):
    """What is between a socket and the servers, by how it maps the socket's address."""

    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint-independent mapping"
    ADDRESS_DEPENDENT = "address-dependent mapping"
    ADDRESS_AND_PORT_DEPENDENT = "address- and port-dependent mapping"
    DEPENDENT = "address- or port-dependent mapping"
    UNKNOWN = "unknown"


class Reachability(Enum):
    """How others reach this node over one version of IP."""

    NO_ADDRESS = "no address"
    SILENT = "no answer"
    OPEN = "direct"
    MAPPED = "direct, once the router forwards a port"
    PUNCHED = "by hole punching"
    HARD = "hole punching with some peers only"
    UNKNOWN = "unknown"


class Observation(NamedTuple):
    """What one server answered.

    ``mapped`` is the address that the question came from, if the server said one, ``rtt`` the round trip time in
    seconds.
    """

    server: Address
    mapped: Address | None
    rtt: float


class NatReport(NamedTuple):
    """The conclusion from a number of observations.

    ``mapped`` is the outside address that most servers saw, ``port_kept`` tells whether its port is that of the socket
    and ``contradicted_by`` has the servers that saw something else although the conclusion is certain.
    """

    kind: NatKind
    mapped: Address | None = None
    port_kept: bool = False
    contradicted_by: tuple[Address, ...] = ()


def classify(observations: Iterable[Observation], own_hosts: Collection[str], own_port: int) -> NatReport:
    """Conclude from the answers to one socket which kind of NAT it is behind.

    :param own_hosts: the IP addresses of this machine; loopback addresses need not be listed.
    :param own_port: the port of the socket.
    """
    seen: dict[str, dict[Address, Address]] = {}
    observations = tuple(observations)
    vote = OwnAddressVote(max(1, len(observations)), HOST_BITS)
    for server, mapped, _ in observations:
        if mapped is not None:
            seen.setdefault(server[0], {})[server] = mapped
            vote.hear(server, mapped, 0.0)
    result = vote.tally()
    if result is None:
        return NatReport(NatKind.UNKNOWN)
    common = result.address
    port_kept = common[1] == own_port
    dissenting = [host for host, answers in seen.items() if set(answers.values()) != {common}]
    agreeing = len(seen) - len(dissenting)
    if dissenting and (agreeing < TRUSTED_WITNESSES or 3 * len(dissenting) > agreeing):
        return NatReport(_dependent_kind(seen), common, port_kept)
    contradicted_by = tuple(server for host in dissenting for server, mapped in seen[host].items() if mapped != common)
    if port_kept and (common[0] in own_hosts or ip_address(common[0]).is_loopback):
        kind = NatKind.NONE
    else:
        # One host alone cannot show that others see the same.
        kind = NatKind.ENDPOINT_INDEPENDENT if agreeing > 1 else NatKind.UNKNOWN
    return NatReport(kind, common, port_kept, contradicted_by)


def _dependent_kind(seen: dict[str, dict[Address, Address]]) -> NatKind:
    """What the mapping depends on, given that it is not the same for all hosts."""
    if any(len(set(answers.values())) > 1 for answers in seen.values()):
        return NatKind.ADDRESS_AND_PORT_DEPENDENT
    if any(len(answers) > 1 for answers in seen.values()):
        return NatKind.ADDRESS_DEPENDENT
    return NatKind.DEPENDENT


def judge(has_address: bool, answered: bool, nat: NatReport, mappable_host: str | None = None) -> Reachability:
    """How others reach a socket.

    :param has_address: whether this machine has an address of that version of IP.
    :param answered: whether any server answered.
    :param mappable_host: the outside address of a gateway that forwards ports on request.
    """
    if answered:
        if nat.kind is NatKind.NONE:
            return Reachability.OPEN
        if nat.mapped is not None and nat.mapped[0] == mappable_host:
            return Reachability.MAPPED
        if nat.kind is NatKind.ENDPOINT_INDEPENDENT:
            return Reachability.PUNCHED
        return Reachability.UNKNOWN if nat.kind is NatKind.UNKNOWN else Reachability.HARD
    return Reachability.SILENT if has_address else Reachability.NO_ADDRESS


def is_carrier_grade(host: str) -> bool:
    """Whether an IP address is one that providers use inside their networks."""
    return ip_address(host) in CARRIER_GRADE


class _Question(RandomNumberCache):
    """An introduction request to a server."""

    name = "reachability"
    timed_by_task = False

    def __init__(self, request_cache: RequestCache, server: Address, timeout: float,
                 answer: Future[Observation | None]) -> None:
        super().__init__(request_cache, self.name)
        self.server = server
        self.answer = answer
        self.start_time = clock.monotonic()
        self._timeout = timeout

    @property
    def timeout_delay(self) -> float:
        """Seconds in which an answer counts."""
        return self._timeout


class ReachabilityProbe(Community):
    """Asks bootstrap servers from which address its questions come, in the name of an overlay that nobody else is in.

    :param endpoint: the socket or sockets that are looked at.
    """

    relayable = False

    def __init__(self, endpoint: Endpoint) -> None:
        self.community_id = entropy.randbytes(20)
        super().__init__(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")),
                                           endpoint=endpoint, network=Network()))

    async def observe(self, server: Address, timeout: float) -> Observation | None:
        """Ask a server, again if need be; ``None`` if it does not answer within ``timeout`` seconds."""
        answer: Future[Observation | None] = asyncio.get_running_loop().create_future()
        for attempt in range(ATTEMPTS):
            self._ask(server, timeout * (ATTEMPTS - attempt) / ATTEMPTS, answer)
            await asyncio.wait([answer], timeout=timeout / ATTEMPTS)
            if answer.done():
                return answer.result()
        answer.cancel()
        return None

    def _ask(self, server: Address, timeout: float, answer: Future[Observation | None]) -> None:
        question = self.request_cache.add(_Question(self.request_cache, server, timeout, answer))
        if question is None:
            return
        payload: IntroductionRequest
        if isinstance(server, UDPv6Address):
            payload = NewIntroductionRequestPayload(server, NOWHERE, NOWHERE, question.number,
                                                    0, 0, 0, 0, 0, 0, 0, 0, b"")
        else:
            payload = IntroductionRequestPayload(server, NOWHERE, NOWHERE, True, "unknown", question.number, b"",
                                                 supports_new_style=False)
        self.endpoint.send(server, self._pack_timed(payload, self.claim_global_time() % 65536))

    @receive_from(GlobalTimeDistributionPayload, IntroductionResponsePayload)
    def on_old_introduction_response(self, source_address: Address, peer: Peer,  # noqa: ARG002 - as in the message
                                     dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - as in the message
                                     payload: IntroductionResponsePayload) -> None:
        """Message 245, with which a server answers a question by IPv4."""
        self._take_answer(source_address, payload)

    @receive_from(GlobalTimeDistributionPayload, NewIntroductionResponsePayload)
    def on_new_introduction_response(self, source_address: Address, peer: Peer,  # noqa: ARG002 - as in the message
                                     dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - as in the message
                                     payload: NewIntroductionResponsePayload) -> None:
        """Message 233, with which a server answers a question by IPv6."""
        self._take_answer(source_address, payload)

    def _take_answer(self, source_address: Address, payload: IntroductionResponse) -> None:
        """Note what a server answered, if it was asked and answers from where it was asked."""
        question = self.request_cache.get(_Question, payload.identifier)
        if question is None or question.server != source_address:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(_Question, payload.identifier)
        if not question.answer.done():
            mapped = payload.destination_address
            usable = type(mapped) is type(source_address) and _is_unicast(mapped)
            question.answer.set_result(Observation(source_address, mapped if usable else None,
                                                   clock.monotonic() - question.start_time))


def _is_unicast(address: Address) -> bool:
    ip = ip_address(address[0])
    return bool(address[1]) and not (ip.is_unspecified or ip.is_multicast)
