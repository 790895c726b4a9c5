"""What can be wrong with credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...keyvault.keys import PublicKey

__all__ = ["CredentialError", "RefusedError", "RevokedError", "StatusUnknownError"]


class CredentialError(ValueError):
    """A credential, a presentation or a status list is malformed, forged, expired or not for us."""


class RevokedError(CredentialError):
    """The authority has revoked the credential."""


class StatusUnknownError(CredentialError):
    """It is not known whether the credential with the number ``status`` of ``issuer`` is revoked."""

    def __init__(self, issuer: PublicKey | None = None, status: int | None = None) -> None:
        super().__init__("it is not known whether the credential is revoked: a status list of its authority is needed")
        self.issuer = issuer
        self.status = status


class RefusedError(RuntimeError):
    """The other peer does not do what it was asked."""
