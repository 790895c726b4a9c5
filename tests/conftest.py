"""Fixtures of many tests: overlays on mock endpoints, clocks that tests move, and given random numbers."""

from __future__ import annotations

import asyncio
import json
import random
import selectors
import signal
import socket
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from ipv8 import clock, entropy
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network, PeerObserver
from ipv8.test.clock import ManualClock as KitClock
from ipv8.test.mocking.endpoint import MockEndpoint, internet
from tests.postgres import Backend, server, why_not

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from typing_extensions import Self

    from ipv8.community import Community
    from ipv8.messaging.address import Address

VECTORS = Path(__file__).parent / "vectors"

# Examples may take any time on a busy machine.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session")
def load_vectors() -> Callable[[str], Any]:
    """The content of ``tests/vectors/<name>.json``, by name."""
    return lambda name: json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


class ManualClock(KitClock):
    """A clock that a test moves. Both of its times are equal until the test sets the wall clock."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        super().__init__(now, now)

    @property
    def now(self) -> float:
        """Monotonic time. It can be set to a later time."""
        return self.monotonic()

    @now.setter
    def now(self, value: float) -> None:
        self.advance(value - self.monotonic())



class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer instead of waiting."""

    def __init__(self) -> None:
        loop = self
        self.now = 0.0

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                loop.now += timeout or 0.0
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.now


class ScriptedEntropy(random.Random):
    """Random bits that a test gives in advance, then bits from a seed."""

    def __new__(cls, *_: int) -> Self:
        return super().__new__(cls)  # Python 3.10 takes every argument for a seed

    def __init__(self, *values: int) -> None:
        super().__init__(1)
        self.values = deque(values)

    def getrandbits(self, k: int, /) -> int:
        return self.values.popleft() if self.values else super().getrandbits(k)


class RecordingEndpoint(MockEndpoint):
    """A mock endpoint that keeps sent packets, and may not deliver them."""

    def __init__(self, lan_address: Address, wan_address: Address, deliver: bool = True) -> None:
        super().__init__(lan_address, wan_address)
        self.sent: list[tuple[Address, bytes]] = []
        self.deliver = deliver

    def send(self, socket_address: Address, packet: bytes) -> None:
        self.sent.append((socket_address, packet))
        if self.deliver:
            super().send(socket_address, packet)


class Meeting(PeerObserver):
    """Sets an event when a peer is added to a network."""

    def __init__(self, awaited: Peer) -> None:
        self.awaited = awaited
        self.happened = asyncio.Event()

    def on_peer_added(self, peer: Peer) -> None:
        if peer == self.awaited:
            self.happened.set()

    def on_peer_removed(self, peer: Peer) -> None:
        pass


@pytest.fixture
def manual_clock() -> Iterator[ManualClock]:
    """A clock that only the test moves."""
    manual = ManualClock()
    with clock.use(manual):
        yield manual


@pytest.fixture
def run_virtually() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on a loop with virtual time. No task may be left at its end."""
    def run(main: Coroutine[Any, Any, Any]) -> Any:
        loop = VirtualLoop()
        try:
            result = loop.run_until_complete(main)
            assert not asyncio.all_tasks(loop)
            return result
        finally:
            loop.close()

    return run


@pytest.fixture
async def virtual_time() -> AsyncIterator[None]:
    """Let the time of the loop of the test jump to the next timer, for tests that wait for nothing else."""
    loop: Any = asyncio.get_running_loop()
    select, now = loop._selector.select, loop.time()

    def jump(timeout: float | None = None) -> Any:
        nonlocal now
        now += timeout or 0.0
        return select(0)

    loop._selector.select, loop.time = jump, lambda: now
    yield
    del loop._selector.select, loop.time


@pytest.fixture
async def failures() -> list[dict[str, Any]]:
    """The contexts that the exception handler of the loop gets."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


@pytest.fixture
def watch_for() -> Callable[[Network, Peer], asyncio.Event]:
    """An event that is set when the peer is added to the network."""
    def watch(network: Network, peer: Peer) -> asyncio.Event:
        meeting = Meeting(peer)
        network.add_peer_observer(meeting)
        return meeting.happened

    return watch


@pytest.fixture(scope="session")
def ipv6_loopback() -> None:
    """Skip the test on machines without IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


@pytest.fixture
def script_entropy() -> Iterator[Callable[..., None]]:
    """Install the given values as the next random bits."""
    previous = entropy.current()
    yield lambda *values: (entropy.install(ScriptedEntropy(*values)), None)[1]
    entropy.install(previous)


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_not_ignored() -> Iterator[None]:
    """Let SIGINT have its effect here and in child processes. A shell lets its background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def quiet_interfaces() -> Iterator[None]:
    """Hide the addresses of this machine, and remove mock endpoints of other tests."""
    providers = get_providers()
    kept = list(providers)
    providers.clear()
    internet.clear()
    yield
    internet.clear()
    providers[:] = kept


@pytest.fixture
async def make_overlay() -> AsyncIterator[Callable[..., Any]]:
    """Build overlays on open recording endpoints; they are unloaded after the test."""
    made: list[Community] = []

    def make(
        overlay_class: type[Community], *, key: Any = None, lan: Address | None = None, wan: Address | None = None,
        deliver: bool = True, **settings: Any,
    ) -> Any:
        from ipv8.messaging.address import UDPv4Address

        number = len(made) + 1
        lan = lan or UDPv4Address(f"192.168.1.{number}", 8000 + number)
        wan = wan or UDPv4Address(f"{20 + number}.{number}.0.{number}", 9000 + number)
        endpoint = RecordingEndpoint(lan, wan, deliver)
        endpoint.open()
        peer = Peer(key or default_eccrypto.generate_key("curve25519"), wan)
        kwargs = {"my_peer": peer, "endpoint": endpoint, "network": Network(), **settings}
        overlay = overlay_class(overlay_class.settings_class(**kwargs))
        overlay.my_estimated_lan = lan
        overlay.my_estimated_wan = wan
        made.append(overlay)
        return overlay

    yield make
    for overlay in made:
        await overlay.unload()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Where blocks are kept: tests that use it run once for each kind of database."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    made = Backend(url, tmp_path)
    yield made
    made.close()
