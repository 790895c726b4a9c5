"""Which nodes a circuit goes through (doc/anonymity.md).

The origin chooses all nodes from those that it knows itself, at random. What the last hop of a circuit proposes is used
only by an origin that knows no node of its own, as a node may propose its accomplices only. No two nodes of a circuit
are in one network. Nodes that do not answer, and those behind which circuits do not get any further, are left out for a
while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...limits import ExpiringDict
from ...reputation import is_refused, score_of
from ..inet import is_global, network_of
from .guards import MAX_SECOND_LIFETIME, MIN_SECOND_LIFETIME, SECOND_GUARDS, GuardSet
from .tunnel import CIRCUIT_TYPE_DATA, HIDDEN_TYPES, PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_IPV8, PEER_FLAG_RELAY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ...peer import Peer
    from .tunnel import Circuit

__all__ = ["BackOff", "PathChooser", "by_trust"]

NETWORK_BITS = (16, 32)
"""Prefix lengths of networks that have at most one node of a circuit, for IPv4 and IPv6."""

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 1800.0
"""Seconds for which a node is left out after a failure; twice as long after each further one."""

MAX_FAILED_NODES = 1024
FAILURE_LIFETIME = 4 * LONGEST_PAUSE
"""Nodes whose failures are remembered, the oldest evicted first, and for how many seconds after the last failure."""

MAX_STRIKES = 2
"""Next hops to which a relay may fail to extend a circuit, one after another, before that is its own failure."""

MAX_SILENT = 3
"""Circuits by one first hop that fall silent, one after another, before the first hop is left out.

It lets circuits be built and drops what they carry, or so it seems: other nodes of the circuits may be to blame. So the
number is not lower, and the pauses are the usual ones: nobody shall be able to talk an origin out of its guards.
"""

ENOUGH_TRUSTED = 16
"""Trusted nodes from which on circuits go through no others, where trust is preferred."""

EXITS_TO_SPARE = 2
"""Nodes that are exits may be at other positions of a circuit if there are this many others, or nobody else is."""


class BackOff:
    """For how long nodes are left out that have failed. Times are those of ``clock.monotonic``."""

    def __init__(self) -> None:
        self._failed: ExpiringDict[bytes, tuple[int, float]] = ExpiringDict(MAX_FAILED_NODES, FAILURE_LIFETIME)
        self._strikes: ExpiringDict[bytes, set[bytes]] = ExpiringDict(MAX_FAILED_NODES, FAILURE_LIFETIME)
        self._silent: ExpiringDict[bytes, tuple[int, float]] = ExpiringDict(MAX_FAILED_NODES, FAILURE_LIFETIME)

    def note_failure(self, key_bin: bytes, now: float) -> None:
        """Leave a node out, twice as long as after its last failure, unless it is left out already."""
        count, until = self._failed.get(key_bin, (0, 0.0), now)
        if until <= now:
            pause = min(FIRST_PAUSE * 2 ** min(count, 16), LONGEST_PAUSE)
            self._failed.set(key_bin, (count + 1, now + pause), now)

    def note_success(self, key_bin: bytes) -> None:
        """Forget the failures of a node."""
        self._failed.pop(key_bin)

    def note_dead_end(self, relay: bytes, target: bytes, now: float) -> bool:
        """Note that a relay has not extended a circuit to ``target``; whether that is a failure of the relay now."""
        targets = self._strikes.get(relay, None, now) or set()
        targets.add(target)
        self._strikes.set(relay, targets, now)
        if len(targets) < MAX_STRIKES:
            return False
        self._strikes.pop(relay)
        self.note_failure(relay, now)
        return True

    def note_extended(self, relay: bytes) -> None:
        """Note that a relay has extended a circuit."""
        self._strikes.pop(relay)

    def note_silent(self, first_hop: bytes, now: float) -> None:
        """Note that a circuit was ready and then brought nothing any more, not even answers to pings."""
        count, until = self._silent.get(first_hop, (0, 0.0), now)
        if until <= now:
            count += 1
            pause = min(FIRST_PAUSE * 2 ** min(count - MAX_SILENT, 16), LONGEST_PAUSE) if count >= MAX_SILENT else 0.0
            self._silent.set(first_hop, (count, now + pause), now)

    def note_alive(self, first_hop: bytes) -> None:
        """Note that a circuit still brings answers a while after it was built."""
        self._silent.pop(first_hop)

    def is_usable(self, key_bin: bytes, now: float) -> bool:
        """Whether a node is not left out."""
        return (self._failed.get(key_bin, (0, 0.0), now)[1] <= now
                and self._silent.get(key_bin, (0, 0.0), now)[1] <= now)


class PathChooser:
    """Chooses the nodes of circuits.

    :param own_key: the public key of this node.
    """

    #: Whether two nodes of one network can be in one circuit.
    allow_same_network: bool = False

    def __init__(self, own_key: bytes) -> None:
        self.own_key = own_key
        self.back_off = BackOff()
        self.guards = GuardSet()
        self.second_guards = GuardSet(SECOND_GUARDS, (MIN_SECOND_LIFETIME, MAX_SECOND_LIFETIME))

    # What is possible

    def _network(self, peer: Peer) -> bytes | None:
        """The network that no other node of the circuit may be in; ``None`` for private addresses and unknown ones."""
        host = peer.address[0]
        return network_of(host, *NETWORK_BITS) if not self.allow_same_network and is_global(host) else None

    def conflicts(self, peer: Peer, others: Iterable[Peer]) -> bool:
        """Whether a node cannot be in one circuit with ``others``."""
        network = self._network(peer)
        return any(peer.key_bin == other.key_bin or (network is not None and network == self._network(other))
                   for other in others)

    def _is_usable(self, peer: Peer) -> bool:
        return peer.key_bin != self.own_key and self.back_off.is_usable(peer.key_bin, clock.monotonic())

    def usable(self, peers: Iterable[Peer]) -> list[Peer]:
        """The nodes that are not left out; all of them if none is left."""
        known = [peer for peer in peers if peer.key_bin != self.own_key]
        return [peer for peer in known if self._is_usable(peer)] or known

    # Choices

    def first_hops(self, candidates: Mapping[Peer, Collection[int]], goal_hops: int, ctype: str,
                   last: Peer | None) -> list[Peer]:
        """The nodes that a circuit of several hops can begin with, in the order in which they are tried.

        :param candidates: the nodes that are known, with what they offer.
        :param last: the last hop, if it was chosen already.
        """
        relays = _offering(candidates, PEER_FLAG_RELAY)
        exits = {peer.key_bin for peer in _exits(candidates, ctype)} if last is None else set()
        is_needed = len(exits) if goal_hops > 1 else 0

        def is_excluded(peer: Peer) -> bool:
            if last is not None and self.conflicts(peer, [last]):
                return True
            return is_needed - (peer.key_bin in exits) < 1 if is_needed else False

        pool = [(peer, flags) for peer, flags in relays if not _is_exit(flags)]
        if len(pool) < self.guards.size:
            others = [(peer, flags) for peer, flags in relays if _is_exit(flags)]
            if not pool or len(others) > EXITS_TO_SPARE:
                pool += others
        return self.guards.choose(pool, self._is_usable, is_excluded, self.conflicts)

    def next_hops(self, circuit: Circuit, candidates: Mapping[Peer, Collection[int]],
                  path: Sequence[Peer] | None = None) -> list[Peer]:
        """The nodes that can be the next hop of a circuit, in the order in which they are tried.

        The last hop that the circuit must have is none of them.

        :param path: the hops before; by default those that the circuit has.
        """
        path = [hop.peer for hop in circuit.hops] if path is None else path
        reserved = [*path, *([] if circuit.required_exit is None else [circuit.required_exit])]
        is_last = circuit.goal_hops - 1 == len(path)
        relays = _offering(candidates, PEER_FLAG_RELAY)
        if circuit.ctype in HIDDEN_TYPES and len(path) == 1:
            return self.second_guards.choose(relays, self._is_usable, lambda peer: self.conflicts(peer, reserved),
                                             self.conflicts)
        allowed = [(peer, flags) for peer, flags in relays
                   if peer.key_bin != self.own_key and not self.conflicts(peer, reserved)]
        free = [(peer, flags) for peer, flags in allowed if self._is_usable(peer)] or allowed
        if is_last:
            wanted = ([peer for peer, flags in free if _is_exit(flags)]
                      or [peer for peer, flags in allowed if _is_exit(flags)])
            if circuit.ctype != CIRCUIT_TYPE_DATA and not wanted:
                wanted = [peer for peer, _ in free]
            entropy.shuffle(wanted)
            return wanted
        plain = [peer for peer, flags in free if not _is_exit(flags)]
        others = [peer for peer, flags in free if _is_exit(flags)]
        if circuit.required_exit is None and len(others) <= EXITS_TO_SPARE:
            others = others[1:] if not plain else []
        chosen = plain + others
        entropy.shuffle(chosen)
        return chosen


def by_trust(candidates: Mapping[Peer, Collection[int]], trust: Any) -> dict[Peer, Collection[int]]:
    """The nodes without those that are refused; only those with a score, if these are many and among them are exits.

    Circuits that go through few nodes only would tell whom this node trusts, and each of these would see much.

    :param trust: a graph, or a function, as in :mod:`ipv8.reputation`.
    """
    accepted = {peer: flags for peer, flags in candidates.items() if not is_refused(trust, peer.key_bin)}
    trusted = {peer: flags for peer, flags in accepted.items() if score_of(trust, peer.key_bin)}
    exits = sum(_is_exit(flags) for flags in trusted.values())
    return trusted if len(trusted) >= ENOUGH_TRUSTED and exits > EXITS_TO_SPARE else accepted


def _offering(candidates: Mapping[Peer, Collection[int]], flag: int) -> list[tuple[Peer, list[int]]]:
    return [(peer, list(flags)) for peer, flags in candidates.items() if flag in flags]


def _is_exit(flags: Collection[int]) -> bool:
    return PEER_FLAG_EXIT_BT in flags


def _exits(candidates: Mapping[Peer, Collection[int]], ctype: str) -> Sequence[Peer]:
    """The nodes that can be the last hop of a circuit that ends anywhere."""
    exits = [peer for peer, flags in candidates.items() if PEER_FLAG_RELAY in flags and _is_exit(flags)]
    if exits or ctype == CIRCUIT_TYPE_DATA:
        return exits
    return [peer for peer, flags in candidates.items() if PEER_FLAG_RELAY in flags or PEER_FLAG_EXIT_IPV8 in flags]
