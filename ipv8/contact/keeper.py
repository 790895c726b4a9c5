"""Keeps the ways to the peers of a node open, notices which peers are gone, and says goodbye when the node stops.

There is one keeper for each pair of an endpoint and a network, whatever overlays use them. It has a listener for a
prefix of its own and one timer; :mod:`ipv8.contact.liveness` decides. The bytes and rules are in
doc/protocol/liveness.md.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from .. import clock
from ..keyvault.crypto import default_eccrypto
from ..lazy_community import try_decode
from ..limits import TokenBuckets
from ..message_table import MessageTable
from ..messaging.inet import HOST_BITS, network_of
from ..messaging.interfaces.endpoint import Endpoint, EndpointListener
from ..messaging.interfaces.network_stats import DropCounter
from ..messaging.payload_headers import BinMemberAuthenticationPayload
from ..messaging.payload_liveness import GoodbyePayload, LivenessPingPayload, LivenessPongPayload
from ..messaging.readers import Refusal
from ..messaging.serialization import default_serializer
from ..peerdiscovery.network import PeerObserver
from ..verification import HEADER_SIZE, SignatureGuard, try_verify
from .liveness import Departures, Liveness, Lost, Probe, ProbeKind

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..messaging.serialization import Payload
    from ..overlay import Overlay
    from ..peer import Peer
    from ..peerdiscovery.network import Network
    from ..taskmanager import Timer

__all__ = ["LIVENESS_PREFIX", "KeptOverlay", "PeerKeeper"]

LIVENESS_PREFIX = b"\x00\x02" + bytes.fromhex("a2367e5408cd58810b188144c09c3f8acdfe5854")
"""The 22 bytes in front of these messages: those of version 2, and the SHA-1 of ``IPv8 liveness of peers``."""

ANSWERS_PER_SECOND, ANSWERS_AT_ONCE = 2.0, 10.0
"""Pongs to one host. Only peers are answered at all."""

MAX_GOODBYES = 512
"""Peers that are told when the node stops; those heard of last come first."""


class KeptOverlay(Protocol):
    """What the keeper needs of an overlay."""

    community_id: bytes
    my_peer: Peer

    def send_introduction_request(self, peer: Peer) -> None:
        """Send a request to ``peer`` that any node of the overlay answers."""

    def start_timer(self, delay: float, callback: Any, *args: Any) -> Timer:
        """Call ``callback(*args)`` after ``delay`` seconds, unless the overlay is unloaded before."""


class _Keepers:
    """The keepers of an endpoint, by network."""

    def __init__(self) -> None:
        self.by_network: dict[Network, PeerKeeper] = {}

    def release(self) -> None:
        """Nothing is to be given up when the endpoint closes."""


class PeerKeeper(EndpointListener, PeerObserver):
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
        keepers = endpoint.gate.shared(_Keepers).by_network
        keeper = keepers.get(network)
        if keeper is None:
            keeper = keepers[network] = cls(endpoint, network)
        return keeper

    def __init__(self, endpoint: Endpoint, network: Network) -> None:
        super().__init__(endpoint)
        self.network = network
        self.logger = logging.getLogger(type(self).__name__)
        self.drops: DropCounter = DropCounter()
        self.crypto = default_eccrypto
        self.serializer = default_serializer
        self.signature_guard = SignatureGuard.of(endpoint)
        self._overlays: list[KeptOverlay] = []
        self._liveness = Liveness(lambda peer: peer.silent_since, self._needs)
        self._departures = Departures()
        self._answers = TokenBuckets(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE)
        self._timer: Timer | None = None
        #: When the timer is due; ``None`` without one.
        self._due: float | None = None
        self._table = MessageTable(self)
        self._table.add(LivenessPingPayload, self._on_ping)
        self._table.add(LivenessPongPayload, self._on_pong)
        self._table.add(GoodbyePayload, self._on_goodbye)

    def __len__(self) -> int:
        """The number of overlays that have joined."""
        return len(self._overlays)

    # Overlays

    def join(self, overlay: KeptOverlay) -> None:
        """Look after the peers of ``overlay`` too."""
        if not self._overlays:
            self.endpoint.add_prefix_listener(self, LIVENESS_PREFIX)
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
            self.endpoint.remove_listener(self)
            self.network.remove_peer_observer(self)
            self._liveness.clear()
            self.endpoint.gate.shared(_Keepers).by_network.pop(self.network, None)

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
                    self._send_probe(action)
        self._set_timer()

    def _send_probe(self, probe: Probe) -> None:
        if probe.kind is ProbeKind.PING:
            self.endpoint.send(probe.address, self._pack(LivenessPingPayload(probe.nonce)))
            return
        services = self.network.get_services_for_peer(probe.peer)
        shared = [overlay for overlay in self._overlays if overlay.community_id in services]
        small = next((overlay for overlay in shared if hasattr(overlay, "send_ping")), None)
        if small is not None and not probe.is_last:
            cast("Any", small).send_ping(probe.peer)
        elif shared:
            shared[0].send_introduction_request(probe.peer)

    # Messages

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Handle a message of the keeper's prefix."""
        self._table.receive(*packet)

    def register_anonymous_task(self, basename: str, user_task: Any, *args: Any, **kwargs: Any) -> Any:
        """Not used: no handler is asynchronous."""
        raise NotImplementedError

    def _pack(self, *payloads: Payload) -> bytes:
        return LIVENESS_PREFIX + bytes((payloads[-1].msg_id,)) + default_serializer.pack_serializable_list(payloads)

    def _decode(self, payload_class: type[Payload], data: bytes, start: int = HEADER_SIZE) -> Any:
        """The payload, or a ``Refusal``."""
        decoded = try_decode(cast("Overlay[Any]", self), (payload_class,), data, start)
        return decoded if isinstance(decoded, Refusal) else decoded[0]

    def _on_ping(self, source_address: Address, data: bytes) -> Refusal | None:
        """Answer a peer."""
        payload = self._decode(LivenessPingPayload, data)
        if isinstance(payload, Refusal):
            return payload
        peer = self.network.get_verified_by_address(source_address)
        if peer is None:
            self.drops.count(DropCounter.UNSOLICITED)
        elif not self._answers.take(network_of(source_address[0], *HOST_BITS)):
            self.drops.count(DropCounter.RATE_LIMITED)
        else:
            self._liveness.pinged_by(peer)
            self.endpoint.send(source_address, self._pack(LivenessPongPayload(payload.nonce)))
        return None

    def _on_pong(self, source_address: Address, data: bytes) -> Refusal | None:
        """Note the answer of a peer."""
        payload = self._decode(LivenessPongPayload, data)
        if isinstance(payload, Refusal):
            return payload
        peer = self._liveness.answered(payload.nonce, source_address)
        if peer is None:
            self.drops.count(DropCounter.UNSOLICITED)
            return None
        peer.heard_now()
        self.network.mark_proven(peer)
        return None

    def _on_goodbye(self, source_address: Address, data: bytes) -> Refusal | None:
        """Remove a peer that says that it leaves."""
        signer = try_verify(cast("Overlay[Any]", self), source_address, data, _is_for_us)
        if isinstance(signer, Refusal):
            return signer
        key, start, end = signer
        payload = self._decode(GoodbyePayload, data[:end], start)
        if isinstance(payload, Refusal):
            return payload
        peer = self.network.get_verified_by_public_key_bin(key.key_to_bin())
        if not self._departures.accept(key.key_to_hash(), payload.time, clock.time()):
            self.drops.count(DropCounter.REPLAYED)
        elif peer is not None:
            self.logger.debug("%s says goodbye", peer)
            self.network.remove_peer(peer)
        return None

    def knows(self, mid: bytes) -> bool:
        """Whether one of the keys of this node has this SHA-1."""
        return any(overlay.my_peer.mid == mid for overlay in self._overlays)

    def _say_goodbye(self, overlay: KeptOverlay) -> None:
        """Tell the peers of all overlays with the key of ``overlay`` that its node stops."""
        if not self.endpoint.is_open():
            return
        own = {other.community_id for other in self._overlays if other.my_peer == overlay.my_peer}
        peers = [peer for peer in self.network.verified_peers
                 if peer.proven and not own.isdisjoint(self.network.get_services_for_peer(peer))]
        peers.sort(key=lambda peer: peer.last_heard, reverse=True)
        author = BinMemberAuthenticationPayload(overlay.my_peer.public_key.key_to_bin())
        key: Any = overlay.my_peer.key
        now = int(clock.time() * 1000)
        for peer in peers[:MAX_GOODBYES]:
            packet = self._pack(author, GoodbyePayload(peer.mid, now))
            self.endpoint.send(peer.address, packet + key.signature(packet))


def _is_for_us(keeper: Any, _: Address, data: bytes, key_bin: bytes, start: int) -> bool:
    """Whether a goodbye names a peer and a key of this node; others are not worth a verification."""
    admitted: bool = (keeper.network.get_verified_by_public_key_bin(key_bin) is not None
                      and keeper.knows(data[start:start + 20]))
    if not admitted:
        keeper.drops.count(DropCounter.UNSOLICITED)
    return admitted
