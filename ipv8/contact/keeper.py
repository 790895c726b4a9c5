"""Keeps the ways to the peers of a node open, notices which peers are gone, and says goodbye when the node stops.

There is one keeper for each pair of an endpoint and a network, whatever overlays use them. It has one timer;
:mod:`ipv8.contact.liveness` decides. :mod:`ipv8.contact.liveness_messages` receives for all keepers of an endpoint. The
bytes and rules are in doc/protocol/liveness.md.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from .. import clock
from ..keyvault.crypto import default_eccrypto
from ..messaging.interfaces.endpoint import Endpoint
from ..messaging.payload_headers import BinMemberAuthenticationPayload
from ..messaging.payload_liveness import GoodbyePayload, LivenessPingPayload
from ..peerdiscovery.network import PeerObserver
from ..verification import SignatureGuard
from .liveness import KEEP_ALIVE_INTERVAL, Liveness, Lost, Probe, ProbeKind
from .liveness_messages import Keepers, pack

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..peer import Peer
    from ..peerdiscovery.network import Network
    from ..taskmanager import Timer

__all__ = ["KeptOverlay", "PeerKeeper"]

MAX_GOODBYES = 512
"""Peers that are told when the node stops: proven ones first, and those heard of last."""

MAX_GOODBYE_TO_NEWCOMER = 200
"""Bytes of a goodbye to a peer that has not proved to be where it seems to be. It has 191 with a curve25519 key; with
larger keys it would be, together with the answer to the peer's request, more than three times as large as that."""


class KeptOverlay(Protocol):
    """What the keeper needs of an overlay."""

    community_id: bytes
    my_peer: Peer

    def send_introduction_request(self, peer: Peer) -> None:
        """Send a request to ``peer`` that any node of the overlay answers."""

    def start_timer(self, delay: float, callback: Any, *args: Any) -> Timer:
        """Call ``callback(*args)`` after ``delay`` seconds, unless the overlay is unloaded before."""


class PeerKeeper(PeerObserver):
    """Looks after the peers that the overlays of one endpoint and one network have.

    An overlay enters with :meth:`join` and leaves with :meth:`leave`. While there is none, nothing is registered
    anywhere.
    """

    #: That goodbyes are signed.
    signed_messages = frozenset({GoodbyePayload.msg_id})

    @classmethod
    def of(cls, endpoint: Endpoint, network: Network) -> PeerKeeper | None:
        """The keeper for ``endpoint`` and ``network``; ``None`` if ways are not kept open there."""
        if not isinstance(endpoint, Endpoint) or not endpoint.keeps_ways_open:
            return None
        keepers = endpoint.gate.shared(Keepers).by_network
        keeper = keepers.get(network)
        if keeper is None:
            keeper = keepers[network] = cls(endpoint, network)
        return keeper

    def __init__(self, endpoint: Endpoint, network: Network) -> None:
        self.endpoint = endpoint
        self.network = network
        self.logger = logging.getLogger(type(self).__name__)
        self.crypto = default_eccrypto
        self.signature_guard = SignatureGuard.of(endpoint)
        self._overlays: list[KeptOverlay] = []
        self._liveness = Liveness(lambda peer: peer.silent_since, self._needs)
        self._timer: Timer | None = None
        #: When the timer is due; ``None`` without one.
        self._due: float | None = None

    def __len__(self) -> int:
        """The number of overlays that have joined."""
        return len(self._overlays)

    # Overlays

    def join(self, overlay: KeptOverlay) -> None:
        """Look after the peers of ``overlay`` too."""
        if not self._overlays:
            self.endpoint.gate.shared(Keepers).listen(self.endpoint)
            self.network.add_peer_observer(self)
            for peer in self.network.verified_peers:
                self._liveness.watch(peer, clock.monotonic())
        self._overlays.append(overlay)
        self._set_timer()

    def leave(self, overlay: KeptOverlay) -> None:
        """Do not look after the peers of ``overlay`` any more. The last overlay of a key says goodbye to its peers."""
        if not any(overlay is other for other in self._overlays):
            return
        if sum(other.my_peer == overlay.my_peer for other in self._overlays) == 1:
            self._say_goodbye(overlay)
        self._overlays = [other for other in self._overlays if other is not overlay]
        self._cancel_timer()  # it may be one of the overlay that leaves
        if self._overlays:
            self._set_timer()
        else:
            self.network.remove_peer_observer(self)
            self._liveness.clear()
            self.endpoint.gate.shared(Keepers).remove(self)

    def _needs(self, peer: Peer) -> bool:
        """Whether an overlay of this node has ``peer``."""
        services = self.network.get_services_for_peer(peer)
        return any(overlay.community_id in services for overlay in self._overlays)

    # Peers

    def on_peer_added(self, peer: Peer) -> None:
        """Look after a new peer."""
        self._liveness.watch(peer, clock.monotonic())
        self._set_timer()

    def on_peer_removed(self, peer: Peer) -> None:
        """Do not look after a peer that is gone."""
        self._liveness.forget(peer)

    def ask(self, peer: Peer) -> None:
        """Ask ``peer`` for a sign of life now."""
        self._send_probe(self._liveness.probe_now(peer, clock.monotonic()))
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._liveness.deadline()
        if due is None or not self._overlays:
            return
        if self._due is not None and self._due <= due:
            return
        self._cancel_timer()
        self._due = due
        self._timer = self._overlays[0].start_timer(max(0.0, due - clock.monotonic()), self._on_time)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._due = None

    def _on_time(self) -> None:
        self._timer = self._due = None
        if self.endpoint.is_open():
            for action in self._liveness.tick(clock.monotonic()):
                if isinstance(action, Lost):
                    self.logger.debug("%s does not answer, and is removed", action.peer)
                    self.network.remove_peer(action.peer)
                else:
                    self._try_to_send(action)
        self._set_timer()

    def _try_to_send(self, probe: Probe) -> None:
        """Send a probe; the method of an overlay that does so may be that of a program, whose mistake is logged."""
        try:
            self._send_probe(probe)
        except Exception:
            self.logger.exception("%s could not be asked for a sign of life", probe.peer)

    def _send_probe(self, probe: Probe) -> None:
        if probe.kind is ProbeKind.PING:
            self.endpoint.send(probe.address, pack(LivenessPingPayload(probe.nonce)))
            return
        services = self.network.get_services_for_peer(probe.peer)
        shared = [overlay for overlay in self._overlays if overlay.community_id in services]
        small = next((overlay for overlay in shared if hasattr(overlay, "send_ping")), None)
        if small is not None and not probe.is_last:
            cast("Any", small).send_ping(probe.peer)
        elif shared:
            shared[0].send_introduction_request(probe.peer)

    # Messages

    def pinged_by(self, peer: Peer) -> None:
        """Note a ping of a peer."""
        self._liveness.pinged_by(peer)

    def answered(self, nonce: int, address: Address) -> bool:
        """Note the answer of a peer; whether it was asked."""
        peer = self._liveness.answered(nonce, address)
        if peer is None:
            return False
        peer.heard_now()
        self.network.mark_proven(peer)
        return True

    def departed(self, key_bin: bytes) -> None:
        """Remove a peer that says that it leaves."""
        peer = self.network.get_verified_by_public_key_bin(key_bin)
        if peer is not None:
            self.logger.debug("%s says goodbye", peer)
            self.network.remove_peer(peer)

    def knows(self, mid: bytes) -> bool:
        """Whether one of the keys of this node has this SHA-1."""
        return any(overlay.my_peer.mid == mid for overlay in self._overlays)

    def _say_goodbye(self, overlay: KeptOverlay) -> None:
        """Tell the peers of all overlays with the key of ``overlay`` that its node stops."""
        if not self.endpoint.is_open():
            return
        own = {other.community_id for other in self._overlays if other.my_peer == overlay.my_peer}
        recent = clock.monotonic() - KEEP_ALIVE_INTERVAL  # newcomers, which were not asked yet whether they are there
        peers = [peer for peer in self.network.verified_peers
                 if (peer.proven or peer.silent_since > recent)
                 and not own.isdisjoint(self.network.get_services_for_peer(peer))]
        peers.sort(key=lambda peer: (peer.proven, peer.silent_since), reverse=True)
        author = BinMemberAuthenticationPayload(overlay.my_peer.public_key.key_to_bin())
        key: Any = overlay.my_peer.key
        signature_size = overlay.my_peer.public_key.get_signature_length()
        now = int(clock.time() * 1000)
        for peer in peers[:MAX_GOODBYES]:
            packet = pack(author, GoodbyePayload(peer.mid, now))
            if peer.proven or len(packet) + signature_size <= MAX_GOODBYE_TO_NEWCOMER:
                self.endpoint.send(peer.address, packet + key.signature(packet))
