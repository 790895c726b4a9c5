"""Writes what the running ``ipv8`` offers to programs, as JSON, to standard output.

Standard input is JSON too: what to describe, as lists of names by module, or ``null`` for everything. The program
imports the modules of the library and looks at their objects with ``inspect``. Modules that are programs or tests are
named, but not imported.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import json
import logging
import pkgutil
import sys
from importlib import import_module
from types import FunctionType, GenericAlias, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.surface.samples import Samples, can_be_pickled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Description", "describe", "main"]

ROOTS = ("ipv8", "ipv8_service", "stresstest")
PROGRAMS = ("stresstest.",)
"""The beginnings of names of modules that are programs, which start to work when they are imported."""

SIMPLE = (int, float, str, bytes, type(None))
ALIASES = (GenericAlias, type(int | str), type(list[int]), type(TypeVar("T")))
MAX_DEPTH = 3
"""The depth of containers in containers that is described."""

UNINTERESTING = frozenset({
    # how a class was made
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__",
    "__class_getitem__", "__classcell__", "__conditional_annotations__", "__dataclass_fields__",
    "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__", "__init_subclass__", "__match_args__",
    "__module__", "__orig_bases__", "__parameters__", "__protocol_attrs__", "__non_callable_proto_members__",
    "__qualname__", "__slotnames__", "__slots__", "__static_attributes__", "__subclasshook__", "__weakref__",
    "_abc_impl", "_is_protocol", "_is_runtime_protocol", "_field_defaults",
    # parts of enumerations
    "_generate_next_value_", "_hashable_values_", "_member_map_", "_member_names_", "_member_type_", "_new_member_",
    "_sort_order_", "_unhashable_values_", "_unhashable_values_map_", "_use_args_", "_value2member_map_",
    "_value_repr_",
    # what objects of the class show instead: see interop.surface.samples
    "__delattr__", "__getattribute__", "__getnewargs__", "__getstate__", "__init__", "__ne__", "__new__", "__reduce__",
    "__reduce_ex__", "__replace__", "__repr__", "__setattr__", "__setstate__", "__str__",
})
"""Members of classes that are compared in other ways, or not at all."""


def is_program(name: str) -> bool:
    """Whether the module is a program, which importing it would start, or a test."""
    last = name.rpartition(".")[2]
    return name.startswith(PROGRAMS) or last == "__main__" or last.startswith("test_")


def module_names() -> Iterator[str]:
    """The names of all modules and packages below the roots."""
    for root in ROOTS:
        try:
            module = import_module(root)
        except ModuleNotFoundError:
            continue
        yield root
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{root}.", onerror=lambda _: None):
            yield found.name


def is_of_library(module: str | None) -> bool:
    """Whether a module, by its name, belongs to the library."""
    return module is not None and module.partition(".")[0] in ROOTS


def is_alias(value: Any) -> bool:
    """Whether a value is a type for annotations only."""
    return isinstance(value, ALIASES) or type(value).__module__ in {"typing", "typing_extensions"}


def full_name(cls: type) -> str:
    """Module and name of a class, which is the same for all versions of Python."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    return "enum.EnumMeta" if name == "enum.EnumType" else name.replace("typing_extensions.", "typing.")


def lineage(cls: type) -> list[str]:
    """The full names of a class and its bases but ``object``."""
    return [full_name(base) for base in cls.__mro__ if base is not object]


def shape(value: Any, depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The type of a value and, if it is simple, the value itself."""
    if is_alias(value):
        return {"types": ["alias"]}
    described: dict[str, Any] = {"types": lineage(type(value)), "callable": callable(value)}
    if isinstance(value, enum.Enum):
        described["text"] = value.name
    elif type(value) in {*SIMPLE, bool}:
        described["text"] = repr(float(value) if type(value) is int else value)
    elif isinstance(value, type):
        described["text"] = full_name(value)
    elif depth and isinstance(value, dict):
        described["items"] = [[shape(key, depth - 1), shape(item, depth - 1)] for key, item in value.items()]
    elif depth and isinstance(value, (list, tuple)):
        described["items"] = [shape(item, depth - 1) for item in value]
    elif depth and type(value) in {set, frozenset} and all(isinstance(item, SIMPLE) for item in value):
        described["text"] = repr(sorted(value, key=repr))
    return described


class Description:
    """The description of a library.

    ``modules`` has the names in each module, or ``None`` for a module that was not imported. ``objects`` has the
    classes and functions, by the module in which they are defined and their name.

    :param wanted: lists of the names to describe by module; ``None`` for all.
    """

    def __init__(self, wanted: dict[str, list[str]] | None = None) -> None:
        self._wanted = wanted
        self.modules: dict[str, dict[str, Any] | None] = {}
        self.objects: dict[str, Any] = {}
        self._foreign: dict[int, set[str]] = {}
        self._samples = Samples(shape)
        self._classes: list[tuple[dict[str, Any], type]] = []

    def add_all(self) -> None:
        """Describe all modules. An event loop must be running, because some objects need one."""
        loaded = {}
        for name in module_names():
            self.modules[name] = None
            if not is_program(name) and (self._wanted is None or name in self._wanted):
                try:
                    loaded[name] = import_module(name)
                except Exception as e:  # noqa: BLE001 - whatever a module does, the others are described
                    print(f"{name} cannot be imported here: {e!r}", file=sys.stderr)
        for module_name, module in tuple(sys.modules.items()):
            if isinstance(module, ModuleType) and not is_of_library(module_name):
                for name, value in tuple(vars(module).items()):
                    self._foreign.setdefault(id(value), set()).add(name)
        for name, module in loaded.items():
            present = {entry for entry in dir(module) if not (entry.startswith("__") and entry.endswith("__"))}
            chosen = present if self._wanted is None else present.intersection(self._wanted[name])
            self.modules[name] = {entry: self._name(entry, getattr(module, entry)) for entry in sorted(chosen)}
        for described, cls in self._classes:  # last, because making objects changes values in modules
            described["sample"] = self._samples.describe(cls)

    def _name(self, name: str, value: Any) -> dict[str, Any]:
        """Describe a name of a module: the home of its class or function, or its value."""
        if isinstance(value, (type, FunctionType)) and is_of_library(value.__module__):
            lives = f"{value.__module__}.{value.__qualname__}"
            if lives not in self.objects:
                self.objects[lives] = {}  # so that a class that refers to itself is described once
                self.objects[lives] = self._class(value) if isinstance(value, type) else function(value)
            return {"object": lives}
        is_foreign = (isinstance(value, ModuleType) or name in self._foreign.get(id(value), ())
                      or (not is_alias(value) and isinstance(value, (type, FunctionType))))
        return {"foreign": True} if is_foreign else {"value": shape(value)}

    def _class(self, cls: type) -> dict[str, Any]:
        described = {
            "kind": "class",
            "bases": lineage(cls)[1:],
            "metaclass": full_name(type(cls)),
            "type parameters": len(getattr(cls, "__parameters__", ())) if issubclass(cls, Generic) else 0,
            "subscriptable": hasattr(cls, "__class_getitem__"),
            "abstract": sorted(getattr(cls, "__abstractmethods__", ())),
            "signature": None if issubclass(cls, enum.Enum) else signature(cls),
            "pickled": can_be_pickled(cls),
            "fields": sorted({name for base in cls.__mro__ if is_of_library(base.__module__)
                              for name in inspect.get_annotations(base)}),
            "members": members(cls),
        }
        self._classes.append((described, cls))
        return described


def members(cls: type) -> dict[str, Any]:
    """What the class and its bases in the library define, by name."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, value in vars(base).items() if base is not object else ():
            if not is_of_library(base.__module__):
                found.setdefault(name, None)  # it hides members of further bases
            elif name not in UNINTERESTING and not name.startswith(f"_{base.__name__.lstrip('_')}__"):
                found.setdefault(name, member(cls, name, value))
    return {name: found[name] for name in sorted(found) if found[name] is not None}


def member(cls: type, name: str, value: Any) -> dict[str, Any]:
    """One member of a class."""
    if isinstance(value, property):
        return {"kind": "property", "set": value.fset is not None, "delete": value.fdel is not None}
    if inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value):
        return {"kind": "slot"}
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        kind = "staticmethod" if isinstance(value, staticmethod) else "classmethod"
        return {**function(value.__func__), "kind": kind}
    if isinstance(value, FunctionType):
        return function(value)
    if hasattr(value, "__get__") and not isinstance(value, type):
        try:
            value = getattr(cls, name)
        except Exception:  # noqa: BLE001 - a descriptor for objects only
            return {"kind": "property", "set": hasattr(type(value), "__set__"), "delete": False}
        if inspect.isdatadescriptor(value):  # such as the fields of named tuples
            return {"kind": "slot"}
    return {"kind": "attribute", **shape(value)}


def function(value: Any) -> dict[str, Any]:
    """How a function is called and what kind it is."""
    return {
        "kind": "function",
        "signature": signature(value),
        "async": inspect.iscoroutinefunction(value),
        "generator": inspect.isgeneratorfunction(inspect.unwrap(value)),
    }


def signature(value: Any) -> list[dict[str, Any]] | None:
    """Name, kind and default of each parameter; ``None`` if they are not known.

    For a decorated function these are the parameters of the wrapper, or those of the function if the wrapper takes
    anything.
    """
    try:
        parameters = [*inspect.signature(value, follow_wrapped=False).parameters.values()]
        if all(parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} for parameter in parameters):
            parameters = [*inspect.signature(value).parameters.values()]
    except (TypeError, ValueError):
        return None
    return [{"name": parameter.name, "kind": parameter.kind.name,
             "default": None if parameter.default is parameter.empty else shape(parameter.default)}
            for parameter in parameters]


async def describe(wanted: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Describe the names that are wanted of each module, or all."""
    logging.disable()
    description = Description(wanted)
    description.add_all()
    return {"modules": description.modules, "objects": description.objects}


def main() -> None:
    """Write the description to standard output."""
    json.dump(asyncio.run(describe(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
