"""SD-JWT: ours with an independent implementation, both ways, and everything that must not verify."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8.attestation.credentials.claims import b64decode, b64encode, write_json
from ipv8.attestation.credentials.did import did_of, jwk_of
from ipv8.attestation.credentials.errors import CredentialError, StatusUnknownError
from ipv8.attestation.credentials.policy import ANY_ISSUER, Policy
from ipv8.attestation.credentials.sdjwt import (
    MAX_DISCLOSURES,
    MAX_SD_JWT_SIZE,
    HeldSdJwt,
    bind,
    combine,
    nonce_text,
    verify_sd_jwt,
)
from ipv8.attestation.credentials.status import StatusList
from ipv8.attestation.credentials.verifying import verify_presentation
from tests.attestation.credentials.helpers import NOW

if TYPE_CHECKING:
    from ipv8.keyvault.keys import PrivateKey
    from tests.attestation.credentials.helpers import Cast

ISSUER = "https://issuer.example.org"
NONCE = b"n" * 32


def sign(key: PrivateKey, header: dict[str, Any], payload: dict[str, Any]) -> str:
    signed = f"{b64encode(write_json(header))}.{b64encode(write_json(payload))}"
    return f"{signed}.{b64encode(key.signature(signed.encode()))}"


def foreign(cast: Cast, disclosures: list[Any] = [], header: dict[str, Any] | None = None,  # noqa: B006 - not changed
            **payload: Any) -> str:
    """An SD-JWT of another implementation."""
    content = {"iss": ISSUER, "vct": "urn:example:foreign", "iat": NOW, "cnf": {"jwk": jwk_of(cast.holder)},
               "_sd": [digest(disclosure) for disclosure in disclosures], **payload}
    return "~".join((sign(cast.authority, {"alg": "EdDSA", "typ": "dc+sd-jwt", **(header or {})}, content),
                     *[b64encode(json.dumps(disclosure).encode()) for disclosure in disclosures], ""))


def digest(disclosure: Any, function: Any = None) -> str:
    from hashlib import sha256

    return b64encode((function or sha256)(b64encode(json.dumps(disclosure).encode()).encode()).digest())


def accepting(cast: Cast, **options: Any) -> Policy:
    return Policy({ISSUER: cast.authority.pub()}, **options)


# An independent implementation

jwcrypto = pytest.importorskip("jwcrypto.jwk")
sd_issuer = pytest.importorskip("sd_jwt.issuer")
sd_holder = pytest.importorskip("sd_jwt.holder")
sd_verifier = pytest.importorskip("sd_jwt.verifier")
sd_common = pytest.importorskip("sd_jwt.common")


class EdDsaVerifier(sd_verifier.SDJWTVerifier):  # type: ignore[misc,name-defined]  # it has no types
    """By itself it verifies key bindings with ES256 only."""

    def _verify_key_binding_jwt(self, audience: str, nonce: str, sign_alg: str | None = None) -> None:
        super()._verify_key_binding_jwt(audience, nonce, sign_alg or "EdDSA")


def jwk(key: PrivateKey, private: bool = True) -> Any:
    secret = {"d": b64encode(key.key_to_bin()[-32:])} if private else {}
    return jwcrypto.JWK(**jwk_of(key), **secret)


def test_ours_is_verified_by_theirs(cast: Cast) -> None:
    held = cast.issue()
    presented = bind(held.to_sd_jwt(["name", "address"]), cast.holder, "a nonce", "an audience", NOW)
    asked: list[Any] = []

    def key_of(issuer: str, header: dict[str, Any]) -> Any:
        asked.append((issuer, header["kid"]))
        return jwk(cast.authority, private=False)

    payload = EdDsaVerifier(presented, key_of, "an audience", "a nonce").get_verified_payload()
    did = did_of(cast.authority)
    assert asked == [(did, f"{did}#{did.removeprefix('did:key:')}")]
    assert payload["name"] == "Ann"
    assert payload["address"] == {"city": "Delft"}
    assert "citizen" not in payload
    assert payload["vct"] == "urn:example:person"
    assert payload["cnf"] == {"jwk": jwk_of(cast.holder)}


@pytest.mark.parametrize("change", [{"audience": "x"}, {"nonce": "x"}])
def test_ours_is_refused_by_theirs_for_another_audience_or_nonce(cast: Cast, change: dict[str, str]) -> None:
    used = {"nonce": "a nonce", "audience": "an audience", **change}
    presented = bind(cast.issue().to_sd_jwt(), cast.holder, used["nonce"], used["audience"], NOW)
    with pytest.raises(ValueError, match="Invalid"):
        EdDsaVerifier(presented, lambda *_: jwk(cast.authority, private=False), "an audience", "a nonce")


def test_theirs_holds_ours(cast: Cast) -> None:
    holder = sd_holder.SDJWTHolder(cast.issue().to_sd_jwt())
    holder.create_presentation({"name": True}, nonce="a nonce", aud="an audience", holder_key=jwk(cast.holder),
                               sign_alg="EdDSA")
    import time

    proven = verify_sd_jwt(holder.sd_jwt_presentation, "a nonce", "an audience",
                           Policy([cast.authority.pub()], max_age=10**9, leeway=10**9), time.time())
    assert proven.claims == {"name": "Ann"}
    assert proven.is_held_by(cast.holder.pub())


def theirs(cast: Cast) -> str:
    hidden = sd_common.SDObj
    issued: str = sd_issuer.SDJWTIssuer({
        "iss": ISSUER, "iat": NOW, "exp": NOW + 1000, "vct": "urn:example:foreign", hidden("given_name"): "Bob",
        hidden("address"): {hidden("street"): "Main", hidden("city"): "Delft", "country": "NL"},
        "nationalities": [hidden("DE"), hidden("FR"), "NL"]},
        jwk(cast.authority), jwk(cast.holder, private=False), sign_alg="EdDSA",
        add_decoy_claims=True).sd_jwt_issuance
    return issued


def test_theirs_is_imported_and_presented(cast: Cast) -> None:
    held = HeldSdJwt(theirs(cast))
    assert held.check(accepting(cast), NOW + 10) == cast.authority.pub()
    assert held.type == "urn:example:foreign"
    assert held.values["given_name"] == "Bob"
    assert held.values["address"] == {"street": "Main", "city": "Delft", "country": "NL"}
    assert sorted(held.values["nationalities"]) == ["DE", "FR", "NL"]
    data = held.present(cast.holder, NONCE, did_of(cast.verifier), ["city"], NOW + 10)
    proven = verify_presentation(data, NONCE, did_of(cast.verifier), accepting(cast), NOW + 20)
    assert proven.claims == {"address": {"city": "Delft", "country": "NL"}, "nationalities": ["NL"]}
    payload = EdDsaVerifier(data.decode(), lambda *_: jwk(cast.authority, private=False), did_of(cast.verifier),
                            nonce_text(NONCE)).get_verified_payload()
    assert payload["address"] == {"city": "Delft", "country": "NL"}


def test_elements_of_arrays_are_disclosed(cast: Cast) -> None:
    """They are, if the claim that has the array is disclosed."""
    held = HeldSdJwt(theirs(cast))
    assert held.to_sd_jwt() == held.text
    assert sorted(HeldSdJwt(held.to_sd_jwt(["nationalities"])).values["nationalities"]) == ["DE", "FR", "NL"]
    hidden = HeldSdJwt(foreign(cast, [["s", "list", [{"...": digest(["t", 1])}, 2]]]) + b64encode(
        json.dumps(["t", 1]).encode()) + "~")
    assert hidden.values == {"list": [1, 2]}
    assert HeldSdJwt(hidden.to_sd_jwt(["list"])).values == {"list": [1, 2]}


# Ours alone

def test_the_same_claims_in_both_forms(cast: Cast) -> None:
    held = cast.issue(status=5000)
    exported = HeldSdJwt(held.to_sd_jwt())
    assert {name: exported.values[name] for name in held.values} == held.values
    assert (exported.type, exported.issued, exported.expires) == (
        held.credential.type, held.credential.issued, held.credential.expires)
    assert exported.status() == 5000
    lists = StatusList.create(cast.authority, 1, [], NOW)
    assert exported.check(Policy([cast.authority.pub()], status_lists=lambda *_: lists), NOW)
    with pytest.raises(StatusUnknownError):
        exported.check(Policy([cast.authority.pub()]), NOW)


def test_presented_as_sd_jwt(cast: Cast) -> None:
    held = HeldSdJwt(cast.issue().to_sd_jwt())
    data = held.present(cast.holder, NONCE, "audience", ["citizen"], NOW)
    policy = Policy([cast.authority.pub()])
    assert verify_presentation(data, NONCE, "audience", policy, NOW).claims == {"citizen": True}
    for nonce, audience in ((b"m" * 32, "audience"), (NONCE, "other")):
        with pytest.raises(CredentialError, match="nonce or audience"):
            verify_presentation(data, nonce, audience, policy, NOW)
    with pytest.raises(ValueError, match="another key"):
        held.present(cast.stranger, NONCE, "audience")
    with pytest.raises(CredentialError, match="no claim"):
        held.present(cast.holder, NONCE, "audience", ["unknown"])
    with pytest.raises(CredentialError, match="not signed"):
        verify_sd_jwt(held.text, "n", "a", policy, NOW)


def test_disclosures_cannot_be_added_or_left_out_after_binding(cast: Cast) -> None:
    """The signature of the holder covers them."""
    held = cast.issue()
    data = bind(held.to_sd_jwt(["name"]), cast.holder, "n", "a", NOW)
    token, name, binding = data.split("~")
    more = held.to_sd_jwt().split("~")[1:3]
    for parts in ((token, binding), (token, *more, binding)):
        with pytest.raises(CredentialError, match="other disclosures"):
            verify_sd_jwt("~".join(parts), "n", "a", Policy([cast.authority.pub()]), NOW)
    assert verify_sd_jwt(f"{token}~{name}~{binding}", "n", "a", Policy([cast.authority.pub()]), NOW)


def test_names_of_issuers_do_not_stand_for_other_keys(cast: Cast) -> None:
    text = foreign(cast)
    assert HeldSdJwt(text).check(accepting(cast), NOW)
    for policy in (Policy({ISSUER: cast.stranger.pub()}), Policy([cast.authority.pub()]), Policy(ANY_ISSUER)):
        with pytest.raises(CredentialError):
            HeldSdJwt(text).check(policy, NOW)
    named = foreign(cast, iss=did_of(cast.stranger))
    with pytest.raises(CredentialError, match="has not signed"):
        HeldSdJwt(named).check(Policy(ANY_ISSUER), NOW)
    own = foreign(cast, iss=did_of(cast.authority))
    with pytest.raises(CredentialError, match="not one that is accepted"):
        HeldSdJwt(own).check(Policy([cast.stranger.pub()]), NOW)


@pytest.mark.parametrize("header", [
    {"alg": "none"}, {"alg": "ES256"}, {"alg": "HS256"}, {"alg": None}, {"crit": ["exp"]}, {"typ": "kb+jwt"},
    {"typ": "at+jwt"}])
def test_headers_that_are_refused(cast: Cast, header: dict[str, Any]) -> None:
    with pytest.raises(CredentialError):
        HeldSdJwt(foreign(cast, header=header))


HIDDEN = ["salt", "name", "Bob"]


@pytest.mark.parametrize(("disclosures", "payload"), [
    ([HIDDEN, HIDDEN], {}),  # twice
    ([["salt", "iss", "x"]], {}),  # hides what may not be hidden
    ([["salt", "exp", 1]], {}),
    ([["salt", "_sd", []]], {}),
    ([["salt", "...", 1]], {}),
    ([["salt", "vct", "x"]], {}),
    ([HIDDEN], {"name": "Eve"}),  # is there already
    ([HIDDEN], {"_sd": []}),  # does not belong to it
    ([["salt", "x"]], {}),  # an element of an array in the place of a claim
    ([[1, "x", 2]], {}), ([["salt"]], {}), ([["s", "n", 1, 2]], {}), ([{"a": 1}], {}), ([["salt", 1, 2]], {}),
    ([HIDDEN], {"_sd_alg": "md5"}), ([HIDDEN], {"_sd_alg": 1}), ([], {"_sd": 1}), ([], {"_sd": [1]}),
    ([], {"x": [{"...": 1}]}), ([], {"x": [{"...": "a", "b": 1}]}), ([], {"x": {"...": "a"}}),
    ([], {"_sd": ["a", "a"]}),
])
def test_disclosures_that_are_refused(cast: Cast, disclosures: list[Any], payload: dict[str, Any]) -> None:
    with pytest.raises(CredentialError):
        HeldSdJwt(foreign(cast, disclosures, **payload))


@pytest.mark.parametrize("payload", [
    {"iat": NOW + 1000}, {"nbf": NOW + 1000}, {"exp": NOW}, {"exp": 0}, {"exp": 0.0}, {"exp": -1}, {"exp": "never"},
    {"exp": True}, {"iss": 1},
    {"status": 1}, {"status": {"status_list": {"idx": "1", "uri": "x"}}},
    {"status": {"status_list": {"idx": 1, "uri": "https://example.org/1"}}},
    {"status": {"status_list": {"idx": 4096, "uri": "urn:ipv8:status:x/0"}}}, {"status": {"other": 1}}])
def test_payloads_that_are_refused(cast: Cast, payload: dict[str, Any]) -> None:
    with pytest.raises(CredentialError):
        HeldSdJwt(foreign(cast, **payload)).check(accepting(cast), NOW)


@pytest.mark.parametrize("confirmation", [None, 1, {}, {"jwk": {"kty": "EC"}}, {"kid": "x"}])
def test_bound_to_no_key(cast: Cast, confirmation: Any) -> None:
    with pytest.raises(CredentialError):
        HeldSdJwt(foreign(cast, cnf=confirmation)).holder  # noqa: B018 - raises


def test_types_with_the_prefix_of_media_types(cast: Cast) -> None:
    assert HeldSdJwt(foreign(cast, header={"typ": "application/dc+sd-jwt"})).check(accepting(cast), NOW)
    for type_ in ("application/kb+jwt", "application/application/JWT", ["JWT"], 1):
        with pytest.raises(CredentialError, match="type"):
            HeldSdJwt(foreign(cast, header={"typ": type_}))


def test_key_bindings_that_say_when_they_are_valid(cast: Cast) -> None:
    text = foreign(cast)
    header, payload = (json.loads(b64decode(part)) for part in bind(text, cast.holder, "n", "a", NOW).split("~")[
        -1].split(".")[:2])
    good = sign(cast.holder, header, {**payload, "exp": NOW + 1, "nbf": NOW})
    assert verify_sd_jwt(text + good, "n", "a", accepting(cast), NOW).type == "urn:example:foreign"


def test_when_it_was_issued_may_be_hidden(cast: Cast) -> None:
    hidden = ["salt", "iat", NOW]
    with pytest.raises(CredentialError, match="there already"):
        HeldSdJwt(foreign(cast, [hidden]))
    held = HeldSdJwt("~".join((sign(cast.authority, {"alg": "EdDSA", "typ": "dc+sd-jwt"}, {
        "iss": ISSUER, "cnf": {"jwk": jwk_of(cast.holder)}, "_sd": [digest(hidden)], "name": "Bob"}),
        b64encode(json.dumps(hidden).encode()), "")))
    held.check(accepting(cast), NOW)
    assert held.values == {"name": "Bob"}
    assert held.issued is None


def test_a_name_stands_for_the_claim_of_the_credential_itself(cast: Cast) -> None:
    """A claim of the same name inside of another one is not disclosed with it."""
    inner, element = ["s1", "name", "Acme"], ["s2", "name of an element"]
    outer, employer = ["s3", "name", "Bob"], ["s4", "employer", {"_sd": [digest(inner)]}]
    staff = ["s5", "staff", [{"name": [{"...": digest(element)}]}]]
    text = foreign(cast, [outer, employer, staff]) + "".join(
        b64encode(json.dumps(part).encode()) + "~" for part in (inner, element))
    held = HeldSdJwt(text)
    assert held.values == {"name": "Bob", "employer": {"name": "Acme"}, "staff": [{"name": ["name of an element"]}]}
    assert HeldSdJwt(held.to_sd_jwt(["name"])).values == {"name": "Bob"}
    deep = HeldSdJwt(foreign(cast, [["s6", "name", [[{"...": digest(element)}]]], employer]) + "".join(
        b64encode(json.dumps(part).encode()) + "~" for part in (inner, element)))
    assert HeldSdJwt(deep.to_sd_jwt(["name"])).values == {"name": [["name of an element"]]}
    without = HeldSdJwt(foreign(cast, [employer]) + b64encode(json.dumps(inner).encode()) + "~")
    assert HeldSdJwt(without.to_sd_jwt(["name"])).values == {"employer": {"name": "Acme"}}


def test_other_hash_functions(cast: Cast) -> None:
    from hashlib import sha512

    text = foreign(cast, _sd=[digest(HIDDEN, sha512)], _sd_alg="sha-512") + b64encode(
        json.dumps(HIDDEN).encode()) + "~"
    held = HeldSdJwt(text)
    assert held.values == {"name": "Bob"}
    data = held.present(cast.holder, NONCE, "a", ["name"], NOW)
    assert verify_presentation(data, NONCE, "a", accepting(cast), NOW).claims == {"name": "Bob"}


@pytest.mark.parametrize("binding", [
    {"typ": "JWT"}, {"alg": "none"}, {"nonce": None}, {"aud": ["a"]}, {"iat": None}, {"iat": NOW + 400},
    {"sd_hash": "AA"}, {"sd_hash": 1}, {"exp": NOW}, {"exp": 0}, {"exp": "x"}, {"nbf": NOW + 400}, {"nbf": []}])
def test_key_bindings_that_are_refused(cast: Cast, binding: dict[str, Any]) -> None:
    text = foreign(cast)
    good = bind(text, cast.holder, "n", "a", NOW).split("~")[-1]
    header, payload = (json.loads(b64decode(part)) for part in good.split(".")[:2])
    for name, value in binding.items():
        (header if name in header else payload)[name] = value
    with pytest.raises(CredentialError):
        verify_sd_jwt(text + sign(cast.holder, header, payload), "n", "a", accepting(cast), NOW)


def test_key_binding_by_somebody_else(cast: Cast) -> None:
    with pytest.raises(CredentialError, match="has not signed the presentation"):
        verify_sd_jwt(bind(foreign(cast), cast.stranger, "n", "a", NOW), "n", "a", accepting(cast), NOW)


@pytest.mark.parametrize("text", ["", "~", "a.b.c~", "a.b~", "a.b.c", "ä~", "~" * 10, "....~"])
def test_what_is_no_sd_jwt(text: str) -> None:
    with pytest.raises(CredentialError):
        HeldSdJwt(text)


def test_sizes(cast: Cast) -> None:
    with pytest.raises(CredentialError, match="characters"):
        HeldSdJwt("a" * (MAX_SD_JWT_SIZE + 1))
    with pytest.raises(CredentialError, match="disclosures"):
        HeldSdJwt(combine("a.b", b"c", [b"d"] * (MAX_DISCLOSURES + 1)))
    with pytest.raises(CredentialError, match="bytes"):
        HeldSdJwt(foreign(cast, [["salt", "name", "x" * 5000]]))


def test_nested_too_deep(cast: Cast) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = {"a": [deep]}
    with suppress(CredentialError):
        HeldSdJwt(foreign(cast, x=deep))


@given(position=st.integers(0, 10_000), character=st.characters(codec="ascii"))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_characters(cast: Cast, position: int, character: str) -> None:
    text = bind(foreign(cast, [HIDDEN]), cast.holder, "n", "a", NOW)
    place = position % len(text)
    if text[place] == character:
        return
    with pytest.raises(CredentialError):
        verify_sd_jwt(text[:place] + character + text[place + 1:], "n", "a", accepting(cast), NOW)


@given(text=st.text(max_size=100))
@settings(deadline=None)
def test_any_text(text: str) -> None:
    with pytest.raises(CredentialError):
        verify_sd_jwt(text, "n", "a", Policy(ANY_ISSUER), NOW)
