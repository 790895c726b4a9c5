"""A node for tests, with a mock endpoint (doc/testing.md)."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ...community import CommunitySettings
from ...keyvault.crypto import default_eccrypto
from ...messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ...peer import Peer
from ...peerdiscovery.network import Network
from ...reexports import reexports
from .discovery import MockWalk
from .endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from ...overlay import Overlay, Settings
    from ...peerdiscovery.discovery import DiscoveryStrategy

__all__ = ["MockIPv8", "MockTunnelEndpoint"]


class MockTunnelEndpoint(AutoMockEndpoint):
    """A mock endpoint in the place of one that sends through tunnels. It sends directly."""

    def set_tunnel_community(self, tunnel_community: Any, hops: int = 1) -> None:
        """Do nothing."""


class MockIPv8:
    """A node with an open mock endpoint and one overlay, and a DHT if that is wanted.

    Its parts are ``endpoint``, ``network``, ``my_peer``, ``overlay``, ``dht`` and ``discovery``, a :class:`MockWalk` of
    the overlay. ``overlays`` and ``strategies`` hold what is added later.

    :param crypto_curve_or_peer: the curve of a new key, or a peer, whose address is set to that of the endpoint.
    :param overlay_class: the class of the overlay; its ``settings_class`` makes the settings.
    :param settings: the settings to use instead of new ones; peer, endpoint and network are set in them.
    :param create_dht: make a DHT overlay, and give it to the other overlay as the setting ``dht``.
    :param enable_statistics: count what the overlay sends and receives.
    :param extra_settings: further settings of the overlay.
    """

    def __init__(self, crypto_curve_or_peer: str | Peer, overlay_class: type[Overlay[Any]],
                 settings: Settings | None = None, create_dht: bool = False, enable_statistics: bool = False,
                 **extra_settings: Any) -> None:
        endpoint = AutoMockEndpoint()
        endpoint.open()
        self.endpoint: Any = endpoint
        if enable_statistics:
            self.endpoint = StatisticsEndpoint(endpoint)
        self.network = Network()
        if isinstance(crypto_curve_or_peer, Peer):
            self.my_peer = crypto_curve_or_peer
            self.my_peer.address = endpoint.wan_address
        else:
            self.my_peer = Peer(default_eccrypto.generate_key(crypto_curve_or_peer), endpoint.wan_address)

        parts = {"my_peer": self.my_peer, "endpoint": self.endpoint, "network": self.network}
        self.dht: Any = None
        if create_dht:
            from ...dht.discovery import DHTDiscoveryCommunity
            self.dht = DHTDiscoveryCommunity(CommunitySettings(**parts))
            parts["dht"] = self.dht
        if settings is None:
            settings = overlay_class.settings_class(**parts, **extra_settings)
        else:
            for name, value in {**parts, **extra_settings}.items():
                setattr(settings, name, value)
        overlay: Any = overlay_class(settings)
        self.overlay = overlay
        for instance in (overlay, self.dht):
            if instance is not None:
                instance.my_estimated_wan = endpoint.wan_address
                instance.my_estimated_lan = endpoint.lan_address
        if enable_statistics:
            self.endpoint.enable_community_statistics(self.overlay.get_prefix(), True)

        self.discovery = MockWalk(self.overlay)
        self.overlays: list[Any] = []
        self.strategies: list[tuple[DiscoveryStrategy[Any], int]] = []

    def add_strategy(self, overlay: Any, strategy: DiscoveryStrategy[Any], target_peers: int) -> None:
        """Add ``overlay``, if it is new, and a strategy for it. Nothing calls the strategy but the test."""
        if overlay not in self.overlays:
            self.overlays.append(overlay)
        self.strategies.append((strategy, target_peers))

    def get_overlays(self, overlay_cls: type[Any]) -> Iterator[Any]:
        """The DHT and the first overlay, as far as they are instances of ``overlay_cls``."""
        return (overlay for overlay in (self.dht, self.overlay) if isinstance(overlay, overlay_cls))

    def get_overlay(self, overlay_cls: type[Any]) -> Any:
        """The first of :meth:`get_overlays`, or ``None``."""
        return next(self.get_overlays(overlay_cls), None)

    def unload_overlay(self, instance: Any) -> Awaitable[Any]:
        """Remove an added overlay and its strategies; awaiting the result unloads the overlay."""
        self.overlays = [overlay for overlay in self.overlays if overlay is not instance]
        self.strategies = [entry for entry in self.strategies if getattr(entry[0], "overlay", None) is not instance]
        unloading: Awaitable[Any] = instance.unload()
        return unloading

    async def produce_anonymized_endpoint(self) -> MockTunnelEndpoint:
        """An open endpoint for an anonymous overlay."""
        endpoint = MockTunnelEndpoint()
        endpoint.open()
        return endpoint

    async def stop(self) -> None:
        """Close the endpoint and unload the overlay and the DHT."""
        closing = self.endpoint.close()
        try:
            if isawaitable(closing):  # a test may have replaced the endpoint
                await closing
            await self.overlay.unload()
        finally:
            if self.dht is not None:
                await self.dht.unload()

    async def unload(self) -> None:
        """The same as :meth:`stop`."""
        await self.stop()


if TYPE_CHECKING:  # programs import these from here
    from ...dht.discovery import DHTDiscoveryCommunity as DHTDiscoveryCommunity
    from ...util import maybe_coroutine as maybe_coroutine
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...dht.discovery": "DHTDiscoveryCommunity",
        "...util": "maybe_coroutine",
    })
