"""What a trust graph keeps in the database of a chain, so that a restart does not read all blocks (doc/trust.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..database import Database

__all__ = ["EdgeStore"]

_EDGES = ("(src INTEGER NOT NULL, dst INTEGER NOT NULL, kind TEXT NOT NULL, weight REAL NOT NULL, "
          "events INTEGER NOT NULL, last_time INTEGER, PRIMARY KEY(src, dst, kind)) WITHOUT ROWID")

_TABLES = (
    "CREATE TABLE IF NOT EXISTS trust_keys(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE)",
    f"CREATE TABLE IF NOT EXISTS trust_edges{_EDGES}",
    "CREATE INDEX IF NOT EXISTS trust_into ON trust_edges(dst)",
    f"CREATE TABLE IF NOT EXISTS trust_observations{_EDGES}",
    "CREATE TABLE IF NOT EXISTS trust_vetoes(key BLOB PRIMARY KEY) WITHOUT ROWID",
    ("CREATE TABLE IF NOT EXISTS trust_folded(author INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, "
     "PRIMARY KEY(author, first)) WITHOUT ROWID"),
    "CREATE TABLE IF NOT EXISTS trust_cursor(name TEXT PRIMARY KEY, value) WITHOUT ROWID",
)

EDGES, OBSERVATIONS = "trust_edges", "trust_observations"

Edge = tuple[bytes, bytes, str, float, int, "int | None"]
"""Source, target, kind, weight, number of events, newest time in milliseconds."""


def _upsert(table: str) -> str:
    return (f"INSERT INTO {table}(src, dst, kind, weight, events, last_time) "  # noqa: S608 - names are constants
            "SELECT s.id, d.id, ?, ?, ?, ? FROM trust_keys s, trust_keys d WHERE s.key = ? AND d.key = ? "
            "ON CONFLICT(src, dst, kind) DO UPDATE SET weight = weight + excluded.weight, "
            "events = events + excluded.events, "
            "last_time = MAX(COALESCE(last_time, excluded.last_time), COALESCE(excluded.last_time, last_time))")


class EdgeStore:
    """Tables with edges, private evidence, vetoes and how far blocks were taken up.

    Nothing is committed here, so that what belongs together is committed together.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        for statement in _TABLES:
            database.execute(statement)

    def _rows(self, statement: str, *bindings: Any) -> list[Any]:
        return list(self.database.execute(statement, bindings) or ())

    # The state of the work

    def cursor(self) -> dict[str, Any]:
        """The named values."""
        return {name.decode(): value.decode() if isinstance(value, bytes) else value
                for name, value in self._rows("SELECT name, value FROM trust_cursor")}

    def set_cursor(self, values: dict[str, Any]) -> None:
        """Set named values."""
        self.database.executemany("INSERT OR REPLACE INTO trust_cursor(name, value) VALUES(?, ?)", values.items())

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
            yield (source, target, kind.decode(), *rest)

    def add(self, table: str, edges: Iterable[Edge]) -> None:
        """Add to edges of a table."""
        some = list(edges)
        keys = dict.fromkeys(key for edge in some for key in edge[:2])
        self.database.executemany("INSERT OR IGNORE INTO trust_keys(key) VALUES(?)", ((key,) for key in keys))
        self.database.executemany(_upsert(table), ((*edge[2:], *edge[:2]) for edge in some))

    def scale(self, table: str, factor: float) -> None:
        """Multiply all weights of a table."""
        self.database.execute(f"UPDATE {table} SET weight = MAX(weight * ?, 1e-300)", (factor,))  # noqa: S608 - as above

    def remove(self, source: bytes, target: bytes, kind: str | None) -> None:
        """Remove an edge, or one kind of it."""
        for table in (EDGES, OBSERVATIONS):
            self.database.execute(
                f"DELETE FROM {table} WHERE src = (SELECT id FROM trust_keys WHERE key = ?) "  # noqa: S608 - as above
                "AND dst = (SELECT id FROM trust_keys WHERE key = ?) AND (? IS NULL OR kind = ?)",
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
        self.database.execute("INSERT OR IGNORE INTO trust_vetoes(key) VALUES(?)" if blocked
                              else "DELETE FROM trust_vetoes WHERE key = ?", (key,))

    # Heights

    def heights(self) -> Iterator[tuple[bytes, int, int]]:
        """The ranges of heights that were taken up, by author, in order."""
        yield from self._rows("SELECT k.key, f.first, f.last FROM trust_folded f JOIN trust_keys k ON k.id = f.author "
                              "ORDER BY f.author, f.first")

    def set_heights(self, author: bytes, ranges: list[tuple[int, int]]) -> None:
        """Set the ranges of an author."""
        self.database.execute("INSERT OR IGNORE INTO trust_keys(key) VALUES(?)", (author,))
        self.database.execute("DELETE FROM trust_folded WHERE author = (SELECT id FROM trust_keys WHERE key = ?)",
                              (author,))
        self.database.executemany("INSERT INTO trust_folded(author, first, last) "
                                  "SELECT id, ?, ? FROM trust_keys WHERE key = ?",
                                  ((first, last, author) for first, last in ranges))
