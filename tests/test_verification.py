"""From the bytes of a signed packet to its sender."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import clock, entropy, verification
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress
from ipv8.messaging.inet import network_of
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.serialization import PackError
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.clock import ManualClock
from ipv8.verification import (
    COSTLY_SECONDS_AT_ONCE,
    COSTLY_SECONDS_AT_ONCE_PER_HOST,
    COSTLY_SECONDS_PER_SECOND_PER_HOST,
    FORGED_SECONDS_AT_ONCE,
    FORGED_SECONDS_PER_SECOND,
    FORGED_SECONDS_PER_SECOND_PER_HOST,
    NOBODY,
    RESERVED_FOR_PEERS,
    BadSignatureError,
    PacketDecodingError,
    SignatureGuard,
    UndecodableError,
    UnusableKeyError,
    recognise,
    try_verify,
    verify_ahead,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def same_chance_each_time() -> Iterator[None]:
    with entropy.use(random.Random(7)):
        yield


@pytest.fixture
def overlay(make_overlay: Any) -> Any:
    return make_overlay(Lonely)


@pytest.fixture
def sender(make_overlay: Any) -> Any:
    return make_overlay(Lonely)


def test_a_peer_does_not_move_to_what_it_says_to_be_its_local_address(overlay: Any, sender: Any) -> None:
    """It could name any address so, and then have a recorded or forged packet come from there."""
    known, _, _ = authenticate(overlay, SOURCE, sender.ezr_pack(1, Inner(7)))
    overlay.network.add_verified_peer(known)
    overlay.network.mark_proven(known)
    known.address = UDPv4LANAddress(*ELSEWHERE)
    asked: list[Any] = []
    overlay.on_unconfirmed_address = lambda _, address: asked.append(address)
    stranger, _, _ = authenticate(overlay, ELSEWHERE, sender.ezr_pack(1, Inner(8)))
    assert stranger.address == ELSEWHERE
    assert not stranger.proven
    assert asked == [ELSEWHERE]
    assert known.addresses[UDPv4Address] == SOURCE


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


def outcome(overlay: Any, source: Any, packet: bytes) -> str:
    """``good`` or the name of the error."""
    result = try_verify(overlay, source, packet)
    return type(result).__name__ if isinstance(result, PacketDecodingError) else "good"


def forgery_of(packet: bytes) -> bytes:
    return packet[:-1] + bytes((packet[-1] ^ 1,))


def flood(overlay: Any, clock: Any, packets: list[bytes], rate: int, seconds: float, hosts: Any) -> Counter[str]:
    """What becomes of so many packets a second, which come from ``hosts`` in turn."""
    outcomes: Counter[str] = Counter()
    for number in range(int(rate * seconds)):
        outcomes[outcome(overlay, UDPv4Address(next(hosts), 5000 + number % 1000), packets[number % len(packets)])] += 1
        clock.advance(1 / rate)
    return outcomes


def test_forgeries_that_name_a_host_take_a_part_of_the_time_only(overlay: Any, sender: Any, manual_clock: Any) -> None:
    forged = forgery_of(sender.ezr_pack(1, Inner(7)))
    verified = flood(overlay, manual_clock, [forged], 10_000, 3.0, repeat("1.2.3.4"))["BadSignatureError"]
    spent = verified * estimate(sender)
    assert 0.5 * FORGED_SECONDS_PER_SECOND_PER_HOST < spent / 3.0 < 1.5 * FORGED_SECONDS_PER_SECOND_PER_HOST


def test_forgeries_of_any_hosts_take_a_part_of_the_time_only(overlay: Any, sender: Any, manual_clock: Any) -> None:
    forged = forgery_of(sender.ezr_pack(1, Inner(7)))
    hosts = (f"{10 + n % 90}.{n >> 8 & 255}.{n & 255}.1" for n in count())
    verified = flood(overlay, manual_clock, [forged], 10_000, 3.0, hosts)["BadSignatureError"]
    spent = verified * estimate(sender)
    assert 0.5 * FORGED_SECONDS_PER_SECOND < spent / 3.0 < 1.5 * FORGED_SECONDS_PER_SECOND


def estimate(sender: Any) -> float:
    return verification._estimate(sender.my_peer.public_key)


@pytest.mark.parametrize("rate", [100, 300, 1000])
def test_forgeries_do_not_keep_out_who_is_really_there(overlay: Any, sender: Any, make_overlay: Any, manual_clock: Any,
                                                       rate: int) -> None:
    forged = forgery_of(sender.ezr_pack(1, Inner(7)))
    flood(overlay, manual_clock, [forged], rate, 10.0, repeat("1.2.3.4"))
    for _ in range(3):  # newcomers, each of which asks twice a second
        packet, attempts = make_overlay(Lonely).ezr_pack(1, Inner(7)), 1
        while outcome(overlay, UDPv4Address("1.2.3.4", 7), packet) != "good":
            attempts += 1
            flood(overlay, manual_clock, [forged], rate, 0.5, repeat("1.2.3.4"))
        assert attempts <= 10
    assert outcome(overlay, ELSEWHERE, sender.ezr_pack(1, Inner(7))) == "good", "other hosts are not affected"


def test_the_chance_follows_the_forgeries(overlay: Any, manual_clock: Any, script_entropy: Any) -> None:
    guard = overlay.signature_guard
    assert guard.admits("1.2.3.4")
    guard.charge_forged("1.2.3.4", FORGED_SECONDS_AT_ONCE / 4)  # half of the budget of the host, a quarter of all
    assert all(guard.admits("1.2.3.4") for _ in range(100))
    guard.charge_forged("1.2.3.4", FORGED_SECONDS_AT_ONCE / 8)
    guard.charge_forged("5.6.7.8", FORGED_SECONDS_AT_ONCE / 4)
    chances = {host: sum(guard.admits(host) for _ in range(2000)) / 2000 for host in ("1.2.3.4", "1.2.3.5")}
    assert chances["1.2.3.4"] == pytest.approx(0.5 * 0.75, abs=0.05)  # a quarter, three eighths
    assert chances["1.2.3.5"] == pytest.approx(0.75, abs=0.05)
    assert all(guard.admits("1.2.3.4", familiar=True) for _ in range(100))
    manual_clock.advance(1)
    assert all(guard.admits("1.2.3.4") for _ in range(100))


def test_a_forger_does_not_silence_a_peer_by_its_address(overlay: Any, sender: Any, manual_clock: Any) -> None:
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, SOURCE))
    packet = sender.ezr_pack(1, Inner(7))
    for _ in range(3000):
        assert outcome(overlay, UDPv4Address("1.2.3.4", 77), forgery_of(packet)) != "good"
    assert outcome(overlay, UDPv4Address("1.2.3.4", 77), packet) == "RateLimitedError"
    assert authenticate(overlay, SOURCE, packet)[0] == sender.my_peer


def test_an_answer_that_is_waited_for_is_verified_in_any_case(overlay: Any, sender: Any, manual_clock: Any) -> None:
    packet = sender.ezr_pack(1, Inner(7))
    overlay.signature_guard.charge_forged("1.2.3.4", 2 * FORGED_SECONDS_AT_ONCE)
    assert outcome(overlay, SOURCE, packet) == "RateLimitedError"
    answer = try_verify(overlay, SOURCE, packet, lambda *_: True, solicited=True)
    assert not isinstance(answer, PacketDecodingError)


def test_costly_keys_have_a_budget(make_overlay: Any, manual_clock: Any) -> None:
    overlay = make_overlay(Lonely)
    sender = make_overlay(Lonely, key=default_eccrypto.generate_key("high"))
    packet = sender.ezr_pack(1, Inner(7))
    verified = Counter(outcome(overlay, SOURCE, packet) for _ in range(1000))["good"]
    assert 0 < verified * estimate(sender) <= (1 - RESERVED_FOR_PEERS) * COSTLY_SECONDS_AT_ONCE + estimate(sender)
    manual_clock.advance(60)
    assert authenticate(overlay, SOURCE, packet)[0] == sender.my_peer
    verified = flood(overlay, manual_clock, [packet], 2000, 10.0, repeat("1.2.3.4"))["good"]
    assert verified * estimate(sender) / 10 <= 1.2 * COSTLY_SECONDS_PER_SECOND_PER_HOST


def test_all_sources_together_have_a_budget_for_costly_keys(make_overlay: Any, manual_clock: Any) -> None:
    overlay = make_overlay(Lonely)
    known, stranger = (make_overlay(Lonely, key=default_eccrypto.generate_key("high")) for _ in range(2))
    friend = Peer(known.my_peer.public_key, SOURCE)
    overlay.network.add_verified_peer(friend)
    others = stranger.ezr_pack(1, Inner(7))
    sources = [UDPv4Address(f"9.9.{n >> 8}.{n & 255}", 5) for n in range(3000)]
    verified = Counter(outcome(overlay, source, others) for source in sources)["good"]
    spent = verified * estimate(stranger)
    assert spent <= (1 - RESERVED_FOR_PEERS) * COSTLY_SECONDS_AT_ONCE + estimate(stranger)
    packet = known.ezr_pack(1, Inner(7))
    assert outcome(overlay, SOURCE, packet) == "RateLimitedError", "anybody may be unproven"
    friend.proven = True
    heard = Counter(outcome(overlay, SOURCE, packet) for _ in range(1000))["good"]
    assert heard > 0, "something is left for peers"
    assert heard * estimate(known) <= COSTLY_SECONDS_AT_ONCE_PER_HOST + estimate(known)
    assert spent + heard * estimate(known) <= COSTLY_SECONDS_AT_ONCE + 2 * estimate(known)


class SlowClock(ManualClock):
    """A clock whose processor has to work for a while for each key and each signature."""

    def __init__(self) -> None:
        super().__init__(1.7e9, 5.0)
        self.worked = 0.0

    def processor_time(self) -> float:
        self.worked += 0.001
        return self.worked


@pytest.fixture
def slow_clock() -> Iterator[SlowClock]:
    with clock.use(SlowClock()) as slow:
        yield slow


def test_what_was_measured_is_charged(make_overlay: Any, slow_clock: SlowClock) -> None:
    overlay = make_overlay(Lonely)
    guard = overlay.signature_guard
    sender = make_overlay(Lonely, key=default_eccrypto.generate_key("very-low"))
    packet = sender.ezr_pack(1, Inner(7))
    assert outcome(overlay, SOURCE, packet) == "good"
    # The key and the signature took 0.001 s each.
    assert guard.costly_time.fill() == pytest.approx(1 - 0.002 / COSTLY_SECONDS_AT_ONCE)
    assert guard.costly_time_per_host.fill(network_of("1.2.3.4", 32, 64)) == pytest.approx(
        1 - 0.002 / COSTLY_SECONDS_AT_ONCE_PER_HOST)
    assert guard.forged_time.fill() == 1
    forged = forgery_of(make_overlay(Lonely).ezr_pack(1, Inner(7)))
    assert outcome(overlay, SOURCE, forged) == "BadSignatureError"
    assert guard.forged_time.fill() == pytest.approx(1 - 0.001 / FORGED_SECONDS_AT_ONCE)
    overlay.network.add_verified_peer(Peer(sender.my_peer.public_key, ELSEWHERE))
    before = slow_clock.worked
    curve = make_overlay(Lonely)
    friend = Peer(curve.my_peer.public_key, ELSEWHERE)
    friend.proven = True
    overlay.network.add_verified_peer(friend)
    assert outcome(overlay, ELSEWHERE, curve.ezr_pack(1, Inner(7))) == "good"
    assert slow_clock.worked == before, "nothing is measured for proven peers with usual keys"


def test_a_real_clock_measures(make_overlay: Any) -> None:
    overlay = make_overlay(Lonely)
    packet = make_overlay(Lonely, key=default_eccrypto.generate_key("high")).ezr_pack(1, Inner(7))
    start = time.thread_time()
    assert outcome(overlay, SOURCE, packet) == "good"
    spent = time.thread_time() - start
    assert 0 < (1 - overlay.signature_guard.costly_time.fill()) * COSTLY_SECONDS_AT_ONCE <= spent


def test_hosts_of_an_ipv6_network_share_a_budget(overlay: Any, manual_clock: Any) -> None:
    guard = overlay.signature_guard
    guard.charge_forged("2001:db8::1", FORGED_SECONDS_AT_ONCE)
    fill = guard.forged_time_per_host.fill
    assert fill(network_of("2001:db8::ffff", 32, 64)) == 0
    assert fill(network_of("2001:db8:0:1::1", 32, 64)) == 1
    guard.charge_forged(NOBODY, 0.001)  # of programs that do not say where a packet came from


def test_a_debt_is_limited() -> None:
    with clock.use(ManualClock(5.0, 5.0)) as manual:
        guard = SignatureGuard()
        guard.charge_costly("1.2.3.4", 1000.0)  # such as after a pause of the machine that was taken for work
        assert not any(guard.admits_costly("1.2.3.4", proven=True) for _ in range(100))
        manual.advance(2)
        assert guard.admits_costly("1.2.3.4", proven=True)


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
    forgeries = [packet[:-2] + number.to_bytes(2, "big") for number in range(64)]
    verify_ahead(overlay, overlay.get_prefix(), [(SOURCE, forged) for forged in forgeries])
    assert len(overlay.signature_guard.verdicts) == len(forgeries)
    authenticate(overlay, SOURCE, stranger)
    for forged in forgeries:
        with pytest.raises(BadSignatureError):
            authenticate(overlay, SOURCE, forged)
    assert not overlay.signature_guard.verdicts
    spent = FORGED_SECONDS_AT_ONCE * (1 - overlay.signature_guard.forged_time.fill())
    assert spent == pytest.approx(len(forgeries) * estimate(sender))
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


def test_forgeries_with_costly_keys_leave_others_alone(make_overlay: Any, overlay: Any, sender: Any,
                                                       manual_clock: Any) -> None:
    forged = forgery_of(make_overlay(Lonely, key=default_eccrypto.generate_key("high")).ezr_pack(1, Inner(7)))
    flood(overlay, manual_clock, [forged], 2000, 3.0, repeat("1.2.3.4"))
    assert all(outcome(overlay, SOURCE, sender.ezr_pack(1, Inner(n))) == "good" for n in range(100))


def test_points_off_their_curve_are_charged(overlay: Any, sender: Any, slow_clock: SlowClock) -> None:
    key = SECT163K1_KEY + bytes(range(42))
    packet = overlay.get_prefix() + b"\x01" + len(key).to_bytes(2, "big") + key + bytes(100)
    guard = overlay.signature_guard
    assert outcome(overlay, SOURCE, packet) == "UnusableKeyError"
    assert guard.costly_time.fill() < 1
    assert guard.forged_time.fill() == 1, "it is paid for once"
    outcomes = Counter(outcome(overlay, SOURCE, packet) for _ in range(1000))
    assert outcomes["UnusableKeyError"] <= COSTLY_SECONDS_AT_ONCE_PER_HOST / 0.001 + 1
    slow_clock.advance(2)
    assert authenticate(overlay, SOURCE, sender.ezr_pack(1, Inner(7)))[0] == sender.my_peer
