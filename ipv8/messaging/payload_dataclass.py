"""Payloads that are described by the annotations of a dataclass (spec 02 section 4).

::

    @dataclass
    class Greeting(DataClassPayload[1]):
        text: str
        votes: list[int]
        token: Annotated[bytes, type_from_format("20s")]

The standard ``dataclass`` makes the class; what it says about the wire is worked out when it is needed first, so a
class can be received before any object of it exists. An annotation that no format fits lets only the construction of
objects fail, with ``NotImplementedError`` that names the field; ``list[str]`` fails no earlier than when it is packed.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from ..reexports import reexports
from .address import Address, DomainAddress, UDPv4Address, UDPv6Address
from .lazy_payload import VariablePayload, VariablePayloadWID, go_by_lists
from .serializable import FormatListType, Serializable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

# Not the decorator ``dataclass``: it must not take the place of the standard one.
__all__ = ["DataClassPayload", "DataClassPayloadWID", "convert_to_payload", "type_from_format", "type_map"]

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
    str: "arrayH-varlenHutf8",  # that there is not, unless somebody adds it: packing fails (spec 02 section 4)
}

ALLOWED_TYPES = (
    "bool, int, float, bytes, str, an address type, a payload class, a list[], set[] or tuple[..., ...] "
    "of bool, int, float, bytes or a payload class, or type_from_format(name)"
)
"""What errors say about annotations that have formats."""


def type_from_format(fmt: str) -> TypeVar:
    """An annotation for fields of the format ``fmt``.

    Type checkers take ``Annotated[bytes, type_from_format("20s")]``, which means the same.
    """
    return TypeVar(fmt)


def is_field_name(name: str) -> bool:
    """Whether the fields of payloads can be called that."""
    return not hasattr(_LazyDescription, name)


def type_map(t: Any) -> FormatListType:
    """The format for an annotation; ``NotImplementedError`` if there is none."""
    if isinstance(t, (list, tuple, set)):
        return t  # type: ignore[return-value]  # an entry of a format list already
    if isinstance(t, TypeVar):
        return t.__name__
    origin, arguments = get_origin(t), get_args(t)
    if origin is Annotated:
        named = [extra for extra in arguments[1:] if isinstance(extra, TypeVar)]
        return type_map(named[0] if named else arguments[0])
    if origin is None and isinstance(t, type) and issubclass(t, Serializable):
        return t
    fmt = _FORMATS.get(t)
    if fmt is not None:
        return fmt
    elements = {argument for argument in arguments if argument is not ...}
    if origin in {list, tuple, set} and len(elements) == 1:
        element = elements.pop()
        if get_origin(element) is Annotated and not any(isinstance(extra, TypeVar) for extra in get_args(element)):
            element = get_args(element)[0]
        if element in _LISTS:
            return _LISTS[element]
        if isinstance(element, type) and get_origin(element) is None and issubclass(element, Serializable):
            return [element]
    raise NotImplementedError(t, " unknown")


class _FieldList:
    """Stands for ``names`` and ``format_list`` of a class until one of them is read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type[VariablePayload]) -> list[Any]:
        if not dataclasses.is_dataclass(owner):
            return []
        _describe(owner)
        described: list[Any] = getattr(owner, self.name)
        return described


def _describe(cls: type[VariablePayload]) -> None:
    """Set the names and formats of a dataclass."""
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # only dataclasses come here
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        hints |= _resolve(cls, base, {field.name for field in fields})
    formats = [_format_of(cls, field.name, hints[field.name]) for field in fields]
    cls.names = [field.name for field in fields]
    cls.format_list = formats
    cls._none_is_fixed = False
    if not all(field.init and not field.kw_only for field in fields):
        cls._constructor = classmethod(_by_name)  # type: ignore[assignment,method-assign]  # a hook


def _format_of(cls: type, name: str, hint: Any) -> FormatListType:
    try:
        return type_map(hint)
    except NotImplementedError:
        shown = hint.__qualname__ if type(hint) is type else hint
        msg = f"no format for the type {shown} of the field {cls.__name__}.{name}: use {ALLOWED_TYPES}"
        raise NotImplementedError(msg) from None


def _by_name(cls: type[VariablePayload]) -> Callable[..., Any]:
    """A constructor that takes all fields by position, whatever the class takes."""
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # only dataclasses come here

    def make(*values: Any) -> Any:
        paired = list(zip(fields, values, strict=True))
        payload = cls(**{field.name: value for field, value in paired if field.init})
        for field, value in paired:
            if not field.init:
                object.__setattr__(payload, field.name, value)
        return payload

    return make


def _resolve(cls: type, base: type, wanted: set[str]) -> dict[str, Any]:
    """The annotations that stand in the body of ``base``, as objects; classes may have been local to a function."""
    annotations = {name: hint for name, hint in inspect.get_annotations(base).items() if name in wanted}
    if not annotations:
        return {}
    scopes = cls.__dict__.get("_scope", {}), base.__dict__.get("_scope", {})
    namespace = {base.__name__: base, cls.__name__: cls, **scopes[0], **scopes[1]}
    holder = type(base.__name__, (), {"__annotations__": annotations, "__module__": base.__module__})
    return typing.get_type_hints(holder, localns=namespace, include_extras=True)


def local_scope(described: type | FunctionType) -> dict[str, Any]:
    """What string annotations of a class or function name in the function and classes around it, as far as it exists.

    To be called while the bodies of those classes run.
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
        # Behind the body of a class is what runs it; behind a function, who happens to call it.
        frame = None if frame.f_code.co_flags & inspect.CO_NEWLOCALS else frame.f_back
    return scope


def _is_supported(cls: type[VariablePayload]) -> bool:
    """Whether all annotations in the body of the class are known to have formats."""
    try:
        hints = _resolve(cls, cls, {*inspect.get_annotations(cls)})
        for hint in hints.values():
            special = get_origin(hint) is ClassVar or hint is ClassVar or isinstance(hint, dataclasses.InitVar)
            if not special and hint is not dataclasses.KW_ONLY:
                type_map(hint)
    except (NameError, NotImplementedError, TypeError):
        return False
    return True


def _checked_new(cls: type[VariablePayload], *_: Any, **__: Any) -> VariablePayload:
    """Make an object, unless one of the annotations of its class is unsupported."""
    cls.format_list  # noqa: B018 - raises if so
    return object.__new__(cls)


class _LazyDescription(VariablePayload):
    """Makes the names and formats of its subclasses follow from their fields."""

    __slots__ = ()

    _scope: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name, hint in inspect.get_annotations(cls).items():
            if not is_field_name(name) and "ClassVar" not in str(hint):
                raise TypeError(f"{cls.__name__} can have no field {name}: all payloads use that name. Choose another")
        for name in ("names", "format_list"):
            setattr(cls, name, _FieldList(name))
        go_by_lists(cls)
        # A class that is made anew to get slots has taken the scope of its original over.
        if "_scope" not in cls.__dict__:
            cls._scope = local_scope(cls)
        # Most classes prove right at once and pay nothing when objects are made. The others have names still to be
        # defined, or are wrong.
        if not _is_supported(cls):
            cls.__new__ = _checked_new  # type: ignore[method-assign,assignment]  # takes all arguments of all subclasses
        super().__init_subclass__(**kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not dataclasses.is_dataclass(self):
            raise TypeError(f"{type(self).__name__} is no dataclass yet: write @dataclass above the class")
        super().__init__(*args, **kwargs)


class DataClassPayloadWID(_LazyDescription, VariablePayloadWID):
    """Base of dataclass payloads with a message id."""

    __slots__ = ()


class DataClassPayload(_LazyDescription):
    """Base of dataclass payloads; with an index it is a base with that message id: ``DataClassPayload[1]``.

    Type checkers know no numbers in brackets. For them a message id can also be set in the body: ``msg_id = 1``.
    """

    __slots__ = ()

    def __class_getitem__(cls, item: int) -> type[DataClassPayloadWID]:
        body = {"msg_id": item, "__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        return type(cls.__name__, (DataClassPayloadWID,), body)


def convert_to_payload(dataclass_type: type[VariablePayload], msg_id: int | None = None) -> None:
    """Give a dataclass that derives from ``VariablePayload`` the names and formats of its fields."""
    if msg_id is not None:
        dataclass_type.msg_id = msg_id
    go_by_lists(dataclass_type)
    _describe(dataclass_type)


def dataclass(cls: Any = None, *, msg_id: int | None = None, **options: Any) -> Any:
    """Make a payload out of any class with annotations (the spelling of releases 2.13 and 2.14).

    :param msg_id: message id of the payload.
    :param options: for the standard ``dataclass``.
    """
    return overwrite_dataclass(dataclasses.dataclass)(cls, msg_id=msg_id, **options)


def overwrite_dataclass(old_dataclass: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator like :func:`dataclass`, which uses ``old_dataclass`` (the spelling of releases 2.9 to 2.12)."""

    def decorate(cls: Any = None, *, msg_id: int | None = None, **options: Any) -> Any:
        if cls is None:
            return lambda later: decorate(later, msg_id=msg_id, **options)
        made = old_dataclass(cls, **options)
        if not issubclass(made, VariablePayload):
            body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
            body["_scope"] = local_scope(cls)
            made = type(cls.__name__, (made, VariablePayloadWID), body)
        convert_to_payload(made, msg_id)
        return made

    return decorate


if TYPE_CHECKING:  # programs import these from here
    from .lazy_payload import vp_compile as vp_compile
else:
    __getattr__, __dir__ = reexports(__name__, {".lazy_payload": "vp_compile"})
