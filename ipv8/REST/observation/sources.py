"""Where the events of a node come from: its peers, overlays and sessions (doc/rest_api.md, section Live events)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...peerdiscovery.network import Network, PeerObserver
from ...sessions import SessionObserver, SessionService

if TYPE_CHECKING:
    from ...events import EventBus
    from ...messaging.address import Address
    from ...peer import Peer
    from ...sessions import Session

__all__ = ["EventSources", "describe_address"]


def describe_address(address: Any) -> dict[str, Any] | None:
    """An address as it is in events; ``None`` if it has no host and port."""
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    return {"ip": str(address[0]), "port": address[1]}


class EventSources:
    """Tells a bus what happens in a node, and gives the bus to the overlays of the node.

    :param node: a node, with ``overlays``, ``network`` and ``endpoint``.
    """

    def __init__(self, node: Any, bus: EventBus) -> None:
        self._node = node
        self._bus = bus
        self._overlays: list[Any] = []
        self._peers = _Peers(bus)
        self._sessions = _Sessions(bus)
        self._service: SessionService | None = None

    def start(self) -> None:
        """Begin. The overlays that the node has already are not told of."""
        self._peers.follow(getattr(self._node, "network", None))
        self._overlays = self._current()
        for overlay in self._overlays:
            self._connect(overlay)
        self._follow_sessions()

    def tick(self) -> None:
        """Find what was added to the node or removed from it; called once a second."""
        current = self._current()
        for overlay in self._overlays:
            if not any(overlay is other for other in current):
                self._disconnect(overlay)
                self._publish("overlay.unloaded", overlay)
        for overlay in current:
            if not any(overlay is other for other in self._overlays):
                self._connect(overlay)
                self._publish("overlay.loaded", overlay)
        self._overlays = current
        self._follow_sessions()

    def stop(self) -> None:
        """End. Nothing stays on the node."""
        self._peers.follow(None)
        for overlay in self._overlays:
            self._disconnect(overlay)
        self._overlays = []
        self._leave_sessions()

    def _current(self) -> list[Any]:
        return list(getattr(self._node, "overlays", ()))

    def _connect(self, overlay: Any) -> None:
        if hasattr(overlay, "event_bus") and overlay.event_bus is None:
            overlay.event_bus = self._bus

    def _disconnect(self, overlay: Any) -> None:
        if getattr(overlay, "event_bus", None) is self._bus:
            del overlay.event_bus

    def _publish(self, topic: str, overlay: Any) -> None:
        community_id: bytes = getattr(overlay, "community_id", b"")
        self._bus.publish(topic, {"id": community_id.hex(), "name": type(overlay).__name__})

    def _follow_sessions(self) -> None:
        service = SessionService.find(getattr(self._node, "endpoint", None))  # type: ignore[arg-type]  # it is checked
        if service is not self._service:
            self._leave_sessions()
            self._service = service
            if service is not None:
                service.add_observer(self._sessions)

    def _leave_sessions(self) -> None:
        if self._service is not None:
            self._service.remove_observer(self._sessions)
            self._service = None


class _Peers(PeerObserver):
    """Tells of peers that come and go."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._network: Network | None = None

    def follow(self, network: Any) -> None:
        """Observe another network, or none."""
        if self._network is not None:
            self._network.remove_peer_observer(self)
        self._network = network if isinstance(network, Network) else None
        if self._network is not None:
            self._network.add_peer_observer(self)

    def on_peer_added(self, peer: Peer) -> None:
        """Tell of a peer when its services are known too, which are noted right after it."""
        _soon(self._tell, "peer.added", peer)

    def on_peer_removed(self, peer: Peer) -> None:
        """Tell that a peer is gone."""
        _soon(self._tell, "peer.removed", peer)

    def _tell(self, topic: str, peer: Peer) -> None:
        network = self._network
        if network is None:
            return

        def data() -> dict[str, Any]:
            services = network.get_services_for_peer(peer)
            return {"mid": peer.mid.hex(), "public_key": peer.public_key.key_to_bin().hex(),
                    "address": describe_address(peer.address), "services": sorted(map(bytes.hex, services))}

        self._bus.publish(topic, data)


def _soon(method: Any, *arguments: Any) -> None:
    """Call a method after what runs now; at once where no event loop runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        method(*arguments)
    else:
        loop.call_soon(method, *arguments)


class _Sessions(SessionObserver):
    """Tells of sessions that open and close."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    def on_opened(self, peer: Peer, session: Session) -> None:
        """A session is ready."""
        self._tell("session.opened", peer, session.address)

    def on_closed(self, peer: Peer, reason: str) -> None:
        """A session has ended."""
        self._tell("session.closed", peer, peer.address, reason=reason)

    def _tell(self, topic: str, peer: Peer, address: Address, **more: str) -> None:
        self._bus.publish(topic, lambda: {"mid": peer.mid.hex(), "address": describe_address(address), **more})
