"""Credentials as SD-JWT (RFC 9901) with EdDSA (RFC 8037) and key binding (doc/protocol/credentials.md section 6)."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ... import clock
from .claims import MAX_CLAIM_SIZE, RESERVED_NAMES, b64decode, b64encode, read_json, write_json
from .did import (
    did_of,
    jwk_of,
    key_from_verify_key,
    verify_key_of,
    verify_key_of_did,
    verify_key_of_jwk,
)
from .errors import CredentialError
from .policy import VerifiedClaims
from .status import LIST_SIZE, list_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ...keyvault.keys import PrivateKey, PublicKey
    from .credential import Credential
    from .policy import Policy

__all__ = ["MAX_SD_JWT_SIZE", "HeldSdJwt", "bind", "combine", "nonce_text", "signing_input", "status_uri",
           "verify_sd_jwt"]

MAX_SD_JWT_SIZE = 65_536
"""Characters of an SD-JWT that is read."""

MAX_DISCLOSURES = 256
"""Disclosures of an SD-JWT that is read."""

ALGORITHMS = ("EdDSA", "Ed25519")
"""Names of the signatures that are accepted (RFC 8037 and RFC 9864)."""

PLAIN_NAMES = RESERVED_NAMES - {"iat"}
"""Claims that cannot be hidden, as a verifier must see them. When a credential was issued may be hidden."""

TYPES = ("dc+sd-jwt", "vc+sd-jwt", "example+sd-jwt", "sd-jwt", "JWT")
MEDIA_TYPES = "application/"
"""May be in front of a type (RFC 7515 section 4.1.9)."""

HASHES: dict[str, Callable[[bytes], Any]] = {
    "sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512,
}
KEY_BINDING = "kb+jwt"

STATUS_PREFIX = "urn:ipv8:status:"


def nonce_text(nonce: bytes) -> str:
    """A nonce as it is in a key binding."""
    return b64encode(nonce)


def status_uri(issuer: PublicKey, status: int) -> str:
    """The name of the status list of a credential of ours."""
    return f"{STATUS_PREFIX}{did_of(issuer)}/{list_of(status)}"


def signing_input(credential: Credential, digests: Sequence[str]) -> str:
    """Header and payload of the SD-JWT of a credential of ours, which follow from the compact form."""
    issuer = did_of(credential.issuer)
    payload: dict[str, Any] = {
        "_sd": list(digests), "_sd_alg": "sha-256", "cnf": {"jwk": jwk_of(credential.holder)},
        "iat": credential.issued, "iss": issuer, "vct": credential.type,
    }
    if credential.expires:
        payload["exp"] = credential.expires
    if credential.status is not None:
        payload["status"] = {"status_list": {"idx": credential.status % LIST_SIZE,
                                             "uri": status_uri(credential.issuer, credential.status)}}
    header = {"alg": "EdDSA", "kid": f"{issuer}#{issuer.removeprefix('did:key:')}", "typ": "dc+sd-jwt"}
    return f"{b64encode(write_json(header))}.{b64encode(write_json(payload))}"


def combine(signed: str, signature: bytes, disclosures: Iterable[bytes]) -> str:
    """An SD-JWT of its parts, without key binding."""
    return "~".join((f"{signed}.{b64encode(signature)}", *map(b64encode, disclosures), ""))


def bind(sd_jwt: str, holder_key: PrivateKey, nonce: str, audience: str, now: float | None = None) -> str:
    """An SD-JWT with the signature of its holder for one verifier (RFC 9901 section 4.3).

    :param sd_jwt: an SD-JWT without key binding, with the disclosures that the verifier may see.
    """
    header = {"alg": "EdDSA", "typ": KEY_BINDING}
    payload = {"aud": audience, "iat": int(clock.time() if now is None else now), "nonce": nonce,
               "sd_hash": b64encode(_hash_of(sd_jwt)(sd_jwt.encode()).digest())}
    signed = f"{b64encode(write_json(header))}.{b64encode(write_json(payload))}"
    return f"{sd_jwt}{signed}.{b64encode(holder_key.signature(signed.encode()))}"


def _hash_of(sd_jwt: str) -> Callable[[bytes], Any]:
    payload = read_json(b64decode(sd_jwt.split("~", maxsplit=1)[0].split(".")[1]))
    return HASHES[payload.get("_sd_alg", "sha-256")]


class _Jws:
    """A JSON Web Signature in its compact form."""

    def __init__(self, text: str, types: Collection[str]) -> None:
        parts = text.split(".")
        if len(parts) != 3:
            raise CredentialError("a JWT has three parts")
        self.signed = f"{parts[0]}.{parts[1]}".encode()
        header, payload = read_json(b64decode(parts[0])), read_json(b64decode(parts[1]))
        if not isinstance(header, dict) or not isinstance(payload, dict):
            raise CredentialError("header and payload of a JWT are JSON objects")
        if header.get("alg") not in ALGORITHMS:
            raise CredentialError(f"the signature {header.get('alg')!r} is not accepted, only EdDSA is")
        type_ = header.get("typ", "JWT")
        if not isinstance(type_, str) or type_.removeprefix(MEDIA_TYPES) not in types or "crit" in header:
            raise CredentialError(f"the JWT has the type {type_!r}, or critical extensions")
        self.header: dict[str, Any] = header
        self.payload: dict[str, Any] = payload
        self.signature = b64decode(parts[2])

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether ``key`` has signed this."""
        return key.verify(self.signature, self.signed)

    def text(self, name: str) -> str:
        """An entry that must be text."""
        value = self.payload.get(name)
        if not isinstance(value, str):
            raise CredentialError(f"the JWT has no {name}")
        return value

    def time(self, name: str) -> float | None:
        """An entry that is a time, if it is there."""
        value = self.payload.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise CredentialError(f"{name} is not a time")
        return value


class _Disclosure:
    """A disclosed claim, or a disclosed element of an array."""

    def __init__(self, text: str, digest: str) -> None:
        self.text = text
        self.digest = digest
        encoded = b64decode(text)
        if len(encoded) > MAX_CLAIM_SIZE:
            raise CredentialError(f"a disclosure has {len(encoded)} bytes")
        content = read_json(encoded)
        if not isinstance(content, list) or len(content) not in {2, 3} or not isinstance(content[0], str):
            raise CredentialError("a disclosure is not an array of salt, name and value")
        self.name: str | None = None
        if len(content) == 3:
            if not isinstance(content[1], str) or content[1] in {"_sd", "..."}:
                raise CredentialError("a disclosure has a name that is not possible")
            self.name = content[1]
        self.value = content[-1]


class HeldSdJwt:
    """An SD-JWT with all its disclosures, as its holder has it. It may be of any issuer.

    :param text: without key binding.
    :raises CredentialError: if it is malformed. Its signature is not verified, see :meth:`check`.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_SD_JWT_SIZE:
            raise CredentialError(f"the SD-JWT has {len(text)} characters")
        if not text.isascii():
            raise CredentialError("the SD-JWT is not ASCII")
        token, *disclosures = text.split("~")
        if not disclosures or disclosures.pop() != "":
            raise CredentialError("the SD-JWT does not end in ~, as one without key binding does")
        if len(disclosures) > MAX_DISCLOSURES:
            raise CredentialError(f"the SD-JWT has {len(disclosures)} disclosures")
        self.text = text
        self._token = token
        self._jws = _Jws(token, TYPES)
        algorithm = self._jws.payload.get("_sd_alg", "sha-256")
        if not isinstance(algorithm, str) or algorithm not in HASHES:
            raise CredentialError(f"the hash function {algorithm!r} is not accepted")
        digest = HASHES[algorithm]
        self._disclosures: dict[str, _Disclosure] = {}
        for part in disclosures:
            found = _Disclosure(part, b64encode(digest(part.encode()).digest()))
            if found.digest in self._disclosures:
                raise CredentialError("a disclosure is there twice")
            self._disclosures[found.digest] = found
        self._parents: dict[str, str | None] = {}
        self._arrays: dict[str, str] = {}  # the names of the arrays to which disclosed elements belong
        self._outermost: set[str] = set()  # the disclosures of claims that are in no other one, and of their elements
        try:
            resolved = self._resolve(self._jws.payload, None, "", 0)
        except RecursionError:
            raise CredentialError("the SD-JWT is nested too deep") from None
        unused = self._disclosures.keys() - self._parents.keys()
        if unused:
            raise CredentialError("a disclosure does not belong to the SD-JWT")
        #: The payload with what is disclosed in its place.
        self.payload: dict[str, Any] = resolved

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type} {self.id.hex()}>"

    # RFC 9901 section 7.1

    def _resolve(self, content: Any, parent: str | None, name: str, depth: int) -> Any:
        """``content``, the value of ``name`` in the disclosure ``parent``, with what is disclosed in its place.

        :param depth: 0 for the payload, 1 for the values of its claims and the elements of these, and so on.
        """
        if isinstance(content, list):
            return self._resolve_array(content, parent, name, depth)
        if not isinstance(content, dict):
            return content
        resolved = {key: self._resolve(value, parent, key, depth + 1) for key, value in content.items()
                    if key not in {"_sd", "_sd_alg"}}
        if "..." in resolved:
            raise CredentialError("an object has the name ...")
        digests = content.get("_sd", [])
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            raise CredentialError("_sd is not an array of digests")
        for digest in digests:
            found = self._take(digest, parent)
            if found is None:
                continue
            if found.name is None or found.name in resolved:
                raise CredentialError("a disclosure has no name, or one that is there already")
            if not depth:
                if found.name in PLAIN_NAMES:
                    raise CredentialError(f"{found.name} may not be hidden")
                self._outermost.add(digest)
            resolved[found.name] = self._resolve(found.value, digest, found.name, depth + 1)
        return resolved

    def _resolve_array(self, content: list[Any], parent: str | None, name: str, depth: int) -> list[Any]:
        resolved = []
        for element in content:
            if not isinstance(element, dict) or "..." not in element:
                resolved.append(self._resolve(element, parent, name, depth))
                continue
            digest = element["..."]
            if len(element) != 1 or not isinstance(digest, str):
                raise CredentialError("an element of an array is malformed")
            found = self._take(digest, parent)
            if found is None:
                continue
            if found.name is not None:
                raise CredentialError("an element of an array has a name")
            self._arrays[digest] = name
            if depth == 1:
                self._outermost.add(digest)
            resolved.append(self._resolve(found.value, digest, name, depth))
        return resolved

    def _take(self, digest: str, parent: str | None) -> _Disclosure | None:
        if digest in self._parents:
            raise CredentialError("a digest is there twice")
        self._parents[digest] = parent
        return self._disclosures.get(digest)

    # What it says

    @cached_property
    def id(self) -> bytes:
        """The SHA3-256 of the part that the issuer has signed."""
        return hashlib.sha3_256(self._token.encode()).digest()

    @property
    def type(self) -> str:
        """What kind of credential this is; empty if it does not say so."""
        value = self.payload.get("vct", "")
        return value if isinstance(value, str) else ""

    @property
    def issued(self) -> float | None:
        """Since when it is valid, in seconds since the epoch, if it says so."""
        begin = self._jws.time("nbf")
        return self._jws.time("iat") if begin is None else begin

    @property
    def expires(self) -> float | None:
        """Until when it is valid, in seconds since the epoch, if it says so."""
        return self._jws.time("exp")

    @property
    def values(self) -> dict[str, Any]:
        """The claims by their names."""
        return {name: value for name, value in self.payload.items() if name not in RESERVED_NAMES}

    @property
    def holder(self) -> PublicKey:
        """The key to which this is bound, without its X25519 half.

        :raises CredentialError: if it is bound to no Ed25519 key.
        """
        confirmation = self._jws.payload.get("cnf")
        return key_from_verify_key(verify_key_of_jwk(
            confirmation.get("jwk") if isinstance(confirmation, dict) else None))

    def issuer_key(self, policy: Policy) -> PublicKey:
        """The key of the issuer, without its X25519 half: that in its name, or the one that ``policy`` has for it."""
        name = self._jws.text("iss")
        named = policy.issuers.get(name) if hasattr(policy.issuers, "get") else None
        return key_from_verify_key(verify_key_of_did(name)) if named is None else named

    def status(self) -> int | None:
        """The number of the credential in the lists of its authority; ``None`` if it cannot be revoked.

        :raises CredentialError: if the status is malformed.
        """
        status = self._jws.payload.get("status")
        if status is None:
            return None
        entry = status.get("status_list") if isinstance(status, dict) else None
        if not isinstance(entry, dict):
            return -1  # a kind of status that is not known here
        index, uri = entry.get("idx"), entry.get("uri")
        if type(index) is not int or index < 0 or not isinstance(uri, str):
            raise CredentialError("the status is malformed")
        prefix, _, number = uri.rpartition("/")
        if (index >= LIST_SIZE or prefix != STATUS_PREFIX + self._jws.text("iss")
                or not (number.isascii() and number.isdigit() and len(number) <= 16)):
            return -1
        return int(number) * LIST_SIZE + index

    def check(self, policy: Policy, now: float | None = None) -> PublicKey:
        """The key of the issuer, if this is signed by it and valid by ``policy``.

        :raises CredentialError: otherwise.
        """
        now = clock.time() if now is None else now
        issuer = self.issuer_key(policy)
        policy.check_issuer(issuer)
        policy.check_type(self.type)
        policy.check_validity(self.issued, self.expires, now)
        if not self._jws.is_signed_by(issuer):
            raise CredentialError("the issuer has not signed the SD-JWT")
        policy.check_status(issuer, self.status(), now)
        return issuer

    # Presenting

    def to_sd_jwt(self, names: Collection[str] | None = None) -> str:
        """The SD-JWT with the disclosures of some claims, and of all that contain them.

        :param names: the claims to disclose; by default all. A name that no claim of the credential itself has stands
            for the claims of this name inside of others, at whatever depth they are.
        :raises CredentialError: if there is no such claim.
        """
        if names is None:
            return self.text
        told: set[str] = set()
        for digest, found in self._disclosures.items():
            chosen: str | None = digest if self._is_chosen(found, names) else None
            while chosen is not None:
                told.add(chosen)
                chosen = self._parents[chosen]
        missing = [name for name in names if name not in self.payload
                   and not any(found.name == name for found in self._disclosures.values())]
        if missing:
            raise CredentialError(f"the credential has no claim {missing[0]!r}")
        parts = [found.text for digest, found in self._disclosures.items() if digest in told]
        return "~".join((self._token, *parts, ""))

    def _is_chosen(self, found: _Disclosure, names: Collection[str]) -> bool:
        """Whether a disclosure has one of the names, or is an element of an array of such a name."""
        name = self._arrays[found.digest] if found.name is None else found.name
        return name in names and (found.digest in self._outermost or name not in self.payload)

    def present(self, holder_key: PrivateKey, nonce: bytes, audience: str, names: Collection[str] = (),
                now: float | None = None) -> bytes:
        """Disclose some claims to one verifier: see :meth:`.credential.HeldCredential.present`."""
        if verify_key_of(self.holder) != verify_key_of(holder_key):
            raise ValueError("this credential is bound to another key")
        return bind(self.to_sd_jwt(names), holder_key, nonce_text(nonce), audience, now).encode()


def verify_sd_jwt(text: str, nonce: str, audience: str, policy: Policy, now: float | None = None) -> VerifiedClaims:
    """Verify an SD-JWT with key binding.

    :raises CredentialError: if it proves nothing.
    """
    now = clock.time() if now is None else now
    sd_jwt, separator, binding = text.rpartition("~")
    held = HeldSdJwt(sd_jwt + separator)
    if not binding:
        raise CredentialError("the holder has not signed the SD-JWT")
    issuer = held.check(policy, now)
    holder = held.holder
    bound = _Jws(binding, (KEY_BINDING,))
    made = bound.time("iat")
    if made is None or bound.header.get("typ") != KEY_BINDING:
        raise CredentialError("the key binding is malformed")
    policy.check_made(made, now)
    policy.check_validity(bound.time("nbf"), bound.time("exp"), now)
    if bound.text("nonce") != nonce or bound.text("aud") != audience:
        raise CredentialError("the presentation is for another nonce or audience")
    if b64decode(bound.text("sd_hash")) != _hash_of(sd_jwt)((sd_jwt + separator).encode()).digest():
        raise CredentialError("the key binding is for other disclosures")
    if not bound.is_signed_by(holder):
        raise CredentialError("the holder has not signed the presentation")
    return VerifiedClaims(issuer, holder, held.type, held.issued, held.expires, held.values)
