"""Keys, graphs and chains for the tests of the trust graph."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.trust import TrustGraph

if TYPE_CHECKING:
    from ipv8.attestation.trustchain.store import BlockStore


def key(number: int) -> bytes:
    return b"k%05d" % number


def graph_of(edges: Any, root: int = 0, **parameters: Any) -> TrustGraph:
    graph = TrustGraph(key(root), **{"walks": 200, "rng": 5, "share_ttl": 0, **parameters})
    for u, v, weight in edges:
        graph.add(key(u), key(v), weight)
    return graph


def largest_deviation(graph: TrustGraph, walks: int) -> float:
    """By how many standard errors the counted hits differ from the computed ones, at most."""
    worst = 0.0
    for other, h in graph.scores(name="hits", exact=True).items():
        got = graph.score(other, "hits")
        if h > 1 - 1e-9 or h < 1e-12:
            assert abs(got - h) < 1e-9
        else:
            worst = max(worst, abs(got - h) / sqrt(h * (1 - h) / walks))
    return worst


class Node:
    """A chain in a database that several share."""

    def __init__(self, database: BlockStore) -> None:
        self.database = database
        self.private_key: Any = default_eccrypto.generate_key("curve25519")
        self.key = self.private_key.pub().key_to_bin()

    def sign(self, to: Node | bytes, block_type: bytes = b"deal", transaction: Any = None,
             link: TrustChainBlock | None = None, store: bool = True) -> TrustChainBlock:
        block = TrustChainBlock.create(block_type, {} if transaction is None else transaction, self.database, self.key,
                                       link=link, link_pk=to if isinstance(to, bytes) else to.key)
        block.sign(self.private_key)
        if store:
            self.database.add_block(block)
        return block

    def deal(self, other: Node, block_type: bytes = b"deal", transaction: Any = None,
             answer: Any = None) -> tuple[TrustChainBlock, TrustChainBlock]:
        proposal = self.sign(other, block_type, transaction)
        return proposal, other.sign(self, block_type, transaction if answer is None else answer, link=proposal)


def table_of(graph: TrustGraph) -> dict[tuple[bytes, bytes], tuple[float, int]]:
    return {(edge.source, edge.target): (round(edge.weight, 9), edge.events) for edge in graph}


class HandClock:
    """A clock that stands still unless it is advanced."""

    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
