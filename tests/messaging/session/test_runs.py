"""Datagrams of a session that are taken together: the same happens as if they were taken one by one."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.session.events import Closed, Received
from ipv8.messaging.session.runs import LONGEST_RUN, LOOK_AFTER, Run
from ipv8.messaging.session.wire import KEEPALIVE, Frame, Reason
from tests.messaging.session.network import TAG, Network, Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.messaging.session.channel import Channel

FAR = UDPv4Address("9.9.9.9", 999)
QUIC = bytes((Frame.QUIC,))
MESSAGE = bytes((Frame.MESSAGE,)) + TAG + b"\x01hello"
NOW = 1001.0


class Transfer:
    """A session by which the first node sends packets of QUIC to the second one."""

    def __init__(self) -> None:
        network = Network(1)
        first, self.node = Node(network, 1), Node(network, 2)
        first.say(self.node, b"hello")
        network.run(1)
        sender, channel = first.channel(self.node), self.node.channel(first)
        assert sender is not None
        assert channel is not None
        self.source = first.address
        self.sender: Channel = sender
        self.channel: Channel = channel
        self.channel.streams = 1
        self.node.machine.take_events()
        self.take_one(self.seal(b"first"))  # which confirms the keys

    def seal(self, *contents: bytes) -> list[tuple[Any, bytes]]:
        return [(self.source, datagram) for datagram in self.sender.seal_many(Frame.QUIC, list(contents))]

    def seal_frame(self, frame: bytes) -> list[tuple[Any, bytes]]:
        return [(self.source, self.sender.seal(frame))]

    def run(self, datagrams: list[tuple[Any, bytes]], is_late: Callable[[], bool] = lambda: False,
            position: int = 0) -> tuple[int, list[bytes]]:
        """How many datagrams were taken together, and the packets in them."""
        run = self.node.machine.run(datagrams, position, NOW, is_late)
        assert run is not None
        packets = list(run.packets)
        run.finish()
        return run.count, packets

    def take_one(self, datagrams: list[tuple[Any, bytes]]) -> list[bytes]:
        frames = [self.node.machine.take(datagram, address, NOW) for address, datagram in datagrams]
        return [taken[1][1:] for taken in frames if taken is not None]

    def state(self) -> dict[str, Any]:
        channel, stats = self.channel, self.channel.stats
        return {"top": channel.window.top, "missing": channel.window.missing, "heard": channel.heard,
                "asked at": channel.asked_at, "owes": channel.owes, "busy": channel.busy,
                "datagrams": stats.datagrams_down, "bytes": stats.bytes_down, "forged": channel.epoch.forged,
                "drops": dict(self.node.machine.drops), "direct at": channel.roaming.direct_at}


def contents(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.fixture
def transfer() -> Transfer:
    return Transfer()


def test_what_is_in_order_is_taken_together(transfer: Transfer) -> None:
    assert transfer.run(transfer.seal(*contents(20))) == (20, contents(20))
    assert transfer.channel.window.top == transfer.sender.counter - 1


def test_a_run_has_a_limit(transfer: Transfer) -> None:
    datagrams = transfer.seal(*contents(LONGEST_RUN + 5))
    assert transfer.run(datagrams) == (LONGEST_RUN, contents(LONGEST_RUN))
    assert transfer.run(datagrams, position=LONGEST_RUN) == (5, contents(LONGEST_RUN + 5)[LONGEST_RUN:])


def test_the_rest_is_left_when_it_takes_long(transfer: Transfer) -> None:
    datagrams = transfer.seal(*contents(20))
    assert transfer.run(datagrams, lambda: True) == (LOOK_AFTER, contents(LOOK_AFTER))
    assert transfer.run(datagrams, position=LOOK_AFTER) == (20 - LOOK_AFTER, contents(20)[LOOK_AFTER:])


def test_datagrams_are_taken_when_their_packets_are_asked_for(transfer: Transfer) -> None:
    datagrams = transfer.seal(*contents(20))
    run = transfer.node.machine.run(datagrams, 0, NOW, lambda: False)
    assert run is not None
    assert [next(run.packets), next(run.packets)] == contents(2)
    run.finish()
    assert run.count == 2
    assert transfer.run(datagrams, position=2) == (18, contents(20)[2:])


@pytest.mark.parametrize("streams", [0, 1])
def test_other_datagrams_are_no_run(transfer: Transfer, streams: int) -> None:
    transfer.channel.streams = streams
    ((source, datagram),) = transfer.seal(b"x")
    unknown = datagram[:23] + b"????" + datagram[27:]
    init = datagram[:22] + b"\x01" + datagram[23:]
    for other in (unknown, init) if streams else (unknown, init, datagram):
        assert transfer.node.machine.run([(source, other)], 0, NOW, lambda: False) is None


def test_a_gap_ends_a_run_and_does_not_keep_others_from_being_taken_together(transfer: Transfer) -> None:
    datagrams = transfer.seal(*contents(10))
    missing = datagrams.pop(4)
    assert transfer.run(datagrams) == (4, contents(4))
    assert transfer.run(datagrams, position=4) == (0, [])
    assert transfer.take_one(datagrams[4:5]) == [b"5"]
    assert transfer.run(datagrams, position=5) == (4, contents(10)[6:])
    assert transfer.run([missing]) == (0, [])
    assert transfer.take_one([missing]) == [b"4"]
    assert transfer.channel.window.missing == 0
    assert transfer.run(transfer.seal(b"next")) == (1, [b"next"])


def test_nothing_is_taken_twice(transfer: Transfer) -> None:
    datagrams = transfer.seal(*contents(5))
    assert transfer.run(datagrams + datagrams) == (5, contents(5))
    assert transfer.run(datagrams) == (0, [])
    assert transfer.take_one(datagrams) == []
    assert transfer.node.machine.drops["replay"] == 5


def test_forged_ones_are_counted_and_the_genuine_one_is_still_taken(transfer: Transfer) -> None:
    first, second, third = transfer.seal(*contents(3))
    before = transfer.channel.stats.datagrams_down
    forged = second[0], second[1][:-1] + bytes((second[1][-1] ^ 1,))
    assert transfer.run([first, forged, forged, second, third]) == (5, contents(3))
    assert transfer.channel.epoch.forged == transfer.node.machine.drops["forged"] == 2
    assert transfer.channel.stats.datagrams_down == before + 3


def test_short_ones_are_left(transfer: Transfer) -> None:
    ((source, datagram),) = transfer.seal(b"x")
    for size in range(len(datagram)):
        if size > 22:
            run = transfer.node.machine.run([(source, datagram[:size])], 0, NOW, lambda: False)
            assert run is None or (list(run.packets), run.count) == ([], 0)
    ((source, empty),) = transfer.seal_frame(QUIC)
    assert transfer.run([(source, empty)]) == (0, [])


def test_another_address_ends_a_run(transfer: Transfer) -> None:
    datagrams = transfer.seal(b"0", b"1", bytes(100), b"3")
    datagrams[2] = FAR, datagrams[2][1]
    assert transfer.run(datagrams) == (2, contents(2))
    assert transfer.run(datagrams, position=2) == (0, [])
    assert transfer.take_one(datagrams[2:3]) == [bytes(100)]
    assert transfer.channel.roaming.is_probing
    assert transfer.run(datagrams, position=3) == (0, []), "each datagram is evidence of where the peer is"
    assert transfer.take_one(datagrams[3:]) == [b"3"]


def test_the_first_datagram_under_new_keys_is_no_run(transfer: Transfer) -> None:
    transfer.channel.confirmed = transfer.channel.epoch.number - 1
    datagrams = transfer.seal(*contents(3))
    assert transfer.run(datagrams) == (0, [])
    assert transfer.take_one(datagrams[:1]) == [b"0"]
    assert transfer.run(datagrams, position=1) == (2, contents(3)[1:])


def test_counters_that_are_nearly_used_up(transfer: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipv8.messaging.session.runs.COUNTER_LIMIT", transfer.sender.counter + 10)
    assert transfer.run(transfer.seal(*contents(3))) == (0, [])


class TestOtherFrames:
    """What is no packet of QUIC with a short header is the last thing that is taken, and the machine tells it."""

    def events(self, transfer: Transfer, frame: bytes) -> list[Any]:
        datagrams = transfer.seal(b"before") + transfer.seal_frame(frame) + transfer.seal(b"behind")
        assert transfer.run(datagrams) == (2, [b"before"])
        events = transfer.node.machine.take_events()
        assert transfer.run(datagrams, position=2) == (1, [b"behind"])
        return events

    def test_a_message(self, transfer: Transfer) -> None:
        assert self.events(transfer, MESSAGE) == [Received(transfer.channel, transfer.source, MESSAGE)]

    def test_a_packet_with_a_long_header(self, transfer: Transfer) -> None:
        packet = QUIC + b"\xc0" + bytes(50)
        assert self.events(transfer, packet) == [Received(transfer.channel, transfer.source, packet)]

    def test_a_ping(self, transfer: Transfer) -> None:
        assert self.events(transfer, bytes((Frame.PING,)) + bytes(8)) == []
        assert len(transfer.node.machine.datagrams()) == 1

    def test_the_end_of_the_session(self, transfer: Transfer) -> None:
        datagrams = transfer.seal(b"before") + transfer.seal_frame(bytes((Frame.CLOSE, Reason.SHUTDOWN)))
        behind = transfer.seal(b"behind")
        assert transfer.run(datagrams + behind) == (2, [b"before"])
        assert [type(event) for event in transfer.node.machine.take_events()] == [Closed]
        assert transfer.node.machine.run(behind, 0, NOW, lambda: False) is None

    @pytest.mark.parametrize(("frame", "is_owed"), [(MESSAGE, True), (KEEPALIVE, False)])
    def test_whether_an_answer_is_owed(self, transfer: Transfer, frame: bytes, is_owed: bool) -> None:
        transfer.channel.owes = transfer.channel.busy = False
        assert transfer.run(transfer.seal_frame(frame)) == (1, [])
        assert transfer.channel.owes == transfer.channel.busy == is_owed


def mixed(transfer: Transfer, random: Random) -> list[tuple[Any, bytes]]:
    """Datagrams of all kinds, some of them lost, repeated, late or forged."""
    frames = [MESSAGE, KEEPALIVE, QUIC + b"\xc0" + bytes(30), bytes((Frame.PING,)) + bytes(8), b"\x7funknown"]
    datagrams: list[tuple[Any, bytes]] = []
    for number in range(random.randrange(1, 60)):
        if random.random() < 0.1:
            datagrams += transfer.seal_frame(random.choice(frames))
        else:
            datagrams += transfer.seal(b"%d" % number)
    for _ in range(random.randrange(6)):
        place = random.randrange(len(datagrams))
        source, datagram = datagrams[place]
        change = random.randrange(4)
        if change == 0:
            del datagrams[place]
        elif change == 1:
            datagrams.insert(random.randrange(len(datagrams) + 1), datagrams[place])
        elif change == 2:
            datagrams.insert(place, (source, datagram[:-1] + bytes((datagram[-1] ^ 1,))))
        else:
            datagrams.append(datagrams.pop(place))
        if not datagrams:
            break
    return datagrams


@pytest.mark.parametrize("seed", range(40))
def test_the_same_happens_as_one_by_one(seed: int) -> None:
    together, alone = Transfer(), Transfer()
    datagrams = mixed(together, Random(seed))
    assert mixed(alone, Random(seed)) == datagrams
    taken: list[list[bytes]] = [[], []]

    def note(number: int, transfer: Transfer) -> None:
        taken[number] += [event.frame for event in transfer.node.machine.take_events() if isinstance(event, Received)]

    position = 0
    while position < len(datagrams):
        count, packets = together.run(datagrams, position=position)
        taken[0] += [QUIC + packet for packet in packets]
        if not count:
            count = 1
            frame = together.node.machine.take(datagrams[position][1], datagrams[position][0], NOW)
            taken[0] += [] if frame is None else [frame[1]]
        note(0, together)
        position += count
    for source, datagram in datagrams:
        frame = alone.node.machine.take(datagram, source, NOW)
        taken[1] += [] if frame is None else [frame[1]]
        note(1, alone)
    assert taken[0] == taken[1]
    assert together.state() == alone.state()
    assert together.node.machine.datagrams() == alone.node.machine.datagrams()


def test_a_run_that_nobody_takes_changes_nothing(transfer: Transfer) -> None:
    before = transfer.state()
    run = Run(transfer.channel.epoch, transfer.seal(*contents(3)), 0, NOW, lambda: False)
    run.finish()
    assert run.count == 0
    assert transfer.state() == before
