"""Datagrams, identities and frames of sessions, as bytes (doc/protocol/sessions.md sections 3 to 5)."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ipv8.messaging.session import wire
from ipv8.messaging.session.channel import padded
from ipv8.messaging.session.wire import Frame, Identity, MalformedError, frames, join_frames

FRAMES = st.lists(st.tuples(st.sampled_from(sorted(Frame.ALL)), st.binary(max_size=40)), min_size=1, max_size=6)
IDENTITIES = st.builds(Identity, st.integers(0, 65535), st.binary(min_size=4, max_size=4), st.binary(max_size=512),
                       st.binary(max_size=80))


@given(FRAMES)
def test_frames_come_back(parts: list[tuple[int, bytes]]) -> None:
    plaintext = join_frames([bytes((kind,)) + content for kind, content in parts])
    assert list(frames(plaintext)) == parts


@given(FRAMES, st.data())
def test_truncated_frames_are_a_part_or_malformed(parts: list[tuple[int, bytes]], data: st.DataObject) -> None:
    plaintext = join_frames([bytes((kind,)) + content for kind, content in parts])
    cut = plaintext[: data.draw(st.integers(0, len(plaintext) - 1))]
    try:
        found = list(frames(cut))
    except MalformedError:
        return
    assert found[:-1] == parts[: max(0, len(found) - 1)]


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_malformed(plaintext: bytes) -> None:
    try:
        found = list(frames(plaintext))
    except MalformedError:
        return
    assert sum(1 + len(content) for _, content in found) <= len(plaintext)


def test_an_unknown_frame_is_the_last_one() -> None:
    plaintext = join_frames([b"\x7funknown", bytes((Frame.PING,)) + bytes(8)])
    assert list(frames(plaintext)) == [(0x7F, b"unknown")]


@given(IDENTITIES)
def test_identities_come_back(identity: Identity) -> None:
    read, rest = Identity.read(identity.binary)
    assert (read.flags, read.own_index, read.public_key, rest) == (
        identity.flags, identity.own_index, identity.public_key, identity.signature)
    assert read.signed == identity.signed


@given(IDENTITIES, st.data())
def test_truncated_identities_are_malformed(identity: Identity, data: st.DataObject) -> None:
    cut = identity.signed[: data.draw(st.integers(0, len(identity.signed) - 1))]
    with pytest.raises(MalformedError):
        Identity.read(cut)


@given(st.binary(max_size=700))
def test_any_bytes_are_an_identity_or_malformed(data: bytes) -> None:
    try:
        identity, rest = Identity.read(data)
    except MalformedError:
        return
    assert identity.signed + rest == data


@pytest.mark.parametrize("size", [513, 65535])
def test_keys_of_identities_are_limited(size: int) -> None:
    with pytest.raises(MalformedError):
        Identity.read(Identity(0, b"abcd", bytes(size), b"").binary)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=4, max_size=4), st.binary(max_size=100))
def test_the_checksum_of_an_init_is_for_one_key(ephemeral: bytes, index: bytes, target: bytes) -> None:
    init = wire.write_init(index, ephemeral, wire.mac_key(target))
    assert len(init) == wire.INIT_SIZE
    assert wire.is_for(init, wire.mac_key(target))
    assert not wire.is_for(init, wire.mac_key(target + b"x"))


@given(st.binary(min_size=1, max_size=600), st.sampled_from([16, 64, 256]))
def test_padding(content: bytes, multiple: int) -> None:
    plaintext = bytes((Frame.MESSAGE,)) + content
    made = padded(plaintext, multiple)
    assert len(made) % multiple == 0
    assert next(frames(made)) == (Frame.MESSAGE, content)
    assert all(kind == Frame.PAD for kind, _ in list(frames(made))[1:])
