"""How blocks are laid out in SQLite: keys as numbers, and a view with the columns that programs know.

The view ``blocks`` can be read, inserted into and deleted from like the table of that name in older files. Such a table
is converted when its file is opened.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from ...database import CorruptDatabaseException, DatabaseException

__all__ = ["COLUMNS", "CONVERT", "NEIGHBOURS", "SELECT", "blocks_table", "examine", "upgrade_script"]

QUICK_CHECK_SIZE = 64 << 20
"""Files of at most so many bytes are checked for damage whenever they are opened, larger ones after a crash."""

LAST_DROPPED_VERSION = 6
"""Blocks in files of this version and older ones cannot be read any more."""

COLUMNS = ("type, tx, public_key, sequence_number, link_public_key, link_sequence_number, previous_hash, signature, "
           "block_timestamp, insert_time, block_hash")

SELECT = ("SELECT b.type, b.tx, a.key, b.sequence_number, c.key, b.link_sequence_number, b.previous_hash, b.signature, "
          "b.block_timestamp, datetime(b.insert_time, 'unixepoch') FROM trustchain_blocks b "
          "CROSS JOIN trustchain_keys a ON a.id = b.author CROSS JOIN trustchain_keys c ON c.id = b.counterparty ")
"""The values of blocks in the order in which they are made of them."""

NEIGHBOURS = ("SELECT b.type, b.tx, ?, b.sequence_number, c.key, b.link_sequence_number, b.previous_hash, "
              "b.signature, b.block_timestamp, datetime(b.insert_time, 'unixepoch'), b.block_hash "
              "FROM trustchain_blocks b CROSS JOIN trustchain_keys c ON c.id = b.counterparty "
              "WHERE b.author = ? AND b.sequence_number >= ? ORDER BY b.sequence_number LIMIT 3")
"""The blocks of a chain from a height on, with their hashes, given the key of the author."""

INSERT = ("INSERT INTO trustchain_blocks(author, sequence_number, counterparty, link_sequence_number, type, tx, "
          "previous_hash, signature, block_timestamp, insert_time, block_hash) VALUES(?,?,?,?,?,?,?,?,?,?,?)")

_KEY = "(SELECT id FROM trustchain_keys WHERE id = ?)"

INSERT_WITH_KEYS = INSERT.replace("VALUES(?,?,?,", f"VALUES({_KEY},?,{_KEY},")
"""The same for SQLite, where another program may have removed a key meanwhile: this fails then."""

_FRIENDS = ("(SELECT author FROM trustchain_blocks WHERE counterparty = :me "
            "UNION SELECT counterparty FROM trustchain_blocks WHERE author = :me)")

OF_STRANGERS = f"b.author NOT IN {_FRIENDS}"
OF_OTHERS = f"b.author IN {_FRIENDS}"

COUNT_NEAR = ("SELECT COUNT(*) FROM trustchain_blocks b WHERE b.author = :me "  # noqa: S608 - made of constants
              f"OR b.author IN {_FRIENDS}")
"""How many blocks are our own, or of those who have a transaction with us."""

FREE = ("SELECT b.place, b.author FROM trustchain_blocks b WHERE b.author != :me AND b.counterparty != :me "
        "AND NOT EXISTS (SELECT 1 FROM trustchain_blocks o WHERE o.counterparty = b.author "
        "AND o.link_sequence_number = b.sequence_number AND o.author = :me)")
"""The places and authors of blocks that we have no part in and that no block of ours links to."""

DROP_KEYS = ("DELETE FROM trustchain_keys WHERE "
             "NOT EXISTS (SELECT 1 FROM trustchain_blocks WHERE author = id) "
             "AND NOT EXISTS (SELECT 1 FROM trustchain_blocks WHERE counterparty = id) "
             "AND NOT EXISTS (SELECT 1 FROM trustchain_heads WHERE author = id) "
             "AND id < (SELECT MAX(id) FROM trustchain_keys)")
"""Removes keys that nothing refers to, but not the newest one, so that no number is used for another key later."""

DROP_PROOFS = ("DELETE FROM double_spends WHERE public_key IN (SELECT public_key FROM double_spends "  # noqa: S608 - as above
               f"WHERE public_key NOT IN (SELECT key FROM trustchain_keys WHERE id IN {_FRIENDS}) "
               "GROUP BY public_key ORDER BY MIN(rowid) LIMIT :limit)")
"""Removes the oldest proofs against those who have no transaction with us."""

OPTION_TABLE = "CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);"

_SECONDS = ("CASE WHEN typeof({0}.insert_time) IN ('integer', 'real') THEN CAST({0}.insert_time AS INTEGER) "
            "ELSE COALESCE(CAST(strftime('%s', CAST({0}.insert_time AS TEXT)) AS INTEGER), "
            "CAST(strftime('%s', 'now') AS INTEGER)) END")

_LAYOUT = f"""
CREATE TABLE trustchain_keys(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE trustchain_blocks(
    place INTEGER PRIMARY KEY AUTOINCREMENT, author INTEGER NOT NULL, sequence_number INTEGER NOT NULL,
    counterparty INTEGER NOT NULL, link_sequence_number INTEGER NOT NULL, type BLOB NOT NULL, tx BLOB NOT NULL,
    previous_hash BLOB NOT NULL, signature BLOB NOT NULL, block_timestamp INTEGER NOT NULL,
    insert_time INTEGER NOT NULL, block_hash BLOB NOT NULL);
CREATE UNIQUE INDEX trustchain_heights ON trustchain_blocks(author, sequence_number);
CREATE INDEX trustchain_links ON trustchain_blocks(counterparty, link_sequence_number);
CREATE INDEX trustchain_times ON trustchain_blocks(block_timestamp);
CREATE INDEX trustchain_hashes ON trustchain_blocks(substr(block_hash, 1, 8));
CREATE TABLE trustchain_heads(author INTEGER PRIMARY KEY, sequence_number INTEGER NOT NULL, block_hash BLOB NOT NULL);
CREATE VIEW blocks({COLUMNS}) AS
    SELECT b.type, b.tx, a.key, b.sequence_number, c.key, b.link_sequence_number, b.previous_hash, b.signature,
           b.block_timestamp, datetime(b.insert_time, 'unixepoch'), b.block_hash
    FROM trustchain_blocks b JOIN trustchain_keys a ON a.id = b.author JOIN trustchain_keys c ON c.id = b.counterparty;
CREATE TRIGGER trustchain_insert INSTEAD OF INSERT ON blocks BEGIN
    INSERT INTO trustchain_keys(key) SELECT NEW.public_key
        WHERE NOT EXISTS (SELECT 1 FROM trustchain_keys WHERE key = NEW.public_key);
    INSERT INTO trustchain_keys(key) SELECT NEW.link_public_key
        WHERE NOT EXISTS (SELECT 1 FROM trustchain_keys WHERE key = NEW.link_public_key);
    INSERT INTO trustchain_blocks(author, sequence_number, counterparty, link_sequence_number, type, tx,
                                  previous_hash, signature, block_timestamp, insert_time, block_hash)
    VALUES ((SELECT id FROM trustchain_keys WHERE key = NEW.public_key), NEW.sequence_number,
            (SELECT id FROM trustchain_keys WHERE key = NEW.link_public_key), NEW.link_sequence_number,
            NEW.type, NEW.tx, NEW.previous_hash, NEW.signature, NEW.block_timestamp, {_SECONDS.format('NEW')},
            NEW.block_hash);
END;
CREATE TRIGGER trustchain_delete INSTEAD OF DELETE ON blocks BEGIN
    DELETE FROM trustchain_blocks
    WHERE author = (SELECT id FROM trustchain_keys WHERE key = OLD.public_key)
        AND sequence_number = OLD.sequence_number;
END;
CREATE TRIGGER trustchain_update INSTEAD OF UPDATE ON blocks BEGIN
    DELETE FROM trustchain_blocks
    WHERE author = (SELECT id FROM trustchain_keys WHERE key = OLD.public_key)
        AND sequence_number = OLD.sequence_number;
    INSERT INTO blocks({COLUMNS}) VALUES (NEW.type, NEW.tx, NEW.public_key, NEW.sequence_number, NEW.link_public_key,
        NEW.link_sequence_number, NEW.previous_hash, NEW.signature, NEW.block_timestamp, NEW.insert_time,
        NEW.block_hash);
END;
"""  # noqa: S608 - made of constants

CONVERT = f"""
ALTER TABLE blocks RENAME TO trustchain_old_blocks;
{_LAYOUT}
INSERT OR IGNORE INTO trustchain_keys(key) SELECT CAST(public_key AS BLOB) FROM trustchain_old_blocks;
INSERT OR IGNORE INTO trustchain_keys(key) SELECT CAST(link_public_key AS BLOB) FROM trustchain_old_blocks;
INSERT OR IGNORE INTO trustchain_blocks(author, sequence_number, counterparty, link_sequence_number, type, tx,
                                        previous_hash, signature, block_timestamp, insert_time, block_hash)
    SELECT a.id, o.sequence_number, c.id, o.link_sequence_number, CAST(o.type AS BLOB), CAST(o.tx AS BLOB),
           CAST(o.previous_hash AS BLOB), CAST(o.signature AS BLOB), o.block_timestamp, {_SECONDS.format('o')},
           CAST(o.block_hash AS BLOB)
    FROM trustchain_old_blocks o JOIN trustchain_keys a ON a.key = CAST(o.public_key AS BLOB)
        JOIN trustchain_keys c ON c.key = CAST(o.link_public_key AS BLOB) ORDER BY o.rowid;
DROP TABLE trustchain_old_blocks;
"""  # noqa: S608 - made of constants
"""Turns the table that programs and older files make into the view."""


def blocks_table(table_name: str, primary_key: str) -> str:
    """The statement that makes a table with the columns of blocks, unless there is one."""
    return f"""
        CREATE TABLE IF NOT EXISTS {table_name}(
            type TEXT NOT NULL,
            tx TEXT NOT NULL,
            public_key TEXT NOT NULL,
            sequence_number INTEGER NOT NULL,
            link_public_key TEXT NOT NULL,
            link_sequence_number INTEGER NOT NULL,
            previous_hash TEXT NOT NULL,
            signature TEXT NOT NULL,
            block_timestamp BIGINT NOT NULL,
            insert_time TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
            block_hash TEXT NOT NULL,
            PRIMARY KEY ({primary_key}));
        """


def upgrade_script(version: int) -> str:
    """The statements that make version ``version + 1`` of an older file, none if nothing is to be done."""
    if 1 <= version <= LAST_DROPPED_VERSION:
        return "DROP TABLE IF EXISTS blocks; DROP TABLE IF EXISTS double_spends; DROP TABLE IF EXISTS option;"
    if version == 7:
        texts = "type", "tx", "public_key", "link_public_key", "previous_hash", "signature", "block_hash"
        casts = ", ".join(f"{name} = CAST({name} AS BLOB)" for name in texts)
        return f"UPDATE OR REPLACE blocks SET {casts};"  # noqa: S608 - the names are those above
    return ""


def examine(path: str, latest_version: int) -> None:
    """Look at an existing file without changing it.

    :raises CorruptDatabaseException: if it is damaged.
    :raises DatabaseException: if a newer release made it.
    """
    file = Path(path)
    if not file.exists() or not file.stat().st_size:
        return
    was_open = Path(f"{path}-wal").exists()
    advice = "It was left as it is. Restore a copy, or move it away to start with an empty database"
    try:
        connection = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", timeout=0, uri=True)
        connection.text_factory = bytes
        try:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version = b"0"
            if b"option" in tables:
                found = connection.execute("SELECT value FROM option WHERE key = 'database_version'").fetchone()
                version = version if found is None else found[0]
            if was_open or file.stat().st_size <= QUICK_CHECK_SIZE:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != b"ok":
                    detail = verdict.decode(errors="replace")
                    raise CorruptDatabaseException(f"The database {path} is damaged: {detail}. {advice}")
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return  # it cannot be read at all, which opening it will tell
    except CorruptDatabaseException:
        raise
    except sqlite3.DatabaseError as e:
        raise CorruptDatabaseException(f"The database {path} is damaged: {e}. {advice}") from e
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    if not text.isdigit():
        raise CorruptDatabaseException(f"The database {path} is damaged: its version is {text!r}. {advice}")
    if int(text) > latest_version:
        raise DatabaseException(f"A newer release made the database {path}: its version is {text}, and this release "
                                f"knows {latest_version} at most. It was left as it is. Use that release, or move the "
                                "file away to start with an empty database")
