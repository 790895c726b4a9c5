"""The requests of hidden services that wait for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...requestcache import RandomNumberCacheWithName
from ...util import current_loop

if TYPE_CHECKING:
    from asyncio import Future

    from .hidden_services import HiddenTunnelCommunity
    from .swarm import IntroductionPoint, RendezvousPoint
    from .swarming import SwarmCommunity
    from .tunnel import Circuit, Hop

__all__ = ["E2ERequestCache", "IPRequestCache", "LinkRequestCache", "PeersRequestCache", "RPRequestCache"]


class IPRequestCache(RandomNumberCacheWithName):
    """Asked the last node of ``circuit`` to be an introduction point."""

    name = "establish-intro"

    def __init__(self, community: HiddenTunnelCommunity, circuit: Circuit) -> None:
        super().__init__(community.request_cache, self.name)
        self.community = community
        self.circuit = circuit

    def on_timeout(self) -> None:
        """Give the circuit up."""
        self.community.give_up_silent(self.circuit, "establish-intro timeout")


class RPRequestCache(RandomNumberCacheWithName):
    """Asked the last node of the circuit of ``rp`` to be a rendezvous point."""

    name = "establish-rendezvous"

    def __init__(self, community: HiddenTunnelCommunity, rp: RendezvousPoint) -> None:
        super().__init__(community.request_cache, self.name)
        self.community = community
        self.rp = rp

    def on_timeout(self) -> None:
        """Give the rendezvous point and its circuit up."""
        if not self.rp.ready.done():
            self.rp.ready.set_result(None)
        self.community.give_up_silent(self.rp.circuit, "establish-rendezvous timeout")


class PeersRequestCache(RandomNumberCacheWithName):
    """Asked for introduction points of a swarm: ``target``, or the last node of ``circuit`` if that is ``None``."""

    name = "peers-request"

    def __init__(self, community: SwarmCommunity, circuit: Circuit, info_hash: bytes,
                 target: IntroductionPoint | None) -> None:
        super().__init__(community.request_cache, self.name)
        self.community = community
        self.circuit = circuit
        self.info_hash = info_hash
        self.target = target
        self.future: Future[list[IntroductionPoint]] = current_loop().create_future()
        self.register_future(self.future, RuntimeError("Peers request timeout"))

    def on_timeout(self) -> None:
        """Forget the introduction point that did not answer, and prefer other circuits."""
        self.community.note_unanswered_request(self.circuit.circuit_id)
        swarm = self.community.swarms.get(self.info_hash)
        if swarm is not None and self.target is not None:
            swarm.remove_intro_point(self.target)


class E2ERequestCache(RandomNumberCacheWithName):
    """Asked a service for a connection.

    :param hop: the service as the end of a circuit, with the ephemeral key.
    :param circuit_id: the circuit that the request was sent on, which its answer must come by.
    """

    name = "e2e-request"

    def __init__(self, community: HiddenTunnelCommunity, info_hash: bytes, hop: Hop, intro_point: IntroductionPoint,
                 circuit_id: int | None = None) -> None:
        super().__init__(community.request_cache, self.name)
        self.community = community
        self.info_hash = info_hash
        self.hop = hop
        self.intro_point = intro_point
        self.circuit_id = circuit_id

    def on_timeout(self) -> None:
        """Do not use the introduction point for a while, and prefer other circuits."""
        self.community.note_unanswered_request(self.circuit_id)
        swarm = self.community.swarms.get(self.info_hash)
        if swarm is not None:
            swarm.note_failure(self.intro_point)


class LinkRequestCache(RandomNumberCacheWithName):
    """Asked a rendezvous point to join ``circuit`` to that of a service."""

    name = "link-request"

    def __init__(self, community: HiddenTunnelCommunity, circuit: Circuit, info_hash: bytes,
                 hs_session_keys: Any) -> None:
        super().__init__(community.request_cache, self.name)
        self.community = community
        self.circuit = circuit
        self.info_hash = info_hash
        self.hs_session_keys = hs_session_keys

    def on_timeout(self) -> None:
        """Give the circuit up, and do not use the introduction point for a while."""
        self.community.connection_failed(self.info_hash, self.circuit, "link-e2e timeout")
