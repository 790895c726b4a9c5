"""What a verifier accepts, and what it learns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ...keyvault.keys import PublicKey
from .did import verify_key_of
from .errors import CredentialError, RevokedError, StatusUnknownError

if TYPE_CHECKING:
    from .ranges import Bound
    from .status import StatusList

__all__ = ["ANY_ISSUER", "LEEWAY", "MAX_PRESENTATION_AGE", "Policy", "VerifiedClaims"]

MAX_PRESENTATION_AGE = 300.0
"""Seconds for which a presentation is accepted after its holder has made it."""

LEEWAY = 300.0
"""Seconds by which the clocks of two nodes may differ."""


class _AnyIssuer:
    def __repr__(self) -> str:
        return "ANY_ISSUER"


ANY_ISSUER: Final = _AnyIssuer()
"""Accept the credentials of everybody: then look at ``issuer`` of the result."""

StatusLists = Callable[[PublicKey, int], "StatusList | None"]


@dataclass(frozen=True)
class Policy:
    """What a verifier accepts.

    :param issuers: whose credentials are accepted: public keys, or public keys by the names in ``iss`` of SD-JWTs whose
        issuers are not named by their keys. :data:`ANY_ISSUER` accepts all.
    :param types: the types of credentials that are accepted; by default all.
    :param status_lists: finds the status list of an issuer for the number of a credential.
    :param allow_unknown_status: accept credentials that could be revoked, without a status list.
    :param max_age: seconds for which a presentation is accepted after it was made.
    :param leeway: seconds by which the clocks may differ.
    """

    issuers: Collection[PublicKey] | Mapping[str, PublicKey] | _AnyIssuer
    types: Collection[str] | None = None
    status_lists: StatusLists | None = None
    allow_unknown_status: bool = False
    max_age: float = MAX_PRESENTATION_AGE
    leeway: float = LEEWAY

    def check_issuer(self, issuer: PublicKey) -> None:
        """``CredentialError`` if credentials of ``issuer`` are not accepted."""
        if isinstance(self.issuers, _AnyIssuer):
            return
        accepted = self.issuers.values() if isinstance(self.issuers, Mapping) else self.issuers
        wanted = verify_key_of(issuer)
        if not any(verify_key_of(key) == wanted for key in accepted):
            raise CredentialError(f"the issuer {issuer!r} is not one that is accepted")

    def check_type(self, type_: str) -> None:
        """``CredentialError`` if credentials of this type are not accepted."""
        if self.types is not None and type_ not in self.types:
            raise CredentialError(f"the type {type_!r} is not one that is accepted")

    def check_validity(self, issued: float | None, expires: float | None, now: float) -> None:
        """``CredentialError`` if a credential is expired, or not valid yet; ``None`` if it does not say when."""
        if issued is not None and issued > now + self.leeway:
            raise CredentialError("the credential is not valid yet")
        if expires is not None and now >= expires:
            raise CredentialError("the credential is expired")

    def check_made(self, made: float, now: float) -> None:
        """``CredentialError`` if a presentation is too old, or was made in the future."""
        if not now - self.max_age - self.leeway <= made <= now + self.leeway:
            raise CredentialError("the presentation was made too long ago, or in the future")

    def check_status(self, issuer: PublicKey, number: int | None, now: float) -> None:
        """``CredentialError`` if a credential is revoked, or may be so and this is not allowed."""
        if number is None:
            return
        found = None if self.status_lists is None else self.status_lists(issuer, number)
        if found is None or not found.is_current(now):
            if not self.allow_unknown_status:
                raise StatusUnknownError(issuer, number)
        elif found.is_revoked(number):
            raise RevokedError("the authority has revoked the credential")


@dataclass(frozen=True)
class VerifiedClaims:
    """What a presentation has proven.

    ``holder`` and ``issuer`` are keys of which only the Ed25519 half is known if the presentation is an SD-JWT.
    """

    issuer: PublicKey
    holder: PublicKey
    type: str
    issued: float | None
    expires: float | None
    claims: Mapping[str, Any]
    bounds: Collection[Bound] = field(default=())

    def is_held_by(self, key: PublicKey) -> bool:
        """Whether ``key`` is the key of the holder."""
        return verify_key_of(self.holder) == verify_key_of(key)
