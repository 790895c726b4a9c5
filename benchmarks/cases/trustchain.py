"""TrustChain: what it costs to validate and to store a block, and how fast a chain is crawled over loopback.

It also runs with the last release of ``pyipv8`` that has TrustChain. The cost of verifying one signature is measured
as well, because no library can be faster than that on one core.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = 2000
CHAIN = 10_000
TOGETHER = 64
CRAWL_BATCH = 50
CRAWL_SECONDS = 40.0
ROUNDS = 3


class Tip:
    """What a new block needs of a database."""

    def __init__(self) -> None:
        self.latest: Any = None

    def get_latest(self, _: bytes) -> Any:
        return self.latest


def make_chain(key: Any, number: int) -> list[tuple[Any, ...]]:
    """The rows of a chain of minimal blocks."""
    public_key = key.pub().key_to_bin()
    counterparty = default_eccrypto.generate_key("curve25519").pub().key_to_bin()
    tip, rows = Tip(), []
    for _ in range(number):
        block = TrustChainBlock.create(b"test", {b"id": 42}, tip, public_key, link_pk=counterparty)
        block.sign(key)
        tip.latest = block
        rows.append((*block.pack_db_insert()[:9], None))
    return rows


def forget_signatures() -> None:
    """Let every signature be verified, where some are remembered."""
    with suppress(ImportError):
        from ipv8.attestation.trustchain.signatures import signatures

        signatures.clear()


def storing(rows: list[tuple[Any, ...]], directory: str, name: str, batched: bool = False,
            together: bool = False) -> float:
    """Microseconds to validate and to store a block of a chain: the best of several rounds."""
    return min(storing_once(rows, directory, f"{name}{number}", batched, together) for number in range(ROUNDS))


def storing_once(rows: list[tuple[Any, ...]], directory: str, name: str, batched: bool, together: bool) -> float:
    """Microseconds of one round."""
    forget_signatures()
    database = TrustChainDB(directory, name)
    if batched:
        database.batched = True
    blocks = [TrustChainBlock(row) for row in rows]
    begin = perf_counter()
    for start in range(0, len(blocks), TOGETHER):
        some = blocks[start:start + TOGETHER]
        if together:
            from ipv8.attestation.trustchain.signatures import verify_ahead

            verify_ahead(some)
        for block in some:
            block.validate(database)
            database.add_block(block)
    if batched:
        database.flush()
    elapsed = perf_counter() - begin
    database.close()
    return elapsed / len(rows) * 1e6


def validation(rows: list[tuple[Any, ...]]) -> Iterator[Figure]:
    """The cost of single blocks."""
    key = default_eccrypto.generate_key("curve25519")
    data = bytes(283)
    signature = key.signature(data)
    begin = perf_counter()
    for _ in range(BLOCKS):
        default_eccrypto.is_valid_signature(key.pub(), data, signature)
    yield Figure("signature of a block (the floor)", (perf_counter() - begin) / BLOCKS * 1e6)
    yield Figure("validate and store, in memory", storing(rows, ":memory:", "x"))
    with tempfile.TemporaryDirectory() as directory:
        yield Figure("validate and store, on disk", storing(rows, directory, "single"))
        if hasattr(TrustChainDB, "flush"):
            yield Figure("validate and store, as the overlay does", storing(rows, directory, "batched", True))
            yield Figure("validate and store, as the overlay does with crawled blocks",
                         storing(rows, directory, "together", True, True))


async def make_node(directory: str, name: str) -> Any:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    node: Any = TrustChainCommunity(Peer(default_eccrypto.generate_key("curve25519")), endpoint, Network(),
                                    working_directory=directory, db_name=name)
    node.settings.max_crawl_batch = CRAWL_BATCH
    if hasattr(node, "answer_budget"):  # the default is to answer a peer with 256 KiB/s
        node.settings.crawl_bytes_per_second = node.settings.total_crawl_bytes_per_second = 1e9
        node.answer_budget = type(node.answer_budget)(node.settings)
    return node


async def crawling() -> list[Figure]:
    """How long it takes to crawl a chain."""
    with tempfile.TemporaryDirectory() as directory:
        author, crawler = await make_node(directory, "author"), await make_node(directory, "crawler")
        try:
            if hasattr(author.persistence, "batched"):
                author.persistence.batched = True
            for row in make_chain(author.my_peer.key, CHAIN):
                author.persistence.add_block(TrustChainBlock(row))
            forget_signatures()
            peer = Peer(author.my_peer.public_key, author.endpoint.get_address())
            for node, other in ((author, crawler), (crawler, author)):
                known = Peer(other.my_peer.public_key, other.endpoint.get_address())
                known.proven = True
                node.network.add_verified_peer(known)
            begin = perf_counter()
            with suppress(asyncio.TimeoutError):  # what it brought until then tells the rate
                await asyncio.wait_for(crawler.crawl_chain(peer, CHAIN), CRAWL_SECONDS)
            elapsed = perf_counter() - begin
            count = crawler.persistence.get_number_of_known_blocks()
        finally:
            for node in (author, crawler):
                await node.unload()
                node.endpoint.close()
    return [Figure(f"blocks per second of a crawl of {CHAIN}", count / elapsed, "blocks/s", more_is_better=True),
            Figure(f"blocks that a crawl of {CHAIN} brought", count, "blocks", more_is_better=True)]


def measure() -> Iterator[Figure]:
    """Yield all of it."""
    logging.disable(logging.ERROR)
    rows = make_chain(default_eccrypto.generate_key("curve25519"), BLOCKS)
    yield from validation(rows)
    yield from asyncio.get_event_loop_policy().new_event_loop().run_until_complete(crawling())
