"""From a database of half blocks to a trust graph, kept in step with it (doc/trust.md, section 1)."""

from __future__ import annotations

import gc
import json
import logging
import sqlite3
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any

from .. import entropy
from ..attestation.trustchain.validation import ANY_COUNTERPARTY_PK, canonical_key
from ..database import DatabaseException
from .edges import MAX_EXPONENT
from .extractors import DEFAULT_EXTRACTORS, MAX_EVENT
from .heights import Heights
from .model import FoldedEvent, TrustEvent
from .persistence import EDGES, OBSERVATIONS, VERSION, EdgeStore, NotTheOwnerError, UnusableTablesError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ..attestation.trustchain.block import TrustChainBlock
    from ..attestation.trustchain.store import BlockStore
    from .graph import TrustGraph

__all__ = ["ChainLink"]

STEP_BLOCKS = 32
"""Blocks that are recorded for ``temporal`` in one step."""

BATCH = 1024
"""Blocks that are read at a time."""

EVENTS_TOGETHER = 65536
"""Events that are collected before the walks are changed, where nobody waits for the scores meanwhile."""

MAX_FRAUDS = 20_000
"""Frauds that are marked without having an edge; of others the database is asked when a block of theirs is taken up."""

MAX_PAST = 30 * 86400.0
"""A block counts as at most so many seconds older than the time when it was stored."""

OLD = 3600.0
"""Seconds after which a chain that had no new block is worth a look again."""

FRONTIER_FACTOR = 8
"""How many more keys are looked at than are wanted of a frontier."""

logger = logging.getLogger("TrustGraph")


@contextmanager
def _no_collections() -> Iterator[None]:
    """Do not look for garbage in cycles meanwhile.

    Nearly all that is made is kept, and nothing of it is a cycle. To look through it again and again would take a
    quarter of the time of a million blocks.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Batch:
    """Blocks that are read together. Most halves are stored next to each other, so that nobody needs to look one up."""

    def __init__(self, blocks: Iterable[TrustChainBlock]) -> None:
        self._blocks: dict[tuple[bytes, int], TrustChainBlock] = {}
        self._answers: dict[tuple[bytes, int], TrustChainBlock] = {}
        for block in blocks:
            self._blocks[block.public_key, block.sequence_number] = block
            if block.link_sequence_number:
                self._answers.setdefault((block.link_public_key, block.link_sequence_number), block)

    def partner_of(self, block: TrustChainBlock) -> TrustChainBlock | None:
        """The partner of a block, as a database gives it, if it is one of these; otherwise ``None``."""
        if block.link_sequence_number:
            found = self._blocks.get((block.link_public_key, block.link_sequence_number))
            allowed = None if found is None else found.link_public_key
            return found if allowed in {block.public_key, ANY_COUNTERPARTY_PK} else None
        found = self._answers.get((block.public_key, block.sequence_number))
        return found if found is not None and found.public_key == block.link_public_key else None


class ChainLink:
    """Takes the blocks of one database up into one graph, each once, in the order in which they were stored.

    :param extractors: what makes events of blocks, by type; the empty type stands for all others.
    """

    def __init__(self, graph: TrustGraph, database: BlockStore,
                 extractors: Mapping[bytes, Any] | None = None) -> None:
        self.graph = graph
        self.database = database
        self.extractors = dict(DEFAULT_EXTRACTORS if extractors is None else extractors)
        self.heights = Heights()
        #: The place of the last block that was taken up, in the order in which blocks are stored.
        self.place = 0
        #: Whether chains with gaps count less.
        self.completeness = False
        self.store: EdgeStore | None = None
        self.released: Callable[[], object] | None = None
        self.prepared: Future[Any] | None = None
        self._deltas: dict[tuple[bytes, bytes, str], tuple[float, int, int | None]] = {}
        #: What changed of ``heights`` since it was saved, by author.
        self._touched: dict[bytes, dict[int, int | None]] = {}
        self._gone: dict[bytes, bool] = {}
        #: How many times this was saved to the database, in this run and before.
        self._saves = 0
        #: What the database says who keeps the edges: one program at a time, the one that began last.
        self._name = entropy.randbits(64)
        self._is_owner = True
        self._reference = graph.clock()
        self._proofs: object = None
        self._unmarked = False
        self._temporal_place = 0
        graph.keepers.append(self)
        graph.temporal.feeds.append(self._feed_temporal)

    # Blocks

    def fold(self, limit: int | None = None, together: int = EVENTS_TOGETHER) -> int:
        """Take up blocks that are not taken up yet, at most ``limit``; how many there were."""
        if limit is None:
            with _no_collections():
                return self._fold(None, together)
        return self._fold(limit, together)

    def _fold(self, limit: int | None, together: int) -> int:
        self._read_frauds()
        count = 0
        while limit is None or count < limit:
            some = self.database.get_stored_after(self.place, BATCH if limit is None else min(BATCH, limit - count))
            if not some:
                break
            near = _Batch(block for _, block in some)
            for place, block in some:
                self._take(block, near)
                self.place = place
            count += len(some)
            if self.graph.waiting >= together:
                self.graph.flush()
        if count:
            self.graph.flush()
            if self.completeness:
                self._count_known(self._touched)
        if self.store is None:
            self._touched.clear()
        return count

    def _take(self, block: TrustChainBlock, near: _Batch) -> None:
        """Take up a block, and the one that waited for it."""
        partner = near.partner_of(block) or self.database.get_linked(block)
        self._take_one(block, partner)
        if partner is not None:
            self._take_one(partner, block)

    def _take_one(self, block: TrustChainBlock, partner: TrustChainBlock | None) -> None:
        author = canonical_key(block.public_key)
        if (author, block.sequence_number) in self.heights:
            return
        extractor = self._extractor_of(block, partner is not None)
        if extractor is None:
            return
        self._touched.setdefault(author, {}).update(self.heights.add(author, block.sequence_number))
        if self._unmarked and self.database.did_double_spend(author):
            self._mark(author, None)
        events = list(self._events(extractor, block, author))
        self.graph.add_many(events)
        if self.store is not None:
            for event in events:
                self._keep(event)

    def _extractor_of(self, block: TrustChainBlock, has_partner: bool) -> Any:
        """What makes events of a block; ``None`` if it does not count, or not yet."""
        extractor = self.extractors.get(block.type)
        if extractor is None:
            extractor = self.extractors.get(b"")
        if extractor is None or has_partner or not getattr(extractor, "requires_pair", False):
            return extractor
        stands_alone = getattr(extractor, "stands_alone", None)
        return extractor if stands_alone is not None and stands_alone(block) else None

    def _events(self, extractor: Any, block: TrustChainBlock, author: bytes) -> Iterator[FoldedEvent]:
        """The events of a block that may count: they leave its author, and their weights are bounded."""
        highest = getattr(extractor, "max_event", MAX_EVENT)
        stored = None if self.graph.half_life is None else block.inserted_at
        try:
            events = [TrustEvent(*event) for event in extractor(block)]
        except Exception:
            logger.exception("No events could be made of %s", block)
            return
        for source, target, weight, timestamp, kind in events:
            if not isinstance(weight, (int, float)) or not weight > 0 or weight == inf:
                continue
            if type(source) is not bytes or type(target) is not bytes or canonical_key(source) != author:
                self.graph.violations += 1
                continue
            try:
                moment = int(block.timestamp if timestamp is None else timestamp)
                if stored is not None:  # it is kept in whole seconds
                    moment = int(1000 * min(max(moment / 1000, stored - MAX_PAST), stored + 1.0))
                event = FoldedEvent(author, canonical_key(target), float(min(weight, highest)), moment, kind)
                accepted = self.graph.table.accepts(event)
                if not kind.isprintable():  # databases do not take all of that
                    raise ValueError(f"the kind of an event is printable, unlike {kind!r:.100}")
            except (TypeError, ValueError, OverflowError):
                logger.exception("An event of %s is none", block)
                continue
            if accepted:
                yield event

    def _feed_temporal(self) -> Generator[None, None, None]:
        """Record, in steps, the blocks whose partners are stored, for walks that respect their order."""
        while True:
            some = self.database.get_stored_after(self._temporal_place, STEP_BLOCKS)
            if not some:
                return
            yield
            for place, block in some:
                self._temporal_place = max(place, self._temporal_place)
                partner = self.database.get_linked(block)
                if partner is not None:
                    for one, other in ((block, partner), (partner, block)):
                        self._record(one, other)

    def _record(self, block: TrustChainBlock, partner: TrustChainBlock) -> None:
        author, other = canonical_key(block.public_key), canonical_key(partner.public_key)
        extractor = self._extractor_of(block, True)
        if extractor is not None:
            for event in self._events(extractor, block, author):
                if event.target == other:
                    self.graph.temporal.record(author, block.sequence_number, other, partner.sequence_number,
                                               event.weight)

    # Frauds

    def _read_frauds(self) -> None:
        """Mark the authors of whom the database has a proof."""
        proofs = self.database.get_proofs_state()
        if proofs == self._proofs:
            return
        self._proofs = proofs
        for key, block1, block2 in self.database.get_double_spends():
            self.on_fraud(key, block1, block2)

    def on_fraud(self, public_key: bytes, block1: TrustChainBlock, block2: TrustChainBlock) -> None:
        """Mark an author who signed two blocks for one height, with both as the proof."""
        self._mark(canonical_key(public_key), (block1.pack(), block2.pack()))

    def _mark(self, key: bytes, proof: Any) -> None:
        graph = self.graph
        if key == graph.root or graph.is_fraud(key):
            return
        if len(graph.table.frauds) >= MAX_FRAUDS and key not in graph:
            self._unmarked = True
            return
        graph.mark_fraud(key, proof)

    # Completeness

    def _count_known(self, authors: Iterable[bytes]) -> None:
        """Let the chains of authors count by the part of their blocks that is known."""
        for author in authors:
            latest = self.database.get_latest(author)
            if latest is not None:
                known = self.database.get_number_of_known_blocks(author)
                self.graph.set_completeness(author, min(1.0, known / latest.sequence_number))

    def frontier(self, n: int) -> list[bytes]:
        """The keys with the highest scores whose chains have gaps, or had no new block for an hour."""
        found: list[bytes] = []
        now = self.graph.clock()
        for key, _ in self.graph.top(FRONTIER_FACTOR * n + 16):
            latest = self.database.get_latest(key)
            if (latest is None or self.database.get_lowest_sequence_number_unknown(key) <= latest.sequence_number
                    or (latest.inserted_at or 0.0) < now - OLD):
                found.append(key)
                if len(found) >= n:
                    break
        return found

    # What is kept in the database

    def persist(self) -> None:
        """Take over what was kept in the database, and keep what is taken up from now on.

        If other extractors or another half-life were in use then, all blocks are to be taken up again. If blocks were
        taken up before this, other than those that are kept, nothing is kept.
        """
        graph = self.graph
        try:
            store = EdgeStore(self.database)
        except UnusableTablesError as e:
            logger.warning("Nothing of the trust graph is kept: %s. They are left as they are, and all blocks are "
                           "taken up again at each start", e)
            return
        damage = store.damage()
        if damage:
            logger.warning("What was kept of the trust graph is damaged: %s. All blocks are taken up again", damage)
        cursor = {} if damage else store.cursor()
        if self.place:
            if (cursor.get("made_by"), cursor.get("place")) == (self._made_by(), self.place):
                self.store, self._reference = store, float(cursor["t_ref"])
                store.set_cursor({"owner": self._name})
                self.database.commit()
            return
        with self.database:
            if cursor.get("made_by") != self._made_by():
                if graph.half_life is None or cursor.get("half_life") != graph.half_life:
                    self._rescale_observations(store, cursor)
                store.start_anew()
                cursor = {"t_ref": graph.clock()}
            store.set_cursor({"version": VERSION, "made_by": self._made_by(), "t_ref": cursor["t_ref"],
                              "half_life": graph.half_life, "owner": self._name})
            self.database.commit()
        cursor = store.cursor()  # another program may have saved something until it was not the owner any more
        self._reference = float(cursor["t_ref"])
        self.place = min(cursor.get("place", 0), self.database.get_last_place())  # blocks may have been removed
        self._saves = int(cursor.get("saves", 0))
        self.heights.ranges.clear()
        for author, first, last in store.heights():
            self.heights.ranges.setdefault(author, []).append((first, last))
        self._read_frauds()
        for key in store.vetoes():
            if key != graph.root:
                graph.block(key)
        for table in (EDGES, OBSERVATIONS):
            for edge in store.edges(table):
                if table == EDGES or edge[0] == graph.root:
                    graph.load(edge, self._reference)
        graph.redraw()
        graph.on_flushed(1)
        if self.completeness:
            self._count_known(self.heights.ranges)
        self.store = store

    def _rescale_observations(self, store: EdgeStore, cursor: dict[str, Any]) -> None:
        """Make private evidence as of now, by the half-life that it was kept with."""
        half_life = cursor.get("half_life")
        if half_life:
            age = self.graph.clock() - float(cursor["t_ref"])
            store.scale(OBSERVATIONS, 2.0 ** -max(-MAX_EXPONENT, min(age / half_life, MAX_EXPONENT)))

    def _made_by(self) -> str:
        """What the kept edges depend on."""
        rules = [[block_type.hex(), getattr(extractor, "version", 1), bool(getattr(extractor, "requires_pair", False)),
                  getattr(extractor, "max_event", MAX_EVENT)]
                 for block_type, extractor in sorted(self.extractors.items())]
        return json.dumps([rules, self.graph.half_life])

    def _keep(self, event: TrustEvent) -> None:
        """Note an event for :meth:`save`."""
        if event.source in self._gone or event.target in self._gone:
            self.save()
        key = event.source, event.target, event.kind
        weight, events, last_time = self._deltas.get(key, (0.0, 0, None))
        time = event.timestamp
        newest = time if last_time is None else last_time if time is None else max(time, last_time)
        self._deltas[key] = weight + event.weight * self._growth(time), events + 1, newest

    def _growth(self, time: int | None) -> float:
        """By what an event of a time is multiplied to be comparable with those of the time of reference."""
        half_life = self.graph.half_life
        if half_life is None:
            return 1.0
        moment = self.graph.clock() if time is None else time / 1000
        if (moment - self._reference) / half_life > MAX_EXPONENT and self.store is not None and self._is_owner:
            self.save()
            factor = 2.0 ** -min((moment - self._reference) / half_life, 2 * MAX_EXPONENT)
            with self.database:
                for table in (EDGES, OBSERVATIONS):
                    self.store.scale(table, factor)
                self.store.set_cursor({"t_ref": moment})
                self.database.commit()
            self._reference = moment
        return float(2.0 ** ((moment - self._reference) / half_life))

    def save(self) -> None:
        """Commit what was taken up, together with how far that is.

        If that fails, it stays in memory, for the next time.
        """
        store = self.store
        if store is None:
            return
        if not self._is_owner:
            self._deltas, self._touched, self._gone = {}, {}, {}
            return
        unsaved = self._deltas, self._touched, self._gone
        self._deltas, self._touched, self._gone = {}, {}, {}
        self._saves += 1
        cursor = {"place": self.place, "saves": self._saves}
        try:
            with self.database:
                with store.all_or_nothing():
                    store.set_cursor(cursor)
                    if not store.has({"owner": self._name}):
                        raise NotTheOwnerError
                    self._write(store, *unsaved)
                self.database.commit()
        except NotTheOwnerError:
            self.database.commit()
            self._is_owner = False
            logger.warning("Another program keeps the trust graph of this database now: what this one takes up of "
                           "blocks is not kept")
        except BaseException:
            if not store.has(cursor):  # otherwise the next commit makes it permanent
                self._deltas, self._touched, self._gone = unsaved
            raise

    def _write(self, store: EdgeStore, deltas: Mapping[tuple[bytes, bytes, str], tuple[float, int, int | None]],
               touched: Mapping[bytes, dict[int, int | None]], gone: Mapping[bytes, bool]) -> None:
        store.add(EDGES, ((*key, *values) for key, values in deltas.items()))
        for author, changed in touched.items():
            store.change_heights(author, changed)
        for for_good in (False, True):
            store.isolate([key for key, good in gone.items() if good == for_good], for_good)

    # As a keeper of the graph

    def together(self) -> AbstractContextManager[object]:
        """Commit what changes within this context at its end."""
        return self.database

    def observed(self, target: bytes, weight: float, kind: str) -> None:
        """Keep private evidence."""
        event = TrustEvent(self.graph.root, target, float(weight), None, kind)
        if self.store is not None and self.graph.table.accepts(event):
            if target in self._gone:
                self.save()
            time = int(self.graph.clock() * 1000)
            self.store.add(OBSERVATIONS, [(*event[:2], kind, event.weight * self._growth(time), 1, None)])
            self.database.commit()

    def removed(self, source: bytes, target: bytes, kind: str | None) -> None:
        """Keep that an edge was removed."""
        if self.store is not None:
            self.save()
            self.store.remove(source, target, kind)
            self.database.commit()

    def isolated(self, key: bytes) -> None:
        """Keep that a key has no edges any more."""
        if self.store is not None:
            if self._deltas:
                self.save()
            self._gone.setdefault(key, False)

    def forgotten(self, key: bytes) -> None:
        """Forget an evicted key."""
        self.heights.forget(key)
        self._touched.pop(key, None)
        if self.store is not None:
            if self._deltas:
                self.save()
            self._gone[key] = True

    def vetoed(self, key: bytes, blocked: bool) -> None:
        """Keep a veto, or that there is none any more."""
        if self.store is not None:
            self.store.set_veto(key, blocked)
            self.database.commit()

    # The overlay

    def detach(self) -> None:
        """Keep what was taken up, and do not follow the overlay any more."""
        released, self.released = self.released, None
        if released is not None:
            released()
            try:
                self.save()
            except (sqlite3.Error, DatabaseException):
                logger.exception("The trust graph could not be saved: what was not saved is taken up again at the next "
                                 "start")
            self.store = None

    def move(self, database: BlockStore) -> None:
        """Take blocks of another database up, as long as none was taken up.

        :raises RuntimeError: if there was one.
        """
        if self.heights.ranges or self.store is not None:
            raise RuntimeError("the trust graph has taken up blocks of another database, which it cannot forget: call "
                               "detach() of the graph before, and attach a new one afterwards")
        self.database = database
        self.place, self._temporal_place, self._proofs = 0, 0, None

    def skip(self) -> None:
        """Leave the blocks alone that are stored already."""
        self.place = self.database.get_last_place()

    async def wait(self) -> None:
        """Wait until the blocks that were stored before are taken up."""
        if self.prepared is not None:
            await self.prepared
