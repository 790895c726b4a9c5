"""The recorded building of a circuit, as each of our nodes would have taken part in it."""

from __future__ import annotations

from struct import unpack_from
from typing import Any

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.handshake import open_candidates
from ipv8.messaging.anonymization.payload import CreatedPayload, ExtendedPayload, ExtendPayload, PingPayload
from ipv8.messaging.anonymization.tunnel import CIRCUIT_STATE_READY, Circuit
from ipv8.peer import Peer
from ipv8.test.messaging.anonymization.base import TestTunnelBase
from ipv8.test.mocking.ipv8 import MockIPv8

from .helpers import VECTORS, private_key

TRANSCRIPT = VECTORS["transcript_2hop"]
PACKETS = [(entry["from"], entry["to"], bytes.fromhex(entry["packet"])) for entry in TRANSCRIPT["packets"]
           if "packet" in entry]
MESSAGES = [(entry["handled_by"], entry["msg_id"], bytes.fromhex(entry["message"])) for entry in TRANSCRIPT["packets"]
            if "message" in entry]
EPHEMERALS = [bytes.fromhex(entry["private_bin"]) for entry in TRANSCRIPT["ephemerals_in_order_of_generation"]]
IDENTIFIER = 0x4242
LINK, NEXT_LINK = (unpack_from(">I", PACKETS[index][2], 23)[0] for index in (0, 3))


def message(handled_by: str, msg_id: int) -> bytes:
    """The message that a node handled, from its circuit id on."""
    return next(found for node, number, found in MESSAGES if (node, number) == (handled_by, msg_id))[23:]


class TestTranscript(TestTunnelBase[Any]):
    """Node 0 has the role of the test; it talks to the test, which has the address of node 1."""

    def setUp(self) -> None:
        super().setUp()
        self.sent: list[tuple[Any, bytes]] = []

    def start(self, name: str, *ephemerals: int) -> TunnelCommunity:
        """A node with the identity of the transcript that generates the keys of the transcript."""
        self.overlay_class = TunnelCommunity
        settings = TunnelCommunity.settings_class(remove_tunnel_delay=0, single_pass=False, hybrid_keys=False,
                                                  pad_control=False)
        node = MockIPv8("curve25519", TunnelCommunity, settings)
        node.overlay.cancel_all_pending_tasks()
        node.overlay.my_peer = Peer(private_key(name), node.endpoint.wan_address)
        node.overlay.crypto.initialize(private_key(name))
        made = iter([default_eccrypto.key_from_private_bin(EPHEMERALS[index]) for index in ephemerals])
        node.overlay.crypto.generate_key = lambda _: next(made)
        self.nodes.append(node)
        self.other = MockIPv8("curve25519", TunnelCommunity).endpoint
        node.endpoint.send = lambda address, packet: self.sent.append((address, packet))
        community: TunnelCommunity = node.overlay
        return community

    def deliver(self, community: TunnelCommunity, packet: bytes) -> None:
        community.crypto_endpoint.on_packet((self.other.wan_address, packet))  # type: ignore[attr-defined]

    async def test_the_origin(self) -> None:
        origin = self.start("A", 0, 2)
        circuit = Circuit(LINK, 2)
        origin.circuits[LINK] = circuit
        origin.send_initial_create(circuit, [Peer(private_key("B").pub(), self.other.wan_address)], 1)
        cache: Any = origin.request_cache.get("retry", LINK)
        sent = self.sent.pop()[1]
        assert (sent[:30], sent[32:]) == (PACKETS[0][2][:30], PACKETS[0][2][32:])

        cache.packet_identifier = IDENTIFIER
        self.deliver(origin, PACKETS[1][2])
        assert [hop.public_key_bin for hop in circuit.hops] == [private_key("B").pub().key_to_bin()]
        hop = circuit.unverified_hop
        assert hop is not None
        extend, _ = origin.serializer.unpack_serializable(ExtendPayload, message("relay", 4))
        assert (hop.public_key_bin, hop.dh_first_part) == (extend.node_public_key, extend.key)
        assert len(self.sent.pop()[1]) == len(PACKETS[2][2])

        cache = origin.request_cache.get("retry", LINK)
        cache.packet_identifier = IDENTIFIER
        self.deliver(origin, PACKETS[5][2])
        assert circuit.state == CIRCUIT_STATE_READY
        for added, keys in zip(circuit.hops, TRANSCRIPT["hop_keys_with_final_counters"], strict=True):
            for name in ("key_forward", "key_backward", "salt_forward", "salt_backward"):
                assert getattr(added.keys, name).hex() == keys[name]
        del self.nodes[0].endpoint.send

    async def test_the_relay(self) -> None:
        relay = self.start("B", 1)
        relay.network.add_verified_peer(Peer(private_key("C").pub(), self.other.wan_address))
        self.deliver(relay, PACKETS[0][2])
        await self.deliver_messages()
        created, _ = relay.serializer.unpack_serializable(CreatedPayload, message("initiator", 3))
        answered, _ = relay.serializer.unpack_serializable(CreatedPayload, self.answer())
        assert (answered.key, answered.auth, answered.identifier) == (created.key, created.auth, created.identifier)

        self.deliver(relay, PACKETS[2][2])
        await self.deliver_messages()
        sent = self.sent.pop()[1]
        recorded = PACKETS[3][2]
        assert (sent[27:30], sent[32:34], sent[-34:]) == (recorded[27:30], recorded[32:34], recorded[-34:])
        (to_circuit_id, number), = relay.extensions.pending.items()
        second = PACKETS[4][2]
        self.deliver(relay, second[:23] + to_circuit_id.to_bytes(4, "big") + second[27:30]
                     + number.to_bytes(2, "big") + second[32:])
        assert set(relay.relay_from_to) == {LINK, to_circuit_id}
        assert len(self.sent.pop()[1]) == len(PACKETS[5][2])

        for index in (6, 10):
            self.deliver(relay, PACKETS[index][2])
            await self.deliver_messages()
            passed_on = self.sent.pop()[1]
            assert (passed_on[23:27], passed_on[27:]) == (to_circuit_id.to_bytes(4, "big"), PACKETS[index + 1][2][27:])
        del self.nodes[0].endpoint.send

    async def test_the_exit(self) -> None:
        last = self.start("C", 3)
        self.deliver(last, PACKETS[3][2])
        await self.deliver_messages()
        created, _ = last.serializer.unpack_serializable(CreatedPayload, message("relay", 3))
        extended, _ = last.serializer.unpack_serializable(ExtendedPayload, message("initiator", 5))
        answered, _ = last.serializer.unpack_serializable(CreatedPayload, self.answer())
        assert (answered.key, answered.auth) == (created.key, created.auth) == (extended.key, extended.auth)
        exit_socket = last.exit_sockets[NEXT_LINK]
        assert open_candidates(exit_socket.hop.keys, answered.candidates_enc) == ([], b"")  # type: ignore[arg-type]

        seen: list[Any] = []
        for msg_id in (1, 6, 19):
            last.decode_map_private[msg_id] = lambda _, data, circuit_id: seen.append((data, circuit_id))
        for index in (7, 11, 15):
            self.deliver(last, PACKETS[index][2])
            await self.deliver_messages()
        assert seen == [(found, NEXT_LINK) for node, number, found in MESSAGES if node == "exit" and number != 2]
        assert len(last.serializer.pack_serializable(PingPayload(1, 2))) == 6
        del self.nodes[0].endpoint.send

    def answer(self) -> bytes:
        """The created message that was sent last, from its circuit id on."""
        packet = self.sent.pop()[1]
        return packet[23:27] + packet[30:]
