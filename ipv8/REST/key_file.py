"""The key of the REST API in a file, for those that control the node on the same host."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from ..keyvault.files import write_private_file

if TYPE_CHECKING:
    import os
    from pathlib import Path

__all__ = ["KEY_FILE", "make_or_read_key", "read_key"]

KEY_FILE = "rest.key"
"""Its name in the working directory."""

LONGEST_KEY_FILE = 1024
"""Bytes that are read of it."""

KEY_SIZE = 32


def read_key(path: str | os.PathLike[str]) -> str:
    """The key in a file such as ``rest.key``.

    :raises FileNotFoundError: if there is no file.
    :raises ValueError: if there is no key in it.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        key = file.read(LONGEST_KEY_FILE).strip()
    if not key.isascii() or len(key.split()) != 1:
        raise ValueError(f"{path} has no API key: that is one word, as 'ipv8 run' writes it into {KEY_FILE}. "
                         "Delete the file to have another one made")
    return key


def make_or_read_key(path: Path) -> str:
    """The key in a file, which is made if it does not exist. Only its owner can read it.

    :raises ValueError: if there is something else in the file.
    """
    try:
        return read_key(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another program has made it meanwhile
            write_private_file(path, f"{secrets.token_urlsafe(KEY_SIZE)}\n".encode())
        return read_key(path)
