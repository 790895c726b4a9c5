"""Values and nodes that survive a restart (optional), in an SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from .. import clock
from ..database import CorruptDatabaseException, Database
from ..messaging.address import UDPv4Address, UDPv6Address
from .routing import NODE_STATUS_GOOD, Node
from .storage import Storage

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Iterator

    from ..messaging.address import Address
    from .community import DHTCommunity

__all__ = ["DHTDatabase", "Snapshot", "open_or_set_aside"]

SAVE_INTERVAL = 300.0
"""Seconds between two writes of everything."""
MAX_REMEMBERED_NODES = 200
"""Nodes that are written; those heard of last are preferred."""

FAMILIES: dict[int, type[UDPv4Address | UDPv6Address]] = {4: UDPv4Address, 6: UDPv6Address}

SCHEMA = """
CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE IF NOT EXISTS node(family INTEGER, host TEXT, port INTEGER, public_key BLOB, last_response REAL);
CREATE TABLE IF NOT EXISTS value(family INTEGER, key BLOB, data BLOB, expires REAL, source TEXT);
INSERT OR REPLACE INTO option VALUES('database_version', '1');
"""


class DHTDatabase(Database):
    """The file."""

    def check_database(self, database_version: bytes) -> int:
        """Create the tables."""
        if database_version == b"0":
            self.executescript(SCHEMA)
        return 1

    def save(self, nodes: Iterable[tuple[int, str, int, bytes, float]],
             values: Iterable[tuple[int, bytes, bytes, float, str]]) -> None:
        """Replace everything that was saved before."""
        with self:
            self.execute("DELETE FROM node")
            self.executemany("INSERT INTO node VALUES(?, ?, ?, ?, ?)", nodes)
            self.execute("DELETE FROM value")
            self.executemany("INSERT INTO value VALUES(?, ?, ?, ?, ?)", values)
            self.commit()

    def nodes(self) -> Iterator[tuple[bytes, Address]]:
        """Public keys and addresses, those heard of last first."""
        for family, host, port, public_key in self.execute(
                "SELECT family, host, port, public_key FROM node ORDER BY last_response DESC"):
            if family in FAMILIES:
                yield public_key, FAMILIES[family](host.decode(), port)

    def values(self) -> Iterator[tuple[int, bytes, bytes, float, str]]:
        """Family (4 or 6), key, serialized value, time of expiry and charged host, the oldest value of a key first."""
        for family, key, data, expires, source in self.execute("SELECT * FROM value"):
            yield family, key, data, expires, source.decode()


def open_or_set_aside(path: str, logger: logging.Logger) -> DHTDatabase:
    """Open the file at ``path``; one that is damaged is renamed, and an empty one takes its place."""
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
        logger.warning("The file %s of the DHT is damaged (%s): it is kept as %s, and the node starts without what was "
                       "in it", path, e, aside)
        database = DHTDatabase(path)
        database.open()
    return database


class Snapshot:
    """Writes what a DHT knows to a file now and then, and gives it back at the start.

    Nodes are not believed to be where they were: they are contacted, and come back by answering.
    """

    def __init__(self, community: DHTCommunity, path: str) -> None:
        self.community = community
        self.database = open_or_set_aside(path, community.logger)
        self._load()
        community.register_task("remember", self.save, interval=SAVE_INTERVAL)

    def _load(self) -> None:
        now = clock.time()
        for family, key, data, expires, source in self.database.values():
            if family in FAMILIES and expires > now:
                storage = self.community.storages.setdefault(FAMILIES[family], Storage())
                self.community.add_value(key, data, storage, expires - now, source=source)
        known = [address for _, address in self.database.nodes()]
        for number, address in enumerate(known):
            # A few at a time: answers to all at once would come all at once.
            self.community.register_anonymous_task("contact", self.community.walk_to, address, delay=number / 20)

    def _nodes(self) -> Iterator[tuple[int, str, int, bytes, float]]:
        good: list[Node] = [node for table in self.community.routing_tables.values() for node in table.nodes()
                            if node.status == NODE_STATUS_GOOD]
        good.sort(key=lambda node: -node.last_response)
        for node in good[:MAX_REMEMBERED_NODES]:
            family = 6 if isinstance(node.address, UDPv6Address) else 4
            yield family, node.address[0], node.address[1], node.key_bin, node.last_response

    def _values(self) -> Iterator[tuple[int, bytes, bytes, float, str]]:
        for address_class, storage in self.community.storages.items():
            family = 6 if address_class is UDPv6Address else 4
            for key, values in storage.items.items():
                for value in reversed(values):
                    yield family, key, value.data, value.last_update + value.max_age, value.source

    def save(self) -> None:
        """Write everything."""
        self.database.save(self._nodes(), self._values())

    def close(self) -> None:
        """Write everything and close the file; does nothing the second time."""
        if self.database._connection is not None:
            self.save()
            self.database.close()
