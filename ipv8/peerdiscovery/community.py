"""The overlay that all nodes share, which tells what peers run and whether they are there.

See doc/protocol/discovery.md section 8.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, cast

from .. import clock, entropy
from ..community import Community, CommunitySettings
from ..contact.introductions import ipv4_or_none
from ..lazy_community import lazy_wrapper, lazy_wrapper_unsigned, raising, try_decode
from ..limits import TokenBuckets
from ..messaging.address import UDPv4Address
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload import IntroductionRequestPayload
from ..messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ..messaging.readers import Refusal
from ..reexports import reexports
from ..requestcache import NumberCacheWithName, RandomNumberCache
from ..verification import KEY_OFFSET, recognise, try_verify
from .churn import RandomChurn
from .discovery import DiscoveryStrategy
from .payload import (
    LEGACY_MARK,
    DiscoveryIntroductionRequestPayload,
    PingPayload,
    PongPayload,
    SimilarityRequestPayload,
    SimilarityResponsePayload,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..keyvault.keys import PrivateKey
    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..peer import Peer
    from ..requestcache import RequestCache

__all__ = ["DiscoveryCommunity", "PeriodicSimilarity", "PingRequestCache"]

MAX_LISTED_SERVICES = 64
"""Community ids in a message that is sent, so that its datagram is not fragmented."""

MAX_LEARNED_SERVICES = 200
"""Community ids that are read from one message; the network holds as many for a peer."""

SIMILARITY_RESPONSES_PER_SECOND, SIMILARITY_RESPONSES_AT_ONCE = 20.0, 100.0
"""Similarity responses to the nodes of one IP address that are not proven to be there."""

PING_TIMEOUT = 5.0
"""Seconds in which the answer to a ping counts."""

_GLOBAL_TIME_SIZE = 8
_LEGACY_SIZE = _GLOBAL_TIME_SIZE + 21 + 21
"""Bytes of global time, mark and mid, and a normal introduction request without extra bytes."""


class PingRequestCache(NumberCacheWithName):
    """A ping that was not answered yet.

    :param identifier: the identifier of the ping; its lower 16 bits count, as on the wire.
    :param peer: the peer that is pinged, at the address that it prefers now.
    :param start_time: when it is pinged, in seconds since the Unix epoch.
    """

    name = "discoverypingcache"
    timed_by_task = False

    def __init__(self, request_cache: RequestCache, identifier: int, peer: Peer, start_time: float) -> None:
        super().__init__(request_cache, self.name, identifier % 65536)
        self.peer = peer
        self.address = peer.address
        self.start_time = start_time
        self._started_at = clock.monotonic() - max(0.0, clock.time() - start_time)

    @property
    def timeout_delay(self) -> float:
        """Seconds in which an answer counts."""
        return PING_TIMEOUT

    def finish(self) -> None:
        """Note that the answer arrived now."""
        self.peer.heard_now()
        self.peer.pings.append(clock.monotonic() - self._started_at)


class PeriodicSimilarity(DiscoveryStrategy["DiscoveryCommunity"]):
    """Asks a random peer which overlays it runs, at most once in ``INTERVAL`` seconds.

    ``last_step`` is the time of the last request, by the monotonic clock.
    """

    INTERVAL = 1.0

    def __init__(self, overlay: DiscoveryCommunity) -> None:
        super().__init__(overlay)
        self.last_step = -inf

    def take_step(self) -> None:
        """Ask one peer, unless the last request was sent less than ``INTERVAL`` seconds ago."""
        with self.walk_lock:
            now = clock.monotonic()
            if now - self.last_step >= self.INTERVAL and self.overlay.network.verified_peers:
                self.last_step = now
                self.overlay.send_similarity_request(
                    entropy.choice(tuple(self.overlay.network.verified_peers)).address)


class DiscoveryCommunity(Community):
    """Tells peers which overlays this node runs, learns which overlays they run, and pings.

    A node may use several keys. It tells, in the name of each key, the overlays that use this key.
    """

    community_id = bytes.fromhex("7e313685c1912a141279f8248fc8db5899c5df5a")

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        #: The mid in the introduction request that is being handled, if it asks for a certain peer.
        self._introduce_to: bytes | None = None
        self._similarity_responses = TokenBuckets(SIMILARITY_RESPONSES_PER_SECOND, SIMILARITY_RESPONSES_AT_ONCE)
        self.add_message_handler(SimilarityRequestPayload, self.on_similarity_request)
        self.add_message_handler(SimilarityResponsePayload, self.on_similarity_response)
        self.add_message_handler(PingPayload, self.on_ping)
        self.add_message_handler(PongPayload, self.on_pong)

    def get_available_strategies(self) -> dict[str, type[DiscoveryStrategy[Any]]]:
        """The strategies that a configuration may name for this overlay."""
        return {"PeriodicSimilarity": PeriodicSimilarity, "RandomChurn": RandomChurn}

    # -- introductions -----------------------------------------------------------------------------------------------

    @raising
    def on_old_introduction_request(self, source_address: Address, data: bytes) -> Refusal | None:
        """Message 246, in its present form or in the form of 2014, which may ask for a certain peer."""
        signer = try_verify(self, source_address, data)
        if isinstance(signer, Refusal):
            return signer
        key, start, end = signer
        mark = data[start + _GLOBAL_TIME_SIZE:start + _GLOBAL_TIME_SIZE + 1]
        legacy = mark == LEGACY_MARK and end - start >= _LEGACY_SIZE
        payload_class = DiscoveryIntroductionRequestPayload if legacy else IntroductionRequestPayload
        decoded = try_decode(self, (GlobalTimeDistributionPayload, payload_class), data[:end], start)
        if isinstance(decoded, Refusal):
            return decoded
        dist, payload = decoded
        peer = recognise(self, key, source_address, data[KEY_OFFSET:start])
        if payload.supports_new_style and not legacy:
            peer.new_style_intro = True
        self._introduce_to = payload.introduce_to if legacy else None
        try:
            self.on_introduction_request(peer, dist, payload)
        finally:
            self._introduce_to = None
        return None

    def get_peer_for_introduction(self, exclude: Peer | None = None, new_style: bool = False) -> Peer | None:
        """The peer that was asked for, if it is a verified one, else a random peer."""
        if self._introduce_to is not None:
            for peer in self.network.verified_peers:
                if (peer.mid == self._introduce_to and peer != exclude
                        and (new_style or isinstance(peer.address, UDPv4Address))):
                    return peer
        return super().get_peer_for_introduction(exclude=exclude, new_style=new_style)

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - a hook
                                       payload: Any) -> None:  # noqa: ARG002 - a hook
        """Ask a peer that answered an introduction request which overlays it runs."""
        self.send_similarity_request(peer.address)

    # -- similarity --------------------------------------------------------------------------------------------------

    def _my_peers(self) -> list[Peer]:
        """The identities that this node uses for its overlays."""
        return list(dict.fromkeys(overlay.my_peer for overlay in self.network.service_overlays.values()))

    def get_my_overlays(self, peer: Peer) -> list[bytes]:
        """The ids of our overlays that use the key of ``peer``."""
        return [service for service, overlay in self.network.service_overlays.items() if overlay.my_peer == peer]

    def custom_pack(self, peer: Peer, msg_num: int, payloads: Sequence[Payload]) -> bytes:
        """A packet that ``peer``, one of our identities, signs; ``payloads`` include its author."""
        packet = b"".join((self._prefix, bytes((msg_num,)), self.serializer.pack_serializable_list(payloads)))
        return packet + cast("PrivateKey", peer.key).signature(packet)

    def _pack_as(self, peer: Peer, payload: SimilarityRequestPayload | SimilarityResponsePayload) -> bytes:
        author = BinMemberAuthenticationPayload(peer.public_key.key_to_bin())
        global_time = GlobalTimeDistributionPayload(self.claim_global_time())
        return self.custom_pack(peer, payload.msg_id, (author, global_time, payload))

    def create_similarity_request(self, peer: Peer) -> bytes:
        """A request that tells which overlays use the key of ``peer``, one of our identities, and asks for the same."""
        return self._pack_as(peer, SimilarityRequestPayload(
            entropy.randbits(16), ipv4_or_none(self.my_estimated_lan), ipv4_or_none(self.my_estimated_wan), "unknown",
            self.get_my_overlays(peer)[:MAX_LISTED_SERVICES]))

    def create_similarity_response(self, identifier: int, peer: Peer) -> bytes:
        """A response that tells which overlays use the key of ``peer``, one of our identities."""
        return self._pack_as(peer, SimilarityResponsePayload(
            identifier, self.get_my_overlays(peer)[:MAX_LISTED_SERVICES], ()))

    def send_similarity_request(self, address: Address) -> None:
        """Ask which overlays are run at ``address``, once in the name of each of our identities."""
        for my_peer in self._my_peers():
            self.endpoint.send(address, self.create_similarity_request(my_peer))

    @lazy_wrapper(GlobalTimeDistributionPayload, SimilarityRequestPayload)
    def on_similarity_request(self, node: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - in the message
                              payload: SimilarityRequestPayload) -> None:
        """Learn the overlays of ``node``, whether or not it is a verified peer, and tell ours."""
        self.network.discover_services(node, payload.preference_list[:MAX_LEARNED_SERVICES])
        for my_peer in self._my_peers():
            if not (node.proven or self._similarity_responses.take(node.address[0])):
                self.drops.count(DropCounter.RATE_LIMITED)
                return
            self.endpoint.send(node.address, self.create_similarity_response(payload.identifier, my_peer))

    @lazy_wrapper(GlobalTimeDistributionPayload, SimilarityResponsePayload)
    def on_similarity_response(self, node: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - in the message
                               payload: SimilarityResponsePayload) -> None:
        """Learn the overlays of ``node``, which becomes a verified peer if there is room for it."""
        known = self.network.get_verified_by_public_key_bin(node.public_key.key_to_bin())
        if known is None:
            if 0 <= self.max_peers < len(self.get_peers()):
                return
            self.network.add_verified_peer(node)
        self.network.discover_services(node, payload.preference_list[:MAX_LEARNED_SERVICES])

    # -- pings -------------------------------------------------------------------------------------------------------

    def create_ping(self, identifier: int) -> bytes:
        """An unsigned ping."""
        return self._pack_timed(PingPayload(identifier), self.claim_global_time(), sig=False)

    def create_pong(self, identifier: int) -> bytes:
        """The unsigned answer to the ping with this identifier."""
        return self._pack_timed(PongPayload(identifier), self.claim_global_time(), sig=False)

    def send_ping(self, peer: Peer) -> None:
        """Ask ``peer`` whether it is there; its answer updates ``last_response`` and ``pings`` of the peer."""
        identifier = RandomNumberCache.find_unclaimed_identifier(self.request_cache, PingRequestCache.name)
        cache = PingRequestCache(self.request_cache, identifier, peer, clock.time())
        if self.request_cache.add(cache) is not None:
            self.endpoint.send(cache.address, self.create_ping(identifier))

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, PingPayload)
    def on_ping(self, source_address: Address, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - in the message
                payload: PingPayload) -> None:
        """Answer, with a packet that is not larger than the ping."""
        self.endpoint.send(source_address, self.create_pong(payload.identifier))

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, PongPayload)
    def on_pong(self, source_address: Address, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - in the message
                payload: PongPayload) -> None:
        """Accept the answer to a ping, from the address that the ping was sent to."""
        cache = self.request_cache.get(PingRequestCache, payload.identifier)
        if cache is None or cache.address != source_address:
            self.drops.count(DropCounter.UNSOLICITED)
            return
        self.request_cache.pop(PingRequestCache, payload.identifier)
        cache.finish()
        self.network.mark_proven(cache.peer)


if TYPE_CHECKING:  # programs import these from here
    from ..keyvault.crypto import default_eccrypto as default_eccrypto
    from ..lazy_community import PacketDecodingError as PacketDecodingError, retrieve_cache as retrieve_cache
    from ..messaging.payload import (
        IntroductionResponsePayload as IntroductionResponsePayload,
        NewIntroductionResponsePayload as NewIntroductionResponsePayload,
    )
    from ..messaging.serialization import PackError as PackError, Serializable as Serializable
    from ..peer import Peer as Peer
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..keyvault.crypto": "default_eccrypto",
        "..lazy_community": "PacketDecodingError retrieve_cache",
        "..messaging.payload": "IntroductionResponsePayload NewIntroductionResponsePayload",
        "..messaging.serialization": "PackError Serializable",
        "..peer": "Peer",
    })
