"""Formats that are composed of others: entries of format lists for lists, dictionaries, tuples and the like.

::

    class Article(VariablePayload):
        format_list = ["varlenHutf8", ListFormat("varlenHutf8"), OptionalFormat("address")]
        names = ["title", "tags", "source"]

An entry inside is a name, a payload class, a list with one payload class, or another composed format. It is read and
written as it is by itself, so all formats that an overlay adds to its serializer can be used. The formats ``raw`` and
``bits`` cannot be composed: the former takes all bytes, and the latter has eight values.

Dataclass payloads get these formats from their annotations, see :mod:`.payload_dataclass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layouts import Converted, Group, Layout, Many, Maybe, entry_name
from .serializable import CompositeFormat

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

    from .serializable import FormatListType

__all__ = ["DictFormat", "EnumFormat", "ListFormat", "OptionalFormat", "TupleFormat"]

COUNT = "H"
"""The number of items of a list or a dictionary: at most 65535."""


class _Composite(CompositeFormat):
    """Equal to another one of the same class and the same arguments, which it shows as text."""

    __slots__ = ("_arguments",)

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Composite) and type(self) is type(other) and self._arguments == other._arguments

    def __hash__(self) -> int:
        return hash((type(self), str(self)))  # lists with a payload class have no hash

    def __repr__(self) -> str:
        shown = [argument.__name__ if isinstance(argument, type) else repr(argument) for argument in self._arguments]
        return f"{type(self).__name__}({', '.join(shown)})"


def _entry(entry: FormatListType) -> FormatListType:
    if entry in ("raw", "bits"):
        raise ValueError(f"the format {entry} cannot be inside of another one")
    return entry


def _name(entry: FormatListType) -> str:
    return entry_name(entry)


class ListFormat(_Composite):
    """A number of items of one format, at most 65535: their number (``H``), then the items.

    :param item: the format of the items.
    :param kind: the class of the value that is unpacked: ``list``, ``tuple`` or ``set``. Any sized iterable, other than
        text and bytes, can be packed.
    """

    __slots__ = ("item", "kind")

    def __init__(self, item: FormatListType, kind: type[Any] = list) -> None:
        super().__init__(item, kind)
        self.item = _entry(item)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind.__name__} of {_name(self.item)}"

    def layout(self, layout_of: Callable[[Any], Layout]) -> Layout:
        """Many items."""
        return Converted(Many(COUNT, layout_of(self.item)), _items, self.kind)


def _items(values: Any) -> Any:
    if isinstance(values, (str, bytes, bytearray)):
        raise TypeError(f"a list of values is needed, not {type(values).__name__}")
    return values


class OptionalFormat(_Composite):
    """A value that may be ``None``: a zero byte for ``None``, or a byte that is 1, then the value."""

    __slots__ = ("item",)

    def __init__(self, item: FormatListType) -> None:
        super().__init__(item)
        self.item = _entry(item)

    def __str__(self) -> str:
        return f"optional {_name(self.item)}"

    def layout(self, layout_of: Callable[[Any], Layout]) -> Layout:
        """One value or none."""
        return Maybe(layout_of(self.item))


class DictFormat(_Composite):
    """A dictionary of at most 65535 keys: their number (``H``), then each key with its value.

    The keys are in the order of the dictionary. A key that occurs twice is refused.
    """

    __slots__ = ("key", "value")

    def __init__(self, key: FormatListType, value: FormatListType) -> None:
        super().__init__(key, value)
        self.key = _entry(key)
        self.value = _entry(value)

    def __str__(self) -> str:
        return f"dict of {_name(self.key)} and {_name(self.value)}"

    def layout(self, layout_of: Callable[[Any], Layout]) -> Layout:
        """Many pairs."""
        pairs = Many(COUNT, Group((layout_of(self.key), layout_of(self.value))))
        return Converted(pairs, _pairs, _unique)


def _pairs(values: Any) -> Any:
    return values.items()


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key occurs twice")
    return values


class TupleFormat(_Composite):
    """One value of each of several formats, one after the other. The value is a tuple."""

    __slots__ = ("items",)

    def __init__(self, *items: FormatListType) -> None:
        super().__init__(*items)
        if not items:
            raise ValueError("a tuple needs at least one format")
        self.items = tuple(map(_entry, items))

    def __str__(self) -> str:
        return f"tuple of {', '.join(map(_name, self.items))}"

    def layout(self, layout_of: Callable[[Any], Layout]) -> Layout:
        """A group of values."""
        return Group(tuple(map(layout_of, self.items)))


class EnumFormat(_Composite):
    """A member of an enumeration, sent as its value. A value that no member has is refused.

    :param kind: the class of the enumeration.
    :param value: the format of the values.
    """

    __slots__ = ("kind", "value")

    def __init__(self, kind: type[Enum], value: FormatListType) -> None:
        super().__init__(kind, value)
        self.kind = kind
        self.value = _entry(value)

    def __str__(self) -> str:
        return f"{self.kind.__name__} as {_name(self.value)}"

    def layout(self, layout_of: Callable[[Any], Layout]) -> Layout:
        """The layout of the values."""
        kind = self.kind
        return Converted(layout_of(self.value), lambda member: kind(member).value, kind)
