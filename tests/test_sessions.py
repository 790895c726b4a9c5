"""Encrypted sessions of overlays (doc/encryption.md)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from ipv8 import Community, CommunitySettings, Peer, clock, confidential, message
from ipv8.asking import request
from ipv8.keyvault import ml_kem
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned, lazy_wrapper_wd
from ipv8.messaging.interfaces.endpoint import DataTooBigException
from ipv8.messaging.interfaces.meter import TrafficMeter
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.lazy_payload import VariablePayloadWID, vp_compile
from ipv8.messaging.session.keys import Epoch
from ipv8.messaging.session.wire import SERVICE_PREFIX, Datagram, Frame, join_frames
from ipv8.sessions import SessionObserver, SessionRefused, SessionService, SessionSettings, SessionTimeout
from ipv8.test.base import TestBase
from ipv8.test.clock import ManualClock
from ipv8.test.mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from ipv8.keyvault.keys import PrivateKey


@vp_compile
class Text(VariablePayloadWID):
    msg_id = 1
    format_list = ["varlenHutf8"]
    names = ["text"]

    text: str


@vp_compile
class Open(Text):
    msg_id = 2


@vp_compile
class Whole(Text):
    msg_id = 3


class Notes(Community):
    community_id = b"notes-overlay-000001"
    encryption: str | None = "prefer"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.got: list[tuple[Any, ...]] = []
        self.sessions_seen: list[tuple[str, Any]] = []
        self.add_message_handler(Text, self.on_text)
        self.add_message_handler(Open, self.on_open)
        self.add_message_handler(Whole, self.on_whole)

    @lazy_wrapper(Text)
    def on_text(self, peer: Peer, payload: Text) -> None:
        self.got.append(("text", peer, payload.text, self.delivery))

    @lazy_wrapper_unsigned(Open)
    def on_open(self, address: Any, payload: Open) -> None:
        self.got.append(("open", address, payload.text, self.delivery))

    @lazy_wrapper_wd(Whole)
    def on_whole(self, peer: Peer, payload: Whole, data: bytes) -> None:
        self.got.append(("whole", peer, payload.text, self.delivery))

    @message(4)
    def note(self, peer: Peer, text: str) -> None:
        self.got.append(("note", peer, text, self.delivery))

    @confidential
    @message(5)
    def secret(self, peer: Peer, text: str) -> None:
        self.got.append(("secret", peer, text, self.delivery))

    @confidential
    @request(6, answer=7)
    def add(self, peer: Peer, first: int, second: int) -> int:
        return first + second

    def on_session_opened(self, peer: Peer, session: Any) -> None:
        self.sessions_seen.append(("opened", peer))

    def on_session_closed(self, peer: Peer, reason: str) -> None:
        self.sessions_seen.append(("closed", reason))

    def on_session_failed(self, peer: Peer, reason: str) -> None:
        self.sessions_seen.append(("failed", reason))


class Plain(Notes):
    encryption = None


class Strict(Notes):
    encryption = "require"


class Other(Notes):
    community_id = b"another with session"


class Watching(SessionObserver):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_opened(self, peer: Any, session: Any) -> None:
        self.seen.append(("opened", peer))

    def on_closed(self, peer: Any, reason: str) -> None:
        self.seen.append(("closed", reason))

    def on_failed(self, peer: Any, reason: str) -> None:
        self.seen.append(("failed", reason))


class SessionCase(TestBase[Notes]):
    """Nodes with one overlay each, and all packets that they send."""

    async def make(self, *classes: type[Notes], **settings: Any) -> list[Notes]:
        for overlay_class in classes:
            self.nodes.append(MockIPv8("curve25519", overlay_class, **settings))
        self.wire: list[bytes] = []
        for node in self.nodes:
            node.endpoint.send = self.recording(node.endpoint.send)
        for _ in range(2):
            await self.introduce_nodes()
        await self.deliver_messages()
        self.wire.clear()
        return [node.overlay for node in self.nodes]

    def recording(self, send: Any) -> Any:
        def record(address: Any, packet: bytes) -> None:
            self.wire.append(packet)
            send(address, packet)

        return record

    def clear_messages(self) -> list[bytes]:
        """The messages of the overlay that were sent in clear."""
        return [packet for packet in self.wire if packet[:22] == Notes.version.rjust(2, b"\0") + Notes.community_id
                and packet[22] < 230]


@pytest.fixture
async def case() -> Any:
    made = SessionCase()
    with clock.use(ManualClock()):  # so that nothing that waits for a session waits too long
        made.setUp()
        yield made
        await made.tearDown()


def peer_of(overlay: Community, other: Community) -> Peer:
    found = overlay.network.get_verified_by_public_key_bin(other.my_peer.public_key.key_to_bin())
    assert found is not None
    return found


async def test_messages_wait_for_the_session_and_are_sealed(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    first.ez_send(peer, Text("hello"))
    first.note.send(peer, "a note")
    first.ez_send(peer, Open("open"), sig=False)
    await case.deliver_messages()
    session = first.session_for(peer)
    assert session is not None
    assert [text for _, _, text, _ in second.got] == ["hello", "a note", "open"]
    assert all(delivery is not None for *_, delivery in second.got)
    assert second.got[0][1] == first.my_peer
    assert second.delivery is None
    assert not case.clear_messages()
    assert all(b"hello" not in packet for packet in case.wire)
    assert peer.session is session
    assert ("opened", peer) in first.sessions_seen


async def test_both_sides_know_the_same_session(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    session = await first.secure(peer_of(first, second))
    await case.deliver_messages()
    other = second.session_for(peer_of(second, first))
    assert other is not None
    assert (session.initiator, other.initiator) == (True, False)
    assert session.binding == other.binding
    assert session.cipher == other.cipher
    assert await session.ping() >= 0
    assert session.stats.round_trip is not None


async def test_handlers_that_need_the_packet_get_it_signed(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    await first.secure(peer)
    first.ez_send(peer, Whole("signed"))
    await case.deliver_messages()
    assert [(kind, text) for kind, _, text, _ in second.got] == [("whole", "signed")]
    assert second.got[0][3] is not None
    assert not case.clear_messages()


async def test_other_side_asks_for_signatures(case: SessionCase) -> None:
    """The receiver has a handler that needs the packet, the sender does not: the first message is lost."""
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    await first.secure(peer)
    second.decode_map[1] = second.decode_map[3]
    first.ez_send(peer, Text("lost"))
    await case.deliver_messages()
    assert second.got == []
    first.ez_send(peer, Text("signed"))
    await case.deliver_messages()
    assert [(kind, text) for kind, _, text, _ in second.got] == [("whole", "signed")]
    assert not case.clear_messages()


async def test_handlers_are_replaced_while_there_is_a_session(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    await first.secure(peer)
    first.ez_send(peer, Text("one"))
    await case.deliver_messages()
    former = second.decode_map[1]
    second.decode_map[1] = second.decode_map[3]
    first.ez_send(peer, Text("lost"))
    await case.deliver_messages()
    first.ez_send(peer, Text("signed"))
    await case.deliver_messages()
    second.decode_map[1] = former
    first.decode_map[1] = first.decode_map[3]  # the sender signs what it would want to be signed
    case.wire.clear()
    first.ez_send(peer, Text("two"))
    await case.deliver_messages()
    assert [(kind, text) for kind, _, text, _ in second.got] == [("text", "one"), ("whole", "signed"), ("text", "two")]
    assert len(case.wire) == 1
    assert len(case.wire[0]) > 64 + len(first.my_peer.key_bin)


async def test_an_overlay_that_is_unloaded_gets_nothing_more(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    other = Other(CommunitySettings(my_peer=second.my_peer, endpoint=second.endpoint, network=second.network))
    peer = peer_of(first, second)
    await first.secure(peer)
    first.ez_send(peer, Text("one"))
    await case.deliver_messages()
    await second.unload()
    first.ez_send(peer, Text("two"))
    await case.deliver_messages()
    assert [text for _, _, text, _ in second.got] == ["one"]
    service = SessionService.find(other.endpoint)
    assert service is not None
    assert service.drops["overlay"] == 1
    await other.unload()


async def test_requests_are_answered_in_the_session(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    await first.secure(peer)
    assert await first.ask(peer, first.add, 2, 3) == 5
    assert not case.clear_messages()


async def test_overlays_without_policy_make_no_service(case: SessionCase) -> None:
    first, second = await case.make(Plain, Plain)
    first.ez_send(peer_of(first, second), Text("hello"))
    await case.deliver_messages()
    assert SessionService.find(first.endpoint) is None
    assert [delivery for *_, delivery in second.got] == [None]
    assert len(case.clear_messages()) == 1
    assert not peer_of(first, second).session_capable_until
    with pytest.raises(SessionRefused, match="encryption"):
        await first.secure(peer_of(first, second))


async def test_a_service_takes_in_the_overlays_that_are_there(case: SessionCase) -> None:
    first, second = await case.make(Plain, Notes)
    assert first._overlay_sessions is None
    service = SessionService.of(first.endpoint)
    assert first._overlay_sessions is not None
    assert first._overlay_sessions.encryption == "accept"
    session = await second.secure(peer_of(second, first))
    await case.deliver_messages()
    assert service.sessions()[0].binding == session.binding
    first.ez_send(peer_of(first, second), Text("back"))
    await case.deliver_messages()
    assert second.got[0][3] is session
    await service.unload()


async def test_prefer_falls_back_to_signed_messages(case: SessionCase) -> None:
    first, second = await case.make(Notes, Plain)
    peer = peer_of(first, second)
    first.ez_send(peer, Text("at once"))
    await case.deliver_messages()
    assert [text for _, _, text, _ in second.got] == ["at once"]
    assert not [packet for packet in case.wire if packet.startswith(SERVICE_PREFIX)]


async def test_prefer_sends_what_waited_too_long(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    deaf = SessionService.find(second.endpoint)
    assert deaf is not None
    second.endpoint.remove_listener(deaf)
    first.ez_send(peer, Text("late"))
    await case.deliver_messages()
    assert second.got == []
    service = SessionService.find(first.endpoint)
    assert service is not None
    service._events.act(service.machine.tick(service.machine.now + 2))
    await case.deliver_messages()
    assert [(text, delivery) for _, _, text, delivery in second.got] == [("late", None)]


async def test_require_sends_and_accepts_nothing_in_clear(case: SessionCase) -> None:
    strict, open_minded = await case.make(Strict, Plain)
    to_open, to_strict = peer_of(strict, open_minded), peer_of(open_minded, strict)
    strict.ez_send(to_open, Text("not sent"))
    strict.endpoint.send(to_open.address, strict.ezr_pack(1, Text("not sent either")))
    open_minded.ez_send(to_strict, Text("refused"))
    await case.deliver_messages()
    assert strict.got == open_minded.got == []
    assert strict.endpoint.drops[DropCounter.WRONG_ROUTE] == 1
    assert strict.drops[DropCounter.PLAINTEXT_BLOCKED] == 1
    assert len(case.clear_messages()) == 1  # that of the other node
    # Peers are still found.
    strict.walk_to(to_open.address)
    await case.deliver_messages()
    assert len(strict.get_peers()) == 1


async def test_require_wraps_packets_that_programs_send(case: SessionCase) -> None:
    first, second = await case.make(Strict, Strict)
    peer = peer_of(first, second)
    await first.secure(peer)
    first.endpoint.send(peer.address, first.ezr_pack(1, Text("wrapped")))
    await case.deliver_messages()
    assert [text for _, _, text, _ in second.got] == ["wrapped"]
    assert not case.clear_messages()


async def test_require_keeps_unsigned_packets_unsigned(case: SessionCase) -> None:
    first, second = await case.make(Strict, Strict)
    peer = peer_of(first, second)
    await first.secure(peer)
    first.endpoint.send(peer.address, first.ezr_pack(2, Open("wrapped"), sig=False))
    await case.deliver_messages()
    assert [(kind, text) for kind, _, text, _ in second.got] == [("open", "wrapped")]


async def test_confidential_messages_are_refused_in_clear(case: SessionCase) -> None:
    first, second = await case.make(Plain, Notes)
    peer = peer_of(first, second)
    first.secret.send(peer, "in clear")
    await case.deliver_messages()
    assert second.got == []
    assert second.drops[DropCounter.NOT_CONFIDENTIAL] == 1
    with pytest.raises(TimeoutError):
        await first.ask(peer, first.add.within(0.05), 2, 3)
    await second.secure(peer_of(second, first)) if SessionService.find(first.endpoint) else None
    SessionService.of(first.endpoint)
    await second.secure(peer_of(second, first))
    await case.deliver_messages()
    first.secret.send(peer, "in a session")
    await case.deliver_messages()
    assert [text for _, _, text, _ in second.got] == ["in a session"]


async def test_session_after(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes, session_after=2)
    peer = peer_of(first, second)
    for number in range(3):
        first.ez_send(peer, Text(str(number)))
        await case.deliver_messages()
    assert [delivery is None for *_, delivery in second.got] == [True, True, False]


async def test_packets_of_others_are_refused_in_a_session(case: SessionCase) -> None:
    first, second, third = await case.make(Notes, Notes, Notes)
    session = await first.secure(peer_of(first, second))
    foreign = third.ezr_pack(1, Text("not from the first"))
    first.endpoint.send(session.address, session.seal(bytes((Frame.PACKET,)) + foreign))
    await case.deliver_messages()
    assert second.got == []
    service = SessionService.find(second.endpoint)
    assert service is not None
    assert service.drops["frame"] == 1


async def test_overlay_that_the_other_side_lacks(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    await first.secure(peer)
    await case.deliver_messages()
    service = SessionService.find(second.endpoint)
    assert service is not None
    service._events.parts.clear()
    first.ez_send(peer, Text("nobody there"))
    await case.deliver_messages()
    first.ez_send(peer, Text("in clear"))
    await case.deliver_messages()
    assert service.drops["overlay"] == 1
    assert len(case.clear_messages()) == 1


async def test_datagrams(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer, got = peer_of(first, second), []
    second.add_datagram_handler(lambda sender, data: got.append((sender, data)))
    with pytest.raises(RuntimeError):
        second.add_datagram_handler(print)
    with pytest.raises(SessionRefused, match="secure"):
        first.send_datagram(peer, b"no session")
    await first.secure(peer)
    first.send_datagram(peer, bytes(1172))
    with pytest.raises(DataTooBigException):
        first.send_datagram(peer, bytes(1173))
    await case.deliver_messages()
    assert got == [(first.my_peer, bytes(1172))]


async def test_connecting(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    service = SessionService.find(first.endpoint)
    assert service is not None
    with pytest.raises(ValueError, match="itself"):
        await service.connect(first.my_peer)
    # All callers share one attempt, and one that gives up leaves it to the others.
    waiting = [asyncio.ensure_future(first.secure(peer)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    sessions = await asyncio.gather(*waiting[1:])
    assert sessions[0] is sessions[1]
    inits = [packet for packet in case.wire if packet.startswith(SERVICE_PREFIX) and packet[22] == Datagram.INIT]
    assert len(inits) == 1


async def test_connecting_in_vain(case: SessionCase) -> None:
    first, second = await case.make(Notes, Plain)
    watching = Watching()
    service = SessionService.find(first.endpoint)
    assert service is not None
    service.add_observer(watching)
    with pytest.raises(SessionTimeout):
        await first.secure(peer_of(first, second), timeout=0.05)
    for _ in range(5):
        service._events.act(service.machine.tick(service.machine.now + 5))
    assert ("failed", "timeout") in first.sessions_seen
    assert watching.seen == [("failed", "timeout")]


async def test_closing(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    session = await first.secure(peer)
    await case.deliver_messages()
    session.close()
    await case.deliver_messages()
    assert not session.is_open
    assert first.session_for(peer) is second.session_for(peer_of(second, first)) is None
    assert ("closed", "closed by the peer: shutdown") in second.sessions_seen
    assert peer.session is None


async def test_unloading_says_goodbye(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    await first.secure(peer_of(first, second))
    await case.deliver_messages()
    service = SessionService.find(first.endpoint)
    assert service is not None
    await first.unload()
    await case.deliver_messages()
    assert second.session_for(peer_of(second, first)) is None
    assert not service.sessions()
    await service.unload()
    await service.unload()
    assert SessionService.find(first.endpoint) is None


async def test_anonymous_overlays_have_no_sessions(case: SessionCase, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (overlay,) = await case.make(Notes, anonymize=True)
    assert overlay._overlay_sessions is None
    assert any("no session" in record.message for record in caplog.records)


@pytest.mark.parametrize("settings", [{"hybrid": "maybe"}, {"cipher": "des"}, {"padding": 0}, {"idle_timeout": -1}])
async def test_settings_are_checked(case: SessionCase, settings: dict[str, Any]) -> None:
    (overlay,) = await case.make(Plain)
    with pytest.raises(ValueError, match=next(iter(settings))):
        SessionService.of(overlay.endpoint, SessionSettings(**settings))


async def test_unknown_policies_are_refused(case: SessionCase) -> None:
    with pytest.raises(ValueError, match="sometimes"):
        await case.make(Notes, encryption="sometimes")


async def test_two_overlays_with_one_prefix(case: SessionCase, caplog: pytest.LogCaptureFixture) -> None:
    (overlay,) = await case.make(Notes)
    settings = Notes.settings_class(my_peer=overlay.my_peer, endpoint=overlay.endpoint, network=overlay.network)
    with caplog.at_level(logging.ERROR):
        other = Notes(settings)
    assert other._overlay_sessions is None
    assert any("same key" in record.message for record in caplog.records)
    await other.unload()


async def test_padding(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    service = SessionService.find(first.endpoint)
    assert service is not None
    service.machine.settings = service.machine.settings._replace(padding=64)
    peer = peer_of(first, second)
    await first.secure(peer)
    case.wire.clear()
    for size in range(0, 130, 13):
        first.ez_send(peer, Text("x" * size))
    await case.deliver_messages()
    assert {len(packet) % 64 for packet in case.wire} == {51}
    assert len(second.got) == 10


async def test_messages_in_sessions_are_counted(case: SessionCase) -> None:
    for _ in range(2):
        case.nodes.append(MockIPv8("curve25519", Notes, enable_statistics=True))
    first, second = await case.make()
    peer = peer_of(first, second)
    await first.secure(peer)
    first.ez_send(peer, Text("counted"))
    first.ez_send(peer, Whole("packet"))
    first.ez_send(peer, Open("unsigned"), sig=False)
    await case.deliver_messages()
    prefix = first.get_prefix()
    sent, received = (node.endpoint.get_statistics(prefix) for node in case.nodes)
    for number in (1, 2, 3):
        assert (sent[number].num_up, received[number].num_down) == (1, 1)


async def test_a_meter_counts_messages_in_sessions(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer = peer_of(first, second)
    session = await first.secure(peer)
    before = session.stats.datagrams_up
    meters = [TrafficMeter(), TrafficMeter()]
    for overlay, meter in zip((first, second), meters, strict=True):
        overlay.endpoint.gate.meter = meter
    first.ez_send(peer, Text("counted"))
    first.ez_send(peer, Whole("packet"))
    first.ez_send(peer, Open("unsigned"), sig=False)
    await case.deliver_messages()
    sent, received = meters
    for number in (1, 2, 3):
        key = first.get_prefix() + bytes((number,))
        assert (sent.counts[key].packets_up, received.counts[key].packets_down) == (1, 1)
        assert sum(received.counts[key].buckets) == 1
    assert (sent.inside.packets_up, received.inside.packets_down) == (3, 3)
    assert sent.totals().packets_up == session.stats.datagrams_up - before, "the datagrams that had them"
    assert len(second.got) == 3


async def test_clocks_that_disagree_end_all_sessions(case: SessionCase, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await case.make(Notes, Notes)
    session = await first.secure(peer_of(first, second))
    service = SessionService.find(first.endpoint)
    assert service is not None
    service._on_time()
    assert session.is_open
    service._clocks = (service._clocks[0], service._clocks[1] - 60)  # type: ignore[index]
    service._on_time()
    assert not session.is_open


async def hold_message(case: SessionCase) -> tuple[Notes, Notes, SessionService]:
    """Two overlays, of which the first one keeps a message for a session with the second one, which answers none."""
    first, second = await case.make(Notes, Notes)
    deaf, service = SessionService.find(second.endpoint), SessionService.find(first.endpoint)
    assert deaf is not None
    assert service is not None
    second.endpoint.remove_listener(deaf)
    first.ez_send(peer_of(first, second), Text("held"))
    return first, second, service


def replace_send(overlay: Notes, send: Any) -> None:
    endpoint: Any = overlay.endpoint
    endpoint.send = send


def with_another_key(overlay: Notes) -> Other:
    """Another overlay of the same endpoint, with a key of its own."""
    me = Peer(default_eccrypto.generate_key("curve25519"), overlay.my_peer.address)
    return Other(CommunitySettings(my_peer=me, endpoint=overlay.endpoint, network=overlay.network))


async def test_messages_that_wait_are_sent_when_the_overlay_ends(case: SessionCase) -> None:
    """And the sessions of other keys go on."""
    first, second, service = await hold_message(case)
    other = with_another_key(first)
    await first.unload()
    await case.deliver_messages()
    assert [(text, delivery) for _, _, text, delivery in second.got] == [("held", None)]
    for _ in range(3):
        service._events.act(service.machine.tick(service.machine.now + 5))
    assert not service.machine.openings.held_bytes
    assert first.my_peer.key_bin not in service.machine.own_keys
    assert service.get(second.my_peer, cast("PrivateKey", first.my_peer.key)) is None
    assert list(service.machine.own_keys) == [other.my_peer.key_bin]
    await other.unload()


async def test_a_message_that_cannot_be_sent_later_keeps_no_other_one_back(
        case: SessionCase, caplog: pytest.LogCaptureFixture) -> None:
    first, second, service = await hold_message(case)
    first.ez_send(peer_of(first, second), Text("behind it"))
    send, failures = first.endpoint.send, ["too large"]

    def fail_once(address: Any, packet: bytes) -> None:
        if not packet.startswith(SERVICE_PREFIX) and failures:
            raise DataTooBigException(len(failures.pop()), 1)
        send(address, packet)

    replace_send(first, fail_once)
    with caplog.at_level(logging.ERROR):
        service._events.act(service.machine.tick(service.machine.now + 2))
    await case.deliver_messages()
    assert [text for _, _, text, _ in second.got] == ["behind it"]
    assert "failed" in caplog.text


@pytest.mark.parametrize("ends", ["overlay", "service"])
async def test_whoever_waits_for_a_session_is_told_of_the_end(ends: str, case: SessionCase) -> None:
    first, second, service = await hold_message(case)
    other = with_another_key(first)
    waiting = asyncio.ensure_future(first.secure(peer_of(first, second)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await (first.unload() if ends == "overlay" else service.unload())
    with pytest.raises(SessionRefused, match="ended"):
        await waiting
    await other.unload()


async def test_a_handler_that_raises_gets_the_next_frame(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    got: list[bytes] = []

    def take(_: Peer, data: bytes) -> None:
        got.append(data)
        raise RuntimeError("of the program")

    second.add_datagram_handler(take)
    session = await first.secure(peer_of(first, second))
    await case.deliver_messages()
    part = first._overlay_sessions
    assert part is not None
    head = bytes((Frame.DATAGRAM,)) + part.tag
    first.endpoint.send(session.address, session.seal(join_frames([head + b"one", head + b"two"])))
    await case.deliver_messages()
    assert got == [b"one", b"two"]
    assert second.endpoint.drops[DropCounter.LISTENER_ERROR] == 2


async def test_prefer_falls_back_when_the_end_of_handshakes_is_dropped(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    peer, service = peer_of(first, second), SessionService.find(first.endpoint)
    assert service is not None
    send = first.endpoint.send

    def drop_finish(address: Any, packet: bytes) -> None:
        if not packet.startswith(SERVICE_PREFIX) or packet[22] not in {Datagram.FINISH, Datagram.DATA}:
            send(address, packet)

    replace_send(first, drop_finish)
    waiting = asyncio.ensure_future(first.secure(peer))
    await asyncio.sleep(0)
    await case.deliver_messages()
    for _ in range(4):
        service._events.act(service.machine.tick(service.machine.now + 5))
    with pytest.raises(SessionTimeout):
        await waiting
    assert first.sessions_seen == [("failed", "timeout")]
    first.ez_send(peer, Text("in clear"))
    await case.deliver_messages()
    assert [(text, delivery) for _, _, text, delivery in second.got] == [("in clear", None)]


async def test_nothing_of_an_overlay_goes_before_the_session_is_hybrid(case: SessionCase,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    if not ml_kem.is_available():
        pytest.skip("this needs ML-KEM")
    first, second = await case.make(Plain, Plain)
    for overlay in (first, second):
        SessionService.of(overlay.endpoint, SessionSettings(hybrid="require"))
    peer, sealed = peer_of(first, second), []
    seal = Epoch.seal

    def watch(epoch: Epoch, counter: int, plaintext: bytes) -> bytes:
        sealed.append((epoch.hybrid, plaintext[0]))
        return seal(epoch, counter, plaintext)

    monkeypatch.setattr(Epoch, "seal", watch)
    attempts = 0

    def send_in_all_ways() -> None:
        nonlocal attempts
        attempts += 1
        first._ez_senda(peer.address, Text("to an address"))
        first._ez_send_packed(peer.address, first.ezr_pack(1, Text("packed")))
        with suppress(SessionRefused):
            first.send_datagram(peer, b"datagram")

    send = first.endpoint.send

    def send_and_use(address: Any, packet: bytes) -> None:
        send(address, packet)
        if packet.startswith(SERVICE_PREFIX) and attempts < 20:
            send_in_all_ways()

    replace_send(first, send_and_use)
    session = await first.secure(peer)
    assert session.hybrid
    send_in_all_ways()
    await case.deliver_messages()
    carried = {Frame.MESSAGE, Frame.PACKET, Frame.DATAGRAM}
    assert {hybrid for hybrid, kind in sealed if kind in carried} == {True}
    assert {kind for _, kind in sealed} >= {Frame.MESSAGE, Frame.DATAGRAM}
    for service in map(SessionService.find, (first.endpoint, second.endpoint)):
        assert service is not None
        await service.unload()


async def test_a_caller_that_gives_up_at_once_leaves_nothing(case: SessionCase) -> None:
    first, second = await case.make(Notes, Notes)
    service = SessionService.find(first.endpoint)
    assert service is not None
    calling = asyncio.ensure_future(first.secure(peer_of(first, second), timeout=0.01))
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await asyncio.sleep(0)
    assert not service._events._waiting
    assert not service.machine.openings
