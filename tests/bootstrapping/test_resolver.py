from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ipv8.bootstrapping import resolver as resolver_module
from ipv8.bootstrapping.resolver import NameResolver, look_up, shared_resolver
from ipv8.messaging.address import UDPv4Address, UDPv6Address

ROOT = Path(__file__).resolve().parents[2]


class Names:
    """A name server; the names that are not in it cannot be resolved."""

    def __init__(self, **hosts: list[str]) -> None:
        self.hosts = hosts
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        assert self.open.wait(60)
        if host not in self.hosts:
            raise socket.gaierror("no such name")
        return self.hosts[host]


async def test_both_families_without_duplicates() -> None:
    resolver = NameResolver(Names(tracker=["1.2.3.4", "1::2", "1.2.3.4"]))
    addresses = await resolver.resolve("tracker", 5)
    assert addresses == [("1.2.3.4", 5), ("1::2", 5)]
    assert [type(address) for address in addresses] == [UDPv4Address, UDPv6Address]


async def test_answers_are_remembered_for_a_while(manual_clock: Any) -> None:
    names = Names(tracker=["1.2.3.4"])
    resolver = NameResolver(names)
    for _ in range(2):
        assert await resolver.resolve("tracker", 5) == [("1.2.3.4", 5)]
    assert await resolver.resolve("tracker", 6) == [("1.2.3.4", 6)]
    assert names.asked == ["tracker"]
    manual_clock.advance(resolver_module.ANSWER_LIFETIME)
    await resolver.resolve("tracker", 5)
    assert names.asked == ["tracker", "tracker"]


async def test_failures_are_logged_and_remembered_for_a_shorter_while(
    manual_clock: Any, caplog: pytest.LogCaptureFixture,
) -> None:
    names = Names()
    resolver = NameResolver(names)
    with caplog.at_level(logging.INFO):
        assert await resolver.resolve("tracker", 5) == []
        assert await resolver.resolve("tracker", 5) == []
    assert len(caplog.records) == 1
    names.hosts["tracker"] = ["1.2.3.4"]
    manual_clock.advance(resolver_module.FAILURE_LIFETIME)
    assert await resolver.resolve("tracker", 5) == [("1.2.3.4", 5)]


async def test_one_question_at_a_time() -> None:
    names = Names(tracker=["1.2.3.4"])
    names.open.clear()
    resolver = NameResolver(names)
    given_up, kept = (asyncio.ensure_future(resolver.resolve("tracker", port)) for port in (5, 6))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    names.open.set()
    assert await kept == [("1.2.3.4", 6)]
    assert names.asked == ["tracker"]


async def test_so_many_answers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "MAX_NAMES", 2)
    names = Names(a=[], b=[], c=[])
    resolver = NameResolver(names)
    for host in "abcba":
        await resolver.resolve(host, 5)
    assert names.asked == ["a", "b", "c", "a"]


async def test_no_more_look_ups_than_that_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "MAX_LOOK_UPS", 2)
    names = Names(**{host: ["1.2.3.4"] for host in "abcde"})
    names.open.clear()
    resolver = NameResolver(names)
    waiting = [asyncio.ensure_future(resolver.resolve(host, 5)) for host in "abcde"]
    await asyncio.sleep(0)
    assert resolver._threads._running == 2
    assert len(resolver._threads._work) == 3
    names.open.set()
    assert await asyncio.gather(*waiting) == [[("1.2.3.4", 5)]] * 5
    assert sorted(names.asked) == list("abcde")


@pytest.mark.parametrize("error", [OSError("no server"), UnicodeError("label too long"), ValueError("null character"),
                                   RuntimeError("anything")])
async def test_whatever_a_look_up_raises_there_are_no_addresses(error: Exception) -> None:
    def fail(_: str) -> list[str]:
        raise error

    assert await NameResolver(fail).resolve("tracker", 5) == []


async def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = NameResolver(Names(tracker=["1.2.3.4"]))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert await resolver.resolve("tracker", 5) == []
    assert await resolver.resolve("tracker", 5) == [("1.2.3.4", 5)]


@pytest.mark.slow
def test_a_program_does_not_wait_for_a_look_up_at_its_end() -> None:
    program = """
import asyncio, time
from ipv8.bootstrapping.resolver import NameResolver
async def main():
    asyncio.ensure_future(NameResolver(lambda _: time.sleep(600)).resolve("tracker", 5))
    await asyncio.sleep(0.1)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, cwd=ROOT)


async def test_a_name_that_cannot_be_encoded() -> None:
    assert await NameResolver().resolve("a" * 70 + ".", 5) == []


def test_system_resolver_knows_addresses() -> None:
    assert look_up("127.0.0.1") == ["127.0.0.1"]
    assert look_up("::1") == ["::1"]


def test_one_resolver_for_each_loop() -> None:
    async def ask() -> tuple[NameResolver, NameResolver]:
        return shared_resolver(), shared_resolver()

    first, again = asyncio.run(ask())
    other, _ = asyncio.run(ask())
    assert first is again
    assert other is not first
