"""From the annotations of fields to formats."""

from __future__ import annotations

import dataclasses
import inspect
import operator
import sys
import types
import typing
from enum import Enum
from functools import reduce
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, TypeVar, get_args, get_origin

from .address import Address, DomainAddress, UDPv4Address, UDPv6Address
from .composites import DictFormat, EnumFormat, ListFormat, OptionalFormat, TupleFormat
from .layouts import Description
from .serializable import CompositeFormat, FormatListType, Serializable, format_and_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FunctionType

__all__ = [
    "ALLOWED_TYPES",
    "constructor_by_fields",
    "describe_dataclass",
    "format_of_field",
    "local_scope",
    "resolve",
    "type_from_format",
    "type_map",
]

_FORMATS: dict[Any, str] = {
    bool: "?",
    int: "q",
    float: "d",
    bytes: "varlenH",
    str: "varlenHutf8",
    UDPv4Address: "ipv4",
    UDPv6Address: "ip_address",
    DomainAddress: "address",
    Address: "address",
}

_LISTS = {
    bool: "arrayH-?",
    int: "arrayH-q",
    float: "arrayH-d",
    bytes: "varlenH-list",
}
"""The formats of lists that have a format of their own; payloads have one too."""

ALLOWED_TYPES = (
    "bool, int, float, bytes, str, an address type, an Enum with values of one of these types, a dataclass, a payload "
    "class, list[...], set[...], tuple[...], dict[..., ...] or ... | None of these, or type_from_format(name)"
)
"""What errors say about annotations that have formats."""


def type_from_format(fmt: str) -> TypeVar:
    """An annotation for fields of the format ``fmt``.

    Type checkers accept ``Annotated[bytes, type_from_format("20s")]``, which means the same.
    """
    return TypeVar(fmt)


def type_map(t: Any) -> FormatListType:
    """The format for an annotation; ``NotImplementedError`` if there is none."""
    return _format(t, frozenset())


def _format(t: Any, around: frozenset[type[Any]]) -> FormatListType:
    """The format for an annotation inside of the dataclasses ``around``."""
    if isinstance(t, (list, tuple, set)):
        return t  # type: ignore[return-value]  # an entry of a format list already
    if isinstance(t, TypeVar):
        return t.__name__
    origin, arguments = get_origin(t), get_args(t)
    if origin is Annotated:
        name = _named_format(t)
        if name is None:
            return _format(arguments[0], around)
        return EnumFormat(arguments[0], name) if _is_class(arguments[0], Enum) else name
    if _is_class(t, Serializable):
        return t
    if t in _FORMATS:
        return _FORMATS[t]
    if _is_class(t, Enum):
        return EnumFormat(t, _format_of_values(t))
    if _is_class(t, object) and hasattr(t, "__dataclass_fields__"):
        if t not in around:
            _formats_of_fields(t, around | {t})
        return t
    if origin in {typing.Union, types.UnionType}:
        return _optional(t, arguments, around)
    if origin is dict and _is_key(arguments[0]):
        return DictFormat(_inside(arguments[0], around), _inside(arguments[1], around))
    if origin in {list, tuple, set} and arguments and () not in arguments:
        return _collection(t, origin, arguments, around)
    raise _unknown(t)


def _unknown(t: Any) -> NotImplementedError:
    return NotImplementedError(t, " unknown")


def _is_class(t: Any, base: type[Any]) -> TypeGuard[type[Any]]:
    return isinstance(t, type) and get_origin(t) is None and issubclass(t, base)  # for Python 3.10, list[int] is a type


def _named_format(t: Any) -> str | None:
    """The name in ``Annotated[..., type_from_format(name)]``."""
    return next((extra.__name__ for extra in get_args(t)[1:] if isinstance(extra, TypeVar)), None)


def _inside(t: Any, around: frozenset[type[Any]]) -> FormatListType:
    """The format for an annotation inside of another one."""
    fmt = _format(t, around)
    if fmt in ("raw", "bits"):  # the former has no end, the latter eight values
        raise _unknown(t)
    return fmt


def _format_of_values(kind: type[Enum]) -> str:
    """The format for the values of an enumeration, which must be of one type."""
    value_types = {type(member.value) for member in kind.__members__.values()}
    value_type = value_types.pop() if len(value_types) == 1 else None
    if value_type not in {bool, int, float, bytes, str}:
        raise _unknown(kind)
    return _FORMATS[value_type]


def _optional(t: Any, arguments: tuple[Any, ...], around: frozenset[type[Any]]) -> FormatListType:
    kinds = [argument for argument in arguments if argument is not types.NoneType]
    kind = reduce(operator.or_, kinds)
    if len(kinds) == len(arguments) or (len(kinds) > 1 and kind != Address):
        raise _unknown(t)
    return OptionalFormat(_inside(kind, around))


def _is_key(t: Any) -> bool:
    """Whether values of a type can be keys and elements of sets.

    Tuples cannot, as it is easy to find many of them with the same hash.
    """
    if get_origin(t) is Annotated:
        return _named_format(t) is not None or _is_key(get_args(t)[0])
    return isinstance(t, TypeVar) or _is_class(t, Enum) or t in _FORMATS


def _collection(t: Any, origin: type[Any], arguments: tuple[Any, ...],
                around: frozenset[type[Any]]) -> FormatListType:
    elements = [_without_notes(argument) for argument in arguments if argument is not ...]
    element = elements[0]
    if all(other == element for other in elements):
        if element in _LISTS:
            return _LISTS[element]
        if _is_class(element, Serializable):
            return [element]
    if origin is tuple and arguments[-1] is not ...:
        return TupleFormat(*[_inside(argument, around) for argument in arguments])
    if len(elements) != 1 or (origin is set and not _is_key(element)):
        raise _unknown(t)
    return ListFormat(_inside(element, around), origin)


def _without_notes(t: Any) -> Any:
    """``T`` for ``Annotated[T, ...]``, unless that names a format."""
    return get_args(t)[0] if get_origin(t) is Annotated and _named_format(t) is None else t


# --- fields of dataclasses


def format_of_field(owner: type[Any], name: str, hint: Any) -> FormatListType:
    """The format for the annotation of a field; ``NotImplementedError`` that names the field if there is none."""
    return _format_of_field(owner, name, hint, frozenset())


def _format_of_field(owner: type[Any], name: str, hint: Any, around: frozenset[type[Any]]) -> FormatListType:
    try:
        return _format(hint, around)
    except NotImplementedError as error:
        if len(error.args) == 1:  # it names a field of a dataclass inside of this one
            raise
        shown = hint.__qualname__ if type(hint) is type else hint
        msg = f"no format for the type {shown} of the field {owner.__name__}.{name}: use {ALLOWED_TYPES}"
        raise NotImplementedError(msg) from None


def _formats_of_fields(cls: type[Any], around: frozenset[type[Any]]) -> list[FormatListType]:
    """The formats of the fields of a dataclass that is no payload class."""
    names = [field.name for field in dataclasses.fields(cls)]
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        hints |= resolve(cls, base, names)
    return [_format_of_field(cls, name, hints[name], around) for name in names]


def describe_dataclass(cls: type[Any]) -> Description:
    """What a serializer needs to know of a dataclass that is no payload class."""
    names = [field.name for field in dataclasses.fields(cls)]
    entries = _formats_of_fields(cls, frozenset((cls,)))
    formats = [entry if isinstance(entry, CompositeFormat) else format_and_class(entry)[0] for entry in entries]
    get = attrgetter(*names) if names else None

    def values(obj: Any) -> Sequence[Any]:
        if get is None:
            return ()
        return get(obj) if len(names) > 1 else (get(obj),)

    return Description(cls.__name__, entries, names, constructor_by_fields(cls), values,
                       lambda obj: [*zip(formats, values(obj), strict=True)])


def constructor_by_fields(cls: type[Any]) -> Callable[..., Any]:
    """What takes the values of all fields by position and returns an object, whatever the class takes."""
    fields = dataclasses.fields(cls)
    if all(field.init and not field.kw_only for field in fields):
        return cls

    def make(*values: Any) -> Any:
        paired = list(zip(fields, values, strict=True))
        made = cls(**{field.name: value for field, value in paired if field.init})
        for field, value in paired:
            if not field.init:
                object.__setattr__(made, field.name, value)
        return made

    return make


def resolve(cls: type[Any], base: type[Any], wanted: Iterable[str]) -> dict[str, Any]:
    """The annotations in the body of ``base`` as objects. Names may be local to the function around the class."""
    annotations = {name: hint for name, hint in inspect.get_annotations(base).items() if name in wanted}
    if not annotations:
        return {}
    scopes = cls.__dict__.get("_scope", {}), base.__dict__.get("_scope", {})
    namespace = {base.__name__: base, cls.__name__: cls, **scopes[0], **scopes[1]}
    holder = type(base.__name__, (), {"__annotations__": annotations, "__module__": base.__module__})
    return typing.get_type_hints(holder, localns=namespace, include_extras=True)


def local_scope(described: type | FunctionType) -> dict[str, Any]:
    """What the names in the string annotations of a class or function mean in the functions and classes around it.

    To be called while the bodies of those run. Names that they do not define yet are missing.
    """
    names: set[str] = set()
    for hint in inspect.get_annotations(described).values():
        if isinstance(hint, str):
            try:
                names.update(compile(hint, "<annotation>", "eval").co_names)
            except SyntaxError:
                continue
    scope: dict[str, Any] = {}
    frame = sys._getframe(1) if names and "." in described.__qualname__ else None
    while frame is not None and frame.f_globals.get("__name__") != described.__module__:
        frame = frame.f_back
    while frame is not None and frame.f_locals is not frame.f_globals:
        local = frame.f_locals
        scope = {name: local[name] for name in names if name in local} | scope
        # The frame after the body of a class is the one that runs the body; after a function, its caller, which does
        # not define names for it.
        frame = None if frame.f_code.co_flags & inspect.CO_NEWLOCALS else frame.f_back
    return scope
