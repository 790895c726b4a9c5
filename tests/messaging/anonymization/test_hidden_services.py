"""Hidden services between nodes on mock endpoints."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8 import clock
from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.introduction_point import PEER_SOURCE_DHT, PEER_SOURCE_PEX, IntroductionPoint
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.hidden_caches import (
    PeersRequestCache,
)
from ipv8.messaging.anonymization.hidden_payload import (
    IntroductionInfo,
    PaddedPeersRequestPayload,
    PeersRequestPayload,
    PeersResponsePayload,
)
from ipv8.messaging.anonymization.intro_points import (
    LOOKUPS_AT_ONCE_PER_HOST,
    MAX_POINTS_IN_ANSWER,
    MAX_POINTS_IN_SHORT_ANSWER,
    PADDED_REQUEST_SIZE,
    REQUEST_SIZE,
)
from ipv8.messaging.anonymization.payload import DataPayload, TestRequestPayload as SpeedRequestPayload
from ipv8.messaging.anonymization.pex import MAX_LEARNT
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
)
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer
from ipv8.test.messaging.anonymization.hidden_base import INFO_HASH, TestHiddenServicesBase
from ipv8.test.messaging.anonymization.mock import global_dht_services
from ipv8.test.mocking.endpoint import MockEndpointListener
from ipv8.util import succeed

ZERO = ("0.0.0.0", 0)
PATIENCE = 50
"""Seconds after which a test gives up."""
OTHER_HASH = b"o" * 20


class Callback:
    """Remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.called = asyncio.Event()

    def __call__(self, address: Any) -> None:
        self.calls.append(address)
        self.called.set()


class TestHiddenServices(TestHiddenServicesBase):
    """In connections, node 0 is the client and node 3 the service."""

    def overlay(self, i: int) -> Any:
        """The overlay of a node, whose methods tests replace."""
        return super().overlay(i)

    async def test_introduction_point(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        key = await self.create_intro(2)
        holders = [i for i in range(3) if key in self.overlay(i).intro_point_for]
        assert holders
        assert 2 not in holders
        (exit_socket, info_hash), = [self.overlay(holders[0]).intro_point_for[key]]
        assert info_hash == INFO_HASH
        assert exit_socket.circuit_id in self.overlay(holders[0]).exit_sockets
        assert any(point.seeder_pk == key for point in global_dht_services[INFO_HASH])
        assert INFO_HASH in self.overlay(holders[0]).pex

    async def test_leaving_a_swarm_closes_its_circuits(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        await self.create_intro(2)
        overlay = self.overlay(2)
        assert overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        overlay.leave_swarm(INFO_HASH)
        overlay.leave_swarm(INFO_HASH)
        await self.deliver_messages(1.0)
        assert not overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER, None)
        assert INFO_HASH not in overlay.swarms
        for i in range(3):
            assert not self.overlay(i).intro_point_for
            assert not self.overlay(i).pex
            assert not self.nodes[i].overlays
            assert not self.nodes[i].strategies

    async def test_data_take_the_short_way(self) -> None:
        """A method that replaces one of those for each packet would double the work for each of them."""
        self.make_nodes(1)
        assert self.overlay(0).crypto_endpoint._has_own_methods

    async def test_joining_again_leaves_first(self) -> None:
        self.make_nodes(1)
        overlay = self.overlay(0)
        overlay.join_swarm(INFO_HASH, 1, seeding=False)
        first = overlay.swarms[INFO_HASH]
        overlay.join_swarm(INFO_HASH, 1)
        assert overlay.swarms[INFO_HASH] is not first
        assert overlay.swarms[INFO_HASH].seeding

    async def test_a_key_can_be_kept(self) -> None:
        self.make_nodes(1)
        key = default_eccrypto.generate_key("curve25519")
        self.overlay(0).join_swarm(INFO_HASH, 1, seeder_sk=key)
        assert self.overlay(0).swarms[INFO_HASH].seeder_sk is key

    async def connect(self) -> Callback:
        self.make_nodes(4, relays=(1, 2))
        await self.introduce_nodes()
        await self.create_intro(3)
        await self.make_data_circuit(0)
        callback = Callback()
        self.overlay(0).join_swarm(INFO_HASH, 1, callback, seeding=False)
        await self.overlay(0).do_peer_discovery()
        await asyncio.wait_for(callback.called.wait(), PATIENCE)
        await self.deliver_messages(1.0)
        return callback

    async def test_end_to_end(self) -> None:
        callback = await self.connect()
        assert len(callback.calls) == 1
        client = self.overlay(0)
        circuit, = client.find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        assert circuit.e2e
        assert callback.calls == [(client.circuit_id_to_ip(circuit.circuit_id), 1024)]
        assert client.select_circuit(callback.calls[0], 1) is circuit
        assert client.swarms[INFO_HASH].get_num_connections() == 1

    async def test_joined_circuits_do_not_make_room_for_others(self) -> None:
        """Both of them have proved themselves before, although they carry nothing yet."""
        await self.connect()
        joined = [(self.overlay(i), route) for i in range(4) for route in self.overlay(i).relay_from_to.values()
                  if route.rendezvous_relay]
        assert len(joined) == 2
        for node, route in joined:
            route.bytes_down = 0
            assert route not in [entry for entry, _, _ in node._unproven()]

    async def test_the_path_has_four_nodes(self) -> None:
        await self.connect()
        circuit, = self.overlay(0).find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        address, number, path = circuit.hop.address, circuit.circuit_id, [self.address(0)]
        while True:
            path.append(address)
            node = next(node for node in self.nodes if node.endpoint.wan_address == address)
            route = node.overlay.relay_from_to.get(number)
            if route is None:
                break
            address, number = route.hop.address, route.circuit_id
        assert len(path) == 4
        assert path[-1] == self.address(3)

    async def test_data_goes_both_ways(self) -> None:
        await self.connect()
        received: dict[int, list[Any]] = {0: [], 3: []}
        for i, got in received.items():
            self.overlay(i).on_raw_data = lambda circuit, origin, data, got=got: got.append((circuit, data))
        circuit, = self.overlay(0).find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, ZERO, ZERO, b"PACKET")
        await self.deliver_messages(1.0)
        (theirs, data), = received[3]
        assert data == b"PACKET"
        assert theirs.ctype == CIRCUIT_TYPE_RP_SEEDER
        assert theirs.e2e
        self.overlay(3).send_data(theirs.hop.address, theirs.circuit_id, ZERO, ZERO, b"ANSWER")
        await self.deliver_messages(1.0)
        assert received[0] == [(circuit, b"ANSWER")]
        theirs.e2e = False
        self.overlay(3).crypto_endpoint._takes_data = lambda: True  # as without the replacements of the test
        self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, ZERO, ZERO, b"PACKET")
        await self.deliver_messages(1.0)
        assert received[3] == [(theirs, b"PACKET")] * 2
        assert theirs.e2e

    async def test_what_is_sent_again_is_dropped(self) -> None:
        await self.connect()
        got: list[bytes] = []
        self.overlay(3).on_raw_data = lambda circuit, origin, data: got.append(data)
        recorded = MockEndpointListener(self.endpoint(3))
        circuit, = self.overlay(0).find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        for number in range(5):
            self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, ZERO, ZERO, b"PACKET%d" % number)
        await self.deliver_messages(1.0)
        assert len(got) == 5
        for packet in [*recorded.received_packets, *reversed(recorded.received_packets)]:
            self.endpoint(3).notify_listeners(packet)
        await self.deliver_messages(1.0)
        assert len(got) == 5
        assert self.overlay(0).swarms[INFO_HASH].get_num_connections() == 1

    async def test_speed_test_goes_end_to_end(self) -> None:
        await self.connect()
        circuit, = self.overlay(0).find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        calls = []
        handlers = self.overlay(3).decode_map_private
        handler = handlers[SpeedRequestPayload.msg_id]

        def count(*arguments: Any) -> Any:
            calls.append(arguments)
            return handler(*arguments)

        handlers[SpeedRequestPayload.msg_id] = count
        data, _ = await self.overlay(0).send_test_request(circuit, 3, 6)
        assert len(data) == 6
        assert len(calls) == 1

    async def test_the_only_service_does_not_connect_to_itself(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        callback = Callback()
        await self.create_intro(2, callback)
        await self.overlay(2).do_peer_discovery()
        await self.deliver_messages(1.0)
        assert not callback.calls

    async def test_pings_leave_out_what_has_no_other_end_yet(self) -> None:
        await self.connect()
        client, service = self.overlay(0), self.overlay(3)
        sent: list[tuple[int, int]] = []
        for overlay in (client, service):
            overlay.send_cell = lambda _, payload: sent.append((payload.msg_id, payload.circuit_id))
        linked, = client.find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER)
        excluded: list[int] = []
        client.do_ping(excluded)
        assert excluded == []
        assert (6, linked.circuit_id) in sent
        linked.e2e = False
        sent.clear()
        client.do_ping()
        service.do_ping()
        waiting = service.find_circuits(CIRCUIT_TYPE_RP_SEEDER)
        assert waiting
        assert not {number for _, number in sent} & {linked.circuit_id, *(circuit.circuit_id for circuit in waiting)}
        del client.send_cell, service.send_cell

    # Looking for introduction points

    async def test_failed_lookups(self) -> None:
        self.make_nodes(2)
        overlay = self.overlay(0)
        overlay.join_swarm(INFO_HASH, 1, seeding=False)
        swarm = overlay.swarms[INFO_HASH]
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(RuntimeError("unit test"))
        swarm.lookup_func = lambda *_: failed
        await overlay.do_peer_discovery()
        assert swarm.last_dht_response == 0
        assert swarm.last_lookup
        overlay.settings.swarm_lookup_interval = 0
        found = IntroductionPoint(Peer(self.private_key(1).pub(), self.address(1)), self.service_key(), PEER_SOURCE_DHT)
        swarm.lookup_func = lambda *_: succeed([found])
        await overlay.do_peer_discovery()
        assert swarm.last_dht_response
        assert swarm.intro_points == [found]

    async def test_introduction_points_tell_of_each_other(self) -> None:
        self.make_nodes(4)
        await self.introduce_nodes()
        key = await self.create_intro(3, required_ip=self.peer_of(1))
        await self.overlay(3).create_introduction_point(INFO_HASH, self.peer_of(2))
        await self.deliver_messages(1.0)
        one, two = self.nodes[1].overlays[0], self.nodes[2].overlays[0]
        for overlay, other in ((one, two), (two, one)):
            overlay.walk_to(other.my_estimated_wan)
        await self.deliver_messages(1.0)
        await self.make_data_circuit(0)
        client = self.overlay(0)
        client.join_swarm(INFO_HASH, 1, seeding=False)
        swarm = client.swarms[INFO_HASH]
        swarm.add_intro_point(IntroductionPoint(self.peer_of(1), key, PEER_SOURCE_PEX))
        swarm.last_dht_response = clock.time()
        found = await swarm.lookup()
        assert {(point.peer.public_key.key_to_bin(), point.source) for point in found} == {
            (self.key_bin(1), PEER_SOURCE_PEX), (self.key_bin(2), PEER_SOURCE_PEX)}

    async def test_the_number_of_a_circuit_is_not_told_to_others(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        await self.make_data_circuit(0)
        sent = []
        self.overlay(0).tunnel_data = lambda circuit, destination, payload: sent.append(payload)
        point = IntroductionPoint(Peer(default_eccrypto.generate_key("curve25519").pub(), self.address(2)), b"")
        self.overlay(0).send_peers_request(INFO_HASH, point, 1).cancel()
        assert sent[0].circuit_id == 0
        del self.overlay(0).tunnel_data

    async def test_circuits_of_clients_of_a_proxy_are_left_to_them(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        overlay = self.overlay(0)
        free, bound, unfit = [await self.make_data_circuit(0) for _ in range(3)]
        overlay.crypto_endpoint.get_socks5_statistics = lambda: [{"port": 7, "hops": 1, "associates": 1}]
        overlay.crypto_endpoint.get_associated_circuits = lambda port: (bound.circuit_id,) if port == 7 else ()
        overlay.note_unanswered_request(unfit.circuit_id)
        assert {overlay.select_circuit(None, 1) for _ in range(20)} == {free}
        overlay.remove_circuit(free.circuit_id, remove_now=True)
        await self.deliver_messages(1.0)
        assert overlay.select_circuit(None, 1) in {bound, unfit}
        overlay.join_swarm(INFO_HASH, 1, seeding=False)
        overlay.candidates[self.peer_of(1)] = [1, 2]
        overlay.do_circuits()
        assert len(overlay.find_circuits(state=None)) == 3

    async def test_answers_come_through_a_circuit_that_a_program_uses(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        circuit = await self.make_data_circuit(0)
        got: list[bytes] = []
        circuit.receiver = lambda origin, data: got.append(data)
        overlay = self.overlay(0)
        cache = PeersRequestCache(overlay, circuit, INFO_HASH, None)
        overlay.request_cache.add(cache)
        answer = PeersResponsePayload(1, cache.number, INFO_HASH, [])
        data = DataPayload(circuit.circuit_id, ZERO, ("6.6.6.6", 6), overlay.ezr_pack(18, answer, sig=False))
        self.from_circuit(0, circuit.circuit_id, data, circuit.hops[0].address)
        assert await cache.future == []
        assert not got

    async def test_the_exit_is_asked_in_a_cell(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        await self.make_data_circuit(0, exit_node=1)
        overlay = self.overlay(0)
        cells: list[int] = []
        packets: list[Any] = []
        overlay.send_cell = lambda _, payload: cells.append(payload.msg_id)
        overlay.tunnel_data = lambda _, destination, payload: packets.append(destination)
        for target in (None, IntroductionPoint(self.peer_of(1), b""), IntroductionPoint(self.peer_of(2), b"")):
            overlay.send_peers_request(INFO_HASH, target, 1).cancel()
        assert cells == [PeersRequestPayload.msg_id] * 2
        assert packets == [self.address(2)]
        del overlay.send_cell, overlay.tunnel_data

    async def test_the_dht_of_the_node_is_used(self) -> None:
        self.make_nodes(1)
        overlay = self.overlay(0)
        overlay.dht_provider = None
        assert await overlay.dht_lookup(INFO_HASH) is None
        dht: Any = DHTDiscoveryCommunity(DHTDiscoveryCommunity.settings_class(
            my_peer=overlay.my_peer, endpoint=overlay.endpoint, network=overlay.network))
        dht.find_values = lambda info_hash: succeed([])
        assert await overlay.dht_lookup(INFO_HASH) == (INFO_HASH, [])
        assert overlay.dht_provider.dht_community is dht
        await dht.unload()

    async def test_overlays_of_introduction_points_run_without_a_service(self) -> None:
        self.make_nodes(3)
        for i in range(3):
            self.overlay(i).ipv8 = None
        await self.introduce_nodes()
        await self.create_intro(2, required_ip=self.peer_of(1))
        overlay = self.overlay(1).pex[INFO_HASH]
        assert overlay.is_pending_task_active("walk")
        self.overlay(2).leave_swarm(INFO_HASH)
        await self.deliver_messages(1.0)
        assert not self.overlay(1).pex
        assert not overlay.is_pending_task_active("walk")

    async def test_overlays_start_where_the_tunnel_overlay_did(self) -> None:
        self.make_nodes(3)
        self.overlay(1).bootstrappers.append(DispersyBootstrapper([("1.2.3.4", 5)], []))
        await self.introduce_nodes()
        await self.create_intro(2, required_ip=self.peer_of(1))
        bootstrapper, = self.overlay(1).pex[INFO_HASH].bootstrappers
        assert bootstrapper.ip_addresses == [("1.2.3.4", 5)]

    async def test_info_hashes_have_20_bytes(self) -> None:
        self.make_nodes(1)
        with pytest.raises(ValueError, match="20 bytes"):
            self.overlay(0).join_swarm(b"short", 1)

    async def test_requests_without_a_circuit_fail(self) -> None:
        self.make_nodes(1)
        with pytest.raises(RuntimeError, match="No circuit"):
            await self.overlay(0).send_peers_request(INFO_HASH, None, 1)

    async def test_estimated_size(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        await self.create_intro(2, required_ip=self.peer_of(1))
        await self.make_data_circuit(0)
        assert await self.overlay(0).estimate_swarm_size(INFO_HASH, 1) == 1
        assert await self.overlay(0).estimate_swarm_size(OTHER_HASH, 1) == 0

    async def test_bad_introduction_points_are_left_out(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        circuit = await self.make_data_circuit(0)
        overlay = self.overlay(0)
        cache = PeersRequestCache(overlay, circuit, INFO_HASH, None)
        overlay.request_cache.add(cache)
        good, key = self.key_bin(1), self.service_key()
        peers = [IntroductionInfo(("1.2.3.4", 5), good, key, 2), IntroductionInfo(("1.2.3.4", 5), b"bad", key, 2),
                 IntroductionInfo(("1.2.3.4", 5), good, b"x" * 74, 2), IntroductionInfo(("1.2.3.4", 5), good, b"", 2),
                 IntroductionInfo(ZERO, good, key, 2), IntroductionInfo(("224.0.0.1", 5), good, key, 2)]
        self.from_circuit(0, circuit.circuit_id, PeersResponsePayload(1, cache.number, INFO_HASH, peers))
        found = await cache.future
        assert [(point.peer.address, point.seeder_pk, point.source) for point in found] == [(("1.2.3.4", 5), key, 2)]

    async def test_answers_must_come_by_the_circuit_that_asked(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        circuit, other = await self.make_data_circuit(0), await self.make_data_circuit(0)
        overlay = self.overlay(0)
        cache = PeersRequestCache(overlay, circuit, INFO_HASH, None)
        overlay.request_cache.add(cache)
        for circuit_id, info_hash, number in ((other.circuit_id, INFO_HASH, cache.number),
                                              (circuit.circuit_id, OTHER_HASH, cache.number),
                                              (circuit.circuit_id, INFO_HASH, cache.number ^ 1)):
            self.from_circuit(0, circuit_id, PeersResponsePayload(1, number, info_hash, []))
        assert not cache.future.done()
        assert overlay.drops[DropCounter.UNSOLICITED] == 3
        cache.future.cancel()

    async def test_introduction_points_that_do_not_answer_are_forgotten(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        await self.make_data_circuit(0)
        overlay = self.overlay(0)
        overlay.join_swarm(INFO_HASH, 1, seeding=False)
        silent = IntroductionPoint(Peer(default_eccrypto.generate_key("curve25519").pub(), self.address(1)), b"")
        overlay.swarms[INFO_HASH].add_intro_point(silent)
        with overlay.request_cache.passthrough():
            future = overlay.send_peers_request(INFO_HASH, silent, 1)
        with pytest.raises(RuntimeError, match="Peers request timeout"):
            await future
        assert not overlay.swarms[INFO_HASH].intro_points

    async def test_answers_to_one_host_by_the_socket_are_limited(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        await self.create_intro(2, required_ip=self.peer_of(1))
        overlay = self.overlay(1)
        sent = []
        overlay.endpoint.send = lambda address, packet: sent.append((address, packet))
        for _ in range(100):
            self.by_socket(1, PeersRequestPayload(7, 1, INFO_HASH), source=("6.6.6.6", 6))
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(sent) == LOOKUPS_AT_ONCE_PER_HOST
        self.by_socket(1, PeersRequestPayload(7, 1, OTHER_HASH), source=("7.7.7.7", 6))
        self.by_socket(1, PeersRequestPayload(7, 1, INFO_HASH), source=("7.7.7.7", 6))
        for _ in range(10):
            await asyncio.sleep(0)
        assert sent[-1][0] == ("7.7.7.7", 6)
        assert len(sent) == LOOKUPS_AT_ONCE_PER_HOST + 1
        del overlay.endpoint.send

    def fill_pex(self, i: int) -> None:
        """Let an introduction point know as many others as it keeps."""
        pex = self.overlay(i).pex[INFO_HASH]
        for number in range(MAX_LEARNT):
            peer = Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address(f"{number + 20}.1.1.1", 7))
            pex.process_extra_bytes(peer, pex.serializer.pack("varlenH-list", [self.service_key()]))
        assert len(pex.get_intro_points()) == MAX_LEARNT + 1

    async def test_answers_to_forged_sources_are_small(self) -> None:
        self.make_nodes(3)
        await self.introduce_nodes()
        await self.create_intro(2, required_ip=self.peer_of(1))
        self.fill_pex(1)
        overlay = self.overlay(1)
        sent: list[bytes] = []
        overlay.endpoint.send = lambda _, packet: sent.append(packet)
        short, full = PeersRequestPayload(7, 1, INFO_HASH), PaddedPeersRequestPayload(
            7, 1, INFO_HASH, bytes(PADDED_REQUEST_SIZE - REQUEST_SIZE))
        for request, source in ((short, ("6.6.6.6", 6)), (full, ("6.6.6.6", 6)), (short, self.address(0))):
            self.by_socket(1, request, source)
        del overlay.endpoint.send
        points = [len(overlay.serializer.unpack_serializable(PeersResponsePayload, packet, 23)[0].peers)
                  for packet in sent]
        assert points == [MAX_POINTS_IN_SHORT_ANSWER, MAX_POINTS_IN_ANSWER, MAX_POINTS_IN_ANSWER]
        assert len(sent[1]) <= 3 * PADDED_REQUEST_SIZE

    async def test_clients_are_answered_in_full(self) -> None:
        self.make_nodes(4)
        await self.introduce_nodes()
        await self.create_intro(2, required_ip=self.peer_of(1))
        self.fill_pex(1)
        await self.make_data_circuit(0, exit_node=3)
        target = IntroductionPoint(self.peer_of(1), b"")
        found = await asyncio.wait_for(self.overlay(0).send_peers_request(INFO_HASH, target, 1), PATIENCE)
        assert len(found) == MAX_POINTS_IN_ANSWER
