"""A discovery strategy that lets a test decide when peers meet (doc/testing.md)."""

from __future__ import annotations

from typing import Any

from ...peerdiscovery.discovery import DiscoveryStrategy

__all__ = ["MockWalk"]


class MockWalk(DiscoveryStrategy[Any]):
    """Sends an introduction request to every verified peer in each step."""

    def take_step(self) -> None:
        """Walk to all verified peers."""
        with self.walk_lock:
            for peer in tuple(self.overlay.network.verified_peers):
                self.overlay.walk_to(peer.address)
