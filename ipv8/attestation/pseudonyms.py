"""The keys of pseudonyms, one file each."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..keyvault.crypto import default_eccrypto
from ..keyvault.files import PrivateKeyFileError, load_private_key, store_private_key, write_private_file
from ..keyvault.passphrases import Passphrase, WrongPassphraseError, is_encrypted
from .private_files import restrict

if TYPE_CHECKING:
    from ..keyvault.keys import PrivateKey

__all__ = ["PseudonymFolderManager", "check_pseudonym_name"]

logger = logging.getLogger(__name__)

LONGEST_NAME = 100
"""Bytes of the name of a pseudonym, which is the name of a file."""

FORBIDDEN = frozenset('/\\:*?"<>|')
"""Characters that file names of some systems cannot have."""

DEVICES = frozenset({"con", "prn", "aux", "nul",
                     *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))})
"""File names that mean devices on Windows, with any extension."""

CONTEXT = b"ipv8 pseudonym"
LARGEST_FILE = 65_536


def check_pseudonym_name(name: str) -> str:
    """The name, if it can be the name of a file in the folder of pseudonyms and of no other file.

    :raises ValueError: otherwise.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("a pseudonym needs a name")
    if (name.startswith((".", " ", "~")) or name.endswith((".", " ")) or not FORBIDDEN.isdisjoint(name)
            or not name.isprintable() or name.split(".", maxsplit=1)[0].lower() in DEVICES):
        raise ValueError(f"{name!r} cannot be the name of a pseudonym: use letters, digits, blanks inside, - and _")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError("the name of a pseudonym must be text that can be encoded as UTF-8") from None
    if size > LONGEST_NAME:
        raise ValueError(f"the name of a pseudonym has at most {LONGEST_NAME} bytes, not {size}")
    return name


class PseudonymFolderManager:
    """A folder with the private keys of pseudonyms. Only the owner can read the files: their modes are corrected.

    :param directory: the folder; it is made when it is needed.
    :param passphrase: encrypts the keys that are made. Keys that are there already are read in either form, and not
        changed.
    """

    def __init__(self, directory: str, passphrase: str | bytes | Passphrase | None = None) -> None:
        self.pseudonym_folder = directory
        self.crypto = default_eccrypto
        self._passphrase = (passphrase if passphrase is None or isinstance(passphrase, Passphrase)
                            else Passphrase(passphrase))

    def _path(self, name: str) -> Path:
        return Path(self.pseudonym_folder) / check_pseudonym_name(name)

    def get_or_create_private_key(self, name: str) -> PrivateKey:
        """The key of a pseudonym; a new one if there is none.

        :raises ValueError: if the name is not possible, or the file is damaged.
        :raises WrongPassphraseError: if the key is encrypted with another passphrase.
        :raises PermissionError: if it is encrypted, and there is no passphrase.
        """
        path = self._path(name)
        try:
            return self._load(path)
        except FileNotFoundError:
            pass
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = self.crypto.generate_key("curve25519")
        try:
            self._store(path, key)
        except FileExistsError:  # another process was faster
            return self._load(path)
        return key

    def _load(self, path: Path) -> PrivateKey:
        if path.exists() and not path.is_file():
            raise PrivateKeyFileError(f"{path} is not the key of a pseudonym, but a directory, a device or a pipe: "
                                      "choose another name")
        with suppress(PermissionError):  # it may belong to somebody else
            restrict(path)
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE)
        if not is_encrypted(data):
            return load_private_key(path)
        if self._passphrase is None:
            raise PermissionError(f"the key in {path} is encrypted: give its passphrase")
        return self.crypto.key_from_private_bin(self._passphrase.decrypt(data, CONTEXT))

    def _store(self, path: Path, key: PrivateKey) -> None:
        if self._passphrase is None:
            store_private_key(path, key)
            return
        write_private_file(path, self._passphrase.encrypt(key.key_to_bin(), CONTEXT))

    def change_passphrase(self, new: str | bytes | Passphrase) -> None:
        """Encrypt all keys with another passphrase from now on, also those that are not encrypted.

        If the program ends meanwhile, some keys have the new passphrase: call this again with the same arguments.

        :raises ValueError: if a file is damaged, or encrypted with another passphrase than these two. Then nothing is
            changed.
        """
        passphrase = new if isinstance(new, Passphrase) else Passphrase(new)
        keys = {path: self._load_by_either(path, passphrase) for path in map(self._path, self.list_pseudonym_files())}
        for path, key in keys.items():
            if key is not None:
                write_private_file(path, passphrase.encrypt(key.key_to_bin(), CONTEXT), overwrite=True)
        self._passphrase = passphrase

    def _load_by_either(self, path: Path, new: Passphrase) -> PrivateKey | None:
        """The key in a file; ``None`` if it is encrypted with the new passphrase already."""
        try:
            return self._load(path)
        except (PermissionError, WrongPassphraseError):
            data = path.read_bytes()
            if not is_encrypted(data):
                raise
            with suppress(WrongPassphraseError):
                new.decrypt(data, CONTEXT)
                return None
            raise

    def remove_pseudonym_file(self, name: str) -> None:
        """Delete the key of a pseudonym; nothing is done if there is none."""
        self._path(name).unlink(missing_ok=True)

    def list_pseudonym_files(self) -> list[str]:
        """The names of all pseudonyms; files with names that pseudonyms cannot have are left out."""
        folder = Path(self.pseudonym_folder)
        if not folder.is_dir():
            return []
        names = []
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                continue
            try:
                names.append(check_pseudonym_name(entry.name))
            except ValueError:
                if not entry.name.startswith("."):
                    logger.warning("%s is not the key of a pseudonym, by its name", entry)
        return names
