"""Guards: the few nodes that circuits begin with, kept for weeks and across restarts (doc/anonymity.md).

The first node of a circuit sees who builds it. If each circuit began with another node, every node of the network would
see that sooner or later. So circuits begin with few nodes, and with others only while none of these answers. Circuits
of hidden services, which strangers can make a node build, also have few second nodes.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...files import new_content
from ...fill import Fill
from ...keyvault.crypto import default_eccrypto
from ...peer import Peer
from ..address import UDPv4Address, UDPv6Address
from ..inet import parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..address import Address

__all__ = ["Guard", "GuardFile", "GuardSet"]

FIRST_GUARDS = 3
SECOND_GUARDS = 4
"""Nodes that circuits begin with, and second nodes of the circuits of hidden services."""

GUARDS_IN_USE = 2
"""How many of the guards that answer share the circuits."""

MAX_GUARDS = 12
"""Guards that are remembered, with those that do not answer; further nodes become guards only in their place."""

DAY = 86400.0
MIN_LIFETIME, MAX_LIFETIME = 30 * DAY, 90 * DAY
MIN_SECOND_LIFETIME, MAX_SECOND_LIFETIME = 1 * DAY, 12 * DAY
"""Seconds for which a first and a second node is kept, at least and at most: a random time between them."""

FILE_VERSION = 1
MAX_FILE_SIZE = 65536
"""Bytes of the largest file that is read."""

logger = logging.getLogger(__name__)


@dataclass
class Guard:
    """A node that is used again and again.

    :param key_bin: its public key.
    :param address: where it was reached last.
    :param flags: what it offers, as ``PEER_FLAG_*``.
    :param expires: in seconds since the Unix epoch, as the time is kept across restarts.
    """

    key_bin: bytes
    address: Address
    flags: list[int]
    expires: float

    def peer(self) -> Peer:
        """The node as a peer."""
        return Peer(self.key_bin, self.address)

    def to_dict(self) -> dict[str, Any]:
        """The guard as JSON has it."""
        return {"key": self.key_bin.hex(), "host": self.address[0], "port": self.address[1],
                "flags": list(self.flags), "expires": self.expires}

    @classmethod
    def from_dict(cls, entry: Any) -> Guard:
        """The guard of :meth:`to_dict`.

        :raises ValueError: if ``entry`` is something else.
        """
        try:
            key_bin = bytes.fromhex(entry["key"])
            host, port, expires = str(entry["host"]), int(entry["port"]), float(entry["expires"])
            flags = [int(flag) for flag in entry["flags"]]
        except (KeyError, TypeError, AttributeError, OverflowError) as e:
            raise ValueError(f"no guard: {e!r}") from e
        if (default_eccrypto.key_from_network(key_bin).curve_name() != "curve25519" or parse_host(host) is None
                or not 0 < port < 65536):
            raise ValueError("no guard: its key or its address is wrong")
        return cls(key_bin, UDPv6Address(host, port) if ":" in host else UDPv4Address(host, port), flags, expires)


class GuardSet:
    """The guards of one position in circuits, in the order in which they became guards.

    :param size: how many there shall be that answer.
    :param lifetime: seconds for which one is kept, at least and at most.
    """

    def __init__(self, size: int = FIRST_GUARDS, lifetime: tuple[float, float] = (MIN_LIFETIME, MAX_LIFETIME)) -> None:
        self.size = size
        self.lifetime = lifetime
        self.guards: list[Guard] = []
        #: Whether there are other guards than when this was last set to ``False``.
        self.changed = False

    def choose(self, candidates: Sequence[tuple[Peer, list[int]]], is_usable: Callable[[Peer], bool],
               is_excluded: Callable[[Peer], bool], conflicts: Callable[[Peer, Iterable[Peer]], bool]) -> list[Peer]:
        """The guards to try, in order; of those that are used now, a random one comes first.

        New guards are drawn from ``candidates`` while fewer than ``size`` answer. No two are in one network. If none
        answers, which may be the fault of this node's own network, all are tried.

        :param is_usable: whether a node is believed to answer.
        :param is_excluded: whether it must not be in this circuit, although it may be in others.
        :param conflicts: whether a node is in the network of one of others.
        """
        self.forget_expired()
        self._follow(candidates)
        allowed = [(peer, flags) for peer, flags in candidates if not is_excluded(peer)]
        usable = [(peer, flags) for peer, flags in allowed if is_usable(peer)]
        self._fill(usable or ([] if self.guards else allowed), is_usable, conflicts)
        answering = [guard for guard in self.guards if is_usable(guard.peer())][:self.size]
        possible = [guard for guard in answering or self.guards if not is_excluded(guard.peer())]
        in_use, spare = possible[:GUARDS_IN_USE], possible[GUARDS_IN_USE:]
        entropy.shuffle(in_use)
        known = {peer.key_bin: peer for peer, _ in candidates}
        return [known.get(guard.key_bin) or guard.peer() for guard in (*in_use, *spare)]

    def forget_expired(self) -> None:
        """Forget the guards whose time is over."""
        now = clock.time()
        kept = [guard for guard in self.guards if guard.expires > now]
        if len(kept) < len(self.guards):
            self.guards, self.changed = kept, True

    def _follow(self, candidates: Iterable[tuple[Peer, list[int]]]) -> None:
        """Note where the guards are now, and what they offer."""
        known = {peer.key_bin: (peer.address, flags) for peer, flags in candidates}
        for guard in self.guards:
            address, flags = known.get(guard.key_bin, (guard.address, guard.flags))
            if (address, list(flags)) != (guard.address, guard.flags):
                guard.address, guard.flags, self.changed = address, list(flags), True

    def _fill(self, pool: list[tuple[Peer, list[int]]], is_usable: Callable[[Peer], bool],
              conflicts: Callable[[Peer, Iterable[Peer]], bool]) -> None:
        entropy.shuffle(pool)
        present = [guard.peer() for guard in self.guards]
        answering = sum(is_usable(peer) for peer in present)
        for peer, flags in pool:
            if answering >= self.size:
                return
            if conflicts(peer, present):
                continue
            if len(self.guards) >= MAX_GUARDS:
                silent = next((guard for guard in self.guards if not is_usable(guard.peer())), None)
                if silent is None:
                    return
                self.guards.remove(silent)
            low, high = self.lifetime
            self.guards.append(Guard(peer.key_bin, peer.address, list(flags),
                                     clock.time() + low + (high - low) * entropy.random()))
            self.changed = True
            present.append(peer)
            answering += 1

    def to_list(self) -> list[dict[str, Any]]:
        """The guards as JSON has them."""
        return [guard.to_dict() for guard in self.guards]

    def load(self, entries: Any) -> None:
        """Take over the guards of :meth:`to_list`; what is wrong with an entry is logged and the entry ignored."""
        self.guards = self._read(entries)
        self.changed = False

    def follow(self, entries: Any) -> None:
        """Take over the guards of another program with the same file: they come first, and then those of this one.

        So all of these programs begin their circuits with the same nodes.
        """
        theirs = self._read(entries)
        keys = {guard.key_bin for guard in theirs}
        self.guards = [*theirs, *(guard for guard in self.guards if guard.key_bin not in keys)][:MAX_GUARDS]
        self.changed = len(self.guards) > len(theirs)

    def _read(self, entries: Any) -> list[Guard]:
        guards: list[Guard] = []
        for entry in entries if isinstance(entries, list) else []:
            try:
                guard = Guard.from_dict(entry)
            except ValueError as e:
                logger.warning("Ignoring a guard: %s", e)
                continue
            guard.expires = min(guard.expires, clock.time() + self.lifetime[1])  # the clock may have been wrong
            if (guard.expires > clock.time() and len(guards) < MAX_GUARDS
                    and all(guard.key_bin != other.key_bin for other in guards)):
                guards.append(guard)
        return guards

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("guards", len(self.guards), MAX_GUARDS, rule="none is added")


class GuardFile:
    """Keeps sets of guards in a JSON file, which is replaced as a whole. Several programs can use the same one.

    :param path: of the file; without one, nothing is kept.
    :param sets: the sets by the names that they have in the file.
    """

    def __init__(self, path: str | None, sets: dict[str, GuardSet]) -> None:
        self.path = None if path is None else Path(path)
        self.sets = sets
        self._seen: tuple[int, ...] | None = None  # which file was read or written last
        self._has_warned = False

    def load(self) -> None:
        """Read the sets. A file that cannot be used is logged; it is replaced when something changes."""
        content = self._read()
        for name, guards in self.sets.items():
            guards.load(content.get(name))

    def follow(self) -> None:
        """Read the sets again if another program has written the file, and take them over."""
        if self.path is not None and self._is_of_another():
            content = self._read()
            for name, guards in self.sets.items():
                guards.follow(content.get(name))

    def _read(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        try:
            self._seen = _mark_of(self.path.stat())
            with self.path.open("rb") as file:
                text = file.read(MAX_FILE_SIZE + 1)
            if len(text) > MAX_FILE_SIZE:
                raise ValueError("it is too large")
            content = json.loads(text)
            if not isinstance(content, dict) or content.get("version") != FILE_VERSION:
                raise ValueError("it is of another version")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as e:
            logger.warning("The guards in %s are not used: %s", self.path, e)
            return {}
        return content

    def _is_of_another(self) -> bool:
        """Whether the file is not the one that was read or written here last."""
        assert self.path is not None
        try:
            return _mark_of(self.path.stat()) != self._seen
        except OSError:
            return False

    @property
    def is_due(self) -> bool:
        """Whether something changed that is not in the file."""
        return self.path is not None and any(guards.changed for guards in self.sets.values())

    def save(self) -> None:
        """Write the sets; what goes wrong is logged, and tried again later.

        What another program has written in the meantime stays: :meth:`follow` comes first.
        """
        if self.path is None or self._is_of_another():
            return
        for guards in self.sets.values():
            guards.changed = False  # first: they may change meanwhile, as this runs in a thread
        content = {"version": FILE_VERSION, **{name: guards.to_list() for name, guards in self.sets.items()}}
        try:
            with new_content(self.path) as file:
                file.write(json.dumps(content).encode())
                file.flush()
                self._seen = _mark_of(os.fstat(file.fileno()))
        except OSError as e:
            for guards in self.sets.values():
                guards.changed = True
            if not self._has_warned:
                self._has_warned = True
                logger.warning("The guards could not be saved: %s", e)


def _mark_of(status: os.stat_result) -> tuple[int, ...]:
    """What is different for each file that has the same name in turn."""
    return status.st_mtime_ns, status.st_ino, status.st_size
