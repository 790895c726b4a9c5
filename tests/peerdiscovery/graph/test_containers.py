from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.peerdiscovery.graph.containers import ObservedDict, ObservedSet, UniqueList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def unique(items: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(items))


numbers = st.integers(0, 9)
LIST_EDITS: dict[str, Callable[[Any, Any], Any]] = {
    "append": lambda items, other: items.append(other[0]),
    "extend": lambda items, other: items.extend(iter(other)),
    "extend with itself": lambda items, _: items.extend(items),
    "insert": lambda items, other: items.insert(1, other[0]),
    "remove": lambda items, other: items.remove(other[0]),
    "pop": lambda items, _: items.pop(),
    "pop first": lambda items, _: items.pop(0),
    "clear": lambda items, _: items.clear(),
    "replace": lambda items, other: items.__setitem__(0, other[0]),
    "replace all": lambda items, other: items.__setitem__(slice(None), other),
    "delete": lambda items, _: items.__delitem__(0),
    "delete some": lambda items, _: items.__delitem__(slice(None, None, 2)),
    "add in place": lambda items, other: items.__iadd__(other),
    "repeat": lambda items, _: items.__imul__(2),
    "repeat never": lambda items, _: items.__imul__(0),
    "sort": lambda items, _: items.sort(),
    "reverse": lambda items, _: items.reverse(),
}


@settings(deadline=None, max_examples=150)
@given(st.lists(numbers), st.lists(st.tuples(st.sampled_from(sorted(LIST_EDITS)), st.lists(numbers, min_size=1))))
def test_unique_list_is_a_list_without_duplicates(start: list[int], edits: list[tuple[str, list[int]]]) -> None:
    plain, items = unique(start), UniqueList(start)
    for name, argument in edits:
        try:
            LIST_EDITS[name](plain, argument)
        except (ValueError, IndexError) as error:
            with pytest.raises(type(error)):
                LIST_EDITS[name](items, argument)
            continue
        if name != "insert":
            # An insertion of what is there already moves nothing; in every other case the first occurrence stays.
            plain = unique(plain)
        elif len(set(plain)) < len(plain):
            del plain[min(1, len(plain) - 1)]
        LIST_EDITS[name](items, argument)
        assert items == plain
        assert [number in items for number in range(10)] == [number in plain for number in range(10)]


def test_unique_list_survives_copying() -> None:
    items = UniqueList([1, 2])
    for other in (copy.copy(items), copy.deepcopy(items), pickle.loads(pickle.dumps(items))):
        other.append(2)
        other.append(3)
        assert other == [1, 2, 3]
    assert items == [1, 2]
    assert isinstance(items, list)


class Recording(ObservedSet[int]):
    __slots__ = ("events",)

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, int]] = []

    def item_added(self, item: int) -> None:
        assert item in self
        self.events.append(("+", item))

    def item_removed(self, item: int) -> None:
        assert item not in self
        self.events.append(("-", item))


SET_EDITS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda items, other: items.add(min(other)),
    "discard": lambda items, other: items.discard(min(other)),
    "remove": lambda items, other: items.remove(min(other)),
    "clear": lambda items, _: items.clear(),
    "update": lambda items, other: items.update(other, [1]),
    "difference_update": lambda items, other: items.difference_update(other, [1]),
    "intersection_update": lambda items, other: items.intersection_update(other, range(5)),
    "symmetric_difference_update": lambda items, other: items.symmetric_difference_update(other),
    "or": lambda items, other: items.__ior__(other),
    "sub": lambda items, other: items.__isub__(other),
    "and": lambda items, other: items.__iand__(other),
    "xor": lambda items, other: items.__ixor__(other),
    "sub itself": lambda items, _: items.__isub__(items),
}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(sorted(SET_EDITS)), st.sets(numbers, min_size=1))))
def test_observed_set_is_a_set_that_reports(edits: list[tuple[str, set[int]]]) -> None:
    plain: set[int] = set()
    items = Recording()
    for name, argument in edits:
        before = set(plain)
        items.events.clear()
        try:
            SET_EDITS[name](plain, argument)
        except KeyError:
            with pytest.raises(KeyError):
                SET_EDITS[name](items, argument)
            continue
        SET_EDITS[name](items, argument)
        assert items == plain
        assert sorted(items.events) == sorted([("+", item) for item in plain - before]
                                              + [("-", item) for item in before - plain])


def test_observed_set_pop() -> None:
    items = Recording()
    items.add(1)
    assert items.pop() == 1
    assert items.events == [("+", 1), ("-", 1)]
    with pytest.raises(KeyError):
        items.pop()


def test_in_place_operators_keep_the_observed_set() -> None:
    kept = Recording()
    items: Any = kept
    items |= {1, 2, 3}
    items -= {1}
    items &= {2, 3, 4}
    items ^= {3, 5}
    assert items is kept
    assert items == {2, 5}


def test_copies_of_an_observed_set_are_not_observed() -> None:
    items = Recording()
    items.add(1)
    other = copy.deepcopy(items)
    other.add(2)
    assert other == {1, 2}
    assert items.events == [("+", 1)]


def test_an_observed_set_needs_an_observer() -> None:
    items: ObservedSet[int] = ObservedSet()
    with pytest.raises(NotImplementedError):
        items.add(1)
    with pytest.raises(NotImplementedError):
        items.discard(1)


def test_observed_set_replace() -> None:
    items = Recording()
    items.update([1, 2])
    items.replace(number + 1 for number in items)
    assert items == {2, 3}


class RecordingDict(ObservedDict[int, str]):
    __slots__ = ("events",)

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[int, str] = {}

    def item_added(self, key: int, value: str) -> None:
        assert self[key] == value
        assert key not in self.events
        self.events[key] = value

    def item_removed(self, key: int, value: str) -> None:
        assert key not in self
        assert self.events.pop(key) == value


DICT_EDITS: dict[str, Callable[[Any, int, dict[int, str]], Any]] = {
    "set": lambda items, key, _: items.__setitem__(key, "new"),
    "delete": lambda items, key, _: items.__delitem__(key),
    "pop": lambda items, key, _: items.pop(key),
    "pop default": lambda items, key, _: items.pop(key, "default"),
    "popitem": lambda items, _, __: items.popitem()[0] in range(10),
    "clear": lambda items, _, __: items.clear(),
    "setdefault": lambda items, key, _: items.setdefault(key, "default"),
    "update": lambda items, _, other: items.update(other),
    "update from pairs": lambda items, _, other: items.update(iter(other.items())),
    "or": lambda items, _, other: items.__ior__(other) == items,
}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(sorted(DICT_EDITS)), numbers,
                          st.dictionaries(numbers, st.sampled_from(["some", "other"])))))
def test_observed_dict_is_a_dict_that_reports(edits: list[tuple[str, int, dict[int, str]]]) -> None:
    plain: dict[int, str] = {}
    items = RecordingDict()
    for name, key, other in edits:
        try:
            result = DICT_EDITS[name](plain, key, other)
        except KeyError:
            with pytest.raises(KeyError):
                DICT_EDITS[name](items, key, other)
            continue
        assert DICT_EDITS[name](items, key, other) == result
        if name == "popitem":  # the last one may be another one: what gets a new value is the last one here
            plain = dict(items)
        assert items == plain == items.events


def test_observed_dict_replace() -> None:
    items = RecordingDict()
    items.update({1: "a", 2: "b"})
    items.replace({2: "c"})
    assert items == items.events == {2: "c"}


def test_copies_of_an_observed_dict_are_not_observed() -> None:
    items = RecordingDict()
    items[1] = "a"
    other = copy.deepcopy(items)
    other[2] = "b"
    assert other == {1: "a", 2: "b"}
    assert items.events == {1: "a"}


def test_an_observed_dict_needs_an_observer() -> None:
    items: ObservedDict[int, str] = ObservedDict()
    with pytest.raises(NotImplementedError):
        items[1] = "a"
    with pytest.raises(NotImplementedError):
        del items[1]
