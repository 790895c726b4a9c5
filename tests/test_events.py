"""Live events: who gets which, and what happens to those who do not take them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import events
from ipv8.events import LAGGED, MAX_KEPT, MAX_QUEUED, Event, EventBus, is_topic


def topics_of(taken: list[Event]) -> list[str]:
    return [event.topic for event in taken]


# -- topics ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("wanted", "gets", "misses"), [
    (["peer"], ["peer", "peer.added", "peer.added.twice"], ["peers", "peer2.added", "a.peer"]),
    (["peer.added"], ["peer.added", "peer.added.twice"], ["peer", "peer.removed", "peer.addedx"]),
    ([], ["peer.added", "packets", "log"], ["packet", "packet.sent"]),
    (["packet"], ["packet", "packet.sent"], ["packets"]),
    (["packet", "peer"], ["packet", "peer.added"], ["log"]),
])
def test_topics_match_by_their_words(wanted: list[str], gets: list[str], misses: list[str]) -> None:
    bus = EventBus()
    with bus.subscribe(wanted) as subscription:
        for topic in [*gets, *misses]:
            assert bus.wants(topic) is (topic in gets)
            bus.publish(topic, {})
        assert topics_of(subscription.take_nowait()) == gets


WORDS = st.text("ab_1", min_size=1, max_size=3)
TOPICS = st.lists(WORDS, min_size=1, max_size=4).map(".".join)


@settings(deadline=None)
@given(TOPICS, st.lists(TOPICS, min_size=1, max_size=4))
def test_a_topic_matches_a_beginning_of_its_words(topic: str, wanted: list[str]) -> None:
    bus = EventBus()
    with bus.subscribe(wanted) as subscription:
        bus.publish(topic, {})
        words = topic.split(".")
        assert bool(len(subscription)) is any(words[:len(other.split("."))] == other.split(".") for other in wanted)


@pytest.mark.parametrize("topic", ["", ".", "a.", ".a", "a..b", "a b", "a\nb", "ä", "a" * 65, "a,b"])
def test_impossible_topics(topic: str) -> None:
    assert not is_topic(topic)
    bus = EventBus()
    bus.publish(topic, {})
    with bus.subscribe(), pytest.raises(ValueError, match="made of words"):
        bus.publish(topic, {})


# -- publishing ------------------------------------------------------------------------------------------------------

def test_an_event_has_a_number_a_time_and_data(manual_clock: Any) -> None:
    bus = EventBus()
    bus.publish("peer", {})
    with bus.subscribe() as subscription:
        bus.publish("peer", {"a": 1})
        bus.publish("peer", lambda: {"a": 2})
        first, second = subscription.take_nowait()
    assert (first.id, second.id) == (2, 3)
    assert first.to_dict() == {"id": 2, "topic": "peer", "time": manual_clock.time(), "data": {"a": 1}}
    assert second.data == {"a": 2}
    assert json.loads(first.text) == first.to_dict()
    assert first.text is first.text, "it is made once"
    assert "\n" not in first.text


def test_data_is_made_only_for_those_who_want_it() -> None:
    bus = EventBus()
    made: list[int] = []

    def data() -> dict[str, Any]:
        made.append(1)
        return {}

    bus.publish("peer.added", data)
    with bus.subscribe(["circuit"]):
        bus.publish("peer.added", data)
        assert not made
        with bus.subscribe(["peer"]), bus.subscribe(["peer.added"]):
            bus.publish("peer.added", data)
            assert made == [1], "once for all subscribers"


def test_data_whose_making_is_an_event_itself() -> None:
    bus = EventBus()

    def data() -> dict[str, Any]:
        bus.publish("inner", {})
        return {}

    with bus.subscribe() as subscription:
        bus.publish("outer", data)
        bus.publish("last", {})
        told = [(event.topic, event.id) for event in subscription.take_nowait()]
    assert [topic for topic, _ in told] == ["inner", "outer", "last"]
    assert told == sorted(told, key=lambda entry: entry[1])
    assert len({number for _, number in told}) == 3


def test_data_that_cannot_be_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    with bus.subscribe() as subscription:
        bus.publish("peer", lambda: {"a": int("b")})
        bus.publish("circuit", {})
        assert topics_of(subscription.take_nowait()) == ["circuit"]
    assert "The data of an event peer could not be made" in caplog.text


@pytest.mark.parametrize("data", [{"a": object()}, {"a": float("nan")}, {(1, 2): 3}])
def test_data_that_json_cannot_have(data: dict[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        event = Event(1, "peer", 2.0, data)
        assert list(json.loads(event.text)["data"]) == ["error"]
        assert event.text
    assert len(caplog.records) == 1


def test_bytes_are_hexadecimal_digits_in_json() -> None:
    text = Event(1, "peer", 2.0, {"a": b"\x01", "b": {3}, "c": memoryview(b"\x02")}).text
    assert json.loads(text)["data"] == {"a": "01", "b": [3], "c": "02"}


# -- subscribers that are slow, or gone ------------------------------------------------------------------------------

def test_the_oldest_events_are_dropped_and_counted(manual_clock: Any) -> None:
    bus = EventBus()
    with bus.subscribe() as slow, bus.subscribe() as quick:
        for number in range(MAX_QUEUED + 10):
            bus.publish("peer", {"n": number})
            assert len(quick.take_nowait()) == 1
        assert len(slow) == MAX_QUEUED + 1
        lagged, *rest = slow.take_nowait()
        assert (lagged.topic, lagged.data, lagged.id) == (LAGGED, {"count": 10}, 10)
        assert [event.data["n"] for event in rest] == list(range(10, MAX_QUEUED + 10))
        bus.publish("peer", {})
        assert topics_of(slow.take_nowait()) == ["peer"], "it is told once"


@settings(deadline=None)
@given(st.integers(0, 3 * MAX_QUEUED), st.lists(st.integers(1, 2 * MAX_QUEUED), max_size=5))
def test_every_event_is_delivered_or_counted(first: int, turns: list[int]) -> None:
    bus = EventBus()
    got = missed = 0
    last = 0
    with bus.subscribe() as subscription:
        for count in [first, *turns]:
            for _ in range(count):
                bus.publish("peer", {})
            for event in subscription.take_nowait():
                assert event.id > last
                last = event.id
                if event.topic == LAGGED:
                    missed += event.data["count"]
                else:
                    got += 1
    assert got + missed == first + sum(turns)


def test_a_closed_subscription_gets_nothing() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    bus.publish("peer", {})
    subscription.close()
    subscription.close()
    bus.publish("peer", {})
    assert subscription.closed
    assert not subscription.take_nowait()
    assert not bus.subscriptions
    subscription.change(["peer"])
    assert not bus.wants("peer")


def test_a_subscription_that_is_closed_by_the_data_of_an_event() -> None:
    bus = EventBus()
    first, second = bus.subscribe(), bus.subscribe()

    def data() -> dict[str, Any]:
        first.close()
        return {}

    bus.publish("peer", data)
    assert not first.take_nowait()
    assert topics_of(second.take_nowait()) == ["peer"]
    second.close()


async def test_subscribers_may_publish_and_close() -> None:
    bus = EventBus()
    seen: list[str] = []
    with bus.subscribe() as subscription:
        bus.publish("first", {})
        async for event in subscription:
            seen.append(event.topic)
            if event.topic == "first":
                bus.publish("second", {})
            else:
                subscription.close()
    assert seen == ["first", "second"]


async def test_waiting_ends_with_an_event_a_timeout_or_the_end() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    assert await subscription.take(0.001) == []
    waiting = asyncio.ensure_future(subscription.take(60))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task waits"):
        await subscription.take()
    bus.publish("peer", {})
    bus.publish("peer", {})
    assert len(await waiting) == 2
    for ending in (subscription.take(), anext(subscription, None)):
        waiter = asyncio.ensure_future(ending)
        await asyncio.sleep(0)
        subscription.close()
        assert not await waiter


async def test_a_waiter_that_is_cancelled_leaves_nothing() -> None:
    bus = EventBus()
    with bus.subscribe() as subscription:
        waiting = asyncio.ensure_future(subscription.take(60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        bus.publish("peer", {})
        assert len(await subscription.take()) == 1


async def test_an_iteration_is_told_what_it_missed() -> None:
    bus = EventBus()
    with bus.subscribe() as subscription:
        for _ in range(MAX_QUEUED + 1):
            bus.publish("peer", {})
        assert (await anext(subscription)).topic == LAGGED
        assert (await anext(subscription)).topic == "peer"


# -- subscribers that come back --------------------------------------------------------------------------------------

def test_kept_events_follow_the_last_known_one(manual_clock: Any) -> None:
    bus = EventBus()
    with bus.subscribe(["peer"]):
        bus.publish("peer", {"n": 1})
    manual_clock.advance(events.KEPT_SECONDS - 1)
    for number in (2, 3):
        bus.publish("peer", {"n": number})
        bus.publish("circuit", {})
    with bus.subscribe(["peer"], 1) as subscription:
        bus.publish("peer", {"n": 4})
        assert [event.data["n"] for event in subscription.take_nowait()] == [2, 3, 4]
    with bus.subscribe(["peer"]) as subscription:
        assert not subscription.take_nowait()


def test_events_are_not_kept_for_ever(manual_clock: Any) -> None:
    bus = EventBus()
    with bus.subscribe(["peer"]):
        bus.publish("peer", {})
    manual_clock.advance(events.KEPT_SECONDS + 1)
    for _ in range(5):
        bus.publish("peer", lambda: pytest.fail("nobody comes back"))
    with bus.subscribe(["peer"], 1) as subscription:
        (lagged,) = subscription.take_nowait()
        assert (lagged.topic, lagged.data) == (LAGGED, {"count": 5})


def test_only_so_many_events_are_kept() -> None:
    bus = EventBus()
    with bus.subscribe(["peer"]) as other:
        for number in range(1, MAX_KEPT + 11):
            bus.publish("peer", {"n": number})
        with bus.subscribe(["peer"], 5) as subscription:
            lagged, *rest = subscription.take_nowait()
        assert lagged.topic == LAGGED
        assert lagged.data["count"] + len(rest) == MAX_KEPT + 5
        assert [event.data["n"] for event in rest] == list(range(MAX_KEPT + 11 - MAX_QUEUED, MAX_KEPT + 11))
        with bus.subscribe(["peer"], MAX_KEPT + 8) as subscription:
            assert [event.data["n"] for event in subscription.take_nowait()] == [MAX_KEPT + 9, MAX_KEPT + 10]
        assert not other.closed


def test_an_id_of_an_earlier_run() -> None:
    bus = EventBus()
    with bus.subscribe():
        bus.publish("peer", {"n": 1})
        with bus.subscribe((), 99) as subscription:
            assert [event.data["n"] for event in subscription.take_nowait()] == [1]


def test_who_knows_the_last_event_has_missed_nothing() -> None:
    bus = EventBus()
    for _ in range(3):
        bus.publish("peer", {})
    with bus.subscribe((), 3) as subscription:
        assert not subscription.take_nowait()


# -- the bus ---------------------------------------------------------------------------------------------------------

def test_changes_of_subscribers_are_told() -> None:
    bus = EventBus()
    wanted: list[bool] = []
    bus.on_change = lambda: wanted.append(bus.wants("packet"))
    with bus.subscribe() as subscription:
        subscription.change(["packet"])
        bus.publish("packet", {})
        bus.publish("peer", {})
        subscription.change(["peer"])
        bus.publish("peer", {})
        assert topics_of(subscription.take_nowait()) == ["packet", "peer"]
    assert wanted == [False, True, False, False]


def test_closing_a_bus_ends_all() -> None:
    bus = EventBus()
    subscriptions = [bus.subscribe(["peer"]), bus.subscribe(["peer"])]
    bus.publish("peer", {})
    bus.close()
    assert all(subscription.closed for subscription in subscriptions)
    bus.publish("peer", lambda: pytest.fail("nobody is there"))
    with bus.subscribe(["peer"], 0) as subscription:
        assert topics_of(subscription.take_nowait()) == [LAGGED]


def test_many_lists_of_topics_are_not_remembered_for_ever(manual_clock: Any) -> None:
    bus = EventBus()
    for number in range(1000):
        bus.subscribe([f"t{number}"]).close()
    assert len(bus._left) == events.MAX_LEFT
    for number in range(1000):
        bus.publish(f"t{number}", {})
    assert len(bus._receivers) <= events.MAX_TOPICS
    manual_clock.advance(events.KEPT_SECONDS + 1)
    bus.publish("t999", lambda: pytest.fail("nobody comes back"))
