"""The virtual environment of the project, which is made on first use.

The programs in the root of the repository call :func:`enter` before they import anything that is not in the standard
library. It makes ``.venv`` next to them, installs the project with the extras that the program needs, and restarts the
program inside. A stamp file in the environment lists what was installed, so that later starts only compare it.

This module, and the programs that import it, use only syntax that Python 3.6 can read, so that an interpreter that is
too old for the project gets a message that says so, and not a syntax error.
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
        self.marker = self.directory / "made-by-ipv8-bootstrap"
        self.python = self.directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def is_running(self) -> bool:
        """Whether this process runs inside the environment."""
        return Path(sys.prefix).resolve() == self.directory.resolve()

    def description(self, extras: "frozenset[str]") -> "dict[str, Any]":
        """The stamp of an environment into which this interpreter installs ``extras`` now."""
        return {
            "extras": sorted(extras),
            "project": hashlib.sha256((self.root / "pyproject.toml").read_bytes()).hexdigest(),
            "python": "{}.{}".format(*sys.version_info),
            "root": str(self.root),
        }

    def installed(self) -> "dict[str, Any]":
        """The stamp of the environment; empty if nothing was installed, or the installation was interrupted."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) and isinstance(stamp.get("extras"), list) else {}

    def ensure(self, extras: "frozenset[str]") -> bool:
        """Make, rebuild or complete the environment, so that the project runs in it; whether that was necessary.

        Extras that it already has are kept. It is rebuilt if another version of Python made it, or if the directory was
        copied or moved: scripts in the environment, and its link to the sources, contain the path where it was made.

        An environment without the marker of this program was made by somebody else. It is never deleted. It is
        completed if it is usable; otherwise the program exits with a message.
        """
        installed = self.installed()
        extras |= frozenset(installed.get("extras", ()))
        if "all" in extras:
            extras &= NOT_IN_ALL | {"all"}
        if self.python.exists() and installed == self.description(extras):
            return False
        if not self.is_running():
            if self.directory.exists() and not self.is_usable(installed):
                if not self.is_own():
                    sys.exit(f"{self.directory} cannot be used: it lacks pip, or it was made elsewhere or by another "
                             "Python. It was not made by this program, so it is not deleted. Move it and start again.")
                self.remove()
            if not self.directory.exists():
                self.create()
        self.install(extras)
        return True

    def is_own(self) -> bool:
        """Whether this program made the environment."""
        return self.marker.is_file() and not self.directory.is_symlink()

    def is_usable(self, installed: "dict[str, Any]") -> bool:
        """Whether the existing environment was made here, by this version of Python, and can install packages."""
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
        """Make an empty environment with this interpreter."""
        if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
            sys.exit(f"{sys.executable} lacks the modules venv and ensurepip. Install them (on Debian and Ubuntu: "
                     "apt install python3-venv) or use another Python, and start again.")
        tell("Making {} for Python {}.{}; this happens once.".format(self.directory.name, *sys.version_info))
        if subprocess.run([sys.executable, "-m", "venv", str(self.directory)], check=False).returncode:
            shutil.rmtree(str(self.directory), ignore_errors=True)  # it did not exist before
            sys.exit("The virtual environment could not be made; what Python says about it stands above.")
        self.marker.write_text("scripts/bootstrap.py made this environment, and may delete it.\n", encoding="utf-8")

    def install(self, extras: "frozenset[str]") -> None:
        """Install the project as an editable package with ``extras`` and write the stamp."""
        names = "[{}]".format(",".join(sorted(extras))) if extras else ""
        tell(f"Installing what the project needs (ipv8{names}); this takes a minute or less.")
        if self.stamp.exists():
            self.stamp.unlink()
        for packages in (["pip>=22"], ["--editable", f".{names}"]):
            command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
            # The output of pip and of the build is shown only if they fail.
            pip = subprocess.run(command, cwd=str(self.root), check=False, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
            if pip.returncode:
                tell(pip.stdout.decode(errors="replace"))
                sys.exit("The installation failed; pip's reason stands above. Without direct access to a package "
                         "index, name a mirror in the environment variable PIP_INDEX_URL. Then start again.")
        self.stamp.write_text(json.dumps(self.description(extras), indent=1), encoding="utf-8")


def tell(sentence: str) -> None:
    """Print to standard error. Standard output is for the program that starts next."""
    print(sentence, file=sys.stderr, flush=True)


def run(program: "Callable[[list[str]], int]") -> NoReturn:
    """Run ``program`` with the arguments of the command line and exit with its status; 130 after Ctrl+C.

    An ``OSError`` is reported in one line, with status 1. If the reader of the output has closed it, the program ends
    without a message.
    """
    try:
        try:
            status = program(sys.argv[1:])
        finally:
            sys.stdout.flush()  # an error at the exit could not be reported
    except KeyboardInterrupt:
        tell("Interrupted.")
        status = 130
    except OSError as e:
        # Writing what is left in the buffer would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            tell(f"{Path(sys.argv[0]).name}: {e.strerror or e}")
        status = 1
    sys.exit(status)


def enter(*extras: str) -> None:
    """Return inside the project's environment, with ``extras`` installed.

    Outside of it, the program is restarted inside with the same command line, and this function does not return. The
    program exits with a message if the interpreter is too old or the environment cannot be made.
    """
    if sys.version_info < MINIMUM_PYTHON:
        sys.exit("This program needs Python {}.{} or newer; {} is Python {}.{}.".format(
            *MINIMUM_PYTHON, sys.executable, *sys.version_info))
    environment = Environment(ROOT)
    if not environment.ensure(frozenset(extras)) and environment.is_running():
        return
    command = [str(environment.python), *sys.orig_argv[1:]]  # it has the name of the module after -m, too
    if os.name == "nt":  # exec would detach the new process from the console there
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)  # noqa: S606 - the same program with the same arguments, in the environment
