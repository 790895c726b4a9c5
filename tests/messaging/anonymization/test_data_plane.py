"""What becomes of each cell: on which link, from whom, in clear or encrypted, for a relay, an exit or the origin."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.cells import (
    HEADER_SIZE,
    PADDED,
    PADDED_SIZE,
    CellPayload,
    pad_message,
    unpad_message,
)
from ipv8.messaging.anonymization.crypto import CryptoEndpoint, PythonCryptoEndpoint
from ipv8.messaging.anonymization.handshake import seal_candidates
from ipv8.messaging.anonymization.hybrid import HOP_MESSAGES
from ipv8.messaging.anonymization.scheduler import QUEUE_LIMIT
from ipv8.messaging.anonymization.session_keys import BACKWARD, FORWARD, CryptoException
from ipv8.messaging.anonymization.tunnel import (
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
    Circuit,
    Hop,
    RelayRoute,
)
from ipv8.messaging.interfaces.endpoint import Endpoint
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.routes import Route
from ipv8.peer import Peer
from tests.messaging.anonymization.helpers import PREFIX, VECTORS, numbered_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

ORIGIN, RELAY, EXIT, STRANGER = (UDPv4Address(f"10.0.0.{number}", 1000 + number) for number in range(1, 5))
KEY = default_eccrypto.generate_key("curve25519").pub()
PING = b"\x06\x00\x01"


class Recorder(Endpoint):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[Any, bytes]] = []

    def assert_open(self) -> None:
        pass

    def is_open(self) -> bool:
        return True

    def get_address(self) -> Any:
        return ("10.0.0.9", 9)

    def send(self, socket_address: Any, packet: bytes) -> None:
        self.sent.append((socket_address, packet))

    async def open(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def reset_byte_counters(self) -> None:
        pass


class Community:
    """What the data plane needs of a community."""

    def __init__(self) -> None:
        self.drops = DropCounter()
        self.decode_map: list[Any] = [self.on_cell]
        self.handled: list[tuple[Any, bytes, int]] = []
        self.packets: list[tuple[Any, bytes]] = []
        self.of_hops: list[tuple[int, int | None, bytes]] = []

    def get_prefix(self) -> bytes:
        return PREFIX

    def accepts_route(self, route: Route) -> bool:
        return route is Route.RELAY

    def on_cell(self, source: Any, data: bytes) -> None:
        raise AssertionError("cells are handed over directly")

    def on_packet(self, packet: Any) -> None:
        self.packets.append(packet)

    def on_packet_from_circuit(self, source: Any, data: bytes, circuit_id: int) -> None:
        self.handled.append((source, data, circuit_id))

    def on_hop_message(self, circuit_id: int, hop: int | None, message: bytes) -> None:
        self.of_hops.append((circuit_id, hop, message))

    def register_anonymous_task(self, *_: Any, **__: Any) -> None:
        pass


class Node:
    """A data plane with its surroundings."""

    #: Whether packets arrive as those of a socket do.
    together = False

    def __init__(self, max_relay_early: int = 8) -> None:
        self.endpoint = Recorder()
        self.community = Community()
        self.plane = PythonCryptoEndpoint(self.endpoint)
        self.settings = SimpleNamespace(max_relay_early=max_relay_early, max_relay_bandwidth=0, max_exit_bandwidth=0,
                                        pad_data=False)
        self.plane.setup_tunnels(self.community, self.settings)  # type: ignore[arg-type]  # they quack

    @property
    def drops(self) -> dict[str, int]:
        return dict(self.community.drops)

    async def receive(self, source: Any, *packets: bytes) -> None:
        arrived: Sequence[tuple[Any, bytes]] = [(source, packet) for packet in packets]
        if arrived and self.together and self.plane._queue_packets is not None:
            arrived = self.plane._queue_packets(arrived)
        for packet in arrived:
            self.plane.on_packet(packet)
        for _ in range(20):
            await asyncio.sleep(0)

    def take(self) -> list[tuple[Any, bytes]]:
        sent, self.endpoint.sent = self.endpoint.sent, []
        return sent

    def handled(self) -> list[bytes]:
        """The messages that the community got, without prefix and circuit id."""
        return [data[22:23] + data[27:] for _, data, _ in self.community.handled]


@pytest.fixture(autouse=True, params=["one by one", "together"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests with both ways by which packets arrive."""
    monkeypatch.setattr(Node, "together", request.param == "together")


def hop(address: Any, keys: Any = None) -> Hop:
    return Hop(Peer(KEY, address), keys)


def own_circuit(node: Node, circuit_id: int, *numbers: int, ctype: str = "DATA") -> Circuit:
    circuit = Circuit(circuit_id, len(numbers), ctype)
    for number in numbers:
        circuit.add_hop(hop(RELAY if number == numbers[0] else ("0.0.0.0", 0), numbered_keys(number)))
    node.plane.circuits[circuit_id] = circuit
    return circuit


def relayed(node: Node, number: int = 1) -> Any:
    """A circuit with the id 1 on the link to the origin, and 2 on the one to the exit."""
    keys = numbered_keys(number)
    node.plane.relays[1] = RelayRoute(2, hop(EXIT, keys), FORWARD)
    node.plane.relays[2] = RelayRoute(1, hop(ORIGIN, keys), BACKWARD)
    return keys


def joined(node: Node, number: int = 1) -> Any:
    """A circuit with the id 1 that ends at the node."""
    end = SimpleNamespace(hop=hop(ORIGIN, numbered_keys(number)), proven=False, pads_data=False)
    node.plane.exit_sockets[1] = end  # type: ignore[assignment]  # it quacks
    return end


def cell(circuit_id: int, message: bytes, plain: bool = False, early: bool = False) -> bytes:
    return CellPayload(circuit_id, message, plain, early).to_bin(PREFIX)


# Relays


async def test_a_relay_removes_a_layer_forward_and_adds_one_backward() -> None:
    node = Node()
    relayed(node)
    origin = numbered_keys(1)
    await node.receive(ORIGIN, cell(1, origin.forward.seal(b"to the exit")))
    assert node.take() == [(EXIT, cell(2, b"to the exit"))]
    await node.receive(EXIT, cell(2, b"to the origin"))
    [(target, packet)] = node.take()
    assert target == ORIGIN
    assert packet[:HEADER_SIZE] == cell(1, b"")
    assert origin.backward.open(packet[HEADER_SIZE:]) == b"to the origin"
    there, back = node.plane.relays[1], node.plane.relays[2]
    assert (there.bytes_up, back.bytes_up) == (len(cell(2, b"to the exit")), len(packet))
    assert (back.bytes_down, there.bytes_down) == (HEADER_SIZE + 24 + 11, HEADER_SIZE + 13)
    assert node.drops == {}
    assert node.community.handled == []


async def test_a_relay_keeps_the_order_of_many_cells() -> None:
    node = Node()
    relayed(node)
    origin = numbered_keys(1)
    messages = [bytes([number]) * 10 for number in range(100)]
    await node.receive(ORIGIN, *(cell(1, origin.forward.seal(message)) for message in messages))
    assert [packet[HEADER_SIZE:] for _, packet in node.take()] == messages


@pytest.mark.parametrize("source", [STRANGER, EXIT, RELAY])
async def test_cells_of_strangers_forward(source: Any) -> None:
    node = Node()
    relayed(node)
    await node.receive(source, cell(1, numbered_keys(1).forward.seal(b"x")))
    assert node.take() == []
    assert node.drops == {DropCounter.WRONG_NEIGHBOUR: 1}


async def test_the_port_of_a_neighbour_may_change_forward_with_a_genuine_cell() -> None:
    node = Node()
    relayed(node)
    origin = numbered_keys(1)
    other_port = UDPv4Address(ORIGIN.ip, 7)
    first = origin.forward.seal(b"one")
    await node.receive(other_port, cell(1, bytes(40)))
    assert node.plane.relays[2].hop.address == ORIGIN
    await node.receive(other_port, cell(1, first))
    assert node.plane.relays[2].hop.address == other_port
    await node.receive(ORIGIN, cell(1, first))
    assert node.plane.relays[2].hop.address == other_port, "not by a replay"
    assert node.drops == {DropCounter.NOT_AUTHENTIC: 1, DropCounter.REPLAYED: 1}


async def test_backward_even_the_port_must_be_the_same() -> None:
    node = Node()
    relayed(node)
    await node.receive(UDPv4Address(EXIT.ip, 7), cell(2, b"x"))
    await node.receive(STRANGER, cell(2, b"x"))
    assert node.take() == []
    assert node.drops == {DropCounter.WRONG_NEIGHBOUR: 2}


async def test_replays_are_not_passed_on() -> None:
    node = Node()
    relayed(node)
    origin = numbered_keys(1)
    stream = [cell(1, origin.forward.seal(bytes([number]))) for number in range(100)]
    await node.receive(ORIGIN, *stream)
    assert len(node.take()) == 100
    await node.receive(ORIGIN, *stream, *reversed(stream))
    assert node.take() == []
    assert node.drops == {DropCounter.REPLAYED: 200}


async def test_cells_in_clear_are_not_passed_on() -> None:
    node = Node()
    relayed(node)
    await node.receive(ORIGIN, cell(1, b"\x02create", plain=True))
    await node.receive(EXIT, cell(2, b"\x03created", plain=True))
    assert node.take() == []
    assert node.drops == {DropCounter.NOT_ADMITTED: 2}


@pytest.mark.parametrize("most", [0, 1, 3])
async def test_only_early_cells_count_as_early(most: int) -> None:
    node = Node(most)
    relayed(node)
    origin = numbered_keys(1)
    await node.receive(ORIGIN, *(cell(1, origin.forward.seal(b"late")) for _ in range(30)))
    assert len(node.take()) == 30
    await node.receive(ORIGIN, *(cell(1, origin.forward.seal(b"early"), early=True) for _ in range(10)))
    passed = node.take()
    assert [packet[28] for _, packet in passed] == [1] * len(passed)
    assert len(passed) == max(0, most - 1), "the extend that made the relay counts"
    await node.receive(ORIGIN, cell(1, origin.forward.seal(b"late")))
    assert len(node.take()) == 1


async def test_nobody_marks_cells_on_their_way_to_the_origin() -> None:
    node = Node()
    relayed(node)
    await node.receive(EXIT, *(cell(2, b"x", early=True) for _ in range(20)))
    assert [packet[28] for _, packet in node.take()] == [0] * 20


async def test_a_rendezvous_point_changes_layers() -> None:
    node = Node()
    ours, theirs = numbered_keys(1), numbered_keys(2)
    node.plane.relays[1] = RelayRoute(2, hop(EXIT, ours), FORWARD, True)
    node.plane.relays[2] = RelayRoute(1, hop(ORIGIN, theirs), FORWARD, True)
    origin, other = numbered_keys(1), numbered_keys(2)
    await node.receive(ORIGIN, cell(1, origin.forward.seal(b"end to end"), early=True))
    [(target, packet)] = node.take()
    assert (target, packet[:HEADER_SIZE]) == (EXIT, cell(2, b""))
    assert other.backward.open(packet[HEADER_SIZE:]) == b"end to end"


async def test_one_circuit_cannot_fill_the_queue_of_another() -> None:
    node = Node()
    relayed(node)
    keys = numbered_keys(5)
    node.plane.relays[3] = RelayRoute(4, hop(EXIT, keys), FORWARD)
    node.plane.relays[4] = RelayRoute(3, hop(ORIGIN, keys), BACKWARD)
    bulk = cell(1, numbered_keys(1).forward.seal(b"x"))
    small = cell(3, numbered_keys(5).forward.seal(b"small"))
    await node.receive(ORIGIN, *[bulk] * (QUEUE_LIMIT + 9), small)
    assert {packet for _, packet in node.take()} == {cell(2, b"x"), cell(4, b"small")}
    assert node.drops[DropCounter.RELAY_FULL] == 9, "dropped before anything was decrypted"


async def test_a_route_without_its_counterpart() -> None:
    node = Node()
    node.plane.relays[1] = RelayRoute(2, hop(EXIT, numbered_keys(1)), FORWARD)
    await node.receive(ORIGIN, cell(1, numbered_keys(1).forward.seal(b"x")))
    node.plane.relay_cell(CellPayload(1, b"x"))
    node.plane.relay_cell(CellPayload(9, b"x"))
    assert node.plane.outgoing_crypto(CellPayload(1, b"x")) is None
    assert node.drops == {DropCounter.UNKNOWN_CIRCUIT: 4}


async def test_relaying_by_hand() -> None:
    node = Node()
    relayed(node)
    node.plane.relay_cell(CellPayload(1, numbered_keys(1).forward.seal(b"x")))
    assert node.take() == [(EXIT, cell(2, b"x"))]


async def test_hops_without_keys() -> None:
    node = Node()
    node.plane.relays[1] = RelayRoute(2, hop(EXIT), FORWARD)
    node.plane.relays[2] = RelayRoute(1, hop(ORIGIN), BACKWARD)
    await node.receive(ORIGIN, cell(1, b"x"), cell(1, b"x"))
    circuit = Circuit(9, 1)
    node.plane.circuits[9] = circuit
    node.plane.send_cell(RELAY, CellPayload(9, PING))
    assert node.drops == {DropCounter.NO_KEYS: 3}


# Exits


async def test_an_exit_reads_and_answers() -> None:
    node = Node()
    end = joined(node)
    origin = numbered_keys(1)
    await node.receive(ORIGIN, cell(1, origin.forward.seal(PING)))
    assert node.community.handled == [(ORIGIN, PREFIX + b"\x06\0\0\0\1\0\1", 1)]
    assert end.proven
    node.plane.send_cell(ORIGIN, CellPayload(1, b"\x07\0\1"))
    [(target, packet)] = node.take()
    assert (target, origin.backward.open(packet[HEADER_SIZE:])) == (ORIGIN, b"\x07\0\1")


async def test_replays_forgeries_and_strangers_at_an_exit() -> None:
    node = Node()
    end = joined(node)
    origin = numbered_keys(1)
    genuine = cell(1, origin.forward.seal(PING))
    await node.receive(STRANGER, genuine)
    await node.receive(ORIGIN, genuine[:-1], cell(1, b"x"))
    assert not end.proven
    await node.receive(ORIGIN, genuine, genuine)
    assert node.handled() == [PING]
    assert node.drops == {DropCounter.WRONG_NEIGHBOUR: 1, DropCounter.NOT_AUTHENTIC: 2, DropCounter.REPLAYED: 1}


async def test_the_answer_of_an_exit_that_is_sent_back_to_it() -> None:
    node = Node()
    end = joined(node)
    sealed = seal_candidates(end.hop.keys, 1 << 62, [])
    origin = numbered_keys(1)
    await node.receive(ORIGIN, cell(1, sealed))
    assert not end.proven
    await node.receive(ORIGIN, cell(1, origin.forward.seal(PING)))
    assert node.handled() == [PING]
    assert node.drops == {DropCounter.REPLAYED: 1}


async def test_an_exit_follows_a_port_that_changes() -> None:
    node = Node()
    end = joined(node)
    other_port = UDPv4Address(ORIGIN.ip, 7)
    await node.receive(other_port, cell(1, bytes(50)))
    assert end.hop.address == ORIGIN
    await node.receive(other_port, cell(1, numbered_keys(1).forward.seal(PING)))
    assert end.hop.address == other_port


async def test_a_relay_goes_before_an_exit() -> None:
    """A circuit that is just being extended is in both tables."""
    node = Node()
    joined(node)
    relayed(node)
    await node.receive(ORIGIN, cell(1, numbered_keys(1).forward.seal(b"x")))
    assert node.take() == [(EXIT, cell(2, b"x"))]


async def test_cells_that_wait_while_the_circuit_changes() -> None:
    node = Node()
    joined(node)
    origin = numbered_keys(1)
    node.plane.on_packet((ORIGIN, cell(1, origin.forward.seal(b"x"))))
    del node.plane.exit_sockets[1]
    relayed(node)
    await node.receive(ORIGIN)
    assert node.take() == [(EXIT, cell(2, b"x"))]
    node.plane.on_packet((ORIGIN, cell(1, origin.forward.seal(b"x"))))
    node.plane.relays.clear()
    await node.receive(ORIGIN)
    assert node.drops == {DropCounter.UNKNOWN_CIRCUIT: 1}


# The origin


async def test_layers_of_an_own_circuit() -> None:
    node = Node()
    circuit = own_circuit(node, 1, 1, 2, 3)
    hops = [numbered_keys(number) for number in (1, 2, 3)]
    node.plane.send_cell(RELAY, CellPayload(1, PING))
    [(target, packet)] = node.take()
    assert (target, packet[28]) == (RELAY, 1)
    message = packet[HEADER_SIZE:]
    for keys in hops:
        message = keys.forward.open(message)
    assert message == PING
    for keys in reversed(hops):
        message = keys.backward.seal(message)
    await node.receive(RELAY, cell(1, message), cell(1, message))
    assert node.handled() == [PING]
    assert (circuit.bytes_up, circuit.bytes_down) == (len(packet), len(cell(1, message)))
    assert node.drops == {DropCounter.REPLAYED: 1}


async def test_strangers_and_other_ports_at_the_origin() -> None:
    node = Node()
    own_circuit(node, 1, 1)
    sealed = numbered_keys(1).backward.seal(PING)
    for source in (STRANGER, UDPv4Address(RELAY.ip, 7)):
        await node.receive(source, cell(1, sealed))
    assert node.handled() == []
    await node.receive(RELAY, cell(1, sealed))
    assert node.handled() == [PING]
    assert node.drops == {DropCounter.WRONG_NEIGHBOUR: 2}


async def test_the_first_cells_and_each_extend_are_early() -> None:
    node = Node(max_relay_early=3)
    own_circuit(node, 1, 1)
    for message in (PING, PING, PING, PING, b"\x04extend"):
        node.plane.send_cell(RELAY, CellPayload(1, message))
    assert [packet[28] for _, packet in node.take()] == [1, 1, 1, 0, 1]


@pytest.mark.parametrize(("ctype", "ours", "theirs"), [(CIRCUIT_TYPE_RP_SEEDER, FORWARD, BACKWARD),
                                                       (CIRCUIT_TYPE_RP_DOWNLOADER, BACKWARD, FORWARD)])
async def test_the_layer_between_both_ends(ctype: str, ours: int, theirs: int) -> None:
    node = Node()
    circuit = own_circuit(node, 1, 1, ctype=ctype)
    node.plane.send_cell(RELAY, CellPayload(1, PING))
    assert numbered_keys(1).decrypt_str(node.take()[0][1][HEADER_SIZE:], FORWARD) == PING
    circuit.hs_session_keys = numbered_keys(9)
    node.plane.send_cell(RELAY, CellPayload(1, PING))
    inner = numbered_keys(1).decrypt_str(node.take()[0][1][HEADER_SIZE:], FORWARD)
    assert numbered_keys(9).decrypt_str(inner, ours) == PING
    answer = numbered_keys(1).encrypt_str(numbered_keys(9).encrypt_str(b"\x07\0\1", theirs), BACKWARD)
    await node.receive(RELAY, cell(1, answer))
    assert node.handled() == [b"\x07\0\1"]


async def test_nothing_is_sent_in_clear() -> None:
    node = Node()
    node.plane.circuits[1] = Circuit(1, 1)
    for circuit_id in (1, 5):
        node.plane.send_cell(RELAY, CellPayload(circuit_id, PING))
    assert node.take() == []
    assert node.drops == {DropCounter.NO_KEYS: 1, DropCounter.UNKNOWN_CIRCUIT: 1}


# What may come in which way


async def test_only_create_and_created_come_in_clear() -> None:
    node = Node()
    joined(node)
    for msg_id in range(256):
        await node.receive(STRANGER, cell(7, bytes([msg_id]), plain=True))
    assert node.handled() == [b"\2", b"\3"]
    node.community.handled.clear()
    origin = numbered_keys(1)
    for msg_id in range(256):
        await node.receive(ORIGIN, cell(1, origin.forward.seal(bytes([msg_id])), early=True))
    assert node.handled() == [bytes([msg_id]) for msg_id in range(256)
                              if msg_id not in {2, 3, PADDED, *HOP_MESSAGES}]
    await node.receive(ORIGIN, cell(1, origin.forward.seal(b"")))
    assert node.drops == {DropCounter.NOT_ADMITTED: 254 + 3 + 1}


@pytest.mark.parametrize(("early", "most", "is_handled"), [(True, 8, True), (False, 8, False), (True, 0, False)])
async def test_only_early_cells_extend(early: bool, most: int, is_handled: bool) -> None:
    node = Node(most)
    joined(node)
    await node.receive(ORIGIN, cell(1, numbered_keys(1).forward.seal(b"\x04extend"), early=early))
    assert node.handled() == ([b"\x04extend"] if is_handled else [])


async def test_messages_for_one_hop() -> None:
    """They are read by the hop in the middle, and the origin knows whose answer it is."""
    relay, exiting, origin = Node(), Node(), Node()
    relayed(relay)
    joined(exiting, 2)
    circuit = own_circuit(origin, 1, 1, 2)
    for number in (0, 1):
        origin.plane.send_to_hop(circuit, number, b"\xa4for one hop")
    (_, first), (_, second) = origin.take()
    await relay.receive(ORIGIN, first, second)
    assert relay.community.of_hops == [(1, None, b"\xa4for one hop")]
    [(_, passed)] = relay.take()
    await exiting.receive(ORIGIN, passed[:23] + b"\0\0\0\1" + passed[27:])
    assert exiting.community.of_hops == [(1, None, b"\xa4for one hop")]
    relay.plane.send_cell(ORIGIN, CellPayload(1, b"\xa5from the relay"))
    exiting.plane.send_cell(EXIT, CellPayload(1, b"\xa5from the exit"))
    [(_, answer)] = exiting.take()
    await relay.receive(EXIT, answer[:23] + b"\0\0\0\2" + answer[27:])
    await origin.receive(RELAY, *(packet for _, packet in relay.take()))
    assert origin.community.of_hops == [(1, 0, b"\xa5from the relay"), (1, 1, b"\xa5from the exit")]
    assert [origin.drops, relay.drops, exiting.drops] == [{}, {}, {}]


# Padding


@pytest.mark.parametrize("knows", [True, False])
async def test_data_are_padded_both_ways(knows: bool) -> None:
    """If the settings of the origin say so, and the exit knows that."""
    origin, exiting = Node(), Node()
    circuit = own_circuit(origin, 1, 1)
    circuit.hops[0].flags = [512] if knows else [1]
    end = joined(exiting)
    origin.settings.pad_data = True
    messages = [b"\x01" + bytes(size) for size in (20, 1040, 1244, 1245, 1300)]
    for message in (PING, *messages):
        origin.plane.send_cell(RELAY, CellPayload(1, message))
    sent = [packet for _, packet in origin.take()]
    sizes = [len(packet) - HEADER_SIZE - 24 for packet in sent]
    assert sizes == [3, *([PADDED_SIZE] * 3 if knows else [21, 1041, 1245]), 1246, 1301]
    await exiting.receive(ORIGIN, *sent)
    assert exiting.handled() == [PING, *messages]
    assert end.pads_data is knows
    exiting.plane.send_cell(ORIGIN, CellPayload(1, messages[0]))
    await origin.receive(RELAY, *(packet for _, packet in exiting.take()))
    assert origin.handled() == [messages[0]]
    assert [origin.drops, exiting.drops] == [{}, {}]


@given(st.binary(max_size=1300))
def test_any_padded_message(data: bytes) -> None:
    inner = unpad_message(bytes((PADDED,)) + data)
    assert inner in data
    assert inner[:1] != bytes((PADDED,))
    if data[:1] != bytes((PADDED,)):
        assert unpad_message(pad_message(data)) == data or len(data) > PADDED_SIZE - 3


async def test_padding_around_nothing() -> None:
    node = Node()
    joined(node)
    origin = numbered_keys(1)
    for message in (b"\x24", b"\x24\0\0", b"\x24\0\5abc", b"\x24\0\4\x24\0\1\6", pad_message(b"\2create")):
        await node.receive(ORIGIN, cell(1, origin.forward.seal(message)))
    assert node.handled() == []
    assert node.drops == {DropCounter.NOT_ADMITTED: 5}


# Programs that replace methods, and other packets


async def test_methods_that_a_program_replaces() -> None:
    node = Node()
    joined(node)
    packets: list[Any] = []
    node.community.on_packet = packets.append  # type: ignore[method-assign,assignment]
    await node.receive(ORIGIN, cell(1, numbered_keys(1).forward.seal(PING)))
    assert packets == [(ORIGIN, cell(1, PING))]
    del node.community.on_packet
    node.community.decode_map[0] = print
    origin = numbered_keys(1)
    origin.salt_explicit_forward = 100
    await node.receive(ORIGIN, cell(1, origin.forward.seal(PING)))
    assert node.community.packets == [(ORIGIN, cell(1, PING))]


async def test_other_packets_go_to_the_community() -> None:
    node = Node()
    others = [PREFIX + b"\xf6introduction", b"\0\2" + bytes(20) + b"\0", PREFIX, b""]
    await node.receive(STRANGER, *others)
    assert node.community.packets == [(STRANGER, packet) for packet in others]
    alone = PythonCryptoEndpoint(Recorder())
    alone.on_packet((STRANGER, others[0]))
    assert alone.max_relay_early == 8
    assert not alone.accepts_route(Route.RELAY)
    assert node.plane.accepts_route(Route.RELAY)
    assert isinstance(alone, CryptoEndpoint)


async def test_of_what_arrived_together_only_cells_for_others_wait() -> None:
    node = Node()
    relayed(node)
    joined(node)
    node.plane.exit_sockets[7] = node.plane.exit_sockets.pop(1)
    own_circuit(node, 3, 1)
    forward, exiting = (cell(number, numbered_keys(1).forward.seal(PING)) for number in (1, 7))
    others = [PREFIX + b"\xf6introduction", cell(3, numbered_keys(1).backward.seal(PING)), b"\0\2" + bytes(26),
              PREFIX + bytes(4), PREFIX, b"", cell(4, b"unknown"), PREFIX + b"\0\0\0\0\1\0"]
    packets = [(ORIGIN, packet) for packet in (forward, *others[:4], exiting, *others[4:])]
    assert node.plane._queue_packets is not None
    left = node.plane._queue_packets(packets)
    assert left == [(ORIGIN, packet) for packet in others[:-1]]
    assert node.take() == []
    assert node.community.handled == []
    for _ in range(20):
        await asyncio.sleep(0)
    assert node.take() == [(EXIT, cell(2, PING))]
    assert node.handled() == [PING]
    assert node.drops == {DropCounter.SHORT: 1}


async def test_a_program_that_replaces_on_packet_gets_all_packets() -> None:
    node = Node()
    relayed(node)
    assert node.plane._queue_packets is not None
    packets = [(ORIGIN, cell(1, numbered_keys(1).forward.seal(PING)))] * 2
    node.plane.on_packet = print  # type: ignore[method-assign,assignment]
    assert node.plane._queue_packets(packets) == packets

    class Own(PythonCryptoEndpoint):
        def on_packet(self, packet: Any, warn_unknown: bool = True) -> None:
            pass

    assert Own(Recorder())._queue_packets is None


async def test_setup_again_leaves_one_listener() -> None:
    node = Node()
    node.plane.setup_tunnels(node.community, node.settings)  # type: ignore[arg-type]  # they quack
    assert node.endpoint.gate.prefix_listeners(PREFIX) == [node.plane]


async def test_each_length_of_a_cell() -> None:
    node = Node()
    joined(node)
    relayed_node = Node()
    relayed(relayed_node)
    own = Node()
    own_circuit(own, 1, 1)
    whole = cell(1, numbered_keys(1).forward.seal(PING))
    for size in range(22, len(whole)):
        for some in (node, relayed_node, own):
            await some.receive(ORIGIN if some is not own else RELAY, whole[:size])
    for some in (node, relayed_node, own):
        assert some.handled() == []
        assert some.take() == []
        assert sum(some.drops.values()) == len(whole) - 23
    await node.receive(ORIGIN, whole + b"\0")
    assert node.handled() == []


@settings(max_examples=60)
@given(st.integers(0, 3), st.binary(max_size=80), st.sampled_from([ORIGIN, EXIT, RELAY, STRANGER]))
def test_any_bytes(circuit_id: int, rest: bytes, source: Any) -> None:
    async def run() -> None:
        node = Node()
        relayed(node)
        joined(node)
        own_circuit(node, 3, 1, 2)
        await node.receive(source, PREFIX + b"\0" + circuit_id.to_bytes(4, "big") + rest)
        for _, packet in node.take():
            assert (circuit_id, source) == (2, EXIT)
            assert packet.startswith(PREFIX + b"\0\0\0\0\1\0\0")

    asyncio.run(run())


# By hand


def test_encrypting_by_hand() -> None:
    plane = PythonCryptoEndpoint(Recorder())
    hops = [hop(RELAY, numbered_keys(number)) for number in (1, 2)]
    one = CellPayload(1, PING)
    plane.encrypt_cell(one, FORWARD, *hops)
    plane.decrypt_cell(one, FORWARD, *[hop(RELAY, numbered_keys(number)) for number in (1, 2)])
    assert one.message == PING
    plain = CellPayload(1, b"\2", plaintext=True)
    plane.encrypt_cell(plain, FORWARD, *hops)
    plane.decrypt_cell(plain, FORWARD, *hops)
    assert plane.incoming_crypto(plain) is plane.outgoing_crypto(plain) is plain
    with pytest.raises(CryptoException):
        plane.encrypt_cell(one, FORWARD, hop(RELAY))
    with pytest.raises(CryptoException):
        plane.decrypt_cell(one, BACKWARD, hops[0])


def test_incoming_crypto() -> None:
    node = Node()
    joined(node)
    own_circuit(node, 2, 3)
    assert node.plane.incoming_crypto(CellPayload(1, numbered_keys(1).forward.seal(PING))).message == PING  # type: ignore[union-attr]
    assert node.plane.incoming_crypto(CellPayload(2, numbered_keys(3).backward.seal(PING))).message == PING  # type: ignore[union-attr]
    assert node.plane.incoming_crypto(CellPayload(3, PING)) is None
    assert node.plane.incoming_crypto(CellPayload(1, PING)) is None
    assert node.drops == {DropCounter.UNKNOWN_CIRCUIT: 1, DropCounter.NOT_AUTHENTIC: 1}


# The transcript of the ecosystem


class Replay:
    """Three nodes that are given the keys of the transcript, and the packets of it."""

    def __init__(self) -> None:
        transcript = VECTORS["transcript_2hop"]
        self.packets = [entry for entry in transcript["packets"] if "packet" in entry]
        self.messages = [entry for entry in transcript["packets"] if "message" in entry]
        self.nodes = {"initiator": Node(), "relay": Node(), "exit": Node()}
        self.addresses = {"initiator": ORIGIN, "relay": RELAY, "exit": EXIT}
        self.keys = transcript["hop_keys_with_final_counters"]
        self.links = [int.from_bytes(bytes.fromhex(entry["packet"])[23:27], "big")
                      for entry in self.packets if entry["packet"][44:46] == "00"]
        self.near, self.far = dict.fromkeys(self.links)

    def session(self, number: int) -> Any:
        keys = numbered_keys(0)
        for name in ("key_forward", "key_backward", "salt_forward", "salt_backward"):
            setattr(keys, name, bytes.fromhex(self.keys[number][name]))
        return keys

    def set_up(self) -> None:
        origin, relay, exiting = self.nodes.values()
        circuit = Circuit(self.near, 2)
        for number in (0, 1):
            circuit.add_hop(hop(RELAY, self.session(number)))
        origin.plane.circuits[self.near] = circuit
        keys = self.session(0)
        relay.plane.relays[self.near] = RelayRoute(self.far, hop(EXIT, keys), FORWARD)
        relay.plane.relays[self.far] = RelayRoute(self.near, hop(ORIGIN, keys), BACKWARD)
        end = SimpleNamespace(hop=hop(RELAY, self.session(1)), proven=False, pads_data=False)
        exiting.plane.exit_sockets[self.far] = end  # type: ignore[assignment]  # it quacks


async def test_the_data_plane_of_the_transcript() -> None:
    """What the nodes of the transcript sent after the circuit stood is byte for byte what ours send."""
    replay = Replay()
    replay.set_up()
    origin, relay, exiting = replay.nodes.values()
    # Two cells were encrypted while the circuit was built: an extend by the origin, and an extended by the relay.
    origin.plane.circuits[replay.near].hops[0].keys.salt_explicit_forward += 1  # type: ignore[union-attr]
    origin.plane.circuits[replay.near].relay_early_count = 2
    relay.plane.relays[replay.near].hop.keys.salt_explicit_backward += 1  # type: ignore[union-attr]
    cells = [entry for entry in replay.packets if entry["packet"][44:46] == "00" and entry["packet"][54:56] == "00"]
    messages = iter([entry for entry in replay.messages if entry["msg_id"] in {1, 6, 7, 19, 20}])
    checked = 0
    for entry in cells[2:]:
        sender, receiver = replay.nodes[entry["from"]], replay.nodes[entry["to"]]
        packet = bytes.fromhex(entry["packet"])
        if entry["from"] != "relay":
            message = bytes.fromhex(next(messages)["message"])
            outgoing = CellPayload(int.from_bytes(packet[23:27], "big"), message[22:23] + message[27:])
            sender.plane.send_cell(RELAY, outgoing)
        [(target, sent)] = sender.take()
        assert target == replay.addresses[entry["to"]]
        assert sent == packet
        await receiver.receive(replay.addresses[entry["from"]], packet)
        checked += 1
    assert checked == 12
    assert [node.drops for node in replay.nodes.values()] == [{}, {}, {}]
    assert len(exiting.handled()) == 3
