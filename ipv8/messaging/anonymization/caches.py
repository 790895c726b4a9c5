"""What a tunnel community remembers of its requests until they are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ... import clock, entropy
from ...reexports import reexports
from ...requestcache import NumberCacheWithName, RandomNumberCacheWithName
from ...util import current_loop
from .tunnel import CIRCUIT_STATE_CLOSING

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ...peer import Peer
    from .base import TunnelBase
    from .tunnel import Circuit

__all__ = ["BuildRequestCache", "CreateRequestCache", "CreatedRequestCache", "PingRequestCache", "RetryRequestCache",
           "TestRequestCache"]


class CreateRequestCache(RandomNumberCacheWithName):
    """Asked ``to_peer`` to be the next hop of a circuit of another node.

    :param identifier: of the extend message, for the answer to it.
    :param to_circuit_id: the number of the circuit on the link to ``to_peer``.
    :param from_circuit_id: its number on the link to ``peer``, from where the extend message came.
    """

    name = "create"
    timed_by_task: ClassVar[bool] = False

    def __init__(self, community: TunnelBase, identifier: int, to_circuit_id: int, from_circuit_id: int, peer: Peer,
                 to_peer: Peer) -> None:
        super().__init__(community.request_cache, self.name)
        self.community = community
        self.extend_identifier = identifier
        self.to_circuit_id = to_circuit_id
        self.from_circuit_id = from_circuit_id
        self.peer = peer
        self.to_peer = to_peer
        #: Whether the node that built the circuit takes part in building circuits in one pass, so that the answer to it
        #: may be padded.
        self.is_padded = False


class BuildRequestCache(CreateRequestCache):
    """As :class:`CreateRequestCache`, for a circuit whose create has told which node to ask next.

    :param wait: seconds that ``to_peer`` has to answer.
    :param reply: called with the cache and the answer of ``to_peer``, which is ``None`` if there was none.
    """

    def __init__(self, community: TunnelBase, identifier: int, to_circuit_id: int, from_circuit_id: int, peer: Peer,
                 to_peer: Peer, wait: float, reply: Callable[[BuildRequestCache, Any], object]) -> None:
        super().__init__(community, identifier, to_circuit_id, from_circuit_id, peer, to_peer)
        self.wait = wait
        self.reply = reply

    @property
    def timeout_delay(self) -> float:
        """How long the other node has to answer."""
        return self.wait

    def on_timeout(self) -> None:
        """Answer alone."""
        self.reply(self, None)


class CreatedRequestCache(NumberCacheWithName):
    """Joined a circuit, which may be extended for a while.

    :param candidate: the node that the circuit came from.
    :param candidates: the nodes that were proposed as next hops, by their public keys.
    :param timeout: in seconds.
    """

    name = "created"
    timed_by_task: ClassVar[bool] = False

    def __init__(self, community: TunnelBase, circuit_id: int, candidate: Peer, candidates: dict[bytes, Peer],
                 timeout: float) -> None:
        super().__init__(community.request_cache, self.name, circuit_id)
        self.circuit_id = circuit_id
        self.candidate = candidate
        self.candidates = candidates
        self.timeout = timeout

    @property
    def timeout_delay(self) -> float:
        """The timeout."""
        return self.timeout


class RetryRequestCache(NumberCacheWithName):
    """Asked a node to be the next hop of a circuit of this node. Another one is asked if it does not answer.

    :param candidates: the nodes that can be asked instead.
    :param max_tries: how many more tries there are.
    :param retry_func: called with the circuit, the candidates and the number of tries.
    :param timeout: in seconds.
    """

    name = "retry"
    timed_by_task: ClassVar[bool] = False

    def __init__(self, community: TunnelBase, circuit: Circuit, candidates: list[Any], max_tries: int,
                 retry_func: Callable[[Circuit, list[Any], int], Any], timeout: float) -> None:
        super().__init__(community.request_cache, self.name, circuit.circuit_id)
        self.community = community
        self.packet_identifier = entropy.randbits(16)
        self.circuit = circuit
        self.candidates = candidates
        self.max_tries = max_tries
        self.retry_func = retry_func
        self.timeout = timeout

    @property
    def timeout_delay(self) -> float:
        """The timeout."""
        return self.timeout

    def on_timeout(self) -> None:
        """Ask the next node, or give the circuit up."""
        if self.circuit.state == CIRCUIT_STATE_CLOSING:
            return
        self.community.note_unanswered(self.circuit)
        if not self.candidates or self.max_tries < 1:
            self.community.remove_circuit(self.circuit.circuit_id, f"timeout, {self.max_tries} tries left")
            return
        self.community.request_cache.register_anonymous_task(
            "retry", self.retry_func, self.circuit, self.candidates, self.max_tries, ignore=(Exception,))


class PingRequestCache(RandomNumberCacheWithName):
    """Sent a ping through ``circuit``."""

    name = "ping"
    timed_by_task: ClassVar[bool] = False

    def __init__(self, community: TunnelBase, circuit: Circuit | None = None) -> None:
        super().__init__(community.request_cache, self.name)
        self.circuit = circuit


class TestRequestCache(RandomNumberCacheWithName):
    """Sent a test request through ``circuit``. The result of ``future`` is the answer and the seconds that it took."""

    name = "test-request"
    timed_by_task: ClassVar[bool] = False

    def __init__(self, community: TunnelBase, circuit: Circuit) -> None:
        super().__init__(community.request_cache, self.name)
        self.circuit = circuit
        self.started = clock.monotonic()
        self.future: Future[tuple[bytes, float] | None] = current_loop().create_future()
        self.register_future(self.future)

    @property
    def ts(self) -> float:
        """When the request was sent, in seconds since the Unix epoch."""
        return clock.time() - (clock.monotonic() - self.started)


if TYPE_CHECKING:  # programs import these from here
    from .hidden_caches import (
        E2ERequestCache as E2ERequestCache,
        IPRequestCache as IPRequestCache,
        LinkRequestCache as LinkRequestCache,
        PeersRequestCache as PeersRequestCache,
        RPRequestCache as RPRequestCache,
    )
else:
    __getattr__, __dir__ = reexports(__name__, {
        ".hidden_caches": "E2ERequestCache IPRequestCache LinkRequestCache PeersRequestCache RPRequestCache",
    })
