"""What strangers, and nodes of circuits, can make nodes with hidden services do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ipv8.dht.introduction_point import PEER_SOURCE_PEX, IntroductionPoint
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.hidden_caches import (
    E2ERequestCache,
    IPRequestCache,
    LinkRequestCache,
    RPRequestCache,
)
from ipv8.messaging.anonymization.hidden_payload import (
    CreatedE2EPayload,
    CreateE2EPayload,
    EstablishIntroPayload,
    EstablishRendezvousPayload,
    IntroEstablishedPayload,
    LinkE2EPayload,
    LinkedE2EPayload,
    PeersRequestPayload,
    PeersResponsePayload,
    RendezvousEstablishedPayload,
)
from ipv8.messaging.anonymization.hidden_services import MAX_UNLINKED
from ipv8.messaging.anonymization.intro_points import (
    INTRODUCTIONS_AT_ONCE_PER_HOST,
    MAX_PEX_OVERLAYS,
    MAX_REGISTRATIONS_PER_CIRCUIT,
)
from ipv8.messaging.anonymization.introducing import ANNOUNCEMENTS_AT_ONCE
from ipv8.messaging.anonymization.swarm import RendezvousPoint
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
)
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.test.messaging.anonymization.hidden_base import INFO_HASH, TestHiddenServicesBase

if TYPE_CHECKING:
    from ipv8.messaging.anonymization.tunnel import Circuit

OTHER_HASH = b"o" * 20
NO_CIRCUIT = 4242
KEY = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
EVERYTHING = [
    EstablishIntroPayload(1, 2, INFO_HASH, KEY), IntroEstablishedPayload(1, 2),
    EstablishRendezvousPayload(1, 2, b"c" * 20), RendezvousEstablishedPayload(1, 2, ("1.2.3.4", 5)),
    CreateE2EPayload(2, INFO_HASH, KEY, b"x" * 32), CreatedE2EPayload(2, b"y" * 32, b"a" * 32, b"sealed"),
    LinkE2EPayload(1, 2, b"c" * 20), LinkedE2EPayload(1, 2), PeersRequestPayload(1, 2, INFO_HASH),
    PeersResponsePayload(1, 2, INFO_HASH, []),
]


class TestHiddenHostile(TestHiddenServicesBase):
    """Node 3 is a service, introduced by node 1 or 2. Node 0 is a client or an attacker."""

    def overlay(self, i: int) -> Any:
        """The overlay of a node, whose methods tests replace."""
        return super().overlay(i)

    async def service(self, **options: Any) -> bytes:
        self.make_nodes(4, relays=(1, 2), **options)
        await self.introduce_nodes()
        return await self.create_intro(3, required_ip=self.peer_of(1))

    def joined(self, i: int) -> list[int]:
        """The ids of the circuits that end at node ``i``."""
        return list(self.overlay(i).exit_sockets)

    async def joined_by(self, i: int, exit_node: int = 1) -> tuple[Circuit, int]:
        """A circuit of node ``i``, and its id at the exit, which is its only hop."""
        circuit = await self.make_data_circuit(i, exit_node)
        return circuit, circuit.circuit_id

    def note_requests(self, i: int) -> list[int]:
        """The identifiers of the requests for a connection that node ``i`` gets from now on."""
        asked: list[int] = []

        async def note(source: Any, payload: Any, circuit_id: int) -> None:
            asked.append(payload.identifier)

        self.overlay(i).on_connection_request = note
        return asked

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    # Messages where they do not belong

    async def test_every_message_everywhere(self) -> None:
        """No message raises or is answered by the socket, whatever circuit it arrives by, whole or not."""
        await self.service()
        circuit, _ = await self.joined_by(0)
        relayed = next(iter(self.overlay(2).relay_from_to), NO_CIRCUIT)
        places = [(0, circuit.circuit_id), (1, self.joined(1)[0]), (2, relayed), (0, NO_CIRCUIT),
                  (3, self.overlay(3).find_circuits(CIRCUIT_TYPE_IP_SEEDER)[0].circuit_id)]
        for i, circuit_id in places:
            overlay = self.overlay(i)
            sent: list[Any] = []
            overlay.endpoint.send = lambda address, packet, sent=sent: sent.append((address, packet))
            overlay.send_cell = lambda address, payload: None
            for payload in EVERYTHING:
                packet = overlay.ezr_pack(payload.msg_id, payload, sig=False)
                for data in (packet, packet + b"more", *(packet[:size] for size in range(22, len(packet)))):
                    overlay.on_packet_from_circuit(("6.6.6.6", 6), data, circuit_id)
                    overlay.on_packet_from_circuit(UDPv4Address("6.6.6.6", 6), data, circuit_id)
            await self.settle()
            del overlay.endpoint.send, overlay.send_cell
            assert not sent
        for i in range(4):
            assert self._uncaught_async_failure is None, i

    async def test_the_exit_of_a_data_circuit_cannot_ask_who_the_service_is(self) -> None:
        key = await self.service()
        overlay = self.overlay(3)
        data = await self.make_data_circuit(3, 2)
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        built: list[bytes] = []

        async def build(info_hash: bytes) -> None:
            built.append(info_hash)

        overlay.create_rendezvous_point = build
        for circuit, info_hash, node_key in ((data, INFO_HASH, key), (intro, INFO_HASH, KEY), (intro, OTHER_HASH, key)):
            self.inside(3, circuit, CreateE2EPayload(1, info_hash, node_key, b"x" * 32))
            self.from_circuit(3, circuit.circuit_id, CreateE2EPayload(1, info_hash, node_key, b"x" * 32))
        await self.settle()
        assert not built
        self.inside(3, intro, CreateE2EPayload(1, INFO_HASH, key, b"x" * 32))
        await self.settle()
        assert built == [INFO_HASH]

    async def test_a_request_must_come_by_a_circuit_for_its_service(self) -> None:
        """An introduction point of one service cannot tell whether the same node offers another with the same key."""
        key = await self.service()
        overlay = self.overlay(3)
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        overlay.join_swarm(OTHER_HASH, 1, seeder_sk=overlay.swarms[INFO_HASH].seeder_sk)
        built: list[bytes] = []

        async def build(info_hash: bytes) -> None:
            built.append(info_hash)

        overlay.create_rendezvous_point = build
        data = await self.make_data_circuit(3, 2)
        data.info_hash = OTHER_HASH
        for circuit in (intro, data):
            self.inside(3, circuit, CreateE2EPayload(1, OTHER_HASH, key, b"x" * 32))
        await self.settle()
        assert not built
        assert overlay.drops[DropCounter.UNSOLICITED] == overlay.drops[DropCounter.NOT_ADMITTED] == 1

    async def test_answers_must_come_by_their_circuit(self) -> None:
        await self.service()
        overlay = self.overlay(3)
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        other = await self.make_data_circuit(3, 2)
        rendezvous = RendezvousPoint(intro, b"c" * 20)
        caches = [IPRequestCache(overlay, intro), RPRequestCache(overlay, rendezvous),
                  LinkRequestCache(overlay, intro, INFO_HASH, None)]
        for cache in caches:
            overlay.request_cache.add(cache)
        for ctype in (CIRCUIT_TYPE_IP_SEEDER, CIRCUIT_TYPE_RP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER):
            other.ctype = ctype
            for payload in (IntroEstablishedPayload(1, caches[0].number),
                            RendezvousEstablishedPayload(1, caches[1].number, ("1.2.3.4", 5)),
                            LinkedE2EPayload(1, caches[2].number)):
                self.from_circuit(3, other.circuit_id, payload)
        for cache in caches:
            assert overlay.request_cache.has(cache.name, cache.number)
        assert overlay.drops[DropCounter.UNSOLICITED] == 3
        assert not rendezvous.ready.done()

    # Introduction points

    async def test_a_circuit_cannot_register_without_end(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        _, circuit_id = await self.joined_by(0)
        overlay = self.overlay(1)
        announced: list[bytes] = []
        overlay.dht_announce = lambda info_hash, point: announced.append(info_hash)
        for number in range(100):
            key = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
            self.from_circuit(1, circuit_id, EstablishIntroPayload(1, number, b"%20d" % number, key))
        assert len(overlay.intro_point_for) == len(overlay.pex) == MAX_REGISTRATIONS_PER_CIRCUIT
        assert len(announced) == MAX_REGISTRATIONS_PER_CIRCUIT

    async def test_nothing_is_registered_for_circuits_that_are_gone(self) -> None:
        """A circuit that is being closed still brings messages for a while."""
        self.make_nodes(2)
        await self.introduce_nodes()
        _, circuit_id = await self.joined_by(0)
        overlay = self.overlay(1)
        overlay.settings.remove_tunnel_delay = 0.01
        removal = overlay.remove_exit_socket(circuit_id)
        self.from_circuit(1, circuit_id, EstablishIntroPayload(1, 2, INFO_HASH, KEY))
        self.from_circuit(1, circuit_id, EstablishRendezvousPayload(1, 3, b"c" * 20))
        await removal
        await self.settle()
        assert not overlay.exit_sockets
        assert not overlay.intro_point_for
        assert not overlay.rendezvous_point_for
        assert not overlay.pex

    async def test_overlays_and_announcements_are_limited(self) -> None:
        self.make_nodes(2)
        overlay = self.overlay(1)
        announced: list[bytes] = []
        overlay.dht_announce = lambda info_hash, point: announced.append(info_hash)
        for number in range(MAX_PEX_OVERLAYS + 10):
            hop = SimpleNamespace(address=(f"1.2.{number}.4", 5))
            overlay.exit_sockets[number] = SimpleNamespace(circuit_id=number, hop=hop, enabled=False)
            key = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
            overlay.send_cell = lambda address, payload: None
            self.from_circuit(1, number, EstablishIntroPayload(1, number, b"%20d" % number, key))
        assert len(overlay.intro_point_for) == MAX_PEX_OVERLAYS + 10
        assert len(overlay.pex) == MAX_PEX_OVERLAYS
        assert len(announced) == ANNOUNCEMENTS_AT_ONCE
        overlay._announce_again()
        assert len(set(announced)) == MAX_PEX_OVERLAYS + 10
        overlay.exit_sockets.clear()
        del overlay.send_cell

    async def test_keys_that_are_none_are_not_registered(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        _, circuit_id = await self.joined_by(0)
        for key in (b"", b"x" * 74, default_eccrypto.generate_key("very-low").pub().key_to_bin()):
            self.from_circuit(1, circuit_id, EstablishIntroPayload(1, 1, INFO_HASH, key))
        self.from_circuit(1, circuit_id, EstablishIntroPayload(1, 1, b"\xff" * 20, KEY))
        assert list(self.overlay(1).intro_point_for) == [KEY]
        assert not self.overlay(1).pex

    async def test_a_squatter_does_not_shut_the_service_out(self) -> None:
        self.make_nodes(4, relays=(1, 2))
        await self.introduce_nodes()
        service = self.overlay(3)
        service.join_swarm(INFO_HASH, 1)
        key = service.swarms[INFO_HASH].seeder_sk.pub().key_to_bin()
        squatting, circuit_id = await self.joined_by(0)
        self.overlay(0).send_cell(squatting.hops[0].address, EstablishIntroPayload(circuit_id, 1, INFO_HASH, key))
        await self.deliver_messages(1.0)
        assert len(self.overlay(1).intro_point_for) == 1
        await service.create_introduction_point(INFO_HASH, self.peer_of(1))
        await self.deliver_messages(1.0)
        asked = self.note_requests(3)
        self.by_socket(1, CreateE2EPayload(7, INFO_HASH, key, b"x" * 32))
        await self.deliver_messages(1.0)
        assert asked == [7]

    async def test_a_host_cannot_flood_a_service(self) -> None:
        key = await self.service()
        asked = self.note_requests(3)
        for number in range(500):
            self.by_socket(1, CreateE2EPayload(number, INFO_HASH, key, b"%32d" % number))
        self.by_socket(1, CreateE2EPayload(9999, INFO_HASH, key, b"x" * 32), source=("7.7.7.7", 7))
        await self.deliver_messages(1.0)
        assert len(asked) == INTRODUCTIONS_AT_ONCE_PER_HOST + 1
        assert asked[-1] == 9999

    async def test_the_address_must_be_one_that_others_can_reach(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        _, circuit_id = await self.joined_by(0)
        overlay = self.overlay(1)
        announced: list[bytes] = []
        overlay.dht_announce = lambda info_hash, point: announced.append(info_hash)
        overlay.my_estimated_wan = UDPv4Address("0.0.0.0", 0)
        self.from_circuit(1, circuit_id, EstablishIntroPayload(1, 1, INFO_HASH, KEY))
        assert not announced
        overlay.my_estimated_wan = UDPv4Address(*self.address(1))
        overlay._announce_again()
        assert announced == [INFO_HASH]

    # Rendezvous points

    async def test_circuits_that_are_not_there_are_not_joined(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        circuit, circuit_id = await self.joined_by(0)
        overlay = self.overlay(1)
        cookie = b"c" * 20
        self.from_circuit(1, circuit_id, LinkE2EPayload(1, 1, cookie))
        self.from_circuit(1, circuit_id, EstablishRendezvousPayload(1, 1, cookie))
        self.from_circuit(1, circuit_id, LinkE2EPayload(1, 1, cookie))
        assert list(overlay.exit_sockets) == [circuit_id]
        assert not overlay.relay_from_to
        _, other_id = await self.joined_by(0)
        self.from_circuit(1, other_id, EstablishRendezvousPayload(1, 1, cookie))
        assert overlay.rendezvous_point_for.get(cookie).circuit_id == circuit_id
        overlay.exit_sockets[other_id].enabled = True
        self.from_circuit(1, other_id, LinkE2EPayload(1, 1, cookie))
        assert not overlay.relay_from_to
        overlay.exit_sockets[other_id].enabled = False
        self.from_circuit(1, other_id, LinkE2EPayload(1, 1, cookie))
        await self.deliver_messages(1.0)
        assert set(overlay.relay_from_to) == {circuit_id, other_id}
        assert not overlay.exit_sockets
        assert not overlay.rendezvous_point_for
        assert circuit.circuit_id == circuit_id

    # Services

    async def test_an_old_request_makes_no_work(self) -> None:
        key = await self.service()
        overlay = self.overlay(3)
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        built: list[bytes] = []

        async def build(info_hash: bytes) -> None:
            built.append(info_hash)

        overlay.create_rendezvous_point = build
        for number in range(3):
            self.inside(3, intro, CreateE2EPayload(number, INFO_HASH, key, b"x" * 32), (f"{number + 1}.2.3.4", 5))
        await self.settle()
        assert built == [INFO_HASH]

    async def test_circuits_for_clients_that_do_not_come_are_limited(self) -> None:
        manual = self.use_clock()
        key = await self.service()
        overlay = self.overlay(3)
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        overlay.tunnel_data = lambda circuit, destination, payload: None
        for number in range(MAX_UNLINKED + 4):
            manual.advance(3)
            request = CreateE2EPayload(number, INFO_HASH, key, b"%32d" % number)
            self.inside(3, intro, request, (f"{number + 1}.2.3.4", 5))
            await self.deliver_messages(1.0)
        circuits = overlay.find_circuits(CIRCUIT_TYPE_RP_SEEDER)
        assert 2 < len(circuits) <= MAX_UNLINKED
        # Clients that do not come do not keep others from being answered.
        before = {circuit.circuit_id for circuit in circuits}
        manual.advance(5)
        self.inside(3, intro, CreateE2EPayload(7, INFO_HASH, key, b"x" * 32), ("222.2.3.4", 5))
        await self.deliver_messages(1.0)
        after = {circuit.circuit_id for circuit in overlay.find_circuits(CIRCUIT_TYPE_RP_SEEDER)}
        assert len(after - before) == 1
        assert len(after) <= MAX_UNLINKED
        manual.advance(61)
        overlay.do_circuits()
        await self.deliver_messages(1.0)
        assert not overlay.find_circuits(CIRCUIT_TYPE_RP_SEEDER)

    async def test_a_bad_key_of_a_client(self) -> None:
        key = await self.service()
        overlay = self.overlay(3)
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        sent: list[Any] = []
        overlay.tunnel_data = lambda circuit, destination, payload: sent.append(payload)
        for number, bad in enumerate((b"", b"x" * 31, b"x" * 33, bytes(32))):
            self.inside(3, intro, CreateE2EPayload(number, INFO_HASH, key, bad), (f"{number + 1}.2.3.4", 5))
        await self.deliver_messages(1.0)
        assert not sent
        assert not overlay.find_circuits(CIRCUIT_TYPE_RP_SEEDER)

    # Clients

    async def asking(self) -> tuple[Circuit, E2ERequestCache, IntroductionPoint]:
        """Let node 0 ask the service, and keep the request from it."""
        key = await self.service()
        circuit = await self.make_data_circuit(0)
        overlay = self.overlay(0)
        overlay.join_swarm(INFO_HASH, 1, lambda _: None, seeding=False)
        point = IntroductionPoint(self.peer_of(1), key, PEER_SOURCE_PEX)
        overlay.swarms[INFO_HASH].add_intro_point(point)
        overlay.tunnel_data = lambda *_: None
        overlay.create_e2e(INFO_HASH, point)
        del overlay.tunnel_data
        number, = [number for number in range(65536) if overlay.request_cache.has(E2ERequestCache, number)]
        return circuit, overlay.request_cache.get(E2ERequestCache, number), point

    async def test_a_forged_answer_does_not_end_a_request(self) -> None:
        circuit, cache, point = await self.asking()
        overlay = self.overlay(0)
        for auth in (b"a" * 32, bytes(32)):
            self.inside(0, circuit, CreatedE2EPayload(cache.number, b"y" * 32, auth, b"sealed"))
        impostor = default_eccrypto.generate_key("curve25519")
        shared, theirs, auth = self.overlay(1).crypto.generate_diffie_shared_secret(cache.hop.dh_first_part, impostor)
        sealed = self.overlay(1).crypto.generate_session_keys(shared).encrypt_str(b"x" * 105, 0)
        self.inside(0, circuit, CreatedE2EPayload(cache.number, theirs, auth, sealed))
        await self.settle()
        assert overlay.drops[DropCounter.NOT_AUTHENTIC] == 3
        assert overlay.request_cache.has(E2ERequestCache, cache.number)
        payload = CreateE2EPayload(cache.number, INFO_HASH, point.seeder_pk, cache.hop.dh_first_part)
        # The genuine request still leads to a connection.
        overlay.tunnel_data(circuit, point.peer.address, payload)
        await self.deliver_messages(1.0)
        assert overlay.swarms[INFO_HASH].get_num_connections() == 1

    async def test_an_answer_must_come_by_the_circuit_of_its_request(self) -> None:
        circuit, cache, _ = await self.asking()
        overlay = self.overlay(0)
        answer = CreatedE2EPayload(cache.number, b"y" * 32, b"a" * 32, b"sealed")
        other = await self.make_data_circuit(0, 2)
        assert other is not circuit
        self.inside(0, other, answer)
        await self.settle()
        assert overlay.drops[DropCounter.UNSOLICITED] == 1
        assert overlay.drops[DropCounter.NOT_AUTHENTIC] == 0
        self.inside(0, circuit, answer)
        await self.settle()
        assert overlay.drops[DropCounter.NOT_AUTHENTIC] == 1

    async def test_a_request_without_an_answer(self) -> None:
        _, cache, point = await self.asking()
        swarm = self.overlay(0).swarms[INFO_HASH]
        assert swarm.attempts == {point.seeder_pk: point}
        assert swarm.untried() == []
        self.overlay(0).request_cache.pop(E2ERequestCache, cache.number)
        cache.on_timeout()
        assert not swarm.attempts
        assert swarm.untried() == []
        assert not swarm.has_connection(point.seeder_pk)

    async def test_a_link_without_an_answer(self) -> None:
        circuit, cache, point = await self.asking()
        overlay = self.overlay(0)
        for i in (1, 2):
            self.overlay(i).decode_map_private[LinkE2EPayload.msg_id] = lambda *_: None
        payload = CreateE2EPayload(cache.number, INFO_HASH, point.seeder_pk, cache.hop.dh_first_part)
        with overlay.request_cache.passthrough(LinkRequestCache, timeout=0.01):
            overlay.tunnel_data(circuit, point.peer.address, payload)
            await self.deliver_messages(1.0)
        await self.deliver_messages(1.0)
        assert not overlay.swarms[INFO_HASH].connections
        assert not overlay.find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER, None)

    async def test_a_link_of_a_circuit_that_is_being_closed(self) -> None:
        self.make_nodes(2)
        await self.introduce_nodes()
        overlay = self.overlay(0)
        circuit = await self.make_data_circuit(0, 1)
        circuit.ctype = CIRCUIT_TYPE_RP_DOWNLOADER
        connected: list[Any] = []
        overlay.join_swarm(INFO_HASH, 1, connected.append, seeding=False)
        cache = overlay.request_cache.add(LinkRequestCache(overlay, circuit, INFO_HASH, None))
        circuit.close()
        self.from_circuit(0, circuit.circuit_id, LinkedE2EPayload(1, cache.number))
        assert not connected
        assert not circuit.e2e
        assert overlay.drops[DropCounter.UNSOLICITED] == 1

    async def test_an_answer_after_leaving(self) -> None:
        circuit, cache, point = await self.asking()
        overlay = self.overlay(0)
        overlay.leave_swarm(INFO_HASH)
        payload = CreateE2EPayload(cache.number, INFO_HASH, point.seeder_pk, cache.hop.dh_first_part)
        overlay.tunnel_data(circuit, point.peer.address, payload)
        await self.deliver_messages(1.0)
        assert not overlay.find_circuits(CIRCUIT_TYPE_RP_DOWNLOADER, None)
        assert not overlay.request_cache.has(E2ERequestCache, cache.number)

    async def test_a_service_is_asked_by_one_introduction_point_at_a_time(self) -> None:
        key = await self.service()
        await self.make_data_circuit(0)
        overlay = self.overlay(0)
        overlay.join_swarm(INFO_HASH, 1, lambda _: None, seeding=False)
        points = [IntroductionPoint(self.peer_of(i), key, PEER_SOURCE_PEX) for i in (1, 2)]

        async def lookup(*_: Any) -> list[IntroductionPoint]:
            return points

        overlay.swarms[INFO_HASH].lookup_func = lookup
        asked: list[Any] = []
        overlay.tunnel_data = lambda circuit, destination, payload: asked.append(destination)
        await overlay.do_peer_discovery()
        assert len(asked) == 1
        del overlay.tunnel_data

    async def test_timeouts_of_a_service(self) -> None:
        await self.service()
        overlay = self.overlay(3)
        circuit = await self.make_data_circuit(3, 2)
        rendezvous = RendezvousPoint(circuit, b"c" * 20)
        cache = RPRequestCache(overlay, rendezvous)
        cache.on_timeout()
        await self.deliver_messages(1.0)
        assert await rendezvous.ready is None
        assert circuit.circuit_id not in overlay.circuits
        intro, = overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER)
        IPRequestCache(overlay, intro).on_timeout()
        await self.deliver_messages(1.0)
        assert not overlay.find_circuits(CIRCUIT_TYPE_IP_SEEDER, None)
