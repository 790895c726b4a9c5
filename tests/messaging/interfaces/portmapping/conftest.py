"""Gateways on the loopback network, and an event loop that does not wait for timers."""

from __future__ import annotations

import asyncio
import selectors
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ipv8 import clock
from ipv8.messaging.interfaces.portmapping import mapper, search
from ipv8.messaging.interfaces.portmapping.natpmp import NatPmpGateway
from ipv8.messaging.interfaces.portmapping.pcp import PcpGateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

OUTSIDE = IPv4Address("130.161.1.1")
GRACE = 0.005
"""Seconds in which the system delivers what was sent to the loopback interface; what takes longer, because it is busy,
comes before one of the next repetitions of the question."""


class FastForwardLoop(asyncio.SelectorEventLoop):
    """A loop with real sockets on virtual time: when nothing comes in, the next timer is due."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.skipped = 0.0
        select = self._selector.select  # type: ignore[attr-defined]  # of the standard library's loops

        def skip(timeout: float | None = None) -> Any:
            events = select(timeout if timeout is None else min(timeout, GRACE))
            if not events and timeout:
                self.skipped += timeout
            return events

        self._selector.select = skip  # type: ignore[attr-defined]  # as above

    def time(self) -> float:
        return super().time() + self.skipped

    def monotonic(self) -> float:
        return self.time()


@pytest.fixture
def fast_forward() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine to its end, on time that jumps."""
    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        loop = FastForwardLoop()
        try:
            with clock.use(loop):
                loop.run_until_complete(coroutine)
        finally:
            loop.close()

    return run


class Kept(NamedTuple):
    nonce: bytes
    external_port: int
    lifetime: int
    end: float


class FakeRouter(asyncio.DatagramProtocol):
    """A gateway: which versions it speaks, what it keeps, and whom it forgets at a restart.

    ``versions`` holds 2 for PCP and 0 for NAT-PMP; without any, it is silent. ``result`` refuses.
    """

    def __init__(self, *versions: int) -> None:
        self.versions = versions
        self.requests: list[bytes] = []
        self.mappings: dict[int, Kept] = {}
        self.result = 0
        self.lifetime: int | None = None
        self.port_shift = 1
        self.outside: Any = OUTSIDE
        self.ignored = 0
        self.edit: Callable[[bytes], bytes | None] = lambda answer: answer
        self.transport: Any = None
        self.started = clock.monotonic()

    async def open(self, host: str = "127.0.0.1") -> FakeRouter:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        return self

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    @property
    def epoch(self) -> int:
        return int(clock.monotonic() - self.started)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def restart(self) -> None:
        self.mappings.clear()
        self.started = clock.monotonic()

    def announce(self, address: Any) -> None:
        if 2 in self.versions:
            self.transport.sendto(struct.pack(">BBHII12x", 2, 128, 0, 0, self.epoch), address)
        else:
            self.transport.sendto(struct.pack(">BBHI4s", 0, 128, 0, self.epoch, self.outside.packed), address)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.requests.append(data)
        if not self.versions or len(self.requests) <= self.ignored:
            return
        if data[0] not in self.versions:
            answer = (struct.pack(">BBHI", 0, 128 + data[1], 1, self.epoch) if max(self.versions) == 0 else
                      struct.pack(">BBHII12x", max(self.versions), 128 + data[1], 1, 0, self.epoch))
        else:
            answer = self.answer_pcp(data) if data[0] == 2 else self.answer_natpmp(data)
        edited = self.edit(answer)
        if edited is not None:
            self.transport.sendto(edited, addr)

    def known(self, port: int) -> Kept | None:
        kept = self.mappings.get(port)
        return kept if kept is not None and clock.monotonic() < kept.end else None

    def keep(self, port: int, wanted: int, lifetime: int, nonce: bytes = b"") -> Kept:
        lifetime = lifetime if self.lifetime is None or not lifetime else self.lifetime
        known = self.known(port)
        kept = Kept(nonce, known.external_port if known else wanted + self.port_shift, lifetime,
                    clock.monotonic() + lifetime)
        if lifetime:
            self.mappings[port] = kept
        else:
            self.mappings.pop(port, None)
        return kept

    def answer_natpmp(self, data: bytes) -> bytes:
        if data[1] == 0:
            return struct.pack(">BBHI4s", 0, 128, self.result, self.epoch, self.outside.packed)
        port, wanted, lifetime = struct.unpack_from(">HHI", data, 4)
        kept = self.keep(port, wanted, lifetime)
        return struct.pack(">BBHIHHI", 0, 129, self.result, self.epoch, port, lifetime and kept.external_port,
                           kept.lifetime)

    def answer_pcp(self, data: bytes) -> bytes:
        operation, lifetime = data[1], int.from_bytes(data[4:8], "big")
        if operation == 0:
            return struct.pack(">BBHII12x", 2, 128, self.result, 0, self.epoch)
        nonce, protocol, port, wanted = struct.unpack_from(">12sBxxxHH", data, 24)
        result, known = self.result, self.known(port)
        if known is not None and known.nonce != nonce:
            result = 2
        if result:
            return struct.pack(">BBHII12x", 2, 129, result, 30, self.epoch) + data[24:]
        kept = self.keep(port, wanted, lifetime, nonce)
        ip = IPv6Address(f"::ffff:{self.outside}") if self.outside.version == 4 else self.outside
        return struct.pack(">BBHII12x12sBxxxHH16s", 2, 129, 0, kept.lifetime, self.epoch, nonce, protocol, port,
                           kept.external_port, ip.packed)


@pytest.fixture
async def make_router() -> AsyncIterator[Callable[..., Coroutine[Any, Any, FakeRouter]]]:
    """Open routers that speak the given versions, closed when the test is over."""
    made = []

    async def make(*versions: int, host: str = "127.0.0.1") -> FakeRouter:
        made.append(await FakeRouter(*versions).open(host))
        return made[-1]

    yield make
    for router in made:
        router.transport.close()


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The network that is searched for gateways: what answers UPnP, and the router at the loopback address."""
    class Surroundings:
        upnp: Any = ModuleNotFoundError("pip install ipv8[portmapping]")
        hosts: Any = ["127.0.0.1"]
        port = 0
        timeout = 600.0
        sources: Any = []

    here = Surroundings()
    here.sources = []

    class LocalPcp(PcpGateway):
        def __init__(self, host: str, timeout: float, source: str = "") -> None:
            super().__init__(host, here.timeout, here.port, source)

    class LocalNatPmp(NatPmpGateway):
        def __init__(self, host: str, timeout: float, source: str = "") -> None:
            super().__init__(host, here.timeout, here.port, source)

    class Search:
        protocol = "UPnP-IGD"

        @staticmethod
        async def search(timeout: float, source: str = "") -> Any:
            here.sources.append(source)
            if isinstance(here.upnp, Exception):
                raise here.upnp
            return list(here.upnp)

    monkeypatch.setattr(search, "UpnpGateway", Search)
    monkeypatch.setattr(search, "DATAGRAM_PROTOCOLS", (LocalPcp, LocalNatPmp))
    monkeypatch.setattr(search, "default_gateways", lambda: here.hosts)
    monkeypatch.setattr(mapper, "ANNOUNCEMENTS", ("127.0.0.1", 0))
    return here


@pytest.fixture
def run_with_router(surroundings: Any, fast_forward: Any) -> Callable[..., None]:
    """Run a test, ``async (router) -> None``, with a router that speaks the given versions, on time that jumps."""
    def run(test: Callable[[FakeRouter], Coroutine[Any, Any, None]], *versions: int) -> None:
        async def main() -> None:
            router = await FakeRouter(*versions).open()
            surroundings.port = router.port
            try:
                await test(router)
            finally:
                router.transport.close()

        fast_forward(main())

    return run
