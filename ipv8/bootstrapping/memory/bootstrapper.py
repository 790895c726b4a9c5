"""Finding first peers among those of the last run, without any server."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import struct
from collections import Counter
from contextlib import suppress
from contextvars import copy_context
from math import inf
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ... import clock
from ...files import locked, new_content
from ...messaging.address import UDPv4Address, UDPv6Address, has_network_address
from ...messaging.inet import network_of
from ...messaging.serialization import PackError, default_serializer
from ..bootstrapper_interface import Bootstrapper
from ..servers import read_ip_server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...community import Community
    from ...messaging.address import Address

__all__ = ["DamagedFileError", "MemoryBootstrapper", "decode", "encode"]

logger = logging.getLogger(__name__)

#: Addresses in a file; those of the peers that were heard of last are preferred.
MAX_REMEMBERED = 60
#: Addresses of one /24 (IPv6: /48), so that a few networks do not fill the file.
MAX_REMEMBERED_PER_SUBNET = 4
#: The bytes that are read of a file; no valid file is as large.
FILE_SIZE_LIMIT = 65536

#: The user id of the administrator, whose files are trusted too.
ROOT = 0

_MAGIC = b"IPv8 peers 1\n"
_DIGEST_SIZE = 32
_NOT_PACKABLE = (PackError, struct.error, ValueError)


class DamagedFileError(ValueError):
    """The content of a file of remembered addresses is not what was written."""


def encode(addresses: Iterable[Address]) -> bytes:
    """The content of a file: a fixed line, the SHA-256 hash of the rest, and the addresses.

    Addresses are packed one after another as in :meth:`ipv8.peerdiscovery.network.Network.snapshot`. Addresses of a
    kind that has no such form are left out.
    """
    entries = []
    for address in addresses:
        with suppress(*_NOT_PACKABLE):
            entries.append(default_serializer.pack("address", address))
    snapshot = b"".join(entries)
    return _MAGIC + hashlib.sha256(snapshot).digest() + snapshot


def decode(data: bytes) -> list[Address]:
    """The addresses in the content of a file, in the order of the file.

    :raises DamagedFileError: if the content is not valid; the message says why.
    """
    if not data.startswith(_MAGIC):
        raise DamagedFileError("it is empty" if not data else "it does not hold addresses of peers")
    start = len(_MAGIC) + _DIGEST_SIZE
    snapshot = data[start:]
    if hashlib.sha256(snapshot).digest() != data[len(_MAGIC):start]:
        raise DamagedFileError("it is truncated or was changed")
    addresses: list[Address] = []
    offset = 0
    while offset < len(snapshot):
        try:
            address, offset = default_serializer.unpack("address", snapshot, offset)
        except _NOT_PACKABLE as e:
            raise DamagedFileError("an address in it cannot be read") from e
        addresses.append(address)
    return addresses


class MemoryBootstrapper(Bootstrapper):
    """Remembers the addresses of peers that answered, and walks to them at the next start.

    If it is listed before the other bootstrappers of an overlay, its peers are contacted before any server. The file is
    replaced as a whole every ``save_interval`` seconds and when the overlay is unloaded: by the peers that answered,
    then, as far as there is room, what another program with the same file has saved, and those of the last run. Only
    its owner may read it. While no peer has answered, it is not changed. A damaged file is renamed and an error is
    logged.

    It is written in a thread. It is read once, at the start, before any server is contacted. A file that is no regular
    file, or belongs to another user, is neither read nor changed.

    :param path: a file, or a directory in which each overlay has a file named by its community id. A path is that of a
        directory if there is one or if it ends with a separator. With a directory, all overlays of a node can have the
        same configuration.
    :param bootstrap_timeout: seconds between two rounds, at least.
    :param save_interval: seconds between two writes.
    """

    #: When addresses were last given, in seconds since the Unix epoch; 0 if none were.
    last_bootstrap = clock.WallTime("_bootstrapped_at")

    def __init__(self, path: str | os.PathLike[str], bootstrap_timeout: float = 30.0,
                 save_interval: float = 300.0) -> None:
        super().__init__()
        self.path = Path(path)
        self._is_directory = os.fspath(path).endswith(("/", os.sep))
        self.bootstrap_timeout = bootstrap_timeout
        self.save_interval = save_interval
        self.overlay: Community | None = None
        self._bootstrapped_at = -inf
        #: The addresses in the file before this start, the most recent first; ``None`` until the file was read.
        self.remembered: list[Address] | None = None
        self._may_write = True
        self._saved: frozenset[Address] = frozenset()  # of the peers that had answered
        self._reading, self._writing = Lock(), Lock()  # by threads
        self._task_name = f"remember peers {id(self)}"

    async def initialize(self, overlay: Community) -> bool:
        """Read the file, and replace it from now on; always ``True``."""
        if not self.initialized:
            self.initialized, self.overlay = True, overlay
            self._recall(overlay)
            overlay.register_task(self._task_name, self._save_in_thread, interval=self.save_interval)
        return True

    async def get_addresses(self, overlay: Community, timeout: float) -> list[Address]:  # noqa: ARG002 - specified
        """The remembered addresses, unless they were given less than ``bootstrap_timeout`` seconds ago."""
        if clock.monotonic() < self._bootstrapped_at + self.bootstrap_timeout:
            return []
        self.last_bootstrap = clock.time()
        return [address for address in self._recall(overlay) if address not in overlay.network.blacklist]

    def keep_alive(self, overlay: Community) -> None:
        """Do nothing: there is no service."""

    def blacklist(self) -> Iterable[Address]:
        """There is no server."""
        return []

    def unload(self) -> None:
        """Replace the file a last time, in a thread; the shutdown of the overlay waits until that is done."""
        overlay = self.overlay
        self.overlay, self.initialized = None, False
        if overlay is None:
            return
        overlay.cancel_pending_task(self._task_name)
        proven = _proven(overlay)
        if not proven or not self._may_write:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._save(overlay, proven)
            return
        writing = loop.run_in_executor(None, copy_context().run, self._save, overlay, proven)
        overlay.register_shutdown_task(lambda: writing)

    def save(self) -> None:
        """Replace the file: the peers that answered, then those of other programs and of before if there is room.

        This waits for the disk. A running overlay does it from time to time, in a thread. If the file cannot be
        written, that is logged.
        """
        if self.overlay is not None:
            self._save(self.overlay, _proven(self.overlay))

    async def _save_in_thread(self) -> None:
        if self.overlay is not None:
            await asyncio.to_thread(self._save, self.overlay, _proven(self.overlay))

    def _save(self, overlay: Community, proven: list[Address]) -> None:
        with self._writing:
            remembered = self._recall(overlay)
            if not proven or not self._may_write:
                return
            path = self._file_of(overlay)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with locked(path.parent):
                    saved = self._read(path, is_locked=True)
                    of_others = [address for address in saved if address not in self._saved]
                    if self._may_write:
                        _replace(path, encode(_select([*proven, *of_others, *remembered])))
                        self._saved = frozenset(proven)
            except OSError as e:
                logger.warning("the peers of %s cannot be remembered in %s: %s", type(overlay).__name__, path, e)

    def _file_of(self, overlay: Community) -> Path:
        if self._is_directory or self.path.is_dir():
            return self.path / f"{overlay.get_prefix()[2:].hex()}.peers"
        return self.path

    def _recall(self, overlay: Community) -> list[Address]:
        """The addresses in the file, which is read once; none if there is no file, or no valid one."""
        with self._reading:
            if self.remembered is None:
                self.remembered = self._read(self._file_of(overlay))
            return self.remembered

    def _read(self, path: Path, is_locked: bool = False) -> list[Address]:
        """The addresses in the file now; none if there is no file, or no valid one, which is renamed.

        :param is_locked: whether no other program replaces the file meanwhile.
        """
        try:
            data = _content(path)
        except FileNotFoundError:
            return []
        except OSError as e:
            self._may_write = False
            logger.warning("the remembered peers in %s cannot be read, and the file is not changed: %s", path, e)
            return []
        try:
            return _select(decode(data))
        except DamagedFileError as e:
            if not is_locked:
                with suppress(OSError), locked(path.parent):  # another program may have replaced it by now
                    return self._read(path, is_locked=True)
            self._set_aside(path, e)
            return []

    def _set_aside(self, path: Path, reason: DamagedFileError) -> None:
        aside = path.with_name(f"{path.name}.damaged-{int(clock.time())}")
        try:
            path.replace(aside)
        except OSError as e:
            self._may_write = False
            logger.error("%s does not hold remembered peers: %s. It cannot be renamed either (%s) and is not changed",  # noqa: TRY400 - the message has all of it
                         path, reason, e)
            return
        logger.error("%s does not hold remembered peers: %s. It was renamed to %s; first peers come from elsewhere",
                     path, reason, aside)


def _proven(overlay: Community) -> list[Address]:
    """The addresses of the peers that answered; those of the peers that were heard of last come first."""
    proven = [peer for peer in overlay.get_peers() if peer.proven]
    return [peer.address for peer in sorted(proven, key=lambda peer: peer.last_heard, reverse=True)]


def _content(path: Path) -> bytes:
    """The beginning of a file.

    :raises OSError: if it cannot be read, is not a regular file, or belongs to another user. A named pipe is not waited
        for.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), ROOT}:
            raise OSError("it belongs to another user")
        return file.read(FILE_SIZE_LIMIT)


def _select(addresses: Iterable[Address]) -> list[Address]:
    """The first of ``addresses`` that can be contacted, without duplicates, within the limits for a file."""
    selected: list[Address] = []
    per_network: Counter[bytes] = Counter()
    for address in dict.fromkeys(addresses):
        if not isinstance(address, (UDPv4Address, UDPv6Address)) or not has_network_address(address):
            continue
        try:
            read_ip_server(address)
        except ValueError:  # it is not the address of one host
            continue
        network = network_of(address.ip)
        if per_network[network] < MAX_REMEMBERED_PER_SUBNET:
            per_network[network] += 1
            selected.append(address)
            if len(selected) == MAX_REMEMBERED:
                break
    return selected


def _replace(path: Path, data: bytes) -> None:
    """Give ``path`` a new content, as a whole or not at all, which only its owner may read.

    The data is not flushed to the disk: that would block the event loop, and a file that a power failure damaged is
    recognized.
    """
    with new_content(path, flush=False) as file:
        file.write(data)
