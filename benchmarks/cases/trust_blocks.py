"""The trust graph takes up a million blocks that are stored in a file, as after a crawl.

The blocks are pairs of halves that link to each other, of authors of whom few have many. Their signatures are not
valid, as nobody verifies those of stored blocks.
"""

from __future__ import annotations

import random
import resource
import tempfile
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.measure import Figure
from ipv8.attestation.trustchain.block import EMPTY_SIG, TrustChainBlock
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.messaging.deprecated.encoding import encode
from ipv8.trust import TrustGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = 1_000_000
AUTHORS = 100_000


def key(number: int) -> bytes:
    """A key of the right form, made without any arithmetic."""
    return b"LibNaCLPK:" + number.to_bytes(32, "big") + number.to_bytes(32, "big")


def pairs() -> Iterator[TrustChainBlock]:
    """Proposals, each followed by its counter-signature."""
    source = random.Random(1)
    transaction = encode({b"up": 1 << 20, b"down": 1 << 20, b"total_up": 1 << 20, b"total_down": 1 << 20})
    heights = [0] * AUTHORS
    for number in range(BLOCKS // 2):
        one, other = (int(AUTHORS * source.random() ** 2) for _ in range(2))
        if one == other:
            other = (one + 1) % AUTHORS
        heights[one] += 1
        heights[other] += 1
        for author, partner, link in ((one, other, 0), (other, one, heights[one])):
            yield TrustChainBlock((b"tribler_bandwidth", transaction, key(author), heights[author], key(partner), link,
                                   bytes(32), EMPTY_SIG, number, None))


def store(directory: str) -> None:
    """Fill a database."""
    database = TrustChainDB(directory, "blocks")
    database.batched = True
    for block in pairs():
        database.add_block(block)
    database.close()


def measure() -> Iterator[Figure]:
    """Yield all of it."""
    with tempfile.TemporaryDirectory() as directory:
        begin = perf_counter()
        store(directory)
        yield Figure("store a block, without validation", (perf_counter() - begin) / BLOCKS * 1e6)
        database = TrustChainDB(directory, "blocks")
        graph = TrustGraph(key(0), rng=1)
        begin = perf_counter()
        count = graph.fold(database)
        elapsed = perf_counter() - begin
        database.close()
    assert count == BLOCKS
    yield Figure(f"take up {BLOCKS} stored blocks", elapsed, "s")
    yield Figure("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB")
