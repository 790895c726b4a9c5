"""Payloads that are described by the annotations of a dataclass (doc/serialization.md).

::

    @dataclass
    class Greeting(DataClassPayload[1]):
        text: str
        votes: list[int]
        token: Annotated[bytes, type_from_format("20s")]

The standard ``dataclass`` makes the class. Its formats are worked out when they are first needed, so payloads can be
received before an object of the class exists. If there is no format for an annotation, the class can be defined, but
making an object raises ``NotImplementedError``, which names the field.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

from ..reexports import reexports
from .annotations import (
    ALLOWED_TYPES,
    constructor_by_fields,
    format_of_field,
    local_scope,
    resolve,
    type_from_format,
    type_map,
)
from .lazy_payload import VariablePayload, VariablePayloadWID, go_by_lists

if TYPE_CHECKING:
    from collections.abc import Callable

# Not the decorator ``dataclass``: it must not take the place of the standard one.
__all__ = [
    "ALLOWED_TYPES",
    "DataClassPayload",
    "DataClassPayloadWID",
    "convert_to_payload",
    "is_field_name",
    "local_scope",
    "type_from_format",
    "type_map",
]

MESSAGE_ID = "msg_id"


def is_field_name(name: str) -> bool:
    """Whether the fields of payloads can have this name."""
    return name != MESSAGE_ID and not hasattr(_LazyDescription, name)


def _check_name(owner: type, name: str) -> None:
    """``TypeError`` if a field cannot have this name."""
    if name == MESSAGE_ID:
        raise TypeError(f"{owner.__name__}.msg_id is annotated, so it would be a field of the message. If it is the "
                        "number of the message, write msg_id = 1 without an annotation, or derive the class from "
                        "DataClassPayload[1]; if it is a field, choose another name")
    if not is_field_name(name):
        raise TypeError(f"{owner.__name__} can have no field {name}: all payloads use that name. Choose another")


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
    names = [field.name for field in fields]
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        hints |= resolve(cls, base, names)
    formats = [format_of_field(cls, name, hints[name]) for name in names]
    cls.names = names
    cls.format_list = formats
    cls._none_is_fixed = False
    if not all(field.init and not field.kw_only for field in fields):
        cls._constructor = classmethod(constructor_by_fields)  # type: ignore[assignment,method-assign]  # a hook


def _is_supported(cls: type[VariablePayload]) -> bool:
    """Whether all annotations in the body of the class are known to have formats."""
    try:
        hints = resolve(cls, cls, inspect.get_annotations(cls))
        for hint in hints.values():
            special = get_origin(hint) is ClassVar or hint is ClassVar or isinstance(hint, dataclasses.InitVar)
            if not special and hint is not dataclasses.KW_ONLY:
                type_map(hint)
    except (NameError, NotImplementedError, TypeError):
        return False
    return True


def _checked_new(cls: type[VariablePayload], *_: Any, **__: Any) -> VariablePayload:
    """Make an object, unless there is no format for one of the annotations of its class."""
    cls.format_list  # noqa: B018 - raises if so
    return object.__new__(cls)


class _LazyDescription(VariablePayload):
    """Lets the names and formats of its subclasses follow from their fields."""

    __slots__ = ()

    _scope: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name, hint in inspect.get_annotations(cls).items():
            if "ClassVar" not in str(hint):
                _check_name(cls, name)
        for name in ("names", "format_list"):
            setattr(cls, name, _FieldList(name))
        go_by_lists(cls)
        # A class that is made again, to get slots, has the scope of the original.
        if "_scope" not in cls.__dict__:
            cls._scope = local_scope(cls)
        # Most classes are known to be right now, and pay nothing when objects are made. The others have names that are
        # not defined yet, or are wrong.
        if not _is_supported(cls):
            cls.__new__ = _checked_new  # type: ignore[method-assign,assignment]  # takes all arguments of all subclasses
        super().__init_subclass__(**kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not dataclasses.is_dataclass(self):
            raise TypeError(f"{type(self).__name__} is no dataclass yet: write @dataclass above the class")
        super().__init__(*args, **kwargs)


class DataClassPayloadWID(_LazyDescription, VariablePayloadWID):
    """Base class of dataclass payloads with a message id."""

    __slots__ = ()


class DataClassPayload(_LazyDescription):
    """Base class of dataclass payloads. With an index it is a base class with that message id: ``DataClassPayload[1]``.

    Type checkers do not accept numbers in brackets. For them the message id can be set in the body: ``msg_id = 1``.
    """

    __slots__ = ()

    def __class_getitem__(cls, item: int) -> type[DataClassPayloadWID]:
        body = {"msg_id": item, "__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        return type(cls.__name__, (DataClassPayloadWID,), body)


def convert_to_payload(dataclass_type: type[VariablePayload], msg_id: int | None = None) -> None:
    """Give a dataclass that derives from ``VariablePayload`` the names and formats of its fields."""
    for field in dataclasses.fields(dataclass_type):  # type: ignore[arg-type]  # a dataclass
        _check_name(dataclass_type, field.name)
    if msg_id is not None:
        dataclass_type.msg_id = msg_id
    go_by_lists(dataclass_type)
    _describe(dataclass_type)


def dataclass(cls: Any = None, *, msg_id: int | None = None, **options: Any) -> Any:
    """Make any class with annotations a payload class (the spelling of releases 2.13 and 2.14).

    :param msg_id: the message id of the payload.
    :param options: for the standard ``dataclass``.
    """
    return overwrite_dataclass(dataclasses.dataclass)(cls, msg_id=msg_id, **options)


def overwrite_dataclass(old_dataclass: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator like :func:`dataclass` that uses ``old_dataclass`` (the spelling of releases 2.9 to 2.12)."""

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
