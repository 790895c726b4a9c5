"""Payloads that are described by two lists, of formats and of names (doc/serialization.md)."""

from __future__ import annotations

import inspect
import reprlib
from keyword import iskeyword
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..reexports import reexports
from .serializable import FlatPayload

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["VariablePayload", "VariablePayloadWID", "vp_compile"]

P = TypeVar("P", bound="VariablePayload")

_MISSING: Any = object()


def _single(name: str) -> Callable[[Any], tuple[Any, ...]]:
    """As ``attrgetter``, which returns no tuple for one name."""
    get = attrgetter(name)
    return lambda payload: (get(payload),)


class VariablePayload(FlatPayload):
    """A payload with an attribute for each of ``names``, packed as ``format_list`` says.

    There is one name for each format, but eight for ``bits``. Methods ``fix_pack_<name>(self, value)`` and class
    methods ``fix_unpack_<name>(cls, value)`` convert between the attribute and the value that is sent.

    Arguments are taken by position first, then by name. Missing, surplus and unknown arguments raise ``KeyError``. If
    the class also derives from a hand-written payload with a constructor, that constructor gets the arguments that it
    names.
    """

    __slots__ = ()

    names: ClassVar[list[str]] = []

    # The parameters of the hand-written constructor after this class, each with whether it can be left out.
    _mixed_in: ClassVar[tuple[tuple[str, bool], ...] | None] = None
    _none_is_fixed: ClassVar[bool] = True
    # The names of the methods that convert values; ``None``: all that there are.
    _fixes: ClassVar[frozenset[str] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(cls.__dict__.get("names"), list) and "__match_args__" not in cls.__dict__:
            cls.__match_args__ = tuple(cls.names)  # type: ignore[attr-defined,misc]  # match reads it
        constructor = super(VariablePayload, cls).__init__  # noqa: UP008 - that of the class after this one
        if isinstance(constructor, FunctionType):
            cls._mixed_in = tuple(
                (parameter.name, parameter.default is not parameter.empty)
                for parameter in list(inspect.signature(constructor).parameters.values())[1:]
                if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
            )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names: Any = self.names
        if len(args) != len(names) or kwargs or self._mixed_in is not None:
            names, args = self._arrange(args, kwargs)
        for name, value in zip(names, args):  # noqa: B905 - equally long
            setattr(self, name, value)

    def _arrange(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[str], tuple[Any, ...]]:
        """Call the hand-written constructor, and return the names that are left, with a value for each."""
        remaining = iter(args)

        def take(name: str) -> Any:
            return kwargs.pop(name) if name in kwargs else next(remaining, _MISSING)

        mixed_in = dict(self._mixed_in or ())
        forwarded: dict[str, Any] = {}
        for name, optional in mixed_in.items():
            value = take(name)
            if value is not _MISSING:
                forwarded[name] = value
            elif not optional:
                raise KeyError(name)
        if self._mixed_in is not None:
            super().__init__(**forwarded)

        names = [name for name in self.names if name not in mixed_in]
        values = []
        for name in names:
            value = next(remaining, _MISSING)
            values.append(kwargs.pop(name) if value is _MISSING else value)
        surplus = len([*remaining])
        if surplus:
            raise KeyError(f"{type(self).__name__} missing {surplus} arguments!")
        if kwargs:
            raise KeyError(f"{type(self).__name__} takes no (or got twice the) arguments {sorted(kwargs)}")
        return names, tuple(values)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.names if hasattr(self, name))
        return f"{type(self).__name__}({shown})"

    def _wire_values(self) -> tuple[Any, ...]:
        values = []
        for name in self.names:
            method = "fix_pack_" + name
            fix = getattr(self, method, None) if self._fixes is None or method in self._fixes else None
            value = getattr(self, name)
            values.append(value if fix is None else fix(value))
        return tuple(values)

    @classmethod
    def _wire_getter(cls) -> Callable[[Any], tuple[Any, ...]]:
        names = cls.names
        if not names or cls._wire_values is not VariablePayload._wire_values:
            return cls._wire_values
        get: Callable[[Any], tuple[Any, ...]] = attrgetter(*names) if len(names) > 1 else _single(names[0])
        fixes = cls._fixed("fix_pack_")
        if not fixes:
            return get

        def get_fixed(payload: Any) -> tuple[Any, ...]:
            values = [*get(payload)]
            for index, method in fixes:
                values[index] = getattr(payload, method)(values[index])
            return tuple(values)

        return get_fixed

    @classmethod
    def _fixed(cls, prefix: str) -> list[tuple[int, str]]:
        """Which values are converted, and by which methods."""
        methods = [(index, prefix + name) for index, name in enumerate(cls.names)]
        counted = cls._fixes
        return [entry for entry in methods if (hasattr(cls, entry[1]) if counted is None else entry[1] in counted)]

    @classmethod
    def _factory(cls) -> Callable[..., Any]:
        make = cls._constructor()
        fixes = [(index, getattr(cls, method)) for index, method in cls._fixed("fix_unpack_")]
        if not fixes:
            return make
        none_is_fixed = cls._none_is_fixed

        def make_fixed(*args: Any) -> Any:
            values = [*args]
            for index, fix in fixes:
                if none_is_fixed or values[index] is not None:
                    values[index] = fix(values[index])
            return make(*values)

        return make_fixed

    @classmethod
    def _constructor(cls) -> Callable[..., Any]:
        """What takes the values of all ``names`` by position and returns an object."""
        return cls


class VariablePayloadWID(VariablePayload):
    """A payload with a message id: it is the last payload of the message ``msg_id``."""

    __slots__ = ()

    msg_id: int


def vp_compile(vp_definition: type[P]) -> type[P]:
    """Give a ``VariablePayload`` class a constructor that takes exactly its names. It is as fast as a hand-written one.

    Defaults are those of the constructor that the class had before, which is not run any more. Wrong arguments raise
    ``TypeError``.

    Only the formats and names of the class say what is sent. A ``to_pack_list`` or ``from_unpack_list`` of the class is
    replaced. A subclass without the decorator can override methods ``fix_pack_*`` and ``fix_unpack_*``, but those that
    it adds are not used.
    """
    cls = vp_definition
    before = inspect.signature(cls).parameters
    defaults = [before[name].default if name in before else inspect.Parameter.empty for name in cls.names]
    given = [default for default in defaults if default is not inspect.Parameter.empty]
    if inspect.Parameter.empty in defaults[len(defaults) - len(given) :]:
        raise TypeError(f"{cls.__name__}: every field after the first one with a default needs a default too")
    constructor = _constructor_of(cls.__name__, tuple(cls.names))
    constructor.__defaults__ = tuple(given)
    constructor.__module__, constructor.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    setattr(cls, "__init__", constructor)  # noqa: B010 - type checkers rightly distrust this assignment
    cls.__match_args__ = tuple(cls.names)  # type: ignore[attr-defined,misc]  # match reads it
    cls._none_is_fixed = False
    cls._fixes = None
    cls._fixes = frozenset(method for prefix in ("fix_pack_", "fix_unpack_") for _, method in cls._fixed(prefix))
    go_by_lists(cls)
    return cls


def _constructor_of(class_name: str, names: tuple[str, ...]) -> FunctionType:
    """A function that sets an attribute for each of its arguments; ``TypeError`` if a name cannot be an attribute.

    As that of a dataclass, which takes five times as long to make.
    """
    for name in names:
        if not name.isidentifier() or iskeyword(name):
            raise TypeError(f"{class_name}: a field must have the form of a Python name, which {name!r} has not")
    if len({*names}) != len(names):
        raise TypeError(f"{class_name} has two fields of one name: {', '.join(names)}")
    this = "self" if "self" not in names else "__self__"
    lines = [f" {this}.{name} = {name}" for name in names] or [" pass"]
    scope: dict[str, Any] = {}
    source = "\n".join((f"def __init__({', '.join((this, *names))}):", *lines))
    exec(source, scope)  # noqa: S102 - all that the source contains are names, as was checked above
    made: FunctionType = scope["__init__"]
    return made


def go_by_lists(cls: type[VariablePayload]) -> None:
    """Let only the formats and names of a class say what is sent. Methods of the class that do so are replaced."""
    cls.to_pack_list = FlatPayload.to_pack_list  # type: ignore[method-assign]  # on purpose
    cls.from_unpack_list = vars(FlatPayload)["from_unpack_list"]  # type: ignore[method-assign]  # on purpose


if TYPE_CHECKING:  # programs import these from here
    from .serialization import FormatListType as FormatListType, Payload as Payload
else:
    __getattr__, __dir__ = reexports(__name__, {".serialization": "FormatListType Payload"})
