"""First hops that let circuits be built and then drop everything."""

from __future__ import annotations

from ipv8.messaging.anonymization.path import FIRST_PAUSE, MAX_SILENT, BackOff

KEY = b"key of a first hop"


def test_a_first_hop_whose_circuits_fall_silent_is_left_out() -> None:
    back_off = BackOff()
    for number in range(MAX_SILENT):
        assert back_off.is_usable(KEY, float(number))
        back_off.note_silent(KEY, float(number))
    now = float(MAX_SILENT)
    assert not back_off.is_usable(KEY, now)
    back_off.note_success(KEY)  # another circuit is built by it
    assert not back_off.is_usable(KEY, now)
    assert back_off.is_usable(KEY, now + FIRST_PAUSE)
    back_off.note_silent(KEY, now + FIRST_PAUSE)
    assert not back_off.is_usable(KEY, now + 2 * FIRST_PAUSE)
    assert back_off.is_usable(KEY, now + 3 * FIRST_PAUSE)


def test_circuits_that_live_on_clear_it() -> None:
    back_off = BackOff()
    for _ in range(10):
        for _ in range(MAX_SILENT - 1):
            back_off.note_silent(KEY, 0.0)
        back_off.note_alive(KEY)
    assert back_off.is_usable(KEY, 0.0)
