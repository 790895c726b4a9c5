"""When the packets of a connection leave. The test sets the clock, and a plain object stands for the QUIC library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.stream_limits import StreamLimits
from ipv8.stream_packets import (
    BURST,
    BURST_TIME,
    BUSY_LOOK_AFTER,
    BUSY_PACKETS,
    KEEP_ALIVE_PART,
    LOOK_AFTER,
    MANY_PACKETS,
    SHORTEST_TIMER,
    StreamPackets,
)
from ipv8.stream_statistics import StreamCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = 100.0


class Timer:
    """A timer that knows whether it was cancelled."""

    def __init__(self, when: float, callback: Callable[..., object]) -> None:
        self.when, self.callback, self.is_cancelled = when, callback, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Hand:
    """Sets the clock and starts timers."""

    def __init__(self) -> None:
        self.now = START
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Any:
        assert not args
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def run(self, until: float) -> None:
        """Call what is due until then."""
        while True:
            self.timers = [timer for timer in self.timers if not timer.is_cancelled]
            due = [timer for timer in self.timers if timer.when <= until]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = until

    def turn(self) -> None:
        """One round of the event loop."""
        due = [timer for timer in self.timers if timer.when <= self.now and not timer.is_cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.callback()


class Library:
    """Stands for QUIC."""

    is_closed = False
    is_connected = True

    def __init__(self) -> None:
        self.ready: list[bytes] = []
        self.due: float | None = None
        self.looks: list[float] = []
        self.ticks: list[float] = []
        self.pings = 0

    def receive(self, packet: bytes, now: float) -> None:
        pass

    def receive_many(self, packets: list[bytes], now: float) -> int:
        return len(packets)

    def datagrams(self, now: float) -> list[bytes]:
        self.looks.append(now)
        packets, self.ready = self.ready, []
        return packets

    def deadline(self) -> float | None:
        return self.due

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.due = None

    def ping(self) -> None:
        self.pings += 1


class Owner:
    """Stands for the connection."""

    def __init__(self) -> None:
        self.counters = StreamCounters()
        self.limits = StreamLimits(idle_timeout=60.0)
        self.sent = 0
        self.streams: dict[int, None] = {}
        #: How often there are events.
        self.events = 0

    def handle_events(self) -> bool:
        self.events -= self.events > 0
        return self.events > 0


class Setting:
    """The packets of a connection, and all that they use."""

    def __init__(self, hand: Hand) -> None:
        self.hand, self.library, self.owner = hand, Library(), Owner()
        self.sent: list[list[bytes]] = []
        library: Any = self.library
        self.packets = StreamPackets(self.owner, library, lambda packet: self.sent.append([packet]), self.sent.append,
                                     hand)
        self.packets.flush()
        self.library.looks.clear()

    def arrive(self, count: int = 1) -> None:
        self.packets.receive_many([b"packet"] * count, self.hand.now)


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand()
    with clock.use(made):
        yield made


@pytest.fixture
def setting(hand: Hand) -> Setting:
    return Setting(hand)


def test_a_few_packets_are_acknowledged_together_after_a_while(setting: Setting) -> None:
    for number in range(5):
        setting.hand.run(START + number * LOOK_AFTER / 10)
        setting.arrive()
    setting.hand.run(START + 1)
    assert setting.library.looks == pytest.approx([START + LOOK_AFTER])
    assert setting.owner.counters.packets_down == 5


def test_many_packets_are_acknowledged_later(setting: Setting) -> None:
    for number in range(10):
        setting.hand.run(START + number * LOOK_AFTER / 4)
        setting.arrive(BUSY_PACKETS // 4)
    setting.hand.run(START + 1)
    first, second = setting.library.looks
    assert first == pytest.approx(START + BUSY_LOOK_AFTER)
    assert second == pytest.approx(START + 9 * LOOK_AFTER / 4 + LOOK_AFTER)


def test_very_many_packets_are_acknowledged_at_once(setting: Setting) -> None:
    setting.arrive(MANY_PACKETS - 1)
    setting.hand.turn()
    assert setting.library.looks == []
    setting.arrive()
    setting.hand.turn()
    assert setting.library.looks == [START]


def test_there_is_no_look_without_a_reason(setting: Setting) -> None:
    setting.hand.start_timer(0.1, setting.packets._flush)
    setting.hand.start_timer(0.2, setting.packets._on_timer)
    setting.hand.run(START + 1)
    assert setting.library.looks == []


def test_many_packets_do_not_put_off_what_is_to_be_sent_soon(setting: Setting) -> None:
    setting.arrive(BUSY_PACKETS)
    assert setting.packets.is_busy
    setting.packets.soon()
    setting.hand.turn()
    assert setting.library.looks == [START]
    assert not setting.packets.is_busy


@pytest.mark.parametrize("state", ["sent", "handshake"])
def test_what_may_wait_for_the_packets_leaves_at_once(setting: Setting, state: str) -> None:
    if state == "sent":
        setting.owner.sent = 1
    else:
        setting.library.is_connected = False
    setting.packets.receive(b"packet", setting.hand.now)
    setting.hand.turn()
    assert setting.library.looks == [START]


def test_others_run_before_packets_are_sent(setting: Setting) -> None:
    setting.owner.events = 10  # there are always some
    setting.packets.soon()
    setting.hand.turn()
    assert setting.library.looks == []
    setting.hand.turn()
    assert setting.library.looks == [START], "but only once"


def test_bursts(setting: Setting) -> None:
    packets = [b"%d" % number for number in range(2 * BURST + 1)]
    setting.library.ready = list(packets)
    setting.packets.flush()
    assert setting.sent == [packets[:BURST], packets[BURST:2 * BURST], packets[2 * BURST:]]
    assert setting.owner.counters.packets_up == len(packets)


def test_others_run_between_slow_bursts(setting: Setting) -> None:
    packets = [b"%d" % number for number in range(3 * BURST)]
    setting.library.ready = list(packets)
    send = setting.sent.append

    def send_slowly(burst: list[bytes]) -> None:
        send(burst)
        setting.hand.now += BURST_TIME

    setting.packets._send_many = send_slowly
    setting.packets.flush()
    for number in range(1, 4):
        assert setting.sent == [packets[start:start + BURST] for start in range(0, number * BURST, BURST)]
        setting.hand.turn()
    assert len(setting.library.looks) == 1


def test_packets_that_are_spread_over_a_short_time_need_no_timer(setting: Setting) -> None:
    setting.library.ready = [b"first"]
    setting.library.due = START + SHORTEST_TIMER / 10
    setting.packets.flush()
    setting.hand.turn()
    assert setting.library.looks == [START, START]


def test_the_library_is_told_when_its_deadline_has_passed(setting: Setting) -> None:
    setting.library.due = START + 0.5
    setting.packets.flush()
    setting.hand.run(START + 1)
    assert setting.library.ticks == [START + 0.5]
    assert setting.library.looks == [START, START + 0.5]


def test_an_earlier_deadline_replaces_a_later_one(setting: Setting) -> None:
    for seconds in (0.5, 0.2, 0.3):
        setting.library.due = START + seconds
        setting.packets.flush()
    setting.library.looks.clear()
    setting.hand.run(START + 0.4)
    assert setting.library.looks == [START + 0.3]
    assert setting.library.ticks == [START + 0.3]


def test_a_connection_with_streams_is_kept_alive(setting: Setting) -> None:
    interval = setting.owner.limits.idle_timeout / KEEP_ALIVE_PART
    setting.packets.flush()
    setting.hand.run(START + 2 * interval)
    assert setting.library.pings == 0
    setting.owner.streams[0] = None
    setting.packets.flush()
    setting.hand.run(START + 2 * interval + 1)
    assert setting.library.pings == 1
    setting.hand.run(START + 3.5 * interval)
    assert setting.library.pings == 2
    assert setting.library.looks[-1] == pytest.approx(START + 3 * interval, abs=2 * SHORTEST_TIMER)


def test_nothing_happens_after_the_end(setting: Setting) -> None:
    setting.library.due = START + 0.5
    setting.packets.flush()
    setting.arrive()
    setting.packets.end()
    setting.library.looks.clear()
    setting.arrive()
    setting.packets.soon()
    setting.hand.run(START + 1)
    assert setting.library.looks == setting.library.ticks == []


def test_the_end_may_come_with_the_events(setting: Setting) -> None:
    def end() -> bool:
        setting.library.is_closed = True
        setting.packets.end()
        return True

    setting.owner.handle_events = end  # type: ignore[method-assign]
    setting.packets.soon()
    setting.hand.run(START + 1)
    assert setting.library.looks == []
