"""Copies of settings, so that a node that changes its settings does not change those of another node."""

from __future__ import annotations

import dataclasses
from collections import deque
from copy import copy
from types import SimpleNamespace
from typing import Any, TypeVar

__all__ = ["copy_data"]

T = TypeVar("T")


def copy_data(value: T) -> T:
    """Copy settings and other data, at any depth.

    Data are dictionaries, lists, sets, tuples, deques, byte arrays, dataclasses, and namespaces such as settings. All
    other objects in them, such as endpoints, callbacks and mocks, are shared with the original.
    """
    copied: T = _copy(value, {})
    return copied


def _copy(value: Any, made: dict[int, Any]) -> Any:
    """A copy of ``value``. ``made`` maps the identities of originals to their copies, for data that contains itself."""
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, tuple):
        items = [_copy(item, made) for item in value]
        return value._make(items) if hasattr(value, "_make") else tuple(items) if type(value) is tuple else value
    if isinstance(value, (dict, list, set, deque, bytearray, SimpleNamespace)) or (
            dataclasses.is_dataclass(value) and not isinstance(value, type)):
        duplicate = made[id(value)] = copy(value)
        _copy_items(duplicate, made)
        return duplicate
    return value


def _copy_items(duplicate: Any, made: dict[int, Any]) -> None:
    """Replace the items of a shallow copy by copies. Items of sets are hashable, and stay as they are."""
    if isinstance(duplicate, dict):
        for key, item in duplicate.items():
            duplicate[key] = _copy(item, made)
    elif isinstance(duplicate, (list, deque)):
        for index, item in enumerate(duplicate):
            duplicate[index] = _copy(item, made)
    elif isinstance(duplicate, SimpleNamespace):
        for name, item in vars(duplicate).items():
            setattr(duplicate, name, _copy(item, made))
    elif dataclasses.is_dataclass(duplicate):
        for field in dataclasses.fields(duplicate):
            if hasattr(duplicate, field.name):
                object.__setattr__(duplicate, field.name, _copy(getattr(duplicate, field.name), made))
