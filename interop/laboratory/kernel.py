"""Network namespaces, with commands and sockets in them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.library import ROOT

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["KernelError", "Namespace", "Namespaces", "run", "tool"]

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Debian has network tools in directories that are not in the path of ordinary users."""

COMMAND_SECONDS = 20.0
CLONE_NEWNET = 0x40000000
NAME = re.compile(r"ipv8-(\d+)-")


class KernelError(Exception):
    """The kernel, or this machine, lacks something or does not permit it; the message says what."""


def tool(name: str) -> str:
    """The path of a command; :class:`KernelError` if it is not installed."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        package = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}.get(name, name)
        raise KernelError(f"the command {name} is missing (Debian: apt-get install {package})")
    return path


def run(*command: str, text: str = "") -> str:
    """Run a command with ``text`` as its standard input, and return its output; :class:`KernelError` if it fails."""
    try:
        done = subprocess.run([tool(command[0]), *command[1:]], input=text, capture_output=True, text=True, check=False,
                              timeout=COMMAND_SECONDS)
    except (OSError, subprocess.SubprocessError) as e:
        raise KernelError(f"{' '.join(command)}: {e}") from e
    if done.returncode:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
        raise KernelError(f"{' '.join(command)}: {reason}")
    return done.stdout


class Namespace:
    """One network namespace.

    :param name: its name for ``ip netns``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        run("ip", "netns", "add", name)

    def configure(self, *lines: str) -> None:
        """Run these commands of ``ip`` in this namespace. They are given without the word ``ip``."""
        run("ip", "-n", self.name, "-batch", "-", text="\n".join(lines) + "\n")

    def set(self, **settings: int) -> None:
        """Change kernel settings below ``net``; two underscores stand for a slash."""
        writes = [f"echo {value} > /proc/sys/net/{key.replace('__', '/')}" for key, value in settings.items()]
        run(*self.command("sh", "-c", " && ".join(writes)))

    def filter(self, rules: str) -> None:
        """Load rules of ``nftables``."""
        run(*self.command(tool("nft"), "-f", "-"), text=rules)

    def command(self, *command: str) -> list[str]:
        """The command that runs ``command`` in this namespace."""
        return ["ip", "netns", "exec", self.name, *command]

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python in this namespace, with pipes."""
        command = self.command(sys.executable, *arguments)
        return subprocess.Popen([tool("ip"), *command[1:]], text=True, cwd=ROOT, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, start_new_session=True)

    def socket(self, ip: str, port: int) -> socket.socket:
        """A bound UDP socket in this namespace. Sockets stay in the namespace in which they were made."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open("rb") as here, (Path("/run/netns") / self.name).open("rb") as there:
            _enter(libc, there.fileno())
            try:
                made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            finally:
                _enter(libc, here.fileno())
        made.bind((ip, port))
        return made


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    """Move this thread to another network namespace (``os.setns`` is newer than Python 3.10)."""
    if libc.setns(namespace, CLONE_NEWNET):
        raise KernelError(f"setns: {os.strerror(ctypes.get_errno())}")


class Namespaces:
    """Makes namespaces for one process. Use it in a ``with`` block, which removes them at its end.

    At the beginning of the block, namespaces of processes that were killed are removed.
    """

    def __init__(self) -> None:
        self._made: list[Namespace] = []

    def __enter__(self) -> Namespaces:  # noqa: PYI034 - Self is newer than Python 3.10
        for line in run("ip", "netns", "list").splitlines():
            name = line.split()[0]
            match = NAME.match(name)
            if match is not None and not Path("/proc", match[1]).exists():
                run("ip", "netns", "delete", name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        while self._made:
            with suppress(KernelError):  # the others are removed even if one is gone already
                run("ip", "netns", "delete", self._made.pop().name)

    def add(self, name: str) -> Namespace:
        """Make a namespace; ``name`` must be unique in this process."""
        made = Namespace(f"ipv8-{os.getpid()}-{name}")
        self._made.append(made)
        made.set(ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0, ipv6__conf__default__accept_dad=0,
                 ipv6__conf__all__accept_dad=0)
        made.configure("link set lo up")
        return made
