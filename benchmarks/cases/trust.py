"""The trust graph: taking up a million events, changing an edge, and reading scores."""

from __future__ import annotations

import random
import resource
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.measure import Figure
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.deprecated.encoding import encode
from ipv8.trust import TrustEvent, TrustGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODES = 100_000
EVENTS = 1_000_000
EDGES = 5000
ROOT_EDGES = 200
BLOCKS = 10_000
AUTHORS = 50


def key(number: int) -> bytes:
    return b"%074d" % number


def events() -> Iterator[TrustEvent]:
    """Endorsements between nodes of which few have many."""
    source = random.Random(1)
    for _ in range(EVENTS):
        yield TrustEvent(key(int(NODES * source.random() ** 2)), key(int(NODES * source.random() ** 2)),
                         source.random() + 0.1)


def durations(function: Callable[[], object], times: int) -> list[float]:
    """The microseconds of each of several calls, in order."""
    found = []
    for _ in range(times):
        begin = perf_counter()
        function()
        found.append((perf_counter() - begin) * 1e6)
    return sorted(found)


def changes(graph: TrustGraph) -> Iterator[Figure]:
    """What it costs to take up one event."""
    source = random.Random(2)

    def any_edge() -> None:
        graph.add(key(source.randrange(NODES)), key(source.randrange(NODES)))
        graph.flush()

    def own_edge() -> None:
        graph.add(key(0), key(source.randrange(NODES)))
        graph.flush()

    for name, function, times in (("an edge", any_edge, EDGES), ("an edge of the root", own_edge, ROOT_EDGES)):
        found = durations(function, times)
        yield Figure(f"{name}, mean", sum(found) / times)
        yield Figure(f"{name}, 99th percentile", found[times * 99 // 100])


def blocks() -> Iterator[Figure]:
    """What it costs to take up a stored block."""
    database = TrustChainDB(":memory:", "trust")
    database.batched = True
    keys = [default_eccrypto.generate_key("curve25519").pub().key_to_bin() for _ in range(AUTHORS)]
    transaction = encode({b"up": 1, b"down": 1 << 20, b"total_up": 1, b"total_down": 1 << 20})
    heights = dict.fromkeys(keys, 0)
    source = random.Random(3)
    for number in range(BLOCKS):
        author, other = source.sample(keys, 2)
        heights[author] += 1
        database.add_block(TrustChainBlock((
            b"tribler_bandwidth", transaction, author, heights[author], other, 0, bytes(32),
            bytes(64), number, None)))
    graph = TrustGraph(keys[0], rng=1)
    begin = perf_counter()
    graph.fold(database)
    yield Figure("take up a stored block", (perf_counter() - begin) / BLOCKS * 1e6)
    database.close()


def measure() -> Iterator[Figure]:
    """Yield all of it."""
    yield from blocks()
    made = list(events())
    graph = TrustGraph(key(0), rng=1)
    begin = perf_counter()
    graph.add_many(made)
    graph.flush()
    yield Figure(f"take up {EVENTS} events", perf_counter() - begin, "s")
    del made
    yield from changes(graph)
    for name in ("hits", "meritrank", "ppr"):
        graph.top(100, name)
        yield Figure(f"top 100 by {name}", min(durations(lambda name=name: graph.top(100, name), 5)))  # type: ignore[misc]
    yield Figure("a score", min(durations(lambda: graph.score(key(1)), 100)))
    with suppress(RuntimeError):  # without numpy and scipy
        yield Figure("all scores, exact", min(durations(lambda: graph.scores(name="ppr", exact=True), 3)))
    yield Figure("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB")
