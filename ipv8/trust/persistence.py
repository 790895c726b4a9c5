"""What a trust graph keeps in the database of a chain, so that a restart does not read all blocks (doc/trust.md)."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any

from .. import clock
from ..database import DatabaseException
from .edges import MAX_EXPONENT
from .model import TrustEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..attestation.trustchain.dialects import Dialect
    from ..attestation.trustchain.store import BlockStore

__all__ = ["EdgeStore", "NotTheOwnerError", "UnusableTablesError", "own_evidence"]

logger = logging.getLogger("TrustGraph")

EDGES, OBSERVATIONS = "trust_edges", "trust_observations"

VERSION = 1
"""The version of the tables. Those of a newer release are not touched."""

Edge = tuple[bytes, bytes, str, float, int, "int | None"]
"""Source, target, kind, weight, number of events, newest time in milliseconds."""


LEAST_WEIGHT = 1e-300
"""Weights are not scaled below this, so that an edge does not end because of its age."""


def _tables(dialect: Dialect) -> tuple[str, ...]:
    edges = (f"(src {dialect.integer} NOT NULL, dst {dialect.integer} NOT NULL, kind TEXT NOT NULL, "
             f"weight {dialect.real} NOT NULL, events {dialect.integer} NOT NULL, last_time {dialect.integer}, "
             f"PRIMARY KEY(src, dst, kind)){dialect.ordered}")
    return (
        f"CREATE TABLE IF NOT EXISTS trust_keys(id {dialect.serial}, key {dialect.binary} NOT NULL UNIQUE)",
        f"CREATE TABLE IF NOT EXISTS trust_edges{edges}",
        "CREATE INDEX IF NOT EXISTS trust_into ON trust_edges(dst)",
        f"CREATE TABLE IF NOT EXISTS trust_observations{edges}",
        f"CREATE TABLE IF NOT EXISTS trust_vetoes(key {dialect.binary} PRIMARY KEY){dialect.ordered}",
        (f"CREATE TABLE IF NOT EXISTS trust_folded(author {dialect.integer} NOT NULL, "
         f"first {dialect.integer} NOT NULL, last {dialect.integer} NOT NULL, PRIMARY KEY(author, first))"
         f"{dialect.ordered}"),
    )


_CURSOR = "CREATE TABLE IF NOT EXISTS trust_cursor(name TEXT PRIMARY KEY, value TEXT)"

_BAD_EDGE = "weight IS NULL OR NOT (weight > 0 AND weight <= 1e300) OR events < 0"
"""What no edge has in any database."""

_BAD_TYPE = ("typeof(src) != 'integer' OR typeof(dst) != 'integer' OR typeof(kind) != 'text' "
             "OR typeof(weight) NOT IN ('real', 'integer') OR typeof(events) != 'integer' "
             "OR typeof(last_time) NOT IN ('integer', 'null')")
"""What no edge has in SQLite, whose columns have no fixed types."""


_TOO_FEW_KEYS = "WHERE (SELECT COUNT(*) FROM trust_keys) < (SELECT COUNT(DISTINCT src) FROM trust_edges)"


class UnusableTablesError(Exception):
    """The tables of a trust graph are those of a newer release, or of something else."""


class NotTheOwnerError(Exception):
    """Another program keeps the edges in the database."""


def _upsert(table: str) -> str:
    return (f"INSERT INTO {table}(src, dst, kind, weight, events, last_time) "  # noqa: S608 - names are constants
            "SELECT s.id, d.id, CAST(? AS TEXT), ?, ?, CAST(? AS BIGINT) FROM trust_keys s, trust_keys d "
            "WHERE s.key = ? AND d.key = ? "
            f"ON CONFLICT(src, dst, kind) DO UPDATE SET weight = {table}.weight + excluded.weight, "
            f"events = {table}.events + excluded.events, "
            f"last_time = CASE WHEN {table}.last_time IS NULL OR excluded.last_time > {table}.last_time "
            f"THEN excluded.last_time ELSE {table}.last_time END")


def _text(value: str | bytes) -> str:
    """What a column of text has; SQLite gives it as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class EdgeStore:
    """Tables with edges, private evidence, vetoes and how far blocks were taken up.

    Nothing is committed by the methods, so that what belongs together is committed together.

    :raises UnusableTablesError: if a newer release made the tables, or something else has the same names.
    """

    def __init__(self, database: BlockStore) -> None:
        self.database = database
        database.commit()  # so that nothing is lost with the statements below
        try:
            self._prepare()
        except (sqlite3.OperationalError, DatabaseException) as e:
            if isinstance(e, sqlite3.OperationalError) and "no such" not in str(e):  # locked, or the disk is full
                raise
            raise UnusableTablesError(f"the tables of the trust graph have another form: {e}") from e

    def _prepare(self) -> None:
        """Make the tables that do not exist, and look whether the others are what they should be."""
        self.database.execute(_CURSOR + self.database.dialect.ordered)
        version = self.cursor().get("version", VERSION)
        if version != VERSION:
            raise UnusableTablesError(f"a newer release made the tables of the trust graph: their version is "
                                      f"{version!r:.50}, and this release knows {VERSION}")
        for statement in _tables(self.database.dialect):
            self.database.execute(statement)
        for table, columns in (("trust_keys", "id, key"), ("trust_vetoes", "key"),
                               ("trust_folded", "author, first, last"),
                               *((table, "src, dst, kind, weight, events, last_time")
                                 for table in (EDGES, OBSERVATIONS))):
            self._rows(f"SELECT {columns} FROM {table} LIMIT 1")  # noqa: S608 - names are constants

    def _rows(self, statement: str, *bindings: Any) -> list[Any]:
        return list(self.database.execute(statement, bindings) or ())

    # The state of the work

    def cursor(self) -> dict[str, Any]:
        """The named values, without those that are damaged."""
        values = {}
        for name, value in self._rows("SELECT name, value FROM trust_cursor"):
            with suppress(ValueError, TypeError):
                values[_text(name)] = json.loads(value)
        return values

    def damage(self) -> str:
        """What is wrong with the edges that came out of blocks, empty if nothing is.

        Private evidence and keys that are damaged are removed, as nothing else is known of them.
        """
        cursor, typed = self.cursor(), self.database.dialect.typed
        if cursor and not (isinstance(cursor.get("made_by"), str) and type(cursor.get("t_ref")) in {int, float}
                           and type(cursor.get("place", 0)) is int):
            return "it is not known how far blocks were taken up"
        bad = _BAD_EDGE if typed else f"{_BAD_EDGE} OR {_BAD_TYPE}"
        self.database.execute(f"DELETE FROM {OBSERVATIONS} WHERE {bad}")  # noqa: S608 - as above
        types = "" if typed else " OR typeof(first) != 'integer' OR typeof(last) != 'integer'"
        if not typed and self._rows("SELECT 1 FROM trust_keys WHERE typeof(key) != 'blob' LIMIT 1"):
            self.database.execute("DELETE FROM trust_keys WHERE typeof(key) != 'blob'")
            return "a key is damaged"
        checks = (
            ("an edge is damaged", f"FROM {EDGES} WHERE {bad} LIMIT 1"),
            ("a range of heights is damaged", f"FROM trust_folded WHERE first > last{types} LIMIT 1"),
            ("keys are missing", _TOO_FEW_KEYS),
        )
        return next((text for text, rest in checks if self._rows(f"SELECT 1 {rest}")), "")

    def set_cursor(self, values: dict[str, Any]) -> None:
        """Set named values."""
        self.database.executemany("INSERT INTO trust_cursor(name, value) VALUES(?, ?) "
                                  "ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                                  [(name, json.dumps(value)) for name, value in values.items()])

    def has(self, values: dict[str, Any]) -> bool:
        """Whether named values are these, as far as this connection knows."""
        try:
            return values.items() <= self.cursor().items()
        except (sqlite3.Error, DatabaseException):
            return False

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo all changes that are made within this context if one of them fails."""
        self.database.execute("SAVEPOINT trust")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error, DatabaseException):  # if all that was not committed is undone already
                self.database.execute("ROLLBACK TO trust")
            raise
        self.database.execute("RELEASE trust")

    def start_anew(self) -> None:
        """Forget what came out of blocks."""
        for table in ("trust_edges", "trust_folded", "trust_cursor"):
            self.database.execute(f"DELETE FROM {table}")  # noqa: S608 - as above

    # Edges

    def edges(self, table: str) -> Iterator[Edge]:
        """All edges of a table."""
        for source, target, kind, *rest in self.database.stream(
                f"SELECT s.key, d.key, e.kind, e.weight, e.events, e.last_time FROM {table} e "  # noqa: S608 - as above
                "JOIN trust_keys s ON s.id = e.src JOIN trust_keys d ON d.id = e.dst") or ():
            yield (source, target, _text(kind), *rest)

    def add(self, table: str, edges: Iterable[Edge]) -> None:
        """Add to edges of a table."""
        some = list(edges)
        keys = dict.fromkeys(key for edge in some for key in edge[:2])
        self.database.executemany("INSERT INTO trust_keys(key) VALUES(?) ON CONFLICT DO NOTHING",
                                  ((key,) for key in keys))
        self.database.executemany(_upsert(table), ((*edge[2:], *edge[:2]) for edge in some))

    def scale(self, table: str, factor: float) -> None:
        """Multiply all weights of a table."""
        self.database.execute(
            f"UPDATE {table} SET weight = CASE WHEN weight > ? THEN weight * ? ELSE ? END",  # noqa: S608 - as above
            (LEAST_WEIGHT / factor, factor, LEAST_WEIGHT))

    def remove(self, source: bytes, target: bytes, kind: str | None) -> None:
        """Remove an edge, or one kind of it."""
        for table in (EDGES, OBSERVATIONS):
            self.database.execute(
                f"DELETE FROM {table} WHERE src = (SELECT id FROM trust_keys WHERE key = ?) "  # noqa: S608 - as above
                "AND dst = (SELECT id FROM trust_keys WHERE key = ?) AND (CAST(? AS TEXT) IS NULL OR kind = ?)",
                (source, target, kind, kind))

    def isolate(self, keys: Iterable[bytes], for_good: bool) -> None:
        """Remove all edges from and to keys, and the keys themselves if it is ``for_good``."""
        for key in keys:
            for (number,) in self._rows("SELECT id FROM trust_keys WHERE key = ?", key):
                for table in (EDGES, OBSERVATIONS):
                    for column in ("src", "dst"):
                        self.database.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608 - as above
                if for_good:
                    self.database.execute("DELETE FROM trust_folded WHERE author = ?", (number,))
                    self.database.execute("DELETE FROM trust_keys WHERE id = ?", (number,))

    # Vetoes

    def vetoes(self) -> list[bytes]:
        """The blocked keys."""
        return [row[0] for row in self._rows("SELECT key FROM trust_vetoes")]

    def set_veto(self, key: bytes, blocked: bool) -> None:
        """Keep or forget that a key is blocked."""
        self.database.execute("INSERT INTO trust_vetoes(key) VALUES(?) ON CONFLICT DO NOTHING" if blocked
                              else "DELETE FROM trust_vetoes WHERE key = ?", (key,))

    # Heights

    def heights(self) -> Iterator[tuple[bytes, int, int]]:
        """The ranges of heights that were taken up, by author, in order."""
        yield from self._rows("SELECT k.key, f.first, f.last FROM trust_folded f JOIN trust_keys k ON k.id = f.author "
                              "ORDER BY f.author, f.first")

    def change_heights(self, author: bytes, changed: dict[int, int | None]) -> None:
        """Change ranges of an author: the last height by the first one, ``None`` for a range that is gone."""
        self.database.execute("INSERT INTO trust_keys(key) VALUES(?) ON CONFLICT DO NOTHING", (author,))
        self.database.executemany("DELETE FROM trust_folded WHERE author = (SELECT id FROM trust_keys WHERE key = ?) "
                                  "AND first = ?", [(author, first) for first in changed])
        self.database.executemany("INSERT INTO trust_folded(author, first, last) "
                                  "SELECT id, ?, ? FROM trust_keys WHERE key = ?",
                                  [(first, last, author) for first, last in changed.items() if last is not None])


def own_evidence(database: BlockStore, root: bytes) -> list[TrustEvent]:
    """The private evidence that a node with the key ``root`` keeps in a database, as of now."""
    try:
        store = EdgeStore(database)
    except UnusableTablesError as e:
        logger.warning("What the node saw itself is not known: %s", e)
        return []
    database.commit()  # tables that were made just now
    cursor = store.cursor()
    half_life, reference = cursor.get("half_life"), cursor.get("t_ref")
    factor = 1.0
    if isinstance(half_life, (int, float)) and half_life > 0 and isinstance(reference, (int, float)):
        factor = 2.0 ** max(-MAX_EXPONENT, min((reference - clock.time()) / half_life, MAX_EXPONENT))
    return [TrustEvent(source, target, weight * factor, None, kind)
            for source, target, kind, weight, _, _ in store.edges(OBSERVATIONS)
            if source == root and isinstance(weight, float) and 0.0 < weight < inf]
