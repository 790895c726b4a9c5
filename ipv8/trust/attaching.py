"""Following the blocks of a TrustChain overlay while it runs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .. import clock, entropy

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Mapping

    from ..attestation.trustchain.block import TrustChainBlock
    from ..attestation.trustchain.store import BlockStore
    from ..peer import Peer
    from .chain import ChainLink
    from .graph import TrustGraph

__all__ = ["Attach", "Follower"]

SLICE_SECONDS = 0.005
"""How long the event loop is kept from other work at a time, about."""

SLICE_BLOCKS = 64
"""Blocks between two looks at the clock."""

FLUSH_DELAY = 0.1
"""Seconds that a new block waits for others."""

FLUSH_BLOCKS = 256
"""New blocks that wait at most."""

SAVED_TOGETHER = 1024
"""Blocks that are taken up between two commits when many are waiting."""

CRAWL_INTERVAL = 10.0
"""Seconds between requests for the chains of trusted keys."""

CRAWL_KEYS = 8
"""Of how many keys with the highest scores one is asked for."""


class TrustChainOverlay(Protocol):
    """What a graph needs of a TrustChain overlay, whose methods are described there."""

    persistence: BlockStore
    unload_callbacks: list[Callable[[], object]]
    database_callbacks: list[Callable[[BlockStore], object]]
    UNIVERSAL_BLOCK_LISTENER: ClassVar[bytes]

    @property
    def my_key_bin(self) -> bytes: ...

    def add_listener(self, listener: Any, block_types: Any, /) -> None: ...

    def remove_listener(self, listener: Any, block_types: Any, /) -> None: ...

    def add_fraud_callback(self, callback: Any, /) -> None: ...

    def remove_fraud_callback(self, callback: Any, /) -> None: ...

    def get_peers(self) -> list[Peer]: ...

    def send_crawl_request(self, peer: Peer, public_key: bytes, start: int, end: int, /) -> Future[Any]: ...

    def register_task(self, name: str, user_task: Any, /, *, delay: float | None = None,
                      interval: float | None = None) -> Future[Any]: ...

    def replace_task(self, name: str, user_task: Any, /) -> Future[Any]: ...

    def cancel_pending_task(self, name: str, /) -> Future[Any]: ...

    def is_pending_task_active(self, name: str, /) -> bool: ...


class Attach:
    """The method ``attach``, which makes a graph if it is called on the class."""

    def __get__(self, graph: TrustGraph | None, kind: type[TrustGraph]) -> Callable[..., TrustGraph]:
        return partial(attach, graph, kind)


def attach(graph: TrustGraph | None, kind: type[TrustGraph], community: TrustChainOverlay, *,
           extractors: Mapping[bytes, Any] | None = None, replay: bool = True,
           completeness: bool = False) -> TrustGraph:
    """Follow the blocks that ``community`` stores, and the frauds that it detects, until it is unloaded.

    Called on the class, it makes a graph whose root is the key of the overlay. Edges, private evidence and vetoes are
    kept in the database of the overlay.

    :param extractors: what makes events of blocks, by type; :data:`ipv8.trust.DEFAULT_EXTRACTORS` by default.
    :param replay: take up the blocks that are stored already, and keep what is taken up.
    :param completeness: let the endorsements of a chain with gaps count less.
    :raises RuntimeError: if the graph follows this overlay already.
    """
    if graph is None:
        graph = kind(community.my_key_bin)
    link = graph.link_to(community.persistence, extractors)
    if link.released is not None:
        raise RuntimeError("the graph follows this overlay already")
    link.completeness = completeness
    Follower(link, community, replay)
    return graph


class Follower:
    """Keeps a link in step with the database of an overlay."""

    def __init__(self, link: ChainLink, community: TrustChainOverlay, replay: bool) -> None:
        from ..attestation.trustchain.listener import FunctionListener

        self.link = link
        self.community = community
        self._replays = replay
        self._new = 0
        self._task_name = f"trust graph {id(self)}"
        self._types = (community.UNIVERSAL_BLOCK_LISTENER,)
        self._listener = FunctionListener(self._received, sign=False)
        community.add_listener(self._listener, self._types)
        community.add_fraud_callback(link.on_fraud)
        community.unload_callbacks.append(link.detach)
        community.database_callbacks.append(self._move)
        link.released = self._release
        if replay:
            link.prepared = community.register_task(f"{self._task_name} replay", self._replay)
        else:
            link.skip()
        community.register_task(f"{self._task_name} crawl", self._crawl, interval=CRAWL_INTERVAL,
                                delay=CRAWL_INTERVAL)

    def _release(self) -> None:
        community = self.community
        community.remove_listener(self._listener, self._types)
        community.remove_fraud_callback(self.link.on_fraud)
        if self.link.detach in community.unload_callbacks:
            community.unload_callbacks.remove(self.link.detach)
        if self._move in community.database_callbacks:
            community.database_callbacks.remove(self._move)
        for name in (self._task_name, f"{self._task_name} replay", f"{self._task_name} crawl"):
            community.cancel_pending_task(name)

    def _move(self, database: BlockStore) -> None:
        """Follow another database from now on."""
        self.link.move(database)
        if not self._replays:
            self.link.skip()

    async def _replay(self) -> None:
        """Take over what was kept, and take up all further blocks."""
        self.link.persist()
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Take up all blocks that wait, some milliseconds at a time."""
        unsaved = 0
        while self.link.released is not None:
            started = clock.monotonic()
            count = taken = 0
            while clock.monotonic() < started + SLICE_SECONDS and taken < FLUSH_BLOCKS:
                count = self.link.fold(SLICE_BLOCKS)
                taken += count
                if count < SLICE_BLOCKS:
                    break
            unsaved += taken
            if unsaved >= SAVED_TOGETHER or count < SLICE_BLOCKS:
                self.link.save()
                unsaved = 0
            if count < SLICE_BLOCKS:
                return
            await asyncio.sleep(0)

    def _received(self, _: TrustChainBlock) -> None:
        """Take the new block up soon."""
        if self.link.prepared is not None and not self.link.prepared.done():
            return  # it will be found
        self._new += 1
        if self._new >= FLUSH_BLOCKS:
            self._new = 0
            self.community.replace_task(self._task_name, self._catch_up)
        elif not self.community.is_pending_task_active(self._task_name):
            self.community.register_task(self._task_name, self._catch_up_soon, delay=FLUSH_DELAY)

    async def _catch_up_soon(self) -> None:
        self._new = 0
        await self._catch_up()

    def _crawl(self) -> None:
        """Ask for what is missing in the chain of a trusted key: its owner if it is known here, or else anybody."""
        link, community = self.link, self.community
        if link.prepared is not None and not link.prepared.done():
            return
        peers = community.get_peers()
        keys = link.frontier(CRAWL_KEYS) if peers else []
        if not keys:
            return
        key = entropy.choice(keys)
        owner = next((peer for peer in peers if peer.public_key.key_to_bin() == key), None)
        start, end = community.persistence.get_lowest_range_unknown(key)
        community.send_crawl_request(owner or entropy.choice(peers), key, start, end)
