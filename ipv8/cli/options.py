"""The types of options and arguments. What each refuses is said with an example of what it takes."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Any, NoReturn

import click

__all__ = ["CURVE", "HOST_NAME", "IPV4", "IPV6", "KEY", "LOG_LEVEL", "MID", "PORT", "PUBLIC_KEY", "RATE", "SERVER",
           "TEXT", "Count", "FilePath", "ParamType", "Seconds", "Text", "TreePath", "ValueType", "json_option",
           "option_error"]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any]
else:  # older releases of click have no types in brackets
    ParamType = click.ParamType

HIGHEST_PORT = 65535
KEY_DIGITS = 40
LARGEST_KEY_FILE = 65536
"""Bytes of a file with a public key, at most."""


class ValueType(ParamType):
    """Makes a value of a text; values that are none, such as defaults, are taken as they are.

    ``completes`` is ``"file"`` or ``"dir"`` if shells should complete the names of these.
    """

    completes: str | None = None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as e:
            self.fail(str(e), param, ctx)

    def read(self, text: str) -> Any:
        """The value of a text; ``ValueError`` with the message for the user if it has none."""
        raise NotImplementedError

    def choices(self) -> Iterable[str]:
        """What shells should offer."""
        return ()

    def shell_complete(self, ctx: click.Context, param: click.Parameter,  # noqa: ARG002 - as click calls it
                       incomplete: str) -> list[CompletionItem]:
        """What a value may be that begins with ``incomplete``."""
        from click.shell_completion import CompletionItem

        if self.completes is not None:
            return [CompletionItem(incomplete, type=self.completes)]
        return [CompletionItem(choice) for choice in self.choices() if choice.lower().startswith(incomplete.lower())]


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


class _Port(ValueType):
    name = "port"

    def read(self, text: str) -> int:
        port = _whole(text)
        if port is None or port > HIGHEST_PORT:
            raise ValueError(f"{text!r} is no port: give a number from 0 (any free port) to {HIGHEST_PORT}")
        return port


class Count(ValueType):
    """A whole number, which is at least 1."""

    name = "n"

    def read(self, text: str) -> int:
        """The number."""
        number = _whole(text)
        if not number:
            raise ValueError(f"{text!r} is no whole number of at least 1")
        return number


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


class _Rate(ValueType):
    name = "n"

    def read(self, text: str) -> float:
        rate = _finite(text)
        if rate is None or rate <= 0:
            raise ValueError(f"{text!r} is no number greater than 0, such as 50 or 0.5")
        return rate


class Seconds(ValueType):
    """A time, which is not zero.

    :param maximum: the longest time that makes sense.
    :param unit: in which it is given.
    """

    def __init__(self, maximum: float, unit: str = "seconds") -> None:
        self.maximum = maximum
        self.unit = unit
        self.name = unit[0]

    def read(self, text: str) -> float:
        """The number."""
        seconds = _finite(text)
        if seconds is None or not 0 < seconds <= self.maximum:
            raise ValueError(f"{text!r} is no time: give {self.unit}, more than 0 and at most {self.maximum:g}")
        return seconds


class _Server(ValueType):
    name = "host:port"

    def read(self, text: str) -> tuple[str, int]:
        from ..runner import parse_host_and_port

        return parse_host_and_port(text)


class _Address(ValueType):
    def __init__(self, version: int, examples: str) -> None:
        self.version = version
        self.examples = examples
        self.name = "ip"

    def read(self, text: str) -> str:
        from ipaddress import ip_address

        try:
            address = ip_address(text)
        except ValueError:
            address = None
        if address is None or address.version != self.version:
            raise ValueError(f"{text!r} is no IPv{self.version} address, such as {self.examples}")
        return str(address)


class _HostName(ValueType):
    name = "name"

    def read(self, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", text):
            raise ValueError(f"{text!r:.100} is no name of a host, such as node.example.org")
        return text


class Text(ValueType):
    """A text that is not empty."""

    name = "text"

    def read(self, text: str) -> Any:
        """The text."""
        if not text:
            raise ValueError("it must not be empty")
        return text


class _Mid(ValueType):
    name = "mid"

    def read(self, text: str) -> bytes:
        if len(text) != KEY_DIGITS or not set(text) <= set(hexdigits):
            raise ValueError(f"{text!r} is not {KEY_DIGITS} hex digits")
        return bytes.fromhex(text)


class _Key(_Mid):
    name = "key"

    def read(self, text: str) -> bytes:
        if len(text) == KEY_DIGITS:
            return super().read(text)
        key = text.encode(errors="surrogateescape")
        if not 0 < len(key) <= KEY_DIGITS // 2:
            raise ValueError(f"{text!r} is neither {KEY_DIGITS} hex digits nor 1 to {KEY_DIGITS // 2} bytes of text")
        return key.ljust(KEY_DIGITS // 2, b"\x00")


class _PublicKey(ValueType):
    """A public key in hexadecimal digits, or a file with it: in digits, in binary form, or as JSON of ``key show``."""

    name = "key"
    completes = "file"

    def read(self, text: str) -> bytes:
        from ..keyvault.crypto import default_eccrypto

        try:
            return default_eccrypto.key_from_network(_key_in(text)).key_to_bin()
        except (ValueError, RecursionError):  # the latter for JSON that is nested too deep
            raise ValueError(f"{text!r:.200} is neither a public key in hexadecimal digits nor a file with one: "
                             "'ipv8 key show FILE --json' prints that of a key file") from None


def _key_in(text: str) -> bytes:
    """The public key in an argument or in the file that it names; ``ValueError`` if there is none."""
    if not os.path.isfile(text):  # false also for what cannot be a path
        return bytes.fromhex(text)
    with open(text, "rb") as file:
        content = file.read(LARGEST_KEY_FILE)
    if content.lstrip().startswith(b"{"):
        import json

        facts = json.loads(content)
        return bytes.fromhex(str(facts.get("public_key", "")))
    try:
        return bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        return content


class _Curve(ValueType):
    name = "curve"

    def choices(self) -> Iterable[str]:
        """The names of the curves."""
        from ..configuration import CURVES

        return CURVES

    def read(self, text: str) -> str:
        from ..configuration import CURVES, did_you_mean

        if text not in CURVES:
            raise ValueError(f"there is no curve {text!r}{did_you_mean(text, CURVES)}")
        return text


class _LogLevel(ValueType):
    """The name of a level of the ``logging`` module, in capital or small letters."""

    name = "level"

    def choices(self) -> Iterable[str]:
        """The names of the levels."""
        from ..configuration import LOG_LEVELS

        return LOG_LEVELS

    def read(self, text: str) -> str:
        """The name in capital letters."""
        from ..configuration import LOG_LEVELS, did_you_mean

        if text.upper() not in LOG_LEVELS:
            raise ValueError(f"there is no level {text!r}{did_you_mean(text.upper(), LOG_LEVELS)}")
        return text.upper()


class FilePath(ValueType):
    """The path of a file.

    :param what: what is in the file, for messages.
    :param exists: whether the file must be there. Otherwise it may be made, and its directory must be there.
    :param may_be_pipe: whether it may also be a pipe or a device, as in ``/dev/stdin``.
    """

    name = "file"
    completes = "file"

    def __init__(self, what: str, *, exists: bool = False, may_be_pipe: bool = False) -> None:
        self.what = what
        self.exists = exists
        self.may_be_pipe = may_be_pipe

    def read(self, text: str) -> str:
        """The path as it was given."""
        _check_path(text)
        path = Path(text)
        if path.is_dir() or text.endswith(("/", os.sep)):
            raise ValueError(f"{text!r} is a directory: give the path of a file for {self.what}")
        if not path.exists():
            if self.exists:
                raise ValueError(f"there is no file {text!r} with {self.what}")
            _check_directory(path.parent, text)
        elif not path.is_file() and not self.may_be_pipe:
            raise ValueError(f"{text!r} is a device or a pipe: give the path of a regular file for {self.what}")
        elif not os.access(path, os.R_OK):
            raise ValueError(f"this user may not read {text!r}")
        return text


class TreePath(ValueType):
    """The path of a directory, which is made if it is missing.

    :param what: what is kept there, for messages.
    """

    name = "directory"
    completes = "dir"

    def __init__(self, what: str) -> None:
        self.what = what

    def read(self, text: str) -> str:
        """The path as it was given."""
        _check_path(text)
        path = Path(text)
        while not path.exists() and path != path.parent:
            path = path.parent
        if not path.is_dir():
            raise ValueError(f"{str(path)!r} is no directory: give the path of a directory for {self.what}")
        if not os.access(path, os.W_OK | os.X_OK):
            raise ValueError(f"this user may not write to the directory {str(path)!r}")
        return text


def _check_path(text: str) -> None:
    if not text.strip():
        raise ValueError("it must not be empty")
    if "\0" in text:
        raise ValueError("there is a zero byte in it, which no path can have")
    try:
        os.lstat(text)
    except FileNotFoundError:
        pass
    except OSError as e:
        raise ValueError(f"{text!r:.80} cannot be used: {e.strerror}") from e


def _check_directory(directory: Path, text: str) -> None:
    if not directory.is_dir():
        raise ValueError(f"{text!r} cannot be made, because there is no directory {str(directory)!r}")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"{text!r} cannot be made: this user may not write to {str(directory)!r}")


def option_error(ctx: click.Context, name: str, message: str) -> NoReturn:
    """Refuse the arguments because of an option that does not go together with others."""
    raise click.UsageError(f"{name} {message}", ctx)


PORT = _Port()
RATE = _Rate()
SERVER = _Server()
IPV4 = _Address(4, "192.0.2.1, or 0.0.0.0 for all addresses of this machine")
IPV6 = _Address(6, "2001:db8::1, or :: for all addresses of this machine")
HOST_NAME = _HostName()
TEXT = Text()
KEY = _Key()
MID = _Mid()
PUBLIC_KEY = _PublicKey()
CURVE = _Curve()
LOG_LEVEL = _LogLevel()

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
