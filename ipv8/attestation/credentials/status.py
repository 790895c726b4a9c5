"""Lists of revoked credentials, signed by their authority (doc/protocol/credentials.md section 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import clock
from ...keyvault.public.libnaclkey import LibNaCLPK
from .errors import CredentialError
from .reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...keyvault.keys import PrivateKey, PublicKey

__all__ = ["LIST_SIZE", "STATUS_LIFETIME", "StatusList", "list_of"]

LIST_SIZE = 4096
"""Credentials of a list; a list fits into one packet, and a verifier that asks for it does not tell which one it has
seen."""

STATUS_LIFETIME = 3600.0
"""Seconds for which a status list is valid."""

VERSION = 1
DOMAIN = b"ipv8-status-list-v1"
KEY_SIZE = 64
SIGNATURE_SIZE = 64
LAYOUT = struct.Struct(f">B{KEY_SIZE}sQQQ{LIST_SIZE // 8}s")


def list_of(status: int) -> int:
    """The number of the list that has the credential with the number ``status``."""
    return status // LIST_SIZE


@dataclass(frozen=True)
class StatusList:
    """Which credentials of an authority are revoked, as of ``issued``; both times are in seconds since the epoch."""

    issuer: PublicKey
    number: int
    issued: int
    expires: int
    bits: bytes
    signature: bytes = b""

    @classmethod
    def create(cls, issuer_key: PrivateKey, number: int, revoked: Iterable[int], now: float | None = None,
               lifetime: float = STATUS_LIFETIME) -> StatusList:
        """Sign a list.

        :param revoked: the numbers of the revoked credentials; those of other lists are left out.
        """
        issued = int(clock.time() if now is None else now)
        bits = bytearray(LIST_SIZE // 8)
        for status in revoked:
            if list_of(status) == number:
                place = status % LIST_SIZE
                bits[place >> 3] |= 0x80 >> (place & 7)
        unsigned = cls(issuer_key.pub(), number, issued, issued + int(lifetime), bytes(bits))
        return cls(unsigned.issuer, number, issued, unsigned.expires, unsigned.bits,
                   issuer_key.signature(DOMAIN + unsigned.body()))

    def body(self) -> bytes:
        """What is signed, without the domain."""
        return LAYOUT.pack(VERSION, self.issuer.key_to_bin()[-KEY_SIZE:], self.number, self.issued, self.expires,
                           self.bits)

    def to_bytes(self) -> bytes:
        """The body and the signature."""
        return self.body() + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> StatusList:
        """The inverse of :meth:`to_bytes`; the signature is verified.

        :raises CredentialError: if the list is malformed or forged.
        """
        reader = Reader(data)
        version, issuer, number, issued, expires, bits = reader.fields(LAYOUT)
        signature = reader.take(SIGNATURE_SIZE)
        reader.end()
        if version != VERSION:
            raise CredentialError(f"the status list has the version {version}, and only {VERSION} is known")
        found = cls(LibNaCLPK(issuer), number, issued, expires, bits, signature)
        if not found.issuer.verify(signature, DOMAIN + found.body()):
            raise CredentialError("the authority has not signed the status list")
        return found

    @property
    def order(self) -> tuple[int, int]:
        """Of two lists with the same number, the one with the greater value is newer: it revokes more."""
        return self.issued, int.from_bytes(self.bits, "big").bit_count()

    def is_current(self, now: float) -> bool:
        """Whether the list is valid now."""
        return now < self.expires

    def is_revoked(self, status: int) -> bool:
        """Whether the credential with this number is revoked.

        :raises CredentialError: if it belongs to another list.
        """
        if list_of(status) != self.number:
            raise CredentialError("the status list is not that of the credential")
        place = status % LIST_SIZE
        return bool(self.bits[place >> 3] & (0x80 >> (place & 7)))
