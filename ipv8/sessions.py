"""Encrypted sessions of the overlays of an endpoint (doc/encryption.md, doc/protocol/sessions.md).

A :class:`SessionService` connects the machine of :mod:`ipv8.messaging.session` to an endpoint: it brings datagrams,
time, random numbers and keys. What the machine tells goes to :mod:`ipv8.session_events`. What a single overlay does
with sessions is in :mod:`ipv8.overlay_sessions`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, cast

from . import clock
from .keyvault import ml_kem
from .messaging.address import UDPv4Address, plain_address
from .messaging.interfaces.endpoint import Endpoint, EndpointClosedException, EndpointListener
from .messaging.interfaces.udp import forks
from .messaging.session.handshake import OwnKey
from .messaging.session.machine import Machine, MachineSettings
from .messaging.session.noise import KeyPair
from .messaging.session.quic import available_library
from .messaging.session.wire import MAX_QUIC_DATAGRAM, SERVICE_PREFIX, Flag, Reason
from .overlay_sessions import OverlaySessions
from .peer import Peer
from .secure_overlay import SecureOverlay
from .session_environment import Chance, KeyJudge, prefers_aes
from .session_events import SessionError, SessionEvents, SessionRefused, SessionTimeout
from .session_streams import SessionStreams
from .taskmanager import TaskManager
from .verification import SignatureGuard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .keyvault.keys import PrivateKey
    from .messaging.address import Address
    from .messaging.interfaces.gate import Packet
    from .messaging.session.channel import Channel, ChannelStats
    from .messaging.session.openings import Target
    from .overlay_sessions import SessionUser
    from .taskmanager import Timer

__all__ = ["Session", "SessionError", "SessionObserver", "SessionRefused", "SessionService", "SessionSettings",
           "SessionTimeout"]

CLOCK_DIFFERENCE = 5.0
"""Seconds by which the wall clock and the monotonic clock may disagree between two ticks. More means that the machine
was stopped, or restored from a snapshot, and that counters may have been used in the meantime."""

RUN_TIME = 0.0005
"""Seconds for which packets that arrived together are taken together."""

LATE = 0.05
"""Seconds by which a tick may be late before cookies are asked for."""

class SessionSettings(NamedTuple):
    """What a node wants of its sessions."""

    hybrid: str = "auto"
    """Post-quantum keys: ``"off"``, ``"auto"`` (where both sides can) or ``"require"``."""

    cipher: str = "auto"
    """``"auto"`` (AES where it is faster), ``"aes"`` or ``"chacha20"``. AES is used where both sides want it."""

    answer_unknown: bool = False
    """Whether nodes are answered that do not know a key of this node."""

    refuse_clear: bool = False
    """Whether ``"require"`` is the policy of overlays that set none."""

    idle_timeout: float = 600.0
    """Seconds without anything to send or receive after which a session is closed."""

    rekey_after: float = 300.0
    """Seconds after which a session in use gets new keys."""

    max_sessions: int = 4096
    padding: int = 1
    """What is encrypted is made longer to a multiple of so many bytes."""


class SessionObserver:
    """Is told what happens to sessions. All methods do nothing here."""

    def on_opened(self, peer: Peer, session: Session) -> None:
        """A session is ready."""

    def on_closed(self, peer: Peer, reason: str) -> None:
        """A session has ended."""

    def on_failed(self, peer: Peer | Address, reason: str) -> None:
        """No session could be opened with a peer, or with whoever is at an address."""

    def on_moved(self, peer: Peer, old: Address, new: Address) -> None:
        """The other side of a session has another address."""


class Session:
    """An encrypted session with a peer."""

    __slots__ = ("_channel", "_service", "opened_at", "peer")

    def __init__(self, service: SessionService, channel: Channel) -> None:
        self._service = service
        self._channel = channel
        #: When it became ready, in seconds since the Unix epoch.
        self.opened_at = clock.time()
        self.peer: Peer = service.peer_of(channel)

    def __repr__(self) -> str:
        return f"<Session with {self.peer.mid.hex()} at {self.address}, {self.cipher}>"

    @property
    def address(self) -> Address:
        """Where the other side is."""
        return self._channel.address

    @property
    def initiator(self) -> bool:
        """Whether this node opened it."""
        return self._channel.initiator

    @property
    def hybrid(self) -> bool:
        """Whether the keys in use stay secret from somebody who has a quantum computer later."""
        return self._channel.hybrid

    @property
    def cipher(self) -> str:
        """``"AES-256-GCM"`` or ``"ChaCha20-Poly1305"``."""
        return self._channel.cipher

    @property
    def binding(self) -> bytes:
        """32 bytes that are the same for both sides of this session and for no other session.

        They change when the session gets new keys.
        """
        return self._channel.epoch.hash

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._channel.is_open

    @property
    def stats(self) -> ChannelStats:
        """Datagrams, bytes, rekeys, moves, and the last round trip."""
        return self._channel.stats

    async def ping(self, timeout: float = 5.0) -> float:
        """Ask for an answer, and return the seconds that it took.

        :raises SessionTimeout: if none came in time.
        """
        return await self._service.ping(self._channel, timeout)

    def seal(self, plaintext: bytes) -> bytes:
        """The datagram that carries these frames to :attr:`address`; for overlays and streams."""
        return self._channel.seal(plaintext)

    def close(self) -> None:
        """End the session; the other side is told."""
        self._channel.close(Reason.SHUTDOWN)
        self._service.settle()


class _Shared:
    """The session service of an endpoint."""

    def __init__(self) -> None:
        self.service: SessionService | None = None

    def release(self) -> None:
        """Nothing is to be given up when the endpoint closes: sessions are closed before."""


class SessionService(EndpointListener, TaskManager):
    """The sessions of the overlays of one endpoint.

    Use :meth:`of` to get the one of an endpoint. It does nothing until an overlay registers.
    """

    relay = True
    """That packets are taken which peers have carried."""

    repeatable_keys = False
    """Set by simulations that must give the same bytes each time: keys come from :mod:`ipv8.entropy`, and anybody who
    knows its seed knows them."""

    @classmethod
    def of(cls, endpoint: Endpoint, settings: SessionSettings | None = None) -> SessionService:
        """The service of ``endpoint``; it is made if there is none.

        :param settings: those of a new service.
        :raises ValueError: if a setting has no meaning.
        """
        shared = endpoint.gate.shared(_Shared)
        if shared.service is None:
            shared.service = cls(endpoint, settings or SessionSettings())
            endpoint.gate.has_sessions = True
            for listener in {id(other): other for entry in endpoint.gate.entries.values() for other in entry}.values():
                if isinstance(listener, SecureOverlay):
                    listener._join_sessions()
        return shared.service

    @staticmethod
    def find(endpoint: Endpoint) -> SessionService | None:
        """The service of ``endpoint``, if there is one."""
        return endpoint.gate.shared(_Shared).service if isinstance(endpoint, Endpoint) else None

    def __init__(self, endpoint: Endpoint, settings: SessionSettings) -> None:
        EndpointListener.__init__(self, endpoint)
        TaskManager.__init__(self)
        _check_settings(settings)
        self.logger = logging.getLogger(type(self).__name__)
        self.settings = settings
        self.signature_guard = SignatureGuard.of(endpoint)
        self._judge = KeyJudge(self)
        self._randomness = Chance(self.repeatable_keys)
        kept = MachineSettings(settings.hybrid, settings.answer_unknown, settings.idle_timeout, settings.rekey_after,
                               settings.max_sessions, settings.padding)
        self.machine = Machine(kept, self._judge, self._randomness, clock.monotonic())
        self._flags = ((Flag.STREAMS if available_library() else 0)
                       | (Flag.ML_KEM if self._has_kem() else 0)
                       | (Flag.PREFERS_AES if prefers_aes(settings.cipher) else 0))
        self._events = SessionEvents(self)
        #: The streams of the overlays.
        self.streams = SessionStreams(self)
        self._timer: Timer | None = None
        self._due: float | None = None
        self._clocks: tuple[float, float] | None = None
        self._is_unloaded = False
        #: Packets that were not handled, by reason.
        self.drops: Counter[str] = Counter()
        forks.note(self)

    def _has_kem(self) -> bool:
        """Whether this node offers post-quantum keys. Their library draws what it sends, so it cannot be repeated."""
        hybrid = self.settings.hybrid
        return ml_kem.is_available() and (hybrid == "require" or (hybrid == "auto" and not self.repeatable_keys))

    # Overlays

    @property
    def default_policy(self) -> str:
        """The policy of overlays that set none."""
        return "require" if self.settings.refuse_clear else "accept"

    def register(self, overlay: SessionUser, encryption: str) -> None:
        """Use sessions for the messages of ``overlay``.

        :param encryption: its policy: ``"accept"``, ``"prefer"`` or ``"require"``; see doc/encryption.md.
        :raises ValueError: for another policy, or if the node has too many keys.
        """
        own = self._own_key(cast("PrivateKey", overlay.my_peer.key))
        part = OverlaySessions(self, overlay, own, encryption)
        place = own.public_bin, part.tag
        if place in self._events.parts:
            self.logger.error("Two overlays with the prefix %s use the same key: the second one has no sessions",
                              overlay.get_prefix().hex())
            return
        if not self._events.parts:
            self.endpoint.add_prefix_listener(self, SERVICE_PREFIX)
        self._events.add(part)
        part.attach()

    def unregister(self, overlay: SessionUser) -> None:
        """Do not use sessions for ``overlay`` any more. Sessions that no other overlay of its key uses are closed."""
        part = next((part for part in self._events.parts.values() if part.overlay is overlay), None)
        if part is None:
            return
        self.streams.leave(part)
        self._events.remove(part)
        part.detach()
        if all(other.own is not part.own for other in self._events.parts.values()):
            self.machine.remove_key(part.own)
            self.settle()
            self._events.end_waiting(part.own)
        if not self._events.parts:
            self._stop_timer()
            self.endpoint.remove_listener(self)

    def parts(self) -> Iterator[OverlaySessions]:
        """The overlays that use sessions."""
        return iter(self._events.parts.values())

    def part(self, own: OwnKey, tag: bytes) -> OverlaySessions | None:
        """The overlay with this tag that uses sessions by this key of the node."""
        return self._events.parts.get((own.public_bin, tag))

    def _own_key(self, key: PrivateKey) -> OwnKey:
        public_bin = key.pub().key_to_bin()
        own = self.machine.own_keys.get(public_bin)
        if own is None:
            own = OwnKey(key, KeyPair(self._randomness.secret(32)), self._flags)
            self.machine.add_key(own)
        return own

    def _own_of(self, key: PrivateKey | None) -> OwnKey:
        own_keys = self.machine.own_keys
        if key is not None:
            return self._own_key(key)
        if not own_keys:
            raise SessionRefused("no overlay uses sessions: set encryption to 'accept', 'prefer' or 'require' for one")
        return next(iter(own_keys.values()))

    # Sessions

    def get(self, peer: Peer, key: PrivateKey | None = None) -> Session | None:
        """The session with ``peer`` that is used for sending.

        :param key: which key of this node; the first one by default.
        """
        own_keys = self.machine.own_keys
        own = next(iter(own_keys.values()), None) if key is None else own_keys.get(key.pub().key_to_bin())
        if own is None:
            return None
        channel = self.machine.carrier(own, peer.public_key.key_to_bin())
        return None if channel is None else self.session_of(channel)

    async def connect(self, peer: Peer, *, key: PrivateKey | None = None,
                      timeout: float = 10.0) -> Session:
        """The session with ``peer``; it is opened if there is none.

        :raises SessionTimeout: if there is none in time.
        :raises SessionRefused: if the other side cannot have one.
        :raises ValueError: if this is a key of this node.
        """
        own, remote = self._own_of(key), peer.public_key.key_to_bin()
        if remote in self.machine.own_keys:
            raise ValueError("a node has no session with itself")
        session = self.get(peer, key)
        if session is not None:
            return session
        return await self._open(own, remote, peer.address, timeout)

    async def connect_address(self, address: Address, *, key: PrivateKey | None = None,
                              timeout: float = 10.0) -> Session:
        """The session with whoever is at ``address``, whose key need not be known.

        The other side only answers if its ``answer_unknown`` is set.
        """
        return await self._open(self._own_of(key), address, address, timeout)

    async def _open(self, own: OwnKey, target: Target, address: Address, timeout: float) -> Session:
        if not self.endpoint.is_open():
            raise EndpointClosedException(self.endpoint)
        waiting = asyncio.ensure_future(self._events.opened(own, target, timeout))
        try:
            await asyncio.sleep(0)  # so that it waits before anything can happen
            if own.public_bin in self.machine.own_keys:  # otherwise the overlay has ended
                self.machine.open(own, target, address, clock.monotonic())
                self.settle()
            return await waiting
        finally:
            waiting.cancel()

    def sessions(self) -> list[Session]:
        """All sessions, in the order in which they were opened."""
        return [self.session_of(channel) for channel in self.machine.channels()]

    def session_of(self, channel: Channel) -> Session:
        """The session of a channel of the machine."""
        session = channel.session
        if not isinstance(session, Session):
            session = channel.session = Session(self, channel)
        return session

    def peer_of(self, channel: Channel) -> Peer:
        """The peer that the overlays know for a channel, else one of its own."""
        for part in self.parts():
            if part.own is channel.own:
                peer = part.overlay.network.get_verified_by_public_key_bin(channel.remote_bin)
                if peer is not None:
                    return peer
        return Peer(channel.remote, channel.address)

    def at(self, own: OwnKey, address: Address) -> Channel | None:
        """The only session of ``own`` whose other side is at ``address``."""
        return self._events.at(own, address)

    async def ping(self, channel: Channel, timeout: float) -> float:
        """See :meth:`Session.ping`."""
        start = clock.monotonic()
        token = channel.ping()
        self.settle()
        return await self._events.answered(token, timeout) - start

    # Observers

    def add_observer(self, observer: SessionObserver) -> None:
        """Tell ``observer`` what happens to sessions."""
        self._events.observers.append(observer)

    def remove_observer(self, observer: SessionObserver) -> None:
        """Do not tell it any more; an unknown one is ignored."""
        if observer in self._events.observers:
            self._events.observers.remove(observer)

    # Packets and time

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        """Take a datagram of a session."""
        address, datagram = packet
        if type(address) is not UDPv4Address:
            address = plain_address(address)
        self._judge.address = address
        machine, events = self.machine, self._events
        taken = machine.take(datagram, address, clock.monotonic())
        if taken is not None:
            events.on_frame(taken[0], address, taken[1])
        elif machine.events:
            events.act(machine.take_events())
        if machine.is_busy:
            self.settle()

    def take_runs(self, wanted: bool) -> None:
        """Whether packets that arrived together are taken together, as those of streams can be."""
        self._take_packets = self._take if wanted and type(self).on_packet is SessionService.on_packet else None

    def _take(self, packets: Sequence[Packet], position: int) -> int:
        """Take packets that arrived together: several that carry a stream, or one; how many."""
        machine, packet = self.machine, packets[position]
        count = 0
        if len(packet[1]) == MAX_QUIC_DATAGRAM:  # as most of a stream that is read fast
            monotonic = clock.current().monotonic
            now = monotonic()
            run = machine.run(packets, position, now, lambda: monotonic() >= now + RUN_TIME)
            if run is not None:
                self.streams.receive_run(run.channel, run.packets)
                run.finish()
                count = run.count
        if not count:
            self.on_packet(packet)
            return 1
        if machine.events:
            self._events.act(machine.take_events())
        if machine.is_busy:
            self.settle()
        return count

    def settle(self) -> None:
        """Send what the machine has for others, and wait for what is due next."""
        machine = self.machine
        while True:
            for address, datagram in machine.datagrams():
                self.endpoint.send(address, datagram)
            events = machine.take_events()
            if not events:
                break
            self._events.act(events)
        due = machine.deadline()
        if due is not None and not self._is_unloaded and (self._due is None or due < self._due):
            self._stop_timer()
            self._due = due
            self._timer = self.start_timer(max(0.0, due - clock.monotonic()), self._on_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._due = None

    def _on_time(self) -> None:
        now, due = clock.monotonic(), self._due
        self._timer = self._due = None
        if self._was_stopped(now):
            self.machine.drop_all("this machine was stopped or restored")
        self.machine.answering.is_late = due is not None and now > due + LATE
        self._events.act(self.machine.tick(now))
        self.settle()

    def _was_stopped(self, now: float) -> bool:
        """Whether the clocks disagree, so that this may be another run of the same memory."""
        wall, before = clock.time(), self._clocks
        self._clocks = now, wall
        return before is not None and abs((wall - before[1]) - (now - before[0])) > CLOCK_DIFFERENCE

    def _abandon(self) -> None:
        """Forget all keys in a fork of the process, which must not use them too."""
        self.machine.drop_all("fork")
        self.machine.take_events()
        self._timer = self._due = None

    # The end

    async def unload(self) -> None:
        """Close all sessions; the other sides are told. The endpoint must still be open. May be called again."""
        if self._is_unloaded:
            return
        self._is_unloaded = True
        for part in tuple(self._events.parts.values()):
            self.unregister(part.overlay)
        self.streams.close()
        self.machine.close()
        self.settle()
        self._stop_timer()
        forks.forget(self)
        self.endpoint.remove_listener(self)
        shared = self.endpoint.gate.shared(_Shared)
        if shared.service is self:
            shared.service = None
            self.endpoint.gate.has_sessions = False
        self._events.end_waiting()
        await self.shutdown_task_manager()


def _check_settings(settings: SessionSettings) -> None:
    if settings.hybrid not in {"off", "auto", "require"}:
        raise ValueError(f"hybrid is 'off', 'auto' or 'require', not {settings.hybrid!r}")
    if settings.cipher not in {"auto", "aes", "chacha20"}:
        raise ValueError(f"cipher is 'auto', 'aes' or 'chacha20', not {settings.cipher!r}")
    if settings.hybrid == "require" and not ml_kem.is_available():
        raise ValueError("hybrid is 'require', but ML-KEM does not work here: install cryptography 47 or later")
    for name in ("idle_timeout", "rekey_after", "max_sessions", "padding"):
        value = getattr(settings, name)
        if not value > 0:
            raise ValueError(f"{name} must be positive, not {value!r}")
