"""Verifying presentations, in whichever form they are (doc/protocol/credentials.md sections 5.3 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import clock
from .claims import leaf_of, names_of, read_claim
from .credential import (
    BOUND,
    BYTE,
    COMPACT,
    HASH_SIZE,
    LISTED,
    LONG,
    SHORT,
    SIGNATURE_SIZE,
    Credential,
    presentation_message,
)
from .errors import CredentialError
from .merkle import root_from_proof
from .policy import VerifiedClaims
from .ranges import MAX_BOUNDS, RANGE_SUFFIX, Bound, RangeCommitment
from .reader import Reader
from .sdjwt import nonce_text, verify_sd_jwt

if TYPE_CHECKING:
    from .policy import Policy

__all__ = ["verify_compact", "verify_presentation"]


def verify_presentation(data: bytes, nonce: bytes, audience: str, policy: Policy,
                        now: float | None = None) -> VerifiedClaims:
    """Verify a presentation, in our compact form or as SD-JWT with key binding.

    :param nonce: that which the holder was given for this presentation.
    :param audience: what the holder was told of us.
    :raises CredentialError: if it proves nothing.
    """
    if data[:1] == BYTE.pack(COMPACT):
        return verify_compact(data, nonce, audience, policy, now)
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise CredentialError("the presentation has a form that is not known") from None
    return verify_sd_jwt(text, nonce_text(nonce), audience, policy, now)


def verify_compact(data: bytes, nonce: bytes, audience: str, policy: Policy,
                   now: float | None = None) -> VerifiedClaims:
    """Verify a presentation in our compact form: see :func:`verify_presentation`."""
    now = clock.time() if now is None else now
    reader = Reader(data)
    if reader.fields(BYTE)[0] != COMPACT:
        raise CredentialError("the presentation has another form")
    credential = Credential.read(reader)
    (made,) = reader.fields(LONG)
    claims = []
    leaves: dict[int, bytes] = {}
    last = -1
    for _ in range(reader.fields(SHORT)[0]):
        position, size = reader.fields(LISTED)
        if position <= last:
            raise CredentialError("the disclosed claims are not in their order")
        last = position
        claims.append(read_claim(reader.take(size)))
        leaves[position] = leaf_of(claims[-1].encoded)
    nodes = [reader.take(HASH_SIZE) for _ in range(reader.fields(SHORT)[0])]
    (count,) = reader.fields(BYTE)
    if count > MAX_BOUNDS:
        raise CredentialError(f"the presentation has more than {MAX_BOUNDS} bounds")
    proofs = [reader.fields(BOUND) for _ in range(count)]
    body = data[:reader.position]
    signature = reader.take(SIGNATURE_SIZE)
    reader.end()

    policy.check_issuer(credential.issuer)
    policy.check_type(credential.type)
    policy.check_validity(credential.issued, credential.expires or None, now)
    policy.check_made(made, now)
    names_of(claims)
    if root_from_proof(credential.depth, leaves, nodes) != credential.root:
        raise CredentialError("the disclosed claims are not those of the credential")
    if not credential.is_signed():
        raise CredentialError("the issuer has not signed the credential")
    if not credential.holder.verify(signature, presentation_message(body, nonce, audience)):
        raise CredentialError("the holder has not signed the presentation for this nonce and audience")
    bounds = []
    committed = set()
    for number, is_minimum, threshold, proof in proofs:
        if number >= len(claims) or is_minimum > 1 or not claims[number].name.endswith(RANGE_SUFFIX):
            raise CredentialError("a bound does not belong to a claim")
        bound = Bound(claims[number].name.removesuffix(RANGE_SUFFIX), bool(is_minimum), threshold)
        if not RangeCommitment.from_value(claims[number].value).verify(bound, proof):
            raise CredentialError(f"{bound} is not proven")
        committed.add(number)
        bounds.append(bound)
    policy.check_status(credential.issuer, credential.status, now)
    told = {claim.name: claim.value for number, claim in enumerate(claims) if number not in committed}
    return VerifiedClaims(credential.issuer, credential.holder, credential.type, credential.issued,
                          credential.expires or None, told, tuple(bounds))
