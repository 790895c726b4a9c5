"""Handshakes and rekeys of sessions against tests/vectors/sessions.json (doc/protocol/sessions.md sections 4 and 6)."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.keyvault import ml_kem
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.session import keys, wire
from ipv8.messaging.session.handshake import HalfOpen, Opening, OwnKey
from ipv8.messaging.session.keys import Epoch, RekeyOffer, RekeyReply, Secrets, nonce_of
from ipv8.messaging.session.noise import KeyPair, NoiseError, Transcript

needs_kem = pytest.mark.skipif(not ml_kem.is_available(), reason="cryptography has no ML-KEM-768; install 47 or later")

HANDSHAKES = ["dual keys", "unknown responder", "legacy initiator", "legacy responder", "both have fast AES",
              "with a cookie", "with a cookie, IPv6"]


def bytes_of(text: str) -> bytes:
    return bytes.fromhex(text)


class Keys:
    """Loads every key, as a node without other keys and budgets does."""

    def load(self, public_key: bytes) -> Any:
        return default_eccrypto.key_from_network(public_key)


class SignedBefore:
    """A private key whose signature was made before: those of ECDSA are random."""

    def __init__(self, key: Any, text: bytes, signature: bytes) -> None:
        self.key, self.text, self.made = key, text, signature

    def pub(self) -> Any:
        return self.key.pub()

    def signature(self, text: bytes) -> bytes:
        assert text == self.text
        return self.made


@pytest.fixture(scope="module")
def vectors(load_vectors: Any) -> Any:
    return load_vectors("sessions")


def handshake(vectors: Any, name: str) -> Any:
    return next(vector for vector in vectors["handshakes"] if vector["name"] == name)


def own_key(vector: Any, role: str) -> OwnKey:
    side = vector[role]
    key = default_eccrypto.key_from_private_bin(bytes_of(side["private"]))
    signature = bytes_of(vector["identity_" + role])[9 + len(bytes_of(side["public"])):]
    signer = SignedBefore(key, bytes_of(vector["signed_by_" + role]), signature)
    return OwnKey(signer, KeyPair(bytes_of(side["static"])), side["flags"])  # type: ignore[arg-type]


def opening(vector: Any) -> Opening:
    side = vector["initiator"]
    ephemeral = KeyPair(bytes_of(side["ephemeral"]))
    return Opening(own_key(vector, "initiator"), bytes_of(vector["target"]), bytes_of(side["index"]), ephemeral)


def half_open(vector: Any) -> HalfOpen:
    side = vector["responder"]
    ephemeral = KeyPair(bytes_of(side["ephemeral"]))
    init = bytes_of(vector["init"])
    return HalfOpen(own_key(vector, "responder"), bytes_of(vector["target"]), init, bytes_of(side["index"]), ephemeral)


def test_constants(vectors: Any) -> None:
    constants = vectors["constants"]
    assert bytes_of(constants["service_prefix"]) == wire.SERVICE_PREFIX
    assert bytes_of(constants["label"]) == wire.LABEL
    assert bytes_of(constants["mac1_key_unknown"]) == wire.mac_key(b"")
    assert bytes_of(constants["unknown"]["datagram"]) == wire.write_unknown(bytes_of(constants["unknown"]["index"]))
    for tag in constants["tags"]:
        assert wire.tag_of(bytes_of(tag["prefix"])) == bytes_of(tag["tag"])
    bits = {int(number): int(bit, 16) for number, bit in vectors["capability_bits"].items()}
    assert bits == wire.Capability.BITS


@pytest.mark.parametrize("name", HANDSHAKES)
def test_initiator(vectors: Any, name: str) -> None:
    vector = handshake(vectors, name)
    attempt = opening(vector)
    assert attempt.init == bytes_of(vector["init"])
    opened = attempt.read(bytes_of(vector["response"]), Keys())
    datagram, established = attempt.finish(opened, bytes_of(vector["frames_in_finish"]))
    assert datagram == bytes_of(vector["finish"])
    check(vector, established, "responder")


@pytest.mark.parametrize("name", HANDSHAKES)
def test_responder(vectors: Any, name: str) -> None:
    vector = handshake(vectors, name)
    entry = half_open(vector)
    assert wire.is_for(bytes_of(vector["init"]), bytes_of(vector["mac1_key"]))
    assert entry.response == bytes_of(vector["response"])
    established, frames = entry.read(bytes_of(vector["finish"]), Keys())
    assert frames == bytes_of(vector["frames_in_finish"])
    check(vector, established, "initiator")


def check(vector: Any, established: Any, other: str) -> None:
    assert established.remote.key_to_bin() == bytes_of(vector[other]["public"])
    assert established.remote_flags == vector[other]["flags"]
    assert established.remote_index == bytes_of(vector[other]["index"])
    expected = (bytes_of(vector["k_i"]), bytes_of(vector["k_r"]), bytes_of(vector["chain"]), bytes_of(vector["h"]))
    assert established.secrets == expected
    own = "initiator" if other == "responder" else "responder"
    assert established.cipher(vector[own]["flags"]) == vector["cipher"]
    assert vector["k_i"] not in repr(established)


@pytest.mark.parametrize("name", HANDSHAKES[-2:])
def test_cookies(vectors: Any, name: str) -> None:
    vector = handshake(vectors, name)
    cookie, init = vector["cookie"], bytes_of(vector["init"])
    made = wire.make_cookie(bytes_of(cookie["secret"]), bytes_of(cookie["address"]))
    assert made == bytes_of(cookie["cookie"])
    assert wire.write_cookie(init, made) == bytes_of(cookie["datagram"])
    again = wire.with_cookie(init, made)
    assert again == bytes_of(cookie["init_again"])
    assert wire.has_cookie(again, made)
    assert not wire.has_cookie(init, made)
    assert not wire.has_cookie(again, bytes(16))


def test_refused(vectors: Any) -> None:
    vector = handshake(vectors, vectors["refused"]["handshake"])
    for case in vectors["refused"]["datagrams"]:
        datagram = bytes_of(case["datagram"])
        if case["instead_of"] == "init":
            assert refuses_init(vector, datagram), case["why"]
        elif case["instead_of"] == "response":
            attempt = opening(vector)
            if "unknown receiver" not in case["why"]:
                with pytest.raises(ValueError, match=r"."):
                    attempt.read(datagram, Keys())
            else:
                assert datagram[27:31] != attempt.index
            attempt.read(bytes_of(vector["response"]), Keys())
        else:
            entry = half_open(vector)
            if "unknown receiver" not in case["why"]:
                with pytest.raises(ValueError, match=r"."):
                    entry.read(datagram, Keys())
            else:
                assert datagram[23:27] != entry.index
            entry.read(bytes_of(vector["finish"]), Keys())


def refuses_init(vector: Any, datagram: bytes) -> bool:
    if len(datagram) != wire.INIT_SIZE or not wire.is_for(datagram, bytes_of(vector["mac1_key"])):
        return True
    try:
        half_open({**vector, "init": datagram.hex()})
    except NoiseError:
        return True
    return False


def test_misused(vectors: Any) -> None:
    """RESPONSEs of a side that has the keys of the handshake and says something else than it should."""
    own = own_key(handshake(vectors, "dual keys"), "initiator")
    for case in vectors["misused"]:
        mine = OwnKey(own.key, KeyPair(bytes_of(case["static_initiator"])), 3)
        ephemeral = KeyPair(bytes_of(case["ephemeral_initiator"]))
        attempt = Opening(mine, bytes_of(case["expected"]), bytes_of(case["index_initiator"]), ephemeral)
        with pytest.raises(ValueError, match=r"."):
            attempt.read(bytes_of(case["response"]), Keys())


def epochs(vectors: Any, name: str) -> tuple[Epoch, Epoch]:
    """The first epoch of a handshake, of the initiator and of the responder."""
    vector = handshake(vectors, name)
    secrets = Secrets(*(bytes_of(vector[key]) for key in ("k_i", "k_r", "chain", "h")))
    mine, other = (bytes_of(vector[role]["index"]) for role in ("initiator", "responder"))
    cipher = vector["cipher"]
    return Epoch(0, secrets, True, cipher, mine, other, 0.0), Epoch(0, secrets, False, cipher, other, mine, 0.0)


def check_datagrams(datagrams: Any, initiator: Epoch, responder: Epoch) -> None:
    for item in datagrams:
        sender, receiver = (initiator, responder) if item["from"] == "initiator" else (responder, initiator)
        expected, plaintext = bytes_of(item["datagram"]), bytes_of(item["plaintext"])
        assert sender.seal(item["counter"], plaintext) == expected
        assert receiver.open(keys.nonce_of(expected), expected[wire.DATA_HEADER :], None) == plaintext


def test_transport(vectors: Any) -> None:
    for run in vectors["transport"]:
        check_datagrams(run["datagrams"], *epochs(vectors, run["handshake"]))


def rekeyed(vector: Any, initiator: Epoch, responder: Epoch) -> tuple[Epoch, Epoch]:
    kem = vector["kem"] if vector["hybrid"] else None
    private = None if kem is None else ml_kem.make_key(bytes_of(kem["seed"]))
    ephemeral = KeyPair(bytes_of(vector["ephemeral_initiator"]))
    offer = RekeyOffer(initiator, bytes_of(vector["index_i"]), ephemeral, private)
    assert offer.message == bytes_of(vector["noise1"])
    reply = RekeyReply(responder, offer.message)
    assert reply.remote_index == bytes_of(vector["index_i"])
    assert reply.is_hybrid == vector["hybrid"]
    shared, ciphertext = b"", b""
    if kem is not None:
        assert offer.ek == bytes_of(kem["ek"])
        assert reply.fits(offer.ek)
        assert not reply.fits(offer.ek[::-1])
        shared, ciphertext = bytes_of(kem["shared"]), bytes_of(kem["ct"])
    ephemeral = KeyPair(bytes_of(vector["ephemeral_responder"]))
    message, _, secrets = reply.finish_with(bytes_of(vector["index_r"]), ephemeral, shared, ciphertext)
    assert message == bytes_of(vector["noise2"])
    index, same = offer.accept(message, ciphertext)
    assert index == bytes_of(vector["index_r"])
    assert secrets == same == tuple(bytes_of(vector[key]) for key in ("k_i", "k_r", "chain", "h"))
    cipher, number = vector["cipher"], vector["epoch"]
    return (Epoch(number, secrets, True, cipher, offer.index, index, 0.0),
            Epoch(number, secrets, False, cipher, index, offer.index, 0.0))


@needs_kem
def test_rekeys(vectors: Any) -> None:
    known: dict[str, tuple[Epoch, Epoch]] = {}
    for vector in vectors["rekeys"]:
        former = known.get(vector["of"]) or epochs(vectors, vector["of"])
        *first, last = vector["datagrams"]
        check_datagrams(first, *former)
        known[vector["name"]] = rekeyed(vector, *former)
        check_datagrams([last], *known[vector["name"]])


def test_many_frames_are_sealed_as_each_of_them(vectors: Any) -> None:
    one, _ = epochs(vectors, "dual keys")
    many, other = epochs(vectors, "dual keys")
    contents = [b"first", b"", bytes(1200)]
    datagrams = many.seal_many(7, b"\x20", contents)
    assert datagrams == [one.seal(number, b"\x20" + content) for number, content in enumerate(contents, 7)]
    assert one.sent == many.sent == 3
    for datagram, content in zip(datagrams, contents, strict=True):
        assert other.open(nonce_of(datagram), datagram[wire.DATA_HEADER:], None) == b"\x20" + content


@needs_kem
def test_hybrid_rekey_with_another_ciphertext_is_refused(vectors: Any) -> None:
    initiator, responder = epochs(vectors, "dual keys")
    offer = RekeyOffer(initiator, b"aaaa", KeyPair(bytes(range(32))), ml_kem.make_key())
    reply = RekeyReply(responder, offer.message)
    message, ciphertext, _ = reply.finish(b"bbbb", KeyPair(bytes(range(1, 33))), offer.ek)
    with pytest.raises(ValueError, match=r"."):
        offer.accept(message, ciphertext[::-1])
    offer.accept(message, ciphertext)


def test_an_offer_for_another_epoch_is_refused(vectors: Any) -> None:
    initiator, responder = epochs(vectors, "dual keys")
    offer = RekeyOffer(initiator, b"aaaa", KeyPair(bytes(range(32))), None)
    responder.number += 1
    with pytest.raises(NoiseError):
        RekeyReply(responder, offer.message)


def test_transcripts_do_not_change() -> None:
    start = Transcript.begin(b"name", b"prologue")
    keyed = start.mix_key(b"secret")
    sealed, after = keyed.seal(b"payload")
    assert keyed.counter == 0
    assert after.counter == 1
    assert keyed.open(sealed) == (b"payload", after)
    with pytest.raises(NoiseError):
        after.open(sealed)
