"""Finding the nodes nearest to a key, or the values of a key: a state machine without sockets, tasks or clocks.

Its user carries out what :meth:`Lookup.poll` returns, tells it what came of that, and polls again when something
happened or the :attr:`Lookup.deadline` has passed (doc/protocol/dht.md section 8). All times are seconds of one clock
that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from ..messaging.inet import is_global
from .crawl import MAX_CRAWL_REQUESTS, MAX_CRAWL_TASKS, Crawl, Response
from .diversity import PlaceCounter, is_contactable
from .payload import MAX_NODES_READ
from .routing import NODE_STATUS_BAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..messaging.address import Address
    from .routing import Node
    from .timing import Measurements

__all__ = ["Action", "Ask", "Lookup", "LookupOptions", "OpenWay", "Repeat", "Surroundings"]

TARGET_NODES = 8
"""Nodes nearest to a key that store its values."""
MAX_CONTACTS_WHILE_IMPROVING = 48
"""Nodes that a lookup contacts as long as it finds nearer ones."""
MAX_CANDIDATES = 256
"""Nodes that a lookup keeps; the farthest one is dropped first."""
NODE_PATIENCE_WITH_PUNCTURE = 3
"""A node that is to send a puncture is waited for longer by this factor."""


class Ask(NamedTuple):
    """Send a find-request for the target to ``node``."""

    node: Node


class OpenWay(NamedTuple):
    """Send a find-request for the id of ``node`` to ``helper``, which makes ``node`` send us a puncture."""

    node: Node
    helper: Node


class Repeat(NamedTuple):
    """Send the same request to ``node`` again: its NAT should let us through now."""

    node: Node


Action = Ask | OpenWay | Repeat
"""What a lookup wants done."""


class State(Enum):
    """What has happened to a candidate."""

    FRESH = auto()
    WAITING = auto()
    LATE = auto()
    ANSWERED = auto()
    FAILED = auto()


@dataclass(eq=False)
class Candidate:
    """A node that a lookup has heard of.

    :param helper: the node that told of it.
    :param opened: whether the helper was asked to have it send a puncture.
    :param admitted: whether it is within the limits of its host and its network.
    """

    node: Node
    distance: int
    helper: Node | None
    state: State = State.FRESH
    deadline: float = 0.0
    opened: bool = False
    admitted: bool = False


@dataclass
class LookupOptions:
    """How to look something up.

    :param quorum: a lookup of values ends when this many of the nearest nodes have sent the same valid values, or one
        more has sent any. A larger number finds values that some nodes hide; 8 asks all nodes that store a key.
    :param paths: the number of lookups that run side by side and contact different nodes.
    :param cache: whether found values are stored on the nearest node that lacks them.
    """

    quorum: int = 3
    paths: int = 1
    cache: bool = True


@dataclass
class Surroundings:
    """What a lookup takes from its node, and shares with others that look for the same.

    :param my_mid: the mid of this node, which asks nothing of itself.
    :param measurements: how nodes have answered so far.
    :param is_distrusted: whether a node has sent invalid values before.
    :param is_valid: whether a value is valid.
    :param on_public_internet: whether this node has a global address; then other nodes need one too.
    :param own_addresses: the addresses of this node, which it does not send to, whoever else is said to be there.
    :param taken: the keys of the nodes that one of several lookups has contacted.
    """

    my_mid: bytes
    measurements: Measurements
    is_distrusted: Callable[[Node], bool] = lambda _node: False
    is_valid: Callable[[bytes], bool] = lambda _value: True
    on_public_internet: bool = False
    own_addresses: tuple[Address, ...] = ()
    taken: set[bytes] = field(default_factory=set)


class Lookup:
    """One lookup in one routing table.

    It ends when the :data:`TARGET_NODES` nearest nodes that did not fail have all answered; of these nodes, only a few
    may be in one network, and those between them must have answered too. A lookup of values also ends when enough of
    them have sent some.

    :param crawl: the record of the lookup.
    :param start: the nodes to begin with.
    :param width: how many nodes to wait for at a time.
    """

    def __init__(self, crawl: Crawl, surroundings: Surroundings, start: Iterable[Node],
                 options: LookupOptions | None = None, width: int = MAX_CRAWL_TASKS) -> None:
        self.crawl = crawl
        self.options = options or LookupOptions()
        self.width = width
        self.finished = False
        #: When to poll again, even if nothing happens; ``None`` if there is nothing to wait for.
        self.deadline: float | None = None
        self._family: type | None = None
        self._surroundings = surroundings
        self._contacted = PlaceCounter.for_contacts()
        self._candidates: dict[bytes, Candidate] = {}
        self._ordered: list[Candidate] = []
        self._contacts = 0
        self._nearest: int | None = None
        self._stagnant = False
        self._answers: dict[bytes, frozenset[bytes]] = {}
        self._repeats: list[Node] = []
        for node in start:
            self._family = type(node.address)
            self._add(node, None)
        self._settle()

    def _add(self, node: Node, helper: Node | None) -> None:
        known = self._candidates.get(node.key_bin)
        if known is None:
            recorded = self.crawl.routing_table.get(node.id)
            if recorded is not None and recorded == node and recorded.address == node.address:
                if recorded.status == NODE_STATUS_BAD:
                    return
                node = recorded
            distance = node.distance(self.crawl.target)
            candidate = Candidate(node, distance, helper)
            self._candidates[node.key_bin] = candidate
            self._ordered.append(candidate)
        elif helper is not None and known.state is not State.ANSWERED:
            known.helper = helper

    def _settle(self) -> None:
        """Sort the candidates and drop the farthest ones."""
        self._ordered.sort(key=lambda candidate: candidate.distance)
        for candidate in self._ordered[MAX_CANDIDATES:]:
            if candidate.state is State.FRESH:
                del self._candidates[candidate.node.key_bin]
        self._ordered[MAX_CANDIDATES:] = [candidate for candidate in self._ordered[MAX_CANDIDATES:]
                                          if candidate.state is not State.FRESH]

    # What happened

    def on_response(self, node: Node, response: Response, is_recorded: bool = False) -> None:
        """Take the answer of ``node`` to an :class:`Ask`; it may be late.

        :param is_recorded: whether it is one of those of :attr:`crawl` already.
        """
        candidate = self._candidates.get(node.key_bin)
        if candidate is None or candidate.state is State.ANSWERED:
            return
        if candidate.helper is not None and not candidate.opened:
            self._surroundings.measurements.open_ways.tried(answered=True)
        candidate.state = State.ANSWERED
        if not is_recorded:
            self.crawl.responses.append((node, response))
        if "values" in response:
            valid = frozenset(filter(self._surroundings.is_valid, response["values"]))
            if valid:
                self._answers[node.key_bin] = valid
        for other in response.get("nodes", ())[:MAX_NODES_READ]:
            if self._is_acceptable(other, node):
                self._add(other, node)
        self._settle()
        nearest = self._ordered[0].distance
        self._stagnant = self._nearest is not None and nearest >= self._nearest
        self._nearest = nearest

    def _is_acceptable(self, node: Node, sender: Node) -> bool:
        """Whether to contact a node that ``sender`` told of."""
        return (node.mid != self._surroundings.my_mid
                and type(node.address) is self._family
                and is_contactable(node.address, sender.address, self._surroundings.own_addresses)
                and (not self._surroundings.on_public_internet or not is_global(sender.address[0])
                     or is_global(node.address[0]))
                and not self._surroundings.is_distrusted(node))

    def on_failure(self, node: Node) -> None:
        """Note that ``node`` will not answer any more."""
        candidate = self._candidates.get(node.key_bin)
        if candidate is not None and candidate.state is not State.ANSWERED:
            candidate.state = State.FAILED

    def on_way_opened(self, node: Node) -> None:
        """Note that the helper of ``node`` has answered, so that ``node`` was asked for a puncture."""
        candidate = self._candidates.get(node.key_bin)
        if candidate is not None and candidate.state in {State.WAITING, State.LATE}:
            self._repeats.append(node)

    # What to do

    def poll(self, now: float) -> list[Action]:
        """What is to be done now; sets :attr:`finished` and :attr:`deadline`."""
        actions: list[Action] = [Repeat(node) for node in self._repeats]
        self._repeats.clear()
        for candidate in self._ordered:
            if candidate.state is State.WAITING and candidate.deadline <= now:
                candidate.state = State.LATE
                if not candidate.opened and candidate.helper is not None:
                    self._surroundings.measurements.open_ways.tried(answered=False)
                    actions += self._open_way(candidate, now)
        if self._has_enough_values():
            self.finished = True
            return []

        waiting = [candidate for candidate in self._ordered if candidate.state is State.WAITING]
        resting: float | None = None
        for candidate in self._frontier():
            if candidate.state is not State.FRESH or len(waiting) >= self._limit() or self._is_exhausted():
                continue
            free_at = self._surroundings.measurements.pacer.free_at(candidate.node, now)
            if free_at > now:
                resting = min(free_at, resting or free_at)
                continue
            actions += self._contact(candidate, now)
            waiting.append(candidate)
        late = any(candidate.state is State.LATE for candidate in self._ordered)
        answered = sum(candidate.state is State.ANSWERED for candidate in self._ordered)
        patient = not self._answers and answered < TARGET_NODES
        if waiting:
            self.deadline = min(candidate.deadline for candidate in waiting)
        else:
            self.deadline = resting if patient else None
            self.finished = not patient or (resting is None and not late)
        return actions

    def _frontier(self) -> list[Candidate]:
        """The nearest candidates that have not failed; those that may not be contacted fail here.

        They end with the last of the nodes that the key has its places on.
        """
        frontier: list[Candidate] = []
        places = PlaceCounter.for_places()
        taken = 0
        for candidate in self._ordered:
            if candidate.state is State.FRESH and candidate.node.key_bin in self._surroundings.taken:
                candidate.state = State.FAILED
            elif not candidate.admitted:
                candidate.admitted = self._contacted.take(candidate.node.address[0])
                if not candidate.admitted:
                    candidate.state = State.FAILED
            if candidate.state in {State.FRESH, State.WAITING, State.ANSWERED}:
                frontier.append(candidate)
                taken += places.take(candidate.node.address[0])
                if taken == TARGET_NODES:
                    break
        return frontier

    def _holders(self) -> list[Candidate]:
        """The nodes that the key should have its places on, as far as is known."""
        places = PlaceCounter.for_places()
        found: list[Candidate] = []
        for candidate in self._ordered:
            if candidate.state is not State.FAILED and places.take(candidate.node.address[0]):
                found.append(candidate)
                if len(found) == TARGET_NODES:
                    break
        return found

    def _limit(self) -> int:
        """How many answers to wait for at a time: more when the last answer named no nearer node."""
        return max(self.width, TARGET_NODES) if self._stagnant and self.crawl.force_nodes else self.width

    def _is_exhausted(self) -> bool:
        return self._contacts >= (MAX_CRAWL_REQUESTS if self._stagnant else MAX_CONTACTS_WHILE_IMPROVING)

    def _has_enough_values(self) -> bool:
        """Whether enough of the nearest known nodes have sent values; those of others do not count."""
        quorum = self.options.quorum
        if len(self._answers) < quorum:
            return False
        keys = [candidate.node.key_bin for candidate in self._holders()]
        answers = [self._answers[key] for key in keys if key in self._answers]
        return len(answers) > quorum or any(answers.count(values) >= quorum for values in answers)

    def _contact(self, candidate: Candidate, now: float) -> list[Action]:
        node, surroundings = candidate.node, self._surroundings
        self._contacts += 1
        candidate.state = State.WAITING
        candidate.deadline = now + surroundings.measurements.round_trips.patience(node)
        self.crawl.nodes_tried.add(node)
        surroundings.taken.add(node.key_bin)
        actions: list[Action] = [Ask(node)]
        if candidate.helper is not None and surroundings.measurements.open_ways.needs_puncture(node.address, now):
            opening = self._open_way(candidate, now)
            if opening:
                candidate.deadline = now + NODE_PATIENCE_WITH_PUNCTURE * (candidate.deadline - now)
                actions += opening
        return actions

    def _open_way(self, candidate: Candidate, now: float) -> list[OpenWay]:
        helper = candidate.helper
        if helper is None or self._surroundings.measurements.pacer.free_at(helper, now) > now:
            return []
        candidate.opened = True
        return [OpenWay(candidate.node, helper)]

    def responders(self) -> list[Node]:
        """The nodes that answered, the nearest first."""
        answered = {node.key_bin for node, _ in self.crawl.responses}
        return [candidate.node for candidate in self._ordered if candidate.node.key_bin in answered]
