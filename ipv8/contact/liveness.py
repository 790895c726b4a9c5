"""Which peers are still there, and which ways to them are kept open: plain state, no sockets and no clock.

A NAT forgets a mapping that is not used (RFC 4787 section 4.3), and a crashed peer says nothing. Both are met by the
same exchange: a peer that was silent for an interval is probed, and is lost when it answers none of a few probes. It is
never lost without having been asked, however much time seems to have passed. The rules are in
doc/protocol/liveness.md.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from .. import entropy
from ..limits import BoundedDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["Departures", "Liveness", "Lost", "Probe", "ProbeKind"]

KEEP_ALIVE_INTERVAL = 25.0
"""Seconds without a sign of life after which a peer is probed at first. Many NATs forget a mapping after 30 s."""

SHORTEST_INTERVAL, LONGEST_INTERVAL = 15.0, 40.0
"""Bounds of the interval, which is adapted for each peer. With the longest one, a crash is noticed within 60 s."""

LENGTHEN, SHORTEN = 2.5, 0.6
"""A first probe that is answered adds so many seconds to the interval; one that is lost multiplies it."""

JITTER = 0.2
"""The part of the interval by which probes are moved at random, so that they do not go out together."""

PATIENCE = (4.0, 5.0, 6.0)
"""Seconds that the first, second and last probe are waited for."""

REST_INTERVAL = 60.0
"""Seconds after which a peer that no overlay of this node needs is looked at again; it is not probed meanwhile."""

DEPARTURE_TOLERANCE = 60.0
"""Seconds by which the time in a goodbye may differ from the own clock."""

MAX_DEPARTURES = 4096
"""Goodbyes that are remembered, so that each counts once, and as many that did not count; the oldest goes first."""

DIGEST_SIZE = 16


class ProbeKind(Enum):
    """How a peer is asked for a sign of life."""

    PING = "ping"
    """By the small unsigned message that only peers with this library answer."""
    INTRODUCTION = "introduction request"
    """By a message that every peer answers."""


class Probe(NamedTuple):
    """To be done: ask ``peer`` for a sign of life."""

    peer: Peer
    address: Address
    kind: ProbeKind
    nonce: int
    """64 bits, which the answer to a ping repeats."""
    is_last: bool
    """Whether the peer is lost if it does not answer: then any peer must understand the question."""


class Lost(NamedTuple):
    """To be done: remove ``peer``, which answered none of its probes."""

    peer: Peer


class _Watch:
    """What is known of the answers of one peer, from the first time that it is asked."""

    __slots__ = ("answers_pings", "asked_at", "interval", "nonce", "peer", "sent", "unanswered")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.interval = KEEP_ALIVE_INTERVAL
        self.unanswered = 0
        self.nonce = 0
        self.sent = 0.0
        self.asked_at: Address | None = None
        self.answers_pings: bool | None = None


class _Second(list["Peer"]):
    """The peers that are looked at in one second."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Liveness:
    """When each peer is to be probed, and which of them are lost.

    All times are seconds of one monotonic clock. Peers are looked at once a second at most, all those together that are
    due in the same second. The cost of a call does not depend on the number of other peers.

    :param heard: tells when a peer was heard of for the last time; ``-inf`` if never.
    :param needed: tells whether some overlay of this node still has the peer. Others are not probed.
    """

    def __init__(self, heard: Callable[[Peer], float], needed: Callable[[Peer], bool]) -> None:
        self._heard = heard
        self._needed = needed
        #: The second in which each peer is looked at next, and the peers of each of these seconds.
        self._due: dict[Peer, _Second] = {}
        self._seconds: dict[int, _Second] = {}
        self._watches: dict[Peer, _Watch] = {}
        self._pinged: dict[int, _Watch] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, peer: object) -> bool:
        return peer in self._due

    def watch(self, peer: Peer, now: float) -> None:
        """Begin to look after ``peer``, which has just become one; nothing if that was done before."""
        if peer not in self._due:
            self._schedule(peer, now + self._spread(KEEP_ALIVE_INTERVAL))

    def forget(self, peer: Peer) -> None:
        """Do not look after ``peer`` any more."""
        self._unschedule(peer)
        watch = self._watches.pop(peer, None)
        if watch is not None:
            self._pinged.pop(watch.nonce, None)

    def clear(self) -> None:
        """Do not look after any peer."""
        for table in (self._due, self._seconds, self._watches, self._pinged):
            table.clear()

    def deadline(self) -> float | None:
        """When :meth:`tick` is to be called next; ``None`` if there is nothing to wait for."""
        return float(min(self._seconds)) if self._seconds else None

    def tick(self, now: float) -> list[Probe | Lost]:
        """What is to be done at ``now``. Lost peers are forgotten."""
        actions: list[Probe | Lost] = []
        for second in sorted(second for second in self._seconds if second <= now):
            for peer in list(self._seconds[second]):
                action = self._look_at(peer, now)
                if action is not None:
                    actions.append(action)
        return actions

    def probe_now(self, peer: Peer, now: float) -> Probe:
        """Ask ``peer`` now, whenever it was heard of; it is looked after from now on."""
        watch = self._watch_of(peer)
        watch.unanswered = 0
        self._pinged.pop(watch.nonce, None)
        return self._probe(watch, now)

    def answered(self, nonce: int, source: Address) -> Peer | None:
        """The peer that answered a ping with ``nonce`` from where it was sent to; ``None`` if there is no such ping."""
        watch = self._pinged.get(nonce)
        if watch is None or watch.asked_at != source:
            return None
        del self._pinged[nonce]
        watch.answers_pings = True
        return watch.peer

    def pinged_by(self, peer: Peer) -> None:
        """Note that ``peer`` sends pings, so that it answers them too."""
        if peer in self._due:
            self._watch_of(peer).answers_pings = True

    def _watch_of(self, peer: Peer) -> _Watch:
        watch = self._watches.get(peer)
        if watch is None:
            watch = self._watches[peer] = _Watch(peer)
        return watch

    def _look_at(self, peer: Peer, now: float) -> Probe | Lost | None:
        watch = self._watches.get(peer)
        silent_since = self._heard(peer)
        if watch is not None and watch.unanswered and silent_since >= watch.sent:
            self._adapt(watch)
        if not self._needed(peer):
            if watch is not None:
                watch.unanswered = 0
            self._schedule(peer, now + REST_INTERVAL)
            return None
        interval = KEEP_ALIVE_INTERVAL if watch is None else watch.interval
        if not (watch is not None and watch.unanswered) and silent_since + interval * (1 - JITTER) > now:
            self._schedule(peer, silent_since + self._spread(interval))
            return None
        watch = self._watch_of(peer)
        self._pinged.pop(watch.nonce, None)
        if watch.unanswered == len(PATIENCE):
            self.forget(peer)
            return Lost(peer)
        return self._probe(watch, now)

    def _adapt(self, watch: _Watch) -> None:
        """Account for an answer: the way stays open for the interval, or not quite."""
        if watch.unanswered == 1:
            watch.interval = min(LONGEST_INTERVAL, watch.interval + LENGTHEN)
        elif watch.answers_pings is None:
            watch.answers_pings = False  # which says nothing about the way
        else:
            watch.interval = max(SHORTEST_INTERVAL, watch.interval * SHORTEN)
        watch.unanswered = 0

    def _probe(self, watch: _Watch, now: float) -> Probe:
        first = watch.unanswered == 0
        last = watch.unanswered == len(PATIENCE) - 1
        by_ping = not last and (watch.answers_pings or (first and watch.answers_pings is None))
        watch.nonce = entropy.randbits(64)
        watch.asked_at = watch.peer.address
        watch.sent = now
        if by_ping:
            self._pinged[watch.nonce] = watch
        self._schedule(watch.peer, now + PATIENCE[watch.unanswered])
        watch.unanswered += 1
        kind = ProbeKind.PING if by_ping else ProbeKind.INTRODUCTION
        return Probe(watch.peer, watch.asked_at, kind, watch.nonce, last)

    def _spread(self, interval: float) -> float:
        return interval * (1.0 - JITTER * entropy.random())

    def _schedule(self, peer: Peer, due: float) -> None:
        self._unschedule(peer)
        number = ceil(due)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second(number)
        second.append(peer)
        self._due[peer] = second

    def _unschedule(self, peer: Peer) -> None:
        second = self._due.pop(peer, None)
        if second is not None:
            second.remove(peer)
            if not second:
                del self._seconds[second.number]


class Departures:
    """Which goodbyes count: those of now, each once, and at its first arrival or never.

    What was received is remembered without a time limit: a clock may be wrong, or be set back.
    """

    def __init__(self) -> None:
        self._heeded: BoundedDict[tuple[bytes, bytes, int], None] = BoundedDict(MAX_DEPARTURES)
        #: Packets that nobody was removed for.
        self._overlooked: BoundedDict[bytes, None] = BoundedDict(MAX_DEPARTURES)

    def accept(self, mid: bytes, receiver: bytes, sent: int, wall: float) -> bool:
        """Whether the owner of a key hash leaves, who says so to another one with the time ``sent``.

        :param mid: SHA-1 of the public key that signed the goodbye.
        :param receiver: SHA-1 of the public key that it is for.
        :param sent: milliseconds since the Unix epoch, by the sender's clock.
        :param wall: seconds since the Unix epoch, by the own clock.
        """
        if abs(sent / 1000 - wall) > DEPARTURE_TOLERANCE or (mid, receiver, sent) in self._heeded:
            return False
        self._heeded[mid, receiver, sent] = None
        return True

    def overlook(self, packet: bytes) -> None:
        """Note a packet that removed nobody: its author was no peer, or its time not that of now.

        Both may be different when somebody else sends it again.
        """
        self._overlooked[_digest(packet)] = None

    def was_overlooked(self, packet: bytes) -> bool:
        """Whether this packet was received before."""
        return _digest(packet) in self._overlooked


def _digest(packet: bytes) -> bytes:
    return blake2b(packet, digest_size=DIGEST_SIZE).digest()
