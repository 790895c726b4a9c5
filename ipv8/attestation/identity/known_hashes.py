"""The attributes that an authority expects others to describe."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from ... import clock
from ...limits import BoundedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KNOWN_HASH_LIFETIME", "MAX_KNOWN_HASHES", "KnownHashes"]

KNOWN_HASH_LIFETIME = 300.0
"""Seconds for which an attribute is attested after the authority has said that it knows it."""

MAX_KNOWN_HASHES = 1000
"""Attributes that an authority expects others to describe; the oldest is forgotten first."""

KNOWN_HASH_MEMORY = 2 * KNOWN_HASH_LIFETIME
"""Seconds after which an attribute is removed that is not attested any more."""


class KnownHashes(BoundedDict[bytes, tuple[Any, ...]]):
    """For each hash: name, time of addition (seconds since the epoch), key of the subject, metadata or ``None``.

    Programs may write tuples of their own. The ages of entries are monotonic: setting the clock does not change them.
    """

    __slots__ = ("_added",)

    def __init__(self, capacity: int = MAX_KNOWN_HASHES) -> None:
        self._added: dict[bytes, float] = {}
        super().__init__(capacity, self._forget)

    def _forget(self, attribute_hash: bytes, _: tuple[Any, ...]) -> None:
        self._added.pop(attribute_hash, None)

    def __setitem__(self, attribute_hash: bytes, entry: tuple[Any, ...]) -> None:
        self._added[attribute_hash] = clock.monotonic_of(entry[1])
        super().__setitem__(attribute_hash, entry)

    def __delitem__(self, attribute_hash: bytes) -> None:
        super().__delitem__(attribute_hash)
        self._added.pop(attribute_hash, None)

    def age(self, attribute_hash: bytes) -> float:
        """Seconds since an attribute was added; infinite if it is not there."""
        if attribute_hash not in self:
            return inf
        return clock.monotonic() - self._added.get(attribute_hash, -inf)

    def is_current(self, attribute_hash: bytes) -> bool:
        """Whether an attribute is still attested."""
        return self.age(attribute_hash) <= KNOWN_HASH_LIFETIME

    def of_subject(self, public_key: bytes) -> Iterator[bytes]:
        """The attributes that a subject is expected to describe, expired ones included."""
        return iter([attribute_hash for attribute_hash, entry in self.items() if entry[2] == public_key])

    def forget_old(self) -> None:
        """Remove the attributes that have not been attested for a while."""
        for attribute_hash in [known for known in self if self.age(known) > KNOWN_HASH_MEMORY]:
            del self[attribute_hash]
