from __future__ import annotations

import pytest

from ipv8.stream_limits import FASTER, FIRST_WINDOW, MAX_WINDOW, PROBE_INTERVAL, StreamLimits, WriteWindow


class Path:
    """A writer that always has something to write, and a reader at the end of a path.

    :param delay: seconds until the writer knows what was read.
    :param rate: bytes a second that the path can carry.
    """

    def __init__(self, delay: float, rate: float, limited: bool = True) -> None:
        self.window = WriteWindow(StreamLimits())
        self.delay, self.rate, self.limited = delay, rate, limited
        self.now = 0.0
        self.read = 0.0

    def run(self, seconds: float) -> None:
        """Let bytes be read for some time, in steps of one hundredth of the delay."""
        step = self.delay / 100
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self.read += min(self.rate, self.window.size / self.delay) * step
            if self.limited:
                self.window.on_wait()
            self.window.on_read(int(self.read), int(self.read) + self.window.size, self.now)


def test_the_window_grows_to_what_the_path_needs() -> None:
    path = Path(delay=0.1, rate=20_000_000)
    path.run(5)
    assert path.window.size >= 0.1 * 20_000_000
    assert path.window.size < 4 * 0.1 * 20_000_000


def test_the_window_grows_to_its_limit() -> None:
    path = Path(delay=1.0, rate=1e9)
    path.run(20)
    assert path.window.size == MAX_WINDOW


@pytest.mark.parametrize("delay", [0.001, 0.01])
def test_a_window_that_is_large_enough_is_doubled_once(delay: float) -> None:
    path = Path(delay, rate=10_000_000)
    path.run(PROBE_INTERVAL / 2)
    assert path.window.size == 2 * FIRST_WINDOW


def test_it_is_tried_again_and_given_up_again() -> None:
    path = Path(delay=0.01, rate=10_000_000)
    path.run(1)
    sizes = set()
    for _ in range(600):
        path.run(0.05)
        sizes.add(path.window.size)
    assert sizes == {2 * FIRST_WINDOW, 4 * FIRST_WINDOW}
    path.run(1)
    assert path.window.size == 2 * FIRST_WINDOW


def test_a_path_that_becomes_longer_gets_a_larger_window() -> None:
    path = Path(delay=0.01, rate=10_000_000)
    path.run(3)
    assert path.window.size == 2 * FIRST_WINDOW
    path.delay = 0.4
    path.run(PROBE_INTERVAL + 10)
    assert path.window.size >= 0.4 * 10_000_000 / FASTER


def test_a_writer_that_does_not_wait_needs_no_larger_window() -> None:
    path = Path(delay=1.0, rate=1e9, limited=False)
    path.run(30)
    assert path.window.size == FIRST_WINDOW
