"""The class of private keys of all kinds (doc/keys.md)."""

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
    """A private key.

    :param keystring: the binary form, EC DER or PEM, or the ``ec`` of another private key. Bytes after a key are
        ignored.
    :raises ValueError: if this is not a private key.
    :raises TypeError: for anything else.
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
        """A new key on ``curve25519`` or a curve of OpenSSL, by its short name; ``ValueError`` for other names."""
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
        """The secret: 74 bytes for curve25519, else DER of SEC1 (doc/protocol/keys.md sections 2.2 and 3.3)."""
        return self.ec.private_bin

    def key_to_hash(self) -> bytes:
        """The member id, 20 bytes; the same as that of the public key."""
        return self._public.key_to_hash()

    def key_to_pem(self) -> bytes:
        """The secret as PEM. For a curve25519 key, this does not have the X25519 half.

        See doc/protocol/keys.md section 4.2.
        """
        return encoding.encode_pem(self.ec.private_label, self.ec.private_der)

    def signature(self, msg: bytes) -> bytes:
        """Sign ``msg``. Signatures of EC keys are different each time, those of curve25519 keys are not."""
        return self.ec.sign(msg if type(msg) is bytes else as_bytes(msg, "message"))

    def diffie_hellman(self, peer_pub_bytes: bytes) -> bytes:
        """The secret that this key and another one have in common, 32 bytes (doc/protocol/keys.md section 2.5).

        :param peer_pub_bytes: ``get_crypt_pk()`` of the other key, 32 bytes.
        """
        return self.ec.shared(as_bytes(peer_pub_bytes, "key of the peer"))

    def get_crypt_pk(self) -> bytes:
        """The X25519 public key, 32 bytes; ``ValueError`` for EC keys and for keys that were loaded from PEM."""
        return self._public.get_crypt_pk()

    def __reduce__(self) -> NoReturn:
        """Refused, so that no secret gets into a pickle by mistake."""
        PrivateKey.__reduce__(self)
