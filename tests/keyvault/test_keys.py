"""What holds for keys of every kind."""

from __future__ import annotations

import copy
import pickle
from abc import ABC

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.keyvault.keys import Key, PrivateKey, PublicKey
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK

KINDS = ["curve25519", "very-low", "low", "medium", "high"]


@pytest.fixture(scope="module", params=KINDS)
def private(request: pytest.FixtureRequest) -> PrivateKey:
    return default_eccrypto.generate_key(request.param)


def test_a_private_key_is_also_a_public_one(private: PrivateKey) -> None:
    assert [c.__name__ for c in OpenSSLSK.__mro__] == [
        "OpenSSLSK", "PrivateKey", "OpenSSLPK", "PublicKey", "Key", "ABC", "object"
    ]
    assert isinstance(private, OpenSSLSK)
    assert issubclass(Key, ABC)
    assert private.has_secret_key()
    signature = private.signature(b"message")
    assert len(signature) == private.get_signature_length()
    assert private.verify(signature, b"message")
    assert default_eccrypto.is_valid_signature(private, b"message", signature)
    assert not private.verify(signature, b"another")


def test_the_public_key_is_made_once(private: PrivateKey) -> None:
    public = private.pub()
    assert public is private.pub()
    assert public.pub() is public
    assert not public.has_secret_key()
    assert not isinstance(public, PrivateKey)
    assert public.key_to_hash() == private.key_to_hash()
    assert len(public.key_to_hash()) == 20


def test_equality_is_of_content_and_kind(private: PrivateKey) -> None:
    public = private.pub()
    loaded = OpenSSLPK(public.key_to_bin())
    assert public == loaded
    assert hash(public) == hash(loaded)
    assert private == OpenSSLSK(private.key_to_bin())
    assert private != public
    assert public != private
    assert public != default_eccrypto.generate_key("curve25519").pub()
    assert public != public.key_to_bin()
    assert len({private, public, loaded}) == 2


def test_the_representation_shows_the_member_id_only(private: PrivateKey) -> None:
    assert repr(private) == f"<OpenSSLSK mid={private.key_to_hash().hex()}>"
    assert repr(private.pub()) == f"<OpenSSLPK mid={private.key_to_hash().hex()}>"


def test_public_keys_are_pickled(private: PrivateKey) -> None:
    copied = pickle.loads(pickle.dumps(private.pub()))
    assert type(copied) is OpenSSLPK
    assert copied == private.pub()
    assert copied.verify(private.signature(b"message"), b"message")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_keys_are_not_pickled(private: PrivateKey, protocol: int) -> None:
    with pytest.raises(TypeError, match="private keys are not pickled"):
        pickle.dumps(private, protocol)


def test_copies_are_the_key_itself(private: PrivateKey) -> None:
    assert copy.copy(private) is private
    assert copy.deepcopy([private])[0] is private
    assert copy.deepcopy(private.pub()) is private.pub()


def test_only_curve25519_is_cheap(private: PrivateKey) -> None:
    public = private.pub()
    assert public.is_costly == (public.curve_name() != "curve25519")


class StrangerPK(PublicKey):
    """A public key class of a user, with the members of its base class only."""

    def key_to_bin(self) -> bytes:
        return b"stranger"

    def verify(self, signature: bytes, msg: bytes) -> bool:
        return signature == msg

    def get_signature_length(self) -> int:
        return 4

    def get_crypt_pk(self) -> bytes:
        return bytes(32)

    def curve_name(self) -> str:
        return "strange"


class StrangerSK(PrivateKey):
    """A private key class of a user."""

    def pub(self) -> PublicKey:
        return StrangerPK()

    def key_to_bin(self) -> bytes:
        return b"secret"

    def signature(self, msg: bytes) -> bytes:
        return msg

    def diffie_hellman(self, peer_public_key: bytes) -> bytes:
        return peer_public_key

    def get_crypt_pk(self) -> bytes:
        return bytes(32)


def test_users_may_bring_their_own_classes() -> None:
    private, public = StrangerSK(), StrangerPK()
    assert private.key_to_hash() == public.key_to_hash()
    assert public == StrangerPK()
    assert private == StrangerSK()
    assert private != public
    assert public.is_costly
    assert public.pub() is public
    assert private.has_secret_key()
    assert not public.has_secret_key()
    with pytest.raises(TypeError):
        pickle.dumps(private)


@pytest.mark.parametrize("interface", [Key, PrivateKey, PublicKey])
def test_the_interfaces_are_abstract(interface: type[Key]) -> None:
    with pytest.raises(TypeError):
        interface()
