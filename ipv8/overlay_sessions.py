"""What one overlay does with sessions: which of its messages go where, and how those that come are handled.

See doc/protocol/sessions.md section 5 and doc/encryption.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from . import clock
from .limits import BoundedDict
from .messaging.interfaces.endpoint import DataTooBigException
from .messaging.interfaces.network_stats import DropCounter
from .messaging.interfaces.routes import DEFAULT_ROUTES, Route
from .messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from .messaging.interfaces.wrapping import WrappingEndpoint
from .messaging.session import wire
from .messaging.session.wire import Frame
from .secure_overlay import POLICIES
from .verification import HEADER_SIZE, KEY_OFFSET, MESSAGE_ID_OFFSET

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Mapping, Sequence

    from .message_table import Handler, MessageTable
    from .messaging.address import Address
    from .messaging.interfaces.endpoint import Endpoint
    from .messaging.serialization import Payload, Serializer
    from .messaging.session.channel import Channel
    from .messaging.session.handshake import OwnKey
    from .peer import Peer
    from .peerdiscovery.network import Network
    from .session_streams import StreamHandler
    from .sessions import Session, SessionService

__all__ = ["OverlaySessions", "SessionUser"]

FIRST_PLAIN_MESSAGE = 230
"""Messages with this number and higher ones never travel in a session: introductions, punctures, relay envelopes."""

HOLD_PREFERRED, HOLD_REQUIRED = 1.5, 10.0
"""Seconds that a message waits for a session, by policy ``"prefer"`` and ``"require"``."""

CAPABLE_TIME = 86400.0
"""Seconds for which a peer is known to answer sessions."""

COUNTED_PEERS = 4096
"""Peers whose first messages are counted, least recently used evicted first."""

MISSING_TIME = 60.0
"""Seconds for which a peer is believed that it does not have this overlay."""

HEARD_STEP = 0.01
"""Seconds after a message in which further ones do not change when their sender was last heard."""

_NUMBER = 1 + wire.OVERLAY_TAG_SIZE
"""Where the number of a message is in its frame."""

_PACKET = bytes((Frame.PACKET,))


class SessionUser(Protocol):
    """What sessions need of an overlay, which is a :class:`ipv8.community.Community`."""

    my_peer: Peer
    network: Network
    endpoint: Endpoint
    serializer: Serializer
    drops: DropCounter
    _session_after: int
    _overlay_sessions: OverlaySessions | None
    _stream_handlers: Mapping[str, StreamHandler]
    delivery: Session | None

    @property
    def message_table(self) -> MessageTable:
        """The handlers of the messages."""

    def get_prefix(self) -> bytes:
        """The 22 bytes that every packet of this overlay starts with."""

    def ezr_pack(self, msg_num: int, *payloads: Payload, sig: bool = True) -> bytes:
        """The packet that carries ``payloads``."""

    def _ez_send_in_clear(self, address: Address, msg_num: int, payloads: Sequence[Payload], sig: bool = True) -> None:
        """Send ``payloads`` to ``address``, and in no session."""

    def on_session_opened(self, peer: Peer, session: Session) -> None:
        """A session is ready."""

    def on_session_closed(self, peer: Peer, reason: str) -> None:
        """A session has ended."""

    def on_session_failed(self, peer: Peer, reason: str) -> None:
        """No session could be opened."""

    def _on_session_datagram(self, peer: Peer, data: bytes) -> None:
        """A datagram came in a session."""

    def register_anonymous_task(self, basename: str, user_task: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a task that ends with the overlay."""


class _ClosedEndpoint(WrappingEndpoint):
    """The endpoint of an overlay that sends nothing in clear: packets of the overlay go into sessions, or nowhere."""

    def __init__(self, endpoint: Endpoint, part: OverlaySessions) -> None:
        super().__init__(endpoint)
        self._part = part

    def send(self, socket_address: Address, packet: bytes, *args: Any) -> None:
        """Send a packet in the session with its receiver, if it belongs to the overlay and is not of the library."""
        part = self._part
        if not packet.startswith(part.prefix) or not part.send_packet_to(socket_address, packet):
            super().send(socket_address, packet, *args)


class _Receiver:
    """What is called with a message in a session whose handler needs no signature, while that handler is the same."""

    __slots__ = ("_deliver", "_handler", "_number", "_part", "_table")

    def __init__(self, part: OverlaySessions, table: MessageTable, number: int, deliver: Callable[..., Any]) -> None:
        self._part, self._table, self._number = part, table, number
        self._handler = table.handlers[number]
        self._deliver = deliver

    def receive(self, channel: Channel, address: Address, frame: bytes) -> bool:
        """Handle a message; ``False`` if it has another handler now."""
        table, number, part = self._table, self._number, self._part
        if table.handlers[number] is not self._handler:
            return False
        overlay = part.overlay
        session: Session = channel.session or part.service.session_of(channel)
        peer = overlay.network.get_verified_by_public_key_bin(channel.remote_bin) or session.peer
        if part.service.machine.now >= peer.last_heard + HEARD_STEP:
            peer.heard_now()
        if part.statistics is not None:
            part.statistics.count_inside(part.prefix, number, len(frame), is_sent=False)
        outer, overlay.delivery = overlay.delivery, session
        meter = part.service.endpoint.gate.meter
        try:
            if meter is None:
                table.run(number, address, self._deliver, overlay, peer, address, frame, wire.MESSAGE_CONTENT)
            else:
                meter.measure(part.prefix + bytes((number,)), len(frame), table.run, number, address, self._deliver,
                              overlay, peer, address, frame, wire.MESSAGE_CONTENT)
        finally:
            overlay.delivery = outer
        return True


class OverlaySessions:
    """The part that sessions play in one overlay."""

    __slots__ = ("_after", "_after_counts", "_heads", "_missing", "_need_signature", "blocked", "encryption",
                 "overlay", "own", "prefix", "service", "statistics", "tag")

    def __init__(self, service: SessionService, overlay: SessionUser, own: OwnKey, encryption: str) -> None:
        if encryption not in POLICIES[1:]:
            raise ValueError(f"the policy of an overlay with sessions is one of {POLICIES[1:]}, not {encryption!r}")
        self.service, self.overlay, self.own = service, overlay, own
        self.encryption = encryption
        self.prefix = overlay.get_prefix()
        self.tag = wire.tag_of(self.prefix)
        self._after: int = overlay._session_after
        self._after_counts: BoundedDict[bytes, int] = BoundedDict(COUNTED_PEERS)
        self._missing: BoundedDict[bytes, float] = BoundedDict(COUNTED_PEERS)
        self._need_signature: BoundedDict[bytes, frozenset[int]] = BoundedDict(COUNTED_PEERS)
        self._heads: dict[tuple[int, bool], tuple[MessageTable, Handler | None, bytes]] = {}
        self.statistics: StatisticsEndpoint | None = None
        #: Messages that were not sent, as the policy does not let them be sent in clear.
        self.blocked = 0

    def attach(self) -> None:
        """Let the gate accept what comes in sessions, and refuse what comes in clear if the policy says so."""
        clear = Route(0) if self.encryption == "require" else DEFAULT_ROUTES
        self.overlay._overlay_sessions = self
        if isinstance(self.overlay.endpoint, StatisticsEndpoint):
            self.statistics = self.overlay.endpoint
        if self.encryption == "require":
            self.overlay.endpoint = _ClosedEndpoint(self.overlay.endpoint, self)
        self.overlay.endpoint.accept_routes(self.prefix, clear | Route.SESSION, DEFAULT_ROUTES | Route.SESSION)

    def detach(self) -> None:
        """End that."""
        self.overlay._overlay_sessions = None
        endpoint = self.overlay.endpoint
        if isinstance(endpoint, _ClosedEndpoint):
            self.overlay.endpoint = endpoint.endpoint
        self.overlay.endpoint.accept_routes(self.prefix, DEFAULT_ROUTES)

    def peer_of(self, session: Session) -> Peer:
        """The peer that the overlay knows for a session, else the session's own."""
        return self.overlay.network.get_verified_by_public_key_bin(session.peer.key_bin) or session.peer

    def note_capable(self, peer: Peer, now: float) -> None:
        """Note that ``peer`` answers sessions, as it says in a signed introduction."""
        peer.session_capable_until = now + CAPABLE_TIME
        self.service.machine.openings.resume(self.own, peer.key_bin)

    # Sending

    def send(self, peer: Peer, number: int, payloads: Sequence[Payload], signed: bool) -> bool:
        """Send a message to ``peer`` in a session, or keep it until there is one; ``False`` to send it in clear."""
        if number >= FIRST_PLAIN_MESSAGE:
            return False
        remote = peer.key_bin
        channel = self.service.machine.carrier(self.own, remote)
        if channel is None:
            return self._send_later(peer, lambda: self._frame(remote, payloads, number, signed),
                                    lambda: self.overlay._ez_send_in_clear(peer.address, number, payloads, signed))
        if self._missing and self._is_missing(remote):
            return self._refuse_clear()
        self._send_on(channel, self._frame(remote, payloads, number, signed))
        return True

    def send_to(self, address: Address, number: int, payloads: Sequence[Payload], signed: bool) -> bool:
        """Send a message to whoever is at ``address``, if there is exactly one session with that address.

        ``False`` if it is to be sent in clear.
        """
        if number >= FIRST_PLAIN_MESSAGE:
            return False
        channel = self.service.at(self.own, address)
        known = self.overlay.network.get_verified_by_address(address)
        if (channel is None or (known is not None and known.key_bin != channel.remote_bin)
                or self._is_missing(channel.remote_bin)):
            return self._refuse_clear()
        self._send_on(channel, self._frame(channel.remote_bin, payloads, number, signed))
        return True

    def send_packet(self, peer: Peer, packet: bytes) -> bool:
        """Send a packet that was packed for ``peer``, as :meth:`send` does with payloads."""
        if packet[MESSAGE_ID_OFFSET] >= FIRST_PLAIN_MESSAGE:
            return False
        frame = self._frame_of_packet(packet)
        channel = self.service.machine.carrier(self.own, peer.key_bin)
        if channel is None:
            return self._send_later(peer, lambda: frame, lambda: self.overlay.endpoint.send(peer.address, packet))
        self._send_on(channel, frame)
        return True

    def send_packet_to(self, address: Address, packet: bytes) -> bool:
        """Send a packet that was packed for ``address``, as :meth:`send_to` does with payloads."""
        if packet[MESSAGE_ID_OFFSET] >= FIRST_PLAIN_MESSAGE:
            return False
        channel = self.service.at(self.own, address)
        if channel is None:
            return self._refuse_clear()
        self._send_on(channel, self._frame_of_packet(packet))
        return True

    def _frame_of_packet(self, packet: bytes) -> bytes:
        """The frame of a packet that was packed before: with its signature, if it has one."""
        own = self.own.public_bin
        if packet[HEADER_SIZE : KEY_OFFSET + len(own)] == len(own).to_bytes(2, "big") + own:
            return bytes((Frame.PACKET,)) + packet
        return bytes((Frame.UNSIGNED,)) + self.tag + packet[MESSAGE_ID_OFFSET:]

    def _refuse_clear(self) -> bool:
        """Count a message that may not be sent in clear; ``False`` if it may."""
        if self.encryption != "require":
            return False
        self.blocked += 1
        self.overlay.drops.count(DropCounter.PLAINTEXT_BLOCKED)
        return True

    def _frame(self, remote: bytes, payloads: Sequence[Payload], number: int, signed: bool) -> bytes:
        """The frame of a message."""
        overlay = self.overlay
        table, handler, head = self._heads.get((number, signed)) or self._learn(number, signed)
        if table.handlers[number] is not handler:
            head = self._learn(number, signed)[2]
        if signed and (head == _PACKET or (self._need_signature and number in self._need_signature.get(remote, ()))):
            return _PACKET + overlay.ezr_pack(number, *payloads)
        return head + overlay.serializer.pack_serializable_list(payloads)

    def _learn(self, number: int, signed: bool) -> tuple[MessageTable, Handler | None, bytes]:
        """The first bytes of the frames of a message, and the handler for which that is so.

        A message that is to be signed goes without a signature if its handler, which the other side has too, can do
        without one.
        """
        table = self.overlay.message_table
        reception = table.reception(number)
        head = bytes((Frame.MESSAGE if signed else Frame.UNSIGNED,)) + self.tag + bytes((number,))
        if signed and (reception is None or reception.deliver is None):
            head = _PACKET
        known = self._heads[number, signed] = table, table.handlers[number], head
        return known

    def _send_on(self, channel: Channel, frame: bytes) -> None:
        if len(frame) > wire.LARGEST_FRAME:
            raise DataTooBigException(len(frame), wire.LARGEST_FRAME)
        meter = self.service.endpoint.gate.meter
        if meter is not None or self.statistics is not None:
            number = frame[1 + (MESSAGE_ID_OFFSET if frame[0] == Frame.PACKET else wire.OVERLAY_TAG_SIZE)]
            if self.statistics is not None:
                self.statistics.count_inside(self.prefix, number, len(frame), is_sent=True)
            if meter is not None:
                meter.count_inside(self.prefix + bytes((number,)), len(frame))
        self.service.endpoint.send(channel.roaming.address, channel.seal(frame))

    def _send_later(self, peer: Peer, make_frame: Callable[[], bytes], send_in_clear: Callable[[], None]) -> bool:
        """Keep a message until there is a session, if the policy opens one; ``False`` to send it in clear."""
        policy, machine, remote = self.encryption, self.service.machine, peer.key_bin
        if policy == "accept":
            return False
        now = clock.monotonic()
        wanted = peer.proven and (policy == "require" or now < peer.session_capable_until)
        if not wanted or remote in machine.own_keys or machine.openings.is_paused(self.own, remote, now):
            return self._refuse_clear()
        if policy == "prefer" and self._after:
            count = self._after_counts.get(remote, 0)
            self._after_counts[remote] = count + 1
            if count < self._after:
                return False
        frame = make_frame()
        if len(frame) > wire.LARGEST_FRAME:
            raise DataTooBigException(len(frame), wire.LARGEST_FRAME)

        def give_back() -> None:
            if not self._refuse_clear():
                send_in_clear()

        held = HOLD_REQUIRED if policy == "require" else HOLD_PREFERRED
        machine.hold(self.own, remote, frame, now + held, give_back)
        machine.open(self.own, remote, peer.address, now)
        self.service.settle()
        return True

    def _is_missing(self, remote: bytes) -> bool:
        """Whether the other side said a short time ago that it does not have this overlay."""
        if remote not in self._missing:
            return False
        if clock.monotonic() < self._missing[remote]:
            return True
        del self._missing[remote]
        return False

    # Receiving

    def receive(self, channel: Channel, address: Address, frame: bytes) -> None:
        """Take a frame with the tag of this overlay."""
        kind = frame[0]
        if kind == Frame.PACKET:
            self._receive_packet(channel, address, frame[1:])
        elif kind == Frame.NO_OVERLAY:
            self._missing[channel.remote_bin] = clock.monotonic() + MISSING_TIME
        elif kind == Frame.DATAGRAM:
            self._run(channel, self.overlay._on_session_datagram, self.peer_of(self.service.session_of(channel)),
                      frame[1 + wire.OVERLAY_TAG_SIZE :])
        elif len(frame) < wire.MESSAGE_CONTENT or frame[_NUMBER] >= FIRST_PLAIN_MESSAGE:
            self.service.drops["frame"] += 1
        elif kind == Frame.NEED_SIGNATURE:
            known = self._need_signature.get(channel.remote_bin, frozenset())
            self._need_signature[channel.remote_bin] = known | {frame[_NUMBER]}
        else:
            self._receive_message(channel, address, frame)

    def _receive_message(self, channel: Channel, address: Address, frame: bytes) -> None:
        kind, number = frame[0], frame[_NUMBER]
        table = self.overlay.message_table
        reception = table.reception(number)
        if reception is not None and reception.deliver is not None:
            if kind == Frame.MESSAGE:
                receiver = _Receiver(self, table, number, reception.deliver)
                self.own.receivers[frame[: wire.MESSAGE_CONTENT]] = receiver
                receiver.receive(channel, address, frame)
            else:
                self.overlay.drops.count(DropCounter.BAD_SIGNATURE)
        elif kind == Frame.UNSIGNED or table.handlers[number] is None or (
                reception is not None and not reception.signed):
            data = self.prefix + frame[_NUMBER:]
            self._run(channel, self.overlay.endpoint.gate.receive, (address, data), Route.SESSION)
        elif channel.may_tell(frame[1 : wire.MESSAGE_CONTENT]):
            channel.transmit(bytes((Frame.NEED_SIGNATURE,)) + frame[1 : wire.MESSAGE_CONTENT])

    def _receive_packet(self, channel: Channel, address: Address, packet: bytes) -> None:
        """Take a packet of this overlay, which has its own signature; its author must be the other side."""
        remote = channel.remote_bin
        number = packet[MESSAGE_ID_OFFSET] if len(packet) > MESSAGE_ID_OFFSET else FIRST_PLAIN_MESSAGE
        author = len(remote).to_bytes(2, "big") + remote
        if number >= FIRST_PLAIN_MESSAGE or packet[HEADER_SIZE : KEY_OFFSET + len(remote)] != author:
            self.service.drops["frame"] += 1
            return
        self._run(channel, self.overlay.endpoint.gate.receive, (address, packet), Route.SESSION)

    def _run(self, channel: Channel, call: Callable[..., Any], *arguments: Any) -> None:
        """Call something while the overlay knows by which session it is called."""
        overlay = self.overlay
        outer, overlay.delivery = overlay.delivery, self.service.session_of(channel)
        try:
            call(*arguments)
        finally:
            overlay.delivery = outer
