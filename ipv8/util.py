"""Small helpers for event loops, futures and bytes, for use everywhere in the library."""

from __future__ import annotations

import asyncio
import signal
import sys
import warnings
from asyncio import get_event_loop, get_running_loop
from functools import wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["Computed", "byte2int", "coroutine", "create_event_with_signals", "current_loop", "fail", "int2byte",
           "maximum_integer", "maybe_coroutine", "run_forever", "strip_sha1_padding", "succeed"]

P = ParamSpec("P")
T = TypeVar("T")

maximum_integer = 2147483647

_SHA1_PADDING = b"SHA-1" + bytes(7)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Computed(Generic[T]):
    """A property that is computed at each access, until a program assigns an attribute of its name to the instance."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute

    @overload
    def __get__(self, instance: None, owner: type) -> Computed[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Computed[T] | T:
        return self if instance is None else self._compute(instance)


def current_loop() -> AbstractEventLoop:
    """The running event loop or, outside of one, the loop that ``asyncio.set_event_loop`` installed in this thread.

    So overlays can be made in synchronous code. A new loop is made for a main thread in which none
    was ever installed.

    Tests of programs replace ``asyncio.get_running_loop`` for their own code: that has no effect here.

    :raises RuntimeError: if there is no loop and none is made.
    """
    try:
        return get_running_loop()
    except RuntimeError:
        pass
    with warnings.catch_warnings():
        # Some releases of Python warn that they will not make a loop in future, some even if one is installed.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return get_event_loop()
        except RuntimeError as e:
            raise RuntimeError("There is no event loop here: do this inside of a coroutine, or install a loop with "
                               "asyncio.set_event_loop before") from e


def int2byte(i: int) -> bytes:
    """One byte of value ``i``; ``OverflowError`` outside 0..255."""
    return i.to_bytes(1, "big")


def byte2int(b: bytes) -> int:
    """The value of the first byte of ``b``; ``IndexError`` if it is empty."""
    return b[0]


def succeed(result: T) -> Future[T]:
    """A future that is done, with ``result``."""
    future: Future[T] = current_loop().create_future()
    future.set_result(result)
    return future


def fail(exception: type[BaseException] | BaseException) -> Future[Any]:
    """A future that is done, with ``exception``."""
    future: Future[Any] = current_loop().create_future()
    future.set_exception(exception)
    return future


def maybe_coroutine(func: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Awaitable[Any]:
    """Call ``func``, which may be asynchronous, and return an awaitable for its result.

    An exception that ``func`` raises when it is called is raised here, not by the awaitable.
    """
    outcome = func(*args, **kwargs)
    return outcome if isawaitable(outcome) else _value(outcome)


async def _value(value: T) -> T:
    return value


def coroutine(func: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an async function of a plain one. ``func`` runs when the result of the call is awaited."""
    @wraps(func)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return func(*args, **kwargs)

    return call


def strip_sha1_padding(s: bytes) -> bytes:
    """``s`` without its first 12 bytes if these are ``SHA-1`` and seven zero bytes, otherwise ``s``."""
    return s.removeprefix(_SHA1_PADDING)


def create_event_with_signals(*signals: signal.Signals) -> asyncio.Event:
    """An event that is set when the process receives one of ``signals``, by default SIGINT and SIGTERM.

    It must be called in the main thread while the event loop runs. The handlers stay installed.
    """
    event = asyncio.Event()
    loop = get_running_loop()
    for number in signals or _STOP_SIGNALS:
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(event.set))
        else:
            loop.add_signal_handler(number, event.set)
    return event


async def run_forever() -> None:
    """Return when the process receives SIGINT (Ctrl+C) or SIGTERM.

    Afterwards these signals have their usual effect again, so a second one can stop a shutdown that hangs.
    """
    try:
        await create_event_with_signals().wait()
    finally:
        for number in _STOP_SIGNALS:
            if sys.platform == "win32":
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            else:
                get_running_loop().remove_signal_handler(number)
