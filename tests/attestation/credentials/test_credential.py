"""The compact form: issuing, holding, presenting and verifying, and everything that must not verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8.attestation.credentials.credential import Credential, HeldCredential, issue
from ipv8.attestation.credentials.did import did_of
from ipv8.attestation.credentials.errors import CredentialError, RevokedError, StatusUnknownError
from ipv8.attestation.credentials.policy import ANY_ISSUER, Policy
from ipv8.attestation.credentials.ranges import Bound, Range
from ipv8.attestation.credentials.reader import Reader
from ipv8.attestation.credentials.status import StatusList
from ipv8.attestation.credentials.verifying import verify_compact, verify_presentation
from ipv8.keyvault.crypto import default_eccrypto
from tests.attestation.credentials.helpers import NOW

if TYPE_CHECKING:
    from tests.attestation.credentials.helpers import Cast

NONCE = b"n" * 32
ADULT = Bound("age", True, 18)


def present(cast: Cast, held: HeldCredential, **options: Any) -> bytes:
    arguments: dict[str, Any] = {"names": ["name"], "bounds": [ADULT], "now": NOW + 10, **options}
    return held.present(cast.holder, NONCE, did_of(cast.verifier), **arguments)


def verify(cast: Cast, data: bytes, policy: Policy | None = None, **options: Any) -> Any:
    arguments: dict[str, Any] = {"nonce": NONCE, "audience": did_of(cast.verifier), "now": NOW + 20, **options}
    return verify_presentation(data, policy=policy or Policy([cast.authority.pub()]), **arguments)


# What works

def test_exactly_what_is_disclosed_is_learned(cast: Cast) -> None:
    held = cast.issue()
    data = present(cast, held)
    proven = verify(cast, data)
    assert proven.claims == {"name": "Ann"}
    assert proven.bounds == (ADULT,)
    assert proven.issuer == cast.authority.pub()
    assert proven.holder == cast.holder.pub()
    assert proven.is_held_by(cast.holder.pub())
    assert not proven.is_held_by(cast.verifier.pub())
    assert (proven.type, proven.issued) == ("urn:example:person", NOW)
    for hidden in (b"Delft", b"citizen", b",34]"):
        assert hidden not in data


@given(told=st.sets(st.integers(0, 19)))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_claims_can_be_disclosed(cast: Cast, told: set[int]) -> None:
    held = _twenty(cast)
    names = [f"claim {number}" for number in told]
    proven = verify(cast, present(cast, held, names=names, bounds=[]))
    assert proven.claims == {name: f"value of {name}" for name in names}


_cached: dict[int, HeldCredential] = {}


def _twenty(cast: Cast) -> HeldCredential:
    if id(cast) not in _cached:
        _cached[id(cast)] = cast.issue(claims={f"claim {n}": f"value of claim {n}" for n in range(20)}, ranges={})
    return _cached[id(cast)]


def test_held_credentials_round_trip(cast: Cast) -> None:
    held = cast.issue(status=77)
    read = HeldCredential.from_bytes(held.to_bytes())
    read.check()
    assert read.to_bytes() == held.to_bytes()
    assert read.id == held.id
    assert read.values == {"name": "Ann", "citizen": True, "address": {"city": "Delft"}}
    assert read.ranges == {"age": Range(0, 150)}
    assert read.credential == held.credential
    assert read.to_sd_jwt() == held.to_sd_jwt()


@pytest.mark.parametrize("count", [0, 1, 8, 9, 255, 256])
def test_numbers_of_claims(cast: Cast, count: int) -> None:
    held = cast.issue(claims={f"{n}": n for n in range(count)}, ranges={})
    held.check()
    names = [f"{count - 1}"] if count else []
    assert len(verify(cast, present(cast, held, names=names, bounds=[])).claims) == len(names)


def test_small_credentials_do_not_tell_how_many_claims_they_have(cast: Cast) -> None:
    assert cast.issue(claims={"a": 1}, ranges={}).credential.depth == cast.issue(
        claims={f"{n}": n for n in range(8)}, ranges={}).credential.depth == 3


@pytest.mark.parametrize("options", [
    {"claims": {f"{n}": n for n in range(257)}}, {"claims": {"iss": 1}}, {"claims": {"age (range)": 1}},
    {"claims": {"x": b""}}, {"ranges": {"age": (Range(0, 10), 11)}}, {"lifetime": -1}, {"lifetime": 1e18},
    {"lifetime": float("inf")}, {"lifetime": float("nan")}, {"status": -1}, {"status": 2**64 - 1}])
def test_what_cannot_be_issued(cast: Cast, options: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        cast.issue(**options)


@pytest.mark.parametrize("type_", ["", "x" * 256])
def test_types_that_are_not_possible(cast: Cast, type_: str) -> None:
    with pytest.raises(ValueError, match="type"):
        issue(cast.authority, cast.holder.pub(), type_, {})


def test_keys_on_other_curves(cast: Cast) -> None:
    old = default_eccrypto.generate_key("low")
    with pytest.raises(ValueError, match="curve25519"):
        issue(old, cast.holder.pub(), "type", {})
    with pytest.raises(ValueError, match="curve25519"):
        issue(cast.authority, old.pub(), "type", {})


def test_a_credential_is_presented_by_its_holder_alone(cast: Cast) -> None:
    with pytest.raises(ValueError, match="another key"):
        cast.issue().present(cast.stranger, NONCE, "audience")


def test_work_is_bounded(cast: Cast) -> None:
    """However many bounds are asked for, verifying them does not block for long."""
    many = {f"{number}": (Range(0, 1024), 5) for number in range(9)}
    with pytest.raises(ValueError, match="8 ranges"):
        cast.issue(ranges=many)
    with pytest.raises(CredentialError, match="16 bounds"):
        present(cast, cast.issue(), bounds=[ADULT] * 17)


@pytest.mark.parametrize("options", [{"names": ["unknown"]}, {"bounds": [Bound("name", True, 1)]},
                                     {"bounds": [Bound("age", True, 35)]}, {"bounds": [Bound("age", False, 33)]}])
def test_what_cannot_be_presented(cast: Cast, options: Any) -> None:
    with pytest.raises(CredentialError):
        present(cast, cast.issue(), **options)


# What must not verify

def test_replay_and_relay(cast: Cast) -> None:
    data = present(cast, cast.issue())
    for changed in ({"nonce": b"m" * 32}, {"audience": did_of(cast.stranger)}, {"nonce": b""}, {"audience": ""}):
        with pytest.raises(CredentialError, match="nonce and audience"):
            verify(cast, data, **changed)
    for now in (NOW + 10 + 601, NOW - 291):
        with pytest.raises(CredentialError, match="long ago"):
            verify(cast, data, now=now)


def test_issuers_and_types_that_are_not_accepted(cast: Cast) -> None:
    data = present(cast, cast.issue())
    with pytest.raises(CredentialError, match="issuer"):
        verify(cast, data, Policy([cast.stranger.pub()]))
    with pytest.raises(CredentialError, match="issuer"):
        verify(cast, data, Policy([]))
    with pytest.raises(CredentialError, match="type"):
        verify(cast, data, Policy(ANY_ISSUER, types=["urn:example:other"]))
    assert verify(cast, data, Policy(ANY_ISSUER, types=["urn:example:person"])).issuer == cast.authority.pub()
    assert repr(ANY_ISSUER) == "ANY_ISSUER"


@pytest.mark.parametrize(("lifetime", "age", "valid"), [
    (100, 99, True), (100, 100, False), (0, 10**9, True), (10**9, -200, True), (10**9, -301, False)])
def test_validity(cast: Cast, lifetime: int, age: int, valid: bool) -> None:
    data = present(cast, cast.issue(lifetime=lifetime), now=NOW + age)
    if valid:
        expires = verify(cast, data, now=NOW + age).expires
        assert expires == (NOW + lifetime if lifetime else None)
    else:
        with pytest.raises(CredentialError):
            verify(cast, data, now=NOW + age)


def test_a_credential_of_somebody_else(cast: Cast) -> None:
    """Whoever has a copy of a credential with all secrets cannot present it without the key of the holder."""
    held = cast.issue()
    body = present(cast, held)[:-64]
    from ipv8.attestation.credentials.credential import presentation_message

    forged = body + cast.stranger.signature(presentation_message(body, NONCE, did_of(cast.verifier)))
    with pytest.raises(CredentialError, match="holder"):
        verify(cast, forged)


def test_forged_claims_and_issuers(cast: Cast) -> None:
    """The holder signs whatever it likes, but the authority did not."""
    held = cast.issue()
    claims = cast.issue(claims={"name": "Eve", "citizen": True, "address": None}).claims
    stronger = HeldCredential(held.credential, claims, held.fillers, {}, b"")
    data = stronger.present(cast.holder, NONCE, did_of(cast.verifier), ["name"], now=NOW)
    with pytest.raises(CredentialError, match="not those"):
        verify(cast, data)
    own = issue(cast.holder, cast.holder.pub(), "urn:example:person", {"name": "Eve"}, now=NOW)
    credential = own.credential
    claimed = Credential(cast.authority.pub(), credential.holder, credential.type, credential.issued,
                         credential.expires, None, credential.depth, credential.root, credential.signature)
    data = HeldCredential(claimed, own.claims, own.fillers, {}, b"").present(
        cast.holder, NONCE, did_of(cast.verifier), ["name"], now=NOW)
    with pytest.raises(CredentialError, match="issuer has not signed"):
        verify(cast, data)


def test_bounds_that_are_not_proven(cast: Cast) -> None:
    """The proof of one bound for another one, signed by the holder."""
    from ipv8.attestation.credentials import credential as module

    held = cast.issue()
    data = present(cast, held)
    body = data[:-64]
    (number, is_minimum, _, proof) = module.BOUND.unpack(body[-module.BOUND.size:])
    for forged in ((number, is_minimum, 65, proof), (number, 0, 65, proof), (number + 1, is_minimum, 18, proof),
                   (number, 2, 18, proof), (number, is_minimum, 151, proof)):
        changed = body[:-module.BOUND.size] + module.BOUND.pack(*forged)
        signed = changed + cast.holder.signature(
            module.presentation_message(changed, NONCE, did_of(cast.verifier)))
        with pytest.raises(CredentialError):
            verify(cast, signed)


def test_claims_that_are_told_twice_or_in_another_order(cast: Cast) -> None:
    """The holder signs it, but each claim has one place, and places go up."""
    from ipv8.attestation.credentials.credential import BYTE, LISTED, SHORT, presentation_message

    held = _twenty(cast)
    data = present(cast, held, names=["claim 1", "claim 2"], bounds=[])
    start = 1 + len(held.credential.to_bytes()) + 8 + SHORT.size
    first = start + LISTED.size + LISTED.unpack_from(data, start)[1]
    second = first + LISTED.size + LISTED.unpack_from(data, first)[1]
    entries = data[start:first], data[first:second]
    assert data.startswith(BYTE.pack(1))
    for order in (entries[::-1], (entries[0], entries[0])):
        body = data[:start] + b"".join(order) + data[second:-64]
        signature = cast.holder.signature(presentation_message(body, NONCE, did_of(cast.verifier)))
        with pytest.raises(CredentialError, match="order"):
            verify(cast, body + signature)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits(cast: Cast, position: int, bit: int) -> None:
    data = bytearray(present(cast, _with_bound(cast)))
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(CredentialError):
        verify(cast, bytes(data))


_bound: dict[int, HeldCredential] = {}


def _with_bound(cast: Cast) -> HeldCredential:
    if id(cast) not in _bound:
        _bound[id(cast)] = cast.issue()
    return _bound[id(cast)]


@given(size=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_and_extended(cast: Cast, size: int) -> None:
    data = present(cast, _with_bound(cast))
    with pytest.raises(CredentialError):
        verify(cast, data[:size % len(data)])
    with pytest.raises(CredentialError):
        verify(cast, data + b"x" * (1 + size % 5))


@given(data=st.binary(max_size=400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(cast: Cast, data: bytes) -> None:
    for variant in (data, b"\x01" + data, b"\x01\x01\x03" + data):
        with pytest.raises(CredentialError):
            verify(cast, variant)
        with pytest.raises(CredentialError):
            HeldCredential.from_bytes(variant).check()


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_of_what_the_authority_sends(cast: Cast, position: int, bit: int) -> None:
    data = bytearray(_with_bound(cast).to_bytes())
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(CredentialError):
        HeldCredential.from_bytes(bytes(data)).check()


def test_an_authority_cannot_issue_two_credentials_in_one(cast: Cast) -> None:
    """The SD-JWT has the claims of the compact form: its signature is verified over what follows from these."""
    one, two = cast.issue(), cast.issue(claims={"name": "Eve"})
    with pytest.raises(CredentialError, match="SD-JWT"):
        HeldCredential(one.credential, one.claims, one.fillers, one.secrets, two.sd_signature).check()


@pytest.mark.parametrize("form", [b"", b"\x00", b"\x02x", b"{}", b"\xff"])
def test_forms_that_are_not_known(cast: Cast, form: bytes) -> None:
    with pytest.raises(CredentialError):
        verify(cast, form)
    with pytest.raises(CredentialError):
        verify_compact(form, NONCE, "", Policy(ANY_ISSUER))


def test_versions_that_are_not_known(cast: Cast) -> None:
    data = b"\x02" + cast.issue().credential.to_bytes()[1:]
    with pytest.raises(CredentialError, match="version 2"):
        Credential.read(Reader(data))


# Revocation

def test_revocation(cast: Cast) -> None:
    data = present(cast, cast.issue(status=5000))
    with pytest.raises(StatusUnknownError) as unknown:
        verify(cast, data)
    assert (unknown.value.issuer, unknown.value.status) == (cast.authority.pub(), 5000)
    lists = {revoked: StatusList.create(cast.authority, 1, [revoked], NOW) for revoked in (5000, 5001)}

    def policy(chosen: StatusList | None, **options: Any) -> Policy:
        return Policy([cast.authority.pub()], status_lists=lambda *_: chosen, **options)

    with pytest.raises(RevokedError):
        verify(cast, data, policy(lists[5000]))
    with pytest.raises(RevokedError):
        verify(cast, data, policy(lists[5000], allow_unknown_status=True))
    assert verify(cast, data, policy(lists[5001])).claims == {"name": "Ann"}
    assert verify(cast, data, policy(None, allow_unknown_status=True)).claims == {"name": "Ann"}
    old = StatusList.create(cast.authority, 1, [], NOW - 4000)
    with pytest.raises(StatusUnknownError):
        verify(cast, data, policy(old))
    with pytest.raises(CredentialError, match="not that of the credential"):
        verify(cast, data, policy(StatusList.create(cast.authority, 2, [], NOW)))
