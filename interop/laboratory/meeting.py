"""The overlay of a pair of nodes, in the laboratory and in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipv8 import clock
from ipv8.bootstrapping.bootstrapper_interface import Bootstrapper
from ipv8.community import Community, CommunitySettings
from ipv8.contact.nat import PeerPath

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipv8.messaging.address import Address
    from ipv8.messaging.payload import (
        IntroductionRequestPayload,
        IntroductionResponsePayload,
        NewIntroductionRequestPayload,
        NewIntroductionResponsePayload,
    )
    from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload
    from ipv8.overlay import Overlay
    from ipv8.peer import Peer

__all__ = ["Acquaintance", "Meeting", "MeetingSettings", "Sight", "meeting_class"]

NOWHERE = "0.0.0.0"


class Acquaintance(Bootstrapper):
    """Starts at given addresses of nodes, which may become peers."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        super().__init__()
        self._addresses = addresses

    async def initialize(self, overlay: Overlay[Any]) -> bool:
        """Nothing has to be done."""
        self.initialized = True
        return True

    async def get_addresses(self, overlay: Overlay[Any], timeout: float) -> Iterable[Address]:
        """The given addresses."""
        return self._addresses

    def keep_alive(self, overlay: Overlay[Any]) -> None:
        """Do nothing: these nodes are asked like all peers."""

    def blacklist(self) -> Iterable[Address]:
        """Nothing: these nodes may be peers."""
        return []

    def unload(self) -> None:
        """Nothing has to be done."""


class MeetingSettings(CommunitySettings):
    """``introducers`` has the address of the node that introduces the two; it is empty for that node."""

    introducers: Sequence[Address] = ()


@dataclass
class Sight:
    """The record of a peer.

    :param known: when it became a peer, by the clock of the library.
    :param introductions: the number of introductions before that.
    :param answered: when its first answer came.
    :param path: the way by which it was reached then.
    """

    known: float
    introductions: int
    answered: float | None = None
    path: str = PeerPath.UNKNOWN


class Meeting(Community):
    """Records when and how each peer was reached for the first time."""

    settings_class = MeetingSettings
    community_id = b"meeting number     0"

    def __init__(self, settings: MeetingSettings) -> None:
        super().__init__(settings)
        self.introductions = 0
        self.sights: dict[str, Sight] = {}
        self._introducers = {address[0] for address in settings.introducers}
        if settings.introducers:
            self.bootstrappers.append(Acquaintance(settings.introducers))

    def look(self) -> dict[str, Sight]:
        """The new records since the last call, by the mid of the peer."""
        news = {}
        for peer in self.get_peers():
            mid = peer.mid.hex()
            if mid not in self.sights:
                news[mid] = self.sights[mid] = Sight(clock.monotonic(), self.introductions)
            sight = self.sights[mid]
            if sight.answered is None and peer.path != PeerPath.UNKNOWN:
                sight.answered, sight.path = clock.monotonic(), peer.path
                news[mid] = sight
        return news

    def introduction_request_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: IntroductionRequestPayload | NewIntroductionRequestPayload) -> None:
        """Look for a new peer."""
        self.look()

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                       payload: IntroductionResponsePayload | NewIntroductionResponsePayload) -> None:
        """Look for a new peer, and count introductions. Only the other node of the pair is introduced."""
        self.look()
        self.introductions += payload.wan_introduction_address[0] not in {*self._introducers, NOWHERE}


def meeting_class(number: int) -> type[Meeting]:
    """The overlay of one pair."""
    return type("Meeting", (Meeting,), {"community_id": b"meeting number %5d" % number})

