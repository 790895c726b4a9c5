"""Secrets at rest, encrypted with a passphrase (doc/protocol/keys.md section 8).

The key comes from the passphrase by scrypt (RFC 7914), the encryption is ChaCha20-Poly1305 (RFC 8439).
"""

from __future__ import annotations

import struct
import unicodedata
from typing import NamedTuple

from .. import entropy

__all__ = ["DEFAULT_COST", "Passphrase", "ScryptCost", "WrongPassphraseError", "is_encrypted"]

MAGIC = b"IPv8box1"
"""How encrypted data starts."""

SALT_SIZE = 16
NONCE_SIZE = 12
TAG_SIZE = 16
HEADER = struct.Struct(f">{len(MAGIC)}sBBB{SALT_SIZE}s")

MAX_LOG_N, MAX_R, MAX_P = 20, 16, 16
"""Parameters of scrypt from which data is not opened: it would take gigabytes of memory or minutes."""

MAX_DERIVED_KEYS = 16
"""Keys that a :class:`Passphrase` remembers, one for each salt; when there are more, all are forgotten."""


class ScryptCost(NamedTuple):
    """The parameters of scrypt: ``128 * r * 2**log_n`` bytes of memory, ``p`` times the work."""

    log_n: int
    r: int
    p: int


DEFAULT_COST = ScryptCost(17, 8, 1)
"""128 MiB, and about a third of a second."""


class WrongPassphraseError(ValueError):
    """Encrypted data cannot be opened with this passphrase, or it was changed. It does not tell which."""


def is_encrypted(data: bytes) -> bool:
    """Whether ``data`` looks like what :meth:`Passphrase.encrypt` returns."""
    return data.startswith(MAGIC) and len(data) >= HEADER.size + NONCE_SIZE + TAG_SIZE


class Passphrase:
    """Encrypts and decrypts with one passphrase.

    All that one object encrypts has the same salt, so that scrypt runs once. To derive a key takes long: call
    :meth:`prepare` in a thread before the first use where nothing may wait.

    :param passphrase: text, which is encoded as UTF-8 in normalization form C (RFC 8265 section 4.2), so that it is the
        same on every keyboard; or bytes.
    :param cost: the parameters of scrypt for what is encrypted.
    :raises ValueError: if the passphrase is empty, or no text that UTF-8 has.
    """

    def __init__(self, passphrase: str | bytes, cost: ScryptCost = DEFAULT_COST) -> None:
        try:
            secret = (unicodedata.normalize("NFC", passphrase).encode() if isinstance(passphrase, str)
                      else bytes(passphrase))
        except UnicodeEncodeError:
            raise ValueError("the passphrase has characters that UTF-8 does not have: give it as bytes") from None
        if not secret:
            raise ValueError("the passphrase is empty: give one, or none at all to store secrets without encryption")
        self._secret = secret
        self._cost = cost
        self._salt = entropy.randbytes(SALT_SIZE)
        self._keys: dict[tuple[ScryptCost, bytes], bytes] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def prepare(self) -> None:
        """Derive the key for :meth:`encrypt`."""
        self._key(self._cost, self._salt)

    def like(self, data: bytes) -> Passphrase:
        """The same passphrase, which encrypts with the salt and the cost of ``data``.

        All parts of a file should have one salt, so that scrypt runs once for all.
        """
        header = HEADER.unpack(data[:HEADER.size])
        other = type(self)(self._secret, ScryptCost(*header[1:4]))
        other._salt = header[4]
        other._keys = self._keys
        return other

    def encrypt(self, plaintext: bytes, context: bytes = b"") -> bytes:
        """Encrypt; ``context`` says what the data is, and must be the same to decrypt it."""
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        header = HEADER.pack(MAGIC, *self._cost, self._salt)
        nonce = entropy.randbytes(NONCE_SIZE)
        return header + nonce + ChaCha20Poly1305(self._key(self._cost, self._salt)).encrypt(
            nonce, plaintext, header + context)

    def decrypt(self, data: bytes, context: bytes = b"") -> bytes:
        """Decrypt what :meth:`encrypt` returned, also that of another object.

        :raises WrongPassphraseError: if this is not possible.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        if not is_encrypted(data):
            raise WrongPassphraseError("this is not encrypted with a passphrase, or it is truncated")
        header, body = data[:HEADER.size], data[HEADER.size:]
        _, log_n, r, p, salt = HEADER.unpack(header)
        if not (1 <= log_n <= MAX_LOG_N and 1 <= r <= MAX_R and 1 <= p <= MAX_P):
            raise WrongPassphraseError("the parameters of scrypt are out of range: the data was changed")
        key = self._key(ScryptCost(log_n, r, p), salt)
        try:
            return ChaCha20Poly1305(key).decrypt(body[:NONCE_SIZE], body[NONCE_SIZE:], header + context)
        except InvalidTag:
            raise WrongPassphraseError("the passphrase is wrong, or the data was changed") from None

    def _key(self, cost: ScryptCost, salt: bytes) -> bytes:
        key = self._keys.get((cost, salt))
        if key is None:
            from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

            key = Scrypt(salt=salt, length=32, n=1 << cost.log_n, r=cost.r, p=cost.p).derive(self._secret)
            if len(self._keys) >= MAX_DERIVED_KEYS:
                self._keys.clear()
            self._keys[cost, salt] = key
        return key
