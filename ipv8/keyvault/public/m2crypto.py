"""The class of public EC keys in releases up to 3.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .openssl import OpenSSLPK

if TYPE_CHECKING:
    from ..backend.handle import PublicHandle

__all__ = ["M2CryptoPK"]


class M2CryptoPK(OpenSSLPK):
    """A public EC key, made of the ``ec`` of another key, or of DER or PEM. Only the first given argument counts."""

    def __init__(self, ec_pub: PublicHandle | None = None, keystring: bytes | None = None) -> None:
        if ec_pub is not None:
            self.ec = ec_pub
        elif keystring is not None:
            super().__init__(keystring)
        else:
            raise ValueError("give ec_pub or keystring")

    def key_from_pem(self, pem: bytes) -> PublicHandle:
        """The ``ec`` of the key in a PEM text."""
        return OpenSSLPK(pem).ec

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its encoding."""
        return type(self), (None, self.key_to_bin())
