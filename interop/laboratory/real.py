"""All pairs on real sockets."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from benchmarks.library import ROOT

from .internet import Internet
from .kernel import tool
from .kinds import KINDS
from .matrix import DELAY, HEAD_START, PATIENCE, Outcome
from .meeting import Sight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .internet import Site
    from .matrix import Pair

__all__ = ["meet_all"]

PORT = 8090
AT_A_TIME = 6
"""The number of pairs at the same time."""

START_SECONDS = 30.0


class Node:
    """A process of ``interop.laboratory.node``. Use it in an ``async with`` block."""

    def __init__(self, site: Site, overlays: list[int], introducers: list[tuple[str, int]]) -> None:
        families = {"UDPIPv4": site.ip, "UDPIPv6": site.ipv6}
        options = {"overlays": overlays, "introducers": introducers,
                   "interfaces": [name for name, address in families.items() if address]}
        self._command = site.host.command(sys.executable, "-m", "interop.laboratory.node", json.dumps(options))
        self.sights: dict[str, Sight] = {}
        self.mid = ""
        self.changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Node:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def start(self) -> None:
        """Start the process, and wait until its socket is open."""
        self._process = await asyncio.create_subprocess_exec(
            tool(self._command[0]), *self._command[1:], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            cwd=ROOT, start_new_session=True)  # Ctrl+C does not reach it: it is killed at the end
        self.mid = (await self._next("open"))["mid"]

    async def begin(self) -> float:
        """Let it walk; the time at which it begins, by a clock that all processes share."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"begin\n")
        when: float = (await self._next("begun"))["when"]
        self._reader = asyncio.create_task(self._read())
        return when

    async def _next(self, event: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
        told: dict[str, Any] = json.loads(line or "{}")
        if told.get("event") != event:
            raise RuntimeError(f"a node did not tell that it is {event}: see what it wrote to standard error")
        return told

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            del told["event"]
            mid = told.pop("mid")
            self.sights[mid] = Sight(**told)
            self.changed.set()


async def _meet(walker: Node, host: Node) -> Outcome:
    """Let two open nodes meet."""
    await host.begin()
    await asyncio.sleep(HEAD_START)
    begin = await walker.begin()
    host.changed = walker.changed

    async def wait() -> Outcome:
        while (outcome := Outcome.of(walker.sights.get(host.mid), host.sights.get(walker.mid), begin)) is None:
            walker.changed.clear()
            await walker.changed.wait()
        return outcome

    try:
        return await asyncio.wait_for(wait(), PATIENCE)
    except asyncio.TimeoutError:
        return Outcome()


async def meet_all(pairs: Iterable[Pair], delay: float = DELAY, loss: float = 0.0) -> dict[Pair, Outcome]:
    """Let pairs meet, some at the same time. Each has its own hosts and routers; all have the same introducer.

    :raises KernelError: if the laboratory cannot run here.
    """
    pairs = list(pairs)
    with Internet(delay, loss) as internet:
        async with AsyncExitStack() as stack:
            site = internet.add_site(KINDS["none"], 0, ipv6=True)
            introducer = await stack.enter_async_context(Node(site, list(range(len(pairs))), []))
            await introducer.start()
            await introducer.begin()
            seats = asyncio.Semaphore(AT_A_TIME)

            async def try_pair(number: int, pair: Pair) -> Outcome:
                addresses = [(ip, PORT) for ip, wanted in ((site.ip, pair.ipv4), (site.ipv6, pair.ipv6)) if wanted]
                async with seats, AsyncExitStack() as own:
                    sites = [internet.add_site(kind, network, pair.ipv4, pair.ipv6)
                             for network, kind in enumerate((pair.walker, pair.host), 1)]
                    nodes = [await own.enter_async_context(Node(each, [number], addresses)) for each in sites]
                    await asyncio.gather(*(node.start() for node in nodes))
                    return await _meet(*nodes)

            tries = [asyncio.create_task(try_pair(number, pair)) for number, pair in enumerate(pairs)]
            try:
                outcomes = await asyncio.gather(*tries)
            finally:
                for each in tries:
                    each.cancel()
                await asyncio.gather(*tries, return_exceptions=True)  # before their namespaces are removed
    return dict(zip(pairs, outcomes, strict=True))
