"""A prefix tree over strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import DHTError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Branch", "Node", "Trie"]

V = TypeVar("V")

_RAISE: Any = object()


class Branch(Generic[V]):
    """A node of the tree: the value stored there, if any, and the branches by their next character."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.value: V | None = None
        self.children: dict[str, Branch[V]] = {}


Node = Branch
"""The name under which programs import it; not the node of a DHT."""


class Trie(Generic[V]):
    """Values by strings over ``alphabet``; a stored ``None`` counts as absent."""

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self.root: Branch[V] = Branch()

    def _path(self, key: str) -> list[Branch[V]]:
        """The branches from the root towards ``key``, as far as they exist."""
        node = self.root
        path = [node]
        for character in key:
            child = node.children.get(character)
            if child is None:
                break
            node = child
            path.append(node)
        return path

    def __getitem__(self, key: str) -> V:
        path = self._path(key)
        value = path[-1].value
        if len(path) <= len(key) or value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: V) -> None:
        if not set(key) <= set(self.alphabet):
            raise DHTError("Error while adding item to trie")
        node = self.root
        for character in key:
            node = node.children.setdefault(character, Branch())
        node.value = value

    def __delitem__(self, key: str) -> None:
        path = self._path(key)
        if len(path) <= len(key) or path[-1].value is None:
            raise KeyError(key)
        path[-1].value = None
        for depth in range(len(key), 0, -1):
            if path[depth].children or path[depth].value is not None:
                break
            del path[depth - 1].children[key[depth - 1]]

    def itervalues(self) -> Iterator[V]:
        """All values: a parent before its children, children in the order in which they were inserted."""
        remaining = [self.root]
        while remaining:
            node = remaining.pop()
            if node.value is not None:
                yield node.value
            remaining.extend(reversed(node.children.values()))

    def values(self) -> list[V]:
        """The values of :meth:`itervalues` as a list."""
        return list(self.itervalues())

    def longest_prefix_item(self, key: str, default: Any = _RAISE) -> Any:
        """The longest stored prefix of ``key`` whose value is true, with that value.

        The empty prefix does not count.

        :raises KeyError: if there is none and no ``default`` was given.
        """
        path = self._path(key)
        for depth in range(len(path) - 1, 0, -1):
            if path[depth].value:
                return key[:depth], path[depth].value
        if default is _RAISE:
            raise KeyError(key)
        return default

    def longest_prefix(self, key: str, default: Any = _RAISE) -> Any:
        """The prefix that :meth:`longest_prefix_item` finds."""
        return self._part_of_item(0, key, default)

    def longest_prefix_value(self, key: str, default: Any = _RAISE) -> Any:
        """The value that :meth:`longest_prefix_item` finds."""
        return self._part_of_item(1, key, default)

    def _part_of_item(self, part: int, key: str, default: Any) -> Any:
        item = self.longest_prefix_item(key, None)
        if item is not None:
            return item[part]
        if default is _RAISE:
            raise KeyError(key)
        return default

    def suffixes(self, key: str) -> list[str]:
        """Every string that makes a stored key when it is appended to ``key``, in the order of :meth:`itervalues`."""
        path = self._path(key)
        found: list[str] = []
        remaining = [("", path[-1])] if len(path) > len(key) else []
        while remaining:
            suffix, node = remaining.pop()
            if node.value is not None:
                found.append(suffix)
            remaining.extend((suffix + character, child) for character, child in reversed(node.children.items()))
        return found
