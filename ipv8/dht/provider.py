"""Introduction points of hidden services in the DHT, by info hash (doc/protocol/dht.md section 11)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..messaging.lazy_payload import VariablePayload, vp_compile
from ..messaging.serialization import default_serializer
from ..peer import Peer
from . import DHTError
from .introduction_point import PEER_SOURCE_DHT, IntroductionPoint

if TYPE_CHECKING:
    from ..messaging.address import Address
    from .discovery import DHTDiscoveryCommunity

__all__ = ["PEER_SOURCE_DHT", "DHTCommunityProvider", "DHTIntroPointPayload", "IntroductionPoint",
           "read_introduction_point"]

KEY_PREFIX = b"LibNaCLPK:"
"""The first bytes of serialized curve25519 keys, which payloads leave out."""


@vp_compile
class DHTIntroPointPayload(VariablePayload):
    """The address of an introduction point, and when it was seen; both keys are without their prefix, 64 bytes."""

    names = ["address", "last_seen", "intro_pk", "seeder_pk"]  # noqa: RUF012 - payload classes use plain lists
    format_list = ["ip_address", "I", "varlenH", "varlenH"]  # noqa: RUF012 - payload classes use plain lists

    address: Address
    last_seen: int
    intro_pk: bytes
    seeder_pk: bytes


def read_introduction_point(data: bytes) -> IntroductionPoint | None:
    """The introduction point that a value describes; ``None`` for other values, which anybody may store."""
    try:
        payload, _ = default_serializer.unpack_serializable(DHTIntroPointPayload, data)
        return IntroductionPoint(Peer(KEY_PREFIX + payload.intro_pk, payload.address),
                                 KEY_PREFIX + payload.seeder_pk, PEER_SOURCE_DHT, payload.last_seen)
    except Exception:  # noqa: BLE001 - values of others may be wrong in any way
        return None


class DHTCommunityProvider:
    """Finds and announces introduction points, and finds peers.

    :param port: not used.
    """

    def __init__(self, dht_community: DHTDiscoveryCommunity | None, port: int) -> None:
        self.logger = logging.getLogger(type(self).__name__)
        self.dht_community = dht_community
        self.port = port

    async def peer_lookup(self, mid: bytes, peer: Peer | None = None) -> None:
        """Find the owner of a key, if possible, and have it send a puncture to us."""
        try:
            await self._community().connect_peer(mid, peer)
        except DHTError as e:
            self.logger.debug("The peer %s was not found: %s", mid.hex(), e)

    async def lookup(self, info_hash: bytes) -> tuple[bytes, list[IntroductionPoint]] | None:
        """``info_hash`` and its introduction points; ``None`` if the DHT does not work."""
        try:
            values = await self._community().find_values(info_hash)
        except DHTError as e:
            self.logger.info("The introduction points of %s were not found: %s", info_hash.hex(), e)
            return None
        points = [read_introduction_point(data) for data, _ in values]
        return info_hash, [point for point in points if point is not None]

    async def announce(self, info_hash: bytes, intro_point: IntroductionPoint) -> None:
        """Store an introduction point, so that others find it."""
        payload = DHTIntroPointPayload(intro_point.peer.address, intro_point.last_seen,
                                       intro_point.peer.public_key.key_to_bin()[len(KEY_PREFIX):],
                                       intro_point.seeder_pk[len(KEY_PREFIX):])
        try:
            await self._community().store_value(info_hash, default_serializer.pack_serializable(payload))
        except DHTError as e:
            self.logger.info("The introduction point of %s was not announced: %s", info_hash.hex(), e)

    def _community(self) -> DHTDiscoveryCommunity:
        if self.dht_community is None:
            raise DHTError("There is no DHT: give the provider a DHTDiscoveryCommunity")
        return self.dht_community
