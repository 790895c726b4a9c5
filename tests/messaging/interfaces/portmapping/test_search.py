"""Which gateways are asked, in which order, and what a survey says of each protocol."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.messaging.interfaces.portmapping.gateway import Gateway, PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.mapper import PortMapper
from ipv8.messaging.interfaces.portmapping.search import find_gateways, survey


class Igd(Gateway):
    """A gateway that was found by UPnP."""

    protocol = "UPnP-IGD"

    def __init__(self, works: bool = True) -> None:
        self.works = works

    async def external_ip(self) -> str:
        if not self.works:
            raise PortMappingError("is switched off")
        return "130.161.1.1"

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        return PortMapping(self.protocol, await self.external_ip(), external_port, internal_port, lifetime)

    async def remove(self, mapping: PortMapping) -> None:
        raise NotImplementedError


async def test_order(surroundings: Any) -> None:
    surroundings.upnp = [Igd()]
    found = [gateway async for gateway in find_gateways("127.0.0.1")]
    assert [gateway.protocol for gateway in found] == ["PCP", "NAT-PMP", "UPnP-IGD"]
    assert surroundings.sources == ["127.0.0.1"]
    assert found[0].server.source == "127.0.0.1"  # type: ignore[attr-defined]  # is asked by datagrams


@pytest.mark.parametrize(("versions", "protocol", "requests"), [((2,), "PCP", 1), ((0, 2), "PCP", 1),
                                                                ((0,), "NAT-PMP", 3)])
async def test_the_newest_protocol_is_used(surroundings: Any, make_router: Any, versions: tuple[int, ...],
                                           protocol: str, requests: int) -> None:
    router = await make_router(*versions)
    surroundings.port = router.port
    mapper = PortMapper(8090)
    await mapper.renew()
    assert mapper.mapping == (protocol, "130.161.1.1", 8091, 8090, 3600)
    assert len(router.requests) == requests
    assert surroundings.sources == []  # the network was not searched


async def test_router_that_is_silent_to_datagrams(surroundings: Any, make_router: Any) -> None:
    surroundings.port, surroundings.timeout = (await make_router()).port, 0.01
    surroundings.upnp = [Igd(False), Igd()]
    mapper = PortMapper(8090)
    await mapper.renew()
    assert mapper.mapping == ("UPnP-IGD", "130.161.1.1", 8090, 8090, 3600)


@pytest.mark.parametrize(("versions", "upnp", "expected"), [
    ((0, 2), [Igd()], [("", ""), ("130.161.1.1", ""), ("130.161.1.1", "")]),
    ((0,), ModuleNotFoundError("missing"), [("", "the gateway speaks NAT-PMP only"), ("130.161.1.1", ""),
                                            ("", "missing")]),
    ((2,), PortMappingError("no network"), [("", ""), ("", "no answer from 127.0.0.1"), ("", "no network")]),
    ((), [Igd(False)], [("", "no answer from 127.0.0.1"), ("", "no answer from 127.0.0.1"), ("", "is switched off")]),
    ((), [], [("", "no answer from 127.0.0.1"), ("", "no answer from 127.0.0.1"), ("", "no router was found")]),
])
def test_survey(surroundings: Any, run_with_router: Any, versions: tuple[int, ...], upnp: Any,
                expected: list[tuple[str, str]]) -> None:
    surroundings.upnp = upnp

    async def test(router: Any) -> None:
        found = await survey()
        assert [finding.protocol for finding in found] == ["PCP", "NAT-PMP", "UPnP-IGD"]
        assert [finding[1:] for finding in found] == expected
        assert router.mappings == {}

    run_with_router(test, *versions)


async def test_system_that_does_not_tell_its_gateway(surroundings: Any) -> None:
    surroundings.hosts = []
    assert {finding.problem for finding in (await survey())[:2]} == {"no router was found"}
