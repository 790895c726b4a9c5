"""Hidden services that carry the messages of overlays."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ipv8.asking import request
from ipv8.community import Community, CommunitySettings
from ipv8.declaration import message
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import HiddenAddress, UDPv4Address
from ipv8.messaging.anonymization.endpoint import TunnelEndpoint
from ipv8.messaging.anonymization.hidden_hosting import info_hash_of_service
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
)
from ipv8.messaging.inet import ipv6_to_bytes, is_orchid, overlay_host
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.routes import Route
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.messaging.anonymization.hidden_base import TestHiddenServicesBase
from ipv8.test.mocking.endpoint import AutoMockEndpoint

PATIENCE = 50
"""Seconds after which a test gives up."""

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hidden_services.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["services"])
def test_vectors(vector: dict[str, Any]) -> None:
    """What others derive from the key of a service, with nothing but the standard library."""
    community_id, key = bytes.fromhex(vector["community_id"]), bytes.fromhex(vector["service_key"])
    expected = sha256(b"ipv8 hidden service" + community_id + key).digest()[:20]
    assert info_hash_of_service(community_id, key) == expected == bytes.fromhex(vector["info_hash"])
    assert [overlay_host(default_eccrypto.key_from_public_bin(key).key_to_hash()), 2] == vector["address"]


class Echo(Community):
    """Answers questions, and remembers what it was told."""

    community_id = b"echo of hidden tests"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.told: list[tuple[Any, bytes]] = []
        self.routes: list[Route] = []

    @message(1)
    def tell(self, peer: Peer, text: bytes) -> None:
        self.told.append((peer.address, text))
        self.routes.append(self.endpoint.gate.route)

    @request(2, answer=3)
    def double(self, peer: Peer, number: int) -> int:
        return 2 * number


class Other(Echo):
    community_id = b"other than echo....."


class TestHiddenHosting(TestHiddenServicesBase):
    """Node 0 is a client and node 3 a service. Nodes 1 and 2 carry their circuits."""

    def overlay(self, i: int) -> Any:
        """The overlay of a node, whose methods tests replace."""
        return super().overlay(i)

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.echoes: list[Echo] = []
        self.make_nodes(4, relays=(1, 2))
        await self.introduce_nodes()
        for i in (0, 3):
            peers = self.overlay(i).candidates
            for peer in peers:
                if peer.public_key.key_to_bin() in (self.key_bin(1), self.key_bin(2)):
                    peers[peer] = [1, 2]

    async def tearDown(self) -> None:  # type: ignore[override]  # as in the base
        for echo in self.echoes:
            await echo.unload()
        await super().tearDown()

    def add_echo(self, i: int, cls: type[Echo] = Echo, endpoint: Any = None, **settings: Any) -> Echo:
        key = default_eccrypto.generate_key("curve25519")
        echo = cls(CommunitySettings(my_peer=Peer(key), endpoint=endpoint or self.endpoint(i), network=Network(),
                                     **settings))
        echo.cancel_all_pending_tasks()
        self.echoes.append(echo)
        return echo

    async def connect(self, **settings: Any) -> tuple[Echo, Echo, Peer]:
        service, client = self.add_echo(3, **settings), self.add_echo(0)
        mocking = asyncio.ensure_future(self.keep_mocking())
        try:
            await service.serve_hidden(hops=1, introduction_points=1, timeout=PATIENCE)
            peer = await client.connect_hidden(service.my_peer.public_key, hops=1, timeout=PATIENCE)
        finally:
            mocking.cancel()
        return service, client, peer

    async def keep_mocking(self) -> None:
        """Exits are made by the circuits that are built meanwhile."""
        while True:
            self.mock_all_exits()
            await asyncio.sleep(0)

    async def test_messages_go_both_ways(self) -> None:
        service, client, peer = await self.connect()
        assert peer == service.my_peer
        assert type(peer.address) is HiddenAddress
        assert is_orchid(ipv6_to_bytes(peer.address[0]))
        client.tell.send(peer, b"hello")
        await self.deliver_messages(1.0)
        (address, text), = service.told
        assert (text, service.routes) == (b"hello", [Route.CIRCUIT])
        assert type(address) is HiddenAddress
        assert address != peer.address
        assert await client.ask(peer, client.double, 21) == 42
        service.tell.send(address, b"back")
        await self.deliver_messages(1.0)
        assert client.told == [(peer.address, b"back")]

    async def test_answers_go_by_the_connection_although_the_other_end_is_a_known_peer(self) -> None:
        """Otherwise a service that shows its key elsewhere, too, would be told where its clients are."""
        service, client, peer = await self.connect()
        client.tell.send(peer, b"hello")
        await self.deliver_messages(1.0)
        (hidden_client, _), = service.told
        for proven in (False, True):
            known = Peer(service.my_peer.public_key, self.address(3))
            known.proven = proven
            client.network.add_verified_peer(known)
            client.network.discover_services(known, [client.community_id])
            sent = self.note_sent(0)
            assert await service.ask(Peer(client.my_peer.public_key, hidden_client), service.double, 4) == 8
            service.tell.send(hidden_client, b"back")
            await self.deliver_messages(1.0)
            assert client.told[-1] == (peer.address, b"back")
            assert not [packet for packet in sent if packet.startswith(client.get_prefix())]
            assert HiddenAddress not in known.addresses
            client.network.remove_peer(known)

    async def test_what_comes_by_a_circuit_that_is_being_closed_makes_no_connection(self) -> None:
        service, client, peer = await self.connect()
        client.tell.send(peer, b"hello")
        await self.deliver_messages(1.0)
        circuit, = self.overlay(3).find_circuits(CIRCUIT_TYPE_RP_SEEDER)
        self.settings(3).remove_tunnel_delay = 60
        removal = self.overlay(3).remove_circuit(circuit.circuit_id)
        await asyncio.sleep(0)
        client.tell.send(peer, b"too late")
        await self.deliver_messages(1.0)
        assert circuit.bytes_down
        assert [text for _, text in service.told] == [b"hello"]
        assert not self.overlay(3).hosting._by_circuit
        removal.cancel()

    def note_sent(self, i: int) -> list[bytes]:
        """What the socket of a node sends from now on."""
        sent: list[bytes] = []
        endpoint = self.endpoint(i)
        send = type(endpoint).send

        def note(address: Any, packet: bytes) -> None:
            if type(address) is not HiddenAddress:
                sent.append(packet)
            send(endpoint, address, packet)

        endpoint.send = note
        return sent

    async def test_a_connection_is_made_once(self) -> None:
        service, client, peer = await self.connect()
        assert (await client.connect_hidden(service.my_peer.public_key.key_to_bin(), hops=1)).address == peer.address
        assert len(self.overlay(0).find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER, None)) == 1

    async def test_introductions_do_not_go_through(self) -> None:
        service, client, peer = await self.connect()
        client.walk_to(peer.address)
        circuit, = self.overlay(0).find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        packet = client.create_introduction_request(peer.address, new_style=True)
        zero = ("0.0.0.0", 0)
        self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, zero, zero, packet)
        await self.deliver_messages(1.0)
        assert client.endpoint.drops[DropCounter.SEND_NO_ROUTE] == 1
        assert self.overlay(3).drops[DropCounter.WRONG_ROUTE] == 1
        assert not service.get_peers()

    async def test_packets_of_other_overlays_do_not_go_through(self) -> None:
        service, _, peer = await self.connect()
        other, foreign = self.add_echo(3, Other), self.add_echo(0, Other)
        foreign.tell.send(peer, b"hello")
        await self.deliver_messages(1.0)
        assert other.told == service.told == []
        assert self.overlay(3).drops[DropCounter.WRONG_ROUTE] == 1

    async def test_sockets_do_not_reach_an_anonymous_service(self) -> None:
        endpoint = TunnelEndpoint(self.endpoint(3))
        endpoint.set_tunnel_community(self.overlay(3))
        service, client, peer = await self.connect(endpoint=endpoint, anonymize=True)
        client.tell.send(Peer(peer.public_key, self.address(3)), b"by the socket")
        client.tell.send(peer, b"by the circuit")
        await self.deliver_messages(1.0)
        assert [text for _, text in service.told] == [b"by the circuit"]
        service.tell.send(service.told[0][0], b"back")
        await self.deliver_messages(1.0)
        assert [text for _, text in client.told] == [b"back"]

    async def test_closing_a_service(self) -> None:
        service, client = self.add_echo(3), self.add_echo(0)
        self.mock_all_exits()
        async with await service.serve_hidden(hops=1, introduction_points=2, timeout=PATIENCE) as hosted:
            assert hosted.service_key == service.my_peer.key_bin
            assert hosted.info_hash == info_hash_of_service(Echo.community_id, hosted.service_key)
            with pytest.raises(RuntimeError, match="already"):
                await service.serve_hidden(hops=1)
        await self.deliver_messages(1.0)
        assert not self.overlay(3).find_circuits(CIRCUIT_TYPE_IP_SEEDER, None)
        with pytest.raises(TimeoutError, match="did not answer"):
            await client.connect_hidden(hosted.service_key, hops=1, timeout=0.05)
        assert not self.overlay(0).swarms

    async def test_several_wait_for_the_same_service(self) -> None:
        service, client = self.add_echo(3), self.add_echo(0)
        mocking = asyncio.ensure_future(self.keep_mocking())
        patient = asyncio.ensure_future(client.connect_hidden(service.my_peer.public_key, hops=1, timeout=PATIENCE))
        with pytest.raises(TimeoutError):
            await client.connect_hidden(service.my_peer.public_key, hops=1, timeout=0.05)
        await service.serve_hidden(hops=1, introduction_points=1, timeout=PATIENCE)
        assert (await patient).address
        mocking.cancel()

    async def test_a_circuit_that_is_being_closed_is_not_waited_for(self) -> None:
        """It stays in the table for some seconds, in which there was a look after another without a pause."""
        client, overlay, looks = self.add_echo(0), self.overlay(0), []
        overlay.settings.remove_tunnel_delay = 60
        circuit = overlay.create_circuit(1)
        overlay.remove_circuit(circuit.circuit_id)
        await circuit.ready
        overlay.do_circuits = lambda: looks.append(1)
        connecting = asyncio.ensure_future(client.connect_hidden(self.public_key(1), hops=1, timeout=PATIENCE))
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(looks) == 1
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        overlay.settings.remove_tunnel_delay = 0
        del overlay.do_circuits

    async def test_unloading_while_connecting(self) -> None:
        client = self.add_echo(0)
        connecting = asyncio.ensure_future(client.connect_hidden(self.public_key(1), hops=1, timeout=PATIENCE))
        await asyncio.sleep(0)
        await client.unload()
        with pytest.raises(RuntimeError, match="unloaded"):
            await connecting
        assert not self.overlay(0).swarms

    async def test_lost_introduction_points_are_replaced(self) -> None:
        service = self.add_echo(3)
        await service.serve_hidden(hops=1, introduction_points=1, timeout=PATIENCE)
        overlay = self.overlay(3)
        circuit, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        overlay.remove_circuit(circuit.circuit_id, remove_now=True)
        await self.deliver_messages(1.0)
        overlay.hosting._keep_introduction_points()
        await self.deliver_messages(1.0)
        assert len(overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)) == 1

    async def test_a_service_without_introduction_points(self) -> None:
        for i in (1, 2):
            self.overlay(i).settings.peer_flags = set()
        service = self.add_echo(3)
        with pytest.raises(TimeoutError, match="no node agreed"):
            await service.serve_hidden(hops=1, timeout=0.05)
        assert not self.overlay(3).swarms

    async def test_unloading_the_overlay_closes_everything(self) -> None:
        service, client, peer = await self.connect()
        await client.unload()
        await service.unload()
        await self.deliver_messages(1.0)
        for i in (0, 3):
            assert not self.overlay(i).swarms
            for ctype in (CIRCUIT_TYPE_IP_SEEDER, CIRCUIT_TYPE_RP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER):
                assert not self.overlay(i).find_circuits(ctype, None)
        self.endpoint(0).send(peer.address, client.get_prefix() + b"\x01")
        assert self.endpoint(0).drops[DropCounter.SEND_NO_ROUTE] == 1

    async def test_a_lost_connection_is_made_anew(self) -> None:
        service, client, peer = await self.connect()
        overlay = self.overlay(0)
        circuit, = overlay.find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        overlay.remove_circuit(circuit.circuit_id, remove_now=True)
        await self.deliver_messages(1.0)
        client.tell.send(peer, b"lost")
        assert client.endpoint.drops[DropCounter.SEND_NO_ROUTE] == 1
        mocking = asyncio.ensure_future(self.keep_mocking())
        again = await client.connect_hidden(peer.public_key, hops=1, timeout=PATIENCE)
        mocking.cancel()
        assert again.address == peer.address
        client.tell.send(peer, b"there again")
        await self.deliver_messages(1.0)
        assert [text for _, text in service.told] == [b"there again"]

    async def test_what_is_needed(self) -> None:
        endpoint = AutoMockEndpoint()
        endpoint.open()
        alone = self.add_echo(0, endpoint=endpoint)
        with pytest.raises(RuntimeError, match="HiddenTunnelCommunity"):
            await alone.serve_hidden()
        with pytest.raises(RuntimeError, match="HiddenTunnelCommunity"):
            await alone.connect_hidden(alone.my_peer.public_key)
        legacy = default_eccrypto.generate_key("very-low")
        with pytest.raises(ValueError, match="curve25519"):
            await alone.connect_hidden(legacy.pub())
        alone.my_peer = Peer(legacy)
        with pytest.raises(RuntimeError, match="curve25519"):
            await alone.serve_hidden()

    async def test_hidden_addresses_are_no_network_addresses(self) -> None:
        address = HiddenAddress("2001:21::1", 2)
        peer = Peer(self.public_key(1), address)
        assert peer.address is address
        peer.add_address(UDPv4Address("1.2.3.4", 5))
        assert peer.address == ("1.2.3.4", 5)
        self.endpoint(0).send(address, b"x" * 23)
        assert self.endpoint(0).drops[DropCounter.SEND_NO_ROUTE] == 1
