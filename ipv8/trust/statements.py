"""Whom a person knows and trusts: statements in a file, for ``ipv8 trust`` and for nodes (doc/trust.md, section 9)."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import clock
from ..files import locked, new_content
from ..keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from .graph import TrustGraph

__all__ = ["STATEMENT", "Statement", "Statements", "StatementsFileError"]

STATEMENT = "statement"
"""The kind of the endorsements that statements become."""

MAX_STATEMENTS = 10_000
"""Keys in a file; more are refused."""

MAX_FILE = 16 * 1024 * 1024
"""Bytes of a file, which are more than that many statements have."""

MAX_WEIGHT = 1e6
"""The highest weight of a statement."""

LONGEST_NAME = 100
"""Characters of a name."""

FORMAT = "ipv8 trust statements"
VERSION = 1

LATEST = 1 << 36
"""Seconds since the Unix epoch that are too many for a time."""

SHORTEST_PREFIX = 6
"""Hex digits of a member id by which a person is found, at least."""


class StatementsFileError(ValueError):
    """A file does not have statements. It is not changed."""


class Statement(NamedTuple):
    """That the owner of a key is trusted."""

    public_key: bytes
    name: str
    weight: float
    #: Seconds since the Unix epoch.
    since: int

    @property
    def mid(self) -> bytes:
        """The member id of the key."""
        return default_eccrypto.key_from_network(self.public_key).key_to_hash()


def _checked_name(name: str) -> str:
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, all of them printable, unlike {name!r:.200}")
    return name


def _checked_weight(weight: float) -> float:
    if not (isfinite(weight) and 0.0 < weight <= MAX_WEIGHT):
        raise ValueError(f"a weight is a number above 0 and at most {MAX_WEIGHT:g}, not {weight}")
    return float(weight)


def _checked_key(public_key: bytes) -> bytes:
    try:
        return default_eccrypto.key_from_network(public_key).key_to_bin()
    except ValueError as e:
        raise ValueError(f"{public_key.hex()!r:.200} is no public key: 'ipv8 key show FILE' prints that of a key file"
                         ) from e


class Statements:
    """The statements in a file, which only its owner can read.

    :param path: a file that is made by :meth:`save` if it does not exist.
    :raises StatementsFileError: if the file has something else; it is left as it is.
    :raises OSError: if it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._people: dict[bytes, Statement] = {}
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
        except FileNotFoundError:
            return
        try:
            if len(content) > MAX_FILE:
                raise ValueError(f"it has more than {MAX_FILE} bytes")
            self._read(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise StatementsFileError(f"{self.path} does not have the statements that it should have ({e}). It was "
                                      "left as it is: restore a copy, or move it away to start with none") from e

    def _read(self, content: Any) -> None:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        if content["version"] != VERSION:
            raise ValueError(f"its version is {content['version']!r}, and this release knows {VERSION}")
        for entry in content["people"]:
            key = _checked_key(bytes.fromhex(entry["public_key"]))
            since = int(entry["since"])
            if not 0 <= since < LATEST:
                raise ValueError(f"{since} is no time")
            self._put(Statement(key, _checked_name(entry["name"]), _checked_weight(entry["weight"]), since))

    def _put(self, statement: Statement) -> None:
        if statement.public_key not in self._people and len(self._people) >= MAX_STATEMENTS:
            raise ValueError(f"there are {MAX_STATEMENTS} statements already, which are as many as can be kept")
        self._people[statement.public_key] = statement

    def __iter__(self) -> Iterator[Statement]:
        return iter(self._people.values())

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, public_key: bytes) -> bool:
        return public_key in self._people

    def name_of(self, public_key: bytes) -> str:
        """The name of the owner of a key, empty if none is known."""
        statement = self._people.get(public_key)
        return "" if statement is None else statement.name

    def add(self, public_key: bytes, name: str = "", weight: float = 1.0) -> Statement:
        """State that the owner of a key is trusted, in place of what was stated before.

        :raises ValueError: if there is no such key, the name is too long or in use, or the weight is not positive.
        """
        key = _checked_key(public_key)
        same_name = [other for other in self if name and other.name == name and other.public_key != key]
        if same_name:
            raise ValueError(f"{name!r} is the name of another key: choose another name, or remove that one first")
        statement = Statement(key, _checked_name(name), _checked_weight(weight), int(clock.time()))
        self._put(statement)
        return statement

    def remove(self, public_key: bytes) -> bool:
        """Take a statement back; whether there was one."""
        return self._people.pop(public_key, None) is not None

    def find(self, text: str) -> Statement:
        """The statement about somebody by a name, a public key, or the beginning of a member id.

        :raises KeyError: if there is none, or there are several; the message says which.
        """
        for statement in self:
            if text in {statement.name, statement.public_key.hex()} and text:
                return statement
        found = [statement for statement in self if len(text) >= SHORTEST_PREFIX
                 and statement.mid.hex().startswith(text.lower())]
        if len(found) == 1:
            return found[0]
        raise KeyError(f"{text!r:.200} is the name, the public key or the beginning of the member id "
                       f"({SHORTEST_PREFIX} digits at least) of {'several' if found else 'nobody'} in {self.path}")

    def save(self) -> None:
        """Write the file, completely or not at all. Only its owner can read it.

        :raises OSError: if it cannot be written.
        """
        people = [{"public_key": one.public_key.hex(), "name": one.name, "weight": one.weight, "since": one.since}
                  for one in self]
        content = json.dumps({"format": FORMAT, "version": VERSION, "people": people}, indent=2) + "\n"
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new_content(target) as file:
            file.write(content.encode())

    @classmethod
    @contextmanager
    def changed(cls, path: str | os.PathLike[str]) -> Iterator[Self]:
        """The statements in a file, which are written at the end of this context unless it raises.

        Others that change the file in this way, in whatever process, wait for that (not on Windows).

        :raises StatementsFileError: if the file has something else; it is left as it is.
        :raises OSError: if it cannot be read or written.
        """
        directory = Path(os.path.realpath(path)).parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory):
            statements = cls(path)
            yield statements
            statements.save()

    def apply(self, graph: TrustGraph) -> None:
        """Make the endorsements by the root of a graph those of the file, in place of earlier statements."""
        for edge in graph.neighbours(graph.root):
            if STATEMENT in edge.kinds:
                graph.remove(graph.root, edge.target, STATEMENT)
        for statement in self:
            graph.add(graph.root, statement.public_key, statement.weight, kind=STATEMENT)
