"""Messages that were cut off, lengthened or made up: no decoder and no handler raises anything but a refusal."""

from __future__ import annotations

from struct import error as struct_error
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.anonymization import payload as payload_module
from ipv8.messaging.anonymization.cells import CellPayload
from ipv8.messaging.anonymization.community import TunnelCommunity
from ipv8.messaging.anonymization.payload import Flags
from ipv8.messaging.serialization import PackError
from ipv8.test.messaging.anonymization.base import TestTunnelBase
from tests.messaging.anonymization.helpers import VECTORS, serializer

CLASSES = sorted({vector["class"] for vector in VECTORS["payloads"]})
SERIALIZER = serializer()
MESSAGES = [bytes.fromhex(vector["cell_message"]) for vector in VECTORS["payloads"] if "cell_message" in vector]


@pytest.mark.parametrize("vector", VECTORS["payloads"], ids=lambda vector: vector["class"])
def test_cut_off_and_lengthened(vector: dict[str, Any]) -> None:
    payload_class = getattr(payload_module, vector["class"])
    body = bytes.fromhex(vector["body"])
    ends_with_raw = payload_class.format_list[-1] == "raw"
    whole, _ = SERIALIZER.unpack_serializable(payload_class, body)
    for stop in range(len(body)):
        try:
            cut, end = SERIALIZER.unpack_serializable(payload_class, body[:stop])
        except PackError:
            continue
        assert ends_with_raw
        assert end == stop
        assert SERIALIZER.pack_serializable(cut) == body[:stop]
    longer, end = SERIALIZER.unpack_serializable(payload_class, body + b"surplus")
    if not ends_with_raw:
        assert end == len(body)
        assert SERIALIZER.pack_serializable(longer) == SERIALIZER.pack_serializable(whole)


@settings(max_examples=300)
@given(st.sampled_from(CLASSES), st.binary(max_size=250))
def test_any_bytes(name: str, data: bytes) -> None:
    payload_class = getattr(payload_module, name)
    try:
        payload, stop = SERIALIZER.unpack_serializable(payload_class, data)
    except PackError:
        return
    again, _ = SERIALIZER.unpack_serializable(payload_class, SERIALIZER.pack_serializable(payload))
    assert stop <= len(data)
    assert SERIALIZER.pack_serializable(again) == SERIALIZER.pack_serializable(payload)


@given(st.integers(0, 65535))
def test_any_flags(number: int) -> None:
    packer = Flags()
    unpacked: list[Any] = []
    packer.unpack(number.to_bytes(2, "big"), 0, unpacked)
    assert packer.pack(unpacked[0]) == number.to_bytes(2, "big")
    assert unpacked[0] == sorted(unpacked[0])


def test_flags_cut_off_or_too_large() -> None:
    for short in (b"", b"\0"):
        with pytest.raises(struct_error):
            Flags().unpack(short, 0, [])
    with pytest.raises(struct_error):
        Flags().pack([1 << 16])
    wide = Flags(">I")
    assert (wide.format, wide.size) == (">I", 4)
    assert wide.pack([1, 1 << 20]) == bytes.fromhex("00100001")
    little = Flags("<H")
    unpacked: list[Any] = []
    assert little.unpack(little.pack([2]), 0, unpacked) == 2
    assert unpacked == [[2]]
    assert little.wire_layout() is None


class TestHostileMessages(TestTunnelBase[TunnelCommunity]):
    """Each message, cut off at each byte and with surplus, at each place where cells arrive."""

    def setUp(self) -> None:
        super().setUp()
        self.initialize(TunnelCommunity, 3)

    async def test_from_a_neighbour_that_has_the_keys(self) -> None:
        self.make_exit(2)
        await self.introduce_nodes()
        circuit: Any = await self.build(0, 1)
        origin, exiting = self.overlay(0), self.overlay(2)
        exit_socket: Any
        [(circuit_id, exit_socket)] = exiting.exit_sockets.items()
        planes: list[Any] = [origin.crypto_endpoint, exiting.crypto_endpoint]
        forward, backward = circuit.hops[0].keys.forward, exit_socket.hop.keys.backward
        variants = [message[:stop] for message in MESSAGES for stop in range(len(message) + 1)]
        variants += [message + b"\0" for message in MESSAGES]
        exiting.settings.peer_flags -= {1}  # so that no other node is asked to become a hop
        for message in variants:
            for early in (False, True):
                sealed = CellPayload(circuit_id, forward.seal(message), relay_early=early)
                planes[1].on_packet((exit_socket.hop.address, sealed.to_bin(exiting.get_prefix())))
            sealed = CellPayload(circuit.circuit_id, backward.seal(message))
            planes[0].on_packet((circuit.hop.address, sealed.to_bin(origin.get_prefix())))
            plain = CellPayload(circuit.circuit_id, message or b"\2", plaintext=True).to_bin(origin.get_prefix())
            planes[0].on_packet((circuit.hop.address, plain))
            if not len(message) % 16:
                await self.deliver_messages()
        await self.deliver_messages()
        assert circuit.state == "READY"
        answer = await origin.send_test_request(circuit, 10, 20)
        assert answer is not None
        assert exiting.exit_sockets[circuit_id] is exit_socket
