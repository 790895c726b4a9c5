"""A forwarded port over time: asked for, renewed, moved to another gateway, given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8.messaging.interfaces.portmapping import mapper as module
from ipv8.messaging.interfaces.portmapping.gateway import Gateway, PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.mapper import PortMapper, find_gateways
from ipv8.taskmanager import TaskManager


class FakeGateway(Gateway):
    """Forwards ports while ``works``."""

    def __init__(self, protocol: str = "fake", works: bool = True) -> None:
        self.protocol = protocol
        self.works = works
        self.asked: list[tuple[int, int, int]] = []
        self.removed: list[PortMapping] = []

    def check(self) -> None:
        if not self.works:
            raise PortMappingError("not now")

    async def external_ip(self) -> str:
        self.check()
        return "130.161.1.1"

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        self.asked.append((internal_port, external_port, lifetime))
        self.check()
        return PortMapping(self.protocol, "130.161.1.1", 9999, internal_port, lifetime)

    async def remove(self, mapping: PortMapping) -> None:
        self.check()
        self.removed.append(mapping)


def finding(*gateways: Gateway) -> Any:
    async def find() -> list[tuple[Gateway, str]]:
        return [(gateway, "130.161.1.1") for gateway in gateways]

    return find


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


async def test_the_next_gateway_takes_over() -> None:
    first, second = FakeGateway("first"), FakeGateway("second")
    mapper = PortMapper(8090, finding(first, second))
    await mapper.renew()
    assert mapper.mapping is not None
    assert mapper.mapping.protocol == "first"
    first.works = False
    await mapper.renew()
    assert mapper.mapping.protocol == "second"
    second.works = False
    changes: list[Any] = []
    mapper._on_change = changes.append
    await mapper.renew()
    assert changes == [None]


async def test_gateway_that_does_not_take_it_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gateway = FakeGateway()
    mapper = PortMapper(8090, finding(gateway))
    await mapper.renew()
    gateway.works = False
    await mapper.stop()
    assert mapper.mapping is None
    assert "stays forwarded" in caplog.text


async def test_missing_library(caplog: pytest.LogCaptureFixture) -> None:
    async def find() -> Any:
        raise ModuleNotFoundError("pip install ipv8[portmapping]")

    await PortMapper(8090, find).renew()
    assert "pip install ipv8[portmapping]" in caplog.text


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Surroundings:
        upnp: Any = ()
        natpmp: Gateway = FakeGateway("NAT-PMP")

    found = Surroundings()

    class Search:
        @staticmethod
        async def search(timeout: float) -> list[Gateway]:
            if isinstance(found.upnp, Exception):
                raise found.upnp
            return list(found.upnp)

    monkeypatch.setattr(module, "UpnpGateway", Search)
    monkeypatch.setattr(module, "NatPmpGateway", lambda host, timeout: found.natpmp)
    monkeypatch.setattr(module, "default_gateways", lambda: ["192.0.2.1"])
    return found


MISSING = ModuleNotFoundError("missing")


@pytest.mark.parametrize(("upnp", "natpmp_works", "expected"), [
    ((), True, ["NAT-PMP"]),
    ((FakeGateway("first"), FakeGateway("second", False)), True, ["first", "NAT-PMP"]),
    ((FakeGateway("first"),), False, ["first"]),
    (PortMappingError("no network"), True, ["NAT-PMP"]),
    (PortMappingError("no network"), False, []),
    (MISSING, True, ["NAT-PMP"]),
])
async def test_search(surroundings: Any, upnp: Any, natpmp_works: bool, expected: list[str]) -> None:
    surroundings.upnp = upnp
    surroundings.natpmp = FakeGateway("NAT-PMP", natpmp_works)
    assert [(gateway.protocol, host) for gateway, host in await find_gateways(1.0)] == [
        (protocol, "130.161.1.1") for protocol in expected]


async def test_missing_library_matters_if_there_is_nothing_else(surroundings: Any) -> None:
    surroundings.upnp, surroundings.natpmp = MISSING, FakeGateway(works=False)
    with pytest.raises(ModuleNotFoundError):
        await find_gateways(1.0)
