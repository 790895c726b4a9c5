"""A PostgreSQL server for tests, in a temporary directory, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from glob import glob
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipv8.attestation.trustchain.store import BlockStore

numbers = count()


def programs() -> Path | None:
    """The directory with the programs of the newest PostgreSQL that is installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    places = glob("/usr/lib/postgresql/*/bin/initdb")  # where Debian has them
    return max(map(Path, places), key=lambda place: float(place.parts[-3])).parent if places else None


def why_not() -> str | None:
    """Why tests with PostgreSQL are skipped, ``None`` if they are not."""
    if programs() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    missing = [name for name in ("sqlalchemy", "psycopg") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed: pip install ipv8[postgres]" if missing else None


SUPERVISOR = """
"$0" --wait --timeout=60 -D "$1/data" --log="$1/log" -o "$2" start > "$1/started" 2>&1 && echo started
cat > /dev/null
"$0" --wait --mode=immediate -D "$1/data" stop > /dev/null 2>&1
rm -rf "$1/data"
"""
"""Starts a server, and stops it when the standard input ends: also if the process of the tests is killed."""


@contextmanager
def server() -> Iterator[str]:
    """Run a server; gives the URL of a database. The server does not run as root, which PostgreSQL refuses."""
    binaries = programs()
    assert binaries is not None
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        account: dict[str, Any] = {"cwd": directory}
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody")
            account |= {"user": "nobody", "extra_groups": []}
        made = subprocess.run([binaries / "initdb", "-D", f"{directory}/data", "--auth=trust", "--username=ipv8",
                               "--encoding=UTF8", "--locale=C", "--no-sync"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
                              **account)
        assert not made.returncode, made.stdout
        options = f"-c listen_addresses='' -c unix_socket_directories='{directory}' -c fsync=off"
        with subprocess.Popen(["sh", "-c", SUPERVISOR, binaries / "pg_ctl", directory, options], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, start_new_session=True, **account) as supervisor:
            assert supervisor.stdout is not None
            if supervisor.stdout.readline() != "started\n":
                raise RuntimeError(Path(directory, "started").read_text())
            yield f"postgresql://ipv8@/postgres?host={directory}"
            # The standard input ends here, and the supervisor is waited for.


class Backend:
    """Where tests keep blocks: SQLite, or one schema of a PostgreSQL server.

    :param url: of the PostgreSQL server, ``None`` for SQLite.
    :param directory: for files of SQLite.
    """

    def __init__(self, url: str | None, directory: Path) -> None:
        self.url = url
        self.directory = directory
        self._prefix = f"test {next(numbers)} "
        self._opened: list[BlockStore] = []

    def name(self, name: str = "test") -> str:
        """What a database is named."""
        return name if self.url is None else self._prefix + name

    def settings(self, name: str = "test") -> dict[str, Any]:
        """The settings of a TrustChain overlay that uses a database."""
        if self.url is None:
            return {"working_directory": str(self.directory), "db_name": name}
        return {"database_url": self.url, "db_name": self.name(name)}

    def open(self, name: str = "test", my_pk: bytes | None = None, kept: bool = True) -> BlockStore:
        """Open a database; with ``kept``, it can be closed and opened again."""
        from ipv8.attestation.trustchain.database import TrustChainDB

        opened: BlockStore
        if self.url is None:
            opened = TrustChainDB(str(self.directory) if kept else ":memory:", name, my_pk)
        else:
            from ipv8.attestation.trustchain.postgres import PostgresTrustChainDB

            opened = PostgresTrustChainDB(self.url, self.name(name), my_pk)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close what tests left open."""
        for opened in self._opened:
            opened.close()
