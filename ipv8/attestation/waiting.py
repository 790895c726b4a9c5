"""Requests of others that wait until a person decides about them (doc/identity.md)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from ..limits import BoundedDict
from .foreign_json import is_same

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ..peer import Peer

__all__ = ["Asked", "OtherRequestError", "WaitingRequests", "refuse"]

E = TypeVar("E", bound="Future[Any] | tuple[Future[Any], str]")


class OtherRequestError(ValueError):
    """The request that waits asks for something else than the one that was decided about."""


class Asked(NamedTuple):
    """What a request asks for."""

    peer: Peer
    name: str
    #: As JSON.
    metadata: str = "{}"
    #: That of the attestation that is asked for, if it is known.
    id_format: str | None = None
    #: That of the attribute to be verified.
    attribute_hash: bytes = b""

    @property
    def request_id(self) -> str:
        """Hexadecimal digits that are the same for all requests that ask for the same, and for no others."""
        content = json.dumps([self.peer.public_key.key_to_bin().hex(), self.name, self.metadata, self.id_format,
                              self.attribute_hash.hex()])
        return sha256(content.encode()).hexdigest()

    def has_metadata(self, metadata: str | dict[str, Any]) -> bool:
        """Whether it has this metadata: as the very same JSON, or as an object with the same content."""
        if isinstance(metadata, str):
            return metadata == self.metadata
        return is_same(metadata, json.loads(self.metadata))


def _future_of(entry: Future[Any] | tuple[Future[Any], str]) -> Future[Any]:
    return entry[0] if isinstance(entry, tuple) else entry


def refuse(_: Any, entry: Future[Any] | tuple[Future[Any], str]) -> None:
    """Answer a request that is forgotten."""
    future = _future_of(entry)
    if not future.done():
        future.set_result(None)


class WaitingRequests(Generic[E]):
    """One request for each peer and name, so that it is known what a decision is about.

    A request that asks for the same as one that waits takes its place. One that asks for something else is not shown
    before the other one has ended; the newest one of that kind is kept.

    :param capacity: how many can be decided about, and as many can wait for them; the oldest is refused first.
    :param on_show: called with what a request asks for, when it can be decided about.
    """

    def __init__(self, capacity: int, on_show: Callable[[Asked], None]) -> None:
        #: The requests that can be decided about: futures of the decision, or tuples that begin with one.
        self.shown: BoundedDict[tuple[Peer, str], E] = BoundedDict(capacity, refuse)
        self._newer: BoundedDict[tuple[Peer, str], E] = BoundedDict(capacity, refuse)
        self._asked: WeakKeyDictionary[Future[Any], Asked] = WeakKeyDictionary()  # only for those of the tables
        self._on_show = on_show

    def add(self, asked: Asked, entry: E) -> None:
        """Let a request wait until its future is done."""
        pointer, future = (asked.peer, asked.name), _future_of(entry)
        self._asked[future] = asked
        future.add_done_callback(lambda _: self._end(pointer, entry))
        earlier = self.shown.get(pointer)
        if earlier is None or _future_of(earlier).done() or self._asked.get(_future_of(earlier)) == asked:
            self._show(pointer, entry)
        else:
            self._replace(self._newer, pointer, entry)

    def asked(self, pointer: tuple[Peer, str]) -> Asked | None:
        """What the request of a peer for a name asks for; ``None`` if there is none, or a program has put it there."""
        entry = self.shown.get(pointer)
        return None if entry is None else self._asked.get(_future_of(entry))

    def take(self, pointer: tuple[Peer, str], request_id: str | None = None,
             metadata: str | dict[str, Any] | None = None) -> Future[Any]:
        """Take a request out, and return the future for the decision about it.

        :param request_id: the :attr:`Asked.request_id` that it must have.
        :param metadata: the metadata that it must have.
        :raises KeyError: if there is none.
        :raises OtherRequestError: if it asks for something else; it still waits then.
        """
        entry, asked = self.shown[pointer], self.asked(pointer)
        if (request_id is not None and (asked is None or asked.request_id != request_id)) or (
                metadata is not None and (asked is None or not asked.has_metadata(metadata))):
            raise OtherRequestError(f"the request for {pointer[1]!r} that waits now asks for something else: look at "
                                    "it, and decide again")
        del self.shown[pointer]
        return _future_of(entry)

    def clear(self) -> None:
        """Refuse all."""
        entries = [*self.shown.values(), *self._newer.values()]
        self.shown.clear()
        self._newer.clear()
        for entry in entries:
            refuse(None, entry)

    def _replace(self, table: BoundedDict[tuple[Peer, str], E], pointer: tuple[Peer, str], entry: E) -> None:
        earlier = table.pop(pointer, None)
        table[pointer] = entry
        if earlier is not None:
            refuse(pointer, earlier)

    def _show(self, pointer: tuple[Peer, str], entry: E) -> None:
        self._replace(self.shown, pointer, entry)
        self._on_show(self._asked[_future_of(entry)])

    def _end(self, pointer: tuple[Peer, str], entry: E) -> None:
        """Forget a request that was decided about, and show the next one."""
        for table in (self.shown, self._newer):
            if table.get(pointer) is entry:
                del table[pointer]
        if pointer not in self.shown:
            newer = self._newer.pop(pointer, None)
            if newer is not None and not _future_of(newer).done():
                self._show(pointer, newer)
