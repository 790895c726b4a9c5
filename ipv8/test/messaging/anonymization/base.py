"""A test case whose nodes build circuits through one another (doc/testing.md)."""

from __future__ import annotations

from asyncio import wait_for
from typing import TYPE_CHECKING, Any, TypeVar

from ....messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ....messaging.anonymization.tunnel import PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_IPV8, PEER_FLAG_RELAY
from ...base import TestBase
from ...mocking.exit_socket import MockTunnelExitSocket
from ...mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ....messaging.anonymization.tunnel import Circuit
    from ....overlay import Settings

__all__ = ["TestTunnelBase"]

OT = TypeVar("OT", bound=TunnelCommunity)

BUILD_TIME = 30.0
"""Seconds that a circuit has to become ready."""


class TestTunnelBase(TestBase[OT]):
    """A test case whose nodes run a tunnel community. Nothing is built unless the test does it.

    ``i`` is the number of a node.
    """

    def create_node(self, settings: Settings | None = None, create_dht: bool = False,
                    enable_statistics: bool = False) -> MockIPv8:
        """Make a node with a key that circuits need, whose tunnels are removed without delay."""
        if self.overlay_class is None:
            raise RuntimeError("overlay_class is not set: call initialize(), or set it")
        if settings is None:
            settings = self.overlay_class.settings_class(min_circuits=0, max_circuits=0, remove_tunnel_delay=0)
        node = MockIPv8("curve25519", self.overlay_class, settings, create_dht, enable_statistics)
        node.overlay.cancel_all_pending_tasks()
        return node

    def _patch_overlay(self, overlay: Any) -> None:
        super()._patch_overlay(overlay)
        if isinstance(overlay, TunnelCommunity) and type(overlay) not in self.production_overlay_classes:
            overlay.cell_table.strict = True

    def settings(self, i: int) -> TunnelSettings:
        """The settings of node ``i``."""
        settings: TunnelSettings = self.overlay(i).settings
        return settings

    def make_exit(self, *nodes: int, flags: Iterable[int] = (PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_IPV8)) -> None:
        """Let nodes be exits. Call this before they are introduced."""
        for i in nodes:
            self.settings(i).peer_flags |= {PEER_FLAG_RELAY, *flags}

    async def build(self, i: int, hops: int, **options: Any) -> Circuit:
        """A new circuit of node ``i`` that is ready; ``options`` are those of ``create_circuit``.

        :raises AssertionError: if it cannot be built.
        """
        circuit: Circuit | None = self.overlay(i).create_circuit(hops, **options)
        assert circuit is not None, "there are too few candidates"
        ready = await wait_for(circuit.ready, BUILD_TIME)
        assert ready is circuit, f"the circuit was closed: {circuit.closing_info}"
        await self.deliver_messages()
        return circuit

    def mock_exits(self, i: int) -> None:
        """Let the exits of node ``i`` send to mock endpoints."""
        sockets = self.overlay(i).exit_sockets
        for circuit_id, exit_socket in list(sockets.items()):
            if not isinstance(exit_socket, MockTunnelExitSocket):
                sockets[circuit_id] = MockTunnelExitSocket(exit_socket)
