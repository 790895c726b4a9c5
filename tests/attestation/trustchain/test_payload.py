"""The messages of TrustChain on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.attestation.trustchain import payload as payloads
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import PackError, default_serializer
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, VECTORS

CLASSES = {cls.msg_id: cls for cls in (
    payloads.HalfBlockPayload, payloads.CrawlRequestPayload, payloads.CrawlResponsePayload,
    payloads.HalfBlockPairPayload, payloads.HalfBlockBroadcastPayload, payloads.HalfBlockPairBroadcastPayload,
    payloads.EmptyCrawlResponsePayload)}

BLOCK_FIELDS = (st.binary(min_size=74, max_size=74), st.integers(0, 2 ** 32 - 1), st.binary(min_size=74, max_size=74),
                st.integers(0, 2 ** 32 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64),
                st.binary(max_size=20), st.binary(max_size=100), st.integers(0, 2 ** 64 - 1))
U32 = st.integers(0, 2 ** 32 - 1)
I32 = st.integers(-(2 ** 31), 2 ** 31 - 1)
ALL = st.one_of(
    st.builds(payloads.HalfBlockPayload, *BLOCK_FIELDS),
    st.builds(payloads.CrawlRequestPayload, BLOCK_FIELDS[0], I32, I32, U32),
    st.builds(payloads.CrawlResponsePayload, *BLOCK_FIELDS, U32, U32, U32),
    st.builds(payloads.HalfBlockPairPayload, *BLOCK_FIELDS, *BLOCK_FIELDS),
    st.builds(payloads.HalfBlockBroadcastPayload, *BLOCK_FIELDS, U32),
    st.builds(payloads.HalfBlockPairBroadcastPayload, *BLOCK_FIELDS, *BLOCK_FIELDS, U32),
    st.builds(payloads.EmptyCrawlResponsePayload, U32))


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda vector: f"{vector['network']} {vector['name']}")
def test_vectors(vector: dict[str, Any]) -> None:
    packet, body = bytes.fromhex(vector["packet"]), bytes.fromhex(vector["payload"])
    network = "community_id" if vector["network"] == "main" else "testnet_community_id"
    assert packet.startswith(b"\0\2" + bytes.fromhex(VECTORS["constants"][network]) + bytes((vector["msg_id"],)))
    start, end = 23, len(packet)
    if vector["signed_by"]:
        author, start = default_serializer.unpack_serializable(BinMemberAuthenticationPayload, packet, start)
        assert author.public_key_bin == KEYS[vector["signed_by"]]
        end -= 64
    time, start = default_serializer.unpack_serializable(GlobalTimeDistributionPayload, packet, start)
    assert time.global_time == 42
    assert packet[start:end] == body
    message = default_serializer.unpack_serializable_list([CLASSES[vector["msg_id"]]], body)[0]
    assert default_serializer.pack_serializable(message) == body
    assert default_serializer.pack_serializable(type(message).from_unpack_list(*message._wire_values())) == body


def test_factories() -> None:
    one, other = BLOCKS["a1"], BLOCKS["b1"]
    make: list[Any] = [
        payloads.HalfBlockPayload.from_half_block(one), payloads.HalfBlockBroadcastPayload.from_half_block(one, 3),
        payloads.CrawlResponsePayload.from_crawl(one, 1, 2, 3),
        payloads.HalfBlockPairPayload.from_half_blocks(one, other),
        payloads.HalfBlockPairBroadcastPayload.from_half_blocks(one, other, 3)]
    for message in make[:3]:
        assert TrustChainBlock.from_payload(message) == one
    for message in make[3:]:
        assert TrustChainBlock.from_pair_payload(message) == (one, other)
    assert (make[1].ttl, make[4].ttl) == (3, 3)
    assert (make[2].crawl_id, make[2].cur_count, make[2].total_count) == (1, 2, 3)


def test_both_forms_of_crawl_requests() -> None:
    """W25: each implementation dropped the requests of the other."""
    key = KEYS["alice"]
    for form, is_long in ((payloads.CrawlRequestPayload, False), (payloads.LongCrawlRequestPayload, True)):
        packed = default_serializer.pack_serializable(form(key, -1, 5, 7))
        assert len(packed) == (94 if is_long else 86)
        read = default_serializer.unpack_serializable_list([payloads.AnyCrawlRequestPayload], packed)[0]
        assert (read.public_key, read.start_seq_num, read.end_seq_num, read.crawl_id) == (key, -1, 5, 7)
        assert read.is_long == is_long
        for wrong in (packed[:-1], packed + b"\0"):
            with pytest.raises(ValueError, match="crawl request"):
                default_serializer.unpack_serializable_list([payloads.AnyCrawlRequestPayload], wrong)


def test_part_of_a_block_in_the_dht() -> None:
    part = payloads.DHTBlockPayload(b"s" * 64, 1, 2, 3, b"rest")
    packed = default_serializer.pack_serializable(part)
    assert len(packed) == payloads.DHTBlockPayload.PREAMBLE_OVERHEAD + 4
    read = default_serializer.unpack_serializable_list([payloads.DHTBlockPayload], packed)[0]
    assert (read.signature, read.version, read.block_position, read.block_count, read.payload) == (
        b"s" * 64, 1, 2, 3, b"rest")


@given(ALL)
def test_round_trip(message: Any) -> None:
    packed = default_serializer.pack_serializable(message)
    read = default_serializer.unpack_serializable_list([type(message)], packed)[0]
    assert vars(read) == vars(message)
    assert [entry[0] for entry in message.to_pack_list()] == message.format_list


@given(ALL, st.data())
def test_damage(message: Any, data: st.DataObject) -> None:
    packed = bytearray(default_serializer.pack_serializable(message))
    kind = data.draw(st.sampled_from(["cut", "flip", "append"]))
    if kind == "cut":
        del packed[data.draw(st.integers(0, len(packed) - 1)):]
    elif kind == "flip":
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        packed += data.draw(st.binary(min_size=1, max_size=9))
    try:
        read = default_serializer.unpack_serializable_list([type(message)], bytes(packed))[0]
    except PackError:
        return
    assert default_serializer.pack_serializable(read) == bytes(packed), "nothing is lost"


@given(st.binary(max_size=400))
def test_lies_about_length(noise: bytes) -> None:
    head = b"k" * 74 + bytes(4) + b"k" * 74 + bytes(4 + 32 + 64)
    for size in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", len(noise).to_bytes(4, "big")):
        try:
            default_serializer.unpack_serializable_list([payloads.HalfBlockPayload], head + size + noise)
        except PackError:
            continue
        assert size not in {b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"}
