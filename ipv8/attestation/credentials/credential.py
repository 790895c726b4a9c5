"""Our compact form of credentials: issuing and holding (doc/protocol/credentials.md section 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha3_256
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...keyvault.public.libnaclkey import LibNaCLPK
from . import sdjwt
from .claims import Claim, b64encode, claim_digest, leaf_of, make_claim, names_of, read_claim
from .did import require_curve25519
from .errors import CredentialError
from .merkle import MAX_DEPTH, proof_of, root_of, tree_of
from .ranges import MAX_BOUNDS, MAX_RANGES, RANGE_SUFFIX, Bound, Range, RangeCommitment, RangeSecret
from .reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ...keyvault.keys import Key, PrivateKey, PublicKey

__all__ = ["COMPACT", "DEFAULT_LIFETIME", "LISTED", "Credential", "HeldCredential", "issue", "presentation_message"]

VERSION = 1
COMPACT = 1
"""The first byte of a presentation in this form."""

DOMAIN = b"ipv8-sd-credential-v1"
PRESENTATION_DOMAIN = b"ipv8-sd-presentation-v1"
"""In front of what is signed, so that it cannot be mistaken for something else that the key has signed."""

DEFAULT_LIFETIME = 90 * 86400
"""Seconds for which a credential is valid, unless its authority says otherwise."""

MIN_DEPTH = 3
"""Trees have at least 8 leaves, so that a small credential does not tell how many claims it has."""

KEY_SIZE = 64
SIGNATURE_SIZE = 64
HASH_SIZE = 32
NO_STATUS = (1 << 64) - 1
MAX_TYPE_SIZE = 255
MAX_TIME = 1 << 53

HEAD = struct.Struct(">BB64s64sQQQB")
SHORT = struct.Struct(">H")
BYTE = struct.Struct(">B")
LONG = struct.Struct(">Q")
BOUND = struct.Struct(">HBq32s")
SECRET = struct.Struct(">H32s32s")
LISTED = struct.Struct(">HH")
"""Position of a claim in the tree, and length of the claim."""


def _raw(key: Key) -> bytes:
    """The 64 bytes of a public key without their prefix."""
    return key.pub().key_to_bin()[-KEY_SIZE:]


@dataclass(frozen=True)
class Credential:
    """What the authority has signed. The claims are behind ``root``.

    ``issued`` and ``expires`` are in seconds since the epoch. ``status`` is the number of the credential in the status
    lists of its authority, ``None`` if it cannot be revoked.
    """

    issuer: PublicKey
    holder: PublicKey
    type: str
    issued: int
    expires: int
    status: int | None
    depth: int
    root: bytes
    signature: bytes = field(default=b"", repr=False)

    def body(self) -> bytes:
        """What is signed, without the domain."""
        name = self.type.encode()
        return HEAD.pack(VERSION, self.depth, _raw(self.issuer), _raw(self.holder), self.issued, self.expires,
                         NO_STATUS if self.status is None else self.status, len(name)) + name + self.root

    def to_bytes(self) -> bytes:
        """The body and the signature."""
        return self.body() + self.signature

    @cached_property
    def id(self) -> bytes:
        """The SHA3-256 of :meth:`to_bytes`."""
        return sha3_256(self.to_bytes()).digest()

    @classmethod
    def read(cls, reader: Reader) -> Credential:
        """The inverse of :meth:`to_bytes`; the signature is not verified.

        :raises CredentialError: if it is malformed.
        """
        version, depth, issuer, holder, issued, expires, status, size = reader.fields(HEAD)
        if version != VERSION:
            raise CredentialError(f"the credential has the version {version}, and only {VERSION} is known")
        if depth > MAX_DEPTH or not size or max(issued, expires) >= MAX_TIME:
            raise CredentialError("the credential is malformed")
        try:
            name = reader.take(size).decode()
        except UnicodeDecodeError:
            raise CredentialError("the type of the credential is not text") from None
        return cls(LibNaCLPK(issuer), LibNaCLPK(holder), name, issued, expires,
                   None if status == NO_STATUS else status, depth, reader.take(HASH_SIZE), reader.take(SIGNATURE_SIZE))

    def is_signed(self) -> bool:
        """Whether the authority has signed this."""
        return self.issuer.verify(self.signature, DOMAIN + self.body())


def presentation_message(body: bytes, nonce: bytes, audience: str) -> bytes:
    """What the holder signs in a presentation: everything of it, the nonce, and for whom it is."""
    return (PRESENTATION_DOMAIN + sha3_256(body).digest() + sha3_256(nonce).digest()
            + sha3_256(audience.encode()).digest())


class HeldCredential:
    """A credential with all its claims and secrets, as its holder has it.

    :param fillers: the leaves of the tree without a claim.
    :param secrets: the secrets of commitments, by the names of the claims with these.
    :param sd_signature: the signature of the authority over the same credential as SD-JWT.
    """

    def __init__(self, credential: Credential, claims: Collection[Claim], fillers: Collection[bytes],
                 secrets: Mapping[str, RangeSecret], sd_signature: bytes) -> None:
        self.credential = credential
        self.claims = tuple(claims)
        self.fillers = tuple(fillers)
        self.secrets = dict(secrets)
        self.sd_signature = sd_signature

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.credential.type} {self.credential.id.hex()}>"

    @property
    def id(self) -> bytes:
        """The id of the credential, 32 bytes."""
        return self.credential.id

    @cached_property
    def values(self) -> dict[str, Any]:
        """The claims by their names, without commitments."""
        return names_of(claim for claim in self.claims if claim.name not in self.secrets)

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges in which bounds can be proven, by the names of the claims."""
        return {claim.name.removesuffix(RANGE_SUFFIX): RangeCommitment.from_value(claim.value).range
                for claim in self.claims if claim.name in self.secrets}

    @cached_property
    def _levels(self) -> list[list[bytes]]:
        return tree_of(sorted((*map(leaf_of, [claim.encoded for claim in self.claims]), *self.fillers)))

    @cached_property
    def _positions(self) -> dict[str, int]:
        places = {leaf: position for position, leaf in enumerate(self._levels[0])}
        return {claim.name: places[leaf_of(claim.encoded)] for claim in self.claims}

    def check(self) -> None:
        """Check that both forms are signed and have these claims.

        :raises CredentialError: otherwise.
        """
        credential = self.credential
        if len(self.claims) + len(self.fillers) != 1 << credential.depth:
            raise CredentialError("the credential has another number of claims than it says")
        names_of(self.claims)
        if self._levels[-1][0] != credential.root:
            raise CredentialError("the claims are not those of the credential")
        if not credential.is_signed():
            raise CredentialError("the authority has not signed the credential")
        if not credential.issuer.verify(self.sd_signature, self._sd_input().encode()):
            raise CredentialError("the authority has not signed the credential as SD-JWT")
        for claim in self.claims:
            secret = self.secrets.get(claim.name)
            if secret is not None:
                commitment = RangeCommitment.from_value(claim.value)
                commitment.check_secret(secret)

    # Bytes

    def to_bytes(self) -> bytes:
        """Everything, also what only the holder may know."""
        parts = [self.credential.to_bytes(), self.sd_signature, SHORT.pack(len(self.claims))]
        parts += [SHORT.pack(len(claim.encoded)) + claim.encoded for claim in self.claims]
        parts += self.fillers
        parts.append(BYTE.pack(len(self.secrets)))
        parts += [SECRET.pack(number, *self.secrets[claim.name]) for number, claim in enumerate(self.claims)
                  if claim.name in self.secrets]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> HeldCredential:
        """The inverse of :meth:`to_bytes`; nothing is verified, see :meth:`check`.

        :raises CredentialError: if the data is malformed.
        """
        reader = Reader(data)
        credential = Credential.read(reader)
        sd_signature = reader.take(SIGNATURE_SIZE)
        (count,) = reader.fields(SHORT)
        if count > 1 << credential.depth:
            raise CredentialError("the credential has more claims than it says")
        claims = [read_claim(reader.sized(SHORT)) for _ in range(count)]
        fillers = [reader.take(HASH_SIZE) for _ in range((1 << credential.depth) - count)]
        secrets: dict[str, RangeSecret] = {}
        for _ in range(reader.fields(BYTE)[0]):
            if len(secrets) == MAX_RANGES:
                raise CredentialError(f"the credential has more than {MAX_RANGES} ranges")
            number, at_least, at_most = reader.fields(SECRET)
            if number >= count or claims[number].name in secrets:
                raise CredentialError("a secret does not belong to a claim")
            secrets[claims[number].name] = RangeSecret(at_least, at_most)
        reader.end()
        return cls(credential, claims, fillers, secrets, sd_signature)

    # SD-JWT

    def _digests(self) -> list[str]:
        return _digests(self.claims, self.fillers)

    def _sd_input(self) -> str:
        return sdjwt.signing_input(self.credential, self._digests())

    def to_sd_jwt(self, names: Collection[str] | None = None) -> str:
        """The credential as SD-JWT (RFC 9901), without key binding.

        :param names: the claims to disclose; by default all.
        """
        told = [claim for claim in self.claims if names is None or claim.name in names]
        return sdjwt.combine(self._sd_input(), self.sd_signature, [claim.encoded for claim in told])

    # Presenting

    def present(self, holder_key: PrivateKey, nonce: bytes, audience: str, names: Collection[str] = (),
                bounds: Collection[Bound] = (), now: float | None = None) -> bytes:
        """Disclose some claims, and prove some bounds, to one verifier.

        :param nonce: from the verifier, so that the presentation is of no use at another time.
        :param audience: for whom the presentation is, so that it is of no use elsewhere.
        :param names: the claims to disclose.
        :param bounds: statements about claims, which tell no more than what they say.
        :raises CredentialError: if there is no such claim, or a bound is not true.
        :raises ValueError: if ``holder_key`` is not the key of the holder.
        """
        if holder_key.pub() != self.credential.holder:
            raise ValueError("this credential is bound to another key")
        if len(bounds) > MAX_BOUNDS:
            raise CredentialError(f"a presentation has at most {MAX_BOUNDS} bounds, not {len(bounds)}")
        proofs = [(bound.name + RANGE_SUFFIX, bound, self._prove(bound)) for bound in bounds]
        wanted = {*names, *[name for name, _, _ in proofs]}
        told = sorted((position, name) for name, position in self._positions.items() if name in wanted)
        if len(told) != len(wanted):
            missing = sorted(wanted - {name for _, name in told})
            raise CredentialError(f"the credential has no claim {missing[0]!r}")
        encoded = {claim.name: claim.encoded for claim in self.claims}
        nodes = proof_of(self._levels, [position for position, _ in told])
        places = {name: number for number, (_, name) in enumerate(told)}
        body = b"".join([
            BYTE.pack(COMPACT), self.credential.to_bytes(), LONG.pack(int(clock.time() if now is None else now)),
            SHORT.pack(len(told)),
            *[LISTED.pack(position, len(encoded[name])) + encoded[name] for position, name in told],
            SHORT.pack(len(nodes)), *nodes, BYTE.pack(len(proofs)),
            *[BOUND.pack(places[name], bound.is_minimum, bound.threshold, proof) for name, bound, proof in proofs]])
        return body + holder_key.signature(presentation_message(body, nonce, audience))

    def _prove(self, bound: Bound) -> bytes:
        name = bound.name + RANGE_SUFFIX
        secret = self.secrets.get(name)
        if secret is None:
            raise CredentialError(f"the credential can prove no bounds of {bound.name!r}")
        commitment = next(claim for claim in self.claims if claim.name == name)
        return RangeCommitment.from_value(commitment.value).prove(secret, bound)


def _digests(claims: Collection[Claim], fillers: Collection[bytes]) -> list[str]:
    return sorted((*[claim_digest(claim.encoded) for claim in claims], *map(b64encode, fillers)))


def issue(issuer_key: PrivateKey, holder: PublicKey, type_: str, claims: Mapping[str, Any],
          ranges: Mapping[str, tuple[Range, int]] | None = None, lifetime: float = DEFAULT_LIFETIME,
          status: int | None = None, now: float | None = None) -> HeldCredential:
    """Make a credential in both forms.

    :param holder: the key to which the credential is bound.
    :param type_: what kind of credential this is: a name that its verifiers know, at most 255 bytes. As ``vct`` of an
        SD-JWT it should be a URI.
    :param claims: JSON values by their names.
    :param ranges: numbers about which bounds can be proven, by name, each with the range of the bounds.
    :param lifetime: seconds until the credential expires; 0 for never.
    :param status: the number of the credential in the status lists, if it can be revoked.
    :raises ValueError: if a key is not on curve25519, a claim or another argument is not possible, or there are too
        many claims.
    """
    require_curve25519(issuer_key)
    require_curve25519(holder)
    if not 0 < len(type_.encode()) <= MAX_TYPE_SIZE:
        raise ValueError(f"the type of a credential has 1 to {MAX_TYPE_SIZE} bytes, not {len(type_.encode())}")
    issued = int(clock.time() if now is None else now)
    if not 0 <= lifetime < MAX_TIME - issued:
        raise ValueError(f"a credential is valid for a positive number of seconds, or 0 for ever, not for {lifetime}")
    if status is not None and not 0 <= status < NO_STATUS:
        raise ValueError(f"the number of a credential in the status lists is below 2**64 - 1, not {status}")
    if len(ranges or {}) > MAX_RANGES:
        raise ValueError(f"a credential has at most {MAX_RANGES} ranges, not {len(ranges or {})}")
    made = [make_claim(name, value) for name, value in claims.items()]
    secrets = {}
    for name, (range_, number) in (ranges or {}).items():
        commitment, secret = RangeCommitment.create(range_, number)
        made.append(make_claim(name + RANGE_SUFFIX, commitment.to_value()))
        secrets[name + RANGE_SUFFIX] = secret
    names_of(made)
    depth = max(MIN_DEPTH, (len(made) - 1).bit_length())
    if depth > MAX_DEPTH:
        raise ValueError(f"a credential has at most {1 << MAX_DEPTH} claims, not {len(made)}")
    missing = (1 << depth) - len(made)
    noise = entropy.randbytes(HASH_SIZE * missing) if missing else b""
    fillers = [noise[start:start + HASH_SIZE] for start in range(0, len(noise), HASH_SIZE)]
    root = root_of(sorted((*[leaf_of(claim.encoded) for claim in made], *fillers)))
    unsigned = Credential(issuer_key.pub(), holder.pub(), type_, issued, issued + int(lifetime) if lifetime else 0,
                          status, depth, root)
    signed = Credential(unsigned.issuer, unsigned.holder, type_, issued, unsigned.expires, status, depth, root,
                        issuer_key.signature(DOMAIN + unsigned.body()))
    sd_signature = issuer_key.signature(sdjwt.signing_input(signed, _digests(made, fillers)).encode())
    return HeldCredential(signed, made, fillers, secrets, sd_signature)
