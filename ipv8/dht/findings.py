"""What the answers to a lookup of values hold: the values, who sent malformed ones, and who lacks some."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from .diversity import network_to_charge
from .values import is_malformed, key_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .crawl import Crawl
    from .routing import Node
    from .values import ReadValue

__all__ = ["FindResultType", "Findings", "merge_results"]

FindResultType = tuple[Any, ...]
"""Nodes or values."""


def merge_results(results: tuple[Iterable[Any], ...]) -> tuple[Any, ...]:
    """All results, one behind the other."""
    return tuple(chain.from_iterable(results))


def _is_confirmed(nodes: Iterable[Node]) -> bool:
    """Whether nodes of several networks sent the same."""
    return len({network_to_charge(node.address[0]) for node in nodes}) > 1


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

    def senders_of_malformed_values(self) -> Iterator[Node]:
        """The nodes that have sent values which no node can read, and so none stores."""
        for crawl in self._crawls:
            for node, response in crawl.responses:
                if any(self._entries[value] is None and is_malformed(value) for value in response.get("values", ())):
                    yield node

    def deliverers(self, target: bytes, own_key: bytes) -> Iterator[Node]:
        """The nodes that delivered what was looked for.

        That is a current value which this node has stored, or which the owner of the key has, or one that nodes of
        several networks sent. Anybody can make up others.

        :param own_key: the public key of this node.
        """
        for crawl in self._crawls:
            senders = self._senders(crawl)
            good = {value for value, nodes in senders.items() if self._is_current(value) and (
                self._signer(value) == own_key or self._is_of_owner(value, target) or _is_confirmed(nodes))}
            for node, response in crawl.responses:
                if not good.isdisjoint(response.get("values", ())):
                    yield node

    def _signer(self, value: bytes) -> bytes | None:
        entry = self._entries[value]
        return None if entry is None else entry[1]

    def _is_of_owner(self, value: bytes, target: bytes) -> bool:
        """Whether the key is made of the key of the signer."""
        signer = self._signer(value)
        return signer is not None and key_for(signer) == target

    @staticmethod
    def _senders(crawl: Crawl) -> dict[bytes, list[Node]]:
        """Who sent each value."""
        senders: dict[bytes, list[Node]] = {}
        for node, response in crawl.responses:
            for value in response.get("values", ()):
                senders.setdefault(value, []).append(node)
        return senders

    def repairs(self, crawl: Crawl, may_cache: Callable[[Node], bool]) -> list[tuple[list[bytes], list[Node]]]:
        """Which values to store on which nodes.

        Nodes that have older values of a signer get the newest one. The nearest node without values gets those that
        were found, within limits: whoever stores values of others uses up what it may store itself.

        :param may_cache: whether a value of this sender may be stored on another node; counts it.
        """
        lacking: dict[tuple[bytes, ...], list[Node]] = {}
        for node, response in crawl.responses:
            newer = tuple(self._newer_than(response.get("values", ()), crawl.values))
            if newer:
                lacking.setdefault(newer, []).append(node)
        candidate = crawl.cache_candidate
        cached = () if candidate is None else tuple(self._to_cache(crawl, candidate, may_cache))
        if candidate is not None and cached:
            lacking.setdefault(cached, []).append(candidate)
        return [(list(values), nodes) for values, nodes in lacking.items()]

    def _newer_than(self, values: Iterable[bytes], found: Iterable[bytes]) -> Iterator[bytes]:
        """The newest values of the signers of old ones among ``values``."""
        signers = {entry[1] for entry in (self._entries[value] for value in values if self._is_old(value)) if entry}
        for value in found if signers else ():
            entry = self._entries[value]
            if entry is not None and entry[1] in signers and not self._is_old(value):
                yield value

    def _to_cache(self, crawl: Crawl, candidate: Node, may_cache: Callable[[Node], bool]) -> Iterator[bytes]:
        """The values to store on ``candidate``, which has none.

        These are the one of the key's owner, those that nodes of several networks have sent, and one that only a node
        has sent which ``candidate`` told of.
        """
        told = {node for sender, response in crawl.responses if sender == candidate
                for node in response.get("nodes", ())}
        senders = self._senders(crawl)
        others = 1
        for value in filter(self._is_current, crawl.values):
            if self._is_of_owner(value, crawl.target):
                yield value
                continue
            is_confirmed = _is_confirmed(senders[value])
            if not is_confirmed and (not others or told.isdisjoint(senders[value])):
                continue
            if any(map(may_cache, senders[value])):
                others -= not is_confirmed
                yield value

    def _is_current(self, value: bytes) -> bool:
        return self._entries[value] is not None and not self._is_old(value)

    def _is_old(self, value: bytes) -> bool:
        """Whether there is a newer value of the same signer."""
        entry = self._entries[value]
        return entry is not None and entry[1] is not None and entry[2] < self._versions[entry[1]]
