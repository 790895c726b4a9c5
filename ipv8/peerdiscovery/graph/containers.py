"""Built-in containers with one more property each, for attributes that programs edit directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Set as AbstractSet

__all__ = ["ObservedDict", "ObservedSet", "UniqueList"]

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class UniqueList(list[T]):
    """A list of hashable items without duplicates, in which ``in`` takes the same time however long the list is.

    An item that is in the list is silently not added again.
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
    """A set that calls :meth:`item_added` and :meth:`item_removed` for each change, whichever method makes it.

    Subclasses define these two. They are called after the change.
    """

    __slots__ = ()

    def item_added(self, item: T) -> None:
        """Called when ``item`` has been added."""
        raise NotImplementedError

    def item_removed(self, item: T) -> None:
        """Called when ``item`` has been removed."""
        raise NotImplementedError

    def add(self, item: T) -> None:
        """Add ``item``."""
        if item not in self:
            super().add(item)
            self.item_added(item)

    def discard(self, item: T) -> None:  # type: ignore[override]  # as strict as add
        """Remove ``item`` if it is present."""
        size = len(self)
        super().discard(item)
        if len(self) != size:
            self.item_removed(item)

    def remove(self, item: T) -> None:
        """Remove ``item``; ``KeyError`` if it is absent."""
        super().remove(item)
        self.item_removed(item)

    def pop(self) -> T:
        """Remove and return any item; ``KeyError`` if the set is empty."""
        item = super().pop()
        self.item_removed(item)
        return item

    def clear(self) -> None:
        """Remove all items."""
        self.difference_update(tuple(self))

    def replace(self, items: Iterable[T]) -> None:
        """Remove all items, then add ``items``."""
        new = tuple(items)
        self.clear()
        self.update(new)

    def update(self, *others: Iterable[T]) -> None:
        """Add the items of all ``others``."""
        for other in others:
            for item in tuple(other):
                self.add(item)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove the items of all ``others``."""
        for other in others:
            for item in tuple(other):
                self.discard(item)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep the items that are in all ``others`` too."""
        self.difference_update(self - self.intersection(*others))

    def symmetric_difference_update(self, other: Iterable[T]) -> None:
        """Keep the items that are in one of the two sets only."""
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
    """A dictionary that calls :meth:`item_added` and :meth:`item_removed` for each change, whichever method makes it.

    Subclasses define these two. They are called after the change. A key that gets another value is removed and added
    again, so it becomes the last one.
    """

    __slots__ = ()

    def item_added(self, key: K, value: V) -> None:
        """Called when ``key`` has been added with ``value``."""
        raise NotImplementedError

    def item_removed(self, key: K, value: V) -> None:
        """Called when ``key``, which had ``value``, has been removed."""
        raise NotImplementedError

    def __setitem__(self, key: K, value: V) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, value)
        self.item_added(key, value)

    def __delitem__(self, key: K) -> None:
        self.pop(key)

    def pop(self, key: K, *default: Any) -> Any:
        """Remove ``key`` and return its value; if it is absent return ``default`` or else raise ``KeyError``."""
        if default and key not in self:
            return default[0]
        value = super().pop(key)
        self.item_removed(key, value)
        return value

    def popitem(self) -> tuple[K, V]:
        """Remove and return the last item; ``KeyError`` if the dictionary is empty."""
        key, value = super().popitem()
        self.item_removed(key, value)
        return key, value

    def clear(self) -> None:
        """Remove all items."""
        while self:
            self.popitem()

    def setdefault(self, key: K, default: V) -> V:
        """The value of ``key``, set to ``default`` first if it is absent."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set the items of a mapping, or pairs, and the keywords."""
        new: dict[K, V] = dict(*args, **kwargs)
        for key, value in new.items():
            self[key] = value

    def replace(self, items: Any) -> None:
        """Remove all items, then set those of a mapping, or pairs."""
        new: dict[K, V] = dict(items)
        self.clear()
        self.update(new)

    def __ior__(self, other: Any) -> ObservedDict[K, V]:  # type: ignore[override,misc]  # stays observed
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
