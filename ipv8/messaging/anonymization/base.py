"""What all parts of a tunnel community have in common: its tables, its candidates, and how messages come and go."""

from __future__ import annotations

from collections import defaultdict
from functools import wraps
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from ... import clock, entropy
from ...community import Community
from ...keyvault import ml_kem
from ...message_table import MessageTable
from ..address import TunnelledAddress
from ..cache import Cache
from ..errors import PackError
from ..interfaces.lan_addresses.interfaces import get_lan_addresses
from ..interfaces.network_stats import DropCounter
from .accelerator import guard_counters
from .admission import Origin, admits, inside_circuit, own_circuit
from .build import CONTROL_SIZE, pad
from .cells import CellPayload, message_of
from .crypto import CryptoEndpoint, PythonCryptoEndpoint, TunnelCrypto
from .endpoint import TunnelEndpoint
from .exit_policy import Destinations, Resolver, is_local_endpoint
from .guards import GuardFile
from .path import PathChooser
from .payload import NO_CRYPTO_PACKETS, DataPayload, ExtraIntroductionPayload, Flags
from .renewal import PEER_FLAG_HYBRID, KeyRenewal
from .settings import TunnelSettings, check_tunnel_settings, own_setting
from .tunnel import PEER_FLAG_BUILD, PEER_FLAG_RELAY

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterator

    from ...dht.provider import DHTCommunityProvider
    from ...messaging.serialization import Serializer
    from ...peer import Peer
    from ..address import Address
    from ..payload import (
        IntroductionRequestPayload,
        IntroductionResponsePayload,
        NewIntroductionRequestPayload,
        NewIntroductionResponsePayload,
    )
    from ..payload_headers import GlobalTimeDistributionPayload
    from .exit_socket import TunnelExitSocket
    from .payload import CellablePayload
    from .tunnel import Circuit, Hop, RelayRoute

__all__ = ["TunnelBase", "unpack_cell"]

PADDED_MESSAGES = frozenset({4, 6, 9, 11, 15, 17})
"""Messages that are padded: extend, ping, and the requests of hidden services, whose surplus all nodes ignore."""

MAX_DATA_HEADERS = 1024
"""Pairs of addresses whose bytes are kept; a full table is emptied."""

ID_AT = 22
BODY_AT = 23
"""Where the message id and the body are in a packet of the overlay."""


def unpack_cell(payload_cls: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Receive a message of cells: ``handler(self, source_address, payload, circuit_id)``.

    The decorated method takes the source, the packet and the circuit id. Bytes after the payload are ignored, so that
    later versions of a message can say more.
    """
    def decorator(handler: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(handler)
        def receive(self: TunnelBase, source_address: Address, data: bytes, circuit_id: int | None = None) -> Any:
            payload = self.read_cell(payload_cls, data)
            return None if payload is None else handler(self, source_address, payload, circuit_id)
        return receive
    return decorator


class TunnelBase(Community):
    """The state of a tunnel community, and what carries its messages."""

    version = b"\x02"
    community_id = bytes.fromhex("81ded07332bdc775aa5a46f96de9f8f390bbc9f3")
    settings_class: ClassVar[type[Any]] = TunnelSettings

    is_unloading: bool = False
    """Whether the tunnels are being closed, so that there must be no new ones."""

    _cell_table: MessageTable | None = None

    def __init__(self, settings: TunnelSettings) -> None:
        check_tunnel_settings(settings)
        self.settings = settings
        self.dht_provider: DHTCommunityProvider | None = settings.dht_provider
        super().__init__(settings)
        #: The handlers of the messages that cells carry, by message id.
        self.decode_map_private: dict[int, Any] = {}
        self._data_headers: Cache[tuple[Address, Address], bytes] = Cache(self._pack_data_header, MAX_DATA_HEADERS)
        #: How many circuits of each length are wanted.
        self.circuits_needed: dict[int, int] = defaultdict(int)
        #: The endpoints that send the packets of anonymous overlays through circuits of this community.
        self.anonymous_endpoints: WeakSet[TunnelEndpoint] = WeakSet()
        #: The nodes that can be hops, with what they offer.
        self.candidates: dict[Peer, Any] = {}
        self.crypto: TunnelCrypto = TunnelCrypto()
        own_key: Any = self.my_peer.key
        self.crypto.initialize(own_key)

        self.exit_policy = Destinations(self._exits_to_private, self._own_hosts)
        self.resolver = Resolver(self.exit_policy, self)
        self.path = PathChooser(self.my_peer.public_key.key_to_bin())
        self.path.allow_same_network = own_setting(settings, "allow_same_network")
        self.guard_file = GuardFile(own_setting(settings, "guards_file"), {"first": self.path.guards,
                                                           "second": self.path.second_guards})
        self.guard_file.load()

        carrier = self.endpoint.interfaces.get("UDPIPv4", self.endpoint)
        self.crypto_endpoint: CryptoEndpoint = (carrier if isinstance(carrier, CryptoEndpoint)
                                                else PythonCryptoEndpoint(self.endpoint))
        if not isinstance(self.crypto_endpoint, PythonCryptoEndpoint):
            guard_counters(self.crypto_endpoint)
        self.circuits: dict[int, Circuit] = self.crypto_endpoint.circuits
        self.relay_from_to: dict[int, RelayRoute] = self.crypto_endpoint.relays
        self.exit_sockets: dict[int, TunnelExitSocket] = self.crypto_endpoint.exit_sockets
        self.crypto_endpoint.setup_tunnels(self, settings)  # type: ignore[arg-type]  # the community is a subclass
        if isinstance(self.endpoint, TunnelEndpoint):
            self.endpoint.set_tunnel_community(self, own_setting(settings, "anonymous_hops"))  # type: ignore[arg-type]  # as above
            self.endpoint.set_anonymity(self._prefix, False)
        #: Agrees on further keys with the hops of circuits that are ready.
        self.renewal = KeyRenewal(self)
        self.add_message_handler(CellPayload.msg_id, self.on_cell)

    def _exits_to_private(self) -> bool:
        chosen = own_setting(self.settings, "exit_to_private")
        return is_local_endpoint(self.endpoint) if chosen is None else chosen

    def _own_hosts(self) -> Iterator[str]:
        yield from get_lan_addresses()
        for address in self._own_addresses():
            yield address[0]

    def get_serializer(self) -> Serializer:
        """A serializer that knows sets of flags."""
        serializer = super().get_serializer()
        serializer.add_packer("flags", Flags())
        return serializer

    # Introductions

    def extract_peer_flags(self, extra_bytes: bytes) -> list[int]:
        """The flags in the extra bytes of an introduction message, in ascending order; none if there are no bytes."""
        if not extra_bytes:
            return []
        try:
            payload, _ = self.serializer.unpack_serializable(ExtraIntroductionPayload, extra_bytes)
        except (PackError, struct_error):
            self.drops.count(DropCounter.UNDECODABLE)
            return []
        return list(payload.flags)

    def _own_flags(self) -> bytes:
        flags = set(self.settings.peer_flags)
        if PEER_FLAG_RELAY in flags and own_setting(self.settings, "single_pass"):
            flags.add(PEER_FLAG_BUILD)
        if (flags and own_setting(self.settings, "hybrid_keys") and ml_kem.is_available()
                and isinstance(getattr(self, "crypto_endpoint", None), PythonCryptoEndpoint)):  # mocks have none
            flags.add(PEER_FLAG_HYBRID)
        return self.serializer.pack_serializable(ExtraIntroductionPayload(flags))

    def create_introduction_request(self, socket_address: Address, extra_bytes: bytes = b"", new_style: bool = False,
                                    prefix: bytes | None = None) -> bytes:
        """As every community does, with the flags of this node as extra bytes, and the own prefix."""
        return super().create_introduction_request(socket_address, self._own_flags(), new_style)

    def create_introduction_response(self, lan_socket_address: Address, socket_address: Address, identifier: int,
                                     introduction: Peer | None = None, extra_bytes: bytes = b"",
                                     prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """As every community does, with the flags of this node as extra bytes."""
        return super().create_introduction_response(lan_socket_address, socket_address, identifier, introduction,
                                                    self._own_flags(), prefix, new_style)

    def introduction_request_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                      payload: IntroductionRequestPayload | NewIntroductionRequestPayload) -> None:
        """Note what a peer offers."""
        self.candidates[peer] = self.extract_peer_flags(payload.extra_bytes)

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload,
                                       payload: IntroductionResponsePayload | NewIntroductionResponsePayload) -> None:
        """Note what a peer offers."""
        self.candidates[peer] = self.extract_peer_flags(payload.extra_bytes)

    def get_candidates(self, *requested_flags: int) -> list[Peer]:
        """The nodes that can be hops and offer all that is requested, those that are known longest first."""
        return [peer for peer, flags in self.candidates.items()
                if all(flag in flags for flag in requested_flags) and self.crypto.is_key_compatible(peer.public_key)]

    def forget_candidates(self) -> None:
        """Forget the candidates that are no peers any more."""
        known = set(self.get_peers())
        for peer in [peer for peer in self.candidates if peer not in known]:
            del self.candidates[peer]

    # Messages in

    def add_cell_handler(self, payload_cls: type[Any], handler: Any) -> None:
        """Call ``handler(source_address, data, circuit_id)`` with each message of this class in a cell.

        ``data`` is the message as a packet of its own. See :func:`unpack_cell`.
        """
        self.decode_map_private[payload_cls.msg_id] = handler

    def read_cell(self, payload_cls: type[Any], data: bytes) -> Any:
        """The payload of a message, or ``None``, which is counted, if it is not that."""
        return self.read_cell_and_rest(payload_cls, data)[0]

    def read_cell_and_rest(self, payload_cls: type[Any], data: bytes) -> tuple[Any, bytes]:
        """As :meth:`read_cell`, with the bytes that follow the payload."""
        read, build = self.serializer.decoders[payload_cls]
        values, end = read(data, BODY_AT, 0)
        if end >= 0:
            try:
                return build(*values), data[end:]
            except (ValueError, LookupError):
                pass
        self.drops.count(DropCounter.UNDECODABLE)
        return None, b""

    @property
    def cell_table(self) -> MessageTable:
        """Runs the handlers of ``decode_map_private``."""
        if self._cell_table is None:
            self._cell_table = MessageTable(self, "on_packet_from_circuit")
        return self._cell_table

    def on_cell(self, source_address: Address, data: bytes) -> None:
        """Handle a cell that the crypto endpoint has decrypted."""
        try:
            cell = CellPayload.from_bin(data)
        except struct_error:
            self.drops.count(DropCounter.SHORT)
            return
        if not cell.message or (cell.message[0] in NO_CRYPTO_PACKETS) != cell.plaintext:
            self.drops.count(DropCounter.NOT_ADMITTED)
            return
        self.on_packet_from_circuit(source_address, cell.unwrap(self._prefix), cell.circuit_id)

    def on_packet_from_circuit(self, source_address: Address, data: bytes, circuit_id: int) -> None:
        """Handle a message that came out of a cell, or out of the data of a circuit, if it may arrive there."""
        if len(data) <= ID_AT or not data.startswith(self._prefix):
            self.drops.count(DropCounter.UNKNOWN_PREFIX)
            return
        msg_id = data[ID_AT]
        handler = self.decode_map_private.get(msg_id)
        if handler is None:
            self.drops.count(DropCounter.UNKNOWN_ID)
            return
        origin = self.origin_of(source_address, msg_id, circuit_id)
        if self.admit(msg_id, origin):
            # Endpoints outside this process do not note this.
            if origin == Origin.EXIT:
                self.exit_sockets[circuit_id].proven = True
            elif origin == Origin.CIRCUIT_RP_SEEDER:
                self.circuits[circuit_id].note_opened()
            self.cell_table.run(msg_id, source_address, handler, source_address, data, circuit_id)

    def origin_of(self, source_address: Address, msg_id: int, circuit_id: int) -> int:
        """Where a message of a circuit arrived, as the number of an :class:`Origin`; 0 if there is no such place."""
        if msg_id in NO_CRYPTO_PACKETS:
            # Whether the cell was in clear was checked before.
            return Origin.PLAINTEXT if type(source_address) is not TunnelledAddress else 0
        circuit = self.circuits.get(circuit_id)
        if circuit is not None:
            ctype = circuit.ctype
            return inside_circuit(ctype) if type(source_address) is TunnelledAddress else own_circuit(ctype)
        return Origin.EXIT if circuit_id in self.exit_sockets else 0

    def admit(self, msg_id: int, origin: int) -> bool:
        """Whether a message may arrive at ``origin``, see :mod:`.admission`; if it may not, it is counted."""
        if admits(msg_id, origin) and not self.is_unloading:
            return True
        self.drops.count(DropCounter.NOT_ADMITTED)
        return False

    def on_hop_message(self, circuit_id: int, hop: int | None, message: bytes) -> None:
        """Handle a message about the keys of one hop of a circuit.

        :param hop: which hop of an own circuit it came from; ``None`` if it came from the origin of another one.
        """
        self.renewal.on_message(circuit_id, hop, message)

    # Messages out

    def send_cell(self, target_addr: Address, payload: CellablePayload) -> None:
        """Send a message in a cell to a neighbour, encrypted as its circuit id demands."""
        msg_id = payload.msg_id
        message = message_of(self.serializer.pack_serializable(payload), msg_id)
        if msg_id in PADDED_MESSAGES and own_setting(self.settings, "pad_control"):
            message = pad(message)
        cell = CellPayload(payload.circuit_id, message, msg_id in NO_CRYPTO_PACKETS)
        self.crypto_endpoint.send_cell(target_addr, cell)

    def send_cell_and_rest(self, target_addr: Address, payload: CellablePayload, rest: bytes) -> None:
        """As :meth:`send_cell`, with ``rest`` behind the payload; if there is any, the message has ``CONTROL_SIZE``.

        Nodes of other releases ignore what follows messages that ask for something.
        """
        if not rest:
            self.send_cell(target_addr, payload)
            return
        msg_id = payload.msg_id
        message = message_of(self.serializer.pack_serializable(payload), msg_id) + rest
        is_plain = msg_id in NO_CRYPTO_PACKETS
        message += entropy.randbytes(max(0, CONTROL_SIZE - len(message))) if is_plain else b""
        self.crypto_endpoint.send_cell(target_addr, CellPayload(payload.circuit_id, pad(message), is_plain))

    def send_data(self, target: Address, circuit_id: int, dest_address: Address, source_address: Address,
                  data: bytes) -> None:
        """Send data through a circuit.

        :param target: the neighbour.
        :param dest_address: where the exit shall send the data; zero if they came from there.
        :param source_address: where the data came from; zero if they go there.
        """
        if type(self).send_cell is not TunnelBase.send_cell or "send_cell" in vars(self):
            self.send_cell(target, DataPayload(circuit_id, dest_address, source_address, data))
            return
        # The same in less time: nearly all data have addresses that earlier data had.
        header = self._data_headers[dest_address, source_address]
        self.crypto_endpoint.send_cell(target, CellPayload(circuit_id, header + data))

    def _pack_data_header(self, addresses: tuple[Address, Address]) -> bytes:
        """The part of a data message in front of the data."""
        return message_of(self.serializer.pack_serializable(DataPayload(0, *addresses, b"")), DataPayload.msg_id)

    def send_packet(self, target: Address, packet: bytes) -> int:
        """Send a packet as it is, and return its length."""
        self.endpoint.send(target, packet)
        return len(packet)

    # What the parts need of one another

    def is_known_circuit(self, circuit_id: int) -> bool:
        """Whether a circuit id is in use on any link of this node."""
        return (circuit_id in self.circuits or circuit_id in self.relay_from_to or circuit_id in self.exit_sockets
                or self.request_cache.has("created", circuit_id))

    def on_refused(self, peer: Peer, circuit_id: int) -> bool:
        """Called when a node says that an unknown circuit is gone; whether it was asked to join that circuit."""
        return False

    def get_max_time(self, circuit_id: int) -> float:
        """Seconds after which a circuit is closed."""
        return self.settings.max_time

    async def dht_peer_lookup(self, mid: bytes, peer: Peer | None = None) -> None:
        """Find a node in the DHT, so that it can be reached."""
        if self.dht_provider is None:
            self.logger.error("A peer cannot be looked up: there is no DHT provider")
            return
        await self.dht_provider.peer_lookup(mid, peer)

    def note_unanswered(self, circuit: Circuit) -> None:
        """Note that the node that was to become the next hop of a circuit has not answered in time."""
        hop = circuit.unverified_hop
        if hop is not None:
            self._note_not_reached(circuit, hop)

    def _note_not_reached(self, circuit: Circuit, hop: Hop) -> None:
        """Leave out a node that did not become the next hop of a circuit, or the hop before, if that is to blame."""
        now, key_bin = clock.monotonic(), hop.public_key_bin
        if not circuit.hops or not self.path.back_off.note_dead_end(circuit.hops[-1].public_key_bin, key_bin, now):
            self.path.back_off.note_failure(key_bin, now)

    def remove_circuit(self, circuit_id: int, additional_info: str = "", remove_now: bool = False,
                       destroy: bool | int = False) -> Future[None]:
        """Close a circuit of this node. See :class:`.removal.TunnelRemoval`."""
        raise NotImplementedError
