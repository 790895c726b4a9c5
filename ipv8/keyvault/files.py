"""Private keys in files. The key of a node is its identity, which must not leak or get lost.

See doc/protocol/keys.md section 4.

A file has the binary form of a key, and only its owner may read it. It is written under another name first, and then
renamed. So there is never a part of a key under the final name, whenever the process ends.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

from ..files import locked, new_content
from .backend.curve25519 import BLOB_SIZE, PRIVATE_PREFIX, PUBLIC_PREFIX
from .backend.handle import UnsupportedCurveError
from .crypto import default_eccrypto
from .keys import PrivateKey

__all__ = ["PrivateKeyFileError", "load_or_create_private_key", "load_private_key", "store_private_key",
           "write_private_file"]

logger = logging.getLogger(__name__)

SIZE_LIMIT = 65536
"""Bytes, far more than any key has. Of a larger file only the beginning is read."""

OTHERS = 0o077


class PrivateKeyFileError(ValueError):
    """A file does not have the private key that it should have. The file is not changed."""


def load_private_key(path: str | os.PathLike[str]) -> PrivateKey:
    """Read the private key in a file.

    PEM and DER have only one half of a curve25519 key, the one for signatures. The key that is loaded from them has
    another member id than the whole key (doc/protocol/keys.md section 4.2). There is a warning about this.

    :raises PrivateKeyFileError: if the content is not a private key. The message says what it looks like.
    :raises OSError: if the file cannot be read; ``FileNotFoundError`` if it does not exist.
    """
    # Opening a named pipe would wait for a writer, for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise PrivateKeyFileError(f"{os.fspath(path)} does not hold a private key: it is not a regular file, but a "
                                      "device or a pipe. Give the path of another file")
        data = file.read(SIZE_LIMIT)
    try:
        key = default_eccrypto.key_from_private_bin(data)
    except UnsupportedCurveError:
        raise
    except ValueError:
        raise PrivateKeyFileError(
            f"{os.fspath(path)} does not hold a private key: {_diagnose(data)}. The file was left as it is; "
            "to start with a new identity, move it away"
        ) from None
    if not data.startswith(PRIVATE_PREFIX) and key.pub().curve_name() == "curve25519":
        logger.warning("%s holds one half of a curve25519 key, because PEM has no place for the other half. It is the "
                       "peer %s. The whole key would be another peer", os.fspath(path), key.key_to_hash().hex())
    if os.name == "posix" and mode & OTHERS:
        logger.warning("other users can read the private key in %s: forbid it with chmod 600", os.fspath(path))
    return key


def _diagnose(data: bytes) -> str:
    """What is probably wrong with a file. The text has no byte of the content."""
    if not data:
        return "it is empty; restore it from a backup"
    if len(data) == BLOB_SIZE - len(PRIVATE_PREFIX):
        return f"its {len(data)} bytes may be a curve25519 key without its first bytes, {PRIVATE_PREFIX.decode()!r}"
    if data.startswith(PRIVATE_PREFIX):
        return f"it is truncated to {len(data)} of {BLOB_SIZE} bytes; restore it from a backup"
    if data.startswith((PUBLIC_PREFIX, b"-----BEGIN PUBLIC KEY-----")):
        return "it holds a public key"
    return "it is damaged, or of another program; restore it from a backup"


def store_private_key(path: str | os.PathLike[str], key: PrivateKey, *, overwrite: bool = False) -> None:
    """Write a private key to a file, completely or not at all. Only the owner can read the file.

    A file that has this key already is not changed.

    :param overwrite: replace a file that has anything else. The identity in it is lost.
    :raises FileExistsError: if the file has anything else, without ``overwrite``.
    :raises FileNotFoundError: if the directory does not exist.
    :raises TypeError: if the key is not a private key.
    :raises ValueError: if only one half of the key is known.
    """
    if not isinstance(key, PrivateKey):
        raise TypeError(f"only a private key can be stored as one, not {key!r}")
    data = key.key_to_bin()
    if default_eccrypto.key_from_private_bin(data) != key:
        raise ValueError("only one half of this curve25519 key is known, because it was loaded from PEM: keep the PEM")
    write_private_file(path, data, overwrite=overwrite)


def write_private_file(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = False) -> None:
    """Write a file with a secret, completely or not at all. Only the owner can read it.

    :param overwrite: replace a file that has anything else.
    :raises FileExistsError: if the file has anything else, without ``overwrite``, or is a device or a directory.
    :raises FileNotFoundError: if the directory does not exist.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        reason = f"no private key can be stored, as the directory {target.parent} does not exist"
        raise FileNotFoundError(errno.ENOENT, reason, os.fspath(path))
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{target} is not a regular file: give another path")
    with new_content(target, place=None if overwrite else _name_if_free) as file:
        file.write(data)


def _name_if_free(name: str, target: Path) -> None:
    """Rename the file ``name`` to ``target``, unless that exists with other content."""
    try:
        os.link(name, target)  # fails if the target exists, also when two processes try at the same time
    except FileExistsError:
        _require_same(name, target)
    except OSError:
        # A file system without hard links, such as FAT. Windows does not rename a file to a name that exists.
        with locked(target.parent):
            if target.exists():
                _require_same(name, target)
            else:
                os.rename(name, target)


def _require_same(name: str, target: Path) -> None:
    if target.read_bytes() != Path(name).read_bytes():
        raise FileExistsError(f"{target} exists and holds something else: move it away first") from None


def load_or_create_private_key(path: str | os.PathLike[str], security_level: str = "curve25519") -> PrivateKey:
    """The private key in a file. If the file does not exist, a new key is generated and stored there.

    If several processes start at the same time, one of them generates the key, and all use it. Errors are those of
    :func:`load_private_key` and :func:`store_private_key`. A damaged file is never replaced.
    """
    try:
        return load_private_key(path)
    except FileNotFoundError:
        key = default_eccrypto.generate_key(security_level)
    try:
        store_private_key(path, key)
    except FileExistsError:
        return load_private_key(path)
    return key
