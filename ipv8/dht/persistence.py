"""Values and nodes that survive a restart, in an SQLite file; times in it are seconds since the Unix epoch.

The file is read and written in threads. Whatever is wrong with it, the node runs: it goes on without the file, and
tries again later where that can help.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from .. import clock
from ..database import CorruptDatabaseException, Database, DatabaseException
from ..files import locked
from ..messaging.address import UDPv4Address, UDPv6Address
from ..messaging.inet import parse_host
from .diversity import is_contactable
from .moments import age
from .routing import NODE_STATUS_GOOD
from .storage import ENTRY_OVERHEAD, MAX_BYTES, Storage
from .values import MAX_ENTRY_AGE, MAX_ENTRY_SIZE, keep, normalise_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..messaging.address import Address
    from .routing import RoutingTable
    from .storage import Claim, Value
    from .values import ReadValue

__all__ = ["DHTDatabase", "NewerDatabaseError", "Snapshot", "open_or_set_aside"]

CONTACT_INTERVAL = 0.05
"""Seconds between two addresses that are contacted after the start."""
SAVE_INTERVAL = 300.0
"""Seconds between two writes of everything."""
RETRY_INTERVAL = 30.0
"""Seconds between two attempts to read a file that another program has locked."""
MAX_REMEMBERED_NODES = 200
"""Nodes that are written and read; those that answered last are preferred."""
MAX_RESTORED_VALUES = MAX_BYTES // ENTRY_OVERHEAD
"""Values that are read; no more can be stored."""
RESTORED_AT_ONCE = 32
"""Values that are checked before other work gets its turn; their signatures take about 2 ms."""
RESTORE_PAUSE = 0.02
"""Seconds of that turn."""

FAMILIES: dict[int, type[UDPv4Address | UDPv6Address]] = {4: UDPv4Address, 6: UDPv6Address}

VERSION = 1
"""Of the schema."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE IF NOT EXISTS node(family INTEGER, host TEXT, port INTEGER, public_key BLOB, last_response REAL);
CREATE TABLE IF NOT EXISTS value(family INTEGER, key BLOB, data BLOB, expires REAL, source TEXT);
INSERT OR REPLACE INTO option VALUES('database_version', '1');
"""

NodeRow = tuple[int, str, int, bytes, float]
"""Family (4 or 6), host, port, public key, and when the node answered last."""
ValueRow = tuple[int, bytes, bytes, float, str]
"""Family (4 or 6), key, serialized value, when it expires, and the address from which it was stored.

A value that several hosts have stored has a row for each of them.
"""

FileErrors = (sqlite3.Error, DatabaseException, OSError)
"""What reading and writing a file may raise."""


class NewerDatabaseError(DatabaseException):
    """The file has a newer schema. It is not changed."""


class DHTDatabase(Database):
    """The file."""

    busy_timeout: ClassVar[float] = 1.0

    def check_database(self, database_version: bytes) -> int:
        """Create the tables.

        :raises NewerDatabaseError: if a newer version of this library has made the file.
        :raises CorruptDatabaseException: if the tables are not those of this schema, or a part of the file is damaged.
        """
        try:
            version = int(database_version)
        except (TypeError, ValueError):
            raise CorruptDatabaseException(f"{self.file_path}: there is no version {database_version!r}") from None
        if version > VERSION:
            raise NewerDatabaseError(
                f"The file {self.file_path} was written by a newer version of this library (its schema has the number "
                f"{version}, and this version knows {VERSION}). It is left as it is, and nothing is saved: use the "
                "newer version, or give another path as dht_database")
        self.upgrade_schema(database_version, VERSION, lambda _: self.executescript(SCHEMA))
        try:
            self.execute("SELECT family, host, port, public_key, last_response FROM node LIMIT 0")
            self.execute("SELECT family, key, data, expires, source FROM value LIMIT 0")
        except sqlite3.OperationalError as e:
            if "no such" not in str(e):
                raise
            raise CorruptDatabaseException(f"{self.file_path}: {e}") from e
        tables = list(self.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('node', 'value')"))
        if len(tables) != len({"node", "value"}):
            raise CorruptDatabaseException(f"{self.file_path}: node and value are not tables")
        (finding,) = next(self.execute("PRAGMA quick_check(1)"))
        if finding != b"ok":
            raise CorruptDatabaseException(f"{self.file_path}: {finding.decode(errors='replace')}")
        return VERSION

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
        """Public keys and addresses, those of the nodes that answered last first; without rows that are unusable."""
        for family, host, port, public_key in self.execute(
                "SELECT family, host, port, public_key FROM node WHERE typeof(host) = 'text' AND "
                "typeof(port) = 'integer' AND typeof(public_key) = 'blob' ORDER BY last_response DESC LIMIT ?",
                (MAX_REMEMBERED_NODES,)):
            address = _usable_address(family, host, port)
            if address is not None:
                yield public_key, address

    def values(self) -> Iterator[ValueRow]:
        """All values, the oldest of a key first; without rows that are unusable."""
        for family, key, data, expires, source in self.execute(
                "SELECT family, key, data, expires, source FROM value WHERE typeof(key) = 'blob' AND "
                "typeof(data) = 'blob' AND length(data) <= ? AND typeof(expires) IN ('real', 'integer') AND "
                "typeof(source) = 'text' LIMIT ?", (MAX_ENTRY_SIZE, MAX_RESTORED_VALUES)):
            host = source.decode(errors="replace")
            if family in FAMILIES and isfinite(expires) and (not host or parse_host(host) is not None):
                yield family, normalise_key(key), data, expires, host

    def count(self) -> int:
        """The number of rows that :meth:`nodes` and :meth:`values` would have if all were usable."""
        counted = self.execute("SELECT min(?, (SELECT count(*) FROM node)) + min(?, (SELECT count(*) FROM value))",
                               (MAX_REMEMBERED_NODES, MAX_RESTORED_VALUES))
        return int(next(counted)[0])


def _usable_address(family: Any, host: bytes, port: int) -> Address | None:
    """The address in a row; ``None`` if no node can have it."""
    address_class = FAMILIES.get(family)
    if address_class is None:
        return None
    address = address_class(host.decode(errors="replace"), port)
    parsed = parse_host(address[0])
    if parsed is None or parsed.version != family or not is_contactable(address, address):
        return None
    return address


def open_or_set_aside(path: str, logger: logging.Logger) -> DHTDatabase:
    """Open the file at ``path``; a damaged one is renamed, and an empty one is made in its place.

    Another program that opens the same file meanwhile waits, so that it is not the new one that is renamed.
    """
    database, directory = DHTDatabase(path), Path(path).parent
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        try:
            database.open()
        except CorruptDatabaseException as e:
            aside = _unused_path(f"{path}.damaged-{int(clock.time())}")
            Path(path).replace(aside)
            for suffix in ("-wal", "-shm"):
                Path(path + suffix).unlink(missing_ok=True)
            logger.warning("The file %s of the DHT is damaged (%s): it was renamed to %s, and the node starts without "
                           "the values and nodes in it", path, e, aside)
            database.open()
    return database


def _unused_path(wanted: str) -> Path:
    path, number = Path(wanted), 1
    while path.exists():
        number += 1
        path = Path(f"{wanted}-{number}")
    return path


def require_file(path: str) -> None:
    """Check that there is a file at ``path``, or nothing.

    :raises DatabaseException: if there is something else, which would not be opened, or never answer.
    """
    if Path(path).exists() and not Path(path).is_file():
        what = "a directory" if Path(path).is_dir() else "no regular file"
        raise DatabaseException(f"{path} is {what}: give the path of a file as dht_database")


class _Contents(NamedTuple):
    """What was read from a file, and the number of rows that should have been."""

    nodes: list[Address]
    values: list[ValueRow]
    rows: int


class Snapshot:
    """Reads what was saved, and writes everything from time to time.

    The file is not written before it has been read. A failure is logged, and the next attempt opens the file anew.

    :param path: that of the file.
    :param storages: the values, by the class of the addresses that they were stored from.
    :param tables: the nodes, likewise.
    :raises DatabaseException: if ``path`` is not that of a file.
    """

    def __init__(self, path: str, storages: dict[type[Any], Storage], tables: dict[type[Any], RoutingTable]) -> None:
        require_file(path)
        self._logger = logging.getLogger(type(self).__name__)
        self._path = path
        self._storages = storages
        self._tables = tables
        self._lock = Lock()  # held by the thread that uses the file
        self._warning = ""
        #: The file, if it is open.
        self.database: DHTDatabase | None = None
        #: Whether the file has been read.
        self.restored = False
        #: Whether the file is that of a newer version, so that it is neither read nor written.
        self.disabled = False

    async def restore(self, read: ReadValue, contact: Callable[[Address], object]) -> None:
        """Read what was saved, once the file can be read: store the values, and contact the nodes, one by one.

        :param read: reads a value, ``None`` if it is invalid.
        """
        while not self.restored and not self.disabled:
            contents = await self._in_thread(self._open_and_read)
            if contents is not None:
                await self._spread(contents, read, contact)
                return
            await asyncio.sleep(RETRY_INTERVAL)

    async def save(self) -> None:
        """Write everything, in a thread; a failure is logged."""
        if not self.restored or self.disabled:
            return
        nodes = self._node_rows()
        values = [(6 if family is UDPv6Address else 4, key, list(values))
                  for family, storage in self._storages.items() for key, values in storage.items.items()]
        await self._in_thread(self._save, nodes, values)

    async def close(self) -> None:
        """Write everything and close the file; does nothing the second time."""
        await self.save()
        self.disabled = True
        await self._in_thread(self._close)

    # Reading

    def _open_and_read(self) -> _Contents | None:
        """The contents of the file; ``None`` if it cannot be read."""
        if self.disabled:
            return None
        try:
            database = self.database = open_or_set_aside(self._path, self._logger)
            contents = _Contents([address for _, address in database.nodes()], list(database.values()),
                                 database.count())
        except NewerDatabaseError as e:
            self.disabled = True
            self._logger.error("%s", e)  # noqa: TRY400 - the traceback tells nothing
            return None
        except FileErrors as e:
            self._warn(f"cannot be read; this is tried again every {RETRY_INTERVAL:g} s, and nothing is saved until "
                       "then", e)
            return None
        return contents

    async def _spread(self, contents: _Contents, read: ReadValue, contact: Callable[[Address], object]) -> None:
        """Take the contents of the file, a few at a time.

        No value lives longer than a new one would: the clock may have been set back since the file was written.
        """
        now, began = clock.time(), clock.monotonic()
        refused = contents.rows - len(contents.nodes) - len(contents.values)
        for start in range(0, len(contents.values), RESTORED_AT_ONCE):
            for family, key, value, expires, source in contents.values[start:start + RESTORED_AT_ONCE]:
                remaining = min(expires - now, MAX_ENTRY_AGE) - (clock.monotonic() - began)
                entry = read(value) if remaining > 0 else None
                if entry is not None:
                    storage = self._storages.setdefault(FAMILIES[family], Storage())
                    with storage.charged_to(source):
                        keep(storage, key, value, entry, remaining)
                else:
                    refused += remaining > 0
            await asyncio.sleep(RESTORE_PAUSE if start + RESTORED_AT_ONCE < len(contents.values) else 0)
        self.restored = True
        if refused:
            self._logger.warning("%d rows of the file %s of the DHT are unusable, and were left out", refused,
                                 self._path)
        for address in contents.nodes:
            contact(address)
            await asyncio.sleep(CONTACT_INTERVAL)

    # Writing

    def _node_rows(self) -> list[NodeRow]:
        good = [node for table in self._tables.values() for node in table.nodes() if node.status == NODE_STATUS_GOOD]
        good.sort(key=lambda node: age(node.last_response))
        return [(6 if isinstance(node.address, UDPv6Address) else 4, node.address[0], node.address[1], node.key_bin,
                 float(node.last_response)) for node in good[:MAX_REMEMBERED_NODES]]

    @staticmethod
    def _value_rows(stored: Iterable[tuple[int, bytes, list[Value]]]) -> Iterator[ValueRow]:
        now = clock.time()
        for family, key, values in stored:
            for value in reversed(values):
                claims: tuple[tuple[str, Claim], ...] = tuple(value.claims.items())
                for host, claim in claims:
                    yield family, key, value.data, now + claim.remaining, host

    def _save(self, nodes: list[NodeRow], values: Iterable[tuple[int, bytes, list[Value]]]) -> None:
        try:
            if self.database is None:
                self.database = open_or_set_aside(self._path, self._logger)
            self.database.save(nodes, self._value_rows(values))
        except FileErrors as e:
            self._warn("could not be written; this is tried again, and what was saved before is still there", e)
        else:
            self._warning = ""

    def _warn(self, what: str, error: Exception) -> None:
        """Log an error, once if it comes again and again, and open the file anew the next time."""
        warning = f"The file {self._path} of the DHT {what}: {error}"
        self._logger.log(logging.DEBUG if warning == self._warning else logging.WARNING, "%s", warning)
        self._warning = warning
        self._close()

    def _close(self) -> None:
        database, self.database = self.database, None
        if database is not None:
            with suppress(*FileErrors):
                database.close(commit=False)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in a thread, after what was called before."""
        return await asyncio.get_running_loop().run_in_executor(None, self._in_turn, function, *arguments)

    def _in_turn(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            return function(*arguments)
