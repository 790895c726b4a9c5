"""How the rest of the network sees this node: its outside addresses and what its NAT does (spec 05 sections 3 and 12).

Every bootstrap server says in its answer from where the question came. Answers of several servers, all asked from one
socket, show whether there is a NAT, and whether it uses the same outside address for everybody: the terms are those of
RFC 4787, section 4.1. :class:`ReachabilityProbe` asks; the rest is plain logic.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from .. import clock, entropy
from ..community import Community, CommunitySettings
from ..contact.introductions import NOWHERE
from ..keyvault.crypto import default_eccrypto
from ..messaging.address import UDPv6Address
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload import (
    IntroductionRequestPayload,
    NewIntroductionRequestPayload,
)
from ..peer import Peer
from ..requestcache import RandomNumberCache
from .network import Network

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Collection, Iterable

    from ..contact.protocol import IntroductionRequest, IntroductionResponse
    from ..messaging.address import Address
    from ..messaging.interfaces.endpoint import Endpoint
    from ..messaging.payload_headers import GlobalTimeDistributionPayload
    from ..requestcache import RequestCache

__all__ = ["NatKind", "NatReport", "Observation", "Reachability", "ReachabilityProbe", "classify", "is_carrier_grade",
           "judge"]

ATTEMPTS = 3
"""How often a server is asked, evenly over the time that it has: packets get lost."""

TRUSTED_WITNESSES = 3
"""So many servers that agree outweigh a third as many that contradict: no dependent mapping makes three agree."""

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
    """How others get through to this node over one version of IP."""

    NO_ADDRESS = "no address"
    SILENT = "no answer"
    OPEN = "direct"
    MAPPED = "direct, once the router forwards a port"
    PUNCHED = "by hole punching"
    HARD = "hole punching with some peers only"
    UNKNOWN = "unknown"


class Observation(NamedTuple):
    """What one server answered: the address from which the question came, if it said one, and the round trip in s."""

    server: Address
    mapped: Address | None
    rtt: float


class NatReport(NamedTuple):
    """What a number of observations amount to.

    ``mapped`` is the outside address that most servers saw, ``port_kept`` tells whether its port is that of the socket
    and ``contradicted_by`` has the servers that saw something else although the conclusion is certain.
    """

    kind: NatKind
    mapped: Address | None = None
    port_kept: bool = False
    contradicted_by: tuple[Address, ...] = ()


def classify(observations: Iterable[Observation], own_hosts: Collection[str], own_port: int) -> NatReport:
    """Conclude from the answers to one socket what NAT it is behind.

    :param own_hosts: the IP addresses of this machine; loopback addresses need not be listed.
    :param own_port: the port of the socket.
    """
    seen: dict[str, dict[Address, Address]] = {}
    votes: Counter[Address] = Counter()
    for server, mapped, _ in observations:
        if mapped is not None:
            seen.setdefault(server[0], {})[server] = mapped
    for answers in seen.values():
        votes.update(set(answers.values()))
    if not votes:
        return NatReport(NatKind.UNKNOWN)
    common = votes.most_common(1)[0][0]
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
    """How others get through to a socket.

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
    """Whether an IP address is one that providers use inside of their networks."""
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

    def _accept_introduction_response(self, source_address: Address, peer: Peer,  # noqa: ARG002 - as in the base
                                      dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - as in the base
                                      payload: IntroductionResponse) -> None:
        """Note what a server answered."""
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
