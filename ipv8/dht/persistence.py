"""Values and nodes that survive a restart, in an SQLite file; times in it are seconds since the Unix epoch."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import clock
from ..database import CorruptDatabaseException, Database, DatabaseException
from ..messaging.address import UDPv4Address, UDPv6Address
from .moments import age
from .routing import NODE_STATUS_GOOD
from .storage import Storage
from .values import MAX_ENTRY_AGE, keep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..messaging.address import Address
    from .routing import RoutingTable
    from .values import ReadValue

__all__ = ["DHTDatabase", "Snapshot", "open_or_set_aside"]

CONTACT_INTERVAL = 0.05
"""Seconds between two addresses that are contacted after the start."""
SAVE_INTERVAL = 300.0
"""Seconds between two writes of everything."""
BUSY_MILLISECONDS = 1000
"""Milliseconds that a write waits for another program that has locked the file."""
MAX_REMEMBERED_NODES = 200
"""Nodes that are written; those that answered last are preferred."""

FAMILIES: dict[int, type[UDPv4Address | UDPv6Address]] = {4: UDPv4Address, 6: UDPv6Address}

SCHEMA = """
CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE IF NOT EXISTS node(family INTEGER, host TEXT, port INTEGER, public_key BLOB, last_response REAL);
CREATE TABLE IF NOT EXISTS value(family INTEGER, key BLOB, data BLOB, expires REAL, source TEXT);
INSERT OR REPLACE INTO option VALUES('database_version', '1');
"""


NodeRow = tuple[int, str, int, bytes, float]
"""Family (4 or 6), host, port, public key, and when the node answered last."""
ValueRow = tuple[int, bytes, bytes, float, str]
"""Family (4 or 6), key, serialized value, when it expires, and the host that it counts for."""


class DHTDatabase(Database):
    """The file."""

    def check_database(self, database_version: bytes) -> int:
        """Create the tables."""
        if database_version == b"0":
            self.executescript(SCHEMA)
        return 1

    def save(self, nodes: Iterable[NodeRow], values: Iterable[ValueRow]) -> None:
        """Replace everything that was saved before; if that fails, nothing is replaced."""
        try:
            with self:
                self.execute("DELETE FROM node")
                self.executemany("INSERT INTO node VALUES(?, ?, ?, ?, ?)", nodes)
                self.execute("DELETE FROM value")
                self.executemany("INSERT INTO value VALUES(?, ?, ?, ?, ?)", values)
                self.commit()
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                self.execute("ROLLBACK")
            raise

    def nodes(self) -> Iterator[tuple[bytes, Address]]:
        """Public keys and addresses, those of the nodes that answered last first."""
        for family, host, port, public_key in self.execute(
                "SELECT family, host, port, public_key FROM node ORDER BY last_response DESC"):
            if family in FAMILIES:
                yield public_key, FAMILIES[family](host.decode(), port)

    def values(self) -> Iterator[ValueRow]:
        """All values, the oldest of a key first."""
        for family, key, data, expires, source in self.execute("SELECT * FROM value"):
            yield family, key, data, expires, source.decode()


def open_or_set_aside(path: str, logger: logging.Logger) -> DHTDatabase:
    """Open the file at ``path``; a damaged one is renamed, and an empty one is made in its place."""
    database = DHTDatabase(path)
    try:
        database.open()
        database.execute("SELECT 1 FROM node, value LIMIT 1")
    except (CorruptDatabaseException, sqlite3.OperationalError) as e:
        if isinstance(e, sqlite3.OperationalError) and "no such" not in str(e):
            raise
        database.close(commit=False)
        aside = Path(f"{path}.damaged-{int(clock.time())}")
        Path(path).replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(path + suffix).unlink(missing_ok=True)
        logger.warning("The file %s of the DHT is damaged (%s): it was renamed to %s, and the node starts without the "
                       "values and nodes in it", path, e, aside)
        database = DHTDatabase(path)
        database.open()
    return database


class Snapshot:
    """Writes the values and the nodes of a DHT to a file, and reads them at the start.

    Nodes may have moved meanwhile: only their addresses are read, to contact whoever is there.

    :param path: the path of the file.
    :param storages: the values, by address family.
    :param tables: the nodes, by address family.
    """

    def __init__(self, path: str, storages: dict[type[Any], Storage], tables: dict[type[Any], RoutingTable]) -> None:
        self._logger = logging.getLogger(type(self).__name__)
        self._storages = storages
        self._tables = tables
        self.database = open_or_set_aside(path, self._logger)
        self.database.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")

    def restore(self, read: ReadValue) -> list[Address]:
        """Read the values that have not expired; the addresses of nodes, those that answered last first.

        No value lives longer than a new one would: the clock may have been set back since the file was written.

        :param read: reads a value, ``None`` if it is invalid.
        """
        now = clock.time()
        for family, key, value, expires, source in self.database.values():
            entry = read(value) if family in FAMILIES and expires > now else None
            if entry is not None:
                storage = self._storages.setdefault(FAMILIES[family], Storage())
                with storage.charged_to(source):
                    keep(storage, key, value, entry, min(expires - now, MAX_ENTRY_AGE))
        return [address for _, address in self.database.nodes()]

    async def save(self) -> None:
        """Write everything, in a thread; a failure is logged."""
        await self._in_thread(self._save, self._node_rows(), self._value_rows())

    async def close(self) -> None:
        """Write everything and close the file; does nothing the second time."""
        await self.save()
        await self._in_thread(self.database.close, False)

    def _node_rows(self) -> list[NodeRow]:
        good = [node for table in self._tables.values() for node in table.nodes() if node.status == NODE_STATUS_GOOD]
        good.sort(key=lambda node: age(node.last_response))
        return [(6 if isinstance(node.address, UDPv6Address) else 4, node.address[0], node.address[1], node.key_bin,
                 float(node.last_response)) for node in good[:MAX_REMEMBERED_NODES]]

    def _value_rows(self) -> list[ValueRow]:
        now = clock.time()
        return [(6 if address_class is UDPv6Address else 4, key, value.data, now + value.max_age - value.age,
                 value.source)
                for address_class, storage in self._storages.items()
                for key, values in storage.items.items() for value in reversed(values)]

    @staticmethod
    async def _in_thread(function: Callable[..., Any], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, function, *arguments)

    def _save(self, nodes: list[NodeRow], values: list[ValueRow]) -> None:
        try:
            self.database.save(nodes, values)
        except (sqlite3.Error, DatabaseException) as e:
            self._logger.warning("The values and nodes of the DHT could not be written to %s: %s",
                                 self.database.file_path, e)

