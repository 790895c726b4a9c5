"""Adding and removing half blocks, in any database that understands the SQL of this module."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from ... import clock
from . import schema
from .block import LenientData, TrustChainBlock
from .blockcache import BlockCache
from .queries import BlockQueries
from .validation import canonical_key, same_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .writer import BackgroundWriter

    FraudListener = Callable[[bytes, TrustChainBlock, TrustChainBlock], object]

__all__ = ["BlockStore"]

MAX_PROOFS = 20_000
"""Cheaters of which a proof is kept; the oldest proof of somebody without a transaction with us is dropped first."""

ROWS_TOGETHER = 1024
"""Rows that are read together at least when blocks are looked for that may be removed."""

KEPT_SHARE = 0.1
"""The part of the database that is left to strangers when blocks are to go."""


class BlockStore(BlockQueries):
    """Half blocks by author and height.

    Blocks are made by the class that ``block_types`` has for their type. With ``batched`` set, a block that was added
    is committed by a thread within 20 ms, and by :meth:`flush` at once; without it by :meth:`add_block` itself.

    :param my_pk: the public key of the chain that is our own, if any.
    """

    _INSERT: ClassVar[str] = schema.INSERT

    def __init__(self, my_pk: bytes | None = None) -> None:
        super().__init__()
        self.my_blocks_cache: BlockCache | None = None
        #: Called with the public key and both blocks when a double-sign of an author is stored for the first time.
        self.fraud_listeners: list[FraudListener] = []
        self.batched = False
        #: Blocks that were added since the database was opened.
        self.additions = 0
        self._writer: BackgroundWriter | None = None
        if my_pk is not None:
            self.my_pk = my_pk
            self.my_blocks_cache = BlockCache(self, my_pk)

    @abstractmethod
    def close(self, commit: bool = True) -> bool:
        """Close the database; what is not committed yet is committed first, unless ``commit`` is false."""

    def flush(self) -> None:
        """Commit all blocks that were added, so that no end of this process loses them."""
        self.commit()

    # Adding and removing

    def add_block(self, block: TrustChainBlock) -> None:
        """Add a block, and commit unless ``batched``.

        :raises sqlite3.IntegrityError: if there is a block of this author at this height.
        """
        values = block.pack_db_insert()
        with self._lock:
            if not self.is_open:
                return
            try:
                self._insert(values)
                self.additions += 1
            finally:  # also a statement that fails begins a transaction, which keeps other programs out
                if not self._is_to_wait():
                    self.commit()
                elif self._writer is not None:
                    self._writer.changed()
        cache = self.my_blocks_cache
        if cache is not None and (same_key(block.public_key, cache.public_key)
                                  or same_key(block.link_public_key, cache.public_key)):
            cache.add(block)

    def _is_to_wait(self) -> bool:
        """Whether a block waits for others that are committed together with it."""
        return self.batched

    def _insert(self, values: tuple[Any, ...]) -> list[Any]:
        (block_type, transaction, public_key, sequence_number, link_public_key, link_sequence_number, previous_hash,
         signature, timestamp, block_hash) = values
        return self._select(self._INSERT, (
            self._id_for(public_key), sequence_number, self._id_for(link_public_key), link_sequence_number, block_type,
            transaction, previous_hash, signature, timestamp, int(clock.time()), block_hash))

    def _id_for(self, public_key: bytes) -> int:
        number = self._id(public_key)
        if number is None:
            number = self._key_ids[public_key] = self._insert_key(canonical_key(public_key))
        return number

    @abstractmethod
    def _insert_key(self, key: bytes) -> int:
        """Add a key, and return its number."""

    def add_signed_block(self, block: TrustChainBlock) -> None:
        """Add a block of our own together with the record that it was signed, and commit before it is sent.

        :raises sqlite3.IntegrityError: if there is a block of this author at this height.
        """
        with self.signing(), self:
            self.add_block(block)
            self.execute("INSERT INTO trustchain_heads(author, sequence_number, block_hash) VALUES(?,?,?) "
                         "ON CONFLICT(author) DO UPDATE SET sequence_number = excluded.sequence_number, "
                         "block_hash = excluded.block_hash",
                         (self._id_for(block.public_key), block.sequence_number, block.hash))
            self.commit()

    @contextmanager
    def signing(self) -> Iterator[None]:
        """A context in which our own chain is read, and the next block is made of that and added.

        No other program that uses the database adds one meanwhile: otherwise both would sign the same height.
        """
        with self._lock:
            yield
        if self._writer is not None:
            self._writer.sync()

    def get_head(self, public_key: bytes) -> tuple[int, bytes] | None:
        """Height and hash of the highest block that was signed here with this key, even if it is lost."""
        rows = self._select("SELECT sequence_number, block_hash FROM trustchain_heads WHERE author = ?",
                            (self._id(public_key),))
        return None if not rows else (rows[0][0], rows[0][1])

    def remove_block(self, block: TrustChainBlock) -> None:
        """Remove a block, and with the tip of our own chain the record that it was signed.

        The height can be signed again then. To do so after others saw the block is a double-sign.
        """
        with self.signing():
            self.discard_block(block)
            number, latest = self._id(block.public_key), self.get_latest(block.public_key)
            head = self.get_head(block.public_key)
            if head is not None and head[0] == block.sequence_number:
                if latest is None:
                    self.execute("DELETE FROM trustchain_heads WHERE author = ?", (number,))
                else:
                    self.execute("UPDATE trustchain_heads SET sequence_number = ?, block_hash = ? WHERE author = ?",
                                 (latest.sequence_number, latest.hash, number))
                self.commit()

    def discard_block(self, block: TrustChainBlock) -> None:
        """Remove a block, but not the record that it was signed: its height is not signed again."""
        (block_type, transaction, public_key, sequence_number, link_public_key, link_sequence_number, previous_hash,
         signature, timestamp, _) = block.pack_db_insert()
        self.execute(
            "DELETE FROM trustchain_blocks WHERE author = ? AND sequence_number = ? AND counterparty = ? "
            "AND link_sequence_number = ? AND type = ? AND tx = ? AND previous_hash = ? AND signature = ? "
            "AND block_timestamp = ?",
            (self._id(public_key), sequence_number, self._id(link_public_key), link_sequence_number, block_type,
             transaction, previous_hash, signature, timestamp))
        self.commit()
        self._forget_removed()

    def _forget_removed(self) -> None:
        self._contiguous.clear()
        if self.my_blocks_cache is not None:
            self.my_blocks_cache.clear()

    def remove_old_blocks(self, num_blocks_to_remove: int, my_pub_key: bytes) -> None:
        """Remove the blocks with the lowest timestamps that our key has no part in."""
        me = self._id(my_pub_key) or 0
        self._remove_places([row[0] for row in self._select(
            "SELECT place FROM trustchain_blocks WHERE author != ? AND counterparty != ? "
            "ORDER BY block_timestamp LIMIT ?", (me, me, num_blocks_to_remove))])

    def _remove_places(self, places: list[int]) -> None:
        """Remove blocks, and the keys that no other block has."""
        with self:
            self._delete_keys(self._delete_places(places))
            self.commit()
        self._key_ids.clear()
        self._forget_removed()

    def _delete_places(self, places: list[int]) -> set[int]:
        """Remove blocks, and return the numbers of the keys that they had."""
        keys: set[int] = set()
        for place in places:
            keys.update(*self._select("SELECT author, counterparty FROM trustchain_blocks WHERE place = ?", (place,)))
        self.executemany("DELETE FROM trustchain_blocks WHERE place = ?", ((place,) for place in places))
        return keys

    def _delete_keys(self, keys: set[int]) -> None:
        """Remove those keys that nothing refers to."""
        self.executemany(f"{schema.DROP_KEYS} AND id = ?", ((key,) for key in keys))

    def evict(self, count: int, my_pub_key: bytes,
              trust: Callable[[bytes], float] | Mapping[bytes, float] | None = None) -> int:
        """Remove ``count`` blocks to make room, and return how many there were to be removed.

        Blocks that our key has a part in, and those that our own blocks link to, stay; proofs of fraud are kept in
        another table. Authors that have no transaction with us go first, those with the lowest trust before others,
        and the block that was stored first before later ones. What such strangers have is not made less than a tenth
        of the database as long as others have blocks to be removed.

        :param trust: the scores of public keys. A mapping needs only those that are not 0, and is much faster than a
            function where there are many authors.
        """
        me = self._id(my_pub_key) or 0
        total = self.get_number_of_known_blocks()
        strangers = total - int(self._select(schema.COUNT_NEAR, {"me": me})[0][0])
        scores = {} if trust is None else self._scores(trust)
        excess = min(count, strangers - int((total - count) * KEPT_SHARE))
        going = self._oldest(schema.OF_STRANGERS, me, excess, scores)
        others = self._oldest(schema.OF_OTHERS, me, count - len(going), scores)
        if len(going) + len(others) < count:  # nobody else has anything left
            going = self._oldest(schema.OF_STRANGERS, me, count - len(others), scores)
        going += others
        self._remove_places(going)
        return len(going)

    def _scores(self, trust: Callable[[bytes], float] | Mapping[bytes, float]) -> dict[int, float]:
        """The scores of authors that are not 0, by the number of the author."""
        if callable(trust):
            authors = self._select("SELECT id, key FROM trustchain_keys WHERE EXISTS "
                                   "(SELECT 1 FROM trustchain_blocks WHERE author = id)")
            scores = {author: trust(key) for author, key in authors}
        else:
            scores = {number: score for key, score in trust.items() for (number,) in
                      self._select("SELECT id FROM trustchain_keys WHERE key = ?", (canonical_key(key),))}
        return {author: score for author, score in scores.items() if score}

    def _oldest(self, condition: str, me: int, limit: int, scores: Mapping[int, float]) -> list[int]:
        """The places of the oldest blocks that may be removed, of the authors with the lowest scores first."""
        ranked = sorted(scores, key=lambda author: (scores[author], author))
        places: list[int] = []
        for author in (*(one for one in ranked if scores[one] < 0.0), None,
                       *(one for one in ranked if scores[one] > 0.0)):
            missing = limit - len(places)
            if missing <= 0:
                break
            if author is None:
                places += self._oldest_of_others(condition, me, missing, scores)
            else:
                places += [row[0] for row in self._select(
                    f"{schema.FREE} AND b.author = :author AND {condition} ORDER BY b.place LIMIT :limit",
                    {"me": me, "author": author, "limit": missing})]
        return places

    def _oldest_of_others(self, condition: str, me: int, limit: int, scores: Mapping[int, float]) -> list[int]:
        """The places of the oldest blocks of authors without a score."""
        places: list[int] = []
        behind, page = 0, max(limit, ROWS_TOGETHER)
        while len(places) < limit:
            rows = self._select(f"{schema.FREE} AND b.place > :behind AND {condition} ORDER BY b.place LIMIT :page",
                                {"me": me, "behind": behind, "page": page})
            places += [place for place, author in rows if author not in scores]
            if len(rows) < page:
                break
            behind = rows[-1][0]
        return places[:limit]

    def crawl(self, public_key: bytes, start_seq_num: int, end_seq_num: int,
              limit: int = 100) -> list[TrustChainBlock]:
        """As for any database of blocks, but blocks of our own are kept in memory."""
        if self.my_blocks_cache is not None and same_key(public_key, self.my_blocks_cache.public_key):
            return self.my_blocks_cache.get_range(start_seq_num, end_seq_num, limit)
        return super().crawl(public_key, start_seq_num, end_seq_num, limit)

    # Fraud

    def add_double_spend(self, block1: TrustChainBlock, block2: TrustChainBlock) -> None:
        """Keep two blocks that an author signed for one height, as a proof; the first one of each author is kept."""
        if self.did_double_spend(block1.public_key):
            return
        marks = ",".join("?" * 10)
        columns = schema.COLUMNS.replace(" insert_time,", "")
        self.executemany(f"INSERT INTO double_spends({columns}) VALUES({marks}) ON CONFLICT DO NOTHING",
                         [(*values[:2], canonical_key(values[2]), *values[3:]) for values in
                          (block1.pack_db_insert(), block2.pack_db_insert())])
        self._limit_proofs()
        self.commit()
        for listener in tuple(self.fraud_listeners):
            listener(canonical_key(block1.public_key), block1, block2)

    def _limit_proofs(self) -> None:
        me = 0 if self.my_blocks_cache is None else self._id(self.my_blocks_cache.public_key) or 0
        rows = self._select("SELECT COUNT(DISTINCT public_key) FROM double_spends")
        if rows and rows[0][0] > MAX_PROOFS:
            self.execute(schema.DROP_PROOFS, {"me": me, "limit": rows[0][0] - MAX_PROOFS})

    def did_double_spend(self, public_key: bytes) -> bool:
        """Whether there is a proof that the owner of a key signed two blocks for one height."""
        return bool(self._select("SELECT 1 FROM double_spends WHERE public_key = ? LIMIT 1",
                                 (canonical_key(public_key),)))

    def get_proofs_state(self) -> object:
        """Something that is equal as long as no proof was added or removed."""
        return self._select("SELECT COUNT(*), MAX(rowid) FROM double_spends")

    def get_double_spends(self) -> list[tuple[bytes, TrustChainBlock, TrustChainBlock]]:
        """A proof for each cheater: the public key and two blocks of one height."""
        columns = schema.COLUMNS.replace(", block_hash", "")
        rows = self._select(
            f"SELECT {columns} FROM double_spends ORDER BY public_key, sequence_number, rowid")  # noqa: S608 - constants
        proofs: dict[bytes, tuple[bytes, TrustChainBlock, TrustChainBlock]] = {}
        for one, other in pairwise(rows):
            if one[2:4] == other[2:4] and one[2] not in proofs:
                make = self.get_block_class(one[0])
                proofs[one[2]] = (one[2], make(LenientData(one)), make(LenientData(other)))
        return list(proofs.values())
