"""A session between two keys after its handshake (doc/protocol/sessions.md sections 5 to 7): no clocks, no sockets.

All times are seconds of a monotonic clock. A tick each second turns what happened since the last one into times, so
that sending and receiving need no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag

from .events import Answered, Closed, Moved, Opened, Received
from .keys import NONCE_START
from .rekeying import Rekeying
from .roaming import Roaming
from .window import COUNTER_LIMIT, ReplayWindow
from .wire import (
    COUNTER,
    DATA_HEADER,
    DATA_OVERHEAD,
    KEEPALIVE,
    MAX_QUIC_DATAGRAM,
    MORE,
    Flag,
    Frame,
    MalformedError,
    Reason,
    frames,
    join_frames,
)

if TYPE_CHECKING:
    from ...keyvault.keys import PublicKey
    from ..address import Address
    from .handshake import Established, OwnKey
    from .keys import Epoch
    from .machine import Machine

__all__ = ["Channel", "ChannelStats"]

TICK: Final = 1.0
"""Seconds between two ticks."""

ANSWER_AFTER: Final = 5.0
"""After so many seconds without anything to send, what was heard is answered by a keepalive."""

UNANSWERED_AFTER: Final = 6.0
"""Seconds without an answer after which another session with the same key is preferred: a keepalive would have come."""

PING_FORMER_AFTER: Final = 3.0
PING_AFTER: Final = 7.0
DEAD_AFTER: Final = 10.0
"""Seconds without an answer after which the other side is pinged where it was before, if it moved recently; after which
it is pinged at both addresses; and after which the session is given up."""

NOT_SELECTED_TIME: Final = 60.0
"""A session that is not selected is closed after so many seconds in which nothing was heard on it."""

STALE_AFTER: Final = 540.0
"""A session on which nothing was heard for so many seconds is not used for sending."""

RENEW_AFTER: Final = 86400.0
"""Seconds after which a session in use is replaced by another one."""

EPOCH_LIFETIME: Final = 900.0
EPOCH_DATAGRAMS: Final = 1 << 24
EPOCH_FORGERIES: Final = 1 << 36
"""The end of an epoch: its age, what was sealed under it, and what did not open."""

FORMER_EPOCH_TIME: Final = 10.0
"""Seconds that an epoch is kept after a datagram came under its successor."""

IN_USE_TIME: Final = 30.0
"""A session is in use if it carried more than keepalives within so many seconds."""

WANTED_INTERVAL: Final = 5.0
"""Seconds between two REKEY_WANTED, and those that the responder leaves the initiator before the first one."""

SHORTEST_EPOCH: Final = 10.0
"""Seconds for which a REKEY_WANTED is ignored after an epoch began: it may have been sent before."""

FINISH_AFTER: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds after which FINISH is sent again; after the last of them the session is given up."""

KEEPALIVES_PER_SECOND: Final = 3
"""Answers to repeated FINISHes."""

TELLINGS_PER_SECOND: Final = 8
"""NO_OVERLAY and NEED_SIGNATURE, each for another tag and number."""

HINT_INTERVAL: Final = 30.0
"""Seconds between two handshakes that are begun because of an UNKNOWN."""

COUNTER_START: Final = DATA_HEADER - COUNTER.size
"""Where the counter of a DATA is."""

ELICITING: Final = Frame.ELICITING
APPLICATION: Final = frozenset({Frame.MESSAGE, Frame.UNSIGNED, Frame.PACKET, Frame.DATAGRAM, Frame.QUIC})
FOR_OVERLAYS: Final = APPLICATION | {Frame.NEED_SIGNATURE, Frame.NO_OVERLAY}
"""Frames that carry something for an overlay, and all that concern one."""


class ChannelStats:
    """What went through a session."""

    __slots__ = ("bytes_down", "bytes_up", "datagrams_down", "datagrams_up", "malformed", "moves", "rekeys",
                 "round_trip")

    def __init__(self) -> None:
        self.datagrams_up = self.datagrams_down = self.bytes_up = self.bytes_down = 0
        self.malformed = self.moves = self.rekeys = 0
        #: Seconds that the last answered ping took.
        self.round_trip: float | None = None


class Channel:
    """One session.

    :param own: the key of this side.
    :param established: what the handshake has shown.
    :param epoch: the first epoch.
    :param initiator: whether this side began the handshake.
    :param cipher: of all epochs.
    """

    FINISHING, READY, CLOSED = range(3)

    __slots__ = ("_announced", "_drop_former_at", "_epochs", "_finish", "_finish_tries", "_hinted_at", "_keepalives",
                 "_owes_since", "_pings", "_told", "_wanted_at", "active_at", "asked_at", "busy", "cipher", "confirmed",
                 "counter", "due", "epoch", "heard", "heard_at", "hybrid", "initiator", "machine", "made", "newest",
                 "owes", "own", "rekeying", "remote", "remote_bin", "remote_flags", "roaming", "session", "state",
                 "stats", "streams", "window")

    def __init__(self, machine: Machine, own: OwnKey, established: Established, epoch: Epoch, address: Address,
                 initiator: bool, cipher: str, now: float) -> None:
        self.machine, self.own = machine, own
        self.remote: PublicKey = established.remote
        self.remote_bin = established.remote.key_to_bin()
        self.remote_flags = established.remote_flags
        self.initiator, self.cipher = initiator, cipher
        self.state = self.FINISHING if initiator else self.READY
        self.roaming = Roaming(address, now)
        self.window = ReplayWindow()
        self.stats = ChannelStats()
        #: What the driver keeps with it.
        self.session: Any = None
        #: How many streams are open on it.
        self.streams = 0
        #: When FINISH was sent or received.
        self.made = now
        self.counter = 0
        self.epoch = self.newest = epoch
        self._epochs = [epoch]
        epoch.channel = self
        #: Whether the keys in use depend on ML-KEM.
        self.hybrid = False
        self.rekeying = Rekeying(self)
        #: The newest epoch under which something came.
        self.confirmed = -1
        self._drop_former_at: float | None = None
        #: Since the last tick: whether anything was heard, and whether more than keepalives went through.
        self.heard, self.busy = False, True
        self.heard_at = self.active_at = now
        #: When the first frame was sent that the other side should have answered by now.
        self.asked_at: float | None = None
        #: Whether something was heard for which the other side waits for an answer.
        self.owes = False
        self._owes_since: float | None = None
        self._wanted_at = -WANTED_INTERVAL
        self._hinted_at = -HINT_INTERVAL
        self._keepalives = 0
        self._told: set[bytes] = set()
        self._pings: dict[bytes, float] = {}
        self._finish = b""
        self._finish_tries = 0
        self._announced = False
        #: When :meth:`on_due` is to be called, besides the ticks.
        self.due: float | None = None

    def __repr__(self) -> str:
        return f"<Channel to {self.remote.key_to_hash().hex()}>"

    @property
    def address(self) -> Address:
        """Where the other side is."""
        return self.roaming.address

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""
        return self.state != self.CLOSED

    @property
    def initiator_mid(self) -> bytes:
        """The hash of the initiator's key."""
        return (self.own.key.pub() if self.initiator else self.remote).key_to_hash()

    def is_fresh(self, now: float) -> bool:
        """Whether something was heard recently enough to send on it."""
        return self.state != self.CLOSED and (self.heard or now < self.heard_at + STALE_AFTER)

    def is_unanswered(self, now: float) -> bool:
        """Whether the other side should have answered by now, so that another session is better, if there is one."""
        return self.asked_at is not None and now >= self.asked_at + UNANSWERED_AFTER

    # Sending

    def seal(self, plaintext: bytes) -> bytes:
        """The datagram with these frames; whoever calls it sends it to :attr:`address`.

        :param plaintext: one frame, or the result of ``join_frames``.
        """
        counter = self.counter
        self.counter = counter + 1
        kind = plaintext[0] & (MORE - 1)
        if kind:
            self.busy = True
            if self.asked_at is None and kind in ELICITING:
                self.asked_at = self.machine.now
        self.owes = False
        padding = self.machine.settings.padding
        if padding != 1:
            plaintext = padded(plaintext, padding)
        datagram = self.epoch.seal(counter, plaintext)
        stats = self.stats
        stats.datagrams_up += 1
        stats.bytes_up += len(datagram)
        return datagram

    def seal_many(self, kind: int, contents: list[bytes]) -> list[bytes]:
        """The datagrams with one frame each, as :meth:`seal` makes them one by one.

        :param kind: the type of the frames, which is an eliciting one.
        :param contents: what is in them.
        """
        head = bytes((kind,))
        if self.machine.settings.padding != 1:
            return [self.seal(head + content) for content in contents]
        if self.asked_at is None:
            self.asked_at = self.machine.now
        self.owes, self.busy = False, True
        counter = self.counter
        self.counter = counter + len(contents)
        datagrams = self.epoch.seal_many(counter, head, contents)
        stats = self.stats
        stats.datagrams_up += len(datagrams)
        stats.bytes_up += sum(map(len, datagrams))
        return datagrams

    def transmit(self, plaintext: bytes, address: Address | None = None) -> None:
        """Seal frames and hand the datagram to the machine, which has it sent."""
        self.machine.send(address or self.roaming.address, self.seal(plaintext))

    def may_tell(self, what: bytes) -> bool:
        """Whether the other side may be told now what it does wrong: each thing once a second, eight in all."""
        if what in self._told or len(self._told) >= TELLINGS_PER_SECOND:
            return False
        self._told.add(what)
        return True

    def ping(self) -> bytes:
        """Send a ping and return its token; the round trip is in the statistics when it is answered."""
        token = self.machine.random(8)
        while len(self._pings) >= 8:
            del self._pings[next(iter(self._pings))]
        self._pings[token] = self.machine.now
        self.transmit(bytes((Frame.PING,)) + token)
        return token

    # Receiving

    def receive(self, epoch: Epoch, datagram: bytes, address: Address, now: float) -> bytes | None:
        """Take a DATA of this session.

        :returns: the frame, if the datagram has only one and that is for an overlay. All else that happens is told by
            the events of the machine.
        """
        packed = datagram[COUNTER_START:DATA_HEADER]
        (counter,) = COUNTER.unpack(packed)
        window, roaming = self.window, self.roaming
        is_next = counter == window.top + 1 < COUNTER_LIMIT  # then it is new, and the window need not be asked
        is_new = is_next or window.is_new(counter)
        is_evidence = roaming.is_probing and roaming.is_evidence(counter, address, now)
        if not is_new and not is_evidence:
            self.machine.drops["replay"] += 1
            return None
        try:
            plaintext = epoch.open(NONCE_START + packed, datagram[DATA_HEADER:], None)
        except InvalidTag:
            epoch.forged += 1
            self.machine.drops["forged"] += 1
            return None
        if is_evidence:
            self._stay(now)
        if not is_new:
            self.machine.drops["replay"] += 1
            return None
        is_top = is_next or counter > window.top
        if is_next and not window.missing:
            window.top = counter
        else:
            window.take(counter)
        self.heard, self.asked_at = True, None
        stats = self.stats
        stats.datagrams_down += 1
        stats.bytes_down += len(datagram)
        if epoch.number > self.confirmed:
            self._confirm(epoch, now)
        if address == roaming.address:
            if roaming.is_direct:
                roaming.direct_at = now
        elif is_top:
            roaming.consider(self, counter, address, len(datagram), now)
        if plaintext[0] in APPLICATION:
            self.owes = self.busy = True
            return plaintext
        self.take(plaintext, address, now)
        return None

    def take(self, plaintext: bytes, address: Address, now: float) -> None:
        """Take the frames of an authentic datagram, in order. A malformed one is counted and ends the datagram."""
        try:
            for kind, content in frames(plaintext):
                if kind not in Frame.ALL:
                    self.machine.drops["frame"] += 1
                elif self.state == self.CLOSED:
                    return
                elif kind:
                    self._take_frame(kind, content, address, now)
        except ValueError:
            self.stats.malformed += 1
            self.machine.drops["frame"] += 1

    def _take_frame(self, kind: int, content: bytes, address: Address, now: float) -> None:
        if kind in ELICITING:
            self.owes = self.busy = True
        if kind in FOR_OVERLAYS:
            self.machine.events.append(Received(self, address, bytes((kind,)) + content))
        elif kind == Frame.PING:
            if len(content) != 8:
                raise MalformedError("a PING of another size")
            self.transmit(bytes((Frame.PONG,)) + content, address)
        elif kind == Frame.PONG:
            self._on_pong(content, address, now)
        elif kind == Frame.CLOSE:
            reason = content[0] if content else Reason.SHUTDOWN
            self.drop("closed by the peer: " + Reason.NAMES[min(reason, Reason.PROTOCOL)])
        elif kind == Frame.REKEY_OFFER and not self.initiator:
            self.rekeying.on_offer(content, now)
        elif kind == Frame.REKEY_REPLY and self.initiator:
            self.rekeying.on_reply(content, now)
        elif kind == Frame.REKEY_PART:
            self.rekeying.on_part(content, now)
        elif kind == Frame.REKEY_WANTED and self.initiator and now >= self.epoch.since + SHORTEST_EPOCH:
            self._offer(now)

    def _on_pong(self, token: bytes, address: Address, now: float) -> None:
        asked = self._pings.pop(token, None)
        if asked is not None:
            self.stats.round_trip = now - asked
            self.machine.events.append(Answered(self, token))
        former = self.roaming.answered(token, address, now)
        if former is not None:
            self.stats.moves += 1
            self.machine.events.append(Moved(self, former))

    def _stay(self, now: float) -> None:
        left = self.roaming.stay(now)
        if left is not None:
            self.machine.events.append(Moved(self, left))

    # Epochs

    def add_epoch(self, epoch: Epoch, hybrid: bool) -> None:
        """Receive under a new epoch; an earlier one that the other side never used is dropped."""
        if self.newest is not self.epoch:
            self._forget(self.newest)
        epoch.channel, epoch.hybrid = self, hybrid
        self.newest = epoch
        self._epochs.append(epoch)
        self.machine.register(epoch)

    def use_newest(self, now: float) -> None:
        """Send under the newest epoch from now on, at first a keepalive; as the initiator does after a reply."""
        self._use(self.newest)
        self.transmit(KEEPALIVE)
        self.machine.ready(self, now)

    def _use(self, epoch: Epoch) -> None:
        if epoch is not self.epoch:
            self.epoch = epoch
            self.hybrid = epoch.hybrid
            self.stats.rekeys += 1
            self._tell_opened()

    def _confirm(self, epoch: Epoch, now: float) -> None:
        """Note the first datagram under ``epoch``."""
        self.confirmed = epoch.number
        if epoch is self.newest and epoch is not self.epoch:
            self._use(epoch)
            self.machine.ready(self, now)
        if len(self._epochs) > 1:
            self._drop_former_at = now + FORMER_EPOCH_TIME - TICK  # ticks are up to one second late
        if self.state == self.FINISHING:
            self._become_ready(now)

    def _become_ready(self, now: float) -> None:
        self.state, self.due, self._finish = self.READY, None, b""
        self.announce(now)

    def announce(self, now: float) -> None:
        """Tell that the session is ready, and begin the first rekey where that makes it hybrid."""
        self._tell_opened()
        if self.initiator and self.is_hybrid_wanted:
            self._offer(now)

    def _tell_opened(self) -> None:
        """Tell that the session is ready, once, as soon as it may carry frames of overlays."""
        if not self._announced and self.machine.can_carry(self):
            self._announced = True
            self.machine.events.append(Opened(self))

    @property
    def is_hybrid_wanted(self) -> bool:
        """Whether both sides can have hybrid epochs, and this one wants them."""
        return bool(self.machine.settings.hybrid != "off" and self.own.flags & self.remote_flags & Flag.ML_KEM)

    def _offer(self, now: float) -> None:
        self.rekeying.offer(self.is_hybrid_wanted, now)

    def _forget(self, epoch: Epoch) -> None:
        self._epochs.remove(epoch)
        self.machine.forget(epoch)

    # Time

    def finish_with(self, datagram: bytes, now: float) -> None:
        """Send a FINISH, and again until something comes back."""
        self._finish = datagram
        self.machine.send(self.address, datagram)
        self.due = now + FINISH_AFTER[0]

    def on_due(self, now: float) -> None:
        """Send FINISH again, or give up."""
        self._finish_tries += 1
        if self._finish_tries < len(FINISH_AFTER):
            self.machine.send(self.address, self._finish)
            self.due = now + FINISH_AFTER[self._finish_tries]
        else:
            self.drop("timeout")
            self.machine.on_unfinished(self, now)

    def on_repeated_finish(self) -> None:
        """Answer a FINISH that came already."""
        if self._keepalives < KEEPALIVES_PER_SECOND:
            self._keepalives += 1
            self.transmit(KEEPALIVE)

    def on_unknown(self, index: bytes, address: Address, now: float) -> bool:
        """Whether an UNKNOWN with this index from there should begin another handshake."""
        fits = (index == self.epoch.remote_index and address == self.address and self.state == self.READY
                and now >= self._hinted_at + HINT_INTERVAL and self.machine.is_selected(self))
        if fits:
            self._hinted_at = now
        return fits

    def tick(self, now: float) -> None:
        """What is to be done each second."""
        self._keepalives = 0
        self._told.clear()
        if self.heard:
            self.heard, self.heard_at = False, now
        if self.busy:
            self.busy, self.active_at = False, now
        if self._drop_former_at is not None and now >= self._drop_former_at:
            self._drop_former_at = None
            for epoch in [epoch for epoch in self._epochs if epoch.number < self.confirmed]:
                self._forget(epoch)
        if self.state == self.READY and not self._ended(now):
            self._answer(now)
            self._keep_keys_fresh(now)

    def _ended(self, now: float) -> bool:
        """Close the session if it is time."""
        silent = now - self.heard_at
        if self.asked_at is not None and now >= self.asked_at + DEAD_AFTER:
            self.drop("timeout")
        elif min(silent, now - self.active_at) >= self.machine.settings.idle_timeout:
            self.close(Reason.IDLE)
        elif not self.streams and silent >= NOT_SELECTED_TIME and not self.machine.is_selected(self):
            self.close(Reason.REPLACED)
        elif now >= self.epoch.since + EPOCH_LIFETIME or self.counter >= COUNTER_LIMIT - EPOCH_DATAGRAMS:
            self.drop("its keys are too old")
        return self.state == self.CLOSED

    def _answer(self, now: float) -> None:
        if self.asked_at is not None:
            waited, former = now - self.asked_at, self.roaming.former
            ping = bytes((Frame.PING,)) + self.machine.random(8)
            if waited >= PING_AFTER:
                self.transmit(ping)
            if former is not None and waited >= (PING_FORMER_AFTER if self.roaming.moved_lately(now) else PING_AFTER):
                self.transmit(ping, former)
        if not self.owes:
            self._owes_since = None
        elif self._owes_since is None:
            self._owes_since = now
        elif now >= self._owes_since + ANSWER_AFTER - TICK:
            self.transmit(KEEPALIVE)

    def _keep_keys_fresh(self, now: float) -> None:
        self.rekeying.tick(now)
        if now >= self.active_at + IN_USE_TIME or not self.machine.is_selected(self):
            return
        epoch, patience = self.epoch, 0.0 if self.initiator else WANTED_INTERVAL
        if (now >= epoch.since + self.machine.settings.rekey_after + patience or epoch.sent >= EPOCH_DATAGRAMS
                or epoch.forged >= EPOCH_FORGERIES):
            if self.initiator:
                self._offer(now)
            elif now >= self._wanted_at + WANTED_INTERVAL:
                self._wanted_at = now
                self.transmit(bytes((Frame.REKEY_WANTED,)))
        if now >= self.made + RENEW_AFTER:
            self.machine.renew(self, now)

    # The end

    def close(self, reason: int) -> None:
        """Tell the other side that the session ends, and end it."""
        if self.state != self.CLOSED:
            self.transmit(bytes((Frame.CLOSE, reason)))
            self.drop(Reason.NAMES[reason])

    def drop(self, reason: str) -> None:
        """End the session without telling."""
        if self.state == self.CLOSED:
            return
        self.state, self.due = self.CLOSED, None
        for epoch in self._epochs:
            self.machine.forget(epoch)
        self.machine.remove(self)
        if self._announced:
            self.machine.events.append(Closed(self, reason))


def padded(plaintext: bytes, multiple: int) -> bytes:
    """A plaintext of one frame, made longer to a multiple of ``multiple`` bytes.

    A frame QUIC stays alone if its datagram would become too large.
    """
    if len(plaintext) % multiple == 0 or plaintext[0] & MORE:
        return plaintext
    size = len(plaintext) + 3  # the length of the frame, and the type of the padding
    padding = -size % multiple
    if plaintext[0] == Frame.QUIC and size + padding > MAX_QUIC_DATAGRAM - DATA_OVERHEAD:
        return plaintext
    return join_frames([plaintext, bytes(1 + padding)])
