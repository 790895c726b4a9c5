"""Private keys in files (spec 06 section 3.1): the identity of a node, which must neither leak nor get lost.

A file holds the key's binary form. It is written under another name first and then given its own, so that at no time,
whatever ends the process, there is half a key under that name; only its owner may read it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
from pathlib import Path

from .backend.curve25519 import BLOB_SIZE, PRIVATE_PREFIX, PUBLIC_PREFIX
from .backend.handle import UnsupportedCurveError
from .crypto import default_eccrypto
from .keys import PrivateKey

__all__ = ["PrivateKeyFileError", "load_or_create_private_key", "load_private_key", "store_private_key"]

logger = logging.getLogger(__name__)

SIZE_LIMIT = 65536
"""Bytes; far more than any key takes. What is larger is not read in full."""

OTHERS = 0o077


class PrivateKeyFileError(ValueError):
    """A file that should hold a private key does not; it was left as it is."""


def load_private_key(path: str | os.PathLike[str]) -> PrivateKey:
    """Read the private key in a file.

    Of a curve25519 key, PEM and DER hold the half for signatures alone. What is loaded from them has another member id
    than the whole key (spec 01 section 4), which is warned of.

    :class:`PrivateKeyFileError`: the content is not a private key, and the message says what it looks like;
    ``FileNotFoundError`` and other ``OSError``: it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(SIZE_LIMIT)
        mode = os.fstat(file.fileno()).st_mode
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
        logger.warning("%s holds one half of a curve25519 key, as PEM has no place for the other: this is the peer %s, "
                       "not the one that the whole key makes", os.fspath(path), key.key_to_hash().hex())
    if os.name == "posix" and mode & OTHERS:
        logger.warning("other users may read the private key in %s: forbid it with chmod 600", os.fspath(path))
    return key


def _diagnose(data: bytes) -> str:
    """What is probably wrong, without a byte of the content in it."""
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
    """Write a private key to a file, whole or not at all, readable by its owner only.

    A file that already holds this key is left alone. One that holds anything else is replaced only with ``overwrite``;
    otherwise ``FileExistsError``, because the identity in it would be lost. The directory must exist:
    ``FileNotFoundError``. ``TypeError``: the key is no private one; ``ValueError``: only half of it is known.
    """
    if not isinstance(key, PrivateKey):
        raise TypeError(f"only a private key can be stored as one, not {key!r}")
    target = Path(os.path.realpath(path))
    data = key.key_to_bin()
    if default_eccrypto.key_from_private_bin(data) != key:
        raise ValueError("only one half of this curve25519 key is known, as it was loaded from PEM: keep that instead")
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # made with mode 0600
    except FileNotFoundError:
        reason = f"no private key can be stored, as the directory {target.parent} does not exist"
        raise FileNotFoundError(errno.ENOENT, reason, os.fspath(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(name, target)
        else:
            _name_if_free(name, target, data)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    _sync_directory(target.parent)


def _name_if_free(name: str, target: Path, data: bytes) -> None:
    """Give the file ``name`` the name ``target``, unless that is taken by other content."""
    try:
        os.link(name, target)  # fails when the target exists, however close together two processes try
    except FileExistsError:
        if target.read_bytes() != data:
            raise FileExistsError(f"{target} exists and holds something else: move it away first") from None
    except OSError:
        # A file system without hard links, such as FAT.
        if target.exists():
            raise FileExistsError(f"{target} exists: move it away first") from None
        os.replace(name, target)


def _sync_directory(directory: Path) -> None:
    """Make a new name survive a power cut, where directories can be synchronised."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load_or_create_private_key(path: str | os.PathLike[str], security_level: str = "curve25519") -> PrivateKey:
    """The private key in a file; when there is no such file, a fresh key of the level is stored there.

    Of several processes that start at the same time, one creates the key and all use it. Errors are those of
    :func:`load_private_key` and :func:`store_private_key`; a damaged file is never replaced.
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
