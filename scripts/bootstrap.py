"""The project's own virtual environment: made on first use, entered at once afterwards.

The programs in the root of the repository call :func:`enter` before they import anything that is not in the standard
library. It makes ``.venv`` next to them, installs the project with the extras that the program needs, and restarts the
program inside. A stamp file in the environment remembers what was installed, so the next start costs one comparison.

This module, and the programs that import it, keep to syntax that any Python 3.6 can read: an interpreter that is too
old for the project gets a sentence that says so, not a syntax error.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

MINIMUM_PYTHON = (3, 10)
ROOT = Path(__file__).resolve().parent.parent

NOT_IN_ALL = frozenset(["dev"])
"""The extras of pyproject.toml that the extra "all" does not have."""


class Environment:
    """The virtual environment of one checkout.

    :param root: the directory of the checkout, with its ``pyproject.toml``; the environment is its ``.venv``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / ".venv"
        self.stamp = self.directory / "installed.json"
        self.python = self.directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def is_running(self) -> bool:
        """Whether this process runs inside the environment."""
        return Path(sys.prefix).resolve() == self.directory.resolve()

    def description(self, extras: "frozenset[str]") -> "dict[str, Any]":
        """What the stamp says of an environment that this interpreter filled, here and now, with ``extras``."""
        return {
            "extras": sorted(extras),
            "project": hashlib.sha256((self.root / "pyproject.toml").read_bytes()).hexdigest(),
            "python": "{}.{}".format(*sys.version_info),
            "root": str(self.root),
        }

    def installed(self) -> "dict[str, Any]":
        """What the stamp says; empty if the environment was never filled, or its filling was interrupted."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) and isinstance(stamp.get("extras"), list) else {}

    def ensure(self, extras: "frozenset[str]") -> bool:
        """Make, rebuild or complete the environment, so that the project runs in it; whether there was need to.

        Extras that it already has are kept. It is rebuilt when another version of Python made it or when it came here
        with a copy of the directory (its scripts and its link to the sources name the place where it was made).
        """
        installed = self.installed()
        extras |= frozenset(installed.get("extras", ()))
        if "all" in extras:
            extras &= NOT_IN_ALL | {"all"}
        if self.python.exists() and installed == self.description(extras):
            return False
        if not self.is_running():
            if self.directory.exists() and not self.is_usable(installed):
                self.remove()
            if not self.directory.exists():
                self.create()
        self.install(extras)
        return True

    def is_usable(self, installed: "dict[str, Any]") -> bool:
        """Whether the existing environment belongs to this interpreter and this place, and can install packages."""
        settings = self.directory / "pyvenv.cfg"
        if not settings.exists():
            sys.exit(f"{self.directory} is in the way: it is not a virtual environment. Move it and start again.")
        lines = (line.partition("=") for line in settings.read_text(encoding="utf-8").splitlines())
        version = {name.strip(): value.strip() for name, _, value in lines}.get("version", "")
        return (version.split(".")[:2] == [str(part) for part in sys.version_info[:2]]
                and installed.get("root", str(self.root)) == str(self.root)
                and self.python.exists()
                and subprocess.run([str(self.python), "-m", "pip", "--version"], check=False,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)

    def remove(self) -> None:
        """Delete the environment."""
        tell(f"Removing {self.directory.name}: it was made elsewhere or by another Python.")
        shutil.rmtree(str(self.directory))

    def create(self) -> None:
        """Make an empty environment with the interpreter that runs this."""
        if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
            sys.exit(f"{sys.executable} lacks the modules venv and ensurepip. Install them (on Debian and Ubuntu: "
                     "apt install python3-venv) or use another Python, and start again.")
        tell("Making {} for Python {}.{}; this happens once.".format(self.directory.name, *sys.version_info))
        if subprocess.run([sys.executable, "-m", "venv", str(self.directory)], check=False).returncode:
            shutil.rmtree(str(self.directory), ignore_errors=True)
            sys.exit("The virtual environment could not be made; what Python says about it stands above.")

    def install(self, extras: "frozenset[str]") -> None:
        """Install the project as an editable package with ``extras`` and write the stamp."""
        names = ",".join(sorted(extras))
        tell(f"Installing what the project needs ({names}); this takes a minute or less.")
        if self.stamp.exists():
            self.stamp.unlink()
        for packages in (["pip>=22"], ["--editable", f".[{names}]"]):
            command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
            # What pip and the build say by the way is of no use to anybody unless it fails.
            pip = subprocess.run(command, cwd=str(self.root), check=False, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
            if pip.returncode:
                tell(pip.stdout.decode(errors="replace"))
                sys.exit("The installation failed; pip's reason stands above. Without direct access to a package "
                         "index, name a mirror in the environment variable PIP_INDEX_URL. Then start again.")
        self.stamp.write_text(json.dumps(self.description(extras), indent=1), encoding="utf-8")


def tell(sentence: str) -> None:
    """Print to standard error: standard output belongs to the program that is about to start."""
    print(sentence, file=sys.stderr, flush=True)


def run(program: "Callable[[list[str]], int]") -> NoReturn:
    """Run ``program`` with the arguments of the command line and exit with its status; with 130 after Ctrl+C.

    What the operating system refuses is told in a line, with status 1; when nobody reads the output any more, it ends
    without a word.
    """
    try:
        try:
            status = program(sys.argv[1:])
        finally:
            sys.stdout.flush()  # at the exit nothing could be said about a failure
    except KeyboardInterrupt:
        tell("Interrupted.")
        status = 130
    except OSError as e:
        # What is left in the buffer would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            tell(f"{Path(sys.argv[0]).name}: {e.strerror or e}")
        status = 1
    sys.exit(status)


def enter(*extras: str) -> None:
    """Return inside the project's environment, with ``extras`` installed.

    Called from anywhere else, the program is restarted in there with its command line; in that case this never returns.
    Exits with a message when the interpreter is too old or the environment cannot be made.
    """
    if sys.version_info < MINIMUM_PYTHON:
        sys.exit("This program needs Python {}.{} or newer; {} is Python {}.{}.".format(
            *MINIMUM_PYTHON, sys.executable, *sys.version_info))
    environment = Environment(ROOT)
    if not environment.ensure(frozenset(extras)) and environment.is_running():
        return
    command = [str(environment.python), *sys.orig_argv[1:]]  # which names a module after -m, too
    if os.name == "nt":  # exec would detach the new process from the console there
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)  # noqa: S606 - the same program with the same arguments, in the environment
