"""The ``ipv8`` of a child process: that of this tree, or one that is installed for another interpreter."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Library"]

ROOT = Path(__file__).resolve().parent.parent

# Isolated (-I), so that neither the working directory nor PYTHONPATH decides which library is found. The installed
# library is imported before the tree is appended: the tree then only provides the program that is to be run.
_OURS = "import sys, runpy; sys.path.insert(0, {root!r}); runpy.run_module({module!r}, run_name='__main__')"
_THEIRS = "import ipv8, sys, runpy; sys.path.append({root!r}); runpy.run_module({module!r}, run_name='__main__')"


@dataclass(frozen=True)
class Library:
    """An interpreter and the ``ipv8`` package that programs started with it import.

    :param name: the name in tables.
    :param interpreter: the path of the Python executable.
    :param installed: whether to use the package that is installed for the interpreter, instead of this tree.
    """

    name: str
    interpreter: str
    installed: bool = False

    @classmethod
    def ours(cls) -> Library:
        """The library of this tree, run by the present interpreter."""
        return cls("ipv8", sys.executable)

    @classmethod
    def of_venv(cls, venv: Path) -> Library:
        """The library that is installed in the virtual environment at ``venv``.

        :raises FileNotFoundError: if there is no interpreter.
        """
        for executable in (venv / "bin" / "python", venv / "Scripts" / "python.exe"):
            if executable.exists():
                return cls(venv.name, str(executable.absolute()), installed=True)
        message = f"{venv} has no Python interpreter: give the directory of a virtual environment with an ipv8 package"
        raise FileNotFoundError(message)

    @classmethod
    def running(cls) -> Library:
        """The library of this process, for measurements that start other programs with it."""
        import ipv8

        origin = Path(next(iter(ipv8.__path__))).resolve()
        return cls("this", sys.executable, installed=origin.parent != ROOT)

    def command(self, module: str, *arguments: str) -> list[str]:
        """The command line that runs ``module``, of this tree, as a program with this library."""
        program = (_THEIRS if self.installed else _OURS).format(root=str(ROOT), module=module)
        return [self.interpreter, "-I", "-c", program, *arguments]

    def script(self, source: str) -> list[str]:
        """The command line that runs ``source``, which can import this library, but nothing else of this tree."""
        return [self.interpreter, "-I", "-c",
                source if self.installed else f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{source}"]
