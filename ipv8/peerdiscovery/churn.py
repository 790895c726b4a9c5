"""Finding out which peers have gone (doc/protocol/discovery.md section 9)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .. import clock, entropy
from ..limits import BoundedDict
from ..peer import PING_SAMPLES
from ..reexports import reexports
from .discovery import DiscoveryStrategy

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..peer import Peer
    from .network import Network

__all__ = ["DiscoveryStrategy", "PingingOverlay", "RandomChurn"]

#: Addresses of which it is remembered when they were pinged; the one pinged the longest ago is evicted first.
MAX_PINGED = 5000


class AskingOverlay(Protocol):
    """What churn needs of an overlay."""

    network: Network

    def get_peers(self) -> list[Peer]:
        """The verified peers of this overlay."""

    def send_introduction_request(self, peer: Peer) -> None:
        """Send a message to ``peer`` that any node of the overlay answers."""


@runtime_checkable
class PingingOverlay(Protocol):
    """An overlay that has a smaller message for that."""

    def send_ping(self, peer: Peer) -> None:
        """Ask ``peer`` for an answer that shows that it is there."""


class RandomChurn(DiscoveryStrategy[Any]):
    """Pings random peers of the whole network that were silent for a while, and removes those that do not answer.

    A peer is removed only if it was pinged since it was last heard of. A peer that was never heard of directly counts
    as heard of when its object was made.

    :param overlay: any overlay. If it has no ``send_ping``, peers are sent introduction requests.
    :param sample_size: peers to look at in each step.
    :param ping_interval: seconds between two pings to a peer, at least.
    :param inactive_time: seconds of silence after which a peer is pinged.
    :param drop_time: seconds of silence after which a peer that was pinged is removed.
    """

    def __init__(self, overlay: AskingOverlay | PingingOverlay, sample_size: int = 8, ping_interval: float = 10.0,
                 inactive_time: float = 27.5, drop_time: float = 57.5) -> None:
        super().__init__(overlay)
        self.sample_size = sample_size
        self.ping_interval = ping_interval
        self.inactive_time = inactive_time
        self.drop_time = drop_time
        self._pinged: BoundedDict[Address, float] = BoundedDict(MAX_PINGED)
        kind = type(self)
        self._judges_by_time = (kind.should_drop is RandomChurn.should_drop
                                and kind.is_inactive is RandomChurn.is_inactive)

    def should_drop(self, peer: Peer) -> bool:
        """Whether ``peer`` has been silent for longer than the drop time."""
        return clock.monotonic() > peer.silent_since + self.drop_time

    def is_inactive(self, peer: Peer) -> bool:
        """Whether ``peer`` has been silent for longer than the inactive time."""
        return clock.monotonic() > peer.silent_since + self.inactive_time

    def take_step(self) -> None:
        """Look at some random peers."""
        with self.walk_lock:
            peers = list(self.overlay.network.verified_peers)
            # Most peers need nothing; this finds out without calling a method for each.
            heard_since = clock.monotonic() - min(self.inactive_time, self.drop_time) if self._judges_by_time else inf
            for peer in entropy.sample(peers, min(self.sample_size, len(peers))):
                if peer.silent_since < heard_since or len(peer.pings) < PING_SAMPLES:
                    self._check(peer)

    def _check(self, peer: Peer) -> None:
        address = peer.address
        pinged = self._pinged.get(address)
        if pinged is not None and pinged > peer.last_heard and self.should_drop(peer):
            self.overlay.network.remove_peer(peer)
            del self._pinged[address]
        elif len(peer.pings) < PING_SAMPLES or self.is_inactive(peer):
            now = clock.monotonic()
            if pinged is None or pinged + self.ping_interval < now:
                self._pinged[address] = now
                if isinstance(self.overlay, PingingOverlay):
                    self.overlay.send_ping(peer)
                else:
                    self.overlay.send_introduction_request(peer)


if TYPE_CHECKING:  # programs import these from here
    from ..overlay import Overlay as Overlay
else:
    __getattr__, __dir__ = reexports(__name__, {"..overlay": "Overlay"})
