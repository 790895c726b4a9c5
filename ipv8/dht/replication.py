"""Storing values on several nodes, and on others in place of those that do not confirm in time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from . import DHTError
from .diversity import spread
from .lookup import TARGET_NODES
from .routing import distance

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterable, Sequence

    from .driver import Driver
    from .requests import Requester
    from .routing import Node
    from .timing import Measurements
    from .tokens import ReceivedTokens

__all__ = ["MAX_VALUES_IN_STORE", "Replication", "Replicator", "StoreTargets"]

MAX_VALUES_IN_STORE = 8
"""Values of one store-request."""


class StoreTargets(list["Node"]):
    """Nodes to store values on, the nearest first.

    :param nodes: the nodes that are to store the values.
    :param spares: nodes that take the places of those that do not confirm, the nearest first.
    :param own_copy: whether this node stores the values too, if it is one of the nearest nodes.
    """

    def __init__(self, nodes: Iterable[Node] = (), spares: Iterable[Node] = (), own_copy: bool = True) -> None:
        super().__init__(nodes)
        self.spares = list(spares)
        self.own_copy = own_copy

    @classmethod
    def nearest(cls, nodes: Iterable[Node], count: int,
                score: Callable[[Node], float] | None = None) -> StoreTargets:
        """The first ``count`` nodes of each address family as targets, the others as spares.

        Of one network there are only a few targets, unless the nodes of others do not suffice.

        :param nodes: those of each family are ordered by their distances.
        :param score: the trust in a node. If it is given, the nearest half of the targets is as without it, and the
            others are the most trusted of the ``2 * count`` nearest. So the values are found by everybody, and who has
            placed untrusted nodes around a key does not have all copies if trusted ones are near as well.
        """
        families: dict[type, list[Node]] = {}
        for node in nodes:
            families.setdefault(type(node.address), []).append(node)
        targets = cls()
        for family in families.values():
            chosen = spread(family if score is None else _by_trust(family, count, score), count)
            if score is not None:
                chosen.sort(key=family.index)
            targets += chosen
            targets.spares += [node for node in family if node not in chosen]
        return targets

    def include(self, own_id: bytes, key: bytes) -> bool:
        """Whether a node with ``own_id`` is to store the values of ``key`` too."""
        return len(self) < TARGET_NODES or distance(own_id, key) < max(node.distance(key) for node in self)

    def families(self, family_of: Callable[[Node], type[Any]]) -> list[StoreTargets]:
        """The targets of each address family."""
        families: dict[type[Any], StoreTargets] = {}
        for node in self:
            families.setdefault(family_of(node), StoreTargets(own_copy=self.own_copy)).append(node)
        for node in self.spares:
            if family_of(node) in families:
                families[family_of(node)].spares.append(node)
        return list(families.values())


def _by_trust(nodes: list[Node], count: int, score: Callable[[Node], float]) -> list[Node]:
    """Nodes in the order in which they become targets: the nearest half, then by trust, and of equals the nearest."""
    nearest = spread(nodes, count // 2)
    others = sorted((node for node in nodes[:2 * count] if node not in nearest), key=score, reverse=True)
    return [*nearest, *others, *(node for node in nodes[2 * count:] if node not in nearest)]


class Delivery(NamedTuple):
    """Send a store-request to ``node``, and tell ``group`` what came of it."""

    node: Node
    group: Group


class Group:
    """The nodes of one address family, of which ``copies`` are to confirm."""

    def __init__(self, nodes: Iterable[Node], copies: int) -> None:
        self.copies = copies
        self.confirmed: list[Node] = []
        self.queue = deque(nodes)
        #: When the answer of each node that was asked is late.
        self.waiting: dict[Node, float] = {}
        self.late: set[Node] = set()

    @property
    def missing(self) -> int:
        """How many more nodes are to be asked now."""
        return self.copies - len(self.confirmed) - len(self.waiting)

    @property
    def finished(self) -> bool:
        """Whether enough nodes have confirmed, or no others are left."""
        return len(self.confirmed) >= self.copies or not (self.queue or self.waiting or self.late)

    def on_answer(self, node: Node, confirmed: bool) -> None:
        """Note that ``node`` has confirmed, or will not."""
        self.waiting.pop(node, None)
        self.late.discard(node)
        if confirmed:
            self.confirmed.append(node)


class Replication:
    """A state machine that stores values on nodes, without sockets, tasks or clocks.

    Its user carries out what :meth:`poll` returns; times are seconds of one clock that never goes back.

    :param groups: for each address family the nodes to ask, in this order, and how many of them are to confirm.
    """

    def __init__(self, groups: Iterable[tuple[Iterable[Node], int]], measurements: Measurements) -> None:
        self._groups = [Group(nodes, copies) for nodes, copies in groups]
        self._measurements = measurements
        self.finished = False
        self.deadline: float | None = None

    @property
    def confirmed(self) -> list[Node]:
        """The nodes that have confirmed."""
        return [node for group in self._groups for node in group.confirmed]

    def poll(self, now: float) -> list[Delivery]:
        """What is to be sent now; sets :attr:`finished` and :attr:`deadline`."""
        deadlines: list[float] = []
        deliveries: list[Delivery] = []
        for group in self._groups:
            if not group.finished:
                deliveries += self._poll(group, now, deadlines)
        self.finished = all(group.finished for group in self._groups)
        self.deadline = min(deadlines, default=None)
        return deliveries

    def _poll(self, group: Group, now: float, deadlines: list[float]) -> list[Delivery]:
        """What is to be sent to the nodes of a group; adds to ``deadlines`` when to poll again."""
        if group.queue:
            overdue = [node for node, deadline in group.waiting.items() if deadline <= now]
            group.late.update(overdue)
            for node in overdue:
                del group.waiting[node]
        deliveries = []
        resting: list[Node] = []
        while group.queue and group.missing > 0:
            node = group.queue.popleft()
            free_at = self._measurements.pacer.free_at(node, now)
            if free_at > now:
                resting.append(node)
                deadlines.append(free_at)
                continue
            group.waiting[node] = now + self._measurements.round_trips.patience(node)
            deliveries.append(Delivery(node, group))
        group.queue.extendleft(reversed(resting))
        if group.queue:
            deadlines.extend(group.waiting.values())
        return deliveries


class Replicator:
    """Carries out replications.

    :param tokens: the tokens of other nodes; values are stored only on nodes with a usable one.
    """

    def __init__(self, driver: Driver, requester: Requester, tokens: ReceivedTokens,
                 measurements: Measurements) -> None:
        self._driver = driver
        self._requester = requester
        self._tokens = tokens
        self._measurements = measurements

    def begin(self, families: Sequence[StoreTargets]) -> Replication:
        """What stores values on the targets of each family.

        :raises DHTError: if there are none, or there is a token for none of them.
        """
        if not families:
            raise DHTError("No nodes found for storing the key-value pairs")
        groups = [([node for node in (*targets, *targets.spares) if self._tokens.usable(node.id)], len(targets))
                  for targets in families]
        if not any(nodes for nodes, _ in groups):
            raise DHTError("Value was not stored")
        return Replication(groups, self._measurements)

    async def finish(self, replication: Replication, key: bytes, values: list[bytes]) -> list[Node]:
        """Store values; the nodes that confirmed."""
        def deliver(delivery: Delivery, wake: Callable[[], None]) -> None:
            node, group = delivery

            def on_answer(future: Future[Node]) -> None:
                group.on_answer(node, not future.cancelled() and future.exception() is None)
                wake()

            token = self._tokens.usable(node.id)
            if token is None:
                group.on_answer(node, confirmed=False)
                wake()
            else:
                self._requester.store(node, token, key, values).add_done_callback(on_answer)

        await self._driver.run(replication, deliver)
        return replication.confirmed
