"""Settings of one node are not those of another: data is copied at any depth, everything else is shared."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest

from ipv8.community import CommunitySettings
from ipv8.messaging.address import UDPv4Address
from ipv8.test.copying import copy_data


@dataclass
class Limits:
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FrozenLimits:
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SlottedLimits:
    names: list[str] = field(default_factory=list)


class Pair(NamedTuple):
    name: str
    numbers: list[int]


@pytest.mark.parametrize("value", [
    {"a": [1]}, [[1], [2]], ({"a": 1}, [2]), {1, 2}, deque([[1]], maxlen=3), bytearray(b"abc"), Counter("aab"),
    OrderedDict(a=[1]), defaultdict(list, a=[1]), Limits(["a"]), FrozenLimits(["a"]), SlottedLimits(["a"]),
    Pair("a", [1]), CommunitySettings(lists=[[1]]), UDPv4Address("1.2.3.4", 5),
    {"deep": [({"deeper": [Limits(["a"])]},)]},
])
def test_copies_are_equal_and_of_the_same_class(value: Any) -> None:
    copied = copy_data(value)
    assert copied == value
    assert type(copied) is type(value)


@pytest.mark.parametrize("value", [
    {"a": []}, [[]], ([],), deque([[]]), defaultdict(list, a=[]), OrderedDict(a=[]), Pair("a", []), Limits([]),
    FrozenLimits([]), SlottedLimits([]), CommunitySettings(a=[]), CommunitySettings(a={"b": ([],)}),
])
def test_the_innermost_list_is_another_one(value: Any) -> None:
    def innermost(container: Any) -> Any:
        while container != [] or not isinstance(container, list):
            if isinstance(container, dict):
                (container,) = container.values()
            elif isinstance(container, (list, deque)) or type(container) is tuple:
                (container,) = container
            elif isinstance(container, CommunitySettings):
                container = container.a
            else:
                container = container.numbers if isinstance(container, Pair) else container.names
        return container

    copied = copy_data(value)
    innermost(copied).append("changed")
    assert innermost(value) == []


def test_settings_keep_the_attributes_of_their_class() -> None:
    class MySettings(CommunitySettings):
        names: tuple[str, ...] = ("a",)

    copied = copy_data(MySettings(number=1))
    assert vars(copied) == {"number": 1}
    assert copied.names == ("a",)


def test_everything_else_is_shared() -> None:
    class Provider:
        def __init__(self) -> None:
            self.calls: list[int] = []

    provider, mock = Provider(), Mock()
    settings = copy_data(CommunitySettings(provider=provider, callback=provider.calls.append, mocks=[mock], cls=Limits))
    assert settings.provider is provider
    assert settings.mocks[0] is mock
    assert settings.cls is Limits
    settings.callback(1)
    assert provider.calls == [1]


def test_what_appears_twice_is_copied_once() -> None:
    shared: list[int] = []
    settings = copy_data(CommunitySettings(one=shared, other={"a": shared}))
    assert settings.one is settings.other["a"]
    assert settings.one is not shared


def test_data_that_contains_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    copied = copy_data(endless)
    assert copied is not endless
    assert copied[0] is copied


def test_fields_without_a_value() -> None:
    @dataclass
    class Late:
        names: list[str] = field(init=False)

    assert not hasattr(copy_data(Late()), "names")
