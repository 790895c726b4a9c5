"""A question to a gateway, repeated until there is an answer: what NAT-PMP and PCP share besides their port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .gateway import PortMappingError

if TYPE_CHECKING:
    from asyncio import DatagramTransport, Future
    from collections.abc import Callable

__all__ = ["FIRST_RETRY", "PORT", "Server", "ask"]

PORT = 5351
"""Where gateways listen (RFC 6886 section 1.1, RFC 6887 section 19.1)."""

FIRST_RETRY = 0.25
"""Seconds until a question is repeated; the pause doubles each time (RFC 6886 section 3.1).

PCP says 3 s, but for clients that never stop to repeat a question."""

T = TypeVar("T")


class Server(NamedTuple):
    """Where a gateway is asked, for how many seconds, and from which address of this machine (empty: any)."""

    host: str
    timeout: float = 2.0
    port: int = PORT
    source: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """From where the gateway answers."""
        return self.host, self.port


class _Conversation(asyncio.DatagramProtocol, Generic[T]):
    """Waits for the first datagram of the gateway that is an answer; ``decode`` returns ``None`` for the others."""

    def __init__(self, decode: Callable[[bytes], T | None]) -> None:
        self.decode = decode
        self.answer: Future[T] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        if self.answer.done():
            return
        try:
            answer = self.decode(data)
        except PortMappingError as e:
            self.answer.set_exception(e)
        else:
            if answer is not None:
                self.answer.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(PortMappingError(f"nobody listens ({exc})"))


async def ask(server: Server, encode: Callable[[str], bytes], decode: Callable[[bytes], T | None]) -> T:
    """What the gateway answers.

    :param encode: makes the question, given the address of this machine from which it is sent.
    :param decode: reads a datagram; ``None`` if it is no answer, and ``PortMappingError`` if it is a refusal.
    :raises PortMappingError: also if there is no answer in time.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, conversation = await loop.create_datagram_endpoint(
            lambda: _Conversation(decode), remote_addr=(server.host, server.port),
            local_addr=(server.source, 0) if server.source else None)
    except OSError as e:
        raise PortMappingError(f"the gateway {server.host} cannot be asked: {e}") from e
    try:
        own_host = transport.get_extra_info("sockname")[0].partition("%")[0]
        return await _wait(transport, conversation.answer, encode(own_host), server)
    finally:
        transport.close()
        if not conversation.answer.cancel() and not conversation.answer.cancelled():
            conversation.answer.exception()  # so that asyncio does not report it as unread


async def _wait(transport: DatagramTransport, answer: Future[T], question: bytes, server: Server) -> T:
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + server.timeout, FIRST_RETRY
    while (left := end - loop.time()) > 0:
        transport.sendto(question)
        await asyncio.wait([answer], timeout=min(pause, left))
        if answer.done():
            return answer.result()
        pause *= 2
    raise PortMappingError(f"no answer from {server.host}")
