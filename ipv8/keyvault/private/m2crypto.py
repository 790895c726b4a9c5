"""The class of private EC keys in releases up to 3.2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..backend.loading import generate
from ..public.m2crypto import M2CryptoPK
from .openssl import OpenSSLSK

if TYPE_CHECKING:
    from ..backend.handle import PrivateHandle

__all__ = ["M2CryptoSK", "NamedCurve"]


class NamedCurve(Protocol):
    """A curve object, such as ``ipv8.keyvault.crypto.SECT163K1``."""

    name: str


class M2CryptoSK(OpenSSLSK):
    """A private EC key. Only the first argument that is given counts.

    :param curve: generate a new key on this curve. It is the short name in OpenSSL, or an object with that as ``name``.
    :param keystring: the key in DER or PEM.
    :param filename: a file with the key in DER or PEM.
    """

    def __init__(
        self,
        curve: NamedCurve | type[NamedCurve] | str | None = None,
        keystring: bytes | None = None,
        filename: str | None = None,
    ) -> None:
        if curve is not None:
            super().__init__(generate(curve if isinstance(curve, str) else curve.name))
        elif keystring is not None:
            super().__init__(keystring)
        elif filename is not None:
            super().__init__(Path(filename).read_bytes())
        else:
            raise ValueError("give a curve, a keystring or a filename")
        self._public = M2CryptoPK(self.ec.public)

    def key_from_pem(self, pem: bytes) -> PrivateHandle:
        """The ``ec`` of the key in a PEM text."""
        return OpenSSLSK(pem).ec
