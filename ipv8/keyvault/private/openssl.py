"""The private key class of every key kind (spec 01 section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import encoding
from ..backend.handle import PrivateHandle
from ..backend.loading import generate, load_private
from ..keys import PrivateKey
from ..public.openssl import OpenSSLPK, as_bytes

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["OpenSSLSK"]


class OpenSSLSK(PrivateKey, OpenSSLPK):
    """A private key made of its binary form, EC DER, PEM, or of the ``ec`` of another private key.

    Bytes behind a complete key are ignored. ``ValueError``: not a key; ``TypeError``: neither ``bytes`` nor a handle.
    """

    ec: PrivateHandle

    def __init__(self, keystring: bytes | PrivateHandle) -> None:
        if isinstance(keystring, bytes):
            self.ec = load_private(keystring)
        elif isinstance(keystring, PrivateHandle):
            self.ec = keystring
        else:
            raise TypeError(f"keystring must be bytes, not {type(keystring).__name__}")
        self._public = OpenSSLPK.from_handle(self.ec.public)

    @staticmethod
    def generate(curve_name: str) -> OpenSSLSK:
        """A fresh key on ``curve25519`` or a curve by OpenSSL's short name; ``ValueError`` for any other name."""
        if not isinstance(curve_name, str):
            raise TypeError(f"curve_name must be a string, not {type(curve_name).__name__}")
        return OpenSSLSK(generate(curve_name))

    def pub(self) -> OpenSSLPK:
        """The public key, the same object each time."""
        return self._public

    def has_secret_key(self) -> bool:
        """``True``."""
        return True

    def key_to_bin(self) -> bytes:
        """The secret: 74 bytes for curve25519, else SEC1 DER (spec 01 sections 2.1, 3.2)."""
        return self.ec.private_bin

    def key_to_hash(self) -> bytes:
        """The member id: 20 bytes, that of the public key."""
        return self._public.key_to_hash()

    def key_to_pem(self) -> bytes:
        """The secret as PEM; that of a curve25519 key loses the X25519 half (spec 01 section 4)."""
        return encoding.encode_pem(self.ec.private_label, self.ec.private_der)

    def signature(self, msg: bytes) -> bytes:
        """Sign ``msg``: deterministic for curve25519, randomized for EC keys."""
        return self.ec.sign(msg if type(msg) is bytes else as_bytes(msg, "message"))

    def diffie_hellman(self, peer_pub_bytes: bytes) -> bytes:
        """The 32-byte secret shared with the owner of a 32-byte ``get_crypt_pk()`` (spec 01 section 2.5)."""
        return self.ec.shared(as_bytes(peer_pub_bytes, "peer's key"))

    def get_crypt_pk(self) -> bytes:
        """The 32-byte X25519 public key; ``ValueError`` for EC keys and for keys that were loaded from PEM."""
        return self._public.get_crypt_pk()

    def __reduce__(self) -> NoReturn:
        """Refused: secrets do not go into pickles by accident."""
        PrivateKey.__reduce__(self)
