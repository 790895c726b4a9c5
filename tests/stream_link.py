"""Two ends of a stream connection in one process, and the way between them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from ipv8 import clock
from ipv8.messaging.session.quic import Certificate, QuicConnection, QuicSettings
from ipv8.stream_io import Stream, StreamConnection
from ipv8.taskmanager import TaskManager

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from typing_extensions import Self

    from ipv8.stream_limits import StreamLimits, StreamMemory

CERTIFICATE = Certificate.make()
SETTINGS = QuicSettings("tests/1", idle_timeout=60.0)


class LoopClock:
    """The time of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def time(self) -> float:
        return 1_700_000_000.0 + self.loop.time()

    def monotonic(self) -> float:
        return self.loop.time()


def in_virtual_time(run: Callable[[Coroutine[Any, Any, Any]], Any],
                    main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``main`` on a loop whose time the clock follows."""
    async def wrapped() -> Any:
        with clock.use(LoopClock(asyncio.get_running_loop())):
            return await main()

    return run(wrapped())


class Link:
    """A client and a server with a way of a given delay and loss between them.

    The server is made with the first packet, as an exit does it.
    """

    def __init__(self, *, delay: float = 0.0, loss: float = 0.0, seed: int = 1,
                 pair: tuple[str | None, str | None] = (None, None), limits: StreamLimits | None = None,
                 server_limits: StreamLimits | None = None, on_stream: Callable[[Stream], None] | None = None,
                 memory: StreamMemory | None = None) -> None:
        self.delay, self.loss = delay, loss
        self.random = random.Random(seed)
        self.tasks = TaskManager()
        self.pair = pair
        self.server_limits = server_limits
        self.accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self.on_stream = on_stream or self.accepted.put_nowait
        self.memory = memory
        self.server: Any = None
        self.closed: list[str] = []
        self.packets: list[tuple[str, bytes]] = []
        self.client = StreamConnection(QuicConnection.connect(SETTINGS, clock.monotonic(), pair[0]), self.to_server,
                                       self.tasks, on_closed=lambda: self.closed.append("client"), limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.close()
        if self.server is not None:
            self.server.close()
        await self.tasks.shutdown_task_manager()

    def to_server(self, packet: bytes) -> None:
        self._carry("client", packet, self._at_server)

    def to_client(self, packet: bytes) -> None:
        self._carry("server", packet, self._at_client)

    def _carry(self, sender: str, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        self.packets.append((sender, packet))
        if self.random.random() >= self.loss:
            asyncio.get_running_loop().call_later(self.delay, deliver, packet)

    def _at_client(self, packet: bytes) -> None:
        self.client.receive(packet)

    def _at_server(self, packet: bytes) -> None:
        if self.server is None:
            quic = QuicConnection.accept(packet, SETTINGS, CERTIFICATE, self.pair[1])
            if quic is None:
                return
            self.server = StreamConnection(quic, self.to_client, self.tasks, on_stream=self.on_stream,
                                           on_closed=lambda: self.closed.append("server"), limits=self.server_limits,
                                           memory=self.memory)
        self.server.receive(packet)
