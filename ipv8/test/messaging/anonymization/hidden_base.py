"""A test case with short names for the parts of hidden services (doc/testing.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....messaging.anonymization.hidden_services import HiddenTunnelCommunity, HiddenTunnelSettings
from ....messaging.anonymization.tunnel import PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST
from ....messaging.interfaces.routes import Route
from ....peer import Peer
from ...mocking.ipv8 import MockIPv8
from . import mock
from .base import TestTunnelBase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ....messaging.address import Address
    from ....messaging.anonymization.tunnel import Circuit

__all__ = ["INFO_HASH", "TestHiddenServicesBase"]

INFO_HASH = b"info hash of a swarm"
"""The swarm of the helpers."""


class TestHiddenServicesBase(TestTunnelBase[HiddenTunnelCommunity]):
    """A test case whose nodes run a :class:`HiddenTunnelCommunity` and share a :class:`MockDHTProvider`.

    All periodic tasks are cancelled, so that the test calls what they would. ``i`` is the number of a node.
    """

    async def tearDown(self) -> None:  # type: ignore[override]  # as in the base
        """Forget what was announced."""
        mock.global_dht_services.clear()
        await super().tearDown()

    def make_nodes(self, count: int, relays: Collection[int] | None = None, **settings: Any) -> None:
        """Make nodes that know each other.

        :param relays: the nodes that carry the circuits of others; by default all.
        :param settings: of all nodes.
        """
        self.overlay_class = HiddenTunnelCommunity
        self._settings = settings
        self.initialize(HiddenTunnelCommunity, count)
        for i in range(count):
            if relays is not None and i not in relays:
                self.overlay(i).settings.peer_flags = {PEER_FLAG_SPEED_TEST}

    def create_node(self, *_: Any, **__: Any) -> MockIPv8:
        """A node whose periodic tasks do not run."""
        settings = HiddenTunnelSettings(peer_flags={PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST}, min_circuits=0,
                                        max_circuits=0, remove_tunnel_delay=0, **self._settings)
        node = MockIPv8("curve25519", HiddenTunnelCommunity, settings)
        overlay = node.overlay
        overlay.ipv8 = node
        overlay.crypto_endpoint.setup_tunnels(overlay, settings)
        overlay.cancel_all_pending_tasks()
        overlay.dht_provider = mock.MockDHTProvider(Peer(overlay.my_peer.key, node.endpoint.wan_address))
        return node

    def peer_of(self, i: int) -> Peer:
        """Node ``i`` as others see it."""
        return Peer(self.public_key(i), self.address(i))

    def service_key(self) -> bytes:
        """The public key of a service that nobody has."""
        return self.overlay(0).crypto.generate_key("curve25519").pub().key_to_bin()

    async def create_intro(self, i: int, callback: Callable[..., Any] | None = None,
                           required_ip: Peer | None = None) -> bytes:
        """Let node ``i`` be a service with an introduction point, and return its public key."""
        overlay = self.overlay(i)
        overlay.join_swarm(INFO_HASH, 1, callback, seeding=True)
        await overlay.create_introduction_point(INFO_HASH, required_ip)
        await self.deliver_messages(1.0)
        self.mock_all_exits()
        key: Any = overlay.swarms[INFO_HASH].seeder_sk
        public: bytes = key.pub().key_to_bin()
        return public

    async def make_data_circuit(self, i: int, exit_node: int = 1) -> Circuit:
        """A circuit with one hop from node ``i``."""
        circuit = await self.build(i, 1, required_exit=self.peer_of(exit_node))
        self.mock_all_exits()
        return circuit

    def mock_all_exits(self) -> None:
        """Let the exits of all nodes send to other nodes of the test."""
        for i in range(len(self.nodes)):
            self.mock_exits(i)

    # Messages of others

    def by_socket(self, i: int, payload: Any, source: Address = ("6.6.6.6", 6)) -> None:
        """Let node ``i`` get an unsigned message by its socket."""
        overlay = self.overlay(i)
        overlay.endpoint.gate.receive((source, overlay.ezr_pack(payload.msg_id, payload, sig=False)), Route.SOCKET)

    def from_circuit(self, i: int, circuit_id: int, payload: Any, source: Address = ("6.6.6.6", 6)) -> None:
        """Let node ``i`` get a message in a cell, past the encryption."""
        overlay = self.overlay(i)
        overlay.on_packet_from_circuit(source, overlay.ezr_pack(payload.msg_id, payload, sig=False), circuit_id)

    def inside(self, i: int, circuit: Circuit, payload: Any, source: Address = ("6.6.6.6", 6)) -> None:
        """Let node ``i`` get a message as the data of a circuit of its own, past the encryption."""
        from ....messaging.address import TunnelledAddress

        self.from_circuit(i, circuit.circuit_id, payload, TunnelledAddress(*source))
