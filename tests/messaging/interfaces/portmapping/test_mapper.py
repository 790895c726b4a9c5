"""A forwarded port over time: asked for, renewed, lost, moved to another gateway, given back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.messaging.interfaces.portmapping import mapper as module
from ipv8.messaging.interfaces.portmapping.gateway import Gateway, PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.mapper import LIFETIME, RETRY_INTERVAL, SPACING, PortMapper
from ipv8.taskmanager import TaskManager

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class FakeGateway(Gateway):
    """Forwards ports while ``works``; notes when it was asked."""

    def __init__(self, protocol: str = "fake", works: bool = True) -> None:
        self.protocol = protocol
        self.works = works
        self.lifetime: float = LIFETIME
        self.error: Exception = PortMappingError("not now")
        self.asked: list[tuple[int, int, int]] = []
        self.times: list[float] = []
        self.removed: list[PortMapping] = []
        self.hang = False

    def check(self) -> None:
        if not self.works:
            raise self.error

    async def external_ip(self) -> str:
        raise NotImplementedError

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        self.asked.append((internal_port, external_port, lifetime))
        self.times.append(clock.monotonic())
        self.check()
        return PortMapping(self.protocol, "130.161.1.1", 9999, internal_port, self.lifetime)

    async def remove(self, mapping: PortMapping) -> None:
        if self.hang:
            await asyncio.Event().wait()
        self.check()
        self.removed.append(mapping)

    @property
    def pauses(self) -> list[float]:
        return [late - early for early, late in zip(self.times, self.times[1:], strict=False)]

    def announces_loss(self, data: bytes, source: tuple[str, int]) -> bool:
        return data == b"lost"


def finding(*gateways: Gateway, error: Exception | None = None) -> Callable[[], AsyncGenerator[Gateway, None]]:
    async def find() -> AsyncGenerator[Gateway, None]:
        for gateway in gateways:
            yield gateway
        if error is not None:
            raise error

    return find


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANNOUNCEMENTS", ("127.0.0.1", 0))


async def test_from_start_to_stop() -> None:
    gateway = FakeGateway()
    mapped = asyncio.Event()
    changes: list[PortMapping | None] = []

    def note(mapping: PortMapping | None) -> None:
        changes.append(mapping)
        mapped.set()

    tasks = TaskManager()
    mapper = PortMapper(8090, finding(gateway), note)
    mapper.start(tasks)
    await mapped.wait()
    assert mapper.mapping == ("fake", "130.161.1.1", 9999, 8090, 3600)
    await mapper.renew()
    assert gateway.asked == [(8090, 8090, 3600), (8090, 9999, 3600)]
    assert len(changes) == 1
    await mapper.stop()
    assert gateway.removed == [changes[0]]
    assert changes[1:] == [None]
    assert mapper.mapping is None
    await mapper.stop()
    await tasks.shutdown_task_manager()
    assert len(gateway.removed) == 1


async def test_the_end_of_its_tasks_gives_the_port_back() -> None:
    gateway, mapped, tasks = FakeGateway(), asyncio.Event(), TaskManager()
    PortMapper(8090, finding(gateway), lambda _: mapped.set()).start(tasks)
    await mapped.wait()
    await tasks.shutdown_task_manager()
    assert len(gateway.removed) == 1


async def test_a_mapping_lives_on_until_its_time_is_up(manual_clock: Any) -> None:
    first, second = FakeGateway("first"), FakeGateway("second")
    changes: list[PortMapping | None] = []
    mapper = PortMapper(8090, finding(first, second), changes.append)
    await mapper.renew()
    first.works = False
    manual_clock.advance(LIFETIME - 1)
    await mapper.renew()
    assert mapper.mapping is changes[0] is not None
    manual_clock.advance(1)
    await mapper.renew()
    assert mapper.mapping is changes[1]
    assert [change and change.protocol for change in changes] == ["first", "second"]
    second.works = False
    manual_clock.advance(LIFETIME)
    await mapper.renew()
    assert changes[2:] == [None]


async def test_mapping_without_end(manual_clock: Any) -> None:
    gateway = FakeGateway()
    gateway.lifetime = 0
    mapper = PortMapper(8090, finding(gateway))
    await mapper.renew()
    gateway.works = False
    await mapper.renew()
    assert mapper.mapping is not None
    manual_clock.advance(LIFETIME)
    await mapper.renew()
    assert mapper.mapping is None


@pytest.mark.parametrize("hang", [False, True])
async def test_gateway_that_does_not_take_it_back(caplog: pytest.LogCaptureFixture, hang: bool,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMOVAL_TIMEOUT", 0.01 if hang else 10)
    caplog.set_level("INFO")
    gateway, mapped, tasks = FakeGateway(), asyncio.Event(), TaskManager()
    mapper = PortMapper(8090, finding(gateway), lambda _: mapped.set())
    mapper.start(tasks)
    await mapped.wait()
    gateway.works, gateway.hang = False, hang
    await tasks.shutdown_task_manager()
    assert mapper.mapping is None
    reason = "no answer" if hang else "not now"
    assert f"UDP port 8090 may stay forwarded until its time is up: {reason}" in caplog.text


def test_bug_of_a_library(caplog: pytest.LogCaptureFixture, fast_forward: Any) -> None:
    gateway = FakeGateway()
    changes: list[PortMapping | None] = []

    async def check() -> None:
        tasks = TaskManager()
        mapper = PortMapper(8090, finding(gateway), changes.append)
        mapper.start(tasks)
        await asyncio.sleep(10)
        gateway.works, gateway.error = False, LookupError("a bug")
        await asyncio.sleep(LIFETIME + RETRY_INTERVAL)
        assert mapper.mapping is None
        gateway.works = True
        await asyncio.sleep(RETRY_INTERVAL + SPACING)
        assert mapper.mapping is not None
        gateway.works = False
        await tasks.shutdown_task_manager()

    fast_forward(check())
    assert [change and change.protocol for change in changes] == ["fake", None, "fake", None]
    assert "the port mapping of UDP port 8090 failed" in caplog.text
    assert "could not be ended" in caplog.text


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


async def test_success_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger=module.__name__)
    mapper = PortMapper(8090, finding(FakeGateway("first", False), FakeGateway("second")))
    await mapper.renew()
    await mapper.renew()
    assert records(caplog) == [("INFO", "UDP port 8090 is forwarded from 130.161.1.1:9999 by second")]


async def test_failure_is_one_line_until_it_is_news(caplog: pytest.LogCaptureFixture, manual_clock: Any) -> None:
    caplog.set_level("DEBUG", logger=module.__name__)
    gateway = FakeGateway("first", False)
    mapper = PortMapper(8090, finding(gateway, error=ModuleNotFoundError("pip install ipv8[portmapping]")))
    line = "UDP port 8090 is not forwarded: first: not now; pip install ipv8[portmapping]"
    await mapper.renew()
    await mapper.renew()
    assert records(caplog) == [("INFO", line), ("DEBUG", line)]
    caplog.clear()
    gateway.works = True
    await mapper.renew()
    gateway.works = False
    manual_clock.advance(LIFETIME)
    await mapper.renew()
    assert [level for level, _ in records(caplog)] == ["INFO", "INFO"]


async def test_nobody_to_ask(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await PortMapper(8090, finding()).renew()
    assert records(caplog) == [("INFO", "UDP port 8090 is not forwarded: no router was found")]


async def test_nat_behind_the_nat(caplog: pytest.LogCaptureFixture, make_router: Any, surroundings: Any) -> None:
    caplog.set_level("INFO")
    router = await make_router(2)
    router.outside, surroundings.port = type(router.outside)("10.1.1.1"), router.port
    mapper = PortMapper(8090)
    await mapper.renew()
    assert mapper.mapping is not None
    assert not mapper.mapping.is_public
    assert "from 10.1.1.1:8091 by PCP, which is behind another NAT" in caplog.text


def test_renewals_are_in_time(fast_forward: Any) -> None:
    gateway = FakeGateway()

    async def check() -> None:
        async with TaskManager() as tasks:
            PortMapper(8090, finding(gateway)).start(tasks)
            await asyncio.sleep(5 * LIFETIME)

    fast_forward(check())
    assert len(gateway.pauses) >= 7
    assert all(LIFETIME / 2 <= pause <= LIFETIME * 5 / 8 + 1 for pause in gateway.pauses)
    assert len({round(pause) for pause in gateway.pauses}) > 3  # not every client at the same time


@pytest.mark.parametrize(("lifetime", "low", "high"), [(120, 60, 76), (1, SPACING, SPACING + 1),
                                                       (2**32 - 1, 43200, 54001), (0, 1800, 2251)])
def test_granted_lifetimes_count(fast_forward: Any, lifetime: int, low: float, high: float) -> None:
    gateway = FakeGateway()
    gateway.lifetime = lifetime

    async def check() -> None:
        async with TaskManager() as tasks:
            PortMapper(8090, finding(gateway)).start(tasks)
            await asyncio.sleep(4 * high)

    fast_forward(check())
    assert len(gateway.pauses) >= 3
    assert all(low - 0.1 <= pause <= high for pause in gateway.pauses)


def test_failed_renewals_are_repeated_ever_sooner_and_not_for_ever(fast_forward: Any) -> None:
    gateway = FakeGateway()
    changes: list[tuple[PortMapping | None, float]] = []

    async def check() -> None:
        async with TaskManager() as tasks:
            PortMapper(8090, finding(gateway), lambda mapping: changes.append((mapping, clock.monotonic()))
                       ).start(tasks)
            await asyncio.sleep(1)
            gateway.works = False
            await asyncio.sleep(LIFETIME + RETRY_INTERVAL)

    fast_forward(check())
    assert gateway.pauses[0] > gateway.pauses[1] > gateway.pauses[2]
    assert len(gateway.pauses) < 20
    # Once its time is up, the gateway is asked as the known one, and at once again as a new one.
    assert all(pause >= SPACING - 0.1 or clock_time >= gateway.times[0] + LIFETIME
               for pause, clock_time in zip(gateway.pauses, gateway.times[1:], strict=True))
    (mapping, start), (lost, end) = changes
    assert mapping is not None
    assert lost is None
    assert LIFETIME <= end - start <= LIFETIME + 2 * SPACING


def test_restart_that_a_gateway_announces(fast_forward: Any) -> None:
    gateway = FakeGateway()

    async def check() -> None:
        async with TaskManager() as tasks:
            mapper = PortMapper(8090, finding(gateway))
            mapper.start(tasks)
            await asyncio.sleep(60)
            assert mapper._listener is not None
            address = mapper._listener.get_extra_info("sockname")
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=address)
            transport.sendto(b"noise")
            await asyncio.sleep(20)
            assert len(gateway.asked) == 1
            for _ in range(20):
                transport.sendto(b"lost")
            await asyncio.sleep(20)
            assert len(gateway.asked) == 2  # and not once for each
            transport.close()

    fast_forward(check())
    assert gateway.pauses[0] < 100


async def test_system_that_does_not_let_us_hear_announcements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANNOUNCEMENTS", ("192.0.2.77", 5350))
    mapped = asyncio.Event()
    async with TaskManager() as tasks:
        mapper = PortMapper(8090, finding(FakeGateway()), lambda _: mapped.set())
        mapper.start(tasks)
        await mapped.wait()
        assert mapper._listener is None


class Slow(FakeGateway):
    """Answers when it is told to."""

    def __init__(self, works: bool = True) -> None:
        super().__init__("slow", works)
        self.begun, self.may_answer = asyncio.Event(), asyncio.Event()

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        self.begun.set()
        await self.may_answer.wait()
        return await super().add(internal_port, external_port, lifetime)


@pytest.mark.parametrize("answer", ["yes", "no", "none"])
async def test_stop_while_a_gateway_thinks(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMOVAL_TIMEOUT", 0.01 if answer == "none" else 10)
    gateway, tasks = Slow(answer == "yes"), TaskManager()
    mapper = PortMapper(8090, finding(gateway))
    mapper.start(tasks)
    await gateway.begun.wait()
    stopping = asyncio.ensure_future(mapper.stop())
    await asyncio.sleep(0)
    if answer != "none":
        gateway.may_answer.set()
    await stopping
    assert mapper.mapping is None
    # What was granted behind our back is given back.
    assert [mapping.external_port for mapping in gateway.removed] == ([9999] if answer == "yes" else [])
    await tasks.shutdown_task_manager()
