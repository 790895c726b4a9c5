"""A bounded memory of the results of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CACHE_SIZE", "Cache"]

CACHE_SIZE = 4096
"""Results of one function that are kept. A full cache is emptied."""

K = TypeVar("K")
V = TypeVar("V")


class Cache(dict[K, V]):
    """A dictionary that computes the values that it does not have. A lookup is as fast as in any dictionary.

    :param compute: the function of one hashable argument. Its errors are not kept.
    :param size: how many results are kept. A full cache is emptied.
    """

    __slots__ = ("compute", "size")

    def __init__(self, compute: Callable[[K], V], size: int = CACHE_SIZE) -> None:
        super().__init__()
        self.compute = compute
        self.size = size

    @property
    def capacity(self) -> int:
        """How many results are kept."""
        return self.size

    def __missing__(self, key: K) -> V:
        value = self.compute(key)
        if len(self) >= self.size:
            self.clear()
        self[key] = value
        return value
