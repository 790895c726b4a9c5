"""Built-in containers with one property more, for attributes that programs write to directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Set as AbstractSet
    from contextlib import AbstractContextManager

__all__ = ["ObservedDict", "ObservedSet", "UniqueList"]

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class UniqueList(list[T]):
    """A list of hashable items without duplicates, whose ``in`` does not depend on its length.

    What is in the list already is silently not added again.
    """

    __slots__ = ("_present",)

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__()
        self._present: set[T] = set()
        self.extend(items)

    def __contains__(self, item: object) -> bool:
        return item in self._present

    def append(self, item: T) -> None:
        """Add ``item`` at the end, unless it is present."""
        if item not in self._present:
            self._present.add(item)
            super().append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Append each of ``items`` that is not present."""
        for item in tuple(items):
            self.append(item)

    def insert(self, index: SupportsIndex, item: T) -> None:
        """Add ``item`` before ``index``, unless it is present."""
        if item not in self._present:
            self._present.add(item)
            super().insert(index, item)

    def remove(self, item: T) -> None:
        """Remove ``item``; ``ValueError`` if it is absent."""
        super().remove(item)
        self._present.discard(item)

    def pop(self, index: SupportsIndex = -1) -> T:
        """Remove and return the item at ``index``."""
        item = super().pop(index)
        self._present.discard(item)
        return item

    def clear(self) -> None:
        """Remove all items."""
        super().clear()
        self._present.clear()

    def _replace(self, items: Iterable[T]) -> None:
        remaining = tuple(items)
        self.clear()
        self.extend(remaining)

    def __setitem__(self, index: Any, value: Any) -> None:
        edited = list(self)
        edited[index] = value
        self._replace(edited)

    def __delitem__(self, index: Any) -> None:
        edited = list(self)
        del edited[index]
        self._replace(edited)

    def __iadd__(self, items: Iterable[T]) -> UniqueList[T]:  # type: ignore[override,misc]  # any iterable, as list
        self.extend(items)
        return self

    def __imul__(self, count: SupportsIndex) -> UniqueList[T]:
        if int(count) < 1:
            self.clear()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)


class ObservedSet(set[T]):
    """A set that tells its subclass which items came and which went, one by one, whatever method was used.

    :param lock: held, each time, until the subclass has taken notice; it must be reentrant.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        super().__init__()
        self._lock = lock

    def _gained(self, item: T) -> None:
        """Take notice of ``item``, which is in the set now."""
        raise NotImplementedError

    def _lost(self, item: T) -> None:
        """Take notice of ``item``, which is not in the set any more."""
        raise NotImplementedError

    def add(self, item: T) -> None:
        """Put ``item`` into the set."""
        with self._lock:
            if item not in self:
                super().add(item)
                self._gained(item)

    def discard(self, item: T) -> None:  # type: ignore[override]  # as strict as add
        """Take ``item`` out of the set if it is there."""
        with self._lock:
            size = len(self)
            super().discard(item)
            if len(self) != size:
                self._lost(item)

    def remove(self, item: T) -> None:
        """Take ``item`` out of the set; ``KeyError`` if it is absent."""
        with self._lock:
            super().remove(item)
            self._lost(item)

    def pop(self) -> T:
        """Take any item out of the set and return it; ``KeyError`` when there is none."""
        with self._lock:
            item = super().pop()
            self._lost(item)
            return item

    def clear(self) -> None:
        """Take all items out."""
        with self._lock:
            self.difference_update(tuple(self))

    def replace(self, items: Iterable[T]) -> None:
        """Let exactly ``items`` be in the set, as if it was cleared and they were added."""
        new = tuple(items)
        with self._lock:
            self.clear()
            self.update(new)

    def update(self, *others: Iterable[T]) -> None:
        """Put the items of all ``others`` into the set."""
        for other in others:
            for item in tuple(other):
                self.add(item)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Take the items of all ``others`` out of the set."""
        for other in others:
            for item in tuple(other):
                self.discard(item)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep what is in all ``others`` too."""
        self.difference_update(self - self.intersection(*others))

    def symmetric_difference_update(self, other: Iterable[T]) -> None:
        """Keep what is in one of the two sets only."""
        toggled = frozenset(other)
        common = self & toggled
        self.difference_update(common)
        self.update(toggled - common)

    def __ior__(self, other: AbstractSet[T]) -> ObservedSet[T]:  # type: ignore[override,misc]  # stays observed
        self.update(other)
        return self

    def __isub__(self, other: AbstractSet[Any]) -> ObservedSet[T]:  # type: ignore[misc]  # stays observed
        self.difference_update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> ObservedSet[T]:  # type: ignore[misc]  # stays observed
        self.intersection_update(other)
        return self

    def __ixor__(self, other: AbstractSet[T]) -> ObservedSet[T]:  # type: ignore[override,misc]  # stays observed
        self.symmetric_difference_update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return set, (list(self),)


class ObservedDict(dict[K, V]):
    """A dictionary that tells its subclass which items came and which went, one by one, whatever method was used.

    What gets a new value is an item that goes and one that comes, so it becomes the last one.

    :param lock: held, each time, until the subclass has taken notice; it must be reentrant.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        super().__init__()
        self._lock = lock

    def _gained(self, key: K, value: V) -> None:
        """Take notice of ``key``, which has ``value`` now."""
        raise NotImplementedError

    def _lost(self, key: K, value: V) -> None:
        """Take notice of ``key``, which had ``value`` and is absent now."""
        raise NotImplementedError

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            if key in self:
                del self[key]
            super().__setitem__(key, value)
            self._gained(key, value)

    def __delitem__(self, key: K) -> None:
        self.pop(key)

    def pop(self, key: K, *default: Any) -> Any:
        """Remove ``key`` and return its value; if it is absent return ``default`` or else raise ``KeyError``."""
        with self._lock:
            if default and key not in self:
                return default[0]
            value = super().pop(key)
            self._lost(key, value)
            return value

    def popitem(self) -> tuple[K, V]:
        """Remove and return the last item; ``KeyError`` when there is none."""
        with self._lock:
            key, value = super().popitem()
            self._lost(key, value)
            return key, value

    def clear(self) -> None:
        """Remove all items."""
        with self._lock:
            while self:
                self.popitem()

    def setdefault(self, key: K, default: V) -> V:
        """The value of ``key``, which becomes ``default`` if there is none."""
        with self._lock:
            if key not in self:
                self[key] = default
            return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over the items of a mapping, or pairs, and the keywords."""
        new: dict[K, V] = dict(*args, **kwargs)
        with self._lock:
            for key, value in new.items():
                self[key] = value

    def replace(self, items: Any) -> None:
        """Let exactly the items of a mapping, or pairs, be in the dictionary."""
        new: dict[K, V] = dict(items)
        with self._lock:
            self.clear()
            self.update(new)

    def __ior__(self, other: Any) -> ObservedDict[K, V]:  # type: ignore[override,misc]  # stays observed
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
