"""Tunnels report which nodes relayed for this one, and leave out untrusted nodes (doc/trust.md section 8)."""

from __future__ import annotations

from typing import Any

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.path import ENOUGH_TRUSTED, by_trust
from ipv8.messaging.anonymization.tunnel import PEER_FLAG_EXIT_BT, PEER_FLAG_RELAY, Circuit, Hop
from ipv8.peer import Peer
from ipv8.reputation import RELAY
from ipv8.test.messaging.anonymization.base import TestTunnelBase

EXIT, PLAIN = [PEER_FLAG_RELAY, PEER_FLAG_EXIT_BT], [PEER_FLAG_RELAY]


class Trust:
    """Scores by key; a score below 0 stands for a fraud."""

    def __init__(self, scores: dict[bytes, float]) -> None:
        self.scores = scores

    def score(self, key: bytes) -> float:
        return self.scores.get(key, 0.0)

    def is_fraud(self, key: bytes) -> bool:
        return self.scores.get(key, 0.0) < 0


def nodes(relays: int, exits: int) -> dict[Peer, list[int]]:
    made = {}
    for number in range(relays + exits):
        key = default_eccrypto.generate_key("curve25519").pub()
        made[Peer(key, UDPv4Address(f"{number + 1}.1.1.1", 1))] = EXIT if number >= relays else PLAIN
    return made


def test_frauds_are_left_out() -> None:
    known = nodes(3, 3)
    fraud, *others = known
    assert list(by_trust(known, Trust({fraud.key_bin: -1.0}))) == others


def test_trusted_nodes_only_where_there_are_many() -> None:
    known = nodes(ENOUGH_TRUSTED, 6)
    trusted = list(known)[3:]
    scores = {peer.key_bin: 1.0 for peer in trusted}
    assert list(by_trust(known, Trust(scores))) == trusted
    for peer in trusted[ENOUGH_TRUSTED - 1:]:
        del scores[peer.key_bin]
    assert list(by_trust(known, Trust(scores))) == list(known)


def test_trusted_nodes_without_exits_are_not_enough() -> None:
    known = nodes(ENOUGH_TRUSTED + 2, 4)
    scores = {peer.key_bin: 1.0 for peer, flags in known.items() if flags == PLAIN}
    assert list(by_trust(known, Trust(scores))) == list(known)


class TestReports(TestTunnelBase[TunnelCommunity]):
    """What a community does with both."""

    async def test_hops_of_a_circuit_are_reported(self) -> None:
        self.initialize(TunnelCommunity, 1)
        overlay: Any = self.overlay(0)
        told: list[tuple[bytes, str, float]] = []
        overlay.contribution_reporter = type("Reporter", (), {"contributed": lambda _, *report: told.append(report)})()
        hops = list(nodes(1, 1))
        for circuit_id, received in ((1, 5000), (2, 0)):
            overlay.circuits[circuit_id] = circuit = Circuit(circuit_id, 2)
            for peer in hops:
                circuit.add_hop(Hop(peer))
            circuit.bytes_down = received
            await overlay.remove_circuit(circuit_id, remove_now=True)
        assert told == [(peer.key_bin, RELAY, 5000) for peer in hops]

    async def test_trust_decides_only_if_it_is_preferred(self) -> None:
        self.initialize(TunnelCommunity, 1)
        overlay: Any = self.overlay(0)
        overlay.candidates = nodes(0, 2)
        fraud, other = overlay.candidates
        overlay.trust = Trust({fraud.key_bin: -1.0})
        assert list(overlay.compatible_candidates()) == [fraud, other]
        overlay.prefer_trusted = True
        assert {overlay.select_exit().key_bin for _ in range(20)} == {other.key_bin}
