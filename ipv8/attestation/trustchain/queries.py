"""Look-ups in a database of half blocks."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ...database import DeferredCommits
from ...limits import BoundedDict
from . import schema
from .block import LenientData, TrustChainBlock
from .dialects import SQLITE, Dialect
from .validation import ANY_COUNTERPARTY_PK, canonical_key, same_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...database import DB_TYPES

__all__ = ["BlockQueries"]

MAX_KNOWN_KEYS = 16384
"""Keys whose number in the file is remembered; the oldest is forgotten first."""

MAX_CONTIGUOUS = 4096
"""Chains for which it is remembered how far they are known without a gap; the oldest is forgotten first."""


class BlockQueries(DeferredCommits):
    """The part of a database of half blocks that changes nothing.

    Statements have ``?`` for values that are bound by position, ``:name`` for those that are bound by name, and only
    what SQLite and PostgreSQL both understand. Text is written as ``bytes`` into binary columns, and comes back so.

    Blocks are made by the class that ``block_types`` has for their type.
    """

    _SELECT: ClassVar[str] = schema.SELECT
    _NEIGHBOURS: ClassVar[str] = schema.NEIGHBOURS

    #: How this database names its types, for those who make tables in it.
    dialect: ClassVar[Dialect] = SQLITE

    def __init__(self) -> None:
        self.block_types: dict[bytes, type[TrustChainBlock]] = {}
        self._key_ids: BoundedDict[bytes, int] = BoundedDict(MAX_KNOWN_KEYS)
        self._contiguous: BoundedDict[int, int] = BoundedDict(MAX_CONTIGUOUS)

    # What a database does

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether the database is open. Otherwise look-ups find nothing, and changes are ignored."""

    @abstractmethod
    def _select(self, statement: str, bindings: Sequence[DB_TYPES] | dict[str, DB_TYPES] = ()) -> list[Any]:
        """The rows of a statement, none if the database is closed."""

    @abstractmethod
    def execute(self, statement: str, bindings: Sequence[DB_TYPES] | dict[str, DB_TYPES] = (),
                get_lastrowid: bool = False, fetch_all: bool = True) -> Any:
        """Run one statement; a change opens a transaction."""

    @abstractmethod
    def executemany(self, statement: str, sequence: Iterable[Sequence[DB_TYPES] | dict[str, DB_TYPES]],
                    fetch_all: bool = True) -> Any:
        """Run one statement for each bindings of ``sequence``."""

    @abstractmethod
    def stream(self, statement: str, bindings: Sequence[DB_TYPES] | dict[str, DB_TYPES] = ()) -> Any:
        """Run one query, and fetch its rows while they are iterated over."""

    # Rows and blocks

    def _id(self, public_key: bytes) -> int | None:
        """The number of a key in the file, ``None`` if it is not there."""
        number = self._key_ids.get(public_key)
        if number is None:
            key = canonical_key(public_key)
            keys = (public_key,) if key == public_key else (public_key, key)
            for spelling in keys:
                rows = self._select("SELECT id FROM trustchain_keys WHERE key = ?", (spelling,))
                if rows:
                    number = self._key_ids[public_key] = rows[0][0]
                    break
        return number

    def get_block_class(self, block_type: bytes) -> type[TrustChainBlock]:
        """The class of blocks of this type."""
        return self.block_types.get(block_type, TrustChainBlock)

    def _blocks(self, rest: str, *bindings: DB_TYPES) -> list[TrustChainBlock]:
        """The blocks that a condition, an order and a limit choose; ``b`` is the table of blocks."""
        return [self.get_block_class(row[0])(LenientData(row))
                for row in self._select(self._SELECT + rest, bindings)]

    def _block(self, rest: str, *bindings: DB_TYPES) -> TrustChainBlock | None:
        rows = self._select(self._SELECT + rest, bindings)
        return self.get_block_class(rows[0][0])(LenientData(rows[0])) if rows else None

    # One block

    def get(self, public_key: bytes, sequence_number: int) -> TrustChainBlock | None:
        """The block of an author at a height."""
        return self._block("WHERE b.author = ? AND b.sequence_number = ?", self._id(public_key), sequence_number)

    def contains(self, block: TrustChainBlock) -> bool:
        """Whether there is a block of this author at this height."""
        return bool(self._select("SELECT 1 FROM trustchain_blocks WHERE author = ? AND sequence_number = ?",
                                 (self._id(block.public_key), block.sequence_number)))

    def get_block_with_hash(self, block_hash: bytes) -> TrustChainBlock | None:
        """The block with this hash."""
        return self._block("WHERE substr(b.block_hash, 1, 8) = ? AND b.block_hash = ?", block_hash[:8], block_hash)

    def get_latest(self, public_key: bytes, block_type: bytes | None = None) -> TrustChainBlock | None:
        """The highest block of an author, of this type if one is given."""
        wanted, types = ("", ()) if block_type is None else ("AND b.type = ? ", (block_type,))
        return self._block(f"WHERE b.author = ? {wanted}ORDER BY b.sequence_number DESC LIMIT 1",
                           self._id(public_key), *types)

    def get_block_after(self, block: TrustChainBlock, block_type: bytes | None = None) -> TrustChainBlock | None:
        """The nearest block above in the chain of the author, of this type if one is given."""
        wanted, types = ("", ()) if block_type is None else ("AND b.type = ? ", (block_type,))
        return self._block(f"WHERE b.author = ? AND b.sequence_number > ? {wanted}ORDER BY b.sequence_number LIMIT 1",
                           self._id(block.public_key), block.sequence_number, *types)

    def get_block_before(self, block: TrustChainBlock, block_type: bytes | None = None) -> TrustChainBlock | None:
        """The nearest block below in the chain of the author, of this type if one is given."""
        wanted, types = ("", ()) if block_type is None else ("AND b.type = ? ", (block_type,))
        return self._block(f"WHERE b.author = ? AND b.sequence_number < ? {wanted}"
                           "ORDER BY b.sequence_number DESC LIMIT 1",
                           self._id(block.public_key), block.sequence_number, *types)

    def get_neighbourhood(self, block: TrustChainBlock) -> tuple[
            TrustChainBlock | None, TrustChainBlock | None, TrustChainBlock | None]:
        """The nearest block below, the one at the height of ``block``, and the nearest above."""
        author, height = self._id(block.public_key), block.sequence_number
        if author is None:
            return None, None, None
        before = known = after = None
        for row in self._select(self._NEIGHBOURS, (block.public_key, author, height - 1)):
            neighbour = self.get_block_class(row[0])(LenientData(row[:10]))
            neighbour.hash = row[10]
            if neighbour.sequence_number < height:
                before = neighbour
            elif neighbour.sequence_number == height:
                known = neighbour
            elif after is None:
                after = neighbour
        if before is None and height > 1:
            before = self.get_block_before(block)
        return before, known, after

    # Partners

    def get_linked(self, block: TrustChainBlock) -> TrustChainBlock | None:
        """The partner of a block.

        That is the block which it points at, if that one is for its author or for anybody, and otherwise the first
        stored of those which point at it and whose author it is for.
        """
        target = self._target(block)
        return target if target is not None else next(iter(self._answers(block, "LIMIT 1")), None)

    def get_all_linked(self, block: TrustChainBlock) -> list[TrustChainBlock]:
        """All partners of a block: a source block may have many."""
        target = self._target(block)
        return self._answers(block, "") if target is None else [target, *self._answers(block, "")]

    def _target(self, block: TrustChainBlock) -> TrustChainBlock | None:
        if block.link_sequence_number <= 0:
            return None
        target = self.get(block.link_public_key, block.link_sequence_number)
        if target is None or target.link_public_key == ANY_COUNTERPARTY_PK:
            return target
        return target if same_key(target.link_public_key, block.public_key) else None

    def _answers(self, block: TrustChainBlock, limit: str) -> list[TrustChainBlock]:
        author = self._id(block.public_key)
        if author is None or block.sequence_number <= 0:
            return []
        rest = "WHERE b.counterparty = ? AND b.link_sequence_number = ? "
        if block.link_public_key == ANY_COUNTERPARTY_PK:
            return self._blocks(f"{rest}ORDER BY b.place {limit}", author, block.sequence_number)
        return self._blocks(f"{rest}AND b.author = ? ORDER BY b.place {limit}", author, block.sequence_number,
                            self._id(block.link_public_key))

    def count_links(self, source: TrustChainBlock, author: bytes) -> int:
        """How many blocks of an author link to a block."""
        return int(self._select("SELECT COUNT(*) FROM trustchain_blocks WHERE counterparty = ? "
                                "AND link_sequence_number = ? AND author = ?",
                                (self._id(source.public_key), source.sequence_number, self._id(author)))[0][0])

    # Many blocks

    def get_all_blocks(self) -> list[TrustChainBlock]:
        """All blocks, in the order of insertion."""
        return self._blocks("ORDER BY b.place")

    def get_stored_after(self, place: int = 0, limit: int = 1000) -> list[tuple[int, TrustChainBlock]]:
        """Blocks in the order of insertion, each with its place in it, from behind ``place`` on."""
        rows = self._select(self._SELECT.replace("SELECT ", "SELECT b.place, ", 1)
                            + "WHERE b.place > ? ORDER BY b.place LIMIT ?", (place, limit))
        return [(row[0], self.get_block_class(row[1])(LenientData(row[1:]))) for row in rows]

    def get_last_place(self) -> int:
        """The place of the block that was stored last, 0 without one."""
        rows = self._select("SELECT MAX(place) FROM trustchain_blocks")
        return int(rows[0][0] or 0) if rows else 0

    def get_number_of_known_blocks(self, public_key: bytes | None = None) -> int:
        """How many blocks there are, of this author if one is given."""
        if public_key is None:
            rows = self._select("SELECT COUNT(*) FROM trustchain_blocks")
        else:
            rows = self._select("SELECT COUNT(*) FROM trustchain_blocks WHERE author = ?", (self._id(public_key),))
        return rows[0][0] if rows else 0

    def get_blocks_with_type(self, block_type: bytes, public_key: bytes | None = None) -> list[TrustChainBlock]:
        """The blocks of a type, of this author if one is given."""
        if public_key is None:
            return self._blocks("WHERE b.type = ? ORDER BY b.place", block_type)
        return self._blocks("WHERE b.author = ? AND b.type = ? ORDER BY b.sequence_number", self._id(public_key),
                            block_type)

    def get_latest_blocks(self, public_key: bytes, limit: int = 25,
                          block_types: Iterable[bytes] | None = None) -> list[TrustChainBlock]:
        """The highest blocks of an author, of these types if any are given, the highest first."""
        types = tuple(block_types or ())
        wanted = f"AND b.type IN ({', '.join('?' * len(types))}) " if types else ""
        return self._blocks(f"WHERE b.author = ? {wanted}ORDER BY b.sequence_number DESC LIMIT ?",
                            self._id(public_key), *types, limit)

    def get_recent_blocks(self, limit: int = 10, offset: int = 0) -> list[TrustChainBlock]:
        """The blocks with the highest timestamps, the highest first."""
        return self._blocks("ORDER BY b.block_timestamp DESC LIMIT ? OFFSET ?", limit, offset)

    def get_range(self, public_key: bytes, start: int, end: int, limit: int) -> list[TrustChainBlock]:
        """The lowest blocks of an author from height ``start`` to ``end``."""
        return self._blocks("WHERE b.author = ? AND b.sequence_number BETWEEN ? AND ? ORDER BY b.sequence_number "
                            "LIMIT ?", self._id(public_key), start, end, limit)

    def crawl(self, public_key: bytes, start_seq_num: int, end_seq_num: int,
              limit: int = 100) -> list[TrustChainBlock]:
        """At most ``limit`` blocks of a chain and as many that point at it, ordered by the height in that chain."""
        author = self._id(public_key)
        if author is None:
            return []
        start, end = max(1, start_seq_num), min(end_seq_num, (1 << 32) - 1)
        own = self.get_range(public_key, start, end, limit)
        linked = self._blocks("WHERE b.counterparty = ? AND b.link_sequence_number BETWEEN ? AND ? "
                              "ORDER BY b.link_sequence_number, b.place LIMIT ?", author, start, end, limit)
        placed = [(block.sequence_number, 0, block) for block in own]
        placed += [(block.link_sequence_number, 1, block) for block in linked]
        return [block for _, _, block in sorted(placed, key=lambda entry: entry[:2])]

    # Chains and users

    def get_lowest_sequence_number_unknown(self, public_key: bytes) -> int:
        """The lowest height of an author without a block."""
        author = self._id(public_key)
        if author is None:
            return 1
        start = self._contiguous.get(author, 0)
        if start == 0 and not self._select("SELECT 1 FROM trustchain_blocks WHERE author = ? AND sequence_number = 1",
                                           (author,)):
            return 1
        rows = self._select(
            "SELECT b.sequence_number FROM trustchain_blocks b WHERE b.author = ? AND b.sequence_number >= ? AND NOT "
            "EXISTS (SELECT 1 FROM trustchain_blocks n WHERE n.author = b.author AND "
            "n.sequence_number = b.sequence_number + 1) ORDER BY b.sequence_number LIMIT 1", (author, start))
        if not rows:
            return 1
        self._contiguous[author] = rows[0][0]
        return int(rows[0][0]) + 1

    def get_lowest_range_unknown(self, public_key: bytes) -> tuple[int, int]:
        """The lowest heights of an author without blocks, first and last; one height if there is no block above."""
        lowest = self.get_lowest_sequence_number_unknown(public_key)
        rows = self._select("SELECT MIN(sequence_number) FROM trustchain_blocks WHERE author = ? "
                            "AND sequence_number > ?", (self._id(public_key), lowest))
        above = rows[0][0] if rows else None
        return lowest, lowest if above is None else above - 1

    def get_users(self, limit: int = 100) -> list[dict[str, Any]]:
        """The authors with the longest chains: ``public_key`` in hexadecimal digits and ``blocks``, their height."""
        return self._users("SELECT k.key, MAX(b.sequence_number) AS height FROM trustchain_blocks b "
                           "JOIN trustchain_keys k ON k.id = b.author GROUP BY k.id "
                           "ORDER BY height DESC LIMIT ?", limit)

    def get_connected_users(self, public_key: bytes, limit: int = 100) -> list[dict[str, Any]]:
        """Who has blocks that link to a key, or is the counterparty of its blocks; see :meth:`get_users`."""
        number = self._id(public_key)
        return self._users(
            "SELECT k.key, COALESCE((SELECT MAX(sequence_number) FROM trustchain_blocks WHERE author = k.id), 0) "
            "AS height FROM trustchain_keys k WHERE k.id IN (SELECT author FROM trustchain_blocks WHERE "
            "counterparty = ? UNION SELECT counterparty FROM trustchain_blocks WHERE author = ?) AND k.key != ? "
            "ORDER BY height DESC LIMIT ?", number, number, ANY_COUNTERPARTY_PK, limit)

    def _users(self, statement: str, *bindings: DB_TYPES) -> list[dict[str, Any]]:
        return [{"public_key": key.hex().encode(), "blocks": height}
                for key, height in self._select(statement, bindings)]
