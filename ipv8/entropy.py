"""The only source of randomness for everything below the service.

Identifiers, choices and samples come from here. The default source is that of the operating system. A simulation
installs a ``random.Random`` with a seed, so that it can be repeated::

    with entropy.use(random.Random(42)):
        ...
"""

from __future__ import annotations

import random as _random
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableSequence, Sequence

__all__ = ["choice", "current", "install", "randbits", "randbytes", "randint", "random", "sample", "shuffle", "use"]

T = TypeVar("T")

_current: _random.Random = _random.SystemRandom()


def random() -> float:
    """A float in [0, 1)."""
    return _current.random()


def randint(low: int, high: int) -> int:
    """An integer in [low, high], both ends included."""
    return _current.randint(low, high)


def randbits(count: int) -> int:
    """An integer of ``count`` random bits."""
    return _current.getrandbits(count)


def randbytes(count: int) -> bytes:
    """``count`` random bytes."""
    return _current.getrandbits(8 * count).to_bytes(count, "big")


def choice(options: Sequence[T]) -> T:
    """One of ``options``; ``IndexError`` when there are none."""
    return _current.choice(options)


def sample(options: Sequence[T], count: int) -> list[T]:
    """``count`` different elements of ``options`` in random order; ``ValueError`` when there are fewer."""
    return _current.sample(options, count)


def shuffle(items: MutableSequence[T]) -> None:
    """Put ``items`` into random order, in place."""
    _current.shuffle(items)


def current() -> _random.Random:
    """The source in use."""
    return _current


def install(source: _random.Random) -> _random.Random:
    """Use ``source`` from now on, process-wide, and return the one used before."""
    global _current
    previous, _current = _current, source
    return previous


@contextmanager
def use(source: _random.Random) -> Iterator[_random.Random]:
    """Use ``source`` inside a ``with`` block."""
    previous = install(source)
    try:
        yield source
    finally:
        install(previous)
