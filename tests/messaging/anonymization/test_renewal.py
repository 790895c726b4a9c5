"""Hybrid keys between the nodes of circuits."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.keyvault import ml_kem
from ipv8.messaging.anonymization import hybrid
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.hybrid import OFFER, REPLY
from ipv8.messaging.anonymization.renewal import MAX_OFFERS_SENT, REPEAT_SECONDS, KeyOfferCache
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.test.messaging.anonymization.base import TestTunnelBase

pytestmark = pytest.mark.skipif(not ml_kem.is_available(), reason="cryptography has no ML-KEM-768")


class TestRenewal(TestTunnelBase[TunnelCommunity]):
    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, 4)

    async def circuit(self, hops: int) -> Any:
        self.make_exit(3)
        await self.introduce_nodes()
        return await self.build(0, hops)

    def hop_keys(self, circuit: Any) -> list[tuple[Any, Any]]:
        """The keys of each hop, at the origin and at the hop."""
        found = []
        for hop in circuit.hops:
            node = next(node.overlay for node in self.nodes if node.overlay.my_peer == hop.peer)
            ends = [*node.exit_sockets.values(), *node.relay_from_to.values()]
            found.append((hop.keys, ends[0].hop.keys))
        return found

    async def test_each_hop_gets_them_and_all_goes_on(self) -> None:
        for hops in (1, 2, 3):
            circuit = await self.circuit(hops)
            await self.deliver_messages()
            assert [hop.is_hybrid for hop in circuit.hops] == [True] * hops
            for ours, theirs in self.hop_keys(circuit):
                for name in ("key_forward", "key_backward", "salt_forward", "salt_backward"):
                    assert getattr(ours, name) == getattr(theirs, name)
            result = await self.overlay(0).send_test_request(circuit, 10, 20)
            assert result is not None
            assert [node.overlay.drops[DropCounter.NOT_AUTHENTIC] for node in self.nodes] == [0] * 4
            for node in self.nodes:
                node.overlay.crypto_endpoint.circuits.clear()
                node.overlay.exit_sockets.clear()
                node.overlay.relay_from_to.clear()

    async def test_a_node_that_does_not_want_them(self) -> None:
        self.settings(3).hybrid_keys = False
        circuit = await self.circuit(2)
        await self.deliver_messages()
        assert [hop.is_hybrid for hop in circuit.hops] == [True, False]
        self.overlay(3).on_hop_message(next(iter(self.overlay(3).exit_sockets)), None, bytes((OFFER,)) + bytes(700))
        assert self.overlay(3).drops[DropCounter.NOT_ADMITTED] == 1

    async def test_offers_are_repeated_and_given_up(self) -> None:
        sent: list[bytes] = []
        self.overlay(0).crypto_endpoint.send_to_hop = lambda _, number, message: sent.append(message)  # type: ignore[attr-defined]
        circuit = await self.circuit(1)
        messages = 2
        with self.overlay(0).request_cache.passthrough(KeyOfferCache, timeout=0.01):
            await self.deliver_messages()
        assert len(sent) <= messages * MAX_OFFERS_SENT
        assert len({bytes(message) for message in sent}) == messages
        assert not circuit.hops[0].is_hybrid
        result = await self.overlay(0).send_test_request(circuit, 10, 20)
        assert result is not None
        assert REPEAT_SECONDS * MAX_OFFERS_SENT < 10

    async def test_a_repeated_offer_gets_the_same_reply(self) -> None:
        circuit = await self.circuit(1)
        joiner = self.overlay(3)
        circuit_id = next(iter(joiner.exit_sockets))
        replies: list[bytes] = []
        joiner.crypto_endpoint.send_cell = lambda _, cell: replies.append(cell.message)  # type: ignore[method-assign,assignment]
        offer = hybrid.Offer(circuit.hops[0].keys)
        joiner.renewal.forget(circuit_id)
        for message in offer.messages * 3:
            joiner.on_hop_message(circuit_id, None, message)
        assert len(replies) == 6
        assert len(set(replies)) == 2
        for message in hybrid.Offer(circuit.hops[0].keys).messages:
            joiner.on_hop_message(circuit_id, None, message)
        assert len(replies) == 6, "one offer for each circuit"

    async def test_messages_that_nobody_asked_for(self) -> None:
        circuit = await self.circuit(1)
        origin, joiner = self.overlay(0), self.overlay(3)
        circuit_id = circuit.circuit_id
        before = dict(origin.drops)
        reply = hybrid._split(REPLY, bytes(8), bytes(ml_kem.CIPHERTEXT_SIZE))
        for message in reply:
            origin.on_hop_message(circuit_id, 0, message)
            origin.on_hop_message(circuit_id, 5, message)
            origin.on_hop_message(77, 0, message)
        assert origin.drops[DropCounter.UNSOLICITED] - before.get(DropCounter.UNSOLICITED, 0) == 6
        for message in (b"\xa4", b"\xff" * 700, bytes((REPLY,)) + bytes(600)):
            joiner.on_hop_message(next(iter(joiner.exit_sockets)), None, message)
        for message in hybrid.Offer(circuit.hops[0].keys).messages:
            joiner.on_hop_message(77, None, message)
        assert joiner.drops[DropCounter.UNDECODABLE] >= 2
        assert joiner.drops[DropCounter.UNKNOWN_CIRCUIT] == 2
