"""The table of the methods that handle messages, and what is done with the outcome of each.

Everything that receives numbered messages has a :class:`MessageTable`: communities, trackers, and code that gets
messages out of something else, such as tunnel cells or sessions.
"""

from __future__ import annotations

import logging
from asyncio import ensure_future, iscoroutine
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Protocol

from .lazy_community import reception_of
from .limits import TokenBuckets
from .messaging.interfaces.network_stats import DropCounter
from .messaging.readers import Refusal
from .verification import MESSAGE_ID_OFFSET

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine

    from .lazy_community import Reception
    from .messaging.address import Address
    from .messaging.serialization import Payload

__all__ = ["Handler", "MessageOwner", "MessageTable", "message_id_of"]

TABLE_SIZE = 256
"""Message ids are one byte."""

WARNINGS_PER_SECOND, WARNINGS_AT_ONCE = 0.1, 5.0
"""Warnings of one kind in the log: about unknown messages, and about deprecated ones."""

REMARKS = 100
"""This many refusals for one reason are logged at debug level; after that, one in this many."""

Handler = Callable[..., Any]
"""``handler(source_address, data)``; it may return a coroutine, and it may return or raise a ``Refusal``."""


class MessageOwner(Protocol):
    """What a message table needs of the object whose messages it handles."""

    drops: DropCounter
    logger: logging.Logger

    def register_anonymous_task(self, basename: str, user_task: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``user_task`` in the background, as in :class:`ipv8.taskmanager.TaskManager`."""


def message_id_of(message: int | type[Payload]) -> int:
    """The id of a message, which is given as a number or by its payload class.

    :raises RuntimeError: if the class has no ``msg_id``, or the number is not one byte.
    """
    msg_id = message if isinstance(message, int) else getattr(message, "msg_id", None)
    if msg_id is None:
        raise RuntimeError(f"{message!r} has no msg_id: give it one, or register the number of the message")
    if not 0 <= msg_id < TABLE_SIZE:
        raise RuntimeError(f"a message id is one byte, 0 to 255, which {msg_id} is not")
    return msg_id


class MessageTable:
    """The handlers of up to 256 messages.

    A packet that a handler refuses is counted in the ``drops`` of the owner. What a handler raises otherwise is a bug
    in the program: it is logged with its traceback, in the ``logger`` of the owner.

    ``handlers`` is a list with the handler of each message id, ``None`` where there is none. It may be changed in place
    and replaced by another list of 256 at any time.

    :param owner: whose messages these are. Its ``drops`` and its ``logger`` may be replaced at any time.
    :param task_name: the base name of the tasks in which asynchronous handlers run.
    """

    __slots__ = ("_owner", "_prepared", "_task_name", "_warnings", "handlers", "strict")

    def __init__(self, owner: MessageOwner, task_name: str = "on_packet") -> None:
        self.handlers: list[Handler | None] = [None] * TABLE_SIZE
        #: Whether errors, refusals and unknown messages are raised, not logged and counted; for tests.
        self.strict = False
        self._owner = owner
        self._task_name = task_name
        # By message id, a handler and what is called in its place, which returns refusals instead of raising them.
        self._prepared: dict[int, tuple[Handler | None, Handler]] = {}
        self._warnings: TokenBuckets | None = None

    def add(self, message: int | type[Payload], handler: Handler) -> int:
        """Call ``handler(source_address, data)`` for each packet of a message.

        :param message: the id of the message, 0 to 255, or a payload class with a ``msg_id``.
        :returns: the id.
        :raises RuntimeError: if there is no such id, or the message has a handler already.
        """
        msg_id = message_id_of(message)
        current = self.handlers[msg_id]
        if current:
            raise RuntimeError(f"message {msg_id} cannot be handled by {handler!r}: {current!r} does so already")
        self.handlers[msg_id] = handler
        return msg_id

    def reception(self, msg_id: int) -> Reception | None:
        """How the handler of a message receives it; ``None`` if that is not known, or there is no handler."""
        return reception_of(self.handlers[msg_id])

    def receive(self, source_address: Address, data: bytes, warn_unknown: bool = True) -> None:
        """Handle a packet. Its message id is the byte behind the prefix of 22 bytes; the prefix is not checked.

        :param warn_unknown: whether messages without a handler are logged, within a budget.
        """
        try:
            msg_id = data[MESSAGE_ID_OFFSET]
        except IndexError:
            self._owner.drops.count(DropCounter.SHORT)
            return
        handler = self.handlers[msg_id]
        if handler is None:
            self._on_unknown(msg_id, source_address, warn_unknown)
            return
        try:
            prepared, call = self._prepared[msg_id]
        except KeyError:
            prepared = None
        if prepared is not handler:
            call = self._prepare(msg_id, handler)
        try:
            outcome = call(source_address, data)
        except Exception as e:  # noqa: BLE001 - bugs of handlers are reported and do not reach the endpoint
            self._on_error(msg_id, source_address, e)
            return
        if outcome is None:
            return
        if isinstance(outcome, Refusal):
            self._refuse(msg_id, source_address, outcome)
        elif iscoroutine(outcome):
            self._start(msg_id, source_address, outcome)

    def run(self, msg_id: int, source_address: Address, call: Callable[..., Any], *arguments: Any) -> None:
        """Call ``call(*arguments)`` and treat its outcome as that of the handler of a message.

        This is for messages that are not packets of their own, or whose handlers take other arguments. The caller finds
        the handler.
        """
        try:
            outcome = call(*arguments)
        except Exception as e:  # noqa: BLE001 - as in receive
            self._on_error(msg_id, source_address, e)
            return
        if outcome is None:
            return
        if isinstance(outcome, Refusal):
            self._refuse(msg_id, source_address, outcome)
        elif iscoroutine(outcome):
            self._start(msg_id, source_address, outcome)

    def may_warn(self, kind: str) -> bool:
        """Whether another warning of this kind may be logged now."""
        if self._warnings is None:
            self._warnings = TokenBuckets(WARNINGS_PER_SECOND, WARNINGS_AT_ONCE)
        return self._warnings.holds(kind) and self._warnings.take(kind)  # in a flood, only the first is asked

    def _prepare(self, msg_id: int, handler: Handler) -> Handler:
        """What is called in place of ``handler``; it is kept until another handler takes its place."""
        reception = reception_of(handler)
        method: Any = handler
        call = handler if reception is None else MethodType(reception.attempt, method.__self__)
        self._prepared[msg_id] = (handler, call)
        return call

    def _on_unknown(self, msg_id: int, source_address: Address, warn: bool) -> None:
        if self.strict:
            raise AssertionError(f"{type(self._owner).__name__} has no handler for message {msg_id}")
        self._owner.drops[DropCounter.UNKNOWN_ID] += 1
        if warn and self.may_warn("unknown"):
            self._owner.logger.warning("Nothing handles message %d, sent by %s:%d", msg_id, *source_address)

    def _on_error(self, msg_id: int, source_address: Address, error: Exception) -> None:
        """Count a packet that a handler refused by raising, and report a bug of the handler."""
        if isinstance(error, Refusal):
            self._refuse(msg_id, source_address, error)
        elif self.strict:
            raise error
        else:
            self._owner.logger.error("Message %d, sent by %s, could not be handled", msg_id, source_address,
                                     exc_info=error)

    def _start(self, msg_id: int, source_address: Address, running: Coroutine[Any, Any, Any]) -> None:
        """Run an asynchronous handler as a task of the owner."""
        task = ensure_future(self._finish(msg_id, source_address, running))
        task.add_done_callback(lambda _: running.close())  # a task that is cancelled at once has not begun to await it
        self._owner.register_anonymous_task(self._task_name, task, ignore=() if self.strict else (Exception,))

    async def _finish(self, msg_id: int, source_address: Address, running: Coroutine[Any, Any, Any]) -> None:
        """Wait for an asynchronous handler, and count the packet if the handler refuses it."""
        try:
            await running
        except Refusal as e:
            self._refuse(msg_id, source_address, e)

    def _refuse(self, msg_id: int, source_address: Address, refusal: Refusal) -> None:
        if self.strict:
            raise refusal
        owner, reason = self._owner, refusal.reason
        owner.drops[reason] = count = owner.drops[reason] + 1
        if (count <= REMARKS or count % REMARKS == 0) and owner.logger.isEnabledFor(logging.DEBUG):
            owner.logger.debug("Message %d, sent by %s, is refused: %s", msg_id, source_address, refusal)
