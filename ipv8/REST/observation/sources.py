"""Where the events of a node come from: its peers, overlays and sessions (doc/rest_api.md, section Live events)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...peerdiscovery.network import Network, PeerObserver
from ...sessions import SessionObserver, SessionService
from .parts import networks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        self._peers: dict[Network, _Peers] = {}
        self._sessions = _Sessions(bus)
        self._service: SessionService | None = None

    def start(self) -> None:
        """Begin. The overlays that the node has already are not told of."""
        self._follow_networks()
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
        self._follow_networks()
        self._follow_sessions()

    def stop(self) -> None:
        """End. Nothing stays on the node."""
        self._leave_networks(list(self._peers))
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

    def _follow_networks(self) -> None:
        """Tell of the peers of all networks: pseudonyms have their own."""
        networks = [network for network in networks_of(self._node) if isinstance(network, Network)]
        self._leave_networks([network for network in self._peers if network not in networks])
        for network in networks:
            if network not in self._peers:
                observer = self._peers[network] = _Peers(self._bus, network, self._peers)
                network.add_peer_observer(observer)

    def _leave_networks(self, networks: list[Network]) -> None:
        for network in networks:
            network.remove_peer_observer(self._peers.pop(network))

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
    """Tells of peers that come to a network and go, if they are in no other one.

    :param networks: all networks that are observed.
    """

    def __init__(self, bus: EventBus, network: Network, networks: Mapping[Network, Any]) -> None:
        self._bus = bus
        self._network = network
        self._networks = networks

    def on_peer_added(self, peer: Peer) -> None:
        """Tell of a peer when its services are known too, which are noted right after it."""
        _soon(self._tell, "peer.added", peer)

    def on_peer_removed(self, peer: Peer) -> None:
        """Tell that a peer is gone."""
        _soon(self._tell, "peer.removed", peer)

    def _tell(self, topic: str, peer: Peer) -> None:
        network = self._network
        if network not in self._networks or any(
                other.get_verified_by_public_key_bin(peer.key_bin) for other in self._networks if other is not network):
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
