"""Issuing, holding, presenting, verifying and revoking credentials between peers (doc/credentials.md)."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...limits import BoundedDict
from ...util import maybe_coroutine
from .claims import b64decode, b64encode
from .credential import DEFAULT_LIFETIME, HeldCredential, issue
from .did import did_of, verify_key_of
from .errors import CredentialError, StatusUnknownError
from .policy import ANY_ISSUER, Policy
from .questions import Questions
from .ranges import Bound, Range
from .reader import Reader
from .sdjwt import HeldSdJwt
from .status import STATUS_LIFETIME, StatusList, list_of
from .store import CredentialStore, credentials_file
from .verifying import verify_presentation

if TYPE_CHECKING:
    from ...community import Community
    from ...keyvault.keys import PublicKey
    from ...peer import Peer
    from .policy import VerifiedClaims
    from .store import Held

__all__ = ["Consent", "CredentialExchange", "IssueOrder", "PresentationRequest"]

ISSUE, PRESENT, STATUS = 1, 2, 3
"""Kinds of questions."""

DECISION_PATIENCE = 300.0
"""Seconds that another peer has to answer, as a person may have to decide."""

STATUS_PATIENCE = 5.0
"""Seconds that another peer has to send a status list."""

MAX_STATUS_LISTS = 256
"""Status lists of others that are kept; the oldest is forgotten first."""

MAX_WANTED = 64
"""Claims and bounds in a request for a presentation."""

NONCE_SIZE = 32

SHORT = struct.Struct(">H")


@dataclass(frozen=True)
class IssueOrder:
    """What an authority issues.

    :param claims: JSON values by their names.
    :param ranges: numbers about which bounds can be proven, by name, with the range of the bounds.
    :param lifetime: seconds until the credential expires; 0 for never.
    :param revocable: whether it can be revoked.
    """

    claims: Mapping[str, Any]
    ranges: Mapping[str, tuple[Range, int]] = field(default_factory=dict)
    lifetime: float = DEFAULT_LIFETIME
    revocable: bool = True


@dataclass(frozen=True)
class PresentationRequest:
    """What a verifier wants to see.

    :param types: the types of credentials that will do; any if there are none.
    :param claims: the names of the claims.
    :param bounds: what must be proven of numbers.
    :param purpose: why, for the person who decides.
    """

    types: Collection[str] = ()
    claims: Collection[str] = ()
    bounds: Collection[Bound] = ()
    purpose: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {"types": list(self.types), "claims": list(self.claims), "purpose": self.purpose,
                "bounds": [[bound.name, ">=" if bound.is_minimum else "<=", bound.threshold]
                           for bound in self.bounds]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PresentationRequest:
        """The inverse of :meth:`to_json`; ``CredentialError`` for anything else."""
        types, claims, purpose = content.get("types"), content.get("claims"), content.get("purpose", "")
        bounds = content.get("bounds")
        if not isinstance(purpose, str) or not isinstance(bounds, list) or len(bounds) > MAX_WANTED:
            raise CredentialError("the request is malformed")
        for names in (types, claims):
            if not isinstance(names, list) or len(names) > MAX_WANTED or not all(isinstance(name, str)
                                                                                 for name in names):
                raise CredentialError("the request is malformed")
        return cls(tuple(types or ()), tuple(claims or ()), tuple(map(_read_bound, bounds)), purpose)

    def fits(self, held: Held) -> bool:
        """Whether a credential has what is wanted. Whether the bounds are true is not found out here."""
        if isinstance(held, HeldCredential):
            type_, ranges = held.credential.type, held.ranges
        else:
            type_, ranges = held.type, {}
        return ((not self.types or type_ in self.types) and all(name in held.values for name in self.claims)
                and all(bound.name in ranges for bound in self.bounds))


def _is_expired(held: Held, now: float) -> bool:
    expires = (held.credential.expires or None) if isinstance(held, HeldCredential) else held.expires
    return expires is not None and now >= expires


def _read_bound(content: Any) -> Bound:
    if (not isinstance(content, list) or len(content) != 3 or not isinstance(content[0], str)
            or content[1] not in {">=", "<="} or type(content[2]) is not int or abs(content[2]) >= 1 << 63):
        raise CredentialError("a bound is malformed")
    return Bound(content[0], content[1] == ">=", content[2])


@dataclass(frozen=True)
class Consent:
    """What a holder discloses of a credential; by default all that was asked for."""

    credential: Held
    claims: Collection[str] | None = None
    bounds: Collection[Bound] | None = None


IssueCallback = Callable[["Peer", str, dict[str, Any]],
                         "IssueOrder | Mapping[str, Any] | Awaitable[IssueOrder | Mapping[str, Any] | None] | None"]
PresentCallback = Callable[["Peer", PresentationRequest],
                           "Consent | HeldCredential | HeldSdJwt | Awaitable[Any] | None"]


async def _refuse(*_: Any) -> None:
    """The answer of a program that has not said what to do."""


class CredentialExchange:
    """The part of an identity overlay that deals with credentials, in the roles of authority, holder and verifier.

    :param overlay: the identity overlay.
    :param settings: the settings of the overlay.
    """

    def __init__(self, overlay: Community, settings: Any) -> None:
        self._overlay = overlay
        self._questions = Questions(overlay)
        self._store: CredentialStore | None = getattr(settings, "credential_store", None)
        self._owns_store = self._store is None
        self._directory = getattr(settings, "working_directory", ":memory:")
        self._passphrase = getattr(settings, "passphrase", None)
        self._issue_callback: IssueCallback = _refuse
        self._present_callback: PresentCallback = _refuse
        self._status_lists: BoundedDict[tuple[bytes, int], StatusList] = BoundedDict(MAX_STATUS_LISTS)
        self._own_lists: BoundedDict[int, StatusList] = BoundedDict(MAX_STATUS_LISTS)
        self._questions.answer_by(ISSUE, self._answer_issue)
        self._questions.answer_by(PRESENT, self._answer_present)
        self._questions.answer_by(STATUS, self._answer_status)

    @property
    def store(self) -> CredentialStore:
        """The credentials that are held and issued; the file is opened when it is first needed.

        :raises DatabaseException: if the file is damaged, a newer release made it, or it needs a passphrase.
        """
        if self._store is None:
            store = CredentialStore(credentials_file(self._directory), self._passphrase)
            store.open()
            self._store = store
        return self._store

    async def shutdown(self) -> None:
        """Give up all questions."""
        self.give_up()

    def give_up(self) -> None:
        """Cancel all requests of ours that wait for an answer."""
        self._questions.give_up()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owns_store and self._store is not None:
            self._store.close()

    @property
    def _me(self) -> PublicKey:
        return self._overlay.my_peer.public_key

    # Authority

    def set_issue_callback(self, callback: IssueCallback) -> None:
        """Decide by ``callback(peer, type, details)`` what is issued to whoever asks; it may be asynchronous.

        It returns an :class:`IssueOrder`, or only the claims, or ``None`` to refuse. By default everything is refused,
        and so is what is not decided within 300 seconds: then, an asynchronous function is cancelled.
        What is in ``details`` comes from the peer: nothing of it is checked.
        """
        self._issue_callback = callback

    def issue(self, holder: PublicKey, type_: str, order: IssueOrder) -> HeldCredential:
        """Issue a credential. It is for the holder alone, as it has everything."""
        if not order.revocable:
            return self._issue(holder, type_, order, None)
        with self.store.exclusive_transaction():  # another program may issue with the same key
            held = self._issue(holder, type_, order, self.store.choose_status(self._me))
            self.store.add_issued(held)
        return held

    def _issue(self, holder: PublicKey, type_: str, order: IssueOrder, status: int | None) -> HeldCredential:
        return issue(self._questions.my_key, holder, type_, order.claims, order.ranges, order.lifetime, status)

    def revoke(self, credential_id: bytes) -> None:
        """Revoke a credential that we have issued. Verifiers learn of it when their status list has expired.

        :raises KeyError: if there is no such credential, or it cannot be revoked.
        """
        self._own_lists.pop(list_of(self.store.set_revoked(self._me, credential_id)), None)

    def own_status_list(self, number: int) -> StatusList:
        """One of our own status lists, which is valid for at least half of its lifetime."""
        now = clock.time()
        found = self._own_lists.get(number)
        if found is None or not found.is_current(now + STATUS_LIFETIME / 2):
            found = StatusList.create(self._questions.my_key, number, self.store.revoked(self._me, number))
            self._own_lists[number] = found
        return found

    async def _answer_issue(self, peer: Peer, content: dict[str, Any]) -> bytes | None:
        type_, details = content.get("type"), content.get("details")
        if not isinstance(type_, str) or not isinstance(details, dict):
            raise CredentialError("the request is malformed")
        order = await maybe_coroutine(self._issue_callback, peer, type_, details)
        if order is None:
            return None
        if not isinstance(order, IssueOrder):
            order = IssueOrder(order)
        held = self.issue(peer.public_key, type_, order)
        status = held.credential.status
        listed = b"" if status is None else self.own_status_list(list_of(status)).to_bytes()
        return SHORT.pack(len(listed)) + listed + held.to_bytes()

    # Holder

    async def request_credential(self, authority: Peer, type_: str, details: Mapping[str, Any] | None = None,
                                 timeout: float = DECISION_PATIENCE) -> HeldCredential:
        """Ask an authority for a credential, and keep it.

        :param details: what the authority needs to know.
        :raises RefusedError: if the authority refuses.
        :raises TimeoutError: if there is no answer in time. Peers that do not know credentials do not answer.
        :raises CredentialError: if the authority sends something else.
        """
        answer = Reader(await self._questions.ask(authority, ISSUE, {"type": type_, "details": dict(details or {})},
                                                  timeout))
        listed = answer.sized(SHORT)
        held = HeldCredential.from_bytes(answer.rest())
        credential = held.credential
        if credential.holder != self._me or credential.issuer != authority.public_key or credential.type != type_:
            raise CredentialError("the authority has sent another credential")
        held.check()
        if listed:
            self.store.keep_status(self.remember_status(listed))
        self.store.add_held(self._me, held)
        return held

    def held(self) -> list[Held]:
        """The credentials that we hold, oldest first."""
        return self.store.held_by(self._me)

    def find(self, request: PresentationRequest) -> list[Held]:
        """The credentials that have what a verifier wants and are not expired, the newest first."""
        now = clock.time()
        return [held for held in reversed(self.held()) if request.fits(held) and not _is_expired(held, now)]

    def export(self, credential_id: bytes) -> str:
        """A credential as SD-JWT (RFC 9901) with all its claims, for another wallet.

        It is bound to our key: only where that key is, it can be presented.

        :raises KeyError: if we do not hold it.
        """
        held = self.store.get_held(self._me, credential_id)
        if held is None:
            raise KeyError(f"no credential with the id {credential_id.hex()} is held")
        return held.to_sd_jwt()

    def import_sd_jwt(self, text: str, policy: Policy) -> HeldSdJwt:
        """Keep an SD-JWT that somebody has issued to our key.

        :param policy: whose are accepted. The key of an issuer whose name is no ``did:key`` must be in it.
        :raises CredentialError: if it is not valid, or bound to another key.
        """
        held = HeldSdJwt(text.strip())
        held.check(replace(policy, allow_unknown_status=True))
        if verify_key_of(held.holder) != verify_key_of(self._me):
            raise CredentialError("the SD-JWT is bound to another key")
        self.store.add_held(self._me, held)
        return held

    def set_presentation_callback(self, callback: PresentCallback) -> None:
        """Decide by ``callback(peer, request)`` what is presented to whoever asks; it may be asynchronous.

        It returns a :class:`Consent`, or only the credential, or ``None`` to refuse. By default everything is refused,
        and so is what is not decided within 300 seconds.
        """
        self._present_callback = callback

    async def _answer_present(self, peer: Peer, content: dict[str, Any]) -> bytes | None:
        nonce = content.get("nonce")
        if not isinstance(nonce, str) or len(b64decode(nonce)) != NONCE_SIZE:
            raise CredentialError("the request has no nonce")
        request = PresentationRequest.from_json(content)
        consent = await maybe_coroutine(self._present_callback, peer, request)
        if consent is None:
            return None
        if not isinstance(consent, Consent):
            consent = Consent(consent)
        claims = request.claims if consent.claims is None else consent.claims
        bounds = request.bounds if consent.bounds is None else consent.bounds
        held: Held = consent.credential
        audience = did_of(peer.public_key)
        if isinstance(held, HeldSdJwt):
            if bounds:
                raise CredentialError("an SD-JWT proves no bounds")
            status = held.status()
            # Only an authority with a did:key has status lists of the kind that is known here.
            issuer = None if status is None or status < 0 else held.issuer_key(Policy(ANY_ISSUER))
            listed = await self._status_to_show(issuer, status)
            presented = held.present(self._questions.my_key, b64decode(nonce), audience, claims)
        else:
            listed = await self._status_to_show(held.credential.issuer, held.credential.status)
            presented = held.present(self._questions.my_key, b64decode(nonce), audience, claims, bounds)
        return SHORT.pack(len(listed)) + listed + presented

    async def _status_to_show(self, issuer: PublicKey | None, status: int | None) -> bytes:
        """A current status list for a credential, if there is one."""
        if issuer is None or status is None:
            return b""
        kept = None if status < 0 else self.store.kept_status(issuer, list_of(status))
        if kept is not None:
            self.remember_status(kept.to_bytes())
        found = await self._current_status(issuer, status, None)
        if found is None:
            return b""
        if kept is None or found.order > kept.order:
            self.store.keep_status(found)
        return found.to_bytes()

    # Verifier

    async def request_presentation(self, holder: Peer, request: PresentationRequest, policy: Policy,
                                   timeout: float = DECISION_PATIENCE) -> VerifiedClaims:
        """Ask a peer for a presentation, and verify it.

        If there is no status list for the credential, its authority is asked for one, if it is a known peer.

        :param policy: which credentials are accepted.
        :returns: what was proven. It has all claims and bounds of the request.
        :raises RefusedError: if the peer refuses.
        :raises TimeoutError: if there is no answer in time.
        :raises CredentialError: if the presentation does not prove what was asked.
        """
        nonce = entropy.randbytes(NONCE_SIZE)
        answer = Reader(await self._questions.ask(holder, PRESENT, {**request.to_json(), "nonce": b64encode(nonce)},
                                                  timeout))
        listed = answer.sized(SHORT)
        if listed:
            self.remember_status(listed)
        data = answer.rest()
        if policy.status_lists is None:
            policy = replace(policy, status_lists=self.known_status)
        audience = did_of(self._me)
        try:
            proven = verify_presentation(data, nonce, audience, policy)
        except StatusUnknownError as e:
            if e.issuer is None or e.status is None or await self._current_status(e.issuer, e.status, holder) is None:
                raise
            proven = verify_presentation(data, nonce, audience, policy)
        if not proven.is_held_by(holder.public_key):
            raise CredentialError("the credential is held by another key than that of the peer")
        if request.types and proven.type not in request.types:
            raise CredentialError(f"the credential has the type {proven.type!r}, which was not asked for")
        missing = [name for name in request.claims if name not in proven.claims]
        if missing or not set(request.bounds) <= set(proven.bounds):
            raise CredentialError("less was proven than was asked for")
        return proven

    # Status lists

    def remember_status(self, data: bytes) -> StatusList:
        """Keep a status list, unless a newer one is known; ``CredentialError`` if it is malformed or forged."""
        found = StatusList.from_bytes(data)
        key = verify_key_of(found.issuer), found.number
        known = self._status_lists.get(key)
        if known is None or found.order > known.order:
            self._status_lists[key] = found
        return found

    def known_status(self, issuer: PublicKey, status: int) -> StatusList | None:
        """The newest status list that is known for the credential with the number ``status`` of an authority."""
        if verify_key_of(issuer) == verify_key_of(self._me):
            return self.own_status_list(list_of(status))
        return self._status_lists.get((verify_key_of(issuer), list_of(status))) if status >= 0 else None

    async def fetch_status(self, peer: Peer, issuer: PublicKey, status: int,
                           timeout: float = STATUS_PATIENCE) -> StatusList:
        """Ask a peer, such as the authority itself, for the status list of a credential.

        :raises RefusedError: if it has none.
        :raises TimeoutError: if there is no answer in time.
        :raises CredentialError: if it sends something else.
        """
        number = list_of(status)
        found = StatusList.from_bytes(await self._questions.ask(
            peer, STATUS, {"issuer": b64encode(verify_key_of(issuer)), "list": number}, timeout))
        if verify_key_of(found.issuer) != verify_key_of(issuer) or found.number != number:
            raise CredentialError("the peer has sent another status list")
        return self.remember_status(found.to_bytes())

    async def _current_status(self, issuer: PublicKey, status: int, holder: Peer | None) -> StatusList | None:
        """A status list that is valid now; the authority and the holder are asked for it if need be."""
        if status < 0:  # of a kind that is not known here
            return None
        found = self.known_status(issuer, status)
        if found is not None and found.is_current(clock.time()):
            return found
        for peer in (self._peer_of(issuer), holder):
            if peer is None:
                continue
            try:
                found = await self.fetch_status(peer, issuer, status)
            except (CredentialError, RuntimeError, TimeoutError) as e:
                self._overlay.logger.debug("%s has no status list: %s", peer, e)
                continue
            if found.is_current(clock.time()):
                return found
        return None

    def _peer_of(self, issuer: PublicKey) -> Peer | None:
        """The peer that an authority is, if it is known; of the authority of an SD-JWT only half of the key is."""
        network = self._overlay.network
        exactly = network.get_verified_by_public_key_bin(issuer.key_to_bin())
        if exactly is not None:
            return exactly
        half = verify_key_of(issuer)
        return next((peer for peer in network.verified_peers if peer.public_key.curve_name() == issuer.curve_name()
                     and verify_key_of(peer.public_key) == half), None)

    async def _answer_status(self, _: Peer, content: dict[str, Any]) -> bytes | None:
        issuer, number = content.get("issuer"), content.get("list")
        if not isinstance(issuer, str) or type(number) is not int or not 0 <= number < 1 << 52:
            raise CredentialError("the request is malformed")
        verify_key = b64decode(issuer)
        if verify_key == verify_key_of(self._me):
            return self.own_status_list(number).to_bytes()
        found = self._status_lists.get((verify_key, number))
        return None if found is None else found.to_bytes()
