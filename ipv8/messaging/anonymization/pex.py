"""One small overlay for each swarm, in which its introduction points tell each other of services.

See doc/protocol/hidden_services.md section 7.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from ... import clock, entropy
from ...community import Community, CommunitySettings
from ...dht.introduction_point import PEER_SOURCE_PEX, IntroductionPoint
from ...keyvault.crypto import default_eccrypto
from ...peer import Peer
from ..inet import HOST_BITS, network_of
from ..serialization import PackError

if TYPE_CHECKING:
    from ...contact.protocol import IntroductionRequest, IntroductionResponse
    from ..address import Address
    from ..payload_headers import GlobalTimeDistributionPayload

__all__ = ["PEX_VERSION", "PexCommunity", "PexSettings", "community_id_for"]

PEX_VERSION = 1
"""What is added to an info hash to get the community id."""

MAX_KEYS_TOLD = 10
"""Keys of services in one message, chosen at random; further ones of others are not read."""

MAX_KEYS_TOLD_UNPROVEN = 4
"""The same in a message to an address that is not proven. With them, an introduction response has at most three times
the bytes of the request."""

MAX_LEARNT = 20
"""Introduction points of others that are kept; the one heard of the longest ago is evicted first."""

MAX_LEARNT_PER_HOST = 5
"""Introduction points of one host that are kept, likewise."""

LEARNT_LIFETIME = 300
"""Seconds for which they are kept."""

SERVICE_KEY_SIZE = 74
"""Bytes of the public key of a service."""


def community_id_for(info_hash: bytes) -> bytes:
    """The community id of the overlay for a swarm.

    :raises ValueError: if the info hash has not 20 bytes, or all of them are ff: then there is no such overlay.
    """
    number = int.from_bytes(info_hash, "big") + PEX_VERSION
    if len(info_hash) != 20 or number >> 160:
        raise ValueError(f"an info hash has 20 bytes that are not all ff, unlike {info_hash.hex()}")
    return number.to_bytes(20, "big")


def is_service_key(key: bytes) -> bool:
    """Whether ``key`` can be the public key of a service."""
    if len(key) != SERVICE_KEY_SIZE:
        return False
    try:
        return default_eccrypto.key_from_network(key).curve_name() == "curve25519"
    except ValueError:
        return False


class PexSettings(CommunitySettings):
    """The settings of the overlay.

    :param info_hash: 20 bytes.
    """

    info_hash: bytes


class PexCommunity(Community):
    """The overlay of the introduction points of one swarm.

    Introduction requests and responses carry the keys of services that the sender introduces. They are believed if the
    sender has proven that it is at its address.

    :raises ValueError: if the info hash has no overlay, see :func:`community_id_for`.
    """

    settings_class = PexSettings
    relayable = False

    def __init__(self, settings: PexSettings) -> None:
        self.community_id = community_id_for(settings.info_hash)
        super().__init__(settings)
        #: Introduction points of others, the last one heard of first.
        self.intro_points: deque[IntroductionPoint] = deque(maxlen=MAX_LEARNT)
        #: The keys of the services that this node introduces.
        self.intro_points_for: list[bytes] = []

    # What this node introduces

    def start_announce(self, seeder_pk: bytes) -> None:
        """Tell others that this node introduces the service with this key."""
        if seeder_pk not in self.intro_points_for:
            self.intro_points_for.append(seeder_pk)

    def stop_announce(self, seeder_pk: bytes) -> None:
        """Tell others of the service no more; an unknown one is ignored."""
        if seeder_pk in self.intro_points_for:
            self.intro_points_for.remove(seeder_pk)

    @property
    def done(self) -> bool:
        """Whether this node introduces no service of the swarm."""
        return not self.intro_points_for

    def get_seeder_pks(self, most: int = MAX_KEYS_TOLD) -> bytes:
        """The keys of some services that this node introduces, as they are sent."""
        count = min(most, len(self.intro_points_for))
        return self.serializer.pack("varlenH-list", entropy.sample(self.intro_points_for, count))

    # What others introduce

    def get_intro_points(self) -> list[IntroductionPoint]:
        """The introduction points that were heard of lately, and those of this node."""
        horizon = clock.monotonic() - LEARNT_LIFETIME
        while self.intro_points and self.intro_points[-1].seen_at < horizon:
            self.intro_points.pop()
        me = Peer(self.my_peer.public_key, self.my_estimated_wan)
        return [*self.intro_points, *(IntroductionPoint(me, key, PEER_SOURCE_PEX) for key in self.intro_points_for)]

    def process_extra_bytes(self, peer: Peer, extra_bytes: bytes) -> None:
        """Keep the introduction points that the extra bytes of a message of ``peer`` name."""
        if not extra_bytes:
            return
        try:
            keys, _ = self.serializer.unpack("varlenH-list", extra_bytes)
        except (PackError, ValueError, struct.error):
            return
        for key in keys[:MAX_KEYS_TOLD]:
            if is_service_key(key):
                self._learn(IntroductionPoint(peer, key, PEER_SOURCE_PEX))

    def _learn(self, intro_point: IntroductionPoint) -> None:
        if intro_point in self.intro_points:
            self.intro_points.remove(intro_point)
        host = network_of(intro_point.peer.address[0], *HOST_BITS)
        same_host = [known for known in self.intro_points
                     if network_of(known.peer.address[0], *HOST_BITS) == host]
        if len(same_host) >= MAX_LEARNT_PER_HOST:
            self.intro_points.remove(same_host[-1])
        self.intro_points.appendleft(intro_point)

    # Messages

    def _keys_for(self, address: Address) -> bytes:
        known = self.network.get_verified_by_address(address)
        return self.get_seeder_pks(MAX_KEYS_TOLD if known is not None and known.proven else MAX_KEYS_TOLD_UNPROVEN)

    def create_introduction_request(self, socket_address: Address, extra_bytes: bytes = b"",  # noqa: ARG002 - replaced
                                    new_style: bool = False, prefix: bytes | None = None) -> bytes:  # noqa: ARG002
        """An introduction request with the keys of services in place of ``extra_bytes``."""
        return super().create_introduction_request(socket_address, self._keys_for(socket_address), new_style)

    def create_introduction_response(self, lan_socket_address: Address, socket_address: Address, identifier: int,
                                     introduction: Peer | None = None, extra_bytes: bytes = b"",  # noqa: ARG002
                                     prefix: bytes | None = None, new_style: bool = False) -> bytes:  # noqa: ARG002
        """An introduction response with the keys of services in place of ``extra_bytes``."""
        return super().create_introduction_response(lan_socket_address, socket_address, identifier, introduction,
                                                    self._keys_for(socket_address), new_style=new_style)

    def introduction_request_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - as in the base
                                      payload: IntroductionRequest) -> None:
        """Learn introduction points from a peer that is known to be at its address."""
        known = self.network.get_verified_by_public_key_bin(peer.key_bin)
        if known is not None and known.proven and known.address == peer.address:
            self.process_extra_bytes(known, payload.extra_bytes)

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,  # noqa: ARG002 - as above
                                       payload: IntroductionResponse) -> None:
        """Learn introduction points from a peer that has answered."""
        self.process_extra_bytes(peer, payload.extra_bytes)

    def send_ping(self, peer: Peer) -> None:
        """Ask ``peer`` for an introduction; strategies that look for peers which have gone call this."""
        self.send_introduction_request(peer)


