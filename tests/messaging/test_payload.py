from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewPuncturePayload,
    PuncturePayload,
    PunctureRequestPayload,
    decode_connection_type,
    encode_connection_type,
)
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import PackError, default_serializer

A = UDPv4Address("1.2.3.4", 5)
LAN = UDPv4Address("192.168.1.2", 6421)
WAN = UDPv4Address("5.6.7.8", 9)


@pytest.mark.parametrize(
    ("name", "bits"),
    [("unknown", (0, 0)), ("public", (1, 0)), ("symmetric-NAT", (1, 1)), ("anything", (0, 0)), ("N/A", (0, 0))],
)
def test_encode_connection_type(name: Any, bits: Any) -> None:
    assert encode_connection_type(name) == bits


@pytest.mark.parametrize(
    ("bits", "name"), [((0, 0), "unknown"), ((1, 0), "public"), ((1, 1), "symmetric-NAT"), ((0, 1), "N/A")]
)
def test_decode_connection_type(bits: Any, name: Any) -> None:
    assert decode_connection_type(*bits) == name
    assert decode_connection_type(*map(bool, bits)) == name


@pytest.mark.parametrize("advice", [True, False])
def test_advice_is_inverted_on_the_way_in(advice: Any) -> None:
    made = IntroductionRequestPayload(A, LAN, WAN, advice, "public", 7, b"x")
    assert made.advice is advice
    packed = default_serializer.pack_serializable(made)
    assert packed[18] & 1 == advice
    unpacked, _ = default_serializer.unpack_serializable(IntroductionRequestPayload, packed)
    assert unpacked.advice is not advice
    assert (unpacked.connection_type, unpacked.supports_new_style) == ("public", 1)


@pytest.mark.parametrize(
    ("fields", "byte"),
    [
        ({"supports_new_style": False}, 0x00),
        ({}, 0x20),
        ({"advice": True}, 0x21),
        ({"connection_type": "public"}, 0xA0),
        ({"connection_type": "symmetric-NAT", "supports_new_style": False, "advice": True}, 0xC1),
    ],
)
def test_request_flags(fields: Any, byte: Any) -> None:
    common = {"advice": False, "connection_type": "unknown", "identifier": 0, "extra_bytes": b""}
    payload = IntroductionRequestPayload(A, LAN, WAN, **(common | fields))
    assert default_serializer.pack_serializable(payload)[18] == byte


@pytest.mark.parametrize(
    ("fields", "byte"),
    [
        ({}, 0x10),
        ({"supports_new_style": False}, 0x00),
        ({"intro_supports_new_style": True}, 0x18),
        ({"peer_limit_reached": True}, 0x14),
        ({"connection_type": "public"}, 0x90),
        ({"connection_type": "symmetric-NAT", "supports_new_style": False}, 0xC0),
    ],
)
def test_response_flags(fields: Any, byte: Any) -> None:
    common = {"connection_type": "unknown", "identifier": 0, "extra_bytes": b""}
    payload = IntroductionResponsePayload(A, LAN, WAN, A, WAN, **(common | fields))
    packed = default_serializer.pack_serializable(payload)
    assert packed[30] == byte
    unpacked, _ = default_serializer.unpack_serializable(IntroductionResponsePayload, packed)
    assert vars(unpacked) == vars(payload)


@pytest.mark.parametrize("identifier", [65536, 65536 * 3 + 1, -1])
def test_identifiers_of_the_old_style_wrap(identifier: Any) -> None:
    payloads: list[Any] = [
        IntroductionRequestPayload(A, LAN, WAN, True, "unknown", identifier, b""),
        IntroductionResponsePayload(A, LAN, WAN, A, A, "unknown", identifier, b""),
        PunctureRequestPayload(LAN, WAN, identifier),
        PuncturePayload(LAN, WAN, identifier),
    ]
    assert [payload.identifier for payload in payloads] == [identifier % 65536] * 4
    with pytest.raises(PackError):
        default_serializer.pack_serializable(NewPuncturePayload(LAN, WAN, identifier))


def test_old_style_knows_ipv4_only() -> None:
    with pytest.raises(PackError, match="Could not pack item: \\('ipv4'"):
        default_serializer.pack_serializable(PuncturePayload(LAN, UDPv6Address("::1", 1), 1))
    packed = default_serializer.pack_serializable(NewPuncturePayload(LAN, UDPv6Address("::1", 1), 1))
    unpacked, _ = default_serializer.unpack_serializable(NewPuncturePayload, packed)
    assert unpacked.source_wan_address == UDPv6Address("::1", 1)


def test_message_ids_and_formats() -> None:
    assert [cls.msg_id for cls in (PunctureRequestPayload, PuncturePayload)] == [250, 249]
    assert IntroductionRequestPayload.format_list == ["ipv4", "ipv4", "ipv4", "bits", "H", "raw"]
    assert IntroductionResponsePayload.format_list == ["ipv4"] * 5 + ["bits", "H", "raw"]
    assert NewIntroductionRequestPayload.names[3:6] == ["identifier", "connection_type_0", "connection_type_1"]


def test_pack_lists() -> None:
    assert GlobalTimeDistributionPayload(5).to_pack_list() == [("Q", 5)]
    assert BinMemberAuthenticationPayload(b"key").to_pack_list() == [("varlenH", b"key")]
    assert IntroductionRequestPayload(A, LAN, WAN, True, "symmetric-NAT", 7, b"x").to_pack_list() == [
        ("ipv4", A),
        ("ipv4", LAN),
        ("ipv4", WAN),
        ("bits", 1, 1, True, 0, 0, 0, 0, True),
        ("H", 7),
        ("raw", b"x"),
    ]
    assert PuncturePayload.from_unpack_list(LAN, WAN, 3).identifier == 3


def test_str() -> None:
    assert str(PuncturePayload(A, ("::1", 5), 1)) == (
        "PuncturePayload\n| identifier: 1\n| msg_id: 249\n"
        "| source_lan_address: UDPv4Address(ip='1.2.3.4', port=5)\n| source_wan_address: ('::1', 5)"
    )
