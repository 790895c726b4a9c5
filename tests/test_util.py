from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from ipv8 import util
from ipv8.util import (
    byte2int,
    coroutine,
    create_event_with_signals,
    current_loop,
    fail,
    int2byte,
    maximum_integer,
    maybe_coroutine,
    run_forever,
    strip_sha1_padding,
    succeed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_thread(function: Callable[[], T]) -> T:
    """What ``function`` returns or raises in a thread of its own, in which no event loop is installed."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result()


def test_maximum_integer() -> None:
    assert maximum_integer == 2**31 - 1


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255])
def test_bytes_and_integers(value: int) -> None:
    assert int2byte(value) == bytes([value])
    assert byte2int(int2byte(value) + b"rest") == value


@pytest.mark.parametrize("value", [-1, 256])
def test_a_byte_has_a_range(value: int) -> None:
    with pytest.raises(OverflowError):
        int2byte(value)


def test_no_first_byte() -> None:
    with pytest.raises(IndexError):
        byte2int(b"")


async def test_succeed_and_fail() -> None:
    assert succeed(5).result() == 5
    failed = fail(ValueError("no"))
    assert failed.done()
    with pytest.raises(ValueError, match="no"):
        await failed


def test_futures_of_an_installed_loop() -> None:
    def check() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        assert succeed(1).get_loop() is loop
        assert current_loop() is loop
        loop.close()

    in_thread(check)


def test_the_running_loop_comes_first() -> None:
    async def ask() -> asyncio.AbstractEventLoop:
        return current_loop()

    def check() -> None:
        installed, running = asyncio.new_event_loop(), asyncio.new_event_loop()
        asyncio.set_event_loop(installed)
        assert running.run_until_complete(ask()) is running
        installed.close()
        running.close()

    in_thread(check)


def test_no_loop_in_a_thread() -> None:
    with pytest.raises(RuntimeError, match="set_event_loop"):
        in_thread(current_loop)


def test_no_loop_in_a_new_process() -> None:
    program = "from ipv8.util import *; f = succeed(1); assert current_loop() is f.get_loop(); f.get_loop().close()"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


async def test_maybe_coroutine() -> None:
    calls = []

    def plain(value: int, plus: int = 0) -> int:
        calls.append(value)
        return value + plus

    async def asynchronous(value: int) -> int:
        return plain(value)

    pending = maybe_coroutine(plain, 1, plus=2)
    assert calls == [1]  # called now, whenever it is awaited
    assert await pending == 3
    assert await maybe_coroutine(asynchronous, 4) == 4
    future = succeed(5)
    assert maybe_coroutine(lambda: future) is future


async def test_coroutine() -> None:
    calls = []

    def plain(value: int, plus: int = 0) -> int:
        """Doc."""
        calls.append(value)
        return value + plus

    asynchronous = coroutine(plain)
    assert asynchronous.__name__ == "plain"
    assert asyncio.iscoroutinefunction(asynchronous)
    pending = asynchronous(1, plus=2)
    assert calls == []
    assert await pending == 3
    assert calls == [1]


def test_strip_sha1_padding() -> None:
    padding = b"SHA-1" + bytes(7)
    assert strip_sha1_padding(padding + b"rest") == b"rest"
    assert strip_sha1_padding(padding + padding) == padding
    assert strip_sha1_padding(padding) == b""
    for unchanged in (b"", b"SHA-1", b"SHA-1" + bytes(6) + b"\x01rest", b"x" + padding):
        assert strip_sha1_padding(unchanged) == unchanged


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
async def test_event_with_signals() -> None:
    event = create_event_with_signals(signal.SIGUSR1, signal.SIGUSR2)
    assert not event.is_set()
    os.kill(os.getpid(), signal.SIGUSR2)
    await event.wait()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        assert asyncio.get_running_loop().remove_signal_handler(number)


class LoopWithoutSignals(asyncio.SelectorEventLoop):
    """As on Windows, or in other implementations of event loops."""

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]  # what it is given does not matter
        raise NotImplementedError

    def remove_signal_handler(self, sig: int) -> bool:
        raise NotImplementedError


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("loop_class", [asyncio.SelectorEventLoop, LoopWithoutSignals])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_forever(number: signal.Signals, loop_class: Callable[[], asyncio.AbstractEventLoop],
                     monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {other: signal.getsignal(other) for other in (signal.SIGINT, signal.SIGTERM)}
    restored: list[asyncio.AbstractEventLoop] = []
    restore = util._restore_signals
    monkeypatch.setattr(util, "SIGNAL_GRACE", 0.01)

    def restore_and_tell(loop: asyncio.AbstractEventLoop) -> None:
        restore(loop)
        restored.append(loop)

    monkeypatch.setattr(util, "_restore_signals", restore_and_tell)

    async def main() -> None:
        running = asyncio.ensure_future(run_forever())
        await asyncio.sleep(0)
        assert not running.done()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # one request may arrive twice
        await running
        os.kill(os.getpid(), number)
        while not restored:  # noqa: ASYNC110 - of a timer nobody tells
            await asyncio.sleep(0.001)

    loop = loop_class()
    loop.run_until_complete(main())
    for other, handler in usual.items():
        default = signal.default_int_handler if other == signal.SIGINT else signal.SIG_DFL
        assert signal.getsignal(other) == default  # later a signal has its usual effect
        signal.signal(other, handler)
    loop.close()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_signal_after_the_end_of_the_loop_does_nothing() -> None:
    usual = signal.getsignal(signal.SIGTERM)
    loop = LoopWithoutSignals()

    async def main() -> None:
        create_event_with_signals(signal.SIGTERM)

    loop.run_until_complete(main())
    loop.close()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, usual)


async def test_cancelled_run_forever_leaves_no_handler() -> None:
    running = asyncio.ensure_future(run_forever())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_other_threads_are_told_that_they_get_no_signals() -> None:
    with pytest.raises(RuntimeError, match="only the main thread of a process gets signals"):
        in_thread(lambda: asyncio.run(run_forever()))
