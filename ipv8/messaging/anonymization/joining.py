"""Who may join circuits at this node, and who may have circuits extended by it (doc/protocol/tunnels.md section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ...contact.targets import HostKind, kind_of_host
from ...fill import Fill
from ...limits import ExpiringDict, TokenBuckets
from ..inet import HOST_BITS, network_of
from .budgets import Rate, SourceBudget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..address import Address
    from .tunnel import RoutingObject

__all__ = ["Extensions", "Joins", "candidates_in_answer"]

T = TypeVar("T", bound="RoutingObject")

JOINS_OF_A_HOST = Rate(10.0, 100.0)
JOINS_OF_ALL = Rate(200.0, 400.0)
"""Create messages that are answered, each second and at once. An answer takes about 0.3 ms of work."""

HOST_SHARE = 0.5
"""The part of the places for joined circuits that one host may take with circuits that have not proved themselves."""

PROOF_TIME = 1.0
"""Seconds that a joined circuit has to send something that only its origin can make, before it may be evicted.

When all places are taken, the oldest circuit of this kind makes room for a new one. A circuit that has proved itself
does not have to wait for one that old when it is extended.
"""

PLACES_OF_A_RELAY = 2
"""Places that a circuit takes which goes on; one that ends here takes one."""

AMPLIFICATION = 3
"""How many times as long as a create message from an unknown address the answer to it may be."""
ANSWER_SIZE = 123
"""Bytes of a created message without candidates, with its headers."""
CANDIDATE_SIZE = 76
"""Bytes of one candidate in it."""

EXTENDS_OF_A_CIRCUIT = Rate(0.2, 8.0)
"""Extend messages of one circuit that are followed, each second and at once."""
MAX_EXTENDING_CIRCUITS = 1024
"""Circuits whose extend messages are counted; the least recently used is evicted first."""

BLOCKS = Rate(50.0, 200.0)
"""Nodes that are asked to join because a create message says so, each second and at once."""
MAX_BLOCKS = 4096
BLOCK_LIFETIME = 600.0
"""Blocks that are remembered, the oldest evicted first, and for how many seconds: none is followed twice."""
CODE_SIZE = 16
"""Bytes of a block that tell it from others: the code of the rest."""

MAX_PENDING = 4096
PENDING_LIFETIME = 15.0
"""Requests to join that wait for an answer, the oldest forgotten first, and for how many seconds."""

MAX_PEER_LOOKUPS = 8
"""Nodes that are looked up in the DHT at a time, because circuits shall be extended to them."""


def candidates_in_answer(request_size: int, is_known: bool, wanted: int) -> int:
    """How many candidates the answer to a create message may have.

    :param request_size: bytes of the cell with the create message.
    :param is_known: whether the message came from the address of a peer that was proved to be there.
    :param wanted: how many there are.
    """
    if is_known:
        return wanted
    return max(0, min(wanted, (AMPLIFICATION * request_size - ANSWER_SIZE) // CANDIDATE_SIZE))


class Joins:
    """Decides which create messages are answered. Times are those of ``clock.monotonic``."""

    def __init__(self) -> None:
        self._budget = SourceBudget(JOINS_OF_A_HOST, JOINS_OF_ALL)

    def admits(self, source: Address, now: float) -> bool:
        """Whether the budgets have another join from ``source``; if so, it is charged.

        Nodes on this machine only share the budget of all.
        """
        return self._budget.admits_any(now) if _is_local(source) else self._budget.admits(source[0], now)

    @staticmethod
    def victim(unproven: Iterable[T], now: float, least_age: float = PROOF_TIME) -> T | None:
        """The joined circuit to evict when there is no room: the oldest one that has not proved itself.

        :param unproven: those that have not.
        :param least_age: seconds since they were joined, at least.
        """
        late = [entry for entry in unproven if now - entry.created >= least_age]
        return min(late, key=lambda entry: entry.created, default=None)

    @staticmethod
    def takes_too_many(source: Address, addresses: Iterable[Address], places: int) -> bool:
        """Whether the host of ``source`` has its share of the places already.

        :param addresses: where the circuits came from that have not proved themselves, for each place that they take.
        :param places: how many joined circuits there may be.
        """
        if _is_local(source):
            return False
        host = network_of(source[0], *HOST_BITS)
        share = max(1, int(places * HOST_SHARE))
        return sum(network_of(address[0], *HOST_BITS) == host for address in addresses) >= share


def _is_local(address: Address) -> bool:
    return kind_of_host(address[0]) is HostKind.LOOPBACK


class Extensions:
    """Decides which extend messages are followed, and remembers whom circuits are being extended to."""

    def __init__(self) -> None:
        self._budgets = TokenBuckets(*EXTENDS_OF_A_CIRCUIT, capacity=MAX_EXTENDING_CIRCUITS)
        self._blocks: ExpiringDict[bytes, None] = ExpiringDict(MAX_BLOCKS, BLOCK_LIFETIME)
        self._block_budget = TokenBuckets(*BLOCKS, capacity=1)
        #: The number of the request for each circuit id that a node was asked to join with.
        self.pending: ExpiringDict[int, int] = ExpiringDict(MAX_PENDING, PENDING_LIFETIME)
        self.lookups = 0

    def admits(self, circuit_id: int, now: float) -> bool:
        """Whether the circuit may be extended once more; if so, that is charged."""
        return self._budgets.take(circuit_id, now=now)

    def admits_block(self, block: bytes, now: float) -> bool:
        """Whether to ask the node that a block names; a block is followed once."""
        code = block[:CODE_SIZE]
        if self._blocks.age(code, now) is not None or not self._block_budget.take(now=now):
            return False
        self._blocks.set(code, None, now)
        return True

    @property
    def may_look_up(self) -> bool:
        """Whether another node may be looked up in the DHT now."""
        return self.lookups < MAX_PEER_LOOKUPS

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("lookups of nodes", self.lookups, MAX_PEER_LOOKUPS, rule="further messages are not followed")
