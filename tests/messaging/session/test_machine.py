"""The rules of sessions, one by one, on a network in virtual time (doc/protocol/sessions.md sections 6, 7 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.keyvault import ml_kem
from ipv8.messaging.address import RelayedAddress, UDPv4Address
from ipv8.messaging.session import answering, channel as channels, machine as machines, openings, wire
from ipv8.messaging.session.handshake import OwnKey
from ipv8.messaging.session.noise import KeyPair
from ipv8.messaging.session.wire import Datagram, Frame
from tests.messaging.session.network import (
    TAG,
    Closed,
    Failed,
    Moved,
    Network,
    Node,
    Opened,
    Received,
    Unsent,
    private_key,
)

if TYPE_CHECKING:
    from ipv8.messaging.session.channel import Channel

needs_kem = pytest.mark.skipif(not ml_kem.is_available(), reason="this release of cryptography has no ML-KEM-768")
FAR = UDPv4Address("9.9.9.9", 999)


def two(seed: int = 1, **settings: Any) -> tuple[Network, Node, Node]:
    network = Network(seed)
    return network, Node(network, 1, **settings), Node(network, 2, **settings)


def opened(seed: int = 1, **settings: Any) -> tuple[Network, Node, Node, Channel, Channel]:
    """Two nodes with a session that the first one opened."""
    network, first, second = two(seed, **settings)
    first.say(second, b"hello")
    network.run(1)
    mine, other = first.channel(second), second.channel(first)
    assert mine is not None
    assert other is not None
    assert second.heard() == [b"hello"]
    return network, first, second, mine, other


def kinds(node: Node) -> list[int]:
    """The types of the datagrams that a node has sent."""
    return [datagram[22] for _, datagram in node.sent]


# Opening


def test_first_messages_ride_in_finish() -> None:
    network, first, second = two()
    for number in range(5):
        first.say(second, b"%d" % number)
    network.run(0.2)
    assert second.heard() == [b"0", b"1", b"2", b"3", b"4"]
    assert kinds(first) == [Datagram.INIT, Datagram.FINISH]
    assert kinds(second) == [Datagram.RESPONSE, Datagram.DATA]


def test_init_is_repeated_and_given_up() -> None:
    network, first, second = two()
    network.loss = 1.0
    first.say(second, b"lost")
    network.run(60)
    assert kinds(first) == [Datagram.INIT] * 4
    assert len({datagram for _, datagram in first.sent}) == 1
    assert [event.reason for event in first.told(Failed)] == ["timeout"]
    assert [event.contexts for event in first.told(Unsent)] == [[b"lost"]]
    assert first.machine.openings.is_paused(first.own, second.public, network.now)
    network.run(60)
    assert not first.machine.openings.is_paused(first.own, second.public, network.now)


def test_pauses_become_longer_and_end_with_an_introduction() -> None:
    network, first, second = two()
    network.loss = 1.0
    for pause in (60, 120, 240):
        first.open(second)
        network.run(10)
        assert first.machine.openings.is_paused(first.own, second.public, network.now + pause - 20)
        assert not first.machine.openings.is_paused(first.own, second.public, network.now + pause)
    first.machine.openings.resume(first.own, second.public)
    assert not first.machine.openings.is_paused(first.own, second.public, network.now)


def test_both_open_at_once() -> None:
    network, first, second = two()
    first.open(second)
    second.open(first)
    network.run(1)
    mine, other = first.channel(second), second.channel(first)
    assert mine is not None
    assert other is not None
    assert mine.epoch.own_index == other.epoch.remote_index
    smaller = min(first, second, key=lambda node: node.key.pub().key_to_hash())
    assert mine.initiator == (smaller is first)


def test_the_same_init_gets_the_same_response() -> None:
    network, first, second = two()
    first.open(second)
    network.run(1)
    init = first.sent[0][1]
    answers = len(second.machine.answering)
    second.machine.answering._entries.clear()
    second.machine.answering._by_init.clear()
    for _ in range(3):
        second.receive(init, first.address)
    responses = [datagram for _, datagram in second.sent if datagram[22] == Datagram.RESPONSE][1:]
    assert len(responses) == 3
    assert len(set(responses)) == 1
    assert answers == 0


def test_data_that_overtakes_finish_is_kept() -> None:
    network, first, second = two()
    first.open(second)
    network.run(0.06)
    held: list[tuple[Any, Any, bytes]] = []
    network.carry = lambda sender, address, datagram: held.append((sender.address, address, datagram))  # type: ignore[method-assign]
    network.run(0.1)
    for number in range(6):
        first.say(second, b"%d" % number)
    finish, *data = held
    for source, _, datagram in [*data, finish]:
        second.receive(datagram, source)
    assert second.heard() == [b"0", b"1", b"2", b"3"]


def test_unknown_keys_are_answered_only_if_the_node_says_so() -> None:
    for answers in (False, True):
        network, first, second = two(answer_unknown=answers)
        first.machine.open(first.own, second.address, second.address, network.now)
        first.flush()
        network.run(1)
        assert len(first.told(Opened)) == answers
        if answers:
            assert first.told(Opened)[0].channel.remote_bin == second.public


def test_own_keys_are_limited() -> None:
    _, node, _ = two()
    for number in range(2, machines.OWN_KEYS + 1):
        node.machine.add_key(OwnKey(private_key(100 + number), KeyPair(bytes(31) + bytes((number,))), 0))
    with pytest.raises(ValueError, match="at most 8"):
        node.machine.add_key(OwnKey(private_key(99), KeyPair(bytes(range(32))), 0))


def test_a_key_of_this_node_is_refused() -> None:
    """A reflected handshake: a node that is sent its own INIT answers, and refuses its own identity."""
    network, node, _ = two()
    node.machine.open(node.own, node.public, node.address, network.now)
    node.flush()
    network.run(1)
    assert not node.told(Opened)
    assert node.machine.drops["identity"]


# Limits


def init_for(node: Node, number: int) -> bytes:
    """A good INIT of somebody."""
    ephemeral = KeyPair(number.to_bytes(32, "big"))
    return wire.write_init(number.to_bytes(4, "big"), ephemeral.public, wire.mac_key(node.public))


def test_floods_of_inits_stop_no_peer() -> None:
    """Two thousand handshakes a second from forged addresses; a proven peer and a newcomer get in."""
    network, first, second = two()
    newcomer = Node(network, 3)
    second.keys.proven.add(first.address)
    number = 0

    def flood(seconds: float) -> None:
        nonlocal number
        for _ in range(int(seconds * 100)):
            for _ in range(20):
                number += 1
                source = UDPv4Address(f"8.{number % 200}.{number // 200 % 200}.{number % 250}", 1024 + number % 60000)
                second.receive(init_for(second, number), source)
            network.run(0.01)

    flood(1)
    first.say(second, b"proven")
    newcomer.say(second, b"new")
    flood(3)
    assert sorted(second.heard()) == [b"new", b"proven"]
    assert len(second.machine.answering) <= answering.HALF_OPEN
    assert second.machine.handshakes["answered"] <= 2 * (answering.HANDSHAKES_AT_ONCE
                                                         + 5 * answering.HANDSHAKES_PER_SECOND)


def test_under_pressure_a_cookie_is_asked_for() -> None:
    network, first, second = two()
    second.machine.answering.is_late = True
    first.say(second, b"with a cookie")
    network.run(1)
    assert second.heard() == [b"with a cookie"]
    assert kinds(second)[:2] == [Datagram.COOKIE, Datagram.RESPONSE]
    assert max(len(datagram) for _, datagram in second.sent) < wire.INIT_SIZE


def test_cookies_are_for_one_address_and_a_short_time() -> None:
    network, first, second = two()
    second.machine.answering.is_late = True
    first.open(second)
    network.run(0.2)
    with_cookie = next(datagram for _, datagram in first.sent if datagram[wire.MAC2_OFFSET :] != bytes(16)
                       and datagram[22] == Datagram.INIT)
    before = second.machine.handshakes["answered"]
    second.receive(with_cookie, FAR)
    assert second.machine.handshakes["answered"] == before
    network.run(250)
    second.machine.answering._by_init.clear()
    second.receive(with_cookie, first.address)
    assert second.machine.handshakes["answered"] == before


def test_one_source_cannot_use_up_all_handshakes() -> None:
    network, _, second = two()
    second.machine.answering.is_late = True
    for number in range(1, 200):
        source = UDPv4Address("8.8.8.8", 1000 + number)
        init = init_for(second, number)
        cookie = second.machine.answering._cookie(0, source, network.now)
        second.receive(wire.with_cookie(init, cookie), source)
    assert second.machine.handshakes["answered"] == answering.HANDSHAKES_PER_SOURCE_AT_ONCE


def test_wrong_finishes_and_responses_are_tried_a_few_times() -> None:
    network, first, second = two()
    first.open(second)
    network.run(0.06)
    half = next(iter(second.machine.answering._entries.values()))
    wrong = wire.write_finish(half.half.index, bytes(300))
    for _ in range(answering.FINISHES_TRIED + 5):
        second.receive(wrong, FAR)
    assert half.tried == answering.FINISHES_TRIED
    attempt = next(iter(first.machine.openings._attempts.values()))
    for _ in range(openings.RESPONSES_TRIED + 5):
        first.receive(wire.write_response(b"abcd", attempt.opening.index, bytes(243)), FAR)
    assert attempt.tried == openings.RESPONSES_TRIED


def test_a_full_table_makes_room_for_the_idle_ones() -> None:
    network, first, second, _, _ = opened(max_sessions=2)
    third, fourth = Node(network, 3), Node(network, 4)
    third.say(second, b"third")
    network.run(1)
    fourth.say(second, b"no room")
    network.run(1)
    assert len(second.machine.channels()) == 2
    assert b"no room" not in second.heard()
    network.nodes.pop(first.address)
    network.nodes.pop(third.address)
    network.run(channels.NOT_SELECTED_TIME + 2)
    fourth.say(second, b"room")
    network.run(2)
    assert second.heard()[-1] == b"room"
    assert len(second.machine.channels()) == 2


def test_who_only_sends_an_init_ends_no_session() -> None:
    """A full table: sources may be forged until the other side has shown its key."""
    network, first, second, _, _ = opened(max_sessions=1)
    network.nodes.pop(first.address)
    network.run(machines.EVICTABLE_AFTER + 2)
    kept = second.machine.channels()
    assert len(kept) == 1
    for number in range(20):
        second.receive(init_for(second, number), UDPv4Address("8.8.8.8", 1024 + number))
    assert second.machine.channels() == kept
    Node(network, 3).say(second, b"in its place")
    network.run(1)
    assert second.heard()[-1] == b"in its place"
    assert second.machine.channels() != kept
    assert len(second.machine.channels()) == 1


def test_handshakes_at_the_same_time_do_not_fill_the_table_over() -> None:
    network = Network(1)
    server = Node(network, 1, max_sessions=2)
    clients = [Node(network, number) for number in range(2, 8)]
    for client in clients:
        client.say(server, b"at once")
    network.run(1)
    assert len(server.machine.channels()) == len(server.heard()) == 2
    assert server.machine.drops["rate"] == 4


def test_answered_handshakes_are_forgotten_although_there_is_no_session() -> None:
    network, _, second = two()
    for number in range(answering.PRESSURE_HALF_OPEN // 2):
        second.receive(init_for(second, number), UDPv4Address("8.8.8.8", 1024 + number))
    assert len(second.machine.answering)
    network.run(answering.HALF_OPEN_TIME + 2)
    assert len(second.machine.answering) == 0
    assert second.machine.deadline() is None


def test_attempts_that_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin one after the other; the oldest is evicted first, and one with a session by now does not begin."""
    monkeypatch.setattr(openings, "OPENING_AT_ONCE", 1)
    network = Network(1)
    first, *others = [Node(network, number) for number in range(1, 6)]
    first.machine.openings._queue.capacity = 3
    network.nodes.pop(others[0].address)
    for other in others:
        first.say(other, b"its turn")
    assert len(first.machine.openings._queue) == 3
    others[1].say(first, b"sooner")
    network.run(3)
    assert others[1].heard() == [b"its turn"]
    assert others[2].heard() == []
    network.run(6)
    assert [other.heard() for other in others] == [[], *[[b"its turn"]] * 3]
    assert first.machine.handshakes["begun"] == 3
    for _ in range(2):
        first.machine.openings.begin(first.own, others[0].public, others[0].address, network.now)
        for number in range(5):
            first.machine.openings.begin(first.own, b"key %d" % number, others[0].address, network.now)
    assert [pair[1] for pair in first.machine.openings._queue] == [b"key 2", b"key 3", b"key 4"]


def test_a_key_that_is_removed_leaves_nothing() -> None:
    network, first, second, mine, _ = opened()
    absent = Node(network, 3)
    network.nodes.pop(absent.address)
    first.say(absent, b"held")
    first.receive(init_for(first, 1), FAR)
    mine.streams = 1
    first.machine.remove_key(first.own)
    first.note(first.machine.take_events())
    assert first.told(Unsent)[-1].contexts == [b"held"]
    assert not first.machine.channels()
    assert len(first.machine.openings) == len(first.machine.answering) == first.machine.openings.held_bytes == 0
    network.run(20)
    assert kinds(first)[-1] == Datagram.DATA, "the goodbye is the last"
    assert second.told(Closed)[-1].reason == "closed by the peer: shutdown"


@pytest.mark.parametrize("ends", ["close", "drop_all"])
def test_messages_that_wait_are_given_back_at_the_end(ends: str) -> None:
    network, first, second = two()
    network.loss = 1.0
    first.say(second, b"held")
    first.machine.close() if ends == "close" else first.machine.drop_all("fork")
    assert first.machine.take_events() == [Unsent(first.own, second.public, [b"held"])]
    assert first.machine.openings.held_bytes == 0


def test_held_messages_are_limited() -> None:
    network, first, second = two()
    network.loss = 1.0
    for number in range(openings.HELD_FRAMES + 3):
        first.say(second, b"%d" % number)
    lost = [context for event in first.told(Unsent) for context in event.contexts]
    assert lost == [b"0", b"1", b"2"]
    first.say(second, bytes(openings.HELD_BYTES - 100))
    assert first.machine.openings.held_bytes <= openings.HELD_BYTES


# Sessions


def test_quiet_sessions_end() -> None:
    network, first, second, mine, _ = opened(idle_timeout=30.0)
    network.run(40)
    assert not mine.is_open
    assert [event.reason for event in first.told(Closed)] + [event.reason for event in second.told(Closed)] in (
        [["idle", "closed by the peer: idle"], ["closed by the peer: idle", "idle"], ["idle", "idle"]])
    assert first.machine.deadline() is None


def test_unanswered_sessions_are_dropped() -> None:
    network, first, second, mine, _ = opened()
    network.nodes.pop(second.address)
    first.say(second, b"nobody there")
    sent = len(first.sent)
    network.run(8.5)
    assert mine.is_open
    assert len(first.sent) - sent == 2  # pings after 7 and 8 s
    network.run(3)
    assert not mine.is_open
    assert first.told(Closed)[0].reason == "timeout"


def test_what_is_heard_is_answered_by_a_keepalive() -> None:
    network, first, second, _, other = opened()
    network.run(20)
    sent = other.stats.datagrams_up
    first.say(second, b"one way")
    network.run(6)
    assert other.stats.datagrams_up == sent + 1
    network.run(20)
    assert other.stats.datagrams_up == sent + 1


def test_a_node_that_lost_its_sessions_says_so() -> None:
    network, first, second, mine, _ = opened()
    network.run(60)
    second.restart()
    first.say(second, b"lost")
    network.run(1)
    assert kinds(second).count(Datagram.UNKNOWN) == 1
    first.say(second, b"again")
    network.run(1)
    assert second.heard()[-1] == b"again"
    assert first.channel(second) is not mine


def test_hints_prove_nothing() -> None:
    """Forged UNKNOWNs end nothing, and cause a handshake each 30 s at most."""
    network, first, second, mine, _ = opened()
    for _ in range(20):
        first.receive(wire.write_unknown(mine.epoch.remote_index), second.address)
        first.receive(wire.write_unknown(mine.epoch.remote_index), FAR)
        network.run(1)
    assert mine.is_open
    assert first.machine.handshakes["begun"] == 2


def test_old_nodes_do_not_hint() -> None:
    network, first, second, _, _ = opened()
    network.run(machines.UNKNOWN_TIME + 1)
    sent = len(second.sent)
    second.receive(first.sent[-1][1][:23] + b"none" + bytes(40), first.address)
    assert len(second.sent) == sent


def test_repeated_finishes_are_answered_a_few_times() -> None:
    network, first, second, _, _ = opened()
    finish = next(datagram for _, datagram in first.sent if datagram[22] == Datagram.FINISH)
    network.run(1)
    sent = len(second.sent)
    for _ in range(10):
        second.receive(finish, FAR)
    answers = second.sent[sent:]
    assert len(answers) == channels.KEEPALIVES_PER_SECOND
    assert {address for address, _ in answers} == {first.address}


def test_counters_that_leap_stop_at_the_last_one() -> None:
    network, first, second, mine, other = opened()
    mine.counter = (1 << 48) - 1
    datagram = mine.seal(bytes((Frame.MESSAGE,)) + bytes(9) + b"the last")
    second.receive(datagram, first.address)
    assert second.heard()[-1] == b"the last"
    mine.counter = 1 << 48
    second.receive(mine.seal(bytes((Frame.MESSAGE,)) + bytes(9) + b"too far"), first.address)
    assert second.heard()[-1] == b"the last"
    assert other.window.top == (1 << 48) - 1
    network.run(1.5)
    assert not mine.is_open


def test_what_is_taken_is_told_once() -> None:
    """A frame for an overlay is returned, unless something else has happened too; then both are events."""
    network, first, second, here, there = opened()
    frame = bytes((Frame.DATAGRAM,)) + TAG + b"one"
    now = network.now
    assert second.machine.take(here.seal(frame), first.address, now) == (there, frame)
    assert second.machine.take_events() == []
    datagrams = here.seal_many(Frame.QUIC, [b"a", b"b"])
    assert [second.machine.take(datagram, first.address, now) for datagram in datagrams] == [
        (there, b"\x20a"), (there, b"\x20b")]
    assert second.machine.take(datagrams[0], first.address, now) is None
    assert second.machine.drops["replay"] == 1
    assert second.machine.take(here.seal(wire.join_frames([frame, bytes(3)])), first.address, now) is None
    assert second.machine.take_events() == [Received(there, first.address, frame)]
    closing = here.seal(bytes((wire.Frame.CLOSE, 0)))
    last = here.seal(frame)
    assert second.machine.receive(last, first.address, now) == [Received(there, first.address, frame)]
    assert second.machine.take(closing, first.address, now) is None
    assert [type(event) for event in second.machine.take_events()] == [Closed]


def test_malformed_frames_are_counted_and_the_session_goes_on() -> None:
    network, first, second, mine, other = opened()
    for plaintext in (bytes((0x81, 0xFF, 0xFF)) + b"short", bytes((Frame.PING,)) + b"short", bytes((0x7F,)),
                      bytes((Frame.REKEY_OFFER,)) + b"short", bytes((Frame.REKEY_PART,)), bytes((Frame.REKEY_REPLY,))):
        mine.transmit(plaintext)
    first.flush()
    network.run(1)
    assert other.is_open
    assert other.stats.malformed >= 2
    first.say(second, b"still there")
    network.run(1)
    assert second.heard()[-1] == b"still there"


# New keys


def test_both_sides_ask_for_new_keys_in_time() -> None:
    network, first, second, mine, other = opened(rekey_after=20.0)
    for _ in range(100):
        first.say(second, b"x")
        network.run(1)
    assert mine.stats.rekeys == other.stats.rekeys
    assert 3 <= mine.stats.rekeys <= 5
    assert len(first.machine.epochs) == 1


def test_the_responder_asks_for_new_keys() -> None:
    network, first, second, mine, other = opened(rekey_after=20.0)
    first.machine.settings = first.machine.settings._replace(rekey_after=1000.0)
    for _ in range(40):
        second.say(first, b"x")
        network.run(1)
    assert other.stats.rekeys == mine.stats.rekeys == 1


@needs_kem
def test_hybrid_keys_follow_at_once() -> None:
    network, first, second, mine, other = opened(hybrid="auto")
    network.run(1)
    assert mine.hybrid
    assert other.hybrid
    assert mine.epoch.number == 1
    assert max(len(datagram) for _, datagram in [*first.sent, *second.sent]) <= wire.MAX_DATAGRAM


@needs_kem
def test_one_side_without_post_quantum_keys() -> None:
    network = Network(1)
    first, second = Node(network, 1, hybrid="auto"), Node(network, 2, hybrid="off")
    first.say(second, b"classical")
    network.run(2)
    channel = first.channel(second)
    assert channel is not None
    assert not channel.hybrid


@needs_kem
def test_required_post_quantum_keys() -> None:
    network = Network(1)
    first, second, third = Node(network, 1, hybrid="require"), Node(network, 2, hybrid="require"), Node(network, 3)
    first.say(second, b"after the rekey")
    network.run(0.16)
    assert second.heard() == []
    network.run(1)
    assert second.heard() == [b"after the rekey"]
    channel = second.channel(first)
    assert channel is not None
    assert channel.hybrid
    first.say(third, b"never")
    network.run(5)
    assert third.heard() == []
    assert first.told(Failed)[-1].reason == "no post-quantum keys"
    assert first.channel(third) is None


@needs_kem
def test_a_session_is_told_when_messages_may_be_sent() -> None:
    network = Network(1)
    first, second = (Node(network, number, hybrid="require") for number in (1, 2))
    first.open(second)
    network.run(0.21)
    assert first.machine.channels()[0].state == channels.Channel.READY
    assert not first.told(Opened)
    assert first.machine.carrier(first.own, second.public) is None
    network.run(1)
    assert len(first.told(Opened)) == len(second.told(Opened)) == 1
    network.run(400)
    assert len(first.told(Opened)) == 1


@needs_kem
def test_a_session_that_ends_before_it_is_hybrid_was_never_open() -> None:
    network = Network(1)
    first, second = (Node(network, number, hybrid="require") for number in (1, 2))
    first.open(second)
    network.run(0.21)
    first.machine.channels()[0].close(wire.Reason.SHUTDOWN)
    first.note(first.machine.take_events())
    network.run(1)
    assert not [*first.told(Closed), *second.told(Closed)]


@needs_kem
def test_keys_that_are_not_hybrid_are_refused_where_they_must_be() -> None:
    network = Network(1)
    first, second = (Node(network, number, hybrid="require") for number in (1, 2))
    first.say(second, b"hello")
    network.run(1)
    mine, other = first.channel(second), second.channel(first)
    assert mine is not None
    assert other is not None
    network.run(2)
    mine.rekeying.offer(False, network.now)
    first.flush()
    network.run(10)
    assert other.hybrid
    assert other.epoch.number == other.newest.number == 1


@needs_kem
def test_mixed_halves_of_keys_are_of_no_effect() -> None:
    network, first, _, mine, other = opened(hybrid="auto")
    network.run(1)
    half = ml_kem.PUBLIC_KEY_SIZE // 2
    mine.rekeying.offer(hybrid=True, now=network.now)
    first.machine.datagrams()  # the offer is lost; its repetition is mixed with other halves
    for offset in (0, half):
        part = bytes((Frame.REKEY_PART,)) + (2).to_bytes(4, "big") + b"\0" + offset.to_bytes(2, "big")
        mine.transmit(part + bytes(half))
    first.flush()
    network.run(0.5)
    assert other.newest.number == 1
    network.run(5)
    assert mine.epoch.number == other.epoch.number == 2


def test_lost_offers_are_repeated() -> None:
    network, first, second, mine, other = opened(rekey_after=5.0)
    network.loss = 0.5
    for _ in range(60):
        first.say(second, b"x")
        second.say(first, b"y")
        network.run(1)
    network.loss = 0.0
    for _ in range(20):
        first.say(second, b"x")
        network.run(1)
    assert mine.is_open
    assert mine.epoch.own_index == other.epoch.remote_index
    assert mine.stats.rekeys >= 2


# Addresses


def test_a_session_follows_its_peer() -> None:
    network, first, second, _, other = opened()
    moved = UDPv4Address("5.5.5.5", 5555)
    network.rewritten[first.address] = moved
    first.say(second, b"from elsewhere")
    network.run(1)
    assert other.address == moved
    assert [(event.channel.address, event.former) for event in second.told(Moved)] == [(moved, first.address)]
    second.say(first, b"there")
    network.run(1)
    assert first.heard() == [b"there"]


@pytest.mark.parametrize("delay", [0.3, 0.6, 1.2])
def test_a_session_follows_its_peer_on_a_long_way(delay: float) -> None:
    """Probes are sent more often than answers can come."""
    network, first, second, mine, other = opened()
    network.delay = delay
    moved = network.rewritten[first.address] = UDPv4Address("1.0.9.9", 4711)
    for _ in range(30):
        first.say(second, b"from elsewhere")
        second.say(first, b"to the new address")
        network.run(0.2)
    assert other.address == moved
    assert first.channel(second) is mine
    assert len(second.told(Moved)) == 1
    assert b"to the new address" in first.heard()


def test_small_datagrams_do_not_cause_probes() -> None:
    network, first, second, mine, _ = opened()
    sent = len(second.sent)
    second.receive(mine.seal(bytes(1)), FAR)
    assert len(second.sent) == sent
    second.receive(mine.seal(bytes(9)), FAR)
    network.run(0)
    assert [address for address, _ in second.sent[sent:]] == [FAR, first.address]
    assert len(second.sent[sent][1]) == 60


def test_a_relay_is_not_used_while_there_is_a_direct_way() -> None:
    network, _, second, mine, other = opened()
    relayed = RelayedAddress("2001:20::1", 1)
    second.receive(mine.seal(bytes(9)), relayed)
    assert other.roaming._candidate is None
    network.run(20)
    second.receive(mine.seal(bytes(9)), relayed)
    assert other.roaming._candidate == relayed


def test_indexes_are_never_used_twice() -> None:
    network, first, second, mine, _ = opened()
    drawn = [mine.epoch.own_index, mine.epoch.own_index, b"free"]
    first.machine.random = lambda size: drawn.pop(0)
    assert first.machine.new_index() == b"free"
    assert not drawn
    assert network.now
    assert second.machine.epochs
