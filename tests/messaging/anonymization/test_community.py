from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock, entropy
from ipv8.events import EventBus
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import DomainAddress, RelayedAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization import community as module, payload as messages, pool as pool_module
from ipv8.messaging.anonymization.build import BLOCK_SIZE, PlannedHop, make_block, pad
from ipv8.messaging.anonymization.caches import CreatedRequestCache
from ipv8.messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ipv8.messaging.anonymization.handshake import HALF_SIZE
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_STATE_CLOSING,
    CIRCUIT_STATE_EXTENDING,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_SEEDER,
)
from ipv8.messaging.anonymization.utils import run_speed_test
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.test.messaging.anonymization.base import TestTunnelBase
from ipv8.test.mocking.community import MockCommunity
from ipv8.test.mocking.endpoint import MockLink
from ipv8.util import succeed

if TYPE_CHECKING:
    from collections.abc import Iterable

ZERO = ("0.0.0.0", 0)
PATIENCE = 50
"""Seconds after which a test gives up."""
CREATE_SIZE = 1 + 2 + 2 + 74 + 2 + HALF_SIZE


class TunnelTest(TestTunnelBase[Any]):
    nodes_wanted = 4

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, self.nodes_wanted)
        self.make_exit(self.nodes_wanted - 1)

    def tables(self, i: int) -> tuple[int, int, int]:
        node = self.overlay(i)
        return len(node.circuits), len(node.relay_from_to), len(node.exit_sockets)

    def all_tables(self) -> list[tuple[int, int, int]]:
        return [self.tables(i) for i in range(self.nodes_wanted)]

    def drops(self, i: int) -> Any:
        return self.overlay(i).drops

    async def build(self, i: int, hops: int, **options: Any) -> Any:
        return await super().build(i, hops, **options)

    async def works(self, circuit: Any) -> bool:
        result = await asyncio.wait_for(self.overlay(0).send_test_request(circuit, 10, 20), PATIENCE)
        return result is not None and len(result[0]) == 20


class TestBuilding(TunnelTest):
    async def test_circuits_of_each_length(self) -> None:
        await self.introduce_nodes()
        for hops in (1, 2, 3):
            circuit = await self.build(0, hops)
            assert circuit.state == CIRCUIT_STATE_READY
            assert len(circuit.hops) == hops
            assert circuit.hops[-1].peer.key_bin == self.key_bin(3)
            assert circuit.max_payload == 1428 - 24 * hops
            assert await self.works(circuit)
            assert all(hop.dh_secret is None for hop in circuit.hops)

    async def test_lengths_that_there_are_not(self) -> None:
        await self.introduce_nodes()
        for hops in (-1, 0, 9):
            assert self.overlay(0).create_circuit(hops) is None
        assert not self.overlay(0).circuits

    async def test_without_candidates(self) -> None:
        assert self.overlay(0).create_circuit(1) is None
        assert self.overlay(0).create_circuit(2) is None
        await self.introduce_nodes()
        assert self.overlay(0).create_circuit(1, exit_flags=[16384]) is None

    async def test_telescoping_with_nodes_of_other_releases(self) -> None:
        for i in (0, 1, 2, 3):
            self.settings(i).single_pass = False
        await self.introduce_nodes()
        assert set(self.overlay(0).candidates[self.peer(1)]) & {512} == set()
        for hops in (1, 2, 3):
            assert await self.works(await self.build(0, hops))

    async def test_one_round_trip_for_each_link(self) -> None:
        await self.introduce_nodes()
        links = [MockLink() for _ in self.nodes]
        for node, link in zip(self.nodes, links, strict=True):
            node.endpoint.link = link
        await self.build(0, 3)
        plain = [data for link in links for _, _, data in link.trace if data[22] == 0 and data[27]]
        creates, answers = ([len(data) for data in plain if data[29] == msg_id] for msg_id in (2, 3))
        assert len(creates) == len(answers) == 3
        assert len({*creates, *answers}) == 1  # nobody tells its position from the size

    async def test_old_nodes_in_the_path(self) -> None:
        for old in (1, 2):
            self.settings(1).single_pass, self.settings(2).single_pass = old != 1, old != 2
            await self.introduce_nodes()
            for _ in range(4):
                assert await self.works(await self.build(0, 3))

    async def test_a_node_refuses(self) -> None:
        """A circuit goes on from where it is, by another node if there is one."""
        await self.introduce_nodes()

        async def refuse(*_: Any) -> bool:
            return False

        self.overlay(3).should_join_circuit = refuse
        circuit = self.overlay(0).create_circuit(2)
        assert circuit is not None
        await self.deliver_messages()
        assert circuit.state == CIRCUIT_STATE_EXTENDING
        assert len(circuit.hops) == 1
        assert not self.overlay(0).path.back_off.is_usable(self.key_bin(3), asyncio.get_running_loop().time())

    async def test_a_first_hop_refuses(self) -> None:
        await self.introduce_nodes()

        async def refuse(*_: Any) -> bool:
            return False

        self.overlay(1).should_join_circuit = refuse
        for _ in range(5):
            circuit = await self.build(0, 2)
            assert circuit.hops[0].peer.key_bin == self.key_bin(2)

    async def test_a_dead_first_hop(self) -> None:
        await self.introduce_nodes()
        self.endpoint(1).close()
        self.settings(0).next_hop_timeout = 0.1
        for _ in range(5):
            circuit = await self.build(0, 2)
            assert circuit.hops[0].peer.key_bin == self.key_bin(2)

    async def test_a_dead_middle_hop(self) -> None:
        await self.introduce_nodes()
        self.overlay(0).path.guards.size = 1
        guard = (await self.build(0, 2)).hops[0].peer.key_bin
        dead = 1 if guard == self.key_bin(2) else 2
        self.endpoint(dead).close()
        self.settings(0).next_hop_timeout = 0.1
        circuit = self.overlay(0).create_circuit(3)
        assert circuit is not None
        assert await asyncio.wait_for(circuit.ready, PATIENCE) is None
        assert circuit.state == CIRCUIT_STATE_CLOSING
        assert "tries left" in circuit.closing_info or "no candidates" in circuit.closing_info

    async def test_what_the_last_hop_proposes_is_used_without_own_candidates(self) -> None:
        await self.introduce_nodes()
        first = self.peer(1)
        self.overlay(0).candidates = {first: self.overlay(0).candidates[first]}
        self.overlay(0).path.guards.guards.clear()
        circuit = await self.build(0, 3, required_exit=self.peer(3))
        assert [hop.peer.key_bin for hop in circuit.hops] == [self.key_bin(i) for i in (1, 2, 3)]
        assert await self.works(circuit)

    async def test_addresses_that_other_nodes_are_told(self) -> None:
        await self.introduce_nodes()
        told = self.overlay(0)._told_address
        peer = Peer(self.private_key(1).pub(), UDPv4Address("1.2.3.4", 5))
        assert told(peer) == ("1.2.3.4", 5)
        peer.add_address(UDPv6Address("2606:4700::1", 6))
        assert told(peer) == ("1.2.3.4", 5)
        assert told(Peer(self.private_key(1).pub(), RelayedAddress("2001:20::1", 1))) == ZERO
        self.overlay(0).endpoint = socket = UDPEndpoint(0, "0.0.0.0")
        await socket.open()
        assert told(Peer(self.private_key(1).pub(), UDPv4Address("192.168.1.5", 5))) == ZERO
        socket.close()
        self.overlay(0).endpoint = self.endpoint(0)

    async def test_peers_behind_others_are_no_hops(self) -> None:
        await self.introduce_nodes()
        carried = Peer(default_eccrypto.generate_key("curve25519").pub(), RelayedAddress("2001:20::1", 1))
        self.overlay(0).candidates = {carried: [1, 2]}
        assert self.overlay(0).select_exit() is None
        assert self.overlay(0).create_circuit(1) is None
        assert self.overlay(0).create_circuit(2) is None

    async def test_guards_are_saved(self) -> None:
        directory = self.temporary_directory()
        self.overlay(0).guard_file.path = Path(directory) / "guards.json"
        await self.introduce_nodes()
        await self.build(0, 2)
        saving = self.overlay(0).get_task("save guards")
        if saving is not None:
            await saving
        assert self.overlay(0).guard_file.path.exists()

    async def test_neighbours_that_get_to_be_known_by_another_kind_of_address(self) -> None:
        """A peer has one preferred address, but a link stays where it is."""
        for single_pass in (True, False):
            for i in range(4):
                self.settings(i).single_pass = single_pass
            await self.introduce_nodes()
            circuit = await self.build(0, 3)
            for i in range(4):
                for peer in self.overlay(i).get_peers():
                    peer.add_address(UDPv6Address("2606:4700::1", 5))
            assert await self.works(circuit)
            for i in range(4):
                for peer in self.overlay(i).get_peers():
                    del peer.addresses[UDPv6Address]

    async def test_a_context_manager(self) -> None:
        await self.introduce_nodes()
        async with self.overlay(0).circuit(hops=2) as circuit:
            assert circuit.state == CIRCUIT_STATE_READY
            assert circuit not in self.overlay(0).find_circuits()
            assert await self.works(circuit)
        await self.deliver_messages()
        assert circuit.state == CIRCUIT_STATE_CLOSING
        spare, = self.overlay(0).circuits.values()
        async with self.overlay(0).circuit(hops=2) as ready:
            assert ready is spare
        try:
            async with self.overlay(0).circuit(hops=2, exit_flags=[16384], timeout=0.01):
                raise AssertionError
        except TimeoutError:
            pass
        try:
            async with self.overlay(0).circuit(hops=9):
                raise AssertionError
        except ValueError:
            pass

    async def test_circuits_that_are_refused_at_once_are_not_built_without_a_pause(self) -> None:
        await self.introduce_nodes()
        overlay, pauses = self.overlay(0), []
        self.settings(0).single_pass = False
        for i in (1, 2):
            self.overlay(i)._can_grow = lambda _: False

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await self.deliver_messages()
            if len(pauses) == 6:
                waiting.cancel()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool_module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
            waiting = asyncio.ensure_future(overlay.pool.take(2, (), 60))
            await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert pauses == [pool_module.RETRY_INTERVAL] * 6
        assert len(overlay.removed_circuits) == len(pauses) + 1
        assert not overlay.path.back_off.is_usable(self.key_bin(3), clock.monotonic()), "as if nobody had answered"

    async def test_unwanted_spare_circuits_are_closed(self) -> None:
        manual = self.use_clock()
        await self.introduce_nodes()
        async with self.overlay(0).circuit(hops=1):
            pass
        await self.deliver_messages()
        spare, = self.overlay(0).circuits.values()
        manual.advance(601)
        self.overlay(0).pool.refill()
        await self.deliver_messages()
        assert spare.state == CIRCUIT_STATE_CLOSING
        assert not self.overlay(0).circuits

    async def test_the_wanted_number_of_circuits(self) -> None:
        await self.introduce_nodes()
        self.settings(0).max_circuits = 2
        assert self.overlay(0).tunnels_ready(1) == 1.0
        self.overlay(0).build_tunnels(0)
        assert not self.overlay(0).circuits
        self.overlay(0).build_tunnels(1)
        assert self.overlay(0).tunnels_ready(1) == 0.0
        await self.deliver_messages()
        assert self.overlay(0).tunnels_ready(1) == 1.0
        self.overlay(0).do_circuits()
        assert len(self.overlay(0).circuits) == 2

    async def test_a_shortage_is_told_once(self) -> None:
        overlay = self.overlay(0)
        self.settings(0).max_circuits = 1
        with self.assertLogs(overlay.logger, "INFO") as logs:
            overlay.build_tunnels(1)
            overlay.do_circuits()
            await self.introduce_nodes()
            overlay.do_circuits()
            await self.deliver_messages()
            assert overlay.tunnels_ready(1) == 1.0
            for circuit_id in list(overlay.circuits):
                await overlay.remove_circuit(circuit_id)
            for peer in list(overlay.candidates):
                overlay.network.remove_peer(peer)
            overlay.candidates.clear()
            overlay.do_circuits()
        assert len([line for line in logs.output if "Fewer circuits" in line]) == 2


class TestEvents(TunnelTest):
    async def test_the_life_of_a_circuit(self) -> None:
        await self.introduce_nodes()
        bus = self.overlay(0).event_bus = EventBus()
        with bus.subscribe() as subscription:
            circuit = await self.build(0, 2)
            hops = [hop.mid.hex() for hop in circuit.hops]
            told = [(event.topic, event.data) for event in subscription.take_nowait()]
            first = {"circuit_id": circuit.circuit_id, "goal_hops": 2, "actual_hops": 0, "type": "DATA",
                     "state": CIRCUIT_STATE_EXTENDING, "hops": [], "reason": ""}
            last = {**first, "actual_hops": 2, "hops": hops, "state": CIRCUIT_STATE_READY}
            assert told == [("circuit.created", first),
                            ("circuit.extended", {**first, "actual_hops": 1, "hops": hops[:1]}),
                            ("circuit.extended", last), ("circuit.ready", last)]
            self.settings(0).remove_tunnel_delay = 0.001
            removals = [self.overlay(0).remove_circuit(circuit.circuit_id, why) for why in ("done", "again")]
            await asyncio.gather(*removals)
            assert [(event.topic, event.data) for event in subscription.take_nowait()] == [
                ("circuit.removed", {**last, "state": CIRCUIT_STATE_CLOSING, "reason": "done"})]

    async def test_circuits_of_others_are_not_told(self) -> None:
        await self.introduce_nodes()
        bus = self.overlay(1).event_bus = EventBus()
        with bus.subscribe() as subscription:
            await self.build(0, 3)
            assert not subscription.take_nowait()


class TestRemoval(TunnelTest):
    async def test_from_each_end_and_the_middle(self) -> None:
        await self.introduce_nodes()
        for remover in ("origin", "relay", "exit"):
            circuit = await self.build(0, 3)
            if remover == "origin":
                await self.overlay(0).remove_circuit(circuit.circuit_id, destroy=1)
            elif remover == "relay":
                relay = self.overlay(1)
                removed = [await relay.remove_relay(circuit_id, destroy=1) for circuit_id in list(relay.relay_from_to)]
                assert None not in removed
            else:
                for circuit_id in list(self.overlay(3).exit_sockets):
                    await self.overlay(3).remove_exit_socket(circuit_id, destroy=1)
            await self.deliver_messages()
            assert self.all_tables() == [(0, 0, 0)] * 4, remover

    async def test_reasons_are_no_channel(self) -> None:
        """A number that is not known becomes another one at the next node."""
        await self.introduce_nodes()
        for sent, arrives in ((0, 1), (1, 1), (2, 2), (3, 1), (4, 4), (700, 1), (65535, 65535)):
            self.overlay(1).destroy_reasons.add(65535)
            self.overlay(2).destroy_reasons.add(65535)
            circuit = await self.build(0, 3)
            exit_socket, = self.overlay(3).exit_sockets.values()
            self.overlay(3).send_destroy(exit_socket.hop.address, exit_socket.circuit_id, sent)
            with self.assertReceivedBy(0, [messages.DestroyPayload], message_filter=[messages.DestroyPayload]) as got:
                await self.deliver_messages()
            assert got[0].reason == arrives  # type: ignore[attr-defined]
            assert circuit.state == CIRCUIT_STATE_CLOSING
            for circuit_id in list(self.overlay(3).exit_sockets):
                await self.overlay(3).remove_exit_socket(circuit_id)

    async def test_strangers_destroy_nothing(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 2)
        before = self.all_tables()
        for i in range(4):
            node = self.overlay(i)
            for circuit_id in {*node.circuits, *node.relay_from_to, *node.exit_sockets}:
                for stranger in range(4):
                    near = [node.circuits.get(circuit_id), node.exit_sockets.get(circuit_id)]
                    route = node.relay_from_to.get(circuit_id)
                    near.append(None if route is None else node.relay_from_to[route.circuit_id])
                    if stranger != i and all(entry is None or entry.hop.peer != self.peer(stranger) for entry in near):
                        self.overlay(stranger).send_destroy(self.address(i), circuit_id, 1)
        await self.deliver_messages()
        assert self.all_tables() == before
        assert await self.works(circuit)

    async def test_what_is_not_used(self) -> None:
        manual = self.use_clock()
        await self.introduce_nodes()
        circuit = await self.build(0, 2)
        for seconds in (15, 15, 15):
            manual.advance(seconds)
            self.overlay(0).do_ping()
            await self.deliver_messages()
            for i in range(4):
                self.overlay(i).do_remove()
        assert circuit.state == CIRCUIT_STATE_READY
        manual.advance(21)
        for i in range(4):
            self.overlay(i).do_remove()
        await self.deliver_messages()
        assert self.all_tables() == [(0, 0, 0)] * 4
        assert circuit.closing_info == "no activity"

    async def test_what_is_old_or_has_carried_much(self) -> None:
        manual = self.use_clock()
        await self.introduce_nodes()
        self.settings(0).max_time_inactive = self.settings(0).max_time = 50
        circuit = await self.build(0, 1)
        manual.advance(51)
        circuit.beat_heart()
        self.overlay(0).do_remove()
        await self.deliver_messages()
        assert circuit.closing_info == "too old"
        circuit = await self.build(0, 1)
        self.settings(0).max_traffic = 10
        self.overlay(0).do_remove()
        await self.deliver_messages()
        assert circuit.closing_info == "traffic limit exceeded"
        assert self.tables(3)[2] == 1  # the first one; the second was destroyed

    async def test_relays_come_to_an_end(self) -> None:
        manual = self.use_clock()
        await self.introduce_nodes()
        await self.build(0, 2)
        relay = next(node.overlay for node in self.nodes if node.overlay.relay_from_to)
        manual.advance(self.settings(1).max_time_ip + 1)
        for route in relay.relay_from_to.values():
            route.beat_heart()
        relay.do_remove()
        await self.deliver_messages()
        assert not relay.relay_from_to

    async def test_a_circuit_that_is_not_ready_in_time(self) -> None:
        manual = self.use_clock()
        await self.introduce_nodes()
        self.endpoint(3).close()
        circuit = self.overlay(0).create_circuit(1)
        assert circuit is not None
        manual.advance(61)
        self.overlay(0).do_remove()
        await self.deliver_messages()
        assert circuit.closing_info == "not ready in time"
        assert await circuit.ready is None

    async def test_the_reason_of_a_removal_stays(self) -> None:
        await self.introduce_nodes()
        manual = self.use_clock()
        circuit = await self.build(0, 1)
        manual.advance(1000)
        circuit.beat_heart()
        self.settings(0).remove_tunnel_delay = 60
        removal = self.overlay(0).remove_circuit(circuit.circuit_id, "not needed any more")
        await asyncio.sleep(0)
        self.overlay(0).do_remove()
        await asyncio.sleep(0)
        assert circuit.closing_info == "not needed any more"
        removal.cancel()

    async def test_a_delay_leaves_later_ones_alone(self) -> None:
        await self.introduce_nodes()
        self.settings(0).remove_tunnel_delay = 0.01
        circuit = await self.build(0, 1)
        removal = self.overlay(0).remove_circuit(circuit.circuit_id, "first")
        await asyncio.sleep(0)
        assert circuit.state == CIRCUIT_STATE_CLOSING
        assert self.overlay(0).circuits[circuit.circuit_id] is circuit
        other = type(circuit)(circuit.circuit_id, 1)
        self.overlay(0).circuits[circuit.circuit_id] = other
        await removal
        assert self.overlay(0).circuits[circuit.circuit_id] is other
        other.close()
        closed: list[int] = []
        circuit = await self.build(0, 1)
        circuit.on_closed.append(lambda: closed.append(1))
        await self.overlay(0).remove_circuit(circuit.circuit_id, remove_now=True)
        assert circuit.circuit_id not in self.overlay(0).circuits
        assert closed == [1]
        await self.overlay(0).remove_circuit(12345)
        assert await self.overlay(0).remove_relay(12345) is None
        assert await self.overlay(0).remove_exit_socket(12345) is None

    async def test_unloading_tells_the_neighbours(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 2)
        self.settings(3).remove_tunnel_delay = 1000
        exit_socket, = self.overlay(3).exit_sockets.values()
        exit_socket.enable()
        await exit_socket.wait_for_tasks()
        await asyncio.wait_for(self.overlay(3).unload(), PATIENCE)  # it does not wait for remove_tunnel_delay
        await self.deliver_messages()
        assert exit_socket.transport_ipv4 is None
        assert circuit.state == CIRCUIT_STATE_CLOSING
        assert self.all_tables() == [(0, 0, 0)] * 4
        assert not self.endpoint(3).prefix_listeners(self.overlay(3).get_prefix())

    async def test_nothing_begins_while_a_node_unloads(self) -> None:
        await self.introduce_nodes()
        node = self.overlay(3)
        await self.build(0, 1)
        unloading = asyncio.ensure_future(node.unload())
        for _ in range(20):
            for asking in (0, 1):
                self.overlay(asking).create_circuit(1, required_exit=Peer(self.public_key(3), self.address(3)))
            node.build_tunnels(2)
            await asyncio.sleep(0)
        await unloading
        await self.deliver_messages()
        assert self.tables(3) == (0, 0, 0)
        assert node.create_circuit(1) is None

    async def test_who_waits_for_a_circuit_is_told_when_the_overlay_is_unloaded(self) -> None:
        await self.introduce_nodes()
        for i, is_without_candidates in enumerate((False, True)):
            node = self.overlay(i)
            if is_without_candidates:
                node.candidates.clear()
            else:
                self.endpoint(2).close()
                self.endpoint(3).close()
            waiting = asyncio.ensure_future(node.pool.take(1, (), 1000))
            await asyncio.sleep(0)
            assert len(node.circuits) == (not is_without_candidates)
            await node.unload()
            with pytest.raises(TimeoutError, match="unloaded"):
                await asyncio.wait_for(waiting, PATIENCE)
            assert self.tables(i) == (0, 0, 0)


class TestData(TunnelTest):
    async def test_out_and_back(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 2)
        self.mock_exits(3)
        exit_socket, = self.overlay(3).exit_sockets.values()
        received: list[Any] = []
        self.overlay(0).on_raw_data = lambda *arguments: received.append(arguments)
        self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, self.address(1), ZERO, b"d1:ade")
        await self.deliver_messages()
        assert exit_socket.enabled
        exit_socket.datagram_received(b"d2:bbe", UDPv4Address("8.8.8.8", 8))
        await self.deliver_messages()
        assert received == [(circuit, ("8.8.8.8", 8), b"d2:bbe")]
        circuit.receiver = lambda *arguments: received.append(arguments)
        exit_socket.datagram_received(b"d2:bbe", UDPv4Address("8.8.8.8", 8))
        exit_socket.datagram_received(bytes.fromhex("0002") + bytes(21), UDPv4Address("8.8.8.8", 8))
        await self.deliver_messages()
        assert len(received) == 3

    async def test_nothing_answers_what_came_from_outside(self) -> None:
        """Packets of the overlay that anybody sends to an exit do not make the origin or the exit answer."""
        await self.introduce_nodes()
        circuit = await self.build(0, 2)
        self.mock_exits(3)
        exit_socket, = self.overlay(3).exit_sockets.values()
        sent: list[Any] = []
        for i in (0, 3):
            self.endpoint(i).send = lambda *arguments: sent.append(arguments)
        handled: list[int] = []
        for msg_id in self.overlay(0).decode_map_private:
            self.overlay(0).decode_map_private[msg_id] = lambda *_, number=msg_id: handled.append(number)
        self.overlay(0).decode_map_private[1] = self.overlay(0).on_data
        source, prefix = UDPv4Address(*self.address(1)), self.overlay(0).get_prefix()
        for msg_id in range(256):
            inner = prefix + bytes((msg_id,)) + circuit.circuit_id.to_bytes(4, "big") + bytes(400)
            data = messages.DataPayload(circuit.circuit_id, ZERO, source, inner)
            packet = prefix + b"\1" + self.overlay(0).serializer.pack_serializable(data)
            self.overlay(0).on_data(circuit.hop.address, packet, circuit.circuit_id)
            exit_socket.datagram_received(inner, source)
        del self.nodes[0].endpoint.send
        assert handled == []
        assert all(address == exit_socket.hop.address for address, _ in sent)
        assert len(sent) == 2  # created e2e and peers response go to the origin, which has no handlers for them
        del self.nodes[3].endpoint.send

    async def test_data_without_a_circuit(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 1)
        before = self.endpoint(0).bytes_up
        self.overlay(0).send_data(self.address(3), circuit.circuit_id + 1, self.address(1), ZERO, b"secret")
        extending = type(circuit)(77, 2)
        self.overlay(0).circuits[77] = extending
        self.overlay(0).send_data(self.address(3), 77, self.address(1), ZERO, b"secret")
        assert self.endpoint(0).bytes_up == before
        extending.close()

    async def test_data_for_nowhere(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 1)
        self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, ZERO, ZERO, b"d1:ade")
        await self.deliver_messages()
        assert self.drops(3)[DropCounter.BAD_TARGET] == 1
        self.overlay(3).exit_data(12345, self.address(0), self.address(1), b"")
        exit_socket, = self.overlay(3).exit_sockets.values()
        self.overlay(3).exit_data(exit_socket.circuit_id, ("77.7.7.7", 7), self.address(1), b"d1:ade")
        assert not exit_socket.enabled

    async def test_the_largest_payload_fits_a_packet(self) -> None:
        await self.introduce_nodes()
        for hops in (1, 2, 3):
            circuit = await self.build(0, hops)
            for destination in (UDPv4Address("1.2.3.4", 5), UDPv6Address("2606:4700::1", 5),
                                DomainAddress("www.example.com", 5)):
                self.endpoint(0).link = link = MockLink()
                data = bytes(circuit.max_payload_to(destination))
                self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, destination, ZERO, data)
                assert [len(packet) for _, _, packet in link.trace] == [1472]
                self.endpoint(0).link = None
            await self.deliver_messages()

    async def test_a_node_that_extends_nothing_still_ends_circuits(self) -> None:
        self.settings(3).max_relay_early = 0
        await self.introduce_nodes()
        assert await self.works(await self.build(0, 1))

    async def test_no_sockets_for_what_may_not_leave(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 1)
        exit_socket, = self.overlay(3).exit_sockets.values()
        for data in (b"anything", b"x" * 100, b""):
            self.overlay(0).send_data(circuit.hop.address, circuit.circuit_id, self.address(1), ZERO, data)
        await self.deliver_messages()
        assert not exit_socket.enabled
        assert self.drops(3)[DropCounter.EXIT_REFUSED] == 3

    async def test_speed_tests(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 1)
        result = await run_speed_test(self.overlay(0), circuit, 100, 200, 120, window=7)
        assert (result["messages_sent"], result["messages_received"]) == (120, 120)
        assert result["rtt_mean"] > 0
        assert result["speed_up"] > 0
        assert result["speed_down"] > 0
        answer = await self.overlay(0).send_test_request(circuit, 10, 60000)
        assert answer is not None
        assert len(answer[0]) == module.MAX_TEST_RESPONSE
        self.settings(3).peer_flags = {1, 2}
        with self.overlay(0).request_cache.passthrough(timeout=0.01):
            assert await self.overlay(0).send_test_request(circuit, 10, 10) is None
        circuit.close()
        assert (await run_speed_test(self.overlay(0), circuit, 1, 1, 5))["rtt_median"] == -1

    async def test_only_exits_and_ends_answer_speed_tests(self) -> None:
        await self.introduce_nodes()
        circuit = await self.build(0, 1)
        packet = self.overlay(0).get_prefix() + b"\x13" + circuit.circuit_id.to_bytes(4, "big") + bytes(4)
        self.overlay(0).on_test_request(self.address(3), packet, circuit.circuit_id)
        assert self.drops(0)[DropCounter.NOT_ADMITTED] == 1
        circuit.ctype = CIRCUIT_TYPE_RP_SEEDER
        self.overlay(0).on_test_request(self.address(3), packet, circuit.circuit_id)
        await self.deliver_messages()
        assert self.drops(3)[DropCounter.NOT_ADMITTED] == 1  # an answer is nothing that an exit gets
        circuit.ctype = "DATA"


class TestCandidates(TunnelTest):
    async def test_flags(self) -> None:
        self.settings(2).peer_flags |= {16384, 32768}
        await self.introduce_nodes()
        assert {1, 2, 4, 8, 512} <= set(self.overlay(0).candidates[self.peer(3)])
        assert {1, 8, 16384, 32768} <= set(self.overlay(0).candidates[self.peer(2)])
        assert self.overlay(0).get_candidates(2) == [self.peer(3)]
        assert len(self.overlay(0).get_candidates()) == 3
        self.overlay(0).candidates[self.peer(1)] = {1, 2}
        assert self.peer(1) in self.overlay(0).get_candidates(1, 2)

    async def test_bad_flags(self) -> None:
        assert self.overlay(0).extract_peer_flags(b"") == []
        assert self.overlay(0).extract_peer_flags(b"\0\5") == [1, 4]
        assert self.overlay(0).extract_peer_flags(b"\1") == []
        assert self.overlay(0).extract_peer_flags(b"\0\5more") == [1, 4]

    async def test_peers_that_leave(self) -> None:
        await self.introduce_nodes()
        self.network(0).remove_peer(self.peer(1))
        self.overlay(0).do_remove()
        assert self.peer(1) not in self.overlay(0).candidates
        assert len(self.overlay(0).candidates) == 2

    async def test_exits_of_each_type(self) -> None:
        await self.introduce_nodes()
        assert self.overlay(0).select_exit() == self.peer(3)
        assert self.overlay(0).select_exit(exit_flags=[4]) == self.peer(3)
        assert self.overlay(0).select_exit(exit_flags=[16384]) is None
        assert self.overlay(0).select_exit(ctype=CIRCUIT_TYPE_IP_SEEDER) == self.peer(3)
        assert self.overlay(0).select_exit(ctype=CIRCUIT_TYPE_RP_SEEDER) is not None


class TestSettings(TunnelTest):
    nodes_wanted = 1

    async def test_flags_belong_to_one_object(self) -> None:
        one, other = TunnelSettings(), TunnelSettings(peer_flags={1, 2})
        one.peer_flags |= {4}
        other.peer_flags.add(32768)
        assert one.peer_flags == {1, 4, 8}
        assert other.peer_flags == {1, 2, 32768}
        assert TunnelSettings().peer_flags == {1, 8}
        copied = TunnelSettings()
        vars(copied).update(vars(one))
        assert copied.peer_flags == {1, 4, 8}

    async def test_endpoints_are_told(self) -> None:
        told: list[Any] = []

        class Endpoint:
            def set_peer_flags(self, flags: set[int]) -> None:
                told.append(flags)

            def set_max_relay_early(self, number: int) -> None:
                told.append(number)

        settings = TunnelSettings(endpoint=Endpoint(), max_relay_early=3, anything_else=5)
        settings.peer_flags |= {2}
        settings.max_relay_early = 5
        assert told == [{1, 2, 8}, 5]
        assert settings.max_relay_early == 5


@pytest.mark.parametrize("flags", [7, "relay", {0}, {-1}, {1 << 16}, {"relay"}, None, [1, None]])
def test_flags_that_are_none(flags: Any) -> None:
    settings = TunnelSettings()
    with pytest.raises(ValueError, match="must be a set of PEER_FLAG"):
        settings.peer_flags = flags
    with pytest.raises(ValueError, match="must be a set of PEER_FLAG"):
        TunnelSettings(peer_flags=flags)
    assert settings.peer_flags == {1, 8}


def test_flags_of_files() -> None:
    """They are lists there."""
    settings = TunnelSettings()
    settings.peer_flags = [1, 2]  # type: ignore[assignment]  # not by what it says, but by what JSON has
    settings.peer_flags |= {4}
    assert settings.peer_flags == {1, 2, 4}
    with pytest.raises(ValueError, match="number of cells"):
        settings.max_relay_early = "8"  # type: ignore[assignment]  # this is the test


@pytest.mark.parametrize(("name", "value"), [("anonymous_hops", 0), ("anonymous_hops", 9), ("anonymous_hops", "2"),
                                             ("next_hop_timeout", 0), ("next_hop_timeout", -1.0)])
def test_settings_that_make_circuits_impossible(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        TunnelCommunity(TunnelSettings(**{name: value}))


class TestPlaces(TunnelTest):
    """Circuits of others take one place each, those that go on two, and there are never more than the settings say."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        await self.introduce_nodes()

    def places(self, i: int) -> int:
        return sum(self.tables(i)[1:])

    async def build_by(self, i: int, single_pass: bool = False) -> Any:
        """A circuit whose first hop is node ``i``, and that could go on."""
        self.settings(0).single_pass = single_pass
        return await self.build(0, 1, required_exit=Peer(self.public_key(i), self.address(i)))

    async def extend(self, *circuits: Any) -> None:
        """Let circuits go on to node 3, all at once."""
        for circuit in circuits:
            circuit.goal_hops, circuit.required_exit = 2, self.peer(3)
            self.overlay(0).send_extend(circuit, [], 1)
        await self.deliver_messages()

    async def test_circuits_that_are_extended_take_a_second_place(self) -> None:
        self.settings(1).max_joined_circuits = 5
        circuits = [await self.build_by(1) for _ in range(4)]
        assert self.tables(1) == (0, 0, 4)
        await self.extend(circuits[0])
        assert self.tables(1) == (0, 2, 3)
        assert await self.works(circuits[0])
        await self.extend(*circuits[1:])
        assert self.places(1) <= 5
        states = [circuit.state for circuit in circuits[1:]]
        assert states == [CIRCUIT_STATE_CLOSING, CIRCUIT_STATE_READY, CIRCUIT_STATE_CLOSING], "nobody waits in vain"
        for circuit in (circuits[0], circuits[2]):
            assert await self.works(circuit)

    async def test_those_that_have_not_proved_themselves_make_room(self) -> None:
        """Also those that were joined just now, as a flood of creates leaves no older ones."""
        self.settings(1).max_joined_circuits = 3
        circuit = await self.build_by(1)
        await self.works(circuit)
        unproven = [await self.build_by(1) for _ in range(2)]
        for other in unproven:
            self.overlay(1).exit_sockets[other.circuit_id].proven = False
        await self.extend(circuit)
        assert self.tables(1) == (0, 2, 1)
        assert await self.works(circuit)
        assert await self.works(unproven[1])

    async def test_places_that_were_taken_while_the_next_node_was_asked(self) -> None:
        self.settings(1).max_joined_circuits = 3
        first, second = [await self.build_by(1) for _ in range(2)]
        node = self.overlay(1)
        become = node._become_relay

        def later(cache: Any) -> Any:
            for circuit_id in (7, 8):
                node.exit_sockets[circuit_id] = node.exit_sockets[second.circuit_id]
            return become(cache)

        node._become_relay = later
        await self.extend(first)
        del node._become_relay, node.exit_sockets[7], node.exit_sockets[8]
        assert self.tables(1) == (0, 0, 1)
        assert first.state == CIRCUIT_STATE_CLOSING
        await self.extend(second)
        assert await self.works(second)

    async def test_one_circuit_can_go_on_in_any_case(self) -> None:
        self.settings(1).max_joined_circuits = 1
        circuit = await self.build_by(1)
        await self.extend(circuit)
        assert self.tables(1) == (0, 2, 0)
        assert await self.works(circuit)

    async def test_circuits_that_are_built_in_one_pass(self) -> None:
        self.settings(1).max_joined_circuits = 4
        self.overlay(0).candidates.pop(self.peer(2))
        circuits = [await self.build(0, 2, required_exit=self.peer(3)) for _ in range(2)]
        assert self.tables(1) == (0, 4, 0)
        self.overlay(1).should_join_circuit = lambda *_: succeed(True)
        more = [self.overlay(0).create_circuit(2, required_exit=self.peer(3)) for _ in range(5)]
        await self.deliver_messages()
        assert all(circuit is None or circuit.state != CIRCUIT_STATE_READY for circuit in more)
        assert self.tables(1)[1] == 4
        for circuit in circuits:
            assert await self.works(circuit)


class TestHostile(TunnelTest):
    """Bad input: nothing is raised, the tables stay small, and honest circuits live on."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.manual = self.use_clock()
        await self.introduce_nodes()
        self.circuit = await self.build(0, 3)

    async def tearDown(self) -> None:  # type: ignore[override]  # as in the base class
        assert self.circuit.state == CIRCUIT_STATE_READY
        assert await self.works(self.circuit)
        await super().tearDown()

    def create(self, circuit_id: int, key: bytes | None = None) -> bytes:
        half = default_eccrypto.generate_key("curve25519").get_crypt_pk()
        public = default_eccrypto.generate_key("curve25519").pub().key_to_bin() if key is None else key
        return b"".join((self.overlay(0).get_prefix(), b"\0", circuit_id.to_bytes(4, "big"), b"\1\1\2", b"\xa1\xb2",
                         len(public).to_bytes(2, "big"), public, b"\0\x20", half))

    async def test_floods_of_create(self) -> None:
        node = self.overlay(3)
        self.settings(3).max_joined_circuits = 20
        node.send_cell = lambda *_: None
        for number in range(1000):
            source = UDPv4Address(f"{number % 200 + 20}.{number // 200}.1.1", 1000 + number)
            node.crypto_endpoint.on_packet((source, self.create(number + 1000)))
            if number % 100 == 0:
                await self.deliver_messages()
        await self.deliver_messages()
        del node.send_cell
        assert len(node.exit_sockets) + len(node.relay_from_to) <= 20
        assert node.drops[DropCounter.RATE_LIMITED] > 100

    async def test_one_host_takes_no_more_than_its_share(self) -> None:
        node = self.overlay(3)
        node.send_cell = lambda *_: None
        for number in range(200):
            node.crypto_endpoint.on_packet((UDPv4Address("77.7.7.7", 1000 + number), self.create(number + 1000)))
            await asyncio.sleep(0)
        await self.deliver_messages()
        del node.send_cell
        assert len(node.exit_sockets) <= 51

    async def test_new_circuits_during_a_flood(self) -> None:
        """Those that do not prove themselves make room."""
        node = self.overlay(3)
        self.settings(3).max_joined_circuits = 10
        node.send_cell = lambda *_: None
        for number in range(40):
            node.crypto_endpoint.on_packet((UDPv4Address(f"{number + 20}.1.1.1", 1000), self.create(number + 1000)))
        await self.deliver_messages()
        del node.send_cell
        assert len(node.exit_sockets) == 10
        self.manual.advance(1.5)
        circuit = await self.build(0, 1)
        assert await self.works(circuit)
        assert sum(entry.proven for entry in node.exit_sockets.values()) == 2

    def create_with_block(self, circuit_id: int, first: int, second: int) -> bytes:
        """A create for node ``first``, which shall ask node ``second`` before it answers."""
        secrets = [default_eccrypto.generate_key("curve25519") for _ in range(2)]
        hops = [PlannedHop(self.key_bin(i), self.address(i), secret.get_crypt_pk(),
                           secret.diffie_hellman(self.public_key(i).get_crypt_pk()))
                for i, secret in zip((first, second), secrets, strict=True)]
        create = self.create(circuit_id)[:-HALF_SIZE] + secrets[0].get_crypt_pk()
        start = len(create) - CREATE_SIZE
        return create[:start] + pad(create[start:] + make_block(hops, entropy.randbytes(BLOCK_SIZE)))

    async def flood_with_blocks(self, sources: Iterable[UDPv4Address]) -> None:
        """Creates with forged sources, each of which makes node 3 ask node 1 and become a relay."""
        node = self.overlay(3)
        forged = set(sources)
        send = node.endpoint.send
        node.endpoint.send = lambda address, packet: None if address in forged else send(address, packet)
        for number, source in enumerate(sources):
            node.crypto_endpoint.on_packet((source, self.create_with_block(number + 1000, 3, 1)))
            await self.deliver_messages()

    async def test_new_circuits_during_a_flood_of_creates_with_blocks(self) -> None:
        """A node that became a relay before its origin proved anything is in the same position as an exit."""
        self.settings(3).max_joined_circuits = 11
        await self.flood_with_blocks([UDPv4Address(f"{number + 20}.1.1.1", 1000) for number in range(20)])
        assert self.tables(3) == (0, 10, 1)
        assert len(self.overlay(1).exit_sockets) == 5
        self.manual.advance(1.5)
        circuit = await self.build(0, 1, required_exit=Peer(self.public_key(3), self.address(3)))
        assert await self.works(circuit)
        assert self.tables(3) == (0, 8, 2)
        assert len(self.overlay(1).exit_sockets) == 4, "the next node is told what was evicted"

    async def test_relays_that_carry_something_are_not_evicted(self) -> None:
        self.settings(2).max_joined_circuits = self.settings(1).max_joined_circuits = 2
        used = [i for i in range(1, 3) if self.overlay(i).relay_from_to]
        assert used
        self.manual.advance(5)
        for i in used:
            before = self.tables(i)
            self.overlay(i).crypto_endpoint.on_packet((UDPv4Address("77.7.7.7", 7), self.create(1000)))
            await self.deliver_messages()
            assert self.tables(i) == before

    async def test_one_host_takes_no_more_than_its_share_with_blocks(self) -> None:
        self.settings(3).max_joined_circuits = 20
        await self.flood_with_blocks([UDPv4Address("77.7.7.7", 1000 + number) for number in range(20)])
        assert self.tables(3) == (0, 10, 1)

    async def test_circuit_ids_that_are_in_use(self) -> None:
        for i in range(4):
            node = self.overlay(i)
            for circuit_id in [*node.circuits, *node.relay_from_to, *node.exit_sockets, 0]:
                before = self.all_tables()
                for source in (self.address((i + 1) % 4), UDPv4Address("77.7.7.7", 7)):
                    node.crypto_endpoint.on_packet((source, self.create(circuit_id)))
                await self.deliver_messages()
                assert self.all_tables() == before

    async def test_keys_that_are_none(self) -> None:
        node = self.overlay(3)
        for key in (b"", b"LibNaCLPK:", b"x" * 74, b"LibNaCLPK:" + bytes(64)):
            node.crypto_endpoint.on_packet((self.address(1), self.create(5000, key)))
        low_order = self.create(5001)[:-32] + bytes(32)
        node.crypto_endpoint.on_packet((self.address(1), low_order))
        await self.deliver_messages()
        assert 5001 not in node.exit_sockets

    async def test_each_message_cut_and_lengthened(self) -> None:
        create = self.create(6000)
        for i in range(4):
            node = self.overlay(i)
            for size in range(len(create) + 1):
                node.crypto_endpoint.on_packet((self.address(1), create[:size]))
            await self.deliver_messages()
            bodies = [bytes(size) for size in range(60)]
            for msg_id in range(256):
                for circuit_id in [*node.circuits, *node.relay_from_to, *node.exit_sockets, 9]:
                    for body in bodies[::7]:
                        packet = node.get_prefix() + bytes((msg_id,)) + circuit_id.to_bytes(4, "big") + body
                        if msg_id != 1:
                            node.on_packet_from_circuit(self.address((i + 1) % 4), packet, circuit_id)
            await self.deliver_messages()

    async def test_bytes_behind_a_message(self) -> None:
        node = self.overlay(3)
        node.crypto_endpoint.on_packet((self.address(1), self.create(6001) + b"more"))
        await self.deliver_messages()
        assert 6001 in node.exit_sockets
        assert self.tables(3)[2] == 2

    async def test_forged_created(self) -> None:
        """While a circuit is built, answers that the node that was asked has not made change nothing."""
        origin = self.overlay(0)
        self.endpoint(3).close()
        circuit = origin.create_circuit(1)
        assert circuit is not None
        await self.deliver_messages()
        cache = origin.request_cache.get("retry", circuit.circuit_id)
        for source in (self.address(3), self.address(1), UDPv4Address("77.7.7.7", 7)):
            for identifier in (cache.packet_identifier, cache.packet_identifier ^ 1):
                for key in (bytes(32), default_eccrypto.generate_key("curve25519").get_crypt_pk()):
                    body = identifier.to_bytes(2, "big") + b"\0\x20" + key + bytes(32) + bytes(25)
                    packet = origin.get_prefix() + b"\0" + circuit.circuit_id.to_bytes(4, "big") + b"\1\0\3" + body
                    origin.crypto_endpoint.on_packet((source, packet))
        assert circuit.state == CIRCUIT_STATE_EXTENDING
        assert not circuit.hops
        assert origin.request_cache.has("retry", circuit.circuit_id)
        self.endpoint(3).open()
        origin.send_initial_create(circuit, [self.peer(3)], 1)
        await self.deliver_messages()
        assert circuit.state == CIRCUIT_STATE_READY

    async def test_the_true_answer_from_another_address(self) -> None:
        origin, sent = self.overlay(0), []
        self.endpoint(3).send = lambda address, packet: sent.append(packet)
        circuit = origin.create_circuit(1)
        await self.deliver_messages()
        del self.endpoint(3).send
        origin.crypto_endpoint.on_packet((UDPv4Address("77.7.7.7", 7), sent[0]))
        assert not circuit.hops
        assert self.drops(0)[DropCounter.UNSOLICITED] == 1
        origin.crypto_endpoint.on_packet((self.address(3), sent[0]))
        assert circuit.state == CIRCUIT_STATE_READY
        origin.crypto_endpoint.on_packet((self.address(3), sent[0]))
        assert len(circuit.hops) == 1

    async def test_a_created_in_the_place_of_an_extended(self) -> None:
        """A created in clear, which anybody can make, does not end a circuit that waits for its second hop."""
        self.endpoint(3).close()
        self.overlay(0).candidates = {self.peer(1): [1]}
        self.overlay(0).path.guards.guards.clear()
        circuit = self.overlay(0).create_circuit(2, required_exit=self.peer(3))
        await self.deliver_messages()
        assert len(circuit.hops) == 1
        identifier = self.overlay(0).request_cache.get("retry", circuit.circuit_id).packet_identifier
        body = identifier.to_bytes(2, "big") + b"\0\x20" + bytes(32) + bytes(32) + bytes(25)
        packet = self.overlay(0).get_prefix() + b"\0" + circuit.circuit_id.to_bytes(4, "big") + b"\1\0\3" + body
        self.overlay(0).crypto_endpoint.on_packet((circuit.hop.address, packet))
        await self.deliver_messages()
        assert circuit.state == CIRCUIT_STATE_EXTENDING
        self.endpoint(3).open()

    async def test_answers_to_short_requests_are_short(self) -> None:
        node, sent = self.overlay(1), []
        for number in range(8):
            stranger = Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address(f"{number + 20}.2.2.2", 2))
            node.candidates[stranger] = [1, 2]
        node.endpoint.send = lambda address, packet: sent.append((address, packet))
        request = self.create(8000)
        node.crypto_endpoint.on_packet((UDPv4Address("77.7.7.7", 7), request))
        node.crypto_endpoint.on_packet((self.address(3), self.create(8001)))
        node.crypto_endpoint.on_packet((UDPv4Address("78.7.7.7", 7), self.create(8002) + bytes(402)))
        await self.deliver_messages()
        del node.endpoint.send
        short, known, padded = (len(packet) for _, packet in sent)
        assert short <= 3 * len(request)
        assert known > 3 * len(request)
        assert padded == known

    async def test_answers_go_to_the_neighbour(self) -> None:
        exit_socket = next(iter(self.overlay(3).exit_sockets.values()))
        sent: list[Any] = []
        self.overlay(3).send_cell = lambda address, payload: sent.append((address, payload.msg_id))
        head = exit_socket.circuit_id.to_bytes(4, "big")
        for msg_id in (6, 19):
            packet = self.overlay(3).get_prefix() + bytes((msg_id,)) + head + bytes(4)
            self.overlay(3).on_packet_from_circuit(UDPv4Address("77.7.7.7", 7), packet, exit_socket.circuit_id)
        del self.overlay(3).send_cell
        assert sent == [(exit_socket.hop.address, 7), (exit_socket.hop.address, 20)]

    async def test_an_impostor_is_not_added(self) -> None:
        """A node that answers with a proof for its own ephemeral key, but has not the key of the one that was asked."""
        origin, impostor = self.overlay(0), self.overlay(2)
        wanted = Peer(default_eccrypto.generate_key("curve25519").pub(), self.address(2))
        for _ in range(4):
            circuit = origin.create_circuit(1, required_exit=wanted)
            assert circuit is not None
            await self.deliver_messages()
            assert circuit.state == CIRCUIT_STATE_EXTENDING
            assert not circuit.hops
            await origin.remove_circuit(circuit.circuit_id)
        assert impostor.exit_sockets

    async def test_an_impostor_behind_a_relay(self) -> None:
        origin = self.overlay(0)
        wanted = Peer(default_eccrypto.generate_key("curve25519").pub(), self.address(3))
        circuit = origin.create_circuit(2, required_exit=wanted)
        assert circuit is not None
        await self.deliver_messages()
        assert await circuit.ready is None
        assert len(circuit.hops) == 1

    async def test_created_of_others_at_a_relay(self) -> None:
        """A relay passes on the answer of the node that it asked, and of no other."""
        relay = self.overlay(1)
        exit_socket = None
        await self.overlay(0).remove_circuit(self.circuit.circuit_id, destroy=1)
        await self.deliver_messages()
        self.endpoint(3).close()
        first = self.peer(1)
        self.overlay(0).candidates = {first: [1]}
        self.overlay(0).path.guards.guards.clear()
        circuit = self.overlay(0).create_circuit(2, required_exit=self.peer(3))
        assert circuit is not None
        await self.deliver_messages()
        exit_socket, = relay.exit_sockets.values()
        (to_circuit_id, number), = ((key, value) for key, value in relay.extensions.pending.items()
                                    if relay.request_cache.has("create", value))
        body = number.to_bytes(2, "big") + b"\0\x20" + bytes(32) + bytes(32) + bytes(25)
        for source, circuit_id in ((self.address(2), to_circuit_id), (self.address(3), to_circuit_id ^ 1),
                                   (self.address(3), exit_socket.circuit_id)):
            packet = relay.get_prefix() + b"\0" + circuit_id.to_bytes(4, "big") + b"\1\0\3" + body
            relay.crypto_endpoint.on_packet((source, packet))
        assert not relay.relay_from_to
        assert relay.request_cache.has("create", number)
        self.endpoint(3).open()
        await self.introduce_nodes()
        self.circuit = await self.build(0, 3)

    async def test_created_after_a_hop(self) -> None:
        circuit = self.circuit
        body = b"\0\0\0\x20" + bytes(32) + bytes(32) + bytes(25)
        packet = self.overlay(0).get_prefix() + b"\0" + circuit.circuit_id.to_bytes(4, "big") + b"\1\0\3" + body
        self.overlay(0).crypto_endpoint.on_packet((circuit.hop.address, packet))
        assert self.drops(0)[DropCounter.UNSOLICITED] == 1
        assert len(circuit.hops) == 3

    async def test_where_circuits_are_not_extended_to(self) -> None:
        """A relay does not send to addresses that no node can have, nor often to one that it does not know."""
        relay = self.overlay(1)
        relay.endpoint = endpoint = self.endpoint(1)
        previous = self.peer(0)
        stranger = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
        target = relay._extension_target
        for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.169.254", "127.0.0.1"):
            assert target(previous, {}, stranger, UDPv4Address(host, 80)) is None
        assert target(previous, {}, stranger, UDPv4Address("8.8.8.8", 0)) is None
        assert target(previous, {}, stranger, ZERO) is None
        assert target(previous, {}, relay.my_peer.public_key.key_to_bin(), self.address(3)) is None
        assert target(previous, {}, b"no key", UDPv4Address("8.8.8.8", 80)) is None
        assert target(previous, {}, stranger, endpoint.wan_address) is None
        for number in range(40):
            last = target(previous, {}, stranger, UDPv4Address("8.8.4.4", 80 + number))
        assert last is None
        assert target(previous, {}, stranger, UDPv4Address("8.8.8.8", 80)) is not None
        assert target(previous, {}, self.key_bin(3), ZERO) == self.peer(3)

    async def test_many_extends(self) -> None:
        circuit = await self.build(0, 1)
        sent: list[Any] = []
        last = self.overlay(3)
        real = last.send_cell_and_rest
        last.send_cell_and_rest = lambda *arguments: sent.append(arguments)
        for number in range(50):
            payload = messages.ExtendPayload(circuit.circuit_id, number, self.key_bin(1), bytes(32), ZERO)
            self.overlay(0).send_cell(circuit.hop.address, payload)
        await self.deliver_messages()
        last.send_cell_and_rest = real
        assert 0 < len(sent) <= 8
        assert self.drops(3)[DropCounter.RATE_LIMITED] >= 40

    async def test_a_relay_without_the_flag_does_not_extend(self) -> None:
        self.settings(3).peer_flags = {2, 8}
        circuit = await self.build(0, 1)
        assert self.overlay(3).request_cache.get(CreatedRequestCache, circuit.circuit_id) is not None
        payload = messages.ExtendPayload(circuit.circuit_id, 5, self.key_bin(1), bytes(32), ZERO)
        self.overlay(0).send_cell(circuit.hop.address, payload)
        await self.deliver_messages()
        assert self.drops(3)[DropCounter.NOT_ADMITTED] == 1
        assert not self.overlay(3).extensions.pending.items()

    async def test_a_node_that_serves_nobody(self) -> None:
        self.settings(2).peer_flags = set()
        self.overlay(2).crypto_endpoint.on_packet((self.address(0), self.create(7000)))
        await self.deliver_messages()
        assert 7000 not in self.overlay(2).exit_sockets

    async def test_replays_and_reordering(self) -> None:
        """All cells of a while again, in another order, from where they came and from elsewhere."""
        links = [MockLink() for _ in self.nodes]
        for node, link in zip(self.nodes, links, strict=True):
            node.endpoint.link = link
        for _ in range(30):
            assert await self.works(self.circuit)
        for node in self.nodes:
            node.endpoint.link = None
        recorded = [entry for link in links for entry in link.trace if entry[2][22] == 0]
        answered = self.endpoint(3).bytes_up
        for source, destination, data in [*reversed(recorded), *recorded]:
            node = next(node for node in self.nodes if node.endpoint.wan_address == destination)
            node.endpoint.notify_listeners((source, data))
            node.endpoint.notify_listeners((UDPv4Address("77.7.7.7", 7), data))
        await self.deliver_messages()
        assert self.endpoint(3).bytes_up == answered
        assert sum(self.drops(i)[DropCounter.REPLAYED] for i in range(4)) > 0, [self.drops(i) for i in range(4)]

    async def test_pongs_and_test_responses_that_nobody_waits_for(self) -> None:
        for payload in (messages.PongPayload(self.circuit.circuit_id, 5),
                        messages.TestResponsePayload(self.circuit.circuit_id, 5, b"x")):
            packet = self.overlay(0).get_prefix() + bytes((payload.msg_id,)) + (
                self.overlay(0).serializer.pack_serializable(payload))
            self.overlay(0).on_packet_from_circuit(self.circuit.hop.address, packet, self.circuit.circuit_id)
        assert self.drops(0)[DropCounter.UNSOLICITED] == 2


class Mixed(TunnelCommunity, MockCommunity):
    """An overlay of tests, which is no tunnel community inside, with the settings that other libraries have."""

    def __init__(self) -> None:
        MockCommunity.__init__(self)
        self.settings: Any = SimpleNamespace(peer_flags={1, 2})


async def test_an_overlay_of_tests_walks(monkeypatch: Any) -> None:
    overlay = Mixed()
    addressees: list[Any] = []
    monkeypatch.setattr(overlay.endpoint, "send", lambda address, _packet: addressees.append(address))
    overlay.walk_to(UDPv4Address("127.0.0.1", 5))
    assert addressees == [("127.0.0.1", 5)]
    await MockCommunity.unload(overlay)
