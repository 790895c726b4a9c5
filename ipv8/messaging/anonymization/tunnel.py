"""The state of circuits and of the tunnels that this node carries for others.

Times are kept by the monotonic clock. ``creation_time`` and ``last_activity`` show them as seconds since the Unix
epoch, for programs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ... import clock
from ...dht.introduction_point import PEER_SOURCE_DHT, PEER_SOURCE_PEX, PEER_SOURCE_UNKNOWN
from ...reexports import reexports
from ...util import current_loop
from ..address import UDPv6Address

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ...keyvault.keys import PrivateKey, PublicKey
    from ...peer import Peer
    from ..address import Address
    from .handshake import SessionKeys
    from .onion import Onion

__all__ = [
    "BACKWARD", "CIRCUIT_ID_PORT", "CIRCUIT_STATE_CLOSING", "CIRCUIT_STATE_EXTENDING", "CIRCUIT_STATE_READY",
    "CIRCUIT_TYPE_DATA", "CIRCUIT_TYPE_IP_SEEDER", "CIRCUIT_TYPE_RP_DOWNLOADER", "CIRCUIT_TYPE_RP_SEEDER",
    "DESTROY_REASON_SHUTDOWN", "DESTROY_REASON_UNKNOWN", "DESTROY_REASON_UNNEEDED", "FORWARD", "HIDDEN_TYPES",
    "PEER_FLAG_BUILD", "PEER_FLAG_EXIT_BT", "PEER_FLAG_EXIT_IPV8", "PEER_FLAG_EXIT_STREAMS", "PEER_FLAG_RELAY",
    "PEER_FLAG_SPEED_TEST", "PEER_SOURCE_DHT", "PEER_SOURCE_PEX", "PEER_SOURCE_UNKNOWN", "PING_INTERVAL", "Circuit",
    "Hop", "RelayRoute", "RoutingObject",
]

FORWARD = 0
"""Away from the origin."""
BACKWARD = 1
"""Towards the origin."""

PEER_FLAG_RELAY = 1
PEER_FLAG_EXIT_BT = 2
PEER_FLAG_EXIT_IPV8 = 4
PEER_FLAG_SPEED_TEST = 8
PEER_FLAG_BUILD = 512
"""The node takes part in circuits that are built in one pass (doc/protocol/tunnels.md section 7)."""
PEER_FLAG_EXIT_STREAMS = 256
"""The node connects to TCP ports for others (doc/protocol/tunnel_streams.md)."""

CIRCUIT_TYPE_DATA = "DATA"
CIRCUIT_TYPE_IP_SEEDER = "IP_SEEDER"
CIRCUIT_TYPE_RP_SEEDER = "RP_SEEDER"
CIRCUIT_TYPE_RP_DOWNLOADER = "RP_DOWNLOADER"

HIDDEN_TYPES = frozenset({CIRCUIT_TYPE_IP_SEEDER, CIRCUIT_TYPE_RP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER})
"""The types of the circuits of hidden services."""

CIRCUIT_STATE_READY = "READY"
CIRCUIT_STATE_EXTENDING = "EXTENDING"
CIRCUIT_STATE_CLOSING = "CLOSING"

CIRCUIT_ID_PORT = 1024
"""The port of the pseudo address that stands for an end-to-end circuit."""

PING_INTERVAL = 7.5
"""Seconds between two pings of a circuit."""

DESTROY_REASON_UNKNOWN = 1
DESTROY_REASON_SHUTDOWN = 2
DESTROY_REASON_UNNEEDED = 4

LARGEST_UNFRAGMENTED = 1500
"""Bytes of the largest IP packet that most paths carry in one piece."""
IP_AND_UDP_HEADER: Final = {4: 28, 6: 48}
"""Bytes, by IP version."""
CELL_HEADER = 29
"""Bytes in front of the message of a cell: prefix, message id, circuit id and two flags."""
LAYER_OVERHEAD = 24
"""Bytes that each layer of encryption adds."""
DATA_HEADER = 15
"""Bytes of a data message in front of the data: its id and two IPv4 addresses."""
IPV6_SURPLUS = 12
"""Bytes that an IPv6 address takes more than an IPv4 address."""


@dataclass
class Hop:
    """A node of a circuit, and what was agreed with it.

    :param peer: the node.
    :param keys: the session keys that the node and the origin share, once they do.
    :param flags: what the node offers, as ``PEER_FLAG_*``.
    :param dh_first_part: the public half of the origin's ephemeral key.
    :param dh_secret: the private half.
    """

    peer: Peer
    keys: SessionKeys | None = None
    flags: list[int] | None = None
    dh_first_part: bytes | None = None
    dh_secret: PrivateKey | None = None
    #: Whether the session keys are also made of ML-KEM-768.
    is_hybrid: bool = False

    @property
    def address(self) -> Address:
        """Where the node is reached; ``("0.0.0.0", 0)`` for most hops after the first."""
        return self.peer.address

    @property
    def public_key(self) -> PublicKey:
        """The identity of the node."""
        return self.peer.public_key

    @property
    def public_key_bin(self) -> bytes:
        """The identity of the node in binary form."""
        return self.peer.public_key.key_to_bin()

    @property
    def mid(self) -> bytes:
        """SHA-1 of the identity of the node."""
        return self.peer.mid


class RoutingObject:
    """Something that cells go through.

    :param circuit_id: the number of the circuit on one link.
    """

    #: Whether a cell was received that its sender could only make with the keys of the tunnel.
    proven: bool = False
    #: Whether the origin has padded data, so that the answers to it are padded too.
    pads_data: bool = False

    def __init__(self, circuit_id: int) -> None:
        self.circuit_id = circuit_id
        #: When the object was made and when it was last used, in seconds by the monotonic clock.
        self.created = self.active = clock.monotonic()
        self.bytes_up = 0
        self.bytes_down = 0

    @property
    def logger(self) -> logging.Logger:
        """The logger with the name of the class."""
        return logging.getLogger(type(self).__name__)

    @property
    def creation_time(self) -> float:
        """When the object was made, in seconds since the Unix epoch."""
        return clock.time() - (clock.monotonic() - self.created)

    @creation_time.setter
    def creation_time(self, when: float) -> None:
        self.created = clock.monotonic_of(when)

    @property
    def last_activity(self) -> float:
        """When the object was last used, in seconds since the Unix epoch."""
        return clock.time() - (clock.monotonic() - self.active)

    @last_activity.setter
    def last_activity(self, when: float) -> None:
        self.active = clock.monotonic_of(when)

    def beat_heart(self) -> None:
        """Note that the object is in use."""
        self.active = clock.monotonic()


class Circuit(RoutingObject):
    """A circuit of this node.

    :param circuit_id: its number on the link to the first hop.
    :param goal_hops: how many hops it shall have.
    :param ctype: ``CIRCUIT_TYPE_*``, or the name of a purpose of the program's own.
    :param required_exit: the node that must be the last hop.
    :param info_hash: of the hidden service that it is for.
    """

    def __init__(self, circuit_id: int, goal_hops: int = 0, ctype: str = CIRCUIT_TYPE_DATA,
                 required_exit: Peer | None = None, info_hash: bytes | None = None) -> None:
        super().__init__(circuit_id)
        self.goal_hops = goal_hops
        self.ctype = ctype
        self.required_exit = required_exit
        self.info_hash = info_hash
        self.unverified_hop: Hop | None = None
        #: The hops behind ``unverified_hop`` that it was asked to ask in turn, so that they all answer at once.
        self.planned: list[Hop] = []
        self.closing_info = ""
        self.e2e = False
        #: How many cells were sent with the flag that relays count.
        self.relay_early_count = 0
        #: The layers of encryption, as :func:`.onion.onion_of` keeps them.
        self.onion: Onion | None = None
        #: Whether something changed that a crypto endpoint outside this process has to be told.
        self.dirty = False
        #: If set, called with the source and the data of what comes out of the circuit, in place of ``on_raw_data``.
        self.receiver: Callable[[Address, bytes], object] | None = None
        #: Called once each when the circuit is closed.
        self.on_closed: list[Callable[[], object]] = []
        #: Whether one program has the circuit for itself, so that it is not found by others.
        self.reserved = False
        #: The endpoint whose anonymous overlays alone send by it; ``None`` while none does.
        self.user: object = None
        self._closing = False
        self._hops: list[Hop] = []
        self._hs_session_keys: SessionKeys | None = None
        self._ready: Future[Circuit | None] | None = None

    @property
    def ready(self) -> Future[Circuit | None]:
        """Done when the circuit is ready, with the circuit, or closed before that, with ``None``."""
        if self._ready is None:
            self._ready = current_loop().create_future()
            if self._closing:
                self._ready.set_result(None)
            elif self._hops and self.state == CIRCUIT_STATE_READY:
                self._ready.set_result(self)
        return self._ready

    @ready.setter
    def ready(self, future: Future[Circuit | None]) -> None:
        self._ready = future

    @property
    def hs_session_keys(self) -> SessionKeys | None:
        """The keys that both ends of an end-to-end circuit share, once they do."""
        return self._hs_session_keys

    @hs_session_keys.setter
    def hs_session_keys(self, keys: SessionKeys | None) -> None:
        self._hs_session_keys = keys
        self.dirty = True

    @property
    def hop(self) -> Hop | None:
        """The first hop, also before it is verified."""
        return self._hops[0] if self._hops else self.unverified_hop

    @property
    def hops(self) -> tuple[Hop, ...]:
        """The verified hops, the first one first."""
        return tuple(self._hops)

    @property
    def exit_flags(self) -> list[int]:
        """What the last verified hop offers, as ``PEER_FLAG_*``."""
        return list(self._hops[-1].flags or ()) if self._hops else []

    @property
    def state(self) -> str:
        """One of ``CIRCUIT_STATE_*``."""
        if self._closing:
            return CIRCUIT_STATE_CLOSING
        return CIRCUIT_STATE_EXTENDING if len(self._hops) < self.goal_hops else CIRCUIT_STATE_READY

    def add_hop(self, hop: Hop) -> None:
        """Add a verified hop behind those that there are."""
        self._hops.append(hop)
        self.dirty = True
        if self._ready is not None and not self._ready.done() and self.state == CIRCUIT_STATE_READY:
            self._ready.set_result(self)

    def note_opened(self) -> None:
        """Note that a cell was opened with all keys: with those of both ends, the circuits of both ends are joined."""
        if self._hs_session_keys is not None:
            self.e2e = True

    def close(self, closing_info: str = "") -> None:
        """Use the circuit no more.

        :param closing_info: why, for people.
        """
        self._closing = True
        self.closing_info = closing_info
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        callbacks, self.on_closed = self.on_closed, []
        for callback in callbacks:
            callback()

    @property
    def max_payload(self) -> int:
        """Bytes of data that a packet to an IPv4 address can have without any link of the circuit splitting it.

        It is 1404 with one hop, and 24 less with each further one.
        """
        return self.max_payload_to()

    def max_payload_to(self, destination: Address | None = None) -> int:
        """As :attr:`max_payload`, for a destination of any kind."""
        hop = self.hop
        over_ipv6 = hop is not None and ":" in hop.address[0]
        layers = max(self.goal_hops, len(self._hops)) + (self.e2e or self._hs_session_keys is not None)
        surplus = 0
        if destination is not None:
            if isinstance(destination, UDPv6Address) or ":" in destination[0]:
                surplus = IPV6_SURPLUS
            elif not destination[0].replace(".", "").isdecimal():
                surplus = max(0, len(destination[0].encode()) - 2)  # two bytes of length in the place of four
        return (LARGEST_UNFRAGMENTED - IP_AND_UDP_HEADER[6 if over_ipv6 else 4] - CELL_HEADER
                - LAYER_OVERHEAD * layers - DATA_HEADER - surplus)


class RelayRoute(RoutingObject):
    """Where the cells of one direction of a relayed circuit go.

    :param circuit_id: the number of the circuit on the link that they go to.
    :param hop: the node at the other end of that link, with the keys that the cells are encrypted or decrypted with.
    :param direction: ``FORWARD`` or ``BACKWARD``.
    :param rendezvous_relay: whether two circuits are joined here, each of which ends at this node.
    """

    def __init__(self, circuit_id: int, hop: Hop, direction: int, rendezvous_relay: bool = False) -> None:
        super().__init__(circuit_id)
        self.hop = hop
        self.direction = direction
        self.rendezvous_relay = rendezvous_relay
        #: How many cells with the flag ``relay_early`` went this way, the one that made the route included.
        self.relay_early_count = 1


if TYPE_CHECKING:  # programs import these from here
    from ...dht.introduction_point import IntroductionPoint as IntroductionPoint
    from .swarm import RendezvousPoint as RendezvousPoint, Swarm as Swarm

else:
    __getattr__, __dir__ = reexports(__name__, {
        "...dht.introduction_point": "IntroductionPoint",
        ".swarm": "RendezvousPoint Swarm",
    })
