"""Live events: what happens in a node, for programs that watch it (doc/rest_api.md, section Live events).

::

    bus = EventBus()
    with bus.subscribe(["peer", "circuit.ready"]) as subscription:
        async for event in subscription:
            print(event.topic, event.data)

A bus belongs to the thread of its event loop; other threads use ``loop.call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from . import clock
from .limits import BoundedDict, ExpiringDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

__all__ = ["LAGGED", "Event", "EventBus", "Subscription", "is_topic"]

MAX_QUEUED = 256
"""Events that wait for one subscriber; the oldest is dropped first."""

MAX_KEPT = 512
"""The last events of a bus, for subscribers that come back; the oldest is dropped first."""

KEPT_SECONDS = 30.0
"""For how long events are kept that nobody gets, after the subscription that wanted them was closed."""

MAX_LEFT = 64
"""Different lists of topics of such subscriptions; the oldest is evicted first."""

MAX_TOPICS = 256
"""Topics for which a bus remembers who gets their events; the oldest is forgotten first."""

LAGGED = "lagged"
"""The topic of the event that a subscriber gets in the place of events that it has missed. Its data has their count."""

ONLY_BY_NAME = frozenset({"packet"})
"""Topics that a subscriber gets only if it names them."""

LONGEST_TOPIC = 64
TOPIC = re.compile(r"\w+(\.\w+)*", re.ASCII)

logger = logging.getLogger(__name__)


class Event:
    """What happened.

    :param number: counts the events of a bus, from 1.
    :param topic: the kind of event, of words with dots between them.
    :param time: seconds since the Unix epoch.
    :param data: more about it, which JSON can have. Nobody may change it.
    """

    __slots__ = ("_text", "data", "id", "time", "topic")

    def __init__(self, number: int, topic: str, time: float, data: dict[str, Any]) -> None:
        self.id = number
        self.topic = topic
        self.time = time
        self.data = data
        self._text: str | None = None

    def __repr__(self) -> str:
        return f"Event({self.id}, {self.topic!r}, {self.time}, {self.data!r})"

    def to_dict(self) -> dict[str, Any]:
        """The event as clients get it."""
        return {"id": self.id, "topic": self.topic, "time": self.time, "data": self.data}

    @property
    def text(self) -> str:
        """The event as JSON in one line. It is made once, for all subscribers. Bytes are written as hexadecimal digits.

        What JSON cannot have is logged, and replaced by an error.
        """
        if self._text is None:
            try:
                self._text = _to_json(self.to_dict())
            except (TypeError, ValueError, RecursionError) as e:
                logger.exception("An event %s has data that JSON cannot have", self.topic)
                self._text = _to_json({**self.to_dict(), "data": {"error": f"JSON cannot have the data: {e}"}})
        return self._text


def _to_json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no type of JSON")


def is_topic(text: str) -> bool:
    """Whether a text is made of words with dots between them, at most 64 characters in all."""
    return len(text) <= LONGEST_TOPIC and TOPIC.fullmatch(text) is not None


def _matches(topics: frozenset[str], topic: str) -> bool:
    """Whether a subscription to ``topics`` gets a topic: a word of it, with all words before it, is among them."""
    if not topics:
        return topic.partition(".")[0] not in ONLY_BY_NAME
    while topic not in topics:
        topic, dot, _ = topic.rpartition(".")
        if not dot:
            return False
    return True


class Subscription:
    """Events that wait for one subscriber.

    If the subscriber does not take them fast enough, the oldest are dropped. It gets an event :data:`LAGGED` then,
    which has their count. An iteration ends when the subscription is closed.
    """

    def __init__(self, bus: EventBus, topics: frozenset[str]) -> None:
        self.topics = topics
        self._bus = bus
        self._events: deque[Event] = deque()
        self._missed = 0
        self._missed_id = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    @property
    def closed(self) -> bool:
        """Whether no more events come."""
        return self._is_closed

    def __len__(self) -> int:
        return len(self._events) + (self._missed > 0)

    def _add(self, event: Event) -> None:
        events = self._events
        if len(events) >= MAX_QUEUED:
            self._miss(1, events.popleft().id)
        events.append(event)
        self._wake()

    def _miss(self, count: int, last_id: int) -> None:
        self._missed += count
        self._missed_id = last_id

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take_nowait(self) -> list[Event]:
        """All events that wait, the oldest first; an empty list if there are none."""
        taken = list(self._events)
        self._events.clear()
        if self._missed:
            taken.insert(0, self._lagged())
        return taken

    def _lagged(self) -> Event:
        missed, self._missed = self._missed, 0
        return Event(self._missed_id, LAGGED, clock.time(), {"count": missed})

    async def take(self, timeout: float | None = None) -> list[Event]:
        """Wait for events, and return all that wait then, the oldest first.

        :param timeout: the seconds after which an empty list is returned; by default only if the subscription is
            closed.
        :raises RuntimeError: if another task waits already.
        """
        if not len(self) and not self._is_closed:
            await self._wait(timeout)
        return self.take_nowait()

    async def _wait(self, timeout: float | None = None) -> None:
        """Wait until there is an event, the subscription is closed, or the time is over."""
        if self._waiter is not None:
            raise RuntimeError("another task waits for the events of this subscription: use a subscription for each")
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not len(self) and not self._is_closed:
            await self._wait()
        if self._missed:
            return self._lagged()
        if not self._events:
            raise StopAsyncIteration
        return self._events.popleft()

    def change(self, topics: Iterable[str]) -> None:
        """Get the events of these topics from now on; none named is for all except ``packet``."""
        if not self._is_closed:
            self._bus._change(self, frozenset(topics))

    def close(self) -> None:
        """Get no more events, and drop those that wait."""
        if not self._is_closed:
            self._is_closed = True
            self._events.clear()
            self._missed = 0
            self._bus._remove(self)
            self._wake()

    def __enter__(self) -> Subscription:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()


class EventBus:
    """Gives events to those who subscribed to their topics.

    Topics are words with dots between them. Whoever subscribes to ``peer`` also gets ``peer.added``.
    """

    def __init__(self) -> None:
        #: The number of the last event, also if nobody got it.
        self.last_id = 0
        #: Called after somebody has subscribed to something, or has left.
        self.on_change: Callable[[], None] | None = None
        self._subscriptions: tuple[Subscription, ...] = ()
        self._kept: deque[Event] = deque()
        self._dropped_id = 0
        # For each list of topics, the number of the last event before it was subscribed to: all later ones were kept.
        self._since: dict[frozenset[str], int] = {}
        self._left: ExpiringDict[frozenset[str], int] = ExpiringDict(
            MAX_LEFT, KEPT_SECONDS, lambda _topics, _since: self._receivers.clear())
        # None where even keeping the event is of no use.
        self._receivers: BoundedDict[str, tuple[Subscription, ...] | None] = BoundedDict(MAX_TOPICS)
        self._is_quiet = True

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Those who get events."""
        return self._subscriptions

    def wants(self, topic: str) -> bool:
        """Whether somebody gets events of a topic now. Ask this before measuring something for them only."""
        return any(_matches(subscription.topics, topic) for subscription in self._subscriptions)

    def publish(self, topic: str, data: dict[str, Any] | Callable[[], dict[str, Any]]) -> None:
        """Tell subscribers of an event. While nobody wants it, this returns at once.

        :param data: the data of the event, or a function without arguments that makes it. The function is called at
            once, and only if somebody wants the event. What it raises is logged.
        :raises ValueError: if somebody wants the event and the topic is not made of words with dots between them.
        """
        self.last_id += 1
        if self._is_quiet:
            return
        if len(self._left) == 0 and not self._subscriptions:
            self._is_quiet = True
            return
        receivers = self._receivers[topic] if topic in self._receivers else self._find(topic)
        if receivers is None:
            return
        number = self.last_id
        if callable(data):
            try:
                data = data()
            except Exception:
                logger.exception("The data of an event %s could not be made", topic)
                return
            if number != self.last_id:  # the function has published an event, which comes before this one
                self.last_id = number = self.last_id + 1
        event = Event(number, topic, clock.time(), data)
        if len(self._kept) >= MAX_KEPT:
            self._dropped_id = self._kept.popleft().id
        self._kept.append(event)
        for subscription in receivers:
            if not subscription.closed:
                subscription._add(event)

    def _find(self, topic: str) -> tuple[Subscription, ...] | None:
        """Those who get a topic; ``None`` if nobody does and nobody is expected to come back for it."""
        if not is_topic(topic):
            raise ValueError(f"a topic is made of words with dots between them, not {topic!r}")
        found = tuple(subscription for subscription in self._subscriptions if _matches(subscription.topics, topic))
        wanted = bool(found) or any(_matches(topics, topic) for topics, _ in self._left.items())
        self._receivers[topic] = result = found if wanted else None
        return result

    def subscribe(self, topics: Iterable[str] = (), after: int | None = None) -> Subscription:
        """Get the events of topics from now on.

        :param topics: none is for all except ``packet``, which has to be named.
        :param after: the number of the last event that a subscriber knows who comes back. It gets those since then that
            were kept, and an event :data:`LAGGED` if some were not. That one counts all that were not kept, whatever
            their topics.
        """
        subscription = Subscription(self, frozenset(topics))
        if after is not None:
            self._replay(subscription, after)
        self._subscriptions = (*self._subscriptions, subscription)
        self._note(subscription.topics)
        self._on_change()
        return subscription

    def _replay(self, subscription: Subscription, after: int) -> None:
        if after > self.last_id:
            after = 0  # of an earlier run of the node
        kept = [event for event in self._kept if event.id > after]
        topics = subscription.topics
        since = self._since.get(topics)
        if since is None:
            since = self._left.get(topics, self.last_id)
        if after < max(since, self._dropped_id):
            missed = self.last_id - after - len(kept)
            if missed > 0:
                subscription._miss(missed, after)
        for event in kept:
            if _matches(topics, event.topic):
                subscription._add(event)

    def _note(self, topics: frozenset[str]) -> None:
        if topics not in self._since:
            self._since[topics] = self._left.pop(topics, self.last_id)
        self._is_quiet = False

    def _forget(self, topics: frozenset[str]) -> None:
        if not any(other.topics == topics for other in self._subscriptions):
            self._left[topics] = self._since.pop(topics)

    def _change(self, subscription: Subscription, topics: frozenset[str]) -> None:
        before, subscription.topics = subscription.topics, topics
        self._note(topics)
        self._forget(before)
        self._on_change()

    def _remove(self, subscription: Subscription) -> None:
        self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)
        self._forget(subscription.topics)
        self._on_change()

    def _on_change(self) -> None:
        self._receivers.clear()
        if self.on_change is not None:
            self.on_change()

    def close(self) -> None:
        """Close all subscriptions, and forget all events."""
        for subscription in self._subscriptions:
            subscription.close()
        self._kept.clear()
        self._dropped_id = self.last_id
        self._left.clear()
        self._is_quiet = True
