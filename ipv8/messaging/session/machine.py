"""All sessions of a node as one machine: datagrams and times go in, events and datagrams come out.

The rules are those of doc/protocol/sessions.md. Whoever drives the machine calls :meth:`Machine.receive` for each
datagram and :meth:`Machine.tick` at :meth:`Machine.deadline`, sends what :meth:`Machine.datagrams` returns, and acts on
the events. The machine has no socket, clock, task or source of randomness of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ...fill import Fill
from ..inet import HOST_BITS, network_of
from . import handshake, wire
from .answering import Answering
from .channel import TICK, Channel
from .events import Received
from .keys import Epoch
from .openings import Openings
from .runs import Run
from .wire import BODY, INDEX_END, INDEX_SIZE, MIN_DATA, TYPE_OFFSET, Datagram, Frame, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..address import Address
    from .events import Event
    from .handshake import Established, OwnKey
    from .openings import Target

__all__ = ["Judge", "Machine", "MachineSettings", "Randomness"]

OWN_KEYS = 8
"""Own keys for which handshakes are answered."""

MAX_SESSIONS = 4096
"""Sessions of a node; beyond, the one that was not heard for longest is dropped, if that was for a minute."""

SESSIONS_PER_SOURCE = 64
"""Sessions with one host, an IPv4 address or an IPv6 /64, once half of the table is full."""

SESSIONS_PER_PAIR = 3
"""Sessions between two keys; the oldest one is closed beyond."""

EVICTABLE_AFTER: Final = 60.0
"""Only a session that was not heard for so many seconds makes room for another one."""

MADE_TOGETHER: Final = 5.0
"""Of two sessions made within so many seconds, both sides choose by their keys, since either may seem the newer."""

UNKNOWN_TIME: Final = 180.0
"""For so many seconds after its start, a node tells that it does not know a session."""

UNKNOWNS_PER_SECOND = 10
"""Hints of this kind, to one address once."""


DATA: Final = Datagram.DATA


class MachineSettings(NamedTuple):
    """What a node wants of its sessions; see ``SessionSettings`` of :mod:`ipv8.sessions`."""

    hybrid: str = "auto"
    answer_unknown: bool = False
    idle_timeout: float = 600.0
    rekey_after: float = 300.0
    max_sessions: int = MAX_SESSIONS
    padding: int = 1


class Judge(handshake.Judge, Protocol):
    """What the machine asks about others."""

    def is_proven(self, address: Address) -> bool:
        """Whether a peer answered a request of ours from there."""


class Randomness(Protocol):
    """Where random bytes come from."""

    def secret(self, size: int) -> bytes:
        """Bytes for keys, which nobody can predict."""

    def token(self, size: int) -> bytes:
        """Bytes for indexes and tokens."""

    def uniform(self, low: float, high: float) -> float:
        """A number between these two."""

    def kem_seed(self) -> bytes | None:
        """64 bytes for a key of ML-KEM; ``None`` where the library draws them."""


class Machine:
    """The sessions of a node.

    :param now: seconds of a monotonic clock; so are all other times.
    """

    def __init__(self, settings: MachineSettings, judge: Judge, randomness: Randomness, now: float) -> None:
        self.settings = settings
        self.judge = judge
        self._randomness = randomness
        self.secret: Callable[[int], bytes] = randomness.secret
        self.random: Callable[[int], bytes] = randomness.token
        self.kem_seed = randomness.kem_seed
        self.now = now
        self._started = now
        #: The keys of this node, by their public keys.
        self.own_keys: dict[bytes, OwnKey] = {}
        self.unknown_mac_key = wire.mac_key(b"")
        self.epochs: dict[bytes, Epoch] = {}
        self._by_remote_index: dict[bytes, Epoch] = {}
        self.openings = Openings(self)
        self.answering = Answering(self, now)
        self._pairs: dict[tuple[bytes, bytes], list[Channel]] = {}
        self._channels: dict[Channel, bytes] = {}
        self._per_source: Counter[bytes] = Counter()
        self._finishing: set[Channel] = set()
        self._next_tick: float | None = None
        self._outgoing: list[tuple[Address, bytes]] = []
        self.events: list[Event] = []
        #: Datagrams and frames that were dropped, by reason.
        self.drops: Counter[str] = Counter()
        #: Handshakes: begun, answered, finished, failed.
        self.handshakes: Counter[str] = Counter()
        #: Cookies and hints sent.
        self.cookies = self.hints = 0
        self._hinted: set[Address] = set()
        self._handlers: dict[int, Callable[[bytes, Address], None]] = {
            Datagram.INIT: lambda datagram, address: self.answering.on_init(datagram, address, self.now),
            Datagram.RESPONSE: self._on_response,
            Datagram.FINISH: self._on_finish,
            Datagram.COOKIE: self._on_cookie,
            Datagram.UNKNOWN: self._on_unknown,
        }

    # What drives it

    def add_key(self, own: OwnKey) -> None:
        """Answer handshakes with this key of the node.

        :raises ValueError: if there are too many.
        """
        if own.public_bin not in self.own_keys and len(self.own_keys) >= OWN_KEYS:
            raise ValueError(f"sessions are possible for at most {OWN_KEYS} keys of a node; "
                             "use one node for each key, or set encryption to 'off' for some overlays")
        self.own_keys.setdefault(own.public_bin, own)

    def remove_key(self, own: OwnKey) -> None:
        """Answer no handshakes with this key of the node any more, and close its sessions."""
        self.openings.forget(own, self.now)
        self.answering.forget(own)
        for channel in self.channels():
            if channel.own is own:
                channel.streams = 0
                channel.close(Reason.SHUTDOWN)
        self.own_keys.pop(own.public_bin, None)

    def receive(self, datagram: bytes, address: Address, now: float) -> list[Event]:
        """Take a datagram with the prefix of the service, and return what has happened."""
        taken = self.take(datagram, address, now)
        if taken is not None:
            self.events.append(Received(taken[0], address, taken[1]))
        return self.take_events()

    def take(self, datagram: bytes, address: Address, now: float) -> tuple[Channel, bytes] | None:
        """Take a datagram with the prefix of the service, without an event for what happens most often.

        :returns: the session and the frame, if a frame for an overlay came and nothing else has happened. Otherwise
            :meth:`take_events` tells.
        """
        self.now = now
        if len(datagram) >= MIN_DATA and datagram[TYPE_OFFSET] == DATA:
            epoch = self.epochs.get(datagram[BODY:INDEX_END])
            if epoch is None:
                self._on_foreign(datagram, address)
                return None
            channel = epoch.channel
            frame = channel.receive(epoch, datagram, address, now)
            if frame is None:
                return None
            if not self.events:
                return channel, frame
            self.events.append(Received(channel, address, frame))
            return None
        handler = self._handlers.get(datagram[TYPE_OFFSET]) if len(datagram) > BODY else None
        if handler is None:
            self.drops["short"] += 1
        else:
            handler(datagram, address)
        return None

    def run(self, datagrams: Sequence[tuple[Address, bytes]], position: int, now: float,
            is_late: Callable[[], bool]) -> Run | None:
        """What takes several datagrams at once, from ``position`` on, instead of :meth:`take`.

        :returns: ``None`` if the first one does not belong to a session with streams.
        """
        datagram = datagrams[position][1]
        epoch = self.epochs.get(datagram[BODY:INDEX_END]) if datagram[TYPE_OFFSET] == DATA else None
        if epoch is None or not epoch.channel.streams:
            return None
        self.now = now
        return Run(epoch, datagrams, position, now, is_late)

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events = self.events
        if events:
            self.events = []
        return events

    def datagrams(self) -> list[tuple[Address, bytes]]:
        """What is to be sent since the last call."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
        return outgoing

    @property
    def is_busy(self) -> bool:
        """Whether datagrams are to be sent; only then the deadline may have changed since the last call."""
        return bool(self._outgoing)

    def deadline(self) -> float | None:
        """When :meth:`tick` is to be called next; ``None`` if there is nothing to wait for."""
        times = [self._next_tick, self.openings.due(), self.openings.next_expiry()]
        times += [channel.due for channel in self._finishing]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> list[Event]:
        """Do what is due."""
        self.now = now
        self.openings.tick(now)
        self.openings.expire(now)
        for channel in [channel for channel in self._finishing if channel.due is not None and now >= channel.due]:
            channel.on_due(now)
        if self._next_tick is not None and now >= self._next_tick:
            self.answering.expire(now)
            self._hinted.clear()
            for channel in list(self._channels):
                channel.tick(now)
            self._next_tick = now + TICK if self._channels or self.answering else None
        return self.take_events()

    # What its parts use

    def keep_ticking(self) -> None:
        """Have :meth:`tick` called each second, as long as there is something to look after."""
        if self._next_tick is None:
            self._next_tick = self.now + TICK

    def send(self, address: Address, datagram: bytes) -> None:
        """Have a datagram sent."""
        self._outgoing.append((address, datagram))

    def jitter(self, part: float) -> float:
        """A factor around 1."""
        return self._randomness.uniform(1 - part, 1 + part)

    def new_index(self) -> bytes:
        """An index that no live epoch or handshake of this node has."""
        while True:
            index = self.random(INDEX_SIZE)
            if index not in self.epochs and not self.answering.has(index) and not self.openings.has(index):
                return index

    def register(self, epoch: Epoch) -> None:
        """Find this epoch by its index from now on."""
        self.epochs[epoch.own_index] = epoch
        self._by_remote_index[epoch.remote_index] = epoch

    def forget(self, epoch: Epoch) -> None:
        """Do not find this epoch any more."""
        self.epochs.pop(epoch.own_index, None)
        if self._by_remote_index.get(epoch.remote_index) is epoch:
            del self._by_remote_index[epoch.remote_index]

    # Datagrams

    def _on_response(self, datagram: bytes, _: Address) -> None:
        if len(datagram) < wire.MIN_RESPONSE:
            self.drops["short"] += 1
            return
        answered = self.openings.on_response(datagram, self.now)
        if answered is None:
            return
        attempt, target, finish, established = answered
        opening = attempt.opening
        channel = self._make(opening.own, established, opening.index, attempt.address, initiator=True)
        if channel is not None:
            self._finishing.add(channel)
            channel.finish_with(finish, self.now)
            self._send_held(channel, target)

    def _on_finish(self, datagram: bytes, address: Address) -> None:
        if len(datagram) < wire.MIN_FINISH:
            self.drops["short"] += 1
            return
        index = datagram[BODY:INDEX_END]
        epoch = self.epochs.get(index)
        if epoch is not None and not epoch.channel.initiator and epoch.number == 0:
            epoch.channel.on_repeated_finish()
            return
        finished = self.answering.on_finish(index, datagram, self.now)
        if finished is None:
            return
        entry, established, frames = finished
        channel = self._make(entry.half.own, established, entry.half.index, entry.address, initiator=False)
        if channel is None:
            return
        self.handshakes["finished"] += 1
        channel.transmit(wire.KEEPALIVE)
        channel.announce(self.now)
        if frames:
            channel.take(frames, address, self.now)
        for data, source in entry.early:
            if channel.is_open:
                frame = channel.receive(channel.epoch, data, source, self.now)
                if frame is not None:
                    self.events.append(Received(channel, source, frame))
        self.ready(channel, self.now)

    def _on_cookie(self, datagram: bytes, _: Address) -> None:
        if len(datagram) == wire.COOKIE_DATAGRAM_SIZE:
            self.openings.on_cookie(datagram)
        else:
            self.drops["short"] += 1

    def _on_foreign(self, datagram: bytes, address: Address) -> None:
        """Take a DATA with an index that no session has."""
        index = datagram[BODY:INDEX_END]
        if self.answering.has(index):
            self.answering.keep_early(index, datagram, address)
            return
        self.drops["index"] += 1
        is_new = self.now < self._started + UNKNOWN_TIME
        if is_new and address not in self._hinted and len(self._hinted) < UNKNOWNS_PER_SECOND:
            self._hinted.add(address)
            self.keep_ticking()
            self.hints += 1
            self.send(address, wire.write_unknown(index))

    def _on_unknown(self, datagram: bytes, address: Address) -> None:
        if len(datagram) != wire.UNKNOWN_SIZE:
            self.drops["short"] += 1
            return
        index = datagram[BODY:]
        epoch = self._by_remote_index.get(index)
        if epoch is not None and epoch.channel.on_unknown(index, address, self.now):
            self.renew(epoch.channel, self.now)
        else:
            self.drops["index"] += 1

    # Sessions

    def has_room(self, address: Address, now: float) -> bool:
        """Whether there is room for a session with this address, if need be in the place of an idle one."""
        limit = self.settings.max_sessions
        source = network_of(address[0], *HOST_BITS)
        if len(self._channels) >= limit // 2 and self._per_source[source] >= SESSIONS_PER_SOURCE:
            return False
        return len(self._channels) < limit or any(self._idle(now))

    def _idle(self, now: float) -> Iterator[Channel]:
        return (channel for channel in self._channels if now >= channel.heard_at + EVICTABLE_AFTER)

    def _make_room(self, address: Address, now: float) -> bool:
        """Evict an idle session, if that is needed for one with this address; whether there is room.

        Only a handshake whose other side has shown its key does that: anybody can send an INIT.
        """
        if not self.has_room(address, now):
            self.drops["rate"] += 1
            return False
        if len(self._channels) >= self.settings.max_sessions:
            oldest = min(self._idle(now), key=lambda channel: (self.judge.is_proven(channel.address), channel.heard_at))
            oldest.drop("evicted")
        return True

    def _make(self, own: OwnKey, established: Established, index: bytes, address: Address, *,
              initiator: bool) -> Channel | None:
        if not self._make_room(address, self.now):
            return None
        cipher = established.cipher(own.flags)
        epoch = Epoch(0, established.secrets, initiator, cipher, index, established.remote_index, self.now)
        channel = Channel(self, own, established, epoch, address, initiator, cipher, self.now)
        self.register(epoch)
        source = network_of(address[0], *HOST_BITS)
        self._channels[channel] = source
        self._per_source[source] += 1
        pair = self._pairs.setdefault((own.public_bin, channel.remote_bin), [])
        for other in pair:
            channel.roaming.inherit(other.roaming)
        pair.append(channel)
        self.keep_ticking()
        if self.settings.hybrid == "require" and not channel.is_hybrid_wanted:
            self.drops["policy"] += 1
            channel.close(Reason.POLICY)
            self.openings.refuse(own, channel.remote_bin, "no post-quantum keys", self.now)
            return None
        if len(pair) > SESSIONS_PER_PAIR:
            pair[0].close(Reason.REPLACED)
        return channel

    def remove(self, channel: Channel) -> None:
        """Forget a session that has ended."""
        key = channel.own.public_bin, channel.remote_bin
        pair = self._pairs.get(key, [])
        if channel in pair:
            pair.remove(channel)
        if not pair:
            self._pairs.pop(key, None)
        self._finishing.discard(channel)
        source = self._channels.pop(channel, None)
        if source is not None:
            self._per_source[source] -= 1
            if not self._per_source[source]:
                del self._per_source[source]
        if channel.streams or self.openings.has_held(channel.own, channel.remote_bin):
            self.openings.begin(channel.own, channel.remote_bin, channel.address, self.now)

    def selected(self, own: OwnKey, remote: bytes) -> Channel | None:
        """The session on which frames to this key are sent; ``None`` if there is none."""
        pair = self._pairs.get((own.public_bin, remote))
        if pair is None:
            return None
        if len(pair) == 1:
            return pair[0] if pair[0].is_fresh(self.now) else None
        best = None
        for channel in pair:
            if channel.is_fresh(self.now) and (best is None or _is_preferred(channel, best, self.now)):
                best = channel
        return best

    def is_selected(self, channel: Channel) -> bool:
        """Whether frames are sent on this session."""
        return self.selected(channel.own, channel.remote_bin) in {channel, None}

    def channels(self) -> list[Channel]:
        """All sessions."""
        return list(self._channels)

    def ready(self, channel: Channel, now: float) -> None:
        """Note that frames may be sent on a session: send those that wait."""
        self._finishing.discard(channel)
        if channel.state == Channel.READY:
            self.openings.give_up(channel.own, channel.remote_bin, now)
        self._send_held(channel, channel.remote_bin)

    def on_unfinished(self, channel: Channel, now: float) -> None:
        """Note that a session has ended because nothing showed that its FINISH came."""
        if self.selected(channel.own, channel.remote_bin) is None:
            self.openings.refuse(channel.own, channel.remote_bin, "timeout", now)

    def carrier(self, own: OwnKey, remote: bytes) -> Channel | None:
        """The session on which frames of overlays to this key are sent; ``None`` if there is none yet."""
        pair = self._pairs.get((own.public_bin, remote), ())
        # Usually there is one session, and something was heard in the last second.
        channel = pair[0] if len(pair) == 1 and pair[0].heard else self.selected(own, remote)
        if channel is None or channel.hybrid or self.settings.hybrid != "require":
            return channel
        return None

    def can_carry(self, channel: Channel) -> bool:
        """Whether frames of overlays may be sent on this session: not before it is hybrid, where that is required."""
        return channel.hybrid or self.settings.hybrid != "require"

    def _send_held(self, channel: Channel, target: Target) -> None:
        if self.can_carry(channel):
            for frame in self.openings.held(channel.own, target):
                channel.transmit(frame)

    def renew(self, channel: Channel, now: float) -> None:
        """Open another session with the same key, beside this one."""
        if not self.openings.is_paused(channel.own, channel.remote_bin, now):
            self.openings.begin(channel.own, channel.remote_bin, channel.address, now)

    def open(self, own: OwnKey, target: Target, address: Address, now: float) -> None:
        """Open a session with a public key, or with whoever is at an address."""
        self.now = now
        self.openings.begin(own, target, address, now)

    def hold(self, own: OwnKey, target: Target, frame: bytes, expires: float, context: Any = None) -> None:
        """Keep a frame until a session is ready; see ``Openings.hold``."""
        self.openings.hold(own, target, frame, expires, context)

    def close(self) -> None:
        """Close all sessions and forget everything but the own keys."""
        self.openings.clear(self.now)
        self.answering.clear()
        for channel in self.channels():
            channel.streams = 0
            channel.close(Reason.SHUTDOWN)
        self._next_tick = None

    def drop_all(self, reason: str) -> None:
        """Drop all sessions without a word: their counters may have been used by another process."""
        self.openings.clear(self.now)
        self.answering.clear()
        for channel in self.channels():
            channel.streams = 0
            channel.drop(reason)
        self._outgoing.clear()
        self._next_tick = None

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("sessions", len(self._channels), self.settings.max_sessions,
                   rule="the one not heard for longest goes first, if that was for a minute")
        yield Fill("own keys", len(self.own_keys), OWN_KEYS, rule="further ones have no sessions")


def _is_preferred(channel: Channel, other: Channel, now: float) -> bool:
    """Whether both sides send on ``channel`` rather than on ``other``."""
    unanswered = channel.is_unanswered(now)
    if unanswered != other.is_unanswered(now):
        return not unanswered
    if abs(channel.made - other.made) > MADE_TOGETHER or channel.initiator_mid == other.initiator_mid:
        return channel.made >= other.made
    return channel.initiator_mid < other.initiator_mid


FRAME_OF_MESSAGE: Final = {True: Frame.MESSAGE, False: Frame.UNSIGNED}
"""The frame of a message, by whether it would be signed without a session."""
