"""Overlay classes of users, by the names that the command line and configurations have for them: ``module:Class``."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..configuration import did_you_mean

if TYPE_CHECKING:
    from ..overlay import Overlay

__all__ = ["load_overlay_class"]


def load_overlay_class(name: str) -> type[Overlay[Any]]:
    """The overlay class called ``module:Class``. The module may be in the current directory.

    :raises ValueError: if there is no such class, or it is no overlay. If the module raises an exception, its
        traceback is printed.
    """
    from ..community import Community
    from ..overlay import Overlay

    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise ValueError(f"{name!r} is not MODULE:CLASS, such as my_module:MyCommunity")
    module: Any = _import(module_name)
    found = module
    for part in path.split("."):
        known = [other for other, value in getattr(found, "__dict__", {}).items() if isinstance(value, type)]
        found = getattr(found, part, None)
        if found is None:
            raise ValueError(f"the module {module_name} has no class {path!r}{did_you_mean(part, known)}")
    if not (isinstance(found, type) and issubclass(found, Overlay)):
        raise ValueError(f"{name} is no overlay: it must be a subclass of ipv8.Community")  # noqa: TRY004 - a mistake in a text
    if found.__init__ is Community.__init__ and not hasattr(found, "community_id"):
        raise ValueError(f"{name} has no community_id: define 20 bytes as a class attribute of it")
    return found


def _import(name: str) -> object:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return import_module(name)
    except ModuleNotFoundError as e:
        if e.name is not None and (name == e.name or name.startswith(f"{e.name}.")):
            raise ValueError(f"there is no module {name!r}: start in the directory of {name.replace('.', '/')}.py, or "
                             "install the package that has it") from None
        raise ValueError(f"the module {name} needs the module {e.name}, which is not installed") from e
    except Exception as e:
        traceback.print_exc()
        raise ValueError(f"the module {name} cannot be imported: {type(e).__name__}: {e}") from e
