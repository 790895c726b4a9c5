"""Starts nodes in processes of their own, sends them commands, and waits for their events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from benchmarks.library import Library

__all__ = ["NodeFailureError", "NodeProcess", "acquainted"]

EVENT_SECONDS = 20.0
STOP_SECONDS = 10.0


class NodeFailureError(AssertionError):
    """A node ended, or an event did not come in time; the message has the events that came."""


class NodeProcess:
    """A node in a process of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.errors = ""
        self.address: list[Any] = []
        self.mid = ""
        self.started: dict[str, Any] = {}
        self._changed = asyncio.Condition()
        self._ended = False
        self._readers = [asyncio.ensure_future(self._read_events()), asyncio.ensure_future(self._read_errors())]

    @classmethod
    async def start(cls, library: Library, role: str = "node", key: str = "curve25519", interface: str = "UDPIPv4",
                    tracker: NodeProcess | None = None, program: str = "node",
                    log_level: str = "ERROR") -> NodeProcess:
        """Start a program of ``interop.nodes`` with ``library`` and wait until it is open."""
        options = {"role": role, "key": key, "interface": interface, "tracker": tracker and tracker.address,
                   "log_level": log_level}
        process = await asyncio.create_subprocess_exec(
            *library.command(f"interop.nodes.{program}", json.dumps(options)), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        node = cls(f"{role} of {library.name}", process)
        try:
            node.started = await node.expect("started")
        except BaseException:
            await node.kill()
            raise
        node.address, node.mid = node.started["address"], node.started["mid"]
        return node

    async def command(self, do: str, **details: Any) -> None:
        """Send a command to the node."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
        await self.process.stdin.drain()

    async def expect(self, event: str, **details: Any) -> dict[str, Any]:
        """Return the oldest event with this name and these details; wait for one if there is none.

        :raises NodeFailureError: if none comes in time.
        """
        def find() -> dict[str, Any] | None:
            return next((found for found in self.events if found["event"] == event
                         and all(found.get(key) == value for key, value in details.items())), None)

        async with self._changed:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: find() or self._ended), EVENT_SECONDS)
            found = find()
            if found is None:
                told = "\n".join(map(str, self.events[-20:]))
                message = f"{self.name}: no {event} {details}; ended: {self._ended}\n{told}\n{self.errors}"
                raise NodeFailureError(message)
            self.events.remove(found)
            return found

    async def ask(self, do: str, **details: Any) -> Any:
        """The result of a command to a node that tells results as events of the name of the command.

        :raises NodeFailureError: if it tells an error, or nothing in time.
        """
        await self.command(do, **details)
        answer = await self.expect(do)
        if "error" in answer:
            raise NodeFailureError(f"{self.name}: {do}: {answer['error']}")
        return answer["result"]

    @property
    def where(self) -> dict[str, Any]:
        """The public key and the address of the node, as details of commands to others."""
        return {"key": self.started["key"], "address": self.address}

    async def stop(self) -> str:
        """Let the node stop by itself, and return what it wrote to its standard error stream."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.expect("stopped")
        await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        await asyncio.gather(*self._readers)
        return self.errors

    async def kill(self) -> None:
        """Kill the process, if it has not ended."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)  # Process.kill would take the exit status from asyncio
        await self.process.wait()
        await asyncio.gather(*self._readers)

    async def _read_events(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.errors += line.decode()


async def acquainted(start: Callable[..., Awaitable[NodeProcess]], program: str, kinds: Iterable[str],
                     ) -> list[NodeProcess]:
    """New nodes of these kinds that obey commands, and know each other.

    :param start: the fixture ``start``.
    """
    nodes = [await start(kind, program=program) for kind in kinds]
    for node in nodes:
        for other in nodes:
            if other is not node:
                await node.ask("know", **other.where)
    return nodes
