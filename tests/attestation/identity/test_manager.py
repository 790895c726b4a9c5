"""What is known of attributes, and what is disclosed of them."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.identity import manager as module
from ipv8.attestation.identity.attestation import Attestation
from ipv8.attestation.identity.manager import IdentityManager, PseudonymManager
from ipv8.attestation.identity.metadata import Metadata
from ipv8.attestation.tokentree.token import Token
from ipv8.attestation.tokentree.tree import TokenTree
from ipv8.keyvault.crypto import default_eccrypto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY, AUTHORITY, SECOND = (default_eccrypto.generate_key("curve25519") for _ in range(3))


@pytest.fixture
def own() -> Iterator[IdentityManager]:
    manager = IdentityManager()
    yield manager
    manager.close()


@pytest.fixture
def other() -> Iterator[IdentityManager]:
    manager = IdentityManager()
    yield manager
    manager.close()


def make_chain(pseudonym: PseudonymManager, length: int) -> list[Any]:
    made: list[Any] = []
    for number in range(length):
        made.append(pseudonym.create_credential(b"%032d" % number, {"name": f"{number}"},
                                                made[-1].metadata if made else None))
    return made


def test_disclosure_vector(load_vectors: Callable[[str], Any], own: IdentityManager, other: IdentityManager) -> None:
    vectors = load_vectors("identity")
    owner, authority = (default_eccrypto.key_from_private_bin(bytes.fromhex(
        vectors["keys"][vectors["roles"][role]]["private_bin"])) for role in ("owner", "authority"))
    pseudonym = own.get_pseudonym(owner)
    token = None
    for vector in vectors["tokens"]:
        token = pseudonym.tree.add(bytes.fromhex(vector["content"]), token)
    assert token is not None
    metadata = Metadata(bytes.fromhex(vectors["metadata"]["token_pointer"]), vectors["metadata"]["json"].encode(),
                        owner)
    attestation = Attestation(metadata.get_hash(), authority)
    pseudonym.add_metadata(metadata)
    pseudonym.add_attestation(authority.pub(), attestation)
    disclosure = pseudonym.create_disclosure({metadata}, {attestation.get_hash()})
    expected = vectors["disclosure"]
    assert disclosure[0].hex() == expected["metadata"]
    assert disclosure[2].hex() == expected["attestations"]
    assert disclosure[3].hex() == expected["authorities"]
    told = bytes.fromhex(expected["tokens"])
    assert sorted(disclosure[1][i:i + 128] for i in range(0, len(disclosure[1]), 128)) == sorted(
        told[i:i + 128] for i in range(0, len(told), 128))
    assert other.substantiate(owner.pub(), *(bytes.fromhex(expected[part]) for part in (
        "metadata", "tokens", "attestations", "authorities")))[0]


def test_tokens_are_told_root_first_and_once(own: IdentityManager) -> None:
    pseudonym = own.get_pseudonym(KEY)
    made = make_chain(pseudonym, 5)
    tokens = pseudonym.disclose_credentials(made[2:], set())[1]
    assert tokens == pseudonym.tree.serialize_public()


@given(order=st.permutations(range(4)))
@settings(deadline=None, max_examples=20)
def test_tokens_may_come_in_any_order(order: list[int]) -> None:
    manager = IdentityManager()
    tree = TokenTree(private_key=KEY)
    tokens: list[Token] = []
    for number in range(4):
        tokens.append(tree.add(b"%d" % number, tokens[-1] if tokens else None))
    data = b"".join(tokens[number].get_plaintext_signed() for number in order)
    correct, pseudonym = manager.substantiate(KEY.pub(), b"", data, b"", b"")
    assert correct
    assert len(pseudonym.tree.elements) == 4
    manager.close()


def test_what_others_disclose_is_kept_after_a_restart(tmp_path: Path, own: IdentityManager) -> None:
    pseudonym = own.get_pseudonym(KEY)
    made = make_chain(pseudonym, 3)
    metadata, tokens, _, _ = pseudonym.disclose_credentials(made, set())
    path = str(tmp_path / "sqlite" / "identity.db")
    for part in ((metadata, tokens[128:256], b"", b""), (b"", tokens[256:], b"", b""), (b"", tokens[:128], b"", b"")):
        manager = IdentityManager(path)
        if part[1] == tokens[:128]:  # the other two were not connected when that manager was closed
            manager.substantiate(KEY.pub(), b"", tokens[128:], b"", b"")
        manager.substantiate(KEY.pub(), *part)
        manager.close()
    manager = IdentityManager(path)
    restored = manager.get_pseudonym(KEY.pub())
    assert set(restored.tree.elements) == set(pseudonym.tree.elements)
    assert len(restored.get_credentials()) == 3
    assert all(restored.token_of(credential.metadata) for credential in restored.get_credentials())
    manager.close()


def test_forged_metadata_is_left_out(own: IdentityManager) -> None:
    token = TokenTree(private_key=KEY).add(b"a")
    forged = Metadata.create(token, {"name": "a"}, AUTHORITY).get_plaintext_signed()
    correct, pseudonym = own.substantiate(KEY.pub(), struct.pack(">I", len(forged)) + forged,
                                          token.get_plaintext_signed(), b"", b"")
    assert correct
    assert pseudonym.get_credentials() == []


def test_forged_tokens_and_attestations_are_not_correct(own: IdentityManager) -> None:
    forged = Token(TokenTree(public_key=KEY.pub()).genesis_hash, content=b"a", private_key=AUTHORITY)
    assert not own.substantiate(KEY.pub(), b"", forged.get_plaintext_signed(), b"", b"")[0]
    authority = AUTHORITY.pub().key_to_bin()
    attestation = Attestation(bytes(32), SECOND).get_plaintext_signed()
    assert not own.substantiate(KEY.pub(), b"", b"", attestation, struct.pack(">H", len(authority)) + authority)[0]
    assert own.substantiate(KEY.pub(), b"", b"", b"", b"")[0]


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_truncated_disclosures_store_nothing(own: IdentityManager, other: IdentityManager, part: int) -> None:
    pseudonym = own.get_pseudonym(KEY)
    (credential,) = make_chain(pseudonym, 1)
    attestation = pseudonym.create_attestation(credential.metadata, AUTHORITY)
    pseudonym.add_attestation(AUTHORITY.pub(), attestation)
    disclosure = list(pseudonym.disclose_credentials([credential], {attestation.get_hash()}))
    assert other.substantiate(KEY.pub(), *disclosure)[0]
    other.forget_pseudonym(KEY)
    disclosure[part] = disclosure[part][:-1]
    with pytest.raises((struct.error, ValueError)):
        other.substantiate(KEY.pub(), *disclosure)
    assert other.get_pseudonym(KEY.pub()).get_credentials() == []
    assert not other.get_pseudonym(KEY.pub()).tree.elements


@given(parts=st.tuples(*[st.binary(max_size=300)] * 4))
@settings(deadline=None, max_examples=50)
def test_any_bytes_can_be_disclosed(parts: tuple[bytes, bytes, bytes, bytes]) -> None:
    manager = IdentityManager()
    with suppress(struct.error, ValueError):
        manager.substantiate(KEY.pub(), *parts)
    assert manager.get_pseudonym(KEY.pub()).get_credentials() == []
    manager.close()


def test_tokens_of_others_are_bounded(monkeypatch: pytest.MonkeyPatch, own: IdentityManager,
                                      other: IdentityManager) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS_OF_OTHERS", 3)
    tokens = TokenTree(private_key=KEY)
    for number in range(4):
        tokens.add(b"%d" % number)
    data = tokens.serialize_public()
    assert own.substantiate(KEY.pub(), b"", data[:256], b"", b"")[0]
    correct, pseudonym = own.substantiate(KEY.pub(), b"", data[256:], b"", b"")
    assert not correct
    assert len(pseudonym.tree.elements) == 2


def test_keys_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch, own: IdentityManager) -> None:
    monkeypatch.setattr(module, "MAX_PSEUDONYMS", 3)
    mine = own.get_pseudonym(KEY)
    tokens = TokenTree(private_key=AUTHORITY)
    token = tokens.add(b"content")
    own.substantiate(AUTHORITY.pub(), b"", token.get_plaintext_signed(), b"", b"")
    others = [default_eccrypto.generate_key("curve25519").pub() for _ in range(5)]
    for key in others:
        own.get_pseudonym(key)
    assert own.pseudonyms.keys() == {key.pub().key_to_bin() for key in (KEY, *others[-2:])}
    assert own.get_pseudonym(KEY.pub()) is mine
    assert list(own.get_pseudonym(AUTHORITY.pub()).tree.elements) == [token.get_hash()]


def test_descriptions_and_attestations_of_others_are_bounded(monkeypatch: pytest.MonkeyPatch,
                                                             own: IdentityManager) -> None:
    """Anybody can make descriptions of tokens that do not exist, and attestations in any number of names."""
    monkeypatch.setattr(module, "MAX_METADATA_OF_OTHERS", 3)
    monkeypatch.setattr(module, "MAX_ATTESTATIONS_OF_OTHERS", 2)
    authorities = [default_eccrypto.generate_key("curve25519") for _ in range(3)]
    made = [Metadata(bytes([number]) * 32, b"{}", KEY) for number in range(4)]
    records = [entry.get_plaintext_signed() for entry in made]
    described = [struct.pack(">I", len(record)) + record for record in records]
    attested = [Attestation.create(made[0], key).get_plaintext_signed() for key in authorities]
    named = [struct.pack(">H", 74) + key.pub().key_to_bin() for key in authorities]
    assert own.substantiate(KEY.pub(), b"".join(described[:3]), b"", b"", b"")[0]
    assert not own.substantiate(KEY.pub(), described[3], b"", b"", b"")[0]
    assert own.substantiate(KEY.pub(), b"", b"", b"".join(attested[:2]), b"".join(named[:2]))[0]
    assert not own.substantiate(KEY.pub(), b"", b"", attested[2], named[2])[0]
    assert own.database.count_of(KEY.pub()) == (3, 2)
    pseudonym = own.get_pseudonym(KEY.pub())
    assert pseudonym.add_attestation(authorities[2].pub(), Attestation.create(made[0], authorities[2]))


def test_a_pseudonym_can_sign_once_its_private_key_is_given(own: IdentityManager) -> None:
    public = own.get_pseudonym(KEY.pub())
    with pytest.raises(RuntimeError, match="without a key"):
        public.create_credential(bytes(32), {})
    assert own.get_pseudonym(KEY) is public
    assert public.create_credential(bytes(32), {}) is not None
    assert public.public_key == KEY.pub()


def test_credentials_that_do_not_fit(own: IdentityManager) -> None:
    pseudonym = own.get_pseudonym(KEY)
    tree = TokenTree(private_key=KEY)
    token, stray = tree.add(b"a"), Token(bytes(32), content=b"b", private_key=KEY)
    assert pseudonym.add_credential(stray, Metadata.create(stray, {}, KEY)) is None
    assert pseudonym.add_credential(token, Metadata.create(stray, {}, KEY)) is None
    assert pseudonym.add_credential(token, Metadata.create(token, {}, AUTHORITY)) is None
    assert token.get_hash() in pseudonym.tree.elements
    metadata = Metadata.create(token, {}, KEY)
    good, bad = Attestation.create(metadata, AUTHORITY), Attestation.create(metadata, KEY)
    credential = pseudonym.add_credential(token, metadata, {(AUTHORITY.pub(), good), (AUTHORITY.pub(), bad)})
    assert credential is not None
    assert credential.attestations == {good}
    assert pseudonym.credentials == [credential]
    assert pseudonym.get_credential(metadata).attestations == {good}


def test_disclosing_what_is_not_known_or_not_connected(own: IdentityManager) -> None:
    pseudonym = own.get_pseudonym(KEY)
    stray = Token(bytes(32), content=b"b", private_key=KEY)
    with pytest.raises(KeyError):
        pseudonym.create_disclosure({Metadata.create(stray, {}, KEY)}, set())
    pseudonym.tree.elements[stray.get_hash()] = stray
    with pytest.raises(RuntimeError, match="undisclosable"):
        pseudonym.create_disclosure({Metadata.create(stray, {}, KEY)}, set())


def test_more_than_a_thousand_tokens_can_be_disclosed(own: IdentityManager) -> None:
    pseudonym = own.get_pseudonym(KEY)
    last = None
    for number in range(1100):
        last = pseudonym.tree.add(b"%d" % number, last)
    assert last is not None
    metadata = Metadata.create(last, {"name": "last"}, KEY)
    assert len(pseudonym.create_disclosure({metadata}, set())[1]) == 1100 * 128


def test_the_last_overlay_closes_the_database() -> None:
    manager = IdentityManager()
    manager.retain()
    manager.retain()
    manager.release()
    assert manager.database.execute("SELECT 1") is not None
    manager.release()
    assert manager.database.execute("SELECT 1") is None
