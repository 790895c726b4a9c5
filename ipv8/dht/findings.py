"""What the answers to a lookup of values hold: the values, who sent invalid ones, and who lacks some."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .crawl import Crawl
    from .routing import Node
    from .values import ReadValue

__all__ = ["FindResultType", "Findings", "merge_results"]

FindResultType = tuple[Any, ...]
"""Nodes or values."""

KNOWN_TYPES = frozenset({b"", b"\x00", b"\x01"})
"""First bytes of values that every node can check; values of other types may be those of a newer version."""


def merge_results(results: tuple[Iterable[Any], ...]) -> tuple[Any, ...]:
    """All results, one behind the other."""
    return tuple(chain.from_iterable(results))


class Findings:
    """The values that lookups of one key have found.

    :param crawls: the lookups, one for each address family.
    :param own: the values that this node stores itself.
    :param read: reads a value, ``None`` if it is invalid.
    """

    def __init__(self, crawls: Sequence[Crawl], own: Iterable[bytes], read: ReadValue) -> None:
        self._crawls = crawls
        found = chain(chain.from_iterable(crawl.values for crawl in crawls), own)
        self._entries = {value: read(value) for value in dict.fromkeys(found)}
        self._versions: dict[bytes, int] = {}
        for entry in self._entries.values():
            if entry is not None and entry[1] is not None:
                self._versions[entry[1]] = max(entry[2], self._versions.get(entry[1], 0))

    @property
    def values(self) -> list[bytes]:
        """The valid values, each once."""
        return [value for value, entry in self._entries.items() if entry is not None]

    def senders_of_invalid_values(self) -> Iterator[Node]:
        """The nodes that have sent values which no node that checks values stores."""
        for crawl in self._crawls:
            for node, response in crawl.responses:
                if any(self._entries[value] is None and value[:1] in KNOWN_TYPES
                       for value in response.get("values", ())):
                    yield node

    def repair(self, crawl: Crawl) -> tuple[list[bytes], list[Node]]:
        """Values that the lookup has found, and the nodes that lack them.

        These are the nodes that have older values of the same signers, and the nearest node that has none.
        """
        current = [value for value in crawl.values if self._is_current(value)]
        behind = [node for node, response in crawl.responses if any(map(self._is_old, response.get("values", ())))]
        candidate = crawl.cache_candidate
        return current, list(dict.fromkeys(behind if candidate is None else [candidate, *behind]))

    def _is_current(self, value: bytes) -> bool:
        return self._entries[value] is not None and not self._is_old(value)

    def _is_old(self, value: bytes) -> bool:
        """Whether there is a newer value of the same signer."""
        entry = self._entries[value]
        return entry is not None and entry[1] is not None and entry[2] < self._versions[entry[1]]
