"""An overlay that makes its own endpoint, key and network (doc/testing.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...community import CommunitySettings
from ...keyvault.crypto import default_eccrypto
from ...peer import Peer
from ...peerdiscovery.community import DiscoveryCommunity
from ...peerdiscovery.network import Network
from .endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from ...overlay import Settings

__all__ = ["DEFAULT_COMMUNITY_SETTINGS", "MockCommunity"]

DEFAULT_COMMUNITY_SETTINGS = CommunitySettings()


class MockCommunity(DiscoveryCommunity):
    """A discovery overlay with a key, a network and an open mock endpoint of its own.

    Subclasses may define another ``community_id``.

    :param settings: ignored; other overlays have this argument.
    """

    def __init__(self, settings: Settings = DEFAULT_COMMUNITY_SETTINGS) -> None:  # noqa: ARG002 - see the docstring
        endpoint = AutoMockEndpoint()
        endpoint.open()
        my_peer = Peer(default_eccrypto.generate_key("very-low"), endpoint.wan_address)
        super().__init__(self.settings_class(my_peer=my_peer, endpoint=endpoint, network=Network()))
        self._use_main_thread = False
        self.my_estimated_lan = endpoint.lan_address
        self.my_estimated_wan = endpoint.wan_address
