"""Outside addresses, and clocks of gateways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import clock
from ipv8.messaging.interfaces.portmapping.gateway import EpochTracker, PortMapping


@pytest.mark.parametrize(("ip", "public"), [
    ("130.161.1.1", True), ("2a00:1450::1", True), ("fd00::1", False), ("0.0.0.0", False), ("10.1.2.3", False),
    ("100.64.0.1", False), ("100.128.0.1", True), ("172.31.0.1", False), ("192.168.1.1", False), ("127.0.0.1", False),
    ("169.254.1.1", False),
])
def test_public_addresses(ip: str, public: bool) -> None:
    assert PortMapping("PCP", ip, 1, 1, 1).is_public is public


@pytest.mark.parametrize(("elapsed", "epoch", "plausible"), [
    (0, 1000, True), (0, 999, True), (0, 998, False), (0, 1002, True), (0, 1003, False),
    (1600, 2600, True), (1600, 2500, True), (1600, 2497, False), (1600, 2708, True), (1600, 2709, False),
    (1600, 0, False),
])
def test_epochs(manual_clock: Any, elapsed: float, epoch: int, plausible: bool) -> None:
    tracker = EpochTracker()
    assert tracker.is_plausible(epoch)
    tracker.note(1000)
    manual_clock.advance(elapsed)
    assert tracker.is_plausible(epoch) is plausible


class Clock:
    now = 0.0

    def time(self) -> float:
        return self.now

    monotonic = time


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.95, 1.05))
@settings(deadline=None, max_examples=100)
def test_a_gateway_that_runs_on_is_believed(uptime: float, elapsed: float, speed: float) -> None:
    with clock.use(Clock()) as now:
        tracker = EpochTracker()
        tracker.note(int(uptime * speed))
        now.now += elapsed
        assert tracker.is_plausible(int((uptime + elapsed) * speed))
