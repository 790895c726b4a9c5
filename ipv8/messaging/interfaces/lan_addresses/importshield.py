"""Imports that may fail because they are meant for another operating system."""

from __future__ import annotations

import platform
import sys
import traceback
from contextlib import AbstractContextManager
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Platform", "conditional_import_shield"]


class Platform(Enum):
    """Operating systems by the name that ``platform.system()`` gives them."""

    ANY = None
    NONE = 0
    WINDOWS = "Windows"
    LINUX = "Linux"


class conditional_import_shield(AbstractContextManager["conditional_import_shield", bool]):  # noqa: N801 - public name of the ecosystem
    """Run the imports of a ``with`` block if this is the right platform, and go on if they fail.

    :param platf: the platform that the block is for.
    :param verbose: print the traceback of what goes wrong.

    On another platform the first relative import in the block fails before it loads anything, and ends the block.
    Exceptions are suppressed, except those that end the program, such as ``KeyboardInterrupt``. The module that uses
    the shield must not import from several threads at once.
    """

    def __init__(self, platf: Platform = Platform.ANY, verbose: bool = False) -> None:
        self._module: dict[str, Any] = sys._getframe(1).f_globals
        self.right_platform = platf.value is None or platf.value == platform.system()
        self.module_name: str = self._module["__name__"]
        self.package_backup: str | None = self._module.get("__package__")
        self.package_overwritten = False
        self.verbose = verbose
        self._spec_backup: Any = None

    def __enter__(self) -> conditional_import_shield:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        if not self.right_platform:
            # A module without a parent package cannot import relatively. Its spec would contradict, with a warning.
            self._spec_backup = self._module.get("__spec__")
            self._module.update(__package__="", __spec__=None)
            self.package_overwritten = True
        return self

    def __exit__(self, exctype: type[BaseException] | None, excinst: BaseException | None,
                 exctb: TracebackType | None) -> bool:
        if self.package_overwritten:
            self._module.update(__package__=self.package_backup, __spec__=self._spec_backup)
            self.package_overwritten = False
        if self.verbose and exctype is not None and (self.right_platform or exctype is not ImportError):
            traceback.print_exception(exctype, excinst, exctb, file=sys.stderr)
        return exctype is not None and issubclass(exctype, Exception)
