"""Session keys that are also made of ML-KEM-768."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.keyvault import ml_kem
from ipv8.messaging.anonymization import hybrid
from ipv8.messaging.anonymization.hybrid import OFFER, REPLY, Offer, Parts, read_part, reply_to
from ipv8.messaging.anonymization.session_keys import BACKWARD, FORWARD, CryptoException, SessionKeys
from tests.messaging.anonymization.helpers import numbered_keys

needs_ml_kem = pytest.mark.skipif(not ml_kem.is_available(), reason="cryptography has no ML-KEM-768")


PUBLIC_KEY = bytes(range(148)) * 8
CIPHERTEXT = bytes(range(136)) * 8


class PrivateKey:
    """A key encapsulation of the right sizes, for where there is no real one."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return ciphertext[:32]


KEM = (PrivateKey(), PUBLIC_KEY)
ENCAPSULATED = (CIPHERTEXT[:32], CIPHERTEXT)


def agree(ours: SessionKeys, theirs: SessionKeys, kem: Any = None, encapsulated: Any = None) -> Any:
    """The new keys of both sides."""
    offer = Offer(ours, kem)
    parts = Parts(read_part(offer.messages[0]).name)
    public_key = [parts.add(read_part(message)) for message in offer.messages][-1]
    assert public_key is not None
    newer, reply = reply_to(theirs, parts.name, public_key, encapsulated)
    results = [offer.receive(read_part(message)) for message in reply]
    assert results[0] is None
    return results[1], newer


def test_agreement() -> None:
    newer, theirs = agree(numbered_keys(1), numbered_keys(1), KEM, ENCAPSULATED)
    for name in ("key_forward", "key_backward", "salt_forward", "salt_backward"):
        assert getattr(newer, name) == getattr(theirs, name) != getattr(numbered_keys(1), name)
    other, _ = agree(numbered_keys(2), numbered_keys(2), KEM, ENCAPSULATED)
    assert other.key_forward != newer.key_forward, "the old keys count"


@needs_ml_kem
def test_agreement_with_ml_kem() -> None:
    newer, theirs = agree(numbered_keys(1), numbered_keys(1))
    assert theirs.decrypt_str(newer.encrypt_str(b"x", FORWARD), FORWARD) == b"x"
    again, _ = agree(numbered_keys(1), numbered_keys(1))
    assert again.key_forward != newer.key_forward


@needs_ml_kem
def test_bytes_that_are_no_key() -> None:
    wrong = b"\xff" * ml_kem.PUBLIC_KEY_SIZE
    offer = Offer(numbered_keys(1))
    with pytest.raises(CryptoException, match="not of one offer"):
        reply_to(numbered_keys(1), read_part(offer.messages[0]).name, wrong)
    with pytest.raises(CryptoException):
        reply_to(numbered_keys(1), sha256(wrong).digest()[:8], wrong)


def test_parts_in_any_order_and_again() -> None:
    offer = Offer(numbered_keys(1), KEM)
    first, second = (read_part(message) for message in offer.messages)
    parts = Parts(first.name)
    assert parts.add(second) is None
    assert parts.add(second._replace(content=b"other")) is None
    assert parts.add(first) == PUBLIC_KEY


def test_replies_to_other_offers() -> None:
    offer = Offer(numbered_keys(1), KEM)
    name = read_part(offer.messages[0]).name
    _, reply = reply_to(numbered_keys(1), name, PUBLIC_KEY, ENCAPSULATED)
    for part in map(read_part, reply):
        assert offer.receive(part._replace(name=bytes(8))) is None
        assert offer.receive(part._replace(msg_id=OFFER)) is None
    assert offer.receive(read_part(reply[0])) is None
    assert offer.receive(read_part(reply[1])) is not None


@given(st.binary(max_size=620), st.sampled_from([OFFER, REPLY, hybrid.DONE, 0]))
def test_any_bytes(data: bytes, msg_id: int) -> None:
    try:
        part = read_part(bytes([msg_id]) + data)
    except CryptoException:
        return
    assert part.msg_id in {OFFER, REPLY}
    assert part.number in {0, 1}


def test_parts_cut_off_and_lengthened() -> None:
    for message in Offer(numbered_keys(1), KEM).messages:
        for stop in range(len(message)):
            with pytest.raises(CryptoException):
                read_part(message[:stop])
        assert read_part(message + b"padding") == read_part(message)


def test_change_of_keys() -> None:
    """Nothing that is on its way is lost, and the old keys are worth nothing in the end."""
    origin, hop = numbered_keys(1), numbered_keys(1)
    forward, backward = origin.forward.seal(b"old forward"), hop.backward.seal(b"old backward")
    old_origin, old_hop = origin.forward, hop.backward
    newer = numbered_keys(2), numbered_keys(2)
    hop.change(newer[0], is_builder=False)
    assert hop.backward is old_hop, "the hop goes on with its keys until the builder shows that it has the new ones"
    origin.change(newer[1], is_builder=True)
    assert hop.forward.open(forward) == b"old forward"
    assert origin.backward.open(backward) == b"old backward"
    assert origin.backward.open(hop.backward.seal(b"still old")) == b"still old"
    hop.forget()
    assert hop.forward.open(old_origin.seal(b"not forgotten yet")) == b"not forgotten yet"
    assert hop.forward.open(origin.forward.seal(b"new")) == b"new"
    assert hop.backward is newer[0].backward
    assert origin.backward.open(hop.backward.seal(b"new too")) == b"new too"
    for keys in (origin, hop):
        keys.forget()
    with pytest.raises(CryptoException):
        hop.forward.open(old_origin.seal(b"too late"))
    with pytest.raises(CryptoException):
        origin.backward.open(old_hop.seal(b"too late"))


def test_replays_across_a_change() -> None:
    origin, hop = numbered_keys(1), numbered_keys(1)
    old = origin.forward.seal(b"old")
    hop.forward.open(old)
    hop.change(numbered_keys(2), is_builder=False)
    origin.change(numbered_keys(2), is_builder=True)
    new = origin.forward.seal(b"new")
    hop.forward.open(new)
    for message in (old, new):
        with pytest.raises(CryptoException):
            hop.forward.open(message)
    assert hop.decrypt_str(new, FORWARD) == b"new"
    assert origin.decrypt_str(hop.encrypt_str(b"x", BACKWARD), BACKWARD) == b"x"
