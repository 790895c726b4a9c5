"""Cells on their way: decrypted and handled, passed on, or encrypted and sent (doc/protocol/tunnels.md section 5)."""

from __future__ import annotations

from asyncio import get_running_loop
from functools import partial
from typing import TYPE_CHECKING

from ... import clock
from ...fill import Fill
from ..interfaces.endpoint import EndpointListener
from ..interfaces.network_stats import DropCounter
from ..packers import IPV4_ADDRESSES
from .admission import admits, own_circuit
from .cells import (
    CELL_HEADER,
    CELL_ID,
    HEADER_SIZE,
    ID_OFFSET,
    IS_EARLY_AT,
    IS_PLAIN_AT,
    PADDED,
    PREFIX_SIZE,
    CellPayload,
    circuit_id_of,
    pad_message,
    unpad_message,
    wrap,
)
from .exit_socket import TunnelExitSocket
from .hybrid import HOP_MESSAGE, HOP_MESSAGES
from .onion import layer_change, layer_of, onion_of
from .outbox import Outbox
from .payload import NO_CRYPTO_PACKETS
from .scheduler import Bandwidth, Lane
from .session_keys import FORWARD, CryptoException
from .socks5.endpoint import Socks5Provider
from .table_crypto import TableCrypto
from .tunnel import PEER_FLAG_BUILD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..address import Address
    from ..interfaces.endpoint import Endpoint
    from ..interfaces.routes import Route
    from .community import TunnelCommunity, TunnelSettings
    from .tunnel import Circuit, RelayRoute

__all__ = ["PythonCryptoEndpoint"]

MAX_RELAY_EARLY = 8
"""Cells with the flag ``relay_early`` that go each way through a relay, without settings."""

EXTEND = 4
"""The message that only cells with the flag ``relay_early`` may carry."""

DATA = 1

DATA_TO_IPV4 = b"\x01\x01"
"""How a data message to an IPv4 address begins: its id, and the type of the address."""

IPV4 = b"\x01"

PADDED_ID = bytes((PADDED,))
HOP_MESSAGE_IDS = frozenset(bytes((number,)) for number in HOP_MESSAGES)

DATA_AT = 15
"""Where the data are, behind two IPv4 addresses."""

NOWHERE = ("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire

IN_CRYPTO = b"\0\0"
"""The flags of nearly all cells: encrypted, and not early."""

Cell = tuple["Address", bytes]
"""The address that a cell came from, and its packet."""


def _size_of(cell: Cell) -> int:
    return len(cell[1])


class PythonCryptoEndpoint(Socks5Provider, TableCrypto, EndpointListener):
    """Sends and receives cells by an endpoint, and does all of the work in Python.

    A cell is only accepted from the neighbour on the link of its circuit id. Its host must be the same in any case. Its
    port may change if the cell was made with the keys of the tunnel; nobody can prove that about cells that a relay
    passes backward.

    :param endpoint: carries the packets of the tunnel community.
    """

    drops: DropCounter

    def __init__(self, endpoint: Endpoint) -> None:
        TableCrypto.__init__(self)
        EndpointListener.__init__(self, endpoint)
        self.tunnel_community: TunnelCommunity | None = None
        failed = partial(self.endpoint._on_listener_error, self)
        self._relay_lane: Lane[Cell] = Lane(self._handle_relayed, _size_of, self._max_relay, self._later, failed,
                                            self._after_burst)
        self._exit_lane: Lane[Cell] = Lane(self._handle_exiting, _size_of, self._max_exit, self._later, failed,
                                           self._after_burst)
        self._exit_bandwidth = Bandwidth()
        self._outbox = Outbox(endpoint)
        self._has_own_methods = False
        self._cell_start = bytes(ID_OFFSET)
        if type(self).on_packet is PythonCryptoEndpoint.on_packet:
            self._queue_packets = self._queue_cells

    def setup_tunnels(self, tunnel_community: TunnelCommunity, settings: TunnelSettings) -> None:
        """Handle the packets of a tunnel community from now on, cells and others. May be called again."""
        self.tunnel_community = tunnel_community
        self.settings = settings
        self.prefix = tunnel_community.get_prefix()
        self._cell_start = self.prefix + bytes((CELL_ID,))
        self.drops = tunnel_community.drops
        from .community import TunnelCommunity as Own  # which imports this module

        handlers = ("on_data", "on_packet_from_circuit", "on_cell")
        self._has_own_methods = all(getattr(type(tunnel_community), name, None) is getattr(Own, name)
                                    for name in handlers)
        self.endpoint.remove_listener(tunnel_community)
        self.endpoint.remove_listener(self)
        self.endpoint.add_prefix_listener(self, self.prefix)

    def accepts_route(self, route: Route) -> bool:
        """As the community decides."""
        return self.tunnel_community is not None and self.tunnel_community.accepts_route(route)

    @property
    def max_relay_early(self) -> int:
        """Cells with the flag ``relay_early`` that go each way through this node."""
        return MAX_RELAY_EARLY if self.settings is None else self.settings.max_relay_early

    # Receiving

    def on_packet(self, packet: tuple[Address, bytes], warn_unknown: bool = True) -> None:  # noqa: ARG002 - as others
        """Handle a packet: cells here, all others in the community."""
        data = packet[1]
        if len(data) > PREFIX_SIZE and data[PREFIX_SIZE] == CELL_ID and data.startswith(self.prefix):
            self._sort(packet, data)
        elif self.tunnel_community is not None:
            self.tunnel_community.on_packet(packet)

    def _queue_cells(self, packets: Sequence[Cell]) -> Sequence[Cell]:
        """Keep the cells that were received for others, to handle them soon; all other packets, in their order."""
        start = self._cell_start
        if "on_packet" in vars(self) or not (packets[0][1].startswith(start) or packets[-1][1].startswith(start)):
            return packets
        circuits: dict[bytes, list[Cell]] = {}  # by all bytes up to the circuit id
        for packet in packets:
            begin = packet[1][:IS_PLAIN_AT]
            cells = circuits.get(begin)
            if cells is None:
                circuits[begin] = [packet]
            else:
                cells.append(packet)
        others = set()
        for begin, cells in circuits.items():
            circuit_id = int.from_bytes(begin[ID_OFFSET:], "big")
            if not begin.startswith(start) or len(begin) < IS_PLAIN_AT:
                others.add(begin)
            elif circuit_id in self.relays:
                self._put(self._relay_lane, circuit_id, self._counted(cells))
            elif circuit_id in self.exit_sockets:
                self._put(self._exit_lane, circuit_id, self._counted(cells))
            else:
                others.add(begin)
        return [packet for packet in packets if packet[1][:IS_PLAIN_AT] in others] if others else ()

    def _counted(self, cells: Sequence[Cell]) -> Sequence[Cell]:
        """The same cells, which the gate has not counted."""
        meter = self.endpoint.gate.meter
        if meter is not None:
            meter.count_queued(self._cell_start, len(cells), sum(len(data) for _, data in cells))
        return cells

    def _put(self, lane: Lane[Cell], circuit_id: int, cells: Sequence[Cell]) -> None:
        dropped = len(cells) - lane.put(circuit_id, cells)
        if dropped:
            self.drops.count(DropCounter.RELAY_FULL, dropped)

    def process_cell(self, source_address: Address, data: bytes) -> None:
        """Pass a cell on, or decrypt and handle it. What must not be here is counted and dropped.

        Cells that others pay attention to are handled soon, in an order that is fair to all circuits.
        """
        self._sort((source_address, data), data)

    def _sort(self, cell: Cell, data: bytes) -> None:
        if len(data) <= HEADER_SIZE:
            self.drops.count(DropCounter.SHORT)
            return
        circuit_id = circuit_id_of(data)
        if circuit_id in self.relays:
            self._put(self._relay_lane, circuit_id, (cell,))
        elif circuit_id in self.exit_sockets:
            self._put(self._exit_lane, circuit_id, (cell,))
        else:
            self._handle_own(cell[0], circuit_id, data)

    def _after_burst(self, function: Callable[[], None]) -> None:
        if not self.endpoint.gate.burst.call_after(function):
            get_running_loop().call_soon(function)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        if self.tunnel_community is not None:
            self.tunnel_community.register_anonymous_task("serve_cells", function, delay=seconds)

    def may_exit(self, size: int) -> bool:
        """Whether so many bytes may come in at an exit now; if so, they are counted."""
        return self._exit_bandwidth.take(self._max_exit(), size, clock.monotonic())

    def _max_relay(self) -> float:
        return getattr(self.settings, "max_relay_bandwidth", 0)

    def _max_exit(self) -> float:
        return getattr(self.settings, "max_exit_bandwidth", 0)

    def _handle_relayed(self, circuit_id: int, cells: Sequence[Cell]) -> None:
        """Pass on cells of one circuit, which may have been removed in the meantime."""
        route = self.relays.get(circuit_id)
        if route is not None:
            self._pass_on(route, cells)
        else:
            self._handle_exiting(circuit_id, cells)

    def _handle_exiting(self, circuit_id: int, cells: Sequence[Cell]) -> None:
        """Handle cells of a circuit that ends here, or did when they came."""
        exit_socket = self.exit_sockets.get(circuit_id)
        if not isinstance(exit_socket, TunnelExitSocket):
            for cell in cells:
                self._handle_one(circuit_id, cell)
            return
        takes_data = self._takes_data()
        exit_socket.hold()
        try:
            for cell in cells:
                if self.exit_sockets.get(circuit_id) is exit_socket:
                    self._handle_at_exit(exit_socket, circuit_id, cell, takes_data)
                else:
                    self._handle_one(circuit_id, cell)
        finally:
            exit_socket.release()

    def _handle_one(self, circuit_id: int, cell: Cell) -> None:
        """Handle a cell of a circuit that is not, or may not be, what it was when the cell came."""
        exit_socket = self.exit_sockets.get(circuit_id)
        if circuit_id in self.relays:
            self._pass_on(self.relays[circuit_id], [cell])
        elif exit_socket is not None:
            self._handle_at_exit(exit_socket, circuit_id, cell, self._takes_data())
        else:
            self._handle_own(cell[0], circuit_id, cell[1])

    def _handle_own(self, source: Address, circuit_id: int, data: bytes) -> None:
        """Handle a cell that is in clear, or one of a circuit of this node."""
        if data[IS_PLAIN_AT]:
            self._hand_over(source, circuit_id, data[HEADER_SIZE:], data)
            return
        circuit = self.circuits.get(circuit_id)
        if circuit is None:
            self.drops.count(DropCounter.UNKNOWN_CIRCUIT)
            return
        hop = circuit.hop
        neighbour = None if hop is None else hop.peer.address
        if neighbour is None or (source is not neighbour and source != neighbour):
            self.drops.count(DropCounter.WRONG_NEIGHBOUR)
            return
        message = data[HEADER_SIZE:]
        opened = 0
        try:
            layers = onion_of(circuit).incoming
            for layer in layers:
                message = layer.open(message)
                opened += 1
                if message and message[0] >= HOP_MESSAGE:
                    break
        except CryptoException as e:
            self.drops.count(e.reason)
            return
        circuit.beat_heart()
        circuit.bytes_down += len(data)
        if opened < len(layers) or (message and message[0] in HOP_MESSAGES):
            self._hand_over_of_hop(circuit_id, opened - 1, message)
            return
        if circuit.hs_session_keys is not None:
            circuit.note_opened()
        if message[:1] == PADDED_ID:
            message = unpad_message(message)
        community = self.tunnel_community
        if (message.startswith(DATA_TO_IPV4) and message[8:9] == IPV4 and len(message) >= DATA_AT
                and community is not None and self._takes_data() and admits(DATA, own_circuit(circuit.ctype))):
            community.cell_table.run(DATA, source, community.on_own_data, circuit, IPV4_ADDRESSES[message[9:DATA_AT]],
                                     message[DATA_AT:])
        else:
            self._hand_over(source, circuit_id, message, data)

    def _handle_at_exit(self, exit_socket: TunnelExitSocket, circuit_id: int, cell: Cell, takes_data: bool) -> None:
        """Handle a cell of a circuit that ends here.

        :param takes_data: see :meth:`_takes_data`.
        """
        source, data = cell
        if len(data) <= HEADER_SIZE:
            self.drops.count(DropCounter.SHORT)
            return
        message = data[HEADER_SIZE:]
        if not data[IS_PLAIN_AT]:
            hop = exit_socket.hop
            expected = hop.peer.address
            is_other_port = source is not expected and source != expected
            if is_other_port and source[0] != expected[0]:
                self.drops.count(DropCounter.WRONG_NEIGHBOUR)
                return
            try:
                message = layer_of(hop.keys, FORWARD).open(message)
            except CryptoException as e:
                self.drops.count(e.reason)
                return
            exit_socket.proven = True
            if is_other_port:
                hop.peer.address = source
            first = message[:1]
            if first == PADDED_ID:
                message = unpad_message(message)
                exit_socket.pads_data = True
            elif first in HOP_MESSAGE_IDS:
                self._hand_over_of_hop(circuit_id, None, message)
                return
            if takes_data and message.startswith(DATA_TO_IPV4) and message[8:9] == IPV4 and len(message) >= DATA_AT:
                destination = IPV4_ADDRESSES[message[2:8]]
                if destination != NOWHERE and self.tunnel_community is not None:
                    self.tunnel_community.exit_data(circuit_id, source, destination, message[DATA_AT:])
                    return
        self._hand_over(source, circuit_id, message, data)

    def _takes_data(self) -> bool:
        """Whether the community handles data messages by the methods of its class, which no program has replaced."""
        community = self.tunnel_community
        if not self._has_own_methods or community is None:
            return False
        replaced = vars(community)
        return ("on_packet" not in replaced and "on_packet_from_circuit" not in replaced and "on_data" not in replaced
                and community.decode_map_private.get(DATA) == community.on_data
                and community.decode_map[CELL_ID] == community.on_cell)

    def _hand_over(self, source: Address, circuit_id: int, message: bytes, data: bytes) -> None:
        """Let the community handle the message of a cell, if it may come in this way.

        This goes through the methods of the community that programs replace.
        """
        community = self.tunnel_community
        is_plain, is_early = data[IS_PLAIN_AT] != 0, data[IS_EARLY_AT] != 0
        if community is None or not message:
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        msg_id = message[0]
        if ((msg_id in NO_CRYPTO_PACKETS) != is_plain
                or (msg_id == EXTEND and not (is_early and self.max_relay_early > 0))):
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        cell = CellPayload(circuit_id, message, is_plain, is_early)
        if "on_packet" in vars(community) or community.decode_map[CELL_ID] != community.on_cell:
            community.on_packet((source, cell.to_bin(self.prefix)))
        else:
            community.on_packet_from_circuit(source, cell.unwrap(self.prefix), circuit_id)

    def _hand_over_of_hop(self, circuit_id: int, hop: int | None, message: bytes) -> None:
        """Let the community handle a message between the builder of a circuit and one hop.

        :param hop: the number of the hop that sent it; ``None`` if the builder did.
        """
        community = self.tunnel_community
        if community is not None:
            community.on_hop_message(circuit_id, hop, message)

    # Passing on

    def _pass_on(self, route: RelayRoute, cells: Sequence[Cell]) -> None:  # noqa: PLR0915 - methods would cost each cell calls
        """Pass on cells that came by one link."""
        back = self.relays.get(route.circuit_id)
        if back is None:
            self.drops.count(DropCounter.UNKNOWN_CIRCUIT, len(cells))
            return
        try:
            change = layer_change(route, back)
        except CryptoException as e:
            self.drops.count(e.reason, len(cells))
            return
        neighbour = back.hop.peer
        expected = neighbour.address
        is_forward = route.direction == FORWARD
        may_be_own = is_forward and not route.rendezvous_relay
        header = self._cell_start + CELL_HEADER.pack(route.circuit_id, False, False)
        packets = []
        own = []
        arrived = 0
        for source, data in cells:
            is_early: bool | None = False
            # Nearly always it is the same object. Nobody can prove that a cell came backward from the neighbour.
            is_other_port = source is not expected and source != expected
            if is_other_port and not (is_forward and source[0] == expected[0]):
                self.drops.count(DropCounter.WRONG_NEIGHBOUR)
                continue
            size = len(data)
            if size <= HEADER_SIZE:
                self.drops.count(DropCounter.SHORT)
                continue
            if data[IS_PLAIN_AT:HEADER_SIZE] != IN_CRYPTO:
                is_early = self._may_be_early(route, data)
                if is_early is None:
                    self.drops.count(DropCounter.NOT_ADMITTED)
                    continue
            try:
                message = change(data[HEADER_SIZE:])
            except CryptoException as e:
                self.drops.count(e.reason)
                continue
            if is_other_port:
                neighbour.address = source
            expected = source
            arrived += size
            if may_be_own and message and message[0] >= HOP_MESSAGE:
                own.append(message)
            elif is_early:
                route.relay_early_count += 1
                packets.append(header[:-1] + b"\1" + message)
            else:
                packets.append(header + message)
        back.bytes_down += arrived
        if packets:
            back.active = clock.monotonic()
            route.bytes_up += sum(map(len, packets))
            self.endpoint.send_many(route.hop.address, packets)
        for message in own:
            self._hand_over_of_hop(back.circuit_id, None, message)

    def _may_be_early(self, route: RelayRoute, data: bytes) -> bool | None:
        """Whether a cell that has one keeps its flag ``relay_early``; ``None`` if the cell must not be passed on.

        Nobody may set the flag backward, where it would tell who has built the circuit.
        """
        is_early = data[IS_EARLY_AT] != 0
        if data[IS_PLAIN_AT] or (is_early and route.direction == FORWARD
                                 and route.relay_early_count >= self.max_relay_early):
            return None
        return is_early and route.direction == FORWARD and not route.rendezvous_relay

    def relay_cell(self, cell: CellPayload) -> None:
        """Pass on a cell that came from the right neighbour."""
        route = self.relays.get(cell.circuit_id)
        back = None if route is None else self.relays.get(route.circuit_id)
        if route is None or back is None:
            self.drops.count(DropCounter.UNKNOWN_CIRCUIT)
        else:
            self._pass_on(route, [(back.hop.address, cell.to_bin(self.prefix))])

    # Sending

    def send_cell(self, target_addr: Address, cell: CellPayload) -> None:
        """Encrypt a cell, as its circuit id demands, and send it; what must not be sent is counted and dropped."""
        circuit_id = cell.circuit_id
        circuit = self.circuits.get(circuit_id)
        counted: Circuit | RelayRoute | None = circuit
        if circuit is not None:
            if circuit.relay_early_count < self.max_relay_early or cell.message[0] == EXTEND:
                cell.relay_early = True
                circuit.relay_early_count += 1
            else:
                cell.relay_early = False
        else:
            counted = self.relays.get(circuit_id)
        if cell.message[0] == DATA and self._pads_data(circuit, circuit_id):
            cell.message = pad_message(cell.message)
        if not cell.plaintext and self.outgoing_crypto(cell) is None:
            return
        packet = cell.to_bin(self.prefix)
        self._outbox.send(target_addr, packet)
        if counted is not None:
            counted.bytes_up += len(packet)

    def flush(self) -> None:
        """Send the cells that wait for others."""
        self._outbox.flush()

    def _pads_data(self, circuit: Circuit | None, circuit_id: int) -> bool:
        """Whether data messages are padded: as the settings say, to nodes that know that; and at an exit as asked."""
        if circuit is not None:
            return (getattr(self.settings, "pad_data", False) and circuit.hs_session_keys is None
                    and PEER_FLAG_BUILD in circuit.exit_flags)
        exit_socket = self.exit_sockets.get(circuit_id)
        return exit_socket is not None and exit_socket.pads_data

    def send_to_hop(self, circuit: Circuit, number: int, message: bytes) -> None:
        """Send a message to one hop of an own circuit.

        :param number: the number of the hop, 0 for the first one.
        :param message: it begins with a byte of at least ``HOP_MESSAGE``.
        """
        hop = circuit.hop
        try:
            sealed = wrap(message, onion_of(circuit).outgoing[:number + 1])
        except CryptoException as e:
            self.drops.count(e.reason)
            return
        if hop is not None:
            circuit.relay_early_count += 1  # relays of other releases count all cells, and then drop early ones
            packet = CellPayload(circuit.circuit_id, sealed).to_bin(self.prefix)
            self._outbox.send(hop.address, packet)
            circuit.bytes_up += len(packet)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        if self.settings is not None:
            yield Fill("relays and exits", len(self.relays) + len(self.exit_sockets), self.settings.max_joined_circuits,
                       rule="further circuits are refused, those without a proof make room")
