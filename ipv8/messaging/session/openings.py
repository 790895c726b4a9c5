"""How this node opens sessions (doc/protocol/sessions.md section 7.1), and the frames that wait for them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ...fill import Fill
from ...limits import BoundedDict
from . import wire
from .events import Failed, Unsent
from .handshake import Opening
from .noise import KeyPair
from .wire import BODY, COOKIE_SIZE, INDEX_SIZE, MAC1_OFFSET, MAC2_OFFSET, MAC_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..address import Address
    from .handshake import Established, OwnKey
    from .machine import Machine

__all__ = ["Openings", "Target"]

Target = Any
"""The public key of the other side, or its address if the key is not known."""

OPENING_AT_ONCE = 64
"""Attempts at a time; further ones wait."""

OPENING_LATER = 4096
"""Attempts that wait for their turn; the oldest is evicted first."""

INIT_AFTER: Final = (0.5, 1.0, 2.0)
GIVE_UP_AFTER: Final = 4.0
"""Seconds after which INIT is sent again, and after the last one those until the attempt is given up."""

JITTER: Final = 0.2
"""The part of these times by which they vary at random."""

COOKIES_TAKEN: Final = 2
RESPONSES_TRIED: Final = 8

PAUSES = 4096
PAUSE_TIME, LONGEST_PAUSE = 60.0, 3600.0
"""Keys that did not answer: how many are kept, and for how many seconds no session is opened to them by itself, at
first and at most."""

HELD_FRAMES, HELD_BYTES = 64, 65536
HELD_BYTES_IN_ALL = 8 << 20
"""Frames that wait for one session, and their bytes, and those for all sessions; the oldest are given up first."""


class _Held:
    """A frame that waits for a session."""

    __slots__ = ("context", "expires", "frame")

    def __init__(self, frame: bytes, expires: float, context: Any) -> None:
        self.frame, self.expires, self.context = frame, expires, context


class Waiting:
    """The frames that wait for the session of one pair of keys."""

    __slots__ = ("frames", "size")

    def __init__(self) -> None:
        self.frames: deque[_Held] = deque()
        self.size = 0


class _Attempt:
    """A handshake that this node has begun.

    :param address: where INIT goes. The RESPONSE proves that it came there, wherever the RESPONSE comes from.
    """

    __slots__ = ("address", "cookies", "datagram", "due", "opening", "sent", "tried")

    def __init__(self, opening: Opening, address: Address) -> None:
        self.opening, self.address = opening, address
        self.datagram = opening.init
        self.sent = self.cookies = self.tried = 0
        self.due = 0.0


class Openings:
    """The initiator's side of all handshakes of a node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._attempts: dict[tuple[bytes, Target], _Attempt] = {}
        self._by_index: dict[bytes, tuple[bytes, Target]] = {}
        self._queue: BoundedDict[tuple[bytes, Target], tuple[OwnKey, Address]] = BoundedDict(OPENING_LATER)
        self._pauses: BoundedDict[tuple[bytes, Target], tuple[float, float]] = BoundedDict(PAUSES)
        self._held: dict[tuple[bytes, Target], Waiting] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def held_bytes(self) -> int:
        """Bytes of all frames that wait."""
        return self._held_bytes

    def has(self, index: bytes) -> bool:
        """Whether an attempt of ours has this index."""
        return index in self._by_index

    def is_paused(self, own: OwnKey, target: Target, now: float) -> bool:
        """Whether the last attempt failed a short time ago."""
        pause = self._pauses.get((own.public_bin, target))
        return pause is not None and now < pause[0]

    def resume(self, own: OwnKey, target: Target) -> None:
        """End a pause: something shows that the other side would answer now."""
        self._pauses.pop((own.public_bin, target), None)

    def begin(self, own: OwnKey, target: Target, address: Address, now: float) -> None:
        """Begin an attempt, unless there is one."""
        pair = own.public_bin, target
        if pair in self._attempts:
            return
        if len(self._attempts) >= OPENING_AT_ONCE:
            if pair not in self._queue:
                self._queue[pair] = own, address
            return
        machine = self._machine
        known = target if isinstance(target, bytes) else b""
        opening = Opening(own, known, machine.new_index(), KeyPair(machine.secret(32)))
        attempt = self._attempts[pair] = _Attempt(opening, address)
        self._by_index[opening.index] = pair
        machine.handshakes["begun"] += 1
        self._send(attempt, now)

    def _send(self, attempt: _Attempt, now: float) -> None:
        last = attempt.sent == len(INIT_AFTER)
        delay = GIVE_UP_AFTER if last else INIT_AFTER[attempt.sent] * self._machine.jitter(JITTER)
        attempt.sent += 1
        attempt.due = now + delay
        self._machine.send(attempt.address, attempt.datagram)

    def on_cookie(self, datagram: bytes) -> None:
        """Take a COOKIE."""
        attempt = self._attempt(datagram[BODY : BODY + INDEX_SIZE])
        init = attempt.opening.init if attempt is not None else b""
        start = BODY + INDEX_SIZE
        fits = datagram[start : start + MAC_SIZE] == init[MAC1_OFFSET:MAC2_OFFSET]
        if attempt is None or not fits or attempt.cookies >= COOKIES_TAKEN:
            self._machine.drops["index"] += 1
            return
        attempt.cookies += 1
        attempt.datagram = wire.with_cookie(init, datagram[start + MAC_SIZE : start + MAC_SIZE + COOKIE_SIZE])
        self._machine.send(attempt.address, attempt.datagram)

    def _attempt(self, index: bytes) -> _Attempt | None:
        pair = self._by_index.get(index)
        return None if pair is None else self._attempts[pair]

    def on_response(self, datagram: bytes, now: float) -> tuple[_Attempt, Target, bytes, Established] | None:
        """Take a RESPONSE.

        :returns: the attempt, the target, the FINISH to send, and what the handshake has shown; ``None`` if it is not
            accepted.
        """
        machine = self._machine
        index = datagram[BODY + INDEX_SIZE : BODY + 2 * INDEX_SIZE]
        attempt = self._attempt(index)
        if attempt is None or attempt.tried >= RESPONSES_TRIED:
            machine.drops["index"] += 1
            return None
        attempt.tried += 1
        try:
            opened = attempt.opening.read(datagram, machine.judge)
        except ValueError:
            machine.drops["identity"] += 1
            return None
        pair = self._by_index[index]
        self._end(pair, now)
        self._pauses.pop(pair, None)
        own = attempt.opening.own
        space = wire.MAX_DATAGRAM - wire.MIN_FINISH - wire.IDENTITY_HEADER.size - len(own.public_bin)
        space -= own.key.pub().get_signature_length()
        frames = wire.join_frames(list(self.first_frames(pair, space))) if self.are_first_frames_allowed else b""
        finish, established = attempt.opening.finish(opened, frames)
        return attempt, pair[1], finish, established

    @property
    def are_first_frames_allowed(self) -> bool:
        """Whether frames may be sent before the first rekey."""
        return self._machine.settings.hybrid != "require"

    def _end(self, pair: tuple[bytes, Target], now: float) -> None:
        attempt = self._attempts.pop(pair)
        del self._by_index[attempt.opening.index]
        if self._queue:
            (_, target), (own, address) = self._queue.popitem(last=False)
            self.begin(own, target, address, now)

    def give_up(self, own: OwnKey, target: Target, now: float) -> None:
        """End an attempt without a verdict: there is a session now that the other side began."""
        pair = own.public_bin, target
        self._queue.pop(pair, None)
        if pair in self._attempts:
            self._end(pair, now)
        self._pauses.pop(pair, None)

    def due(self) -> float | None:
        """When :meth:`tick` has something to do next."""
        return min((attempt.due for attempt in self._attempts.values()), default=None)

    def tick(self, now: float) -> None:
        """Repeat what was not answered, give up what was not answered for too long."""
        for pair, attempt in [item for item in self._attempts.items() if now >= item[1].due]:
            if attempt.sent <= len(INIT_AFTER):
                self._send(attempt, now)
            else:
                self._fail(pair, attempt, now)

    def _fail(self, pair: tuple[bytes, Target], attempt: _Attempt, now: float) -> None:
        self._end(pair, now)
        self.refuse(attempt.opening.own, pair[1], "timeout", now)

    def refuse(self, own: OwnKey, target: Target, reason: str, now: float) -> None:
        """Note that there is no session with the other side, and begin no other attempt for some time."""
        pair = own.public_bin, target
        former = self._pauses.get(pair, (0.0, 0.0))[1]
        length = min(LONGEST_PAUSE, 2 * former or PAUSE_TIME)
        self._pauses[pair] = now + length, length
        self._machine.handshakes["failed"] += 1
        self._machine.events.append(Failed(own, target, reason))
        self.give_back(own, target)

    # Frames that wait

    def hold(self, own: OwnKey, target: Target, frame: bytes, expires: float, context: Any) -> None:
        """Keep ``frame`` until there is a session, at most until ``expires``.

        :param context: what is given back with it, if there is none.
        """
        pair = own.public_bin, target
        waiting = self._held.setdefault(pair, Waiting())
        waiting.frames.append(_Held(frame, expires, context))
        waiting.size += len(frame)
        self._held_bytes += len(frame)
        lost = []
        while len(waiting.frames) > HELD_FRAMES or waiting.size > HELD_BYTES:
            lost.append(self._pop(waiting).context)
        while self._held_bytes > HELD_BYTES_IN_ALL:
            self._give_up_oldest()
        if lost:
            self._machine.events.append(Unsent(own, target, lost))

    def _give_up_oldest(self) -> None:
        oldest = next(iter(self._held))
        own = self._machine.own_keys[oldest[0]]
        self.give_back(own, oldest[1])

    def _pop(self, waiting: Waiting) -> _Held:
        held = waiting.frames.popleft()
        waiting.size -= len(held.frame)
        self._held_bytes -= len(held.frame)
        return held

    def first_frames(self, pair: tuple[bytes, Target], space: int) -> Iterator[bytes]:
        """Take the frames that wait for this session and fit into ``space`` bytes, oldest first."""
        waiting = self._held.get(pair)
        while waiting is not None and waiting.frames:
            space -= wire.frame_size(waiting.frames[0].frame)
            if space < 0:
                return
            yield self._pop(waiting).frame
        self._held.pop(pair, None)

    def held(self, own: OwnKey, target: Target) -> list[bytes]:
        """Take all frames that wait for this session, oldest first."""
        waiting = self._held.pop((own.public_bin, target), None)
        return [] if waiting is None else [self._pop(waiting).frame for _ in range(len(waiting.frames))]

    def has_held(self, own: OwnKey, target: Target) -> bool:
        """Whether frames wait for this session."""
        return (own.public_bin, target) in self._held

    def give_back(self, own: OwnKey, target: Target) -> None:
        """Give up all frames that wait for this session."""
        waiting = self._held.pop((own.public_bin, target), None)
        if waiting is not None:
            contexts = [self._pop(waiting).context for _ in range(len(waiting.frames))]
            self._machine.events.append(Unsent(own, target, contexts))

    def expire(self, now: float) -> None:
        """Give up the frames that waited long enough."""
        for pair, waiting in list(self._held.items()):
            contexts = []
            while waiting.frames and now >= waiting.frames[0].expires:
                contexts.append(self._pop(waiting).context)
            if not waiting.frames:
                del self._held[pair]
            if contexts:
                self._machine.events.append(Unsent(self._machine.own_keys[pair[0]], pair[1], contexts))

    def next_expiry(self) -> float | None:
        """When the first of the frames that wait is given up."""
        return min((waiting.frames[0].expires for waiting in self._held.values() if waiting.frames), default=None)

    def forget(self, own: OwnKey, now: float) -> None:
        """Forget the attempts and pauses of a key of this node, and give up the frames that wait for its sessions."""
        for table in (self._queue, self._pauses):
            for pair in [pair for pair in table if pair[0] == own.public_bin]:
                del table[pair]
        for pair in [pair for pair in self._attempts if pair[0] == own.public_bin]:
            self._end(pair, now)
        for pair in [pair for pair in self._held if pair[0] == own.public_bin]:
            self.give_back(own, pair[1])

    def clear(self, now: float) -> None:
        """Forget all attempts and pauses, and give up all frames that wait."""
        self._queue.clear()
        for own in self._machine.own_keys.values():
            self.forget(own, now)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("attempts", len(self._attempts), OPENING_AT_ONCE, rule="further ones wait")
        yield Fill("held bytes", self._held_bytes, HELD_BYTES_IN_ALL, "queue", rule="the oldest go first")
