"""From the bytes of a signed packet to its sender."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import verification
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.serialization import PackError
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.verification import (
    FORGERIES_AT_ONCE,
    BadSignatureError,
    PacketDecodingError,
    RateLimitedError,
    SignatureGuard,
    UndecodableError,
    UnusableKeyError,
    recognise,
    try_verify,
    verify_ahead,
)

ENDPOINT = UDPEndpoint()
SOURCE = UDPv4Address("1.2.3.4", 5)
ELSEWHERE = UDPv4Address("66.66.66.66", 66)


def authenticate(overlay: Any, source_address: Any, data: bytes) -> tuple[Peer, int, int]:
    """The sender of a packet, and where its payloads start and end; what is wrong with it is raised."""
    signer = try_verify(overlay, source_address, data)
    if isinstance(signer, PacketDecodingError):
        raise signer
    key, start, end = signer
    return recognise(overlay, key, source_address, key.key_to_bin()), start, end


class Inner(VariablePayload):
    msg_id = 1
    format_list = ["H"]
    names = ["number"]


class Lonely(Community):
    community_id = bytes(range(20))

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.add_message_handler(1, self.on_inner)
        self.add_message_handler(2, self.on_unsigned)

    @lazy_wrapper(Inner)
    def on_inner(self, peer: Peer, payload: Inner) -> None:
        """What is received does not matter here."""

    @lazy_wrapper_unsigned(Inner)
    def on_unsigned(self, source_address: Any, payload: Inner) -> None:
        """What is received does not matter here."""


@pytest.fixture
def overlay(make_overlay: Any) -> Any:
    return make_overlay(Lonely)


@pytest.fixture
def sender(make_overlay: Any) -> Any:
    return make_overlay(Lonely)


def test_the_sender_and_the_body_are_found(overlay: Any, sender: Any) -> None:
    packet = sender.ezr_pack(1, Inner(7))
    peer, start, end = authenticate(overlay, SOURCE, packet)
    assert peer == sender.my_peer
    assert peer.address == SOURCE
    assert packet[start:end] == b"\x00\x07"


def test_a_verified_peer_is_given_as_the_object_of_the_network(overlay: Any, sender: Any) -> None:
    known = Peer(sender.my_peer.public_key, SOURCE)
    overlay.network.add_verified_peer(known)
    assert authenticate(overlay, SOURCE, sender.ezr_pack(1, Inner(7)))[0] is known
    assert known.last_response > 0


def test_a_peer_that_proved_nothing_moves_with_its_packets(overlay: Any, sender: Any) -> None:
    known = Peer(sender.my_peer.public_key, SOURCE)
    overlay.network.add_verified_peer(known)
    assert authenticate(overlay, ELSEWHERE, sender.ezr_pack(1, Inner(7)))[0] is known
    assert known.address == ELSEWHERE


def test_a_proven_peer_is_asked_before_it_moves(overlay: Any, sender: Any) -> None:
    known = Peer(sender.my_peer.public_key, SOURCE)
    overlay.network.add_verified_peer(known)
    known.proven = True
    overlay.endpoint.deliver = False
    claimed = authenticate(overlay, ELSEWHERE, sender.ezr_pack(1, Inner(7)))[0]
    assert claimed == known
    assert claimed.address == ELSEWHERE
    assert known.address == SOURCE
    assert [address for address, _ in overlay.endpoint.sent] == [ELSEWHERE]
    authenticate(overlay, ELSEWHERE, sender.ezr_pack(1, Inner(8)))
    assert len(overlay.endpoint.sent) == 1, "one question at a time"


@pytest.mark.parametrize("curve", ["curve25519", "very-low", "high"])
def test_each_truncation_is_refused(make_overlay: Any, curve: str) -> None:
    overlay = make_overlay(Lonely)
    packet = make_overlay(Lonely, key=default_eccrypto.generate_key(curve)).ezr_pack(1, Inner(7))
    lengths = range(len(packet)) if curve == "curve25519" else range(0, len(packet), 40)
    for length in lengths:
        with pytest.raises(PacketDecodingError):
            authenticate(overlay, SOURCE, packet[:length])


def test_a_changed_byte_is_refused(overlay: Any, sender: Any) -> None:
    packet = sender.ezr_pack(1, Inner(7))
    for position in range(0, len(packet), 7):
        forged = packet[:position] + bytes((packet[position] ^ 1,)) + packet[position + 1:]
        with pytest.raises(PacketDecodingError):
            authenticate(overlay, SOURCE, forged)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_random_bytes_are_the_sender_s_mistake(data: bytes) -> None:
    class Nobody:
        crypto = default_eccrypto
        endpoint = ENDPOINT

        class network:
            verified_by_public_key_bin: dict[bytes, Peer] = {}

    with pytest.raises(PacketDecodingError):
        authenticate(Nobody(), SOURCE, data)


def test_the_kinds_of_mistakes_are_told_apart(overlay: Any, sender: Any) -> None:
    packet = sender.ezr_pack(1, Inner(7))
    with pytest.raises(UndecodableError):
        authenticate(overlay, SOURCE, packet[:30])
    with pytest.raises(UnusableKeyError):
        authenticate(overlay, SOURCE, packet[:25] + b"x" * 150)
    with pytest.raises(BadSignatureError):
        authenticate(overlay, SOURCE, packet[:-1] + bytes((packet[-1] ^ 1,)))


def test_a_forger_is_not_listened_to_for_long(overlay: Any, sender: Any, manual_clock: Any) -> None:
    packet = sender.ezr_pack(1, Inner(7))
    forged = packet[:-1] + bytes((packet[-1] ^ 1,))
    for _ in range(int(FORGERIES_AT_ONCE)):
        with pytest.raises(BadSignatureError):
            authenticate(overlay, SOURCE, forged)
    with pytest.raises(RateLimitedError):
        authenticate(overlay, SOURCE, forged)
    with pytest.raises(RateLimitedError):
        authenticate(overlay, SOURCE, packet)
    assert authenticate(overlay, ELSEWHERE, packet)[0] == sender.my_peer, "others are not affected"
    manual_clock.advance(1)
    assert authenticate(overlay, SOURCE, packet)[0] == sender.my_peer


def test_a_forger_does_not_silence_a_peer_by_its_address(overlay: Any, sender: Any) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    packet = sender.ezr_pack(1, Inner(7))
    for _ in range(3 * int(FORGERIES_AT_ONCE)):
        with pytest.raises(PacketDecodingError):
            authenticate(overlay, UDPv4Address("1.2.3.4", 77), packet[:-1] + bytes((packet[-1] ^ 1,)))
    assert authenticate(overlay, SOURCE, packet)[0] == sender.my_peer


def test_costly_keys_have_a_budget(make_overlay: Any, manual_clock: Any) -> None:
    overlay = make_overlay(Lonely)
    sender = make_overlay(Lonely, key=default_eccrypto.generate_key("high"))
    packet = sender.ezr_pack(1, Inner(7))
    accepted = 0
    with pytest.raises(RateLimitedError):  # noqa: PT012 - after how many is what matters
        for _ in range(1000):
            authenticate(overlay, SOURCE, packet)
            accepted += 1
    assert 100 < accepted < 1000
    manual_clock.advance(60)
    assert authenticate(overlay, SOURCE, packet)[0] == sender.my_peer


def test_a_burst_is_judged_as_its_packets_alone_are(overlay: Any, sender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    packets = [sender.ezr_pack(1, Inner(n)) for n in range(20)]
    packets[7] = packets[7][:-1] + bytes((packets[7][-1] ^ 1,))
    monkeypatch.setattr(verification, "SPARE_CORES", 1)
    verify_ahead(overlay, overlay.get_prefix(), [(SOURCE, packet) for packet in packets])
    assert [overlay.signature_guard.verdicts[packet] for packet in packets] == [n != 7 for n in range(20)]
    with pytest.raises(BadSignatureError):
        authenticate(overlay, SOURCE, packets[7])
    assert authenticate(overlay, SOURCE, packets[8])[0] == sender.my_peer
    verify_ahead(overlay, overlay.get_prefix(), [])
    assert not overlay.signature_guard.verdicts


def test_a_forgery_found_ahead_is_charged_like_any_other(overlay: Any, sender: Any, make_overlay: Any,
                                                         manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    monkeypatch.setattr(verification, "SPARE_CORES", 1)
    packet, stranger = sender.ezr_pack(1, Inner(7)), make_overlay(Lonely).ezr_pack(1, Inner(7))
    forgeries = [packet[:-2] + number.to_bytes(2, "big") for number in range(int(FORGERIES_AT_ONCE))]
    verify_ahead(overlay, overlay.get_prefix(), [(SOURCE, forged) for forged in forgeries])
    assert len(overlay.signature_guard.verdicts) == len(forgeries)
    authenticate(overlay, SOURCE, stranger)
    for forged in forgeries:
        with pytest.raises(BadSignatureError):
            authenticate(overlay, SOURCE, forged)
    assert not overlay.signature_guard.verdicts
    with pytest.raises(RateLimitedError):
        authenticate(overlay, SOURCE, make_overlay(Lonely).ezr_pack(1, Inner(7)))
    assert authenticate(overlay, SOURCE, packet)[0] == sender.my_peer, "a known peer is not affected"


def verifying_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("ipv8-verify")}


async def test_the_threads_of_an_endpoint_end_when_it_closes(sender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "SPARE_CORES", 1)
    before = verifying_threads()
    endpoint = UDPEndpoint(0, "127.0.0.1")
    for _ in range(2):
        assert await endpoint.open()
        settings = CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                                     network=Network())
        overlay = Lonely(settings)
        overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
        packets = [sender.ezr_pack(1, Inner(n)) for n in range(8)]
        verify_ahead(overlay, overlay.get_prefix(), [(SOURCE, packet) for packet in packets])
        assert len(overlay.signature_guard.verdicts) == 8
        (thread,) = verifying_threads() - before
        endpoint.close()
        assert not overlay.signature_guard.verdicts
        thread.join(10)
        assert not thread.is_alive()
        await overlay.unload()


def test_all_overlays_of_an_endpoint_share_a_guard(overlay: Any, sender: Any) -> None:
    guard = overlay.signature_guard
    assert SignatureGuard.of(overlay.endpoint) is SignatureGuard.of(StatisticsEndpoint(overlay.endpoint)) is guard
    assert guard.burst is overlay.endpoint.gate.burst
    assert sender.signature_guard is not guard
    nothing: Any = object()
    assert SignatureGuard.of(nothing) is not SignatureGuard.of(nothing)


def test_the_first_packet_of_a_burst_has_the_others_verified(overlay: Any, sender: Any) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    packets = [(SOURCE, sender.ezr_pack(1, Inner(n))) for n in range(9)]
    overlay.endpoint.gate.burst.packets = packets
    for source, packet in packets:
        assert authenticate(overlay, source, packet)[0] == sender.my_peer
    assert not overlay.endpoint.gate.burst.packets
    assert not overlay.signature_guard.verdicts


def test_nothing_that_will_be_dropped_is_verified_ahead(overlay: Any, sender: Any,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    monkeypatch.setattr(verification, "SPARE_CORES", 1)
    whole = sender.ezr_pack(1, Inner(1))
    unwanted = [b"\x00\x02" + bytes(20) + whole[22:], *[whole[:22] + bytes((msg_id,)) + whole[23:]
                                                       for msg_id in (2, 200, 253)], whole[:22], whole[:24], b""]
    verify_ahead(overlay, overlay.get_prefix(), [(SOURCE, data) for data in unwanted * 5])
    assert not overlay.signature_guard.verdicts


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # with other threads, which this is about
def test_a_fork_verifies_with_threads_of_its_own(overlay: Any, sender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    monkeypatch.setattr(verification, "SPARE_CORES", 1)
    packets = [(SOURCE, sender.ezr_pack(1, Inner(n))) for n in range(8)]
    verify_ahead(overlay, overlay.get_prefix(), packets)
    child = os.fork()
    if not child:
        signal.alarm(10)
        verify_ahead(overlay, overlay.get_prefix(), packets)
        os._exit(len(overlay.signature_guard.verdicts))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == len(packets)


@pytest.mark.parametrize("source", [None, (), 5, "somewhere", ["1.2.3.4", 5]])
@pytest.mark.parametrize("is_known", [False, True])
def test_programs_may_say_nothing_of_the_source(overlay: Any, sender: Any, source: Any, is_known: bool) -> None:
    known = Peer(sender.my_peer.public_key, SOURCE)
    if is_known:
        overlay.network.add_verified_peer(known)
    peer, _, _ = authenticate(overlay, source, sender.ezr_pack(1, Inner(7)))
    assert peer == sender.my_peer
    if is_known:
        assert peer is known
        assert known.address == SOURCE


def test_a_burst_without_a_pool_of_threads_waits_its_turn(
    overlay: Any, sender: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verification, "SPARE_CORES", 0)
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    verify_ahead(overlay, overlay.get_prefix(), [(SOURCE, sender.ezr_pack(1, Inner(n))) for n in range(20)])
    assert not overlay.signature_guard.verdicts


class TestVectors:
    """tests/vectors/packets.json."""

    @pytest.fixture
    def vectors(self, load_vectors: Any) -> Any:
        return load_vectors("packets")

    def receive(self, overlay: Any, names: list[str], data: bytes, signed: bool) -> list[Any]:
        from ipv8.messaging import payload, payload_headers

        classes = [Inner if n == "Inner" else getattr(payload, n, None) or getattr(payload_headers, n) for n in names]
        got: list[Any] = []
        wrap = lazy_wrapper if signed else lazy_wrapper_unsigned
        wrap(*classes)(lambda _, *args: got.extend(args))(overlay, SOURCE, data)
        return got

    def test_signed(self, vectors: Any, make_overlay: Any) -> None:
        for case in vectors["signed"]:
            key = default_eccrypto.key_from_private_bin(bytes.fromhex(case["private_bin"]))
            overlay = make_overlay(Lonely, key=key)
            packet = bytes.fromhex(case["packet"])
            names = [name for name in case["payload_classes"] if name != "BinMemberAuthenticationPayload"]
            peer, *payloads = self.receive(overlay, names, packet, True)
            assert peer.public_key.key_to_bin() == key.pub().key_to_bin()
            for payload in payloads:
                if type(payload).__name__ == "IntroductionRequestPayload":
                    payload.advice = not payload.advice  # reading inverts this flag
            assert b"".join(map(overlay.serializer.pack_serializable, payloads)).hex() == case["payload_hex"]
            if case["deterministic"]:
                assert overlay._prefix.hex() == vectors["prefix"]
                assert overlay.ezr_pack(case["msg_id"], *payloads) == packet

    def test_unsigned(self, vectors: Any, overlay: Any) -> None:
        for case in vectors["unsigned"]:
            packet = bytes.fromhex(case["packet"])
            source, *payloads = self.receive(overlay, case["payload_classes"], packet, False)
            assert source == SOURCE
            assert overlay.ezr_pack(case["msg_id"], *payloads, sig=False) == packet

    def test_rejected(self, vectors: Any, overlay: Any) -> None:
        for case in vectors["rejected"]:
            data = bytes.fromhex(case["packet"])
            if case["error"] is None:
                assert self.receive(overlay, case["payload_classes"], data, True)
            else:
                with pytest.raises((PacketDecodingError, PackError)):
                    self.receive(overlay, case["payload_classes"], data, True)


SECT163K1_KEY = bytes.fromhex("304030100607 2a8648ce3d0201 06052b81040001 032c0004")


@pytest.mark.parametrize("key", [
    b"\x30", b"\x30\x40\x30\x10" + bytes(62), SECT163K1_KEY[:12], b"LibNaCLPK:", b"LibNaCLPK:" + bytes(63),
], ids=["tag", "zeros", "cut off", "prefix", "short"])
def test_what_is_no_key_at_first_sight_costs_no_budget(
    overlay: Any, key: bytes, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spend(*_: Any) -> bool:
        pytest.fail("nothing is to be spent on this")

    monkeypatch.setattr(SignatureGuard, "of", spend)
    with pytest.raises(PacketDecodingError):
        authenticate(overlay, SOURCE, overlay.get_prefix() + b"\x01" + len(key).to_bytes(2, "big") + key + bytes(100))


def test_points_off_their_curve_count_as_forgeries(overlay: Any, sender: Any, manual_clock: Any) -> None:
    key = SECT163K1_KEY + bytes(range(42))
    packet = overlay.get_prefix() + b"\x01" + len(key).to_bytes(2, "big") + key + bytes(100)
    for _ in range(int(FORGERIES_AT_ONCE)):
        with pytest.raises(UnusableKeyError):
            authenticate(overlay, SOURCE, packet)
    for refused in (packet, sender.ezr_pack(1, Inner(7))):
        with pytest.raises(RateLimitedError):
            authenticate(overlay, SOURCE, refused)
    manual_clock.advance(1)
    assert authenticate(overlay, SOURCE, sender.ezr_pack(1, Inner(7)))[0] == sender.my_peer
