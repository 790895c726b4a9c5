"""The bytes of the discovery community's messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.serialization import PackError, default_serializer
from ipv8.peerdiscovery.payload import (
    DiscoveryIntroductionRequestPayload,
    PingPayload,
    PongPayload,
    SimilarityRequestPayload,
    SimilarityResponsePayload,
)

CLASSES: dict[str, Any] = {cls.__name__: cls for cls in (
    DiscoveryIntroductionRequestPayload, PingPayload, PongPayload, SimilarityRequestPayload, SimilarityResponsePayload)}
PACKETS = [packet for packet in json.loads(
    (Path(__file__).parent.parent / "vectors" / "discovery.json").read_text("utf-8"))["packets"]
    if packet["payload_class"] in CLASSES]
IDS = st.lists(st.binary(min_size=20, max_size=20), max_size=4)


def as_json(value: Any) -> Any:
    """A field in the form of the vectors."""
    if isinstance(value, tuple):
        return [type(value).__name__, *value]
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def test_there_is_a_vector_for_each_message() -> None:
    assert {packet["payload_class"] for packet in PACKETS} == set(CLASSES)


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: packet["name"])
def test_vector(packet: dict[str, Any]) -> None:
    data = bytes.fromhex(packet["payload"])
    payload_class = CLASSES[packet["payload_class"]]
    payload, end = default_serializer.unpack_serializable(payload_class, data)
    assert end == len(data)
    assert payload.msg_id == packet["msg_id"]
    for name, value in packet["decoded_fields"].items():
        expected = value["hex"] if isinstance(value, dict) else value
        assert as_json(getattr(payload, name)) == expected, name
    if packet["payload_class"] == "DiscoveryIntroductionRequestPayload":
        payload.advice = True  # is inverted by reading
    assert default_serializer.pack_serializable(payload) == data


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10 ** 6), st.sampled_from(["unknown", "public", "symmetric-NAT"]), IDS)
def test_similarity_request_round_trip(identifier: int, kind: str, ids: list[bytes]) -> None:
    payload = SimilarityRequestPayload(identifier, ("1.2.3.4", 5), ("6.7.8.9", 10), kind, ids)
    data = default_serializer.pack_serializable(payload)
    read, _ = default_serializer.unpack_serializable(SimilarityRequestPayload, data)
    assert vars(read) == vars(payload) | {"identifier": identifier % 65536}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 65535), IDS, st.lists(st.tuples(st.binary(min_size=20, max_size=20), st.integers(0, 2 ** 32 - 1)),
                                            max_size=3))
def test_similarity_response_round_trip(identifier: int, ids: list[bytes], overlap: list[tuple[bytes, int]]) -> None:
    payload = SimilarityResponsePayload(identifier, ids, overlap)
    data = default_serializer.pack_serializable(payload)
    read, _ = default_serializer.unpack_serializable(SimilarityResponsePayload, data)
    assert vars(read) == vars(payload)


@pytest.mark.parametrize("rest", range(20))
def test_incomplete_community_id_is_ignored(rest: int) -> None:
    payload = SimilarityRequestPayload(1, ("1.2.3.4", 5), ("6.7.8.9", 10), "unknown", [b"a" * 20])
    data = default_serializer.pack_serializable(payload) + bytes(rest)
    assert default_serializer.unpack_serializable(SimilarityRequestPayload, data)[0].preference_list == [b"a" * 20]


@pytest.mark.parametrize("payload_class", CLASSES.values())
def test_identifiers_are_16_bits(payload_class: Any) -> None:
    arguments: dict[Any, tuple[Any, ...]] = {
        SimilarityRequestPayload: (("1.2.3.4", 5), ("1.2.3.4", 5), "unknown", []),
        SimilarityResponsePayload: ([], []),
    }
    if payload_class is DiscoveryIntroductionRequestPayload:
        payload = payload_class(b"m" * 20, ("1.2.3.4", 5), ("1.2.3.4", 5), ("1.2.3.4", 5), True, "unknown", 65537, b"")
    else:
        payload = payload_class(65537, *arguments.get(payload_class, ()))
    assert payload.identifier == 1


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: packet["name"])
def test_what_is_cut_short_is_no_message(packet: dict[str, Any]) -> None:
    data = bytes.fromhex(packet["payload"])
    fixed = {"SimilarityRequestPayload": 15, "SimilarityResponsePayload": 24}.get(packet["payload_class"], len(data))
    for length in range(fixed):
        with pytest.raises(PackError):
            default_serializer.unpack_serializable(CLASSES[packet["payload_class"]], data[:length])
