"""What a trust graph keeps in the database of a chain, so that a restart does not read all blocks (doc/trust.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .. import clock
from .model import TrustEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..attestation.trustchain.dialects import Dialect
    from ..attestation.trustchain.store import BlockStore

__all__ = ["EdgeStore", "own_evidence"]

EDGES, OBSERVATIONS = "trust_edges", "trust_observations"

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
        f"CREATE TABLE IF NOT EXISTS trust_cursor(name TEXT PRIMARY KEY, value TEXT){dialect.ordered}",
    )


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
    return value.decode() if isinstance(value, bytes) else value


class EdgeStore:
    """Tables with edges, private evidence, vetoes and how far blocks were taken up.

    Nothing is committed here, so that what belongs together is committed together.
    """

    def __init__(self, database: BlockStore) -> None:
        self.database = database
        for statement in _tables(database.dialect):
            database.execute(statement)

    def _rows(self, statement: str, *bindings: Any) -> list[Any]:
        return list(self.database.execute(statement, bindings) or ())

    # The state of the work

    def cursor(self) -> dict[str, Any]:
        """The named values."""
        return {_text(name): json.loads(value) if isinstance(value, (str, bytes)) else value
                for name, value in self._rows("SELECT name, value FROM trust_cursor")}

    def set_cursor(self, values: dict[str, Any]) -> None:
        """Set named values."""
        self.database.executemany("INSERT INTO trust_cursor(name, value) VALUES(?, ?) "
                                  "ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                                  [(name, json.dumps(value)) for name, value in values.items()])

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

    def set_heights(self, author: bytes, ranges: list[tuple[int, int]]) -> None:
        """Set the ranges of an author."""
        self.database.execute("INSERT INTO trust_keys(key) VALUES(?) ON CONFLICT DO NOTHING", (author,))
        self.database.execute("DELETE FROM trust_folded WHERE author = (SELECT id FROM trust_keys WHERE key = ?)",
                              (author,))
        self.database.executemany("INSERT INTO trust_folded(author, first, last) "
                                  "SELECT id, ?, ? FROM trust_keys WHERE key = ?",
                                  ((first, last, author) for first, last in ranges))


def own_evidence(database: BlockStore, root: bytes) -> list[TrustEvent]:
    """The private evidence that a node with the key ``root`` keeps in a database, as of now."""
    store = EdgeStore(database)
    database.commit()  # tables that were made just now
    cursor = store.cursor()
    half_life = cursor.get("half_life")
    factor = 2.0 ** ((float(cursor["t_ref"]) - clock.time()) / half_life) if half_life else 1.0
    return [TrustEvent(source, target, weight * factor, None, kind)
            for source, target, kind, weight, _, _ in store.edges(OBSERVATIONS) if source == root]
