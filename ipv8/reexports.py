"""Names that a module offers although they live in another one.

Programs import classes from modules that happened to use them in other releases of the ecosystem, as in
``from ipv8.community import lazy_wrapper``. A module that offers such names ends with::

    if not TYPE_CHECKING:
        __getattr__, __dir__ = reexports(__name__, {".lazy_community": "lazy_wrapper lazy_wrapper_unsigned"})

and imports them for type checkers, in ``if TYPE_CHECKING:``, as ``lazy_wrapper as lazy_wrapper``. A name is looked up
when it is first asked for, so offering it takes no time when the module is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["reexports"]


def reexports(module: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a module.

    :param module: its ``__name__``.
    :param homes: where the names live, as a module relative to the package of ``module``, and which names they are,
        separated by blanks. A name that is different there is written as ``name_here=name_there``.
    """
    found = {}
    for home, names in homes.items():
        for entry in names.split():
            here, _, there = entry.partition("=")
            found[here] = home, there or here
    namespace = sys.modules[module].__dict__

    def get_attribute(name: str) -> object:
        """Load a name that lives elsewhere."""
        if name not in found:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        from importlib import import_module

        home, there = found[name]
        value = namespace[name] = getattr(import_module(home, namespace["__package__"]), there)
        return value

    def list_names() -> list[str]:
        """All names, loaded or not."""
        return sorted({*namespace, *found})

    return get_attribute, list_names
