"""Blocks that build several hops in one pass, and the answers to them."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization import build
from ipv8.messaging.anonymization.build import Answer, PlannedHop, Step
from ipv8.messaging.anonymization.handshake import CryptoException, accept, complete, derive_keys, seal_candidates
from ipv8.messaging.anonymization.session_keys import SessionKeys

ADDRESSES = [UDPv4Address("1.2.3.4", 1), UDPv6Address("2001:db8::1", 65535), UDPv4Address("5.6.7.8", 2),
             UDPv4Address("9.9.9.9", 3)]
KEYS = [default_eccrypto.generate_key("curve25519") for _ in range(12)]


class Path:
    """A path of some hops, with the keys of all sides."""

    def __init__(self, length: int) -> None:
        self.identities = KEYS[:length]
        self.ephemerals = KEYS[4:4 + length]
        self.answering = KEYS[8:8 + length]
        self.plan = [
            PlannedHop(identity.pub().key_to_bin(), address, ephemeral.get_crypt_pk(),
                       ephemeral.diffie_hellman(identity.get_crypt_pk()))
            for identity, ephemeral, address in zip(self.identities, self.ephemerals, ADDRESSES, strict=False)]

    def read(self, number: int, half: bytes, block: bytes) -> Step | None:
        """What a hop finds in its block."""
        identity = self.identities[number]
        return build.read_block(identity.diffie_hellman(half), half, identity.pub().key_to_bin(), block)

    def answer(self, number: int, following: Answer | None) -> Answer:
        """What a hop answers."""
        half = self.answering[number].get_crypt_pk()
        secret, auth = accept(self.plan[number].half, self.answering[number], half, self.identities[number])
        keys = derive_keys(secret)
        return Answer(half, auth, build.seal_answer(keys, secret, 5, following, os.urandom(build.TAIL_SIZE)))

    def check(self, number: int, answer: Answer) -> tuple[SessionKeys, Any, Answer | None]:
        """What the builder makes of the answer of a hop."""
        secret = complete(self.ephemerals[number], answer.key, answer.auth, self.identities[number].get_crypt_pk())
        keys = derive_keys(secret)
        return keys, *build.open_answer(keys, secret, answer.sealed)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_each_hop_learns_the_next_one(length: int) -> None:
    path = Path(length)
    block, half = build.make_block(path.plan, os.urandom(build.BLOCK_SIZE)), path.plan[0].half
    for number, following in enumerate(path.plan[1:]):
        assert len(block) == build.BLOCK_SIZE
        for other in range(length):
            if other != number:
                assert path.read(other, half, block) is None
        step = path.read(number, half, block)
        assert step is not None
        assert step[:3] == (following.public_key, following.address, following.half)
        assert type(step.address) is type(following.address)
        assert step.wait == length - 1 - number
        block, half = step.block, step.half
    assert len(block) == build.BLOCK_SIZE
    assert path.read(length - 1, half, block) is None


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_block_is_for_two_to_four_hops(length: int) -> None:
    with pytest.raises(ValueError, match="2 to 4 hops"):
        build.make_block((Path(4).plan * 2)[:length], bytes(build.BLOCK_SIZE))


def test_a_changed_block_builds_nothing() -> None:
    path = Path(3)
    block = build.make_block(path.plan, os.urandom(build.BLOCK_SIZE))
    for position in range(build.BLOCK_SIZE):
        changed = bytearray(block)
        changed[position] ^= 1
        assert path.read(0, path.plan[0].half, bytes(changed)) is None
        assert path.read(0, path.plan[0].half, block[:position]) is None


def test_a_key_for_another_address_family_or_none() -> None:
    path = Path(2)
    broken = [path.plan[0], path.plan[1]._replace(address=("not an address", 1))]
    with pytest.raises(OSError):  # noqa: PT011 - that of the conversion
        build.make_block(broken, bytes(build.BLOCK_SIZE))


@settings(max_examples=30)
@given(st.binary(max_size=build.BLOCK_SIZE + 5))
def test_any_bytes_as_a_block(data: bytes) -> None:
    assert Path(2).read(0, KEYS[0].get_crypt_pk(), data) is None
    block = build.block_of(data)
    assert block in {b"", data[:build.BLOCK_SIZE]}
    assert len(block) in {0, build.BLOCK_SIZE}


@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("reached", [1, 2, 3, 4])
def test_answers(length: int, reached: int) -> None:
    """All hops that were reached prove themselves; then there are random bytes, or nothing."""
    reached = min(reached, length)
    path = Path(length)
    answer: Answer | None = None
    for number in reversed(range(reached)):
        answer = path.answer(number, answer)
        assert len(answer.sealed) == build.PROOF_SIZE + build.TAIL_SIZE
    for number in range(reached):
        assert answer is not None
        keys, candidates, answer = path.check(number, answer)
        assert candidates == []
        assert isinstance(keys, SessionKeys)
    if reached == build.MAX_BUILT_HOPS:
        assert answer is None
    elif reached < length:
        assert answer is not None
        with pytest.raises(CryptoException):
            path.check(reached, answer)


def test_the_answer_of_a_node_that_knows_no_blocks() -> None:
    path = Path(2)
    half = path.answering[0].get_crypt_pk()
    secret, auth = accept(path.plan[0].half, path.answering[0], half, path.identities[0])
    sealed = seal_candidates(derive_keys(secret), 2, [b"relay"])
    assert path.check(0, Answer(half, auth, sealed))[1:] == ([b"relay"], None)


@pytest.mark.parametrize("length", range(0, build.PROOF_SIZE + build.TAIL_SIZE, 7))
def test_answers_that_are_cut_off(length: int) -> None:
    path = Path(2)
    answer = path.answer(0, path.answer(1, None))
    short = answer._replace(sealed=answer.sealed[:length])
    if length < build.PROOF_SIZE:
        with pytest.raises(CryptoException):
            path.check(0, short)
    else:
        _, candidates, following = path.check(0, short)
        assert candidates == []
        assert (following is None) == (length < build.PROOF_SIZE + build.SLOT_SIZE)


def test_an_impostor_in_the_middle_does_not_get_through() -> None:
    path = Path(2)
    path.identities = [KEYS[0], KEYS[3]]  # the second hop is somebody else
    following = path.answer(1, None)
    answer = path.answer(0, following)
    path.identities = [KEYS[0], KEYS[1]]
    _, _, read = path.check(0, answer)
    assert read is not None
    with pytest.raises(CryptoException):
        path.check(1, read)


def test_sizes() -> None:
    create = 1 + 2 + 2 + 74 + 2 + 32
    assert create + 19 + build.BLOCK_SIZE == build.CONTROL_SIZE
    assert len(build.pad(bytes(10))) == build.CONTROL_SIZE
    assert build.pad(bytes(600)) == bytes(600)
