"""Layers of encryption: nonces, and what is opened only once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.anonymization.handshake import seal_candidates
from ipv8.messaging.anonymization.onion import ForeignLayer, layer_of
from ipv8.messaging.anonymization.session_keys import (
    BACKWARD,
    FORWARD,
    LAST_COUNTER,
    MAX_RESTARTS,
    REPLAY_WINDOW,
    REPLAYED,
    RESTART_LIMIT,
    CryptoException,
    Layer,
)
from tests.messaging.anonymization.helpers import numbered_keys


def pair() -> tuple[Layer, Layer]:
    """The two ends of a layer."""
    return numbered_keys(1).forward, numbered_keys(1).forward


def test_both_ends() -> None:
    here, there = numbered_keys(1), numbered_keys(1)
    for direction in (FORWARD, BACKWARD, 7):
        assert there.decrypt_str(here.encrypt_str(b"hello", direction), direction) == b"hello"
    assert (here.salt_explicit_forward, here.salt_explicit_backward) == (2, 3)
    with pytest.raises(CryptoException):
        there.decrypt_str(here.encrypt_str(b"hello", FORWARD), BACKWARD)


def test_attributes_can_be_assigned() -> None:
    here, there = numbered_keys(1), numbered_keys(2)
    for name in ("key_forward", "key_backward", "salt_forward", "salt_backward", "salt_explicit_forward",
                 "salt_explicit_backward"):
        setattr(here, name, getattr(there, name))
        assert getattr(here, name) == getattr(there, name)
    for direction in (FORWARD, BACKWARD):
        assert there.decrypt_str(here.encrypt_str(b"hello", direction), direction) == b"hello"


def test_no_nonce_is_used_twice() -> None:
    sender, _ = pair()
    sealed = [sender.seal(b"same") for _ in range(100)]
    assert len({message[:8] for message in sealed}) == 100
    sender.counter = LAST_COUNTER - 1
    sender.seal(b"last")
    with pytest.raises(CryptoException, match="all counters"):
        sender.seal(b"one more")


def test_a_message_opens_once() -> None:
    sender, receiver = pair()
    messages = [sender.seal(bytes([n])) for n in range(200)]
    assert [receiver.open(message) for message in messages] == [bytes([n]) for n in range(200)]
    for message in messages:
        with pytest.raises(CryptoException) as caught:
            receiver.open(message)
        assert caught.value.reason == "replayed"


@pytest.mark.parametrize("start", [1, RESTART_LIMIT - 5, 1 << 30, LAST_COUNTER - 300])
def test_any_order(start: int) -> None:
    sender, receiver = pair()
    sender.counter = start
    messages = [sender.seal(bytes([n])) for n in range(250)]
    for number in [*range(0, 250, 2), *range(249, 0, -2)]:
        assert receiver.open(messages[number]) == bytes([number])
    for message in messages:
        with pytest.raises(CryptoException):
            receiver.open(message)


def test_what_is_too_old_is_refused() -> None:
    sender, receiver = pair()
    sender.counter = 1000
    messages = [sender.seal(b"") for _ in range(REPLAY_WINDOW + 1)]
    receiver.open(messages[-1])
    with pytest.raises(CryptoException):
        receiver.open(messages[0])
    assert receiver.open(messages[1]) == b""


def test_a_jump_beyond_the_window() -> None:
    sender, receiver = pair()
    receiver.open(sender.seal(b"low"))
    sender.counter = 1 << 40
    high = sender.seal(b"high")
    assert receiver.open(high) == b"high"
    with pytest.raises(CryptoException):
        receiver.open(high)


def test_a_sender_may_start_again_while_its_counters_are_low() -> None:
    receiver = numbered_keys(1).forward
    messages = []
    for restart in range(MAX_RESTARTS):
        sender = numbered_keys(1).forward
        messages.append(sender.seal(bytes([restart])))
        assert receiver.open(messages[-1]) == bytes([restart])
    for message in messages:
        with pytest.raises(CryptoException):
            receiver.open(message)
    with pytest.raises(CryptoException):
        receiver.open(numbered_keys(1).forward.seal(b"once more"))


def test_no_sender_may_start_again_later() -> None:
    sender, receiver = pair()
    sender.counter = RESTART_LIMIT
    receiver.open(sender.seal(b""))
    again = numbered_keys(1).forward
    again.counter = RESTART_LIMIT
    with pytest.raises(CryptoException):
        receiver.open(again.seal(b"other"))


def test_the_counters_of_rust_origins() -> None:
    """They begin again with each hop that they add: 2, 2, 2, 3, 4, …"""
    receiver = numbered_keys(1).forward
    for number, counter in enumerate((1, 1, 1, 2, 3)):
        sender = numbered_keys(1).forward
        sender.counter = counter
        assert receiver.open(sender.seal(bytes([number]))) == bytes([number])


@pytest.mark.parametrize("received", [0, 5])
def test_what_a_node_sealed_itself_with_the_key_of_the_other_side_does_not_open(received: int) -> None:
    """Anybody on the way of a created message can send its list of candidates back."""
    joined = numbered_keys(1)
    sealed = seal_candidates(joined, 12345, [])
    sender = numbered_keys(1).forward
    for _ in range(received):
        joined.forward.open(sender.seal(b"before"))
    with pytest.raises(CryptoException) as raised:
        joined.forward.open(sealed)
    assert raised.value.reason == REPLAYED
    assert joined.forward.open(sender.seal(b"genuine")) == b"genuine"
    sender.counter = LAST_COUNTER - 1
    assert joined.forward.open(sender.seal(b"the last one")) == b"the last one"


@pytest.mark.parametrize("is_newer", [True, False])
def test_replays_are_told_as_such_while_two_keys_are_accepted(is_newer: bool) -> None:
    receiver = numbered_keys(1)
    receiver.change(numbered_keys(2), is_builder=False)
    sender = numbered_keys(1 + is_newer).forward
    message = sender.seal(b"once")
    assert receiver.forward.open(message) == b"once"
    with pytest.raises(CryptoException) as raised:
        receiver.forward.open(message)
    assert raised.value.reason == REPLAYED


def test_forgeries_change_nothing() -> None:
    sender, receiver = pair()
    genuine = sender.seal(b"genuine")
    forged = (LAST_COUNTER).to_bytes(8, "big") + genuine[8:]
    for message in (forged, genuine[:-1] + bytes([genuine[-1] ^ 1])):
        with pytest.raises(CryptoException) as caught:
            receiver.open(message)
        assert caught.value.reason == "not_authentic"
    assert receiver.open(genuine) == b"genuine"


@settings(max_examples=50)
@given(st.binary(max_size=60), st.data())
def test_what_was_changed_does_not_open(content: bytes, data: Any) -> None:
    sender, receiver = pair()
    sealed = sender.seal(content)
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(changed), sealed[:position], sealed + b"\0"):
        with pytest.raises(CryptoException):
            receiver.open(wrong)
        with pytest.raises(CryptoException):
            receiver.open_again(wrong)
    assert receiver.open_again(sealed) == receiver.open(sealed) == receiver.open_again(sealed) == content


@given(st.lists(st.integers(0, 300), max_size=60))
def test_each_counter_is_accepted_once(order: list[int]) -> None:
    sender, receiver = pair()
    sender.counter = RESTART_LIMIT + 1
    messages = [sender.seal(b"") for _ in range(301)]
    seen = set()
    for number in order:
        if number in seen:
            with pytest.raises(CryptoException):
                receiver.open(messages[number])
        else:
            receiver.open(messages[number])
        seen.add(number)


@given(st.lists(st.one_of(st.just(1), st.integers(-8, 8), st.sampled_from((-REPLAY_WINDOW, 1 - REPLAY_WINDOW,
                                                                            REPLAY_WINDOW - 1, REPLAY_WINDOW, 5000))),
                max_size=60))
def test_steps_of_any_size(steps: list[int]) -> None:
    sender, receiver = pair()
    highest = position = 10_000
    receiver.open(sender.seal_at(position, b""))
    seen = {position}
    for step in steps:
        position = max(RESTART_LIMIT + 1, position + step)
        sealed = sender.seal_at(position, b"x")
        if position in seen or position <= highest - REPLAY_WINDOW:
            with pytest.raises(CryptoException) as caught:
                receiver.open(sealed)
            assert caught.value.reason == "replayed"
        else:
            assert receiver.open(sealed) == b"x"
            seen.add(position)
        highest = max(highest, position)


class ForeignKeys:
    """Session keys as another library has them: with its own errors."""

    def encrypt_str(self, content: bytes, direction: int) -> bytes:
        return bytes([direction]) + content

    def decrypt_str(self, content: bytes, direction: int) -> bytes:
        if content[:1] != bytes([direction]):
            raise RuntimeError("bad tag")
        return content[1:]


def test_session_keys_of_another_library() -> None:
    forward, backward = layer_of(ForeignKeys(), FORWARD), layer_of(ForeignKeys(), BACKWARD)
    assert isinstance(forward, ForeignLayer)
    assert forward.open(forward.seal(b"x")) == b"x"
    with pytest.raises(CryptoException, match="bad tag"):
        forward.open(backward.seal(b"x"))
    with pytest.raises(CryptoException, match="no keys") as caught:
        layer_of(None, FORWARD)
    assert caught.value.reason == "no_keys"
