from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipv8.dht.introduction_point import PEER_SOURCE_PEX, IntroductionPoint
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.pex import (
    LEARNT_LIFETIME,
    MAX_KEYS_TOLD,
    MAX_KEYS_TOLD_UNPROVEN,
    MAX_LEARNT,
    MAX_LEARNT_PER_HOST,
    SERVICE_KEY_SIZE,
    PexCommunity,
    PexSettings,
    community_id_for,
)
from ipv8.messaging.interfaces.routes import Route
from ipv8.messaging.payload import NewIntroductionRequestPayload
from ipv8.peer import Peer
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tunnels.json").read_text())
INFO_HASH = b"i" * 20


def service_key() -> bytes:
    return default_eccrypto.generate_key("curve25519").pub().key_to_bin()


KEYS = [service_key() for _ in range(30)]


@pytest.mark.parametrize("vector", VECTORS["pex"])
def test_community_ids(vector: dict[str, str]) -> None:
    assert community_id_for(bytes.fromhex(vector["info_hash"])).hex() == vector["community_id"]


@pytest.mark.parametrize("info_hash", [b"\xff" * 20, b"", b"i" * 19, b"i" * 21])
def test_other_info_hashes_have_no_overlay(info_hash: bytes) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        community_id_for(info_hash)


class TestPex(TestBase[PexCommunity]):
    def setUp(self) -> None:
        super().setUp()
        self.initialize(PexCommunity, 2, PexSettings(info_hash=INFO_HASH))

    def create_node(self, *args: Any, **kwargs: Any) -> MockIPv8:
        return MockIPv8("curve25519", PexCommunity, PexSettings(info_hash=INFO_HASH))

    def learnt(self, i: int) -> set[tuple[Any, bytes]]:
        return {(point.peer.address, point.seeder_pk) for point in self.overlay(i).intro_points}

    async def test_prefix(self) -> None:
        for vector in VECTORS["pex"]:
            info_hash = bytes.fromhex(vector["info_hash"])
            node = MockIPv8("curve25519", PexCommunity, PexSettings(info_hash=info_hash))
            self.nodes.append(node)
            assert node.overlay.get_prefix().hex() == vector["prefix"]

    async def test_keys_are_packed_as_others_do(self) -> None:
        vector = VECTORS["pex_extra_bytes"]
        assert self.overlay(0).get_seeder_pks().hex() == vector["empty"]
        for key in vector["seeder_pks"]:
            self.overlay(0).start_announce(bytes.fromhex(key))
        assert self.overlay(0).get_seeder_pks().hex() == vector["packed"]
        self.overlay(1).process_extra_bytes(self.peer(0), bytes.fromhex(vector["packed"]))
        assert [point.seeder_pk.hex() for point in self.overlay(1).intro_points] == vector["seeder_pks"]

    async def test_introduction_points_tell_each_other(self) -> None:
        for i in (0, 1):
            self.overlay(i).start_announce(KEYS[i])
            self.overlay(i).start_announce(KEYS[i])
        await self.introduce_nodes()
        assert self.learnt(0) == {(self.address(1), KEYS[1])}
        assert self.learnt(1) == {(self.address(0), KEYS[0])}
        points = self.overlay(0).get_intro_points()
        assert {(point.peer, point.seeder_pk, point.source) for point in points} == {
            (self.my_peer(1), KEYS[1], PEER_SOURCE_PEX), (self.my_peer(0), KEYS[0], PEER_SOURCE_PEX)}
        assert points[-1].peer.address == self.overlay(0).my_estimated_wan

    async def test_what_is_withdrawn_is_told_no_more(self) -> None:
        overlay = self.overlay(0)
        overlay.start_announce(KEYS[0])
        assert not overlay.done
        overlay.stop_announce(KEYS[0])
        overlay.stop_announce(KEYS[0])
        assert overlay.done
        assert overlay.get_intro_points() == []

    async def test_old_introduction_points_are_forgotten(self) -> None:
        manual = self.use_clock()
        self.overlay(0).process_extra_bytes(self.peer(1), self.packed(KEYS[:2]))
        for step in (86400.0, -2 * 86400.0):
            manual.step_wall(step)
            assert len(self.overlay(0).get_intro_points()) == 2
        manual.advance(LEARNT_LIFETIME + 1)
        assert self.overlay(0).get_intro_points() == []

    def packed(self, keys: list[bytes]) -> bytes:
        return self.overlay(0).serializer.pack("varlenH-list", keys)

    async def test_at_most_ten_keys_are_told_and_read(self) -> None:
        for key in KEYS:
            self.overlay(0).start_announce(key)
        keys, _ = self.overlay(0).serializer.unpack("varlenH-list", self.overlay(0).get_seeder_pks())
        assert len(set(keys)) == MAX_KEYS_TOLD
        assert set(keys) <= set(KEYS)

    async def test_answers_to_forged_sources_are_small(self) -> None:
        for key in KEYS:
            self.overlay(0).start_announce(key)
        sent: list[bytes] = []
        self.endpoint(0).send = lambda _, packet: sent.append(packet)
        for new_style in (False, True):
            request = self.overlay(1).create_introduction_request(UDPv4Address("1.2.3.4", 5), new_style=new_style)
            self.endpoint(0).gate.receive((UDPv4Address("66.1.1.1", 7), request), Route.SOCKET)
            await self.deliver_messages()
            assert len(sent[-1]) <= 3 * len(request)
        self.network(0).add_verified_peer(known := Peer(self.public_key(1), self.address(1)))
        self.network(0).mark_proven(known)
        self.endpoint(0).gate.receive((self.address(1), request), Route.SOCKET)
        await self.deliver_messages()
        _, forged, proven = sent
        assert len(proven) - len(forged) == (MAX_KEYS_TOLD - MAX_KEYS_TOLD_UNPROVEN) * (2 + SERVICE_KEY_SIZE)

    async def test_one_host_cannot_push_others_out(self) -> None:
        overlay = self.overlay(0)
        honest = [Peer(KEYS[number], (f"1.2.3.{number}", 4)) for number in range(MAX_LEARNT - MAX_LEARNT_PER_HOST)]
        for number, peer in enumerate(honest):
            overlay.process_extra_bytes(peer, self.packed([KEYS[number]]))
        for port in range(1, 50):
            liar = Peer(service_key(), ("6.6.6.6", port))
            overlay.process_extra_bytes(liar, self.packed([service_key() for _ in range(MAX_KEYS_TOLD)]))
        assert len(overlay.intro_points) == MAX_LEARNT
        for number, peer in enumerate(honest):
            assert IntroductionPoint(peer, KEYS[number]) in overlay.intro_points

    async def test_bad_extra_bytes_are_ignored(self) -> None:
        whole = self.packed(KEYS[:1])
        for extra in (b"", *(whole[:length] for length in range(len(whole))), self.packed([b"", b"x" * 74]),
                      self.packed([default_eccrypto.generate_key("very-low").pub().key_to_bin()])):
            self.overlay(0).process_extra_bytes(self.peer(1), extra)
        assert not self.overlay(0).intro_points

    async def test_a_request_in_the_name_of_somebody_else_is_not_believed(self) -> None:
        manual_peer = Peer(self.private_key(1).pub(), ("6.6.6.6", 6))
        self.overlay(1).start_announce(KEYS[1])
        packet = self.overlay(1).create_introduction_request(self.address(0), new_style=True)
        assert packet[22] == NewIntroductionRequestPayload.msg_id
        self.endpoint(0).notify_listeners((manual_peer.address, packet))
        assert self.learnt(0) == set()

    async def test_pings_are_introduction_requests(self) -> None:
        self.overlay(0).start_announce(KEYS[0])
        self.overlay(1).start_announce(KEYS[1])
        self.overlay(0).send_ping(self.peer(1))
        await self.deliver_messages()
        assert self.learnt(0) == {(self.address(1), KEYS[1])}
